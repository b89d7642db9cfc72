//! Which kernel runs: a function of variant, types, sizes and device, never of B, N or T. In mode throughput `throughput` may ask for
//! another.
use crate::device::cpu;
use crate::device::cpu::library::Library;
use crate::error::{Error, Result};
use crate::problem::Products;
use crate::tensor::DType;
use rla_build::compile::Cache;
use rla_build::machine;
use rla_build::table::{Bucketed, Chosen, DEVICE_VARIABLE, Table, Tables};
use rla_build::tune::Made;
use rla_codegen::canon::canonicalize;
use rla_codegen::kernel::{Compiled, CpuKernel, Form, Level, symbol};
use rla_codegen::pipeline::Programs;
use rla_codegen::schedule::{Schedule, space};
use rla_codegen::{abi, pipeline};
use rla_dsl::Recurrence;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// A kernel that can be called.
pub struct Kernel {
    entry: abi::Entry,
    /// Of the passes that the entry lacks.
    rest: Option<abi::Entry>,
    /// What it is and why others were passed over.
    pub report: Report,
}

/// Which kernel runs, and why others do not.
#[derive(Clone, Debug)]
pub struct Report {
    /// Instruction set.
    pub level: Level,
    /// Chunk-parallel or token by token.
    pub form: Form,
    /// Tokens of a chunk; 1 for token by token.
    pub chunk: usize,
    /// Tokens of a chunk where products are in bf16; 0 where there are none such, or this machine cannot.
    pub chunk_bf16: usize,
    /// One line: the configuration that was compiled.
    pub configuration: String,
    /// Compiled into this program, or the library that rustc made.
    pub origin: String,
    /// Where the parameters come from, and which others were passed over, and why.
    pub tuning: String,
    /// What would have come first, and why it was passed over.
    pub passed_over: Vec<String>,
    /// Whether the caller or `RLA_KERNEL` chose its parameters, for all calls.
    pub pinned: bool,
}

impl Report {
    /// Everything that is known of why this kernel runs and no other: a line each.
    pub fn explain(&self) -> Vec<String> {
        let form = if self.form == Form::Chunk { "chunk-parallel" } else { "token by token" };
        let mut lines = vec![format!("kernel: {form}, {}, {}, {}", self.level.name(), self.configuration, self.origin)];
        lines.extend(self.tuning.split("; ").filter(|part| !part.is_empty()).map(|part| format!("parameters: {part}")));
        lines.extend(self.passed_over.iter().map(|reason| format!("not {reason}")));
        lines
    }

    /// What products are computed in where the caller permits the type of the inputs, `dtype`, and if f32, why.
    pub fn products(&self, dtype: DType) -> String {
        let reason = match dtype {
            DType::Bf16 if self.chunk_bf16 > 0 => {
                return format!("products of forward in bf16, chunk {}; other passes f32", self.chunk_bf16);
            }
            DType::Bf16 if !cpu::of_bf16(self.level) => format!("{} has none in bf16", self.level.name()),
            DType::Bf16 if !cpu::has_bf16(self.level) => "this machine lacks avx512bf16".to_string(),
            DType::Bf16 => "none in bf16 were compiled".to_string(),
            other => format!("there are none in {other}"),
        };
        format!("products in f32: {reason}")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.form {
            Form::Chunk => "chunk",
            Form::Token => "token",
        };
        write!(f, "{form} kernel for {}, {}, {}", self.level.name(), self.configuration, self.origin)?;
        self.passed_over.iter().try_for_each(|reason| write!(f, "; not {reason}"))
    }
}

