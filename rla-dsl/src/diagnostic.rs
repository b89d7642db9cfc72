//! Diagnostics: what the language says about a text, where, and what would fit.
//!
//! All diagnostics of a text are collected and handed out together, errors and warnings, in the order of the text.

mod message;
mod render;

use std::fmt;

use serde::Serialize;

use crate::recurrence::Span;
pub use message::CODES;
pub(crate) use message::Message;

/// After so many errors in one text the rest is not looked for: the reader has enough to do.
pub const MOST: usize = 64;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The text is refused.
    Error,
    /// The text is accepted, and probably not what was meant.
    Warning,
    /// The text is accepted; worth knowing. The language reports none itself: the compiler does, of a checked recurrence.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
}

/// What belongs to a diagnostic: a hint, or another place in the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The text.
    pub message: String,
    /// The place that it speaks of; `None` for a hint.
    pub span: Option<Span>,
}

/// One diagnostic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// A stable word for the kind of problem, one of [`CODES`].
    pub code: &'static str,
    /// One sentence.
    pub message: String,
    /// Where.
    pub span: Span,
    /// Hints and other places.
    pub notes: Vec<Note>,
}

impl Diagnostic {
    /// Adds a hint.
    pub(crate) fn help(&mut self, message: impl Into<String>) -> &mut Self {
        self.notes.push(Note { message: message.into(), span: None });
        self
    }

    /// Adds another place.
    pub(crate) fn at(&mut self, message: impl Into<String>, span: Span) -> &mut Self {
        self.notes.push(Note { message: message.into(), span: Some(span) });
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.span.line, self.span.column + 1, self.severity, self.message)
    }
}

/// All diagnostics of a text, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether one is an error.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    /// All of them with their source lines and carets, each followed by an empty line.
    pub fn render(&self, file_name: &str, text: &str) -> String {
        render::all(&self.list, file_name, text)
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(list: I) -> Self {
        Diagnostics { list: list.into_iter().collect() }
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.list.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// Collects diagnostics. Dropping it without [`Collector::finish`] is a bug, and panics.
pub(crate) struct Collector {
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    /// How many were reported beyond [`MOST`], and the last of them.
    more: usize,
    spill: Option<Diagnostic>,
    read: bool,
}

impl Collector {
    pub(crate) fn new() -> Self {
        Collector { errors: Vec::new(), warnings: Vec::new(), more: 0, spill: None, read: false }
    }

    /// Reports `message` at `span`; hints may be added to what comes back.
    pub(crate) fn report(&mut self, message: Message, span: Span) -> &mut Diagnostic {
        let diagnostic = message.into_diagnostic(span);
        let list = match diagnostic.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning | Severity::Note => &mut self.warnings,
        };
        if list.len() == MOST {
            self.more += 1;
            return self.spill.insert(diagnostic);
        }
        list.push(diagnostic);
        list.last_mut().expect("just pushed")
    }

    /// How many errors so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors.len()
    }

    /// Whether looking for more errors is pointless.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() == MOST
    }

    /// All that was reported, in the order of the text.
    pub(crate) fn finish(mut self) -> Diagnostics {
        self.read = true;
        let full = self.is_full();
        let mut list = std::mem::take(&mut self.errors);
        list.append(&mut self.warnings);
        list.sort_by_key(|d| (d.span.line, d.span.column));
        if full || self.more > 0 {
            let span = list.last().expect("not empty").span;
            list.push(Message::TooMany {}.into_diagnostic(span));
        }
        Diagnostics { list }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if !self.read && !std::thread::panicking() {
            panic!("diagnostics were dropped unread");
        }
    }
}
