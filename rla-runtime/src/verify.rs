//! The ladder and the laws of a variant on this machine: random cases against the oracle, decode against it, cases that are
//! exact, and every law.
use crate::case::{Case, Results};
use crate::draw::{self, Gates, Keys, Plan, Rejection, Rng, exact};
use crate::error::{Error, Result};
use crate::ladder::{self, Outcome, Setting};
use crate::laws;
use crate::op::{Backend, Mode, Operation};
use rla_codegen::data::Dims;
use rla_dsl::recurrence::Recurrence;

/// One row of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// The rung or the law.
    pub check: String,
    /// Cases that were run.
    pub cases: usize,
    /// Draws that were rejected: a state grew, a kink could not be kept away from, or the definition itself is ill-posed there.
    pub rejected: usize,
    /// The largest error over its bound; `None` for what holds bit for bit.
    pub worst: Option<f64>,
    /// Whether every case passed; a check without cases has not.
    pub passed: bool,
    /// What failed first, or why there is no case.
    pub remark: String,
}

const EXACT: &str = "exact integers";

/// Sizes and data of one random case.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    key: usize,
    value: usize,
    tokens: usize,
    heads: (usize, usize),
    sequences: usize,
    gates: Gates,
    keys: Keys,
}

/// Lengths beside multiples of the chunk, sizes beside multiples of a panel and as models have them, grouped heads, packings, hard gates and keys.
const SHAPES: [Shape; 10] = {
    let plain = Shape {
        name: "plain",
        key: 16,
        value: 24,
        tokens: 70,
        heads: (1, 2),
        sequences: 0,
        gates: Gates::Weak,
        keys: Keys::Independent,
    };
    [
        Shape { name: "odd sizes", key: 5, value: 37, tokens: 33, heads: (2, 2), ..plain },
        Shape { name: "one token", tokens: 1, ..plain },
        Shape { name: "no token", tokens: 0, ..plain },
        Shape { name: "packed", sequences: 5, ..plain },
        // on a card sequential blocks are wider where there are many sequences
        Shape { name: "many sequences", value: 64, tokens: 500, sequences: 24, ..plain },
        Shape { name: "most sequences", value: 64, tokens: 900, sequences: 60, ..plain },
        Shape { name: "full panels", key: 128, value: 128, sequences: 3, ..plain },
        Shape { name: "strong decay", gates: Gates::Strong, ..plain },
        Shape { name: "abyss", gates: Gates::Abyss, ..plain },
        Shape { name: "repeated keys", keys: Keys::Repeated, ..plain },
    ]
};

/// Decode takes its tokens one by one: rows that fill vectors and rows that do not, one head a key head and several.
const DECODE: [Shape; 3] = {
    let plain = Shape { name: "decode", tokens: 9, ..SHAPES[0] };
    [
        Shape { tokens: 33, ..plain },
        Shape { name: "decode, large", key: 128, value: 64, heads: (2, 4), ..plain },
        Shape { name: "decode, larger", key: 200, value: 100, heads: (1, 1), gates: Gates::Abyss, ..plain },
    ]
};

impl Shape {
    fn plan(&self, recurrence: &Recurrence, rng: &mut Rng) -> Plan {
        let mut sizes = vec![self.key, self.value];
        sizes.resize(recurrence.sides.len(), 11);
        let packed = self.sequences > 0;
        let (batch, (key_heads, value_heads)) = (if packed { 1 } else { 2 }, self.heads);
        let dims = Dims { sizes, batch, tokens: self.tokens, key_heads, value_heads };
        let cu_seqlens = packed.then(|| draw::packing(self.tokens, self.sequences, rng));
        Plan { dims, cu_seqlens, gates: self.gates, keys: self.keys, initial_states: true }
    }
}

/// The distance that random cases keep from kinks.
fn distance(setting: &Setting) -> f64 {
    if setting.dtype.is_half() { draw::KINK_DISTANCE_16_BIT } else { draw::KINK_DISTANCE }
}

/// Which calls a random case is put through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// Forward that keeps nothing.
    Forward,
    /// Forward that keeps, and backward.
    Training,
    /// Decode, token by token.
    Decode,
}

/// Everything that `wanted` wants by its name, `seeds` times each. `progress` is told each check before it runs.
pub fn verify(
    operation: &Operation,
    setting: &Setting,
    seeds: u64,
    wanted: impl Fn(&str) -> bool,
    progress: impl FnMut(&str),
) -> Result<Vec<Row>> {
    let mut rows = vec![];
    each(operation, setting, seeds, wanted, progress, |row| {
        rows.push(row);
        true
    })?;
    Ok(rows)
}

