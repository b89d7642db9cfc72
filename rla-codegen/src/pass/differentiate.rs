//! Reverse-mode differentiation of a chunk's program.
//!
//! The backward program of a chunk recomputes the forward's values (`pass/save` then decides which of them forward keeps
//! instead), is given the cotangents of the outputs and of the state at the chunk's end, and returns the gradients of
//! the inputs and of the state at the chunk's start. The adjoint of each operation is in `adjoint`.

mod adjoint;

use crate::tile::builder::Builder;
use crate::tile::{Axis, Leaf, MapFn, Op, Program, Role, Shape, Value};

use super::rewrite::copy;

/// A reverse sweep in progress.
pub(crate) struct Sweep<'a> {
    pub(crate) forward: &'a Program,
    pub(crate) builder: Builder,
    /// New value of each old one.
    pub(crate) moved: Vec<Value>,
    /// Adjoint of each old value; of a solve's parts under the part nodes.
    pub(crate) adjoints: Vec<Option<Value>>,
}

/// Builds the backward program of a forward program; also where each forward value is recomputed in it.
pub fn differentiate(forward: &Program) -> (Program, Vec<Value>) {
    let mut sweep = Sweep {
        forward,
        builder: Builder::new("backward", forward.states.clone()),
        moved: Vec::with_capacity(forward.nodes.len()),
        adjoints: vec![None; forward.nodes.len()],
    };
    for (index, node) in forward.nodes.iter().enumerate() {
        sweep.builder.origin = node.origin;
        let mut op = node.op.clone();
        op.map_operands(&mut |v| sweep.moved[v.0 as usize]);
        let value = copy(&mut sweep.builder, op, forward, Value(index as u32));
        sweep.moved.push(value);
    }
    for (role, value) in &forward.results {
        let shape = forward.shape(*value);
        let leaf = match role {
            Role::Output(i) => Leaf::OutputGrad(*i),
            Role::State(i) => Leaf::StateGrad(*i),
            _ => continue,
        };
        let grad = sweep.builder.leaf(leaf, shape);
        sweep.add(*value, grad);
    }
    for index in (0..forward.nodes.len()).rev() {
        sweep.builder.origin = forward.nodes[index].origin;
        sweep.step(Value(index as u32));
    }
    sweep.results()
}

impl Sweep<'_> {
    /// Adds to the adjoint of an old value; a gradient broader than the value is summed to its shape.
    pub(crate) fn add(&mut self, to: Value, grad: Value) {
        let grad = self.reduce(grad, self.forward.shape(to));
        let slot = to.0 as usize;
        self.adjoints[slot] = Some(match self.adjoints[slot] {
            None => grad,
            Some(before) => self.builder.add(before, grad),
        });
    }

    /// Sums the axes along which a value of `shape` was broadcast.
    fn reduce(&mut self, grad: Value, shape: Shape) -> Value {
        let mut grad = grad;
        if shape.cols == Axis::One {
            grad = self.builder.op_value(Op::SumCols(grad));
        }
        if shape.rows == Axis::One {
            grad = self.builder.op_value(Op::SumRows(grad));
        }
        let found = self.builder.shape(grad);
        if found == shape {
            return grad;
        }
        // the gradient is the same for all tokens, or for all channels: broadcast against the value itself
        if found.cols == shape.cols && found.rows == Axis::One && shape.rows == Axis::Token {
            return self.builder.keep(grad);
        }
        let zero = self.builder.number(0.0);
        let like = self.value_of_shape(shape);
        let zeros = self.builder.map(MapFn::Mul, &[zero, like]);
        self.builder.map(MapFn::Add, &[zeros, grad])
    }

    /// Some old value's copy with the shape, to broadcast against.
    fn value_of_shape(&self, shape: Shape) -> Value {
        let found = self.forward.nodes.iter().position(|n| n.shape == shape && matches!(n.op, Op::Leaf(_)));
        let found = found.or_else(|| self.forward.nodes.iter().position(|n| n.shape == shape));
        self.moved[found.expect("a gradient has the shape of a value")]
    }

    /// Where an old value is recomputed.
    pub(crate) fn copy(&self, old: Value) -> Value {
        self.moved[old.0 as usize]
    }

    fn results(mut self) -> (Program, Vec<Value>) {
        let mut results = Vec::new();
        for (index, node) in self.forward.nodes.iter().enumerate() {
            let role = match node.op {
                Op::Leaf(Leaf::Input(i)) => Role::InputGrad(i),
                Op::Leaf(Leaf::State(i)) => Role::StateGrad(i),
                _ => continue,
            };
            if let Some(grad) = self.adjoints[index] {
                results.push((role, grad));
            }
        }
        results.sort_by_key(|(role, _)| *role);
        for (role, grad) in results {
            self.builder.result(role, grad);
        }
        (self.builder.finish(), self.moved)
    }
}
