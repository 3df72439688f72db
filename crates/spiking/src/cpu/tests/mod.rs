//! Each kernel against a plain scalar twin, over random shapes, on every path of this machine.
//!
//! Twins compute in f64 from the definition, one value at a time, and share no code with the kernels. Where a kernel's
//! order of summation is fixed, its paths must also agree to the bit.

mod cells;
mod linear;

use proptest::prelude::*;

use super::conv::{Conv, Extent, Maps, StatisticsSource};
use super::kernels::adamw::{AHEAD, AdamStep, Move};
use super::kernels::norm::Moments;
use super::kernels::pool::Average;
use super::kernels::product::{Product, Repeat, Row, Run, Start, Terms, Turn};
use super::kernels::spike_gradient::{LISTS, SpikeGradient};
use super::kernels::spikes::{BLOCK, SpikeProduct, TABLES, TAPS};
use super::kernels::winograd::{InPlace, Tile};
use super::plan::{ConvStage, Pool};
use super::simd::{LANES, Path};
use super::turned::{Given, Turned};
use super::weights::Update;
use crate::Streams;

/// Numbers of -1 to 1 in no particular order.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let order = Streams::new(seed).permutation("values", count.max(1));
    order.into_iter().take(count).map(|place| place as f32 / count as f32 * 2.0 - 1.0).collect()
}

/// Spikes of 16 channels a pixel; about one in four fired.
fn spikes(count: usize, seed: u64) -> Vec<u16> {
    let (a, b) = (values(count, seed), values(count, seed + 1));
    a.iter().zip(b).map(|(a, b)| ((a * 3e4) as i32 as u16) & ((b * 3e4) as i32 as u16)).collect()
}

/// As behind a max-pool: about three in four fired.
fn many_spikes(count: usize, seed: u64) -> Vec<u16> {
    spikes(count, seed).into_iter().map(|spikes| !spikes).collect()
}

fn fired(spikes: u16, lane: usize) -> f64 {
    f64::from(spikes >> lane & 1)
}

/// Runs `f` on every path; the results must be the same bits, and the first is given back.
fn on_all_paths<T: PartialEq + std::fmt::Debug>(f: impl Fn(Path) -> T) -> T {
    let mut results = Path::available().into_iter().map(|path| (path, f(path)));
    let (_, first) = results.next().unwrap();
    for (path, result) in results {
        assert_eq!(first, result, "{path} gives other bits");
    }
    first
}

fn assert_close(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= tolerance * expected.abs().max(1.0), "[{i}]: {found}, the twin has {expected}");
    }
}

/// A sum, and what rounding may make of it: an error is measured by the magnitudes added, not by what they leave.
#[derive(Clone, Copy, Default)]
struct Sum {
    value: f64,
    magnitudes: f64,
}

impl Sum {
    fn add(&mut self, term: f64) {
        self.value += term;
        self.magnitudes += term.abs();
    }
}

fn assert_sums(found: &[f32], expected: impl Fn(usize) -> Sum, tolerance: f64) {
    for (i, found) in found.iter().enumerate() {
        let Sum { value, magnitudes } = expected(i);
        let error = (f64::from(*found) - value).abs();
        assert!(
            error <= tolerance * magnitudes,
            "[{i}]: {found}, the twin has {value} from magnitudes of {magnitudes}"
        );
    }
}

/// Planes with a border of zeros around what `value` gives for (plane, pixel).
fn bordered<T: Copy + Default>(
    planes: usize,
    height: usize,
    width: usize,
    value: impl Fn(usize, usize) -> T,
) -> Vec<T> {
    let padded = (height + 2) * (width + 2);
    let mut map = vec![T::default(); planes * padded];
    for plane in 0..planes {
        for pixel in 0..height * width {
            let at = (pixel / width + 1) * (width + 2) + pixel % width + 1;
            map[plane * padded + at] = value(plane, pixel);
        }
    }
    map
}