/// Kernels that this process has chosen already: choosing may compile.
static CHOSEN: Mutex<BTreeMap<(String, &'static str), Arc<Kernel>>> = Mutex::new(BTreeMap::new());

/// The kernel of a recurrence in a form: what was compiled in, for the best level that this machine has; else what rustc
/// makes of the generated text, now or in an earlier run.
pub fn find(recurrence: &Recurrence, form: Form) -> Result<Arc<Kernel>> {
    let wanted = cpu::levels()?;
    let Some(&level) = wanted.first() else {
        return Err(Error::unsupported("kernels", "this machine has no instruction set that kernels are made for"));
    };
    let symbol = symbol(recurrence, form);
    let key = (symbol.clone(), level.name());
    let mut chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kernel) = chosen.get(&key) {
        return Ok(kernel.clone());
    }
    // what was compiled in has the parameters of the build; others are asked for by name
    let asked = pinned().is_some() || (Tables::named() && !parameters(recurrence, level)?.tuned.is_empty());
    let kernel = match built_in(&symbol).filter(|_| !asked) {
        Some(compiled) => Kernel::compiled(&recurrence.name, compiled)?,
        None => {
            let parameters = parameters(recurrence, level)?;
            let mut kernel =
                Kernel::from_text(&recurrence.name, form, &text(recurrence, form, &parameters.schedule, &[level])?)?;
            kernel.report.tuning = parameters.line();
            kernel
        }
    };
    let mut kernel = kernel;
    if form == Form::Token
        && let Err(outside) = canonicalize(recurrence)
    {
        let (line, column) = (outside.span.line, outside.span.column + 1);
        let reason = format!("chunk: outside the class, line {line}, column {column}: {}", outside.reason);
        kernel.report.passed_over.insert(0, reason);
    }
    let kernel = Arc::new(kernel);
    chosen.insert(key, kernel.clone());
    Ok(kernel)
}

#[cfg(feature = "kernels")]
fn built_in(symbol: &str) -> Option<&'static Compiled> {
    rla_kernels::lookup(symbol)
}

#[cfg(not(feature = "kernels"))]
fn built_in(_: &str) -> Option<&'static Compiled> {
    None
}

/// The chunk kernel with chunks of so many tokens in every pass.
pub fn with_chunk(recurrence: &Recurrence, chunk: usize) -> Result<Kernel> {
    if let Err(outside) = canonicalize(recurrence) {
        let found = format!("{chunk}, and `{}` is outside the class: {}", recurrence.name, outside.reason);
        return Err(Error::argument("chunk", "none: it runs token by token", found));
    }
    let schedule = shipped(recurrence)?.with_chunk(chunk);
    if let Some(reason) = schedule.refusal() {
        return Err(Error::argument("chunk", "a chunk that the schedule holds", format!("{chunk} ({reason})")));
    }
    let level = cpu::levels()?.into_iter().take(1).collect::<Vec<_>>();
    let mut kernel =
        Kernel::from_text(&recurrence.name, Form::Chunk, &text(recurrence, Form::Chunk, &schedule, &level)?)?;
    kernel.report.pinned = true;
    Ok(kernel)
}

/// The kernels of a recurrence with these parameters, compiled by rustc or found in the user's cache.
pub fn with_schedule(recurrence: &Recurrence, form: Form, schedule: &Schedule) -> Result<Kernel> {
    let level = cpu::levels()?.into_iter().take(1).collect::<Vec<_>>();
    let mut kernel = Kernel::from_text(&recurrence.name, form, &text(recurrence, form, schedule, &level)?)?;
    kernel.report.tuning = "parameters of the caller".into();
    kernel.report.pinned = true;
    Ok(kernel)
}

/// The environment variable that pins parameters.
pub const KERNEL_VARIABLE: &str = "RLA_KERNEL";

/// What `RLA_KERNEL` holds, if anything.
fn pinned() -> Option<String> {
    std::env::var(KERNEL_VARIABLE).ok().filter(|value| !value.trim().is_empty())
}

/// The user's table for this machine: what `rla tune` writes where no other is named, and what kernels that are compiled at run
/// time take their parameters from.
pub fn user_table() -> PathBuf {
    user_table_of(&machine::device())
}

/// The user's table of a device.
pub fn user_table_of(device: &str) -> PathBuf {
    Cache::of_user().folder().join("tunings").join(format!("{}.toml", machine::file_name(device)))
}

/// Parameters for a kernel that is compiled now: those that `RLA_KERNEL` pins, else the rows of tables that fit this machine,
/// else the default's.
fn parameters(recurrence: &Recurrence, level: Level) -> Result<Chosen> {
    let Some(pin) = pinned() else {
        return Ok(tables()?.choose(recurrence, level)?);
    };
    let mut schedule = shipped(recurrence)?;
    if pin.trim() != "default" {
        let refused = |reason| Error::argument(KERNEL_VARIABLE, "`default`, or PASS.PARAMETER=NUMBER,...", reason);
        space::parse(&pin, &mut schedule).map_err(refused)?;
    }
    let from = vec![format!("pinned by {KERNEL_VARIABLE}={pin}")];
    Ok(Chosen { schedule, tuned: vec![], from, passed_over: vec!["tables of tunings: parameters are pinned".into()] })
}

