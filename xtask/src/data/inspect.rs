//! `cargo xtask data inspect`: what a file holds.

use std::path::Path;

use bpsta_datasets::{ImageSummary, Inspection, inspect, thousands};
use bpsta_events::Summary;

use super::{or_none, table};
use crate::print;

/// Runs the command.
pub(super) fn run(file: &Path, json: bool, format: Option<&str>) -> anyhow::Result<()> {
    let inspection = inspect(file, format)?;
    if json {
        print::line(serde_json::to_string_pretty(&inspection)?)?;
        return Ok(());
    }
    let mut table = table([file.display().to_string(), String::new()]);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    match inspection {
        Inspection::Events(summary) => event_rows(&summary, &mut row),
        Inspection::Images(summary) => image_rows(&summary, &mut row),
        other => row("contents", format!("{other:?}")),
    }
    print::line(&table)?;
    Ok(())
}

fn event_rows(summary: &Summary, row: &mut dyn FnMut(&str, String)) {
    let range =
        |low: Option<u16>, high: Option<u16>| low.zip(high).map(|(low, high)| format!("{low} to {high}"));
    row("format", summary.format.to_string());
    row("sensor (width x height)", summary.sensor.to_string());
    row("events", thousands(summary.events));
    row("first timestamp (us)", or_none(summary.first_us));
    row("last timestamp (us)", or_none(summary.last_us));
    row("duration (us)", or_none(summary.duration_us));
    row("x", or_none(range(summary.x_min, summary.x_max)));
    row("y", or_none(range(summary.y_min, summary.y_max)));
    row("ON events", thousands(summary.on));
    row("OFF events", thousands(summary.off));
    let notes = [
        ("timestamp overflow markers (y = 240), kept as events", summary.notes.overflow_markers),
        ("timestamps step back, kept in file order", summary.notes.steps_back),
        ("events off the sensor, kept", summary.notes.off_sensor),
        ("address bits set beyond the sensor's, ignored", summary.notes.high_address_bits),
        ("packets of other types or streams, skipped", summary.notes.skipped_packets),
        ("events marked invalid, kept", summary.notes.invalid_events),
    ];
    for (name, count) in notes.into_iter().filter(|(_, count)| *count > 0) {
        row(name, count.to_string());
    }
}

fn image_rows(summary: &ImageSummary, row: &mut dyn FnMut(&str, String)) {
    let range = |range: Option<[u8; 2]>| range.map(|[low, high]| format!("{low} to {high}"));
    row("format", summary.format.to_owned());
    row(if summary.image.is_some() { "images" } else { "labels" }, thousands(summary.count));
    row(
        "image (channels x height x width)",
        or_none(summary.image.map(|[c, h, w]| format!("{c} x {h} x {w}"))),
    );
    row("pixels", or_none(range(summary.pixels)));
    row("label range", or_none(range(summary.labels)));
}
