//! Forward that also keeps what backward would make of inputs alone.
//!
//! What backward's prepare makes of the inputs (decays, inverses, masked products of keys and queries) forward's prepare makes too, or
//! nearly: its values come from the same products and substitutions. A target that writes them down once does that work once.

use std::collections::HashMap;

use super::rewrite::copy;
use crate::tile::builder::Builder;
use crate::tile::{Leaf, Op, Program, Role, Value};

/// Which values of a program come from inputs and constants alone.
pub fn of_inputs(program: &Program) -> Vec<bool> {
    let mut out: Vec<bool> = Vec::with_capacity(program.nodes.len());
    for node in &program.nodes {
        let mut own =
            !matches!(node.op, Op::Leaf(Leaf::State(_) | Leaf::Saved(_) | Leaf::OutputGrad(_) | Leaf::StateGrad(_)));
        node.op.for_each_operand(|v| own &= out[v.0 as usize]);
        out.push(own);
    }
    out
}

/// `forward` with further results [`Role::Saved`]: these values of `backward`, which come from inputs alone.
pub fn keep(forward: &Program, backward: &Program, values: &[Value]) -> Program {
    let mut builder = Builder::new(&forward.name, forward.states.clone());
    builder.set_saved(forward.saved.iter().copied().chain(values.iter().map(|v| backward.shape(*v))).collect());
    let mut add = |program: &Program, needed: &[bool]| {
        let mut moved: HashMap<Value, Value> = HashMap::new();
        for (index, node) in program.nodes.iter().enumerate().filter(|(index, _)| needed[*index]) {
            builder.origin = node.origin;
            let value = Value(index as u32);
            let mut op = node.op.clone();
            op.map_operands(&mut |v| moved[&v]);
            let new = copy(&mut builder, op, program, value);
            moved.insert(value, new);
        }
        moved
    };
    let own = add(forward, &vec![true; forward.nodes.len()]);
    let mut needed = vec![false; backward.nodes.len()];
    values.iter().for_each(|v| needed[v.0 as usize] = true);
    for index in (0..needed.len()).rev() {
        if needed[index] {
            backward.nodes[index].op.for_each_operand(|v| needed[v.0 as usize] = true);
        }
    }
    let more = add(backward, &needed);
    for (role, value) in &forward.results {
        builder.result(*role, own[value]);
    }
    for (k, value) in values.iter().enumerate() {
        builder.result(Role::Saved(forward.saved.len() + k), more[value]);
    }
    builder.finish()
}
