//! VARIANT or FILE: where a recurrence comes from.
use rla_dsl::{Diagnostics, Parsed, Recurrence};
use rla_runtime::Error;
use std::io::Read;
use std::path::Path;

/// More bytes than this are not read: the language's own limit is far below.
const MOST_BYTES: u64 = 1 << 20;

/// A text and its name in messages.
pub struct Source {
    /// The file, or the built-in variant.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Whether an argument names a file and not a built-in variant.
pub fn is_file(argument: &str) -> bool {
    argument.ends_with(".rla") || argument.contains(std::path::is_separator)
}

impl Source {
    /// Reads a file, or finds a built-in variant.
    pub fn open(argument: &str) -> Result<Source, Error> {
        if is_file(argument) {
            return Source::file(Path::new(argument));
        }
        match rla_dsl::builtin::builtin(argument) {
            Some(text) => Ok(Source { name: argument.to_string(), bytes: text.as_bytes().to_vec() }),
            None => {
                let names: Vec<_> = rla_dsl::builtin::BUILTINS.iter().map(|(name, _)| *name).collect();
                let expected = format!("a file (`.rla`, or a path) or a built-in variant ({})", names.join(", "));
                Err(Error::argument("VARIANT", expected, format!("`{argument}`")))
            }
        }
    }

    /// Reads a file.
    pub fn file(path: &Path) -> Result<Source, Error> {
        let name = path.display().to_string();
        let refused = |e: std::io::Error| Error::argument(&name, "a readable `.rla` file", e.to_string());
        let mut bytes = vec![];
        std::fs::File::open(path).and_then(|f| f.take(MOST_BYTES).read_to_end(&mut bytes)).map_err(refused)?;
        Ok(Source { name, bytes })
    }

    /// Its variants, or its diagnostics.
    pub fn parse(&self) -> Result<Parsed, Diagnostics> {
        rla_dsl::parse_bytes(&self.bytes)
    }

    /// Diagnostics with their source lines.
    pub fn render(&self, diagnostics: &Diagnostics) -> String {
        diagnostics.render(&self.name, &String::from_utf8_lossy(&self.bytes))
    }
}

/// The one recurrence that a VARIANT or FILE and `--variant` name. Warnings go to stderr.
pub fn recurrence(argument: &str, variant: Option<&str>) -> Result<(Source, Recurrence), Error> {
    let source = Source::open(argument)?;
    let parsed = source.parse().map_err(|d| Error::Recurrence(source.render(&d).trim_end().to_string()))?;
    if is_file(argument) && !parsed.warnings.is_empty() {
        eprint!("{}", source.render(&parsed.warnings));
    }
    let names = parsed.variants.iter().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", ");
    let chosen = match variant {
        Some(name) => parsed.variant(name).cloned().ok_or_else(|| Error::argument("--variant", &names, name))?,
        None if parsed.variants.len() > 1 => {
            let expected = format!("the name of one of the variants of {}: {names}", source.name);
            return Err(Error::argument("--variant", expected, "none"));
        }
        None => parsed.variants.into_iter().next().ok_or_else(|| Error::argument(&source.name, "a variant", "none"))?,
    };
    Ok((source, chosen))
}
