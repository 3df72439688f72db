//! Recordings: events per sample, of all classes and of each, and the event rate over time.

use plotters::prelude::*;

use super::{
    Area, BAR, Bar, CAPTION, COLOURS, HEADER, LABEL, Line, SIZE, draw_bars, draw_legend, failed, short,
};
use crate::DatasetError;
use crate::stats::{BINS, EventFigures, EventGroup};

/// Draws how many events samples have, and when.
pub(super) fn draw(body: &Area<'_>, figures: &EventFigures) -> Result<(), DatasetError> {
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
