//! What build scripts do: kernels of some recurrences, compiled to objects, archived, linked; and for rla-kernels a table of
//! them in Rust.
use crate::compile::Cache;
use crate::error::Error;
use crate::find;
use crate::table::Table;
use rla_codegen::kernel::{CpuKernel, Form, Level};
use rla_codegen::pipeline;
use rla_dsl::Recurrence;
use rla_dsl::identity::kernels_variable;
use std::fmt::Write;
use std::path::{Path, PathBuf};

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
        let archive = format!("rla_kernels_of_{}", var("CARGO_PKG_NAME")?.replace('-', "_"));
        Ok(Script { out: var("OUT_DIR")?.into(), target: var("TARGET")?, levels, archive })
    }

    /// Objects of all recurrences, several at a time.
    fn compile(&self, recurrences: &[Recurrence], table: &Table) -> Result<Vec<(CpuKernel, Form)>, Error> {
        let cache = Cache::at(self.out.join("kernels"));
        let workers = std::env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1usize).max(1);
        let one = |recurrence: &Recurrence| {
            let (kernel, form) = text(recurrence, table, &self.levels)?;
            let object = cache.object(&kernel.symbol, &kernel.source, Some(&self.target))?;
            Ok((kernel, form, object.path))
        };
        let mut results: Vec<Result<(CpuKernel, Form, PathBuf), Error>> = vec![];
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
            let (kernel, form, object) = result?;
            archive.object(object);
            kernels.push((kernel, form));
        }
        if !kernels.is_empty() {
            let archived = archive.try_compile(&self.archive);
            archived.map_err(|e| Error::Compile(format!("the objects could not be archived: {e}")))?;
            println!("cargo::rustc-link-search=native={}", self.out.display());
        }
        Ok(kernels)
    }
}

/// The kernels of a recurrence as text: chunk-parallel where it is of the class, else token by token.
fn text(recurrence: &Recurrence, table: &Table, levels: &[Level]) -> Result<(CpuKernel, Form), Error> {
    let form = if rla_codegen::canon::canonicalize(recurrence).is_ok() { Form::Chunk } else { Form::Token };
    let schedule = table.schedule(&recurrence.name)?;
    let kernel = pipeline::cpu_kernel(recurrence, form, &schedule, levels);
    let kernel = kernel.map_err(|e| Error::Compile(format!("{}: {e}", recurrence.name)))?;
    Ok((kernel, form))
}

fn own_kernels() -> Result<(), Error> {
    let script = Script::new()?;
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| ".".into()));
    let found = find::variants(&root)?;
    println!("cargo::rerun-if-changed=build.rs");
    for path in &found.watched {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let kernels = script.compile(&found.variants, &Table::shipped()?)?;
    for (recurrence, (kernel, form)) in found.variants.iter().zip(&kernels) {
        // read by what `rla_variant!` expands to
        let path = script.out.join(format!("{}.rs", kernel.symbol));
        let (declarations, row) = described(kernel, *form, &script.archive);
        write(&path, &format!("{{\n{declarations}static COMPILED: Compiled = {row};\n&COMPILED\n}}\n"))?;
        println!("cargo::rustc-env={}={}", kernels_variable(recurrence), path.display());
    }
    Ok(())
}

fn builtin_kernels(names: &[&str]) -> Result<(), Error> {
    let script = Script::new()?;
    println!("cargo::rerun-if-changed=build.rs");
    let mut recurrences = vec![];
    for name in names {
        let text = rla_dsl::builtin::builtin(name);
        let text = text.ok_or_else(|| Error::Compile(format!("`{name}` is no built-in variant")))?;
        let parsed = rla_dsl::parse(text).map_err(|d| Error::Recurrence(d.render(name, text)))?;
        recurrences.extend(parsed.variants);
    }
    let kernels = script.compile(&recurrences, &Table::shipped()?)?;
    let described: Vec<_> = kernels.iter().map(|(kernel, form)| described(kernel, *form, &script.archive)).collect();
    let mut text: String = described.iter().map(|(declarations, _)| declarations.as_str()).collect();
    let rows: String = described.iter().map(|(_, row)| format!("    {row},\n")).collect();
    let _ = writeln!(text, "\n/// What was compiled in.\npub static KERNELS: &[Compiled] = &[\n{rows}];");
    write(&script.out.join("kernels.rs"), &text)
}

/// An unchanged file keeps its time, so that cargo compiles nothing again.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    std::fs::write(path, text).map_err(|e| Error::file(path, e))
}

/// A kernel in Rust: the declarations of its entries, and the value that describes it.
fn described(kernel: &CpuKernel, form: Form, archive: &str) -> (String, String) {
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
         configuration: {configuration:?}, entries: &[{entries}] }}"
    );
    (declarations, row)
}

/// The names of all built-in variants.
pub fn builtin_names() -> Vec<&'static str> {
    rla_dsl::builtin::BUILTINS.iter().map(|(name, _)| *name).collect()
}
