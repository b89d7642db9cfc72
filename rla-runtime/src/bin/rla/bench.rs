//! `rla bench VARIANT|FILE --backend cpu|cuda --shape B,T,H,HV,K,V`: kernels timed beside the machine's ceilings.
use crate::options::{self, BackendOption, DTypeOption, LayoutOption, ModeOption, ProductsOption};
use crate::output::{self, Failure};
use crate::source;
use clap::{Args, ValueEnum};
use rla_codegen::schedule::Slot;
use rla_codegen::schedule::cuda::Choices;
use rla_dsl::Recurrence;
use rla_runtime::bench::{self, Bench, Pass, Row};
use rla_runtime::device::cpu::{
    self,
    clock::{self, Clock},
};
use rla_runtime::device::cuda;
use rla_runtime::device::cuda::bench::{Settings, Timed};
use rla_runtime::device::cuda::kernels::Tile;
use rla_runtime::kernel::throughput::Asked;
use rla_runtime::{Backend, DType, Error, Operation, Problem, Products};
use serde_json::json;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Times a variant's kernels, a row a pass, beside the machine's own rates measured in the same run.
///
/// ms is the median, ms_low and ms_high leave out a tenth of the samples on each side. flops counts the products that the
/// kernel executes, flops_min the least of the chunk form with everything shared (`rla explain` lists its terms; train is
/// three times forward), bytes what must move: inputs, outputs, gradients, in decode the states. matrix_gflops is the rate of
/// f32 products of 64x128x128 from the second-level cache (the faster of the gemm crate and our own tile loop), copy_gbs that
/// of a large copy, bytes read plus written, both on the same threads. of_matrix is flops over ms over matrix_gflops,
/// of_matrix_min the same with flops_min, of_copy is bytes over ms over copy_gbs.
///
/// backward is timed alone, from what forward kept; train is forward that keeps, then backward; decode is one step of B
/// sequences, which takes the states of N layers in turn.
///
/// On the GPU each call is captured in a graph (decode: one step of all N layers, ms is a layer's share), and the second-level
/// cache is thrown out before each launch; matrix_gflops is a bf16 product of 8192^3 by cuBLAS, null where that library is not
/// there. The lines under a row are the kernels of the pass with their medians alone.
#[derive(Args)]
pub struct Arguments {
    /// A built-in variant, or a `.rla` file
    #[arg(value_name = "VARIANT|FILE")]
    variant: String,
    /// Which variant of a file of several
    #[arg(long = "variant", value_name = "NAME")]
    name: Option<String>,
    /// What computes
    #[arg(long, value_enum, default_value = "cpu")]
    backend: BackendOption,
    /// Batch, tokens, key heads, value heads, K, V
    #[arg(long, value_name = "B,T,H,HV,K,V", default_value = "1,2048,16,16,128,128", value_parser = options::shape)]
    shape: [usize; 6],
    /// Size of a declared dim (may be repeated)
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = options::dim)]
    dims: Vec<(String, usize)>,
    /// Element type of q, k, v and the like (default: f32, on the GPU bf16)
    #[arg(long, value_enum)]
    dtype: Option<DTypeOption>,
    /// Type of products with 16-bit inputs: `input` permits theirs where a kernel has it (forward, bf16, AVX-512)
    #[arg(long, value_enum, default_value = "f32")]
    products: ProductsOption,
    /// What is timed
    #[arg(long, value_enum, value_delimiter = ',', default_value = "forward,train")]
    pass: Vec<PassOption>,
    /// Layers that take turns in decode, each with slots of its own in one pool (on a GPU: with a pool of its own)
    #[arg(long, value_name = "N", default_value_t = 1)]
    layers: usize,
    /// Layout of decode's states
    #[arg(long, value_enum, default_value = "vk")]
    state_layout: LayoutOption,
    /// Tokens of a chunk (GPU)
    #[arg(long, value_name = "N")]
    chunk: Option<usize>,
    /// How decode divides the rows of a state: lanes that share rows (a power of two up to 32), rows of such a group (1, 2 or
    /// 4), warps of a block (GPU)
    #[arg(long, value_name = "LANES,ROWS,WARPS", value_parser = tile)]
    tile: Option<Tile>,
    /// Instead: the first N calls of this process as the host waits for them, compiling and loading included (GPU)
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    calls: Option<usize>,
    /// Threads of kernels and ceilings (default: all)
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// What ms means: time that passes, or (one thread only) the thread's processor time, which other work on the machine does
    /// not lengthen
    #[arg(long, value_enum, default_value = "wall")]
    clock: ClockOption,
    /// Seconds to spend, all passes together, at least five samples each
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    seconds: f64,
    /// What the configuration may depend on (default: invariant, or what RLA_MODE says)
    #[arg(long, value_enum)]
    mode: Option<ModeOption>,
    /// Says line by line which kernel and configuration ran, where its parameters come from, and why others did not
    #[arg(long)]
    explain: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PassOption {
    Forward,
    Backward,
    Train,
    Decode,
}

