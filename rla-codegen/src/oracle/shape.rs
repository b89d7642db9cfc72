//! Shapes of a call's tensors, and the refusal of a call whose data does not fit.
use crate::data::{Cotangents, Dims, Inputs};
use rla_dsl::recurrence::{Input, InputKind, Recurrence, Side, State, Type};
use std::fmt;

/// Data that does not fit the recurrence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The argument: a tensor's name, `cu_seqlens`, or what was counted.
    pub what: String,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub found: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.what, self.expected, self.found)
    }
}

impl std::error::Error for Misfit {}

fn size(dims: &Dims, side: Side) -> usize {
    dims.sizes[side.0 as usize]
}

/// Shape of an input: `[B,T,H,K]`, `[B,T,HV,n]`, `[B,T,HV]`; of a parameter `[HV,n]`, `[HV]`.
pub fn input(input: &Input, dims: &Dims) -> Vec<usize> {
    let mut shape = match input.kind {
        InputKind::Input => vec![dims.batch, dims.tokens],
        InputKind::Param => vec![],
    };
    shape.push(if input.per_key_head() { dims.key_heads } else { dims.value_heads });
    shape.extend(input.side.map(|side| size(dims, side)));
    shape
}

/// Shape of a state over `sequences` sequences: `[N,HV,rows,cols]` or `[N,HV,n]`.
pub fn state(state: &State, dims: &Dims, sequences: usize) -> Vec<usize> {
    let mut shape = vec![sequences, dims.value_heads];
    shape.extend(state.rows.map(|side| size(dims, side)));
    shape.push(size(dims, state.cols));
    shape
}

/// Shape of output `index`: `[B,T,HV,n]` or `[B,T,HV]`.
pub fn output(recurrence: &Recurrence, index: usize, dims: &Dims) -> Vec<usize> {
    let mut shape = vec![dims.batch, dims.tokens, dims.value_heads];
    match recurrence.output_type(index) {
        Type::Scalar => {}
        Type::Column(side) | Type::Row(side) => shape.push(size(dims, side)),
        Type::Matrix(rows, cols) => shape.extend([size(dims, rows), size(dims, cols)]),
    }
    shape
}

/// Refuses inputs that do not fit the recurrence.
pub fn check(recurrence: &Recurrence, inputs: &Inputs) -> Result<(), Misfit> {
    let dims = &inputs.dims;
    count("sizes of sides", recurrence.sides.len(), dims.sizes.len())?;
    count("constants", recurrence.consts.len(), inputs.consts.len())?;
    count("inputs", recurrence.inputs.len(), inputs.tensors.len())?;
    count("initial states", recurrence.states.len(), inputs.states.len())?;
    if let Some(side) = dims.sizes.iter().position(|&n| n == 0) {
        return misfit(&recurrence.sides[side], "a size of at least 1", "0");
    }
    if dims.key_heads == 0 || dims.value_heads == 0 || !dims.value_heads.is_multiple_of(dims.key_heads) {
        let found = format!("H = {}, HV = {}", dims.key_heads, dims.value_heads);
        return misfit("heads", "HV a multiple of H, both at least 1", found);
    }
    if let Some(offsets) = &inputs.cu_seqlens {
        check_offsets(offsets, dims)?;
    }
    for (decl, tensor) in recurrence.inputs.iter().zip(&inputs.tensors) {
        elements(&decl.name, input(decl, dims), tensor)?;
    }
    for (decl, initial) in recurrence.states.iter().zip(&inputs.states) {
        if let Some(initial) = initial {
            elements(&format!("{}0", decl.name), state(decl, dims, inputs.sequence_count()), initial)?;
        }
    }
    for decl in &recurrence.states {
        holdable(&decl.name, &state(decl, dims, inputs.sequence_count()))?;
    }
    (0..recurrence.outputs.len()).try_for_each(|i| holdable(&recurrence.outputs[i], &output(recurrence, i, dims)))
}

/// Refuses cotangents that do not fit; the inputs have passed [`check`].
pub fn check_cotangents(recurrence: &Recurrence, inputs: &Inputs, cotangents: &Cotangents) -> Result<(), Misfit> {
    count("cotangents of outputs", recurrence.outputs.len(), cotangents.outputs.len())?;
    count("cotangents of states", recurrence.states.len(), cotangents.states.len())?;
    for (index, cotangent) in cotangents.outputs.iter().enumerate() {
        if let Some(cotangent) = cotangent {
            let name = format!("cot.{}", recurrence.outputs[index]);
            elements(&name, output(recurrence, index, &inputs.dims), cotangent)?;
        }
    }
    for (decl, cotangent) in recurrence.states.iter().zip(&cotangents.states) {
        if let Some(cotangent) = cotangent {
            let shape = state(decl, &inputs.dims, inputs.sequence_count());
            elements(&format!("cot.{}", decl.name), shape, cotangent)?;
        }
    }
    Ok(())
}

fn check_offsets(offsets: &[i64], dims: &Dims) -> Result<(), Misfit> {
    if dims.batch != 1 {
        return misfit("cu_seqlens", "B = 1 where sequences are packed", format!("B = {}", dims.batch));
    }
    let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
        return misfit("cu_seqlens", "at least one offset", "none");
    };
    if first != 0 || last != dims.tokens as i64 {
        return misfit("cu_seqlens", format!("offsets from 0 to T = {}", dims.tokens), format!("{first} to {last}"));
    }
    match offsets.windows(2).find(|w| w[0] > w[1]) {
        Some(w) => misfit("cu_seqlens", "offsets that never fall", format!("{} after {}", w[1], w[0])),
        None => Ok(()),
    }
}

fn count(what: &str, expected: usize, found: usize) -> Result<(), Misfit> {
    if expected == found { Ok(()) } else { misfit(what, expected.to_string(), found.to_string()) }
}

fn elements(name: &str, shape: Vec<usize>, tensor: &[f64]) -> Result<(), Misfit> {
    let expected: usize = shape.iter().product();
    if tensor.len() == expected {
        return Ok(());
    }
    misfit(name, format!("{expected} elements of shape {shape:?}"), format!("{} elements", tensor.len()))
}

/// A shape with a zero in it costs a caller nothing, yet may ask for results without end.
fn holdable(name: &str, shape: &[usize]) -> Result<(), Misfit> {
    const MOST: usize = 1 << 30;
    let size = shape.iter().try_fold(1usize, |size, &n| size.checked_mul(n));
    match size {
        Some(size) if size <= MOST => Ok(()),
        _ => misfit(name, format!("at most {MOST} elements"), format!("shape {shape:?}")),
    }
}

fn misfit<T>(what: &str, expected: impl Into<String>, found: impl Into<String>) -> Result<T, Misfit> {
    Err(Misfit { what: what.to_string(), expected: expected.into(), found: found.into() })
}
