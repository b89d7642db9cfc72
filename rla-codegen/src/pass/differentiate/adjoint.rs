//! The adjoint of each operation.

use super::Sweep;
use crate::tile::builder::Builder;
use crate::tile::{Axis, DecayKind, Direction, MapFn, Op, ScanKind, Value};

impl Sweep<'_> {
    /// Propagates the adjoint of one old value to its operands.
    pub(super) fn step(&mut self, value: Value) {
        let op = self.forward.node(value).op.clone();
        if let Op::Solve { .. } = op {
            return self.solve(value, &op);
        }
        let Some(d) = self.adjoints[value.0 as usize] else { return };
        match op {
            // a part's adjoint waits at the part, for its solve
            Op::Leaf(_) | Op::Part(..) => {}
            Op::Map(f, args) => self.map(f, &args, value, d),
            Op::SumCols(x) | Op::SumRows(x) => {
                // broadcasts back; `add` leaves the axes that x has
                let shape = self.forward.shape(x);
                let grad = self.spread(d, shape);
                self.add(x, grad);
            }
            Op::Softmax(x) => {
                // dx = y (d - sum y d)
                let y = self.copy(value);
                let yd = self.builder.mul(y, d);
                let sum = self.builder.op_value(Op::SumCols(yd));
                let less = self.builder.map(MapFn::Sub, &[d, sum]);
                let grad = self.builder.mul(y, less);
                self.add(x, grad);
            }
            Op::L2norm { x, eps } => self.l2norm(x, eps, d),
            Op::Transpose(x) => {
                let grad = self.builder.op_value(Op::Transpose(d));
                self.add(x, grad);
            }
            Op::Matmul { a, ta, b, tb } => self.matmul(a, ta, b, tb, d),
            Op::StrictLower(x) => {
                let grad = self.builder.op_value(Op::StrictLower(d));
                self.add(x, grad);
            }
            Op::Scan(kind, x) => {
                let other = if kind == ScanKind::Before { ScanKind::After } else { ScanKind::Before };
                let grad = self.builder.op_value(Op::Scan(other, d));
                self.add(x, grad);
            }
            Op::Decay(kind, g) => self.decay(kind, g, value, d),
            Op::DecayDot { p, w, g } => {
                let (np, nw, ng) = (self.copy(p), self.copy(w), self.copy(g));
                let dp = self.builder.op_value(Op::DecayApply { a: d, w: nw, g: ng, transposed: false });
                let dw = self.builder.op_value(Op::DecayApply { a: d, w: np, g: ng, transposed: true });
                let dg = self.builder.op_value(Op::DecayRect { a: d, p: np, w: nw, g: ng });
                self.add(p, dp);
                self.add(w, dw);
                self.add(g, dg);
            }
            Op::DecayApply { a, w, g, transposed } => {
                // Y = sum A W E with dY in the place of P (or of W when transposed)
                let (na, nw, ng) = (self.copy(a), self.copy(w), self.copy(g));
                let (late, early) = if transposed { (nw, d) } else { (d, nw) };
                let da = self.builder.op_value(Op::DecayDot { p: late, w: early, g: ng });
                let dw = self.builder.op_value(Op::DecayApply { a: na, w: d, g: ng, transposed: !transposed });
                let dg = self.builder.op_value(Op::DecayRect { a: na, p: late, w: early, g: ng });
                self.add(a, da);
                self.add(w, dw);
                self.add(g, dg);
            }
            Op::RectSum(_) | Op::DecayRect { .. } | Op::Solve { .. } | Op::Inverse(_) => {
                unreachable!("{op:?} appears in backward programs only")
            }
        }
    }

    /// `y = s x`, `s = (x.x + eps)^(-1/2)`: `dx = s (d - c x)` and `deps = -s c / 2`, with c the solution of
    /// `(x.x + eps) c = x.d`.
    ///
    /// Where d is nearly along x, in one dimension always, `d - c x` cancels down to `eps c / (x.x + eps)` of it, and the
    /// rounding of c, times s, is all that is left. One step of refinement takes it away: the residual
    /// `x.d - (x.x + eps) c = x.(d - c x) - eps c` is formed from what is left after the cancellation.
    fn l2norm(&mut self, x: Value, eps: Value, d: Value) {
        let (nx, neps) = (self.copy(x), self.copy(eps));
        let b = &mut self.builder;
        let square = b.map(MapFn::Sq, &[nx]);
        let norm = b.op_value(Op::SumCols(square));
        let norm = b.add(norm, neps);
        let scale = b.map(MapFn::Rsqrt, &[norm]);
        let inverse = b.map(MapFn::Sq, &[scale]);
        let dot = |b: &mut Builder, d: Value| {
            let product = b.mul(nx, d);
            b.op_value(Op::SumCols(product))
        };
        let without = |b: &mut Builder, d: Value, c: Value| {
            let along = b.mul(c, nx);
            b.map(MapFn::Sub, &[d, along])
        };
        let along = dot(b, d);
        let c = b.mul(along, inverse);
        let rest = without(b, d, c);
        let (along, own) = (dot(b, rest), b.mul(neps, c));
        let residual = b.map(MapFn::Sub, &[along, own]);
        let more = b.mul(residual, inverse);
        let rest = without(b, rest, more);
        let dx = b.mul(scale, rest);
        let half = b.number(-0.5);
        let deps = b.mul(half, scale);
        let deps = b.mul(deps, c);
        self.add(x, dx);
        self.add(eps, deps);
    }

    /// `d` with the axes of `shape` that it lacks: elementwise operations broadcast it, other uses need it whole.
    fn spread(&mut self, d: Value, shape: crate::tile::Shape) -> Value {
        if self.builder.shape(d) == shape {
            return d;
        }
        let zero = self.builder.number(0.0);
        let like = self.forward.nodes.iter().position(|n| n.shape == shape).expect("x itself has the shape");
        let like = self.moved[like];
        // a selection, so that a non-finite element of `like` does not matter
        let zeros = self.builder.map(MapFn::Inside, &[like, zero, zero, zero]);
        self.builder.add(d, zeros)
    }

    fn matmul(&mut self, a: Value, ta: bool, b: Value, tb: bool, d: Value) {
        let (na, nb) = (self.copy(a), self.copy(b));
        let mut da = if ta { self.builder.matmul(nb, tb, d, true) } else { self.builder.matmul(d, false, nb, !tb) };
        let mut db = if tb { self.builder.matmul(d, true, na, ta) } else { self.builder.matmul(na, !ta, d, false) };
        if strictly_lower(self.forward, a) {
            da = self.builder.op_value(Op::StrictLower(da));
        }
        if strictly_lower(self.forward, b) {
            db = self.builder.op_value(Op::StrictLower(db));
        }
        self.add(a, da);
        self.add(b, db);
    }

    fn decay(&mut self, kind: DecayKind, g: Value, value: Value, d: Value) {
        let y = self.copy(value);
        let dlog = self.builder.mul(d, y);
        let grad = match kind {
            DecayKind::Prefix => self.builder.op_value(Op::Scan(ScanKind::After, dlog)),
            DecayKind::Suffix => self.builder.op_value(Op::Scan(ScanKind::Before, dlog)),
            DecayKind::Total => dlog,
            DecayKind::Segment => self.builder.op_value(Op::RectSum(dlog)),
        };
        self.add(g, grad);
    }

    fn map(&mut self, f: MapFn, args: &[Value], value: Value, d: Value) {
        let x = self.copy(args[0]);
        let y = self.copy(value);
        let one = self.builder.number(1.0);
        match f {
            MapFn::Add => {
                self.add(args[0], d);
                self.add(args[1], d);
            }
            MapFn::Sub => {
                self.add(args[0], d);
                let minus = self.builder.neg(d);
                self.add(args[1], minus);
            }
            MapFn::Mul => {
                let z = self.copy(args[1]);
                let (dx, dz) = (self.builder.mul(d, z), self.builder.mul(d, x));
                self.add(args[0], dx);
                self.add(args[1], dz);
            }
            MapFn::Div => {
                // d(x/z) = d/z, and -(d/z)(x/z) for z
                let z = self.copy(args[1]);
                let dx = self.builder.map(MapFn::Div, &[d, z]);
                let product = self.builder.mul(dx, y);
                let dz = self.builder.neg(product);
                self.add(args[0], dx);
                self.add(args[1], dz);
            }
            MapFn::Neg => {
                let dx = self.builder.neg(d);
                self.add(args[0], dx);
            }
            MapFn::Clamp => {
                let (lo, hi) = (self.copy(args[1]), self.copy(args[2]));
                let dx = self.builder.map(MapFn::Inside, &[x, lo, hi, d]);
                self.add(args[0], dx);
            }
            MapFn::Relu => {
                let dx = self.builder.map(MapFn::Positive, &[x, d]);
                self.add(args[0], dx);
            }
            MapFn::Abs => {
                let dx = self.builder.map(MapFn::Sign, &[x, d]);
                self.add(args[0], dx);
            }
            MapFn::Keep => {
                let dx = self.builder.map(MapFn::Keep, &[x, d]);
                self.add(args[1], dx);
            }
            _ => {
                let slope = match f {
                    MapFn::Exp => y,
                    MapFn::Log => self.builder.map(MapFn::Div, &[one, x]),
                    MapFn::Sqrt => {
                        let half = self.builder.number(0.5);
                        self.builder.map(MapFn::Div, &[half, y])
                    }
                    MapFn::Rsqrt => {
                        // -y^3 / 2
                        let square = self.builder.map(MapFn::Sq, &[y]);
                        let cube = self.builder.mul(square, y);
                        let half = self.builder.number(-0.5);
                        self.builder.mul(half, cube)
                    }
                    MapFn::Sigmoid => {
                        // not y (1 - y), which has lost all digits where y rounds to 1
                        let minus = self.builder.neg(x);
                        let rest = self.builder.map(MapFn::Sigmoid, &[minus]);
                        self.builder.mul(y, rest)
                    }
                    MapFn::LogSigmoid => {
                        let minus = self.builder.neg(x);
                        self.builder.map(MapFn::Sigmoid, &[minus])
                    }
                    MapFn::Tanh => {
                        // sech^2 by e = exp(-2 |x|); 1 - y^2 has lost all digits where y rounds to 1
                        let size = self.builder.map(MapFn::Abs, &[x]);
                        let (minus_two, four) = (self.builder.number(-2.0), self.builder.number(4.0));
                        let log = self.builder.mul(minus_two, size);
                        let e = self.builder.map(MapFn::Exp, &[log]);
                        let sum = self.builder.add(one, e);
                        let square = self.builder.map(MapFn::Sq, &[sum]);
                        let above = self.builder.mul(four, e);
                        self.builder.map(MapFn::Div, &[above, square])
                    }
                    MapFn::Silu => {
                        // s + y (1 - s)
                        let s = self.builder.map(MapFn::Sigmoid, &[x]);
                        let rest = self.builder.map(MapFn::Sub, &[one, s]);
                        let product = self.builder.mul(y, rest);
                        self.builder.add(s, product)
                    }
                    MapFn::Softplus => self.builder.map(MapFn::Sigmoid, &[x]),
                    MapFn::Sq => {
                        let two = self.builder.number(2.0);
                        self.builder.mul(two, x)
                    }
                    other => unreachable!("{other:?} appears in backward programs only"),
                };
                let dx = self.builder.mul(d, slope);
                self.add(args[0], dx);
            }
        }
    }

    /// The adjoint system: the other direction, readouts and writes exchanged.
    ///
    /// With `y_l = y0_l + sum M_lj u_j`, `u_j = b_j + sum c_jl y_l` and the cotangents dy, du:
    /// `mu_j = du_j + sum_l M_lj^T lambda_l`, `lambda_l = dy_l + sum_j c_jl mu_j`; then `dy0 = lambda`, `db = mu`,
    /// `dc_jl = mu_j y_l`, `dM_lj = lambda_l u_j^T`.
    fn solve(&mut self, value: Value, op: &Op) {
        let Op::Solve { direction, m, c, y0, b, decay } = op else { unreachable!() };
        assert_eq!(*direction, Direction::Down, "only forward systems are differentiated");
        let (readouts, writes) = (y0.len(), b.len());
        let part = |sweep: &Sweep, k: usize| {
            sweep.forward.nodes.iter().position(|n| n.op == Op::Part(value, k)).map(|i| Value(i as u32))
        };
        let given = |sweep: &Sweep, k: usize| part(sweep, k).and_then(|p| sweep.adjoints[p.0 as usize]);
        let dy: Vec<Option<Value>> = (0..readouts).map(|l| given(self, l)).collect();
        let du: Vec<Option<Value>> = (0..writes).map(|j| given(self, readouts + j)).collect();
        if dy.iter().chain(&du).all(Option::is_none) {
            return;
        }
        let copied = |sweep: &Sweep, v: &Option<Value>| v.map(|v| sweep.copy(v));
        let mut back_m = Vec::with_capacity(m.len());
        for j in 0..writes {
            for l in 0..readouts {
                back_m.push(copied(self, &m[l * writes + j]));
            }
        }
        let mut back_c = Vec::with_capacity(c.len());
        for l in 0..readouts {
            for j in 0..writes {
                back_c.push(copied(self, &c[j * readouts + l]));
            }
        }
        let log = copied(self, decay);
        let back = self.builder.op_value(Op::Solve {
            direction: Direction::Up,
            m: back_m,
            c: back_c,
            y0: du,
            b: dy,
            decay: log,
        });
        let mu: Vec<Value> = (0..writes).map(|j| self.builder.op_value(Op::Part(back, j))).collect();
        let lambda: Vec<Value> = (0..readouts).map(|l| self.builder.op_value(Op::Part(back, writes + l))).collect();
        let solved = self.copy(value);
        let y: Vec<Value> = (0..readouts).map(|l| self.builder.op_value(Op::Part(solved, l))).collect();
        let u: Vec<Value> = (0..writes).map(|j| self.builder.op_value(Op::Part(solved, readouts + j))).collect();
        for l in 0..readouts {
            if let Some(v) = y0[l] {
                self.add(v, lambda[l]);
            }
            for j in 0..writes {
                let Some(matrix) = m[l * writes + j] else { continue };
                let grad = match log {
                    None => {
                        let full = self.builder.matmul(lambda[l], false, u[j], true);
                        self.builder.op_value(Op::StrictLower(full))
                    }
                    Some(g) => {
                        let a = self.copy(matrix);
                        let dg = self.builder.op_value(Op::DecayRect { a, p: lambda[l], w: u[j], g });
                        self.add(decay.expect("its log decay"), dg);
                        self.builder.op_value(Op::DecayDot { p: lambda[l], w: u[j], g })
                    }
                };
                self.add(matrix, grad);
            }
        }
        for j in 0..writes {
            if let Some(v) = b[j] {
                self.add(v, mu[j]);
            }
            for l in 0..readouts {
                if let Some(v) = c[j * readouts + l] {
                    let grad = self.builder.mul(mu[j], y[l]);
                    self.add(v, grad);
                }
            }
        }
    }
}

/// Whether a `[Token, Token]` value is strictly lower by its structure.
pub(crate) fn strictly_lower(program: &crate::tile::Program, value: Value) -> bool {
    let node = program.node(value);
    if node.shape.rows != Axis::Token || node.shape.cols != Axis::Token {
        return false;
    }
    match &node.op {
        Op::StrictLower(_) | Op::DecayDot { .. } | Op::Decay(DecayKind::Segment, _) => true,
        Op::Map(MapFn::Mul, args) => args.iter().any(|a| strictly_lower(program, *a)),
        Op::Map(MapFn::Div | MapFn::Neg, args) => strictly_lower(program, args[0]),
        Op::Map(MapFn::Keep, args) => strictly_lower(program, args[1]),
        Op::Map(MapFn::Add | MapFn::Sub, args) => args.iter().all(|a| strictly_lower(program, *a)),
        _ => false,
    }
}
