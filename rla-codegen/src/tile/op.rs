//! The operations of the tile program, and what each means.
//!
//! The decay operations share one form. With log decays g, `E[t,s] = exp(sum of g_j over s < j < t)` for `s < t`, else 0
//! (per channel where g has channels), and the trilinear form `F(A, P, W, g) = sum A[t,s] P[t,c] W[s,c] E[t,s,c]`:
//! [`Op::DecayDot`] is its derivative by A, [`Op::DecayApply`] by P or W, [`Op::DecayRect`] by g. So the four are closed
//! under differentiation. All are sums of log decays between two positions, never differences of cumulative sums.

use std::hash::{Hash, Hasher};
use std::mem::{Discriminant, discriminant};

use super::Value;

/// Values that a program is given; literals are equal where their bits are.
#[derive(Clone, Copy, Debug)]
pub enum Leaf {
    /// An input `[Token, side]`, `[Token, One]`, or a parameter `[One, side]`, `[One, One]`.
    Input(usize),
    /// A constant of the recurrence, `[One, One]`; known at launch.
    Const(usize),
    /// The size of a side, `[One, One]`; known at launch.
    Size(u16),
    /// A literal, `[One, One]`.
    Number(f64),
    /// The state at the chunk's start, `[free, contracted]`.
    State(usize),
    /// Gradient of an output.
    OutputGrad(usize),
    /// Gradient of the state at the chunk's end, `[free, contracted]`.
    StateGrad(usize),
    /// What forward kept.
    Saved(usize),
    /// The identity matrix of a side, `[side, side]`; in programs of one token only.
    Identity(u16),
    /// `[Token, One]`: 1 for tokens of the sequence, 0 for the rows that fill the last chunk.
    Valid,
}

impl Leaf {
    fn identity(self) -> (Discriminant<Leaf>, u64) {
        let which = match self {
            Leaf::Input(i) | Leaf::Const(i) | Leaf::State(i) => i as u64,
            Leaf::OutputGrad(i) | Leaf::StateGrad(i) | Leaf::Saved(i) => i as u64,
            Leaf::Size(side) | Leaf::Identity(side) => side.into(),
            Leaf::Number(x) => x.to_bits(),
            Leaf::Valid => 0,
        };
        (discriminant(&self), which)
    }
}

impl PartialEq for Leaf {
    fn eq(&self, other: &Leaf) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Leaf {}

impl Hash for Leaf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

/// Elementwise functions; operands broadcast along `One` axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum MapFn {
    Add,
    Sub,
    Mul,
    Div,
    Neg,
    Exp,
    Log,
    Sqrt,
    Rsqrt,
    Sigmoid,
    LogSigmoid,
    Tanh,
    Silu,
    Softplus,
    Relu,
    Abs,
    Sq,
    /// `(x, lo, hi)`: x within the interval; a NaN x passes.
    Clamp,
    /// `(x, lo, hi, d)`: d where `lo < x < hi` or x is NaN, else 0.
    Inside,
    /// `(x, d)`: d where `x > 0` or x is NaN, else 0.
    Positive,
    /// `(x, d)`: d, 0 or -d by the sign of x; NaN where x is NaN.
    Sign,
    /// `(mask, x)`: x where mask is not 0, else 0 (a selection, so a NaN x is dropped).
    Keep,
}

impl MapFn {
    /// Number of operands.
    pub const fn arity(self) -> usize {
        match self {
            MapFn::Add | MapFn::Sub | MapFn::Mul | MapFn::Div | MapFn::Positive | MapFn::Sign | MapFn::Keep => 2,
            MapFn::Clamp => 3,
            MapFn::Inside => 4,
            _ => 1,
        }
    }
}

/// Which decay between positions: the exponential of a sum of log decays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecayKind {
    /// `exp(sum of g_j, j < t)`: from the chunk's start to token t. Shape of g.
    Prefix,
    /// `exp(sum of g_j, j > t)`: from after token t to the chunk's end. Shape of g.
    Suffix,
    /// `exp(sum of all g_j)`: `[One, n]`.
    Total,
    /// `E[t,s]` of the module's header, strictly lower; g is `[Token, One]`, the value `[Token, Token]`.
    Segment,
}

/// Running sums over tokens, without the token itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanKind {
    /// `sum of x_j, j < t`.
    Before,
    /// `sum of x_j, j > t`.
    After,
}

