//! Times as ratios: they hold for one machine, and there only within its noise.

use serde::Serialize;

use super::pairs::{Match, cpu_model};
use crate::statistics::median;
use crate::{DeviceKind, Record};

/// Reads a time off a record.
type Read = fn(&Record) -> f64;

/// Times by their keys.
const TIMES: [(&str, Read); 2] = [
    ("train_ms_per_sample", |record| record.train_ms_per_sample),
    ("test_ms_per_sample", |record| record.test_ms_per_sample),
];

/// A time of NEW over that of BASE.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeRatio {
    /// The key of the time.
    pub key: &'static str,
    /// The pairs judged: both on one CPU model, on as many threads.
    pub pairs: usize,
    /// The median ratio over them; none where there are none.
    pub median: Option<f64>,
    /// Why it was not judged.
    pub not_judged: Option<&'static str>,
    /// Whether it is beyond the tolerance.
    pub slower: bool,
}

/// Judges the times of pairs that met the same data.
pub(super) fn ratios(pairs: &[Match<'_>], tolerance: f64) -> Vec<TimeRatio> {
    let recorded =
        |pair: &&Match<'_>| cpu_model(&pair.base.record).is_some() && cpu_model(&pair.new.record).is_some();
    let same = |pair: &&Match<'_>| {
        let on_cpu = [pair.base, pair.new].iter().all(|run| run.record.config.device == DeviceKind::Cpu);
        let machine = cpu_model(&pair.base.record) == cpu_model(&pair.new.record);
        on_cpu && machine && pair.base.record.threads == pair.new.record.threads
    };
    let recorded: Vec<&Match<'_>> = pairs.iter().filter(recorded).collect();
    let judged: Vec<&&Match<'_>> = recorded.iter().filter(|pair| same(pair)).collect();
    let not_judged = match (recorded.len(), judged.len()) {
        (0, _) => Some("machines not recorded: not judged"),
        (_, 0) => Some("no pair on one CPU model and as many threads: not judged"),
        _ => None,
    };
    let ratio = |(key, read): (&'static str, Read)| {
        let of = |pair: &&&Match<'_>| read(&pair.new.record) / read(&pair.base.record);
        let ratios: Vec<f64> = judged.iter().map(of).filter(|ratio| ratio.is_finite()).collect();
        let median = median(ratios.iter().copied());
        TimeRatio {
            key,
            pairs: ratios.len(),
            median,
            not_judged,
            slower: median.is_some_and(|median| median > tolerance),
        }
    };
    TIMES.into_iter().map(ratio).collect()
}
