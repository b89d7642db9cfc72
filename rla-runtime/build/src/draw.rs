//! Random cases: inputs drawn as the declared domains say, with gates weak and strong, repeated keys, packings, and no
//! argument of a kink near it.
pub mod exact;
mod rng;

pub use rng::Rng;

use rla_codegen::data::{Cotangents, Dims, Inputs};
use rla_codegen::oracle::{self, Misfit, Site, Survey, shape};
use rla_dsl::recurrence::{Domain, Input, InputKind, Recurrence, Side};

/// Draws whose states exceed this are rejected.
pub const LARGEST_STATE: f64 = 1e4;
/// Distance of every argument from its kink, for f32.
pub const KINK_DISTANCE: f64 = 1e-4;
/// Distance of every argument from its kink, for 16-bit inputs.
pub const KINK_DISTANCE_16_BIT: f64 = 2e-2;

/// How log decays (`-inf..0`) are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gates {
    /// Near 0: a state lives for some tens of tokens.
    Weak,
    /// About e^-3 a token.
    Strong,
    /// Weak, with some of -1e4 and some of -inf, alone and three in a row.
    Abyss,
}

/// How key-side inputs relate from token to token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Drawn anew each token.
    Independent,
    /// One key throughout.
    Repeated,
    /// One key, moved by a thousandth each token.
    NearEqual,
}

/// What to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Sizes.
    pub dims: Dims,
    /// Offsets of packed sequences.
    pub cu_seqlens: Option<Vec<i64>>,
    /// Log decays.
    pub gates: Gates,
    /// Key-side inputs.
    pub keys: Keys,
    /// Whether initial states are given.
    pub initial_states: bool,
}

/// Why a draw was rejected.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// A state grew beyond [`LARGEST_STATE`].
    Unbounded(f64),
    /// A kink could not be moved away from.
    Stuck(Site),
    /// The plan does not fit the recurrence.
    Misfit(Misfit),
}

/// Random inputs of a call, and how often a token was moved away from a kink.
pub fn inputs(
    recurrence: &Recurrence,
    plan: &Plan,
    distance: f64,
    rng: &mut Rng,
) -> Result<(Inputs, Survey), Rejection> {
    let dims = &plan.dims;
    let mut inputs = Inputs {
        dims: dims.clone(),
        consts: recurrence.const_defaults(&dims.sizes),
        tensors: recurrence.inputs.iter().map(|input| tensor(input, plan, rng)).collect(),
        states: vec![None; recurrence.states.len()],
        cu_seqlens: plan.cu_seqlens.clone(),
    };
    if plan.initial_states {
        let sequences = inputs.sequence_count();
        for (decl, initial) in recurrence.states.iter().zip(&mut inputs.states) {
            let size: usize = shape::state(decl, dims, sequences).iter().product();
            *initial = Some((0..size).map(|_| 0.5 * rng.normal()).collect());
        }
    }
    let survey = keep_from_kinks(recurrence, &mut inputs, distance, rng)?;
    Ok((inputs, survey))
}

/// Standard normal cotangents of every output and final state.
pub fn cotangents(recurrence: &Recurrence, inputs: &Inputs, rng: &mut Rng) -> Cotangents {
    let (dims, sequences) = (&inputs.dims, inputs.sequence_count());
    let mut normal = |shape: Vec<usize>| Some((0..shape.iter().product()).map(|_| rng.normal()).collect());
    Cotangents {
        outputs: (0..recurrence.outputs.len()).map(|i| normal(shape::output(recurrence, i, dims))).collect(),
        states: recurrence.states.iter().map(|s| normal(shape::state(s, dims, sequences))).collect(),
    }
}

/// Offsets that cut `tokens` into `sequences` sequences at random; some are empty, one where it can has one token.
pub fn packing(tokens: usize, sequences: usize, rng: &mut Rng) -> Vec<i64> {
    let mut offsets: Vec<i64> = (1..sequences).map(|_| rng.below(tokens + 1) as i64).collect();
    if let [first, second, third, ..] = &mut offsets[..] {
        *second = *first;
        *third = (*first + 1).min(tokens as i64);
    }
    offsets.extend([0, tokens as i64]);
    offsets.sort_unstable();
    offsets
}

/// Moves the value inputs of every token that has an argument within `distance` of its kink, and rejects states that grow.
pub fn keep_from_kinks(
    recurrence: &Recurrence,
    inputs: &mut Inputs,
    distance: f64,
    rng: &mut Rng,
) -> Result<Survey, Rejection> {
    let dims = inputs.dims.clone();
    let values: Vec<usize> = (0..recurrence.inputs.len()).filter(|&i| movable(&recurrence.inputs[i], &dims)).collect();
    let mut shift = |tensors: &mut [Vec<f64>], site: Site| {
        for &i in &values {
            let width = dims.sizes[recurrence.inputs[i].side.map_or(0, |side| side.0 as usize)];
            let at = (site.position * dims.value_heads + site.head) * width;
            // the element that lies near, where it has one of its own: mostly a kink acts on a column of values
            let elements = if site.element < width { site.element..site.element + 1 } else { 0..width };
            elements.for_each(|e| tensors[i][at + e] += 0.3 * rng.normal());
            if rng.chance(0.25) {
                (0..width).for_each(|e| tensors[i][at + e] += 0.1 * rng.normal());
            }
        }
    };
    let survey = oracle::survey(recurrence, inputs, distance, &mut shift).map_err(Rejection::Misfit)?;
    match survey.stuck {
        Some(site) => Err(Rejection::Stuck(site)),
        None if survey.largest_state > LARGEST_STATE => Err(Rejection::Unbounded(survey.largest_state)),
        None => Ok(survey),
    }
}

