//! `rla explain VARIANT|FILE`: what the compiler understood.
use crate::output::{self, Failure};
use crate::source;
use clap::Args;
use rla_runtime::Error;
use std::process::ExitCode;

/// Explains a recurrence: class, state order, derived chunk form, cost per token.
///
/// Without an argument: lists the built-in variants.
#[derive(Args)]
pub struct Arguments {
    /// A built-in variant, or a `.rla` file
    #[arg(value_name = "VARIANT|FILE")]
    variant: Option<String>,
    /// Which variant of a file of several
    #[arg(long = "variant", value_name = "NAME")]
    name: Option<String>,
    /// As LaTeX
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
    let _ = recurrence;
    Err(Error::unsupported("explain", "not built yet").into())
}
