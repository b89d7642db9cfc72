//! The f64 interpreter of one chunk.

use super::{Axis, DecayKind, Direction, Leaf, MapFn, Op, Program, Role, ScanKind, Shape, Value};

/// A dense row-major matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// `rows * cols` numbers.
    pub data: Vec<f64>,
}

impl Matrix {
    /// All zero.
    pub fn zero(rows: usize, cols: usize) -> Matrix {
        Matrix { rows, cols, data: vec![0.0; rows * cols] }
    }

    /// Each element by its place.
    pub fn from_fn(rows: usize, cols: usize, mut f: impl FnMut(usize, usize) -> f64) -> Matrix {
        let mut out = Matrix::zero(rows, cols);
        for r in 0..rows {
            for c in 0..cols {
                out.data[r * cols + c] = f(r, c);
            }
        }
        out
    }

    /// Element (r, c); an axis of length 1 broadcasts.
    pub fn at(&self, r: usize, c: usize) -> f64 {
        self.data[if self.rows == 1 { 0 } else { r } * self.cols + if self.cols == 1 { 0 } else { c }]
    }

    fn set(&mut self, r: usize, c: usize, x: f64) {
        self.data[r * self.cols + c] = x;
    }

    fn add(&mut self, r: usize, c: usize, x: f64) {
        self.data[r * self.cols + c] += x;
    }

    /// Rows become columns.
    pub fn transposed(&self) -> Matrix {
        Matrix::from_fn(self.cols, self.rows, |r, c| self.at(c, r))
    }
}

/// Sizes and given values of one run.
pub trait Environment {
    /// Rows of the chunk.
    fn tokens(&self) -> usize;
    /// Size of a side.
    fn size(&self, side: u16) -> usize;
    /// Value of a leaf other than a number or a size.
    fn leaf(&self, leaf: Leaf, rows: usize, cols: usize) -> Matrix;
}

fn length(axis: Axis, env: &impl Environment) -> usize {
    match axis {
        Axis::One => 1,
        Axis::Token => env.tokens(),
        Axis::Side(side) => env.size(side),
    }
}

/// Runs a program; the results in the program's order.
pub fn eval(program: &Program, env: &impl Environment) -> Vec<(Role, Matrix)> {
    let values = values(program, env);
    program.results.iter().map(|(role, value)| (*role, values[value.0 as usize][0].clone())).collect()
}

/// Runs a program; all its values, of a system its parts.
pub fn values(program: &Program, env: &impl Environment) -> Vec<Vec<Matrix>> {
    let mut values: Vec<Vec<Matrix>> = Vec::with_capacity(program.nodes.len());
    for node in &program.nodes {
        let parts = match &node.op {
            Op::Solve { direction, m, c, y0, b, decay } => {
                let at = |v: &Option<Value>| v.map(|v| &values[v.0 as usize][0]);
                let shape = size(node.shape, env);
                let list = |vs: &[Option<Value>]| vs.iter().map(at).collect::<Vec<_>>();
                solve(*direction, &list(m), &list(c), &list(y0), &list(b), at(decay), shape)
            }
            Op::Part(solve, part) => vec![values[solve.0 as usize][*part].clone()],
            op => vec![one(op, node.shape, &|v: Value| &values[v.0 as usize][0], env)],
        };
        values.push(parts);
    }
    values
}

fn size(shape: Shape, env: &impl Environment) -> (usize, usize) {
    (length(shape.rows, env), length(shape.cols, env))
}

