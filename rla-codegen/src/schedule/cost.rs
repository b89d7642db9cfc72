//! What choices cost, predicted: the order of the search, not a promise.
//!
//! Cycles of one core per token and value head, from a program's operations as the emitter runs them. Products are counted
//! in whole tiles, triangular operands where the tiles are cut; a tile takes as long as its multiply-adds, its loads, or the
//! latency of its accumulators, whichever is longest. Values of a chunk and states are moved once an operation, from the cache
//! that holds the chunk's working set. A further term is what every call of a stage and every step of a substitution waits.

use super::{Choices, Slot, Tile};
use crate::kernel::Level;
use crate::tile::{Axis, DecayKind, Leaf, MapFn, Op, Program, Role, Value};

/// Data caches of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caches {
    /// Bytes of the first level.
    pub first: usize,
    /// Bytes of the second level.
    pub second: usize,
}

impl Default for Caches {
    fn default() -> Caches {
        Caches { first: 32 << 10, second: 1 << 20 }
    }
}

/// A prediction. All but the working set per token and value head.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Floating-point operations of the products as executed: whole tiles, padding included.
    pub flops: f64,
    /// Bytes that cross from memory: inputs, outputs, gradients, what is kept.
    pub bytes: f64,
    /// Bytes that a chunk works on.
    pub working_set: f64,
    /// Cycles of products.
    pub products: f64,
    /// Cycles of elementwise work, decays and substitutions.
    pub other: f64,
    /// Cycles of moving values between caches and registers.
    pub moves: f64,
    /// Cycles of calls and of waiting.
    pub latency: f64,
}

impl Cost {
    /// All cycles.
    pub fn cycles(&self) -> f64 {
        // moves run beside products where registers suffice; what is longer counts whole, the other by a quarter
        let (long, short) = (self.products.max(self.moves), self.products.min(self.moves));
        long + 0.25 * short + self.other + self.latency
    }

    /// Where the work is divided among fewer threads than there are: all cycles by so much.
    pub fn times(&self, factor: f64) -> Cost {
        let [products, other, moves, latency] =
            [self.products, self.other, self.moves, self.latency].map(|cycles| cycles * factor);
        Cost { products, other, moves, latency, ..*self }
    }

    fn add(&mut self, other: &Cost) {
        self.flops += other.flops;
        self.bytes += other.bytes;
        self.working_set = self.working_set.max(other.working_set);
        self.products += other.products;
        self.other += other.other;
        self.moves += other.moves;
        self.latency += other.latency;
    }
}

/// Cycles of a multiply-add from operands to result.
const LATENCY: f64 = 4.0;
/// Multiply-adds and loads that start in a cycle.
const A_CYCLE: f64 = 2.0;
/// Cycles to call a stage for one block, and to fill its pipeline.
const CALL: f64 = 20.0;
/// Cycles of one elementwise operation on a vector.
const MAP: f64 = 1.0;
/// Cycles of an exponential, logarithm or the like on a vector.
const FUNCTION: f64 = 12.0;

struct Count<'a> {
    program: &'a Program,
    choices: &'a Choices,
    slot: Slot,
    sizes: &'a [usize],
    tile: Tile,
}

