//! Recurrence to the tile program of one token: every recurrence that the checker accepts, inside the class or not.
//!
//! The program's chunk is one token, so the `Token` axis has length 1. Columns and rows are `[Token, side]`, scalars
//! `[Token, One]`, matrices `[side, side]` with at most a diagonal kept apart. Nothing is expanded and nothing is
//! reordered: statement by statement as written, on whole states. Its derivative is that of any program; a kernel saves
//! the state every n-th token and replays.

use rla_dsl::recurrence::{ExprId, ExprKind, Func, Recurrence, StatementKind, Type};

use super::chunk::input_shape;
use crate::tile::builder::Builder;
use crate::tile::{Axis, Leaf, MapFn, Op, Program, Role, Shape, StateSides, Value};

/// A matrix: a dense part, and a diagonal `[One, side]` (the number 1 is the identity).
#[derive(Clone, Copy, Debug)]
struct Matrix {
    rows: Axis,
    cols: Axis,
    dense: Option<Value>,
    diagonal: Option<Value>,
}

#[derive(Clone, Copy, Debug)]
enum Term {
    /// A scalar, column or row.
    Vector(Value),
    Matrix(Matrix),
}

struct Token<'a> {
    recurrence: &'a Recurrence,
    builder: Builder,
    exprs: Vec<Option<Term>>,
    current: Vec<Option<Term>>,
}

fn axis(side: rla_dsl::recurrence::Side) -> Axis {
    Axis::Side(side.0)
}

/// Orientation of each state: rows free, columns contracted; a vector state is a column.
pub fn state_sides(recurrence: &Recurrence) -> Vec<StateSides> {
    recurrence
        .states
        .iter()
        .map(|s| match s.rows {
            Some(rows) => StateSides { free: axis(rows), contracted: axis(s.cols), transposed: false },
            None => StateSides { free: axis(s.cols), contracted: Axis::One, transposed: false },
        })
        .collect()
}

/// Builds the forward program of one token.
pub fn token(recurrence: &Recurrence) -> Program {
    let mut token = Token {
        recurrence,
        builder: Builder::new("token", state_sides(recurrence)),
        exprs: vec![None; recurrence.exprs.len()],
        current: vec![None; recurrence.states.len()],
    };
    let mut states = Vec::new();
    for (index, statement) in recurrence.statements.iter().enumerate() {
        token.builder.origin = Some(index as u32);
        let value = token.eval(statement.value);
        match statement.kind {
            StatementKind::Let => {}
            StatementKind::Assign(state) => {
                let next = token.whole(value, state);
                token.current[state] = Some(value);
                states.push((state, next));
            }
            StatementKind::Output(output) => {
                let Term::Vector(value) = value else { unreachable!("outputs are columns or scalars") };
                let value = token.builder.per_token(value);
                token.builder.result(Role::Output(output), value);
            }
        }
    }
    states.sort_by_key(|(state, _)| *state);
    for (state, next) in states {
        token.builder.result(Role::State(state), next);
    }
    token.builder.finish()
}

