//! The gradient rules against two independent forms: the scalar recursion of the paper, and autograd over the forward pass written
//! with stop-gradients.
#![allow(clippy::unwrap_used)]

use bpsta_spiking::reference::{Trace, lif_backward, lif_forward};
use bpsta_spiking::{Neuron, Reset, Rule};
use candle_core::{DType, Device, Tensor, Var};
use proptest::prelude::*;

fn neuron() -> impl Strategy<Value = Neuron> {
    (0usize..4, any::<bool>(), 0.2f64..1.5, 0.1f64..1.0, 0.0f64..1.0, 0.1f64..1.0).prop_map(
        |(rule, attached, threshold, decay, alpha, surrogate_half_width)| Neuron {
            rule: Rule::ALL[rule],
            threshold,
            decay,
            alpha,
            surrogate_half_width,
            reset: if attached { Reset::Attached } else { Reset::Detached },
        },
    )
}

/// T, cells, currents and gradients of spikes.
fn inputs() -> impl Strategy<Value = (usize, usize, Vec<f64>, Vec<f64>)> {
    (1usize..9, 1usize..6).prop_flat_map(|(steps, cells)| {
        let count = steps * cells;
        let current = prop_oneof![3 => -1.5f64..2.0, 1 => Just(0.0), 1 => Just(0.5)];
        (
            Just(steps),
            Just(cells),
            prop::collection::vec(current, count),
            prop::collection::vec(-1.0f64..1.0, count),
        )
    })
}

/// `[C, n, H, W]` tensors, one a time step.
fn trace(values: &[f64], cells: usize) -> Vec<Tensor> {
    let step = |values: &[f64]| Tensor::from_slice(values, (cells, 1, 1, 1), &Device::Cpu).unwrap();
    values.chunks(cells).map(step).collect()
}

fn flat(tensors: &[Tensor]) -> Vec<f64> {
    tensors.iter().flat_map(|tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap()).collect()
}

/// One cell by the formulas, in plain numbers: potentials, spikes and d[t].
fn scalar(current: &[f64], grad: &[f64], n: &Neuron) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let steps = current.len();
    let (mut u, mut s, mut rest) = (vec![0.0; steps], vec![0.0; steps], 0.0);
    for t in 0..steps {
        u[t] = rest + current[t];
        s[t] = if u[t] >= n.threshold { 1.0 } else { 0.0 };
        rest = n.decay * u[t] * (1.0 - s[t]);
    }
    let mut d = vec![0.0; steps + 1];
    for t in (0..steps).rev() {
        let r = if (u[t] - n.threshold).abs() < n.surrogate_half_width { 1.0 } else { 0.0 };
        let through_reset = if n.reset == Reset::Attached { u[t] * r } else { 0.0 };
        let by_potential = if s[t] == 1.0 { 1.0 / u[t] } else { 0.0 };
        let (k, m) = match n.rule {
            Rule::Baseline => (r, (1.0 - s[t]) - through_reset),
            Rule::Spatial => (by_potential, 1.0 - s[t]),
            Rule::Temporal => (r, (1.0 - s[t]) - through_reset + n.alpha * r),
            Rule::Both => (by_potential, (1.0 - s[t]) + n.alpha * by_potential),
        };
        d[t] = k * grad[t] + n.decay * m * d[t + 1];
    }
    d.truncate(steps);
    (u, s, d)
}

