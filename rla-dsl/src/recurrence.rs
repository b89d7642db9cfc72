//! The Recurrence IR: a checked, typed recurrence.
//!
//! Meaning. A [`Recurrence`] defines, for one sequence and one value head, the map from inputs and initial states to
//! outputs and final states. [`Statement`]s run in order, once a token. [`ExprKind::StatePrevious`] is `S[t-1]`,
//! [`ExprKind::StateCurrent`] is `S[t]` (only after the statement that assigns it). Every expression has a [`Type`];
//! what the checker let through never fails a later pass for a reason of types, names or order.
//!
//! Expressions live in one arena, [`Recurrence::exprs`]; children come before parents; a `let` is a statement that names
//! an expression, and [`ExprKind::Let`] refers to the statement's expression (so the arena is a DAG through lets).
//! The constants' expressions come first, then the statements', each a run of neighbours that ends in its root. An
//! expression is up to 4096 operators high (a long sum): walk the arena in order, or recurse with that in mind.

/// A side: a dimension that columns, rows and matrices have. 0 is `key`, 1 is `value`, 2 and up are declared `dim`s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Side(pub u16);

impl Side {
    /// The side of q and k, size K.
    pub const KEY: Side = Side(0);
    /// The side of v and o, size V.
    pub const VALUE: Side = Side(1);
}

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// One number per token and value head.
    Scalar,
    /// A column vector along a side.
    Column(Side),
    /// A row vector along a side.
    Row(Side),
    /// A matrix, rows by columns.
    Matrix(Side, Side),
}

/// A place in the source text, and the token it starts at.
///
/// Lines count from 1, columns from 0 (characters), as proc-macro2 does. `token` indexes the parser's table of
/// proc-macro spans, with which the macro puts a diagnostic on the user's own tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Span {
    /// First line.
    pub line: u32,
    /// First column.
    pub column: u32,
    /// Last line.
    pub end_line: u32,
    /// Column after the last character.
    pub end_column: u32,
    /// Index into the table of proc-macro spans.
    pub token: u32,
    /// Index of the last token.
    pub end_token: u32,
}

impl Span {
    /// The span from the start of `self` to the end of `other`.
    pub fn to(self, other: Span) -> Span {
        Span { end_line: other.end_line, end_column: other.end_column, end_token: other.end_token, ..self }
    }

    /// The empty span right after `self`.
    pub fn after(self) -> Span {
        Span { line: self.end_line, column: self.end_column, token: self.end_token, ..self }
    }
}

/// Index of an expression in [`Recurrence::exprs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExprId(pub u32);

/// Whether an input has a value per token or one per head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputKind {
    /// `[B,T,..]`.
    Input,
    /// No `B`, `T`: `[HV]`, `[HV,K]` ...
    Param,
}

/// What is known of an input's values: how to draw it, and what the decay analysis may assume.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Domain {
    /// Any finite value.
    Any,
    /// Unit length along its side.
    Unit,
    /// Between the bounds; `-inf` and `inf` allowed.
    Range(f64, f64),
}

/// An input or a parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its name in the recurrence.
    pub name: String,
    /// `///` comments.
    pub docs: String,
    /// Per token, or per head.
    pub kind: InputKind,
    /// `gate`: per value head even on the key side.
    pub gate: bool,
    /// `None`: a scalar.
    pub side: Option<Side>,
    /// Its declared domain.
    pub domain: Domain,
    /// Where it was declared.
    pub span: Span,
}

impl Input {
    /// Whether the tensor has one vector per key head (`[B,T,H,K]`) and not per value head.
    pub fn per_key_head(&self) -> bool {
        self.side == Some(Side::KEY) && !self.gate && self.kind == InputKind::Input
    }

    /// Whether it is one of q, k, v and the like, which have 16 bits in 16-bit models, and not a gate or parameter.
    pub fn carries_values(&self) -> bool {
        let bounded = matches!(self.domain, Domain::Range(..));
        self.kind == InputKind::Input && self.side.is_some() && !self.gate && !bounded
    }
}

