//! Compiling kernels, and starting them on tensors.

use std::sync::OnceLock;

use candle_core::cuda_backend::cudarc::driver::{DevicePtr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::cudarc::nvrtc;
use candle_core::{CudaDevice, DType, Device, Shape, Storage, Tensor};

use crate::reference::trace::{SPIKES, Trace};
use crate::{Result, SpikingError};

/// Threads of a block in kernels that sum. kernels.cu is compiled with this number and the next two.
const SUMMING: u32 = 512;
/// Output channels of a block of `few_channels`.
pub(super) const OUTPUTS: usize = 8;
/// Values of a row that a block normalises.
const STRETCH: u32 = 2048;
/// Threads of a block elsewhere.
const THREADS: u32 = 256;

/// Whether `BPSTA_CUDA` leaves the kernels on, as it was when first asked for, or what is wrong with it.
pub(super) fn enabled() -> std::result::Result<bool, String> {
    static ENABLED: OnceLock<std::result::Result<bool, String>> = OnceLock::new();
    let read = || match std::env::var("BPSTA_CUDA").as_deref() {
        Err(_) | Ok("kernels") => Ok(true),
        Ok("portable") => Ok(false),
        Ok(other) => Err(format!("BPSTA_CUDA is `{other}`: expected kernels or portable")),
    };
    ENABLED.get_or_init(read).clone()
}

/// The kernels of a tensor's device.
pub(crate) struct Kernels {
    pub(super) device: CudaDevice,
}

/// What a kernel is given, in the order of its parameters.
pub(super) enum Argument<'a> {
    /// A tensor without gaps.
    Tensor(&'a Tensor),
    /// A null pointer.
    Nothing,
    Whole(usize),
    Real(f64),
}

/// How many threads a kernel is started with.
#[derive(Clone, Copy)]
pub(super) enum Grid {
    /// A thread for each of so many values.
    Each(usize),
    /// A block for each of so many sums.
    Sums([usize; 3]),
    /// Blocks for each of so many rows, of so many values each, at each of so many time steps.
    Rows(usize, usize, usize),
}

/// An [`Argument`] as the driver takes it.
enum Passed {
    Address(u64),
    Whole(u32),
    Real(f32),
}

impl Kernels {
    /// The kernels for tensors of 32-bit floats and of spikes on a GPU that [`crate::Gpu::open`] gave, where they are not turned off;
    /// none for other tensors.
    pub(crate) fn of(tensor: &Tensor) -> Option<Self> {
        let Device::Cuda(device) = tensor.device() else { return None };
        // Elsewhere events keep several streams in order, and kernels that are given addresses leave none behind.
        let one_stream = !device.is_event_tracking();
        let on = one_stream && matches!(tensor.dtype(), DType::F32 | SPIKES) && enabled() == Ok(true);
        on.then(|| Self { device: device.clone() })
    }

    /// The kernels for a batch that is one shard on a GPU, and that shard.
    pub(crate) fn of_batch(shards: &[Trace]) -> Option<(Self, &Trace)> {
        let [trace] = shards else { return None };
        Some((Self::of(trace.first())?, trace))
    }

    /// A tensor whose values a kernel is about to write, all of them.
    pub(super) fn output(&self, shape: impl Into<Shape>, dtype: DType) -> Result<Tensor> {
        // SAFETY: floats of any bits are floats, and who calls has a kernel write them before anything reads them.
        Ok(unsafe { Tensor::empty(shape, dtype, &Device::Cuda(self.device.clone())) }?)
    }

    /// Starts a kernel behind all that was asked of the GPU before.
    ///
    /// # Safety
    /// The arguments are the kernel's parameters, in order; every tensor is as long as the kernel reads or writes it with this grid,
    /// and what it writes to is an output that nothing else holds.
    ///
    /// # Errors
    /// The driver's or the compiler's, and an error where a tensor has gaps or another device.
    pub(super) unsafe fn launch(&self, kernel: &str, grid: Grid, arguments: &[Argument<'_>]) -> Result<()> {
        let function = self.device.get_or_load_custom_func(kernel, "bpsta", compiled()?)?;
        let passed: Vec<Passed> =
            arguments.iter().map(|argument| self.passed(argument)).collect::<Result<_>>()?;
        let mut builder = function.builder();
        for argument in &passed {
            match argument {
                Passed::Address(address) => builder.arg(address),
                Passed::Whole(number) => builder.arg(number),
                Passed::Real(number) => builder.arg(number),
            };
        }
        let (grid_dim, threads) = match grid {
            Grid::Each(values) => ((whole(values)?.div_ceil(THREADS), 1, 1), THREADS),
            Grid::Sums([x, y, z]) => ((whole(x)?, whole(y)?, whole(z)?), SUMMING),
            Grid::Rows(rows, values, steps) => {
                ((whole(values)?.div_ceil(STRETCH), whole(rows)?, whole(steps)?), THREADS)
            }
        };
        let config = LaunchConfig { grid_dim, block_dim: (threads, 1, 1), shared_mem_bytes: 0 };
        // SAFETY: the caller's word. Tensors that are dropped from here on are freed on the same stream, behind the kernel.
        unsafe { builder.launch(config) }.map_err(candle_core::Error::wrap)?;
        Ok(())
    }

    fn passed(&self, argument: &Argument<'_>) -> Result<Passed> {
        Ok(match *argument {
            Argument::Tensor(tensor) => Passed::Address(self.address(tensor)?),
            Argument::Nothing => Passed::Address(0),
            Argument::Whole(number) => Passed::Whole(whole(number)?),
            Argument::Real(number) => Passed::Real(number as f32),
        })
    }

    /// Where the values of a tensor begin.
    pub(super) fn address(&self, tensor: &Tensor) -> Result<u64> {
        let (storage, layout) = tensor.storage_and_layout();
        let here = tensor.device().as_cuda_device().is_ok_and(|device| device.id() == self.device.id());
        let (Storage::Cuda(storage), true) = (&*storage, here) else {
            return Err(refused("a tensor of another device".to_owned()));
        };
        if !layout.is_contiguous() {
            return Err(refused(format!("a tensor with gaps, {layout:?}")));
        }
        let stream = self.device.cuda_stream();
        let (address, _in_use) = match tensor.dtype() {
            SPIKES => storage.as_cuda_slice::<half::bf16>()?.device_ptr(&stream),
            _ => storage.as_cuda_slice::<f32>()?.device_ptr(&stream),
        };
        Ok(address + (tensor.dtype().size_in_bytes() * layout.start_offset()) as u64)
    }
}

pub(super) fn refused(what: String) -> SpikingError {
    candle_core::Error::Msg(format!("no kernel takes {what}")).into()
}

/// Kernels count values with 32 bits.
fn whole(number: usize) -> Result<u32> {
    u32::try_from(number).map_err(|_| refused(format!("{number} values")))
}

/// The kernels for any GPU that we open, compiled when the first is asked for.
fn compiled() -> Result<&'static str> {
    static PTX: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    let compile = || {
        let numbers = [("SUMMING", SUMMING as usize), ("OUTPUTS", OUTPUTS), ("STRETCH", STRETCH as usize)];
        let options = nvrtc::CompileOptions {
            fmad: Some(false),
            options: numbers.map(|(name, number)| format!("-D{name}={number}")).to_vec(),
            ..Default::default()
        };
        let ptx = nvrtc::compile_ptx_with_opts(include_str!("kernels.cu"), options);
        ptx.map(|ptx| ptx.to_src()).map_err(|error| format!("{error:?}"))
    };
    let ptx = PTX.get_or_init(compile).as_deref();
    Ok(ptx.map_err(|error| candle_core::Error::Msg(format!("the CUDA kernels do not compile: {error}")))?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    /// Needs the toolkit, not a GPU.
    #[test]
    fn the_kernels_compile() {
        let ptx = super::compiled().unwrap();
        assert!(ptx.contains(".entry lif_backward"));
    }
}
