//! Row scalings onto the carried side of a product: the reverse of [`scale`](super::scale), for tensor cores.
//!
//! There the operand that is not carried should be an input as it lies in memory, shared by all products, while the
//! carried operand is in registers, where a number per token costs one multiplication:
//!
//! ```text
//! (s A) X      ->  s (A X)        X holds a state          X^T (s B)    ->  (s X)^T B
//! ```

use super::rewrite::rewrite;
use crate::tile::builder::Builder;
use crate::tile::{Axis, Leaf, MapFn, Op, Program, Value};

/// Applies the rules to products with what depends on the carried states, and to what is added to a state.
pub fn unscale(program: &Program) -> Program {
    rewrite(program, |builder, _, op| {
        let Op::Matmul { a, ta, b, tb } = *op else { return None };
        if !ta && holds_state(builder, b) {
            let (scales, x) = scales(builder, a);
            if scales.is_empty() {
                return None;
            }
            let product = builder.matmul(x, false, b, tb);
            return Some(scaled(builder, &scales, product));
        }
        if ta && !tb && builder.shape(a).cols != Axis::Token && builder.shape(b).cols != Axis::Token {
            let (scales, w) = scales(builder, b);
            if scales.is_empty() {
                return None;
            }
            let a = scaled(builder, &scales, a);
            return Some(builder.matmul(a, true, w, false));
        }
        None
    })
}

fn holds_state(builder: &Builder, value: Value) -> bool {
    let mut todo = vec![value];
    let mut seen = std::collections::HashSet::new();
    while let Some(v) = todo.pop() {
        if !seen.insert(v) {
            continue;
        }
        if matches!(builder.op(v), Op::Leaf(Leaf::State(_) | Leaf::StateGrad(_))) {
            return true;
        }
        builder.op(v).for_each_operand(|o| todo.push(o));
    }
    false
}

/// The numbers per token, or for the chunk, that a matrix with tokens as rows is scaled with, and what is left.
fn scales(builder: &mut Builder, value: Value) -> (Vec<Value>, Value) {
    let mut scales = vec![];
    let mut x = value;
    loop {
        if builder.shape(x).rows != Axis::Token || builder.shape(x).cols == Axis::Token {
            return (scales, x);
        }
        let Op::Map(MapFn::Mul, args) = builder.op(x).clone() else { return (scales, x) };
        let row = |v: Value, builder: &Builder| {
            let shape = builder.shape(v);
            shape.cols == Axis::One && matches!(shape.rows, Axis::One | Axis::Token)
        };
        match (row(args[0], builder), row(args[1], builder)) {
            (true, false) => {
                scales.push(args[0]);
                x = args[1];
            }
            (false, true) => {
                scales.push(args[1]);
                x = args[0];
            }
            _ => return (scales, x),
        }
    }
}

fn scaled(builder: &mut Builder, scales: &[Value], x: Value) -> Value {
    let product = scales.iter().copied().reduce(|a, b| builder.mul(a, b)).expect("not empty");
    builder.mul(product, x)
}
