//! A tile program in the form that the emitters work on.
//!
//! Transposes are a property of the reference, not of the value; products with a vector are elementwise work and sums;
//! decays take the decay `a = exp(g)` itself. What no result needs is gone.

use std::collections::HashMap;

use crate::tile::{Axis, DecayKind, Direction, Leaf, MapFn, Op, Program, Role, ScanKind, Shape, Value};

/// A value, or its transpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ref {
    /// Index into [`Graph::nodes`].
    pub node: usize,
    /// Transposed.
    pub flip: bool,
}

impl Ref {
    /// The transpose.
    pub fn t(self) -> Ref {
        Ref { node: self.node, flip: !self.flip }
    }
}

/// One of a matrix's two axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pos {
    /// The row axis.
    Rows,
    /// The column axis.
    Cols,
}

impl Pos {
    /// The other axis where `flip` is set.
    pub fn flip(self, flip: bool) -> Pos {
        match (self, flip) {
            (Pos::Rows, true) => Pos::Cols,
            (Pos::Cols, true) => Pos::Rows,
            (pos, false) => pos,
        }
    }
}

/// An operation; operands with their shapes as [`Op`] has them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Given.
    Leaf(Leaf),
    /// Elementwise.
    Map(MapFn, Vec<Ref>),
    /// The strictly lower part.
    Lower(Ref),
    /// Sum over one axis of a matrix or a vector.
    Sum(Ref, Pos),
    /// Softmax over columns.
    Softmax(Ref),
    /// `[r, n] [n, c]`, none of them One.
    Product(Ref, Ref),
    /// Running sums over tokens.
    Scan(ScanKind, Ref),
    /// Rectangle sums.
    RectSum(Ref),
    /// Running products of `a`.
    Decay(DecayKind, Ref),
    /// [`Op::DecayDot`] with `a`.
    DecayDot { p: Ref, w: Ref, a: Ref },
    /// [`Op::DecayApply`] with `a`.
    DecayApply { m: Ref, w: Ref, a: Ref, transposed: bool },
    /// [`Op::DecayRect`] with `a`.
    DecayRect { m: Ref, p: Ref, w: Ref, a: Ref },
    /// [`Op::Solve`] with `a` for the decay.
    Solve {
        direction: Direction,
        m: Vec<Option<Ref>>,
        c: Vec<Option<Ref>>,
        y0: Vec<Option<Ref>>,
        b: Vec<Option<Ref>>,
        a: Option<Ref>,
    },
    /// A part of a solve.
    Part(usize, usize),
    /// [`Op::Inverse`]; no pass of the CPU's pipeline makes one.
    Inverse(Ref),
    /// `(I - a)^-1 b`; b is the identity where there is none (see [`Graph::substitute`]).
    Substitute { a: Ref, b: Option<Ref> },
    /// What one substitution gives for a strictly lower matrix L of tokens by tokens, and numbers d a token, the diagonal of D: of
    /// `X = (I - L D)^-1 L` (`minus`: with -D for D) that which `take` says.
    System { lower: Ref, scale: Ref, minus: bool, take: Take },
}

/// What is taken of a [`Kind::System`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Take {
    /// `X`.
    Plain,
    /// `I + X D = (I - L D)^-1`.
    Columns,
    /// `I + D X = (I - D L)^-1`.
    Rows,
}

/// An operation with its shape and the statement it comes from.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is computed.
    pub kind: Kind,
    /// Shape of the value.
    pub shape: Shape,
    /// Index of the recurrence's statement.
    pub origin: Option<u32>,
    /// The program's value that it is, as seen without a flip.
    pub value: Option<Value>,
}

/// Nodes in order, and what is wanted.
#[derive(Clone, Debug)]
pub struct Graph {
    /// Nodes; operands come before users.
    pub nodes: Vec<Node>,
    /// Results.
    pub results: Vec<(Role, Ref)>,
    /// Where products take bf16 operands (see [`Graph::in_bf16`]): whether each input comes in bf16.
    pub given: Option<Vec<bool>>,
}

