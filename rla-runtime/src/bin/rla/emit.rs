//! `rla emit VARIANT|FILE --target cpu`: the kernels' sources.
use crate::output::Failure;
use crate::source;
use clap::Args;
use rla_runtime::Error;
use std::process::ExitCode;

/// Writes the sources of a variant's kernels.
#[derive(Args)]
pub struct Arguments {
    /// A built-in variant, or a `.rla` file
    #[arg(value_name = "VARIANT|FILE")]
    variant: String,
    /// Which variant of a file of several
    #[arg(long = "variant", value_name = "NAME")]
    name: Option<String>,
}

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let (_, recurrence) = source::recurrence(&arguments.variant, arguments.name.as_deref())?;
    let _ = recurrence;
    Err(Error::unsupported("emit", "not built yet").into())
}
