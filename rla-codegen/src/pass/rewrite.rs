//! Copies a program node by node through a [`Builder`], so that a pass states only what it changes.

use std::collections::HashMap;

use crate::tile::builder::Builder;
use crate::tile::{Op, Program, Value};

/// Where each old value went.
pub type Moved = HashMap<Value, Value>;

/// Rebuilds `program` with its live nodes only. `change` may replace a node: it sees the operation with operands already
/// moved, and returns its new value, or `None` to copy it.
pub fn rewrite(program: &Program, change: impl FnMut(&mut Builder, Value, &Op) -> Option<Value>) -> Program {
    rewrite_tracked(program, change).0
}

/// As [`rewrite`], and where each live value went.
pub fn rewrite_tracked(
    program: &Program,
    mut change: impl FnMut(&mut Builder, Value, &Op) -> Option<Value>,
) -> (Program, Moved) {
    let live = live(program);
    let mut builder = Builder::new(&program.name, program.states.clone());
    builder.set_saved(program.saved.clone());
    let mut moved = Moved::new();
    for (index, node) in program.nodes.iter().enumerate() {
        if !live[index] {
            continue;
        }
        builder.origin = node.origin;
        let value = Value(index as u32);
        let mut op = node.op.clone();
        op.map_operands(&mut |v| moved[&v]);
        let new = change(&mut builder, value, &op).unwrap_or_else(|| copy(&mut builder, op, program, value));
        moved.insert(value, new);
    }
    for (role, value) in &program.results {
        builder.result(*role, moved[value]);
    }
    (builder.finish(), moved)
}

/// Adds one node to a builder as it is.
pub fn copy(builder: &mut Builder, op: Op, program: &Program, value: Value) -> Value {
    match op {
        Op::Leaf(leaf) => builder.leaf(leaf, program.shape(value)),
        op => builder.op_value(op),
    }
}

/// Which nodes a result needs.
pub fn live(program: &Program) -> Vec<bool> {
    let mut live = vec![false; program.nodes.len()];
    for (_, value) in &program.results {
        live[value.0 as usize] = true;
    }
    for index in (0..program.nodes.len()).rev() {
        if live[index] {
            program.nodes[index].op.for_each_operand(|v| live[v.0 as usize] = true);
        }
    }
    live
}
