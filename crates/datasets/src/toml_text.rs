//! TOML into a type; what does not fit is said with its key, line and column, and for a misspelt name the nearest known one.

use serde::de::DeserializeOwned;

/// What is wrong with a TOML text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TomlProblem {
    /// The key, such as `nmnist.files[0].md5`.
    pub at: String,
    /// What is wrong there, with line and column.
    pub message: String,
}

/// Reads a whole text.
///
/// # Errors
/// The first [`TomlProblem`].
pub fn from_toml<T: DeserializeOwned>(text: &str) -> Result<T, TomlProblem> {
    let document = toml::Deserializer::parse(text)
        .map_err(|error| TomlProblem { at: "the file".to_owned(), message: error.to_string() })?;
    serde_path_to_error::deserialize(document).map_err(|error| {
        let at = error.path().to_string();
        // The deserializer knows only the place; the line it stands in comes from the text.
        let mut inner = error.into_inner();
        inner.set_input(Some(text));
        let meant = misspelt(inner.message()).map(|name| format!("did you mean `{name}`?"));
        TomlProblem { at, message: format!("{inner}{}", meant.unwrap_or_default()) }
    })
}

/// The one of `names` that is most like a misspelt one, if any is much like it.
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A letter in three may be wrong.
    let most = name.chars().count().div_ceil(3);
    let distances = names.into_iter().map(|known| (strsim::damerau_levenshtein(name, known), known));
    distances
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// The name that was meant, from serde's words for an unknown field or variant: unknown field `a`, expected one of `b`, `c`.
fn misspelt(message: &str) -> Option<&str> {
    let unknown = message.starts_with("unknown field") || message.starts_with("unknown variant");
    let mut names = message.split('`').skip(1).step_by(2);
    let name = names.next().filter(|_| unknown)?;
    nearest(name, names)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sensor {
        #[expect(dead_code, reason = "only read")]
        width: u16,
        #[expect(dead_code, reason = "only read")]
        kind: Kind,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Static,
        Events,
    }

    #[test]
    fn a_misspelt_key_or_value_names_its_line_and_what_was_meant() {
        let problem = from_toml::<Sensor>("kind = \"events\"\nwitdh = 3\n").unwrap_err();
        assert!(problem.message.contains("line 2, column 1"), "{problem:?}");
        assert!(problem.message.ends_with("did you mean `width`?"), "{problem:?}");
        let problem = from_toml::<Sensor>("kind = \"event\"\nwidth = 3\n").unwrap_err();
        assert_eq!(problem.at, "kind");
        assert!(problem.message.ends_with("did you mean `events`?"), "{problem:?}");
    }

    #[test]
    fn what_is_like_nothing_known_is_not_guessed_at() {
        let problem = from_toml::<Sensor>("colour = 1\n").unwrap_err();
        assert!(!problem.message.contains("did you mean"), "{problem:?}");
        assert_eq!(nearest("nmnits", ["mnist", "nmnist", "cifar10"]), Some("nmnist"));
        assert_eq!(nearest("svhn", ["mnist", "nmnist"]), None);
    }
}