/// A constant: a launch argument with a default.
#[derive(Clone, Debug, PartialEq)]
pub struct Const {
    /// Its name.
    pub name: String,
    /// `///` comments.
    pub docs: String,
    /// Its default, built from numbers, `dim(..)`, earlier constants and scalar functions.
    pub value: ExprId,
    /// Where it was declared.
    pub span: Span,
}

/// A carried state: `rows x cols`, or a vector along `cols` when `rows` is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Its name `S`; its initial value is called `S0`.
    pub name: String,
    /// `///` comments.
    pub docs: String,
    /// Row side; `None` for a vector state, which reads as a column along `cols`.
    pub rows: Option<Side>,
    /// Column side.
    pub cols: Side,
    /// Where it was declared.
    pub span: Span,
}

/// One statement, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum StatementKind {
    /// `let name = value;`
    Let,
    /// `S[t] = value;`, the state's index.
    Assign(usize),
    /// `output name = value;`, the output's index.
    Output(usize),
}

/// A statement with its expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Which kind.
    pub kind: StatementKind,
    /// The name it defines.
    pub name: String,
    /// `///` comments.
    pub docs: String,
    /// The right-hand side.
    pub value: ExprId,
    /// The whole statement.
    pub span: Span,
}

/// Functions of the language; names as in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Func {
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
    /// `clamp(x, lo, hi)`; the bounds are constant expressions.
    Clamp,
    /// `l2norm(x, eps) = x rsqrt(sum x^2 + eps)`.
    L2norm,
    Softmax,
    Sum,
    Dot,
    /// A diagonal matrix from a column.
    Diag,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A number.
    Number(f64),
    /// An input or parameter, by index.
    Input(usize),
    /// A constant, by index.
    Const(usize),
    /// The `let` statement at this index of [`Recurrence::statements`].
    Let(usize),
    /// `S[t-1]`.
    StatePrevious(usize),
    /// `S[t]`.
    StateCurrent(usize),
    /// `I`; its type is `Matrix(s, s)`.
    Identity,
    /// `dim(side)`.
    Dim(Side),
    /// `-x`.
    Negate(ExprId),
    /// `x^T` (of a scalar: the scalar itself).
    Transpose(ExprId),
    /// `a + b`; a scalar broadcasts over a column or row.
    Add(ExprId, ExprId),
    /// `a - b`; a scalar broadcasts over a column or row.
    Subtract(ExprId, ExprId),
    /// `a * b`: scaling, or a matrix, inner or outer product, by the operands' types.
    Multiply(ExprId, ExprId),
    /// `a .* b`.
    Hadamard(ExprId, ExprId),
    /// `a / b`: elementwise, or by a scalar, or a scalar over a column.
    Divide(ExprId, ExprId),
    /// A function.
    Call(Func, Vec<ExprId>),
}

/// A typed expression with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its type.
    pub ty: Type,
    /// The operator's or the atom's place.
    pub span: Span,
}

/// A checked recurrence. See the module's header for its meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Recurrence {
    /// The variant's name.
    pub name: String,
    /// `///` comments before it.
    pub docs: String,
    /// `pub variant`.
    pub public: bool,
    /// Names of the sides: `key`, `value`, declared dims.
    pub sides: Vec<String>,
    /// Inputs and parameters, in order of declaration.
    pub inputs: Vec<Input>,
    /// Constants, in order.
    pub consts: Vec<Const>,
    /// States, in order.
    pub states: Vec<State>,
    /// Names of the outputs; their statements carry the expressions.
    pub outputs: Vec<String>,
    /// Statements, in order.
    pub statements: Vec<Statement>,
    /// The arena.
    pub exprs: Vec<Expr>,
    /// The variant's place.
    pub span: Span,
    /// Its name's place.
    pub name_span: Span,
}

impl Recurrence {
    /// The expression at `id`.
    pub fn expr(&self, id: ExprId) -> &Expr {
        &self.exprs[id.0 as usize]
    }

    /// The statement that defines output `index`.
    pub fn output(&self, index: usize) -> &Statement {
        self.statements
            .iter()
            .find(|s| s.kind == StatementKind::Output(index))
            .expect("the checker gives every output a statement")
    }

    /// Type of output `index`: a column, or a scalar.
    pub fn output_type(&self, index: usize) -> Type {
        self.expr(self.output(index).value).ty
    }

