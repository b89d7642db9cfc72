//! What build scripts do: kernels of some recurrences, compiled to objects, archived, linked; and for rla-kernels a table of
//! them in Rust. Also CUDA kernels to machine code, ahead of time (`cubins`).
mod cubins;
mod tuning;

use crate::compile::Cache;
use crate::error::Error;
use crate::table::{Chosen, DEVICE_VARIABLE, TABLE_VARIABLE, Tables};
use crate::{find, machine};
use rla_codegen::kernel::{CpuKernel, Form, Level};
use rla_codegen::pipeline;
use rla_dsl::Recurrence;
use rla_dsl::identity::kernels_variable;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Seconds that a build may search for the machine that it runs on.
pub const TUNE_VARIABLE: &str = "RLA_TUNE";

/// Compiles the kernels of every recurrence in this crate: `.rla` files and `rla_variant!` bodies. The one line of a
/// build script:
///
/// ```text
/// fn main() {
///     rla_build::kernels();
/// }
/// ```
///
/// The kernels are optimised whatever the profile. An error ends the build with its message.
pub fn kernels() {
    finish(own_kernels());
}

/// Compiles the kernels of built-in variants and writes `OUT_DIR/kernels.rs`, a table of them. For rla-kernels.
pub fn builtin(names: &[&str]) {
    finish(builtin_kernels(names));
}

/// Compiles CUDA kernels of built-in variants by NVRTC and writes `OUT_DIR/cubins.rs`, a table of them. For rla-kernels.
pub fn cubins(names: &[&str]) {
    finish(cubins::builtin_cubins(names));
}

fn finish(result: Result<(), Error>) {
    if let Err(error) = result {
        for line in error.to_string().lines() {
            println!("cargo::error={line}");
        }
        eprintln!("{error}");
        std::process::exit(1);
    }
}

/// What cargo tells a build script.
struct Script {
    out: PathBuf,
    target: String,
    /// Whether what is built runs on the machine that builds.
    native: bool,
    levels: Vec<Level>,
    /// The archive of all objects, named after the package: two of one name would hide one another.
    archive: String,
}

impl Script {
    fn new() -> Result<Script, Error> {
        let var = |name: &str| {
            std::env::var(name).map_err(|_| Error::file(Path::new(name), "not set: this runs in a build script only"))
        };
        let levels = match var("CARGO_CFG_TARGET_ARCH")?.as_str() {
            "x86_64" => vec![Level::Avx512, Level::Avx2, Level::Portable],
            "aarch64" => vec![Level::Neon, Level::Portable],
            _ => vec![Level::Portable],
        };
        let native = var("HOST")? == var("TARGET")?;
        let archive = format!("rla_kernels_of_{}", var("CARGO_PKG_NAME")?.replace('-', "_"));
        Ok(Script { out: var("OUT_DIR")?.into(), target: var("TARGET")?, native, levels, archive })
    }

    /// Parameters of a recurrence: for the level that this machine runs; for another machine, whose level only its table
    /// knows, for the best that the table has a row of.
    fn choose(&self, tables: &Tables, recurrence: &Recurrence) -> Result<Chosen, Error> {
        if self.native {
            return tables.choose(recurrence, machine::best());
        }
        let all = self.levels.iter().map(|&level| tables.choose(recurrence, level)).collect::<Result<Vec<_>, _>>()?;
        let tuned = all.iter().position(|chosen| !chosen.tuned.is_empty()).unwrap_or(0);
        all.into_iter().nth(tuned).ok_or_else(|| Error::Compile("a target without instruction sets".into()))
    }