fn one<'a>(op: &Op, shape: Shape, of: &impl Fn(Value) -> &'a Matrix, env: &impl Environment) -> Matrix {
    let (rows, cols) = size(shape, env);
    match op {
        Op::Leaf(Leaf::Number(x)) => Matrix::from_fn(1, 1, |_, _| *x),
        Op::Leaf(Leaf::Size(side)) => Matrix::from_fn(1, 1, |_, _| env.size(*side) as f64),
        Op::Leaf(leaf) => env.leaf(*leaf, rows, cols),
        Op::Map(f, args) => {
            let args: Vec<&Matrix> = args.iter().map(|a| of(*a)).collect();
            Matrix::from_fn(rows, cols, |r, c| {
                let x: Vec<f64> = args.iter().map(|a| a.at(r, c)).collect();
                apply(*f, &x)
            })
        }
        Op::SumCols(x) => {
            let x = of(*x);
            Matrix::from_fn(rows, 1, |r, _| (0..x.cols).map(|c| x.at(r, c)).sum())
        }
        Op::SumRows(x) => {
            let x = of(*x);
            Matrix::from_fn(1, cols, |_, c| (0..x.rows).map(|r| x.at(r, c)).sum())
        }
        Op::Softmax(x) => softmax(of(*x)),
        Op::L2norm { x, eps } => {
            let (x, eps) = (of(*x), of(*eps));
            let scale = |r| 1.0 / ((0..x.cols).map(|c| x.at(r, c).powi(2)).sum::<f64>() + eps.at(r, 0)).sqrt();
            let scales: Vec<f64> = (0..x.rows).map(scale).collect();
            Matrix::from_fn(rows, cols, |r, c| x.at(r, c) * scales[r])
        }
        Op::Transpose(x) => of(*x).transposed(),
        Op::Matmul { a, ta, b, tb } => matmul(of(*a), *ta, of(*b), *tb, rows, cols),
        Op::StrictLower(x) => Matrix::from_fn(rows, cols, |t, s| if s < t { of(*x).at(t, s) } else { 0.0 }),
        Op::Inverse(x) => inverse(of(*x)),
        Op::Scan(kind, x) => scan(*kind, of(*x)),
        Op::RectSum(x) => {
            let x = of(*x);
            Matrix::from_fn(rows, 1, |j, _| {
                (j + 1..rows).flat_map(|t| (0..j).map(move |s| (t, s))).map(|(t, s)| x.at(t, s)).sum()
            })
        }
        Op::Decay(kind, g) => decay(*kind, of(*g), rows, cols),
        Op::DecayDot { p, w, g } => decay_dot(of(*p), of(*w), of(*g)),
        Op::DecayApply { a, w, g, transposed } => decay_apply(of(*a), of(*w), of(*g), *transposed),
        Op::DecayRect { a, p, w, g } => decay_rect(of(*a), of(*p), of(*w), of(*g)),
        Op::Solve { .. } | Op::Part(..) => unreachable!("handled by the caller"),
    }
}

/// An elementwise function of numbers.
pub fn apply(f: MapFn, x: &[f64]) -> f64 {
    match f {
        MapFn::Add => x[0] + x[1],
        MapFn::Sub => x[0] - x[1],
        MapFn::Mul => x[0] * x[1],
        MapFn::Div => x[0] / x[1],
        MapFn::Neg => -x[0],
        MapFn::Exp => x[0].exp(),
        MapFn::Log => x[0].ln(),
        MapFn::Sqrt => x[0].sqrt(),
        MapFn::Rsqrt => 1.0 / x[0].sqrt(),
        MapFn::Sigmoid => 1.0 / (1.0 + (-x[0]).exp()),
        MapFn::LogSigmoid => x[0].min(0.0) - (-x[0].abs()).exp().ln_1p(),
        MapFn::Tanh => x[0].tanh(),
        MapFn::Silu => x[0] / (1.0 + (-x[0]).exp()),
        MapFn::Softplus => x[0].max(0.0) + (-x[0].abs()).exp().ln_1p(),
        MapFn::Relu => {
            if x[0] <= 0.0 {
                0.0
            } else {
                x[0]
            }
        }
        MapFn::Abs => x[0].abs(),
        MapFn::Sq => x[0] * x[0],
        MapFn::Clamp => {
            if x[0].is_nan() {
                x[0]
            } else {
                x[0].max(x[1]).min(x[2])
            }
        }
        MapFn::Inside => {
            if x[0] <= x[1] || x[0] >= x[2] {
                0.0
            } else {
                x[3]
            }
        }
        MapFn::Positive => {
            if x[0] <= 0.0 {
                0.0
            } else {
                x[1]
            }
        }
        MapFn::Sign if x[0] == 0.0 => 0.0,
        MapFn::Sign => {
            if x[0].is_nan() {
                x[0]
            } else {
                x[0].signum() * x[1]
            }
        }
        MapFn::Keep => {
            if x[0] == 0.0 {
                0.0
            } else {
                x[1]
            }
        }
    }
}

fn softmax(x: &Matrix) -> Matrix {
    let mut out = x.clone();
    for r in 0..x.rows {
        let row = &mut out.data[r * x.cols..(r + 1) * x.cols];
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        row.iter_mut().for_each(|v| *v = (*v - max).exp());
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|v| *v /= sum);
    }
    out
}

fn matmul(a: &Matrix, ta: bool, b: &Matrix, tb: bool, rows: usize, cols: usize) -> Matrix {
    let inner = if ta { a.rows } else { a.cols };
    let mut out = Matrix::zero(rows, cols);
    for r in 0..rows {
        for n in 0..inner {
            let x = if ta { a.data[n * a.cols + r] } else { a.data[r * a.cols + n] };
            // a selected zero stays zero beside a non-finite value of a later token
            if x == 0.0 {
                continue;
            }
            for c in 0..cols {
                out.data[r * cols + c] += x * if tb { b.data[c * b.cols + n] } else { b.data[n * b.cols + c] };
            }
        }
    }
    out
}