    /// The constants' defaults, given the sizes of the sides (one per entry of [`Recurrence::sides`]).
    pub fn const_defaults(&self, sizes: &[usize]) -> Vec<f64> {
        let mut values = Vec::with_capacity(self.consts.len());
        for constant in &self.consts {
            let value = self.const_value(constant.value, sizes, &values);
            values.push(value);
        }
        values
    }

    /// The value of a constant expression (numbers, `dim`, constants, scalar functions).
    ///
    /// `sizes` has one entry per entry of [`Recurrence::sides`], `consts` the values of the constants it may use.
    pub fn const_value(&self, id: ExprId, sizes: &[usize], consts: &[f64]) -> f64 {
        // with stacks of its own: an expression may be a tower of thousands of operators
        let mut todo = vec![(id, false)];
        let mut values: Vec<f64> = Vec::new();
        while let Some((id, operands_done)) = todo.pop() {
            let mut pop = || values.pop().expect("operands come first");
            let value = match (&self.expr(id).kind, operands_done) {
                (ExprKind::Number(x), _) => *x,
                (ExprKind::Const(i), _) => consts[*i],
                (ExprKind::Dim(side), _) => sizes[side.0 as usize] as f64,
                (ExprKind::Negate(_), true) => -pop(),
                (ExprKind::Transpose(_), true) => pop(),
                (ExprKind::Add(..), true) => pop() + pop(),
                (ExprKind::Multiply(..) | ExprKind::Hadamard(..), true) => pop() * pop(),
                (ExprKind::Subtract(..), true) => {
                    let right = pop();
                    pop() - right
                }
                (ExprKind::Divide(..), true) => {
                    let right = pop();
                    pop() / right
                }
                (ExprKind::Call(func, arguments), true) => {
                    let arguments = values.split_off(values.len() - arguments.len());
                    func.scalar(&arguments)
                }
                (kind, false) => {
                    todo.push((id, true));
                    match kind {
                        ExprKind::Negate(a) | ExprKind::Transpose(a) => todo.push((*a, false)),
                        ExprKind::Add(a, b)
                        | ExprKind::Subtract(a, b)
                        | ExprKind::Multiply(a, b)
                        | ExprKind::Hadamard(a, b)
                        | ExprKind::Divide(a, b) => todo.extend([(*b, false), (*a, false)]),
                        ExprKind::Call(_, arguments) => todo.extend(arguments.iter().rev().map(|a| (*a, false))),
                        other => unreachable!("the checker keeps {other:?} out of constants"),
                    }
                    continue;
                }
                (other, true) => unreachable!("{other:?} has no operands"),
            };
            values.push(value);
        }
        values.pop().expect("one value")
    }
}

impl Func {
    /// The function of scalars, in f64. `Softmax`, `Diag` and the like of one number follow their definition.
    pub fn scalar(self, x: &[f64]) -> f64 {
        match self {
            Func::Exp => x[0].exp(),
            Func::Log => x[0].ln(),
            Func::Sqrt => x[0].sqrt(),
            Func::Rsqrt => 1.0 / x[0].sqrt(),
            Func::Sigmoid => 1.0 / (1.0 + (-x[0]).exp()),
            Func::LogSigmoid => x[0].min(0.0) - (-x[0].abs()).exp().ln_1p(),
            Func::Tanh => x[0].tanh(),
            Func::Silu => x[0] / (1.0 + (-x[0]).exp()),
            Func::Softplus => x[0].max(0.0) + (-x[0].abs()).exp().ln_1p(),
            Func::Relu => {
                // written so that a NaN passes
                if x[0] <= 0.0 { 0.0 } else { x[0] }
            }
            Func::Abs => x[0].abs(),
            Func::Sq => x[0] * x[0],
            // not f64::clamp: a NaN must pass, and so must bounds in the wrong order
            Func::Clamp => {
                if x[0].is_nan() {
                    x[0]
                } else {
                    x[0].max(x[1]).min(x[2])
                }
            }
            Func::L2norm => x[0] / (x[0] * x[0] + x[1]).sqrt(),
            Func::Softmax => 1.0,
            Func::Sum | Func::Diag => x[0],
            Func::Dot => x[0] * x[1],
        }
    }
}
