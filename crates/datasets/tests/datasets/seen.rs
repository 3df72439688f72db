//! Previews and figures: the right pixels and numbers, from the recordings that are shown alone, and never without their label.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use bpsta_datasets::synthetic::Size;
use bpsta_datasets::{
    Choice, Counts, DatasetError, DatasetId, Destination, EventFigures, Figures, ImageFigures, Pick, Shown,
    Spread, Stats, Store, Which, frames_of_file, preview_file,
};
use bpsta_events::{Events, Format, Framing};

use crate::tree::{contents, nmnist, registry, store, write};

const ON: [u8; 3] = [255, 160, 40];
const OFF: [u8; 3] = [50, 140, 255];
const DARK: [u8; 3] = [8, 9, 12];

fn recorded(events: &[(i64, u16, u16, bool)]) -> Events {
    let mut out = Events::default();
    events.iter().for_each(|&(t, x, y, on)| out.push(t, x, y, on));
    out
}

/// Two recordings of a 0 for training, and one of a 1 for testing.
fn tiny(folder: &Path) -> Store {
    let (tree, store) = (folder.join("tree"), store(folder));
    let first = [(50, 3, 5, true), (150, 3, 5, true), (250, 10, 20, false), (1050, 33, 33, true)];
    write(&tree.join("Train/0/00001.bin"), &recorded(&first), Format::NmnistBin);
    let second = [(0, 0, 0, false), (500, 0, 0, false)];
    write(&tree.join("Train/0/00002.bin"), &recorded(&second), Format::NmnistBin);
    write(&tree.join("Test/1/00001.bin"), &recorded(&[(7, 1, 1, true)]), Format::NmnistBin);
    store.import(DatasetId::NMNIST, &tree).unwrap();
    store
}

fn events(stats: &Stats) -> &EventFigures {
    let Figures::Events(figures) = &stats.figures else { panic!("these are recordings") };
    figures
}

fn images(stats: &Stats) -> &ImageFigures {
    let Figures::Images(figures) = &stats.figures else { panic!("these are images") };
    figures
}

/// Width, and the colour at a place.
fn pixels(png: &Path) -> (usize, Vec<[u8; 3]>) {
    let mut reader = png::Decoder::new(Cursor::new(fs::read(png).unwrap())).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut bytes).unwrap();
    (reader.info().width as usize, bytes.as_chunks().0.to_vec())
}

#[test]
fn figures_of_recordings_are_those_computed_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let store = tiny(folder.path());
    let manifest = store.find(DatasetId::NMNIST, &Which::Real).unwrap();
    let stats = store.stats(&manifest).unwrap();
    let figures = events(&stats);
    let all = &figures.all;
    assert_eq!(all.samples, Counts { train: 2, test: 1 });
    assert_eq!((all.on_events, all.off_events), (4, 3));
    assert_eq!(all.on_share, Some(4.0 / 7.0));
    let counts = Spread { min: 1.0, q1: 1.5, median: 2.0, mean: 7.0 / 3.0, q3: 3.0, max: 4.0 };
    assert_eq!(all.events_per_sample, Some(counts));
    let us = Spread { min: 0.0, q1: 250.0, median: 500.0, mean: 500.0, q3: 750.0, max: 1000.0 };
    assert_eq!(all.duration_us, Some(us));
    assert_eq!(figures.histogram.samples, [1, 1, 0, 1]);
    assert_eq!((figures.histogram.first_events, figures.histogram.bar_events), (1, 1));

    let zero = &figures.classes[0];
    assert_eq!(zero.samples, Counts { train: 2, test: 0 });
    let rate = zero.rate_events_per_s.unwrap();
    assert_eq!((rate.min, rate.max), (4000.0, 4000.0), "4 events in 1 ms, 2 in 0.5 ms");
    // A part is 20 us of the first recording and 10 us of the second: 50,000 and 100,000 events/s an event.
    let expected = |part| match part {
        0 | 49 => 75_000.0,
        5 | 10 => 25_000.0,
        _ => 0.0,
    };
    for (part, rate) in zero.rate_over_time_events_per_s.iter().enumerate() {
        assert!((rate - expected(part)).abs() < 1e-6, "part {part}: {rate}");
    }
    let one = &figures.classes[1];
    assert_eq!((one.rate_events_per_s, one.on_share), (None, Some(1.0)), "one event has no duration");
    assert_eq!(figures.classes[2].events_per_sample, None);
    assert_eq!(stats.source.manifest_hash, manifest.hash());
}

