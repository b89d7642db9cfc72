//! How a result is judged against a reference.
//!
//! A tensor passes when `|x - ref| <= max(bound max(|ref|, floor), 4 D)` in the L2 norm holds for the whole of it and, with
//! four times the bound, for every slice of one sequence, one head and 16 consecutive tokens; so a NaN fails. Here |ref| of a
//! slice is not taken below the tensor's root mean square over that slice; `floor = 0.01 sqrt(n) rms`, n the number of
//! elements judged, rms that of the quantities the result is made of ([`rms_of_values`], [`rms_of_cotangents`]); D is how far
//! the reference itself moves when its inputs are rounded otherwise, asked for only where the first term fails.
mod bounds;

pub use bounds::Bounds;

use rla_codegen::data::{Cotangents, Inputs};
use rla_dsl::recurrence::{InputKind, Recurrence, Side, Type};
use std::ops::Range;

/// Consecutive tokens of one slice.
const SLICE: usize = 16;

/// How a tensor falls into slices. `width` elements belong to one row and head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[B * T, heads, width]`, with each sequence's tokens.
    Tokens {
        /// Positions of each sequence.
        sequences: Vec<Range<usize>>,
        /// Heads.
        heads: usize,
        /// Elements of one token and head.
        width: usize,
    },
    /// `[rows, heads, width]`: states, with a row a sequence; parameters, with one row.
    Rows {
        /// Sequences.
        rows: usize,
        /// Heads.
        heads: usize,
        /// Elements of one row and head.
        width: usize,
    },
}

/// Where in a tensor a slice lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The sequence, or the state's row.
    pub sequence: usize,
    /// The head.
    pub head: usize,
    /// Rows of the tensor: tokens, or the one row.
    pub rows: Range<usize>,
}

impl Layout {
    /// The slices, sequence by sequence, head by head.
    pub fn slices(&self) -> impl Iterator<Item = Slice> + '_ {
        let (sequences, heads) = match self {
            Layout::Tokens { sequences, heads, .. } => (sequences.clone(), *heads),
            Layout::Rows { rows, heads, .. } => ((0..*rows).map(|row| row..row + 1).collect(), *heads),
        };
        sequences.into_iter().enumerate().flat_map(move |(sequence, tokens)| {
            let starts = tokens.clone().step_by(SLICE);
            let rows: Vec<_> = starts.map(|start| start..tokens.end.min(start + SLICE)).collect();
            (0..heads).flat_map(move |head| rows.clone().into_iter().map(move |rows| Slice { sequence, head, rows }))
        })
    }

    fn places(&self, slice: &Slice) -> impl Iterator<Item = Range<usize>> + use<> {
        let (Layout::Tokens { heads, width, .. } | Layout::Rows { heads, width, .. }) = *self;
        let head = slice.head;
        slice.rows.clone().map(move |row| {
            let at = (row * heads + head) * width;
            at..at + width
        })
    }
}

/// The outcome for one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// `|x - ref| / max(|ref|, floor)` of the whole tensor; 0 where both are 0.
    pub error: f64,
    /// The worst slice's error over its bound times the bound, to be compared with `bound`; 0 without slices.
    pub slice_error: f64,
    /// The bound on [`Verdict::error`].
    pub bound: f64,
    /// D of the whole tensor, where it was asked for.
    pub movement: Option<f64>,
    /// Whether everything holds.
    pub passed: bool,
    /// The first slice that failed.
    pub failed_slice: Option<Slice>,
}

impl Verdict {
    /// Of a tensor that is not there, or has another size.
    pub fn missing(bound: f64) -> Verdict {
        Verdict { error: f64::NAN, slice_error: f64::NAN, bound, movement: None, passed: false, failed_slice: None }
    }
}

