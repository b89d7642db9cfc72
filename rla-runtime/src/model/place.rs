//! Where a model's tensors live, and what runs its recurrences.

use crate::error::{Error, Result};
use crate::op::Backend;
use candle_core::Device;

/// A device of candle's and the backend of the recurrences on it.
#[derive(Clone, Debug)]
pub struct Place {
    /// What runs the recurrences.
    pub backend: Backend,
    /// Where tensors live.
    pub device: Device,
}

impl From<Backend> for Place {
    /// Tensors on the CPU. With [`Backend::Cuda`] each call of a recurrence copies them to the GPU and back.
    fn from(backend: Backend) -> Place {
        Place { backend, device: Device::Cpu }
    }
}

impl Place {
    /// Everything on the first NVIDIA GPU.
    ///
    /// # Errors
    /// The program was built without the feature `cuda-models`; no GPU, no driver, or one that is too old.
    pub fn cuda() -> Result<Place> {
        Ok(Place { backend: Backend::Cuda, device: first_gpu()? })
    }
}

#[cfg(feature = "cuda-models")]
fn first_gpu() -> Result<Device> {
    let ours = crate::device::cuda::Device::first()?;
    ours.architecture()?;
    let refused = |e: candle_core::Error| Error::unsupported("device cuda", e.to_string());
    let device = Device::new_cuda_with_stream(0).map_err(refused)?;
    let stream = device.as_cuda_device().map_err(refused)?.cuda_stream();
    ours.owns(stream.cu_stream())?;
    ours.keep_memory()?;
    // SAFETY: all work of this process on candle's memory is queued on this one stream, so that its order is enough.
    unsafe { device.as_cuda_device().map_err(refused)?.disable_event_tracking() };
    Ok(device)
}

#[cfg(not(feature = "cuda-models"))]
fn first_gpu() -> Result<Device> {
    let reason = "this program was built without the feature `cuda-models` (README: On an NVIDIA GPU)";
    Err(Error::unsupported("device cuda", reason))
}
