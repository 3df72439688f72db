//! What is made of an experiment's runs, besides the accuracy table: classes, energy, latency, curves, maps.

pub(crate) mod classes;
pub(crate) mod curves;
pub(crate) mod energy;
pub(crate) mod latency;
pub(crate) mod maps;

use std::collections::BTreeSet;
use std::fmt::Write;

use bpsta_datasets::DatasetId;
use bpsta_spiking::Rule;

use crate::block::{Block, Grid};
use crate::experiment::View;
use crate::grid::{Several, peculiar, told_apart};
use crate::maps::MapsByRun;
use crate::order::by_data;
use crate::table::{self, runs_csv, table_markdown};
use crate::{Experiment, Profile, Record, Result, RunConfig, RunFiles};

/// The table in Markdown, by its name in `results/ARTEFACT/PROFILE/`.
pub(crate) const TABLE: &str = "table.md";

/// A file that is rendered from records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Its name in `results/ARTEFACT/PROFILE/`.
    pub name: &'static str,
    /// What stands behind `ARTEFACT.PROFILE.` in the run store's `tables/`.
    pub suffix: &'static str,
    /// What it holds.
    pub bytes: Vec<u8>,
}

impl Rendered {
    fn new(name: &'static str, suffix: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name, suffix, bytes: bytes.into() }
    }
}

/// Runs of one configuration, one a seed.
pub(crate) struct Group<'a> {
    records: Vec<&'a Record>,
    /// What is not the paper's in it, in words.
    peculiar: String,
    /// Whether its data and network have runs of other numbers of epochs beside it.
    several_epochs: bool,
}

impl<'a> Group<'a> {
    /// Runs by configuration, in the order in which they come.
    pub(crate) fn all(records: &[&'a Record]) -> Vec<Self> {
        let several = Several::of(&records.iter().map(|record| &record.config).collect::<Vec<_>>());
        let mut groups: Vec<Self> = Vec::new();
        for record in records {
            match groups.iter_mut().find(|group| group.is_of(record)) {
                // One run twice is still one seed.
                Some(group) if group.records.iter().any(|known| known.seed == record.seed) => {}
                Some(group) => group.records.push(record),
                None => groups.push(Self {
                    records: vec![record],
                    peculiar: peculiar(&record.config, several),
                    several_epochs: records.iter().any(|other| {
                        other.data == record.data
                            && (&other.network, other.width) == (&record.network, record.width)
                            && other.config.epochs != record.config.epochs
                    }),
                }),
            }
        }
        let more: Vec<String> = groups
            .iter()
            .map(|group| {
                let alike = groups.iter().filter(|other| other.shown() == group.shown());
                let alike: Vec<&RunConfig> = alike.map(|other| &other.first().config).collect();
                told_apart(&group.first().config, &alike)
            })
            .collect();
        for (group, more) in groups.iter_mut().zip(more) {
            group.peculiar += &more;
        }
        groups
    }

    /// Whether a run is of this configuration.
    pub(crate) fn is_of(&self, record: &Record) -> bool {
        self.first().config.but_seed() == record.config.but_seed()
    }

    /// What rows and their columns show of it.
    fn shown(&self) -> impl PartialEq {
        let Record { data, config, .. } = self.first();
        let numbers = (config.width.to_bits(), config.time_steps, config.epochs);
        (data, config.rule_id(), config.network, numbers, &config.augmentation, &self.peculiar)
    }

    /// What is not the paper's in it, in words that begin with a comma; empty if nothing is.
    pub(crate) fn peculiar(&self) -> &str {
        &self.peculiar
    }

    pub(crate) fn first(&self) -> &'a Record {
        self.records[0]
    }

    pub(crate) fn records(&self) -> &[&'a Record] {
        &self.records
    }

