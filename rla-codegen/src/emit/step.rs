//! A decode program of one token, taken apart: numbers, vectors along a side, readouts of states and updates of states.

use std::collections::HashMap;

use crate::tile::{Axis, Leaf, MapFn, Op, Program, Role, Shape, StateSides, Value};

/// What a node computes; operands come before their users.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A literal.
    Number(f64),
    /// A constant.
    Const(usize),
    /// The size of a side.
    Size(u16),
    /// An input or a parameter.
    Input(usize),
    /// A vector state, before the token.
    State(usize),
    /// Elementwise; numbers broadcast.
    Map(MapFn, Vec<usize>),
    /// Sum over a vector.
    Sum(usize),
    /// Softmax of a vector.
    Softmax(usize),
    /// A readout of the state before the token by a vector along its contracted side (`across`: along its free side).
    Read { state: usize, by: usize, across: bool },
}

/// A number (no axis) or a vector along a side.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is computed.
    pub kind: Kind,
    /// The side.
    pub axis: Option<u16>,
    /// The statement it comes from first.
    pub origin: Option<u32>,
}

/// Factors of a state before its writes are added: at most one of `number` and `rows`, by folding.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decay {
    /// A number.
    pub number: Option<usize>,
    /// A factor a row (a free channel).
    pub rows: Option<usize>,
    /// A factor a column (a contracted channel).
    pub cols: Option<usize>,
}

impl Decay {
    /// The decay of the transposed state.
    pub fn turned(self, turn: bool) -> Decay {
        if turn { Decay { number: self.number, rows: self.cols, cols: self.rows } } else { self }
    }
}

/// `X = decay X + sum u w^T`.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Decay.
    pub decay: Decay,
    /// (u along the free side, w along the contracted side).
    pub writes: Vec<(usize, usize)>,
}

/// A program, taken apart.
#[derive(Debug)]
pub struct Lowered {
    /// Numbers and vectors.
    pub nodes: Vec<Node>,
    /// Outputs.
    pub outputs: Vec<(usize, usize)>,
    /// Next values of vector states.
    pub vectors: Vec<(usize, usize)>,
    /// Updates of matrix states, by state.
    pub updates: Vec<Option<Update>>,
    /// Sides of the states.
    pub states: Vec<StateSides>,
}

impl Lowered {
    /// Whether a state has two sides.
    pub fn is_matrix(&self, state: usize) -> bool {
        self.states[state].free != Axis::One && self.states[state].contracted != Axis::One
    }

    /// The sides of a matrix state as the recurrence declares it: rows, columns.
    pub fn sides(&self, state: usize) -> (u16, u16) {
        let StateSides { free, contracted, transposed } = self.states[state];
        let (Axis::Side(free), Axis::Side(contracted)) = (free, contracted) else { panic!("a matrix state") };
        if transposed { (contracted, free) } else { (free, contracted) }
    }

    /// The vector that a readout contracts.
    pub fn by(&self, read: usize) -> usize {
        let Kind::Read { by, .. } = self.nodes[read].kind else { panic!("a readout") };
        by
    }

    /// Operands.
    pub fn operands(&self, node: usize) -> Vec<usize> {
        match &self.nodes[node].kind {
            Kind::Map(_, args) => args.clone(),
            Kind::Sum(x) | Kind::Softmax(x) | Kind::Read { by: x, .. } => vec![*x],
            _ => vec![],
        }
    }
}

/// A value of the program: a node, or something of a state's size.
#[derive(Clone, Debug)]
enum Low {
    Node(usize),
    State(usize),
    /// `u w^T`.
    Outer(usize, usize),
    Chain(usize, Update),
}

struct Lowering<'a> {
    program: &'a Program,
    lowered: Lowered,
    known: HashMap<Value, Low>,
    seen: HashMap<String, usize>,
    /// The statement of what is taken apart.
    origin: Option<u32>,
}

/// The shape with the one token as no axis.
fn sides(shape: Shape) -> (Option<u16>, Option<u16>) {
    let side = |axis| if let Axis::Side(s) = axis { Some(s) } else { None };
    (side(shape.rows), side(shape.cols))
}

