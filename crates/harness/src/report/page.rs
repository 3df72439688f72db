//! What the template is filled with.

use std::collections::BTreeMap;

use askama::Template;

use super::forms::{Form, forms};
use super::limits::{Limit, lead, limit};
use super::pieces::{Piece, figures, map_figure, piece};
use super::prose::{Paragraph, Span, paragraphs, spans};
use super::source::Source;
use super::{Chapter, TableFile};
use crate::block::{Block, Grid};
use crate::experiment::View;
use crate::order::by_data;
use crate::views::{Group, blocks, code, energy, latency};
use crate::{Record, Result, seeds, table};

/// The page: `templates/report.html`.
#[derive(Template)]
#[template(path = "report.html")]
pub(super) struct Page {
    lead: [String; 2],
    about: Vec<Span>,
    chapters: Vec<Part>,
    limits: Vec<Limit>,
    left_out: Vec<String>,
    runs: Vec<Run>,
    run_forms: [Form; 3],
}

/// An artefact in one profile.
struct Part {
    id: String,
    title: String,
    artefact: String,
    profile: String,
    about: String,
    synthetic: bool,
    analysis: Vec<Paragraph>,
    sections: Vec<Section>,
}

/// The runs on one data set.
struct Section {
    /// The data set's id.
    dataset: String,
    title: String,
    pieces: Vec<Piece>,
}

/// Where a run comes from.
struct Run {
    run_id: String,
    name: String,
    settings: String,
    code: String,
    machine: String,
}

impl Page {
    pub(super) fn new(source: &Source) -> Result<Self> {
        let chapters = &source.chapters;
        let mut runs: BTreeMap<&str, &Record> = BTreeMap::new();
        for record in chapters.iter().flat_map(|chapter| &chapter.records) {
            runs.entry(&record.run_id).or_insert(record);
        }
        let records: Vec<&Record> = runs.into_values().collect();
        let runs: Vec<Run> = records.iter().map(|record| run(record)).collect();
        Ok(Self {
            lead: lead(chapters, &records),
            about: spans(source.about),
            chapters: chapters.iter().map(part).collect::<Result<_>>()?,
            limits: chapters.iter().map(limit).collect(),
            left_out: source.left_out.clone(),
            run_forms: forms(&provenance(&runs)),
            runs,
        })
    }

    /// How many runs it shows.
    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Its tables as files, in their order.
    pub(super) fn tables(&self) -> Vec<TableFile> {
        let mut files = Vec::new();
        for part in &self.chapters {
            // A data set may have a section of its files, and one of a subset or stand-in.
            let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
            for section in &part.sections {
                let sheets = section.pieces.iter().filter_map(|piece| match piece {
                    Piece::Table(sheet) => Some(sheet),
                    _ => None,
                });
                for sheet in sheets {
                    let number = numbers.entry(&section.dataset).or_default();
                    *number += 1;
                    let about = format!(
                        "{}, profile {}: {}. {}.",
                        part.artefact, part.profile, part.title, section.title
                    );
                    let stem = format!("{}-{}-{number}", part.id, section.dataset);
                    files.extend(sheet.forms.iter().map(|form| form.file(&stem, &about)));
                }
            }
        }
        files.extend(self.run_forms.iter().map(|form| form.file("runs", "Where the runs come from.")));
        files
    }
}

fn part(chapter: &Chapter) -> Result<Part> {
    let Chapter { experiment, profile, records, maps } = chapter;
    let mut sections = Vec::new();
    for (dataset, ours) in by_data(experiment, records) {
        let groups = Group::all(&ours);
        let mut parts = vec![code(&ours)];
        if experiment.view == View::Energy {
            parts.push(Block::Text(energy::about(experiment)));
        }
        parts.extend(blocks(experiment, dataset, &groups, maps));
        if experiment.view != View::Accuracy {
            parts.extend(seeds::blocks(&groups));
            parts.extend(table::verdicts(experiment, dataset, &ours));
        }
        if !matches!(experiment.view, View::Accuracy | View::Latency) {
            parts.extend(latency::early(&groups));
        }
        if experiment.view != View::Energy && ours.iter().any(|record| record.operations.is_some()) {
            parts.push(Block::Text(energy::about(experiment)));
            parts.extend(energy::blocks(experiment, dataset, &groups));
        }
        let mut pieces: Vec<Piece> = parts.iter().map(|block| piece(experiment, &ours, block)).collect();
        pieces.extend(map_figure(experiment, &groups, maps)?.map(Piece::Figure));
        pieces.extend(figures(experiment, &groups)?.into_iter().map(Piece::Figure));
        sections.push(Section { dataset: dataset.to_string(), title: ours[0].data.clone(), pieces });
    }
    Ok(Part {
        id: format!("{}-{profile}", experiment.artefact),
        title: experiment.title.clone(),
        artefact: experiment.artefact.clone(),
        profile: profile.to_string(),
        about: experiment.settings(*profile)?.about.trim().to_owned(),
        synthetic: records.iter().any(|record| record.synthetic),
        analysis: paragraphs(&experiment.analysis),
        sections,
    })
}

fn provenance(runs: &[Run]) -> Grid {
    let mut grid = Grid::new(["run", "data and cell", "settings", "code", "machine"], 5);
    for run in runs {
        let Run { run_id, name, settings, code, machine } = run;
        grid.add([run_id, name, settings, code, machine].map(Clone::clone), []);
    }
    grid
}

fn run(record: &Record) -> Run {
    let config = &record.config;
    let code = record.code.as_ref().map_or_else(
        || "commit not recorded".to_owned(),
        |code| {
            let changed = if code.git_dirty == Some(true) { ", with changes" } else { "" };
            format!("commit {}{changed}", code.git_commit.as_deref().unwrap_or("not known"))
        },
    );
    let machine = record.environment.as_ref().map_or_else(
        || "not recorded".to_owned(),
        |machine| {
            let cpu = machine.cpu.as_deref().unwrap_or("processor not known");
            let gpu = machine.gpu.as_ref().map_or_else(String::new, |gpu| format!("{gpu}, "));
            format!("{gpu}{cpu}, {}, kernels {}", machine.os, machine.simd.as_deref().unwrap_or("candle's"))
        },
    );
    Run {
        run_id: record.run_id.clone(),
        name: format!("{}; {}", record.data, config.name()),
        settings: format!(
            "{}, {} epochs, batches of {}, learning rate {}, weight decay {}, augmentation {}, framing {}, engine {}, device {}",
            config.network,
            config.epochs,
            config.batch_size,
            config.schedule.learning_rate,
            config.weight_decay,
            config.augmentation,
            config.framing.as_deref().unwrap_or("none"),
            config.engine,
            config.device
        ),
        code: format!("code version {}, {code}", config.code_version),
        machine,
    }
}
