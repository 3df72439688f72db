//! What lies between two layers: norms, cells and pools.

use super::convolutions::spikes;
use super::{Workload, floats};
use crate::cpu::kernels::neuron::{
    Affine, Cells, Fire, Gives, Grads, Learn, PIXELS, Places, Reach, Routes, Sums,
};
use crate::cpu::kernels::norm::{Moments, Unnormalise};
use crate::cpu::kernels::pool::Average;
use crate::cpu::memory::Floats;
use crate::cpu::simd::{LANES, Path};
use crate::{Neuron, Rule};

const STEPS: usize = 4;

pub(super) fn moments(path: Path) -> Workload {
    let plane = floats(28 * 28 * LANES, 1);
    let mut moments = Floats::zeros(2 * LANES);
    Workload {
        name: "moments of a plane of 28x28",
        operations: (plane.len() * 4) as f64,
        bytes: 4.0 * plane.len() as f64,
        run: Box::new(move || path.run(Moments { plane: &plane, moments: &mut moments })),
    }
}

pub(super) fn unnormalise(path: Path) -> Workload {
    let pixels = 28 * 28;
    let (input, terms, mut grads) =
        (floats(pixels * LANES, 1), floats(4 * LANES, 2), floats(pixels * LANES, 3));
    let mut sum = Floats::zeros(LANES);
    Workload {
        name: "gradient of a norm, a plane of 28x28",
        operations: (pixels * LANES * 6) as f64,
        bytes: (12 * pixels * LANES) as f64,
        run: Box::new(move || {
            path.run(Unnormalise {
                input: &input,
                terms: &terms,
                grads: &mut grads,
                places: Places { of: None, plane: pixels },
                sum: &mut sum,
            });
        }),
    }
}

pub(super) fn fire(path: Path) -> Workload {
    let pixels = 28 * 28;
    let (input, scale, shift) =
        (floats(STEPS * pixels * LANES, 1), floats(STEPS * LANES, 2), floats(STEPS * LANES, 3));
    let mut fires = vec![0; STEPS * pixels];
    Workload {
        name: "norm, ReLU and cells forward, 28x28, T = 4",
        operations: (STEPS * pixels * LANES * 6) as f64,
        bytes: (STEPS * pixels * (4 * LANES + 2)) as f64,
        run: Box::new(move || {
            let affine = Some(Affine { scale: &scale, shift: &shift });
            let cells =
                Cells { input: &input, step: pixels * LANES, affine, pixels, steps: STEPS, constant: false };
            path.run(Fire { cells, neuron: &Neuron::paper(Rule::Both), spikes: &mut fires });
        }),
    }
}

pub(super) fn learn(path: Path, rule: Rule, name: &'static str) -> Workload {
    let pixels = 28 * 28;
    let count = STEPS * pixels * LANES;
    let (input, grads, mut out) = (floats(count, 1), floats(count, 2), Floats::zeros(count));
    let (scale, shift, mean) = (floats(STEPS * LANES, 2), floats(STEPS * LANES, 3), floats(STEPS * LANES, 4));
    let (mut sums, mut potentials) =
        (Floats::zeros(STEPS * 2 * LANES), Floats::zeros(STEPS * PIXELS * LANES));
    let mut positive = vec![0; STEPS * PIXELS];
    Workload {
        name,
        operations: (count * 20) as f64,
        bytes: (12 * count) as f64,
        run: Box::new(move || {
            let affine = Some(Affine { scale: &scale, shift: &shift });
            path.run(Learn {
                cells: Cells {
                    input: &input,
                    step: pixels * LANES,
                    affine,
                    pixels,
                    steps: STEPS,
                    constant: false,
                },
                neuron: &Neuron::paper(rule),
                grads: &grads,
                routes: Routes { of: None, places: pixels, step: pixels, reach: Reach::All(1.0) },
                gives: Gives {
                    sums: Some(Sums { mean: &mean, of: &mut sums }),
                    grads: Some(Grads {
                        norm: None,
                        out: &mut out,
                        places: Places { of: None, plane: pixels },
                    }),
                },
                potentials: &mut potentials,
                positive: &mut positive,
            });
        }),
    }
}

pub(super) fn average(path: Path) -> Workload {
    let (width, size) = (28, 2);
    let plane = spikes(1, width - 2, width - 2, 20);
    let (rows, columns) = (width / size, width / size);
    let mut out = Floats::zeros(rows * columns * LANES);
    Workload {
        name: "average pool of 2x2, a plane of 28x28",
        operations: (width * width * LANES) as f64,
        bytes: (2 * plane.len() + 4 * out.len()) as f64,
        run: Box::new(move || {
            path.run(Average { spikes: &plane, width, size, out: &mut out, rows, columns, row: columns });
        }),
    }
}
