//! An NVIDIA GPU, through a driver that is loaded at run time: a program starts without one and says so.
//!
//! `memory` owns device memory, `kernels` compiles and launches the kernels of a recurrence on raw addresses, `host` runs
//! whole calls on tensors of the host by the choices of `tunings`, `time` times captured graphs, `ceiling` the card's own rates, `bench` both together.
use crate::error::{Error, Result};
use cudarc::driver::sys::{self, CUresult};
use std::sync::{Arc, OnceLock};

pub mod bench;
pub mod ceiling;
pub mod host;
pub mod kernels;
pub mod memory;
pub mod time;
pub mod tunings;

/// The first device, its context, and a stream of its own.
pub struct Device {
    context: sys::CUcontext,
    stream: sys::CUstream,
    /// The product's name.
    pub name: String,
    /// Compute capability.
    pub capability: (i32, i32),
    /// Version of the driver's interface, such as 13000.
    pub driver: i32,
    /// Shared memory that a block may have, in bytes.
    pub shared: usize,
    /// Multiprocessors.
    pub multiprocessors: usize,
}

// SAFETY: a context and a stream may be used from any thread that makes the context current, which every call does.
unsafe impl Send for Device {}
// SAFETY: the driver's calls on a stream are safe from several threads.
unsafe impl Sync for Device {}

/// An answer of the driver other than success.
pub(crate) fn check(what: &str, status: CUresult) -> Result<()> {
    if status == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    Err(Error::unsupported(what.to_string(), format!("the driver answered {status:?}")))
}

impl Device {
    /// The first GPU of this machine.
    pub fn first() -> Result<Arc<Device>> {
        static FIRST: OnceLock<std::result::Result<Arc<Device>, String>> = OnceLock::new();
        let found = FIRST.get_or_init(|| Device::open().map(Arc::new).map_err(|e| e.to_string()));
        found.clone().map_err(|reason| Error::unsupported("backend cuda", reason))
    }

    fn open() -> Result<Device> {
        // SAFETY: asks only whether the library can be opened.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::unsupported("CUDA", "no NVIDIA driver (libcuda) on this machine"));
        }
        let mut device = 0;
        let (mut context, mut stream) = (std::ptr::null_mut(), std::ptr::null_mut());
        let mut name = [0u8; 256];
        let mut driver = 0;
        // SAFETY: the driver is there; every pointer is to memory of the type that the call writes.
        unsafe {
            check("cuInit", sys::cuInit(0))?;
            check("cuDeviceGet", sys::cuDeviceGet(&mut device, 0))?;
            check("cuDevicePrimaryCtxRetain", sys::cuDevicePrimaryCtxRetain(&mut context, device))?;
            check("cuCtxSetCurrent", sys::cuCtxSetCurrent(context))?;
            check("cuStreamCreate", sys::cuStreamCreate(&mut stream, 1))?;
            check("cuDeviceGetName", sys::cuDeviceGetName(name.as_mut_ptr().cast(), 255, device))?;
            check("cuDriverGetVersion", sys::cuDriverGetVersion(&mut driver))?;
        }
        use sys::CUdevice_attribute_enum as A;
        let attribute = |which| {
            let mut value = 0;
            // SAFETY: as above.
            let status = unsafe { sys::cuDeviceGetAttribute(&mut value, which, device) };
            check("cuDeviceGetAttribute", status).map(|()| value)
        };
        let end = name.iter().position(|b| *b == 0).unwrap_or(0);
        Ok(Device {
            context,
            stream,
            name: String::from_utf8_lossy(&name[..end]).into_owned(),
            capability: (
                attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ),
            driver,
            shared: attribute(A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as usize,
            multiprocessors: attribute(A::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as usize,
        })
    }

    /// The stream that calls of this process run on unless they name another.
    pub fn stream(&self) -> sys::CUstream {
        self.stream
    }

    /// Makes the context this thread's own; every call into the driver needs it.
    pub fn enter(&self) -> Result<()> {
        // SAFETY: the context is retained for the life of the process.
        check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.context) })
    }

    /// Waits for the stream.
    pub fn synchronize(&self) -> Result<()> {
        self.enter()?;
        // SAFETY: the stream is this device's.
        check("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(self.stream) })
    }

    /// The architecture that kernels are compiled for.
    pub fn architecture(&self) -> Result<&'static str> {
        match self.capability {
            (9, 0) => Ok("sm_90a"),
            (8, 0) => Ok("sm_80"),
            (8, _) => Ok("sm_86"),
            (10, 0) => Ok("sm_100a"),
            (12, _) => Ok("sm_120"),
            (major, minor) => Err(Error::unsupported(
                &self.name,
                format!("compute capability {major}.{minor}; needed is 8.0 or later"),
            )),
        }
    }
}