/// The same up to the first row that has not passed.
pub fn until_one_fails(operation: &Operation, setting: &Setting, seeds: u64) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = vec![];
    each(
        operation,
        setting,
        seeds,
        |_| true,
        |_| (),
        |row| {
            rows.push(row);
            rows.iter().all(|row| row.passed)
        },
    )?;
    Ok(rows)
}

/// Tells `row` every row; it says whether to go on.
fn each(
    operation: &Operation,
    setting: &Setting,
    seeds: u64,
    wanted: impl Fn(&str) -> bool,
    mut progress: impl FnMut(&str),
    mut row: impl FnMut(Row) -> bool,
) -> Result<()> {
    // the laws are those of this mode
    let operation = &operation.clone().with_mode(Mode::Invariant)?;
    for shape in SHAPES.iter().filter(|shape| wanted(shape.name)) {
        progress(shape.name);
        if !row(random(operation, setting, shape, seeds, false)?) {
            return Ok(());
        }
    }
    for shape in DECODE.iter().filter(|shape| wanted(shape.name)) {
        progress(shape.name);
        if !row(random(operation, setting, shape, seeds, true)?) {
            return Ok(());
        }
    }
    if wanted(EXACT) {
        progress(EXACT);
        if let Some(exact) = exact_cases(operation, setting, seeds)?
            && !row(exact)
        {
            return Ok(());
        }
    }
    for (name, law) in laws::of(operation).filter(|(name, _)| wanted(&format!("law: {name}"))) {
        progress(name);
        let mut held = Row {
            check: format!("law: {name}"),
            cases: 0,
            rejected: 0,
            worst: None,
            passed: true,
            remark: String::new(),
        };
        for seed in 0..seeds {
            held.cases += 1;
            if let Some(broken) = law(operation, setting, seed)? {
                held.passed = false;
                held.remark = format!("{broken}, seed {seed}");
                break;
            }
        }
        if !row(held) {
            return Ok(());
        }
    }
    Ok(())
}

/// Random cases of given sizes (K, V, declared dims), two heads that share keys, packed: what a kernel that was compiled for these
/// sizes has to pass before it is timed. Each is computed twice, and the bits must be equal.
pub fn of_sizes(operation: &Operation, setting: &Setting, sizes: &[usize], calls: Calls) -> Result<Vec<Row>> {
    let mut rows = vec![];
    let decode = calls == Calls::Decode;
    for shape in SHAPES.iter().filter(|shape| ["packed", "abyss", "repeated keys"].contains(&shape.name)) {
        // decode's sequences are not packed
        let (tokens, sequences) = if decode { (9, 0) } else { (shape.tokens, 3) };
        let shape = Shape { key: sizes[0], value: sizes[1], tokens, sequences, ..*shape };
        rows.push(sized(operation, setting, &shape, sizes, 1, calls)?);
    }
    Ok(rows)
}

/// Random cases of given sizes (K, V, declared dims) of so many sequences, in the operation's own mode: plain ones and packed ones.
pub fn of_heads(
    operation: &Operation,
    setting: &Setting,
    sizes: &[usize],
    sequences: usize,
    calls: Calls,
) -> Result<Vec<Row>> {
    let shapes = SHAPES.iter().filter(|shape| ["packed", "strong decay"].contains(&shape.name));
    let each = shapes.map(|shape| {
        // decode's sequences are not packed
        let (tokens, sequences) = if calls == Calls::Decode { (9, 0) } else { (shape.tokens, sequences) };
        let shape = Shape { key: sizes[0], value: sizes[1], tokens, sequences, ..*shape };
        sized(operation, setting, &shape, sizes, 1, calls)
    });
    each.collect()
}

fn random(operation: &Operation, setting: &Setting, shape: &Shape, seeds: u64, decode: bool) -> Result<Row> {
    sized(operation, setting, shape, &[], seeds, if decode { Calls::Decode } else { Calls::Training })
}

