//! Shape rules: the shape of an operation's value from its operands' shapes.

use super::{Axis, DecayKind, MapFn, Op, Shape, Value};

/// Broadcast of two axes.
fn join(a: Axis, b: Axis) -> Option<Axis> {
    match (a, b) {
        (a, b) if a == b => Some(a),
        (Axis::One, b) => Some(b),
        (a, Axis::One) => Some(a),
        _ => None,
    }
}

/// Broadcast of shapes.
pub fn broadcast(shapes: impl IntoIterator<Item = Shape>) -> Result<Shape, String> {
    let mut out = Shape::new(Axis::One, Axis::One);
    for s in shapes {
        let (Some(rows), Some(cols)) = (join(out.rows, s.rows), join(out.cols, s.cols)) else {
            return Err(format!("{out:?} and {s:?} do not broadcast"));
        };
        out = Shape::new(rows, cols);
    }
    Ok(out)
}

/// The rule of every operation but leaves, whose shapes are given.
///
/// # Errors
/// Operands whose shapes do not fit; the message says which.
pub fn shape(op: &Op, of: &impl Fn(Value) -> Shape) -> Result<Shape, String> {
    const MASK: Shape = Shape::new(Axis::Token, Axis::Token);
    let expect = |what: &str, found: Shape, wanted: Shape| {
        if found == wanted { Ok(()) } else { Err(format!("{what} is {found:?}, not {wanted:?}")) }
    };
    let per_token = |what: &str, s: Shape| {
        if s.rows == Axis::Token { Ok(()) } else { Err(format!("{what} is {s:?}, without tokens as rows")) }
    };
    match op {
        Op::Leaf(_) => Err("a leaf's shape is given".into()),
        Op::Map(f, args) => {
            if args.len() != f.arity() {
                return Err(format!("{f:?} takes {} operands, not {}", f.arity(), args.len()));
            }
            if *f == MapFn::Keep && of(args[0]).cols != Axis::One {
                return Err(format!("the mask of Keep is {:?}, not one number a row", of(args[0])));
            }
            broadcast(args.iter().map(|a| of(*a)))
        }
        Op::SumCols(x) => Ok(Shape::new(of(*x).rows, Axis::One)),
        Op::SumRows(x) => Ok(Shape::new(Axis::One, of(*x).cols)),
        Op::Softmax(x) => Ok(of(*x)),
        Op::L2norm { x, eps } => {
            let (x, eps) = (of(*x), of(*eps));
            if eps.cols != Axis::One || (eps.rows != Axis::One && eps.rows != x.rows) {
                return Err(format!("{eps:?} beside the norms of {x:?}"));
            }
            Ok(x)
        }
        Op::Transpose(x) => Ok(of(*x).transposed()),
        Op::Matmul { a, ta, b, tb } => {
            let a = if *ta { of(*a).transposed() } else { of(*a) };
            let b = if *tb { of(*b).transposed() } else { of(*b) };
            if a.cols != b.rows {
                return Err(format!("a product of {a:?} and {b:?}"));
            }
            Ok(Shape::new(a.rows, b.cols))
        }
        Op::StrictLower(x) => expect("a triangle's operand", of(*x), MASK).map(|()| MASK),
        Op::Inverse(x) => expect("an inverse's operand", of(*x), MASK).map(|()| MASK),
        Op::Scan(_, x) => per_token("a scan's operand", of(*x)).map(|()| of(*x)),
        Op::RectSum(x) => expect("RectSum's operand", of(*x), MASK).map(|()| Shape::new(Axis::Token, Axis::One)),
        Op::Decay(kind, g) => {
            let g = of(*g);
            per_token("a log decay", g)?;
            match kind {
                DecayKind::Prefix | DecayKind::Suffix => Ok(g),
                DecayKind::Total => Ok(Shape::new(Axis::One, g.cols)),
                DecayKind::Segment => {
                    expect("a segment's log decay", g, Shape::new(Axis::Token, Axis::One)).map(|()| MASK)
                }
            }
        }
        Op::DecayDot { p, w, g } => {
            per_token("p", of(*p))?;
            expect("w", of(*w), of(*p))?;
            expect("g", of(*g), of(*p))?;
            Ok(MASK)
        }
        Op::DecayApply { a, w, g, .. } => {
            expect("a", of(*a), MASK)?;
            per_token("w", of(*w))?;
            expect("g", of(*g), of(*w))?;
            Ok(of(*w))
        }
        Op::DecayRect { a, p, w, g } => {
            expect("a", of(*a), MASK)?;
            per_token("p", of(*p))?;
            expect("w", of(*w), of(*p))?;
            expect("g", of(*g), of(*p))?;
            Ok(of(*p))
        }
        Op::Solve { m, c, y0, b, decay, .. } => {
            let (readouts, writes) = (y0.len(), b.len());
            if m.len() != readouts * writes || c.len() != readouts * writes {
                return Err(format!("{readouts} readouts and {writes} writes, {} m and {} c", m.len(), c.len()));
            }
            let Some(side) = y0.iter().chain(b).flatten().map(|v| of(*v)).next() else {
                return Err("a solve without any right-hand side".into());
            };
            per_token("a right-hand side", side)?;
            for v in y0.iter().chain(b).flatten() {
                expect("a right-hand side", of(*v), side)?;
            }
            for v in m.iter().flatten() {
                expect("a matrix of the system", of(*v), MASK)?;
            }
            for v in c.iter().flatten() {
                let joined = broadcast([of(*v), side])?;
                expect("a coefficient, broadcast,", joined, side)?;
            }
            if let Some(g) = decay {
                expect("the system's log decay", of(*g), side)?;
            }
            Ok(side)
        }
        Op::Part(x, _) => Ok(of(*x)),
    }
}
