//! A comparison in words: the verdict first, then a table for each kind of difference that there is.

use std::fmt::{self, Write};

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;

use super::accuracy::TOLERANCE;
use super::changes::in_words;
use super::{ChangeKind, Comparison, ComparisonVerdict, Pair};

/// Run ids that a line names at most.
const MOST_IDS: usize = 2;

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.headline())?;
        let (base, new) = (self.only_in_base.len(), self.only_in_new.len());
        writeln!(f, "BASE {}: {}", self.base, counted(self.pairs.len() + base, "run"))?;
        writeln!(f, "NEW  {}: {}", self.new, counted(self.pairs.len() + new, "run"))?;
        for (kind, title) in [
            (ChangeKind::Configuration, "Configuration"),
            (ChangeKind::Data, "Data: other files, so what was measured is not compared"),
            (ChangeKind::Code, "Code"),
            (ChangeKind::Machine, "Machine, which shapes no value of the CPU engine"),
        ] {
            self.changes(f, kind, title)?;
        }
        self.equal(f)?;
        self.accuracies(f)?;
        self.times(f)?;
        for (name, runs) in [("BASE", &self.only_in_base), ("NEW", &self.only_in_new)] {
            let rows = runs.iter().map(|run| vec![run.run_id.clone(), run.about.clone()]).collect();
            section(f, &format!("Only in {name}"), &["run", "about"], rows)?;
        }
        Ok(())
    }
}

impl Comparison {
    /// The verdict in one line.
    fn headline(&self) -> String {
        let (unequal, bound) =
            (self.unequal().count(), self.pairs.iter().filter(|pair| pair.must_be_equal).count());
        let fell = self.accuracies.iter().filter(|group| group.regressed).count();
        let untold = self.accuracies.iter().filter(|group| group.untold).count();
        let other_data = self.pairs.iter().filter(|pair| pair.other_data).count();
        let free = self.pairs.len() - bound - other_data;
        let slower: Vec<&str> = self.times.iter().filter(|time| time.slower).map(|time| time.key).collect();
        let mut parts = Vec::new();
        let word = match self.verdict {
            ComparisonVerdict::Same => "same",
            ComparisonVerdict::Regressed => "regressed",
            ComparisonVerdict::NotComparable => "not comparable",
        };
        if self.pairs.is_empty() {
            parts.push("no run of BASE has a partner in NEW".to_owned());
        }
        if unequal > 0 {
            parts.push(format!(
                "{unequal} of {} that must be equal bit for bit differ",
                counted(bound, "pair")
            ));
        } else if bound > 0 {
            parts.push(format!("{} equal bit for bit", counted(bound, "pair")));
        }
        if fell > 0 {
            parts.push(format!("{fell} of {} fell", counted(self.accuracies.len(), "accuracy")));
        } else if free > 0 {
            parts.push(format!("{} may differ and did not regress", counted(free, "pair")));
        }
        if untold > 0 {
            parts.push(format!(
                "{untold} fell by more than {TOLERANCE} point, which the seeds do not tell from chance"
            ));
        }
        if self.limits.exact && self.not_again() > 0 {
            parts.push(format!("{} of BASE not there again in NEW", counted(self.not_again(), "run")));
        }
        if other_data > 0 {
            parts.push(format!("{} met other data", counted(other_data, "pair")));
        }
        if !slower.is_empty() {
            parts.push(format!("slower: {}", slower.join(", ")));
        }
        for (name, runs) in [("BASE", &self.only_in_base), ("NEW", &self.only_in_new)] {
            // Those of BASE are counted above already where each must be there again.
            let counted_above = self.limits.exact && name == "BASE";
            if !runs.is_empty() && !counted_above {
                parts.push(format!("{} only in {name}", counted(runs.len(), "run")));
            }
        }
        format!("{word}: {}", parts.join("; "))
    }

    /// Changed keys of a kind, each change once with the runs that it is in.
    fn changes(&self, f: &mut fmt::Formatter<'_>, kind: ChangeKind, title: &str) -> fmt::Result {
        let mut found: Vec<([String; 3], Vec<String>)> = Vec::new();
        for pair in &self.pairs {
            for change in pair.changes.iter().filter(|change| change.kind == kind) {
                let row = [change.key.clone(), in_words(change.base.as_ref()), in_words(change.new.as_ref())];
                match found.iter_mut().find(|(known, _)| *known == row) {
                    Some((_, runs)) => runs.push(ids(pair)),
                    None => found.push((row, vec![ids(pair)])),
                }
            }
        }
        let rows = found.into_iter().map(|(row, runs)| [&row[..], &[some(&runs)]].concat()).collect();
        section(f, title, &["key", "BASE", "NEW", "runs"], rows)
    }

