//! Cells, by themselves and behind a normalisation and a rectifier. Every output here is written whole by the kernel behind it.
#![allow(unsafe_code, reason = "starts kernels, with the arguments that kernels.cu names")]

use candle_core::{DType, Tensor};

use super::Kernels;
use super::launch::{Argument, Grid, refused};
use super::norm::statistics_of;
use super::ops::{a_number_each, steps_apart};
use crate::reference::lif::LifTrace;
use crate::reference::norm::{BN_EPSILON, SavedNorm, Statistics};
use crate::reference::trace::{SPIKES, Trace};
use crate::{Neuron, Reset, Result};
use Argument::{Real, Whole};

impl Kernels {
    /// `lif_forward`.
    pub(crate) fn lif_forward(&self, current: &Trace, steps: usize, neuron: &Neuron) -> Result<LifTrace> {
        let shape = current.first().dims();
        let cells = current.first().elem_count();
        let (current, apart) = steps_apart(current, steps)?;
        let [potential, spikes] = self.potential_and_spikes(steps, shape)?;
        let arguments = [
            Argument::Tensor(&current),
            Whole(apart),
            Argument::Tensor(&potential),
            Argument::Tensor(&spikes),
            Whole(cells),
            Whole(steps),
            Real(neuron.threshold),
            Real(neuron.decay),
        ];
        // SAFETY: `current` holds `cells` values a time step, at each of `steps` or for all, both blocks `cells` times `steps`.
        unsafe { self.launch("lif_forward", Grid::Each(cells), &arguments)? };
        Ok(LifTrace { potential: Trace::of_block(potential)?, spikes: Trace::of_block(spikes)? })
    }

    /// `lif_backward`.
    pub(crate) fn lif_backward(&self, trace: &LifTrace, grads: &Trace, neuron: &Neuron) -> Result<Trace> {
        let potential = trace.potential.block()?;
        let steps = potential.dim(0)?;
        let cells = same_cells(trace, grads)?;
        let (grads, grads_apart) = steps_apart(grads, steps)?;
        let currents = self.output(potential.shape(), DType::F32)?;
        let mut arguments = vec![
            Argument::Tensor(&potential),
            Argument::Tensor(&grads),
            Whole(grads_apart),
            Argument::Tensor(&currents),
            Whole(cells),
            Whole(steps),
        ];
        arguments.extend(of_rule(neuron));
        // SAFETY: potentials and currents hold `cells` values at each of `steps`, gradients there or for all.
        unsafe { self.launch("lif_backward", Grid::Each(cells), &arguments)? };
        Trace::of_block(currents)
    }

    /// `norm::forward`, a rectifier and `lif_forward`, of one shard.
    pub(crate) fn norm_cells(
        &self,
        x: &Trace,
        statistics: &Statistics,
        [weight, bias]: [&Tensor; 2],
        steps: usize,
        neuron: &Neuron,
    ) -> Result<(SavedNorm, LifTrace)> {
        let (shape, cells, row) = of_channels(x, &[weight, bias])?;
        let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
        let (mean, biased) = (statistics.mean.block()?, statistics.biased.block()?);
        let (x, apart) = steps_apart(x, steps)?;
        statistics_of(&x, [&mean, &biased])?;
        let normalised = self.output(x.shape(), DType::F32)?;
        let inverse = self.output((x.dim(0)?, cells / row, 1, 1, 1), DType::F32)?;
        let [potential, spikes] = self.potential_and_spikes(steps, &shape)?;
        let arguments = [
            Argument::Tensor(&x),
            Whole(apart),
            Argument::Tensor(&mean),
            Argument::Tensor(&biased),
            Argument::Tensor(&weight),
            Argument::Tensor(&bias),
            Argument::Tensor(&normalised),
            Argument::Tensor(&inverse),
            Argument::Tensor(&potential),
            Argument::Tensor(&spikes),
            Whole(cells),
            Whole(row),
            Whole(steps),
            Real(BN_EPSILON),
            Real(neuron.threshold),
            Real(neuron.decay),
        ];
        // SAFETY: `x` and the normalised values hold `cells` values at each of `steps` or for all, statistics and inverse deviations a
        // number a channel as often, both other blocks `cells` times `steps`, weight and bias a number for each row.
        unsafe { self.launch("norm_cells", Grid::Each(cells), &arguments)? };
        let saved = SavedNorm {
            normalised: vec![Trace::of_block(normalised)?],
            inverse_deviation: Trace::of_block(inverse)?,
            count: statistics.count,
        };
        Ok((saved, LifTrace { potential: Trace::of_block(potential)?, spikes: Trace::of_block(spikes)? }))
    }

