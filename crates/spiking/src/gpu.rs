//! GPUs, as a program meets them whether or not it was built for any.

use candle_core::Device;

use crate::Result;

/// What the driver says of a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its name, such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// The most memory that tensors have held at once, in bytes.
    pub peak_bytes: u64,
    /// Whether our kernels run there, or candle's operations alone.
    pub kernels: bool,
}

impl Gpu {
    /// Opens a GPU by its number, for tensors.
    ///
    /// # Errors
    /// [`SpikingError::Device`](crate::SpikingError::Device) where there is no such GPU, `BPSTA_CUDA` has a value that it cannot have, or the program was
    /// built without CUDA.
    pub fn open(index: usize) -> Result<Device> {
        #[cfg(feature = "cuda")]
        return crate::cuda::open(index);
        #[cfg(not(feature = "cuda"))]
        Err(crate::SpikingError::Device {
            device: format!("cuda:{index}"),
            why: "this program was built without CUDA; build it with `--features cuda` where the CUDA toolkit is installed, or use \
                --device cpu"
                .to_owned(),
        })
    }

    /// What the driver says of the device of tensors; none for the CPU.
    ///
    /// # Errors
    /// The driver's, and [`SpikingError::Device`](crate::SpikingError::Device) for a device that this program cannot have opened.
    pub fn of(device: &Device) -> Result<Option<Self>> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(cuda) = device {
            return crate::cuda::describe(cuda).map(Some);
        }
        match device {
            Device::Cpu => Ok(None),
            _ => Err(crate::SpikingError::Device {
                device: if device.is_cuda() { "cuda" } else { "metal" }.to_owned(),
                why: "this program was built without it".to_owned(),
            }),
        }
    }
}

#[cfg(all(test, not(feature = "cuda")))]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_was_not_built_for_is_an_error() {
        assert!(Gpu::of(&Device::Cpu).is_ok_and(|gpu| gpu.is_none()));
        let error = Gpu::of(&Device::Cuda(candle_core::CudaDevice)).expect_err("an error").to_string();
        assert!(error.contains("device `cuda` cannot be used: this program was built without it"), "{error}");
    }
}
