//! One line a class, and one for all. Every line says what data it is from.

use super::{EventGroup, Figures, ImageGroup, Spread, Stats};

impl Stats {
    pub(super) fn csv(&self) -> String {
        let mut lines: Vec<Vec<(String, String)>> = match &self.figures {
            Figures::Events(figures) => figures.classes.iter().chain([&figures.all]).map(of_events).collect(),
            Figures::Images(figures) => {
                let groups = figures.classes.iter().chain([&figures.train, &figures.test, &figures.all]);
                groups.map(|group| of_images(group, &figures.channels)).collect()
            }
        };
        let source = &self.source;
        for line in &mut lines {
            line.splice(
                0..0,
                [
                    ("data".to_owned(), source.data.clone()),
                    ("manifest_hash".to_owned(), source.manifest_hash.clone()),
                    ("synthetic".to_owned(), source.synthetic.to_string()),
                    ("subset".to_owned(), source.subset.is_some().to_string()),
                ],
            );
        }
        let head = lines.first().map(|line| row(line.iter().map(|(name, _)| name)));
        let lines = lines.iter().map(|line| row(line.iter().map(|(_, value)| value)));
        head.into_iter().chain(lines).collect()
    }
}

fn of_events(group: &EventGroup) -> Vec<(String, String)> {
    let mut line = vec![
        ("class".to_owned(), group.class.clone()),
        ("samples_train".to_owned(), group.samples.train.to_string()),
        ("samples_test".to_owned(), group.samples.test.to_string()),
        ("on_events".to_owned(), group.on_events.to_string()),
        ("off_events".to_owned(), group.off_events.to_string()),
        ("on_share".to_owned(), number(group.on_share)),
    ];
    let spreads = [
        ("events_per_sample", group.events_per_sample),
        ("duration_us", group.duration_us),
        ("rate_events_per_s", group.rate_events_per_s),
    ];
    for (name, spread) in spreads {
        let of = |field: fn(&Spread) -> f64| number(spread.as_ref().map(field));
        line.extend([
            (format!("{name}_min"), of(|s| s.min)),
            (format!("{name}_q1"), of(|s| s.q1)),
            (format!("{name}_median"), of(|s| s.median)),
            (format!("{name}_mean"), of(|s| s.mean)),
            (format!("{name}_q3"), of(|s| s.q3)),
            (format!("{name}_max"), of(|s| s.max)),
        ]);
    }
    line
}

fn of_images(group: &ImageGroup, channels: &[&str]) -> Vec<(String, String)> {
    let mut line = vec![
        ("class".to_owned(), group.class.clone()),
        ("samples_train".to_owned(), group.samples.train.to_string()),
        ("samples_test".to_owned(), group.samples.test.to_string()),
    ];
    for (what, values) in [("mean", &group.pixel_mean_0_to_1), ("std", &group.pixel_std_0_to_1)] {
        for (place, channel) in channels.iter().enumerate() {
            let value = values.as_ref().and_then(|values| values.get(place)).copied();
            line.push((format!("pixel_{what}_{channel}_0_to_1"), number(value)));
        }
    }
    line
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn row<'a>(cells: impl Iterator<Item = &'a String>) -> String {
    let cells: Vec<String> = cells.map(|cell| quoted(cell)).collect();
    cells.join(",") + "\n"
}

/// As RFC 4180 has it.
fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}
