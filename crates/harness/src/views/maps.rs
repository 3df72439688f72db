//! Where the cells behind the convolutions fire: the paper's Figure 2, a row a rule and a column a layer.

use std::collections::BTreeSet;

use bpsta_spiking::Rule;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Group, by_configuration, row_name};
use crate::block::{Block, Grid};
use crate::maps::{LayerMaps, Maps, MapsByRun};
use crate::{HarnessError, Profile, Record, Result};

/// What the table and the drawing beside it are.
pub(super) const ABOUT: &str = "Firing frequency of a position: spikes over the cells there (one a channel) and time steps, after the last epoch. C1, C2, ...: the cells behind \
     each convolution, before the pool. Mean, lowest and highest are over the positions of the map that is the mean over the test split; over \
     several seeds: mean ± standard deviation. The drawing beside this file has one configuration: of those with maps of the most rules, the one with \
     the longest T.";
/// Stands below a table where a run has none.
const NO_MAPS: &str = "Runs of schemas 1 and 2 were recorded before maps were kept, and have none: a run that is moved out of the run store is made anew, with maps.";
/// What the drawing is.
pub(crate) const ABOUT_FIGURE: &str = "Firing frequency by position, in spikes per cell and time step. Colours begin at 0 and end at the highest of all rules \
     in a column, so that a column's maps can be compared. Of the configurations with maps of the most rules, the one with the longest T.";

/// The longer edge of a map, in pixels, as near as whole pixels a position come to it.
const EDGE: usize = 112;
const GAP: i32 = 18;
/// Between the two blocks.
const BETWEEN: i32 = 34;
/// Width of the rules' names.
const NAMES: i32 = 84;
/// Height of title, and of what stands above a block's maps.
const HEAD: i32 = 56;
const BLOCK_HEAD: i32 = 44;
/// Height of the colour bars with their numbers.
const FOOT: i32 = 62;
/// Colours of a scale: fewer make a smaller file, and more cannot be told apart.
const LEVELS: usize = 64;

/// A row for each layer of each configuration.
pub(super) fn blocks(groups: &[Group<'_>], maps: &MapsByRun) -> Vec<Block> {
    let mut out = Grid::new(["row", "T", "layer", "mean", "lowest", "highest"], 1);
    for group in groups {
        let runs = with_maps(group, maps);
        let name = |layer: String| [row_name(group), group.first().time_steps.to_string(), layer];
        let Some((_, first)) = runs.first() else {
            let layer = format!("no maps, of schema {}", group.first().schema);
            out.add(name(layer), group.records().iter().copied());
            continue;
        };
        let part = match group.records().len() {
            all if all == runs.len() => String::new(),
            all => format!(", of {} of {all} seeds", runs.len()),
        };
        for (place, layer) in first.layers.iter().enumerate() {
            let over_seeds = |of: fn(&[f32]) -> f64| {
                let values: Vec<f64> = runs
                    .iter()
                    .filter_map(|(_, maps)| maps.layers.get(place))
                    .map(|map| of(&map.mean))
                    .collect();
                super::spread(&values, 4)
            };
            let mut row = Vec::from(name(format!("{}{part}", layer_name(place, layer))));
            row.extend([over_seeds(mean), over_seeds(lowest), over_seeds(highest)]);
            out.add(row, runs.iter().map(|(record, _)| *record));
        }
    }
    let mut blocks = vec![Block::Grid(out)];
    if groups.iter().any(|group| with_maps(group, maps).len() < group.records().len()) {
        blocks.push(Block::Text(NO_MAPS.to_owned()));
    }
    blocks
}

fn with_maps<'a>(group: &Group<'a>, maps: &'a MapsByRun) -> Vec<(&'a Record, &'a Maps)> {
    group.records().iter().filter_map(|record| Some((*record, maps.get(&record.run_id)?))).collect()
}

fn layer_name(place: usize, layer: &LayerMaps) -> String {
    let [height, width] = layer.size;
    format!("C{}, {height}x{width}", place + 1)
}

fn mean(map: &[f32]) -> f64 {
    map.iter().map(|value| f64::from(*value)).sum::<f64>() / map.len() as f64
}

fn lowest(map: &[f32]) -> f64 {
    map.iter().copied().fold(f32::INFINITY, f32::min).into()
}

fn highest(map: &[f32]) -> f64 {
    map.iter().copied().fold(f32::NEG_INFINITY, f32::max).into()
}

/// The maps of one configuration that are drawn, a row a rule.
pub(crate) struct Drawing<'a> {
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    rule: Rule,
    runs: Vec<(&'a Record, &'a Maps)>,
}

