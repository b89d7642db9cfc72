//! Exact cases: small integers throughout, so that every type and every order of summation gives the same bits.
//!
//! For variants whose maps are clamp, relu, sq, abs and the decay's exp: keys are signed one-hot, other vectors integers,
//! states zero, log decays 0 with some of -inf, gates 0 or 1, constants integers, cotangents integers.
use super::Rng;
use rla_codegen::data::{Cotangents, Inputs};
use rla_codegen::oracle::{Misfit, magnitudes, shape};
use rla_dsl::recurrence::{Domain, ExprId, ExprKind, Input, InputKind, Recurrence, Side, StatementKind};

/// The longest exact case.
pub const MOST_TOKENS: usize = 64;
/// No operand of a product is larger: bf16 holds every integer up to it.
const LARGEST_OPERAND: f64 = 256.0;
/// No sum is larger: f32 holds every integer up to it.
const LARGEST_SUM: f64 = (1u64 << 24) as f64;
/// Draws before a variant counts as having no exact case.
const ATTEMPTS: usize = 200;

/// An exact case with the sizes (and packing) of `plan`, or `None` where no draw is exact: the variant has another map, or its
/// numbers grow too large. Only `plan`'s sizes and offsets are looked at.
pub fn case(
    recurrence: &Recurrence,
    plan: &super::Plan,
    rng: &mut Rng,
) -> Result<Option<(Inputs, Cotangents)>, Misfit> {
    let keys = keys(recurrence);
    for attempt in 0..ATTEMPTS {
        // smaller integers where larger ones kept growing too large
        let most = 4 - 3 * attempt as i64 / ATTEMPTS as i64;
        let (inputs, cotangents) = draw(recurrence, plan, &keys, most, rng);
        let found = magnitudes(recurrence, &inputs, &cotangents)?;
        if !found.fractions && found.operand <= LARGEST_OPERAND && found.sum <= LARGEST_SUM {
            return Ok(Some((inputs, cotangents)));
        }
    }
    Ok(None)
}

fn draw(recurrence: &Recurrence, plan: &super::Plan, keys: &[bool], most: i64, rng: &mut Rng) -> (Inputs, Cotangents) {
    let dims = &plan.dims;
    let consts = recurrence.const_defaults(&dims.sizes);
    let mut tensors = vec![];
    for (decl, &key) in recurrence.inputs.iter().zip(keys) {
        let width = decl.side.map_or(1, |side| dims.sizes[side.0 as usize]);
        let mut data = vec![0.0; shape::input(decl, dims).iter().product()];
        for row in data.chunks_exact_mut(width) {
            // a key of a small range stands for a small change of the state: left out of most tokens, it stays one
            if key && (whole(decl) || rng.chance(0.125)) {
                row[rng.below(width)] = *rng.pick(&[1.0, -1.0]);
            } else if !key {
                row.iter_mut().for_each(|x| *x = element(decl, most, rng));
            }
        }
        tensors.push(data);
    }
    let inputs = Inputs {
        dims: dims.clone(),
        consts: consts.into_iter().map(|x| if x.fract() == 0.0 { x } else { 1.0 }).collect(),
        tensors,
        states: vec![None; recurrence.states.len()],
        cu_seqlens: plan.cu_seqlens.clone(),
    };
    let sequences = inputs.sequence_count();
    let mut small = |shape: Vec<usize>| Some((0..shape.iter().product()).map(|_| rng.integer(-2, 2) as f64).collect());
    let cotangents = Cotangents {
        outputs: (0..recurrence.outputs.len()).map(|i| small(shape::output(recurrence, i, dims))).collect(),
        states: recurrence.states.iter().map(|s| small(shape::state(s, dims, sequences))).collect(),
    };
    (inputs, cotangents)
}

/// Whether the domain reaches 1.
fn whole(decl: &Input) -> bool {
    !matches!(decl.domain, Domain::Range(_, high) if high < 1.0)
}

fn element(decl: &Input, most: i64, rng: &mut Rng) -> f64 {
    match (decl.domain, decl.kind) {
        (Domain::Range(f64::NEG_INFINITY, 0.0), InputKind::Input) if rng.below(16) == 0 => f64::NEG_INFINITY,
        (Domain::Range(f64::NEG_INFINITY, 0.0), _) => 0.0,
        // a decay that is a parameter stands in linear space, where 0 is 1e-20
        (Domain::Range(_, high), InputKind::Param) => high.min(1.0).floor(),
        (Domain::Range(low, high), _) => {
            let (low, high) = (low.max(-1.0).ceil() as i64, high.min(1.0).floor() as i64);
            if low <= high { rng.integer(low, high) as f64 } else { low as f64 }
        }
        _ => rng.integer(-most, most) as f64,
    }
}

/// Which inputs are keys: on the key side, and some state is built from them (a query is only read with).
fn keys(recurrence: &Recurrence) -> Vec<bool> {
    let mut reached = vec![false; recurrence.exprs.len()];
    let assigned = |s: &&rla_dsl::recurrence::Statement| matches!(s.kind, StatementKind::Assign(_));
    let mut waiting: Vec<ExprId> = recurrence.statements.iter().filter(assigned).map(|s| s.value).collect();
    let mut keys = vec![false; recurrence.inputs.len()];
    while let Some(id) = waiting.pop() {
        if std::mem::replace(&mut reached[id.0 as usize], true) {
            continue;
        }
        match &recurrence.expr(id).kind {
            ExprKind::Input(i) => {
                let decl = &recurrence.inputs[*i];
                keys[*i] = decl.side == Some(Side::KEY) && !decl.gate && decl.kind == InputKind::Input;
            }
            ExprKind::Let(i) => waiting.push(recurrence.statements[*i].value),
            ExprKind::Negate(a) | ExprKind::Transpose(a) => waiting.push(*a),
            ExprKind::Add(a, b)
            | ExprKind::Subtract(a, b)
            | ExprKind::Multiply(a, b)
            | ExprKind::Hadamard(a, b)
            | ExprKind::Divide(a, b) => waiting.extend([*a, *b]),
            ExprKind::Call(_, args) => waiting.extend(args),
            _ => {}
        }
    }
    keys
}
