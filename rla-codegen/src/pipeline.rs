//! The whole compiler: every pass, in order.

pub mod cuda;

use rla_dsl::recurrence::{Recurrence, Statement, StatementKind};

use crate::canon::{self, Canonical, Outside};
use crate::emit;
use crate::kernel::{CpuKernel, Form, Level, symbol};
use crate::pass;
use crate::schedule::Schedule;
use crate::stack::deep;
use crate::tile::Program;
use crate::tile::verify::verify;

/// The programs of one recurrence.
#[derive(Clone, Debug)]
pub struct Programs {
    /// One chunk (or token) forward.
    pub forward: Program,
    /// The same, keeping what backward needs.
    pub forward_save: Program,
    /// One chunk (or token) backward.
    pub backward: Program,
    /// One token with the states updated in place.
    pub decode: Program,
}

impl Programs {
    fn verified(self) -> Programs {
        for program in [&self.forward, &self.forward_save, &self.backward, &self.decode] {
            if let Err(message) = verify(program) {
                panic!("compiler bug in {}: {message}\n{program}", program.name);
            }
        }
        self
    }
}

/// Canonical form and chunk programs.
///
/// # Errors
/// The term that keeps the recurrence out of the class.
pub fn chunk_programs(recurrence: &Recurrence) -> Result<(Canonical, Programs), Outside> {
    deep(|| chunk_passes(recurrence))
}

fn chunk_passes(recurrence: &Recurrence) -> Result<(Canonical, Programs), Outside> {
    let (canonical, forward, decode) = forward_passes(recurrence)?;
    let pair = pass::save::save(&forward);
    let programs = Programs { forward, forward_save: pair.forward, backward: pair.backward, decode };
    Ok((canonical, programs.verified()))
}

/// Canonical form, forward of a chunk, decode.
fn forward_passes(recurrence: &Recurrence) -> Result<(Canonical, Program, Program), Outside> {
    let canonical = canon::canonicalize(recurrence)?;
    let chunk = pass::chunk::chunk(recurrence, &canonical);
    Ok((canonical, pass::scale::scale(&chunk), pass::decode::decode(&chunk)))
}

/// Chunk programs in the form that GPU kernels are written from.
///
/// # Errors
/// The term that keeps the recurrence out of the class.
pub fn cuda_programs(recurrence: &Recurrence) -> Result<Programs, Outside> {
    deep(|| forward_passes(recurrence).map(|(_, forward, decode)| cuda_passes(&forward, decode)))
}

fn cuda_passes(forward: &Program, decode: Program) -> Programs {
    let change = |program: &Program| pass::unscale::unscale(&pass::invert::invert(program));
    let pair = pass::save::save_readouts(forward);
    Programs { forward: change(forward), forward_save: change(&pair.forward), backward: change(&pair.backward), decode }
        .verified()
}

impl Programs {
    /// The same programs in the form that GPU kernels are written from.
    pub fn for_cuda(&self) -> Programs {
        cuda_passes(&self.forward, self.decode.clone())
    }
}

/// Programs of one token, for any recurrence.
pub fn token_programs(recurrence: &Recurrence) -> Programs {
    deep(|| token_passes(recurrence))
}

fn token_passes(recurrence: &Recurrence) -> Programs {
    let forward = pass::rewrite::rewrite(&pass::token::token(recurrence), |_, _, _| None);
    let backward = pass::rewrite::rewrite(&pass::differentiate::differentiate(&forward).0, |_, _, _| None);
    // a token's backward recomputes its forward from the state, so nothing is kept
    Programs { forward_save: forward.clone(), decode: forward.clone(), forward, backward }.verified()
}

/// What keeps kernels from being written.
#[derive(Clone, Debug)]
pub enum KernelError {
    /// The recurrence is outside the class.
    Outside(Box<Outside>),
    /// The emitter refused.
    Emit(emit::cpu::Error),
}

