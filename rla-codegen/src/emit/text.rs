//! Lines of generated text.

/// Text under construction: lines at a depth of indentation.
#[derive(Clone, Debug, Default)]
pub struct Text {
    out: String,
    depth: usize,
}

impl Text {
    /// One line; an opening brace at its end indents what follows, a closing one at its start ends that. What it was indented by in
    /// a text of its own does not count.
    pub fn line(&mut self, line: impl AsRef<str>) {
        let line = line.as_ref().trim_start();
        if line.starts_with('}') {
            self.depth = self.depth.saturating_sub(1);
        }
        if !line.is_empty() {
            self.out.push_str(&"    ".repeat(self.depth));
        }
        self.out.push_str(line);
        self.out.push('\n');
        if line.ends_with('{') {
            self.depth += 1;
        }
    }

    /// Several lines.
    pub fn lines<S: AsRef<str>>(&mut self, lines: impl IntoIterator<Item = S>) {
        lines.into_iter().for_each(|l| self.line(l));
    }

    /// The text.
    pub fn finish(self) -> String {
        self.out
    }
}

/// Whether a text has a name as a whole word.
pub fn mentions(text: &str, name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| !text[..at].ends_with(word) && !text[at + name.len()..].starts_with(word))
}

/// An f32 literal.
pub fn float(x: f64) -> String {
    let x = x as f32;
    if x.is_nan() {
        "f32::NAN".into()
    } else if x.is_infinite() {
        if x > 0.0 { "f32::INFINITY".into() } else { "f32::NEG_INFINITY".into() }
    } else {
        format!("{x:?}")
    }
}
