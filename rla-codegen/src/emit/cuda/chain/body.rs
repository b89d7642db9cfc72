//! The lines of a role's work on a chunk, some of which run on beside others: products of four warps at once.
//!
//! Such products make a *stage* (templates/cuda/wide.cuh): it stays open while lines follow that touch nothing of it, and closes before
//! the first that does.

use std::collections::BTreeSet;

use crate::emit::text::{Text, mentions};

/// Products under way.
#[derive(Default)]
struct Stage {
    /// Accumulators.
    sums: Vec<String>,
    /// Left operands.
    lefts: Vec<String>,
}

/// A role's work on a chunk: `first`, then what the frame has to say, then the `rest`.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// What everything else waits for.
    pub first: String,
    /// Everything else.
    pub rest: String,
}

impl Work {
    /// Whether the text has a name.
    pub fn mentions(&self, name: &str) -> bool {
        mentions(&self.first, name) || mentions(&self.rest, name)
    }
}

/// Lines, and what of them is under way.
#[derive(Default)]
pub struct Body {
    first: String,
    text: Text,
    /// Names of left operands that are there.
    lefts: BTreeSet<String>,
    stage: Stage,
    /// Values that are declared where a line first mentions them: names, and the lines.
    waiting: Vec<(String, Vec<String>)>,
}

impl Body {
    /// One line.
    pub fn line(&mut self, line: impl AsRef<str>) {
        let line = line.as_ref();
        let (now, later) = std::mem::take(&mut self.waiting).into_iter().partition(|(name, _)| mentions(line, name));
        self.waiting = later;
        for (_, lines) in now {
            lines.iter().for_each(|l| self.line(l));
        }
        if self.stage.sums.iter().any(|name| mentions(line, name)) {
            self.close();
        }
        self.text.line(line);
    }

    /// Several lines.
    pub fn lines<S: AsRef<str>>(&mut self, lines: impl IntoIterator<Item = S>) {
        lines.into_iter().for_each(|l| self.line(l));
    }

    /// Lines that declare a value, where the first line follows that mentions it.
    pub fn later(&mut self, name: String, lines: Vec<String>) {
        self.waiting.push((name, lines));
    }

    /// An accumulator of the stage.
    pub fn open(&mut self, sum: &str) {
        if !self.stage.sums.iter().any(|name| name == sum) {
            self.text.line(format!("begin_together({sum});"));
            self.stage.sums.push(sum.into());
        }
    }

    /// A product of four warps at once: its accumulator, its left operand, the statement.
    pub fn together(&mut self, sum: &str, left: &str, statement: &str) {
        self.open(sum);
        if !self.stage.lefts.iter().any(|name| name == left) {
            self.stage.lefts.push(left.into());
        }
        self.text.line(statement);
    }

    /// A left operand, declared once.
    pub fn left(&mut self, name: &str, declare: impl FnOnce() -> String) {
        if self.lefts.insert(name.into()) {
            let line = declare();
            self.line(line);
        }
    }

    /// Whether a left operand is there.
    pub fn has_left(&self, name: &str) -> bool {
        self.lefts.contains(name)
    }

    /// Here the frame may speak.
    pub fn pause(&mut self) {
        self.first = std::mem::take(&mut self.text).finish();
    }

    /// Waits for the products under way.
    pub fn close(&mut self) {
        let Stage { sums, lefts } = std::mem::take(&mut self.stage);
        if !sums.is_empty() {
            self.text.line(format!("end_together({});", [sums, lefts].concat().join(", ")));
        }
    }

    /// The text.
    pub fn finish(mut self) -> Work {
        self.close();
        Work { first: self.first, rest: self.text.finish() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_closes_before_the_first_line_that_touches_it() {
        let mut body = Body::default();
        body.later("t9".into(), vec!["Tile<4> t9;".into(), "found(t9, at9);".into()]);
        body.together("t1", "left0", "multiply_together(t1, left0, v4);");
        body.line("leave(from0, left0);");
        body.line("every(t12, ...);");
        body.line("every(t2, [&] { x = t1.x[n][e] + t9.x[n][e]; });");
        let expected = [
            "begin_together(t1);",
            "multiply_together(t1, left0, v4);",
            "leave(from0, left0);",
            "every(t12, ...);",
            "Tile<4> t9;",
            "found(t9, at9);",
            "end_together(t1, left0);",
            "every(t2, [&] { x = t1.x[n][e] + t9.x[n][e]; });",
        ];
        assert_eq!(body.finish().rest.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn products_into_one_sum_are_one_stage() {
        let mut body = Body::default();
        body.together("state0", "left1", "a;");
        body.together("state0", "left2", "b;");
        assert_eq!(body.finish().rest, "begin_together(state0);\na;\nb;\nend_together(state0, left1, left2);\n");
    }
}
