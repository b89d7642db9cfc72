//! Rules for the other operations, one or more a kind.
use super::{Rule, diagonal, same, zeros};
use rla_codegen::tile::builder::Builder;
use rla_codegen::tile::{Axis, Direction, Leaf, MapFn, Op, Value};

fn args(op: &Op, wanted: MapFn) -> Option<&[Value]> {
    match op {
        Op::Map(f, args) if *f == wanted => Some(args),
        _ => None,
    }
}

/// An operand in the operation's place, where it has the result's shape.
fn instead(b: &mut Builder, op: &Op, operand: Value) -> Option<Value> {
    let whole = same(b, op);
    (b.shape(whole) == b.shape(operand)).then_some(operand)
}

fn leaf(
    b: &mut Builder,
    op: &Op,
    wanted: fn(&Leaf) -> bool,
    change: fn(&mut Builder, Value) -> Value,
) -> Option<Value> {
    let Op::Leaf(leaf) = op else { return None };
    if !wanted(leaf) {
        return None;
    }
    // the leaf has been made already where it stands in the program; its shape is not known here
    let shape = b.program().nodes.iter().rev().find(|node| node.op == *op).map(|node| node.shape)?;
    let value = b.leaf(*leaf, shape);
    Some(change(b, value))
}

fn solve(b: &mut Builder, op: &Op, change: impl FnOnce(&mut Parts) -> Option<()>) -> Option<Value> {
    let Op::Solve { direction, m, c, y0, b: base, decay } = op.clone() else { return None };
    let mut parts = Parts { direction, m, c, y0, b: base };
    change(&mut parts)?;
    if parts.y0.iter().chain(&parts.b).all(Option::is_none) {
        return None;
    }
    let Parts { direction, m, c, y0, b: base } = parts;
    Some(b.op_value(Op::Solve { direction, m, c, y0, b: base, decay }))
}

/// A system without its decay.
struct Parts {
    direction: Direction,
    m: Vec<Option<Value>>,
    c: Vec<Option<Value>>,
    y0: Vec<Option<Value>>,
    b: Vec<Option<Value>>,
}

/// Takes the last entry that is there.
fn take(list: &mut [Option<Value>]) -> Option<()> {
    list.iter_mut().rev().find(|x| x.is_some())?.take().map(|_| ())
}

/// The readout of a system with one readout, one write and no decay by `(I + N)(I + N^2)(I + N^4)...`, N = M diag(c).
fn product_form(b: &mut Builder, op: &Op) -> Option<Value> {
    let Op::Part(system, 0) = op else { return None };
    let Op::Solve { direction: Direction::Down, m, c, y0, b: base, decay: None } = b.op(*system).clone() else {
        return None;
    };
    let ([Some(m)], [Some(c)], [Some(y0)]) = (&m[..], &c[..], &y0[..]) else { return None };
    if b.shape(*c).cols != Axis::One || b.shape(*c).rows != Axis::Token {
        return None;
    }
    let mut y = *y0;
    if let [Some(base)] = base[..] {
        let from = b.matmul(*m, false, base, false);
        y = b.add(y, from);
    }
    let columns = b.op_value(Op::Transpose(*c));
    let mut power = b.mul(*m, columns);
    // 2^7 exceeds the longest chunk
    for _ in 0..7 {
        let more = b.matmul(power, false, y, false);
        y = b.add(y, more);
        power = b.matmul(power, false, power, false);
    }
    Some(y)
}

