//! CUDA kernels of built-in variants to machine code, ahead of time.
use super::{Script, recurrences, write};
use crate::compile::Cache;
use crate::compile_cuda::{Nvrtc, cubin, stem};
use crate::error::Error;
use crate::table::cuda::Row;
use crate::table::{self, Measured, Tables};
use rla_codegen::emit::cuda::Elem;
use rla_codegen::pipeline::cuda;
use rla_codegen::schedule::cuda::{Choices, Slot, beside_for};
use rla_dsl::Recurrence;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Head sizes (K, V) and architectures that machine code is shipped for, in bf16.
const SHIPPED_SIZES: [[usize; 2]; 3] = [[64, 64], [128, 128], [64, 128]];
const SHIPPED_ARCHITECTURES: [&str; 2] = ["sm_80", "sm_90a"];

/// Sequences times value heads of the calls that machine code is shipped for, and multiprocessors of the card that they are on (an H100 or
/// H200): how wide blocks of backward with finish beside it are depends on both.
const SHIPPED_HEADS: [usize; 2] = [8, 16];
const MULTIPROCESSORS: usize = 132;

/// A text to compile.
#[derive(Debug, PartialEq)]
struct Text {
    name: String,
    text: String,
    architecture: &'static str,
}

/// The texts that are shipped, by the stem of their machine code's file: for every architecture and all sizes the default
/// configuration, and beside it what rows of searches choose in its place on some card. A row that is measured with another
/// compiler chooses nothing, here as at run time.
fn texts(recurrences: Vec<Recurrence>, rows: &[Row]) -> Result<BTreeMap<String, Text>, Error> {
    let mut texts = BTreeMap::new();
    let mut add = |name: String, text: String, architecture: &'static str| {
        texts.insert(stem(&name, &text, architecture), Text { name, text, architecture });
    };
    for (architecture, elem) in SHIPPED_ARCHITECTURES.into_iter().flat_map(|a| [(a, Elem::F32), (a, Elem::Bf16)]) {
        let (name, text, _) = cuda::sums(elem);
        add(name, text, architecture);
    }
    for recurrence in recurrences {
        let recurrence = Arc::new(recurrence);
        let refuse = |reason: String| Error::Compile(format!("{}: {reason}", recurrence.name));
        let source = cuda::Source::new(&recurrence).map_err(|e| refuse(e.reason))?;
        let identity = table::identity(&recurrence);
        for (architecture, sizes) in SHIPPED_ARCHITECTURES.into_iter().flat_map(|a| SHIPPED_SIZES.map(|s| (a, s))) {
            let (shared, usual) = (cuda::shared_of(architecture), cuda::Key::usual(&recurrence, &sizes, Elem::Bf16));
            for slot in Slot::ALL {
                let choices = Choices { chunk: source.chunk(slot, Elem::Bf16, &sizes), ..usual.choices };
                let usual = cuda::Key { choices, ..usual.clone() };
                let of = |row: &&Row| {
                    let Measured { identity: of, pass, dtype, sizes: found, .. } = &row.measured;
                    (of, pass.as_str(), dtype.as_str(), found.as_slice())
                        == (&identity, slot.name(), "bf16", &sizes[..])
                        && row.architecture == architecture
                };
                let tuned = rows.iter().filter(of).filter_map(|row| {
                    let key = cuda::Key { choices: row.choices, ..usual.clone() };
                    let written = source.predict(slot, &key, shared);
                    written.is_ok_and(|(text, _)| text == row.measured.text).then_some(key)
                });
                // where finish starts beside backward's sequential kernel, which older cards do not do
                let overlaps = slot == Slot::Training && architecture != "sm_80";
                let beside = SHIPPED_HEADS.iter().filter(|_| overlaps).map(|heads| {
                    let beside = beside_for(*heads, source.channels(&sizes), MULTIPROCESSORS);
                    cuda::Key { choices: Choices { beside, ..usual.choices }, ..usual.clone() }
                });
                for key in std::iter::once(usual.clone()).chain(beside).chain(tuned) {
                    for pass in cuda::passes(slot) {
                        let kernels = source.text(*pass, &key, shared).map_err(|e| refuse(e.to_string()))?;
                        kernels.kernels.into_iter().for_each(|k| add(k.name, k.source, architecture));
                    }
                }
            }
        }
    }
    Ok(texts)
}

