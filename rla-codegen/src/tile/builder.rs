//! Builds programs: equal nodes are one node, and a few identities are applied as nodes are made.

use std::collections::HashMap;

use super::shape::shape;
use super::{Axis, Leaf, MapFn, Node, Op, Program, Role, Shape, StateSides, Value};

/// A program under construction.
#[derive(Debug)]
pub struct Builder {
    program: Program,
    known: HashMap<Op, Value>,
    /// The statement that nodes made from now on come from.
    pub origin: Option<u32>,
}

impl Builder {
    /// An empty program.
    pub fn new(name: &str, states: Vec<StateSides>) -> Builder {
        let program = Program { name: name.into(), nodes: Vec::new(), results: Vec::new(), states, saved: Vec::new() };
        Builder { program, known: HashMap::new(), origin: None }
    }

    /// The program built so far.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The finished program.
    pub fn finish(self) -> Program {
        self.program
    }

    /// Shapes of kept values, see [`Program::saved`].
    pub fn set_saved(&mut self, saved: Vec<Shape>) {
        self.program.saved = saved;
    }

    /// The shape of a value.
    pub fn shape(&self, value: Value) -> Shape {
        self.program.shape(value)
    }

    /// The operation of a value.
    pub fn op(&self, value: Value) -> &Op {
        &self.program.node(value).op
    }

    /// Declares a result.
    pub fn result(&mut self, role: Role, value: Value) {
        self.program.results.push((role, value));
    }

    fn push(&mut self, op: Op, shape: Shape) -> Value {
        if let Some(value) = self.known.get(&op) {
            return *value;
        }
        let value = Value(self.program.nodes.len() as u32);
        self.known.insert(op.clone(), value);
        self.program.nodes.push(Node { op, shape, origin: self.origin });
        value
    }

    /// A leaf of a given shape.
    pub fn leaf(&mut self, leaf: Leaf, shape: Shape) -> Value {
        self.push(Op::Leaf(leaf), shape)
    }

    /// A literal.
    pub fn number(&mut self, x: f64) -> Value {
        self.leaf(Leaf::Number(x), Shape::new(Axis::One, Axis::One))
    }

    /// The mask of real tokens, `[Token, One]`.
    pub fn valid(&mut self) -> Value {
        self.leaf(Leaf::Valid, Shape::new(Axis::Token, Axis::One))
    }

    /// Adds any operation but a leaf; its shape follows from the operands.
    pub fn op_value(&mut self, op: Op) -> Value {
        if let Some(value) = self.simplified(&op) {
            return value;
        }
        let shape = shape(&op, &|v| self.program.shape(v)).unwrap_or_else(|message| {
            panic!("compiler bug: ill-shaped {op:?}: {message}");
        });
        self.push(op, shape)
    }

    /// An elementwise operation.
    pub fn map(&mut self, f: MapFn, args: &[Value]) -> Value {
        self.op_value(Op::Map(f, args.to_vec()))
    }

    /// `a b`, elementwise.
    pub fn mul(&mut self, a: Value, b: Value) -> Value {
        self.map(MapFn::Mul, &[a, b])
    }

    /// `a + b`.
    pub fn add(&mut self, a: Value, b: Value) -> Value {
        self.map(MapFn::Add, &[a, b])
    }

    /// `-a`.
    pub fn neg(&mut self, a: Value) -> Value {
        self.map(MapFn::Neg, &[a])
    }

    /// A matrix product.
    pub fn matmul(&mut self, a: Value, ta: bool, b: Value, tb: bool) -> Value {
        self.op_value(Op::Matmul { a, ta, b, tb })
    }

    /// x where the token is real, else 0; gives a `One` row axis tokens.
    pub fn keep(&mut self, x: Value) -> Value {
        let valid = self.valid();
        self.map(MapFn::Keep, &[valid, x])
    }

    /// Gives a value that is the same for all tokens a row a token.
    pub fn per_token(&mut self, x: Value) -> Value {
        if self.shape(x).rows == Axis::Token { x } else { self.keep(x) }
    }

    /// The literal behind a value.
    pub fn as_number(&self, value: Value) -> Option<f64> {
        match self.op(value) {
            Op::Leaf(Leaf::Number(x)) => Some(*x),
            _ => None,
        }
    }

    fn map_args(&self, value: Value, f: MapFn) -> Option<&[Value]> {
        match self.op(value) {
            Op::Map(g, args) if *g == f => Some(args),
            _ => None,
        }
    }

