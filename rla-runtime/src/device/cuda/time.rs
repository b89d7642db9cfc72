//! Times of captured calls, the level-2 cache flushed before each.
use super::graph::Captured;
use super::memory::Buffer;
use super::{Device, check};
use crate::error::Result;
use cudarc::driver::sys;
use std::sync::Arc;

/// A pair of events on the device's stream.
struct Events {
    device: Arc<Device>,
    start: sys::CUevent,
    end: sys::CUevent,
}

impl Events {
    fn new(device: &Arc<Device>) -> Result<Events> {
        device.enter()?;
        let (mut start, mut end) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: handles are written by the calls that make them.
        unsafe {
            check("event", sys::cuEventCreate(&mut start, 0))?;
            check("event", sys::cuEventCreate(&mut end, 0))?;
        }
        Ok(Events { device: device.clone(), start, end })
    }

    /// Milliseconds of what `queue` puts on the stream.
    fn around(&self, queue: impl FnOnce(sys::CUstream) -> Result<()>) -> Result<f64> {
        self.device.enter()?;
        let stream = self.device.stream();
        let mut ms = 0f32;
        // SAFETY: the events are alive, and have been recorded when their difference is asked for.
        unsafe {
            check("event", sys::cuEventRecord(self.start, stream))?;
            queue(stream)?;
            check("event", sys::cuEventRecord(self.end, stream))?;
            check("kernels", sys::cuStreamSynchronize(stream))?;
            check("event", sys::cuEventElapsedTime_v2(&mut ms, self.start, self.end))?;
        }
        Ok(f64::from(ms))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // SAFETY: made by `new`, not used afterwards.
        unsafe {
            sys::cuEventDestroy_v2(self.start);
            sys::cuEventDestroy_v2(self.end);
        }
    }
}

/// Milliseconds of what `queue` puts on the device's stream, uncaptured.
pub fn queued(device: &Arc<Device>, queue: impl FnOnce(sys::CUstream) -> Result<()>) -> Result<f64> {
    Events::new(device)?.around(queue)
}

/// A captured call, with a clock.
pub struct Graph {
    events: Events,
    captured: Captured,
}

impl Graph {
    /// Runs a call once, then captures it.
    pub fn capture(device: &Arc<Device>, queue: impl Fn(sys::CUstream) -> Result<()>) -> Result<Graph> {
        let events = Events::new(device)?;
        let stream = device.stream();
        queue(stream)?;
        device.synchronize()?;
        Ok(Graph { events, captured: Captured::new(device, stream, queue)? })
    }

    /// Milliseconds of one launch; `before` is queued ahead of it and not counted.
    pub fn sample(&self, before: impl FnOnce() -> Result<()>) -> Result<f64> {
        before()?;
        // SAFETY: who captures keeps the memory that the call names.
        self.events.around(|stream| unsafe { self.captured.launch(stream) })
    }
}

/// Memory whose filling throws everything else out of the level-2 cache.
pub fn flusher(device: &Arc<Device>) -> Result<Buffer> {
    Buffer::poisoned(device, 256 << 20)
}
