//! Loops compiled for several instruction sets, of which the machine's best is run. All give the same.
#![allow(unsafe_code)]

/// A loop. `run`, and what it calls, must be `#[inline(always)]`, so that it is compiled for the path that calls it.
pub(crate) trait Kernel {
    /// What it gives.
    type Output;

    /// Goes through it.
    fn run(self) -> Self::Output;
}

/// Instructions that a kernel is compiled for; ones that this machine has, for [`Path::available`] alone makes any.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Path(Instructions);

#[derive(Debug, Clone, Copy)]
enum Instructions {
    /// AVX-512 F, BW, VL, DQ and VBMI, which picks bytes from all over a vector: records of five bytes gain most by it.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Path {
    /// The best of this machine.
    pub(crate) fn fastest() -> Self {
        Self::available().next().unwrap_or(Self(Instructions::Portable))
    }

    /// All of this machine, the fastest first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let paths = [
            (Instructions::Avx512, {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vbmi")
            }),
            (Instructions::Avx2, is_x86_feature_detected!("avx2")),
            (Instructions::Portable, true),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let paths = [(Instructions::Portable, true)];
        paths.into_iter().filter(|(_, here)| *here).map(|(instructions, _)| Self(instructions))
    }

    /// Whether the instructions of [`Instructions::Avx512`] may be used.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn has_avx512(self) -> bool {
        matches!(self.0, Instructions::Avx512)
    }

    /// Runs a kernel on this path.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` alone makes this path, having found the features.
            Instructions::Avx512 => unsafe { with_avx512(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` alone makes this path, having found the feature.
            Instructions::Avx2 => unsafe { with_avx2(kernel) },
            Instructions::Portable => kernel.run(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi")]
fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}