/// Compiles the models' kernels and writes `OUT_DIR/cubins.rs`.
pub(super) fn builtin_cubins(names: &[&str]) -> Result<(), Error> {
    let script = Script::new()?;
    let nvrtc = Nvrtc::get()?;
    for name in ["RLA_NVRTC", "CUDA_HOME", "CUDA_PATH"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let jobs = texts(recurrences(names)?, &Tables::all_cuda()?)?;
    let cache = Cache::at(script.out.join("cubins"));
    let jobs: Vec<_> = jobs.into_iter().collect();
    let workers = std::env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1usize).max(1);
    let next = AtomicUsize::new(0);
    let compile = || -> Result<(), Error> {
        while let Some((_, Text { name, text, architecture })) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::cuda::Proof;
    use crate::table::measured::Search;
    use crate::tune::time::Comparison;
    use rla_codegen::schedule::cuda::Choices;
    use std::collections::BTreeSet;

    /// A row of a search, and the names and texts of its kernels.
    fn row(architecture: &str, slot: Slot, choices: Choices, dtype: &str) -> (Row, BTreeSet<(String, String)>) {
        let recurrence = Arc::new(recurrences(&["rdn"]).expect("a built-in").remove(0));
        let source = cuda::Source::new(&recurrence).unwrap_or_else(|e| panic!("{}", e.reason));
        let key = cuda::Key { choices, ..cuda::Key::usual(&recurrence, &[64, 64], Elem::Bf16) };
        let shared = cuda::shared_of(architecture);
        let (text, _) = source.predict(slot, &key, shared).expect("legal");
        let measured = Measured::from(Search {
            mode: crate::table::Mode::Invariant,
            work: crate::table::Work::new(1, 1, 64),
            recurrence: &recurrence,
            pass: slot.name(),
            dtype,
            sizes: &[64, 64],
            comparison: Comparison { ratio: 0.9, spread: 0.01, seconds: 9e-4, other: 1e-3 },
            seconds: 1.0,
            candidates: 9,
            compiler: "here",
            text: &text,
        });
        let evidence = Proof { cases: 4, repeats: 2, worst: 0.5, verified: true };
        let row =
            Row { measured, architecture: architecture.into(), timed: [1, 64, 1, 1], of_copy: 0.2, choices, evidence };
        let passes = cuda::passes(slot).iter();
        let kernels = passes.flat_map(|pass| source.text(*pass, &key, shared).expect("legal").kernels);
        (row, kernels.map(|k| (k.name, k.source)).collect())
    }

    fn listed(rows: &[Row]) -> BTreeMap<String, Text> {
        texts(recurrences(&["rdn"]).expect("a built-in"), rows).expect("texts")
    }

    #[test]
    fn a_row_adds_the_texts_that_it_chooses_and_takes_none_away() {
        let plain = listed(&[]);
        for (slot, choices) in [
            (Slot::Training, Choices { chunk: 16, ..Choices::default() }),
            (Slot::Decode, Choices { lanes: 8, rows: 4, warps: 1, ..Choices::default() }),
        ] {
            let (row, own) = row("sm_90a", slot, choices, "bf16");
            let with = listed(&[row]);
            assert!(plain.keys().all(|stem| with.contains_key(stem)), "{}", slot.name());
            let added = with.iter().filter(|(stem, _)| !plain.contains_key(*stem)).map(|(_, text)| text);
            let added: Vec<_> = added.collect();
            assert!(!added.is_empty() && added.iter().all(|text| text.architecture == "sm_90a"));
            let added: BTreeSet<_> = added.iter().map(|text| (text.name.clone(), text.text.clone())).collect();
            assert!(added.is_subset(&own), "{}", slot.name());
            let all: BTreeSet<_> = with.values().map(|text| (text.name.clone(), text.text.clone())).collect();
            assert!(own.is_subset(&all), "{}", slot.name());
        }
    }

    /// Backward of eight heads and of sixteen have blocks of other widths where finish runs beside them.
    #[test]
    fn what_calls_of_few_heads_have_is_listed() {
        let recurrence = Arc::new(recurrences(&["rdn"]).expect("a built-in").remove(0));
        let source = cuda::Source::new(&recurrence).unwrap_or_else(|e| panic!("{}", e.reason));
        let all: BTreeSet<_> = listed(&[]).into_values().map(|text| (text.name, text.text)).collect();
        let widths = SHIPPED_HEADS.map(|heads| {
            let beside = beside_for(heads, source.channels(&[128, 128]), MULTIPROCESSORS);
            let usual = cuda::Key::usual(&recurrence, &[128, 128], Elem::Bf16);
            let chunk = source.chunk(Slot::Training, Elem::Bf16, &[128, 128]);
            let key = cuda::Key { choices: Choices { chunk, beside, ..usual.choices }, ..usual };
            for pass in cuda::passes(Slot::Training) {
                let kernels = source.text(*pass, &key, cuda::shared_of("sm_90a")).expect("legal").kernels;
                assert!(kernels.into_iter().all(|k| all.contains(&(k.name, k.source))), "{heads} heads");
            }
            beside
        });
        assert!(widths[0] != widths[1] && !widths.contains(&0), "{widths:?}");
    }

    #[test]
    fn a_row_that_chooses_nothing_adds_nothing() {
        let plain = listed(&[]);
        let other = Choices { chunk: 16, ..Choices::default() };
        let (same, _) = row("sm_90a", Slot::Training, Choices::default(), "bf16");
        let (dtype, _) = row("sm_90a", Slot::Training, other, "f16");
        let (mut stale, _) = row("sm_90a", Slot::Training, other, "bf16");
        stale.measured.text = "0".repeat(32);
        let (mut variant, _) = row("sm_80", Slot::Training, other, "bf16");
        variant.measured.identity = "0".repeat(32);
        let (mut card, _) = row("sm_80", Slot::Training, other, "bf16");
        card.architecture = "sm_86".into();
        assert_eq!(listed(&[same, dtype, stale, variant, card]), plain);
    }
}