impl<'a> Drawing<'a> {
    /// Of the configuration with the most rules, of those the longest T, of those the first; none where there are no maps.
    pub(crate) fn of(groups: &[Group<'a>], maps: &'a MapsByRun) -> Option<Self> {
        let rows = |groups: Vec<&Group<'a>>| -> Vec<Row<'a>> {
            let row = |group: &&Group<'a>| Row {
                rule: group.first().config.neuron.rule,
                runs: with_maps(group, maps),
            };
            groups.iter().map(row).filter(|row| !row.runs.is_empty()).collect()
        };
        let rows = by_configuration(groups).into_iter().map(rows).filter(|rows| !rows.is_empty()).rev();
        rows.max_by_key(|rows| (rows.len(), rows[0].first().time_steps)).map(|rows| Self { rows })
    }

    /// A run whose data, network and T are those of all.
    pub(crate) fn first(&self) -> &'a Record {
        self.rows[0].first()
    }

    /// The runs that it shows.
    pub(crate) fn records(&self) -> impl Iterator<Item = &'a Record> {
        self.rows.iter().flat_map(|row| row.runs.iter().map(|(record, _)| *record))
    }

    /// Data, network, width and T.
    fn about(&self) -> String {
        let first = self.first();
        format!("{}; {}, T = {}", first.data, first.network_name(), first.time_steps)
    }

    /// As SVG: under a title, one test sample on the left, the mean over the test split on the right. With a profile it is a file of its own, on
    /// white; without one it lies on the page's ground.
    pub(crate) fn svg(&self, title: &str, profile: Option<Profile>) -> Result<String> {
        let blocks = self.blocks();
        let width = NAMES + GAP + BETWEEN + blocks.iter().map(Columns::width).sum::<i32>();
        let height = HEAD + BLOCK_HEAD + self.rows.len() as i32 * (self.row_height() + GAP) + FOOT;
        let about = match profile {
            Some(profile) => format!("{}; profile {profile}", self.about()),
            None => self.about(),
        };
        let mut text = String::new();
        let drawn =
            self.draw(&blocks, [title, &about], profile.is_some(), (width as u32, height as u32), &mut text);
        drawn.map_err(|error| HarnessError::Plot { title: title.to_owned(), why: error.to_string() })?;
        // Neighbouring positions touch, however large it is shown; and thousands of rectangles say nothing that is so anyway.
        let text = text.replacen("<svg ", "<svg shape-rendering=\"crispEdges\" ", 1);
        Ok(text.replace(" opacity=\"1\"", "").replace(" stroke=\"none\"", ""))
    }

    fn blocks(&self) -> [Columns; 2] {
        let seeds: BTreeSet<u64> = self.rows.iter().map(|row| row.first().seed).collect();
        let seeds: Vec<String> = seeds.iter().map(|seed| format!("seed {seed}")).collect();
        let counts: BTreeSet<usize> = self.rows.iter().map(|row| row.runs.len()).collect();
        let counts: Vec<String> = counts.iter().map(|count| seeds_in_words(*count)).collect();
        let (_, maps) = self.rows[0].runs[0];
        let samples = self.first().samples[1];
        let of = |map: fn(&Row<'a>, usize) -> Vec<f32>| {
            let column = |(place, layer): (usize, &LayerMaps)| Column {
                name: layer_name(place, layer),
                size: layer.size,
                maps: self.rows.iter().map(|row| map(row, place)).collect(),
            };
            maps.layers.iter().enumerate().map(column).collect()
        };
        [
            Columns {
                name: format!("the first test sample, of class {}; {}", maps.label, seeds.join(" or ")),
                columns: of(Row::sample),
            },
            Columns {
                name: format!("mean over {samples} test samples; {}", counts.join(" or ")),
                columns: of(Row::mean),
            },
        ]
    }

    fn row_height(&self) -> i32 {
        let (_, maps) = self.rows[0].runs[0];
        maps.layers.iter().map(|layer| drawn(layer.size).1).max().unwrap_or_default()
    }

    fn draw(
        &self,
        blocks: &[Columns],
        title: [&str; 2],
        ground: bool,
        size: (u32, u32),
        text: &mut String,
    ) -> Drawn {
        let area = SVGBackend::with_string(text, size).into_drawing_area();
        if ground {
            area.fill(&WHITE)?;
        }
        let write = |text: &str, x: i32, y: i32, font: i32| {
            area.draw(&Text::new(text.to_owned(), (x, y), ("sans-serif", font)))
        };
        write(title[0], 16, 10, 18)?;
        write(title[1], 16, 34, 13)?;
        let top = HEAD + BLOCK_HEAD;
        let step = self.row_height() + GAP;
        for (row, y) in self.rows.iter().zip((0..).map(|row| top + row * step)) {
            write(row.rule.id(), 16, y + self.row_height() / 2 - 8, 14)?;
        }
        let mut x = NAMES;
        for block in blocks {
            write(&block.name, x, HEAD + 2, 13)?;
            for column in &block.columns {
                write(&column.name, x, HEAD + 24, 12)?;
                let scale = column.scale();
                for (map, y) in column.maps.iter().zip((0..).map(|row| top + row * step)) {
                    heat_map(&area, (x, y), column.size, map, scale)?;
                }
                let y = top + self.rows.len() as i32 * step - GAP + 12;
                bar(&area, (x, y), drawn(column.size).0)?;
                write("0", x, y + 14, 11)?;
                let end = (x + drawn(column.size).0, y + 14);
                let right = ("sans-serif", 11).into_text_style(&area).pos(Pos::new(HPos::Right, VPos::Top));
                area.draw(&Text::new(format!("{scale:.3}"), end, right))?;
                x += drawn(column.size).0 + GAP;
            }
            let y = top + self.rows.len() as i32 * step - GAP + 44;
            write("spikes per cell and time step", x - block.width(), y, 11)?;
            x += BETWEEN;
        }
        area.present()?;
        Ok(())
    }
}

