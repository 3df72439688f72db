//! Static images: how many of each class, and how often a pixel has which value.

use plotters::prelude::*;

use super::{
    Area, BAR, Bar, CAPTION, COLOURS, HEADER, LABEL, LIGHT, Line, SIZE, draw_bars, draw_legend, failed, short,
};
use crate::DatasetError;
use crate::stats::ImageFigures;

/// Draws how many images classes have, and of what pixels.
pub(super) fn draw(body: &Area<'_>, figures: &ImageFigures) -> Result<(), DatasetError> {
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
