//! Canonical recurrence to the tile program of one chunk: DESIGN section 3.
//!
//! For a readout p of a state with writes (u_j, w_j), X the state at the chunk's start, e the decay from there to t:
//!
//! ```text
//! M_j[t,s] = [s<t] sum_c p_t[c] w_j,s[c] E[t,s,c]         y = (e p) X^T + sum_j M_j u_j
//! X' = decayed X + sum_j u_j^T (f w_j)                    f the decay from after s to the chunk's end
//! ```
//!
//! Own readouts and writes are one [`Op::Solve`]; every other readout is products with the solved u. The rows that fill
//! the last chunk write nothing and do not decay: their u and log decays are 0 by selection.

use std::collections::HashMap;

use rla_dsl::recurrence::{Recurrence, Side};

use crate::canon::symbol::{Sym, SymKind};
use crate::canon::{CanonState, Canonical};
use crate::tile::builder::Builder;
use crate::tile::{Axis, DecayKind, Direction, Leaf, MapFn, Op, Program, Role, Shape, StateSides, Value};

/// A state whose writes are known: what readouts need.
#[derive(Clone, Debug)]
struct Solved {
    state: Value,
    /// Log decays, `[Token, One]` or `[Token, n]`.
    scalar: Option<Value>,
    free: Option<Value>,
    contracted: Option<Value>,
    /// w_j, `[Token, contracted]`.
    given: Vec<Value>,
    /// u_j, `[Token, free]`.
    writes: Vec<Value>,
    /// y_l of own readouts, by their symbol's p.
    own: HashMap<Sym, Value>,
}

struct Chunk<'a> {
    recurrence: &'a Recurrence,
    canonical: &'a Canonical,
    builder: Builder,
    values: HashMap<Sym, Value>,
    solved: Vec<Option<Solved>>,
}

fn axis(side: Side) -> Axis {
    Axis::Side(side.0)
}

/// The orientation of each state in tile programs.
pub fn state_sides(canonical: &Canonical) -> Vec<StateSides> {
    let sides = |state: &CanonState| StateSides {
        free: state.free.map_or(Axis::One, axis),
        contracted: state.contracted.map_or(Axis::One, axis),
        transposed: state.transposed,
    };
    canonical.states.iter().map(sides).collect()
}

/// The shape of an input's leaf.
pub fn input_shape(recurrence: &Recurrence, index: usize) -> Shape {
    use rla_dsl::recurrence::InputKind;
    let input = &recurrence.inputs[index];
    let rows = if input.kind == InputKind::Param { Axis::One } else { Axis::Token };
    Shape::new(rows, input.side.map_or(Axis::One, axis))
}

/// Builds the forward program of one chunk.
pub fn chunk(recurrence: &Recurrence, canonical: &Canonical) -> Program {
    let mut chunk = Chunk {
        recurrence,
        canonical,
        builder: Builder::new("forward", state_sides(canonical)),
        values: HashMap::new(),
        solved: vec![None; canonical.states.len()],
    };
    for state in &canonical.order {
        chunk.builder.origin = Some(canonical.states[*state].statement as u32);
        chunk.solve(*state);
    }
    for (index, sym) in canonical.outputs.iter().enumerate() {
        let statement = recurrence.statements.iter().position(|s| s.value == recurrence.output(index).value);
        chunk.builder.origin = statement.map(|s| s as u32);
        let value = chunk.value(*sym);
        let value = chunk.builder.per_token(value);
        chunk.builder.result(Role::Output(index), value);
    }
    for state in 0..canonical.states.len() {
        chunk.builder.origin = Some(canonical.states[state].statement as u32);
        let next = chunk.update(state);
        chunk.builder.result(Role::State(state), next);
    }
    chunk.builder.finish()
}