fn sized(
    operation: &Operation,
    setting: &Setting,
    shape: &Shape,
    sizes: &[usize],
    seeds: u64,
    calls: Calls,
) -> Result<Row> {
    let recurrence = operation.recurrence();
    let check = shape.name.to_string();
    let mut row = Row { check, cases: 0, rejected: 0, worst: Some(0.0), passed: true, remark: String::new() };
    let mut off: Option<String> = None;
    for seed in 0..4 * seeds {
        if row.cases as u64 == seeds {
            break;
        }
        let mut rng = Rng::new(seed);
        let mut plan = shape.plan(recurrence, &mut rng);
        for (size, given) in plan.dims.sizes.iter_mut().zip(sizes) {
            *size = *given;
        }
        let inputs = match draw::inputs(recurrence, &plan, distance(setting), &mut rng) {
            Ok((inputs, _)) => inputs,
            Err(Rejection::Misfit(m)) => return Err(Error::argument(m.what, m.expected, m.found)),
            Err(_) => {
                row.rejected += 1;
                continue;
            }
        };
        let mut cotangents = draw::cotangents(recurrence, &inputs, &mut rng);
        if calls != Calls::Training {
            cotangents.outputs.iter_mut().chain(&mut cotangents.states).for_each(|c| *c = None);
        }
        let case = Case { inputs, cotangents, results: Results::default() };
        let outcome = match calls {
            Calls::Decode => ladder::evaluate_decode(operation, &case, setting)?,
            Calls::Forward | Calls::Training => ladder::evaluate(operation, &case, setting)?,
        };
        // asked only where it matters: the answer does not depend on the kernel
        if !outcome.passed && ladder::ill_posed(operation, &case, setting)? {
            row.rejected += 1;
            off = off.or_else(|| outcome.lines.iter().find(|line| !line.passed).map(|line| line.name.clone()));
            continue;
        }
        row.cases += 1;
        add(&mut row, &outcome, seed);
        if !sizes.is_empty()
            && row.passed
            && !ladder::repeats(operation, &case, setting, &outcome, calls == Calls::Decode)?
        {
            (row.passed, row.remark) = (false, format!("a second run differs, seed {seed}"));
        }
    }
    if row.cases == 0 {
        row.passed = false;
        let off = off.map(|name| format!("; {name} was off on one that no arithmetic of its type can hold"));
        row.remark = format!("every draw was rejected{}", off.unwrap_or_default());
    }
    Ok(row)
}

fn add(row: &mut Row, outcome: &Outcome, seed: u64) {
    for line in &outcome.lines {
        let ratio = line.error.map_or(0.0, |error| error / line.bound);
        let worst = row.worst.get_or_insert(0.0);
        if ratio > *worst || ratio.is_nan() {
            *worst = ratio;
        }
        if !line.passed && row.passed {
            row.passed = false;
            row.remark = format!("{}, seed {seed}", line.name);
        }
    }
}

/// Small integers, where the result is known to the last bit. No row where the variant has no exact case.
fn exact_cases(operation: &Operation, setting: &Setting, seeds: u64) -> Result<Option<Row>> {
    let recurrence = operation.recurrence();
    let mut row = Row { check: EXACT.into(), cases: 0, rejected: 0, worst: None, passed: true, remark: String::new() };
    let oracle = Operation::new(recurrence.clone(), Backend::Oracle)?;
    for seed in 0..seeds {
        let mut rng = Rng::new(seed);
        let shape = Shape { key: 6, value: 5, tokens: exact::MOST_TOKENS, ..SHAPES[0] };
        let plan = shape.plan(recurrence, &mut rng);
        let refused = |m: rla_codegen::oracle::Misfit| Error::argument(m.what, m.expected, m.found);
        let Some((inputs, cotangents)) = exact::case(recurrence, &plan, &mut rng).map_err(refused)? else {
            return Ok(None);
        };
        let case = Case { inputs, cotangents, results: Results::default() };
        let (outputs, gradients) = ladder::compute(operation, &case, setting)?;
        let (expected, expected_gradients) = ladder::compute(&oracle, &case, &Setting::of(Backend::Oracle))?;
        row.cases += 1;
        // -0 equals 0
        let mut pairs = vec![];
        let named = |prefix: &str, names: &mut dyn Iterator<Item = &String>, a: &[Vec<f64>], b: &[Vec<f64>]| {
            let each = names.zip(a.iter().zip(b));
            each.map(|(name, (x, y))| (format!("{prefix}.{name}"), x.clone(), y.clone())).collect::<Vec<_>>()
        };
        let states = || recurrence.states.iter().map(|s| &s.name);
        let inputs = || recurrence.inputs.iter().map(|i| &i.name);
        let names = || recurrence.outputs.iter();
        pairs.extend(named("out", &mut names(), &outputs.outputs, &expected.outputs));
        pairs.extend(named("out", &mut states(), &outputs.states, &expected.states));
        if let (Some(found), Some(expected)) = (&gradients, &expected_gradients) {
            pairs.extend(named("grad", &mut inputs(), &found.inputs, &expected.inputs));
            pairs.extend(named("grad", &mut states(), &found.states, &expected.states));
        }
        let differs = pairs.iter().find(|(_, x, y)| x != y);
        if let (Some((name, x, y)), true) = (differs, row.passed) {
            let at = x.iter().zip(y).position(|(x, y)| x != y).unwrap_or(0);
            row.passed = false;
            row.remark = format!("{name}[{at}] is {} and not {}, seed {seed}", x[at], y[at]);
        }
    }
    Ok(Some(row))
}