    /// The tables that fit the device: this crate's own in `folder`, those of rla-build, and where `RLA_TUNE` gives seconds
    /// what is found now, or was found by an earlier build.
    fn tables(&self, recurrences: &[Recurrence], folder: &Path) -> Result<Tables, Error> {
        for name in [TUNE_VARIABLE, DEVICE_VARIABLE, TABLE_VARIABLE] {
            println!("cargo::rerun-if-env-changed={name}");
        }
        let named = std::env::var(DEVICE_VARIABLE).ok().filter(|name| !name.is_empty());
        let this = if self.native { machine::device() } else { "default".to_string() };
        let device = named.clone().unwrap_or_else(|| this.clone());
        let file = format!("{}.toml", machine::file_name(&device));
        let own = folder.join(&file);
        if !folder.as_os_str().is_empty() {
            println!("cargo::rerun-if-changed={}", if own.is_file() { &own } else { Path::new("build.rs") }.display());
        }
        if let Some(path) = std::env::var_os(TABLE_VARIABLE).filter(|path| path != "default" && !path.is_empty()) {
            println!("cargo::rerun-if-changed={}", Path::new(&path).display());
        }
        let asked = std::env::var(TUNE_VARIABLE).ok().filter(|value| !value.is_empty());
        let Some(asked) = asked else { return Tables::of(&device, &[own]) };
        let seconds: f64 = asked.parse().ok().filter(|s: &f64| s.is_finite() && *s > 0.0).ok_or_else(|| {
            Error::Compile(format!("{TUNE_VARIABLE}: expected a number of seconds above 0, found `{asked}`"))
        })?;
        if !self.native || device != this {
            return Err(Error::Compile(format!(
                "{TUNE_VARIABLE}: a build for another machine cannot search; name its table with {DEVICE_VARIABLE} or {TABLE_VARIABLE}"
            )));
        }
        let found = self.out.join("tunings").join(file);
        let before = Tables::of(&device, &[own.clone(), found.clone()])?;
        tuning::search(&self.out, recurrences, &before, &device, &found, seconds)?;
        Tables::of(&device, &[own, found])
    }

    /// Objects of all recurrences, several at a time.
    fn compile(&self, recurrences: &[Recurrence], tables: &Tables) -> Result<Vec<Built>, Error> {
        let cache = Cache::at(self.out.join("kernels"));
        let workers = std::env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1usize).max(1);
        let one = |recurrence: &Recurrence| {
            let built = built(recurrence, self.choose(tables, recurrence)?, &self.levels)?;
            let object = cache.object(&built.kernel.symbol, &built.kernel.source, Some(&self.target))?;
            Ok((built, object.path))
        };
        let mut results: Vec<Result<(Built, PathBuf), Error>> = vec![];
        for batch in recurrences.chunks(workers) {
            std::thread::scope(|scope| {
                let handles: Vec<_> = batch.iter().map(|r| scope.spawn(|| one(r))).collect();
                let joined = handles.into_iter().map(|h| h.join());
                results.extend(joined.map(|r| {
                    r.unwrap_or_else(|_| Err(Error::Compile("the kernel compiler panicked: a defect of ours".into())))
                }));
            });
        }
        let mut kernels = vec![];
        let mut archive = cc::Build::new();
        // which crates link it is said where the kernels are declared: a package's tests and examples have variants too
        archive.cargo_metadata(false);
        for result in results {
            let (built, object) = result?;
            archive.object(object);
            // seen with `cargo build -vv`
            println!("rla: {}: {}; {}", built.name, built.kernel.configuration, built.tuning);
            kernels.push(built);
        }
        if !kernels.is_empty() {
            let archived = archive.try_compile(&self.archive);
            archived.map_err(|e| Error::Compile(format!("the objects could not be archived: {e}")))?;
            println!("cargo::rustc-link-search=native={}", self.out.display());
        }
        Ok(kernels)
    }
}

/// The kernels of a recurrence.
struct Built {
    name: String,
    kernel: CpuKernel,
    form: Form,
    tuning: String,
}