/// A value input, or another vector that no other head reads, without a domain to leave.
fn movable(input: &Input, dims: &Dims) -> bool {
    let shared = input.per_key_head() && dims.key_heads != dims.value_heads;
    let own_head = input.kind == InputKind::Input && !shared;
    own_head && input.side.is_some() && !input.gate && input.domain == Domain::Any
}

/// One input's values.
pub fn tensor(input: &Input, plan: &Plan, rng: &mut Rng) -> Vec<f64> {
    let dims = &plan.dims;
    let shape = shape::input(input, dims);
    let width = input.side.map_or(1, |side| dims.sizes[side.0 as usize]);
    let heads = if input.per_key_head() { dims.key_heads } else { dims.value_heads };
    let mut data = vec![0.0; shape.iter().product()];
    for row in data.chunks_exact_mut(width) {
        draw_row(input, plan.gates, row, rng);
    }
    if input.per_key_head() && plan.keys != Keys::Independent {
        repeat(input, plan.keys, &mut data, heads * width, width, rng);
    }
    if plan.gates == Gates::Abyss && is_log_decay(input.domain) && input.kind == InputKind::Input {
        // three in a row somewhere, in every head
        let row = heads * width;
        let tokens = data.len() / row;
        if tokens > 3 {
            let start = rng.below(tokens - 3);
            data[start * row..(start + 3) * row].fill(f64::NEG_INFINITY);
        }
    }
    data
}

fn draw_row(input: &Input, gates: Gates, row: &mut [f64], rng: &mut Rng) {
    let n = row.len() as f64;
    match input.domain {
        Domain::Unit => unit(row, rng),
        domain if is_log_decay(domain) => row.iter_mut().for_each(|x| *x = log_decay(gates, rng)),
        Domain::Range(low, high) => row.iter_mut().for_each(|x| *x = in_range(low, high, rng)),
        Domain::Any => {
            // a key of about unit length: the delta rule leaves its stable range beyond sqrt(2 / beta)
            let size = match (input.kind, input.side) {
                (InputKind::Param, _) => 0.5,
                (_, Some(Side::KEY)) => 1.0 / n.sqrt(),
                _ => 1.0,
            };
            row.iter_mut().for_each(|x| *x = size * rng.normal());
        }
    }
}

fn unit(row: &mut [f64], rng: &mut Rng) {
    row.iter_mut().for_each(|x| *x = rng.normal());
    let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
    row.iter_mut().for_each(|x| *x /= norm);
}

fn is_log_decay(domain: Domain) -> bool {
    domain == Domain::Range(f64::NEG_INFINITY, 0.0)
}

fn log_decay(gates: Gates, rng: &mut Rng) -> f64 {
    match gates {
        Gates::Weak => -0.1 * rng.exponential(),
        Gates::Strong => -rng.between(2.0, 4.0),
        Gates::Abyss => match rng.below(16) {
            0 => f64::NEG_INFINITY,
            1 => -1e4,
            _ => -0.1 * rng.exponential(),
        },
    }
}

/// Between the bounds; finite ones are themselves drawn now and then.
fn in_range(low: f64, high: f64, rng: &mut Rng) -> f64 {
    match (low.is_finite(), high.is_finite()) {
        (true, true) => match rng.below(20) {
            0 => low,
            1 => high,
            _ => rng.between(low, high),
        },
        (true, false) => low + rng.exponential(),
        (false, true) => high - rng.exponential(),
        (false, false) => rng.normal(),
    }
}

/// Gives every token the first one's key, exactly or nearly.
fn repeat(input: &Input, keys: Keys, data: &mut [f64], stride: usize, width: usize, rng: &mut Rng) {
    for i in stride..data.len() {
        let moved = if keys == Keys::NearEqual { 1e-3 * rng.normal() } else { 0.0 };
        data[i] = data[i % stride] + moved;
    }
    if keys == Keys::NearEqual {
        for row in data.chunks_exact_mut(width) {
            match input.domain {
                Domain::Unit => {
                    let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
                    row.iter_mut().for_each(|x| *x /= norm);
                }
                Domain::Range(low, high) => row.iter_mut().for_each(|x| *x = x.max(low).min(high)),
                Domain::Any => {}
            }
        }
    }
}
