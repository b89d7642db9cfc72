//! Golden cases: results of another program, computed token by token in double precision.
use rla_dsl::recurrence::Recurrence;
use rla_runtime::case::{Case, metadata};
use std::path::{Path, PathBuf};

/// A case with its recurrence.
pub struct Golden {
    /// `VARIANT.LABEL`.
    pub name: String,
    /// The built-in variant of that name.
    pub recurrence: Recurrence,
    /// Inputs and results.
    pub case: Case,
}

/// The files, each name once: those of this repository, and all of the folder `RLA_GOLDEN` where it is set.
pub fn files() -> Vec<PathBuf> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")];
    folders.extend(std::env::var_os("RLA_GOLDEN").map(PathBuf::from));
    let mut files = vec![];
    for folder in folders {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let paths = entries.map(|entry| entry.expect("a readable folder").path());
        files.extend(paths.filter(|path| path.extension().is_some_and(|e| e == "safetensors")));
    }
    files.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
    files.dedup_by_key(|path| path.file_name().map(ToOwned::to_owned));
    files
}

/// Reads a file and finds its variant among the built-in ones.
pub fn read(path: &Path) -> Golden {
    let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{name}: {e}"));
    let variant = metadata(&bytes, path).unwrap_or_else(|e| panic!("{name}: {e}")).variant;
    let variant = variant.unwrap_or_else(|| panic!("{name}: names no variant"));
    let recurrence = built_in(&variant);
    let case = Case::from_bytes(&bytes, path, &recurrence, &[]).unwrap_or_else(|e| panic!("{name}: {e}"));
    Golden { name, recurrence, case }
}

/// A built-in variant.
pub fn built_in(name: &str) -> Recurrence {
    parse(rla_dsl::builtin(name).unwrap_or_else(|| panic!("no built-in variant `{name}`")))
}

/// The first variant of a text that must be accepted.
pub fn parse(text: &str) -> Recurrence {
    let parsed = rla_dsl::parse(text);
    parsed.unwrap_or_else(|problems| panic!("{}", problems.render("text", text))).variants.remove(0)
}
