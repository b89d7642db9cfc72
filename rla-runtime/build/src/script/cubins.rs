//! CUDA kernels of built-in variants to machine code, ahead of time.
use super::{Script, recurrences, write};
use crate::compile::Cache;
use crate::compile_cuda::{Nvrtc, cubin, stem};
use crate::error::Error;
use rla_codegen::emit::cuda::{Elem, Pass};
use rla_codegen::pipeline::cuda;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Head sizes (K, V) and architectures that machine code is shipped for, in bf16.
const SHIPPED_SIZES: [[usize; 2]; 3] = [[64, 64], [128, 128], [64, 128]];
const SHIPPED_ARCHITECTURES: [&str; 2] = ["sm_80", "sm_90a"];

/// Compiles the models' kernels and writes `OUT_DIR/cubins.rs`.
pub(super) fn builtin_cubins(names: &[&str]) -> Result<(), Error> {
    let script = Script::new()?;
    let nvrtc = Nvrtc::get()?;
    for name in ["RLA_NVRTC", "CUDA_HOME", "CUDA_PATH"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let mut jobs = BTreeMap::new();
    for architecture in SHIPPED_ARCHITECTURES {
        let mut add = |name: String, text: String| {
            jobs.insert(stem(&name, &text, architecture), (name, text, architecture));
        };
        for elem in [Elem::F32, Elem::Bf16] {
            let (name, text, _) = cuda::sums(elem);
            add(name, text);
        }
        for recurrence in recurrences(names)? {
            let recurrence = Arc::new(recurrence);
            let source = cuda::Source::new(&recurrence);
            let source = source.map_err(|e| Error::Compile(format!("{}: {}", recurrence.name, e.reason)))?;
            for sizes in SHIPPED_SIZES {
                let key = cuda::Key::usual(&recurrence, &sizes, Elem::Bf16);
                for pass in [Pass::Forward, Pass::ForwardSave, Pass::Backward, Pass::Decode] {
                    let kernels = source.text(pass, &key, cuda::shared_of(architecture));
                    let kernels = kernels.map_err(|e| Error::Compile(format!("{}: {e}", recurrence.name)))?;
                    kernels.kernels.into_iter().for_each(|k| add(k.name, k.source));
                }
            }
        }
    }
    let cache = Cache::at(script.out.join("cubins"));
    let jobs: Vec<_> = jobs.into_iter().collect();
    let workers = std::env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1usize).max(1);
    let next = AtomicUsize::new(0);
    let compile = || -> Result<(), Error> {
        while let Some((_, (name, text, architecture))) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            cubin(&cache, name, text, architecture, || {})?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(compile)).collect();
        let defect = || Err(Error::Compile("writing a kernel panicked: a defect of ours".into()));
        threads.into_iter().try_for_each(|t| t.join().unwrap_or_else(|_| defect()))
    })?;
    let mut text = format!("// by NVRTC {}.{}\n", nvrtc.version.0, nvrtc.version.1);
    text += "static CUBINS: &[(&str, &[u8], &str)] = &[\n";
    for (stem, _) in &jobs {
        let path = cache.folder().join(stem);
        let path = path.display();
        let _ = writeln!(text, "    ({stem:?}, include_bytes!(\"{path}.cubin\"), include_str!(\"{path}.log\")),");
    }
    text += "];\n";
    write(&script.out.join("cubins.rs"), &text)
}
