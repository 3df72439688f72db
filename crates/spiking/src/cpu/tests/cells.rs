//! Cells with their norm, forward and backward by each gradient rule.

use proptest::prelude::*;

use super::{assert_close, fired, on_all_paths, spikes, values};
use crate::cpu::kernels::neuron::{
    Affine, Cells, Fire, Gives, Grads, Learn, Norm, PIXELS, Places, Reach, Routes, Sums,
};
use crate::cpu::kernels::norm::Unnormalise;
use crate::cpu::simd::LANES;
use crate::{Neuron, Reset, Rule};

/// A case of cells under a norm and a pool.
#[derive(Debug, Clone)]
struct Case {
    neuron: Neuron,
    pixels: usize,
    steps: usize,
    constant: bool,
    /// Of each gradient, behind an average pool; none: some lanes get it, as behind a max-pool.
    factor: Option<f32>,
    /// Which pixels have a place behind the pool.
    uncovered: usize,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let neuron = (0usize..4, any::<bool>(), 0.3f64..1.0, 0.2f64..1.0, 0.0f64..1.0, 0.2f64..0.8).prop_map(
        |(rule, attached, threshold, decay, alpha, surrogate_half_width)| Neuron {
            rule: Rule::ALL[rule],
            threshold,
            decay,
            alpha,
            surrogate_half_width,
            reset: if attached { Reset::Attached } else { Reset::Detached },
        },
    );
    (
        neuron,
        1usize..11,
        1usize..8,
        any::<bool>(),
        prop_oneof![Just(None), Just(Some(1.0f32)), Just(Some(0.25))],
        0usize..3,
        0u64..1000,
    )
        .prop_map(|(neuron, pixels, steps, constant, factor, uncovered, seed)| Case {
            neuron,
            pixels,
            steps,
            constant: constant && steps > 1,
            factor,
            uncovered,
            seed,
        })
}

/// k and m of a rule, by the formulas.
fn slopes(n: &Neuron, u: f64, s: f64) -> (f64, f64) {
    let r = if (u - n.threshold).abs() < n.surrogate_half_width { 1.0 } else { 0.0 };
    let attached = if n.reset == Reset::Attached { u * r } else { 0.0 };
    let by_potential = if s == 1.0 { 1.0 / u } else { 0.0 };
    match n.rule {
        Rule::Baseline => (r, n.decay * ((1.0 - s) - attached)),
        Rule::Spatial => (by_potential, n.decay * (1.0 - s)),
        Rule::Temporal => (r, n.decay * ((1.0 - s) - attached + n.alpha * r)),
        Rule::Both => (by_potential, n.decay * ((1.0 - s) + n.alpha * by_potential)),
    }
}