impl From<PassOption> for Pass {
    fn from(option: PassOption) -> Pass {
        match option {
            PassOption::Forward => Pass::Forward,
            PassOption::Backward => Pass::Backward,
            PassOption::Train => Pass::Train,
            PassOption::Decode => Pass::Decode,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ClockOption {
    Wall,
    Thread,
}

fn tile(text: &str) -> Result<Tile, String> {
    let numbers: Result<Vec<usize>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    match numbers.as_deref() {
        Ok(&[lanes, rows, warps])
            if lanes.is_power_of_two() && lanes <= 32 && matches!(rows, 1 | 2 | 4) && (1..=8).contains(&warps) =>
        {
            Ok(Tile { lanes, rows, warps })
        }
        _ => Err("expected lanes (a power of two up to 32), rows (1, 2 or 4) and warps (1 to 8)".into()),
    }
}

/// Runs it.
pub fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let backend = arguments.backend.backend()?;
    let (_, recurrence) = source::recurrence(&arguments.variant, arguments.name.as_deref())?;
    let usual = if backend == Backend::Cuda { DTypeOption::Bf16 } else { DTypeOption::F32 };
    let dtype: DType = arguments.dtype.unwrap_or(usual).into();
    if dtype == DType::F64 {
        return Err(Error::argument("--dtype", "f32, bf16 or f16", "f64").into());
    }
    let products = options::products(arguments.products, backend, dtype)?;
    if !arguments.seconds.is_finite() || arguments.seconds < 0.0 {
        return Err(Error::argument("--seconds", "a positive number", arguments.seconds.to_string()).into());
    }
    let problem = problem(&arguments, &recurrence)?;
    options::mode(arguments.mode)?;
    let passes: Vec<Pass> = arguments.pass.iter().map(|&pass| pass.into()).collect();
    if backend == Backend::Cuda {
        return cuda(&arguments, recurrence, &problem, dtype, passes);
    }
    let only = [
        ("--chunk", arguments.chunk.is_some()),
        ("--tile", arguments.tile.is_some()),
        ("--calls", arguments.calls.is_some()),
    ];
    for (name, given) in only {
        if given {
            return Err(Error::argument(name, "none with this backend", "one").into());
        }
    }
    let threads = match arguments.threads {
        Some(0) => return Err(Error::argument("--threads", "at least 1", "0").into()),
        Some(threads) => threads,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    let clock = match arguments.clock {
        ClockOption::Wall => Clock::Wall,
        ClockOption::Thread => Clock::Thread,
    };
    clock::check(clock, threads)?;
    bench::set_threads(threads)?;
    let layout = arguments.state_layout.into();
    let operation = Operation::new(recurrence, backend)?;
    let mut kernel = operation.report().map_or_else(|| "interpreter".to_string(), ToString::to_string);
    if let (Products::Input, Some(report)) = (products, operation.report()) {
        kernel += &format!("; {}", report.products(dtype));
    }
    let operation_lines = operation.report().filter(|_| arguments.explain).map(|report| {
        let mut lines = report.explain();
        lines.push(report.products(dtype));
        if let Some(throughput) = operation.throughput() {
            let mut asked: Vec<Asked> = vec![];
            let step = Problem { tokens: 1, ..problem.clone() };
            for pass in &passes {
                let problem = if *pass == Pass::Decode { &step } else { &problem };
                let slot = match pass {
                    Pass::Forward if operation.products(products, dtype) == Products::Input => Slot::Bf16,
                    Pass::Forward => Slot::Forward,
                    Pass::Backward | Pass::Train => throughput.training(),
                    Pass::Decode => Slot::Decode,
                };
                if !asked.iter().any(|asked| asked.slot == slot) {
                    asked.push(Asked::of(problem, slot, dtype));
                }
            }
            lines.extend(asked.into_iter().flat_map(|asked| throughput.explain(asked)));
        }
        lines
    });
    let variant = operation.recurrence().name.clone();
    let mut bench = Bench::new(operation, problem, dtype, &passes, arguments.layers, layout)?;
    bench.permit(products);
    let budget = Duration::from_secs_f64(arguments.seconds.min(3600.0));
    let rows = bench::measure(&mut bench, &passes, layout, threads, clock, budget)?;

    let device = cpu::name();
    if !arguments.json {
        let shape = arguments.shape.map(|n| n.to_string()).join(",");
        output::line(&format!(
            "{variant}  {}  {}  {shape}  {threads} thread(s), {} clock  {device}",
            backend.name(),
            dtype,
            clock.name()
        ))?;
        match &operation_lines {
            Some(lines) => lines.iter().try_for_each(|line| output::line(line))?,
            None => output::line(&kernel)?,
        }
        output::line(HEADING)?;
    }
    for row in rows {
        if arguments.json {
            let mut object = json!({
                "variant": variant, "pass": row.pass.name(), "backend": backend.name(), "device": device,
                "dtype": dtype.name(), "shape": arguments.shape, "threads": threads, "clock": clock.name(), "kernel": kernel,
            });
            if let Some(lines) = &operation_lines {
                object["explain"] = json!(lines);
            }
            for (name, size) in &arguments.dims {
                object["dims"][name] = json!(size);
            }
            if row.pass == Pass::Decode {
                object["layers"] = json!(arguments.layers.max(1));
            }
            for (name, value) in numbers(&row) {
                object[name] = output::number(value);
            }
            output::json(&object)?;
        } else {
            output::line(&text(&row))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

const HEADING: &str =
    "pass            ms    ms_low   ms_high    GFLOP  least      MB  GFLOP/s   GB/s  of_matrix (least)  of_copy";

/// The rows of a GPU.
fn cuda(
    arguments: &Arguments,
    recurrence: Recurrence,
    problem: &Problem,
    dtype: DType,
    passes: Vec<Pass>,
) -> Result<ExitCode, Failure> {
    let not_here = [("--threads", arguments.threads.is_some()), ("--clock", arguments.clock != ClockOption::Wall)];
    for (name, given) in not_here {
        if given {
            return Err(Error::argument(name, "none with --backend cuda", "one").into());
        }
    }
    let device = cuda::Device::first()?;
    let mut choices = None;
    if let Some(chunk) = arguments.chunk {
        cuda::host::check_chunk(chunk)?;
        choices = Some(Choices { chunk, ..Choices::default() });
    }
    if let Some(tile) = arguments.tile {
        choices = Some(choices.unwrap_or_default().with_tile(tile));
    }
    let settings = Settings {
        passes,
        dtype,
        choices,
        mode: rla_runtime::op::mode_of_process()?,
        layers: arguments.layers.max(1),
        layout: arguments.state_layout.into(),
        budget: Duration::from_secs_f64(arguments.seconds.min(3600.0)),
    };
    let variant = recurrence.name.clone();
    if let Some(count) = arguments.calls {
        let passes = settings.passes.clone();
        let times = cuda::bench::first_calls(&Arc::new(recurrence), problem, &settings, count)?;
        for (pass, ms) in passes.iter().zip(&times) {
            if arguments.json {
                output::json(&json!({"variant": variant, "pass": pass.name(), "call_ms": ms}))?;
                continue;
            }
            let numbers: Vec<String> = ms.iter().map(|ms| format!("{ms:.3}")).collect();
            output::line(&format!("{variant}  {}  ms of calls 1 to {count}: {}", pass.name(), numbers.join(" ")))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = cuda::bench::measure(&Arc::new(recurrence), problem, &settings)?;
    let (major, minor) = device.capability;
    let name = format!("{} (compute capability {major}.{minor}), driver API {}", device.name, device.driver);
    if !arguments.json {
        let shape = arguments.shape.map(|n| n.to_string()).join(",");
        output::line(&format!("{variant}  cuda  {dtype}  {shape}  {name}"))?;
        output::line(HEADING)?;
    }
    for timed in rows {
        let Timed { row, kernels, configuration, kept_bytes, workspace_bytes } = &timed;

        let described = kernels.iter().map(|k| {
            let alone = k.ms.map_or(String::new(), |ms| format!(" {ms:.4} ms,"));
            let spilled = if k.spilled > 0 { format!(", {} bytes spilled", k.spilled) } else { String::new() };
            let (threads, registers, shared) = (k.threads, k.registers, k.shared);
            format!("{}:{alone} {threads} threads, {registers} registers, {shared} bytes shared{spilled}", k.stage)
        });
        let described: Vec<String> = described.collect();
        if arguments.json {
            let mut object = json!({
                "variant": variant, "pass": row.pass.name(), "backend": "cuda", "device": name, "dtype": dtype.name(),
                "shape": arguments.shape, "threads": null, "kernel": described.join("; "),
                "kept_bytes": kept_bytes, "workspace_bytes": workspace_bytes,
            });
            for (name, size) in &arguments.dims {
                object["dims"][name] = json!(size);
            }
            if row.pass == Pass::Decode {
                object["layers"] = json!(settings.layers);
            }
            if arguments.explain {
                object["explain"] = json!(configuration);
            }
            for (name, value) in numbers(row) {
                object[name] = output::number(value);
            }
            output::json(&object)?;
        } else {
            output::line(&text(row))?;
            for line in configuration.iter().filter(|_| arguments.explain) {
                output::line(&format!("    {line}"))?;
            }
            for line in described {
                output::line(&format!("    {line}"))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn numbers(row: &Row) -> [(&'static str, f64); 11] {
    [
        ("ms", row.ms),
        ("ms_low", row.ms_low),
        ("ms_high", row.ms_high),
        ("flops", row.flops),
        ("flops_min", row.flops_min),
        ("bytes", row.bytes),
        ("matrix_gflops", row.matrix_gflops),
        ("copy_gbs", row.copy_gbs),
        ("of_matrix", row.of_matrix()),
        ("of_matrix_min", row.of_matrix_min()),
        ("of_copy", row.of_copy()),
    ]
}

fn text(row: &Row) -> String {
    format!(
        "{:<8} {:>9.4} {:>9.4} {:>9.4} {:>8.3} {:>6.3} {:>7.2} {:>8.1} {:>6.1} {:>10.3} ({:.3}) {:>8.3}",
        row.pass.name(),
        row.ms,
        row.ms_low,
        row.ms_high,
        row.flops / 1e9,
        row.flops_min / 1e9,
        row.bytes / 1e6,
        row.matrix_gflops,
        row.copy_gbs,
        row.of_matrix(),
        row.of_matrix_min(),
        row.of_copy(),
    )
}

fn problem(arguments: &Arguments, recurrence: &Recurrence) -> Result<Problem, Error> {
    let [batch, tokens, key_heads, value_heads, key, value] = arguments.shape;
    let declared = &recurrence.sides[2..];
    if let Some((name, _)) = arguments.dims.iter().find(|(name, _)| !declared.contains(name)) {
        let expected =
            if declared.is_empty() { "none: the variant declares no dim".into() } else { declared.join(" or ") };
        return Err(Error::argument("--dim", expected, name));
    }
    let mut problem = Problem::new(batch, tokens, key_heads, value_heads, key, value);
    for side in declared {
        let given = arguments.dims.iter().rev().find(|(name, _)| name == side);
        let size = given.ok_or_else(|| Error::argument("--dim", format!("{side}=SIZE"), "none"))?.1;
        problem.sizes.push(size);
    }
    Ok(problem)
}