impl Kind {
    /// Operands in order.
    pub fn operands(&self) -> Vec<Ref> {
        match self {
            Kind::Leaf(_) => vec![],
            Kind::Map(_, args) => args.clone(),
            Kind::Lower(x)
            | Kind::Sum(x, _)
            | Kind::Softmax(x)
            | Kind::Scan(_, x)
            | Kind::RectSum(x)
            | Kind::Decay(_, x)
            | Kind::Inverse(x) => vec![*x],
            Kind::Product(a, b) => vec![*a, *b],
            Kind::Substitute { a, b } => [*a].into_iter().chain(*b).collect(),
            Kind::System { lower, scale, .. } => vec![*lower, *scale],
            Kind::DecayDot { p, w, a } => vec![*p, *w, *a],
            Kind::DecayApply { m, w, a, .. } => vec![*m, *w, *a],
            Kind::DecayRect { m, p, w, a } => vec![*m, *p, *w, *a],
            Kind::Solve { m, c, y0, b, a, .. } => {
                m.iter().chain(c).chain(y0).chain(b).chain([a]).flatten().copied().collect()
            }
            Kind::Part(solve, _) => vec![Ref { node: *solve, flip: false }],
        }
    }
}

impl Graph {
    /// The shape of a reference.
    pub fn shape(&self, r: Ref) -> Shape {
        let shape = self.nodes[r.node].shape;
        if r.flip { shape.transposed() } else { shape }
    }

    /// Whether a value is stored as a matrix: neither axis is One.
    pub fn is_matrix(&self, node: usize) -> bool {
        let shape = self.nodes[node].shape;
        shape.rows != Axis::One && shape.cols != Axis::One
    }

    /// The axis of a vector, One of a number.
    pub fn vector_axis(&self, node: usize) -> Axis {
        let shape = self.nodes[node].shape;
        if shape.cols == Axis::One { shape.rows } else { shape.cols }
    }

    /// Whether a node is an input of rows that the caller gives in bf16.
    pub fn is_given(&self, node: usize) -> bool {
        match (&self.nodes[node].kind, &self.given) {
            (Kind::Leaf(Leaf::Input(i)), Some(given)) => {
                given.get(*i) == Some(&true) && self.is_matrix(node) && self.nodes[node].shape.rows == Axis::Token
            }
            _ => false,
        }
    }

    /// Whether a product takes bf16 operands (and sums in f32): sums over a side, and updates of states. Sums over tokens
    /// that give tokens stay in f32: they are a fraction of the work and most of what rounding would cost.
    pub fn in_bf16(&self, a: Ref, b: Ref) -> bool {
        let is_side = |axis: Axis| matches!(axis, Axis::Side(_));
        let (a, b) = (self.shape(a), self.shape(b));
        self.given.is_some() && (is_side(a.cols) || is_side(a.rows) && is_side(b.cols))
    }

    /// Whether a reference is zero on and above the diagonal (`Some(true)`), on and below it (`Some(false)`), or neither.
    pub fn triangle(&self, r: Ref) -> Option<bool> {
        self.lower(r.node).map(|lower| lower != r.flip)
    }

    fn lower(&self, node: usize) -> Option<bool> {
        match &self.nodes[node].kind {
            Kind::Lower(_) | Kind::Decay(DecayKind::Segment, _) | Kind::DecayDot { .. } => Some(true),
            Kind::Map(MapFn::Mul, args) => args.iter().find_map(|a| self.triangle(*a)),
            Kind::Map(MapFn::Neg | MapFn::Div, args) => self.triangle(args[0]),
            Kind::Map(MapFn::Add | MapFn::Sub, args) => {
                let first = self.triangle(args[0])?;
                (self.triangle(args[1]) == Some(first)).then_some(first)
            }
            Kind::Map(MapFn::Keep, args) => self.triangle(args[1]),
            _ => None,
        }
    }

