//! Test accuracy over epochs: the paper's Figures 1 and 3, a panel for each configuration but for the rule, with the range over seeds.

use std::fmt::Write;

use bpsta_spiking::Rule;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Group, by_configuration, epochs, network, row_name};
use crate::{EpochRecord, HarnessError, Record, Result};

const PANEL: (u32, u32) = (520, 340);
/// Height of title and legend.
const HEAD: u32 = 84;
/// Of the rules in their order; Okabe and Ito's colours, which most colour-blind people tell apart.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 0, 0), RGBColor(230, 159, 0), RGBColor(0, 114, 178), RGBColor(204, 121, 167)];
/// Of the rules in their order, corners in pixels around a point, for print in black and white: disc, triangle, square, diamond.
const MARKERS: [&[(i32, i32)]; 4] = [
    &[(-2, -4), (2, -4), (4, -2), (4, 2), (2, 4), (-2, 4), (-4, 2), (-4, -2)],
    &[(0, -5), (5, 4), (-5, 4)],
    &[(-4, -4), (4, -4), (4, 4), (-4, 4)],
    &[(0, -6), (6, 0), (0, 6), (-6, 0)],
];
/// Markers on a line, at most.
const MARKED: usize = 10;

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
    /// Its rule, which gives colour and marker.
    pub(crate) rule: Rule,
    /// In their order.
    pub(crate) points: Vec<Point>,
}

impl Line {
    /// Test accuracy over epochs; none of the ANN twin, which follows no rule.
    pub(crate) fn over_epochs(group: &Group<'_>) -> Option<Self> {
        Some(Self { rule: group.first().config.rule()?, points: points(group) })
    }
}

/// Without the epochs of ANN warm-up, whose accuracy is no spiking network's.
fn points(group: &Group<'_>) -> Vec<Point> {
    let spiking = group.first().epochs.iter().enumerate().filter(|(_, epoch)| !epoch.ann_warm_up);
    let at = |(index, _): (usize, &EpochRecord)| {
        let of = |record: &Record| record.epochs.get(index).map_or(f64::NAN, |epoch| epoch.test_accuracy);
        Point::of(index + 1, &group.records().iter().map(|record| of(record)).collect::<Vec<_>>())
    };
    spiking.map(at).collect()
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

/// One drawing of all panels, one for each configuration but for the rule; the title says what data they come from.
pub(super) fn svg(title: &str, groups: &[Group<'_>]) -> Result<Vec<u8>> {
    let several = groups.iter().any(|group| group.first().dataset != groups[0].first().dataset);
    let panels = by_configuration(groups).into_iter().map(|groups| (caption(groups[0], several), groups));
    let panels: Vec<(String, Vec<&Group<'_>>)> = panels.collect();
    let columns = panels.len().clamp(1, 2);
    let rows = panels.len().div_ceil(columns).max(1);
    let size = (PANEL.0 * columns as u32, PANEL.1 * rows as u32 + HEAD);
    let mut text = String::new();
    draw(title, &panels, (rows, columns), size, &mut text)
        .map_err(|error| HarnessError::Plot { title: title.to_owned(), why: error.to_string() })?;
    Ok(text.into_bytes())
}

/// What tells a panel from the others; with the data set where there are several.
fn caption(group: &Group<'_>, several: bool) -> String {
    let record = group.first();
    let dataset = if several { format!("{}, ", record.dataset) } else { String::new() };
    format!("{dataset}T = {}, {}{}", record.time_steps, network(group), epochs(group))
}

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

fn draw(
    title: &str,
    panels: &[(String, Vec<&Group<'_>>)],
    grid: (usize, usize),
    size: (u32, u32),
    text: &mut String,
) -> Drawn {
    let area = SVGBackend::with_string(text, size).into_drawing_area();
    area.fill(&WHITE)?;
    let (head, body) = area.split_vertically(HEAD);
    for (line, (place, font)) in title.lines().zip([(10, 18), (36, 13)]) {
        head.draw(&Text::new(line.to_owned(), (16, place), ("sans-serif", font)))?;
    }
    // One legend for all panels, where it covers no line.
    for (place, rule) in Rule::ALL.into_iter().enumerate() {
        let x = 16 + 110 * place as i32;
        let colour = COLOURS[rule as usize];
        head.draw(&PathElement::new([(x, 68), (x + 22, 68)], colour.stroke_width(3)))?;
        head.draw(&(EmptyElement::at((x + 11, 68)) + marker(rule)))?;
        head.draw(&Text::new(rule.to_string(), (x + 28, 61), ("sans-serif", 13)))?;
    }
    for (panel, (name, groups)) in body.split_evenly(grid).iter().zip(panels) {
        let lines: Vec<Line> = groups.iter().filter_map(|group| Line::over_epochs(group)).collect();
        chart(panel, name, "epoch", &lines)?;
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
    chart(&area, caption, x, lines)?;
    area.present()?;
    Ok(())
}

fn chart(panel: &DrawingArea<SVGBackend<'_>, Shift>, caption: &str, x: &str, lines: &[Line]) -> Drawn {
    let points = || lines.iter().flat_map(|line| &line.points);
    let last = points().map(|point| point.at).max().unwrap_or(1).max(2) as i32;
    // Accuracies that lie near each other are still told apart.
    let least = points().map(|point| point.low).fold(90.0, f64::min);
    let least = 10.0 * (least / 10.0).floor();
    let mut chart = ChartBuilder::on(panel)
        .caption(caption, ("sans-serif", 15))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(48)
        .build_cartesian_2d(1..last, least..100.0)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc(x)
        .y_desc("test accuracy in %")
        .y_label_formatter(&|accuracy| format!("{accuracy:.0}"))
        .label_style(("sans-serif", 14))
        .draw()?;
    for line in lines {
        let colour = COLOURS[line.rule as usize];
        let up = line.points.iter().map(|point| (point.at as i32, point.high));
        let down = line.points.iter().rev().map(|point| (point.at as i32, point.low));
        chart.draw_series(std::iter::once(Polygon::new(
            up.chain(down).collect::<Vec<_>>(),
            colour.mix(0.12),
        )))?;
        let means = line.points.iter().map(|point| (point.at as i32, point.mean));
        chart.draw_series(LineSeries::new(means.clone(), colour.stroke_width(2)))?;
        // The last point has one always; a line of one point has no length, and nothing else to show.
        let apart = line.points.len().div_ceil(MARKED).max(1);
        chart.draw_series(
            means.rev().step_by(apart).map(|point| EmptyElement::at(point) + marker(line.rule)),
        )?;
    }
    Ok(())
}

/// Around (0, 0).
fn marker(rule: Rule) -> Polygon<(i32, i32)> {
    Polygon::new(MARKERS[rule as usize], COLOURS[rule as usize].filled())
}
