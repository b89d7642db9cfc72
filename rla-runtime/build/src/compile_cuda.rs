//! CUDA C++ to machine code by NVRTC, in this process, with or without a GPU.
//!
//! The library is opened at run time (a dozen functions), so that a program starts where there is none. It is looked for in
//! `RLA_NVRTC` (a folder), `CUDA_HOME` and `CUDA_PATH`, the wheel's place in the virtual environments `.cuda` of this folder
//! and those above it and `VIRTUAL_ENV`, and then wherever the system's loader finds it. Its builtins are opened first, from
//! the same folder: the library itself has no search path.
#![allow(unsafe_code)]

use crate::compile::Cache;
use crate::error::Error;
use libloading::{Library, Symbol};
use rla_codegen::kernel::fingerprint;
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A loaded NVRTC.
pub struct Nvrtc {
    library: Library,
    /// Kept open for the library.
    _builtins: Option<Library>,
    /// Where it was found.
    pub origin: String,
    /// Its version.
    pub version: (i32, i32),
}

/// What one kernel needs, from the assembler's report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Registers a thread.
    pub registers: usize,
    /// Bytes of spilled registers stored.
    pub spill_stores: usize,
    /// Bytes of spilled registers loaded.
    pub spill_loads: usize,
    /// Bytes of stack.
    pub stack: usize,
    /// Bytes of static shared memory.
    pub shared: usize,
}

/// Machine code, or PTX.
#[derive(Clone, Debug)]
pub struct Cubin {
    /// The code.
    pub bytes: Vec<u8>,
    /// What the compiler said.
    pub log: String,
    /// It was in the cache already.
    pub cached: bool,
}

impl Cubin {
    /// The report of the entry `name`.
    pub fn resources(&self, name: &str) -> Option<Resources> {
        parse(&self.log, name)
    }

    /// Lines by which the assembler says that it made tensor-core instructions wait for one another.
    pub fn serialised(&self) -> Vec<&str> {
        self.log.lines().filter(|l| l.contains("C75")).collect()
    }
}

fn parse(log: &str, name: &str) -> Option<Resources> {
    let start = log.find(&format!("'{name}'"))?;
    let text = &log[start..];
    let before = |what: &str| -> Option<usize> {
        let at = text.find(what)?;
        text[..at].split_whitespace().next_back()?.parse().ok()
    };
    Some(Resources {
        registers: before(" registers")?,
        spill_stores: before(" bytes spill stores")?,
        spill_loads: before(" bytes spill loads")?,
        stack: before(" bytes stack frame")?,
        shared: before(" bytes smem").unwrap_or(0),
    })
}

type Program = *mut c_void;
type Status = c_int;

/// Where NVIDIA's libraries are looked for, in this order.
pub fn folders() -> Vec<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let mut out = vec![];
    for root in ["RLA_NVRTC", "CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(set) {
        out.extend(["", "lib64", "lib"].map(|sub| root.join(sub)));
    }
    let mut environments: Vec<PathBuf> = set("VIRTUAL_ENV").into_iter().collect();
    if let Ok(here) = std::env::current_dir() {
        environments.extend(here.ancestors().map(|folder| folder.join(".cuda")));
    }
    for environment in environments {
        let Ok(entries) = std::fs::read_dir(environment.join("lib")) else { continue };
        let mut pythons: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        pythons.sort();
        out.extend(pythons.iter().map(|p| p.join("site-packages/nvidia/cu13/lib")));
    }
    out
}

