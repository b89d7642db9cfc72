//! What forward keeps, and what backward recomputes.
//!
//! Backward has the chunk's inputs and its starting states. Recomputing what depends on no state is cheap and done in
//! the prepare stage; recomputing a product with a state or a substitution costs as much as forward itself. So forward
//! keeps, per chunk, each value at the end of such work that backward uses: the own readouts y of a solve (its writes
//! `u = b + sum c y` are elementwise), and sums of state products that feed anything but a product.

use std::collections::{BTreeSet, HashMap};

use super::differentiate::differentiate;
use super::rewrite::{rewrite, rewrite_tracked};
use crate::tile::{Axis, Direction, Leaf, MapFn, Node, Op, Program, Role, Shape, Value};

/// Forward that keeps, and the backward program that reads what it kept.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Forward with the results [`Role::Saved`].
    pub forward: Program,
    /// Backward.
    pub backward: Program,
}

/// As [`save`], for a target that has all readouts of systems, also those that forward uses only in the systems' writes: then
/// backward solves no system again.
pub fn save_readouts(forward: &Program) -> Pair {
    save(&with_readouts(forward))
}

/// Differentiates, and decides what forward keeps.
pub fn save(forward: &Program) -> Pair {
    let (backward, copies) = differentiate(forward);
    let (backward, moved) = expand_writes(&backward);
    let mut origin: HashMap<Value, Value> = HashMap::new();
    for (index, copy) in copies.iter().enumerate() {
        if let Some(now) = moved.get(copy) {
            origin.entry(*now).or_insert(Value(index as u32));
        }
    }
    let kept: Vec<Value> = roots(&backward, &origin).into_iter().collect();
    let shapes: Vec<Shape> = kept.iter().map(|v| backward.shape(*v)).collect();
    let mut keeping = forward.clone();
    keeping.name = "forward, keeping".into();
    keeping.saved = shapes.clone();
    keeping.results.extend(kept.iter().enumerate().map(|(k, value)| (Role::Saved(k), origin[value])));
    let mut backward = backward;
    backward.saved = shapes.clone();
    let backward = rewrite(&backward, |builder, value, _| {
        kept.iter().position(|v| *v == value).map(|k| builder.leaf(Leaf::Saved(k), shapes[k]))
    });
    // what the kept values were computed from may be dead now
    let backward = rewrite(&backward, |_, _, _| None);
    // and readouts that are not kept
    Pair { forward: rewrite(&keeping, |_, _, _| None), backward }
}

/// With the readouts of all systems, also of those that only their writes are used of: backward uses them.
fn with_readouts(program: &Program) -> Program {
    let mut out = program.clone();
    for (i, node) in program.nodes.iter().enumerate() {
        let Op::Solve { y0, b, .. } = &node.op else { continue };
        let solve = Value(i as u32);
        let Some(shape) = y0.iter().chain(b).flatten().next().map(|v| program.shape(*v)) else { continue };
        for l in 0..y0.len() {
            let op = Op::Part(solve, l);
            if !program.nodes.iter().any(|n| n.op == op) {
                out.nodes.push(Node { op, shape, origin: node.origin });
            }
        }
    }
    out
}

/// Writes out the writes of recomputed systems as `b + sum c y`.
fn expand_writes(program: &Program) -> (Program, super::rewrite::Moved) {
    rewrite_tracked(program, |builder, _, op| {
        let Op::Part(solve, k) = op else { return None };
        let Op::Solve { direction: Direction::Down, c, y0, b, .. } = builder.op(*solve).clone() else {
            return None;
        };
        let (readouts, j) = (y0.len(), k.checked_sub(y0.len())?);
        let mut sum = b[j];
        for l in 0..readouts {
            let Some(c) = c[j * readouts + l] else { continue };
            let y = builder.op_value(Op::Part(*solve, l));
            let term = builder.mul(c, y);
            sum = Some(match sum {
                None => term,
                Some(before) => builder.add(before, term),
            });
        }
        sum
    })
}

/// Recomputed values at the end of work with a state: found from the results down, not beyond one another.
fn roots(program: &Program, origin: &HashMap<Value, Value>) -> BTreeSet<Value> {
    let heavy = heavy(program);
    let mut roots = BTreeSet::new();
    let mut seen = vec![false; program.nodes.len()];
    let mut todo: Vec<Value> = program.results.iter().map(|(_, v)| *v).collect();
    while let Some(user) = todo.pop() {
        if std::mem::replace(&mut seen[user.0 as usize], true) {
            continue;
        }
        let node = program.node(user);
        let through = heavy[user.0 as usize] && matches!(node.op, Op::Map(..));
        node.op.for_each_operand(|v| {
            let part = matches!(program.node(v).op, Op::Part(..));
            if heavy[v.0 as usize] && origin.contains_key(&v) && (part || !through) {
                roots.insert(v);
            } else {
                todo.push(v);
            }
        });
    }
    roots
}

/// Values of tokens that come straight from work with a state that backward would repeat: products, substitutions, and
/// sums and scalings of products.
fn heavy(program: &Program) -> Vec<bool> {
    let count = program.nodes.len();
    let (mut state, mut gradient, mut heavy) = (vec![false; count], vec![false; count], vec![false; count]);
    for (i, node) in program.nodes.iter().enumerate() {
        state[i] = matches!(node.op, Op::Leaf(Leaf::State(_)));
        gradient[i] = matches!(node.op, Op::Leaf(Leaf::OutputGrad(_) | Leaf::StateGrad(_)));
        node.op.for_each_operand(|v| {
            state[i] |= state[v.0 as usize];
            gradient[i] |= gradient[v.0 as usize];
        });
        if gradient[i] || !state[i] || node.shape.rows != Axis::Token {
            continue;
        }
        let product = |v: Value| heavy[v.0 as usize] && !matches!(program.node(v).op, Op::Part(..));
        heavy[i] = match &node.op {
            Op::Matmul { .. } | Op::DecayApply { .. } | Op::DecayDot { .. } | Op::Part(..) => true,
            Op::Map(MapFn::Add | MapFn::Sub | MapFn::Neg | MapFn::Mul, args) => args.iter().any(|a| product(*a)),
            _ => false,
        };
    }
    heavy
}
