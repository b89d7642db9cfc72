//! The repository's own rules: import directions, names, sizes of files, and the paths that ARCHITECTURE.md names.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are inside the repository").to_path_buf()
}

/// Files under a folder with one of the endings, and their text.
fn files(folder: &str, endings: &[&str]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut todo = vec![root().join(folder)];
    while let Some(next) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else { continue };
        for entry in entries {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    todo.push(path);
                }
            } else if endings.iter().any(|e| path.to_string_lossy().ends_with(e)) {
                let text = std::fs::read_to_string(&path).expect("a readable text");
                out.push((path.strip_prefix(root()).unwrap().to_string_lossy().into_owned(), text));
            }
        }
    }
    out.sort();
    out
}

const FOLDERS: [&str; 5] = ["rla-dsl", "rla-codegen", "rla-runtime", "tests", "templates"];

/// Words of a text: runs of letters, digits and `_`.
fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|w| !w.is_empty()).collect()
}

#[test]
fn architecture_names_paths_that_exist() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let named: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|t| t.contains('/') && !t.contains(' ') && !t.contains('<') && !t.contains("->"))
        .collect();
    assert!(named.len() > 15, "only {} paths found: is the page still written with them?", named.len());
    let exists = |path: &str| {
        // inside the compiler, paths are given from its source folder
        [root(), root().join("rla-codegen/src"), root().join("rla-runtime/src")]
            .iter()
            .any(|base| base.join(path).exists() || base.join(format!("{path}.rs")).exists())
    };
    let gone: Vec<&&str> = named.iter().filter(|path| !exists(path)).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md names paths that are not there: {gone:?}");
}

#[test]
fn source_files_are_at_most_700_lines() {
    let mut long = Vec::new();
    for folder in FOLDERS {
        for (path, text) in files(folder, &[".rs", ".cuh", ".cu", ".tera"]) {
            let lines = text.lines().count();
            if lines > 700 {
                long.push(format!("{path}: {lines}"));
            }
        }
    }
    assert!(long.is_empty(), "split these files: {long:?}");
}

#[test]
fn the_compiler_knows_no_variant() {
    // `rla` alone is also the project's and the program's name
    let names: Vec<&str> = rla_dsl::BUILTINS.iter().map(|(name, _)| *name).filter(|name| *name != "rla").collect();
    assert!(names.len() >= 17);
    let mut found = Vec::new();
    for folder in ["rla-codegen/src", "templates"] {
        for (path, text) in files(folder, &[".rs", ".tera", ".md", ".cuh", ".cu"]) {
            let words = words(&text);
            found.extend(names.iter().filter(|n| words.contains(**n)).map(|n| format!("{path}: {n}")));
            if text.contains("\"rla\"") {
                found.push(format!("{path}: \"rla\""));
            }
        }
    }
    assert!(found.is_empty(), "variants' names in the compiler: {found:?}");
}

/// Which of our crates a folder's sources name.
fn crates_named(folder: &str) -> BTreeSet<String> {
    const OURS: [&str; 6] = ["rla_dsl", "rla_dsl_macro", "rla_codegen", "rla_build", "rla_kernels", "rla_runtime"];
    let mut out = BTreeSet::new();
    for (_, text) in files(folder, &[".rs"]) {
        for line in text.lines().filter(|l| !l.trim_start().starts_with("//")) {
            // what stands between backquotes is the text of a message
            let line: String = line.split('`').step_by(2).collect();
            let words = words(&line);
            out.extend(
                OURS.iter().filter(|c| words.contains(**c) && line.contains(&format!("{c}::"))).map(|c| c.to_string()),
            );
        }
    }
    out
}

#[test]
fn crates_import_in_one_direction() {
    let allowed: [(&str, &[&str]); 6] = [
        ("rla-dsl/src", &["rla_dsl"]),
        ("rla-dsl/macro/src", &["rla_dsl", "rla_runtime"]),
        ("rla-codegen/src", &["rla_dsl", "rla_codegen"]),
        ("rla-runtime/build/src", &["rla_dsl", "rla_codegen", "rla_build"]),
        ("rla-runtime/kernels", &["rla_build", "rla_codegen", "rla_kernels"]),
        ("rla-runtime/src", &["rla_dsl", "rla_dsl_macro", "rla_codegen", "rla_build", "rla_kernels", "rla_runtime"]),
    ];
    for (folder, may) in allowed {
        let named = crates_named(folder);
        let bad: Vec<&String> = named.iter().filter(|c| !may.contains(&c.as_str())).collect();
        assert!(bad.is_empty(), "{folder} must not import {bad:?}");
    }
}

/// Modules of the crate that a file imports: the word after `crate::`.
fn modules_named(text: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut out = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(list) => {
                let list = list.split(';').next().unwrap_or("");
                let mut depth = 0;
                for item in list.split(',') {
                    if depth == 0 {
                        out.extend(words(item.trim()).into_iter().next().map(str::to_owned));
                    }
                    depth += item.matches('{').count() as i32 - item.matches('}').count() as i32;
                }
            }
            None => {
                let word: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                out.insert(word);
            }
        }
    }
    out
}

#[test]
fn rooms_of_the_compiler_import_in_one_direction() {
    let rooms: [(&str, &[&str]); 6] = [
        ("rla-codegen/src/tile", &["tile"]),
        ("rla-codegen/src/canon", &["canon", "tile", "stack"]),
        ("rla-codegen/src/oracle", &["oracle", "data"]),
        ("rla-codegen/src/pass", &["pass", "tile", "canon"]),
        ("rla-codegen/src/schedule", &["schedule", "tile", "kernel"]),
        ("rla-codegen/src/emit", &["emit", "tile", "schedule", "kernel", "error", "abi"]),
    ];
    let mut bad = Vec::new();
    let mut seen = 0;
    for (room, may) in rooms {
        let own = files("rla-codegen/src", &[".rs"]);
        for (path, text) in own.iter().filter(|(p, _)| p.starts_with(&format!("{room}/")) || *p == format!("{room}.rs"))
        {
            seen += 1;
            for module in modules_named(text) {
                if !may.contains(&module.as_str()) {
                    bad.push(format!("{path} imports {module}"));
                }
            }
        }
    }
    assert!(seen > 20, "the rooms moved");
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn unsafe_code_is_where_it_may_be() {
    for library in ["rla-dsl/src/lib.rs", "rla-codegen/src/lib.rs", "rla-dsl/macro/src/lib.rs"] {
        let text = std::fs::read_to_string(root().join(library)).expect("a library");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{library} does not forbid unsafe code");
    }
    let mut bare = Vec::new();
    for (path, text) in files("rla-runtime", &[".rs"]) {
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            let block = code.contains("unsafe {") || code.contains("unsafe impl");
            if block && !lines[i.saturating_sub(6)..=i].iter().any(|l| l.contains("SAFETY")) {
                bare.push(format!("{path}:{}", i + 1));
            }
        }
    }
    assert!(bare.is_empty(), "unsafe without its safety sentence: {bare:?}");
}
