//! Accuracy by simulation length: networks trained for each T (the paper's Table 6), and each of them stopped early.

use bpsta_datasets::DatasetId;
use std::collections::BTreeSet;

use super::curves::{Line, Point};
use super::{Group, row_name};
use crate::block::{Block, Grid};
use crate::{Experiment, Record, RunConfig};

/// One section: trained for each T, and after each time step.
pub(super) fn blocks(experiment: &Experiment, dataset: DatasetId, groups: &[Group<'_>]) -> Vec<Block> {
    let steps: BTreeSet<usize> = groups.iter().map(|group| group.first().time_steps).collect();
    let of_paper = experiment.paper.iter().filter(|value| value.dataset == dataset);
    let paper: BTreeSet<usize> = of_paper.clone().filter_map(|value| value.time_steps).collect();
    let columns: Vec<usize> = steps.union(&paper).copied().collect();
    let mut blocks = Vec::new();

    let rows = Row::all(groups);
    for (epoch, value, is_the_paper_s) in [
        ("after the last epoch", (|record| record.accuracy.last) as fn(&Record) -> f64, false),
        ("at the best test epoch, as the paper chose it", |record| record.accuracy.best_test, true),
    ] {
        blocks.push(Block::Text(format!("Trained and tested at each T, accuracy in % {epoch}:")));
        let mut out = headed("row", columns.iter().map(|steps| format!("T = {steps}")));
        for row in &rows {
            let cells = columns.iter().map(|steps| row.cell(*steps, value));
            let records = row.groups.iter().flat_map(|of| of.records().iter().copied());
            out.add(std::iter::once(row.name.clone()).chain(cells), records);
        }
        let mut models: Vec<&str> = Vec::new();
        for value in of_paper.clone().filter(|_| is_the_paper_s) {
            if !models.contains(&value.model.as_str()) {
                models.push(&value.model);
            }
        }
        for model in models {
            let mut row = vec![format!("paper: {model}")];
            for steps in &columns {
                let value = of_paper.clone().find(|of| of.model == model && of.time_steps == Some(*steps));
                row.push(value.map(|value| format!("{:.2}", value.accuracy)).unwrap_or_default());
            }
            out.add(row, []);
        }
        blocks.push(Block::Grid(out));
    }
    let early = early(groups);
    if early.is_empty() {
        blocks.push(Block::Text("No run recorded its votes after each time step.".to_owned()));
    }
    blocks.extend(early);
    blocks
}

/// One configuration at each T.
struct Row<'a> {
    name: String,
    /// Those of one T each.
    groups: Vec<&'a Group<'a>>,
    /// Whether all T have as many seeds, which the name then says.
    as_many_seeds: bool,
}

impl<'a> Row<'a> {
    /// Configurations that differ by T alone are a row, in the order in which they come; names tell the rows apart.
    fn all(groups: &'a [Group<'a>]) -> Vec<Self> {
        let mut rows: Vec<(Record, Vec<&Group<'_>>)> = Vec::new();
        for group in groups {
            let config = but_steps(&group.first().config);
            match rows.iter_mut().find(|(known, _)| known.config == config) {
                Some((_, groups)) => groups.push(group),
                None => rows.push((Record { config, ..group.first().clone() }, vec![group])),
            }
        }
        // Named as rows of one T are, beside each other.
        let of_rows: Vec<&Record> = rows.iter().map(|(record, _)| record).collect();
        let names: Vec<String> = Group::all(&of_rows).iter().map(row_name).collect();
        let row = |(name, (_, groups)): (String, (Record, Vec<&'a Group<'a>>))| {
            let seeds: BTreeSet<usize> = groups.iter().map(|group| group.records().len()).collect();
            let as_many_seeds = seeds.len() == 1;
            let name = match seeds.first() {
                Some(count) if as_many_seeds && *count > 1 => format!("{name}, {count} seeds"),
                _ => name,
            };
            Row { name, groups, as_many_seeds }
        };
        names.into_iter().zip(rows).map(row).collect()
    }

    /// What its runs of a T gave, with their seeds where other T have more or fewer; empty where there are none.
    fn cell(&self, steps: usize, value: fn(&Record) -> f64) -> String {
        let Some(group) = self.groups.iter().find(|of| of.first().time_steps == steps) else {
            return String::new();
        };
        let accuracy = group.spread(value, 2);
        match group.records().len() {
            _ if self.as_many_seeds => accuracy,
            1 => format!("{accuracy} (1 seed)"),
            count => format!("{accuracy} ({count} seeds)"),
        }
    }
}

/// A configuration without its seed and T: of a framing, the number of frames is T.
fn but_steps(config: &RunConfig) -> RunConfig {
    let frames = format!(":{}", config.time_steps);
    let but_frames = |framing: &String| framing.strip_suffix(&frames).unwrap_or(framing).to_owned();
    let framing = config.framing.as_ref().map(but_frames);
    RunConfig { time_steps: 0, framing, ..config.but_seed() }
}

