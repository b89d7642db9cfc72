//! Calls captured once and launched again and again.
use super::{Device, check};
use crate::error::Result;
use cudarc::driver::sys;

/// A captured call.
pub struct Captured {
    graph: sys::CUgraph,
    executable: sys::CUgraphExec,
}

// SAFETY: a graph may be launched from any thread that makes its context current, one at a time.
unsafe impl Send for Captured {}

impl Captured {
    /// Captures what `queue` puts on a stream of the device's context; nothing runs.
    pub(crate) fn new(
        device: &Device,
        stream: sys::CUstream,
        queue: impl FnOnce(sys::CUstream) -> Result<()>,
    ) -> Result<Captured> {
        device.owns(stream)?;
        let (mut graph, mut executable) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the stream is of the current context; handles are written by the calls that make them.
        unsafe {
            check(
                "capture",
                sys::cuStreamBeginCapture_v2(stream, sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
            )?;
            let queued = queue(stream);
            check("capture", sys::cuStreamEndCapture(stream, &mut graph))?;
            queued?;
            check("graph", sys::cuGraphInstantiateWithFlags(&mut executable, graph, 0))?;
        }
        Ok(Captured { graph, executable })
    }

    /// Queues the call.
    ///
    /// # Safety
    /// The memory that was captured is still there, until the stream has run the call.
    pub unsafe fn launch(&self, stream: sys::CUstream) -> Result<()> {
        // SAFETY: the graph is alive; the caller vouches for its memory.
        check("graph", unsafe { sys::cuGraphLaunch(self.executable, stream) })
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        // SAFETY: made by `new`, not used afterwards.
        unsafe {
            sys::cuGraphExecDestroy(self.executable);
            sys::cuGraphDestroy(self.graph);
        }
    }
}
