//! The parts of a section as the template takes them: paragraphs, lists, tables and figures.

use bpsta_spiking::Rule;

use super::forms::{Form, forms};
use super::limits::marks;
use super::prose::{Span, spans};
use crate::block::{Block, Grid};
use crate::maps::MapsByRun;
use crate::views::curves::{Line, panel};
use crate::views::{Group, by_configuration, latency, maps, network};
use crate::{Experiment, Record, Result};

/// Digits of a run's id in a link to it.
const SHORT: usize = 6;

/// A part of a section.
pub(super) enum Piece {
    Text(Vec<Span>),
    List(Vec<Vec<Span>>),
    Table(Sheet),
    Figure(Figure),
}

/// A table.
pub(super) struct Sheet {
    pub(super) header: Vec<Cell>,
    pub(super) rows: Vec<Entry>,
    pub(super) forms: [Form; 3],
}

/// A row: its name with how its runs depart from the paper's protocol, its other cells, and links to its runs.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) marks: String,
    pub(super) cells: Vec<Cell>,
    pub(super) runs: Vec<Link>,
}

/// Some words, or a number.
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) number: bool,
}

/// A run's id, and the digits that stand for it.
pub(super) struct Link {
    pub(super) run_id: String,
    pub(super) short: String,
}

/// A drawing, with the names of its lines by rule.
pub(super) struct Figure {
    pub(super) svg: String,
    pub(super) caption: String,
    pub(super) legend: Vec<(usize, Rule)>,
    /// Whether it takes the page's whole width.
    pub(super) wide: bool,
}

/// A block of the Markdown tables, with its runs' limits in each row.
pub(super) fn piece(experiment: &Experiment, ours: &[&Record], block: &Block) -> Piece {
    match block {
        Block::Text(text) => Piece::Text(spans(text)),
        Block::List(items) => Piece::List(items.iter().map(|item| spans(item)).collect()),
        Block::Grid(grid) => Piece::Table(sheet(experiment, ours, grid)),
    }
}

fn sheet(experiment: &Experiment, ours: &[&Record], grid: &Grid) -> Sheet {
    let mut labelled = grid.clone();
    // Beside the names: it is words, and columns of words stand on the left.
    labelled.header.insert(1, "departs from the paper's protocol in".to_owned());
    labelled.words += 1;
    let mut rows = Vec::new();
    for (row, labelled) in grid.rows.iter().zip(&mut labelled.rows) {
        let of_row = ours.iter().copied().filter(|record| row.runs.contains(&record.run_id));
        let marks = marks(experiment, of_row).join(", ");
        labelled.cells.insert(1, marks.clone());
        let cell = |(at, text): (usize, &String)| Cell { text: text.clone(), number: at >= grid.words };
        let link =
            |run_id: &String| Link { short: run_id.chars().take(SHORT).collect(), run_id: run_id.clone() };
        rows.push(Entry {
            name: row.cells.first().cloned().unwrap_or_default(),
            marks,
            cells: row.cells.iter().enumerate().skip(1).map(cell).collect(),
            runs: row.runs.iter().map(link).collect(),
        });
    }
    let header = grid.header.iter().enumerate();
    Sheet {
        header: header.map(|(at, text)| Cell { text: text.clone(), number: at >= grid.words }).collect(),
        rows,
        forms: forms(&labelled),
    }
}

/// A drawing for each configuration but for the rule, the ANN twin left out: test accuracy over epochs, and over time steps where runs recorded it.
pub(super) fn figures(experiment: &Experiment, groups: &[Group<'_>]) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for groups in by_configuration(groups) {
        let over_epochs = groups.iter().filter_map(|group| Line::over_epochs(group)).collect();
        figures.extend(figure(experiment, &groups, "epoch", over_epochs)?);
        let over_steps = groups.iter().filter_map(|group| latency::line(group)).collect();
        figures.extend(figure(experiment, &groups, "time step", over_steps)?);
    }
    Ok(figures)
}

/// The drawing of the firing frequencies; none where the chapter shows no maps.
pub(super) fn map_figure(
    experiment: &Experiment,
    groups: &[Group<'_>],
    maps: &MapsByRun,
) -> Result<Option<Figure>> {
    let Some(drawing) = maps::Drawing::of(groups, maps) else { return Ok(None) };
    let (first, marks) = (drawing.first(), marks(experiment, drawing.records()).join(", "));
    Ok(Some(Figure {
        svg: drawing.svg(&experiment.title, None)?,
        caption: format!("{} {}; {}, {marks}.", maps::ABOUT_FIGURE, first.data, first.network_name()),
        legend: Vec::new(),
        wide: true,
    }))
}

/// None without lines.
fn figure(
    experiment: &Experiment,
    groups: &[&Group<'_>],
    x: &str,
    lines: Vec<Line>,
) -> Result<Option<Figure>> {
    let Some(first) = groups.first().map(|group| group.first()).filter(|_| !lines.is_empty()) else {
        return Ok(None);
    };
    let of_runs = groups.iter().flat_map(|group| group.records().iter().copied());
    let caption = format!(
        "Test accuracy after each {x}: the mean over seeds, and between the lowest and the highest seed the band. {}; {}{}, {}.",
        first.data,
        first.network_name(),
        groups[0].peculiar(),
        marks(experiment, of_runs).join(", ")
    );
    Ok(Some(Figure {
        svg: panel(
            &format!("{}, {}, T = {}", first.dataset, network(groups[0]), first.time_steps),
            x,
            &lines,
        )?,
        caption,
        legend: lines.iter().map(|line| (line.rule as usize, line.rule)).collect(),
        wide: false,
    }))
}