impl Count<'_> {
    fn length(&self, axis: Axis) -> f64 {
        match axis {
            Axis::One => 1.0,
            Axis::Token => self.choices.chunk as f64,
            Axis::Side(side) => self.sizes[side as usize] as f64,
        }
    }

    /// Lanes of a panel along an axis.
    fn panel(&self, axis: Axis) -> f64 {
        let full = self.tile.vectors * self.tile.lanes;
        match axis {
            Axis::Side(_) => full as f64,
            Axis::Token => full.min(self.choices.chunk.next_multiple_of(self.tile.lanes)) as f64,
            Axis::One => self.tile.lanes as f64,
        }
    }

    fn vectors(&self, value: Value) -> f64 {
        let shape = self.program.shape(value);
        let (rows, cols) = (self.length(shape.rows), self.length(shape.cols));
        let lanes = self.tile.lanes as f64;
        // the longer axis has the lanes, wherever they lie
        if rows * cols == 1.0 { 1.0 } else { (rows.max(cols) / lanes).ceil() * rows.min(cols) }
    }

    fn square(&self, value: Value) -> bool {
        let shape = self.program.shape(value);
        shape.rows == Axis::Token && shape.cols == Axis::Token
    }

    /// Cycles, operations and calls of `steps` inner steps of tiles that cover rows by cols, `part` of them.
    fn tiles(&self, rows: f64, cols: f64, panel: f64, steps: f64, part: f64, block: usize) -> (f64, f64, f64) {
        let block = block as f64;
        let (blocks, panels) = ((rows / block).ceil(), (cols / panel).ceil());
        let vectors = panel / self.tile.lanes as f64;
        let issued = block * vectors / A_CYCLE;
        let loaded = (block + vectors) / A_CYCLE;
        let step = issued.max(loaded).max(LATENCY);
        let count = blocks * panels * steps * part;
        (count * step, 2.0 * block * panel * count, blocks * panels)
    }

    fn elements(&self, value: Value) -> f64 {
        let shape = self.program.shape(value);
        self.length(shape.rows) * self.length(shape.cols)
    }

    fn product(&self, value: Value, a: Value, ta: bool, b: Value, cost: &mut Cost) {
        let (shape, a_shape) = (self.program.shape(value), self.program.shape(a));
        let inner = self.length(if ta { a_shape.rows } else { a_shape.cols });
        let (rows, cols) = (self.length(shape.rows), self.length(shape.cols));
        let of_tokens = [value, a, b].into_iter().any(|v| self.square(v));
        let part = if of_tokens { self.triangle(self.tile.rows) } else { 1.0 };
        let (cycles, flops, calls) = self.tiles(rows, cols, self.panel(shape.cols), inner, part, self.tile.rows);
        // sums over tokens that give tokens stay in f32
        cost.products += if self.slot == Slot::Bf16 && !of_tokens { cycles / 2.0 } else { cycles };
        cost.flops += flops;
        cost.latency += CALL * calls;
        cost.moves += 4.0 * (self.elements(a) + self.elements(b) + self.elements(value));
    }

    /// The part of a triangle that blocks of so many rows go over.
    fn triangle(&self, block: usize) -> f64 {
        let chunk = self.choices.chunk as f64;
        ((chunk + block as f64) / (2.0 * chunk)).min(1.0)
    }

    fn solve(&self, value: Value, products: usize, readouts: usize, by_channel: bool, cost: &mut Cost) {
        let shape = self.program.shape(value);
        let (chunk, cols, panel) = (self.choices.chunk as f64, self.length(shape.cols), self.panel(shape.cols));
        let serial = by_channel || readouts > self.choices.solve || shape.cols == Axis::One;
        let block = match readouts {
            _ if serial => 1,
            0 | 1 => self.tile.rows,
            2 => self.tile.rows / 2,
            _ => (self.tile.rows / 4).max(1),
        };
        let part = self.triangle(block);
        let (cycles, flops, calls) = self.tiles(chunk, cols, panel, chunk, part, block);
        cost.products += products as f64 * cycles;
        cost.flops += products as f64 * flops;
        cost.latency += CALL * calls;
        // row after row waits for the one before it, in every panel
        cost.latency += chunk * (cols / panel).ceil() * (2.0 * LATENCY + if serial { CALL } else { 0.0 });
        if serial {
            // what flows in lies in memory
            cost.moves += 8.0 * readouts as f64 * self.elements(value);
        }
    }

    fn operation(&self, index: usize, cost: &mut Cost) {
        let value = Value(index as u32);
        let chunk = self.choices.chunk as f64;
        let lanes = self.tile.lanes as f64;
        let pairs = |side: f64| chunk * chunk / 2.0 * (side / lanes).ceil();
        match &self.program.nodes[index].op {
            Op::Matmul { a, ta, b, .. } => self.product(value, *a, *ta, *b, cost),
            Op::Solve { m, y0, decay, .. } => {
                self.solve(value, m.iter().flatten().count(), y0.len(), decay.is_some(), cost)
            }
            Op::DecayDot { p, .. } => cost.other += 3.0 * MAP * pairs(self.length(self.program.shape(*p).cols)),
            Op::DecayApply { .. } => cost.other += 3.0 * MAP * pairs(self.length(self.program.shape(value).cols)),
            Op::DecayRect { .. } => cost.other += 5.0 * MAP * pairs(self.length(self.program.shape(value).cols)),
            Op::Decay(DecayKind::Segment, _) => cost.other += MAP * pairs(chunk),
            Op::RectSum(_) => cost.other += 2.0 * MAP * pairs(chunk),
            Op::Leaf(_) | Op::Part(..) => {}
            Op::Map(f, _) if is_function(*f) => cost.other += FUNCTION * self.vectors(value),
            Op::Softmax(_) | Op::Decay(..) => cost.other += FUNCTION * self.vectors(value),
            _ => cost.other += MAP * self.vectors(value),
        }
    }

    fn cost(&self, caches: &Caches) -> Cost {
        let mut cost = Cost::default();
        (0..self.program.nodes.len()).for_each(|index| self.operation(index, &mut cost));
        let (mut states, mut tokens) = (0.0, 0.0);
        for (index, node) in self.program.nodes.iter().enumerate() {
            let bytes = 4.0 * self.elements(Value(index as u32));
            match node.op {
                Op::Leaf(Leaf::State(_) | Leaf::StateGrad(_)) => states += bytes,
                Op::Leaf(Leaf::Input(_) | Leaf::OutputGrad(_)) => cost.bytes += bytes,
                Op::Leaf(Leaf::Saved(_)) => cost.bytes += bytes,
                _ => tokens += bytes,
            }
        }
        let kept = |value: &Value| 4.0 * self.elements(*value);
        for (role, value) in &self.program.results {
            match role {
                Role::Output(_) | Role::InputGrad(_) => cost.bytes += kept(value),
                Role::Saved(_) => cost.bytes += kept(value) * if self.choices.stream { 1.0 } else { 2.0 },
                // a chunk's start is kept too where backward needs it
                Role::State(_) if !self.program.saved.is_empty() => cost.bytes += kept(value),
                _ => {}
            }
        }
        // half of the values of a chunk are alive at once
        cost.working_set = states + tokens / 2.0;
        let rate = match cost.working_set {
            x if x <= caches.first as f64 => 64.0,
            x if x <= caches.second as f64 => 32.0,
            _ => 12.0,
        };
        cost.moves /= rate;
        // a line that was not asked for ahead is waited for; asking in a hurry disturbs the tiles' own loads
        let waited = match self.choices.prefetch {
            0 => 0.12,
            part => 0.03 + 0.004 * part as f64,
        };
        cost.latency += cost.bytes * waited;
        for x in
            [&mut cost.flops, &mut cost.bytes, &mut cost.products, &mut cost.other, &mut cost.moves, &mut cost.latency]
        {
            *x /= self.choices.chunk as f64;
        }
        cost
    }
}

