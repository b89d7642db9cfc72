//! `generated/` holds what the compiler writes today. It is compared and never overwritten: after a wanted change,
//! `rla emit rdn --level avx512 --out generated/rdn/avx512.rs` and `rla emit rdn --target cuda --bare --out generated/rdn/cuda.cu` (and
//! so on) write it anew.

use std::path::Path;
use std::sync::Arc;

use rla_build::table::Table;
use rla_codegen::emit::cpu::Pass;
use rla_codegen::emit::cuda::Elem;
use rla_codegen::kernel::{Form, Level};
use rla_codegen::pipeline;
use rla_codegen::pipeline::cuda::{Key, Source, shared_of};
use rla_tests::golden;

/// What is kept: one variant a folder, one level a file.
const KEPT: [(&str, Level); 2] = [("rla", Level::Avx512), ("rdn", Level::Avx512)];

fn written(variant: &str, level: Level) -> String {
    let recurrence = golden::built_in(variant);
    let schedule = Table::shipped().and_then(|table| table.schedule(variant)).unwrap_or_else(|e| panic!("{e}"));
    let kernel = pipeline::cpu_kernel(&recurrence, Form::Chunk, &schedule, &[level]);
    kernel.unwrap_or_else(|e| panic!("{variant}: {e:?}")).source
}

/// The first line that differs, if any.
fn difference(kept: &str, now: &str) -> Option<String> {
    if kept == now {
        return None;
    }
    let line = kept
        .lines()
        .zip(now.lines())
        .position(|(a, b)| a != b)
        .unwrap_or(kept.lines().count().min(now.lines().count()));
    let show = |text: &str| text.lines().nth(line).unwrap_or("(end)").to_string();
    Some(format!("line {}: kept `{}`, now `{}`", line + 1, show(kept), show(now)))
}

#[test]
fn generated_is_what_the_compiler_writes() {
    for (variant, level) in KEPT {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../generated")
            .join(variant)
            .join(format!("{}.rs", level.name()));
        let kept = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let differs = difference(&kept, &written(variant, level));
        assert!(differs.is_none(), "{}: {}", path.display(), differs.unwrap_or_default());
    }
}

/// CUDA kernels of all passes for bf16 and 128 channels, without the headers that they share, for an A100's shared memory.
fn written_for_cuda(variant: &str) -> String {
    let recurrence = Arc::new(golden::built_in(variant));
    let key = Key::usual(&recurrence, &[128, 128], Elem::Bf16);
    let source = Source::new(&recurrence).unwrap_or_else(|_| panic!("{variant} is in the class"));
    let passes = [Pass::Forward, Pass::ForwardSave, Pass::Backward, Pass::Decode];
    source.page(&passes, &key, shared_of("sm_80"), true).unwrap_or_else(|e| panic!("{variant}: {e}"))
}

#[test]
fn generated_cuda_is_what_the_compiler_writes() {
    for (variant, _) in KEPT {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../generated").join(variant).join("cuda.cu");
        let kept = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let differs = difference(&kept, &written_for_cuda(variant));
        assert!(differs.is_none(), "{}: {}", path.display(), differs.unwrap_or_default());
    }
}

#[test]
fn the_same_recurrence_gives_the_same_bytes() {
    let text = written("rdn", Level::Portable);
    assert_eq!(difference(&text, &written("rdn", Level::Portable)), None);
    let changed = text.replacen("fma(", "fmb(", 1);
    assert!(difference(&changed, &text).is_some(), "a change of one call is seen");
}

#[test]
fn each_section_names_its_statement() {
    let text = written("rdn", Level::Avx512);
    let recurrence = golden::built_in("rdn");
    for statement in recurrence.statements.iter().filter(|s| s.name != "a" && s.name != "r") {
        let printed = rla_dsl::print::expression(&recurrence, statement.value);
        assert!(text.contains(&format!("= {printed}`.")), "no section names `{printed}`");
    }
}
