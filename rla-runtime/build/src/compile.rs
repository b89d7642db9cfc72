//! Text to code by the installed rustc: a library to load at run time, or an object for a build script to link.
use crate::error::Error;
use rla_codegen::kernel::fingerprint;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Flags that every kernel is compiled with, whatever the profile of the program around it.
const FLAGS: [&str; 7] = [
    "--edition=2024",
    "-Copt-level=3",
    "-Cpanic=abort",
    "-Cdebuginfo=0",
    "-Coverflow-checks=no",
    "-Cdebug-assertions=no",
    "--cap-lints=allow",
];

/// What makes a kernel's text a library of its own. The personality is never called, since panics abort, but core's own
/// code names it.
const LIBRARY_PROLOGUE: &str = "#![no_std]\n#[panic_handler]\nfn panic(_: &core::panic::PanicInfo) -> ! { loop {} }\n\
    #[unsafe(no_mangle)]\nextern \"C\" fn rust_eh_personality() {}\n";
/// What makes it an object to link into a Rust program.
const OBJECT_PROLOGUE: &str = "#![no_std]\n";

/// A folder of compiled texts, found again by their contents.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// A compiled text.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The library or object.
    pub path: PathBuf,
    /// The text beside it.
    pub source: PathBuf,
    /// It was there already.
    pub cached: bool,
}

/// What rustc makes of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind<'a> {
    Library,
    LibraryByOneThread,
    Object { target: Option<&'a str> },
}

impl Cache {
    /// `RLA_CACHE`, else `rla` in the user's cache folder (`XDG_CACHE_HOME`, `~/.cache`), else in the system's temporary one.
    pub fn of_user() -> Cache {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = set("RLA_CACHE").unwrap_or_else(|| {
            set("XDG_CACHE_HOME")
                .or_else(|| set("HOME").map(|home| home.join(".cache")))
                .unwrap_or_else(std::env::temp_dir)
                .join("rla")
        });
        Cache { folder }
    }

    /// Where `rla tune` keeps the candidates that it compiled.
    pub fn of_search() -> Cache {
        Cache::at(Cache::of_user().folder().join("tune"))
    }

