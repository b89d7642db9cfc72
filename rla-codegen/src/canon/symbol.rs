//! Symbolic scalars and vectors of one token, hash-consed.
//!
//! After expansion nothing is a matrix any more: a matrix appears only as a readout of a state at the token's start.

use std::collections::HashMap;

use rla_dsl::recurrence::{Side, Span};

use crate::tile::MapFn;

/// A symbol: an index into its [`Arena`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sym(pub u32);

/// Scalar, or a vector along a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SymType {
    /// One number per token.
    Scalar,
    /// A vector per token.
    Vector(Side),
}

/// What a symbol stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SymKind {
    /// A literal, by its bits.
    Number(u64),
    /// A constant of the recurrence.
    Const(usize),
    /// The size of a side.
    Size(Side),
    /// An input or parameter.
    Input(usize),
    /// Elementwise; scalars broadcast over vectors.
    Map(MapFn, Vec<Sym>),
    /// Inner product of two vectors of one side.
    Dot(Sym, Sym),
    /// Sum of a vector.
    Sum(Sym),
    /// Softmax of a vector.
    Softmax(Sym),
    /// `x / sqrt(sum x^2 + eps)` of a vector x and a scalar eps.
    L2norm(Sym, Sym),
    /// `X[t-1] p` (or `X[t-1]^T p`) of a matrix state.
    Read {
        /// The state.
        state: usize,
        /// Read the transposed state.
        transposed: bool,
        /// The vector it is applied to.
        p: Sym,
    },
    /// A vector state `z[t-1]` itself.
    Vector(usize),
    /// The write `u_j` of a state at this token, along its free side.
    Write(usize, usize),
}

/// Hash-consed symbols; a few identities are applied as they are built.
#[derive(Debug, Default, Clone)]
pub struct Arena {
    kinds: Vec<SymKind>,
    types: Vec<SymType>,
    spans: Vec<Span>,
    known: HashMap<(SymKind, SymType), Sym>,
}

impl Arena {
    /// Adds or finds a symbol.
    pub fn add(&mut self, kind: SymKind, ty: SymType, span: Span) -> Sym {
        if let Some(sym) = self.known.get(&(kind.clone(), ty)) {
            return *sym;
        }
        let sym = Sym(self.kinds.len() as u32);
        self.known.insert((kind.clone(), ty), sym);
        self.kinds.push(kind);
        self.types.push(ty);
        self.spans.push(span);
        sym
    }

    /// How many symbols there are.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// What a symbol stands for.
    pub fn kind(&self, sym: Sym) -> &SymKind {
        &self.kinds[sym.0 as usize]
    }

    /// Its type.
    pub fn ty(&self, sym: Sym) -> SymType {
        self.types[sym.0 as usize]
    }

    /// Where it was first written.
    pub fn span(&self, sym: Sym) -> Span {
        self.spans[sym.0 as usize]
    }

    /// A literal.
    pub fn number(&mut self, x: f64) -> Sym {
        self.add(SymKind::Number(x.to_bits()), SymType::Scalar, Span::default())
    }

    /// The value of a literal.
    pub fn as_number(&self, sym: Sym) -> Option<f64> {
        match self.kind(sym) {
            SymKind::Number(bits) => Some(f64::from_bits(*bits)),
            _ => None,
        }
    }

    fn is(&self, sym: Sym, x: f64) -> bool {
        self.as_number(sym) == Some(x)
    }

    fn joined(&self, args: &[Sym]) -> SymType {
        args.iter().map(|a| self.ty(*a)).find(|t| *t != SymType::Scalar).unwrap_or(SymType::Scalar)
    }

    /// An elementwise function.
    pub fn map(&mut self, f: MapFn, args: &[Sym], span: Span) -> Sym {
        let ty = self.joined(args);
        self.add(SymKind::Map(f, args.to_vec()), ty, span)
    }

