//! Launches as C gives them.
#![allow(unsafe_code)] // a kernel's parameters are where the caller's addresses say
use super::record::Action;
use super::{answer, state};
use crate::launch::Launch;
use std::ffi::{c_int, c_uint, c_void};

/// How a kernel is launched, as `cuda.h` lays it out.
#[repr(C)]
struct Config {
    grid: [c_uint; 3],
    block: [c_uint; 3],
    shared: c_uint,
    stream: usize,
    attributes: *const Attribute,
    count: c_uint,
}

#[repr(C)]
struct Attribute {
    id: c_uint,
    pad: c_uint,
    value: c_int,
    rest: [c_int; 15],
}

/// The number of the attribute by which a launch may overlap the one before.
const OVERLAPS: c_uint = 6;

unsafe fn launch(function: usize, config: &Config, parameters: *const *const u8, overlaps: bool) -> u32 {
    let mut state = state();
    if config.grid[1..] != [1, 1] || config.block[1..] != [1, 1] {
        return answer::INVALID_VALUE;
    }
    let Some(program) = state.modules.program(function) else { return answer::INVALID_VALUE };
    let mut bytes = vec![];
    for (i, (offset, size)) in program.parameters.iter().enumerate() {
        bytes.resize(*offset, 0);
        // SAFETY: the caller gives the addresses of all the kernel's parameters.
        bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(*parameters.add(i), *size) });
    }
    let launch = Launch {
        program,
        blocks: config.grid[0] as usize,
        threads: config.block[0] as usize,
        shared: config.shared as usize,
        parameters: bytes,
        overlaps,
    };
    state.queue(config.stream, Action::Launch(launch))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuLaunchKernel(
    function: usize,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared: c_uint,
    stream: usize,
    parameters: *const *const u8,
    _extra: *const c_void,
) -> u32 {
    let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
    let config = Config { grid, block, shared, stream, attributes: std::ptr::null(), count: 0 };
    // SAFETY: the caller's promise is the same.
    unsafe { launch(function, &config, parameters, false) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuLaunchKernelEx(
    config: *const Config,
    function: usize,
    parameters: *const *const u8,
    _extra: *const c_void,
) -> u32 {
    // SAFETY: the caller gives a configuration with as many attributes as it says.
    unsafe {
        let config = &*config;
        let attributes = match config.count {
            0 => &[],
            count => std::slice::from_raw_parts(config.attributes, count as usize),
        };
        let overlaps = attributes.iter().any(|a| a.id == OVERLAPS && a.value != 0);
        launch(function, config, parameters, overlaps)
    }
}