fn check_input_gradient(
    (height, width): (usize, usize),
    planes: usize,
    (inputs, outputs): (usize, usize),
    seed: u64,
) {
    let stage = ConvStage { layer: 0, inputs, outputs, height, width, pool: Pool::None };
    let (blocks, input_blocks, area) = (stage.blocks(), inputs.div_ceil(LANES), height * width);
    let weights = values(blocks * input_blocks * BLOCK, seed);
    let grads = values(blocks * planes * area * LANES, seed + 1);
    let map = bordered(blocks * planes, height, width, |plane, pixel| {
        <[f32; LANES]>::try_from(&grads[(plane * area + pixel) * LANES..][..LANES]).unwrap()
    });
    let found = on_all_paths(|path| {
        let mut out = vec![f32::NAN; planes * input_blocks * area * LANES];
        let given = Given { path, weights: &weights, grads: map.as_flattened(), planes };
        Turned::new(&stage).run(given, &mut super::memory::Floats::default(), &mut out);
        out
    });
    let twin = |i: usize| {
        let (input, pixel, from, plane) =
            (i % LANES, i / LANES % area, i / LANES / area % input_blocks, i / LANES / area / input_blocks);
        let (y, x) = ((pixel / width) as isize, (pixel % width) as isize);
        let mut sum = Sum::default();
        for (block, tap) in (0..blocks).flat_map(|block| (0..TAPS).map(move |tap| (block, tap))) {
            // The output at (oy, ox) saw this input through this tap.
            let (oy, ox) = (y + 1 - (tap / 3) as isize, x + 1 - (tap % 3) as isize);
            if oy < 0 || ox < 0 || oy >= height as isize || ox >= width as isize {
                continue;
            }
            for output in 0..LANES {
                let weight =
                    weights[(from * blocks + block) * BLOCK + (tap * LANES + input) * LANES + output];
                let at = (block * planes + plane) * area + oy as usize * width + ox as usize;
                sum.add(f64::from(weight) * f64::from(grads[at * LANES + output]));
            }
        }
        sum
    };
    // Outputs of a tile are made of the same products: rounding goes by the largest magnitudes of its map, not by their own.
    let sums: Vec<Sum> = (0..found.len()).map(twin).collect();
    let mut largest = vec![[0f64; LANES]; planes * input_blocks];
    for (i, sum) in sums.iter().enumerate() {
        let of_map = &mut largest[i / LANES / area][i % LANES];
        *of_map = of_map.max(sum.magnitudes);
    }
    let twin = |i: usize| Sum { magnitudes: largest[i / LANES / area][i % LANES], ..sums[i] };
    assert_sums(&found, twin, 1e-5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn spike_products_are_convolutions(
        height in 1usize..7, width in prop_oneof![4 => 1usize..15, 1 => 20usize..40], planes in 1usize..4, blocks in 1usize..4,
        biased in any::<bool>(), seed in 0u64..1000
    ) {
        let (padded, area) = ((height + 2) * (width + 2), height * width);
        let fires = spikes(planes * area, seed);
        let map = bordered(planes, height, width, |plane, pixel| fires[plane * area + pixel]);
        let weights = values(blocks * BLOCK, seed + 2);
        let bias = values(blocks * LANES, seed + 3);
        let before = values(planes * blocks * area * LANES, seed + 4);
        let found = on_all_paths(|path| {
            let mut sums = before.clone();
            path.run(SpikeProduct {
                spikes: &map, sums: &mut sums, blocks, weights: &weights, bias: biased.then_some(&bias[..]),
                size: (height, width), table: &mut vec![f32::NAN; TABLES],
            });
            sums
        });
        let twin = |i: usize| {
            let (lane, pixel, block, plane) =
                (i % LANES, i / LANES % area, i / LANES / area % blocks, i / LANES / area / blocks);
            let mut sum = Sum::default();
            sum.add(f64::from(if biased { bias[block * LANES + lane] } else { before[i] }));
            for (tap, channel) in (0..TAPS).flat_map(|tap| (0..LANES).map(move |channel| (tap, channel))) {
                let at = plane * padded + (pixel / width + tap / 3) * (width + 2) + pixel % width + tap % 3;
                let weight = weights[block * BLOCK + (tap * LANES + channel) * LANES + lane];
                sum.add(fired(map[at], channel) * f64::from(weight));
            }
            sum
        };
        assert_sums(&found, twin, 1e-6);
    }

    #[test]
    fn spike_gradients_are_sums_over_pixels(
        height in 1usize..7, width in prop_oneof![5 => 1usize..25, 1 => 250usize..270], planes in 1usize..5,
        (inputs, blocks) in (1usize..4, 1usize..3), many in any::<bool>(), seed in 0u64..1000
    ) {
        let (padded, area) = ((height + 2) * (width + 2), height * width);
        let count = inputs * planes * area;
        let fires = if many { many_spikes(count, seed) } else { spikes(count, seed) };
        let map = bordered(inputs * planes, height, width, |plane, pixel| fires[plane * area + pixel]);
        let grads = values(blocks * planes * area * LANES, seed + 2);
        let grad_map = bordered(blocks * planes, height, width, |plane, pixel| {
            <[f32; LANES]>::try_from(&grads[(plane * area + pixel) * LANES..][..LANES]).unwrap()
        });
        let found = on_all_paths(|path| {
            let mut weights = vec![f32::NAN; inputs * blocks * BLOCK];
            path.run(SpikeGradient {
                spikes: &map, spikes_block: planes * padded, inputs, planes, grads: grad_map.as_flattened(),
                grads_block: planes * padded * LANES, weights: &mut weights, size: (height, width),
                lists: &mut vec![u32::MAX; LISTS],
            });
            weights
        });
        let twin = |i: usize| {
            let (lane, channel, tap) = (i % LANES, i / LANES % LANES, i / LANES / LANES % TAPS);
            let (input, block) = (i / BLOCK / blocks, i / BLOCK % blocks);
            let mut sum = Sum::default();
            for (plane, pixel) in (0..planes).flat_map(|plane| (0..area).map(move |pixel| (plane, pixel))) {
                let at = (input * planes + plane) * padded + (pixel / width + tap / 3) * (width + 2) + pixel % width + tap % 3;
                let grad = grads[((block * planes + plane) * area + pixel) * LANES + lane];
                sum.add(fired(map[at], channel) * f64::from(grad));
            }
            sum
        };
        assert_sums(&found, twin, 1e-6);
    }

    #[test]
    fn products_sum_over_their_terms(
        rows in prop_oneof![1usize..20, Just(TAPS), Just(2 * TAPS), Just(3 * TAPS)],
        runs in 1usize..5, length in 1usize..9, vectors in 1usize..10, start in 0usize..3, seed in 0u64..1000
    ) {
        let terms = runs * length;
        let a = values(rows * terms, seed);
        let b = values(terms * vectors * LANES, seed + 1);
        let bias = values(vectors * LANES, seed + 2);
        let before = values(rows * vectors * LANES, seed + 3);
        let row_list: Vec<Row> = (0..rows)
            .map(|row| Row { a: (row * terms) as u32, c: (row * vectors * LANES) as u32 })
            .collect();
        let run_list: Vec<Run> = (0..runs)
            .map(|run| Run { a: (run * length) as u32, b: (run * length * vectors * LANES) as u32 })
            .collect();
        let found = on_all_paths(|path| {
            let mut c = before.clone();
            path.run(Product {
                a: &a, b: &b, c: &mut c, rows: &row_list,
                terms: Terms { runs: &run_list, length, a_step: 1, b_step: vectors * LANES },
                vectors, b_stride: LANES, c_stride: LANES,
                start: [Start::Zero, Start::Sum, Start::Bias(&bias)][start],
                repeat: Repeat::ONCE,
            });
            c
        });
        let twin = |i: usize| {
            let (row, column) = (i / vectors / LANES, i % (vectors * LANES));
            let first = [0.0, before[i], bias[column]][start];
            let mut sum = Sum::default();
            sum.add(f64::from(first));
            for term in 0..terms {
                sum.add(f64::from(a[row * terms + term]) * f64::from(b[term * vectors * LANES + column]));
            }
            sum
        };
        assert_sums(&found, twin, 1e-6);
    }

    #[test]
    fn turning_swaps_rows_and_columns(blocks in 1usize..5, seed in 0u64..1000) {
        let rows = blocks * LANES;
        let from = values(rows * LANES, seed);
        let found = on_all_paths(|path| {
            let mut to = vec![f32::NAN; rows * LANES];
            path.run(Turn { from: &from, to: &mut to });
            to
        });
        for (i, value) in found.iter().enumerate() {
            prop_assert_eq!(*value, from[i % rows * LANES + i / rows]);
        }
    }

    /// All ways of the input gradient, small maps and odd ones.
    #[test]
    fn input_gradients_are_turned_convolutions(
        height in 1usize..12, width in 1usize..12, planes in 1usize..9,
        inputs in prop_oneof![4 => 1usize..34, 1 => 113usize..150], outputs in prop_oneof![4 => 1usize..34, 1 => 113usize..150],
        seed in 0u64..1000
    ) {
        check_input_gradient((height, width), planes, (inputs, outputs), seed);
    }

    /// Tiles of each size, enough of them for several tasks.
    #[test]
    fn input_gradients_by_tiles_are_turned_convolutions(
        (size, planes) in prop_oneof![
            Just(((2, 2), 70)), Just(((8, 7), 17)), Just(((10, 9), 19)), Just(((14, 15), 17)), Just(((11, 12), 18)), Just(((17, 18), 17))
        ],
        inputs in 1usize..40, outputs in 1usize..40, seed in 0u64..1000
    ) {
        check_input_gradient(size, planes, (inputs, outputs), seed);
    }

    #[test]
    fn products_in_place_sum_over_their_blocks(tiles in 1usize..36, blocks in 1..=InPlace::BLOCKS, seed in 0u64..1000) {
        let (places, size, apart) = (Tile::Four.places(), Tile::Four.size(), Tile::Four.apart(blocks));
        let (seen, kernels) = (values(tiles * blocks * size, seed), values(blocks * LANES * size, seed + 1));
        let found = on_all_paths(|path| {
            // The tiles lie apart, and what lies between them is not touched.
            let mut room = vec![f32::NAN; tiles * apart];
            for (tile, seen) in room.chunks_mut(apart).zip(seen.chunks(blocks * size)) {
                tile[..blocks * size].copy_from_slice(seen);
            }
            path.run(InPlace { tiles: &mut room, kernels: &kernels, blocks, ahead: &seen });
            assert!(room.chunks(apart).all(|tile| tile[blocks * size..].iter().all(|value| value.is_nan())));
            room.chunks(apart).flat_map(|tile| tile[..size].to_vec()).collect::<Vec<_>>()
        });
        let twin = |i: usize| {
            let (lane, place, tile) = (i % LANES, i / LANES % places, i / size);
            let mut sum = Sum::default();
            for (block, term) in (0..blocks).flat_map(|block| (0..LANES).map(move |term| (block, term))) {
                let value = seen[((tile * blocks + block) * places + place) * LANES + term];
                let weight = kernels[((place * blocks + block) * LANES + term) * LANES + lane];
                sum.add(f64::from(value) * f64::from(weight));
            }
            sum
        };
        assert_sums(&found, twin, 1e-6);
    }

    /// Small maps and odd ones, tiles enough to be summed in parts, and tasks of several input blocks.
    #[test]
    fn weight_gradients_by_tiles_are_sums_over_pixels(
        (height, width) in prop_oneof![Just((2, 2)), Just((4, 4)), Just((3, 4)), Just((8, 7)), Just((10, 9)), Just((11, 12))],
        samples in 1usize..5, steps in 1usize..6, inputs in 1usize..50, outputs in 1usize..50, real in any::<bool>(), seed in 0u64..1000
    ) {
        let stage = ConvStage { layer: 0, inputs, outputs, height, width, pool: Pool::None };
        let (blocks, input_blocks, area) = (stage.blocks(), inputs.div_ceil(LANES), height * width);
        let planes = samples * steps;
        let fires = spikes(input_blocks * planes * area, seed);
        let spike_map = bordered(input_blocks * planes, height, width, |plane, pixel| fires[plane * area + pixel]);
        let map = |blocks: usize, values: &[f32]| {
            bordered(blocks * planes, height, width, |plane, pixel| {
                <[f32; LANES]>::try_from(&values[(plane * area + pixel) * LANES..][..LANES]).unwrap()
            })
        };
        let seen: Vec<f32> = match real {
            true => values(input_blocks * planes * area * LANES, seed),
            false => fires.iter().flat_map(|fires| (0..LANES).map(|lane| fired(*fires, lane) as f32)).collect(),
        };
        let grads = values(blocks * planes * area * LANES, seed + 1);
        let (seen_map, grad_map) = (map(input_blocks, &seen), map(blocks, &grads));
        let found = on_all_paths(|path| {
            let mut conv = Conv::new(stage, Some(if real { Pool::Average(2) } else { Pool::None }));
            conv.make_room(Extent { samples, steps, planes: steps }, StatisticsSource::Batch);
            match &mut conv.input {
                Maps::Real { values, .. } => values.copy_from_slice(seen_map.as_flattened()),
                Maps::Spikes(spikes) => spikes.copy_from_slice(&spike_map),
            }
            conv.tiled_gradients(path, Update::Keep, grad_map.as_flattened());
            conv.weights()[0].kept.to_vec()
        });
        let twin = |i: usize| {
            let (lane, channel, tap) = (i % LANES, i / LANES % LANES, i / LANES / LANES % TAPS);
            let (block, from) = (i / BLOCK % blocks, i / BLOCK / blocks);
            let mut sum = Sum::default();
            for (plane, pixel) in (0..planes).flat_map(|plane| (0..area).map(move |pixel| (plane, pixel))) {
                let grad = f64::from(grads[((block * planes + plane) * area + pixel) * LANES + lane]);
                let product = |tap: usize| {
                    let at = (pixel / width + tap / 3) * (width + 2) + pixel % width + tap % 3;
                    let seen = seen_map[(from * planes + plane) * (height + 2) * (width + 2) + at][channel];
                    grad * f64::from(seen)
                };
                sum.value += product(tap);
                // Sums of all taps pass through the same places.
                sum.magnitudes += (0..TAPS).map(|tap| product(tap).abs()).sum::<f64>();
            }
            sum
        };
        assert_eq!(found.len(), input_blocks * blocks * BLOCK);
        assert_sums(&found, twin, 3e-6);
    }

    /// Small maps and odd ones, tiles enough to be multiplied in parts, and more input blocks than are summed over at a time.
    #[test]
    fn small_tiles_convolve(
        (height, width) in prop_oneof![Just((2, 2)), Just((4, 4)), Just((3, 4)), Just((8, 7)), Just((9, 11))],
        planes in 1usize..20, first in 0usize..3, inputs in prop_oneof![4 => 1usize..34, 1 => 129usize..150], outputs in 1usize..70,
        seed in 0u64..1000
    ) {
        let stage = ConvStage { layer: 0, inputs, outputs, height, width, pool: Pool::None };
        let (blocks, input_blocks, area, wide) = (stage.blocks(), inputs.div_ceil(LANES), height * width, stage.wide());
        let all = first + planes;
        let seen = values(input_blocks * all * area * LANES, seed);
        let map = bordered(input_blocks * all, height, width, |plane, pixel| {
            <[f32; LANES]>::try_from(&seen[(plane * area + pixel) * LANES..][..LANES]).unwrap()
        });
        let (weights, bias) = (values(input_blocks * blocks * BLOCK, seed + 1), values(blocks * LANES, seed + 2));
        let block = seed as usize % (blocks / wide) * wide;
        let found = on_all_paths(|path| {
            let mut conv = Conv::new(stage, Some(Pool::Average(2)));
            conv.make_room(Extent { samples: all, steps: 1, planes: 1 }, StatisticsSource::Batch);
            let Maps::Real { values, .. } = &mut conv.input else { unreachable!("behind an average pool") };
            values.copy_from_slice(map.as_flattened());
            let [of_weights, of_bias, ..] = conv.weights_mut();
            of_weights.values.copy_from_slice(&weights);
            of_bias.values.copy_from_slice(&bias);
            let mut sums = vec![f32::NAN; planes * wide * area * LANES];
            conv.convolve_small_tiles(path, block, first, &mut sums);
            sums
        });
        let twin = |i: usize| {
            let (lane, pixel, of, plane) =
                (i % LANES, i / LANES % area, block + i / LANES / area % wide, first + i / LANES / area / wide);
            let mut sum = Sum::default();
            sum.add(f64::from(bias[of * LANES + lane]));
            for (from, tap) in (0..input_blocks).flat_map(|from| (0..TAPS).map(move |tap| (from, tap))) {
                let at = (pixel / width + tap / 3) * (width + 2) + pixel % width + tap % 3;
                for channel in 0..LANES {
                    let seen = map[(from * all + plane) * (height + 2) * (width + 2) + at][channel];
                    let weight = weights[(from * blocks + of) * BLOCK + (tap * LANES + channel) * LANES + lane];
                    sum.add(f64::from(seen) * f64::from(weight));
                }
            }
            sum
        };
        // As a direct convolution's.
        assert_sums(&found, twin, 1e-6);
    }

    #[test]
    fn moments_are_sum_and_squares_about_the_mean(pixels in 1usize..40, seed in 0u64..1000) {
        let plane = values(pixels * LANES, seed);
        let found = on_all_paths(|path| {
            let mut moments = vec![f32::NAN; 2 * LANES];
            path.run(Moments { plane: &plane, moments: &mut moments });
            moments
        });
        let of = |lane: usize| plane.iter().skip(lane).step_by(LANES).map(|x| f64::from(*x));
        let sum = |lane: usize| of(lane).sum::<f64>();
        let squares = |lane: usize| of(lane).map(|x| (x - sum(lane) / pixels as f64).powi(2)).sum::<f64>();
        let twin: Vec<f64> = (0..LANES).map(sum).chain((0..LANES).map(squares)).collect();
        assert_close(&found, &twin, 1e-5);
    }

    #[test]
    fn averages_are_shares_of_windows(size in 1usize..5, rows in 1usize..4, columns in 1usize..4, rest in 0usize..3, seed in 0u64..1000) {
        let width = columns * size + rest;
        let plane = spikes(width * (rows * size + rest), seed);
        let found = on_all_paths(|path| {
            let mut out = vec![f32::NAN; rows * columns * LANES];
            path.run(Average { spikes: &plane, width, size, out: &mut out, rows, columns, row: columns });
            out
        });
        let twin = |i: usize| {
            let (lane, x, y) = (i % LANES, i / LANES % columns, i / LANES / columns);
            let window = (0..size * size).map(|k| (y * size + k / size) * width + x * size + k % size);
            window.map(|at| fired(plane[at], lane)).sum::<f64>() / (size * size) as f64
        };
        assert_close(&found, &(0..found.len()).map(twin).collect::<Vec<_>>(), 1e-6);
    }

    #[test]
    fn adamw_moves_as_its_formulas_say(vectors in 1usize..6, step in 1i32..200, seed in 0u64..1000) {
        let count = vectors * LANES;
        let (grads, weights, first) = (values(count, seed), values(count, seed + 1), values(count, seed + 2));
        let second: Vec<f32> = values(count, seed + 3).iter().map(|value| value.abs()).collect();
        let (beta1, beta2, rate, decay) = (0.9f64, 0.999f64, 1e-3, 1e-2);
        let numbers = AdamStep {
            beta1: beta1 as f32, beta2: beta2 as f32,
            one_minus_beta1: (1.0 - beta1) as f32, one_minus_beta2: (1.0 - beta2) as f32,
            second_correction: (1.0 / (1.0 - beta2.powi(step)).sqrt()) as f32, epsilon: 1e-8,
            keep: (1.0 - rate * decay) as f32, rate: (rate / (1.0 - beta1.powi(step))) as f32,
        };
        let found = on_all_paths(|path| {
            let (mut w, mut m, mut v) = (weights.clone(), first.clone(), second.clone());
            path.run(Move { step: numbers, grads: &grads, weights: &mut w, first: &mut m, second: &mut v, ahead: AHEAD });
            [w, m, v].concat()
        });
        let mut twin = vec![0.0; 3 * count];
        for i in 0..count {
            let grad = f64::from(grads[i]);
            let m = beta1 * f64::from(first[i]) + (1.0 - beta1) * grad;
            let v = beta2 * f64::from(second[i]) + (1.0 - beta2) * grad * grad;
            let moved = m / (1.0 - beta1.powi(step)) / ((v / (1.0 - beta2.powi(step))).sqrt() + 1e-8);
            twin[i] = f64::from(weights[i]) * (1.0 - rate * decay) - rate * moved;
            (twin[count + i], twin[2 * count + i]) = (m, v);
        }
        assert_close(&found, &twin, 1e-5);
    }
}
