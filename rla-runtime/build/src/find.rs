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
            walk(root, &folder, &mut found)?;
            found.watched.push(folder);
        }
    }
    Ok(found)
}

fn walk(root: &Path, folder: &Path, found: &mut Found) -> Result<(), Error> {
    let entries = std::fs::read_dir(folder).map_err(|e| Error::file(folder, e))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let extension = path.extension().and_then(|e| e.to_str());
        if path.is_dir() {
            // a crate of its own inside this one is compiled by its own build script
            if !path.join("Cargo.toml").is_file() {
                walk(root, &path, found)?;
            }
        } else if extension == Some("rla") {
            read(&path, found)?;
        } else if extension == Some("rs") {
            let text = std::fs::read_to_string(&path).map_err(|e| Error::file(&path, e))?;
            if text.contains("rla_variant!") {
                for name in bodies(&text, found) {
                    let named = root.join(name);
                    // one that is not there is an error at its name in the crate
                    if named.is_file() {
                        read(&named, found)?;
                        found.watched.push(named);
                    }
                }
            }
        }
    }
    Ok(())
}

/// The variants of a `.rla` file.
fn read(path: &Path, found: &mut Found) -> Result<(), Error> {
    let bytes = std::fs::read(path).map_err(|e| Error::file(path, e))?;
    match rla_dsl::parse_bytes(&bytes) {
        Ok(parsed) => {
            add(parsed.variants, found);
            Ok(())
        }
        Err(d) => Err(Error::Recurrence(d.render(&path.display().to_string(), &String::from_utf8_lossy(&bytes)))),
    }
}

/// Takes the variants of the macros in a Rust text, and gives the names of the files that others name. What does not parse is
/// left to the compiler, which reports it in place.
fn bodies(text: &str, found: &mut Found) -> Vec<String> {
    struct Macros<'a>(&'a mut Found, Vec<String>);
    impl<'ast> Visit<'ast> for Macros<'_> {
        fn visit_macro(&mut self, node: &'ast syn::Macro) {
            if node.path.segments.last().is_none_or(|segment| segment.ident != "rla_variant") {
                return;
            }
            if let Ok(name) = syn::parse2::<syn::LitStr>(node.tokens.clone()) {
                self.1.push(name.value());
            } else if let (Ok(parsed), _) = rla_dsl::parse_tokens(node.tokens.clone()) {
                add(parsed.variants, self.0);
            }
        }
    }
    let mut macros = Macros(found, vec![]);
    if let Ok(file) = syn::parse_file(text) {
        macros.visit_file(&file);
    }
    macros.1
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
            "mod m {{ rla::rla_variant! {{ pub variant b {BODY} }} }} fn f() {{ rla_variant! {{ variant c {BODY} }} }}
             rla_variant!(\"other/e.rla\"); rla_variant!(\"other/nothing.rla\");"
        );
        std::fs::create_dir_all(root.join("other")).unwrap();
        std::fs::write(root.join("other/e.rla"), format!("variant e {BODY}")).unwrap();
        std::fs::write(root.join("src/lib.rs"), macros).unwrap();
        std::fs::write(root.join("src/deep/a.rla"), format!("variant a {BODY}\nvariant b {BODY}")).unwrap();
        std::fs::write(root.join("src/broken.rs"), "rla_variant! { variant d { } }").unwrap();
        std::fs::write(root.join("target/x.rla"), format!("variant x {BODY}")).unwrap();
        let found = variants(&root).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        let names: Vec<_> = found.variants.iter().map(|v| v.name.as_str()).collect();
        // `pub` is part of a variant: b twice
        assert_eq!(names, ["a", "b", "b", "c", "e"]);
        assert_eq!(found.watched, [root.join("other/e.rla"), root.join("src")]);
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
