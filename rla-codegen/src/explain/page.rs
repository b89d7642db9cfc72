//! A page of sections, equations and counts, for a terminal or as LaTeX.

use std::fmt::Write;

use super::Style;

/// What was written so far.
pub(super) struct Page {
    style: Style,
    text: String,
    equations: Vec<(String, String)>,
    counts: Vec<(String, usize, f64)>,
}

impl Page {
    pub fn new(style: Style) -> Page {
        Page { style, text: String::new(), equations: Vec::new(), counts: Vec::new() }
    }

    pub fn style(&self) -> Style {
        self.style
    }

    pub fn title(&mut self, text: &str) {
        let _ = match self.style {
            Style::Text => writeln!(self.text, "{text}"),
            Style::Latex => writeln!(self.text, "\\paragraph{{{}}}", escaped(text)),
        };
    }

    pub fn section(&mut self, text: &str) {
        self.flush();
        let _ = match self.style {
            Style::Text => writeln!(self.text, "\n{text}"),
            Style::Latex => writeln!(self.text, "\\paragraph{{{}}}", escaped(text)),
        };
    }

    /// A sentence, in lines of at most 100 characters.
    pub fn words(&mut self, text: &str) {
        self.flush();
        if self.style == Style::Latex {
            let _ = writeln!(self.text, "{}", escaped(text));
            return;
        }
        let mut line = String::from(" ");
        for word in text.split_whitespace() {
            if line.len() + word.len() > 99 {
                let _ = writeln!(self.text, "{line}");
                line = String::from(" ");
            }
            let _ = write!(line, " {word}");
        }
        let _ = writeln!(self.text, "{line}");
    }

    pub fn equation(&mut self, left: &str, right: &str) {
        self.equations.push((left.into(), right.into()));
    }

    pub fn count(&mut self, what: &str, times: usize, flops: f64) {
        self.counts.push((what.into(), times, flops));
    }

    fn flush(&mut self) {
        let equations = std::mem::take(&mut self.equations);
        let counts = std::mem::take(&mut self.counts);
        let width = |texts: &mut dyn Iterator<Item = &String>| texts.map(|t| t.chars().count()).max().unwrap_or(0);
        match self.style {
            Style::Text => {
                let left = width(&mut equations.iter().map(|(l, _)| l));
                for (l, r) in &equations {
                    let _ = writeln!(self.text, "  {l:<left$} = {r}");
                }
                let left = width(&mut counts.iter().map(|(what, ..)| what));
                for (what, times, flops) in &counts {
                    let times = if *times > 1 { format!("{times} x") } else { String::new() };
                    let _ = writeln!(self.text, "  {what:<left$} {times:>4} {flops:>12.0}");
                }
            }
            Style::Latex => {
                if !equations.is_empty() {
                    let lines: Vec<String> = equations.iter().map(|(l, r)| format!("{l} &= {r}")).collect();
                    let _ = writeln!(self.text, "\\begin{{align*}}\n{}\n\\end{{align*}}", lines.join(" \\\\\n"));
                }
                if !counts.is_empty() {
                    let row = |(what, times, flops): &(String, usize, f64)| {
                        format!("{} & {times} & {flops:.0}", escaped(what))
                    };
                    let rows: Vec<String> = counts.iter().map(row).collect();
                    let _ =
                        writeln!(self.text, "\\begin{{tabular}}{{lrr}}\n{}\n\\end{{tabular}}", rows.join(" \\\\\n"));
                }
            }
        }
    }

    pub fn finish(mut self) -> String {
        self.flush();
        self.text
    }
}

fn escaped(text: &str) -> String {
    text.replace('_', "\\_").replace('&', "\\&").replace('%', "\\%").replace('#', "\\#").replace('^', "\\^{}")
}