    /// Builds the graph of a program.
    pub fn new(program: &Program) -> Graph {
        let mut build = Build::new(None);
        let mut at: Vec<Option<Ref>> = Vec::with_capacity(program.nodes.len());
        for node in &program.nodes {
            let made = build.node(&node.op, node.shape, node.origin, &|v: Value| {
                at[v.0 as usize].expect("operands come before users")
            });
            at.push(Some(made));
        }
        let mut graph = build.graph;
        for (v, r) in at.iter().enumerate() {
            let r = r.expect("built");
            if !r.flip {
                graph.nodes[r.node].value.get_or_insert(Value(v as u32));
            }
        }
        graph.results = program.results.iter().map(|(role, v)| (*role, at[v.0 as usize].expect("built"))).collect();
        graph.without_dead()
    }

    pub(super) fn without_dead(self) -> Graph {
        let mut live = vec![false; self.nodes.len()];
        let mut todo: Vec<usize> = self.results.iter().map(|(_, r)| r.node).collect();
        while let Some(node) = todo.pop() {
            if !std::mem::replace(&mut live[node], true) {
                todo.extend(self.nodes[node].kind.operands().iter().map(|r| r.node));
            }
        }
        // a write that later rows of its own system read is wanted, whoever else reads it
        for (i, node) in self.nodes.iter().enumerate() {
            if let Kind::Part(solve, k) = node.kind
                && let Kind::Solve { m, y0, b, .. } = &self.nodes[solve].kind
                && let Some(j) = k.checked_sub(y0.len())
            {
                live[i] |= live[solve] && (0..y0.len()).any(|l| m[l * b.len() + j].is_some());
            }
        }
        let mut new = vec![usize::MAX; self.nodes.len()];
        let mut nodes = Vec::new();
        for (i, mut node) in self.nodes.into_iter().enumerate() {
            if live[i] {
                node.kind.renumber(&|old| new[old]);
                new[i] = nodes.len();
                nodes.push(node);
            }
        }
        let results =
            self.results.into_iter().map(|(role, r)| (role, Ref { node: new[r.node], flip: r.flip })).collect();
        Graph { nodes, results, given: self.given }
    }

    /// How often each node is used, results included.
    pub fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.nodes.len()];
        for node in &self.nodes {
            for r in node.kind.operands() {
                uses[r.node] += 1;
            }
        }
        for (_, r) in &self.results {
            uses[r.node] += 1;
        }
        uses
    }
}

impl Kind {
    fn renumber(&mut self, new: &impl Fn(usize) -> usize) {
        self.refer(&|r: Ref| Ref { node: new(r.node), flip: r.flip });
    }

    /// Replaces every operand.
    pub(super) fn refer(&mut self, new: &impl Fn(Ref) -> Ref) {
        let at = |r: &mut Ref| *r = new(*r);
        match self {
            Kind::Leaf(_) => {}
            Kind::Map(_, args) => args.iter_mut().for_each(at),
            Kind::Lower(x)
            | Kind::Sum(x, _)
            | Kind::Softmax(x)
            | Kind::Scan(_, x)
            | Kind::RectSum(x)
            | Kind::Decay(_, x)
            | Kind::Inverse(x) => at(x),
            Kind::Product(a, b) => [a, b].into_iter().for_each(at),
            Kind::Substitute { a, b } => [a].into_iter().chain(b).for_each(at),
            Kind::System { lower, scale, .. } => [lower, scale].into_iter().for_each(at),
            Kind::DecayDot { p, w, a } => [p, w, a].into_iter().for_each(at),
            Kind::DecayApply { m, w, a, .. } => [m, w, a].into_iter().for_each(at),
            Kind::DecayRect { m, p, w, a } => [m, p, w, a].into_iter().for_each(at),
            Kind::Solve { m, c, y0, b, a, .. } => {
                m.iter_mut().chain(c).chain(y0).chain(b).chain([a]).flatten().for_each(at)
            }
            Kind::Part(solve, _) => *solve = new(Ref { node: *solve, flip: false }).node,
        }
    }
}

