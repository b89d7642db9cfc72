//! An NVIDIA GPU, through a driver that is loaded at run time: a program starts without one and says so.
//!
//! `memory` owns device memory, `kernels` compiles and launches the kernels of a recurrence on raw addresses, `module` kernels
//! that are written by hand, `host` runs whole calls on tensors of the host by the choices of `tunings`, `graph` captures calls,
//! `time` times them, `ceiling` the card's own rates, `bench` both together.
use crate::error::{Error, Result};
use cudarc::driver::sys::{self, CUresult};
use std::sync::{Arc, OnceLock};

pub mod bench;
pub mod ceiling;
pub mod graph;
pub mod host;
pub mod kernels;
pub mod memory;
pub mod module;
pub mod time;
pub mod tunings;

/// The first device, its primary context, which every library of a process shares, and a stream of its own. Calls of `kernels`
/// and `module` run on any stream of that context.
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

/// The environment variable that names another architecture than the card's: `compute_90a` and its like hand PTX to the driver,
/// which assembles it itself.
pub const ARCHITECTURE: &str = "RLA_CUDA_ARCH";

/// An answer of the driver other than success.
pub(crate) fn check(what: &str, status: CUresult) -> Result<()> {
    if status == CUresult::CUDA_SUCCESS {
        return Ok(());
    }
    Err(Error::unsupported(what.to_string(), format!("the driver answered {status:?}")))
}

/// Whether the driver's library can be opened.
#[cfg(not(feature = "cuda-models"))]
fn driver_is_there() -> bool {
    // SAFETY: asks only whether the library can be opened.
    unsafe { sys::is_culib_present() }
}

/// candle links the driver's library: where this runs, it is there.
#[cfg(feature = "cuda-models")]
fn driver_is_there() -> bool {
    true
}

impl Device {
    /// The first GPU of this machine.
    pub fn first() -> Result<Arc<Device>> {
        static FIRST: OnceLock<std::result::Result<Arc<Device>, String>> = OnceLock::new();
        let found = FIRST.get_or_init(|| Device::open().map(Arc::new).map_err(|e| e.to_string()));
        found.clone().map_err(|reason| Error::unsupported("backend cuda", reason))
    }

    /// Whether a kernel may start before the one before it has ended (programmatic dependent launch).
    pub fn overlaps(&self) -> bool {
        self.capability.0 >= 9
    }

    fn open() -> Result<Device> {
        if !driver_is_there() {
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

    /// Refuses a stream of another context: kernels are loaded into this one.
    pub(crate) fn owns(&self, stream: sys::CUstream) -> Result<()> {
        self.enter()?;
        let mut context = std::ptr::null_mut();
        // SAFETY: the caller's stream is alive; the handle is written by the call.
        check("cuStreamGetCtx", unsafe { sys::cuStreamGetCtx(stream, &mut context) })?;
        if context == self.context {
            return Ok(());
        }
        Err(Error::argument("stream", format!("one of the primary context of {}", self.name), "another context's"))
    }

    /// Lets freed memory stay with the process until it ends, so that the next call's is there at once.
    pub fn keep_memory(&self) -> Result<()> {
        self.enter()?;
        let (mut device, mut pool, mut all) = (0, std::ptr::null_mut(), u64::MAX);
        let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        // SAFETY: handles are written by the calls; the attribute is a 64-bit number.
        unsafe {
            check("cuCtxGetDevice", sys::cuCtxGetDevice(&mut device))?;
            check("cuDeviceGetDefaultMemPool", sys::cuDeviceGetDefaultMemPool(&mut pool, device))?;
            let value = (&raw mut all).cast();
            check("cuMemPoolSetAttribute", sys::cuMemPoolSetAttribute(pool, threshold, value))
        }
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

    /// The architecture that kernels are compiled for: what the variable [`ARCHITECTURE`] says, else the card's own.
    pub fn architecture(&self) -> Result<&'static str> {
        static SAID: OnceLock<Option<String>> = OnceLock::new();
        if let Some(said) = SAID.get_or_init(|| std::env::var(ARCHITECTURE).ok().filter(|said| !said.is_empty())) {
            return Ok(said);
        }
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
