//! Test accuracy over epochs: the paper's Figures 1 and 3, one panel a simulation length, with the range over seeds.

use std::fmt::Write;

use plotters::prelude::*;

use super::{Group, row_name};
use crate::{HarnessError, Result};

const PANEL: (u32, u32) = (520, 380);
/// Okabe and Ito's colours, which most colour-blind people tell apart.
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
        let of_length: Vec<&Group<'_>> = groups.iter().filter(|of| of.first().time_steps == *steps).collect();
        let epochs = of_length.iter().map(|group| group.first().epochs.len()).max().unwrap_or(1).max(2);
        let mut chart = ChartBuilder::on(panel)
            .caption(format!("T = {steps}"), ("sans-serif", 15))
            .margin(12)
            .x_label_area_size(34)
            .y_label_area_size(48)
            .build_cartesian_2d(1.0..epochs as f64, 0.0..100.0)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("epoch")
            .y_desc("test accuracy in %")
            .x_label_formatter(&|epoch| format!("{epoch:.0}"))
            .draw()?;
        for group in &of_length {
            let colour = COLOURS[group.first().config.neuron.rule as usize % COLOURS.len()];
            let points = points(group);
            let up = points.iter().map(|point| (point.epoch as f64, point.high));
            let down = points.iter().rev().map(|point| (point.epoch as f64, point.low));
            chart.draw_series(std::iter::once(Polygon::new(
                up.chain(down).collect::<Vec<_>>(),
                colour.mix(0.12),
            )))?;
            let line = points.iter().map(|point| (point.epoch as f64, point.mean));
            chart
                .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
                .label(row_name(group))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", 11))
            .draw()?;
    }
    area.present()?;
    Ok(())
}
