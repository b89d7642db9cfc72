//! What was written, with its place on every node.
//!
//! Expressions live in one arena a variant, children before parents: a sum of thousands of terms is a deep tree, and
//! must not become a deep call. The nodes of one right-hand side are neighbours, see [`Body`].

use crate::recurrence::{Func, InputKind, Span};

/// A name and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// One variant.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) docs: String,
    pub(crate) public: bool,
    pub(crate) name: Name,
    pub(crate) items: Vec<Item>,
    pub(crate) exprs: Vec<Expr>,
    /// An item could not be read, and its names are lost: a name that is missing may have been in it.
    pub(crate) damaged: bool,
    pub(crate) span: Span,
}

/// One item.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) docs: String,
    pub(crate) kind: ItemKind,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum ItemKind {
    Dim(Vec<Name>),
    Inputs(InputKind, Vec<Group>),
    Const(Name, Body),
    State { names: Vec<Name>, first: Name, second: Option<Name> },
    Let(Name, Body),
    Assign(Name, Body),
    Output(Name, Body),
}

/// Inputs of one type.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) names: Vec<Name>,
    pub(crate) gate: bool,
    /// `None`: a scalar.
    pub(crate) side: Option<Name>,
    pub(crate) domain: Option<Domain>,
}

/// A domain as written.
#[derive(Debug)]
pub(crate) struct Domain {
    pub(crate) kind: DomainKind,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum DomainKind {
    Unit,
    Range(f64, f64),
}

/// A right-hand side: the nodes `first..=root` of the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body {
    pub(crate) first: usize,
    pub(crate) root: usize,
}

/// Index of a node in the arena.
pub(crate) type Id = usize;

/// A node: an operator or an atom, with the operator's or the atom's place.
#[derive(Debug)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) span: Span,
}

#[derive(Debug)]
pub(crate) enum ExprKind {
    /// Reported already.
    Error,
    Number(f64),
    Name(String),
    /// `S[t-1]` (previous) or `S[t]`; the span is the whole, the second place the name's.
    Read {
        name: Name,
        previous: bool,
    },
    Identity,
    Dim(Name),
    Negate(Id),
    Transpose(Id),
    Binary(Operator, Id, Id),
    Call(Func, Vec<Id>),
}

/// An operator between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Hadamard,
    Divide,
}

impl Operator {
    /// As written.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Hadamard => ".*",
            Operator::Divide => "/",
        }
    }
}
