//! `rla emit VARIANT|FILE --target cpu`: the kernels' source.
use crate::output::{self, Failure};
use crate::source;
use clap::{Args, ValueEnum};
use rla_build::table::Table;
use rla_codegen::canon::canonicalize;
use rla_codegen::kernel::{Form, Level};
use rla_runtime::Error;
use rla_runtime::device::cpu;
use rla_runtime::kernel::dispatch;
use std::path::PathBuf;
use std::process::ExitCode;

/// Writes the source of a variant's kernels: Rust that stands alone, to stdout or to a file.
///
/// The text is what this program compiles for itself: every section names the statement of the recurrence that it comes
/// from. `rustc --crate-type lib` takes it with `#![no_std]` or without.
#[derive(Args)]
pub struct Arguments {
    /// A built-in variant, or a `.rla` file
    #[arg(value_name = "VARIANT|FILE")]
    variant: String,
    /// Which variant of a file of several
    #[arg(long = "variant", value_name = "NAME")]
    name: Option<String>,
    /// What the kernels are for
    #[arg(long, value_enum, default_value = "cpu")]
    target: Target,
    /// Instruction sets (default: all of this processor family)
    #[arg(long, value_enum, value_delimiter = ',')]
    level: Vec<LevelOption>,
    /// Chunk-parallel or token by token (default: chunk where the variant is of the class)
    #[arg(long, value_enum)]
    form: Option<FormOption>,
    /// Tokens of a chunk, in every pass
    #[arg(long, value_name = "N")]
    chunk: Option<usize>,
    /// Writes a file and not to stdout
    #[arg(long, value_name = "FILE.rs")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Rust with SIMD
    Cpu,
    /// CUDA C++ (not in this version)
    Cuda,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LevelOption {
    Avx512,
    Avx2,
    Neon,
    Portable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormOption {
    Chunk,
    Token,
}

impl From<LevelOption> for Level {
    fn from(option: LevelOption) -> Level {
        match option {
            LevelOption::Avx512 => Level::Avx512,
            LevelOption::Avx2 => Level::Avx2,
            LevelOption::Neon => Level::Neon,
            LevelOption::Portable => Level::Portable,
        }
    }
}

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    if arguments.target == Target::Cuda {
        return Err(Error::unsupported("--target cuda", "this version has kernels for the CPU only").into());
    }
    let (_, recurrence) = source::recurrence(&arguments.variant, arguments.name.as_deref())?;
    let class = canonicalize(&recurrence);
    let form = match arguments.form {
        Some(FormOption::Token) => Form::Token,
        Some(FormOption::Chunk) => Form::Chunk,
        None if class.is_ok() => Form::Chunk,
        None => Form::Token,
    };
    let table = Table::shipped().and_then(|table| table.schedule(&recurrence.name));
    let mut schedule = table.map_err(|e| Error::Build(e.to_string()))?;
    if let Some(chunk) = arguments.chunk {
        if form == Form::Token {
            return Err(Error::argument("--chunk", "none: the kernel works token by token", chunk.to_string()).into());
        }
        (schedule.chunk_forward, schedule.chunk_backward) = (chunk, chunk);
        if let Some(reason) = schedule.refusal() {
            return Err(Error::argument("--chunk", "a chunk that the schedule holds", reason).into());
        }
    }
    let mut levels: Vec<Level> = arguments.level.iter().map(|&level| level.into()).collect();
    if levels.is_empty() {
        levels = cpu::LEVELS.into_iter().filter(|&level| cpu::of_this_family(level)).collect();
    }
    let kernel = dispatch::text(&recurrence, form, &schedule, &levels)?;
    match &arguments.out {
        None => output::write(&kernel.source)?,
        Some(path) => {
            let whole = path.with_extension(format!("{}.new", std::process::id()));
            let written = std::fs::write(&whole, &kernel.source).and_then(|()| std::fs::rename(&whole, path));
            if let Err(error) = written {
                let _ = std::fs::remove_file(&whole);
                return Err(Error::file(path, error).into());
            }
            eprintln!("rla: {} ({})", path.display(), kernel.configuration);
        }
    }
    Ok(ExitCode::SUCCESS)
}
