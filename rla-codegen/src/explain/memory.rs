//! What forward keeps for backward: the formula, and the bytes that a GPU's kernels take.

use std::collections::BTreeMap;
use std::sync::Arc;

use rla_dsl::recurrence::Recurrence;

use crate::emit::cuda::{Elem, Pass};
use crate::pipeline::cuda::{Key, Source, shared_of};
use crate::schedule::cuda::Choices;
use crate::tile::{Axis, Program};

/// Of a token and value head.
pub struct Kept {
    /// Which kernels.
    pub of: String,
    /// Terms by what they are of: `2 x 2 key value / 32`.
    pub formula: String,
    /// Bytes, with what kernels fill up.
    pub bytes: f64,
}

/// Of the kernels of a GPU in bf16, as they are dispatched and where states are kept for every other chunk; sizes of sides.
pub fn on_a_gpu(recurrence: &Recurrence, sizes: &[usize]) -> Vec<Kept> {
    let Ok(source) = Source::new(&Arc::new(recurrence.clone())) else { return vec![] };
    let usual = Key::usual(recurrence, sizes, Elem::Bf16);
    let of = |span: usize| {
        let choices = Choices { span, ..Choices::default() };
        let kernels = source.text(Pass::ForwardSave, &Key { choices, ..usual.clone() }, shared_of("sm_90a")).ok()?;
        let tokens = choices.chunk * kernels.span;
        let mut formula = formula(source.forward_that_keeps(), recurrence, (2, 2), tokens);
        if kernels.prepared > 0 {
            formula += &format!(" + {} of backward's record", kernels.prepared / choices.chunk);
        }
        let bytes = kernels.kept.chunk as f64 / choices.chunk as f64 + kernels.kept.span as f64 / tokens as f64;
        let of = match span {
            1 => "GPU, bf16".to_string(),
            _ => "GPU, bf16, training.span=2".to_string(),
        };
        (kernels.span == span).then_some(Kept { of, formula, bytes })
    };
    [1, 2].into_iter().filter_map(of).collect()
}

/// A program's states, in elements of so many bytes, at every so many tokens, and what it saves of each token, in elements of so many.
pub fn formula(
    keeping: &Program,
    recurrence: &Recurrence,
    (of_state, of_row): (usize, usize),
    tokens: usize,
) -> String {
    let name = |axis: Axis| match axis {
        Axis::Side(side) => recurrence.sides[side as usize].clone(),
        _ => String::new(),
    };
    // what is equal together, in order
    let mut terms: BTreeMap<(usize, String), usize> = BTreeMap::new();
    for state in &keeping.states {
        let sides = [name(state.free), name(state.contracted)].into_iter().filter(|s| !s.is_empty());
        let product = sides.collect::<Vec<_>>().join(" ");
        let width = if product.contains(' ') { of_state } else { 4 };
        *terms.entry((0, format!("{width} {product} / {tokens}"))).or_default() += 1;
    }
    for shape in &keeping.saved {
        let text = match (shape.rows, shape.cols) {
            (Axis::Token, Axis::Token) => format!("4 {tokens}"),
            (Axis::Token, Axis::Side(_)) => format!("{of_row} {}", name(shape.cols)),
            (Axis::Token, Axis::One) => "4".into(),
            (rows, cols) => format!("4 {} {} / {tokens}", name(rows), name(cols)),
        };
        *terms.entry((1, text.split_whitespace().collect::<Vec<_>>().join(" "))).or_default() += 1;
    }
    let written = terms.into_iter().map(|((_, term), count)| match count {
        1 => term,
        n => format!("{n} x {term}"),
    });
    written.collect::<Vec<_>>().join(" + ")
}
