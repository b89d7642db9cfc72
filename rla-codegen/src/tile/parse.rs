//! The text form read back: [`print`](super::text::print) inverted, for tests and dumps. Origins are not part of the text.

use super::{Axis, DecayKind, Direction, Leaf, MapFn, Node, Op, Program, Role, ScanKind, Shape, StateSides, Value};

/// Every elementwise function.
pub const FUNCTIONS: [MapFn; 22] = [
    MapFn::Add,
    MapFn::Sub,
    MapFn::Mul,
    MapFn::Div,
    MapFn::Neg,
    MapFn::Exp,
    MapFn::Log,
    MapFn::Sqrt,
    MapFn::Rsqrt,
    MapFn::Sigmoid,
    MapFn::LogSigmoid,
    MapFn::Tanh,
    MapFn::Silu,
    MapFn::Softplus,
    MapFn::Relu,
    MapFn::Abs,
    MapFn::Sq,
    MapFn::Clamp,
    MapFn::Inside,
    MapFn::Positive,
    MapFn::Sign,
    MapFn::Keep,
];

/// Reads a program. What it holds is not verified: see [`verify`](super::verify::verify).
///
/// # Errors
/// The number of the first line that is not understood, and the line.
pub fn parse(text: &str) -> Result<Program, String> {
    let mut program = Program { name: String::new(), nodes: vec![], results: vec![], states: vec![], saved: vec![] };
    for (index, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        line(&mut program, text.trim()).ok_or_else(|| format!("line {}: `{text}` is not understood", index + 1))?;
    }
    Ok(program)
}

fn line(program: &mut Program, text: &str) -> Option<()> {
    if let Some(name) = text.strip_prefix("program ") {
        program.name = name.into();
    } else if let Some(rest) = text.strip_prefix("state ") {
        let (index, sides) = rest.split_once(": ")?;
        (index.parse() == Ok(program.states.len())).then_some(())?;
        let (sides, transposed) = sides.strip_suffix(" transposed").map_or((sides, false), |sides| (sides, true));
        let (free, contracted) = sides.split_once(" x ")?;
        program.states.push(StateSides { free: axis(free)?, contracted: axis(contracted)?, transposed });
    } else if let Some(rest) = text.strip_prefix("kept ") {
        let (index, kept) = rest.split_once(": ")?;
        (index.parse() == Ok(program.saved.len())).then_some(())?;
        program.saved.push(shape(kept)?);
    } else if text.starts_with('%') {
        let (index, rest) = text.split_once(": ")?;
        (value(index)?.0 as usize == program.nodes.len()).then_some(())?;
        let (found, op) = rest.split_once(" = ")?;
        program.nodes.push(Node { op: operation(op)?, shape: shape(found)?, origin: None });
    } else {
        let (role, result) = text.split_once(" = ")?;
        program.results.push((self::role(role)?, value(result)?));
    }
    Some(())
}

fn axis(text: &str) -> Option<Axis> {
    match text {
        "1" => Some(Axis::One),
        "token" => Some(Axis::Token),
        side => side.strip_prefix("side")?.parse().ok().map(Axis::Side),
    }
}

fn shape(text: &str) -> Option<Shape> {
    let (rows, cols) = text.strip_prefix('[')?.strip_suffix(']')?.split_once(", ")?;
    Some(Shape::new(axis(rows)?, axis(cols)?))
}

fn value(text: &str) -> Option<Value> {
    text.strip_prefix('%')?.parse().ok().map(Value)
}

fn role(text: &str) -> Option<Role> {
    let (name, index) = text.split_once(' ')?;
    let index = index.parse().ok()?;
    Some(match name {
        "output" => Role::Output(index),
        "next_state" => Role::State(index),
        "keep" => Role::Saved(index),
        "input_grad" => Role::InputGrad(index),
        "next_state_grad" => Role::StateGrad(index),
        _ => return None,
    })
}

/// A value, and whether it is transposed.
fn flipped(text: &str) -> Option<(Value, bool)> {
    let (name, flip) = text.strip_suffix("^T").map_or((text, false), |name| (name, true));
    Some((value(name)?, flip))
}

