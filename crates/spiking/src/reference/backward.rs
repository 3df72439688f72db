//! Back through the layers, from the gradients of the votes to those of the parameters.

use std::collections::BTreeMap;

use candle_core::Tensor;
use rayon::prelude::*;

use super::lif::lif_backward;
use super::pass::{Pass, Saved};
use super::trace::{Shards, Trace, zip_channels, zip_shards};
use super::{Reference, conv, dense, norm, pool};
#[cfg(feature = "cuda")]
use crate::cuda::Kernels;
use crate::{Layer, Result};

impl Reference {
    /// Gradients of all parameters by name, each of its parameter's shape, from those of each shard's votes, `[classes, n]`, which are
    /// the same at each time step ([`Pass::loss`] gives them).
    ///
    /// # Errors
    /// [`SpikingError::Length`](crate::SpikingError::Length) where cells ran for other time steps, and the device's.
    pub fn backward(
        &self,
        pass: Pass,
        votes: Vec<Tensor>,
        time_steps: usize,
    ) -> Result<BTreeMap<String, Tensor>> {
        let mut gradients = BTreeMap::new();
        let mut grads: Shards =
            votes.into_iter().map(|vote| Trace::new(vec![vote])).collect::<Result<_>>()?;
        let first_trained =
            self.spec.layers.iter().position(|layer| {
                matches!(layer, Layer::Conv { .. } | Layer::BatchNorm | Layer::Linear { .. })
            });
        // Notes a layer's gradients; whether it is the first trained one, before which none are wanted.
        let mut is_last = |layer: usize, weight: Tensor, bias: Tensor| {
            gradients.insert(format!("{layer}.weight"), weight);
            gradients.insert(format!("{layer}.bias"), bias);
            first_trained == Some(layer)
        };
        for (index, saved) in pass.saved.into_iter().enumerate().rev() {
            let each = |f: &(dyn Fn(&Tensor) -> Result<Tensor> + Sync)| -> Result<Shards> {
                grads.par_iter().map(|trace| trace.map_channels(f)).collect()
            };
            grads = match (self.spec.layers[index], saved) {
                (Layer::Conv { .. }, Saved::Conv { input }) => {
                    let (weight, _) = self.weight_and_bias(index)?;
                    let (dw, db) = conv::backward_parameters(&input, &grads, &weight)?;
                    if is_last(index, dw, db) {
                        break;
                    }
                    conv::backward_input(&grads, &weight)?
                }
                (Layer::BatchNorm, Saved::Norm(kept)) => {
                    let (weight, _) = self.weight_and_bias(index)?;
                    let (next, dw, db) = norm::backward(&grads, &kept, &weight)?;
                    if is_last(index, dw, db) {
                        break;
                    }
                    next
                }
                (Layer::Relu, Saved::Relu { output, .. }) => {
                    zip_shards(&grads, &output, dense::relu_backward)?
                }
                (Layer::Lif, Saved::Lif { traces }) => {
                    let neuron = &self.neuron;
                    grads
                        .par_iter()
                        .zip(&traces)
                        .map(|(grad, trace)| lif_backward(trace, grad, neuron))
                        .collect::<Result<_>>()?
                }
                #[cfg(feature = "cuda")]
                (Layer::Lif, Saved::NormCells { norm, trace }) => {
                    let (weight, bias) = self.weight_and_bias(index - 2)?;
                    let (kernels, grads) = Kernels::of_batch(&grads)
                        .ok_or_else(|| candle_core::Error::Msg("the gradients left the GPU".into()))?;
                    let (next, dw, db) =
                        kernels.norm_cells_backward(&trace, &norm, grads, [&weight, &bias], &self.neuron)?;
                    if is_last(index - 2, dw, db) {
                        break;
                    }
                    vec![next]
                }
                (Layer::MaxPool { size }, Saved::Pool { input, output }) => grads
                    .par_iter()
                    .zip(input.par_iter().zip(&output))
                    .map(|(grad, (input, output))| {
                        zip_channels([grad, input, output], |[grad, input, output]| {
                            pool::max_backward(grad, input, output, size)
                        })
                    })
                    .collect::<Result<_>>()?,
                (Layer::AvgPool { size }, Saved::Pool { input, .. }) => {
                    zip_shards(&grads, &input, |grad, input| pool::average_backward(grad, input, size))?
                }
                (Layer::Flatten, Saved::Map(map)) => each(&|grad| dense::unflatten(grad, map))?,
                (Layer::NeuronDropout { .. }, Saved::Dropout { masks }) => dense::mask(&grads, &masks)?,
                (Layer::Linear { .. }, Saved::Linear { input }) => {
                    let (weight, _) = self.weight_and_bias(index)?;
                    let (dw, db) = dense::linear_backward_parameters(&input, &grads)?;
                    if is_last(index, dw, db) {
                        break;
                    }
                    dense::linear_backward_input(&grads, &weight)?
                }
                (Layer::Vote { voters }, _) => {
                    let at_each_step = |votes: &Trace| {
                        let grad = dense::vote_backward(votes.first(), voters)?;
                        let shape = [&[time_steps], grad.dims()].concat();
                        Trace::of_block(grad.broadcast_as(shape)?)
                    };
                    grads.iter().map(at_each_step).collect::<Result<_>>()?
                }
                // A cell in analogue mode, and layers that ran with the cells behind them.
                (_, _) => grads,
            };
        }
        Ok(gradients)
    }
}
