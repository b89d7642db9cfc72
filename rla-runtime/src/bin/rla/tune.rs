//! `rla tune VARIANT|FILE`: the fastest parameters of a variant's kernels on this machine, of those that are right.
use crate::options::{self, BackendOption, DTypeOption, ModeOption};
use crate::output::{self, Failure};
use crate::source;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rla_build::clock::Clock;
use rla_build::compile::Cache;
use rla_build::table::{self, Mode, Row, Table};
use rla_build::tune::pack::{self, Manifest, Unpacked};
use rla_build::tune::search::{self, Outcome, Record, Settings};
use rla_build::tune::{Compiler, DECODE_SEQUENCES, Element, Source, Task};
use rla_codegen::data::Dims;
use rla_codegen::kernel::Level;
use rla_codegen::pipeline;
use rla_codegen::schedule::parameter::{Parameter, Predicate};
use rla_codegen::schedule::space::{self, PREDICATES};
use rla_codegen::schedule::{Choices, Slot};
use rla_dsl::Recurrence;
use rla_runtime::device::cpu;
use rla_runtime::kernel::dispatch;
use rla_runtime::{DType, Error, tune};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

mod cuda;

/// Searches the parameters of a variant's kernels for this machine's processor or GPU and writes the best into a table.
///
/// Every candidate is generated, compiled by rustc (for a GPU by NVRTC), checked against the oracle on cases drawn for this search (packed,
/// forgetting, odd lengths, repeated keys; run twice for equal bits), and only then timed, in turns with the best so far. A
/// winner must be faster by more than the spread. Ctrl-C ends the search and keeps what it found.
///
/// The table (default: `tunings/` in the folder of kernels compiled at run time) is read where kernels are compiled at run
/// time; one in `tunings/` of a crate by the crate's build. docs/tuning.md says more.
#[derive(Args)]
pub struct Arguments {
    /// A built-in variant, or a `.rla` file
    #[arg(value_name = "VARIANT|FILE", required_unless_present = "from")]
    variant: Option<String>,
    /// Which variant of a file of several
    #[arg(long = "variant", value_name = "NAME")]
    name: Option<String>,
    /// Whose kernels: cpu or cuda
    #[arg(long, value_enum, default_value = "cpu")]
    backend: BackendOption,
    /// Prints parameters, their values, what is legal, and the candidates by predicted cost; searches nothing
    #[arg(long)]
    list: bool,
    /// What is tuned: forward; train (forward that keeps, and backward); bf16 (forward with products in bf16, on the CPU); decode (one token
    /// of each of B sequences)
    #[arg(long, value_enum, value_delimiter = ',', default_value = "forward,train")]
    pass: Vec<PassOption>,
    /// The shape that is timed: batch, tokens, key heads, value heads, K, V (default: 1,1024,4,4,128,128, on a GPU
    /// 1,8192,16,16,128,128, and decode 64 sequences)
    #[arg(long, value_name = "B,T,H,HV,K,V", value_parser = options::shape)]
    shape: Option<[usize; 6]>,
    /// Size of a declared dim (may be repeated; default 64)
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = options::dim)]
    dims: Vec<(String, usize)>,
    /// Element type of q, k, v and the like: f32 or bf16 (default: f32, on a GPU bf16)
    #[arg(long, value_enum)]
    dtype: Option<DTypeOption>,
    /// What the configuration may depend on: invariant (one for all calls), or throughput (rows for the bucket of B, N and T that
    /// --shape lies in; on the CPU threads are searched too)
    #[arg(long, value_enum, default_value = "invariant")]
    mode: ModeOption,
    /// Seconds to search, all passes together
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    seconds: f64,
    /// Threads of the timed call; one is timed by its own processor time (default: 1, in mode throughput all)
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Compilers at a time (default: all processors)
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// The table that the result goes into
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Folder of the log (every candidate) and the picture of each search (default: beside the user's table)
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// Does not run the ladder and the laws (`rla verify`) on what was found
    #[arg(long)]
    no_verify: bool,
    /// Compiles candidates into a folder, for a machine without rustc; repeated calls add to it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["list", "from"])]
    pack: Option<PathBuf>,
    /// Candidates of a pass in a pack
    #[arg(long, value_name = "N", default_value_t = 24)]
    most: usize,
    /// Instruction set of a pack or a list (default: the best of this machine)
    #[arg(long, value_name = "LEVEL")]
    level: Option<String>,
    /// Checks and times the candidates of a folder, all that it holds
    #[arg(long, value_name = "DIR", conflicts_with_all = ["list", "variant", "backend", "mode"])]
    from: Option<PathBuf>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PassOption {
    Forward,
    Train,
    Bf16,
    Decode,
}

/// Asked to stop.
static STOP: AtomicBool = AtomicBool::new(false);

/// Runs it.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if !arguments.seconds.is_finite() || arguments.seconds < 0.0 {
        return Err(Error::argument("--seconds", "a positive number", arguments.seconds.to_string()).into());
    }
    if arguments.threads == Some(0) || arguments.jobs == Some(0) {
        return Err(Error::argument("--threads and --jobs", "at least 1", "0").into());
    }
    if let Some(folder) = &arguments.from {
        return from_pack(arguments, folder);
    }
    let variant = arguments.variant.as_deref().unwrap_or_default();
    let (_, recurrence) = source::recurrence(variant, arguments.name.as_deref())?;
    match arguments.backend {
        BackendOption::Cpu => {}
        BackendOption::Cuda => return cuda::run(arguments, recurrence),
        other => return Err(Error::argument("--backend", "cpu or cuda", other.backend()?.name()).into()),
    }
    let tasks = tasks(arguments, &recurrence)?;
    if arguments.list {
        return list(arguments, &tasks);
    }
    if let Some(folder) = &arguments.pack {
        return into_pack(arguments, &tasks, folder);
    }
    listen()?;
    set_threads(&tasks)?;
    let cache = Cache::of_search();
    let compiler = table::compiler();
    let each = arguments.seconds / tasks.len() as f64;
    for task in &tasks {
        if STOP.load(Ordering::Relaxed) {
            break;
        }
        let source = Compiler::new(task, cache.clone(), cpu::caches()).map_err(Error::from)?;
        let verify = |choices| tune::compiled(task, choices);
        search(arguments, task, &source, start(task)?, each, &compiler, &verify)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The parameters of the default table.
fn start(task: &Task) -> Result<Choices, Error> {
    let schedule = Table::shipped().and_then(|table| table.schedule(&task.recurrence.name))?;
    Ok(*schedule.of(task.slot))
}

fn listen() -> Result<(), Error> {
    let set = ctrlc::set_handler(|| {
        // the second time it is meant at once
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("rla: stopping; what was found is kept");
    });
    set.map_err(|e| Error::unsupported("Ctrl-C", e.to_string()))
}

fn level(arguments: &Arguments) -> Result<Level, Error> {
    let Some(name) = &arguments.level else {
        let levels = cpu::levels()?;
        return levels.first().copied().ok_or_else(|| Error::unsupported("kernels", "no instruction set"));
    };
    let found = cpu::LEVELS.into_iter().find(|level| level.name() == name);
    let level = found.ok_or_else(|| Error::argument("--level", "avx512, avx2, neon or portable", name))?;
    if arguments.pack.is_none() && !arguments.list && !cpu::has(level) {
        return Err(Error::unsupported(format!("--level {name}"), "this machine lacks it"));
    }
    Ok(level)
}

/// What the arguments ask for.
fn tasks(arguments: &Arguments, recurrence: &Recurrence) -> Result<Vec<Task>, Error> {
    let (_, programs) = pipeline::chunk_programs(recurrence).map_err(|outside| {
        let reason = format!("line {}: {}", outside.span.line, outside.reason);
        Error::unsupported(format!("tuning `{}`, which runs token by token", recurrence.name), reason)
    })?;
    let shape = arguments.shape.unwrap_or([1, 1024, 4, 4, 128, 128]);
    let [batch, tokens, key_heads, value_heads, key, value] = shape;
    let mut sizes = vec![key, value];
    for side in &recurrence.sides[2..] {
        let given = arguments.dims.iter().rev().find(|(name, _)| name == side);
        sizes.push(given.map_or(64, |(_, size)| *size));
    }
    let dims = Dims { sizes, batch, tokens, key_heads, value_heads };
    if dims.sizes.contains(&0) || tokens == 0 || batch == 0 || key_heads == 0 || value_heads % key_heads != 0 {
        return Err(Error::argument("--shape", "positive sizes, HV a multiple of H", format!("{shape:?}")));
    }
    let level = level(arguments)?;
    let element = match arguments.dtype.map_or(DType::F32, Into::into) {
        DType::F32 => Element::F32,
        DType::Bf16 => Element::Bf16,
        other => return Err(Error::argument("--dtype", "f32 or bf16", other.name())),
    };
    let mode = Mode::from(arguments.mode);
    // a pack does not know how many there are where it is timed
    let all = || if arguments.pack.is_some() { 0 } else { threads_of_machine() };
    let threads = arguments.threads.unwrap_or_else(|| if mode == Mode::Throughput { all() } else { 1 });
    let task = |pass: &PassOption| {
        let (slot, element) = match pass {
            PassOption::Forward => (Slot::Forward, element),
            PassOption::Train => (Slot::of_training(&programs.forward_save), element),
            PassOption::Bf16 => (Slot::Bf16, Element::Bf16),
            PassOption::Decode => (Slot::Decode, element),
        };
        let can = arguments.pack.is_some() || arguments.list || cpu::has_bf16(level);
        if slot == Slot::Bf16 && !(cpu::of_bf16(level) && can) {
            return Err(Error::unsupported("--pass bf16", "products in bf16 need avx512bf16"));
        }
        let mut dims = dims.clone();
        if slot == Slot::Decode {
            dims.tokens = 1;
            dims.batch = arguments.shape.map_or(DECODE_SEQUENCES, |shape| shape[0]);
        }
        let recurrence = recurrence.clone();
        Ok(Task { recurrence, slot, level, element, dims, threads, mode })
    };
    arguments.pass.iter().map(task).collect()
}

fn threads_of_machine() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Calls of several threads are divided among as many.
fn set_threads<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> Result<(), Error> {
    let threads = tasks.into_iter().map(|task| task.threads).max().unwrap_or(1);
    if threads > 1 { rla_runtime::bench::set_threads(threads) } else { Ok(()) }
}

fn bar(budget: f64) -> ProgressBar {
    let bar = ProgressBar::new((budget * 10.0).ceil().max(1.0) as u64);
    let style = ProgressStyle::with_template("{prefix} [{bar:30}] {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar
}

/// One search, with its bar, its log, its picture and its row.
fn search(
    arguments: &Arguments,
    task: &Task,
    source: &dyn Source,
    start: Choices,
    seconds: f64,
    compiler: &str,
    verify: &tune::Verify,
) -> Result<(), Failure> {
    let jobs = arguments.jobs.unwrap_or_else(threads_of_machine);
    let settings = Settings {
        budget: Duration::from_secs_f64(seconds.min(1e6)),
        clock: Clock::of_threads(task.threads),
        workers: jobs,
        seed: search::fresh_seed(),
    };
    let user = dispatch::user_table();
    let out = arguments.out.clone().unwrap_or_else(|| user.clone());
    let log = arguments.log.clone().unwrap_or_else(|| user.with_file_name("logs"));
    let traces = tune::Traces::new(&log, task, start)?;
    let name = format!("{} {} {}", task.recurrence.name, task.slot.name(), task.level.name());
    let bar = bar(seconds);
    bar.set_prefix(name.clone());
    let (mut refused, mut count) = (0, 0);
    let mut watch = |record: &Record| {
        count += 1;
        bar.set_position((record.at * 10.0) as u64);
        match &record.outcome {
            Outcome::Refused(reason) => {
                refused += 1;
                bar.println(format!("{name}: refused {}: {reason}", space::text(&record.choices)));
            }
            Outcome::Best => {
                let ratio = record.measured.map_or(f64::NAN, |m| m.ratio);
                bar.set_message(format!("{ratio:.3}: {}", space::difference(&record.choices, &start)));
            }
            _ => {}
        }
    };
    let stop = || STOP.load(Ordering::Relaxed);
    // what an earlier search found is tried first
    let hints: Vec<Choices> = Table::read(&out).map_or(vec![], |table| {
        let of = |row: &&Row| row.measured.variant == task.recurrence.name && row.measured.pass == task.slot.name();
        table.rows().iter().filter(of).map(|row| row.choices).collect()
    });
    let verify = (!arguments.no_verify).then_some(verify);
    let tuned = tune::tune(task, source, start, &hints, &settings, compiler, verify, traces, &stop, &mut watch);
    bar.finish_and_clear();
    let (row, found, (log, picture)) = tuned?;
    let summary = Summary { row: &row, found: &found, refused, start: &start };
    summary.print(arguments.json, &log, &picture)?;
    tune::enter(&out, row)?;
    eprintln!("rla: {}", out.display());
    Ok(())
}

struct Summary<'a> {
    row: &'a Row,
    found: &'a search::Found,
    refused: usize,
    start: &'a Choices,
}

impl Summary<'_> {
    fn print(&self, as_json: bool, log: &Path, picture: &Path) -> Result<(), Failure> {
        let row = self.row;
        if as_json {
            let mut object = json!(row);
            object["refused"] = json!(self.refused);
            object["interrupted"] = json!(self.found.interrupted);
            object["log"] = json!(log);
            object["picture"] = json!(picture);
            return output::json(&object);
        }
        let ended = if self.found.interrupted { ", interrupted" } else { "" };
        output::line(&format!(
            "{} {} {}: {} candidates in {:.1} s{ended}, {} refused",
            row.measured.variant,
            row.measured.pass,
            row.level,
            row.measured.candidates,
            row.measured.searched,
            self.refused
        ))?;
        output::line(&format!(
            "  {:.4} ms, the default {:.4} ms: {:.3} of its time, spread {:.3}; {:.3} of the product rate",
            row.measured.ms,
            row.measured.ms_default,
            row.measured.ratio,
            row.measured.spread,
            row.of_matrix.unwrap_or(f64::NAN)
        ))?;
        output::line(&format!("  {}", space::difference(&row.choices, self.start)))?;
        if let Some(bucket) = &row.measured.bucket {
            output::line(&format!("  mode throughput, for {bucket}"))?;
        }
        let proof = &row.evidence;
        let passed = proof.verified == Some(true);
        let verified = if passed { ", passed rla verify" } else { ", not put through rla verify" };
        output::line(&format!(
            "  {} cases, worst error {:.2} of its bound (outputs {:.1e}, gradients {:.1e}), {} runs alike{verified}",
            proof.cases, proof.worst, proof.outputs, proof.gradients, proof.repeats
        ))?;
        output::line(&format!("  log {}, picture {}", log.display(), picture.display()))
    }
}

