//! Statements: how a state goes on, and what is put out.
use super::Side;
use super::ingredients::{Ingredients, state_name};
use rla_runtime::draw::Rng;

/// Sides of a state; a vector state has no rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub rows: Option<Side>,
    pub cols: Side,
}

impl Shape {
    pub fn draw(slot: bool, rng: &mut Rng) -> Shape {
        let (rows, cols) = match rng.below(10) {
            0 => (None, Side::Key),
            1 => (None, Side::Value),
            2 => (Some(Side::Key), Side::Value),
            3 if slot => (Some(Side::Slot), Side::Key),
            4 if slot => (Some(Side::Value), Side::Slot),
            5 if slot => (None, Side::Slot),
            _ => (Some(Side::Value), Side::Key),
        };
        Shape { rows, cols }
    }

    pub fn declaration(&self) -> String {
        match self.rows {
            None => self.cols.word().to_string(),
            Some(rows) => format!("{} x {}", rows.word(), self.cols.word()),
        }
    }
}

impl Ingredients {
    /// The statement of a state, which reads the states before it in the order of dependency.
    pub fn assign(&mut self, index: usize) {
        let earlier: Vec<usize> = (0..self.shapes.len()).filter(|&i| self.rank[i] < self.rank[index]).collect();
        let value = match self.shapes[index].rows {
            None => self.vector_state(index, &earlier),
            Some(rows) => self.matrix_state(index, rows, &earlier),
        };
        self.statement(&format!("{}[t] = {value}", state_name(index)));
        self.assigned = index + 1;
    }

    fn vector_state(&mut self, index: usize, earlier: &[usize]) -> String {
        let (cols, previous) = (self.shapes[index].cols, format!("{}[t-1]", state_name(index)));
        let mut kept = previous.clone();
        if self.rng.chance(0.7) {
            kept = format!("{} * {kept}", self.decay());
        }
        if self.rng.chance(0.4) {
            kept = format!("{} .* ({kept})", self.vector_decay(cols));
        }
        if self.rng.chance(0.3) {
            // the delta rule of a vector: what it predicts along a unit vector is replaced
            let (unit, gate, target) = (self.unit(cols), self.gate(), self.gate());
            return format!("{kept} + {gate} * ({target} - dot({kept}, {unit})) * {unit}");
        }
        let mut terms = kept;
        for _ in 0..1 + self.rng.below(2) {
            let gate = self.any_gate(earlier);
            let vector = self.write_vector(cols, earlier);
            terms = format!("{terms} + {gate} * {vector}");
        }
        terms
    }

    fn matrix_state(&mut self, index: usize, rows: Side, earlier: &[usize]) -> String {
        let cols = self.shapes[index].cols;
        let kept = self.decayed(index, rows, cols);
        let writes = 1 + self.rng.below(3);
        match self.rng.below(9) {
            // no erasure
            0 | 1 => self.with_writes(kept, rows, cols, earlier, writes),
            // the delta rule, factored
            2 | 3 => {
                let (unit, gate) = (self.unit_of_states(cols, earlier), self.any_gate(earlier));
                let value = self.write_vector(rows, earlier);
                let first = format!("{kept} * (I - {gate} * {unit} * {unit}^T) + {gate} * {value} * {unit}^T");
                self.with_writes(first, rows, cols, earlier, writes - 1)
            }
            // the delta rule, written out, with a scalar or a gate per row
            4 => {
                let (unit, value) = (self.unit(cols), self.write_vector(rows, earlier));
                let error = format!("({value} - {kept} * {unit})");
                let scaled = if self.rng.chance(0.5) {
                    format!("{} * {error}", self.any_gate(earlier))
                } else {
                    format!("({} .* {error})", self.vector_gate(rows))
                };
                self.with_writes(format!("{kept} + {scaled} * {unit}^T"), rows, cols, earlier, writes - 1)
            }
            // two steps of the delta rule in one token
            5 => {
                let step = |s: &mut Self, from: String| {
                    let (unit, gate, value) = (s.unit(cols), s.gate(), s.write_vector(rows, earlier));
                    format!("{from} * (I - {gate} * {unit} * {unit}^T) + {gate} * {value} * {unit}^T")
                };
                let first = step(self, kept);
                let first = self.bind("m", first);
                step(self, first)
            }
            // erasure on the row side
            6 => {
                let (unit, gate) = (self.unit(rows), self.gate());
                let first = format!("(I - {gate} * {unit} * {unit}^T) * {kept}");
                self.with_writes(first, rows, cols, earlier, writes)
            }
            // a gate per column in the erasing vector
            7 => {
                let (unit, gate, decay) = (self.unit(cols), self.vector_gate(cols), self.vector_decay(cols));
                let previous = format!("{}[t-1]", state_name(index));
                let first = format!("{previous} * (diag({decay}) - {unit} * ({gate} .* {unit})^T)");
                self.with_writes(first, rows, cols, earlier, writes)
            }
            // an own readout with a small coefficient, elsewhere than it was read
            _ => {
                let (read, write, gate) = (self.unit(cols), self.unit(cols), self.gate());
                let first = format!("{kept} - 0.3 * {gate} * ({kept} * {read}) * {write}^T");
                self.with_writes(first, rows, cols, earlier, writes)
            }
        }
    }

