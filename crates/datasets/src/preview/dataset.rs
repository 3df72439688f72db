//! Choosing samples of an imported data set or stand-in, and reading only those.

use rayon::prelude::*;

use super::{Choice, Clip, IMAGES, Pick, Preview, Shown, Strip, check_size, in_words};
use crate::samples::{Files, read_images};
use crate::{DatasetError, Kind, SplitName};

/// See [`Store::preview`](crate::Store::preview).
pub(crate) fn preview(files: Files<'_>, choice: &Choice) -> Result<Preview, DatasetError> {
    let split = if files.manifest.samples.train > 0 { SplitName::Train } else { SplitName::Test };
    match files.info.kind {
        Kind::Events => recordings(files, split, choice),
        Kind::Static => images(files, split, choice),
    }
}

fn recordings(files: Files<'_>, split: SplitName, choice: &Choice) -> Result<Preview, DatasetError> {
    let info = files.info;
    let Some(framing) = choice.framing.or(info.framing) else {
        let problem = "event recordings need a framing, such as number:16";
        return Err(DatasetError::FramingChoice { dataset: files.manifest.dataset, problem });
    };
    let recordings = files.recordings(split)?;
    let labels: Vec<u8> =
        recordings.iter().flat_map(|recording| &recording.samples).map(|sample| sample.label).collect();
    let pick = choice.pick.unwrap_or(Pick::PerClass(1));
    let picked = pick.of(&labels, info.classes.len())?;
    let size = [info.height, info.width].map(usize::from);
    let check = |frames| check_size(&info.title, picked.len(), frames, size);
    check(framing.frames().unwrap_or(1))?;

    // Recordings with their first sample's place in the sample order; those of which nothing was picked are not read.
    let mut first = 0;
    let mut wanted = Vec::new();
    for recording in &recordings {
        let places = first..first + recording.samples.len();
        if picked.iter().any(|place| places.contains(place)) {
            wanted.push((places.start, recording));
        }
        first = places.end;
    }
    let clips: Vec<Vec<(usize, Clip)>> = wanted
        .par_iter()
        .map(|&(first, recording)| {
            let mut clips = Vec::new();
            files.for_each_sample(recording, |place, sample, events| {
                if picked.contains(&(first + place)) {
                    let frames = files.frames(sample, events, framing)?;
                    check(frames.time_steps)?;
                    let clip = Clip {
                        class: info.classes.get(usize::from(sample.label)).cloned(),
                        name: sample.name.clone(),
                        events: events.len(),
                        duration_us: events.duration_us().unwrap_or(0),
                        frames,
                    };
                    clips.push((first + place, clip));
                }
                Ok(())
            })?;
            Ok(clips)
        })
        .collect::<Result<_, DatasetError>>()?;
    let mut clips: Vec<(usize, Clip)> = clips.into_iter().flatten().collect();
    clips.sort_by_key(|(place, _)| picked.iter().position(|other| other == place));
    Ok(Preview {
        title: files.manifest.describe(),
        detail: format!("{}, {}", pick.in_words(split, "sample"), in_words(framing)),
        samples: Shown::Recordings { framing, clips: clips.into_iter().map(|(_, clip)| clip).collect() },
    })
}

fn images(files: Files<'_>, split: SplitName, choice: &Choice) -> Result<Preview, DatasetError> {
    let info = files.info;
    if choice.framing.is_some() {
        let problem = "static images are not framed: leave --time-steps and --split out";
        return Err(DatasetError::FramingChoice { dataset: files.manifest.dataset, problem });
    }
    let (labels, pixels) = read_images(files, split)?;
    let pick = choice.pick.unwrap_or(Pick::PerClass(IMAGES));
    let picked = pick.of(&labels, info.classes.len())?;
    check_size(&info.title, picked.len(), 1, [info.height, info.width].map(usize::from))?;
    let length = info.channels * info.pixels();
    let strips = picked
        .chunk_by(|a, b| labels[*a] == labels[*b])
        .map(|places| {
            let class = info.classes.get(usize::from(labels[places[0]]));
            Strip {
                caption: format!("class {}", class.map_or("", String::as_str)),
                labels: places.iter().map(usize::to_string).collect(),
                channels: info.channels,
                height: usize::from(info.height),
                width: usize::from(info.width),
                pixels: places
                    .iter()
                    .flat_map(|place| &pixels[place * length..][..length])
                    .copied()
                    .collect(),
            }
        })
        .collect();
    let (channels, height, width) = (info.channels, info.height, info.width);
    Ok(Preview {
        title: files.manifest.describe(),
        detail: format!("{}, images of {channels} x {height} x {width}", pick.in_words(split, "image")),
        samples: Shown::Images(strips),
    })
}

impl Pick {
    /// Places in the sample order, class by class.
    fn of(self, labels: &[u8], classes: usize) -> Result<Vec<usize>, DatasetError> {
        match self {
            Pick::One(index) if index < labels.len() => Ok(vec![index]),
            Pick::One(index) => Err(DatasetError::NoSuchSample { index, len: labels.len() }),
            Pick::PerClass(most) => {
                let of_class = |class: usize| {
                    let places =
                        labels.iter().enumerate().filter(move |(_, label)| usize::from(**label) == class);
                    places.take(most).map(|(place, _)| place)
                };
                Ok((0..classes).flat_map(of_class).collect())
            }
        }
    }

    fn in_words(self, split: SplitName, thing: &str) -> String {
        let split = if split == SplitName::Train { "training" } else { "test" };
        match self {
            Pick::One(index) => format!("{split} {thing} {index}"),
            Pick::PerClass(1) => format!("first {split} {thing} of each class"),
            Pick::PerClass(most) => format!("first {most} {split} {thing}s of each class"),
        }
    }
}
