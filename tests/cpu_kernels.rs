//! Generated CPU kernels, called directly on every level of this machine, against the golden cases.

use rayon::prelude::*;
use rla_runtime::case::Case;
use rla_runtime::judge::Bounds;
use rla_tests::kernel::{Kernels, levels};
use rla_tests::{compare, golden};

/// Cases of the built-in variants, by variant.
fn cases() -> Vec<(String, Vec<golden::Golden>)> {
    let only = std::env::var("RLA_ONLY").ok();
    let mut out: Vec<(String, Vec<golden::Golden>)> = vec![];
    for file in golden::files() {
        let case = golden::read(&file);
        let name = case.recurrence.name.clone();
        if only.as_ref().is_some_and(|o| !o.split(',').any(|o| o == name)) {
            continue;
        }
        match out.last_mut().filter(|(n, _)| *n == name) {
            Some((_, cases)) => cases.push(case),
            None => out.push((name, vec![case])),
        }
    }
    out
}

/// What differs from the cases of one variant.
fn failures(cases: &[golden::Golden]) -> String {
    let recurrence = &cases[0].recurrence;
    let kernels = Kernels::of_program(recurrence);
    let mut failed = String::new();
    for golden in cases {
        let Case { inputs, cotangents, results } = &golden.case;
        for level in levels() {
            for value_major in [true, false] {
                let got = kernels.run(level, inputs, Some(cotangents), value_major);
                let rows = compare::failures(recurrence, inputs, cotangents, &got, results, &Bounds::F32);
                if !rows.is_empty() {
                    failed += &format!("\n{} on {}{rows}", golden.name, level.name());
                }
            }
        }
    }
    failed
}

#[test]
fn kernels_agree_with_the_golden_cases() {
    let failed: String = cases().par_iter().map(|(_, cases)| failures(cases)).collect();
    assert!(failed.is_empty(), "{failed}");
}
