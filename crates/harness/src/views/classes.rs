//! Whether every class is found: an accuracy can hide that one of them is not.

use super::{Group, row_name, spread};
use crate::Record;
use crate::block::{Block, Grid};

/// The class that each network finds least often, of the runs that recorded their classes.
pub(crate) fn least_found(groups: &[Group<'_>]) -> Vec<Block> {
    let about = "Classes: the accuracy on the class that a network finds least often, in % of that class's test samples after the last epoch, mean \
                 over seeds and in the worst seed; and how many networks find some class less often than chance would.";
    let mut out =
        Grid::new(["row", "lowest class accuracy %", "worst seed %", "seeds with a class below chance"], 1);
    for group in groups {
        let found: Option<Vec<(f64, f64)>> = group.records().iter().map(|record| least(record)).collect();
        let Some(found) = found else { continue };
        let shares: Vec<f64> = found.iter().map(|(share, _)| *share).collect();
        let lost = found.iter().filter(|(share, chance)| share < chance).count();
        let row = [
            format!("{}, T = {}", row_name(group), group.first().time_steps),
            spread(&shares, 2),
            format!("{:.2}", shares.iter().copied().fold(f64::INFINITY, f64::min)),
            format!("{lost} of {}", found.len()),
        ];
        out.add(row, group.records().iter().copied());
    }
    if out.rows.is_empty() {
        return Vec::new();
    }
    vec![Block::Text(about.to_owned()), Block::Grid(out)]
}

/// The share of the class that a run's network finds least often, and what chance would find, in %; none of a run that did not record classes.
fn least(record: &Record) -> Option<(f64, f64)> {
    let classes = record.classes.as_ref()?;
    let shares = classes.iter().filter(|class| class.total > 0);
    let shares = shares.map(|class| 100.0 * class.correct as f64 / class.total as f64);
    Some((shares.fold(f64::INFINITY, f64::min), 100.0 / classes.len() as f64))
        .filter(|(least, _)| least.is_finite())
}