/// A clock that was reset on the way: what lasts from the earliest to the latest event lasts no negative time.
#[test]
fn a_recording_whose_clock_steps_back_has_its_duration_and_no_frames_by_time() {
    let folder = tempfile::tempdir().unwrap();
    let (tree, store) = (folder.path().join("tree"), store(folder.path()));
    let file = tree.join("Train/0/00001.bin");
    let reset = [(900, 3, 5, true), (1000, 3, 5, true), (10, 10, 20, false), (200, 33, 33, true)];
    write(&file, &recorded(&reset), Format::NmnistBin);
    let manifest = store.import(DatasetId::NMNIST, &tree).unwrap();
    let choice = |framing| Choice { framing: Some(framing), pick: None };
    let by_number = choice(Framing::ByNumber { frames: 2 });
    for preview in [
        preview_file(&file, None, &registry(), &by_number).unwrap(),
        store.preview(&manifest, &by_number).unwrap(),
    ] {
        let Shown::Recordings { clips, .. } = &preview.samples else { panic!("it is a recording") };
        assert_eq!(clips[0].duration_us, 990);
    }
    let figures = store.stats(&manifest).unwrap();
    assert_eq!(events(&figures).all.duration_us.unwrap().max, 990.0);

    let by_time = Framing::ByTime { frames: 2 };
    let steps_back = "the clock steps back from 900 us at the first event to 200 us at the last one";
    for error in [
        preview_file(&file, None, &registry(), &choice(by_time)).map(|_| ()).unwrap_err(),
        frames_of_file(&file, None, by_time).map(|_| ()).unwrap_err(),
        store.load(&manifest, Some(by_time)).map(|_| ()).unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(error.contains("00001.bin: ") && error.contains(steps_back), "{error}");
    }
}

#[test]
fn figures_of_images_are_those_computed_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let idx = |name: &str, dims: &[u32], bytes: Vec<u8>| {
        let head = [0x800 + dims.len() as u32].into_iter().chain(dims.iter().copied());
        let head: Vec<u8> = head.flat_map(u32::to_be_bytes).collect();
        fs::write(tree.join(name), [head, bytes].concat()).unwrap();
    };
    let image = |value: u8| vec![value; 784];
    idx("train-images-idx3-ubyte", &[2, 28, 28], [image(0), image(255)].concat());
    idx("train-labels-idx1-ubyte", &[2], vec![0, 1]);
    idx("t10k-images-idx3-ubyte", &[1, 28, 28], image(51));
    idx("t10k-labels-idx1-ubyte", &[1], vec![1]);
    let text = fs::read_to_string(crate::tree::registry_path()).unwrap();
    let registry = folder.path().join("datasets.toml");
    // These are not the official files.
    let kept = text.lines().filter(|line| !line.contains("-ubyte = \""));
    fs::write(&registry, kept.collect::<Vec<_>>().join("\n")).unwrap();
    let registry = bpsta_datasets::Registry::load(&registry).unwrap();
    let store = Store::open(&folder.path().join("data"), &registry);
    let stats = store.stats(&store.import(DatasetId::MNIST, &tree).unwrap()).unwrap();
    let figures = images(&stats);
    let near = |values: &Option<Vec<f64>>, expected: f64| {
        let value = values.as_ref().unwrap()[0];
        assert!((value - expected).abs() < 1e-12, "{value} should be {expected}");
    };
    near(&figures.train.pixel_mean_0_to_1, 0.5);
    near(&figures.train.pixel_std_0_to_1, 0.5);
    near(&figures.classes[1].pixel_mean_0_to_1, 0.6);
    near(&figures.classes[1].pixel_std_0_to_1, 0.4);
    near(&figures.all.pixel_mean_0_to_1, 0.4);
    assert_eq!(figures.classes[1].samples, Counts { train: 1, test: 1 });
    assert_eq!(figures.classes[5].pixel_mean_0_to_1, None);
    assert_eq!((figures.histogram_pixels[0][51], figures.histogram_pixels[0][52]), (784, 0));

    let preview =
        store.preview(&store.find(DatasetId::MNIST, &Which::Real).unwrap(), &Choice::default()).unwrap();
    let pictures = preview.save(&Destination::named(&folder.path().join("out"), false)).unwrap();
    assert_eq!((pictures.paths.len(), pictures.pace), (1, None), "still images do not move");
}