/// The tables that kernels of this machine are chosen by at run time.
fn tables() -> Result<Tables> {
    let named = std::env::var(DEVICE_VARIABLE).ok().filter(|name| !name.is_empty());
    Ok(Tables::of(&named.unwrap_or_else(machine::device), &[user_table()])?)
}

/// Rows of mode throughput that hold on a level of this machine, and why others do not; none where parameters are pinned.
pub fn throughput(recurrence: &Recurrence, level: Level) -> Result<(Vec<Bucketed>, Vec<String>)> {
    match pinned() {
        Some(_) => Ok((vec![], vec![format!("rows of mode throughput: parameters are pinned by {KERNEL_VARIABLE}")])),
        None => Ok(tables()?.throughput(recurrence, level)),
    }
}

/// The schedule that a kernel was written with, where it is one that tables say.
pub fn schedule_of(recurrence: &Recurrence, programs: &Programs, report: &Report) -> Option<Schedule> {
    let (shipped, chosen) = (shipped(recurrence).ok(), parameters(recurrence, report.level).ok());
    let all = chosen.map(|chosen| chosen.schedule).into_iter().chain(shipped);
    all.into_iter().find(|schedule| pipeline::configuration(programs, schedule) == report.configuration)
}

/// What the shipped default table says of a variant.
fn shipped(recurrence: &Recurrence) -> Result<Schedule> {
    Ok(Table::shipped()?.schedule(&recurrence.name)?)
}

/// The generated text of a recurrence's kernels.
pub fn text(recurrence: &Recurrence, form: Form, schedule: &Schedule, levels: &[Level]) -> Result<CpuKernel> {
    let refused = |e: pipeline::KernelError| Error::Compile(format!("the kernels of `{}`: {e}", recurrence.name));
    pipeline::cpu_kernel(recurrence, form, schedule, levels).map_err(refused)
}

impl Kernel {
    /// Kernels of this program, for the best level that this machine has.
    pub fn compiled(name: &str, kernel: &Compiled) -> Result<Kernel> {
        let mut passed_over = not_of_this_machine();
        for level in cpu::levels()? {
            if let Some((level, entry)) = kernel.entries.iter().find(|(held, _)| *held == level) {
                // SAFETY: a generated function that only fills in a table; both sides compile the same `abi` text.
                let entry = unsafe { entry() };
                let report = Report {
                    level: *level,
                    form: kernel.form,
                    chunk: kernel.chunk,
                    chunk_bf16: if entry.forward_bf16.is_some() && cpu::has_bf16(*level) {
                        kernel.chunk_bf16
                    } else {
                        0
                    },
                    configuration: kernel.configuration.to_string(),
                    origin: "compiled into this program".to_string(),
                    tuning: kernel.tuning.to_string(),
                    passed_over,
                    pinned: false,
                };
                return Ok(Kernel { entry, rest: None, report });
            }
            passed_over.push(format!("{}: not compiled into this program", level.name()));
        }
        Err(Error::unsupported(format!("a kernel of `{name}`"), passed_over.join("; ")))
    }

    /// Compiles a generated text with rustc, or finds the library in the user's cache, and loads it. Says on stderr when
    /// rustc runs: that takes seconds.
    pub fn from_text(name: &str, form: Form, text: &CpuKernel) -> Result<Kernel> {
        Kernel::from_text_in(&Cache::of_user(), name, form, text)
    }

    /// The same with the library in a cache.
    pub(super) fn from_text_in(cache: &Cache, name: &str, form: Form, text: &CpuKernel) -> Result<Kernel> {
        let wanted = cpu::levels()?;
        let announce =
            || eprintln!("rla: compiling the kernels of `{name}` with rustc, kept in {}", cache.folder().display());
        // named by its contents alone: a text may hold the kernels of several recurrences
        let compiled = cache.library("rla", &text.source, announce).map_err(Error::from)?;
        let library = Library::open(&compiled.path)?;
        let mut passed_over = not_of_this_machine();
        for level in wanted {
            if let Some(entry) = library.entry(&text.symbol, level) {
                library.leak();
                let report = Report {
                    level,
                    form,
                    chunk: text.chunk,
                    chunk_bf16: if entry.forward_bf16.is_some() && cpu::has_bf16(level) { text.chunk_bf16 } else { 0 },
                    configuration: text.configuration.clone(),
                    origin: format!("compiled by rustc into {}", compiled.path.display()),
                    tuning: String::new(),
                    passed_over,
                    pinned: false,
                };
                return Ok(Kernel { entry, rest: None, report });
            }
            passed_over.push(format!("{}: the text has no kernel for it", level.name()));
        }
        Err(Error::unsupported(format!("a kernel of `{name}`"), passed_over.join("; ")))
    }