    /// A folder of the caller's choice.
    pub fn at(folder: impl Into<PathBuf>) -> Cache {
        Cache { folder: folder.into() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A library of `text`. `announce` is called before rustc runs, not when the library is there already.
    pub fn library(&self, name: &str, text: &str, announce: impl FnOnce()) -> Result<Compiled, Error> {
        self.compiled(name, text, Kind::Library, announce)
    }

    /// A library of `text` that one thread compiles: a fifth less work than by all threads, for where several are compiled at a time.
    pub fn library_by_one_thread(&self, name: &str, text: &str) -> Result<Compiled, Error> {
        self.compiled(name, text, Kind::LibraryByOneThread, || {})
    }

    /// An object of `text` for a target triple, to link into a Rust program.
    pub fn object(&self, name: &str, text: &str, target: Option<&str>) -> Result<Compiled, Error> {
        self.compiled(name, text, Kind::Object { target }, || {})
    }

    fn compiled(&self, name: &str, text: &str, kind: Kind, announce: impl FnOnce()) -> Result<Compiled, Error> {
        let text = match kind {
            Kind::Library | Kind::LibraryByOneThread => format!("{LIBRARY_PROLOGUE}{text}"),
            Kind::Object { .. } => format!("{OBJECT_PROLOGUE}{text}"),
        };
        let suffix = match kind {
            Kind::Library | Kind::LibraryByOneThread => std::env::consts::DLL_SUFFIX,
            Kind::Object { .. } => ".o",
        };
        let stem = format!("{name}-{:032x}", fingerprint(&[&text, &FLAGS.join(" "), &format!("{kind:?}")]));
        let path = self.folder.join(format!("{stem}{suffix}"));
        let source = self.folder.join(format!("{stem}.rs"));
        // the text is written last: where it is there and equal, the code beside it is whole and its own
        if std::fs::read(&source).is_ok_and(|there| there == text.as_bytes()) && path.is_file() {
            return Ok(Compiled { path, source, cached: true });
        }
        announce();
        std::fs::create_dir_all(&self.folder).map_err(|e| Error::file(&self.folder, e))?;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let own = format!("{stem}.{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (new_source, new_path) =
            (self.folder.join(format!("{own}.rs")), self.folder.join(format!("{own}{suffix}.new")));
        let result = std::fs::write(&new_source, &text)
            .map_err(|e| Error::file(&new_source, e))
            .and_then(|()| rustc(&new_source, &new_path, kind))
            .and_then(|()| std::fs::rename(&new_path, &path).map_err(|e| Error::file(&path, e)))
            .and_then(|()| std::fs::rename(&new_source, &source).map_err(|e| Error::file(&source, e)));
        if result.is_err() {
            let _ = std::fs::remove_file(&new_path);
            if !matches!(result, Err(Error::Rustc { .. })) {
                let _ = std::fs::remove_file(&new_source);
            }
        }
        result.map(|()| Compiled { path, source, cached: false })
    }
}

/// What the rustc that compiles kernels calls itself; nothing where there is none.
pub fn rustc_version() -> Option<String> {
    let run = Command::new(rustc_program()).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    run.status.success().then(|| text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

fn rustc_program() -> PathBuf {
    std::env::var_os("RUSTC").filter(|value| !value.is_empty()).map_or("rustc".into(), PathBuf::from)
}

fn rustc(source: &Path, output: &Path, kind: Kind) -> Result<(), Error> {
    let program = rustc_program();
    let mut command = Command::new(&program);
    command.args(FLAGS).arg("--crate-name=rla_kernel").arg("-o").arg(output).arg(source);
    match kind {
        Kind::Library => {
            command.args(["--crate-type=cdylib", "-Cstrip=symbols"]);
        }
        Kind::LibraryByOneThread => {
            command.args(["--crate-type=cdylib", "-Cstrip=symbols", "-Ccodegen-units=1"]);
        }
        Kind::Object { target } => {
            command.args(["--crate-type=lib", "--emit=obj", "-Ccodegen-units=1"]);
            if let Some(target) = target {
                command.arg(format!("--target={target}"));
            }
        }
    }
    let run = command.output().map_err(|e| Error::NoRustc { program, reason: e.to_string() })?;
    if run.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&run.stderr);
    let message = message.lines().take(60).collect::<Vec<_>>().join("\n");
    Err(Error::Rustc { source: source.to_path_buf(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "#[unsafe(no_mangle)] pub extern \"C\" fn rla_two() -> u32 { 2 }\n";

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("rla-build-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn a_text_is_compiled_once() {
        let cache = Cache::at(folder("once"));
        let mut announced = 0;
        let first = cache.library("two", TEXT, || announced += 1).unwrap();
        let again = cache.library("two", TEXT, || announced += 1).unwrap();
        let other = cache.library("two", &TEXT.replace("{ 2 }", "{ 3 }"), || announced += 1).unwrap();
        assert_eq!((first.cached, again.cached, other.cached, announced), (false, true, false, 2));
        assert_eq!(first.path, again.path);
        assert_ne!(first.path, other.path);
        let left: Vec<_> = std::fs::read_dir(cache.folder()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 4, "two libraries, two texts, no temporary file: {left:?}");
        std::fs::remove_dir_all(cache.folder()).unwrap();
    }

    #[test]
    fn a_cached_file_whose_text_differs_is_made_again() {
        let cache = Cache::at(folder("differs"));
        let first = cache.library("two", TEXT, || {}).unwrap();
        std::fs::write(&first.source, "half a te").unwrap();
        assert!(!cache.library("two", TEXT, || {}).unwrap().cached);
        std::fs::remove_dir_all(cache.folder()).unwrap();
    }

    #[test]
    fn a_refused_text_says_what_rustc_said() {
        let cache = Cache::at(folder("refused"));
        let error = cache.library("bad", "fn f() -> u32 { \"x\" }", || {}).unwrap_err();
        assert!(matches!(&error, Error::Rustc { message, .. } if message.contains("mismatched types")), "{error}");
        std::fs::remove_dir_all(cache.folder()).unwrap();
    }

    #[test]
    fn objects_are_made_too() {
        let cache = Cache::at(folder("object"));
        let object = cache.object("two", TEXT, None).unwrap();
        assert!(object.path.extension().is_some_and(|e| e == "o"));
        std::fs::remove_dir_all(cache.folder()).unwrap();
    }
}