#[test]
fn events_light_their_pixels_in_the_colour_of_their_polarity() {
    let folder = tempfile::tempdir().unwrap();
    let store = tiny(folder.path());
    let manifest = store.find(DatasetId::NMNIST, &Which::Real).unwrap();
    let framing = Some(Framing::ByTime { frames: 2 });
    let preview = store.preview(&manifest, &Choice { framing, pick: Some(Pick::One(0)) }).unwrap();
    let pictures = preview.save(&Destination::named(&folder.path().join("out"), false)).unwrap();
    // 8 free, two lines of header of 16, 8 free, a line of caption of 16; a sensor's pixel is 4 x 4, a frame 34 x 4 + 2.
    let (width, sheet) = pixels(&pictures.paths[0]);
    let at = |frame: usize, x: usize, y: usize| sheet[(64 + y * 4) * width + 8 + frame * 138 + x * 4];
    assert_eq!((at(0, 3, 5), at(0, 10, 20), at(0, 3, 6), at(0, 33, 33)), (ON, OFF, DARK, DARK));
    assert_eq!((at(1, 3, 5), at(1, 33, 33)), (DARK, ON));

    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut reader = options.read_info(Cursor::new(fs::read(&pictures.paths[1]).unwrap())).unwrap();
    let width = usize::from(reader.width());
    // A third line of header; a sensor's pixel is 8 x 8.
    for expected in [[ON, OFF, DARK], [DARK, DARK, ON]] {
        let frame = reader.read_next_frame().unwrap().unwrap();
        assert_eq!(frame.delay, 2, "0.5 ms is shown for the shortest time that viewers keep to");
        let at = |x: usize, y: usize| &frame.buffer[4 * ((80 + y * 8) * width + 8 + x * 8)..][..3];
        assert_eq!([at(3, 5), at(10, 20), at(33, 33)], expected);
    }
    assert!(reader.read_next_frame().unwrap().is_none());
    assert!(pictures.pace.unwrap().contains("a frame's real time is 0.5 ms"));
}

#[test]
fn a_preview_reads_what_it_shows_and_checks_it() {
    let folder = tempfile::tempdir().unwrap();
    let (tree, store) = (folder.path().join("tree"), store(folder.path()));
    nmnist(&tree, 30, 10);
    let manifest = store.import(DatasetId::NMNIST, &tree).unwrap();
    let before = store.preview(&manifest, &Choice::default()).unwrap();
    let Shown::Recordings { clips, .. } = &before.samples else { panic!("these are recordings") };
    let shown: Vec<(&str, &str)> =
        clips.iter().map(|clip| (clip.class.as_deref().unwrap(), clip.name.as_str())).collect();
    assert_eq!(
        (shown.len(), shown[0], shown[3]),
        (10, ("0", "Train/0/00010.bin"), ("3", "Train/3/00003.bin"))
    );
    assert!(before.title.contains("subset: 30 of 60,000"), "{}", before.title);

    let raw = store.folder(&manifest).join("raw");
    fs::write(raw.join("Train/3/00013.bin"), "damaged").unwrap();
    assert_eq!(store.preview(&manifest, &Choice::default()).unwrap(), before);
    assert!(!store.folder(&manifest).join("frames").exists(), "no cache is built");
    let two = Choice { pick: Some(Pick::PerClass(2)), ..Choice::default() };
    assert!(matches!(store.preview(&manifest, &two), Err(DatasetError::Changed { .. })));
    assert!(matches!(store.stats(&manifest), Err(DatasetError::Changed { .. })));
    // 19 ms in frames of 5 us.
    let framing = Some(Framing::ByDuration { us: 5 });
    let many = store.preview(&manifest, &Choice { framing, ..Choice::default() }).unwrap_err().to_string();
    assert!(many.contains("10 samples of 3861 frames"), "{many}");
    let far = Choice { pick: Some(Pick::One(30)), ..Choice::default() };
    assert!(matches!(store.preview(&manifest, &far), Err(DatasetError::NoSuchSample { index: 30, len: 30 })));
}

