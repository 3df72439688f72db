//! Which of the things in a data folder is meant: what was imported, or one of the stand-ins.

use crate::{DatasetError, DatasetId, Manifest, Store};

/// The import or the stand-in of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// What was imported.
    Real,
    /// The only stand-in there is.
    StandIn,
    /// The stand-in of this folder name, such as `400-100-2110-v1`.
    Named(String),
}

impl Store {
    /// The manifest of what is meant.
    ///
    /// # Errors
    /// [`DatasetError::NotImported`] when it is not there, [`DatasetError::WhichStandIn`] when no stand-in or several may be meant;
    /// both name the stand-ins at hand. A manifest of what is meant that cannot be read: one of another stand-in is passed over.
    pub fn find(&self, id: DatasetId, which: &Which) -> Result<Manifest, DatasetError> {
        if *which == Which::Real
            && let Some(manifest) = self.manifest(id)?
        {
            return Ok(manifest);
        }
        let (mut stand_ins, mut unreadable) = (Vec::new(), Vec::new());
        for found in self.stand_ins(id)? {
            match found {
                Ok(manifest) => stand_ins.push(manifest),
                Err(error) => unreadable.push(error),
            }
        }
        let names: Vec<String> = stand_ins.iter().map(|manifest| self.name(manifest)).collect();
        let (at_hand, several) = (names.join(", "), names.len() > 1);
        // Of a stand-in that may be meant and cannot be read, that is what to say.
        let meant = |error: &DatasetError| match which {
            Which::Real => false,
            Which::StandIn => names.is_empty(),
            Which::Named(name) => error.manifest_folder() == Some(name.as_str()),
        };
        if let Some(place) = unreadable.iter().position(meant) {
            return Err(unreadable.swap_remove(place));
        }
        let problem = match which {
            Which::Real => {
                let import = format!("import it with `cargo xtask data import {id} --from FOLDER`");
                let remedy = match (names.is_empty(), several) {
                    (true, _) => format!("{import}; there is no stand-in of it either"),
                    (_, false) => format!("{import}, or say --stand-in to see generated data: {at_hand}"),
                    (_, true) => {
                        format!("{import}, or say --stand-in=NAME to see generated data: {at_hand}")
                    }
                };
                return Err(DatasetError::NotImported { dataset: id, remedy });
            }
            _ if names.is_empty() => {
                format!(
                    "there is no stand-in of it: make one with `cargo xtask data stand-in {id} --train N --test N`"
                )
            }
            Which::StandIn if several => {
                format!("there are several stand-ins: choose one with --stand-in=NAME: {at_hand}")
            }
            Which::StandIn => return Ok(stand_ins.swap_remove(0)),
            Which::Named(name) => match names.iter().position(|other| other == name) {
                Some(place) => return Ok(stand_ins.swap_remove(place)),
                None => format!("there is no stand-in {name:?}; at hand: {at_hand}"),
            },
        };
        Err(DatasetError::WhichStandIn { dataset: id, problem })
    }

    /// The name of a stand-in's folder.
    fn name(&self, manifest: &Manifest) -> String {
        self.folder(manifest).file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}
