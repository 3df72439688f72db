//! Linear layers: products of listed outputs, and gradients of which hardly any are not zero.

use proptest::prelude::*;

use super::{Sum, assert_sums, on_all_paths, values};
use crate::cpu::kernels::adamw::{AHEAD, Move};
use crate::cpu::kernels::groups::{
    AT_ONCE, FeatureGradient, FindLanes, GroupByOutput, GroupByRow, Groups, WeightGradient,
};
use crate::cpu::kernels::listed::{ListedProduct, Outputs};
use crate::cpu::measure::linears::STEP;
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
                path.run(FindLanes { values: grads, lanes });
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
            let (output, feature) = (i / PANEL, i % PANEL);
            let mut sum = Sum::default();
            for row in 0..rows {
                sum.add(grad(row, output) * f64::from(features[row * PANEL + feature]));
            }
            sum
        };
        assert_sums(&of_weights, twin, 1e-6);
    }

    #[test]
    fn listed_outputs_alone_are_summed(
        (rows, before, panels, outputs) in (0usize..3, 0usize..3, 1usize..12, 1usize..40),
        share in -1f32..1.0,
        seed in 0u64..1000,
    ) {
        // Rows and panels lie further apart than they must.
        let (rows, all_rows) = (1 << rows, before + (1 << rows) + 1);
        let (features_panel, weights_panel) = (all_rows * PANEL, (outputs + 2) * PANEL);
        let features = values(panels * features_panel, seed);
        let weights = values(panels * weights_panel, seed + 1);
        let start = values(outputs * all_rows, seed + 2);
        let keep = values(outputs, seed + 3);
        let listed: Vec<u32> = (0..outputs as u32).filter(|output| keep[*output as usize] > share).collect();
        let sums = on_all_paths(|path| {
            let mut sums = start.clone();
            path.run(ListedProduct {
                features: &features[before * PANEL..],
                features_panel,
                rows,
                weights: &weights,
                weights_panel,
                panels,
                outputs: &listed,
                sums: &mut sums[before..],
                sums_output: all_rows,
                ahead: [&features, &weights],
            });
            sums
        });
        let twin = |i: usize| {
            let (output, row) = (i / all_rows, i % all_rows);
            let mut sum = Sum::default();
            sum.add(f64::from(start[i]));
            if (before..before + rows).contains(&row) && listed.contains(&(output as u32)) {
                for feature in 0..panels * PANEL {
                    let (panel, feature) = (feature / PANEL, feature % PANEL);
                    let weight = weights[panel * weights_panel + output * PANEL + feature];
                    sum.add(f64::from(weight) * f64::from(features[panel * features_panel + row * PANEL + feature]));
                }
            }
            sum
        };
        assert_sums(&sums, twin, 1e-6);
    }

    #[test]
    fn sums_become_outputs(
        (samples, steps, relu, dropout) in (1usize..9, 1usize..9, any::<bool>(), any::<bool>()),
        seed in 0u64..1000,
    ) {
        let rows = samples * steps;
        let sums_output = rows.next_multiple_of(LANES) + LANES;
        let sums = values(LANES * sums_output, seed);
        let bias = values(LANES, seed + 1);
        let mask: Vec<f32> =
            values(samples * LANES, seed + 2).iter().map(|value| if *value > 0.0 { 2.0 } else { 0.0 }).collect();
        let found = on_all_paths(|path| {
            let mut out = vec![f32::NAN; rows * LANES];
            let mask = if dropout { &mask[..] } else { &[] };
            path.run(Outputs { sums: &sums, sums_output, bias: &bias, relu, mask, steps, out: &mut out });
            out
        });
        for (i, found) in found.iter().enumerate() {
            let (row, lane) = (i / LANES, i % LANES);
            let value = sums[lane * sums_output + row] + bias[lane];
            let value = if relu && value < 0.0 { 0.0 } else { value };
            let factor = if dropout { mask[row / steps * LANES + lane] } else { 1.0 };
            prop_assert_eq!(*found, value * factor);
        }
    }

    /// What is no number must be seen behind the product too.
    #[test]
    fn products_with_few_gradients_keep_what_is_no_number(lane in 0usize..16, row in 0usize..9) {
        let mut grads = vec![0.0; 9 * LANES];
        grads[row * LANES + lane] = f32::NAN;
        for path in Path::available() {
            let (mut lanes, mut groups) = ([0; LANES], Groups::default());
            path.run(FindLanes { values: &grads, lanes: &mut lanes });
            path.run(GroupByOutput { grads: &grads, lanes: &lanes, rows: 9, into: &mut groups });
            let mut out = vec![0.0; PANEL * LANES];
            let features = vec![1.0; 9 * PANEL];
            path.run(WeightGradient { groups: &groups, features: &features, out: &mut out, meanwhile: None });
            for (i, value) in out.iter().enumerate() {
                prop_assert_eq!(value.is_nan(), i / PANEL == lane);
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
            path.run(FindLanes { values: &grads, lanes: &mut lanes });
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