impl Token<'_> {
    /// A state's next value in the state's shape.
    fn whole(&mut self, term: Term, state: usize) -> Value {
        let sides = self.builder.program().states[state];
        match term {
            // a vector state is carried as [n, One]
            Term::Vector(v) => {
                let v = self.builder.per_token(v);
                let row = self.builder.op_value(Op::SumRows(v));
                self.builder.op_value(Op::Transpose(row))
            }
            Term::Matrix(m) => {
                let dense = self.dense(m);
                if self.builder.shape(dense) == Shape::new(sides.free, sides.contracted) {
                    return dense;
                }
                unreachable!("the checker types an assignment as its state")
            }
        }
    }

    fn dense(&mut self, m: Matrix) -> Value {
        let diagonal = m.diagonal.map(|d| {
            let Axis::Side(side) = m.rows else { unreachable!("matrices have sides") };
            let eye = self.builder.leaf(Leaf::Identity(side), Shape::new(m.rows, m.cols));
            self.builder.mul(d, eye)
        });
        match (m.dense, diagonal) {
            (Some(a), Some(b)) => self.builder.add(a, b),
            (a, b) => a.or(b).expect("a matrix has a part"),
        }
    }

    fn vector(&mut self, id: ExprId) -> Value {
        match self.eval(id) {
            Term::Vector(v) => v,
            Term::Matrix(_) => unreachable!("the checker types this as a vector"),
        }
    }

    fn eval(&mut self, id: ExprId) -> Term {
        if let Some(term) = self.exprs[id.0 as usize] {
            return term;
        }
        let term = self.compute(id);
        // S[t] and S[t-1] are different expressions, so an expression's value never changes
        self.exprs[id.0 as usize] = Some(term);
        term
    }

    fn compute(&mut self, id: ExprId) -> Term {
        let expr = self.recurrence.expr(id).clone();
        let one = Shape::new(Axis::One, Axis::One);
        match expr.kind {
            ExprKind::Number(x) => Term::Vector(self.builder.number(x)),
            ExprKind::Const(i) => Term::Vector(self.builder.leaf(Leaf::Const(i), one)),
            ExprKind::Dim(side) => Term::Vector(self.builder.leaf(Leaf::Size(side.0), one)),
            ExprKind::Input(i) => Term::Vector(self.builder.leaf(Leaf::Input(i), input_shape(self.recurrence, i))),
            ExprKind::Let(statement) => self.eval(self.recurrence.statements[statement].value),
            ExprKind::StatePrevious(state) => self.previous(state),
            ExprKind::StateCurrent(state) => self.current[state].expect("the checker orders S[t]"),
            ExprKind::Identity => {
                let Type::Matrix(rows, cols) = expr.ty else { unreachable!("the checker types I as a matrix") };
                let one = self.builder.number(1.0);
                Term::Matrix(Matrix { rows: axis(rows), cols: axis(cols), dense: None, diagonal: Some(one) })
            }
            ExprKind::Negate(a) => match self.eval(a) {
                Term::Vector(v) => Term::Vector(self.builder.neg(v)),
                Term::Matrix(m) => {
                    let minus = self.builder.number(-1.0);
                    Term::Matrix(self.scaled(m, minus))
                }
            },
            ExprKind::Transpose(a) => match self.eval(a) {
                Term::Vector(v) => Term::Vector(v),
                Term::Matrix(m) => Term::Matrix(self.transposed(m)),
            },
            ExprKind::Add(a, b) => self.sum(a, b, false),
            ExprKind::Subtract(a, b) => self.sum(a, b, true),
            ExprKind::Multiply(a, b) | ExprKind::Hadamard(a, b) => self.product(a, b, expr.ty),
            ExprKind::Divide(a, b) => {
                let divisor = self.vector(b);
                match self.eval(a) {
                    Term::Vector(v) => Term::Vector(self.builder.map(MapFn::Div, &[v, divisor])),
                    Term::Matrix(m) => {
                        let one = self.builder.number(1.0);
                        let inverse = self.builder.map(MapFn::Div, &[one, divisor]);
                        let inverse = self.launch(inverse);
                        Term::Matrix(self.scaled(m, inverse))
                    }
                }
            }
            ExprKind::Call(func, args) => self.call(func, &args, expr.ty),
        }
    }

    fn previous(&mut self, state: usize) -> Term {
        let sides = self.builder.program().states[state];
        let leaf = self.builder.leaf(Leaf::State(state), Shape::new(sides.free, sides.contracted));
        if self.recurrence.states[state].rows.is_some() {
            return Term::Matrix(Matrix {
                rows: sides.free,
                cols: sides.contracted,
                dense: Some(leaf),
                diagonal: None,
            });
        }
        let row = self.builder.op_value(Op::Transpose(leaf));
        Term::Vector(self.builder.keep(row))
    }

    /// A number of the token as `[One, One]`, to scale a matrix with.
    fn launch(&mut self, s: Value) -> Value {
        self.builder.op_value(Op::SumRows(s))
    }

    fn scaled(&mut self, m: Matrix, s: Value) -> Matrix {
        let dense = m.dense.map(|d| self.builder.mul(s, d));
        let diagonal = m.diagonal.map(|d| self.builder.mul(s, d));
        Matrix { dense, diagonal, ..m }
    }

    fn transposed(&mut self, m: Matrix) -> Matrix {
        let dense = m.dense.map(|d| self.builder.op_value(Op::Transpose(d)));
        Matrix { rows: m.cols, cols: m.rows, dense, diagonal: m.diagonal }
    }

    fn sum(&mut self, a: ExprId, b: ExprId, negative: bool) -> Term {
        match (self.eval(a), self.eval(b)) {
            (Term::Vector(x), Term::Vector(y)) => {
                let y = if negative { self.builder.neg(y) } else { y };
                Term::Vector(self.builder.add(x, y))
            }
            (Term::Matrix(x), Term::Matrix(y)) => {
                let y = if negative {
                    let minus = self.builder.number(-1.0);
                    self.scaled(y, minus)
                } else {
                    y
                };
                Term::Matrix(self.plus(x, y))
            }
            _ => unreachable!("the checker refuses a matrix beside a vector"),
        }
    }

    fn plus(&mut self, x: Matrix, y: Matrix) -> Matrix {
        let mut add = |a: Option<Value>, b: Option<Value>| match (a, b) {
            (Some(a), Some(b)) => Some(self.builder.add(a, b)),
            (a, b) => a.or(b),
        };
        Matrix { dense: add(x.dense, y.dense), diagonal: add(x.diagonal, y.diagonal), ..x }
    }

    fn product(&mut self, a: ExprId, b: ExprId, ty: Type) -> Term {
        let scalar = |t: &Token, id: ExprId| t.recurrence.expr(id).ty == Type::Scalar;
        let (left, right) = (scalar(self, a), scalar(self, b));
        match (self.eval(a), self.eval(b)) {
            (Term::Matrix(x), Term::Matrix(y)) => Term::Matrix(self.times(x, y)),
            (Term::Matrix(m), Term::Vector(s)) if right => {
                let s = self.launch(s);
                Term::Matrix(self.scaled(m, s))
            }
            (Term::Vector(s), Term::Matrix(m)) if left => {
                let s = self.launch(s);
                Term::Matrix(self.scaled(m, s))
            }
            (Term::Matrix(m), Term::Vector(p)) => Term::Vector(self.apply(m, p, true)),
            (Term::Vector(p), Term::Matrix(m)) => Term::Vector(self.apply(m, p, false)),
            (Term::Vector(x), Term::Vector(y)) => {
                if left || right {
                    return Term::Vector(self.builder.mul(x, y));
                }
                let column = |t: &Token, id: ExprId| matches!(t.recurrence.expr(id).ty, Type::Column(_));
                match ty {
                    Type::Scalar => {
                        let product = self.builder.mul(x, y);
                        Term::Vector(self.builder.op_value(Op::SumCols(product)))
                    }
                    Type::Matrix(rows, cols) if column(self, a) && !column(self, b) => {
                        let (x, y) = (self.builder.per_token(x), self.builder.per_token(y));
                        let outer = self.builder.matmul(x, true, y, false);
                        Term::Matrix(Matrix { rows: axis(rows), cols: axis(cols), dense: Some(outer), diagonal: None })
                    }
                    _ => Term::Vector(self.builder.mul(x, y)),
                }
            }
        }
    }

    /// `m p` (or `m^T p`) of a column.
    fn apply(&mut self, m: Matrix, p: Value, column: bool) -> Value {
        let p = self.builder.per_token(p);
        let dense = m.dense.map(|d| self.builder.matmul(p, false, d, column));
        let diagonal = m.diagonal.map(|d| self.builder.mul(d, p));
        match (dense, diagonal) {
            (Some(a), Some(b)) => self.builder.add(a, b),
            (a, b) => a.or(b).expect("a matrix has a part"),
        }
    }

    fn times(&mut self, x: Matrix, y: Matrix) -> Matrix {
        let mut sum: Option<Value> = None;
        let mut terms = Vec::new();
        if let (Some(a), Some(b)) = (x.dense, y.dense) {
            terms.push(self.builder.matmul(a, false, b, false));
        }
        if let (Some(a), Some(d)) = (x.dense, y.diagonal) {
            terms.push(self.builder.mul(d, a));
        }
        if let (Some(d), Some(b)) = (x.diagonal, y.dense) {
            // a diagonal [One, side] scales rows as [side, One]
            let rows = self.builder.op_value(Op::Transpose(d));
            terms.push(self.builder.mul(rows, b));
        }
        for term in terms {
            sum = Some(match sum {
                None => term,
                Some(before) => self.builder.add(before, term),
            });
        }
        let diagonal = match (x.diagonal, y.diagonal) {
            (Some(a), Some(b)) => Some(self.builder.mul(a, b)),
            _ => None,
        };
        Matrix { rows: x.rows, cols: y.cols, dense: sum, diagonal }
    }

    fn call(&mut self, func: Func, args: &[ExprId], ty: Type) -> Term {
        let values: Vec<Value> = args.iter().map(|a| self.vector(*a)).collect();
        let builder = &mut self.builder;
        let f = match func {
            Func::Exp => MapFn::Exp,
            Func::Log => MapFn::Log,
            Func::Sqrt => MapFn::Sqrt,
            Func::Rsqrt => MapFn::Rsqrt,
            Func::Sigmoid => MapFn::Sigmoid,
            Func::LogSigmoid => MapFn::LogSigmoid,
            Func::Tanh => MapFn::Tanh,
            Func::Silu => MapFn::Silu,
            Func::Softplus => MapFn::Softplus,
            Func::Relu => MapFn::Relu,
            Func::Abs => MapFn::Abs,
            Func::Sq => MapFn::Sq,
            Func::Clamp => MapFn::Clamp,
            Func::L2norm => return Term::Vector(builder.op_value(Op::L2norm { x: values[0], eps: values[1] })),
            Func::Softmax => return Term::Vector(builder.op_value(Op::Softmax(values[0]))),
            Func::Sum => return Term::Vector(builder.op_value(Op::SumCols(values[0]))),
            Func::Dot => {
                let product = builder.mul(values[0], values[1]);
                return Term::Vector(builder.op_value(Op::SumCols(product)));
            }
            Func::Diag => {
                let Type::Matrix(rows, cols) = ty else { unreachable!("diag is a matrix") };
                let row = builder.op_value(Op::SumRows(values[0]));
                return Term::Matrix(Matrix { rows: axis(rows), cols: axis(cols), dense: None, diagonal: Some(row) });
            }
        };
        Term::Vector(builder.map(f, &values))
    }
}
