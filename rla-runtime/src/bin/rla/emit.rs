//! `rla emit VARIANT|FILE --target cpu|cuda`: the kernels' source.
use crate::options::{self, DTypeOption};
use crate::output::{self, Failure};
use crate::source;
use clap::{Args, ValueEnum};
use rla_build::table::Table;
use rla_codegen::canon::canonicalize;
use rla_codegen::kernel::{Form, Level};
use rla_codegen::schedule::{Choices, Schedule};
use rla_dsl::Recurrence;
use rla_runtime::Error;
use rla_runtime::device::cpu;
use rla_runtime::device::cuda::host;
use rla_runtime::device::cuda::kernels::{self, Key, Kind};
use rla_runtime::kernel::dispatch;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Shared memory of a block on an A100, the least of the targets.
const SHARED: usize = 163 * 1024;

/// Writes the source of a variant's kernels: Rust that stands alone, or CUDA C++, to stdout or to a file.
///
/// The text is what this program compiles for itself: every section names the statement of the recurrence that it comes
/// from. `rustc --crate-type lib` takes the Rust with `#![no_std]` or without. CUDA kernels are one text each, one after the
/// other, of every pass; each alone is a whole text for NVRTC.
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
    /// Only these passes (CUDA)
    #[arg(long, value_enum, value_delimiter = ',')]
    pass: Vec<PassOption>,
    /// Element type of q, k, v and the like (CUDA)
    #[arg(long, value_enum, default_value = "bf16")]
    dtype: DTypeOption,
    /// Size of a side, 128 unless given (CUDA; may be repeated)
    #[arg(long, value_name = "NAME=SIZE", value_parser = options::dim)]
    dim: Vec<(String, usize)>,
    /// Without the headers that kernels share (templates/cuda), for reading (CUDA)
    #[arg(long)]
    bare: bool,
    /// Writes a file and not to stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// Rust with SIMD
    Cpu,
    /// CUDA C++
    Cuda,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PassOption {
    /// Forward that keeps nothing
    Forward,
    /// Forward that keeps what backward needs
    Save,
    /// Backward
    Backward,
    /// A few tokens a sequence, states in place
    Decode,
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
    let (_, recurrence) = source::recurrence(&arguments.variant, arguments.name.as_deref())?;
    if arguments.target == Target::Cuda {
        return write(&arguments, &cuda(&arguments, recurrence)?, "CUDA C++");
    }
    if !arguments.pass.is_empty() {
        return Err(Error::argument("--pass", "none with --target cpu: its text has them all", "one").into());
    }
    if arguments.bare {
        return Err(Error::argument("--bare", "none with --target cpu: its text has them inside", "one").into());
    }
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
        schedule = Schedule { bf16: Choices::chunk(0), ..schedule.with_chunk(chunk) };
        if let Some(reason) = schedule.refusal() {
            return Err(Error::argument("--chunk", "a chunk that the schedule holds", reason).into());
        }
    }
    let mut levels: Vec<Level> = arguments.level.iter().map(|&level| level.into()).collect();
    if levels.is_empty() {
        levels = cpu::LEVELS.into_iter().filter(|&level| cpu::of_this_family(level)).collect();
    }
    let kernel = dispatch::text(&recurrence, form, &schedule, &levels)?;
    write(&arguments, &kernel.source, &kernel.configuration)
}

fn write(arguments: &Arguments, source: &str, configuration: &str) -> Result<ExitCode, Failure> {
    match &arguments.out {
        None => output::write(source)?,
        Some(path) => {
            let whole = path.with_extension(format!("{}.new", std::process::id()));
            let written = std::fs::write(&whole, source).and_then(|()| std::fs::rename(&whole, path));
            if let Err(error) = written {
                let _ = std::fs::remove_file(&whole);
                return Err(Error::file(path, error).into());
            }
            eprintln!("rla: {} ({configuration})", path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The kernels of every pass, one text after the other.
fn cuda(arguments: &Arguments, recurrence: Recurrence) -> Result<String, Failure> {
    for (name, found) in [("--form", arguments.form.is_some()), ("--level", !arguments.level.is_empty())] {
        if found {
            return Err(Error::argument(name, "none with --target cuda", "one").into());
        }
    }
    let size = |side: &String| arguments.dim.iter().find(|(name, _)| name == side).map_or(128, |(_, size)| *size);
    let sizes: Vec<usize> = recurrence.sides.iter().map(size).collect();
    if let Some((name, _)) = arguments.dim.iter().find(|(name, _)| !recurrence.sides.contains(name)) {
        let expected = format!("a side: {}", recurrence.sides.join(", "));
        return Err(Error::argument("--dim", expected, name.clone()).into());
    }
    let elem = host::elem(arguments.dtype.into())?;
    let mut key = Key::usual(&recurrence, &sizes, elem);
    if let Some(chunk) = arguments.chunk {
        host::check_chunk(chunk)?;
        key.choices.chunk = chunk;
    }
    let source = kernels::source(&Arc::new(recurrence))?;
    let all = [
        (PassOption::Forward, Kind::Forward),
        (PassOption::Save, Kind::ForwardSave),
        (PassOption::Backward, Kind::Backward),
        (PassOption::Decode, Kind::Decode),
    ];
    let wanted = |pass: &PassOption| arguments.pass.is_empty() || arguments.pass.contains(pass);
    let passes: Vec<Kind> = all.into_iter().filter(|(pass, _)| wanted(pass)).map(|(_, kind)| kind).collect();
    Ok(source.page(&passes, &key, SHARED, arguments.bare).map_err(|e| Error::Compile(e.to_string()))?)
}
