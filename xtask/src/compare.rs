//! `cargo xtask compare`: two sets of runs, and an exit code.

use std::path::Path;
use std::process::ExitCode;

use bpsta_harness::{ComparisonVerdict, Limits, compare};
use clap::Args;

use crate::print;

/// The exit codes, which other programs rely on.
const EXIT_CODES: &str = "\
BASE and NEW are each a folder with RUN_ID/record.json (a run store) or records/RUN_ID.json (accepted results) somewhere under it, or a
git revision, whose results/ is then read. A name that is both is the folder.

Runs are paired by run id, the rest by profile, data set, network, width, variant, T, rule and seed. Under one configuration and code
version all accuracies, losses, spike counts and parameters must be equal bit for bit (engine `reference` and ANN warm-up: on one CPU
model). Where either changed, accuracies are compared over seeds: NEW regressed where its mean is lower and the 95 % interval of the
paired differences, by Student's t, leaves 0 out; with fewer than 3 seeds, where it is more than 1 percentage point lower. A mean
that fell further than that, and few seeds do not tell it from chance, is named and is no regression: more seeds would tell.

Exit codes:
  0  same: nothing that must be equal differs, and nothing regressed
  1  regressed: something that must be equal differs, or an accuracy fell (with --fail-on-time: or a time rose; with --exact: or
     a run of BASE is not there again, under its run id)
  2  not comparable: no pair, other data, a record that is none or contradicts itself, or no such folder or revision";

/// What against what.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct CompareArgs {
    /// The runs to compare with: a folder, or a git revision
    #[arg(value_name = "BASE")]
    base: String,
    /// The runs to judge: a folder, or a git revision
    #[arg(value_name = "NEW")]
    new: String,
    /// Flag times whose median ratio NEW/BASE is above this
    #[arg(long, value_name = "RATIO", default_value = "1.3", value_parser = ratio)]
    time_tolerance: f64,
    /// Let a flagged time alone be a regression
    #[arg(long)]
    fail_on_time: bool,
    /// Let every run of BASE be in NEW again, of one configuration and code version; one that is not is a regression
    #[arg(long)]
    exact: bool,
    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
}

/// A ratio that times can be held to.
fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse::<f64>().ok().filter(|ratio| ratio.is_finite() && *ratio >= 1.0);
    ratio.ok_or_else(|| "expected a number of 1 or more, such as 1.3".to_owned())
}

/// Runs the command. Whether its output can be written or not: the exit code is the verdict's.
pub(crate) fn run(args: &CompareArgs) -> ExitCode {
    let limits =
        Limits { time_tolerance: args.time_tolerance, fail_on_time: args.fail_on_time, exact: args.exact };
    let comparison = match compare(&args.base, &args.new, Path::new("."), limits) {
        Ok(comparison) => comparison,
        Err(error) => {
            let verdict = ComparisonVerdict::NotComparable;
            print::note(format_args!("not comparable: {error}"));
            if args.json {
                let json = serde_json::json!({ "verdict": verdict, "error": error.to_string() });
                told(serde_json::to_string_pretty(&json).unwrap_or_default());
            }
            return ExitCode::from(verdict as u8);
        }
    };
    told(match args.json {
        true => serde_json::to_string_pretty(&comparison).unwrap_or_default(),
        false => comparison.to_string().trim_end().to_owned(),
    });
    ExitCode::from(comparison.verdict as u8)
}

/// Prints what the comparison says; where it cannot be written, the exit code still says it.
fn told(text: String) {
    if let Err(error) = print::line(text) {
        print::note(format_args!("error: the comparison cannot be written: {error}"));
    }
}
