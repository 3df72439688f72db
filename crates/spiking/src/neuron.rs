//! The leaky integrate-and-fire neuron and the four rules its gradient can follow.
//!
//! Forward, the same for all rules, with `v[0] = 0` and `t = 1..T`:
//!
//! ```text
//! u[t] = v[t-1] + I[t]                 membrane potential
//! s[t] = 1 if u[t] >= threshold else 0  spike
//! v[t] = decay * u[t] * (1 - s[t])      reset to 0, then decay
//! ```
//!
//! Backward, with `g[t] = dL/ds[t]` from the layers above and `d[T+1] = 0`:
//! `d[t] = k[t] * g[t] + m[t] * d[t+1]`, which is `dL/dI[t]`. The rules differ in `k` and `m`; [`Rule`] lists them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Result, SpikingError};

/// One cell of the ablation: how the gradient passes a spiking neuron.
///
/// `r[t] = 1 if |u[t] - threshold| < half_width else 0` is the rectangular surrogate; `lam` is the decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Backpropagation through time with a rectangular surrogate (`SGLIFNode` of the official code):
    /// `k = r`, `m = lam * ((1 - s) - u * r)`.
    Baseline,
    /// The paper's spatial adjustment (BPSA; `DGLIFNode` of the official code): `k = s / u`, `m = lam * (1 - s)`.
    Spatial,
    /// The paper's temporal adjustment (BPTA, Equation 10) on top of the baseline. The paper never
    /// measures it alone, and the official code has no node for it: `k = r`, `m = lam * ((1 - s) - u * r + alpha * r)`.
    Temporal,
    /// BPSA and BPTA, the paper's method (`HTGLIFNode` of the official code): `k = s / u`, `m = lam * ((1 - s) + alpha * s / u)`.
    Both,
}

impl Rule {
    /// All rules, in the order of the tables.
    pub const ALL: [Self; 4] = [Self::Baseline, Self::Spatial, Self::Temporal, Self::Both];

    /// The name used on the command line, in files and in records.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Spatial => "spatial",
            Self::Temporal => "temporal",
            Self::Both => "both",
        }
    }

    /// Whether the spike's derivative is `s / u` instead of the rectangular surrogate.
    pub const fn adjusts_space(self) -> bool {
        matches!(self, Self::Spatial | Self::Both)
    }

    /// Whether the residual `alpha` joins the next time step's potential.
    pub const fn adjusts_time(self) -> bool {
        matches!(self, Self::Temporal | Self::Both)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl FromStr for Rule {
    type Err = SpikingError;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|rule| rule.id() == text).ok_or_else(|| SpikingError::UnknownName {
            kind: "rule",
            found: text.to_owned(),
            expected: Self::ALL.map(Self::id).join(", "),
        })
    }
}

/// Whether the baseline's gradient flows through the reset, as in the official code, or not, as in the paper's text.
///
/// Only [`Rule::Baseline`] and [`Rule::Temporal`] have the term `-u * r` that this decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Reset {
    /// `m` keeps the term `-u * r`: what the official code does.
    #[default]
    Attached,
    /// `m` loses the term `-u * r`: what the paper's text describes.
    Detached,
}

/// A leaky integrate-and-fire neuron with its gradient rule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Neuron {
    /// How the gradient passes.
    pub rule: Rule,
    /// Membrane potential at which it fires; the paper's `u_th` = 0.5.
    pub threshold: f64,
    /// Share of the potential kept to the next time step; the paper's lambda = 0.9.
    pub decay: f64,
    /// Residual of the temporal adjustment; the paper's alpha = 0.2.
    pub alpha: f64,
    /// Half the width of the rectangular surrogate around the threshold; 0.5 in the official code.
    pub surrogate_half_width: f64,
    /// Whether the gradient flows through the reset.
    pub reset: Reset,
}

impl Neuron {
    /// The paper's constants with the given rule.
    pub const fn paper(rule: Rule) -> Self {
        Self {
            rule,
            threshold: 0.5,
            decay: 0.9,
            alpha: 0.2,
            surrogate_half_width: 0.5,
            reset: Reset::Attached,
        }
    }

    /// Checks that the constants have a meaning in 32 bits, with which engines compute.
    ///
    /// # Errors
    /// [`SpikingError::Range`] for a threshold or surrogate that is not positive, a threshold whose reciprocal is not finite (the spatial
    /// rule divides by potentials of at least the threshold), or a decay or residual that is not finite.
    pub fn validate(&self) -> Result<()> {
        let positive: fn(f32) -> bool = |value| value > 0.0 && value.is_finite();
        let divisor: fn(f32) -> bool = |value| value > 0.0 && value.is_finite() && value.recip().is_finite();
        let constants = [
            ("threshold", self.threshold, divisor, "a positive number in 32 bits, as its reciprocal"),
            ("surrogate_half_width", self.surrogate_half_width, positive, "a positive number in 32 bits"),
            ("decay", self.decay, f32::is_finite, "a finite number in 32 bits"),
            ("alpha", self.alpha, f32::is_finite, "a finite number in 32 bits"),
        ];
        match constants.into_iter().find(|(_, value, has_meaning, _)| !has_meaning(*value as f32)) {
            // Not by Display, which writes 1e300 with all its digits.
            Some((key, value, _, expected)) => {
                Err(SpikingError::Range { key, found: format!("{value:?}"), expected })
            }
            None => Ok(()),
        }
    }
}