/// The forward pass with stop-gradients, differentiated by candle: dL/dI for L = sum of s * g.
///
/// A spike is `[s] + k * (u - [u])`, where `[x]` is x without gradient: its value is s and its slope k. The reset multiplies by `1 - [s]`,
/// or by `1 - s` where the gradient passes it, and the temporal rule adds `alpha * (s - [s])`, which is 0 but for its gradient
/// (Equation 10).
fn autograd(steps: usize, cells: usize, current: &[f64], grad: &[f64], n: &Neuron) -> Vec<f64> {
    let current = Var::from_slice(current, (steps, cells), &Device::Cpu).unwrap();
    let grad = Tensor::from_slice(grad, (steps, cells), &Device::Cpu).unwrap();
    let (mut rest, mut loss) = (None::<Tensor>, Tensor::zeros((), DType::F64, &Device::Cpu).unwrap());
    for t in 0..steps {
        let now = current.get(t).unwrap();
        let u = match &rest {
            Some(rest) => (rest + now).unwrap(),
            None => now,
        };
        let fixed_u = u.detach();
        let fixed_s = fixed_u.ge(n.threshold).unwrap().to_dtype(DType::F64).unwrap();
        let slope = if n.rule.adjusts_space() {
            // Where nothing fired the numerator is 0; any divisor will do.
            (&fixed_s / fixed_u.maximum(n.threshold).unwrap()).unwrap()
        } else {
            let distance = (&fixed_u - n.threshold).unwrap().abs().unwrap();
            distance.lt(n.surrogate_half_width).unwrap().to_dtype(DType::F64).unwrap()
        };
        let s = (&fixed_s + (slope * (&u - &fixed_u).unwrap()).unwrap()).unwrap();
        let passes_reset = !n.rule.adjusts_space() && n.reset == Reset::Attached;
        let stays = (1.0 - if passes_reset { &s } else { &fixed_s }).unwrap();
        let mut potential = (u * stays).unwrap();
        if n.rule.adjusts_time() {
            potential = (potential + ((&s - &fixed_s).unwrap() * n.alpha).unwrap()).unwrap();
        }
        rest = Some((potential * n.decay).unwrap());
        loss = (loss + (s * grad.get(t).unwrap()).unwrap().sum_all().unwrap()).unwrap();
    }
    let grads = loss.backward().unwrap();
    grads.get(&current).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
}

proptest! {
    #[test]
    fn tensors_follow_the_scalar_recursion((steps, cells, current, grad) in inputs(), neuron in neuron()) {
        let run = lif_forward(&Trace::new(trace(&current, cells)).unwrap(), steps, &neuron).unwrap();
        let d = flat(lif_backward(&run, &Trace::new(trace(&grad, cells)).unwrap(), &neuron).unwrap().tensors());
        let (u, s) = (flat(run.potential.tensors()), flat(run.spikes.tensors()));
        for cell in 0..cells {
            let of = |values: &[f64]| values.iter().skip(cell).step_by(cells).copied().collect::<Vec<_>>();
            let (expected_u, expected_s, expected_d) = scalar(&of(&current), &of(&grad), &neuron);
            prop_assert_eq!(of(&s), expected_s);
            for (found, expected) in of(&u).iter().chain(&of(&d)).zip(expected_u.iter().chain(&expected_d)) {
                prop_assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found} {expected}");
            }
        }
    }

    #[test]
    fn tensors_follow_autograd_over_stop_gradients(
        (steps, cells, current, grad) in inputs(), neuron in neuron()
    ) {
        let run = lif_forward(&Trace::new(trace(&current, cells)).unwrap(), steps, &neuron).unwrap();
        let found = flat(lif_backward(&run, &Trace::new(trace(&grad, cells)).unwrap(), &neuron).unwrap().tensors());
        let expected = autograd(steps, cells, &current, &grad, &neuron);
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} {expected}");
        }
    }
}

#[test]
fn a_constant_trace_is_the_same_current_at_every_step() {
    let neuron = Neuron::paper(Rule::Both);
    let one = trace(&[0.2, 0.3, 0.7], 3);
    let constant = lif_forward(&Trace::new(one.clone()).unwrap(), 5, &neuron).unwrap();
    let repeated = lif_forward(&Trace::new(vec![one[0].clone(); 5]).unwrap(), 5, &neuron).unwrap();
    assert_eq!(flat(constant.potential.tensors()), flat(repeated.potential.tensors()));
    assert_eq!(flat(constant.spikes.tensors()), flat(repeated.spikes.tensors()));
}

#[test]
fn a_potential_at_the_threshold_fires_and_zero_has_no_surrogate() {
    let neuron = Neuron::paper(Rule::Baseline);
    let run = lif_forward(&Trace::new(trace(&[0.5, 0.0], 2)).unwrap(), 1, &neuron).unwrap();
    assert_eq!(flat(run.spikes.tensors()), [1.0, 0.0]);
    let d = lif_backward(&run, &Trace::new(trace(&[1.0, 1.0], 2)).unwrap(), &neuron).unwrap();
    assert_eq!(flat(d.tensors()), [1.0, 0.0]);
}