/// Judges `x` against `reference`. `movements` gives the changes of the reference under perturbed inputs (tensors of the same
/// size); it is called once at most, and only where the bound alone fails.
pub fn judge(
    x: &[f64],
    reference: &[f64],
    layout: &Layout,
    bound: f64,
    rms: f64,
    movements: &mut dyn FnMut() -> Vec<Vec<f64>>,
) -> Verdict {
    if x.len() != reference.len() {
        return Verdict::missing(bound);
    }
    let floor = |n: usize| 0.01 * (n as f64).sqrt() * rms;
    let mut moved: Option<Vec<Vec<f64>>> = None;
    let mut movement = |norm: &dyn Fn(&[f64]) -> f64| {
        let moved = moved.get_or_insert_with(&mut *movements);
        moved.iter().map(|m| norm(m)).fold(0.0, f64::max)
    };
    let whole = everything(reference);
    let difference = distance(x, reference, &whole);
    let size = norm(reference, &whole);
    let scale = size.max(floor(reference.len()));
    let mut verdict = Verdict {
        error: ratio(difference, scale),
        slice_error: 0.0,
        bound,
        movement: None,
        passed: difference <= bound * scale,
        failed_slice: None,
    };
    if !verdict.passed && !difference.is_nan() {
        let d = movement(&|m| norm(m, &whole));
        verdict.movement = Some(d);
        verdict.passed = difference <= 4.0 * d;
    }
    let mean_square = if reference.is_empty() { 0.0 } else { size / (reference.len() as f64).sqrt() };
    for slice in layout.slices() {
        let places: Vec<Range<usize>> = layout.places(&slice).collect();
        let n: usize = places.iter().map(ExactSizeIterator::len).sum();
        let scale = norm(reference, &places).max(mean_square * (n as f64).sqrt()).max(floor(n));
        let difference = distance(x, reference, &places);
        let error = ratio(difference, 4.0 * scale);
        if error.is_nan() || error > verdict.slice_error {
            verdict.slice_error = error;
        }
        let mut passed = difference <= 4.0 * bound * scale;
        if !passed && !difference.is_nan() {
            let d = movement(&|m| norm(m, &places));
            verdict.movement.get_or_insert(d);
            passed = difference <= 4.0 * d;
        }
        if !passed && verdict.failed_slice.is_none() {
            verdict.failed_slice = Some(slice);
        }
    }
    verdict.passed &= verdict.failed_slice.is_none();
    verdict
}

/// Root mean square of all value inputs and initial states; of all inputs where there are none. The floor of outputs and states.
pub fn rms_of_values(recurrence: &Recurrence, inputs: &Inputs) -> f64 {
    let values = recurrence.inputs.iter().zip(&inputs.tensors);
    let values = values.filter(|(decl, _)| decl.side == Some(Side::VALUE) && !decl.gate).map(|(_, tensor)| tensor);
    let mut tensors: Vec<&Vec<f64>> = values.chain(inputs.states.iter().flatten()).collect();
    if tensors.is_empty() {
        tensors = inputs.tensors.iter().collect();
    }
    rms(tensors)
}

/// Root mean square of all cotangents. The floor of gradients.
pub fn rms_of_cotangents(cotangents: &Cotangents) -> f64 {
    rms(cotangents.outputs.iter().chain(&cotangents.states).flatten().collect())
}

/// Of the finite elements: a gate of -inf may stand among them.
fn rms(tensors: Vec<&Vec<f64>>) -> f64 {
    let (mut sum, mut count) = (0.0, 0usize);
    for x in tensors.into_iter().flatten().filter(|x| x.is_finite()) {
        sum += x * x;
        count += 1;
    }
    if count == 0 { 0.0 } else { (sum / count as f64).sqrt() }
}

/// A tensor of the results: its name, its slices, its bound and the floor's root mean square.
#[derive(Clone, Debug)]
pub struct Judged {
    /// `out.o`, `grad.q` ...
    pub name: String,
    /// Its slices.
    pub layout: Layout,
    /// The bound on its relative error.
    pub bound: f64,
    /// Root mean square of what it is made of.
    pub rms: f64,
}

/// The tensors of a result: outputs, final states, and with cotangents the gradients of inputs and of initial states.
pub fn judged(
    recurrence: &Recurrence,
    inputs: &Inputs,
    cotangents: Option<&Cotangents>,
    bounds: &Bounds,
) -> Vec<Judged> {
    let dims = &inputs.dims;
    let values = rms_of_values(recurrence, inputs);
    let size = |side: rla_dsl::recurrence::Side| dims.sizes[side.0 as usize];
    let tokens = |heads: usize, width: usize| Layout::Tokens { sequences: inputs.sequences(), heads, width };
    let state = |decl: &rla_dsl::recurrence::State| {
        let width = decl.rows.map_or(1, size) * size(decl.cols);
        Layout::Rows { rows: inputs.sequence_count(), heads: dims.value_heads, width }
    };
    let mut list = vec![];
    for (i, name) in recurrence.outputs.iter().enumerate() {
        let width = match recurrence.output_type(i) {
            Type::Column(side) | Type::Row(side) => size(side),
            _ => 1,
        };
        let layout = tokens(dims.value_heads, width);
        list.push(Judged { name: format!("out.{name}"), layout, bound: bounds.outputs, rms: values });
    }
    for decl in &recurrence.states {
        let name = format!("out.{}", decl.name);
        list.push(Judged { name, layout: state(decl), bound: bounds.states, rms: values });
    }
    if let Some(cotangents) = cotangents {
        let cotangents = rms_of_cotangents(cotangents);
        for decl in &recurrence.inputs {
            let heads = if decl.per_key_head() { dims.key_heads } else { dims.value_heads };
            let width = decl.side.map_or(1, size);
            let layout = match decl.kind {
                InputKind::Input => tokens(heads, width),
                InputKind::Param => Layout::Rows { rows: 1, heads, width },
            };
            let name = format!("grad.{}", decl.name);
            list.push(Judged { name, layout, bound: bounds.of_gradient(decl), rms: cotangents });
        }
        for decl in &recurrence.states {
            let name = format!("grad.{}0", decl.name);
            list.push(Judged { name, layout: state(decl), bound: bounds.gradients, rms: cotangents });
        }
    }
    list
}

