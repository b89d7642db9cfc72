//! The text form of a program: one line a value, for dumps and tests.
//!
//! ```text
//! program forward
//! state 0: side1 x side0
//! %0: [token, side0] = input 1
//! %7: [token, token] = matmul %0 %0^T
//! output 0 = %31
//! ```

use std::fmt::{self, Display, Formatter, Write};

use super::{Axis, DecayKind, Direction, Leaf, Op, Program, Role, ScanKind, Shape, Value};

impl Display for Axis {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Axis::One => f.write_str("1"),
            Axis::Token => f.write_str("token"),
            Axis::Side(side) => write!(f, "side{side}"),
        }
    }
}

impl Display for Shape {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}]", self.rows, self.cols)
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl Display for Role {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Role::Output(i) => write!(f, "output {i}"),
            Role::State(i) => write!(f, "next_state {i}"),
            Role::Saved(i) => write!(f, "keep {i}"),
            Role::InputGrad(i) => write!(f, "input_grad {i}"),
            Role::StateGrad(i) => write!(f, "next_state_grad {i}"),
        }
    }
}

impl Display for Leaf {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Leaf::Input(i) => write!(f, "input {i}"),
            Leaf::Const(i) => write!(f, "const {i}"),
            Leaf::Size(side) => write!(f, "size {side}"),
            Leaf::Number(x) => write!(f, "number {x:?}"),
            Leaf::State(i) => write!(f, "state {i}"),
            Leaf::OutputGrad(i) => write!(f, "output_grad {i}"),
            Leaf::StateGrad(i) => write!(f, "state_grad {i}"),
            Leaf::Saved(i) => write!(f, "saved {i}"),
            Leaf::Identity(side) => write!(f, "identity {side}"),
            Leaf::Valid => f.write_str("valid"),
        }
    }
}

fn list(values: &[Option<Value>]) -> String {
    let items: Vec<String> = values.iter().map(|v| v.map_or("_".into(), |v| v.to_string())).collect();
    format!("[{}]", items.join(" "))
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let flip = |t: &bool| if *t { "^T" } else { "" };
        match self {
            Op::Leaf(leaf) => leaf.fmt(f),
            Op::Map(function, args) => {
                f.write_str(&format!("{function:?}").to_lowercase())?;
                args.iter().try_for_each(|a| write!(f, " {a}"))
            }
            Op::SumCols(x) => write!(f, "sum_cols {x}"),
            Op::SumRows(x) => write!(f, "sum_rows {x}"),
            Op::Softmax(x) => write!(f, "softmax {x}"),
            Op::L2norm { x, eps } => write!(f, "l2norm {x} {eps}"),
            Op::Transpose(x) => write!(f, "transpose {x}"),
            Op::StrictLower(x) => write!(f, "strict_lower {x}"),
            Op::Matmul { a, ta, b, tb } => write!(f, "matmul {a}{} {b}{}", flip(ta), flip(tb)),
            Op::Scan(ScanKind::Before, x) => write!(f, "scan_before {x}"),
            Op::Scan(ScanKind::After, x) => write!(f, "scan_after {x}"),
            Op::RectSum(x) => write!(f, "rect_sum {x}"),
            Op::Inverse(x) => write!(f, "inverse {x}"),
            Op::Decay(kind, g) => {
                let kind = match kind {
                    DecayKind::Prefix => "prefix",
                    DecayKind::Suffix => "suffix",
                    DecayKind::Total => "total",
                    DecayKind::Segment => "segment",
                };
                write!(f, "decay_{kind} {g}")
            }
            Op::DecayDot { p, w, g } => write!(f, "decay_dot {p} {w} by {g}"),
            Op::DecayApply { a, w, g, transposed } => write!(f, "decay_apply {a}{} {w} by {g}", flip(transposed)),
            Op::DecayRect { a, p, w, g } => write!(f, "decay_rect {a} {p} {w} by {g}"),
            Op::Solve { direction, m, c, y0, b, decay } => {
                let direction = if *direction == Direction::Down { "down" } else { "up" };
                write!(f, "solve {direction} y0 {} m {} c {} b {}", list(y0), list(m), list(c), list(b))?;
                decay.map_or(Ok(()), |g| write!(f, " by {g}"))
            }
            Op::Part(x, k) => write!(f, "part {k} of {x}"),
        }
    }
}

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "program {}", self.name)?;
        for (i, s) in self.states.iter().enumerate() {
            let flipped = if s.transposed { " transposed" } else { "" };
            writeln!(f, "state {i}: {} x {}{flipped}", s.free, s.contracted)?;
        }
        for (i, shape) in self.saved.iter().enumerate() {
            writeln!(f, "kept {i}: {shape}")?;
        }
        for (i, node) in self.nodes.iter().enumerate() {
            writeln!(f, "%{i}: {} = {}", node.shape, node.op)?;
        }
        for (role, value) in &self.results {
            writeln!(f, "{role} = {value}")?;
        }
        Ok(())
    }
}

/// The text of a program.
pub fn print(program: &Program) -> String {
    let mut out = String::new();
    write!(out, "{program}").expect("writing to a string does not fail");
    out
}
