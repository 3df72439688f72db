//! Test accuracy over epochs: the paper's Figures 1 and 3, one panel a simulation length, with the range over seeds.

use std::fmt::Write;

use bpsta_spiking::Rule;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Group, row_name};
use crate::{HarnessError, Record, Result};

const PANEL: (u32, u32) = (520, 380);
/// Okabe and Ito's colours, which most colour-blind people tell apart.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 0, 0), RGBColor(230, 159, 0), RGBColor(0, 114, 178), RGBColor(204, 121, 167)];

/// An accuracy over the seeds: after an epoch, or after a time step.
pub(crate) struct Point {
    at: usize,
    mean: f64,
    low: f64,
    high: f64,
}

impl Point {
    /// Of at least one value; `at` counts from 1.
    pub(crate) fn of(at: usize, values: &[f64]) -> Self {
        Self {
            at,
            mean: values.iter().sum::<f64>() / values.len() as f64,
            low: values.iter().copied().fold(f64::INFINITY, f64::min),
            high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

/// The accuracies of one configuration.
pub(crate) struct Line {
    /// Its row's name.
    pub(crate) name: String,
    /// Its rule, which gives the colour.
    pub(crate) rule: Rule,
    /// In their order.
    pub(crate) points: Vec<Point>,
}

impl Line {
    /// Test accuracy over epochs.
    pub(crate) fn over_epochs(group: &Group<'_>) -> Self {
        Self { name: row_name(group), rule: group.first().config.neuron.rule, points: points(group) }
    }
}

fn points(group: &Group<'_>) -> Vec<Point> {
    let epochs = group.first().epochs.len();
    let at = |epoch: usize| {
        let of = |record: &Record| record.epochs.get(epoch).map_or(f64::NAN, |epoch| epoch.test_accuracy);
        Point::of(epoch + 1, &group.records().iter().map(|record| of(record)).collect::<Vec<_>>())
    };
    (0..epochs).map(at).collect()
}

/// A line an epoch: data, row, T, epoch, seeds, mean, lowest and highest accuracy in %.
pub(super) fn csv(groups: &[Group<'_>]) -> String {
    let mut text = String::from(
        "data,row,time_steps,epoch,seeds,test_accuracy_mean,test_accuracy_low,test_accuracy_high\n",
    );
    for group in groups {
        let first = group.first();
        for point in points(group) {
            let Point { at: epoch, mean, low, high } = point;
            let _ = writeln!(
                text,
                "\"{}\",\"{}\",{},{epoch},{},{mean:.4},{low:.4},{high:.4}",
                first.data,
                row_name(group),
                first.time_steps,
                group.records().len()
            );
        }
    }
    text
}

/// One drawing of all panels; the title says what data they come from.
pub(super) fn svg(title: &str, groups: &[Group<'_>]) -> Result<Vec<u8>> {
    let mut lengths: Vec<usize> = groups.iter().map(|group| group.first().time_steps).collect();
    lengths.sort_unstable();
    lengths.dedup();
    let columns = lengths.len().clamp(1, 2);
    let rows = lengths.len().div_ceil(columns);
    let size = (PANEL.0 * columns as u32, PANEL.1 * rows as u32 + 70);
    let mut text = String::new();
    draw(title, groups, &lengths, (rows, columns), size, &mut text)
        .map_err(|error| HarnessError::Plot { title: title.to_owned(), why: error.to_string() })?;
    Ok(text.into_bytes())
}

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

fn draw(
    title: &str,
    groups: &[Group<'_>],
    lengths: &[usize],
    grid: (usize, usize),
    size: (u32, u32),
    text: &mut String,
) -> Drawn {
    let area = SVGBackend::with_string(text, size).into_drawing_area();
    area.fill(&WHITE)?;
    let mut lines = title.lines();
    let (head, body) = area.split_vertically(70);
    head.draw(&Text::new(lines.next().unwrap_or_default().to_owned(), (16, 12), ("sans-serif", 18)))?;
    head.draw(&Text::new(lines.next().unwrap_or_default().to_owned(), (16, 38), ("sans-serif", 13)))?;
    for (panel, steps) in body.split_evenly(grid).iter().zip(lengths) {
        let of_length = groups.iter().filter(|of| of.first().time_steps == *steps);
        let lines: Vec<Line> = of_length.map(Line::over_epochs).collect();
        chart(panel, &format!("T = {steps}"), "epoch", &lines, true)?;
    }
    area.present()?;
    Ok(())
}

/// One panel alone as SVG, without a legend: what shows it has its own. Its ground is transparent.
pub(crate) fn panel(caption: &str, x: &str, lines: &[Line]) -> Result<String> {
    let mut text = String::new();
    draw_panel(caption, x, lines, &mut text)
        .map_err(|error| HarnessError::Plot { title: caption.to_owned(), why: error.to_string() })?;
    Ok(text)
}

fn draw_panel(caption: &str, x: &str, lines: &[Line], text: &mut String) -> Drawn {
    let area = SVGBackend::with_string(text, PANEL).into_drawing_area();
    chart(&area, caption, x, lines, false)?;
    area.present()?;
    Ok(())
}

fn chart(
    panel: &DrawingArea<SVGBackend<'_>, Shift>,
    caption: &str,
    x: &str,
    lines: &[Line],
    legend: bool,
) -> Drawn {
    let last = lines.iter().map(|line| line.points.len()).max().unwrap_or(1).max(2);
    let mut chart = ChartBuilder::on(panel)
        .caption(caption, ("sans-serif", 15))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(48)
        .build_cartesian_2d(1.0..last as f64, 0.0..100.0)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(x)
        .x_labels(last.min(10))
        .y_desc("test accuracy in %")
        .x_label_formatter(&|at| format!("{at:.0}"))
        .y_label_formatter(&|accuracy| format!("{accuracy:.0}"))
        .draw()?;
    for line in lines {
        let colour = COLOURS[line.rule as usize % COLOURS.len()];
        let up = line.points.iter().map(|point| (point.at as f64, point.high));
        let down = line.points.iter().rev().map(|point| (point.at as f64, point.low));
        chart.draw_series(std::iter::once(Polygon::new(
            up.chain(down).collect::<Vec<_>>(),
            colour.mix(0.12),
        )))?;
        let means = line.points.iter().map(|point| (point.at as f64, point.mean));
        let drawn = chart.draw_series(LineSeries::new(means, colour.stroke_width(2)))?;
        if legend {
            drawn
                .label(line.name.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
    }
    if legend {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", 11))
            .draw()?;
    }
    Ok(())
}
