//! Decay factors as log decays, and what can be shown of their range.

use rla_dsl::recurrence::{Domain, Recurrence};

use super::symbol::{Arena, Sym, SymKind, SymType};
use crate::tile::MapFn;

/// What stands beside a decay given in linear space, so that its logarithm is finite (DESIGN section 3).
pub const TINY: f64 = 1e-20;

/// A closed interval that holds every value of a symbol.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
}

const ALL: Interval = Interval { lo: f64::NEG_INFINITY, hi: f64::INFINITY };

fn interval(lo: f64, hi: f64) -> Interval {
    // inf - inf and 0 * inf tell nothing
    Interval { lo: if lo.is_nan() { f64::NEG_INFINITY } else { lo }, hi: if hi.is_nan() { f64::INFINITY } else { hi } }
}

fn monotone(x: Interval, f: impl Fn(f64) -> f64) -> Interval {
    interval(f(x.lo), f(x.hi))
}

fn hull(values: &[f64]) -> Interval {
    // 0 * inf: the product of an exact zero is zero
    let clean: Vec<f64> = values.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).collect();
    interval(
        clean.iter().copied().fold(f64::INFINITY, f64::min),
        clean.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    )
}

/// The range of every symbol, from the domains of inputs, the defaults of constants and the functions.
pub fn ranges(recurrence: &Recurrence, arena: &Arena) -> Vec<Interval> {
    // sizes are at least 1; a constant that depends on one is taken at 1 and at a large size
    let small = recurrence.const_defaults(&vec![1; recurrence.sides.len()]);
    let large = recurrence.const_defaults(&vec![256; recurrence.sides.len()]);
    let mut out: Vec<Interval> = Vec::with_capacity(arena.len());
    for i in 0..arena.len() {
        let sym = Sym(i as u32);
        let at = |s: Sym| out[s.0 as usize];
        let range = match arena.kind(sym) {
            SymKind::Number(bits) => interval(f64::from_bits(*bits), f64::from_bits(*bits)),
            SymKind::Const(c) => interval(small[*c].min(large[*c]), small[*c].max(large[*c])),
            SymKind::Size(_) => interval(1.0, f64::INFINITY),
            SymKind::Input(index) => match recurrence.inputs[*index].domain {
                Domain::Any => ALL,
                Domain::Unit => interval(-1.0, 1.0),
                Domain::Range(lo, hi) => interval(lo, hi),
            },
            SymKind::Map(f, args) => map_range(arena, *f, args, &at),
            SymKind::Dot(a, b) if a == b => interval(0.0, f64::INFINITY),
            SymKind::Dot(a, b) if at(*a).lo >= 0.0 && at(*b).lo >= 0.0 => interval(0.0, f64::INFINITY),
            SymKind::Sum(a) if at(*a).lo >= 0.0 => interval(0.0, f64::INFINITY),
            SymKind::Sum(a) if at(*a).hi <= 0.0 => interval(f64::NEG_INFINITY, 0.0),
            SymKind::Softmax(_) => interval(0.0, 1.0),
            SymKind::L2norm(x, eps) => {
                let (x, most) = (at(*x), if at(*eps).lo >= 0.0 { 1.0 } else { f64::INFINITY });
                interval(if x.lo >= 0.0 { 0.0 } else { -most }, if x.hi <= 0.0 { 0.0 } else { most })
            }
            _ => ALL,
        };
        out.push(range);
    }
    out
}