#[test]
fn a_stand_in_is_called_one_in_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    for id in [DatasetId::DVSGESTURE, DatasetId::CIFAR10] {
        let manifest = store.synthetic(id, &Size { train: 11, test: 11 }, 5).unwrap();
        let pictures = store.preview(&manifest, &Choice::default()).unwrap();
        let pictures = pictures.save(&store.seen(&manifest, "preview")).unwrap().paths;
        let stats = store.stats(&manifest).unwrap().save(&store.seen(&manifest, "stats")).unwrap();
        for path in pictures.iter().chain(&stats) {
            let bytes = fs::read(path).unwrap();
            let label = b"synthetic stand-in";
            assert!(bytes.windows(label.len()).any(|window| window == label), "{}", path.display());
        }
        // Once more, to the same place and with the same bytes.
        let before = contents(&store.folder(&manifest).join("seen"));
        store
            .preview(&manifest, &Choice::default())
            .unwrap()
            .save(&store.seen(&manifest, "preview"))
            .unwrap();
        store.stats(&manifest).unwrap().save(&store.seen(&manifest, "stats")).unwrap();
        assert_eq!(contents(&store.folder(&manifest).join("seen")), before);
        assert_eq!(store.verify(&manifest).unwrap().problems, Vec::<String>::new());

        let file = manifest.files.iter().find(|file| file.samples > 0).unwrap();
        let file = store.folder(&manifest).join("raw").join(&file.path);
        let preview = preview_file(&file, None, &registry(), &Choice::default()).unwrap();
        assert!(preview.title.ends_with("synthetic stand-in"), "{}", preview.title);
    }
}

#[test]
fn which_data_is_meant_is_asked_where_it_is_not_clear() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let id = DatasetId::NMNIST;
    let message = |which| store.find(id, &which).unwrap_err().to_string();
    assert!(message(Which::Real).contains("no stand-in of it either"));
    assert!(message(Which::StandIn).contains("make one with `cargo xtask data stand-in nmnist --train"));
    let one = store.synthetic(id, &Size { train: 10, test: 10 }, 1).unwrap();
    assert!(message(Which::Real).contains("say --stand-in to see generated data: 10-10-1-v"));
    assert_eq!(store.find(id, &Which::StandIn).unwrap(), one);
    store.synthetic(id, &Size { train: 10, test: 10 }, 2).unwrap();
    assert!(message(Which::StandIn).contains("choose one with --stand-in=NAME: 10-10-1-v"));
    assert!(message(Which::Named("11".to_owned())).contains("10-10-2-v"));
    let name = store.folder(&one).file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(store.find(id, &Which::Named(name)).unwrap(), one);
}

