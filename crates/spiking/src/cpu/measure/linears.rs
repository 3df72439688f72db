//! Linear layers.

use super::{Workload, floats};
use crate::Streams;
use crate::cpu::kernels::adamw::{AHEAD, AdamStep, Move};
use crate::cpu::kernels::groups::{
    AT_ONCE, FeatureGradient, FindLanes, GroupByOutput, GroupByRow, Groups, WeightGradient,
};
use crate::cpu::kernels::listed::{DEPTH, ListedProduct};
use crate::cpu::memory::Floats;
use crate::cpu::simd::{LANES, Path};
use crate::cpu::weights::PANEL;

/// Half of the outputs are listed, others for each sample, as behind dropout.
pub(super) fn linear_products(path: Path) -> Workload {
    const ROWS: usize = 64;
    const OUTPUTS: usize = 64;
    const STEPS: usize = 4;
    let (features, weights) = (floats(DEPTH * ROWS * PANEL, 1), floats(DEPTH * OUTPUTS * PANEL, 2));
    let order = Streams::new(7).permutation("outputs", OUTPUTS * ROWS / STEPS);
    let lists: Vec<Vec<u32>> = order
        .chunks(OUTPUTS)
        .map(|order| {
            (0..).zip(order).filter(|(_, place)| *place % 2 == 0).map(|(output, _)| output).collect()
        })
        .collect();
    let mut sums = Floats::zeros(OUTPUTS * ROWS);
    Workload {
        name: "linear products, 64 rows, 512 features to 64 outputs, half of them silenced in each sample",
        operations: (ROWS * OUTPUTS * DEPTH * PANEL * 2) as f64,
        bytes: (4 * (features.len() + weights.len() + 2 * sums.len())) as f64,
        run: Box::new(move || {
            for (sample, outputs) in lists.iter().enumerate() {
                path.run(ListedProduct {
                    features: &features[sample * STEPS * PANEL..],
                    features_panel: ROWS * PANEL,
                    rows: STEPS,
                    weights: &weights,
                    weights_panel: OUTPUTS * PANEL,
                    panels: DEPTH,
                    outputs,
                    sums: &mut sums[sample * STEPS..],
                    sums_output: ROWS,
                    ahead: [&[]; 2],
                });
            }
        }),
    }
}

/// The gradients of features and weights, without AdamW.
pub(super) fn linear_gradients(path: Path) -> Workload {
    const ROWS: usize = 64;
    let blocks = AT_ONCE / LANES;
    let mut grads = floats(blocks * ROWS * LANES, 1);
    let order = Streams::new(6).permutation("gradients", grads.len());
    grads.iter_mut().zip(order).filter(|(_, place)| place % 100 >= 17).for_each(|(grad, _)| *grad = 0.0);
    let (features, weights) = (floats(ROWS * PANEL, 2), floats(AT_ONCE * PANEL, 3));
    let mut lanes = vec![0; blocks * ROWS];
    let (mut by_output, mut by_row) = (vec![Groups::default(); blocks], Groups::default());
    for ((grads, lanes), into) in grads.chunks(ROWS * LANES).zip(lanes.chunks_mut(ROWS)).zip(&mut by_output) {
        path.run(FindLanes { values: grads, lanes });
        path.run(GroupByOutput { grads, lanes, rows: ROWS, into });
    }
    path.run(GroupByRow { grads: &grads, lanes: &lanes, lanes_block: ROWS, rows: ROWS, into: &mut by_row });
    let (mut sums, mut out) = (Floats::zeros(ROWS * PANEL), Floats::zeros(PANEL * LANES));
    Workload {
        name: "linear gradients, 64 rows, 64 features to 128 outputs, 17 % of the gradients not 0",
        operations: (2 * ROWS * PANEL * AT_ONCE * 2) as f64,
        bytes: (4 * (grads.len() + features.len() + 2 * weights.len() + 2 * sums.len())) as f64,
        run: Box::new(move || {
            sums.fill(0.0);
            path.run(FeatureGradient { groups: &by_row, weights: &weights, sums: &mut sums });
            for groups in &by_output {
                path.run(WeightGradient { groups, features: &features, out: &mut out, meanwhile: None });
            }
        }),
    }
}

/// An early step.
pub(in crate::cpu) const STEP: AdamStep = AdamStep {
    beta1: 0.9,
    beta2: 0.999,
    one_minus_beta1: 0.1,
    one_minus_beta2: 0.001,
    second_correction: 1.5,
    epsilon: 1e-8,
    keep: 0.99,
    rate: 1e-2,
};

pub(super) fn adamw(path: Path) -> Workload {
    let count = 4 << 20;
    let (grads, mut weights, mut first, mut second) =
        (floats(count, 1), floats(count, 2), Floats::zeros(count), Floats::zeros(count));
    Workload {
        name: "AdamW, 4 Mi weights",
        operations: (count * 14) as f64,
        bytes: (7 * 4 * count) as f64,
        run: Box::new(move || {
            path.run(Move {
                step: STEP,
                grads: &grads,
                weights: &mut weights,
                first: &mut first,
                second: &mut second,
                ahead: AHEAD,
            });
        }),
    }
}
