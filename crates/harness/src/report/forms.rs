//! A table in the forms that others take: Markdown, CSV, LaTeX.

use std::fmt::Write;

use crate::block::Grid;

/// A table as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) name: &'static str,
    pub(super) text: String,
}

/// All forms of a table.
pub(super) fn forms(grid: &Grid) -> [Form; 3] {
    [
        Form { name: "Markdown", text: grid.markdown() },
        Form { name: "CSV", text: csv(grid) },
        Form { name: "LaTeX", text: latex(grid) },
    ]
}

/// The header, and a line a row; quoted as RFC 4180 says.
fn csv(grid: &Grid) -> String {
    let quoted = |cell: &String| {
        if cell.contains([',', '"', '\n']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.clone()
        }
    };
    let line = |cells: &[String]| cells.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n";
    iter(grid).map(line).collect()
}

/// For the package `booktabs`.
fn latex(grid: &Grid) -> String {
    let columns: String =
        (0..grid.header.len()).map(|column| if column < grid.words { 'l' } else { 'r' }).collect();
    let mut text = format!("\\begin{{tabular}}{{{columns}}}\n\\toprule\n");
    for (at, cells) in iter(grid).enumerate() {
        let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
        let _ = writeln!(text, "{} \\\\", cells.join(" & "));
        if at == 0 {
            text.push_str("\\midrule\n");
        }
    }
    text + "\\bottomrule\n\\end{tabular}\n"
}

fn iter(grid: &Grid) -> impl Iterator<Item = &[String]> {
    std::iter::once(grid.header.as_slice()).chain(grid.rows.iter().map(|row| row.cells.as_slice()))
}

fn escaped(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    for letter in cell.chars() {
        match letter {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                text.push('\\');
                text.push(letter);
            }
            '\\' => text.push_str("\\textbackslash{}"),
            '~' => text.push_str("\\textasciitilde{}"),
            '^' => text.push_str("\\textasciicircum{}"),
            '<' => text.push_str("\\textless{}"),
            '>' => text.push_str("\\textgreater{}"),
            '±' => text.push_str("$\\pm$"),
            _ => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_form_takes_for_its_own_is_escaped() {
        let mut grid = Grid::new(["row", "last %"], 1);
        grid.add(["a, \"b\" & c_d".to_owned(), "1.00 ± 0.10".to_owned()], []);
        assert_eq!(csv(&grid), "row,last %\n\"a, \"\"b\"\" & c_d\",1.00 ± 0.10\n");
        assert_eq!(
            latex(&grid),
            "\\begin{tabular}{lr}\n\\toprule\nrow & last \\% \\\\\n\\midrule\na, \"b\" \\& c\\_d & 1.00 $\\pm$ 0.10 \\\\\n\
             \\bottomrule\n\\end{tabular}\n"
        );
    }
}
