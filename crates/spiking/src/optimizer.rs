//! AdamW (Loshchilov and Hutter 2019), as PyTorch computes it.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};

#[cfg(feature = "cuda")]
use crate::cuda::Kernels;
use crate::parameters::{check, check_types};
use crate::{NetworkSpec, Result};

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019, Algorithm 2, with PyTorch's learning rate in the decay); beta1 = 0.9,
/// beta2 = 0.999, eps = 1e-8. Step t, from 1, moves a parameter w by its gradient g, at learning rate lr and weight decay wd:
///
/// ```text
/// w = w - lr * wd * w
/// m = beta1 * m + (1 - beta1) * g                 first moment, 0 before the first step
/// v = beta2 * v + (1 - beta2) * g^2               second moment, likewise
/// d = sqrt(v) / sqrt(1 - beta2^t) + eps
/// w = w - lr / (1 - beta1^t) * m / d
/// ```
///
/// candle-nn has one too, but keeps its moments to itself: a run that resumes must save them.
#[derive(Debug, Clone)]
pub struct AdamW {
    pub(crate) weight_decay: f64,
    pub(crate) step: u32,
    /// First and second moments by parameter; none before its first step.
    pub(crate) moments: BTreeMap<String, (Tensor, Tensor)>,
}

/// What all parameters share in one step; names as in [`AdamW`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared {
    /// Square root of the second moment's correction, `sqrt(1 - beta2^t)`.
    pub(crate) second_correction_root: f64,
    /// What weight decay leaves of a parameter, `1 - lr * wd`.
    pub(crate) kept: f64,
    /// Learning rate over the first moment's correction, `lr / (1 - beta1^t)`.
    pub(crate) rate: f64,
}

impl Shared {
    /// Of step number `step`, from 1.
    pub(crate) fn of_step(step: u32, learning_rate: f64, weight_decay: f64) -> Self {
        let exponent = f64::from(step);
        Self {
            second_correction_root: (1.0 - BETA2.powf(exponent)).sqrt(),
            kept: 1.0 - learning_rate * weight_decay,
            rate: learning_rate / (1.0 - BETA1.powf(exponent)),
        }
    }
}

pub(crate) const BETA1: f64 = 0.9;
pub(crate) const BETA2: f64 = 0.999;
pub(crate) const ADAM_EPSILON: f64 = 1e-8;

impl AdamW {
    /// An optimizer before its first step; the paper's weight decay is 1e-4.
    pub const fn new(weight_decay: f64) -> Self {
        Self { weight_decay, step: 0, moments: BTreeMap::new() }
    }

    /// An optimizer that goes on behind `step` steps, with the first and second moments of each parameter as [`Self::moments`] gave them.
    pub const fn resumed(weight_decay: f64, step: u32, moments: BTreeMap<String, (Tensor, Tensor)>) -> Self {
        Self { weight_decay, step, moments }
    }

    /// Steps it has done.
    pub const fn steps(&self) -> u32 {
        self.step
    }

    /// First and second moments by parameter, in its shape; none of a parameter that never had a gradient.
    pub const fn moments(&self) -> &BTreeMap<String, (Tensor, Tensor)> {
        &self.moments
    }

    /// Refuses moments that are not of a network's parameters, or of other types than an engine computes in, which `expected` names.
    pub(crate) fn check(&self, spec: &NetworkSpec, types: &[DType], expected: &str) -> Result<()> {
        let shapes = spec.parameter_shapes()?;
        let of = |which: &str, moment: fn(&(Tensor, Tensor)) -> &Tensor| {
            let named = |name: &str| format!("{which} moment of {name}");
            let found: BTreeMap<_, _> =
                self.moments.iter().map(|(name, pair)| (named(name), moment(pair).clone())).collect();
            // A parameter that never had a gradient has none.
            let begun = shapes.iter().filter(|(name, _)| self.moments.contains_key(name));
            check(&found, begun.map(|(name, shape)| (named(name), shape.clone())))?;
            check_types(&found, types, expected)
        };
        of("first", |(first, _)| first)?;
        of("second", |(_, second)| second)
    }

    /// One step: moves each parameter that has a gradient.
    ///
    /// # Errors
    /// The device's.
    pub fn step(
        &mut self,
        parameters: &mut BTreeMap<String, Tensor>,
        gradients: &BTreeMap<String, Tensor>,
        learning_rate: f64,
    ) -> Result<()> {
        self.step += 1;
        let step = Shared::of_step(self.step, learning_rate, self.weight_decay);
        for (name, gradient) in gradients {
            let Some(parameter) = parameters.get_mut(name) else { continue };
            #[cfg(feature = "cuda")]
            if let Some(kernels) = Kernels::of(parameter) {
                let [next, first, second] =
                    kernels.adamw(parameter, gradient, self.moments.get(name), &step)?;
                *parameter = next;
                self.moments.insert(name.clone(), (first, second));
                continue;
            }
            let (first, second) = match self.moments.get(name) {
                Some((first, second)) => (
                    ((first * BETA1)? + (gradient * (1.0 - BETA1))?)?,
                    ((second * BETA2)? + (gradient.sqr()? * (1.0 - BETA2))?)?,
                ),
                None => ((gradient * (1.0 - BETA1))?, (gradient.sqr()? * (1.0 - BETA2))?),
            };
            let denominator = ((second.sqrt()? / step.second_correction_root)? + ADAM_EPSILON)?;
            let decayed = (&*parameter * step.kept)?;
            *parameter = (decayed - (first.div(&denominator)? * step.rate)?)?;
            self.moments.insert(name.clone(), (first, second));
        }
        Ok(())
    }
}
