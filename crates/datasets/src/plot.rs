//! Figures of a data set as one SVG: what there is to see at a glance.

use std::fmt::Display;

use plotters::coord::Shift;
use plotters::coord::ranged1d::SegmentValue;
use plotters::prelude::*;

use crate::DatasetError;
use crate::manifest::thousands;
use crate::stats::{BINS, EventFigures, EventGroup, Figures, ImageFigures, Stats};

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
            Figures::Events(figures) => draw_events(&body, figures)?,
            Figures::Images(figures) => draw_images(&body, figures)?,
        }
        root.present().map_err(failed)?;
    }
    Ok(text)
}

fn draw_events(body: &Area<'_>, figures: &EventFigures) -> Result<(), DatasetError> {
    let (above, below) = body.split_vertically((SIZE.1 - HEADER) / 2);
    let (left, right) = above.split_horizontally(SIZE.0 / 2);

    let histogram = &figures.histogram;
    let edge = |bar: usize| (histogram.first_events + bar as u64 * histogram.bar_events) as f64;
    let most = histogram.samples.iter().max().copied().unwrap_or(0).max(1) as f64;
    let ends = edge(0)..edge(histogram.samples.len().max(1));
    let mut chart = ChartBuilder::on(&left)
        .caption("Events per sample, all classes", ("sans-serif", CAPTION))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d(ends, 0.0..most * 1.05)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", LABEL))
        .axis_desc_style(("sans-serif", LABEL))
        .x_labels(7)
        .x_desc("events per sample")
        .y_desc("samples")
        .x_label_formatter(&|x| short(*x))
        .y_label_formatter(&|y| short(*y))
        .draw()
        .map_err(failed)?;
    let bars = histogram.samples.iter().enumerate().map(|(bar, samples)| {
        Rectangle::new([(edge(bar), 0.0), (edge(bar + 1), *samples as f64)], BAR.filled())
    });
    chart.draw_series(bars).map_err(failed)?;

    let of_class = |group: &'_ EventGroup| {
        let spread = group.events_per_sample;
        (vec![(spread.map_or(0.0, |s| s.median), BAR)], spread.map(|s| (s.q1, s.q3)))
    };
    let bars = figures.classes.iter().map(|group| {
        let (parts, whisker) = of_class(group);
        Bar { name: &group.class, parts, whisker }
    });
    draw_bars(
        &right,
        "Events per sample by class: median and quartiles",
        "events",
        &bars.collect::<Vec<_>>(),
    )?;

    let lines = figures.classes.iter().enumerate().filter(|(_, group)| group.rate_events_per_s.is_some());
    let lines: Vec<Line> = lines
        .map(|(place, group)| Line {
            name: group.class.clone(),
            // A rate belongs to the middle of its part of the duration.
            points: (0..BINS)
                .zip(&group.rate_over_time_events_per_s)
                .map(|(part, rate)| ((part as f64 + 0.5) * 100.0 / BINS as f64, *rate))
                .collect(),
            colour: COLOURS[place % COLOURS.len()],
            dashed: place >= COLOURS.len(),
        })
        .collect();
    let most = lines.iter().flat_map(|line| &line.points).map(|(_, rate)| *rate).fold(1.0, f64::max);
    let duration = figures.all.duration_us.map_or(0.0, |spread| spread.median / 1e3);
    let plot = draw_legend(&below, &lines)?;
    let mut chart = ChartBuilder::on(&plot)
        .caption("Event rate over time by class, mean of samples", ("sans-serif", CAPTION))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..100.0, 0.0..most * 1.05)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", LABEL))
        .axis_desc_style(("sans-serif", LABEL))
        .x_labels(11)
        .x_desc(format!("time in % of each sample's own duration (median of all samples: {duration:.1} ms)"))
        .y_desc("events per second")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| short(*y))
        .draw()
        .map_err(failed)?;
    for line in lines {
        let points = line.points.into_iter();
        let style = line.colour.stroke_width(2);
        match line.dashed {
            true => chart.draw_series(DashedLineSeries::new(points, 6, 4, style)).map_err(failed)?,
            false => chart.draw_series(LineSeries::new(points, style)).map_err(failed)?,
        };
    }
    Ok(())
}

fn draw_images(body: &Area<'_>, figures: &ImageFigures) -> Result<(), DatasetError> {
    let (above, below) = body.split_vertically((SIZE.1 - HEADER) / 2);
    let bars = figures.classes.iter().map(|group| Bar {
        name: &group.class,
        parts: vec![(group.samples.train as f64, BAR), (group.samples.test as f64, LIGHT)],
        whisker: None,
    });
    let title = "Images by class: training (dark) and test (light)";
    draw_bars(&above, title, "images", &bars.collect::<Vec<_>>())?;

    let colour = |name: &str| match name {
        "red" => COLOURS[3],
        "green" => COLOURS[2],
        "blue" => COLOURS[0],
        _ => COLOURS[6],
    };
    let lines: Vec<Line> = figures
        .channels
        .iter()
        .zip(&figures.histogram_pixels)
        .enumerate()
        .map(|(place, (name, values))| {
            let moment = |moments: &Option<Vec<f64>>| {
                moments.as_ref().and_then(|m| m.get(place)).copied().unwrap_or(f64::NAN)
            };
            let (mean, std) =
                (moment(&figures.train.pixel_mean_0_to_1), moment(&figures.train.pixel_std_0_to_1));
            Line {
                name: format!("{name}: mean {mean:.4}, std {std:.4}"),
                // A logarithm has no place for 0.
                points: values.iter().enumerate().map(|(v, n)| (v as f64, (*n).max(1) as f64)).collect(),
                colour: colour(name),
                dashed: false,
            }
        })
        .collect();
    let most = lines.iter().flat_map(|line| &line.points).map(|(_, pixels)| *pixels).fold(10.0, f64::max);
    let least = lines.iter().flat_map(|line| &line.points).map(|(_, pixels)| *pixels).fold(most, f64::min);
    let plot = draw_legend(&below, &lines)?;
    let mut chart = ChartBuilder::on(&plot)
        .caption(
            "Pixels by value, all images (legend: of the training images, over 0 to 1)",
            ("sans-serif", CAPTION),
        )
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..255.0, (least / 1.5..most * 1.5).log_scale())
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", LABEL))
        .axis_desc_style(("sans-serif", LABEL))
        .x_labels(9)
        .x_desc("pixel value, 0 to 255")
        .y_desc("pixels (logarithmic)")
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| short(*y))
        .draw()
        .map_err(failed)?;
    for line in lines {
        chart.draw_series(LineSeries::new(line.points, line.colour.stroke_width(2))).map_err(failed)?;
    }
    Ok(())
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
