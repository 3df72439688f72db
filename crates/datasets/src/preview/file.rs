//! One file in the form in which it is drawn.

use std::path::Path;

use bpsta_events::{Format, Framing, Recording};

use super::{Choice, Clip, FRAMES, IMAGES, Pick, Preview, Shown, Strip, check_size, in_words};
use crate::idx::{self, Idx};
use crate::import::says_generated;
use crate::inspect::{Guess, open};
use crate::layout::of_file;
use crate::manifest::thousands;
use crate::{DatasetError, DatasetId, Registry, cifar};

/// Rows of images of a file.
const ROWS: usize = 10;

/// One recording, or the first images of an IDX or CIFAR-10 file. `format` is found out from the file if not given (see
/// [`inspect`](crate::inspect())); a `.gz` file is unpacked first. The registry names CIFAR-10's classes. A file from the tree of a
/// stand-in is called one.
///
/// # Errors
/// A file that cannot be decoded or framed, and a choice that does not fit what it holds.
pub fn preview_file(
    path: &Path,
    format: Option<&str>,
    registry: &Registry,
    choice: &Choice,
) -> Result<Preview, DatasetError> {
    let (bytes, guess) = open(path, format)?;
    let refuse = |problem: &str| {
        Err(DatasetError::Preview { of: path.display().to_string(), problem: problem.to_owned() })
    };
    match guess {
        Guess::Events(_) if choice.pick.is_some() => {
            refuse("a recording is one sample: leave --sample and --samples out")
        }
        Guess::Events(format) => recording(path, &bytes, format, choice.framing),
        _ if choice.framing.is_some() => refuse("images are not framed: leave --time-steps and --split out"),
        Guess::Idx => match idx::parse(path, &bytes)? {
            Idx::Labels(_) => refuse("it holds labels and no images: name the file of images"),
            Idx::Images { count, height, width, pixels } => {
                images(path, choice.pick, [1, height, width], count, &|place| {
                    (None, &pixels[place * height * width..][..height * width])
                })
            }
        },
        Guess::Cifar => {
            let records: Vec<&[u8]> = cifar::parse(path, &bytes)?.collect();
            let classes = &registry.get(DatasetId::CIFAR10)?.classes;
            images(path, choice.pick, [3, 32, 32], records.len(), &|place| {
                let label = records[place][0];
                (classes.get(usize::from(label)).cloned(), &records[place][1..])
            })
        }
    }
}

fn recording(
    path: &Path,
    bytes: &[u8],
    format: Format,
    framing: Option<Framing>,
) -> Result<Preview, DatasetError> {
    let framing = framing.unwrap_or(Framing::ByNumber { frames: FRAMES });
    let Recording { events, sensor, .. } = bpsta_events::decode(bytes, format).map_err(of_file(path))?;
    let of = path.display().to_string();
    let check = |frames| check_size(&of, 1, frames, [sensor.height, sensor.width].map(usize::from));
    check(framing.frames().unwrap_or(1))?;
    let frames = bpsta_events::frame(&events, sensor, framing)
        .map_err(|error| DatasetError::Framing { sample: of.clone(), error })?;
    check(frames.time_steps)?;
    let clip = Clip {
        class: None,
        name: name(path),
        events: events.len(),
        duration_us: events.duration_us().unwrap_or(0),
        frames,
    };
    Ok(Preview {
        title: title(path, &format.to_string()),
        detail: in_words(framing),
        samples: Shown::Recordings { framing, clips: vec![clip] },
    })
}

/// Images of a file in rows, of `[C, H, W]`; `image` gives the name of an image's class, and its pixels.
fn images<'a>(
    path: &Path,
    pick: Option<Pick>,
    [channels, height, width]: [usize; 3],
    count: usize,
    image: &dyn Fn(usize) -> (Option<String>, &'a [u8]),
) -> Result<Preview, DatasetError> {
    let places = match pick.unwrap_or(Pick::PerClass(ROWS * IMAGES)) {
        Pick::One(index) if index < count => index..index + 1,
        Pick::One(index) => return Err(DatasetError::NoSuchSample { index, len: count }),
        Pick::PerClass(most) => 0..most.min(count),
    };
    check_size(&path.display().to_string(), places.len(), 1, [height, width])?;
    let detail = format!(
        "images {} to {} of {}, each {channels} x {height} x {width}",
        places.start,
        places.end.saturating_sub(1),
        thousands(count)
    );
    let places: Vec<usize> = places.collect();
    let strip = |row: &[usize]| {
        let (labels, images): (Vec<Option<String>>, Vec<&[u8]>) =
            row.iter().map(|place| image(*place)).unzip();
        let ends = row.first().zip(row.last()).map(|(first, last)| format!("images {first} to {last}"));
        Strip {
            caption: ends.unwrap_or_default(),
            labels: labels.into_iter().flatten().collect(),
            channels,
            height,
            width,
            pixels: images.concat(),
        }
    };
    let strips = places.chunks(IMAGES).map(strip).collect();
    let format = if channels == 1 { "idx" } else { "cifar10-bin" };
    Ok(Preview { title: title(path, format), detail, samples: Shown::Images(strips) })
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The file's name and format, and what its folders say of where it is from.
fn title(path: &Path, format: &str) -> String {
    let from = match says_generated(path) {
        Some(_) => ", synthetic stand-in",
        None => "",
    };
    format!("{} ({format}){from}", name(path))
}