/// The kernels of a recurrence as text: chunk-parallel where it is of the class, else token by token.
fn built(recurrence: &Recurrence, chosen: Chosen, levels: &[Level]) -> Result<Built, Error> {
    let name = recurrence.name.clone();
    let form = if rla_codegen::canon::canonicalize(recurrence).is_ok() { Form::Chunk } else { Form::Token };
    let kernel = pipeline::cpu_kernel(recurrence, form, &chosen.schedule, levels);
    let kernel = kernel.map_err(|e| Error::Compile(format!("{name}: {e}")))?;
    Ok(Built { name, kernel, form, tuning: chosen.line() })
}

fn own_kernels() -> Result<(), Error> {
    let script = Script::new()?;
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".into()));
    let found = find::variants(&root)?;
    println!("cargo::rerun-if-changed=build.rs");
    for path in &found.watched {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let tables = script.tables(&found.variants, &root.join("tunings"))?;
    let kernels = script.compile(&found.variants, &tables)?;
    for (recurrence, built) in found.variants.iter().zip(&kernels) {
        // read by what `rla_variant!` expands to
        let path = script.out.join(format!("{}.rs", built.kernel.symbol));
        let (declarations, row) = described(built, &script.archive);
        write(&path, &format!("{{\n{declarations}static COMPILED: Compiled = {row};\n&COMPILED\n}}\n"))?;
        println!("cargo::rustc-env={}={}", kernels_variable(recurrence), path.display());
    }
    Ok(())
}

fn builtin_kernels(names: &[&str]) -> Result<(), Error> {
    let script = Script::new()?;
    println!("cargo::rerun-if-changed=build.rs");
    let recurrences = recurrences(names)?;
    let tables = script.tables(&recurrences, Path::new(""))?;
    let kernels = script.compile(&recurrences, &tables)?;
    let described: Vec<_> = kernels.iter().map(|built| described(built, &script.archive)).collect();
    let mut text: String = described.iter().map(|(declarations, _)| declarations.as_str()).collect();
    let rows: String = described.iter().map(|(_, row)| format!("    {row},\n")).collect();
    let _ = writeln!(text, "\n/// What was compiled in.\npub static KERNELS: &[Compiled] = &[\n{rows}];");
    write(&script.out.join("kernels.rs"), &text)
}

fn recurrences(names: &[&str]) -> Result<Vec<Recurrence>, Error> {
    let mut recurrences = vec![];
    for name in names {
        let text = rla_dsl::builtin::builtin(name);
        let text = text.ok_or_else(|| Error::Compile(format!("`{name}` is no built-in variant")))?;
        let parsed = rla_dsl::parse(text).map_err(|d| Error::Recurrence(d.render(name, text)))?;
        recurrences.extend(parsed.variants);
    }
    Ok(recurrences)
}

/// An unchanged file keeps its time, so that cargo compiles nothing again.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    std::fs::write(path, text).map_err(|e| Error::file(path, e))
}

/// A kernel in Rust: the declarations of its entries, and the value that describes it.
fn described(built: &Built, archive: &str) -> (String, String) {
    let Built { kernel, form, tuning, .. } = built;
    let CpuKernel { symbol, levels, chunk, chunk_bf16, configuration, .. } = kernel;
    let mut declarations =
        format!("#[allow(unsafe_code)]\n#[link(name = {archive:?}, kind = \"static\")]\nunsafe extern \"C\" {{\n");
    let mut entries = String::new();
    for level in levels {
        let name = level.name();
        let _ = writeln!(declarations, "    fn {symbol}_{name}() -> Entry;");
        let _ = write!(entries, "(Level::{level:?}, {symbol}_{name}), ");
    }
    declarations += "}\n";
    let row = format!(
        "Compiled {{ symbol: {symbol:?}, form: Form::{form:?}, chunk: {chunk}, chunk_bf16: {chunk_bf16}, \
         configuration: {configuration:?}, tuning: {tuning:?}, entries: &[{entries}] }}"
    );
    (declarations, row)
}

/// The names of all built-in variants.
pub fn builtin_names() -> Vec<&'static str> {
    rla_dsl::builtin::BUILTINS.iter().map(|(name, _)| *name).collect()
}
