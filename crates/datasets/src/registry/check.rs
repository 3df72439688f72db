//! Does a table of the registry agree with itself, and with what its layout and format can hold?

use std::collections::BTreeSet;

use bpsta_events::{Format, Sensor};

use super::{DatasetInfo, Kind, Layout};
use crate::store::MOST_FRAMES;

impl DatasetInfo {
    /// What the types cannot say: lengths of checksums, and what a kind implies.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let hex = |at: String, text: &str, digits: usize| {
            let good = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            let message = || format!("expected {digits} lower-case hex digits, found {text:?}");
            if good { Ok(()) } else { Err((at, message())) }
        };
        for (index, file) in self.files.iter().enumerate() {
            hex(format!("files[{index}].md5"), &file.md5, 32)?;
            if let Some(sha256) = &file.sha256 {
                hex(format!("files[{index}].sha256"), sha256, 64)?;
            }
        }
        for (name, md5) in &self.unpacked {
            hex(format!("unpacked.{name}"), md5, 32)?;
        }
        if self.classes.is_empty() || self.classes.len() > 256 {
            return Err(("classes".into(), "expected 1 to 256 classes: labels are bytes".into()));
        }
        let refuse = |at: &str, message: String| Err((at.to_owned(), message));
        let (kind, splits) = self.layout.holds();
        if self.kind != kind {
            return refuse("kind", format!("expected {kind:?}, as the layout holds them").to_lowercase());
        }
        if !splits.contains(&self.split) {
            let names = splits.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
            return refuse("split", format!("the layout is divided by {names}"));
        }
        let own = self.layout == Layout::ClassFolders;
        if own != self.format.is_some() {
            let needs = "is needed with the layout class-folders, which holds recordings of any one format";
            return refuse("format", if own { needs } else { "the layout has a format of its own" }.into());
        }
        if !own && self.samples.is_none() {
            return refuse(
                "samples",
                "expected the official numbers, such as { train = 60000, test = 10000 }".into(),
            );
        }
        let folders = self.layout.has_class_folders();
        let no_folder = |class: &&String| class.is_empty() || class.contains(['/', '\\', '.']);
        if let Some(class) = self.classes.iter().find(no_folder).filter(|_| folders) {
            return refuse("classes", format!("a class is the name of a folder, found {class:?}"));
        }
        // Some file systems take names that differ in their capitals alone for one.
        let mut seen = BTreeSet::new();
        let name = |class: &String| if folders { class.to_lowercase() } else { class.clone() };
        if let Some(class) = self.classes.iter().find(|class| !seen.insert(name(class))) {
            let capitals = if folders { ", whatever its capitals" } else { "" };
            return refuse("classes", format!("expected every class once{capitals}, found {class:?} again"));
        }
        for (at, pixels) in [("width", self.width), ("height", self.height)] {
            if pixels == 0 {
                return refuse(at, "expected at least 1 pixel, found 0".to_owned());
            }
        }
        // What files of the layout hold; those of CIFAR-10 say nothing of it themselves.
        let size = [self.classes.len(), self.channels, self.height.into(), self.width.into()];
        let holds = match self.layout {
            Layout::Mnist => [None, Some(1), None, None],
            Layout::Cifar10 => [10, 3, 32, 32].map(Some),
            Layout::Nmnist | Layout::Dvsgesture | Layout::Dvscifar10 | Layout::ClassFolders => {
                [None, Some(2), None, None]
            }
        };
        for ((at, found), expected) in
            ["classes", "channels", "height", "width"].into_iter().zip(size).zip(holds)
        {
            if let Some(expected) = expected.filter(|expected| *expected != found) {
                return refuse(at, format!("expected {expected}, as the layout holds them, found {found}"));
            }
        }
        // The addresses of another sensor's events have the same bits in other places: they would be taken for other pixels.
        if let Some(format @ (Format::Aedat2 | Format::Aedat31)) = self.recordings() {
            let Sensor { width, height } = Sensor::DVS128;
            for (at, found, most) in [("width", self.width, width), ("height", self.height, height)] {
                if found > most {
                    let only = format!("{format} is only read for the DVS128");
                    return refuse(at, format!("expected at most {most}, since {only}; found {found}"));
                }
            }
        }
        self.augmentation.check().or_else(|message| refuse("augmentation", message))?;
        match (kind, self.framing) {
            (Kind::Events, None) => refuse("framing", "event data needs one, such as \"number:16\"".into()),
            (Kind::Static, Some(_)) => refuse("framing", "static images are not framed".into()),
            (Kind::Events, Some(framing)) if framing.frames().is_some_and(|frames| frames > MOST_FRAMES) => {
                refuse("framing", format!("a sample has at most {MOST_FRAMES} frames, found {framing}"))
            }
            _ => Ok(()),
        }
    }
}
