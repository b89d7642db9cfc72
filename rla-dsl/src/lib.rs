//! The language of linear-attention recurrences.
//!
//! ```
//! let text = "variant linear_attention {
//!     input q, k: key unit, v: value;
//!     state S: value x key;
//!     S[t] = S[t-1] + v * k^T;
//!     output o = S[t] * q;
//! }";
//! let parsed = rla_dsl::parse(text).unwrap_or_else(|problems| panic!("{}", problems.render("example.rla", text)));
//! assert_eq!(parsed.variants[0].name, "linear_attention");
//! ```
//!
//! Reading order: [`recurrence`] (what a checked recurrence is), `ast` (what was written), `token`, `lex` and `parse`
//! (the grammar), `symbol` (the words), `check` (the rules), [`print`](mod@print) (canonical text), [`diagnostic`] (what is said when
//! something is wrong), [`builtin`](mod@builtin) (published recurrences), [`identity`](mod@identity) (one number a recurrence). The language knows no chunk, tile or device.
#![forbid(unsafe_code)]

mod ast;
pub mod builtin;
mod check;
pub mod diagnostic;
pub mod identity;
mod lex;
mod parse;
pub mod print;
pub mod recurrence;
mod symbol;
mod token;

pub use builtin::{BUILTINS, builtin};
pub use diagnostic::{Diagnostic, Diagnostics, Note, Severity};
pub use print::print;
pub use recurrence::Recurrence;
pub use token::TokenSpans;

use diagnostic::{Collector, Message};
use recurrence::Span;

/// An accepted text.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// Its variants, at least one, in order.
    pub variants: Vec<Recurrence>,
    /// What is accepted and probably not meant.
    pub warnings: Diagnostics,
}

impl Parsed {
    /// The variant of that name.
    pub fn variant(&self, name: &str) -> Option<&Recurrence> {
        self.variants.iter().find(|variant| variant.name == name)
    }
}

/// Reads the text of a `.rla` file.
///
/// Any text gets an answer: the variants, or every problem that was found.
pub fn parse(text: &str) -> Result<Parsed, Diagnostics> {
    let mut out = Collector::new();
    let tokens = token::read_text(text, &mut out);
    answer(tokens, out)
}

/// Reads the bytes of a `.rla` file; bytes that are not UTF-8 are a problem like any other.
pub fn parse_bytes(bytes: &[u8]) -> Result<Parsed, Diagnostics> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(text),
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
            let line = before.matches('\n').count() as u32 + 1;
            let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) as u32;
            let span = Span { line, column, end_line: line, end_column: column + 1, ..Span::default() };
            let mut out = Collector::new();
            out.report(Message::NotText { offset: error.valid_up_to().to_string() }, span);
            Err(out.finish())
        }
    }
}

/// Reads the tokens of `rla_variant! { .. }`, or of any macro's body; the same language as [`parse`].
///
/// The spans that come back lead from a diagnostic to the user's own tokens.
pub fn parse_tokens(stream: proc_macro2::TokenStream) -> (Result<Parsed, Diagnostics>, TokenSpans) {
    let mut out = Collector::new();
    let mut spans = TokenSpans::default();
    let tokens = token::read_stream(stream, &mut spans, &mut out);
    (answer(tokens, out), spans)
}

fn answer(tokens: Option<Vec<token::Token>>, mut out: Collector) -> Result<Parsed, Diagnostics> {
    let variants = match tokens {
        Some(tokens) => {
            let variants = parse::file(&tokens, &mut out);
            check::file(&variants, &mut out)
        }
        None => Vec::new(),
    };
    let diagnostics = out.finish();
    if diagnostics.has_errors() { Err(diagnostics) } else { Ok(Parsed { variants, warnings: diagnostics }) }
}