    /// One row a rule: the identity, then what replaces it.
    fn simplified(&mut self, op: &Op) -> Option<Value> {
        let Op::Map(f, args) = op else {
            return match op {
                // (x^T)^T = x
                Op::Transpose(x) => match self.op(*x) {
                    Op::Transpose(y) => Some(*y),
                    _ => None,
                },
                // a sum over one column is the column
                Op::SumCols(x) if self.shape(*x).cols == Axis::One => Some(*x),
                Op::SumRows(x) if self.shape(*x).rows == Axis::One => Some(*x),
                _ => None,
            };
        };
        let numbers: Option<Vec<f64>> = args.iter().map(|a| self.as_number(*a)).collect();
        match (f, numbers.as_deref()) {
            (MapFn::Add, Some([x, y])) => return Some(self.number(x + y)),
            (MapFn::Sub, Some([x, y])) => return Some(self.number(x - y)),
            (MapFn::Mul, Some([x, y])) => return Some(self.number(x * y)),
            (MapFn::Div, Some([x, y])) => return Some(self.number(x / y)),
            (MapFn::Neg, Some([x])) => return Some(self.number(-x)),
            _ => {}
        }
        match f {
            // 1 x = x, (-1) x = -x, (-a) b = -(a b)
            MapFn::Mul => {
                for (s, x) in [(args[0], args[1]), (args[1], args[0])] {
                    match self.as_number(s) {
                        Some(1.0) => return Some(x),
                        Some(-1.0) => return Some(self.neg(x)),
                        _ => {}
                    }
                    if let Some(inner) = self.map_args(s, MapFn::Neg).map(|a| a[0]) {
                        let product = self.mul(inner, x);
                        return Some(self.neg(product));
                    }
                }
                None
            }
            // x + 0 = x (where 0 does not broaden x), x + (-y) = x - y
            MapFn::Add => {
                for (s, x) in [(args[0], args[1]), (args[1], args[0])] {
                    if self.as_number(s) == Some(0.0) {
                        return Some(x);
                    }
                    if let Some(y) = self.map_args(s, MapFn::Neg).map(|a| a[0]) {
                        return Some(self.map(MapFn::Sub, &[x, y]));
                    }
                }
                None
            }
            // x - (-y) = x + y, x - 0 = x
            MapFn::Sub => {
                if self.as_number(args[1]) == Some(0.0) {
                    return Some(args[0]);
                }
                let y = self.map_args(args[1], MapFn::Neg)?[0];
                Some(self.add(args[0], y))
            }
            // -(-x) = x, -(x - y) = y - x
            MapFn::Neg => {
                if let Some(inner) = self.map_args(args[0], MapFn::Neg) {
                    return Some(inner[0]);
                }
                let (x, y) = self.map_args(args[0], MapFn::Sub).map(|a| (a[0], a[1]))?;
                Some(self.map(MapFn::Sub, &[y, x]))
            }
            // x / 1 = x
            MapFn::Div if self.as_number(args[1]) == Some(1.0) => Some(args[0]),
            // exp(log x) = x, log(exp x) = x
            MapFn::Exp => self.map_args(args[0], MapFn::Log).map(|a| a[0]),
            MapFn::Log => self.map_args(args[0], MapFn::Exp).map(|a| a[0]),
            // keep(mask, keep(mask, x)) = keep(mask, x); keep(mask, s x) = keep(mask, s) x for a number s a row;
            // keep(mask, -x) = -keep(mask, x)
            MapFn::Keep => {
                if let Op::Map(MapFn::Keep, inner) = self.op(args[1])
                    && inner[0] == args[0]
                {
                    return Some(args[1]);
                }
                if let Some(x) = self.map_args(args[1], MapFn::Neg).map(|a| a[0]) {
                    let kept = self.map(MapFn::Keep, &[args[0], x]);
                    return Some(self.neg(kept));
                }
                let (x, y) = self.map_args(args[1], MapFn::Mul).map(|a| (a[0], a[1]))?;
                for (s, x) in [(x, y), (y, x)] {
                    let (s_shape, x_shape) = (self.shape(s), self.shape(x));
                    let row = s_shape.cols == Axis::One && x_shape.cols != Axis::One && x_shape.rows == Axis::Token;
                    if row {
                        let kept = self.map(MapFn::Keep, &[args[0], s]);
                        return Some(self.mul(kept, x));
                    }
                }
                None
            }
            _ => None,
        }
    }
}
