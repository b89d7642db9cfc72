//! Why a text is no token stream, in words and with the place.
//!
//! proc-macro2 only says where it stopped. For a delimiter it stops at the place to show; for everything else the
//! character there is looked at.

use proc_macro2::LineColumn;

use crate::diagnostic::{Collector, Message};
use crate::recurrence::Span;

/// Characters that come with copied formulas, and what to write.
const LOOKALIKES: &[(char, &str)] = &[
    ('\u{2212}', "`-`"),
    ('\u{2013}', "`-`"),
    ('\u{00d7}', "`*`"),
    ('\u{22c5}', "`*`"),
    ('\u{00b7}', "`*`"),
    ('\u{2299}', "`.*`"),
    ('\u{2218}', "`.*`"),
    ('\u{22a4}', "`^T`"),
    ('\u{1d40}', "`^T`"),
    ('\u{221e}', "`inf`"),
    ('\u{2026}', "`..`"),
];

/// Reports why reading stopped at `place`.
pub(crate) fn explain(text: &str, place: LineColumn, out: &mut Collector) {
    let before: usize = text.split_inclusive('\n').take(place.line.saturating_sub(1)).map(str::len).sum();
    let rest = text.get(before..).unwrap_or("");
    let offset = before + rest.char_indices().nth(place.column).map_or(rest.len(), |(i, _)| i);
    let rest = text.get(offset..).unwrap_or("");
    let span = at(place, 1);
    match rest.chars().next() {
        Some(open @ ('(' | '[' | '{')) => {
            out.report(Message::Unclosed { open: open.to_string() }, span);
        }
        Some(close @ (')' | ']' | '}')) => match last_open(&text[..offset]) {
            Some((open, place)) => {
                out.report(Message::Mismatched { close: close.to_string(), open: open.to_string() }, span)
                    .at(format!("the open `{open}`"), at(place, 1));
            }
            None => {
                out.report(Message::Unopened { close: close.to_string() }, span);
            }
        },
        Some('/') if rest.starts_with("/*") => {
            out.report(Message::UnclosedComment {}, at(place, 2));
        }
        Some(c) => {
            let what = match c {
                '"' | '\'' => "this quotation mark".to_string(),
                c if c.is_ascii_digit() => "this number".to_string(),
                c if c.is_ascii_graphic() => format!("`{c}`"),
                c if c.is_control() || c.is_whitespace() => format!("the character U+{:04X}", c as u32),
                c => format!("`{c}` (U+{:04X})", c as u32),
            };
            let diagnostic = out.report(Message::UnknownCharacter { what }, span);
            if let Some((_, write)) = LOOKALIKES.iter().find(|row| row.0 == c) {
                diagnostic.help(format!("write {write}"));
            }
        }
        None => {
            out.report(Message::UnknownCharacter { what: "the end of the text".to_string() }, span);
        }
    }
}

fn at(place: LineColumn, width: u32) -> Span {
    let (line, column) = (place.line as u32, place.column as u32);
    Span { line, column, end_line: line, end_column: column + width, ..Span::default() }
}

/// The last delimiter still open at the end of `text`. Comments are skipped; no other token hides a delimiter, except
/// a quoted one, which is refused anyway.
fn last_open(text: &str) -> Option<(char, LineColumn)> {
    let mut open = Vec::new();
    let (mut line, mut column) = (1, 0);
    let mut chars = text.chars().peekable();
    let mut comment = 0; // depth of block comments
    let mut to_end = false; // in a line comment
    while let Some(c) = chars.next() {
        let place = LineColumn { line, column };
        column += 1;
        if c == '\n' {
            (line, column, to_end) = (line + 1, 0, false);
        } else if to_end {
            continue;
        } else if c == '/' && chars.peek() == Some(&'*') || c == '*' && comment > 0 && chars.peek() == Some(&'/') {
            comment = if c == '/' { comment + 1 } else { comment - 1 };
            chars.next();
            column += 1;
        } else if comment > 0 {
            continue;
        } else if c == '/' && chars.peek() == Some(&'/') {
            to_end = true;
        } else if matches!(c, '(' | '[' | '{') {
            open.push((c, place));
        } else if matches!(c, ')' | ']' | '}') {
            open.pop();
        }
    }
    open.pop()
}