/// Numbers that halves make exact, so that a potential meets the threshold and an edge of the surrogate to the bit: "at least" fires, and
/// "less than" has no slope.
#[test]
fn a_potential_at_the_threshold_fires() {
    const STEPS: usize = 2;
    // More than run side by side, so that the last goes alone.
    const PIXELS_AND_ONE: usize = PIXELS + 1;
    // By lane: at the threshold at once, there by what the first time step left, under it, and next to it.
    let currents = [[0.5, 0.25], [0.25, 0.375], [0.25, 0.25], [0.5f32.next_down(), 0.0]];
    let fires_at = [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]];
    let current = |lane: usize, t: usize| currents[lane % currents.len()][t];
    let input: Vec<f32> =
        (0..STEPS * PIXELS_AND_ONE * LANES).map(|i| current(i % LANES, i / LANES / PIXELS_AND_ONE)).collect();
    let grads = vec![1.0; input.len()];
    let (ones, zeros) = (vec![1.0; STEPS * LANES], vec![0.0; STEPS * LANES]);
    for (rule, affine) in Rule::ALL.into_iter().flat_map(|rule| [(rule, false), (rule, true)]) {
        let neuron = Neuron { decay: 0.5, alpha: 0.5, surrogate_half_width: 0.25, ..Neuron::paper(rule) };
        let affine = affine.then_some(Affine { scale: &ones, shift: &zeros });
        let step = PIXELS_AND_ONE * LANES;
        let cells =
            Cells { input: &input, step, affine, pixels: PIXELS_AND_ONE, steps: STEPS, constant: false };
        let (fires, out) = on_all_paths(|path| {
            let mut fires = vec![0; STEPS * PIXELS_AND_ONE];
            path.run(Fire { cells, neuron: &neuron, spikes: &mut fires });
            let mut out = vec![f32::NAN; input.len()];
            path.run(Learn {
                cells,
                neuron: &neuron,
                grads: &grads,
                routes: Routes {
                    of: None,
                    places: PIXELS_AND_ONE,
                    step: PIXELS_AND_ONE,
                    reach: Reach::All(1.0),
                },
                gives: Gives {
                    sums: None,
                    grads: Some(Grads {
                        norm: None,
                        out: &mut out,
                        places: Places { of: None, plane: PIXELS_AND_ONE },
                    }),
                },
                potentials: &mut vec![f32::NAN; STEPS * PIXELS * LANES],
                positive: &mut [0; STEPS * PIXELS],
            });
            (fires, out)
        });
        for (pixel, lane) in (0..PIXELS_AND_ONE).flat_map(|pixel| (0..LANES).map(move |lane| (pixel, lane))) {
            let s = fires_at[lane % fires_at.len()];
            let first = f64::from(current(lane, 0));
            let u = [first, 0.5 * first * (1.0 - s[0]) + f64::from(current(lane, 1))];
            let mut later = 0.0;
            for t in (0..STEPS).rev() {
                let (k, m) = slopes(&neuron, u[t], s[t]);
                // The current of lane 3 is 0 at the last time step: a ReLU before it lets nothing through.
                later = k + m * later;
                let shut = affine.is_some() && current(lane, t) == 0.0;
                let at = t * PIXELS_AND_ONE + pixel;
                assert_eq!(fired(fires[at], lane), s[t], "{rule}, lane {lane}, time step {t}");
                let (found, expected) = (f64::from(out[at * LANES + lane]), if shut { 0.0 } else { later });
                assert!((found - expected).abs() < 1e-6, "{rule}, lane {lane}, {t}: {found} {expected}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Forward and backward through cells, ReLU and norm, for all rules. A potential within rounding of an edge may fall on either
    /// side of it: such cells are left out.
    #[test]
    fn cells_fire_and_learn_by_the_rules(case in cases()) {
        let Case { neuron, pixels, steps, constant, factor, uncovered, seed } = case;
        let planes = if constant { 1 } else { steps };
        let input: Vec<f32> = values(planes * pixels * LANES, seed);
        let scale: Vec<f32> = values(planes * LANES, seed + 1).iter().map(|x| 1.0 + 0.5 * x).collect();
        let shift = values(planes * LANES, seed + 2);
        let mean = values(planes * LANES, seed + 3);
        let grads = values(steps * pixels * LANES, seed + 4);
        let lanes = spikes(steps * pixels, seed + 5);
        let of: Vec<u32> = (0..pixels)
            .map(|p| if p < uncovered { Routes::NOWHERE } else { ((p * 7 + 3) % pixels) as u32 })
            .collect();
        let places: Vec<u32> = (0..pixels).map(|p| (pixels - 1 - p) as u32).collect();
        let cells = Cells {
            input: &input, step: pixels * LANES, affine: Some(Affine { scale: &scale, shift: &shift }), pixels, steps, constant,
        };
        let reach = factor.map_or(Reach::Lanes(&lanes), Reach::All);
        let routes = Routes { of: Some(&of), places: pixels, step: pixels, reach };
        let places = Places { of: Some(&places), plane: pixels };
        let terms = values(planes * 4 * LANES, seed + 6);
        let (fires, kept, twice, unnormalised) = on_all_paths(|path| {
            let mut fires = vec![0; steps * pixels];
            path.run(Fire { cells, neuron: &neuron, spikes: &mut fires });
            let learn = |gives: Gives<'_>| {
                path.run(Learn {
                    cells, neuron: &neuron, grads: &grads, routes, gives,
                    potentials: &mut vec![f32::NAN; steps * PIXELS * LANES], positive: &mut vec![0; steps * PIXELS],
                });
            };
            let none = |planes: usize| vec![f32::NAN; planes * LANES];
            // Sums and gradients at once, as a constant input has them.
            let mut kept = (none(2 * planes), none(planes * pixels));
            learn(Gives {
                sums: Some(Sums { mean: &mean, of: &mut kept.0 }),
                grads: Some(Grads { norm: None, out: &mut kept.1, places }),
            });
            // The sums, and then the gradients through the norm.
            let mut twice = (none(2 * planes), none(planes * pixels), none(planes));
            learn(Gives { sums: Some(Sums { mean: &mean, of: &mut twice.0 }), grads: None });
            let norm = Some(Norm { terms: &terms, sums: &mut twice.2 });
            learn(Gives { sums: None, grads: Some(Grads { norm, out: &mut twice.1, places }) });
            let mut unnormalised = (kept.1.clone(), none(planes));
            for (plane, grads) in unnormalised.0.chunks_mut(pixels * LANES).enumerate() {
                path.run(Unnormalise {
                    input: &input[plane * pixels * LANES..][..pixels * LANES], terms: &terms[plane * 4 * LANES..], grads, places,
                    sum: &mut unnormalised.1[plane * LANES..],
                });
            }
            (fires, kept, twice, unnormalised)
        });
        // What is computed twice has the bits of what is kept.
        prop_assert_eq!(&twice, &(kept.0.clone(), unnormalised.0, unnormalised.1));
        let (sums, out) = kept;
        let n = &neuron;
        let mut clear = true;
        let mut twin_sums = vec![0.0; planes * 2 * LANES];
        let mut twin_out = vec![0.0; planes * pixels * LANES];
        for (pixel, lane) in (0..pixels).flat_map(|pixel| (0..LANES).map(move |lane| (pixel, lane))) {
            let (mut u, mut s, mut current, mut rest) = (vec![0.0; steps], vec![0.0; steps], vec![0.0; steps], 0.0);
            for t in 0..steps {
                let plane = if constant { 0 } else { t };
                let x = f64::from(input[(plane * pixels + pixel) * LANES + lane]);
                let z = x * f64::from(scale[plane * LANES + lane]) + f64::from(shift[plane * LANES + lane]);
                current[t] = z.max(0.0);
                u[t] = rest + current[t];
                let edges = [n.threshold, n.threshold - n.surrogate_half_width, n.threshold + n.surrogate_half_width];
                clear &= edges.iter().all(|edge| (u[t] - edge).abs() > 1e-5) && z.abs() > 1e-5;
                s[t] = if u[t] >= n.threshold { 1.0 } else { 0.0 };
                rest = n.decay * u[t] * (1.0 - s[t]);
            }
            if !clear {
                break;
            }
            let mut later = 0.0;
            for t in (0..steps).rev() {
                prop_assert_eq!(fired(fires[t * pixels + pixel], lane), s[t]);
                let reached = factor.is_some() || lanes[t * pixels + pixel] >> lane & 1 == 1;
                let reaches = pixel >= uncovered && reached;
                let g = if reaches {
                    f64::from(grads[(t * pixels + of[pixel] as usize) * LANES + lane]) * f64::from(factor.unwrap_or(1.0))
                } else {
                    0.0
                };
                let (k, m) = slopes(n, u[t], s[t]);
                later = k * g + m * later;
                let before = if current[t] > 0.0 { later } else { 0.0 };
                let plane = if constant { 0 } else { t };
                twin_out[(plane * pixels + pixels - 1 - pixel) * LANES + lane] += before;
                let x = f64::from(input[(plane * pixels + pixel) * LANES + lane]);
                twin_sums[plane * 2 * LANES + lane] += before;
                twin_sums[(plane * 2 + 1) * LANES + lane] += before * (x - f64::from(mean[plane * LANES + lane]));
            }
        }
        prop_assume!(clear);
        assert_close(&out, &twin_out, 1e-4);
        assert_close(&sums, &twin_sums, 1e-4);
    }

    #[test]
    fn gradients_pass_the_norm(pixels in 1usize..20, seed in 0u64..1000) {
        let (input, terms) = (values(pixels * LANES, seed), values(4 * LANES, seed + 1));
        let before = values(pixels * LANES, seed + 2);
        let places: Vec<u32> = (0..pixels).map(|p| (pixels - 1 - p) as u32).collect();
        let (grads, sum) = on_all_paths(|path| {
            let (mut grads, mut sum) = (before.clone(), vec![f32::NAN; LANES]);
            path.run(Unnormalise {
                input: &input, terms: &terms, grads: &mut grads, places: Places { of: Some(&places), plane: pixels }, sum: &mut sum,
            });
            (grads, sum)
        });
        let mut twin_sum = vec![0.0; LANES];
        let mut twin = vec![0.0; pixels * LANES];
        for (i, x) in input.iter().enumerate() {
            let (pixel, lane) = (i / LANES, i % LANES);
            let at = places[pixel] as usize * LANES + lane;
            let [scale, slope, mean, shift] = std::array::from_fn(|term| f64::from(terms[term * LANES + lane]));
            twin[at] = scale * f64::from(before[at]) + slope * (f64::from(*x) - mean) + shift;
            twin_sum[lane] += twin[at];
        }
        assert_close(&grads, &twin, 1e-5);
        assert_close(&sum, &twin_sum, 1e-5);
    }
}