    /// A library that was compiled elsewhere with these parameters, for one level. Passes that it lacks are those of `whole`, another of
    /// this variant, or were compiled into this program; `None` where there are none such.
    pub fn from_library(
        recurrence: &Recurrence,
        made: &Made,
        whole: Option<&Made>,
        level: Level,
        schedule: &Schedule,
    ) -> Result<Option<Kernel>> {
        let open = |made: &Made| {
            let (path, symbol) = (&made.path, &made.symbol);
            let library = Library::open(path)?;
            let missing = || Error::unsupported(format!("{}", path.display()), format!("it has no `{symbol}`"));
            let entry = library.entry(symbol, level).ok_or_else(missing)?;
            library.leak();
            Ok::<_, Error>(entry)
        };
        let entry = open(made)?;
        let rest = match (whole, built_in(&symbol(recurrence, Form::Chunk))) {
            _ if entry.backward.is_some() => None,
            (Some(whole), _) => Some(open(whole)?),
            (None, Some(compiled)) => Some(Kernel::compiled(&recurrence.name, compiled)?.entry),
            (None, None) => return Ok(None),
        };
        let in_bf16 = entry.forward_bf16.is_some() && cpu::has_bf16(level);
        let report = Report {
            level,
            form: Form::Chunk,
            chunk: schedule.forward.chunk,
            chunk_bf16: if in_bf16 { schedule.bf16.chunk } else { 0 },
            configuration: String::new(),
            origin: format!("compiled elsewhere, {}", made.path.display()),
            tuning: "parameters of the caller".into(),
            passed_over: vec![],
            pinned: true,
        };
        Ok(Some(Kernel { entry, rest, report }))
    }

    /// The table that holds a pass.
    pub(super) fn of(&self, pass: u32) -> &abi::Entry {
        let trains = matches!(pass, abi::PASS_FORWARD_SAVE | abi::PASS_BACKWARD);
        self.rest.as_ref().filter(|_| trains).unwrap_or(&self.entry)
    }

    /// What products of a forward that keeps nothing are computed in where the caller permits `products` and inputs that
    /// carry values have the types `dtypes`.
    pub(crate) fn products(&self, products: Products, dtypes: impl IntoIterator<Item = DType>) -> Products {
        let mut dtypes = dtypes.into_iter().peekable();
        let in_bf16 = self.report.chunk_bf16 > 0 && dtypes.peek().is_some() && dtypes.all(|d| d == DType::Bf16);
        if in_bf16 { products } else { Products::F32 }
    }

    /// Floats of working memory.
    pub(super) fn scratch(&self, pass: u32, sizes: &[usize]) -> Result<usize> {
        let ask = self.of(pass).scratch.ok_or_else(|| Error::unsupported("kernel", "it states no scratch size"))?;
        // SAFETY: `sizes` has one entry a side, checked by `args`.
        Ok(unsafe { ask(pass, sizes.as_ptr()) })
    }

    /// Floats that forward keeps for one sequence and head.
    pub(super) fn saved(&self, tokens: usize, sizes: &[usize]) -> Result<usize> {
        let ask = self
            .of(abi::PASS_FORWARD_SAVE)
            .saved
            .ok_or_else(|| Error::unsupported("kernel", "it keeps nothing for backward"))?;
        // SAFETY: as for `scratch`.
        Ok(unsafe { ask(tokens, sizes.as_ptr()) })
    }
}

/// The levels of this processor family that the machine lacks, or that were not asked for.
fn not_of_this_machine() -> Vec<String> {
    let pinned = std::env::var(cpu::LEVEL_VARIABLE).ok();
    let reason = |level: Level| match &pinned {
        _ if !cpu::has(level) => Some(format!("{}: this machine lacks it", level.name())),
        Some(pin) if pin != level.name() => Some(format!("{}: {}={pin}", level.name(), cpu::LEVEL_VARIABLE)),
        _ => None,
    };
    let family = cpu::LEVELS.into_iter().filter(|&level| cpu::of_this_family(level));
    family.filter_map(reason).collect()
}
