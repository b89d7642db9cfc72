//! Kernels that are written by hand: their text compiled and kept as generated texts are, called by name.
use super::kernels::{grid, load_all};
use super::{Device, check};
use crate::error::{Error, Result};
use cudarc::driver::sys;
use std::ffi::c_void;
use std::sync::Arc;

/// The loaded kernels of one text, whose arguments all have 8 bytes.
pub struct Module {
    device: Arc<Device>,
    functions: Vec<(&'static str, sys::CUfunction)>,
}

// SAFETY: functions of a loaded module may be launched from any thread that makes the context current.
unsafe impl Send for Module {}
// SAFETY: the same.
unsafe impl Sync for Module {}

impl Module {
    /// Compiles and loads `entries` of a text.
    pub fn new(device: &Arc<Device>, name: &str, text: &str, entries: &[&'static str]) -> Result<Module> {
        let loaded = load_all(device, name, text, entries)?;
        for (function, _) in &loaded {
            // SAFETY: the function is of a loaded module. Loading it now lets its first call be captured.
            check("load a kernel", unsafe { sys::cuFuncLoad(*function) })?;
        }
        let functions = entries.iter().copied().zip(loaded.into_iter().map(|(f, _)| f)).collect();
        Ok(Module { device: device.clone(), functions })
    }

    /// The device.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Queues a kernel on a stream; no blocks: nothing.
    ///
    /// # Safety
    /// `words` are the kernel's arguments; their addresses hold what the kernel reads and writes until the stream has run it.
    pub unsafe fn queue(
        &self,
        entry: &str,
        blocks: usize,
        threads: usize,
        shared: usize,
        words: &[u64],
        stream: sys::CUstream,
    ) -> Result<()> {
        if blocks == 0 {
            return Ok(());
        }
        let found = self.functions.iter().find(|(name, _)| *name == entry);
        let (_, function) = found.ok_or_else(|| Error::argument("kernel", "one of this module", entry))?;
        self.device.enter()?;
        let mut arguments: Vec<*mut c_void> = words.iter().map(|w| (&raw const *w).cast_mut().cast()).collect();
        // SAFETY: the caller vouches for the arguments; the driver copies them before this returns.
        check(entry, unsafe {
            sys::cuLaunchKernel(
                *function,
                grid(blocks)?,
                1,
                1,
                threads as u32,
                1,
                1,
                shared as u32,
                stream,
                arguments.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        })
    }
}