/// The accuracy if the vote were taken after 1, 2, 4 and so on of the time steps, and after all of them: of the runs that
/// recorded it. The ANN twin has but one step.
pub(crate) fn early(groups: &[Group<'_>]) -> Vec<Block> {
    let voted = |group: &&Group<'_>| !group.first().config.ann && group.first().anytime.is_some();
    let groups: Vec<&Group<'_>> = groups.iter().filter(voted).collect();
    if groups.is_empty() {
        return Vec::new();
    }
    let ends: BTreeSet<usize> = groups.iter().map(|group| group.first().time_steps).collect();
    let longest = ends.last().copied().unwrap_or(0);
    let doubled = std::iter::successors(Some(1), |t| Some(2 * t)).take_while(|t| *t < longest);
    let columns: BTreeSet<usize> = ends.into_iter().chain(doubled).collect();
    let about = "Latency: the same networks, voting after t time steps of their T, accuracy in % after the last epoch \
                 (each t stands in the records):";
    let mut out = headed("row", columns.iter().map(|t| format!("t = {t}")));
    for group in groups {
        let mut row = vec![format!("{}, T = {}", row_name(group), group.first().time_steps)];
        row.extend(
            columns.iter().map(|t| {
                after(group, *t).map(|accuracies| super::spread(&accuracies, 2)).unwrap_or_default()
            }),
        );
        out.add(row, group.records().iter().copied());
    }
    vec![Block::Text(about.to_owned()), Block::Grid(out)]
}

/// The accuracy after each time step, where each seed recorded it; none of the ANN twin.
pub(crate) fn line(group: &Group<'_>) -> Option<Line> {
    let points = (1..=group.first().time_steps).map(|t| Some(Point::of(t, &after(group, t)?)));
    let points = points.collect::<Option<Vec<_>>>()?;
    Some(Line { rule: group.first().config.rule()?, points })
}

/// The accuracy of each seed if the vote were taken after `t` time steps, where each recorded it.
fn after(group: &Group<'_>, t: usize) -> Option<Vec<f64>> {
    group.records().iter().map(|record| record.anytime.as_ref()?.get(t - 1).copied()).collect()
}

fn headed(first: &str, rest: impl Iterator<Item = String>) -> Grid {
    Grid::new(std::iter::once(first.to_owned()).chain(rest), 1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bpsta_spiking::Rule;

    use super::*;

    /// Accepted runs of one rule on recordings, at each T.
    fn accepted() -> Vec<Record> {
        let records = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results/table6/quick/records");
        let records = std::fs::read_dir(records).unwrap().map(|entry| std::fs::read(entry.unwrap().path()));
        let mut records: Vec<Record> =
            records.map(|bytes| serde_json::from_slice(&bytes.unwrap()).unwrap()).collect();
        records.retain(|record| record.config.rule() == Some(Rule::Both));
        records.sort_by_key(|record| record.time_steps);
        assert_eq!(records.iter().map(|record| record.time_steps).collect::<Vec<_>>(), [4, 8, 16]);
        records
    }

    /// Name and accuracies, in %, of each row that is trained and tested at each T.
    fn rows(records: &[Record]) -> Vec<(String, Vec<String>)> {
        let groups = Group::all(&records.iter().collect::<Vec<_>>());
        let of = |row: &Row<'_>| {
            let cells = [4, 8, 16].map(|steps| row.cell(steps, |record| record.accuracy.last));
            (row.name.clone(), cells.to_vec())
        };
        Row::all(&groups).iter().map(of).collect()
    }

    #[test]
    fn one_configuration_is_one_row_however_many_seeds_a_t_has() {
        let records = accepted();
        let name = "both, large width 0.0625, synthetic stand-in";
        let [row] = &rows(&records)[..] else { panic!("one row") };
        assert_eq!((row.0.as_str(), row.1.iter().all(|cell| !cell.contains("seed"))), (name, true));

        let seeded = |record: &Record, seed| {
            let mut record = record.clone();
            (record.seed, record.config.seed) = (seed, seed);
            record
        };
        let mut more = records.clone();
        more.extend([seeded(&records[0], 2), seeded(&records[1], 2)]);
        let [row] = &rows(&more)[..] else { panic!("one row") };
        let ends = [" (2 seeds)", " (2 seeds)", " (1 seed)"];
        assert_eq!(row.0, name);
        assert!(row.1.iter().zip(ends).all(|(cell, end)| cell.ends_with(end)), "{row:?}");

        more.push(seeded(&records[2], 2));
        let [row] = &rows(&more)[..] else { panic!("one row") };
        assert_eq!(row.0, format!("{name}, 2 seeds"));
        assert!(row.1.iter().all(|cell| cell.contains('±') && !cell.contains("seed")), "{row:?}");
    }

    #[test]
    fn configurations_that_differ_in_anything_but_t_are_rows_of_their_own() {
        type Edit = fn(&mut RunConfig);
        let edits: [(Edit, &str); 4] = [
            (|config| config.batch_size += 1, "batches of "),
            (|config| config.code_version += 1, "code version "),
            (|config| config.manifest_hash = "0123456789".to_owned(), "data 01234567"),
            (|config| config.framing = Some(format!("time:{}", config.time_steps)), "framed by time"),
        ];
        for (edit, words) in edits {
            // Of another T, so that no column has both.
            let mut records = accepted();
            edit(&mut records[2].config);
            let rows = rows(&records);
            assert_eq!(rows.len(), 2, "{words}: {rows:?}");
            assert_ne!(rows[0].0, rows[1].0);
            assert!(rows[1].0.contains(words), "{words}: {rows:?}");
            assert_eq!((rows[0].1[2].as_str(), rows[1].1[0].as_str()), ("", ""));
        }
    }
}
