//! Pooling as PyTorch does it.
//!
//! Spikes are 0 and 1, so ties are the rule: the whole gradient goes to the first maximum of a window in
//! row-major order. candle's own backward shares it out wrongly, which is why it is written here.

use candle_core::Tensor;

use crate::Result;

/// Maximum of each window; rows and columns that fill no window are left out.
pub(super) fn max(x: &Tensor, size: usize) -> Result<Tensor> {
    reduce(x, size, |best, next| best.maximum(next))
}

/// Mean of each window; rows and columns that fill no window are left out.
pub(super) fn average(x: &Tensor, size: usize) -> Result<Tensor> {
    Ok((reduce(x, size, |total, next| total + next)? / (size * size) as f64)?)
}

/// Gives each window's gradient to its first maximum.
pub(super) fn max_backward(grad: &Tensor, input: &Tensor, output: &Tensor, size: usize) -> Result<Tensor> {
    let mut unclaimed = grad.clone();
    let mut parts = Vec::with_capacity(size * size);
    for place in places(input, size)? {
        // 1 where this place holds the maximum: the output is never below it.
        let is_max = (place - output)?.sign()?.affine(1.0, 1.0)?;
        let part = (&unclaimed * is_max)?;
        unclaimed = (unclaimed - &part)?;
        parts.push(part);
    }
    scatter(&parts, input, size)
}

/// Shares each window's gradient out evenly.
pub(super) fn average_backward(grad: &Tensor, input: &Tensor, size: usize) -> Result<Tensor> {
    let part = (grad / (size * size) as f64)?;
    scatter(&vec![part; size * size], input, size)
}

fn reduce(
    x: &Tensor,
    size: usize,
    join: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
) -> Result<Tensor> {
    let places = places(x, size)?;
    let mut result = places[0].clone();
    for next in &places[1..] {
        result = join(&result, next)?;
    }
    Ok(result)
}

/// For each place of a window, row by row, the map of the values that stand there: `size * size` tensors of
/// `[C, n, H / size, W / size]`.
fn places(x: &Tensor, size: usize) -> Result<Vec<Tensor>> {
    let (c, n, h, w) = x.dims4()?;
    let (rows, columns) = (h / size, w / size);
    let whole = x.narrow(2, 0, rows * size)?.narrow(3, 0, columns * size)?.contiguous()?;
    let windows = whole.reshape((c * n * rows, size, columns, size))?;
    let mut places = Vec::with_capacity(size * size);
    for row in 0..size {
        for column in 0..size {
            let place = windows.narrow(1, row, 1)?.narrow(3, column, 1)?.contiguous()?;
            places.push(place.reshape((c, n, rows, columns))?);
        }
    }
    Ok(places)
}

/// The inverse of [`places`]; what no window covered gets 0.
fn scatter(places: &[Tensor], like: &Tensor, size: usize) -> Result<Tensor> {
    let (c, n, h, w) = like.dims4()?;
    let (rows, columns) = (h / size, w / size);
    let lines: Vec<Tensor> = places
        .chunks(size)
        .map(|line| {
            let line: Vec<Tensor> = line
                .iter()
                .map(|place| place.reshape((c * n * rows, columns, 1)))
                .collect::<candle_core::Result<_>>()?;
            Tensor::cat(&line, 2)?.reshape((c * n * rows, 1, columns * size))
        })
        .collect::<candle_core::Result<_>>()?;
    let whole = Tensor::cat(&lines, 1)?.reshape((c, n, rows * size, columns * size))?;
    Ok(whole.pad_with_zeros(2, 0, h - rows * size)?.pad_with_zeros(3, 0, w - columns * size)?)
}
