//! Which call of the command tries a cell, whatever clocks say.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names a call of the command, in all of its processes: 16 hexadecimal digits that the system draws. It shapes no run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CallId(u64);

impl CallId {
    /// Of a new call, which no other has.
    pub fn new() -> Self {
        // The system's randomness under the keys of a hash: no stream of a run is touched.
        Self(RandomState::new().hash_one(std::process::id()))
    }
}

impl Default for CallId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for CallId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let id = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        id.map(Self).ok_or_else(|| format!("{text:?} names no call: expected 16 hexadecimal digits"))
    }
}

impl From<CallId> for String {
    fn from(call: CallId) -> Self {
        call.to_string()
    }
}

impl TryFrom<String> for CallId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_a_name_of_its_own_and_is_read_back_by_it() {
        let (one, other) = (CallId::new(), CallId::new());
        assert_ne!(one, other);
        assert_eq!(one.to_string().parse(), Ok(one));
        assert_eq!(CallId(7).to_string(), "0000000000000007");
        for none in ["", "7", "+000000000000007", "000000000000000g"] {
            assert!(none.parse::<CallId>().is_err_and(|why| why.contains("16 hexadecimal")), "{none}");
        }
    }
}
