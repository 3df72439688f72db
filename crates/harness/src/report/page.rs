//! What the template is filled with.

use std::collections::BTreeMap;

use askama::Template;

use super::Chapter;
use super::limits::{Limit, lead, limit};
use super::pieces::{Piece, figures, map_figure, piece};
use super::prose::{Paragraph, paragraphs};
use crate::block::Block;
use crate::experiment::View;
use crate::order::by_data;
use crate::views::{Group, blocks, energy, latency};
use crate::{Record, Result, seeds, table};

/// The page: `templates/report.html`.
#[derive(Template)]
#[template(path = "report.html")]
pub(super) struct Page {
    lead: [String; 2],
    chapters: Vec<Part>,
    limits: Vec<Limit>,
    runs: Vec<Run>,
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
    pub(super) fn new(chapters: &[Chapter]) -> Result<Self> {
        let mut runs: BTreeMap<&str, &Record> = BTreeMap::new();
        for record in chapters.iter().flat_map(|chapter| &chapter.records) {
            runs.entry(&record.run_id).or_insert(record);
        }
        let records: Vec<&Record> = runs.into_values().collect();
        Ok(Self {
            lead: lead(chapters, &records),
            chapters: chapters.iter().map(part).collect::<Result<_>>()?,
            limits: chapters.iter().map(limit).collect(),
            runs: records.into_iter().map(run).collect(),
        })
    }

    /// How many runs it shows.
    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }
}

fn part(chapter: &Chapter) -> Result<Part> {
    let Chapter { experiment, profile, records, maps } = chapter;
    let mut sections = Vec::new();
    for (dataset, ours) in by_data(experiment, records) {
        let groups = Group::all(&ours);
        let mut parts = Vec::new();
        if experiment.view == View::Energy {
            parts.push(Block::Text(energy::about(experiment)));
        }
        parts.extend(blocks(experiment, dataset, &groups, maps));
        if experiment.view != View::Accuracy {
            parts.extend(seeds::blocks(&groups));
            parts.extend(table::verdicts(experiment, dataset, &ours));
        }
        if experiment.view != View::Latency && ours.iter().any(|record| record.anytime.is_some()) {
            parts.extend(latency::early(&groups));
        }
        if experiment.view != View::Energy && ours.iter().any(|record| record.operations.is_some()) {
            parts.push(Block::Text(energy::about(experiment)));
            parts.extend(energy::blocks(experiment, dataset, &groups));
        }
        let mut pieces: Vec<Piece> = parts.iter().map(|block| piece(experiment, &ours, block)).collect();
        pieces.extend(map_figure(experiment, &groups, maps)?.map(Piece::Figure));
        pieces.extend(figures(experiment, &groups)?.into_iter().map(Piece::Figure));
        sections.push(Section { title: ours[0].data.clone(), pieces });
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
            format!("{cpu}, {}, kernels {}", machine.os, machine.simd.as_deref().unwrap_or("candle's"))
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
