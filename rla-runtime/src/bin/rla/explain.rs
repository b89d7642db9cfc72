//! `rla explain VARIANT|FILE`: what the compiler understood.
use crate::options::dim;
use crate::output::{self, Failure};
use crate::source;
use clap::Args;
use rla_codegen::explain::{self, Style};
use rla_runtime::Error;
use std::process::ExitCode;

/// Explains a recurrence: its class, the order of its states, the derived chunk form, the cost per token.
///
/// Every state is written as one decayed copy of itself plus writes u w^T; u may depend on the state's own readouts y, which
/// makes the chunk form a triangular system. Without an argument: lists the built-in variants.
#[derive(Args)]
pub struct Arguments {
    /// A built-in variant, or a `.rla` file
    #[arg(value_name = "VARIANT|FILE")]
    variant: Option<String>,
    /// Which variant of a file of several
    #[arg(long = "variant", value_name = "NAME", requires = "variant")]
    name: Option<String>,
    /// Size of a side in the counts: key, value or a declared dim (may be repeated; default 128, declared dims 64)
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dim)]
    dims: Vec<(String, usize)>,
    /// As LaTeX, for amsmath
    #[arg(long)]
    latex: bool,
}

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Some(argument) = &arguments.variant else {
        for (name, _) in rla_dsl::builtin::BUILTINS {
            output::line(name)?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let (_, recurrence) = source::recurrence(argument, arguments.name.as_deref())?;
    if let Some((name, _)) = arguments.dims.iter().find(|(name, _)| !recurrence.sides.contains(name)) {
        return Err(Error::argument("--dim", recurrence.sides.join(" or "), name).into());
    }
    let sizes: Vec<usize> = recurrence
        .sides
        .iter()
        .enumerate()
        .map(|(index, side)| {
            let given = arguments.dims.iter().rev().find(|(name, _)| name == side);
            given.map_or(if index < 2 { 128 } else { 64 }, |(_, size)| *size)
        })
        .collect();
    let style = if arguments.latex { Style::Latex } else { Style::Text };
    output::write(&explain::explain(&recurrence, &sizes, style))?;
    Ok(ExitCode::SUCCESS)
}
