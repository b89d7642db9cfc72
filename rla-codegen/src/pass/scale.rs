//! Row scalings into the broadcast operand.
//!
//! A product's left operand is read element by element and has C rows of one side, so scaling its rows costs 1/V of the
//! product; scaling the product's result costs an operation on every accumulator. So
//!
//! ```text
//! s (A B)      ->  (s A) B              s (x + y)  ->  s x + s y   where a product is among the terms
//! s (t x)      ->  (s t) x              s apply(A, W, g)  ->  apply(s A, W, g)
//! A B + C B    ->  (A + C) B
//! ```
//!
//! for s a number per token or for the chunk. This runs before differentiation: the adjoint of `(s A) B` needs no product
//! beyond `dO B^T`, from which both dA and ds follow as elementwise work.

use super::rewrite::rewrite;
use crate::tile::builder::Builder;
use crate::tile::{Axis, MapFn, Op, Program, Value};

/// Applies the rules; only values that nothing else uses are scaled in place.
pub fn scale(program: &Program) -> Program {
    let uses = program.uses();
    let scaled = rewrite(program, |builder, value, op| {
        let Op::Map(MapFn::Mul, args) = op else { return None };
        let Op::Map(_, old) = &program.node(value).op else { unreachable!() };
        let single = |v: Value| uses[v.0 as usize] == 1;
        for (s, x, old_x) in [(args[0], args[1], old[1]), (args[1], args[0], old[0])] {
            if is_row_scale(builder, s) && single(old_x) && holds_product(program, &uses, old_x) {
                return Some(push(builder, s, x));
            }
        }
        None
    });
    rewrite(&scaled, |builder, _, op| {
        let Op::Map(f @ (MapFn::Add | MapFn::Sub), args) = op else { return None };
        merge(builder, *f, args[0], args[1])
    })
}

fn is_row_scale(builder: &Builder, s: Value) -> bool {
    let shape = builder.shape(s);
    shape.cols == Axis::One && matches!(shape.rows, Axis::One | Axis::Token)
}

/// Whether a value, through sums and scalings that nothing else uses, is a product with tokens as rows.
fn holds_product(program: &Program, uses: &[u32], value: Value) -> bool {
    let node = program.node(value);
    if node.shape.rows != Axis::Token || node.shape.cols == Axis::Token {
        return false;
    }
    match &node.op {
        Op::Matmul { ta, .. } => !ta,
        Op::DecayApply { transposed, .. } => !transposed,
        Op::Map(MapFn::Add | MapFn::Sub | MapFn::Neg | MapFn::Mul, args) => {
            args.iter().any(|a| uses[a.0 as usize] == 1 && holds_product(program, uses, *a))
        }
        _ => false,
    }
}

/// `s x` with s as deep as it goes.
fn push(builder: &mut Builder, s: Value, x: Value) -> Value {
    let shape = builder.shape(x);
    if shape.rows != Axis::Token || shape.cols == Axis::Token {
        return builder.mul(s, x);
    }
    match builder.op(x).clone() {
        Op::Matmul { a, ta: false, b, tb } => {
            let a = builder.mul(s, a);
            builder.matmul(a, false, b, tb)
        }
        Op::DecayApply { a, w, g, transposed: false } => {
            let a = builder.mul(s, a);
            builder.op_value(Op::DecayApply { a, w, g, transposed: false })
        }
        Op::Map(f @ (MapFn::Add | MapFn::Sub), args) => {
            let (x, y) = (push(builder, s, args[0]), push(builder, s, args[1]));
            builder.map(f, &[x, y])
        }
        Op::Map(MapFn::Neg, args) => {
            let x = push(builder, s, args[0]);
            builder.neg(x)
        }
        Op::Map(MapFn::Mul, args) => {
            for (t, y) in [(args[0], args[1]), (args[1], args[0])] {
                if is_row_scale(builder, t) {
                    let scale = builder.mul(s, t);
                    return push(builder, scale, y);
                }
            }
            builder.mul(s, x)
        }
        _ => builder.mul(s, x),
    }
}

/// `A B + C B = (A + C) B`, also where the first product is the last term of a sum.
fn merge(builder: &mut Builder, f: MapFn, x: Value, y: Value) -> Option<Value> {
    let Op::Matmul { a: c, ta: false, b, tb } = *builder.op(y) else { return None };
    match builder.op(x).clone() {
        Op::Matmul { a, ta: false, b: other, tb: t } if other == b && t == tb => {
            if builder.shape(a) != builder.shape(c) {
                return None;
            }
            let sum = builder.map(f, &[a, c]);
            Some(builder.matmul(sum, false, b, tb))
        }
        Op::Map(MapFn::Add, args) => {
            let inner = merge(builder, f, args[1], y)?;
            Some(builder.add(args[0], inner))
        }
        _ => None,
    }
}
