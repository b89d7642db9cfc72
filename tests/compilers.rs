//! rustc accepts the kernels of every level, those for another architecture too (compiled, not run, where no emulator is).

use std::process::Command;

use rla_codegen::kernel::{Form, Level};
use rla_codegen::pipeline;
use rla_codegen::schedule::Schedule;
use rla_tests::golden;

const PROLOGUE: &str = "#![no_std]\n#[panic_handler]\nfn panic(_: &core::panic::PanicInfo) -> ! { loop {} }\n";

fn compiles(name: &str, source: &str, target: &str) -> Result<(), String> {
    let folder = std::env::temp_dir().join(format!("rla-compilers-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let (from, to) = (folder.join("kernel.rs"), folder.join("kernel.rlib"));
    std::fs::write(&from, format!("{PROLOGUE}{source}")).expect("the source");
    let rustc = std::env::var("RUSTC").unwrap_or("rustc".into());
    let run = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=rlib", "--crate-name=k", "-Cpanic=abort", "--emit=metadata"])
        .args(["--target", target, "-o"])
        .args([&to, &from])
        .output()
        .expect("rustc runs");
    let _ = std::fs::remove_dir_all(&folder);
    if run.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&run.stderr).into_owned()) }
}

/// Whether rustc has the standard library of a target.
fn has(target: &str) -> bool {
    let rustc = std::env::var("RUSTC").unwrap_or("rustc".into());
    let root = Command::new(rustc).args(["--print", "sysroot"]).output().expect("rustc runs").stdout;
    let root = String::from_utf8_lossy(&root).trim().to_string();
    std::path::Path::new(&root).join("lib/rustlib").join(target).join("lib").is_dir()
}

#[test]
fn every_level_compiles_without_a_warning_that_matters() {
    for variant in ["rdn", "kda"] {
        let recurrence = golden::built_in(variant);
        for (level, target) in [
            (Level::Avx512, "x86_64-unknown-linux-gnu"),
            (Level::Avx2, "x86_64-unknown-linux-gnu"),
            (Level::Portable, "x86_64-unknown-linux-gnu"),
            (Level::Neon, "aarch64-unknown-linux-gnu"),
        ] {
            if !has(target) {
                rla_tests::say(format!("{variant} for {}: not compiled, rustc has no {target}", level.name()));
                continue;
            }
            let kernel = pipeline::cpu_kernel(&recurrence, Form::Chunk, &Schedule::default(), &[level]);
            let kernel = kernel.unwrap_or_else(|e| panic!("{variant}: {e:?}"));
            let found = compiles(&format!("{variant}-{}", level.name()), &kernel.source, target);
            assert!(found.is_ok(), "{variant} for {}: {}", level.name(), found.unwrap_err());
            rla_tests::say(format!("{variant} for {}: compiled for {target}", level.name()));
        }
    }
}

#[test]
fn a_broken_text_is_refused() {
    assert!(compiles("broken", "pub fn f() -> usize { 1.0 }", "x86_64-unknown-linux-gnu").is_err());
}