fn list_parameters<C: 'static>(
    title: &str,
    parameters: impl IntoIterator<Item = &'static Parameter<C>>,
) -> Result<(), Failure> {
    output::line(title)?;
    for parameter in parameters {
        let values: Vec<String> = parameter.values.iter().map(ToString::to_string).collect();
        output::line(&format!("  {:<9} {:<18} {}", parameter.name, values.join(" "), parameter.what))?;
    }
    Ok(())
}

fn list_predicates<C>(predicates: &[Predicate<C>]) -> Result<(), Failure> {
    output::line("legal where:")?;
    predicates.iter().try_for_each(|predicate| output::line(&format!("  {}", predicate.demands)))
}

/// `--list`.
fn list(arguments: &Arguments, tasks: &[Task]) -> Result<ExitCode, Failure> {
    if !arguments.json {
        let mut seen: Vec<Vec<&str>> = vec![];
        for task in tasks {
            // passes in chunks have the same ones
            let names: Vec<&str> = space::parameters(task.slot).map(|p| p.name).collect();
            if !seen.contains(&names) {
                let passes = if task.slot == Slot::Decode { "of decode" } else { "of each pass in chunks" };
                list_parameters(&format!("parameters {passes}:"), space::parameters(task.slot))?;
                seen.push(names);
            }
        }
        list_predicates(&PREDICATES)?;
    }
    for task in tasks {
        let ordered = Compiler::new(task, Cache::of_search(), cpu::caches()).map_err(Error::from)?.order();
        let start = start(task)?;
        if !arguments.json {
            output::line(&format!(
                "{} {} {}: {} candidates; per token and value head, predicted:",
                task.recurrence.name,
                task.slot.name(),
                task.level.name(),
                ordered.len()
            ))?;
            output::line("   cycles  products     other     moves   latency     flop    bytes  working set")?;
        }
        for (choices, cost) in &ordered {
            if arguments.json {
                output::json(&json!({
                    "variant": task.recurrence.name, "pass": task.slot.name(), "level": task.level.name(),
                    "choices": choices, "cycles": cost.cycles(), "flops": cost.flops, "bytes": cost.bytes,
                    "working_set": cost.working_set,
                }))?;
                continue;
            }
            let mark = if *choices == start { "  (the default)" } else { "" };
            output::line(&format!(
                "{:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>8.0} {:>8.0} {:>8.0} KiB  {}{mark}",
                cost.cycles(),
                cost.products,
                cost.other,
                cost.moves,
                cost.latency,
                cost.flops,
                cost.bytes,
                cost.working_set / 1024.0,
                space::text(choices)
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `--pack`.
fn into_pack(arguments: &Arguments, tasks: &[Task], folder: &Path) -> Result<ExitCode, Failure> {
    let mut manifest = Manifest::read(folder).unwrap_or_default();
    manifest.compiler = table::compiler();
    let cache = Cache::of_search();
    for task in tasks {
        let source = Compiler::new(task, cache.clone(), cpu::caches()).map_err(Error::from)?;
        let name = format!("{} {} {}", task.recurrence.name, task.slot.name(), task.level.name());
        let bar = bar(0.0);
        bar.set_prefix(name.clone());
        let told = |done: usize, all: usize| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        };
        let packed = pack::pack(task, &source, start(task)?, arguments.most, folder, told);
        bar.finish_and_clear();
        let packed = packed.map_err(Error::from)?;
        output::line(&format!("{name}: {} candidates in {}", packed.candidates.len(), folder.display()))?;
        manifest.enter(packed);
        manifest.write(folder).map_err(Error::from)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// `--from`.
fn from_pack(arguments: &Arguments, folder: &Path) -> Result<ExitCode, Failure> {
    let manifest = Manifest::read(folder).map_err(Error::from)?;
    listen()?;
    let each = arguments.seconds / manifest.tasks.len().max(1) as f64;
    let tasks = manifest.tasks.iter().map(|packed| packed.task(threads_of_machine()));
    let tasks = tasks.collect::<Result<Vec<Task>, _>>().map_err(Error::from)?;
    set_threads(&tasks)?;
    for (packed, task) in manifest.tasks.iter().zip(&tasks) {
        if STOP.load(Ordering::Relaxed) {
            break;
        }
        if !cpu::has(task.level) || (task.slot == Slot::Bf16 && !cpu::has_bf16(task.level)) {
            let lacks = if cpu::has(task.level) { "avx512bf16" } else { &packed.level };
            eprintln!("rla: {} {}: this machine lacks {lacks}", task.recurrence.name, packed.pass);
            continue;
        }
        let first = packed.candidates.first();
        let start = first.ok_or_else(|| Error::argument("--from", "a pack with candidates", "none"))?.choices;
        let source = Unpacked { packed, task, folder: folder.to_path_buf() };
        // one of forward alone is verified with the backward of another
        let whole = manifest.whole(packed, folder);
        let verify = |choices| tune::packed(task, &source, whole.as_ref(), choices);
        search(arguments, task, &source, start, each, &manifest.compiler, &verify)?;
    }
    Ok(ExitCode::SUCCESS)
}
