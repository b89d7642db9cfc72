//! `.rla` files and `rla_variant!` bodies of a crate.
use crate::error::Error;
use rla_dsl::Recurrence;
use std::path::{Path, PathBuf};
use syn::visit::Visit;

/// What a crate's sources hold.
#[derive(Debug, Default)]
pub struct Found {
    /// The recurrences, files in alphabetical order; each name and text once.
    pub variants: Vec<Recurrence>,
    /// Every file that was looked into, and the folders, for cargo's change detection.
    pub watched: Vec<PathBuf>,
}

/// Folders of a crate that hold its code.
const FOLDERS: [&str; 5] = ["src", "examples", "tests", "benches", "variants"];

/// Looks through the code folders of the crate at `root`.
pub fn variants(root: &Path) -> Result<Found, Error> {
    let mut found = Found::default();
    for folder in FOLDERS.map(|name| root.join(name)) {
        if folder.is_dir() {
            walk(&folder, &mut found)?;
            found.watched.push(folder);
        }
    }
    Ok(found)
}

fn walk(folder: &Path, found: &mut Found) -> Result<(), Error> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::file(folder, e))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let extension = path.extension().and_then(|e| e.to_str());
        if path.is_dir() {
            // a crate of its own inside this one is compiled by its own build script
            if !path.join("Cargo.toml").is_file() {
                walk(&path, found)?;
            }
        } else if extension == Some("rla") {
            let bytes = std::fs::read(&path).map_err(|e| Error::file(&path, e))?;
            match rla_dsl::parse_bytes(&bytes) {
                Ok(parsed) => add(parsed.variants, found),
                Err(d) => {
                    let text = String::from_utf8_lossy(&bytes);
                    return Err(Error::Recurrence(d.render(&path.display().to_string(), &text)));
                }
            }
        } else if extension == Some("rs") {
            let text = std::fs::read_to_string(&path).map_err(|e| Error::file(&path, e))?;
            if text.contains("rla_variant!") {
                bodies(&text, found);
            }
        }
    }
    Ok(())
}

/// The variants of the macros in a Rust text. What does not parse is left to the compiler, which reports it in place.
fn bodies(text: &str, found: &mut Found) {
    struct Macros<'a>(&'a mut Found);
    impl<'ast> Visit<'ast> for Macros<'_> {
        fn visit_macro(&mut self, node: &'ast syn::Macro) {
            if node.path.segments.last().is_some_and(|segment| segment.ident == "rla_variant")
                && let (Ok(parsed), _) = rla_dsl::parse_tokens(node.tokens.clone())
            {
                add(parsed.variants, self.0);
            }
        }
    }
    if let Ok(file) = syn::parse_file(text) {
        Macros(found).visit_file(&file);
    }
}

fn add(variants: Vec<Recurrence>, found: &mut Found) {
    for variant in variants {
        let text = rla_dsl::print(&variant);
        if !found.variants.iter().any(|known| rla_dsl::print(known) == text) {
            found.variants.push(variant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str =
        "{ input q, k: key, v: value; state S: value x key; S[t] = S[t-1] + v * k^T; output o = S[t] * q; }";

    #[test]
    fn files_and_macro_bodies_are_found_once_each() {
        let root = std::env::temp_dir().join(format!("rla-find-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join("src/deep")).unwrap();
        std::fs::create_dir_all(root.join("target")).unwrap();
        let macros = format!(
            "mod m {{ rla::rla_variant! {{ pub variant b {BODY} }} }} fn f() {{ rla_variant! {{ variant c {BODY} }} }}"
        );
        std::fs::write(root.join("src/lib.rs"), macros).unwrap();
        std::fs::write(root.join("src/deep/a.rla"), format!("variant a {BODY}\nvariant b {BODY}")).unwrap();
        std::fs::write(root.join("src/broken.rs"), "rla_variant! { variant d { } }").unwrap();
        std::fs::write(root.join("target/x.rla"), format!("variant x {BODY}")).unwrap();
        let found = variants(&root).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        let names: Vec<_> = found.variants.iter().map(|v| v.name.as_str()).collect();
        // `pub` is part of a variant: b twice
        assert_eq!(names, ["a", "b", "b", "c"]);
        assert_eq!(found.watched, [root.join("src")]);
    }

    #[test]
    fn a_broken_file_is_an_error_with_its_line() {
        let root = std::env::temp_dir().join(format!("rla-find-broken-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join("src")).unwrap();
        std::fs::write(root.join("src/a.rla"), "variant a { output o = q; }").unwrap();
        let error = variants(&root).unwrap_err();
        std::fs::remove_dir_all(&root).unwrap();
        assert!(matches!(&error, Error::Recurrence(text) if text.contains("a.rla:1:24")), "{error}");
    }
}
