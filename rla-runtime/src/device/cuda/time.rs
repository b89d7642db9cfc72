//! Times of a captured call: the graph is launched again and again, the level-2 cache flushed before each.
use super::memory::Buffer;
use super::{Device, check};
use crate::error::Result;
use cudarc::driver::sys;
use std::sync::Arc;

/// Milliseconds of `count` launches of what `queue` puts on the device's stream, sorted.
pub fn graph(device: &Arc<Device>, count: usize, queue: impl Fn(sys::CUstream) -> Result<()>) -> Result<Vec<f32>> {
    device.enter()?;
    let stream = device.stream();
    let flush = Buffer::poisoned(device, 256 << 20)?;
    queue(stream)?;
    device.synchronize()?;
    let mut graph = std::ptr::null_mut();
    let mut executable = std::ptr::null_mut();
    let (mut start, mut end) = (std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the stream is this device's; handles are written by the calls that make them.
    unsafe {
        check(
            "capture",
            sys::cuStreamBeginCapture_v2(stream, sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
        )?;
        let queued = queue(stream);
        check("capture", sys::cuStreamEndCapture(stream, &mut graph))?;
        queued?;
        check("graph", sys::cuGraphInstantiateWithFlags(&mut executable, graph, 0))?;
        check("event", sys::cuEventCreate(&mut start, 0))?;
        check("event", sys::cuEventCreate(&mut end, 0))?;
    }
    let mut times = vec![];
    for round in 0..count + 3 {
        flush.fill(round as u8)?;
        let mut ms = 0f32;
        // SAFETY: all handles are alive; the events have been recorded when their difference is asked for.
        unsafe {
            check("event", sys::cuEventRecord(start, stream))?;
            check("graph", sys::cuGraphLaunch(executable, stream))?;
            check("event", sys::cuEventRecord(end, stream))?;
            check("kernels", sys::cuStreamSynchronize(stream))?;
            check("event", sys::cuEventElapsedTime_v2(&mut ms, start, end))?;
        }
        if round >= 3 {
            times.push(ms);
        }
    }
    // SAFETY: made above, not used afterwards.
    unsafe {
        sys::cuGraphExecDestroy(executable);
        sys::cuGraphDestroy(graph);
        sys::cuEventDestroy_v2(start);
        sys::cuEventDestroy_v2(end);
    }
    times.sort_by(f32::total_cmp);
    Ok(times)
}