impl<'a> Row<'a> {
    fn first(&self) -> &'a Record {
        self.runs[0].0
    }

    /// Of the first seed.
    fn sample(&self, layer: usize) -> Vec<f32> {
        self.runs[0].1.layers.get(layer).map(|maps| maps.sample.clone()).unwrap_or_default()
    }

    /// Over seeds.
    fn mean(&self, layer: usize) -> Vec<f32> {
        let maps: Vec<&LayerMaps> = self.runs.iter().filter_map(|(_, maps)| maps.layers.get(layer)).collect();
        let positions = maps.iter().map(|map| map.mean.len()).min().unwrap_or_default();
        let at = |position: usize| {
            let sum: f64 = maps.iter().map(|map| f64::from(map.mean[position])).sum();
            (sum / maps.len() as f64) as f32
        };
        (0..positions).map(at).collect()
    }
}

fn seeds_in_words(count: usize) -> String {
    if count == 1 { "1 seed".to_owned() } else { format!("{count} seeds") }
}

/// The maps of one kind.
struct Columns {
    name: String,
    columns: Vec<Column>,
}

/// The maps of one layer, a row a rule.
struct Column {
    name: String,
    size: [usize; 2],
    maps: Vec<Vec<f32>>,
}

impl Columns {
    fn width(&self) -> i32 {
        self.columns.iter().map(|column| drawn(column.size).0 + GAP).sum()
    }
}

impl Column {
    /// The highest value of all rules.
    fn scale(&self) -> f64 {
        self.maps.iter().map(|map| highest(map)).fold(0.0, f64::max)
    }
}

/// Pixels of a position's edge.
fn pixels(size: [usize; 2]) -> i32 {
    (EDGE / size[0].max(size[1]).max(1)).max(1) as i32
}

/// Width and height of a map as it is drawn, in pixels.
fn drawn(size: [usize; 2]) -> (i32, i32) {
    let [height, width] = size.map(|edge| edge as i32 * pixels(size));
    (width, height)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

fn colour(level: usize) -> RGBColor {
    ViridisRGB::get_color(level as f64 / (LEVELS - 1) as f64)
}

fn rectangle(area: &Area<'_>, from: (i32, i32), size: (i32, i32), level: usize) -> Drawn {
    let to = (from.0 + size.0, from.1 + size.1);
    area.draw(&Rectangle::new([from, to], colour(level).filled()))?;
    Ok(())
}

/// A map, in colours that go from 0 to `scale`: one rectangle in the commonest, and over it one for each run of equal positions in a row.
fn heat_map(area: &Area<'_>, (left, top): (i32, i32), size: [usize; 2], map: &[f32], scale: f64) -> Drawn {
    let level = |value: &f32| {
        let share = if scale > 0.0 { f64::from(*value) / scale } else { 0.0 };
        ((share * LEVELS as f64) as usize).min(LEVELS - 1)
    };
    let levels: Vec<usize> = map.iter().map(level).collect();
    let mut counts = [0; LEVELS];
    levels.iter().for_each(|level| counts[*level] += 1);
    let commonest = (0..LEVELS).rev().max_by_key(|level| counts[*level]).unwrap_or_default();
    rectangle(area, (left, top), drawn(size), commonest)?;
    let edge = pixels(size);
    for (y, row) in levels.chunks(size[1].max(1)).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            let length = run.len() as i32;
            if run[0] != commonest {
                let from = (left + x * edge, top + y as i32 * edge);
                rectangle(area, from, (length * edge, edge), run[0])?;
            }
            x += length;
        }
    }
    Ok(())
}

/// The colours of a scale.
fn bar(area: &Area<'_>, (left, top): (i32, i32), width: i32) -> Drawn {
    let at = |level: usize| width * level as i32 / LEVELS as i32;
    for level in 0..LEVELS {
        rectangle(area, (left + at(level), top), (at(level + 1) - at(level), 10), level)?;
    }
    Ok(())
}