/// Takes a program of one token apart. None: it holds what has no form here.
pub fn lower(program: &Program) -> Option<Lowered> {
    let lowered = Lowered {
        nodes: vec![],
        outputs: vec![],
        vectors: vec![],
        updates: vec![None; program.states.len()],
        states: program.states.clone(),
    };
    let mut lowering = Lowering { program, lowered, known: HashMap::new(), seen: HashMap::new(), origin: None };
    for (role, value) in &program.results {
        if let Role::Output(index) = role {
            let node = lowering.node(*value)?;
            lowering.lowered.outputs.push((*index, node));
        }
    }
    for state in 0..program.states.len() {
        let next = result(program, Role::State(state))?;
        if !lowering.lowered.is_matrix(state) {
            let node = lowering.node(next)?;
            lowering.lowered.nodes[node].axis?;
            lowering.lowered.vectors.push((state, node));
            continue;
        }
        let (read, mut update) = match lowering.value(next)? {
            Low::State(read) => (read, Update::default()),
            Low::Chain(read, update) => (read, update),
            _ => return None,
        };
        if read != state {
            return None;
        }
        // one factor a row or a column is enough
        let decay = &mut update.decay;
        if let Some(number) = decay.number
            && let Some(vector) = decay.rows.or(decay.cols)
        {
            let axis = lowering.lowered.nodes[vector].axis;
            let product = Some(lowering.map(MapFn::Mul, vec![number, vector], axis));
            *if decay.rows.is_some() { &mut decay.rows } else { &mut decay.cols } = product;
            decay.number = None;
        }
        lowering.lowered.updates[state] = Some(update);
    }
    Some(lowering.lowered)
}

