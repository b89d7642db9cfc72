//! Inputs, gates, vectors and readouts that statements are mixed from. Each is created once or used again.
use super::Side;
use super::states::Shape;
use rla_runtime::draw::Rng;
use std::fmt::Write;

/// Names that are keywords in Rust, C++ or elsewhere in the grammar, but names like any other here.
const ODD_NAMES: [&str; 19] = [
    "float", "int", "fn", "struct", "template", "impl", "class", "double", "x", "unit", "key", "value", "scalar",
    "gate", "match", "self", "inf", "in", "S0x",
];

pub(super) struct Ingredients {
    pub rng: Rng,
    pub shapes: Vec<Shape>,
    pub rank: Vec<usize>,
    /// How many states are assigned.
    pub assigned: usize,
    declarations: String,
    body: String,
    names: usize,
    odd: Vec<&'static str>,
    units: Vec<(Side, String)>,
    values: Vec<(Side, String)>,
    gates: Vec<String>,
    vector_gates: Vec<(Side, String)>,
    decays: Vec<String>,
    vector_decays: Vec<(Side, String)>,
}

impl Ingredients {
    pub fn new(rng: Rng, shapes: Vec<Shape>, rank: Vec<usize>) -> Ingredients {
        Ingredients {
            rng,
            shapes,
            rank,
            assigned: 0,
            declarations: String::new(),
            body: String::new(),
            names: 0,
            odd: ODD_NAMES.to_vec(),
            units: vec![],
            values: vec![],
            gates: vec![],
            vector_gates: vec![],
            decays: vec![],
            vector_decays: vec![],
        }
    }

    /// The whole text.
    pub fn finish(self, seed: u64, slot: bool) -> String {
        let dims = if slot { "    dim slot;\n" } else { "" };
        let mut states = String::new();
        for (i, shape) in self.shapes.iter().enumerate() {
            writeln!(states, "    state {}: {};", state_name(i), shape.declaration()).expect("a string takes any text");
        }
        format!("variant random_{seed} {{\n{dims}{}{states}{}}}\n", self.declarations, self.body)
    }