/// A graph under construction: equal nodes are one.
pub(super) struct Build {
    pub(super) graph: Graph,
    seen: HashMap<Kind, usize>,
}

impl Build {
    pub(super) fn new(given: Option<Vec<bool>>) -> Build {
        Build { graph: Graph { nodes: vec![], results: vec![], given }, seen: HashMap::new() }
    }

    /// The graph that was built, with these results.
    pub(super) fn graph(self, results: impl Iterator<Item = (Role, Ref)>) -> Graph {
        Graph { results: results.collect(), ..self.graph }
    }

    pub(super) fn push(&mut self, kind: Kind, shape: Shape, origin: Option<u32>) -> Ref {
        let nodes = &mut self.graph.nodes;
        let node = *self.seen.entry(kind.clone()).or_insert_with(|| {
            nodes.push(Node { kind, shape, origin, value: None });
            nodes.len() - 1
        });
        Ref { node, flip: false }
    }

    fn sum(&mut self, x: Ref, over: Pos, origin: Option<u32>) -> Ref {
        let shape = self.graph.shape(x);
        match over {
            Pos::Cols if shape.cols == Axis::One => x,
            Pos::Rows if shape.rows == Axis::One => x,
            Pos::Cols => self.push(Kind::Sum(x, over), Shape::new(shape.rows, Axis::One), origin),
            Pos::Rows => self.push(Kind::Sum(x, over), Shape::new(Axis::One, shape.cols), origin),
        }
    }

    pub(super) fn mul(&mut self, a: Ref, b: Ref, origin: Option<u32>) -> Ref {
        let (x, y) = (self.graph.shape(a), self.graph.shape(b));
        let join = |x: Axis, y: Axis| if x == Axis::One { y } else { x };
        let shape = Shape::new(join(x.rows, y.rows), join(x.cols, y.cols));
        self.push(Kind::Map(MapFn::Mul, vec![a, b]), shape, origin)
    }

    fn product(&mut self, a: Ref, b: Ref, origin: Option<u32>) -> Ref {
        let (x, y) = (self.graph.shape(a), self.graph.shape(b));
        if x.cols == Axis::One {
            self.mul(a, b, origin)
        } else if y.cols == Axis::One {
            let terms = self.mul(a, b.t(), origin);
            self.sum(terms, Pos::Cols, origin)
        } else if x.rows == Axis::One {
            let terms = self.mul(a.t(), b, origin);
            self.sum(terms, Pos::Rows, origin)
        } else {
            self.push(Kind::Product(a, b), Shape::new(x.rows, y.cols), origin)
        }
    }

    fn exp(&mut self, g: Ref, origin: Option<u32>) -> Ref {
        let shape = self.graph.shape(g);
        self.push(Kind::Map(MapFn::Exp, vec![g]), shape, origin)
    }

    /// `E[t,s]` of one log decay a token.
    fn segment(&mut self, g: Ref, origin: Option<u32>) -> Ref {
        let a = self.exp(g, origin);
        self.push(Kind::Decay(DecayKind::Segment, a), Shape::new(Axis::Token, Axis::Token), origin)
    }

