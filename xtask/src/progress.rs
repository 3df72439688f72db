//! How far a grid is: a bar where a person looks, plain lines where a file or a pipe does.

use std::time::{Duration, Instant};

use bpsta_harness::{EpochRecord, Event, RunConfig};
use indicatif::{ProgressBar, ProgressStyle};

use crate::interrupt::Interrupt;
use crate::print;

/// Between two lines of a cell, where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// What is shown of a grid while it runs.
#[derive(Debug)]
pub(crate) struct GridProgress {
    bar: ProgressBar,
    interrupt: Interrupt,
    cell: String,
    /// The last epoch in words, empty before the first.
    epoch: String,
    said: Instant,
    /// Whether Ctrl-C was answered.
    answered: bool,
    /// Cells that are worked at in the time of one.
    at_once: usize,
}

impl GridProgress {
    /// Nothing has happened yet; so many cells are worked at in the time of one.
    pub(crate) fn new(interrupt: Interrupt, at_once: usize) -> anyhow::Result<Self> {
        let bar = ProgressBar::new(1000);
        bar.set_style(ProgressStyle::with_template("{bar:30} {percent:>3}% {msg}")?);
        let said = Instant::now();
        Ok(Self { bar, interrupt, cell: String::new(), epoch: String::new(), said, answered: false, at_once })
    }

    /// Shows an event.
    pub(crate) fn show(&mut self, event: Event<'_>) {
        match event {
            Event::AlreadyFinished { record } => {
                self.say(&format!("finished before: {} ({})", record.config.name(), record.run_id));
            }
            Event::Elsewhere { cell } => {
                let name = cell.config.name();
                self.say(&format!("{name}: another process runs it; it is waited for at the end"));
            }
            Event::Started { cell, number, of } => {
                self.cell = format!("cell {number}/{of}: {}", cell.config.name());
                self.epoch.clear();
                self.said = Instant::now();
                self.bar.set_message(self.cell.clone());
            }
            Event::Notice { text } => self.say(&format!("note: {text}")),
            Event::Resumed { cell, epochs } => {
                self.say(&format!("{}: goes on behind epoch {epochs} of {}", self.cell, cell.config.epochs));
            }
            Event::Advanced { done, seconds_left } => self.advanced(done, seconds_left),
            Event::Epoch { cell, epoch } => self.epoch = in_words(epoch, &cell.config),
            Event::Finished { record, path } => {
                let (accuracy, rate) = (record.accuracy, record.firing_rate);
                self.say(&format!(
                    "{}: {:.2} % after the last epoch, {:.2} % at the best test epoch, firing rate {rate:.3}, {} -> {}",
                    self.cell,
                    accuracy.last,
                    accuracy.best_test,
                    duration(record.wall_seconds),
                    path.display()
                ));
            }
            Event::AlreadyFailed { cell, failure } => {
                self.say(&format!("{}: has failed in this call: {}", cell.config.name(), failure.error));
            }
            Event::Failed { failure, .. } => {
                self.say(&format!("{}: failed, and the others go on: {}", self.cell, failure.error));
            }
        }
    }

    fn advanced(&mut self, done: f64, seconds_left: f64) {
        if self.interrupt.pressed() && !self.answered {
            self.answered = true;
            self.say("Ctrl-C: stops behind this epoch and keeps it; Ctrl-C again stops at once");
        }
        let left = duration(seconds_left / self.at_once as f64);
        self.bar.set_position((done * 1000.0) as u64);
        self.bar.set_message(format!("{}{}, {left} left", self.cell, self.epoch));
        if self.bar.is_hidden() && self.said.elapsed() >= LINE_EVERY {
            let percent = 100.0 * done;
            self.say(&format!("{}{}; {percent:.0} % of all cells, {left} left", self.cell, self.epoch));
            self.said = Instant::now();
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// A line above the bar; a plain line where there is no terminal.
    fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            print::note(line);
        } else {
            self.bar.println(line);
        }
    }
}

fn in_words(epoch: &EpochRecord, config: &RunConfig) -> String {
    let (done, loss, accuracy) = (epoch.epoch, epoch.train_loss, epoch.test_accuracy);
    format!(", epoch {done} of {}: loss {loss:.4}, test {accuracy:.2} %", config.epochs)
}

/// A time for people.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds.clamp(0.0, 1e9)).as_secs();
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, _) => format!("{seconds:.1} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}
