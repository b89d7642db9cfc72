//! The program `rla`: one file a subcommand.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 done or passed, 1 a check that failed, 2 to 9 bad input,
//! a refusal or a defect; never a panic.
use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod bench;
mod check;
mod emit;
mod eval;
mod explain;
#[cfg(feature = "models")]
mod generate;
mod options;
mod output;
mod source;
#[cfg(feature = "models")]
mod train;
#[cfg(feature = "tune")]
mod tune;
mod verify;

use output::Failure;

/// Compiles recurrences of linear attention to kernels, and checks, times and trains with them.
///
/// A recurrence is written as in the paper, in a `.rla` file or as one of the built-in VARIANTs (rla, rdn, gated_delta_net,
/// kda, mamba2 ...; `rla explain` without an argument lists them). What ends in `.rla` or has a path separator is a FILE.
#[derive(Parser)]
#[command(name = "rla", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done, or every check passed
  1  diagnostics (check), or a result out of its bounds (eval, verify)
  2  bad input: an argument, a file's contents, a shape
  3  meaningful, but not to be had here (no kernel, no such instruction set)
  4  the compiler refused    5  rustc is missing or failed    6  a file could not be read or written
  9  a defect of this program: please report it

Environment:
  RLA_CPU_LEVEL  avx512, avx2, neon or portable: kernels of this instruction set only
  RLA_CACHE      folder of kernels compiled at run time (default: rla in the user's cache folder)
  RUSTC          the rustc that compiles them
  RLA_KERNEL     pins parameters of kernels: `forward.chunk=32,training.rows=4` over the default table, or `default`
  RLA_CUDA_KERNEL  the same for a GPU, over what is chosen otherwise: `training.span=2` keeps half of the states
  RLA_TABLE      a table of tunings in place of the shipped ones; `default`: none of a device
  RLA_TUNE       in builds: seconds that the build script may search for the machine that it runs on";

#[derive(Subcommand)]
enum Command {
    Check(check::Arguments),
    Explain(explain::Arguments),
    Emit(emit::Arguments),
    Eval(eval::Arguments),
    #[cfg(feature = "models")]
    Train(Box<train::Arguments>),
    #[cfg(feature = "models")]
    Generate(generate::Arguments),
    Verify(verify::Arguments),
    Bench(bench::Arguments),
    #[cfg(feature = "tune")]
    Tune(Box<tune::Arguments>),
}

/// Deeply nested recurrences recurse deeply in the interpreters too; memory of a stack is taken only as it is used.
const STACK_BYTES: usize = 64 << 20;

fn main() -> ExitCode {
    let program = Program::parse();
    let run = move || match program.command {
        Command::Check(arguments) => check::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Emit(arguments) => emit::run(arguments),
        Command::Eval(arguments) => eval::run(arguments),
        #[cfg(feature = "models")]
        Command::Train(arguments) => train::run(*arguments),
        #[cfg(feature = "models")]
        Command::Generate(arguments) => generate::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Bench(arguments) => bench::run(arguments),
        #[cfg(feature = "tune")]
        Command::Tune(arguments) => tune::run(&arguments),
    };
    let thread = std::thread::Builder::new().name("rla".into()).stack_size(STACK_BYTES);
    let result = match thread.spawn(run) {
        Ok(handle) => handle.join(),
        Err(error) => {
            eprintln!("rla: no thread could be started: {error}");
            return ExitCode::from(6);
        }
    };
    match result {
        Ok(Ok(code)) => code,
        Ok(Err(Failure::Pipe)) => ExitCode::SUCCESS,
        Ok(Err(Failure::Error(error))) => {
            eprintln!("rla: {error}");
            ExitCode::from(error.exit_code())
        }
        // the panic's own message is on stderr already
        Err(_) => {
            eprintln!("rla: this is a defect of the program; please report the message above with the input");
            ExitCode::from(9)
        }
    }
}
