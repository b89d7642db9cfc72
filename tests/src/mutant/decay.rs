//! Rules about decays and sums between positions (DESIGN 3, numerical rules).
use super::{Rule, below, diagonal, ones, same, zeros};
use rla_codegen::tile::builder::Builder;
use rla_codegen::tile::{DecayKind, MapFn, Op, ScanKind, Value};

fn log_decay(op: &Op, wanted: DecayKind) -> Option<Value> {
    match op {
        Op::Decay(kind, g) if *kind == wanted => Some(*g),
        _ => None,
    }
}

/// Times the token's own decay, one token too many.
fn with_own(builder: &mut Builder, op: &Op, g: Value) -> Option<Value> {
    let (decay, own) = (same(builder, op), builder.map(MapFn::Exp, &[g]));
    Some(builder.mul(decay, own))
}

fn as_kind(builder: &mut Builder, kind: DecayKind, g: Value) -> Option<Value> {
    Some(builder.op_value(Op::Decay(kind, g)))
}

/// `L[t,s]` as cumulative sums subtracted, on and below the diagonal and above it.
fn difference(builder: &mut Builder, g: Value) -> Value {
    let before = builder.op_value(Op::Scan(ScanKind::Before, g));
    let through = builder.add(before, g);
    let through = builder.op_value(Op::Transpose(through));
    builder.map(MapFn::Sub, &[before, through])
}

/// The rules.
pub const RULES: [Rule; 24] = [
    Rule {
        name: "segment decay: the diagonal too",
        change: |b, op| {
            log_decay(op, DecayKind::Segment)?;
            let (segment, eye) = (same(b, op), diagonal(b));
            Some(b.add(segment, eye))
        },
    },
    Rule {
        name: "segment decay: one token late",
        change: |b, op| {
            let g = log_decay(op, DecayKind::Segment)?;
            with_own(b, op, g)
        },
    },
    Rule {
        name: "segment decay: one token early",
        change: |b, op| {
            let g = log_decay(op, DecayKind::Segment)?;
            let (segment, own) = (same(b, op), b.map(MapFn::Exp, &[g]));
            let own = b.op_value(Op::Transpose(own));
            Some(b.mul(segment, own))
        },
    },
    Rule { name: "segment decay: left out", change: |b, op| log_decay(op, DecayKind::Segment).map(|_| below(b)) },
    Rule {
        name: "segment decay: difference of cumulative sums",
        change: |b, op| {
            let g = log_decay(op, DecayKind::Segment)?;
            let log = difference(b, g);
            let all = b.map(MapFn::Exp, &[log]);
            Some(b.op_value(Op::StrictLower(all)))
        },
    },
    Rule {
        name: "segment decay: mask multiplied after exp",
        change: |b, op| {
            let g = log_decay(op, DecayKind::Segment)?;
            let log = difference(b, g);
            let (all, mask) = (b.map(MapFn::Exp, &[log]), below(b));
            Some(b.mul(all, mask))
        },
    },
    Rule {
        name: "prefix decay: the token's own too",
        change: |b, op| {
            let g = log_decay(op, DecayKind::Prefix)?;
            with_own(b, op, g)
        },
    },
    Rule { name: "prefix decay: left out", change: |b, op| log_decay(op, DecayKind::Prefix).map(|g| ones(b, g)) },
    Rule {
        name: "prefix decay: suffix instead",
        change: |b, op| log_decay(op, DecayKind::Prefix).and_then(|g| as_kind(b, DecayKind::Suffix, g)),
    },
    Rule {
        name: "suffix decay: the token's own too",
        change: |b, op| {
            let g = log_decay(op, DecayKind::Suffix)?;
            with_own(b, op, g)
        },
    },
    Rule { name: "suffix decay: left out", change: |b, op| log_decay(op, DecayKind::Suffix).map(|g| ones(b, g)) },
    Rule {
        name: "suffix decay: prefix instead",
        change: |b, op| log_decay(op, DecayKind::Suffix).and_then(|g| as_kind(b, DecayKind::Prefix, g)),
    },
    Rule {
        name: "total decay: left out",
        change: |b, op| {
            log_decay(op, DecayKind::Total)?;
            let total = same(b, op);
            Some(ones(b, total))
        },
    },
    Rule {
        name: "running sum: the token too",
        change: |b, op| {
            let Op::Scan(_, x) = op else { return None };
            let sum = same(b, op);
            Some(b.add(sum, *x))
        },
    },
    Rule {
        name: "running sum: the other way",
        change: |b, op| {
            let Op::Scan(kind, x) = op else { return None };
            let other = if *kind == ScanKind::Before { ScanKind::After } else { ScanKind::Before };
            Some(b.op_value(Op::Scan(other, *x)))
        },
    },
    Rule {
        name: "rectangle sum: the token's own row too",
        change: |b, op| {
            let Op::RectSum(x) = op else { return None };
            let lower = b.op_value(Op::StrictLower(*x));
            let (sum, row) = (same(b, op), b.op_value(Op::SumCols(lower)));
            Some(b.add(sum, row))
        },
    },
    Rule {
        name: "rectangle sum: row sums minus column sums",
        change: |b, op| {
            let Op::RectSum(x) = op else { return None };
            let lower = b.op_value(Op::StrictLower(*x));
            let rows = b.op_value(Op::SumCols(lower));
            let columns = b.op_value(Op::SumRows(lower));
            let columns = b.op_value(Op::Transpose(columns));
            let later_rows = b.op_value(Op::Scan(ScanKind::After, rows));
            let later_columns = b.op_value(Op::Scan(ScanKind::After, columns));
            let rest = b.map(MapFn::Sub, &[later_rows, later_columns]);
            Some(b.map(MapFn::Sub, &[rest, columns]))
        },
    },
    Rule {
        name: "decay dot: operands exchanged",
        change: |b, op| {
            let Op::DecayDot { p, w, g } = *op else { return None };
            Some(b.op_value(Op::DecayDot { p: w, w: p, g }))
        },
    },
    Rule {
        name: "decay dot: decay left out",
        change: |b, op| {
            let Op::DecayDot { p, w, g } = *op else { return None };
            let g = zeros(b, g);
            Some(b.op_value(Op::DecayDot { p, w, g }))
        },
    },
    Rule {
        name: "decay apply: later for earlier tokens",
        change: |b, op| {
            let Op::DecayApply { a, w, g, transposed } = *op else { return None };
            Some(b.op_value(Op::DecayApply { a, w, g, transposed: !transposed }))
        },
    },
    Rule {
        name: "decay apply: decay left out",
        change: |b, op| {
            let Op::DecayApply { a, w, g, transposed } = *op else { return None };
            let g = zeros(b, g);
            Some(b.op_value(Op::DecayApply { a, w, g, transposed }))
        },
    },
    Rule {
        name: "decay rectangle: operands exchanged",
        change: |b, op| {
            let Op::DecayRect { a, p, w, g } = *op else { return None };
            Some(b.op_value(Op::DecayRect { a, p: w, w: p, g }))
        },
    },
    Rule {
        name: "decay rectangle: left out",
        change: |b, op| {
            let Op::DecayRect { g, .. } = *op else { return None };
            Some(zeros(b, g))
        },
    },
    Rule {
        name: "system: its decay left out",
        change: |b, op| {
            let Op::Solve { decay: Some(_), .. } = op else { return None };
            let mut op = op.clone();
            if let Op::Solve { decay, .. } = &mut op {
                *decay = None;
            }
            Some(b.op_value(op))
        },
    },
];