impl std::fmt::Display for KernelError {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            KernelError::Outside(outside) => {
                let (line, column) = (outside.span.line, outside.span.column + 1);
                write!(f, "outside the class, line {line}, column {column}: {}", outside.reason)
            }
            KernelError::Emit(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for KernelError {}

/// The kernels of a recurrence in a form, under the name that its text gives it.
///
/// # Errors
/// A recurrence outside the class in chunk form; an illegal schedule.
pub fn cpu_kernel(
    recurrence: &Recurrence,
    form: Form,
    schedule: &Schedule,
    levels: &[Level],
) -> Result<CpuKernel, KernelError> {
    let symbol = symbol(recurrence, form);
    match form {
        Form::Chunk => cpu(recurrence, schedule, &symbol, levels),
        Form::Token => cpu_recurrent(recurrence, &symbol, levels),
    }
}

/// The chunk-parallel CPU kernels of a recurrence.
///
/// # Errors
/// A recurrence outside the class; an illegal schedule.
pub fn cpu(
    recurrence: &Recurrence,
    schedule: &Schedule,
    symbol: &str,
    levels: &[Level],
) -> Result<CpuKernel, KernelError> {
    let (_, programs) = chunk_programs(recurrence).map_err(|e| KernelError::Outside(Box::new(e)))?;
    kernels(recurrence, &programs, true, schedule, symbol, levels)
}

/// The token-by-token CPU kernels of any recurrence.
///
/// # Errors
/// None that is the recurrence's.
pub fn cpu_recurrent(recurrence: &Recurrence, symbol: &str, levels: &[Level]) -> Result<CpuKernel, KernelError> {
    kernels(recurrence, &token_programs(recurrence), true, &Schedule::TOKEN, symbol, levels)
}

/// The kernels of programs that are at hand; without `training`, forward and decode alone.
///
/// # Errors
/// An illegal schedule.
pub fn cpu_of(
    recurrence: &Recurrence,
    programs: &Programs,
    training: bool,
    schedule: &Schedule,
    symbol: &str,
    levels: &[Level],
) -> Result<CpuKernel, KernelError> {
    kernels(recurrence, programs, training, schedule, symbol, levels)
}

fn kernels(
    recurrence: &Recurrence,
    programs: &Programs,
    training: bool,
    schedule: &Schedule,
    symbol: &str,
    levels: &[Level],
) -> Result<CpuKernel, KernelError> {
    let parts = emit::cpu::Programs {
        forward: &programs.forward,
        training: training.then_some((&programs.forward_save, &programs.backward)),
        decode: &programs.decode,
    };
    deep(|| emit::cpu::emit(&parts, &interface(recurrence), schedule, symbol, levels).map_err(KernelError::Emit))
}

/// One line that says which configuration the kernels of a variant have under a schedule, as their text does.
pub fn configuration(programs: &Programs, schedule: &Schedule) -> String {
    let parts = emit::cpu::Programs {
        forward: &programs.forward,
        training: Some((&programs.forward_save, &programs.backward)),
        decode: &programs.decode,
    };
    emit::cpu::configuration(&parts, schedule)
}

/// Names and statements for the emitted text.
pub fn interface(recurrence: &Recurrence) -> emit::cpu::Interface {
    let statement = |s: &Statement| {
        let text = rla_dsl::print::expression(recurrence, s.value);
        match s.kind {
            StatementKind::Let => format!("let {} = {text}", s.name),
            StatementKind::Assign(_) => format!("{}[t] = {text}", s.name),
            StatementKind::Output(_) => format!("output {} = {text}", s.name),
        }
    };
    emit::cpu::Interface {
        sides: recurrence.sides.len(),
        input_names: recurrence.inputs.iter().map(|i| i.name.clone()).collect(),
        inputs: (0..recurrence.inputs.len()).map(|i| pass::chunk::input_shape(recurrence, i)).collect(),
        in_16_bits: recurrence.inputs.iter().map(|i| i.carries_values()).collect(),
        states: recurrence.states.iter().map(|s| s.name.clone()).collect(),
        constants: recurrence.consts.iter().map(|c| c.name.clone()).collect(),
        statements: recurrence.statements.iter().map(statement).collect(),
    }
}
