//! The tile programs in f64 against the oracle and the golden cases: every built-in variant, several chunk lengths.

use std::path::PathBuf;

use rla_codegen::interpret::Interpreter;
use rla_codegen::oracle;
use rla_codegen::pipeline::{Programs, chunk_programs, token_programs};
use rla_dsl::Recurrence;
use rla_runtime::case::Case;

fn golden_files() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")];
    folders.extend(std::env::var_os("RLA_GOLDEN").map(PathBuf::from));
    let mut files: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).expect("the folder of golden cases"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    files.sort_by_key(|p| p.file_name().map(ToOwned::to_owned));
    files.dedup_by_key(|p| p.file_name().map(ToOwned::to_owned));
    files
}

fn builtin(name: &str) -> Recurrence {
    let text = rla_dsl::builtin::builtin(name).unwrap_or_else(|| panic!("no built-in variant {name}"));
    let parsed = rla_dsl::parse(text).unwrap_or_else(|d| panic!("{}", d.render(name, text)));
    parsed.variants.into_iter().next().expect("one variant")
}

/// Relative L2 error; NaN where either is not finite.
fn error(x: &[f64], reference: &[f64]) -> f64 {
    assert_eq!(x.len(), reference.len());
    let difference: f64 = x.iter().zip(reference).map(|(a, b)| (a - b) * (a - b)).sum();
    let norm: f64 = reference.iter().map(|b| b * b).sum();
    if difference == 0.0 { 0.0 } else { (difference / norm.max(1e-12)).sqrt() }
}

/// Runs forward and backward in the tile interpreter; the worst error against the oracle.
fn worst(recurrence: &Recurrence, programs: &Programs, case: &Case, chunk: usize, fill: bool) -> (f64, String) {
    let run = Interpreter {
        recurrence,
        forward: &programs.forward_save,
        backward: &programs.backward,
        chunk,
        fill,
    };
    let reference = oracle::forward(recurrence, &case.inputs).expect("the case fits");
    let slopes = oracle::gradient::gradient(recurrence, &case.inputs, &case.cotangents).expect("the case fits");
    let (outputs, kept) = run.forward(&case.inputs);
    let gradients = run.backward(&case.inputs, &case.cotangents, &kept);
    let mut worst = (0.0, String::new());
    let mut see = |name: String, x: &[f64], r: &[f64]| {
        let e = error(x, r);
        if !(e <= worst.0) {
            worst = (e, name);
        }
    };
    for (i, name) in recurrence.outputs.iter().enumerate() {
        see(format!("out.{name}"), &outputs.outputs[i], &reference.outputs[i]);
    }
    for (i, state) in recurrence.states.iter().enumerate() {
        see(format!("out.{}", state.name), &outputs.states[i], &reference.states[i]);
        see(format!("grad.{}0", state.name), &gradients.states[i], &slopes.1.states[i]);
    }
    for (i, input) in recurrence.inputs.iter().enumerate() {
        see(format!("grad.{}", input.name), &gradients.inputs[i], &slopes.1.inputs[i]);
    }
    worst
}

#[test]
fn golden_cases_in_chunks() {
    let mut ran = 0;
    let mut bad = Vec::new();
    for path in golden_files() {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let recurrence = builtin(file.split('.').next().unwrap());
        let case = Case::read(&path, &recurrence, &[]).unwrap_or_else(|e| panic!("{file}: {e}"));
        let (_, programs) = chunk_programs(&recurrence).unwrap_or_else(|o| panic!("{file}: {o:?}"));
        for (chunk, fill) in [(1, false), (7, true), (16, true), (64, false)] {
            let (error, what) = worst(&recurrence, &programs, &case, chunk, fill);
            if !(error <= 1e-11) {
                bad.push(format!("{file} chunk {chunk} fill {fill}: {what} {error:.1e}"));
            }
            ran += 1;
        }
        let (error, what) = worst(&recurrence, &token_programs(&recurrence), &case, 1, false);
        if !(error <= 1e-11) {
            bad.push(format!("{file} token: {what} {error:.1e}"));
        }
    }
    println!("tile: {ran} runs");
    assert!(ran > 0);
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}
