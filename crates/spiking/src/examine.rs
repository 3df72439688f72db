//! A closer look at a trained network: its votes after each time step, its operations, and where it fires.

/// What enters the weights of one layer, over all samples and time steps of a batch.
///
/// An input that is not zero is one operation with each weight it meets: in a convolution of 3x3 with a border of zeros, a pixel at an edge
/// meets fewer. NeuroBench (Yik et al. 2025) counts effective operations in this way. An image that enters at each time step counts
/// at each, though an engine may compute it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operations {
    /// Index of the convolution or linear layer.
    pub layer: usize,
    /// Inputs that are not zero.
    pub inputs: u64,
    /// Weights they meet. With spikes they are added up; real numbers (images, event counts, averages, and all
    /// that cells pass on in analogue mode) are multiplied first.
    pub operations: u64,
    /// Weights that all inputs, zero or not, would meet: the multiplications of a network without spikes, at every time step.
    pub dense: u64,
    /// Whether the inputs are real numbers, not spikes.
    pub real: bool,
}

/// How often the cells behind a convolution fired. Counts, so that sums over samples are exact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frequencies {
    /// Index of the layer of cells.
    pub layer: usize,
    /// H and W.
    pub map: [usize; 2],
    /// Cells of a position times time steps: as many spikes as it can have.
    pub most: u32,
    /// Spikes over all time steps and channels, `[N, H, W]`, 0 to [`Self::most`].
    pub spikes: Vec<u32>,
}

/// What an examination saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// The class with the largest vote after each time step, as if it were the last, `[T][N]`; the first of equals.
    pub predictions: Vec<Vec<u32>>,
    /// By layer of weights.
    pub operations: Vec<Operations>,
    /// By layer of cells behind a convolution.
    pub frequencies: Vec<Frequencies>,
}

/// How many of three places along an edge of `length` pixels lie on it, around `place`.
pub(crate) fn reach(place: usize, length: usize) -> u64 {
    1 + u64::from(place > 0) + u64::from(place + 1 < length)
}

/// Weights of one output map that the pixels of an input map meet, each once.
pub(crate) fn reached(height: usize, width: usize) -> u64 {
    // Three in each direction, less the row or column beyond each border.
    (3 * height as u64 - 2) * (3 * width as u64 - 2)
}

/// The class with the largest of some votes, the first of equals.
pub(crate) fn largest(votes: &[f32]) -> u32 {
    let better = |best: usize, class: usize| if votes[class] > votes[best] { class } else { best };
    (0..votes.len()).fold(0, better) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_meets_the_weights_that_lie_on_the_map() {
        for (height, width) in [(1, 1), (1, 4), (2, 3), (5, 5)] {
            let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
            let sum: u64 = pixels.map(|(y, x)| reach(y, height) * reach(x, width)).sum();
            assert_eq!(sum, reached(height, width), "{height}x{width}");
        }
        assert_eq!([reach(0, 1), reach(0, 2), reach(1, 3), reach(2, 3)], [1, 2, 3, 2]);
    }

    #[test]
    fn the_first_of_equal_votes_wins() {
        assert_eq!(largest(&[0.1, 0.3, 0.3, 0.2]), 1);
        assert_eq!(largest(&[0.0, 0.0]), 0);
    }
}
