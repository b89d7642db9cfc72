//! Every refusal: which argument, what was expected, what was found.
//!
//! Nothing past these checks can fail for a reason of shapes, types, strides or offsets; the unsafe launch relies on it.
use crate::error::{Error, Result};
use crate::problem::{Problem, StateLayout};
use crate::tensor::{DType, Layout, View, ViewMut};
use rla_dsl::recurrence::Recurrence;
use std::collections::HashMap;

/// Largest K and V that a kernel holds.
pub const MAX_SIZE: usize = 256;
/// Largest declared dim that a kernel holds.
pub const MAX_DIM: usize = 1024;
/// Most tokens of one sequence in a decode call.
pub const MAX_DECODE_TOKENS: usize = 8;

/// What runs the call, as far as arguments are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Kernels: f32, bf16 or f16; limited sizes; states f32.
    Kernel,
    /// Interpreters: f64 too, any size.
    Interpreter,
}

impl Rules {
    fn element(self, dtype: DType) -> bool {
        matches!(dtype, DType::F32 | DType::Bf16 | DType::F16) || (self == Rules::Interpreter && dtype == DType::F64)
    }

    fn state(self, dtype: DType) -> bool {
        dtype == DType::F32 || (self == Rules::Interpreter && dtype == DType::F64)
    }

    fn elements(self) -> &'static str {
        match self {
            Rules::Kernel => "f32, bf16 or f16",
            Rules::Interpreter => "f32, bf16, f16 or f64",
        }
    }

    fn states(self) -> &'static str {
        match self {
            Rules::Kernel => "f32",
            Rules::Interpreter => "f32 or f64",
        }
    }
}

/// Sizes, heads and offsets.
pub fn problem(recurrence: &Recurrence, problem: &Problem, rules: Rules) -> Result<()> {
    if problem.sizes.len() != recurrence.sides.len() {
        let expected = format!("one size for each of {}", recurrence.sides.join(", "));
        return Err(Error::argument("sizes", expected, format!("{:?}", problem.sizes)));
    }
    for (index, (&size, side)) in problem.sizes.iter().zip(&recurrence.sides).enumerate() {
        let limit = match rules {
            Rules::Kernel if index < 2 => MAX_SIZE,
            Rules::Kernel => MAX_DIM,
            Rules::Interpreter => isize::MAX as usize,
        };
        if size == 0 || size > limit {
            let expected = match rules {
                Rules::Kernel => format!("a size from 1 to {limit}"),
                Rules::Interpreter => "a size of at least 1".to_string(),
            };
            return Err(Error::argument(side, expected, size.to_string()));
        }
    }
    let (heads, value_heads) = (problem.key_heads, problem.value_heads);
    if heads == 0 || value_heads == 0 || !value_heads.is_multiple_of(heads) {
        let found = format!("H = {heads}, HV = {value_heads}");
        return Err(Error::argument("HV", "a positive multiple of a positive H", found));
    }
    if let Some(offsets) = &problem.cu_seqlens {
        cu_seqlens(offsets, problem)?;
    }
    Ok(())
}

fn cu_seqlens(offsets: &[i64], problem: &Problem) -> Result<()> {
    let refuse = |expected: String, found: String| Err(Error::argument("cu_seqlens", expected, found));
    if problem.batch != 1 {
        return refuse("B = 1 where sequences are packed".into(), format!("B = {}", problem.batch));
    }
    let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else {
        return refuse("N + 1 offsets".into(), "none".into());
    };
    if first != 0 {
        return refuse("a first offset of 0".into(), first.to_string());
    }
    if let Some(at) = offsets.windows(2).position(|w| w[0] > w[1]) {
        let found = format!("{} after {} at index {}", offsets[at + 1], offsets[at], at + 1);
        return refuse("offsets that never fall".into(), found);
    }
    if last as usize != problem.tokens {
        return refuse(format!("a last offset of T = {}", problem.tokens), last.to_string());
    }
    Ok(())
}

fn shape(name: &str, expected: &[usize], found: &[usize]) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::argument(name, format!("shape {expected:?}"), format!("{found:?}")))
}

fn dtype(name: &str, accepted: bool, expected: &str, found: DType) -> Result<()> {
    if accepted { Ok(()) } else { Err(Error::argument(name, expected, found.name())) }
}

fn count(name: &str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::argument(name, format!("{expected} tensors"), found.to_string()))
}