#[test]
fn outputs_are_replaced_only_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recording.bin");
    write(&file, &recorded(&[(0, 1, 2, true), (9, 3, 4, false)]), Format::NmnistBin);
    let preview = preview_file(&file, None, &registry(), &Choice::default()).unwrap();
    let out = folder.path().join("a/v1.2");
    fs::create_dir(folder.path().join("a")).unwrap();
    fs::write(folder.path().join("a/v1.2.gif"), "mine").unwrap();
    let refused = preview.save(&Destination::named(&out, false));
    assert!(matches!(refused, Err(DatasetError::OutputExists { .. })));
    assert_eq!(contents(&folder.path().join("a")).len(), 1, "nothing else was written");
    for stem in [folder.path().join("a/"), folder.path().join("b/"), folder.path().join("a/.."), "".into()] {
        let refused = preview.save(&Destination::named(&stem, true));
        assert!(matches!(refused, Err(DatasetError::NoStem { .. })), "{}", stem.display());
    }
    assert_eq!(contents(folder.path()).len(), 2, "the recording and the file that was there");
    let paths = preview.save(&Destination::named(&out.with_file_name("v1.2.png"), true)).unwrap().paths;
    assert_eq!(paths, ["v1.2.png", "v1.2.gif"].map(|name| out.with_file_name(name)));
    assert_eq!(contents(&folder.path().join("a")).len(), 2);
}

#[cfg(unix)]
#[test]
fn outputs_to_one_folder_wait_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recording.bin");
    write(&file, &recorded(&[(0, 1, 2, true), (9, 3, 4, false)]), Format::NmnistBin);
    let preview = preview_file(&file, None, &registry(), &Choice::default()).unwrap();
    let others = folder.path().join(".drawing-out-Xy12");
    fs::create_dir(&others).unwrap();
    let lock = fs::File::open(folder.path()).unwrap();
    lock.lock().unwrap();
    let to = Destination::named(&folder.path().join("out"), false);
    std::thread::scope(|scope| {
        let save = scope.spawn(|| preview.save(&to).map(|_| ()));
        std::thread::sleep(std::time::Duration::from_millis(400));
        assert!(others.exists() && !save.is_finished() && contents(folder.path()).len() == 1);
        fs::write(folder.path().join("out.gif"), "another's").unwrap();
        drop(lock);
        assert!(matches!(save.join().unwrap(), Err(DatasetError::OutputExists { .. })));
    });
    preview.save(&Destination::named(&folder.path().join("out"), true)).unwrap();
    assert!(!others.exists());
    assert_eq!(contents(folder.path()).len(), 3, "the recording and two pictures");
}

#[test]
fn what_does_not_fit_a_file_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let fails =
        |path: &Path, choice: Choice| preview_file(path, None, &registry(), &choice).unwrap_err().to_string();
    let framed = |frames| Choice { framing: Some(Framing::ByNumber { frames }), pick: None };
    let picked = Choice { framing: None, pick: Some(Pick::One(0)) };
    let labels = path("labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 1, 7]);
    assert!(fails(&labels, Choice::default()).contains("holds labels and no images"));
    let cut = path("cut.bin", &[0; 12]);
    assert!(fails(&cut, Choice::default()).contains("cut.bin") && fails(&cut, framed(2)).contains("byte 10"));
    let good = path("good.bin", &[1, 2, 0, 0, 0]);
    assert!(fails(&good, picked).contains("leave --sample and --samples out"));
    assert!(fails(&good, framed(1 << 20)).contains("ask for fewer samples or frames"));
    // 8 s in frames of 100 us.
    let long = path("long.bin", &[1, 2, 0, 0, 0, 1, 2, 0x7f, 0xff, 0xff]);
    let short_frames = Choice { framing: Some(Framing::ByDuration { us: 100 }), pick: None };
    assert!(fails(&long, short_frames).contains("1 samples of 83887 frames"));
    let wide = [&[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0x10, 1][..], &[0; 4097]].concat();
    assert!(fails(&path("wide-idx3-ubyte", &wide), Choice::default()).contains("4097 x 1 pixels"));
    let record = path("data_batch_1.bin", &[&[3][..], &[9; 3072]].concat());
    assert!(fails(&record, framed(2)).contains("leave --time-steps and --split out"));
    let preview = preview_file(&record, None, &registry(), &picked).unwrap();
    let Shown::Images(strips) = preview.samples else { panic!("these are images") };
    assert_eq!((strips.len(), &strips[0].labels[..]), (1, &["cat".to_owned()][..]));
}
