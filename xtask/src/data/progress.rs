//! Bars of the `data` commands.

use std::collections::HashMap;
use std::sync::Mutex;

use bpsta_datasets::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::print;

/// A progress bar on the terminal, if there is one; notices go to standard error in any case.
pub(super) fn show() -> impl Fn(Progress) + Send + Sync + 'static {
    let bars = MultiProgress::new();
    let bar = bars.add(ProgressBar::no_length());
    let downloads: Mutex<HashMap<String, ProgressBar>> = Mutex::default();
    // The templates are fixed, and a test of the command line would find a wrong one.
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} ({eta} left)") {
        bar.set_style(style);
    }
    let of_bytes =
        ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec} ({eta} left)");
    move |progress| match progress {
        Progress::Bytes { file, done, total } => {
            let Ok(mut downloads) = downloads.lock() else { return };
            let bar = downloads.entry(file.clone()).or_insert_with(|| {
                let bar = bars.add(ProgressBar::no_length());
                if let Ok(style) = &of_bytes {
                    bar.set_style(style.clone());
                }
                bar.set_message(file);
                // What an earlier run fetched says nothing about the rate.
                bar.set_position(done);
                bar.reset_eta();
                bar
            });
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_position(done);
            if total == Some(done) {
                bar.finish_and_clear();
            }
        }
        Progress::Step { stage, done, total } => {
            bar.set_length(total as u64);
            bar.set_message(stage.to_string());
            bar.set_position(done as u64);
            if done == total {
                bar.finish_and_clear();
            }
        }
        Progress::Notice(text) => bars.suspend(|| print::note(format_args!("note: {text}"))),
    }
}
