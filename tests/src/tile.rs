//! A whole call through the tile programs' interpreter.
use rla_codegen::canon::Outside;
use rla_codegen::data::{Cotangents, Inputs};
use rla_codegen::interpret::Interpreter;
use rla_codegen::pipeline::{Programs, chunk_programs};
use rla_dsl::recurrence::Recurrence;
use rla_runtime::case::Results;

/// Forward and backward in chunks of `chunk` tokens; `fill` fills the last one up, as kernels do.
pub fn run(
    recurrence: &Recurrence,
    inputs: &Inputs,
    cotangents: &Cotangents,
    chunk: usize,
    fill: bool,
) -> Result<Results, Outside> {
    let (_, programs) = chunk_programs(recurrence)?;
    Ok(run_programs(recurrence, &programs, inputs, cotangents, chunk, fill))
}

/// [`run`] of programs that are there already.
pub fn run_programs(
    recurrence: &Recurrence,
    programs: &Programs,
    inputs: &Inputs,
    cotangents: &Cotangents,
    chunk: usize,
    fill: bool,
) -> Results {
    let (forward, backward) = (&programs.forward_save, &programs.backward);
    let run = Interpreter { recurrence, forward, backward, chunk, fill };
    let (outputs, kept) = run.forward(inputs);
    let gradients = run.backward(inputs, cotangents, &kept);
    Results::new(outputs, Some(gradients))
}
