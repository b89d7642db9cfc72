//! Calls of the product loops.

use super::graph::{Pos, Ref};
use super::pairs::{self, Copy, Pairs};
use super::stage::Context;
use crate::tile::Axis;

/// How a left operand is read: address of rows `r..` at the start of the inner axis, row and inner strides.
pub struct Left {
    /// Address.
    pub base: String,
    /// Floats from row to row of the tile.
    pub row: usize,
    /// Floats along the inner axis, where that is not the lane axis.
    pub inner: Option<usize>,
    /// Lanes of a panel and floats from panel to panel, where the inner axis is the lane axis.
    pub panel: (usize, String),
}

/// The left operand `a` of a tile whose rows start at `r`.
pub fn left(context: &Context, a: Ref) -> Left {
    let space = context.space;
    let stored = space.layout[a.node];
    let m = space.matrix(a.node, stored);
    if stored.flip(a.flip) == Pos::Cols {
        Left { base: m.at("0", "r"), row: m.row, inner: None, panel: (m.row, m.panel) }
    } else {
        let w = m.row;
        let base = format!("w.{}.add(r / {w} * {} + r % {w})", m.field, parenthesised(&m.panel));
        Left { base, row: 1, inner: Some(w), panel: (w, m.panel) }
    }
}

fn parenthesised(text: &str) -> String {
    if text.contains(' ') { format!("({text})") } else { text.to_string() }
}

/// The call that adds `a b` to `acc`, over the part of the inner axis where a triangular `a` is not zero.
pub fn call(context: &Context, acc: &str, (rows, vectors): (usize, usize), a: Ref, b: Ref, minus: bool) -> String {
    let widths = context.space.widths;
    let inner = context.space.graph.shape(a).cols;
    let ahead = context.requests.from(context.space, a);
    if context.space.graph.in_bf16(a, b) {
        return in_bf16(context, acc, (rows, vectors), a, b, minus, ahead);
    }
    let (start, count) = match (inner, context.space.graph.triangle(a)) {
        (Axis::Token, Some(true)) => (None, format!("({}).min(r + {rows})", widths.chunk)),
        (Axis::Token, Some(false)) => (Some("r".to_string()), format!("{} - r", widths.chunk)),
        _ => (None, widths.size(inner)),
    };
    range(context, acc, (rows, vectors), a, b, minus, ahead, start, count)
}

/// The same over `count` inner steps from `start` on.
#[allow(clippy::too_many_arguments)]
pub fn range(
    context: &Context,
    acc: &str,
    (rows, vectors): (usize, usize),
    a: Ref,
    b: Ref,
    minus: bool,
    ahead: bool,
    start: Option<String>,
    count: String,
) -> String {
    let space = context.space;
    let widths = space.widths;
    let left = left(context, a);
    let right = space.matrix(b.node, Pos::Cols.flip(b.flip));
    let inner = space.graph.shape(a).cols;
    let (suffix, extra) = if ahead { ("_ahead", ", &mut *w.ahead") } else { ("", "") };
    let turbofish = format!("::<{rows}, {vectors}, {minus}>");
    match left.inner {
        Some(step) => {
            let (base, b) = match &start {
                Some(s) => (format!("{}.add(({s}) * {step})", left.base), right.at("p", &format!("({s})"))),
                None => (left.base, right.at("p", "0")),
            };
            format!(
                "product{suffix}{turbofish}(&mut {acc}, {base}, {}, {step}, {b}, {}, {count}{extra});",
                left.row, right.row
            )
        }
        None => {
            let (w, panel) = left.panel;
            if let Some(start) = start {
                return format!(
                    "product_between{turbofish}(&mut {acc}, {}, {}, {w}, {panel}, {}, {}, {start}, {});",
                    left.base,
                    left.row,
                    right.at("p", "0"),
                    right.row,
                    widths.size(inner)
                );
            }
            let (base, b) = (left.base, right.at("p", "0"));
            format!(
                "product_across{suffix}{turbofish}(&mut {acc}, {base}, {}, {w}, {panel}, {b}, {}, {count}{extra});",
                left.row, right.row
            )
        }
    }
}

/// The call for bf16 operands.
fn in_bf16(
    context: &Context,
    acc: &str,
    (rows, vectors): (usize, usize),
    a: Ref,
    b: Ref,
    minus: bool,
    ahead: bool,
) -> String {
    let space = context.space;
    let pairs = pairs::left(space.layout, a);
    let left = space.paired(Copy { node: a.node, turned: false, pairs: Some(pairs) });
    let lane = Pos::Cols.flip(b.flip);
    let right = Copy { node: b.node, turned: space.layout[b.node] != lane, pairs: Some(Pairs::Rows) };
    let right = space.paired(right);
    let inner = space.graph.shape(a).cols;
    let (n, ldb, b) = (space.widths.size(inner), right.row, right.at("p", "0"));
    let ahead = if ahead { "Some(&mut *w.ahead)" } else { "None" };
    let turbofish = format!("::<{rows}, {vectors}, {minus}>");
    let w = left.row;
    match pairs {
        Pairs::Lanes => {
            let (base, panel) = (left.at("0", "r"), left.panel);
            format!("product_pairs_across{turbofish}(&mut {acc}, {base}, {w}, {w}, {panel}, {b}, {ldb}, {n}, {ahead});")
        }
        Pairs::Rows => {
            let base = format!("w.{}.add(r / {w} * {} + r % {w})", left.field, parenthesised(&left.panel));
            format!("product_pairs{turbofish}(&mut {acc}, {base}, 1, {w}, {b}, {ldb}, {n}, {ahead});")
        }
    }
}