impl Lowering<'_> {
    fn push(&mut self, kind: Kind, axis: Option<u16>) -> usize {
        let key = format!("{kind:?} {axis:?}");
        let (nodes, origin) = (&mut self.lowered.nodes, self.origin);
        *self.seen.entry(key).or_insert_with(|| {
            nodes.push(Node { kind, axis, origin });
            nodes.len() - 1
        })
    }

    fn map(&mut self, f: MapFn, args: Vec<usize>, axis: Option<u16>) -> usize {
        let one = |x: &usize| self.lowered.nodes[*x].kind == Kind::Number(1.0);
        let same = |x: &usize| self.lowered.nodes[*x].axis == axis;
        match f {
            // 1 x = x, and every token is real
            MapFn::Mul if one(&args[0]) && same(&args[1]) => return args[1],
            MapFn::Mul if one(&args[1]) && same(&args[0]) => return args[0],
            MapFn::Keep if one(&args[0]) && same(&args[1]) => return args[1],
            _ => {}
        }
        self.push(Kind::Map(f, args), axis)
    }

    fn node(&mut self, value: Value) -> Option<usize> {
        match self.value(value)? {
            Low::Node(node) => Some(node),
            _ => None,
        }
    }

    fn value(&mut self, value: Value) -> Option<Low> {
        if let Some(low) = self.known.get(&value) {
            return Some(low.clone());
        }
        let of_user = std::mem::replace(&mut self.origin, self.program.node(value).origin);
        let low = self.compute(value)?;
        self.origin = of_user;
        self.known.insert(value, low.clone());
        Some(low)
    }

    fn compute(&mut self, value: Value) -> Option<Low> {
        let node = self.program.node(value);
        let (rows, cols) = sides(node.shape);
        let axis = rows.or(cols);
        let matrix = rows.is_some() && cols.is_some();
        Some(Low::Node(match &node.op {
            Op::Leaf(Leaf::State(i)) if matrix => return Some(Low::State(*i)),
            Op::Leaf(Leaf::State(i)) => {
                axis?;
                self.push(Kind::State(*i), axis)
            }
            Op::Leaf(leaf) => {
                let kind = match leaf {
                    Leaf::Input(i) => Kind::Input(*i),
                    Leaf::Const(i) => Kind::Const(*i),
                    Leaf::Size(side) => Kind::Size(*side),
                    Leaf::Number(x) => Kind::Number(*x),
                    Leaf::Valid => Kind::Number(1.0),
                    _ => return None,
                };
                self.push(kind, axis)
            }
            Op::Map(f, args) if matrix => return self.matrix(*f, args),
            Op::Map(f, args) => {
                let args = args.iter().map(|a| self.node(*a)).collect::<Option<Vec<_>>>()?;
                self.map(*f, args, axis)
            }
            Op::SumCols(x) => {
                let (from_rows, from_cols) = sides(self.program.shape(*x));
                let x = self.node(*x)?;
                if from_cols.is_none() || from_rows.is_some() {
                    return from_cols.is_none().then_some(Low::Node(x));
                }
                self.push(Kind::Sum(x), None)
            }
            Op::SumRows(x) => {
                let (from_rows, from_cols) = sides(self.program.shape(*x));
                let x = self.node(*x)?;
                if from_rows.is_none() || from_cols.is_some() {
                    return from_rows.is_none().then_some(Low::Node(x));
                }
                self.push(Kind::Sum(x), None)
            }
            Op::L2norm { x, eps } => {
                let (x, eps) = (self.node(*x)?, self.node(*eps)?);
                let square = self.map(MapFn::Sq, vec![x], cols);
                let sum = if cols.is_some() { self.push(Kind::Sum(square), None) } else { square };
                let sum = self.map(MapFn::Add, vec![sum, eps], None);
                let scale = self.map(MapFn::Rsqrt, vec![sum], None);
                self.map(MapFn::Mul, vec![scale, x], axis)
            }
            Op::Softmax(x) => {
                cols?;
                let x = self.node(*x)?;
                self.push(Kind::Softmax(x), axis)
            }
            Op::Transpose(x) if !matrix => self.node(*x)?,
            Op::Matmul { a, ta, b, tb } => return self.product(*a, *ta, *b, *tb),
            _ => return None,
        }))
    }

    fn product(&mut self, a: Value, ta: bool, b: Value, tb: bool) -> Option<Low> {
        let shape = |v: Value, t: bool| {
            let shape = self.program.shape(v);
            sides(if t { shape.transposed() } else { shape })
        };
        let ((rows, inner), (_, cols)) = (shape(a, ta), shape(b, tb));
        let (x, y) = (self.value(a)?, self.value(b)?);
        let read = |state: usize, flipped: bool, by: usize| Kind::Read { state, by, across: flipped };
        Some(match (x, y) {
            (Low::Node(x), Low::Node(y)) if inner.is_some() => {
                if rows.or(cols).is_some() {
                    return None;
                }
                let product = self.map(MapFn::Mul, vec![x, y], inner);
                Low::Node(self.push(Kind::Sum(product), None))
            }
            (Low::Node(x), Low::Node(y)) if rows.is_some() && cols.is_some() => Low::Outer(x, y),
            (Low::Node(x), Low::Node(y)) => Low::Node(self.map(MapFn::Mul, vec![x, y], rows.or(cols))),
            (Low::State(s), Low::Node(p)) if cols.is_none() => Low::Node(self.push(read(s, ta, p), rows)),
            (Low::Node(p), Low::State(s)) if rows.is_none() => Low::Node(self.push(read(s, !tb, p), cols)),
            _ => return None,
        })
    }

    /// Steps of a state's update: factors first, then writes.
    fn matrix(&mut self, f: MapFn, args: &[Value]) -> Option<Low> {
        let low = args.iter().map(|a| self.value(*a)).collect::<Option<Vec<_>>>()?;
        match (f, low.as_slice()) {
            (MapFn::Mul, [Low::Node(factor), x]) => self.decayed(args[0], *factor, x.clone()),
            (MapFn::Mul, [x, Low::Node(factor)]) => self.decayed(args[1], *factor, x.clone()),
            (MapFn::Add, [Low::Outer(u, w), x] | [x, Low::Outer(u, w)]) => {
                let (state, mut update) = match x.clone() {
                    Low::State(state) => (state, Update::default()),
                    Low::Chain(state, update) => (state, update),
                    _ => return None,
                };
                update.writes.push((*u, *w));
                Some(Low::Chain(state, update))
            }
            _ => None,
        }
    }

    fn decayed(&mut self, value: Value, factor: usize, x: Low) -> Option<Low> {
        let (state, mut update) = match x {
            Low::State(state) => (state, Update::default()),
            Low::Chain(state, update) if update.writes.is_empty() => (state, update),
            _ => return None,
        };
        let (rows, cols) = sides(self.program.shape(value));
        let place = match (rows, cols) {
            (None, None) => &mut update.decay.number,
            (Some(_), None) => &mut update.decay.rows,
            (None, Some(_)) => &mut update.decay.cols,
            _ => return None,
        };
        *place = Some(match *place {
            Some(before) => self.map(MapFn::Mul, vec![before, factor], rows.or(cols)),
            None => factor,
        });
        Some(Low::Chain(state, update))
    }
}

/// The node of a result.
fn result(program: &Program, role: Role) -> Option<Value> {
    program.results.iter().find(|(r, _)| *r == role).map(|(_, v)| *v)
}