/// A list with an entry for each of `expected`, or an empty one for none at all.
fn optional_count(name: &str, expected: usize, found: usize) -> Result<()> {
    if found == 0 { Ok(()) } else { count(name, expected, found) }
}

/// Inputs and parameters.
pub fn inputs(recurrence: &Recurrence, problem: &Problem, inputs: &[View], rules: Rules) -> Result<()> {
    count("inputs", recurrence.inputs.len(), inputs.len())?;
    for (index, (decl, view)) in recurrence.inputs.iter().zip(inputs).enumerate() {
        shape(&decl.name, &problem.input_shape(recurrence, index), view.shape())?;
        dtype(&decl.name, rules.element(view.dtype()), rules.elements(), view.dtype())?;
    }
    Ok(())
}

/// Constants of the recurrence, one value each.
pub fn constants(recurrence: &Recurrence, values: &[f64]) -> Result<()> {
    if values.len() != recurrence.consts.len() {
        let expected = format!("{} values", recurrence.consts.len());
        return Err(Error::argument("constants", expected, values.len().to_string()));
    }
    match recurrence.consts.iter().zip(values).find(|(_, value)| !value.is_finite()) {
        Some((decl, value)) => Err(Error::argument(&decl.name, "a finite constant", value.to_string())),
        None => Ok(()),
    }
}

/// Initial states, or gradients of final states: `what` they are together, `names` makes the name of one (`S0`, `cot.S`).
pub fn states<'a>(
    recurrence: &Recurrence,
    problem: &Problem,
    what: &str,
    names: impl Fn(&str) -> String,
    states: &[Option<View<'a>>],
    layout: StateLayout,
    rules: Rules,
) -> Result<()> {
    optional_count(what, recurrence.states.len(), states.len())?;
    for (index, view) in states.iter().enumerate() {
        if let Some(view) = view {
            let name = names(&recurrence.states[index].name);
            state(recurrence, problem, index, &name, view.shape(), view.dtype(), layout, rules)?;
        }
    }
    Ok(())
}

/// Final states, or gradients of initial states, to be written.
pub fn states_mut(
    recurrence: &Recurrence,
    problem: &Problem,
    what: &str,
    names: impl Fn(&str) -> String,
    states: &[Option<ViewMut>],
    layout: StateLayout,
    rules: Rules,
) -> Result<()> {
    optional_count(what, recurrence.states.len(), states.len())?;
    for (index, view) in states.iter().enumerate() {
        if let Some(view) = view {
            let name = names(&recurrence.states[index].name);
            state(recurrence, problem, index, &name, view.shape(), view.dtype(), layout, rules)?;
            no_overlap(&name, view.layout())?;
        }
    }
    Ok(())
}

#[allow(clippy::too_many_arguments)]
fn state(
    recurrence: &Recurrence,
    problem: &Problem,
    index: usize,
    name: &str,
    found: &[usize],
    found_type: DType,
    layout: StateLayout,
    rules: Rules,
) -> Result<()> {
    let expected = problem.state_shape(recurrence, index, problem.sequence_count(), layout);
    if expected != found {
        let mut turned = expected.clone();
        let square = turned.len() == 4 && {
            turned.swap(2, 3);
            turned == found
        };
        let hint = if square { " (the other state layout)" } else { "" };
        return Err(Error::argument(name, format!("shape {expected:?}"), format!("{found:?}{hint}")));
    }
    dtype(name, rules.state(found_type), rules.states(), found_type)
}

/// Outputs, or their gradients' counterpart: shapes and types, and no element twice.
pub fn outputs(recurrence: &Recurrence, problem: &Problem, outputs: &[ViewMut], rules: Rules) -> Result<()> {
    count("outputs", recurrence.outputs.len(), outputs.len())?;
    for (index, view) in outputs.iter().enumerate() {
        let name = &recurrence.outputs[index];
        shape(name, &problem.output_shape(recurrence, index), view.shape())?;
        dtype(name, rules.element(view.dtype()), rules.elements(), view.dtype())?;
        no_overlap(name, view.layout())?;
    }
    Ok(())
}

/// Gradients of the outputs.
pub fn output_grads(recurrence: &Recurrence, problem: &Problem, grads: &[Option<View>], rules: Rules) -> Result<()> {
    optional_count("output gradients", recurrence.outputs.len(), grads.len())?;
    for (index, view) in grads.iter().enumerate() {
        if let Some(view) = view {
            let name = format!("cot.{}", recurrence.outputs[index]);
            shape(&name, &problem.output_shape(recurrence, index), view.shape())?;
            dtype(&name, rules.element(view.dtype()), rules.elements(), view.dtype())?;
        }
    }
    Ok(())
}

