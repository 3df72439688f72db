//! AdamW (Loshchilov and Hutter 2019), as PyTorch computes it.

use std::collections::BTreeMap;

use candle_core::Tensor;

#[cfg(feature = "cuda")]
use crate::cuda::Kernels;
use crate::parameters::check;
use crate::{NetworkSpec, Result};

/// Adam with decoupled weight decay; betas 0.9 and 0.999, eps 1e-8.
///
/// candle-nn has one too, but keeps its moments to itself: a run that resumes must save them.
#[derive(Debug, Clone)]
pub struct AdamW {
    pub(crate) weight_decay: f64,
    pub(crate) step: u32,
    /// First and second moments by parameter; none before its first step.
    pub(crate) moments: BTreeMap<String, (Tensor, Tensor)>,
}

/// What all parameters share in one step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared {
    /// Square root of the second moment's correction.
    pub(crate) second_correction_root: f64,
    /// What weight decay leaves of a parameter.
    pub(crate) kept: f64,
    /// Learning rate over the first moment's correction.
    pub(crate) rate: f64,
}

pub(crate) const BETA1: f64 = 0.9;
pub(crate) const BETA2: f64 = 0.999;
pub(crate) const EPSILON: f64 = 1e-8;

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

    /// Refuses moments that are not of a network's parameters.
    pub(crate) fn check(&self, spec: &NetworkSpec) -> Result<()> {
        let shapes = spec.parameter_shapes()?;
        let of = |which: &str, moment: fn(&(Tensor, Tensor)) -> &Tensor| {
            let named = |name: &str| format!("{which} moment of {name}");
            let found = self.moments.iter().map(|(name, pair)| (named(name), moment(pair).clone())).collect();
            // A parameter that never had a gradient has none.
            let begun = shapes.iter().filter(|(name, _)| self.moments.contains_key(name));
            check(&found, begun.map(|(name, shape)| (named(name), shape.clone())))
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
        let exponent = f64::from(self.step);
        let first_correction = 1.0 - BETA1.powf(exponent);
        let step = Shared {
            second_correction_root: (1.0 - BETA2.powf(exponent)).sqrt(),
            kept: 1.0 - learning_rate * self.weight_decay,
            rate: learning_rate / first_correction,
        };
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
            let denominator = ((second.sqrt()? / step.second_correction_root)? + EPSILON)?;
            let decayed = (&*parameter * step.kept)?;
            *parameter = (decayed - (first.div(&denominator)? * step.rate)?)?;
            self.moments.insert(name.clone(), (first, second));
        }
        Ok(())
    }
}
