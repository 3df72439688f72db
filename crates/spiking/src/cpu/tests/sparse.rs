//! Products that leave out what is zero, and find it first.

use proptest::prelude::*;

use super::{Sum, assert_sums, on_all_paths, values};
use crate::cpu::kernels::adamw::{AHEAD, Move};
use crate::cpu::kernels::groups::{
    AT_ONCE, FeatureGradient, GroupByOutput, GroupByRow, Groups, WeightGradient,
};
use crate::cpu::kernels::product::{Product, Repeat, Row, Run, Start, Terms};
use crate::cpu::kernels::sparse::{FindLanes, SparseProduct};
use crate::cpu::measure::STEP;
use crate::cpu::simd::{LANES, Path};
use crate::cpu::weights::PANEL;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_with_few_gradients_leave_out_zeros_alone(
        rows in 1usize..300,
        blocks in 1usize..=AT_ONCE / LANES,
        seed in 0u64..1000,
    ) {
        let mut grads = values(blocks * rows * LANES, seed);
        let keep = values(grads.len(), seed + 1);
        grads.iter_mut().zip(keep).for_each(|(grad, keep)| *grad = if keep > 0.4 { *grad } else { 0.0 });
        let weights = values(blocks * LANES * PANEL, seed + 2);
        let features = values(rows * PANEL, seed + 3);
        let before = values(rows * PANEL, seed + 4);
        let size = rows * LANES;
        let (of_features, of_weights) = on_all_paths(|path| {
            let lane_rows = rows.next_multiple_of(LANES);
            let mut lanes = vec![u16::MAX; blocks * lane_rows];
            let mut by_output = vec![Groups::default(); blocks];
            for ((grads, lanes), into) in grads.chunks(size).zip(lanes.chunks_mut(lane_rows)).zip(&mut by_output) {
                path.run(FindLanes { values: grads, step: LANES, rows, lanes });
                path.run(GroupByOutput { grads, lanes, rows, into });
            }
            let mut groups = Groups::default();
            path.run(GroupByRow { grads: &grads, lanes: &lanes, lanes_block: lane_rows, rows, into: &mut groups });
            let mut of_features = before.clone();
            path.run(FeatureGradient { groups: &groups, weights: &weights, sums: &mut of_features });
            let mut of_weights = vec![f32::NAN; blocks * PANEL * LANES];
            for (groups, out) in by_output.iter().zip(of_weights.chunks_mut(PANEL * LANES)) {
                path.run(WeightGradient { groups, features: &features, out, meanwhile: None });
            }
            (of_features, of_weights)
        });
        let grad = |row: usize, output: usize| f64::from(grads[(output / LANES * rows + row) * LANES + output % LANES]);
        let twin = |i: usize| {
            let mut sum = Sum::default();
            sum.add(f64::from(before[i]));
            for output in 0..blocks * LANES {
                sum.add(grad(i / PANEL, output) * f64::from(weights[output * PANEL + i % PANEL]));
            }
            sum
        };
        assert_sums(&of_features, twin, 1e-6);
        let twin = |i: usize| {
            let (output, feature) = (i / LANES / PANEL * LANES + i % LANES, i / LANES % PANEL);
            let mut sum = Sum::default();
            for row in 0..rows {
                sum.add(grad(row, output) * f64::from(features[row * PANEL + feature]));
            }
            sum
        };
        assert_sums(&of_weights, twin, 1e-6);
    }

    /// A term that is zero is left out, and every sum is the dense product's to the bit.
    #[test]
    fn sparse_products_are_the_dense_ones(
        (rows, alike, blocks, vectors, start) in (1usize..20, 1usize..9, 1usize..4, 1usize..10, 0usize..3),
        seed in 0u64..1000,
    ) {
        let (inputs, outputs) = (blocks * LANES, vectors * LANES);
        let mut a = values(rows * inputs, seed);
        let keep = values(a.len(), seed + 1);
        a.iter_mut().zip(keep).for_each(|(value, keep)| *value = if keep > 0.0 { *value } else { 0.0 });
        let (b, bias) = (values(inputs * outputs, seed + 2), values(outputs, seed + 3));
        let before = values(rows * outputs, seed + 4);
        let start = [Start::Zero, Start::Sum, Start::Bias(&bias)][start];
        // B is `[vector][term][16]`, as the panels of a linear layer are.
        let row_list: Vec<Row> =
            (0..rows).map(|row| Row { a: (row * inputs) as u32, c: (row * outputs) as u32 }).collect();
        let (sparse, dense) = on_all_paths(|path| {
            let lane_rows = rows.next_multiple_of(LANES);
            let mut lanes = vec![0; blocks * lane_rows];
            for (block, lanes) in lanes.chunks_mut(lane_rows).enumerate() {
                path.run(FindLanes { values: &a[block * LANES..], step: inputs, rows, lanes });
            }
            let mut c = before.clone();
            path.run(SparseProduct {
                a: &a,
                a_row: inputs,
                lanes: &lanes,
                lanes_block: lane_rows,
                blocks,
                rows,
                alike,
                b: &b,
                b_stride: inputs * LANES,
                c: &mut c,
                c_row: outputs,
                c_stride: LANES,
                vectors,
                start,
                ahead: &b,
            });
            let mut dense = before.clone();
            path.run(Product {
                a: &a,
                b: &b,
                c: &mut dense,
                rows: &row_list,
                terms: Terms { runs: &[Run { a: 0, b: 0 }], length: inputs, a_step: 1, b_step: LANES },
                vectors,
                b_stride: inputs * LANES,
                c_stride: LANES,
                start,
                repeat: Repeat::ONCE,
            });
            (c, dense)
        });
        prop_assert_eq!(sparse, dense);
    }

    /// What is no number must be seen behind the product too.
    #[test]
    fn products_with_few_gradients_keep_what_is_no_number(lane in 0usize..16, row in 0usize..9) {
        let mut grads = vec![0.0; 9 * LANES];
        grads[row * LANES + lane] = f32::NAN;
        for path in Path::available() {
            let (mut lanes, mut groups) = ([0; LANES], Groups::default());
            path.run(FindLanes { values: &grads, step: LANES, rows: 9, lanes: &mut lanes });
            path.run(GroupByOutput { grads: &grads, lanes: &lanes, rows: 9, into: &mut groups });
            let mut out = vec![0.0; PANEL * LANES];
            let features = vec![1.0; 9 * PANEL];
            path.run(WeightGradient { groups: &groups, features: &features, out: &mut out, meanwhile: None });
            for (i, value) in out.iter().enumerate() {
                prop_assert_eq!(value.is_nan(), i % LANES == lane);
            }
        }
    }

    /// Weights that move beside the sums of others' gradients move as they do alone, and the gradients are the same.
    #[test]
    fn weights_move_beside_sums_as_they_do_alone(rows in 1usize..90, share in -1f32..1.0, seed in 0u64..1000) {
        let mut grads = values(rows * LANES, seed);
        let keep = values(grads.len(), seed + 1);
        grads.iter_mut().zip(keep).for_each(|(grad, keep)| *grad = if keep > share { *grad } else { 0.0 });
        let features = values(rows * PANEL, seed + 2);
        let count = PANEL * LANES;
        let moving = values(count, seed + 3);
        let (beside, alone) = on_all_paths(|path| {
            let (mut lanes, mut groups) = (vec![0; rows.next_multiple_of(LANES)], Groups::default());
            path.run(FindLanes { values: &grads, step: LANES, rows, lanes: &mut lanes });
            path.run(GroupByOutput { grads: &grads, lanes: &lanes, rows, into: &mut groups });
            let [beside, alone] = [true, false].map(|beside| {
                let mut out = vec![f32::NAN; count];
                let [mut weights, mut first] = [seed + 4, seed + 5].map(|seed| values(count, seed));
                let mut second: Vec<f32> = values(count, seed + 6).iter().map(|value| value.abs()).collect();
                let moving = Move {
                    step: STEP,
                    grads: &moving,
                    weights: &mut weights,
                    first: &mut first,
                    second: &mut second,
                    ahead: AHEAD,
                };
                let sums = WeightGradient { groups: &groups, features: &features, out: &mut out, meanwhile: None };
                if beside {
                    path.run(WeightGradient { meanwhile: Some(moving), ..sums });
                } else {
                    path.run(sums);
                    path.run(moving);
                }
                [out, weights, first, second].concat()
            });
            (beside, alone)
        });
        prop_assert_eq!(beside, alone);
    }
}
