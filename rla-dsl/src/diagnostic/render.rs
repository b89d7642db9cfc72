//! Diagnostics as text: the sentence, the source line, a caret under the place.

use std::fmt::Write;

use super::Diagnostic;
use crate::recurrence::Span;

/// So many characters of a source line are shown at most.
const WIDTH: usize = 120;

/// All of `list`.
pub(super) fn all(list: &[Diagnostic], file_name: &str, text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::new();
    for diagnostic in list {
        one(&mut out, diagnostic, file_name, &lines);
        out.push('\n');
    }
    out
}

fn one(out: &mut String, diagnostic: &Diagnostic, file_name: &str, lines: &[&str]) {
    let places = diagnostic.notes.iter().filter_map(|n| n.span).chain([diagnostic.span]);
    let margin = places.map(|s| s.line).max().unwrap_or(1).to_string().len();
    writeln!(out, "{}[{}]: {}", diagnostic.severity, diagnostic.code, diagnostic.message).unwrap();
    place(out, diagnostic.span, '^', file_name, lines, margin);
    let mut open = true; // whether the source line above still wants its closing bar
    for note in &diagnostic.notes {
        match note.span {
            None => {
                if open {
                    writeln!(out, "{:margin$} |", "").unwrap();
                    open = false;
                }
                writeln!(out, "{:margin$} = help: {}", "", note.message).unwrap();
            }
            Some(span) => {
                writeln!(out, "note: {}", note.message).unwrap();
                place(out, span, '-', file_name, lines, margin);
                open = true;
            }
        }
    }
}

/// The place and its source line, `mark` under its characters.
fn place(out: &mut String, span: Span, mark: char, file_name: &str, lines: &[&str], margin: usize) {
    writeln!(out, "{:margin$}--> {file_name}:{}:{}", "", span.line, span.column + 1).unwrap();
    let Some(line) = (span.line as usize).checked_sub(1).and_then(|i| lines.get(i)) else { return };
    let start = span.column as usize;
    // a span over several lines is marked to the end of its first
    let end = if span.end_line == span.line { span.end_column as usize } else { usize::MAX };

    let skip = if start > WIDTH * 2 / 3 && line.chars().nth(WIDTH).is_some() { start - WIDTH / 3 } else { 0 };
    let mut shown = String::from(if skip > 0 { "... " } else { "" });
    let mut marks = " ".repeat(shown.len());
    let mut rest = line.chars().skip(skip);
    let mut column = skip;
    for c in rest.by_ref().take(WIDTH) {
        let width = if c == '\t' { 4 } else { 1 };
        match c {
            '\t' => shown.push_str("    "),
            c if c.is_control() => shown.push('\u{fffd}'),
            c => shown.push(c),
        }
        let marked = column >= start && (column < end || column == start);
        marks.extend(std::iter::repeat_n(if marked { mark } else { ' ' }, width));
        column += 1;
    }
    if rest.next().is_some() {
        shown.push_str(" ...");
    } else if start >= column {
        marks.push(mark); // an empty span after the last character
    }
    let (shown, marks) = (shown.trim_end(), marks.trim_end());
    writeln!(out, "{:margin$} |", "").unwrap();
    writeln!(out, "{:>margin$} | {shown}", span.line).unwrap();
    writeln!(out, "{:margin$} | {marks}", "").unwrap();
}
