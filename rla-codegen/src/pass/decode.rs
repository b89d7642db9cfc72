//! The chunk program of one token: what decode runs.
//!
//! With one token there is nothing between positions: masks are zero, decays from the start and to the end are 1, the
//! substitution is `y = y0`, `u = b + sum c y`. What is left is one readout of each state by each vector, elementwise
//! work, and one update of each state.

use super::rewrite::rewrite;
use crate::tile::builder::Builder;
use crate::tile::{DecayKind, MapFn, Op, Program, Value};

/// Specialises a forward program of the chunk form to one token.
pub fn decode(forward: &Program) -> Program {
    let mut program = rewrite(forward, change);
    program.name = "decode".into();
    // what only masks used is dead now
    let program = rewrite(&program, |_, _, _| None);
    rewrite(&program, |_, _, _| None)
}

fn is_zero(builder: &Builder, v: Value) -> bool {
    builder.as_number(v) == Some(0.0)
}

fn change(builder: &mut Builder, _: Value, op: &Op) -> Option<Value> {
    let zero = |builder: &mut Builder| Some(builder.number(0.0));
    match op {
        Op::StrictLower(_) | Op::DecayDot { .. } | Op::DecayRect { .. } | Op::RectSum(_) | Op::Scan(..) => {
            zero(builder)
        }
        Op::Decay(DecayKind::Segment, _) => zero(builder),
        Op::Decay(DecayKind::Prefix | DecayKind::Suffix, _) => Some(builder.number(1.0)),
        Op::Decay(DecayKind::Total, g) => {
            let a = builder.map(MapFn::Exp, &[*g]);
            Some(builder.op_value(Op::SumRows(a)))
        }
        Op::DecayApply { .. } => zero(builder),
        Op::Matmul { a, b, .. } if is_zero(builder, *a) || is_zero(builder, *b) => zero(builder),
        Op::Map(MapFn::Mul, args) if args.iter().any(|a| is_zero(builder, *a)) => zero(builder),
        Op::Map(MapFn::Neg, args) if is_zero(builder, args[0]) => zero(builder),
        Op::Map(MapFn::Keep, args) => Some(args[1]).filter(|x| builder.shape(*x).rows == crate::tile::Axis::Token),
        Op::Map(MapFn::Sub, args) if is_zero(builder, args[0]) => Some(builder.neg(args[1])),
        // parts are taken from their operands below
        Op::Part(solve, k) => {
            let Op::Solve { c, y0, b, .. } = builder.op(*solve).clone() else { return None };
            let readouts = y0.len();
            if *k < readouts {
                return Some(y0[*k].expect("a readout starts from the state"));
            }
            let j = k - readouts;
            let mut sum = b[j];
            for l in 0..readouts {
                let Some(c) = c[j * readouts + l] else { continue };
                let term = builder.mul(c, y0[l].expect("a readout starts from the state"));
                sum = Some(match sum {
                    None => term,
                    Some(before) => builder.add(before, term),
                });
            }
            sum
        }
        // kept only so that its parts can look at it; its zero matrices are not part of it
        Op::Solve { direction, m, c, y0, b, decay } => Some(builder.op_value(Op::Solve {
            direction: *direction,
            m: vec![None; m.len()],
            c: c.clone(),
            y0: y0.clone(),
            b: b.clone(),
            decay: *decay,
        })),
        _ => None,
    }
}