    fn decayed(&mut self, index: usize, rows: Side, cols: Side) -> String {
        let mut kept = format!("{}[t-1]", state_name(index));
        let mut any = false;
        if self.rng.chance(0.35) {
            kept = format!("diag({}) * {kept}", self.vector_decay(rows));
            any = true;
        }
        if self.rng.chance(0.35) {
            kept = format!("{kept} * diag({})", self.vector_decay(cols));
            any = true;
        }
        if self.rng.chance(if any { 0.3 } else { 0.85 }) {
            kept = format!("{} * {kept}", self.decay());
        }
        format!("({kept})")
    }

    fn with_writes(&mut self, first: String, rows: Side, cols: Side, earlier: &[usize], writes: usize) -> String {
        let mut sum = first;
        for _ in 0..writes {
            let gate = self.any_gate(earlier);
            let column = self.write_vector(rows, earlier);
            let row = self.unit_of_states(cols, earlier);
            let sign = if self.rng.chance(0.2) { "-" } else { "+" };
            sum = format!("{sum} {sign} {gate} * {column} * {row}^T");
        }
        sum
    }

    /// What is written: a value, or what earlier states make of one.
    fn write_vector(&mut self, side: Side, earlier: &[usize]) -> String {
        if self.rng.chance(0.5)
            && let Some(read) = self.tamed_readout(side, earlier)
        {
            return self.bind("r", read);
        }
        self.value(side)
    }

    /// Where it is written to: of at most unit length, now and then made of earlier states' readouts.
    fn unit_of_states(&mut self, side: Side, earlier: &[usize]) -> String {
        if self.rng.chance(0.15)
            && let Some(read) = self.readout(side, earlier)
        {
            return self.bind("n", format!("l2norm(tanh({read}), 0.1)"));
        }
        self.unit(side)
    }

    /// One output: a column of some state's side or of values, or a scalar.
    pub fn output(&mut self, index: usize) {
        let all: Vec<usize> = (0..self.shapes.len()).collect();
        let shape = self.shapes[self.rng.below(all.len())];
        let side = if self.rng.chance(0.6) { Side::Value } else { shape.rows.unwrap_or(shape.cols) };
        let mut terms: Vec<String> = vec![];
        for _ in 0..1 + self.rng.below(3) {
            let term = match self.readout(side, &all) {
                Some(read) if self.rng.chance(0.2) => format!("tanh({read})"),
                Some(read) => read,
                None => self.value(side),
            };
            terms.push(match self.rng.below(4) {
                0 => format!("{} * ({term})", self.gate()),
                1 => format!("{} .* ({term})", self.vector_gate(side)),
                _ => format!("({term})"),
            });
        }
        let mut value = terms.join(" + ");
        value = match self.rng.below(8) {
            0 => format!("silu({value})"),
            1 => {
                let read = self.readout(side, &all).unwrap_or_else(|| self.value(side));
                format!("({value}) / (1 + sq(sum({read})))")
            }
            2 => format!("l2norm({value}, 0.1)"),
            3 => {
                let other = self.value(side);
                format!("dot({value}, {other})")
            }
            _ => value,
        };
        self.statement(&format!("output o{index} = {value}"));
    }
}
