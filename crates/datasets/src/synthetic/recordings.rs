//! The stand-ins of the event sets: what the modelled sensor records, in the files of each set.

use std::f32::consts::TAU;

use bpsta_events::{Events, Format, encode};
use rayon::prelude::*;

use super::arms::{self, Person, Trial};
use super::dvs::{Make, PixelArray};
use super::still::Still;
use super::textures::{self, Picture};
use super::tree::Tree;
use super::{Size, SplitPart, SyntheticError, glyphs, stills};
use crate::stream::Stream;

/// The classes of CIFAR10 in their official order; the folders of DVS-CIFAR10.
const CIFAR10_CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
/// The lights under which DVS-Gesture was recorded, as they stand in file names, and how strongly a person stands
/// out in each.
const LIGHTS: [(&str, f32); 5] =
    [("fluorescent", 2.3), ("fluorescent_led", 2.5), ("lab", 2.0), ("led", 2.2), ("natural", 2.7)];
/// Users of the official training and test recordings.
const USERS: [std::ops::RangeInclusive<usize>; 2] = [1..=23, 24..=29];
/// Pause between two trials of a recording, in microseconds; only background activity falls into it.
const PAUSE: f32 = 50.0e3;

fn dvs128(threshold: f32) -> Make {
    Make { width: 128, height: 128, threshold, mismatch: 0.04, refractory: 300.0, background: 0.1 }
}

fn write_events(tree: Tree<'_>, name: &str, events: &Events, format: Format) -> Result<(), SyntheticError> {
    let bytes = encode(events, format)
        .map_err(|source| SyntheticError::Encode { path: tree.path(name), source: source.into() })?;
    tree.write(name, &bytes)
}

/// Writes `Train/<digit>/NNNNN.bin` and `Test/<digit>/NNNNN.bin`: the figures of the MNIST stand-in, on a screen
/// before a sensor that makes three saccades of 100 ms along a triangle, as in Orchard et al. 2015.
pub(super) fn write_nmnist(seed: u64, parts: &[SplitPart; 2], tree: Tree<'_>) -> Result<(), SyntheticError> {
    let make =
        Make { width: 34, height: 34, threshold: 0.2, mismatch: 0.04, refractory: 500.0, background: 1.0 };
    let array = PixelArray::new(make, &mut Stream::named(seed, "synthetic/nmnist/sensor"));
    for part in parts {
        let folder = if part.name == "train" { "Train" } else { "Test" };
        for class in 0..part.samples.min(10) {
            tree.folder(&format!("{folder}/{class}"))?;
        }
        (0..part.samples).into_par_iter().try_for_each(|index| {
            let (class, events) = nmnist_sample(seed, part.name, index, &array);
            // One running number over all classes, as in the official set.
            write_events(tree, &format!("{folder}/{class}/{:05}.bin", index + 1), &events, Format::NmnistBin)
        })?;
    }
    Ok(())
}

fn nmnist_sample(seed: u64, split: &str, index: usize, array: &PixelArray) -> (usize, Events) {
    const MARGIN: usize = 5;
    const FINENESS: usize = 2;
    const SACCADE: f32 = 100.0e3;
    let (class, glyph) = stills::glyph(seed, split, index);
    let mut stream = Stream::named(seed, &format!("synthetic/nmnist/{split}/{index}"));
    // The image lies in the middle of the 34x34 sensor.
    let border = MARGIN + (array.width() - glyphs::SIDE) / 2;
    let cover = glyph.coverage(Still::side(array.width(), MARGIN, FINENESS), border, FINENESS);
    let contrast = stream.between(3.0, 5.0);
    let log = cover.into_iter().map(|cover| libm::logf(1.0 + cover * (contrast - 1.0))).collect();
    let still = Still { fineness: FINENESS, margin: MARGIN, log };
    let (wide, high) = (stream.between(1.6, 2.2), stream.between(1.6, 2.2));
    let start = [-wide, -high];
    let path = [start, [0.0, high], [wide, -high], start];
    let recorder = still.pan(array, &path, SACCADE, 1000.0);
    (class, recorder.finish(3.0 * SACCADE, &mut stream))
}

/// Refuses more gesture trials than there are official users and lights to name recordings after.
pub(super) fn check_dvs_gesture(parts: &[SplitPart; 2]) -> Result<(), SyntheticError> {
    for (part, users) in parts.iter().zip(USERS) {
        let most = users.count() * LIGHTS.len() * arms::CLASSES;
        if part.samples > most {
            return Err(SyntheticError::TooManyTrials { split: part.name, asked: part.samples, most });
        }
    }
    Ok(())
}

/// Writes the trial lists and, for every recording, `userNN_<light>.aedat` with `userNN_<light>_labels.csv`: eleven
/// trials, one of each gesture, in the order of the classes. A trial lasts 0.5 to 1 s (the real ones about 6 s).
pub(super) fn write_dvs_gesture(
    seed: u64,
    parts: &[SplitPart; 2],
    tree: Tree<'_>,
) -> Result<(), SyntheticError> {
    let array = PixelArray::new(dvs128(0.36), &mut Stream::named(seed, "synthetic/dvsgesture/sensor"));
    for (part, users) in parts.iter().zip(&USERS) {
        let users: Vec<usize> = users.clone().collect();
        let recordings: Vec<Recording> = (0..part.samples.div_ceil(arms::CLASSES))
            .map(|number| {
                let first = number * arms::CLASSES;
                let trials = first..(first + arms::CLASSES).min(part.samples);
                Recording { user: users[number % users.len()], light: LIGHTS[number / users.len()], trials }
            })
            .collect();
        recordings.par_iter().try_for_each(|recording| {
            let (events, labels) = recording.play(seed, part.name, &array);
            tree.write(&format!("{}_labels.csv", recording.name()), labels.as_bytes())?;
            write_events(tree, &format!("{}.aedat", recording.name()), &events, Format::Aedat31)
        })?;
        let list: String = recordings.iter().map(|recording| recording.name() + ".aedat\n").collect();
        tree.write(&format!("trials_to_{}.txt", part.name), list.as_bytes())?;
    }
    Ok(())
}

