//! Figures of a data set as one SVG: what there is to see at a glance.

mod events;
mod images;

use std::fmt::Display;

use plotters::coord::Shift;
use plotters::coord::ranged1d::SegmentValue;
use plotters::prelude::*;

use crate::DatasetError;
use crate::manifest::thousands;
use crate::stats::{EventGroup, Figures, Stats};

/// Width and height of the plot in pixels; the header's height, and the legend's width.
const SIZE: (u32, u32) = (1200, 920);
const HEADER: u32 = 66;
const LEGEND: u32 = 230;
/// Sizes of letters.
const CAPTION: u32 = 17;
const LABEL: u32 = 13;

/// Colours of lines: those of Okabe and Ito, made to be told apart by every kind of colour vision, with grey for their yellow, which
/// is hard to see on white. Further lines take them again, dashed.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(204, 121, 167),
    RGBColor(0, 0, 0),
    RGBColor(130, 130, 130),
];
/// Bars, and the darker or lighter part of them.
const BAR: RGBColor = RGBColor(86, 150, 210);
const DARK: RGBColor = RGBColor(20, 60, 110);
const LIGHT: RGBColor = RGBColor(190, 214, 238);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A named line: y by x.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
    colour: RGBColor,
    dashed: bool,
}

/// A class's horizontal bar: parts of it one after another, and the ends of a whisker.
struct Bar<'a> {
    name: &'a str,
    parts: Vec<(f64, RGBColor)>,
    whisker: Option<(f64, f64)>,
}

/// Draws the figures.
pub(crate) fn svg(stats: &Stats) -> Result<String, DatasetError> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        let (header, body) = root.split_vertically(HEADER);
        let source = &stats.source;
        write(&header, (16, 14), &source.data, 22.0)?;
        let kind = match &stats.figures {
            Figures::Events(figures) => format!("{} events", thousands(events_in(&figures.all))),
            Figures::Images(_) => "static images: no events, no rate".to_owned(),
        };
        write(
            &header,
            (16, 42),
            &format!("{kind}; manifest {:.12}; {}", source.manifest_hash, source.tool),
            14.0,
        )?;
        match &stats.figures {
            Figures::Events(figures) => events::draw(&body, figures)?,
            Figures::Images(figures) => images::draw(&body, figures)?,
        }
        root.present().map_err(failed)?;
    }
    Ok(text)
}

/// Horizontal bars, the first class on top.
fn draw_bars(area: &Area<'_>, title: &str, unit: &str, bars: &[Bar<'_>]) -> Result<(), DatasetError> {
    let end = |bar: &Bar<'_>| {
        let sum: f64 = bar.parts.iter().map(|(part, _)| part).sum();
        bar.whisker.map_or(sum, |(_, end)| sum.max(end))
    };
    let most = bars.iter().map(end).fold(1.0, f64::max);
    let longest = bars.iter().map(|bar| bar.name.chars().count()).max().unwrap_or(0);
    // About 8 pixels a letter: the library knows no fonts without reading them from the system.
    let names = u32::try_from(20 + 8 * longest.min(30)).unwrap_or(64);
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", CAPTION))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(names)
        .build_cartesian_2d(0.0..most * 1.05, (0..bars.len().saturating_sub(1)).into_segmented())
        .map_err(failed)?;
    let name_of = |row: &SegmentValue<usize>| match row {
        SegmentValue::CenterOf(row) if *row < bars.len() => bars[bars.len() - 1 - row].name.to_owned(),
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", LABEL))
        .axis_desc_style(("sans-serif", LABEL))
        .x_labels(7)
        .y_labels(bars.len())
        .x_desc(unit)
        .x_label_formatter(&|x| short(*x))
        .y_label_formatter(&name_of)
        .draw()
        .map_err(failed)?;
    for (place, bar) in bars.iter().enumerate() {
        let row = bars.len() - 1 - place;
        let rectangle = |from: f64, to: f64, margin: u32, colour: RGBColor| {
            let ends = [(from, SegmentValue::Exact(row)), (to, SegmentValue::Exact(row + 1))];
            let mut rectangle = Rectangle::new(ends, colour.filled());
            rectangle.set_margin(margin, margin, 0, 0);
            rectangle
        };
        let mut from = 0.0;
        for (part, colour) in &bar.parts {
            chart.draw_series([rectangle(from, from + part, 4, *colour)]).map_err(failed)?;
            from += part;
        }
        if let Some((low, high)) = bar.whisker {
            let ends = [(low, SegmentValue::CenterOf(row)), (high, SegmentValue::CenterOf(row))];
            chart.draw_series([PathElement::new(ends, DARK.stroke_width(3))]).map_err(failed)?;
        }
    }
    Ok(())
}

/// Draws the legend on the right, and gives back what is left of the area.
fn draw_legend<'a>(area: &Area<'a>, lines: &[Line]) -> Result<Area<'a>, DatasetError> {
    let (plot, legend) = area.split_horizontally(SIZE.0 - LEGEND);
    for (place, line) in (0..).zip(lines) {
        let y = 50 + 24 * place;
        let stroke = |from, to| PathElement::new([(from, y), (to, y)], line.colour.stroke_width(3));
        let strokes = if line.dashed { vec![stroke(4, 12), stroke(18, 26)] } else { vec![stroke(4, 26)] };
        for stroke in &strokes {
            legend.draw(stroke).map_err(failed)?;
        }
        write(&legend, (34, y - 7), &line.name, 13.0)?;
    }
    Ok(plot)
}

fn write(area: &Area<'_>, at: (i32, i32), text: &str, size: f64) -> Result<(), DatasetError> {
    area.draw(&Text::new(text.to_owned(), at, ("sans-serif", size).into_font())).map_err(failed)
}

/// A number on an axis: `950`, `1.5k`, `20M`.
fn short(number: f64) -> String {
    let (scaled, unit) = match number.abs() {
        n if n >= 1e9 => (number / 1e9, "G"),
        n if n >= 1e6 => (number / 1e6, "M"),
        n if n >= 1e3 => (number / 1e3, "k"),
        _ => (number, ""),
    };
    let digits = format!("{scaled:.2}");
    format!("{}{unit}", digits.trim_end_matches('0').trim_end_matches('.'))
}

fn events_in(group: &EventGroup) -> usize {
    usize::try_from(group.on_events + group.off_events).unwrap_or(usize::MAX)
}

fn failed(error: impl Display) -> DatasetError {
    DatasetError::Draw { picture: "the plot", message: error.to_string() }
}