    /// The mean, and the sample standard deviation where there are several.
    pub(crate) fn spread(&self, value: fn(&Record) -> f64, digits: usize) -> String {
        spread(&self.records.iter().map(|record| value(record)).collect::<Vec<_>>(), digits)
    }
}

/// Groups that differ by their rule alone, in the order in which they come; without ANN twins, which have none.
pub(crate) fn by_configuration<'a, 'b>(groups: &'a [Group<'b>]) -> Vec<Vec<&'a Group<'b>>> {
    let mut alike: Vec<(RunConfig, Vec<&Group<'_>>)> = Vec::new();
    for group in groups.iter().filter(|group| !group.first().config.ann) {
        let mut config = group.first().config.but_seed();
        config.neuron.rule = Rule::Baseline;
        match alike.iter_mut().find(|(known, _)| *known == config) {
            Some((_, groups)) => groups.push(group),
            None => alike.push((config, vec![group])),
        }
    }
    alike.into_iter().map(|(_, groups)| groups).collect()
}

/// Everything that is rendered of an experiment, its table in Markdown first. What a view shows beside records is read from `files`.
///
/// # Errors
/// [`crate::HarnessError::NoProfile`], [`crate::HarnessError::Plot`], [`crate::HarnessError::Table`] and [`crate::HarnessError::BadMaps`].
pub fn render(
    experiment: &Experiment,
    profile: Profile,
    records: &[Record],
    files: RunFiles<'_>,
) -> Result<Vec<Rendered>> {
    let maps = files.needed(experiment, records)?;
    let markdown = match experiment.view {
        View::Accuracy => table_markdown(experiment, profile, records)?,
        View::Energy | View::Latency | View::Curves | View::Maps => {
            sections(experiment, profile, records, &maps)?
        }
    };
    let mut files =
        vec![Rendered::new(TABLE, "md", markdown), Rendered::new("runs.csv", "csv", runs_csv(records)?)];
    let groups = Group::all(&records.iter().collect::<Vec<_>>());
    if experiment.view == View::Curves {
        let of_rules: Vec<&Record> = records.iter().filter(|record| !record.config.ann).collect();
        let groups = Group::all(&of_rules);
        let data =
            by_data(experiment, records).iter().map(|(_, ours)| ours[0].data.as_str()).collect::<Vec<_>>();
        let data = if data.is_empty() { "no run is finished".to_owned() } else { data.join("; ") };
        let title = format!("{}: {}\n{data}; profile {profile}", experiment.artefact, experiment.title);
        files.push(Rendered::new("curves.csv", "curves.csv", curves::csv(&groups)));
        files.push(Rendered::new("figure.svg", "svg", curves::svg(&title, &groups)?));
    }
    if let Some(drawing) = maps::Drawing::of(&groups, &maps) {
        let title = format!("{}: {}", experiment.artefact, experiment.title);
        files.push(Rendered::new("figure.svg", "svg", drawing.svg(&title, Some(profile))?));
    }
    Ok(files)
}

fn sections(
    experiment: &Experiment,
    profile: Profile,
    records: &[Record],
    maps: &MapsByRun,
) -> Result<String> {
    let about = match experiment.view {
        View::Energy => energy::about(experiment),
        View::Latency => "Means over seeds, ± standard deviation.".to_owned(),
        View::Maps => maps::ABOUT.to_owned(),
        View::Accuracy | View::Curves => {
            "Accuracy on the test split after each epoch: the line is the mean over seeds, the band runs from the lowest seed to the highest. \
             Epochs of ANN warm-up, in which no cell spikes, are left out. The drawing and its values lie beside this file."
                .to_owned()
        }
    };
    markdown(experiment, profile, records, &about, |dataset, ours| {
        blocks(experiment, dataset, &Group::all(ours), maps)
    })
}

/// An artefact in Markdown: what it is, and a section for each data set.
pub(crate) fn markdown(
    experiment: &Experiment,
    profile: Profile,
    records: &[Record],
    about: &str,
    blocks: impl Fn(DatasetId, &[&Record]) -> Vec<Block>,
) -> Result<String> {
    let mut text = format!("# {}: {}\n\n", experiment.artefact, experiment.title);
    let _ = writeln!(text, "Profile `{profile}`: {}\n", experiment.settings(profile)?.about.trim());
    let _ = writeln!(text, "{about}\n");
    for (dataset, ours) in by_data(experiment, records) {
        let _ = writeln!(text, "## {}\n", ours[0].data);
        code(&ours).write_markdown(&mut text);
        for block in blocks(dataset, &ours) {
            block.write_markdown(&mut text);
        }
    }
    if records.iter().any(|record| record.synthetic) {
        text.push_str(table::STAND_IN_NOTE);
    }
    Ok(text)
}

/// Which versions of the code made the runs.
pub(crate) fn code(records: &[&Record]) -> Block {
    let versions: BTreeSet<u32> = records.iter().map(|record| record.config.code_version).collect();
    let one = if versions.len() == 1 { "" } else { "s" };
    let versions = versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    Block::Text(format!("Made by version{one} {versions} of the code."))
}

/// What an experiment's view shows of the runs of one data set.
pub(crate) fn blocks(
    experiment: &Experiment,
    dataset: DatasetId,
    groups: &[Group<'_>],
    maps: &MapsByRun,
) -> Vec<Block> {
    match experiment.view {
        View::Accuracy => {
            let ours: Vec<&Record> =
                groups.iter().flat_map(|group| group.records().iter().copied()).collect();
            table::blocks(experiment, dataset, &ours)
        }
        View::Energy => energy::blocks(experiment, dataset, groups),
        View::Latency => latency::blocks(experiment, dataset, groups),
        View::Maps => maps::blocks(groups, maps),
        View::Curves => {
            let mut out = Grid::new(["row", "T", "epochs", "last epoch %", "best test epoch %"], 1);
            for group in groups {
                let row = [
                    row_name(group),
                    group.first().time_steps.to_string(),
                    group.first().config.epochs.to_string(),
                    group.spread(|record| record.accuracy.last, 2),
                    group.spread(|record| record.accuracy.best_test, 2),
                ];
                out.add(row, group.records().iter().copied());
            }
            vec![Block::Grid(out)]
        }
    }
}

/// Rule, data and network of a row, with stand-in, subset, width and seeds named, and the epochs where they tell it from another.
pub(crate) fn row_name(group: &Group<'_>) -> String {
    let mut name = format!("{}, {}{}", group.first().rule, network(group), epochs(group));
    if group.records().len() > 1 {
        let _ = write!(name, ", {} seeds", group.records().len());
    }
    name
}

/// Network and width, and what a name goes on with.
pub(crate) fn network(group: &Group<'_>) -> String {
    group.first().network_name() + &particulars(group)
}

/// The epochs, where they tell it from another.
fn epochs(group: &Group<'_>) -> String {
    if group.several_epochs { format!(", {} epochs", group.first().config.epochs) } else { String::new() }
}

/// What a name goes on with: what is not the paper's, and what its data are.
pub(crate) fn particulars(group: &Group<'_>) -> String {
    let config = &group.first().config;
    let mut words = group.peculiar().to_owned();
    if let Some(mark) = config.mark() {
        let _ = write!(words, ", {mark}");
    }
    if config.augmentation != "none" {
        let _ = write!(words, ", augmented ({})", config.augmentation);
    }
    words
}

/// The mean, and the sample standard deviation where there are several.
pub(crate) fn spread(values: &[f64], digits: usize) -> String {
    crate::Spread::of(values).map_or_else(String::new, |spread| {
        match spread.deviation.filter(|deviation| deviation.is_finite()) {
            Some(deviation) => format!("{:.digits$} ± {deviation:.digits$}", spread.mean),
            None => format!("{:.digits$}", spread.mean),
        }
    })
}