/// The rules.
pub const RULES: [Rule; 28] = [
    Rule {
        name: "strict lower: inclusive",
        change: |b, op| {
            let Op::StrictLower(x) = op else { return None };
            let (lower, eye) = (same(b, op), diagonal(b));
            let own = b.mul(eye, *x);
            Some(b.add(lower, own))
        },
    },
    Rule {
        name: "strict lower: not masked",
        change: |_, op| if let Op::StrictLower(x) = op { Some(*x) } else { None },
    },
    Rule {
        name: "strict lower: upper instead",
        change: |b, op| {
            let Op::StrictLower(x) = op else { return None };
            let flipped = b.op_value(Op::Transpose(*x));
            let lower = b.op_value(Op::StrictLower(flipped));
            Some(b.op_value(Op::Transpose(lower)))
        },
    },
    Rule {
        name: "product: a mask transposed",
        change: |b, op| {
            let Op::Matmul { a, ta, b: right, tb } = *op else { return None };
            let square = b.shape(a).rows == Axis::Token && b.shape(a).cols == Axis::Token;
            square.then(|| b.matmul(a, !ta, right, tb))
        },
    },
    Rule {
        name: "softmax: not normalised",
        change: |b, op| if let Op::Softmax(x) = op { Some(b.map(MapFn::Exp, &[*x])) } else { None },
    },
    Rule { name: "system: by a product of powers", change: product_form },
    Rule {
        name: "system: the other way",
        change: |b, op| {
            solve(b, op, |s| {
                s.direction = if s.direction == Direction::Down { Direction::Up } else { Direction::Down };
                Some(())
            })
        },
    },
    Rule { name: "system: a matrix missing", change: |b, op| solve(b, op, |s| take(&mut s.m)) },
    Rule { name: "system: a coefficient missing", change: |b, op| solve(b, op, |s| take(&mut s.c)) },
    Rule { name: "system: a readout's start missing", change: |b, op| solve(b, op, |s| take(&mut s.y0)) },
    Rule { name: "system: a write's base missing", change: |b, op| solve(b, op, |s| take(&mut s.b)) },
    Rule {
        name: "part: its neighbour",
        change: |b, op| {
            let Op::Part(system, k) = op else { return None };
            let Op::Solve { y0, b: base, .. } = b.op(*system) else { return None };
            let other = (k + 1) % (y0.len() + base.len());
            Some(b.op_value(Op::Part(*system, other)))
        },
    },
    Rule {
        name: "add: subtracts",
        change: |b, op| args(op, MapFn::Add).map(<[Value]>::to_vec).map(|x| b.map(MapFn::Sub, &x)),
    },
    Rule {
        name: "sub: adds",
        change: |b, op| args(op, MapFn::Sub).map(<[Value]>::to_vec).map(|x| b.map(MapFn::Add, &x)),
    },
    Rule {
        name: "mul: a factor missing",
        change: |b, op| args(op, MapFn::Mul).map(|x| x[1]).and_then(|x| instead(b, op, x)),
    },
    Rule {
        name: "div: multiplies",
        change: |b, op| args(op, MapFn::Div).map(<[Value]>::to_vec).map(|x| b.map(MapFn::Mul, &x)),
    },
    Rule { name: "neg: left out", change: |_, op| args(op, MapFn::Neg).map(|x| x[0]) },
    Rule {
        name: "keep: rows that fill the chunk count",
        change: |b, op| args(op, MapFn::Keep).map(|x| x[1]).and_then(|x| instead(b, op, x)),
    },
    Rule {
        name: "clamp: left out",
        change: |b, op| args(op, MapFn::Clamp).map(|x| x[0]).and_then(|x| instead(b, op, x)),
    },
    Rule {
        name: "clip's gradient: passes outside",
        change: |b, op| args(op, MapFn::Inside).map(|x| x[3]).and_then(|x| instead(b, op, x)),
    },
    Rule {
        name: "clip's gradient: passes at the tie",
        change: |b, op| {
            let [x, low, high, d] = *args(op, MapFn::Inside)? else { return None };
            let wider = b.number(1e-12);
            let (low, high) = (b.map(MapFn::Sub, &[low, wider]), b.map(MapFn::Add, &[high, wider]));
            Some(b.map(MapFn::Inside, &[x, low, high, d]))
        },
    },
    Rule {
        name: "clip's gradient: branch recomputed by other instructions",
        change: |b, op| {
            let [x, low, high, d] = *args(op, MapFn::Inside)? else { return None };
            let less = b.number(1.0 - f64::EPSILON);
            let x = b.mul(less, x);
            Some(b.map(MapFn::Inside, &[x, low, high, d]))
        },
    },
    Rule {
        name: "relu's gradient: passes below",
        change: |b, op| args(op, MapFn::Positive).map(|x| x[1]).and_then(|x| instead(b, op, x)),
    },
    Rule {
        name: "abs's gradient: without its sign",
        change: |b, op| args(op, MapFn::Sign).map(|x| x[1]).and_then(|x| instead(b, op, x)),
    },
    Rule { name: "state: starts at zero", change: |b, op| leaf(b, op, |l| matches!(l, Leaf::State(_)), zeros) },
    Rule {
        name: "gradient of the output: not taken",
        change: |b, op| leaf(b, op, |l| matches!(l, Leaf::OutputGrad(_)), zeros),
    },
    Rule {
        name: "gradient of the state: not carried",
        change: |b, op| leaf(b, op, |l| matches!(l, Leaf::StateGrad(_)), zeros),
    },
    Rule { name: "kept value: zero", change: |b, op| leaf(b, op, |l| matches!(l, Leaf::Saved(_)), zeros) },
];
