//! Device memory with an owner.
use super::{Device, check};
use crate::error::Result;
use cudarc::driver::sys;
use std::sync::Arc;

/// Memory on a device, freed with its owner.
pub struct Buffer {
    device: Arc<Device>,
    address: u64,
    bytes: usize,
}

impl Buffer {
    /// Memory whose contents are NaN in every float type.
    pub fn poisoned(device: &Arc<Device>, bytes: usize) -> Result<Buffer> {
        device.enter()?;
        let mut address = 0;
        // SAFETY: the context is current; the address is written by the call; the memory has at least `bytes`.
        unsafe {
            check("device memory", sys::cuMemAlloc_v2(&mut address, bytes.max(256)))?;
            check("cuMemsetD8Async", sys::cuMemsetD8Async(address, 0xff, bytes.max(256), device.stream()))?;
        }
        Ok(Buffer { device: device.clone(), address, bytes })
    }

    /// The address on the device.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sets every byte.
    pub fn fill(&self, byte: u8) -> Result<()> {
        self.device.enter()?;
        // SAFETY: the memory is this buffer's.
        check("cuMemsetD8Async", unsafe { sys::cuMemsetD8Async(self.address, byte, self.bytes, self.device.stream()) })
    }

    /// Copies host bytes to the start.
    ///
    /// # Safety
    /// `from` has `bytes` readable bytes.
    pub unsafe fn upload(&self, from: *const u8, bytes: usize) -> Result<()> {
        assert!(bytes <= self.bytes.max(256), "{bytes} bytes into {}", self.bytes);
        self.device.enter()?;
        let stream = self.device.stream();
        // SAFETY: the caller vouches for the source, the buffer is large enough; the source may go once this returns.
        unsafe {
            check("copy to the device", sys::cuMemcpyHtoDAsync_v2(self.address, from.cast(), bytes, stream))?;
            check("cuStreamSynchronize", sys::cuStreamSynchronize(stream))
        }
    }

    /// Copies the start to the host, after all work before it.
    ///
    /// # Safety
    /// `to` has `bytes` writable bytes.
    pub unsafe fn download(&self, to: *mut u8, bytes: usize) -> Result<()> {
        assert!(bytes <= self.bytes.max(256), "{bytes} bytes from {}", self.bytes);
        self.device.enter()?;
        let stream = self.device.stream();
        // SAFETY: the caller vouches for the target, the buffer is large enough.
        unsafe {
            check("copy to the host", sys::cuMemcpyDtoHAsync_v2(to.cast(), self.address, bytes, stream))?;
            check("kernels", sys::cuStreamSynchronize(stream))
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.device.enter().is_ok() {
            // SAFETY: allocated by this buffer, and no kernel that uses it is still queued behind this call's free.
            unsafe {
                sys::cuStreamSynchronize(self.device.stream());
                sys::cuMemFree_v2(self.address);
            }
        }
    }
}