    /// `norm::apply_running`, a rectifier and the spikes of `lif_forward`, of one shard.
    pub(crate) fn running_cells(
        &self,
        x: &Trace,
        [[mean, var], [weight, bias]]: [[&Tensor; 2]; 2],
        steps: usize,
        neuron: &Neuron,
    ) -> Result<Trace> {
        let (shape, cells, row) = of_channels(x, &[mean, var, weight, bias])?;
        let per_channel = [mean.contiguous()?, var.contiguous()?, weight.contiguous()?, bias.contiguous()?];
        let [mean, var, weight, bias] = &per_channel;
        let (x, apart) = steps_apart(x, steps)?;
        let spikes = self.output([&[steps], &shape[..]].concat(), SPIKES)?;
        let arguments = [
            Argument::Tensor(&x),
            Whole(apart),
            Argument::Tensor(mean),
            Argument::Tensor(var),
            Argument::Tensor(weight),
            Argument::Tensor(bias),
            Argument::Tensor(&spikes),
            Whole(cells),
            Whole(row),
            Whole(steps),
            Real(BN_EPSILON),
            Real(neuron.threshold),
            Real(neuron.decay),
        ];
        // SAFETY: `x` holds `cells` values at each of `steps` or for all, the spikes as many at each, all others a number for each row.
        unsafe { self.launch("running_cells", Grid::Each(cells), &arguments)? };
        Trace::of_block(spikes)
    }

    /// Back through [`Self::norm_cells`]: gradients of the normalisation's input, of weight and of bias. Where the input was the same at each time
    /// step, its gradients are summed over time.
    pub(crate) fn norm_cells_backward(
        &self,
        trace: &LifTrace,
        saved: &SavedNorm,
        grads: &Trace,
        [weight, bias]: [&Tensor; 2],
        neuron: &Neuron,
    ) -> Result<(Trace, Tensor, Tensor)> {
        let potential = trace.potential.block()?;
        let steps = potential.dim(0)?;
        let cells = same_cells(trace, grads)?;
        let (_, same, row) = of_channels(&saved.normalised[0], &[weight, bias])?;
        if same != cells {
            return Err(refused(format!("{same} normalised values of {cells} cells")));
        }
        let (kept_weight, bias) = (weight.contiguous()?, bias.contiguous()?);
        let (normalised, apart) = steps_apart(&saved.normalised[0], steps)?;
        let (grads, grads_apart) = steps_apart(grads, steps)?;
        let through = self.output(normalised.shape(), DType::F32)?;
        let mut arguments = vec![
            Argument::Tensor(&potential),
            Argument::Tensor(&grads),
            Whole(grads_apart),
            Argument::Tensor(&normalised),
            Whole(apart),
            Argument::Tensor(&kept_weight),
            Argument::Tensor(&bias),
            Argument::Tensor(&through),
            Whole(cells),
            Whole(row),
            Whole(steps),
        ];
        arguments.extend(of_rule(neuron));
        // SAFETY: potentials hold `cells` values at each of `steps`, gradients there or for all, normalised values and what is written
        // as often as each other; weight and bias a number for each row.
        unsafe { self.launch("norm_cells_backward", Grid::Each(cells), &arguments)? };
        self.norm_backward(&Trace::of_block(through)?, saved, weight)
    }

    fn potential_and_spikes(&self, steps: usize, shape: &[usize]) -> Result<[Tensor; 2]> {
        let shape = [&[steps], shape].concat();
        Ok([self.output(&shape[..], DType::F32)?, self.output(&shape[..], SPIKES)?])
    }
}

/// How many cells potentials and gradients are of.
fn same_cells(trace: &LifTrace, grads: &Trace) -> Result<usize> {
    let (potential, grads) = (trace.potential.first(), grads.first());
    if potential.dims() != grads.dims() {
        let (grads, potential) = (grads.dims(), potential.dims());
        return Err(refused(format!("gradients of {grads:?} with potentials of {potential:?}")));
    }
    Ok(potential.elem_count())
}

/// What `struct Rule` of kernels.cu is made of, the last parameters of a kernel that follows one.
fn of_rule(neuron: &Neuron) -> [Argument<'static>; 7] {
    let spatial = neuron.rule.adjusts_space();
    [
        Real(neuron.threshold),
        Real(neuron.decay),
        Real(neuron.alpha),
        Real(neuron.surrogate_half_width),
        Whole(usize::from(spatial)),
        Whole(usize::from(neuron.rule.adjusts_time())),
        Whole(usize::from(!spatial && neuron.reset == Reset::Attached)),
    ]
}

/// The shape of a trace's tensors, their values, and those of a row, where there is a number in each of `numbers` for each row.
fn of_channels(x: &Trace, numbers: &[&Tensor]) -> Result<(Vec<usize>, usize, usize)> {
    let one = x.first();
    let rows = one.dim(0)?;
    a_number_each(rows, numbers)?;
    Ok((one.dims().to_vec(), one.elem_count(), one.elem_count() / rows))
}
