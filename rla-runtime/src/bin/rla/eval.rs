//! `rla eval VARIANT|FILE --case CASE --backend B`: a case through a backend, every tensor judged.
use crate::options::{self, BackendOption, DTypeOption, LayoutOption, ProductsOption};
use crate::output::{self, Failure};
use crate::source;
use clap::Args;
use rla_codegen::schedule::cuda;
use rla_dsl::Recurrence;
use rla_runtime::case::{Case, CaseError};
use rla_runtime::device::cuda::host;
use rla_runtime::ladder::{self, Line, Outcome, Setting};
use rla_runtime::{Backend, DType, Error, Operation, Products};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs a case file through a backend and judges every result.
///
/// A case is a safetensors file: inputs by their names, initial states `S0`, `cu_seqlens`, expected results `out.*` and
/// `grad.*`, cotangents `cot.*`; with a cotangent there, backward runs too. Results are compared with the file's where the
/// type is f64 or f32, else (and where it holds none) with the program's own f64 oracle on the same rounded inputs.
///
/// Prints a line a tensor, `out.o  err 1.2e-07  bound 2.0e-06  ok`, and at the end `pass` or `fail`. The error is relative in
/// the L2 norm, the worst of the whole tensor and of slices of one sequence, one head and 16 tokens (these at four times the
/// bound, so shown a quarter).
#[derive(Args)]
#[command(after_help = "Exit codes: 0 all within bounds, 1 one is not, 2 to 9 bad input or a refusal.")]
pub struct Arguments {
    /// A built-in variant, or a `.rla` file
    #[arg(value_name = "VARIANT|FILE")]
    variant: String,
    /// Which variant of a file of several
    #[arg(long = "variant", value_name = "NAME")]
    name: Option<String>,
    /// The case
    #[arg(long, value_name = "CASE.safetensors")]
    case: PathBuf,
    /// What computes
    #[arg(long, value_enum)]
    backend: BackendOption,
    /// Element type: f64 for oracle and tile, f32 for recurrent and cpu, unless given; 16-bit types round q, k, v and the like
    #[arg(long, value_enum)]
    dtype: Option<DTypeOption>,
    /// Type of products with 16-bit inputs on the CPU: `input` permits theirs where a kernel has it (forward, bf16, AVX-512)
    #[arg(long, value_enum, default_value = "f32")]
    products: ProductsOption,
    /// Tokens of a chunk (tile: any; cpu: those that the schedule holds)
    #[arg(long, value_name = "N")]
    chunk: Option<usize>,
    /// Layout of states in the call; the case and --out hold them value-major
    #[arg(long, value_enum, default_value = "vk")]
    state_layout: LayoutOption,
    /// A constant, over the case's metadata and the variant's own (may be repeated)
    #[arg(long = "const", value_name = "NAME=VALUE", value_parser = options::constant)]
    constants: Vec<(String, f64)>,
    /// Writes what was computed under the same names
    #[arg(long, value_name = "OUT.safetensors")]
    out: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let backend = arguments.backend.backend()?;
    let (_, recurrence) = source::recurrence(&arguments.variant, arguments.name.as_deref())?;
    let setting = setting(&arguments, backend)?;
    let case = Case::read(&arguments.case, &recurrence, &arguments.constants).map_err(from_case)?;
    let operation = operation(recurrence, backend, arguments.chunk)?;
    if let Some(report) = operation.report() {
        eprintln!("rla: {report}");
        if setting.products == Products::Input {
            eprintln!("rla: {}", report.products(setting.dtype));
        }
    }
    let outcome = ladder::evaluate(&operation, &case, &setting)?;
    if let Some(path) = &arguments.out {
        outcome.results.write(path, operation.recurrence(), &case.inputs).map_err(from_case)?;
    }
    for line in &outcome.lines {
        print(line, arguments.json)?;
    }
    conclude(&outcome, arguments.json)?;
    Ok(ExitCode::from(u8::from(!outcome.passed)))
}

fn setting(arguments: &Arguments, backend: Backend) -> Result<Setting, Error> {
    let mut setting = Setting { layout: arguments.state_layout.into(), ..Setting::of(backend) };
    if let Some(dtype) = arguments.dtype {
        setting.dtype = dtype.into();
    }
    let interpreter = matches!(backend, Backend::Oracle | Backend::Tile);
    if setting.dtype == DType::F64 && !interpreter {
        let expected = format!("f32, bf16 or f16 with --backend {}", backend.name());
        return Err(Error::argument("--dtype", expected, "f64"));
    }
    if backend != Backend::Cuda {
        setting.products = options::products(arguments.products, backend, setting.dtype)?;
    }
    Ok(setting)
}

fn operation(recurrence: Recurrence, backend: Backend, chunk: Option<usize>) -> Result<Operation, Error> {
    match (backend, chunk) {
        (_, None) => Operation::new(recurrence, backend),
        (_, Some(0)) => Err(Error::argument("--chunk", "a number from 1", "0")),
        (Backend::Tile, Some(chunk)) => Operation::tile(recurrence, chunk),
        (Backend::Oracle | Backend::Recurrent, Some(chunk)) => {
            let expected = format!("none with --backend {}, which works token by token", backend.name());
            Err(Error::argument("--chunk", expected, chunk.to_string()))
        }
        (Backend::Cuda, Some(chunk)) => {
            host::check_chunk(chunk)?;
            let choices = cuda::Choices { chunk, ..cuda::Choices::default() };
            Operation::cuda(recurrence, Some(cuda::Schedule::all(choices)))
        }
        (Backend::Cpu, Some(chunk)) => Operation::cpu_with_chunk(recurrence, chunk),
    }
}

/// What is wrong with a case is bad input, except that `--out` cannot be written.
fn from_case(error: CaseError) -> Error {
    match error {
        CaseError::Write(path, reason) => Error::File { path, reason: reason.to_string() },
        other => Error::Case(other),
    }
}

fn print(line: &Line, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let mut object = json!({ "tensor": line.name, "bound": line.bound, "ok": line.passed });
        object["err"] = line.error.map_or(serde_json::Value::Null, output::number);
        if let Some(movement) = line.movement {
            object["d"] = output::number(movement);
        }
        if let Some(slice) = &line.slice {
            object["slice"] = json!({
                "sequence": slice.sequence, "head": slice.head, "rows": [slice.rows.start, slice.rows.end],
            });
        }
        return output::json(&object);
    }
    let Some(error) = line.error else {
        return output::line(&format!("{:<14} computed, nothing to compare with", line.name));
    };
    let verdict = if line.passed { "ok" } else { "FAIL" };
    let mut text = format!("{:<14} err {error:.1e}  bound {:.1e}  {verdict}", line.name, line.bound);
    if let Some(movement) = line.movement {
        text += &format!("  (D {movement:.1e})");
    }
    if let Some(slice) = &line.slice {
        text += &format!("  (sequence {}, head {}, tokens {:?})", slice.sequence, slice.head, slice.rows);
    }
    output::line(&text)
}

fn conclude(outcome: &Outcome, as_json: bool) -> Result<(), Failure> {
    let result = if outcome.passed { "pass" } else { "fail" };
    if as_json {
        return output::json(&json!({ "result": result, "moved_kinks": outcome.moved_kinks }));
    }
    if outcome.moved_kinks > 0 {
        output::line(&format!("{} elements on another branch of a kink than the oracle's", outcome.moved_kinks))?;
    }
    output::line(result)
}
