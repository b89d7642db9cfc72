//! The interpreters as a backend: tensors are gathered into f64, the definition is evaluated, results are rounded.
use crate::error::{Error, Result};
use crate::problem::{Problem, StateLayout};
use crate::tensor::{View, ViewMut};
use rla_codegen::canon::Outside;
use rla_codegen::data::{Cotangents, Gradients, Inputs, Outputs};
use rla_codegen::interpret::Interpreter as TileInterpreter;
use rla_codegen::oracle;
use rla_codegen::pipeline::{self, Programs};
use rla_codegen::tile::Program;
use rla_dsl::recurrence::{InputKind, Recurrence, Span};

/// An interpreter of whole calls, in f64.
pub trait Interpreter: Send + Sync {
    /// Outputs and final states.
    fn forward(&self, recurrence: &Recurrence, inputs: &Inputs) -> Result<Outputs>;
    /// Gradients of everything.
    fn backward(&self, recurrence: &Recurrence, inputs: &Inputs, cotangents: &Cotangents) -> Result<Gradients>;
    /// Tokens a chunk of forward.
    fn chunk(&self) -> usize {
        Tile::CHUNK
    }
}

/// The definition, token by token.
pub struct Oracle;

fn misfit(error: oracle::shape::Misfit) -> Error {
    Error::argument(error.what, error.expected, error.found)
}

impl Interpreter for Oracle {
    fn forward(&self, recurrence: &Recurrence, inputs: &Inputs) -> Result<Outputs> {
        oracle::forward(recurrence, inputs).map_err(misfit)
    }

    fn backward(&self, recurrence: &Recurrence, inputs: &Inputs, cotangents: &Cotangents) -> Result<Gradients> {
        Ok(oracle::gradient(recurrence, inputs, cotangents).map_err(misfit)?.1)
    }
}

/// The compiled tile programs, chunk by chunk; outside the class token by token.
pub struct Tile {
    programs: Programs,
    chunk: usize,
}

impl Tile {
    /// Tokens of a chunk where the caller names none.
    pub const CHUNK: usize = 16;

    /// Compiles to tile programs. A recurrence outside the class has those of one token; another `chunk` is refused with the
    /// reason.
    pub fn new(recurrence: &Recurrence, chunk: Option<usize>) -> Result<Tile> {
        if chunk == Some(0) {
            return Err(Error::argument("chunk", "at least 1", "0"));
        }
        match pipeline::chunk_programs(recurrence) {
            Ok((_, programs)) => Ok(Tile { programs, chunk: chunk.unwrap_or(Tile::CHUNK) }),
            Err(outside) if chunk.is_some_and(|chunk| chunk > 1) => Err(outside_class(recurrence, &outside)),
            Err(_) => Ok(Tile { programs: pipeline::token_programs(recurrence), chunk: 1 }),
        }
    }

    fn with<'a>(&'a self, recurrence: &'a Recurrence, forward: &'a Program) -> TileInterpreter<'a> {
        TileInterpreter { recurrence, forward, backward: &self.programs.backward, chunk: self.chunk, fill: true }
    }
}

/// Why a recurrence has no chunk form: the line, the column and the reason.
pub fn outside_class(recurrence: &Recurrence, outside: &Outside) -> Error {
    let Span { line, column, .. } = outside.span;
    let place = format!("line {line}, column {}", column + 1);
    Error::argument(
        "chunk",
        "1 for a recurrence outside the class",
        format!("`{}`, {place}: {}", recurrence.name, outside.reason),
    )
}

impl Interpreter for Tile {
    fn forward(&self, recurrence: &Recurrence, inputs: &Inputs) -> Result<Outputs> {
        oracle::shape::check(recurrence, inputs).map_err(misfit)?;
        Ok(self.with(recurrence, &self.programs.forward).forward(inputs).0)
    }