fn is_function(f: MapFn) -> bool {
    matches!(
        f,
        MapFn::Exp
            | MapFn::Log
            | MapFn::Sigmoid
            | MapFn::LogSigmoid
            | MapFn::Tanh
            | MapFn::Silu
            | MapFn::Softplus
            | MapFn::Div
            | MapFn::Sqrt
            | MapFn::Rsqrt
    )
}

/// The cost of choices for a slot: of the programs that it runs, one after the other. `sizes`: one a side.
pub fn predict(
    programs: &[&Program],
    choices: &Choices,
    slot: Slot,
    level: Level,
    sizes: &[usize],
    caches: &Caches,
) -> Cost {
    if slot == Slot::Decode {
        return decode(programs, choices, sizes);
    }
    let mut total = Cost::default();
    let tile = Tile::chosen(choices, level);
    for program in programs {
        total.add(&Count { program, choices, slot, sizes, tile }.cost(caches));
    }
    total
}

/// Readouts that are counted for a state in decode.
const READOUTS: usize = 3;
/// Cycles that a line of a state is waited for.
const MISS: f64 = 20.0;
/// KiB ahead at which half of those are left, where lines come too late.
const LATE: f64 = 4.0;
/// KiB ahead at which half of the lines are driven out before they are used: the first-level cache holds what is in use too.
const EARLY: f64 = 64.0;

/// Decode of one token: a state is swept for as many readouts as are taken at a time, and to be updated; lines wait that are fetched late,
/// or too early. RDN at 64 sequences on a Xeon (family 6 model 106), over the time of 16 KiB ahead: 8 and 2 KiB 1.07, 4 KiB 1.11, 32 KiB
/// 1.16, 64 KiB 1.41; the model has that order but for 2 and 4, which it puts last.
fn decode(programs: &[&Program], choices: &Choices, sizes: &[usize]) -> Cost {
    let side = |axis: Axis| if let Axis::Side(side) = axis { sizes[usize::from(side)] as f64 } else { 1.0 };
    let states = programs.iter().flat_map(|program| &program.states);
    let elements: f64 = states.map(|state| side(state.free) * side(state.contracted)).sum();
    let at_once = if choices.readouts == 0 { READOUTS } else { choices.readouts.min(READOUTS) };
    let (lines, sweeps) = (elements / 16.0, READOUTS.div_ceil(at_once) as f64);
    let ahead = if choices.ahead == 0 { 16.0 } else { choices.ahead as f64 };
    Cost {
        flops: elements * (2 * READOUTS + 3) as f64,
        bytes: 8.0 * elements,
        working_set: 4.0 * elements,
        products: lines * READOUTS as f64 / A_CYCLE,
        moves: lines * (sweeps + 1.0),
        latency: lines * MISS * (LATE / (LATE + ahead) + ahead / (EARLY + ahead)),
        other: lines * MAP,
    }
}

/// Legal choices with their cost, cheapest first; equal ones in the order of the space.
pub fn ordered(
    programs: &[&Program],
    slot: Slot,
    level: Level,
    sizes: &[usize],
    caches: &Caches,
) -> Vec<(Choices, Cost)> {
    let cost = |choices: Choices| (choices, predict(programs, &choices, slot, level, sizes, caches));
    let mut all: Vec<(Choices, Cost)> = super::space::candidates(slot, level).into_iter().map(cost).collect();
    all.sort_by(|(_, a), (_, b)| a.cycles().total_cmp(&b.cycles()));
    all
}