/// Order in which a [`Op::Solve`] substitutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// First token to last, matrices as they are (strictly lower).
    Down,
    /// Last token to first, matrices transposed.
    Up,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A given value.
    Leaf(Leaf),
    /// Elementwise.
    Map(MapFn, Vec<Value>),
    /// Sum over columns: `[r, c]` to `[r, One]`.
    SumCols(Value),
    /// Sum over rows: `[r, c]` to `[One, c]`.
    SumRows(Value),
    /// Softmax over columns.
    Softmax(Value),
    /// `x rsqrt(sum over columns of x^2 + eps)`; eps has one column. One operation for its adjoint: that of
    /// its parts cancels in f32. Emitters write it out.
    L2norm {
        /// `[r, c]`.
        x: Value,
        /// `[r, One]` or `[One, One]`.
        eps: Value,
    },
    /// `a b`, each transposed first where its flag says so.
    Matmul {
        /// Left operand.
        a: Value,
        /// Use `a^T`.
        ta: bool,
        /// Right operand.
        b: Value,
        /// Use `b^T`.
        tb: bool,
    },
    /// `[r, c]` to `[c, r]`.
    Transpose(Value),
    /// The strictly lower part of a `[Token, Token]` value; the rest is selected away, not multiplied.
    StrictLower(Value),
    /// Running sums over tokens of `[Token, n]`.
    Scan(ScanKind, Value),
    /// `[Token, Token]` to `[Token, One]`: `y_j = sum over t > j > s of x[t,s]`.
    RectSum(Value),
    /// Decay between positions, from log decays.
    Decay(DecayKind, Value),
    /// `A[t,s] = sum over c of P[t,c] W[s,c] E[t,s,c]`, strictly lower; g is `[Token, n]`.
    DecayDot {
        /// `[Token, n]`.
        p: Value,
        /// `[Token, n]`.
        w: Value,
        /// Log decays, `[Token, n]`.
        g: Value,
    },
    /// `Y[t,c] = sum over s of A[t,s] W[s,c] E[t,s,c]`; transposed: `Y[s,c] = sum over t of A[t,s] W[t,c] E[t,s,c]`.
    DecayApply {
        /// `[Token, Token]`; only its strictly lower part counts.
        a: Value,
        /// `[Token, n]`.
        w: Value,
        /// Log decays, `[Token, n]`.
        g: Value,
        /// Sum over later tokens t instead of earlier tokens s.
        transposed: bool,
    },
    /// `y[j,c] = sum over t > j > s of A[t,s] P[t,c] W[s,c] E[t,s,c]`.
    DecayRect {
        /// `[Token, Token]`.
        a: Value,
        /// `[Token, n]`.
        p: Value,
        /// `[Token, n]`.
        w: Value,
        /// Log decays, `[Token, n]`.
        g: Value,
    },
    /// The coupled triangular system of a state's own readouts y_l and writes u_j (DESIGN 3):
    ///
    /// ```text
    /// y_l = y0_l + sum_j M_lj u_j        u_j = b_j + sum_l c_jl .* y_l
    /// ```
    ///
    /// by substitution, token by token in the [`Direction`]. Going `Up`, every `M_lj` is used transposed. With a log
    /// decay, `M u` stands for `DecayApply(M, u, decay)` (transposed going `Up`). Values: [`Op::Part`] 0 to n-1 are the
    /// y_l, n to n+m-1 the u_j. The adjoint is a Solve in the other direction with readouts and writes exchanged.
    Solve {
        /// Order.
        direction: Direction,
        /// `m[l * writes + j]`, `[Token, Token]`, strictly lower (as stored, in both directions). None is zero.
        m: Vec<Option<Value>>,
        /// `c[j * readouts + l]`: `[Token, One]`, `[Token, n]`, `[One, n]` or `[One, One]`. None is zero.
        c: Vec<Option<Value>>,
        /// One per readout, `[Token, n]`. None is zero.
        y0: Vec<Option<Value>>,
        /// One per write, `[Token, n]`. None is zero.
        b: Vec<Option<Value>>,
        /// Log decay along n, `[Token, n]`.
        decay: Option<Value>,
    },
    /// One value of a [`Op::Solve`].
    Part(Value, usize),
    /// `(I - a)^-1` of a strictly lower `[Token, Token]` value, by substitution: unit lower.
    Inverse(Value),
}

impl Op {
    /// Calls `f` for each operand, in order.
    pub fn for_each_operand(&self, mut f: impl FnMut(Value)) {
        self.clone().map_operands(&mut |value| {
            f(value);
            value
        });
    }

    /// Replaces each operand by `f` of it.
    pub fn map_operands(&mut self, f: &mut impl FnMut(Value) -> Value) {
        let mut at = |value: &mut Value| *value = f(*value);
        match self {
            Op::Leaf(_) => {}
            Op::Map(_, args) => args.iter_mut().for_each(at),
            Op::SumCols(x)
            | Op::SumRows(x)
            | Op::Softmax(x)
            | Op::Transpose(x)
            | Op::StrictLower(x)
            | Op::Scan(_, x)
            | Op::RectSum(x)
            | Op::Decay(_, x)
            | Op::Part(x, _)
            | Op::Inverse(x) => at(x),
            Op::L2norm { x: a, eps: b } | Op::Matmul { a, b, .. } => {
                at(a);
                at(b);
            }
            Op::DecayDot { p, w, g } => [p, w, g].into_iter().for_each(at),
            Op::DecayApply { a, w, g, .. } => [a, w, g].into_iter().for_each(at),
            Op::DecayRect { a, p, w, g } => [a, p, w, g].into_iter().for_each(at),
            Op::Solve { m, c, y0, b, decay, .. } => {
                m.iter_mut().chain(c).chain(y0).chain(b).flatten().for_each(&mut at);
                decay.iter_mut().for_each(at);
            }
        }
    }
}
