//! `rla verify [VARIANT|FILE] --backend B`: the ladder and the laws on this machine.
use crate::options::{self, BackendOption, DTypeOption, LayoutOption, ProductsOption};
use crate::output::{self, Failure};
use crate::source;
use clap::Args;
use rla_dsl::Recurrence;
use rla_runtime::ladder::Setting;
use rla_runtime::verify::{self, Row};
use rla_runtime::{Backend, DType, Error, Operation};
use serde_json::json;
use std::process::ExitCode;

/// Checks a variant's kernels on this machine: random cases against the f64 oracle, decode, exact integers, and the laws.
///
/// Random cases are forward and backward, drawn as the declared domains say, with lengths, sizes, heads, packings, gates and
/// keys that are hard on kernels; results are poisoned with NaN before each call. Laws hold bit for bit: repeat (same call,
/// same bits), batch and pack (a sequence does not depend on its neighbours), split (prefill cut at chunks equals the whole),
/// causal, contained (a NaN stays in its sequence and behind its chunk), steps (several tokens a decode call or one), pool
/// (slots that are not named are untouched), on CUDA widths (whatever number of warps carries a state).
///
/// Prints a line a check: the worst error is over its bound, so 1 is the limit. Without VARIANT: all built-in variants.
#[derive(Args)]
#[command(after_help = "Exit codes: 0 everything holds, 1 something does not, 2 to 9 bad input or a refusal.")]
pub struct Arguments {
    /// A built-in variant, or a `.rla` file
    #[arg(value_name = "VARIANT|FILE")]
    variant: Option<String>,
    /// Which variant of a file of several
    #[arg(long = "variant", value_name = "NAME", requires = "variant")]
    name: Option<String>,
    /// What is checked
    #[arg(long, value_enum, default_value = "cpu")]
    backend: BackendOption,
    /// Element type of q, k, v and the like
    #[arg(long, value_enum)]
    dtype: Option<DTypeOption>,
    /// Type of products with 16-bit inputs on the CPU: `input` permits theirs where a kernel has it (forward, bf16, AVX-512)
    #[arg(long, value_enum, default_value = "f32")]
    products: ProductsOption,
    /// Layout of states in the calls
    #[arg(long, value_enum, default_value = "vk")]
    state_layout: LayoutOption,
    /// Only checks whose names contain one of these: decode, law, packed ...
    #[arg(long, value_name = "TEXT", value_delimiter = ',')]
    only: Vec<String>,
    /// Random cases a check
    #[arg(long, value_name = "N", default_value_t = 2)]
    cases: u64,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let backend = arguments.backend.backend()?;
    let mut setting = Setting { layout: arguments.state_layout.into(), ..Setting::of(backend) };
    if let Some(dtype) = arguments.dtype {
        setting.dtype = dtype.into();
        if setting.dtype == DType::F64 && matches!(backend, Backend::Recurrent | Backend::Cpu) {
            return Err(Error::argument("--dtype", "f32, bf16 or f16 for kernels", "f64").into());
        }
    }
    if backend != Backend::Cuda {
        setting.products = options::products(arguments.products, backend, setting.dtype)?;
    }
    if arguments.cases == 0 {
        return Err(Error::argument("--cases", "at least 1", "0").into());
    }
    let recurrences: Vec<Recurrence> = match &arguments.variant {
        Some(variant) => vec![source::recurrence(variant, arguments.name.as_deref())?.1],
        None => {
            let names = rla_dsl::builtin::BUILTINS.iter().map(|(name, _)| *name);
            names.map(rla_runtime::op::builtin).collect::<Result<_, _>>()?
        }
    };
    let wanted =
        |check: &str| arguments.only.is_empty() || arguments.only.iter().any(|text| check.contains(text.as_str()));
    let (mut passed, mut count) = (true, 0);
    if !arguments.json {
        output::line(&format!("{:<22} {:<16} {:>5}  {:>11}", "variant", "check", "cases", "worst/bound"))?;
    }
    for recurrence in recurrences {
        let operation = Operation::new(recurrence, backend)?;
        let name = operation.recurrence().name.clone();
        if let Some(report) = operation.report() {
            eprintln!("rla: {name}: {report}");
        }
        let rows = verify::verify(&operation, &setting, arguments.cases, wanted, |_| {})?;
        count += rows.len();
        for row in &rows {
            passed &= row.passed;
            print(&name, backend, row, arguments.json)?;
        }
    }
    if count == 0 {
        return Err(Error::argument("--only", "part of a check's name", arguments.only.join(",")).into());
    }
    let result = if passed { "pass" } else { "fail" };
    if arguments.json {
        output::json(&json!({ "result": result }))?;
    } else {
        output::line(result)?;
    }
    Ok(ExitCode::from(u8::from(!passed)))
}

fn print(name: &str, backend: Backend, row: &Row, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return output::json(&json!({
            "variant": name, "backend": backend.name(), "check": row.check, "cases": row.cases,
            "rejected": row.rejected, "worst": row.worst.map(output::number), "ok": row.passed, "remark": row.remark,
        }));
    }
    let worst = row.worst.map_or("bits".to_string(), |worst| format!("{worst:.3}"));
    let verdict = if row.passed { "ok" } else { "FAIL" };
    let remark = if row.remark.is_empty() { String::new() } else { format!("  ({})", row.remark) };
    let rejected = if row.rejected > 0 { format!("  {} draws rejected", row.rejected) } else { String::new() };
    output::line(&format!("{name:<22} {:<16} {:>5}  {worst:>11}  {verdict}{remark}{rejected}", row.check, row.cases))
}
