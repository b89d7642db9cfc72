//! The tile program: what one chunk of one sequence and one value head computes.
//!
//! A [`Program`] is straight-line: node `i` uses only nodes before it. Every value is a matrix [`Shape`] of two
//! [`Axis`]es: `Token` (the chunk's C tokens), a side (key, value, a declared dim) or `One`. A vector per token is
//! `[Token, side]`, a scalar per token `[Token, One]`, a parameter `[One, side]` or `[One, One]`, a state `[side, side]`
//! (free side by contracted side, see [`Leaf::State`]), a mask or a triangular matrix `[Token, Token]` (later token by
//! earlier token). Elementwise operations broadcast `One` axes.
//!
//! The frame around a program is fixed. A *forward* program runs chunk by chunk from the first to the last: the result
//! [`Role::State`] of one chunk is the leaf [`Leaf::State`] of the next. A *backward* program runs from the last chunk
//! to the first: the result [`Role::StateGrad`] of one chunk is the leaf [`Leaf::StateGrad`] of the one before it. The
//! last chunk may have fewer than C tokens: its missing rows repeat the last token's inputs and have zero cotangents,
//! and [`Leaf::Valid`] is 0 there.
//!
//! Reading order: this page, `tile/op.rs` (what each operation means), `tile/verify.rs` (what is well formed),
//! `tile/text.rs`, `tile/parse.rs` (the text form), `tile/eval.rs` (the f64 interpreter).

pub mod builder;
pub mod eval;
pub mod op;
pub mod parse;
pub mod shape;
pub mod text;
pub mod verify;

pub use op::{DecayKind, Direction, Leaf, MapFn, Op, ScanKind};

/// One axis of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Axis {
    /// Length 1; broadcasts.
    One,
    /// The chunk's tokens.
    Token,
    /// A side, numbered as in the recurrence: 0 key, 1 value, then declared dims.
    Side(u16),
}

/// Rows by columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Row axis.
    pub rows: Axis,
    /// Column axis.
    pub cols: Axis,
}

impl Shape {
    /// `[rows, cols]`.
    pub const fn new(rows: Axis, cols: Axis) -> Shape {
        Shape { rows, cols }
    }

    /// `[cols, rows]`.
    pub const fn transposed(self) -> Shape {
        Shape { rows: self.cols, cols: self.rows }
    }
}

/// A value of a program: the index of its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(pub u32);

/// An operation, the shape of its value, and the statement it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// Shape of the value. A [`Op::Solve`] has the shape of its parts; only [`Op::Part`] may use it.
    pub shape: Shape,
    /// Index of the recurrence's statement this comes from, for comments in emitted code.
    pub origin: Option<u32>,
}

/// What a result is for the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Output of the recurrence, `[Token, side]` or `[Token, One]`.
    Output(usize),
    /// The state after the chunk.
    State(usize),
    /// Kept for backward: `Saved(k)` of a forward program is the leaf [`Leaf::Saved`]`(k)` of its backward program.
    Saved(usize),
    /// Gradient of an input (rows are stored), or of a parameter (`[One, ..]`, summed over chunks).
    InputGrad(usize),
    /// Gradient of the state at the chunk's start.
    StateGrad(usize),
}

/// A state's orientation in the tile program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateSides {
    /// The side that a readout's result has, and along which channels are independent of one another.
    pub free: Axis,
    /// The side that a readout contracts; `One` for a vector state.
    pub contracted: Axis,
    /// Whether `free` is the state's column side in the recurrence (the erase is on the value side): the program holds
    /// the transposed state.
    pub transposed: bool,
}

/// A program with its interface.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// `forward`, `backward`, `decode` ...: for headings.
    pub name: String,
    /// Nodes in order.
    pub nodes: Vec<Node>,
    /// Results, each role once.
    pub results: Vec<(Role, Value)>,
    /// Orientation of each state.
    pub states: Vec<StateSides>,
    /// Shape of each value that forward keeps, by index of [`Role::Saved`] and [`Leaf::Saved`].
    pub saved: Vec<Shape>,
}

impl Program {
    /// The node of a value.
    pub fn node(&self, value: Value) -> &Node {
        &self.nodes[value.0 as usize]
    }

    /// The shape of a value.
    pub fn shape(&self, value: Value) -> Shape {
        self.node(value).shape
    }

    /// How often each value is used, by operations and as a result.
    pub fn uses(&self) -> Vec<u32> {
        let mut uses = vec![0; self.nodes.len()];
        for node in &self.nodes {
            node.op.for_each_operand(|value| uses[value.0 as usize] += 1);
        }
        for (_, value) in &self.results {
            uses[value.0 as usize] += 1;
        }
        uses
    }
}