/// One file of the gesture set: one user, one light, up to eleven trials.
struct Recording {
    user: usize,
    light: (&'static str, f32),
    trials: std::ops::Range<usize>,
}

impl Recording {
    fn name(&self) -> String {
        format!("user{:02}_{}", self.user, self.light.0)
    }

    /// The events of all trials and the text of the labels file.
    fn play(&self, seed: u64, split: &str, array: &PixelArray) -> (Events, String) {
        let user = format!("synthetic/dvsgesture/user/{}", self.user);
        let person = Person::draw(&mut Stream::named(seed, &user));
        let mut events = Events::default();
        let mut labels = String::from("class,startTime_usec,endTime_usec\n");
        let mut start = 0;
        for index in self.trials.clone() {
            let mut stream = Stream::named(seed, &format!("synthetic/dvsgesture/{split}/{index}"));
            let class = index % arms::CLASSES;
            let trial = Trial::draw(&person, class, self.light.1, &mut stream);
            let played = trial.perform(array).finish(trial.duration() + PAUSE, &mut stream);
            let end = start + trial.duration() as i64;
            labels += &format!("{},{start},{end}\n", class + 1);
            for (((&t, &x), &y), &on) in played.t.iter().zip(&played.x).zip(&played.y).zip(&played.on) {
                events.push(start + t, x, y, on);
            }
            start = end + PAUSE as i64;
        }
        (events, labels)
    }
}

/// Writes `<class>/cifar10_<class>_<i>.aedat`: pictures as in the CIFAR10 stand-in, moved before the sensor in a
/// closed loop, again and again, as in Li et al. 2017 ("repeated closed-loop smooth movement"). A recording lasts
/// 0.4 s (the real ones 1.2 s).
pub(super) fn write_dvs_cifar10(seed: u64, size: &Size, tree: Tree<'_>) -> Result<(), SyntheticError> {
    let files = (size.train + size.test).div_ceil(CIFAR10_CLASSES.len());
    let array = PixelArray::new(dvs128(0.27), &mut Stream::named(seed, "synthetic/dvscifar10/sensor"));
    for name in CIFAR10_CLASSES {
        tree.folder(name)?;
    }
    (0..files * CIFAR10_CLASSES.len()).into_par_iter().try_for_each(|number| {
        let (class, index) = (number % CIFAR10_CLASSES.len(), number / CIFAR10_CLASSES.len());
        let name = CIFAR10_CLASSES[class];
        let events = dvs_cifar10_sample(seed, class, index, &array);
        write_events(tree, &format!("{name}/cifar10_{name}_{index}.aedat"), &events, Format::Aedat2)
    })
}

fn dvs_cifar10_sample(seed: u64, class: usize, index: usize, array: &PixelArray) -> Events {
    const MARGIN: usize = 8;
    const LEG: f32 = 50.0e3;
    let name = CIFAR10_CLASSES[class];
    let mut stream = Stream::named(seed, &format!("synthetic/dvscifar10/{name}/{index}"));
    let picture = Picture::paint(class, &mut stream);
    let side = Still::side(array.width(), MARGIN, 1);
    let log = enlarge(&picture, side, array.width() / textures::SIDE, MARGIN);
    let still = Still { fineness: 1, margin: MARGIN, log };
    // A square on its corner, entered at a random corner's angle: up, right, down, left.
    let (reach, tilt) = (stream.between(3.5, 4.5), stream.between(-0.2, 0.2));
    let corner = |number: usize| {
        let angle = tilt + TAU * number as f32 / 4.0;
        [reach * libm::cosf(angle), reach * libm::sinf(angle)]
    };
    let path: Vec<[f32; 2]> = (0..=8).map(|number| corner(number % 4)).collect();
    let recorder = still.pan(array, &path, LEG, 2000.0);
    recorder.finish(8.0 * LEG, &mut stream)
}

/// The log brightness of a picture, `factor` samples to a texel with bilinear steps between, its edge drawn out
/// over the margin.
fn enlarge(picture: &Picture, side: usize, factor: usize, margin: usize) -> Vec<f32> {
    let logs: Vec<f32> = (0..textures::SIDE * textures::SIDE)
        .map(|texel| libm::logf(0.1 + picture.brightness(texel)))
        .collect();
    let last = (textures::SIDE - 1) as f32;
    let taps: Vec<(usize, f32)> = (0..side)
        .map(|at| {
            let texel = ((at as f32 + 0.5 - margin as f32) / factor as f32 - 0.5).clamp(0.0, last);
            let lower = (texel as usize).min(textures::SIDE - 2);
            (lower, texel - lower as f32)
        })
        .collect();
    let mut log = Vec::with_capacity(side * side);
    for &(row, down) in &taps {
        for &(column, right) in &taps {
            let at = row * textures::SIDE + column;
            let upper = logs[at] + right * (logs[at + 1] - logs[at]);
            let lower = logs[at + textures::SIDE]
                + right * (logs[at + textures::SIDE + 1] - logs[at + textures::SIDE]);
            log.push(upper + down * (lower - upper));
        }
    }
    log
}