fn map_range(arena: &Arena, f: MapFn, args: &[Sym], at: &impl Fn(Sym) -> Interval) -> Interval {
    let x = at(args[0]);
    match f {
        MapFn::Add => {
            let y = at(args[1]);
            interval(x.lo + y.lo, x.hi + y.hi)
        }
        MapFn::Sub => {
            let y = at(args[1]);
            interval(x.lo - y.hi, x.hi - y.lo)
        }
        MapFn::Neg => interval(-x.hi, -x.lo),
        MapFn::Mul if args[0] == args[1] => square(x),
        MapFn::Mul => {
            let y = at(args[1]);
            hull(&[x.lo * y.lo, x.lo * y.hi, x.hi * y.lo, x.hi * y.hi])
        }
        MapFn::Div => {
            let y = at(args[1]);
            if y.lo > 0.0 || y.hi < 0.0 {
                hull(&[x.lo / y.lo, x.lo / y.hi, x.hi / y.lo, x.hi / y.hi])
            } else if y.lo >= 0.0 && x.lo >= 0.0 {
                interval(0.0, f64::INFINITY)
            } else {
                ALL
            }
        }
        MapFn::Exp => monotone(x, f64::exp),
        MapFn::Log => monotone(interval(x.lo.max(0.0), x.hi.max(0.0)), f64::ln),
        MapFn::Sqrt => monotone(interval(x.lo.max(0.0), x.hi.max(0.0)), f64::sqrt),
        MapFn::Rsqrt => interval(1.0 / x.hi.max(0.0).sqrt(), 1.0 / x.lo.max(0.0).sqrt()),
        MapFn::Sigmoid => monotone(x, |v| 1.0 / (1.0 + (-v).exp())),
        MapFn::LogSigmoid => interval(f64::NEG_INFINITY, 0.0),
        MapFn::Tanh => monotone(x, f64::tanh),
        MapFn::Silu if x.lo >= 0.0 => interval(0.0, x.hi),
        MapFn::Silu => interval(-0.2785, x.hi.max(0.0)),
        MapFn::Softplus => monotone(x, |v| v.max(0.0) + (-v.abs()).exp().ln_1p()),
        MapFn::Relu => interval(x.lo.max(0.0), x.hi.max(0.0)),
        MapFn::Abs => interval(
            if x.lo <= 0.0 && x.hi >= 0.0 { 0.0 } else { x.lo.abs().min(x.hi.abs()) },
            x.lo.abs().max(x.hi.abs()),
        ),
        MapFn::Sq => square(x),
        MapFn::Clamp => match (arena.as_number(args[1]), arena.as_number(args[2])) {
            (Some(lo), Some(hi)) => interval(x.lo.clamp(lo.min(hi), hi), x.hi.clamp(lo.min(hi), hi)),
            _ => interval(at(args[1]).lo, at(args[2]).hi),
        },
        MapFn::Inside | MapFn::Positive | MapFn::Sign | MapFn::Keep => ALL,
    }
}

fn square(x: Interval) -> Interval {
    let (a, b) = (x.lo * x.lo, x.hi * x.hi);
    interval(if x.lo <= 0.0 && x.hi >= 0.0 { 0.0 } else { a.min(b) }, a.max(b))
}

/// The logarithm of a decay factor: exact where the factor is an exponential, else `log(a + 1e-20)`. `None`: no decay.
pub fn log_of(arena: &mut Arena, factor: Sym) -> Option<Sym> {
    if arena.as_number(factor) == Some(1.0) {
        return None;
    }
    let span = arena.span(factor);
    Some(match arena.kind(factor).clone() {
        SymKind::Map(MapFn::Exp, args) => args[0],
        SymKind::Map(MapFn::Sigmoid, args) => arena.map(MapFn::LogSigmoid, &args, span),
        SymKind::Map(MapFn::Mul, args) => match (log_of(arena, args[0]), log_of(arena, args[1])) {
            (Some(a), Some(b)) => arena.plus(a, b, span),
            (a, b) => a.or(b)?,
        },
        _ => {
            let tiny = arena.number(TINY);
            let sum = arena.plus(factor, tiny, span);
            arena.map(MapFn::Log, &[sum], span)
        }
    })
}

/// Adds two log decays; scalars broadcast.
pub fn add_logs(arena: &mut Arena, a: Option<Sym>, b: Option<Sym>) -> Option<Sym> {
    match (a, b) {
        (Some(a), Some(b)) => {
            let span = arena.span(a);
            Some(arena.plus(a, b, span))
        }
        (a, b) => a.or(b),
    }
}

/// Whether a symbol is a scalar.
pub fn is_scalar(arena: &Arena, sym: Sym) -> bool {
    arena.ty(sym) == SymType::Scalar
}