    fn backward(&self, recurrence: &Recurrence, inputs: &Inputs, cotangents: &Cotangents) -> Result<Gradients> {
        oracle::shape::check(recurrence, inputs).map_err(misfit)?;
        oracle::shape::check_cotangents(recurrence, inputs, cotangents).map_err(misfit)?;
        let run = self.with(recurrence, &self.programs.forward_save);
        let (_, kept) = run.forward(inputs);
        Ok(run.backward(inputs, cotangents, &kept))
    }

    fn chunk(&self) -> usize {
        self.chunk
    }
}

/// Exchanges rows and columns of each matrix of a dense `[N,HV,rows,cols]`.
fn transposed(values: &[f64], shape: &[usize]) -> Vec<f64> {
    let (rows, columns) = (shape[2], shape[3]);
    let mut out = Vec::with_capacity(values.len());
    for matrix in values.chunks_exact((rows * columns).max(1)) {
        for c in 0..columns {
            out.extend((0..rows).map(|r| matrix[r * columns + c]));
        }
    }
    out
}

/// A state as the recurrence declares it, from the caller's layout.
pub fn state_to_f64(view: &View, layout: StateLayout) -> Vec<f64> {
    match (layout, view.shape().len()) {
        (StateLayout::KeyMajor, 4) => transposed(&view.to_f64(), view.shape()),
        _ => view.to_f64(),
    }
}

/// Writes a state as the recurrence declares it into the caller's layout.
pub fn write_state(view: &mut ViewMut, values: &[f64], layout: StateLayout) {
    if layout == StateLayout::KeyMajor && view.shape().len() == 4 {
        let shape = view.shape();
        let declared = [shape[0], shape[1], shape[3], shape[2]];
        view.write_f64(&transposed(values, &declared));
    } else {
        view.write_f64(values);
    }
}

/// Optional tensors, one entry for each of `count`.
pub fn optional<T>(count: usize, views: &[Option<T>], convert: impl Fn(&T) -> Vec<f64>) -> Vec<Option<Vec<f64>>> {
    (0..count).map(|i| views.get(i).and_then(Option::as_ref).map(&convert)).collect()
}

/// A call's inputs in f64.
pub fn gather(problem: &Problem, inputs: &[View], constants: &[f64], states: Vec<Option<Vec<f64>>>) -> Inputs {
    Inputs {
        dims: problem.dims(),
        consts: constants.to_vec(),
        tensors: inputs.iter().map(View::to_f64).collect(),
        states,
        cu_seqlens: problem.cu_seqlens.clone(),
    }
}

/// Decode by forward from the pool's states, token by token: as many tokens in one call as in calls of their own.
#[allow(clippy::too_many_arguments)]
pub fn decode(
    interpreter: &dyn Interpreter,
    recurrence: &Recurrence,
    problem: &Problem,
    slots: &[i64],
    inputs: &[View],
    constants: &[f64],
    pool: &mut [ViewMut],
    layout: StateLayout,
    outputs: &mut [ViewMut],
) -> Result<()> {
    let step = Problem { batch: 1, tokens: 1, ..problem.clone() };
    for (index, &slot) in slots.iter().enumerate() {
        let Ok(slot) = usize::try_from(slot) else { continue };
        for token in 0..problem.tokens {
            let rows = recurrence.inputs.iter().zip(inputs).map(|(decl, view)| match decl.kind {
                InputKind::Input => view.narrow(0, index, 1)?.narrow(1, token, 1),
                InputKind::Param => Ok(*view),
            });
            let rows: Vec<View> = rows.collect::<Result<_>>()?;
            let states = pool.iter().map(|view| view.as_view().narrow(0, slot, 1));
            let states = states.map(|view| Ok(Some(state_to_f64(&view?, layout)))).collect::<Result<_>>()?;
            let result = interpreter.forward(recurrence, &gather(&step, &rows, constants, states))?;
            for (view, values) in outputs.iter_mut().zip(&result.outputs) {
                view.reborrow().narrow(0, index, 1)?.narrow(1, token, 1)?.write_f64(values);
            }
            for (view, values) in pool.iter_mut().zip(&result.states) {
                write_state(&mut view.reborrow().narrow(0, slot, 1)?, values, layout);
            }
        }
    }
    Ok(())
}