impl Nvrtc {
    /// The library, opened once a process.
    ///
    /// # Errors
    /// Where none was found: where it was looked for, and how to get it.
    pub fn get() -> Result<&'static Nvrtc, Error> {
        static FOUND: OnceLock<Result<Nvrtc, String>> = OnceLock::new();
        FOUND.get_or_init(Nvrtc::find).as_ref().map_err(|reason| Error::NoNvrtc(reason.clone()))
    }

    fn find() -> Result<Nvrtc, String> {
        for folder in folders() {
            if let Some(found) = Nvrtc::open_in(&folder) {
                return Ok(found);
            }
        }
        // SAFETY: opening NVRTC runs its initialisers, which have no demands.
        match unsafe { Library::new("libnvrtc.so.13") } {
            Ok(library) => {
                Nvrtc::with(library, None, "the system's loader".into()).ok_or_else(|| "it has no version".into())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn open_in(folder: &Path) -> Option<Nvrtc> {
        let path = folder.join("libnvrtc.so.13");
        if !path.is_file() {
            return None;
        }
        let mut builtins: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.flatten().map(|e| e.path()).collect();
        builtins.retain(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("libnvrtc-builtins.so.13.")));
        builtins.sort();
        // SAFETY: opening NVRTC and its builtins runs their initialisers, which have no demands.
        let (builtins, library) =
            unsafe { (builtins.first().and_then(|p| Library::new(p).ok()), Library::new(&path).ok()?) };
        Nvrtc::with(library, builtins, path.display().to_string())
    }

    fn with(library: Library, builtins: Option<Library>, origin: String) -> Option<Nvrtc> {
        let (mut major, mut minor) = (0, 0);
        {
            // SAFETY: the signature is that of nvrtc.h.
            let ask: Symbol<unsafe extern "C" fn(*mut c_int, *mut c_int) -> Status> =
                unsafe { library.get(b"nvrtcVersion\0") }.ok()?;
            // SAFETY: two integers to write.
            if unsafe { ask(&mut major, &mut minor) } != 0 {
                return None;
            }
        }
        Some(Nvrtc { library, _builtins: builtins, origin, version: (major, minor) })
    }

    fn function<T>(&self, name: &str) -> Result<Symbol<'_, T>, Error> {
        // SAFETY: every use names a function of nvrtc.h with its signature.
        unsafe { self.library.get(name.as_bytes()) }.map_err(|e| Error::NoNvrtc(e.to_string()))
    }

    /// Compiles for an architecture such as `sm_90a`; the log holds the assembler's report. For one such as `compute_90a` the code is
    /// PTX, which a driver assembles.
    ///
    /// # Errors
    /// What the compiler refused: a defect of ours.
    pub fn compile(&self, name: &str, text: &str, architecture: &str) -> Result<Cubin, Error> {
        type Create = unsafe extern "C" fn(
            *mut Program,
            *const c_char,
            *const c_char,
            c_int,
            *const *const c_char,
            *const *const c_char,
        ) -> Status;
        type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> Status;
        type Size = unsafe extern "C" fn(Program, *mut usize) -> Status;
        type Get = unsafe extern "C" fn(Program, *mut c_char) -> Status;
        type Destroy = unsafe extern "C" fn(*mut Program) -> Status;
        let c = |s: &str| CString::new(s).map_err(|e| Error::Compile(e.to_string()));
        let (source, file) = (c(text)?, c(&format!("{name}.cu"))?);
        let ptx = architecture.starts_with("compute_");
        let mut options = vec![
            c(&format!("--gpu-architecture={architecture}"))?,
            c("--std=c++17")?,
            c("-default-device")?, // generic lambdas are device code too
            c("-diag-suppress=177")?,
        ];
        if !ptx {
            options.push(c("--ptxas-options=-v")?);
        }
        let options: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
        let create = self.function::<Create>("nvrtcCreateProgram\0")?;
        let compile = self.function::<Compile>("nvrtcCompileProgram\0")?;
        let destroy = self.function::<Destroy>("nvrtcDestroyProgram\0")?;
        let mut program: Program = std::ptr::null_mut();
        // SAFETY: texts end in NUL and outlive the calls; there are no headers.
        let status =
            unsafe { create(&mut program, source.as_ptr(), file.as_ptr(), 0, std::ptr::null(), std::ptr::null()) };
        if status != 0 {
            return Err(Error::Compile(format!("NVRTC made no program (status {status})")));
        }
        // SAFETY: the program was made above.
        let status = unsafe { compile(program, options.len() as c_int, options.as_ptr()) };
        let read = |size: &str, get: &str| -> Result<Vec<u8>, Error> {
            let (size, get) = (self.function::<Size>(size)?, self.function::<Get>(get)?);
            let mut bytes = 0;
            // SAFETY: the program is alive; the memory has the size that was asked for.
            unsafe {
                size(program, &mut bytes);
                let mut memory = vec![0u8; bytes];
                get(program, memory.as_mut_ptr().cast());
                Ok(memory)
            }
        };
        let log = read("nvrtcGetProgramLogSize\0", "nvrtcGetProgramLog\0")?;
        let log = String::from_utf8_lossy(&log).trim_end_matches('\0').to_string();
        let bytes = match (status, ptx) {
            (0, false) => read("nvrtcGetCUBINSize\0", "nvrtcGetCUBIN\0")?,
            (0, true) => read("nvrtcGetPTXSize\0", "nvrtcGetPTX\0")?,
            _ => vec![],
        };
        // SAFETY: made above, not used afterwards.
        unsafe { destroy(&mut program) };
        if status != 0 {
            let log = log.lines().take(40).collect::<Vec<_>>().join("\n");
            return Err(Error::Nvrtc { name: name.into(), message: log });
        }
        Ok(Cubin { bytes, log, cached: false })
    }
}