fn leaf(words: &[&str]) -> Option<Leaf> {
    if words == ["valid"] {
        return Some(Leaf::Valid);
    }
    let &[name, argument] = words else { return None };
    let index = || argument.parse().ok();
    Some(match name {
        "input" => Leaf::Input(index()?),
        "const" => Leaf::Const(index()?),
        "size" => Leaf::Size(argument.parse().ok()?),
        "number" => Leaf::Number(argument.parse().ok()?),
        "state" => Leaf::State(index()?),
        "output_grad" => Leaf::OutputGrad(index()?),
        "state_grad" => Leaf::StateGrad(index()?),
        "saved" => Leaf::Saved(index()?),
        "identity" => Leaf::Identity(argument.parse().ok()?),
        _ => return None,
    })
}

fn operation(text: &str) -> Option<Op> {
    let words: Vec<&str> = text.split(' ').collect();
    if let Some(leaf) = leaf(&words) {
        return Some(Op::Leaf(leaf));
    }
    let (name, rest) = words.split_first()?;
    if let Some(function) = FUNCTIONS.iter().find(|f| format!("{f:?}").to_lowercase() == *name) {
        let args: Option<Vec<Value>> = rest.iter().map(|word| value(word)).collect();
        return args.map(|args| Op::Map(*function, args));
    }
    if let Some(kind) = name.strip_prefix("decay_").and_then(decay_kind) {
        let [g] = rest else { return None };
        return Some(Op::Decay(kind, value(g)?));
    }
    match (*name, rest) {
        ("sum_cols", [x]) => Some(Op::SumCols(value(x)?)),
        ("sum_rows", [x]) => Some(Op::SumRows(value(x)?)),
        ("softmax", [x]) => Some(Op::Softmax(value(x)?)),
        ("l2norm", [x, eps]) => Some(Op::L2norm { x: value(x)?, eps: value(eps)? }),
        ("transpose", [x]) => Some(Op::Transpose(value(x)?)),
        ("inverse", [x]) => Some(Op::Inverse(value(x)?)),
        ("strict_lower", [x]) => Some(Op::StrictLower(value(x)?)),
        ("scan_before", [x]) => Some(Op::Scan(ScanKind::Before, value(x)?)),
        ("scan_after", [x]) => Some(Op::Scan(ScanKind::After, value(x)?)),
        ("rect_sum", [x]) => Some(Op::RectSum(value(x)?)),
        ("matmul", [a, b]) => {
            let ((a, ta), (b, tb)) = (flipped(a)?, flipped(b)?);
            Some(Op::Matmul { a, ta, b, tb })
        }
        ("decay_dot", [p, w, "by", g]) => Some(Op::DecayDot { p: value(p)?, w: value(w)?, g: value(g)? }),
        ("decay_apply", [a, w, "by", g]) => {
            let (a, transposed) = flipped(a)?;
            Some(Op::DecayApply { a, w: value(w)?, g: value(g)?, transposed })
        }
        ("decay_rect", [a, p, w, "by", g]) => {
            Some(Op::DecayRect { a: value(a)?, p: value(p)?, w: value(w)?, g: value(g)? })
        }
        ("part", [k, "of", x]) => Some(Op::Part(value(x)?, k.parse().ok()?)),
        ("solve", _) => solve(text.strip_prefix("solve ")?),
        _ => None,
    }
}

fn decay_kind(name: &str) -> Option<DecayKind> {
    Some(match name {
        "prefix" => DecayKind::Prefix,
        "suffix" => DecayKind::Suffix,
        "total" => DecayKind::Total,
        "segment" => DecayKind::Segment,
        _ => return None,
    })
}

/// `down y0 [%1 _] m [%2 %3] c [_ %4] b [_] by %5`.
fn solve(text: &str) -> Option<Op> {
    let (direction, mut rest) = text.split_once(' ')?;
    let direction = match direction {
        "down" => Direction::Down,
        "up" => Direction::Up,
        _ => return None,
    };
    let mut list = |name: &str| -> Option<Vec<Option<Value>>> {
        let (inside, after) = rest.strip_prefix(name)?.strip_prefix(" [")?.split_once(']')?;
        rest = after.trim_start();
        let words = inside.split(' ').filter(|word| !word.is_empty());
        words.map(|word| if word == "_" { Some(None) } else { value(word).map(Some) }).collect()
    };
    let (y0, m, c, b) = (list("y0")?, list("m")?, list("c")?, list("b")?);
    let decay = match rest {
        "" => None,
        rest => Some(value(rest.strip_prefix("by ")?)?),
    };
    Some(Op::Solve { direction, m, c, y0, b, decay })
}