fn everything(x: &[f64]) -> Vec<Range<usize>> {
    std::iter::once(0..x.len()).collect()
}

fn norm(x: &[f64], places: &[Range<usize>]) -> f64 {
    places.iter().flat_map(|place| &x[place.clone()]).map(|x| x * x).sum::<f64>().sqrt()
}

/// `|x - reference|` over the places; equal elements count 0, infinite ones too.
fn distance(x: &[f64], reference: &[f64], places: &[Range<usize>]) -> f64 {
    let pairs = places.iter().flat_map(|place| x[place.clone()].iter().zip(&reference[place.clone()]));
    pairs.map(|(x, r)| if x == r { 0.0 } else { (x - r) * (x - r) }).sum::<f64>().sqrt()
}

fn ratio(difference: f64, scale: f64) -> f64 {
    if difference == 0.0 { 0.0 } else { difference / scale }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 3;
    const TOKENS: usize = 420;

    fn layout() -> Layout {
        Layout::Tokens { sequences: vec![0..20, 20..20, 20..TOKENS], heads: 2, width: WIDTH }
    }

    fn reference() -> Vec<f64> {
        (0..TOKENS * 2 * WIDTH).map(|i| (i as f64 * 0.7).sin()).collect()
    }

    fn judged(x: &[f64], bound: f64, rms: f64) -> Verdict {
        judge(x, &reference(), &layout(), bound, rms, &mut || vec![vec![0.0; x.len()]])
    }

    #[test]
    fn slices_cover_every_element_once() {
        let mut seen = vec![0; reference().len()];
        for slice in layout().slices() {
            assert!(slice.rows.len() <= SLICE);
            layout().places(&slice).flatten().for_each(|i| seen[i] += 1);
        }
        assert!(seen.iter().all(|&n| n == 1));
    }

    #[test]
    fn the_same_passes_and_a_perturbed_result_does_not() {
        let mut x = reference();
        assert!(judged(&x, 1e-12, 1.0).passed);
        x.iter_mut().for_each(|x| *x *= 1.0 + 1e-6);
        assert!(judged(&x, 2e-6, 1.0).passed);
        assert!(!judged(&x, 0.9e-6, 1.0).passed);
    }

    #[test]
    fn a_nan_fails_and_so_does_a_missing_element() {
        let mut x = reference();
        x[17] = f64::NAN;
        let verdict = judge(&x, &reference(), &layout(), 1.0, 1.0, &mut || panic!("D cannot save a NaN"));
        assert!(!verdict.passed && verdict.error.is_nan());
        x.pop();
        assert!(!judged(&x, 1.0, 1.0).passed);
    }

    #[test]
    fn an_error_in_one_slice_is_found_where_the_whole_passes() {
        let mut x = reference();
        let size = norm(&x, &everything(&x));
        // token 37, head 1: the second slice of the third sequence
        x[(37 * 2 + 1) * WIDTH] += 0.9e-3 * size;
        let verdict = judged(&x, 1e-3, 1e-9);
        assert!(verdict.error < 1e-3 && !verdict.passed);
        assert_eq!(verdict.failed_slice, Some(Slice { sequence: 2, head: 1, rows: 36..52 }));
    }

    #[test]
    fn movement_of_the_reference_excuses_what_it_explains() {
        let mut x = reference();
        x.iter_mut().for_each(|x| *x += 3e-4);
        let moved = vec![1e-4; x.len()];
        let verdict = judge(&x, &reference(), &layout(), 1e-6, 1.0, &mut || vec![moved.clone()]);
        assert!(verdict.passed && verdict.movement.is_some());
        let less = vec![0.7e-4; x.len()];
        assert!(!judge(&x, &reference(), &layout(), 1e-6, 1.0, &mut || vec![less.clone()]).passed);
    }

    #[test]
    fn a_result_near_zero_is_measured_by_the_floor() {
        let zero = vec![0.0; 6];
        let x = vec![1e-8; 6];
        let layout = Layout::Rows { rows: 1, heads: 2, width: 3 };
        let none = &mut || vec![vec![0.0; 6]];
        assert!(judge(&x, &zero, &layout, 2e-6, 1.0, none).passed);
        assert!(!judge(&x, &zero, &layout, 2e-6, 0.1, none).passed);
        assert!(judge(&[], &[], &layout_of_nothing(), 1e-12, 1.0, none).passed);
    }

    fn layout_of_nothing() -> Layout {
        Layout::Tokens { sequences: vec![0..0, 0..0], heads: 2, width: 3 }
    }
}
