//! What the numbers of a page are not: said at its head, in each row, and at its end.

use std::collections::BTreeSet;

use super::Chapter;
use crate::order::by_data;
use crate::views::Group;
use crate::{CODE_VERSION, Certainty, Experiment, Record, Verdict, verdict};

/// What stands beside the numbers of a row that misses nothing of the protocol.
const WHOLE: &str = "the paper's protocol";

/// How a row's runs depart from the paper's protocol, or that they do not: never empty where there are runs.
pub(super) fn marks<'a>(
    experiment: &Experiment,
    records: impl IntoIterator<Item = &'a Record>,
) -> Vec<String> {
    let (mut marks, mut any) = (Vec::new(), false);
    for mark in
        records.into_iter().inspect(|_| any = true).flat_map(|record| verdict::less(experiment, record))
    {
        if !marks.contains(&mark) {
            marks.push(mark);
        }
    }
    if any && marks.is_empty() {
        marks.push(WHOLE.to_owned());
    }
    marks
}

/// The page's first sentences: how many runs on which data, and what they say of the paper's values.
pub(super) fn lead(chapters: &[Chapter], runs: &[&Record]) -> [String; 2] {
    let count = |of: fn(&Record) -> bool| runs.iter().filter(|record| of(record)).count();
    let kinds = [
        (count(|record| record.synthetic), "on synthetic stand-ins"),
        (count(|record| !record.synthetic && record.subset.is_some()), "on subsets of the official data"),
        (count(|record| !record.synthetic && record.subset.is_none()), "on complete official data"),
    ];
    let kinds: Vec<String> =
        kinds.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    let mut finished = format!("{} finished runs: {}.", runs.len(), kinds.join(", "));
    let older = count(|record| record.config.code_version != CODE_VERSION);
    if older > 0 {
        finished += &format!(
            " {older} of them were made by another version of the code than {CODE_VERSION}, this program's."
        );
    }

    let mut of_value = [0; 5];
    let mut unsure = 0;
    for chapter in chapters {
        let records: Vec<&Record> = chapter.records.iter().collect();
        for value in &chapter.experiment.paper {
            let Some(verdict) = verdict::verdict(&chapter.experiment, value, &records) else { continue };
            of_value[match verdict {
                Verdict::Reproduced(agreement) => {
                    unsure += usize::from(agreement.certainty != Certainty::Sure);
                    0
                }
                Verdict::Deviates { .. } => 1,
                Verdict::Untold { .. } => 2,
                Verdict::Reduced { .. } => 3,
                Verdict::NotRun => 4,
            }] += 1;
        }
    }
    let [reproduced, deviates, untold, reduced, not_run] = of_value;
    let rest = format!("run at reduced scale only: {reduced}; not run: {not_run}");
    let said = if reproduced + deviates + untold == 0 {
        format!(
            "No run follows the paper's protocol, so no number here reproduces or contradicts one of the paper's. Of the values of its \
             own method, by artefact and profile, {rest}."
        )
    } else {
        format!(
            "Of the values of the paper's own method, by artefact and profile, reproduced: {reproduced}, {unsure} of them by too few seeds or seeds too far apart to be sure; deviating: {deviates}; off, \
             but not significantly: {untold}; {rest}."
        )
    };
    [finished, said]
}

/// One chapter's line at the end of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limit {
    /// Names the chapter, and its place on the page.
    pub(super) chapter: String,
    pub(super) items: Vec<String>,
}

/// What departs from the paper's protocol, by data set, with the seeds, and the data sets that were not run.
pub(super) fn limit(chapter: &Chapter) -> Limit {
    let Chapter { experiment, profile, records, .. } = chapter;
    let mut items = Vec::new();
    let sets = by_data(experiment, records);
    for (_, ours) in &sets {
        // Configurations that fall short in the same way are one item.
        let mut alike: Vec<(String, BTreeSet<usize>)> = Vec::new();
        for group in Group::all(ours) {
            let marks = marks(experiment, group.records().iter().copied()).join(", ");
            let seeds = group.records().len();
            match alike.iter_mut().find(|(known, _)| *known == marks) {
                Some((_, counts)) => {
                    counts.insert(seeds);
                }
                None => alike.push((marks, BTreeSet::from([seeds]))),
            }
        }
        for (marks, seeds) in alike {
            let counts = seeds.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
            let alone = if seeds.contains(&1) { "; one seed shows no spread" } else { "" };
            items.push(format!("{}: {marks}; seeds per row: {counts}{alone}.", ours[0].data));
        }
    }
    let ids = experiment.dataset.iter().map(|entry| entry.id);
    let not_run: Vec<String> =
        ids.filter(|id| !sets.iter().any(|(known, _)| known == id)).map(|id| id.to_string()).collect();
    if !not_run.is_empty() {
        items.push(format!("Not run: {}.", not_run.join(", ")));
    }
    Limit { chapter: format!("{}-{profile}", experiment.artefact), items }
}
