//! The C interface of the driver, as much of it as `rla-runtime` calls. Work is done when it is queued, or, where launches
//! may overlap, when something else is asked for.
//!
//! What is in a captured graph is done when the graph is launched. A fault is written to the standard error and answered as the
//! driver would answer it.
#![allow(unsafe_code)] // the interface is C's: its pointers are the caller's promise, as the driver's manual gives it

mod graph;
mod launch;
mod module;
mod record;

use crate::launch::Launch;
use crate::memory::Memory;
use crate::order::Order;
use graph::Graphs;
use module::Modules;
use record::{Action, launches};
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Instant;

/// The driver's answers.
mod answer {
    pub const SUCCESS: u32 = 0;
    pub const INVALID_VALUE: u32 = 1;
    pub const INVALID_IMAGE: u32 = 200;
    pub const NOT_FOUND: u32 = 500;
    pub const ILLEGAL_ADDRESS: u32 = 700;
    pub const LAUNCH_FAILED: u32 = 719;
}

/// Handles of what there is one of.
const CONTEXT: usize = 1;
const POOL: usize = 2;

/// All that the driver knows.
struct State {
    memory: Memory,
    modules: Modules,
    graphs: Graphs,
    events: Vec<Option<Instant>>,
    streams: usize,
    order: Order,
    /// Launches that the next one may overlap: not done yet.
    waiting: Vec<Launch>,
}

impl State {
    /// Does an action, or keeps it for the graph that its stream captures.
    fn queue(&mut self, stream: usize, action: Action) -> u32 {
        match self.graphs.capturing(stream) {
            Some(graph) => {
                graph.push(action);
                answer::SUCCESS
            }
            None => self.act(&action),
        }
    }

    fn act(&mut self, action: &Action) -> u32 {
        if let (true, Action::Launch(launch)) = (self.order.overlap, action) {
            let answer = if launch.overlaps { answer::SUCCESS } else { self.settle() };
            self.waiting.push(launch.clone());
            return answer;
        }
        let before = self.settle();
        let done = action.run(&mut self.memory, self.order);
        if before == answer::SUCCESS { said(done) } else { before }
    }

    /// Does what waits for a launch that may overlap it.
    fn settle(&mut self) -> u32 {
        let waiting = std::mem::take(&mut self.waiting);
        said(launches(&waiting, &mut self.memory, self.order))
    }
}

/// The driver's answer, and on the standard error why.
fn said(done: Result<(), (u32, String)>) -> u32 {
    match done {
        Ok(()) => answer::SUCCESS,
        Err((answer, message)) => {
            eprintln!("emulator: {message}");
            answer
        }
    }
}

fn state() -> MutexGuard<'static, State> {
    static STATE: OnceLock<Mutex<State>> = OnceLock::new();
    let state = STATE.get_or_init(|| {
        let order = Order::parse(&std::env::var("RLA_EMULATOR").unwrap_or_default());
        let order = order.unwrap_or_else(|reason| {
            eprintln!("RLA_EMULATOR: {reason}");
            std::process::exit(2)
        });
        Mutex::new(State {
            memory: Memory::default(),
            modules: Modules::default(),
            graphs: Graphs::default(),
            events: vec![],
            streams: 0,
            order,
            waiting: vec![],
        })
    });
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Compute capability, from `RLA_EMULATOR_CAPABILITY`, as 9.0 unless it says otherwise.
fn capability() -> (c_int, c_int) {
    let text = std::env::var("RLA_EMULATOR_CAPABILITY").unwrap_or_default();
    let parts = text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    parts.unwrap_or((9, 0))
}

