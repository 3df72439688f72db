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
    /// both name the stand-ins at hand. A manifest that cannot be read.
    pub fn find(&self, id: DatasetId, which: &Which) -> Result<Manifest, DatasetError> {
        if *which == Which::Real
            && let Some(manifest) = self.manifest(id)?
        {
            return Ok(manifest);
        }
        let mut stand_ins = self.stand_ins(id)?;
        let names: Vec<String> = stand_ins.iter().map(|manifest| self.name(manifest)).collect();
        let (at_hand, several) = (names.join(", "), names.len() > 1);
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
                "there is no stand-in of it; `cargo xtask reproduce table1` (images) or `table2` (events) makes small ones".to_owned()
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