    /// `a b`, elementwise or scaling.
    pub fn mul(&mut self, a: Sym, b: Sym, span: Span) -> Sym {
        if self.is(a, 1.0) {
            return b;
        }
        if self.is(b, 1.0) {
            return a;
        }
        if let (Some(x), Some(y)) = (self.as_number(a), self.as_number(b)) {
            return self.number(x * y);
        }
        // a zero keeps its meaning whatever it is added to; its type is lost, so only scalars may collapse
        if self.joined(&[a, b]) == SymType::Scalar && (self.is(a, 0.0) || self.is(b, 0.0)) {
            return self.number(0.0);
        }
        self.map(MapFn::Mul, &[a, b], span)
    }

    /// `a + b`.
    pub fn plus(&mut self, a: Sym, b: Sym, span: Span) -> Sym {
        if self.is(a, 0.0) && self.joined(&[a, b]) == self.ty(b) {
            return b;
        }
        if self.is(b, 0.0) && self.joined(&[a, b]) == self.ty(a) {
            return a;
        }
        if let (Some(x), Some(y)) = (self.as_number(a), self.as_number(b)) {
            return self.number(x + y);
        }
        self.map(MapFn::Add, &[a, b], span)
    }

    /// `-a`.
    pub fn neg(&mut self, a: Sym, span: Span) -> Sym {
        if let Some(x) = self.as_number(a) {
            return self.number(-x);
        }
        if let SymKind::Map(MapFn::Neg, args) = self.kind(a) {
            return args[0];
        }
        self.map(MapFn::Neg, &[a], span)
    }

    /// Inner product.
    pub fn dot(&mut self, a: Sym, b: Sym, span: Span) -> Sym {
        let ((s, a), (z, b)) = (self.strip(a, span), self.strip(b, span));
        // one order for both, so that equal products are found equal
        let (a, b) = if a <= b { (a, b) } else { (b, a) };
        let dot = self.add(SymKind::Dot(a, b), SymType::Scalar, span);
        let scale = self.mul(s, z, span);
        self.mul(scale, dot, span)
    }

    /// Splits a vector into a scalar factor and the rest: `2 g (b k)` is `2 g b` and `k`.
    pub fn strip(&mut self, x: Sym, span: Span) -> (Sym, Sym) {
        let one = self.number(1.0);
        if self.ty(x) == SymType::Scalar {
            return (one, x);
        }
        match self.kind(x).clone() {
            SymKind::Map(MapFn::Mul, args) => {
                for (s, v) in [(args[0], args[1]), (args[1], args[0])] {
                    if self.ty(s) == SymType::Scalar {
                        let (t, rest) = self.strip(v, span);
                        return (self.mul(s, t, span), rest);
                    }
                }
                (one, x)
            }
            SymKind::Map(MapFn::Neg, args) => {
                let (t, rest) = self.strip(args[0], span);
                (self.neg(t, span), rest)
            }
            SymKind::Map(MapFn::Div, args) if self.ty(args[1]) == SymType::Scalar => {
                let (t, rest) = self.strip(args[0], span);
                (self.map(MapFn::Div, &[t, args[1]], span), rest)
            }
            _ => (one, x),
        }
    }

    /// The symbols directly under one.
    pub fn children(&self, sym: Sym) -> Vec<Sym> {
        match self.kind(sym) {
            SymKind::Map(_, args) => args.clone(),
            SymKind::Dot(a, b) | SymKind::L2norm(a, b) => vec![*a, *b],
            SymKind::Sum(a) | SymKind::Softmax(a) => vec![*a],
            SymKind::Read { p, .. } => vec![*p],
            _ => Vec::new(),
        }
    }

    /// Calls `f` once for each symbol under `sym`, itself included.
    pub fn visit(&self, sym: Sym, f: &mut impl FnMut(Sym)) {
        let mut seen = vec![false; self.len()];
        let mut todo = vec![sym];
        while let Some(next) = todo.pop() {
            if !std::mem::replace(&mut seen[next.0 as usize], true) {
                f(next);
                todo.extend(self.children(next));
            }
        }
    }

    /// Which of the first `len` symbols contain one of `leaves`; children precede parents, so one sweep does.
    pub fn containing(&self, leaves: &[Sym]) -> Vec<bool> {
        let mut has = vec![false; self.len()];
        for i in 0..self.len() {
            let sym = Sym(i as u32);
            has[i] = leaves.contains(&sym) || self.children(sym).iter().any(|c| has[c.0 as usize]);
        }
        has
    }
}
