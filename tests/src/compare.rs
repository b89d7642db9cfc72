//! Results side by side, with the bounds of a rung.
use rla_codegen::data::{Cotangents, Inputs};
use rla_dsl::recurrence::Recurrence;
use rla_runtime::case::Results;
use rla_runtime::judge::{self, Bounds, Row};
use std::fmt::Write;

/// Rows that do not pass, as text; empty if all do. Panics where nothing was compared: such a check could not fail.
pub fn failures(
    recurrence: &Recurrence,
    inputs: &Inputs,
    cotangents: &Cotangents,
    got: &Results,
    reference: &Results,
    bounds: &Bounds,
) -> String {
    let mut none = || vec![];
    let rows = judge::compare(recurrence, inputs, cotangents, got, reference, bounds, &mut none);
    assert!(!rows.is_empty(), "{}: nothing to compare", recurrence.name);
    let mut text = String::new();
    for Row { name, verdict } in rows.iter().filter(|row| !row.verdict.passed) {
        let (error, slice, bound) = (verdict.error, verdict.slice_error, verdict.bound);
        write!(text, "\n  {name}: error {error:.2e}, in a slice {slice:.2e}, bound {bound:.1e}").expect("text");
        if let Some(slice) = &verdict.failed_slice {
            write!(text, " (sequence {}, head {}, tokens {:?})", slice.sequence, slice.head, slice.rows).expect("text");
        }
    }
    text
}