    /// What must be equal and is not: where it begins, and where it ends.
    fn equal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |pair: &Pair| {
            // An epoch says more than the final accuracy, which stands first: from there on the runs part.
            let in_epoch = pair.differences.iter().filter(|one| one.key.starts_with("epochs["));
            let first = in_epoch.min_by_key(|one| epoch(&one.key)).or(pair.differences.first());
            let (key, base, new) = first.map_or_else(Default::default, |one| {
                (one.key.clone(), in_words(one.base.as_ref()), in_words(one.new.as_ref()))
            });
            vec![ids(pair), pair.about.clone(), pair.differences.len().to_string(), key, base, new]
        };
        let rows: Vec<Vec<String>> = self.unequal().map(row).collect();
        let there = !rows.is_empty();
        let columns = ["run", "about", "values", "first", "BASE", "NEW"];
        section(f, "Must be equal bit for bit, and is not", &columns, rows)?;
        if there {
            writeln!(
                f,
                "\nOne configuration and code version gave other numbers. Find what moved them; if it is meant, raise \
                 CODE_VERSION and run again."
            )?;
        }
        Ok(())
    }

    fn accuracies(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.accuracies.iter().map(|group| {
            let runs: Vec<String> = group.runs.iter().map(|(base, new)| pair_of(base, new)).collect();
            let interval = match group.difference.interval {
                Some((low, high)) if group.enough_seeds => format!("{low:+.2} to {high:+.2}"),
                _ => "too few seeds to tell".to_owned(),
            };
            vec![
                match (group.regressed, group.untold) {
                    (true, _) => "regressed".to_owned(),
                    (false, true) => "fell, not told from chance".to_owned(),
                    (false, false) => "not regressed".to_owned(),
                },
                group.about.clone(),
                group.key.trim_start_matches("accuracy.").to_owned(),
                group.difference.count.to_string(),
                format!("{:.2}", group.base),
                format!("{:.2}", group.new),
                format!("{:+.2}", group.difference.mean),
                interval,
                some(&runs),
            ]
        });
        let columns = [
            "verdict",
            "about",
            "accuracy",
            "seeds",
            "BASE %",
            "NEW %",
            "NEW - BASE",
            "95 % interval",
            "runs",
        ];
        section(f, "Accuracies of runs that may differ, in percentage points", &columns, rows.collect())?;
        if self.accuracies.iter().any(|group| !group.enough_seeds) {
            writeln!(
                f,
                "\nWhere seeds are too few to tell, a mean may fall by {TOLERANCE} percentage point."
            )?;
        }
        Ok(())
    }

    fn times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.times.iter().filter(|_| !self.pairs.is_empty()).map(|time| {
            let median = time.median.map_or_else(|| "-".to_owned(), |median| format!("{median:.2}"));
            let verdict = match time.not_judged {
                Some(why) => why.to_owned(),
                None if time.slower => format!("slower: above {}", self.limits.time_tolerance),
                None => format!("not above {}", self.limits.time_tolerance),
            };
            vec![time.key.to_owned(), time.pairs.to_string(), median, verdict]
        });
        section(f, "Times", &["time", "pairs", "median NEW/BASE", "verdict"], rows.collect())
    }
}

/// A table under its title; nothing where there are no rows.
fn section(f: &mut fmt::Formatter<'_>, title: &str, columns: &[&str], rows: Vec<Vec<String>>) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(columns.to_vec()).add_rows(rows);
    writeln!(f, "\n{title}\n\n{table}")
}

/// The number of the epoch in a key such as `epochs[12].train_loss`.
fn epoch(key: &str) -> usize {
    let number = key.strip_prefix("epochs[").and_then(|rest| rest.split(']').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(usize::MAX)
}

fn ids(pair: &Pair) -> String {
    pair_of(&pair.base, &pair.new)
}

/// One id where both are the same.
fn pair_of(base: &str, new: &str) -> String {
    if base == new { base.to_owned() } else { format!("{base} -> {new}") }
}

/// The first few, and how many more there are.
fn some(ids: &[String]) -> String {
    let mut text = ids.iter().take(MOST_IDS).cloned().collect::<Vec<_>>().join(", ");
    if ids.len() > MOST_IDS {
        let _ = write!(text, " and {} more", ids.len() - MOST_IDS);
    }
    text
}

fn counted(count: usize, thing: &str) -> String {
    match (count, thing.strip_suffix('y')) {
        (1, _) => format!("1 {thing}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        _ => format!("{count} {thing}s"),
    }
}