/// The name of a text's machine code: equal texts have equal names, on every machine.
pub fn stem(name: &str, text: &str, architecture: &str) -> String {
    format!("{name}-{architecture}-{:032x}", fingerprint(&[text, architecture]))
}

/// Machine code of a text, from the cache where it is there already. `announce` is called before the compiler runs.
///
/// # Errors
/// No NVRTC; a text that it refuses; files.
pub fn cubin(
    cache: &Cache,
    name: &str,
    text: &str,
    architecture: &str,
    announce: impl FnOnce(),
) -> Result<Cubin, Error> {
    let stem = stem(name, text, architecture);
    let path = cache.folder().join(format!("{stem}.cubin"));
    let report = cache.folder().join(format!("{stem}.log"));
    // the report is written last: where it is there, the code beside it is whole
    if let (Ok(bytes), Ok(log)) = (std::fs::read(&path), std::fs::read_to_string(&report)) {
        return Ok(Cubin { bytes, log, cached: true });
    }
    let nvrtc = Nvrtc::get()?;
    announce();
    let made = nvrtc.compile(name, text, architecture)?;
    std::fs::create_dir_all(cache.folder()).map_err(|e| Error::file(cache.folder(), e))?;
    let write = |to: &Path, bytes: &[u8]| {
        let part = to.with_extension(format!("{}.{:?}.part", std::process::id(), std::thread::current().id()));
        std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, to)).map_err(|e| Error::file(to, e))
    };
    write(&path, &made.bytes)?;
    write(&report, made.log.as_bytes())?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_read_from_the_report() {
        let log = "ptxas info    : Compiling entry function 'other' for 'sm_90a'\n\
                   ptxas info    : Function properties for other\nptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
                   ptxas info    : Used 8 registers, used 1 barriers\n\
                   ptxas info    : Compiling entry function 'kernel' for 'sm_90a'\n\
                   ptxas         .     16 bytes stack frame, 24 bytes spill stores, 32 bytes spill loads\n\
                   ptxas info    : Used 58 registers, used 1 barriers, 16384 bytes smem\n";
        let wanted = Resources { registers: 58, spill_stores: 24, spill_loads: 32, stack: 16, shared: 16384 };
        assert_eq!(parse(log, "kernel"), Some(wanted));
        assert_eq!(parse(log, "missing"), None);
    }
}