    fn name(&mut self, prefix: &str) -> String {
        if !self.odd.is_empty() && self.rng.chance(0.1) {
            let index = self.rng.below(self.odd.len());
            return self.odd.swap_remove(index).to_string();
        }
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn declare(&mut self, word: &str, prefix: &str, rest: &str) -> String {
        let name = self.name(prefix);
        writeln!(self.declarations, "    {word} {name}: {rest};").expect("a string takes any text");
        name
    }

    fn constant(&mut self, value: &str) -> String {
        let name = self.name("c");
        writeln!(self.declarations, "    const {name} = {value};").expect("a string takes any text");
        name
    }

    /// The expression itself, or a `let` of it.
    pub fn bind(&mut self, prefix: &str, expr: String) -> String {
        if self.rng.chance(0.5) {
            return format!("({expr})");
        }
        let name = self.name(prefix);
        self.statement(&format!("let {name} = {expr}"));
        name
    }

    pub fn statement(&mut self, text: &str) {
        writeln!(self.body, "    {text};").expect("a string takes any text");
    }

    fn again<T: Clone>(&mut self, pool: &[T]) -> Option<T> {
        if pool.is_empty() || self.rng.chance(0.4) { None } else { Some(self.rng.pick(pool).clone()) }
    }

    fn again_of(&mut self, pool: &[(Side, String)], side: Side) -> Option<String> {
        let of_side: Vec<String> = pool.iter().filter(|(s, _)| *s == side).map(|(_, name)| name.clone()).collect();
        self.again(&of_side)
    }

    /// A column of at most unit length, free of states.
    pub fn unit(&mut self, side: Side) -> String {
        let pool = self.units.clone();
        if let Some(unit) = self.again_of(&pool, side) {
            return unit;
        }
        let word = side.word();
        let unit = match self.rng.below(6) {
            0 => {
                let raw = self.declare("input", "n", word);
                let map = *self.rng.pick(&["silu", "tanh", "sigmoid", "softplus"]);
                self.bind("n", format!("l2norm({map}({raw}), 0.000001)"))
            }
            1 => {
                let raw = self.declare("input", "n", word);
                self.bind("n", format!("softmax({raw})"))
            }
            2 if side == Side::Key => self.declare("input", "k", "gate key unit"),
            _ => self.declare("input", "k", &format!("{word} unit")),
        };
        self.units.push((side, unit.clone()));
        unit
    }

    /// A column of any length, free of states.
    pub fn value(&mut self, side: Side) -> String {
        let pool = self.values.clone();
        if let Some(value) = self.again_of(&pool, side) {
            return value;
        }
        let word = side.word();
        let value = match self.rng.below(8) {
            0 => {
                let raw = self.declare("input", "v", word);
                let map = *self.rng.pick(&["silu", "tanh", "sq"]);
                self.bind("v", format!("{map}({raw})"))
            }
            1 => {
                let raw = self.declare("input", "v", word);
                let gate = self.vector_gate(side);
                self.bind("v", format!("{raw} .* {gate}"))
            }
            2 => {
                let raw = self.declare("input", "v", word);
                let bias = self.declare("param", "p", word);
                self.bind("v", format!("{raw} + {bias}"))
            }
            _ => self.declare("input", "v", word),
        };
        self.values.push((side, value.clone()));
        value
    }

    /// A scalar between 0 and 1, free of states.
    pub fn gate(&mut self) -> String {
        let pool = self.gates.clone();
        if let Some(gate) = self.again(&pool) {
            return gate;
        }
        let gate = match self.rng.below(6) {
            0 => {
                let raw = self.declare("input", "w", "scalar");
                let bias = self.declare("param", "p", "scalar");
                self.bind("b", format!("sigmoid({raw} + {bias})"))
            }
            1 => self.constant("0.5"),
            2 => {
                let gate = self.declare("input", "b", "scalar in 0..1");
                self.bind("b", format!("1 - {gate}"))
            }
            _ => self.declare("input", "b", "scalar in 0..1"),
        };
        self.gates.push(gate.clone());
        gate
    }

    /// A column of numbers between 0 and 1, free of states.
    pub fn vector_gate(&mut self, side: Side) -> String {
        let pool = self.vector_gates.clone();
        if let Some(gate) = self.again_of(&pool, side) {
            return gate;
        }
        let word = side.word();
        let gate = if self.rng.chance(0.5) {
            let raw = self.declare("input", "w", &format!("gate {word}"));
            self.bind("b", format!("sigmoid({raw})"))
        } else {
            self.declare("input", "b", &format!("gate {word} in 0..1"))
        };
        self.vector_gates.push((side, gate.clone()));
        gate
    }

    /// A scalar decay between 0 and 1.
    pub fn decay(&mut self) -> String {
        let pool = self.decays.clone();
        if let Some(decay) = self.again(&pool) {
            return decay;
        }
        let decay = match self.rng.below(9) {
            0 => self.declare("input", "a", "scalar in 0..1"),
            1 => {
                let raw = self.declare("input", "w", "scalar");
                self.bind("a", format!("sigmoid({raw})"))
            }
            2 => {
                let raw = self.declare("input", "w", "scalar");
                let (rate, bias) = (self.declare("param", "p", "scalar"), self.declare("param", "p", "scalar"));
                self.bind("a", format!("exp(-exp({rate}) * softplus({raw} + {bias}))"))
            }
            3 => self.declare("param", "p", "scalar in 0.8..1"),
            4 => self.constant("0.95"),
            5 => {
                let (log, raw) =
                    (self.declare("input", "g", "scalar in -inf..0"), self.declare("input", "w", "scalar"));
                self.bind("a", format!("exp({log} - 0.1 * sq({raw}))"))
            }
            _ => {
                let log = self.declare("input", "g", "scalar in -inf..0");
                self.bind("a", format!("exp({log})"))
            }
        };
        self.decays.push(decay.clone());
        decay
    }

    /// A column of decays.
    pub fn vector_decay(&mut self, side: Side) -> String {
        let pool = self.vector_decays.clone();
        if let Some(decay) = self.again_of(&pool, side) {
            return decay;
        }
        let word = side.word();
        let decay = match self.rng.below(5) {
            0 => self.declare("input", "a", &format!("gate {word} in 0..1")),
            1 => {
                let raw = self.declare("input", "w", &format!("gate {word}"));
                self.bind("a", format!("sigmoid({raw})"))
            }
            2 => {
                let log = self.declare("input", "g", &format!("gate {word} in -inf..0"));
                let scalar = self.decay();
                self.bind("a", format!("exp({log}) .* {scalar}"))
            }
            _ => {
                let log = self.declare("input", "g", &format!("gate {word} in -inf..0"));
                self.bind("a", format!("exp({log})"))
            }
        };
        self.vector_decays.push((side, decay.clone()));
        decay
    }

    /// How a state is read: after its assignment at t or t-1, before it at t-1.
    pub fn state(&mut self, index: usize) -> String {
        let current = index < self.assigned && self.rng.chance(0.5);
        format!("{}[{}]", state_name(index), if current { "t" } else { "t-1" })
    }

    /// A readout along `side` of one of the `allowed` states.
    pub fn readout(&mut self, side: Side, allowed: &[usize]) -> Option<String> {
        let of_side = |i: &&usize| self.shapes[**i].cols == side || self.shapes[**i].rows == Some(side);
        let choices: Vec<usize> = allowed.iter().filter(of_side).copied().collect();
        if choices.is_empty() {
            return None;
        }
        let index = *self.rng.pick(&choices);
        let (shape, state) = (self.shapes[index], self.state(index));
        Some(match shape.rows {
            None => state,
            Some(rows) if rows == side => {
                let unit = self.unit(shape.cols);
                format!("{state} * {unit}")
            }
            Some(rows) => {
                let unit = self.unit(rows);
                format!("{state}^T * {unit}")
            }
        })
    }

    /// A readout's image of moderate size: through clip, tanh, sigmoid, softmax ..., against a value or not.
    pub fn tamed_readout(&mut self, side: Side, allowed: &[usize]) -> Option<String> {
        let read = self.readout(side, allowed)?;
        Some(match self.rng.below(10) {
            0..=2 => {
                let bound = *self.rng.pick(&["0.5", "1.0", "1.5"]);
                let (value, clip) = (self.value(side), self.constant(bound));
                format!("clamp({value} - {read}, -{clip}, {clip})")
            }
            3 | 4 => format!("tanh({read})"),
            5 => {
                let value = self.value(side);
                format!("{value} .* sigmoid({read})")
            }
            6 => format!("softmax({read})"),
            7 => {
                let value = self.value(side);
                format!("tanh({value} - {read})")
            }
            8 => format!("l2norm({read}, 0.1)"),
            _ => {
                let value = self.value(side);
                format!("({value} - {read})")
            }
        })
    }

    /// A scalar between 0 and 1 that may look at earlier states.
    pub fn any_gate(&mut self, allowed: &[usize]) -> String {
        if allowed.is_empty() || self.rng.chance(0.8) {
            return self.gate();
        }
        let index = *self.rng.pick(allowed);
        let shape = self.shapes[index];
        let read = self.readout(shape.cols, &[index]).expect("a state is read along its own side");
        let unit = self.unit(shape.cols);
        self.bind("b", format!("sigmoid(dot({read}, {unit}))"))
    }
}

impl Side {
    pub fn word(self) -> &'static str {
        match self {
            Side::Key => "key",
            Side::Value => "value",
            Side::Slot => "slot",
        }
    }
}

pub(super) fn state_name(index: usize) -> String {
    ["S", "R", "Z"][index].to_string()
}