impl Chunk<'_> {
    fn value(&mut self, sym: Sym) -> Value {
        if let Some(value) = self.values.get(&sym) {
            return *value;
        }
        let one = Shape::new(Axis::One, Axis::One);
        let arena = &self.canonical.arena;
        let value = match arena.kind(sym).clone() {
            SymKind::Number(bits) => self.builder.number(f64::from_bits(bits)),
            SymKind::Const(i) => self.builder.leaf(Leaf::Const(i), one),
            SymKind::Size(side) => self.builder.leaf(Leaf::Size(side.0), one),
            SymKind::Input(i) => self.builder.leaf(Leaf::Input(i), input_shape(self.recurrence, i)),
            SymKind::Map(f, args) => {
                let log = f == MapFn::Exp && self.is_log_decay(args[0]);
                let mut args: Vec<Value> = args.iter().map(|a| self.value(*a)).collect();
                // one exponential with the decay's own; a row that fills the chunk is not read
                if log && self.builder.shape(args[0]).rows == Axis::Token {
                    args[0] = self.builder.keep(args[0]);
                }
                self.builder.map(f, &args)
            }
            SymKind::Dot(a, b) => {
                let (a, b) = (self.value(a), self.value(b));
                let product = self.builder.mul(a, b);
                self.builder.op_value(Op::SumCols(product))
            }
            SymKind::Sum(a) => {
                let a = self.value(a);
                self.builder.op_value(Op::SumCols(a))
            }
            SymKind::L2norm(a, eps) => {
                let (x, eps) = (self.value(a), self.value(eps));
                self.builder.op_value(Op::L2norm { x, eps })
            }
            SymKind::Softmax(a) => {
                let a = self.value(a);
                self.builder.op_value(Op::Softmax(a))
            }
            SymKind::Read { state, transposed, p } => {
                let solved = self.solved[state].clone().expect("states are solved in order");
                let row_of_channels = self.canonical.states[state].contracted.is_none();
                match solved.own.get(&p) {
                    // a vector state of channels, read by a vector: its channels, then the inner product
                    _ if row_of_channels => {
                        let (z, p) = (self.readout(&solved, None), self.value(p));
                        let product = self.builder.mul(z, p);
                        self.builder.op_value(Op::SumCols(product))
                    }
                    Some(y) if transposed == self.canonical.states[state].transposed => *y,
                    _ if transposed == self.canonical.states[state].transposed => self.readout(&solved, Some(p)),
                    _ => self.cross_readout(&solved, Some(p)),
                }
            }
            SymKind::Vector(state) => {
                let solved = self.solved[state].clone().expect("states are solved in order");
                match self.canonical.states[state].free {
                    Some(_) => self.readout(&solved, None),
                    None => self.cross_readout(&solved, None),
                }
            }
            SymKind::Write(state, j) => self.solved[state].as_ref().expect("states are solved in order").writes[j],
        };
        self.values.insert(sym, value);
        value
    }

    fn token_value(&mut self, sym: Sym) -> Value {
        let value = self.value(sym);
        self.builder.per_token(value)
    }

    /// Whether it is the log decay of a state's channels.
    fn is_log_decay(&self, sym: Sym) -> bool {
        let logs = |s: &CanonState| [s.free_decay, s.contracted_decay].contains(&Some(sym));
        self.canonical.states.iter().any(logs)
    }

    fn log_decay(&mut self, sym: Option<Sym>) -> Option<Value> {
        sym.map(|s| {
            let log = self.value(s);
            self.builder.keep(log)
        })
    }

    fn decay(&mut self, kind: DecayKind, log: Value) -> Value {
        self.builder.op_value(Op::Decay(kind, log))
    }

    /// `M[t,s]` of a readout vector and a write vector, both along the contracted side.
    fn matrix(&mut self, p: Value, w: Value, scalar: Option<Value>, contracted: Option<Value>) -> Value {
        if let Some(g) = contracted {
            return self.builder.op_value(Op::DecayDot { p, w, g });
        }
        let product = self.builder.matmul(p, false, w, true);
        match scalar {
            Some(g) => {
                let mask = self.decay(DecayKind::Segment, g);
                self.builder.mul(product, mask)
            }
            None => self.builder.op_value(Op::StrictLower(product)),
        }
    }

    /// `(e p) X^T`, with the free side's decay on the result.
    fn start_readout(&mut self, solved: &Solved, p: Value) -> Value {
        let mut p = p;
        for log in [solved.scalar, solved.contracted].into_iter().flatten() {
            let e = self.decay(DecayKind::Prefix, log);
            p = self.builder.mul(e, p);
        }
        let y = self.builder.matmul(p, false, solved.state, true);
        match solved.free {
            Some(log) => {
                let e = self.decay(DecayKind::Prefix, log);
                self.builder.mul(e, y)
            }
            None => y,
        }
    }

    fn readout_vector(&mut self, p: Option<Sym>) -> Value {
        match p {
            Some(p) => self.token_value(p),
            None => self.builder.valid(),
        }
    }

    /// A readout that is not part of the state's own system.
    fn readout(&mut self, solved: &Solved, p: Option<Sym>) -> Value {
        let p = self.readout_vector(p);
        let mut y = self.start_readout(solved, p);
        for (u, w) in solved.writes.iter().zip(&solved.given) {
            let m = self.matrix(p, *w, solved.scalar, solved.contracted);
            let term = match solved.free {
                Some(g) => self.builder.op_value(Op::DecayApply { a: m, w: *u, g, transposed: false }),
                None => self.builder.matmul(m, false, *u, false),
            };
            y = self.builder.add(y, term);
        }
        y
    }

    /// A readout of the other orientation: contracts the free side, its result is along the contracted side.
    fn cross_readout(&mut self, solved: &Solved, p: Option<Sym>) -> Value {
        let p = self.readout_vector(p);
        let mut scaled = p;
        for log in [solved.scalar, solved.free].into_iter().flatten() {
            let e = self.decay(DecayKind::Prefix, log);
            scaled = self.builder.mul(e, scaled);
        }
        let mut y = self.builder.matmul(scaled, false, solved.state, false);
        if let Some(log) = solved.contracted {
            let e = self.decay(DecayKind::Prefix, log);
            y = self.builder.mul(e, y);
        }
        for (u, w) in solved.writes.iter().zip(&solved.given) {
            let m = self.matrix(p, *u, solved.scalar, solved.free);
            let term = match solved.contracted {
                Some(g) => self.builder.op_value(Op::DecayApply { a: m, w: *w, g, transposed: false }),
                None => self.builder.matmul(m, false, *w, false),
            };
            y = self.builder.add(y, term);
        }
        y
    }

    /// Computes a state's writes, by substitution where they depend on own readouts.
    fn solve(&mut self, index: usize) {
        let state = &self.canonical.states[index];
        let sides = Shape::new(state.free.map_or(Axis::One, axis), state.contracted.map_or(Axis::One, axis));
        let leaf = self.builder.leaf(Leaf::State(index), sides);
        let scalar = self.log_decay(state.scalar_decay);
        let free = self.log_decay(state.free_decay);
        let contracted = self.log_decay(state.contracted_decay);
        let given: Vec<Value> = state.writes.iter().map(|w| self.readout_vector(w.given)).collect();
        let kept_late = state.readouts.is_empty() && free.or(contracted).is_some();
        let base: Vec<Option<Value>> = state
            .writes
            .iter()
            .map(|w| {
                w.base.map(|b| {
                    let b = self.value(b);
                    if kept_late && self.is_row(b) { b } else { self.builder.keep(b) }
                })
            })
            .collect();
        let mut solved =
            Solved { state: leaf, scalar, free, contracted, given, writes: Vec::new(), own: HashMap::new() };
        if state.readouts.is_empty() {
            solved.writes = base.into_iter().map(|b| b.expect("a write without own readouts has a base")).collect();
        } else {
            self.substitute(state, &mut solved, base);
        }
        self.solved[index] = Some(solved);
    }

    fn substitute(&mut self, state: &CanonState, solved: &mut Solved, base: Vec<Option<Value>>) {
        let vectors: Vec<Value> = state.readouts.iter().map(|p| self.token_value(*p)).collect();
        let (readouts, writes) = (vectors.len(), state.writes.len());
        let mut m = Vec::with_capacity(readouts * writes);
        for p in &vectors {
            for j in 0..writes {
                m.push(Some(self.matrix(*p, solved.given[j], solved.scalar, solved.contracted)));
            }
        }
        let y0 = vectors.iter().map(|p| Some(self.start_readout(solved, *p))).collect();
        let mut c = Vec::with_capacity(readouts * writes);
        for write in &state.writes {
            for l in 0..readouts {
                c.push(write.coefficients[l].map(|s| {
                    let s = self.value(s);
                    self.builder.keep(s)
                }));
            }
        }
        let op = Op::Solve { direction: Direction::Down, m, c, y0, b: base, decay: solved.free };
        let solve = self.builder.op_value(op);
        for (l, p) in state.readouts.iter().enumerate() {
            let part = self.builder.op_value(Op::Part(solve, l));
            solved.own.insert(*p, part);
        }
        solved.writes = (0..writes).map(|j| self.builder.op_value(Op::Part(solve, readouts + j))).collect();
    }

    /// Whether a value is an input's row. Rows that fill the chunk repeat the last one, so that they are as finite as it;
    /// it may be written as it stands, with no copy, where the factor with the channels' decay is 0 in those rows.
    fn is_row(&self, value: Value) -> bool {
        matches!(self.builder.op(value), Op::Leaf(Leaf::Input(_))) && self.builder.shape(value).rows == Axis::Token
    }

    /// The state at the chunk's end.
    fn update(&mut self, index: usize) -> Value {
        let solved = self.solved[index].clone().expect("all states are solved");
        let mut x = solved.state;
        for log in [solved.scalar, solved.contracted].into_iter().flatten() {
            let total = self.decay(DecayKind::Total, log);
            x = self.builder.mul(total, x);
        }
        if let Some(log) = solved.free {
            let total = self.decay(DecayKind::Total, log);
            let total = self.builder.op_value(Op::Transpose(total));
            x = self.builder.mul(total, x);
        }
        for (u, w) in solved.writes.iter().zip(&solved.given) {
            let (mut u, mut w) = (*u, *w);
            let late = self.is_row(u) && solved.free.or(solved.contracted).is_some();
            for log in [solved.scalar, solved.contracted].into_iter().flatten() {
                let f = self.decay(DecayKind::Suffix, log);
                w = self.builder.mul(f, w);
            }
            if let Some(log) = solved.free {
                let f = self.decay(DecayKind::Suffix, log);
                u = self.builder.mul(f, u);
            }
            if late {
                let scaled = if solved.free.is_some() { &mut u } else { &mut w };
                *scaled = self.builder.keep(*scaled);
            }
            let term = self.builder.matmul(u, true, w, false);
            x = self.builder.add(x, term);
        }
        x
    }
}
