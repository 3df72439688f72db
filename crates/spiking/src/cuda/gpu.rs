//! Opening a GPU, and what can be asked of it.
#![allow(unsafe_code, reason = "settings of the driver that candle has no name for")]

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::{DriverError, result, sys};
use candle_core::{CudaDevice, Device};

use super::launch::enabled;
use crate::{Gpu, Result, SpikingError};

/// [`Gpu::open`].
///
/// A GPU is opened once, and all its work goes to one stream, whatever thread asks for it: candle's own default has a stream for each thread of the program,
/// and what two of them do with one tensor is ordered by nothing.
pub(crate) fn open(index: usize) -> Result<Device> {
    static OPENED: Mutex<BTreeMap<usize, CudaDevice>> = Mutex::new(BTreeMap::new());
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(device) = opened.get(&index) {
        return Ok(Device::Cuda(device.clone()));
    }
    let refuse = |why: String| SpikingError::Device { device: format!("cuda:{index}"), why };
    let enabled = enabled().map_err(refuse)?;
    let device = CudaDevice::new_with_stream(index).map_err(|error| refuse(error.to_string()))?;
    let capability = device.cuda_stream().context().compute_capability();
    let capability = capability.map_err(|error| refuse(error.to_string()))?;
    if enabled && capability < (8, 0) {
        let (major, minor) = capability;
        return Err(refuse(format!(
            "it is of compute capability {major}.{minor}, and the kernels need 8.0 for bfloat16; BPSTA_CUDA=portable takes candle's \
             operations instead"
        )));
    }
    // SAFETY: the program opens a GPU once, so that all its tensors are used on this one stream.
    unsafe { device.disable_event_tracking() };
    keep_freed_memory(&device).map_err(|error| refuse(error.to_string()))?;
    opened.insert(index, device.clone());
    Ok(Device::Cuda(device))
}

/// [`Gpu::of`].
pub(crate) fn describe(device: &CudaDevice) -> Result<Gpu> {
    let name = device.cuda_stream().context().name().map_err(candle_core::Error::wrap)?;
    let peak_bytes = peak_bytes(device).map_err(candle_core::Error::wrap)?;
    Ok(Gpu { name, peak_bytes, kernels: enabled() == Ok(true) })
}

/// Tells the driver to keep what tensors give back: it would else return it to the system at each point where the program
/// waits for the GPU, which is once a training step.
fn keep_freed_memory(device: &CudaDevice) -> std::result::Result<(), DriverError> {
    let mut threshold = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the pool is the device's own, and this attribute is a 64-bit number.
    unsafe {
        result::mem_pool::set_attribute(pool(device)?, attribute, (&raw mut threshold).cast::<c_void>())
    }
}

fn peak_bytes(device: &CudaDevice) -> std::result::Result<u64, DriverError> {
    let mut peak = 0u64;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
    // SAFETY: the pool is the device's own, and this attribute is a 64-bit number.
    unsafe { result::mem_pool::get_attribute(pool(device)?, attribute, (&raw mut peak).cast::<c_void>())? };
    Ok(peak)
}

/// The pool that the tensors of a GPU are taken from.
fn pool(device: &CudaDevice) -> std::result::Result<sys::CUmemoryPool, DriverError> {
    let stream = device.cuda_stream();
    stream.context().bind_to_thread()?;
    // SAFETY: the device is one that the driver gave.
    unsafe { result::device::get_mem_pool(stream.context().cu_device()) }
}
