//! From an experiment file to its table: what the paper claims, which cells are run to test it, what each run saw.
//!
//! The way through this crate: an [`Experiment`] (experiments/NAME.toml) and an [`Options`] give a [`Plan`] of cells;
//! [`reproduce`] trains each cell that the [`RunStore`] has no finished [`Record`] of, an epoch at a time and from a checkpoint if there
//! is one, and renders the table.
//!
//! This is the only crate that knows the paper's numbers, and the only one that depends on polars. It prints nothing: what
//! happens is told to a callback as [`Event`]s.

#![forbid(unsafe_code)]

mod accept;
mod artefacts;
pub mod bench;
mod block;
mod call;
mod cell;
mod check;
mod checkpoint;
mod claim;
mod committed;
mod compare;
mod config;
mod curves;
mod engine;
mod environment;
mod error;
mod estimate;
mod evaluate;
mod evaluation;
mod experiment;
mod export;
mod files;
mod grid;
mod maps;
mod order;
mod plan;
mod record;
mod report;
mod reproduce;
mod reproducible;
mod seeds;
mod statistics;
mod status;
mod stimuli;
mod store;
mod table;
mod tensors;
mod train;
mod verdict;
mod views;
mod weights;

pub use accept::{Accepted, accept};
pub use call::CallId;
pub use claim::Failure;
pub use committed::{Checked, Drift, check_tables};
pub use compare::{
    AccuracyGroup, Change, ChangeKind, Comparison, ComparisonVerdict, Difference, Limits, Pair, PairedBy,
    TimeRatio, Unpaired, compare,
};
pub use config::{CODE_VERSION, DeviceKind, EngineKind, RunConfig};
pub use environment::{Code, Environment};
pub use error::HarnessError;
pub use estimate::Estimate;
pub use evaluation::{Evaluated, Latency, Mismatch, evaluate_weights};
pub use experiment::{Experiment, MOST_EPOCHS, MOST_SEEDS, MOST_TIME_STEPS, PaperValue, Profile, View};
pub use export::{export_torch, nir_refusal};
pub use grid::{FrameBy, NeuronGrid};
pub use maps::{LayerMaps, Maps, RunFiles};
pub use plan::{Absent, Options, Plan, PlannedCell, STAND_IN_SEED};
pub use record::{
    Accuracy, Chosen, ClassCount, EpochRecord, LayerOperations, LayerSpikes, Percentiles, RECORD_SCHEMA,
    Record, Timing,
};
pub use report::{Report, TableFile, report};
pub use reproduce::{Event, Outcome, reproduce};
pub use statistics::{Spread, median, paired};
pub use status::{RunState, StoredRun};
pub use store::RunStore;
pub use table::{runs_csv, table_markdown};
pub use verdict::{Agreement, Certainty, Verdict};
pub use views::{Rendered, render};
pub use weights::Weights;

/// What this crate returns.
pub type Result<T> = std::result::Result<T, HarnessError>;