    fn node(&mut self, op: &Op, shape: Shape, origin: Option<u32>, at: &impl Fn(Value) -> Ref) -> Ref {
        let all = |values: &[Option<Value>]| values.iter().map(|v| v.map(at)).collect::<Vec<_>>();
        let kind = match op {
            Op::Leaf(leaf) => Kind::Leaf(*leaf),
            Op::Map(f, args) => Kind::Map(*f, args.iter().map(|a| at(*a)).collect()),
            Op::SumCols(x) => return self.sum(at(*x), Pos::Cols, origin),
            Op::SumRows(x) => return self.sum(at(*x), Pos::Rows, origin),
            Op::Softmax(x) => Kind::Softmax(at(*x)),
            Op::L2norm { x, eps } => {
                let (x, eps) = (at(*x), at(*eps));
                let of_row = Shape::new(shape.rows, Axis::One);
                let square = self.push(Kind::Map(MapFn::Sq, vec![x]), shape, origin);
                let sum = self.sum(square, Pos::Cols, origin);
                let sum = self.push(Kind::Map(MapFn::Add, vec![sum, eps]), of_row, origin);
                let scale = self.push(Kind::Map(MapFn::Rsqrt, vec![sum]), of_row, origin);
                return self.mul(scale, x, origin);
            }
            Op::Matmul { a, ta, b, tb } => {
                let (mut a, mut b) = (at(*a), at(*b));
                a.flip ^= ta;
                b.flip ^= tb;
                return self.product(a, b, origin);
            }
            Op::Transpose(x) => return at(*x).t(),
            Op::StrictLower(x) => Kind::Lower(at(*x)),
            Op::Scan(kind, x) => Kind::Scan(*kind, at(*x)),
            Op::RectSum(x) => Kind::RectSum(at(*x)),
            Op::Inverse(x) => Kind::Inverse(at(*x)),
            Op::Decay(kind, g) => {
                let a = self.exp(at(*g), origin);
                Kind::Decay(*kind, a)
            }
            Op::DecayDot { p, w, g } if self.graph.shape(at(*g)).cols == Axis::One => {
                let e = self.segment(at(*g), origin);
                let product = self.mul(at(*p), at(*w).t(), origin);
                return self.mul(product, e, origin);
            }
            Op::DecayDot { p, w, g } => {
                let a = self.exp(at(*g), origin);
                Kind::DecayDot { p: at(*p), w: at(*w), a }
            }
            Op::DecayApply { a: m, w, g, transposed } if self.graph.shape(at(*g)).cols == Axis::One => {
                let e = self.segment(at(*g), origin);
                let mut m = self.mul(at(*m), e, origin);
                m.flip ^= transposed;
                return self.product(m, at(*w), origin);
            }
            Op::DecayApply { a: m, w, g, transposed } => {
                let a = self.exp(at(*g), origin);
                Kind::DecayApply { m: at(*m), w: at(*w), a, transposed: *transposed }
            }
            Op::DecayRect { a: m, p, w, g } if self.graph.shape(at(*g)).cols == Axis::One => {
                let e = self.segment(at(*g), origin);
                let m = self.mul(at(*m), e, origin);
                let product = self.mul(at(*p), at(*w).t(), origin);
                Kind::RectSum(self.mul(m, product, origin))
            }
            Op::DecayRect { a: m, p, w, g } => {
                let a = self.exp(at(*g), origin);
                Kind::DecayRect { m: at(*m), p: at(*p), w: at(*w), a }
            }
            Op::Solve { direction, m, c, y0, b, decay } => {
                let mut m = all(m);
                let mut a = decay.map(|g| self.exp(at(g), origin));
                if let Some(g) = decay.filter(|g| self.graph.shape(at(*g)).cols == Axis::One) {
                    let e = self.segment(at(g), origin);
                    m = m.into_iter().map(|m| m.map(|m| self.mul(m, e, origin))).collect();
                    a = None;
                }
                let parts = y0.len() + b.len();
                let kind = Kind::Solve { direction: *direction, m, c: all(c), y0: all(y0), b: all(b), a };
                let solve = self.push(kind, shape, origin);
                (0..parts).for_each(|k| {
                    self.push(Kind::Part(solve.node, k), shape, origin);
                });
                return solve;
            }
            Op::Part(x, k) => Kind::Part(at(*x).node, *k),
        };
        self.push(kind, shape, origin)
    }
}
