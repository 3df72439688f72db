//! A table in the forms that others take: Markdown, CSV, LaTeX.

use std::fmt::Write;

use super::TableFile;
use crate::block::Grid;

/// A table as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) name: &'static str,
    extension: &'static str,
    pub(super) text: String,
}

impl Form {
    /// As a file, with a line above the table that says what it is. CSV has no place for one: there each row says it.
    pub(super) fn file(&self, stem: &str, about: &str) -> TableFile {
        let about = one_line(about);
        let text = match self.extension {
            "md" => format!("{about}\n\n{}\n", self.text),
            "tex" => format!("% {about}\n% needs \\usepackage{{booktabs}}\n{}", self.text),
            _ => self.text.clone(),
        };
        TableFile { name: format!("{stem}.{}", self.extension), text }
    }
}

/// All forms of a table.
pub(super) fn forms(grid: &Grid) -> [Form; 3] {
    [
        Form { name: "Markdown", extension: "md", text: grid.markdown() },
        Form { name: "CSV", extension: "csv", text: csv(grid) },
        Form { name: "LaTeX", extension: "tex", text: latex(grid) },
    ]
}

/// The header, and a line a row; quoted as RFC 4180 says.
fn csv(grid: &Grid) -> String {
    let quoted = |cell: &String| {
        if cell.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.clone()
        }
    };
    let line = |cells: &[String]| cells.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n";
    iter(grid).map(line).collect()
}

/// Nothing of it may begin another line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
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

/// A cell's words as LaTeX takes them for themselves, in its default encoding.
fn escaped(cell: &str) -> String {
    let mut text = String::with_capacity(cell.len());
    for letter in one_line(cell).chars() {
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
            '|' => text.push_str("\\textbar{}"),
            '"' => text.push_str("''"),
            '±' => text.push_str("$\\pm$"),
            '×' => text.push_str("$\\times$"),
            '−' => text.push_str("$-$"),
            '≤' => text.push_str("$\\leq$"),
            '≥' => text.push_str("$\\geq$"),
            // Behind the end of a row these would be taken for its arguments.
            '[' | '*' if text.is_empty() => {
                text.push('{');
                text.push(letter);
                text.push('}');
            }
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
            "\\begin{tabular}{lr}\n\\toprule\nrow & last \\% \\\\\n\\midrule\na, ''b'' \\& c\\_d & 1.00 $\\pm$ 0.10 \\\\\n\
             \\bottomrule\n\\end{tabular}\n"
        );
    }

    #[test]
    fn no_letter_of_latex_is_left_to_itself() {
        assert_eq!(escaped("50 % of #3 $x_1$ {a}"), "50 \\% of \\#3 \\$x\\_1\\$ \\{a\\}");
        assert_eq!(
            escaped("a\\b~c^d<e>|f"),
            "a\\textbackslash{}b\\textasciitilde{}c\\textasciicircum{}d\\textless{}e\\textgreater{}\\textbar{}f"
        );
        assert_eq!(escaped("[0.1, 0.2]"), "{[}0.1, 0.2]");
        assert_eq!(escaped("* [1]"), "{*} [1]");
        assert_eq!(escaped("two\nlines\n\nand a paragraph"), "two lines and a paragraph");
        assert_eq!(escaped("2 × 3 ≥ −1"), "2 $\\times$ 3 $\\geq$ $-$1");
    }

    #[test]
    fn a_file_says_above_its_table_what_it_is_and_in_no_second_line() {
        let mut grid = Grid::new(["row", "n"], 1);
        grid.add(["a".to_owned(), "1".to_owned()], []);
        let files = forms(&grid).map(|form| form.file("t", "Title 100 %\n\\input{x}"));
        assert_eq!(files.clone().map(|file| file.name), ["t.md", "t.csv", "t.tex"]);
        let [markdown, csv, latex] = files.map(|file| file.text);
        assert!(markdown.starts_with("Title 100 % \\input{x}\n\n| row"), "{markdown}");
        assert_eq!(csv, "row,n\na,1\n");
        assert!(
            latex.starts_with("% Title 100 % \\input{x}\n% needs \\usepackage{booktabs}\n\\begin{tabular}"),
            "{latex}"
        );
    }
}