/// `(I - a)^-1`, row by row; only the strictly lower part of `a` counts.
fn inverse(a: &Matrix) -> Matrix {
    let mut out = Matrix::zero(a.rows, a.cols);
    for t in 0..a.rows {
        out.set(t, t, 1.0);
        for s in 0..t {
            let x = a.at(t, s);
            if x != 0.0 {
                (0..=s).for_each(|c| out.add(t, c, x * out.at(s, c)));
            }
        }
    }
    out
}

fn scan(kind: ScanKind, x: &Matrix) -> Matrix {
    let mut out = Matrix::zero(x.rows, x.cols);
    for c in 0..x.cols {
        let mut sum = 0.0;
        for i in 0..x.rows {
            let r = if kind == ScanKind::Before { i } else { x.rows - 1 - i };
            out.set(r, c, sum);
            sum += x.at(r, c);
        }
    }
    out
}

fn decay(kind: DecayKind, g: &Matrix, rows: usize, cols: usize) -> Matrix {
    match kind {
        DecayKind::Prefix | DecayKind::Suffix => {
            let kind = if kind == DecayKind::Prefix { ScanKind::Before } else { ScanKind::After };
            let mut out = scan(kind, g);
            out.data.iter_mut().for_each(|v| *v = v.exp());
            out
        }
        DecayKind::Total => Matrix::from_fn(1, cols, |_, c| (0..g.rows).map(|r| g.at(r, c)).sum::<f64>().exp()),
        DecayKind::Segment => Matrix::from_fn(rows, cols, |t, s| if s < t { between(g, t, s, 0) } else { 0.0 }),
    }
}

/// `exp(sum of g_j over s < j < t)` of one channel.
fn between(g: &Matrix, t: usize, s: usize, c: usize) -> f64 {
    (s + 1..t).map(|j| g.at(j, c)).sum::<f64>().exp()
}

/// Calls `f(t, s, c, E[t,s,c])` for `s < t`.
fn pairs(g: &Matrix, mut f: impl FnMut(usize, usize, usize, f64)) {
    for s in 0..g.rows {
        for c in 0..g.cols {
            let mut log = 0.0;
            for t in s + 1..g.rows {
                f(t, s, c, f64::exp(log));
                log += g.at(t, c);
            }
        }
    }
}

fn decay_dot(p: &Matrix, w: &Matrix, g: &Matrix) -> Matrix {
    let mut out = Matrix::zero(g.rows, g.rows);
    pairs(g, |t, s, c, e| out.add(t, s, p.at(t, c) * w.at(s, c) * e));
    out
}

fn decay_apply(a: &Matrix, w: &Matrix, g: &Matrix, transposed: bool) -> Matrix {
    let mut out = Matrix::zero(g.rows, g.cols);
    pairs(g, |t, s, c, e| {
        let (to, from) = if transposed { (s, t) } else { (t, s) };
        out.add(to, c, a.at(t, s) * w.at(from, c) * e);
    });
    out
}

fn decay_rect(a: &Matrix, p: &Matrix, w: &Matrix, g: &Matrix) -> Matrix {
    let mut out = Matrix::zero(g.rows, g.cols);
    pairs(g, |t, s, c, e| {
        let x = a.at(t, s) * p.at(t, c) * w.at(s, c) * e;
        for j in s + 1..t {
            out.add(j, c, x);
        }
    });
    out
}

type Given<'a> = Option<&'a Matrix>;

fn solve(
    direction: Direction,
    m: &[Given],
    c: &[Given],
    y0: &[Given],
    b: &[Given],
    decay: Given,
    (rows, cols): (usize, usize),
) -> Vec<Matrix> {
    let (readouts, writes) = (y0.len(), b.len());
    let mut y = vec![Matrix::zero(rows, cols); readouts];
    let mut u = vec![Matrix::zero(rows, cols); writes];
    for step in 0..rows {
        let t = if direction == Direction::Down { step } else { rows - 1 - step };
        let done = if direction == Direction::Down { 0..t } else { t + 1..rows };
        for l in 0..readouts {
            for n in 0..cols {
                let mut sum = y0[l].map_or(0.0, |x| x.at(t, n));
                for j in 0..writes {
                    let Some(m) = m[l * writes + j] else { continue };
                    for s in done.clone() {
                        let (late, early) = (t.max(s), t.min(s));
                        let e = decay.map_or(1.0, |g| between(g, late, early, n));
                        sum += m.at(late, early) * e * u[j].at(s, n);
                    }
                }
                y[l].set(t, n, sum);
            }
        }
        for j in 0..writes {
            for n in 0..cols {
                let mut sum = b[j].map_or(0.0, |x| x.at(t, n));
                for l in 0..readouts {
                    sum += c[j * readouts + l].map_or(0.0, |x| x.at(t, n) * y[l].at(t, n));
                }
                u[j].set(t, n, sum);
            }
        }
    }
    y.extend(u);
    y
}