/// Gradients of the inputs, to be written: f32 always, for `key` and `value` inputs also in the input's own type.
pub fn input_grads(
    recurrence: &Recurrence,
    problem: &Problem,
    inputs: &[View],
    grads: &[Option<ViewMut>],
    rules: Rules,
) -> Result<()> {
    count("input gradients", recurrence.inputs.len(), grads.len())?;
    for (index, view) in grads.iter().enumerate() {
        if let Some(view) = view {
            let decl = &recurrence.inputs[index];
            let name = format!("grad.{}", decl.name);
            shape(&name, &problem.input_shape(recurrence, index), view.shape())?;
            let own = inputs[index].dtype();
            let accepted = rules.state(view.dtype()) || view.dtype() == own;
            dtype(&name, accepted, &format!("{} or the input's {own}", rules.states()), view.dtype())?;
            no_overlap(&name, view.layout())?;
        }
    }
    Ok(())
}

fn no_overlap(name: &str, layout: &Layout) -> Result<()> {
    if layout.overlaps_itself() {
        return Err(Error::argument(name, "elements that do not overlap", format!("strides {:?}", layout.strides())));
    }
    Ok(())
}

/// Memory that a call reads or writes.
#[derive(Clone, Copy)]
pub struct Region<'a> {
    /// Name for the message.
    pub name: &'a str,
    start: usize,
    end: usize,
    writes: bool,
}

impl<'a> Region<'a> {
    /// Memory read.
    pub fn read(name: &'a str, view: &View) -> Region<'a> {
        let start = view.pointer() as usize;
        Region { name, start, end: start + view.layout().span() * view.dtype().size(), writes: false }
    }

    /// Memory written.
    pub fn written(name: &'a str, view: &ViewMut) -> Region<'a> {
        Region { writes: true, ..Region::read(name, &view.as_view()) }
    }
}

/// Refuses a written region that meets another one.
pub fn no_aliases(regions: &[Region]) -> Result<()> {
    for (i, a) in regions.iter().enumerate() {
        for b in &regions[..i] {
            if (a.writes || b.writes) && a.start < b.end && b.start < a.end {
                let (written, other) = if a.writes { (a, b) } else { (b, a) };
                return Err(Error::argument(
                    written.name,
                    "memory of its own",
                    format!("overlap with `{}`", other.name),
                ));
            }
        }
    }
    Ok(())
}

/// Decode: slots, the pool and the number of tokens.
pub fn decode(
    recurrence: &Recurrence,
    problem: &Problem,
    slots: &[i64],
    pool: &[ViewMut],
    layout: StateLayout,
    rules: Rules,
) -> Result<()> {
    if problem.cu_seqlens.is_some() {
        return Err(Error::argument("cu_seqlens", "none in decode", "some"));
    }
    if problem.tokens == 0 || problem.tokens > MAX_DECODE_TOKENS {
        return Err(Error::argument("T", format!("1 to {MAX_DECODE_TOKENS} tokens"), problem.tokens.to_string()));
    }
    if slots.len() != problem.batch {
        return Err(Error::argument("slots", format!("one a sequence, {}", problem.batch), slots.len().to_string()));
    }
    count("state pool", recurrence.states.len(), pool.len())?;
    let mut size = None;
    for (index, view) in pool.iter().enumerate() {
        let name = &recurrence.states[index].name;
        let found = view.shape();
        let held = *size.get_or_insert(found.first().copied().unwrap_or(0));
        shape(name, &problem.state_shape(recurrence, index, held, layout), found)?;
        dtype(name, rules.state(view.dtype()), rules.states(), view.dtype())?;
        no_overlap(name, view.layout())?;
    }
    let mut seen = HashMap::new();
    for (index, &slot) in slots.iter().enumerate() {
        if let Some(held) = size
            && (slot < -1 || slot >= held as i64)
        {
            return Err(Error::argument(
                "slots",
                format!("-1 or a slot below {held}"),
                format!("{slot} at index {index}"),
            ));
        }
        if slot >= 0
            && let Some(first) = seen.insert(slot, index)
        {
            return Err(Error::argument("slots", "each slot once", format!("{slot} at indices {first} and {index}")));
        }
    }
    Ok(())
}
