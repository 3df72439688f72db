//! The contact sheet: a row of frames or images a sample or class.

use super::canvas::{Canvas, Colour, LETTER, LINE, shortened, width_of};
use super::tone::Tone;
use super::{LEGEND_ENTRY, SPACE, legend, scale};
use crate::manifest::thousands;
use crate::preview::{Clip, Preview, Shown, Strip};

/// Width that tiles are scaled up to, in pixels.
const WIDTH: usize = 1700;
/// Tiles side by side at most; the rest goes on in the next line.
const COLUMNS: usize = 16;
/// Between tiles, in pixels.
const GAP: usize = 2;
/// Pixels of a sheet up to which tiles are scaled up.
const AREA: usize = 1 << 24;
/// Letters of a caption at most.
const CAPTION: usize = 110;

/// A sample or class: its caption, labels of tiles, and the tiles' colours.
struct Row<'a> {
    caption: String,
    labels: &'a [String],
    tiles: Vec<Box<dyn Iterator<Item = Colour> + 'a>>,
}

/// How tiles are laid out: all of a sheet have one size.
struct Grid {
    scale: usize,
    width: usize,
    height: usize,
    columns: usize,
}

impl Preview {
    pub(super) fn sheet(&self) -> Canvas {
        let tones: Vec<Tone>;
        let (size, rows, events) = match &self.samples {
            Shown::Recordings { clips, .. } => {
                tones = clips.iter().map(|clip| Tone::of(&clip.frames)).collect();
                let size = clips.first().map_or([1, 1], |clip| [clip.frames.width, clip.frames.height]);
                (size, clips.iter().zip(&tones).map(|(clip, tone)| of_clip(clip, tone)).collect(), true)
            }
            Shown::Images(strips) => {
                let size = strips.first().map_or([1, 1], |strip| [strip.width, strip.height]);
                (size, strips.iter().map(of_strip).collect(), false)
            }
        };
        draw(&self.title, &self.detail, events, size, rows)
    }
}

fn draw(title: &str, detail: &str, events: bool, [width, height]: [usize; 2], rows: Vec<Row<'_>>) -> Canvas {
    let columns = rows.iter().map(|row| row.tiles.len()).max().unwrap_or(1).clamp(1, COLUMNS);
    let mut grid = Grid { scale: scale((width + 1) * columns, WIDTH).min(4), width, height, columns };
    while grid.scale > 1 && grid.size(&rows).iter().product::<usize>() > AREA {
        grid.scale -= 1;
    }
    let key = if events { 2 * LEGEND_ENTRY + 2 * SPACE } else { 0 };
    let captions = rows.iter().map(|row| width_of(&row.caption));
    let text = captions.chain([width_of(title), width_of(detail) + key]).max().unwrap_or(0);
    let [tiles, rows_height] = grid.size(&rows);
    let mut canvas = Canvas::new(tiles.max(text) + 2 * SPACE, rows_height + 2 * LINE + 3 * SPACE);
    canvas.text(SPACE, SPACE, title);
    canvas.text(SPACE, SPACE + LINE, detail);
    if events {
        legend(&mut canvas, SPACE + width_of(detail) + 2 * SPACE, SPACE + LINE);
    }
    let mut y = 2 * SPACE + 2 * LINE;
    for row in rows {
        y += grid.draw(&mut canvas, y, row) + SPACE;
    }
    canvas
}

impl Grid {
    /// Width and height of all rows, in pixels.
    fn size(&self, rows: &[Row<'_>]) -> [usize; 2] {
        let height = rows.iter().map(|row| self.height_of(row) + SPACE).sum();
        [self.columns * (self.width * self.scale + GAP), height]
    }

    fn height_of(&self, row: &Row<'_>) -> usize {
        LINE + row.tiles.len().div_ceil(self.columns) * self.line(row)
    }

    /// Height of a line of tiles, with their labels.
    fn line(&self, row: &Row<'_>) -> usize {
        let labels = if row.labels.is_empty() { 0 } else { LINE };
        labels + self.height * self.scale + GAP
    }

    /// Draws a row and says how high it is.
    fn draw(&self, canvas: &mut Canvas, y: usize, row: Row<'_>) -> usize {
        let (height, line) = (self.height_of(&row), self.line(&row));
        let (wide, high) = (self.width * self.scale, self.height * self.scale);
        canvas.text(SPACE, y, &row.caption);
        for (place, tile) in row.tiles.into_iter().enumerate() {
            let x = SPACE + place % self.columns * (wide + GAP);
            let bottom = y + LINE + (place / self.columns + 1) * line - GAP;
            canvas.image(x, bottom - high, self.width, self.scale, tile);
            if let Some(label) = row.labels.get(place) {
                canvas.text(x, bottom - high - LINE, &shortened(label, wide / LETTER));
            }
        }
        height
    }
}

fn of_clip<'a>(clip: &'a Clip, tone: &'a Tone) -> Row<'a> {
    let class = clip.class.as_ref().map(|class| format!("class {class}   ")).unwrap_or_default();
    let caption = format!(
        "{class}{}   {} events   {:.3} s",
        shortened(&clip.name, CAPTION / 2),
        thousands(clip.events),
        clip.duration_us as f64 / 1e6
    );
    let tile = |index| Box::new(tone.frame(&clip.frames, index)) as Box<dyn Iterator<Item = Colour>>;
    Row {
        caption: shortened(&caption, CAPTION),
        labels: &[],
        tiles: (0..clip.frames.time_steps).map(tile).collect(),
    }
}

fn of_strip(strip: &Strip) -> Row<'_> {
    let plane = strip.height * strip.width;
    let tile = |image: usize| {
        let planes = &strip.pixels[image * strip.channels * plane..][..strip.channels * plane];
        // The last channel stands for the ones a grey image lacks.
        let of = move |pixel: usize, channel: usize| planes[channel.min(strip.channels - 1) * plane + pixel];
        let colours = (0..plane).map(move |pixel| [of(pixel, 0), of(pixel, 1), of(pixel, 2)]);
        Box::new(colours) as Box<dyn Iterator<Item = Colour>>
    };
    let images = strip.pixels.len() / (strip.channels * plane).max(1);
    Row { caption: strip.caption.clone(), labels: &strip.labels, tiles: (0..images).map(tile).collect() }
}
