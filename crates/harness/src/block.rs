//! A table before it is text: its rows know the runs that their numbers come from, so that every form of it can name them.

use std::fmt::Write;

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

use crate::Record;

/// A row of a [`Grid`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// As many as the header has.
    pub(crate) cells: Vec<String>,
    /// The runs behind its numbers, by id; none behind the paper's.
    pub(crate) runs: Vec<String>,
}

/// Header and rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Names of the columns.
    pub(crate) header: Vec<String>,
    /// The rows.
    pub(crate) rows: Vec<Row>,
    /// How many columns are words, from the left; the others are numbers.
    pub(crate) words: usize,
}

impl Grid {
    pub(crate) fn new(header: impl IntoIterator<Item = impl Into<String>>, words: usize) -> Self {
        Self { header: header.into_iter().map(Into::into).collect(), rows: Vec::new(), words }
    }

    /// A row with the runs behind it; cells that are missing on the right are empty.
    pub(crate) fn add<'a>(
        &mut self,
        cells: impl IntoIterator<Item = String>,
        runs: impl IntoIterator<Item = &'a Record>,
    ) {
        let mut cells: Vec<String> = cells.into_iter().collect();
        cells.resize(self.header.len(), String::new());
        let runs = runs.into_iter().map(|record| record.run_id.clone()).collect();
        self.rows.push(Row { cells, runs });
    }

    /// In Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN).set_header(&self.header);
        for row in &self.rows {
            table.add_row(&row.cells);
        }
        for column in table.column_iter_mut().skip(self.words) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }
}

/// A part of a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Block {
    /// A paragraph; code stands between backticks.
    Text(String),
    /// A table.
    Grid(Grid),
    /// Items of a list.
    List(Vec<String>),
}

impl Block {
    /// Writes it in Markdown, with the empty line behind it.
    pub(crate) fn write_markdown(&self, text: &mut String) {
        let _ = match self {
            Self::Text(paragraph) => writeln!(text, "{paragraph}\n"),
            Self::Grid(grid) => writeln!(text, "{}\n", grid.markdown()),
            Self::List(items) => {
                items.iter().for_each(|item| {
                    let _ = writeln!(text, "- {item}");
                });
                writeln!(text)
            }
        };
    }
}
