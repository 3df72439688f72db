//! Test accuracy over epochs: the paper's Figures 1 and 3, one panel a simulation length, with the range over seeds.

use std::fmt::Write;

use bpsta_spiking::Rule;
use plotters::prelude::*;

use super::{Group, row_name};
use crate::{HarnessError, Result};

const PANEL: (u32, u32) = (520, 340);
/// Height of title and legend.
const HEAD: u32 = 84;
/// Of the rules in their order; Okabe and Ito's colours, which most colour-blind people tell apart.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 0, 0), RGBColor(230, 159, 0), RGBColor(0, 114, 178), RGBColor(204, 121, 167)];

/// The accuracy after one epoch over the seeds.
struct Point {
    epoch: usize,
    mean: f64,
    low: f64,
    high: f64,
}

fn points(group: &Group<'_>) -> Vec<Point> {
    let epochs = group.first().epochs.len();
    let at = |epoch: usize| {
        let of =
            |record: &crate::Record| record.epochs.get(epoch).map_or(f64::NAN, |epoch| epoch.test_accuracy);
        let values: Vec<f64> = group.records().iter().map(|record| of(record)).collect();
        Point {
            epoch: epoch + 1,
            mean: values.iter().sum::<f64>() / values.len() as f64,
            low: values.iter().copied().fold(f64::INFINITY, f64::min),
            high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
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
            let Point { epoch, mean, low, high } = point;
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

/// One drawing of all panels, one for each simulation length and network; the title says what data they come from.
pub(super) fn svg(title: &str, groups: &[Group<'_>]) -> Result<Vec<u8>> {
    let mut panels: Vec<(String, Vec<&Group<'_>>)> = Vec::new();
    for group in groups {
        let record = group.first();
        let name = format!("T = {}, {} width {}", record.time_steps, record.network, record.width);
        match panels.iter_mut().find(|(known, _)| *known == name) {
            Some((_, groups)) => groups.push(group),
            None => panels.push((name, vec![group])),
        }
    }
    let columns = panels.len().clamp(1, 2);
    let rows = panels.len().div_ceil(columns).max(1);
    let size = (PANEL.0 * columns as u32, PANEL.1 * rows as u32 + HEAD);
    let mut text = String::new();
    draw(title, &panels, (rows, columns), size, &mut text)
        .map_err(|error| HarnessError::Plot { title: title.to_owned(), why: error.to_string() })?;
    Ok(text.into_bytes())
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
    for (place, (rule, colour)) in
        [Rule::Baseline, Rule::Spatial, Rule::Temporal, Rule::Both].into_iter().zip(COLOURS).enumerate()
    {
        let x = 16 + 110 * place as i32;
        head.draw(&PathElement::new([(x, 68), (x + 22, 68)], colour.stroke_width(3)))?;
        head.draw(&Text::new(rule.to_string(), (x + 28, 61), ("sans-serif", 13)))?;
    }
    for (panel, (name, groups)) in body.split_evenly(grid).iter().zip(panels) {
        let epochs = groups.iter().map(|group| group.first().epochs.len()).max().unwrap_or(1).max(2) as i32;
        let mut chart = ChartBuilder::on(panel)
            .caption(name, ("sans-serif", 15))
            .margin(12)
            .x_label_area_size(34)
            .y_label_area_size(48)
            .build_cartesian_2d(1..epochs, 0.0..100.0)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .x_desc("epoch")
            .y_desc("test accuracy in %")
            .y_label_formatter(&|accuracy| format!("{accuracy:.0}"))
            .draw()?;
        for group in groups {
            let colour = COLOURS[group.first().config.neuron.rule as usize % COLOURS.len()];
            let points = points(group);
            let up = points.iter().map(|point| (point.epoch as i32, point.high));
            let down = points.iter().rev().map(|point| (point.epoch as i32, point.low));
            let band = up.chain(down).collect::<Vec<_>>();
            chart.draw_series(std::iter::once(Polygon::new(band, colour.mix(0.15))))?;
            let line = points.iter().map(|point| (point.epoch as i32, point.mean));
            chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
        }
    }
    area.present()?;
    Ok(())
}