/// Writes a value where the caller wants it.
unsafe fn give<T>(to: *mut T, value: T) -> u32 {
    if to.is_null() {
        return answer::INVALID_VALUE;
    }
    // SAFETY: the caller gives an address that it may write.
    unsafe { to.write(value) };
    answer::SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuInit(_flags: c_uint) -> u32 {
    answer::SUCCESS
}

/// NVRTC asks every driver for tables of its own; there are none.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetExportTable(to: *mut usize, _id: *const c_void) -> u32 {
    // SAFETY: the caller's promise is the same.
    unsafe { give(to, 0) };
    answer::NOT_FOUND
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDriverGetVersion(to: *mut c_int) -> u32 {
    // SAFETY: the caller's promise is the same.
    unsafe { give(to, 13000) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGet(to: *mut c_int, _number: c_int) -> u32 {
    // SAFETY: the caller's promise is the same.
    unsafe { give(to, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetName(to: *mut c_char, size: c_int, _device: c_int) -> u32 {
    let name = b"CPU emulator of a GPU\0";
    if (size as usize) < name.len() {
        return answer::INVALID_VALUE;
    }
    // SAFETY: the caller gives `size` bytes, which the name fits.
    unsafe { std::ptr::copy_nonoverlapping(name.as_ptr().cast(), to, name.len()) };
    answer::SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetAttribute(to: *mut c_int, which: c_uint, _device: c_int) -> u32 {
    let (major, minor) = capability();
    let value = match which {
        16 => 4, // multiprocessors
        75 => major,
        76 => minor,
        97 if major >= 9 => 227 * 1024, // shared memory of a block
        97 => 163 * 1024,
        _ => return answer::INVALID_VALUE,
    };
    // SAFETY: the caller's promise is the same.
    unsafe { give(to, value) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDevicePrimaryCtxRetain(to: *mut usize, _device: c_int) -> u32 {
    // SAFETY: the caller's promise is the same.
    unsafe { give(to, CONTEXT) }
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCurrent(context: usize) -> u32 {
    if context == CONTEXT { answer::SUCCESS } else { answer::INVALID_VALUE }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetDevice(to: *mut c_int) -> u32 {
    // SAFETY: the caller's promise is the same.
    unsafe { give(to, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetDefaultMemPool(to: *mut usize, _device: c_int) -> u32 {
    // SAFETY: the caller's promise is the same.
    unsafe { give(to, POOL) }
}

#[unsafe(no_mangle)]
extern "C" fn cuMemPoolSetAttribute(_pool: usize, _which: c_uint, _value: *mut c_void) -> u32 {
    answer::SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamCreate(to: *mut usize, _flags: c_uint) -> u32 {
    let mut state = state();
    state.streams += 1;
    // SAFETY: the caller's promise is the same.
    unsafe { give(to, 0x100 + state.streams) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamGetCtx(_stream: usize, to: *mut usize) -> u32 {
    // SAFETY: the caller's promise is the same.
    unsafe { give(to, CONTEXT) }
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamSynchronize(_stream: usize) -> u32 {
    state().settle()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAlloc_v2(to: *mut u64, bytes: usize) -> u32 {
    let address = state().memory.allocate(bytes);
    // SAFETY: the caller's promise is the same.
    unsafe { give(to, address) }
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFree_v2(address: u64) -> u32 {
    let mut state = state();
    let before = state.settle();
    if before != answer::SUCCESS {
        return before;
    }
    if state.memory.free(address) { answer::SUCCESS } else { answer::INVALID_VALUE }
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8Async(address: u64, byte: u8, bytes: usize, stream: usize) -> u32 {
    state().queue(stream, Action::Fill { address, byte, bytes })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const u8, bytes: usize, stream: usize) -> u32 {
    // SAFETY: the caller gives `bytes` readable bytes.
    let bytes = if bytes == 0 { vec![] } else { unsafe { std::slice::from_raw_parts(from, bytes) }.to_vec() };
    state().queue(stream, Action::Write { to, bytes })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut u8, from: u64, bytes: usize, _stream: usize) -> u32 {
    let mut state = state();
    let before = state.settle();
    if before != answer::SUCCESS {
        return before;
    }
    match state.memory.read(from, bytes) {
        Ok(found) => {
            // SAFETY: the caller gives `bytes` writable bytes.
            unsafe { std::ptr::copy_nonoverlapping(found.as_ptr(), to, bytes) };
            answer::SUCCESS
        }
        Err(message) => {
            eprintln!("emulator: a copy to the host: {message}");
            answer::ILLEGAL_ADDRESS
        }
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: usize) -> u32 {
    state().queue(stream, Action::Copy { to, from, bytes })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoadData(to: *mut usize, image: *const c_char) -> u32 {
    // SAFETY: PTX ends in NUL, and other images begin with bytes of which one is none of PTX's.
    let loaded = unsafe { module::text(image) }.and_then(|text| state().modules.load(&text));
    match loaded {
        // SAFETY: the caller's promise is the same.
        Ok(handle) => unsafe { give(to, handle) },
        Err(message) => {
            eprintln!("emulator: {message}");
            answer::INVALID_IMAGE
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleGetFunction(to: *mut usize, module: usize, name: *const c_char) -> u32 {
    // SAFETY: the caller gives a text that ends in NUL.
    let name = unsafe { std::ffi::CStr::from_ptr(name) }.to_string_lossy();
    match state().modules.function(module, &name) {
        // SAFETY: the caller's promise is the same.
        Some(handle) => unsafe { give(to, handle) },
        None => answer::NOT_FOUND,
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetAttribute(_function: usize, _which: c_uint, _value: c_int) -> u32 {
    answer::SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncLoad(_function: usize) -> u32 {
    answer::SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventCreate(to: *mut usize, _flags: c_uint) -> u32 {
    let mut state = state();
    state.events.push(None);
    // SAFETY: the caller's promise is the same.
    unsafe { give(to, state.events.len()) }
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecord(event: usize, _stream: usize) -> u32 {
    let mut state = state();
    let before = state.settle();
    match state.events.get_mut(event.wrapping_sub(1)) {
        _ if before != answer::SUCCESS => before,
        Some(slot) => {
            *slot = Some(Instant::now());
            answer::SUCCESS
        }
        None => answer::INVALID_VALUE,
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuEventSynchronize(_event: usize) -> u32 {
    answer::SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventElapsedTime_v2(to: *mut f32, from: usize, until: usize) -> u32 {
    let state = state();
    let when = |event: usize| state.events.get(event.wrapping_sub(1)).copied().flatten();
    match (when(from), when(until)) {
        // SAFETY: the caller's promise is the same.
        (Some(a), Some(b)) => unsafe { give(to, b.duration_since(a).as_secs_f32() * 1e3) },
        _ => answer::INVALID_VALUE,
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuEventDestroy_v2(_event: usize) -> u32 {
    answer::SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAllocHost_v2(to: *mut *mut c_void, bytes: usize) -> u32 {
    let memory: Box<[u64]> = vec![0; bytes.div_ceil(8) + 1].into_boxed_slice();
    // SAFETY: the caller's promise is the same; the memory stays until the process ends.
    unsafe { give(to, Box::leak(memory).as_mut_ptr().cast()) }
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeHost(_memory: *mut c_void) -> u32 {
    answer::SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamBeginCapture_v2(stream: usize, _mode: c_uint) -> u32 {
    if state().graphs.begin(stream) { answer::SUCCESS } else { answer::INVALID_VALUE }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamEndCapture(stream: usize, to: *mut usize) -> u32 {
    match state().graphs.end(stream) {
        // SAFETY: the caller's promise is the same.
        Some(graph) => unsafe { give(to, graph) },
        None => answer::INVALID_VALUE,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGraphInstantiateWithFlags(to: *mut usize, graph: usize, _flags: u64) -> u32 {
    // SAFETY: the caller's promise is the same. A graph is executed as it is.
    unsafe { give(to, graph) }
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphLaunch(graph: usize, _stream: usize) -> u32 {
    let mut state = state();
    let Some(actions) = state.graphs.actions(graph) else { return answer::INVALID_VALUE };
    for action in actions.iter() {
        let answer = state.act(action);
        if answer != answer::SUCCESS {
            return answer;
        }
    }
    answer::SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphDestroy(_graph: usize) -> u32 {
    answer::SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphExecDestroy(_graph: usize) -> u32 {
    answer::SUCCESS
}
