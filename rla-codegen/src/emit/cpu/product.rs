//! Calls of the product loops.

use super::graph::{Pos, Ref};
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
    let (start, count) = match (inner, context.space.graph.triangle(a)) {
        (Axis::Token, Some(true)) => (None, format!("({}).min(r + {rows})", widths.chunk)),
        (Axis::Token, Some(false)) => (Some("r".to_string()), format!("{} - r", widths.chunk)),
        _ => (None, widths.size(inner)),
    };
    range(context, acc, (rows, vectors), a, b, minus, context.requests.from(context.space, a), start, count)
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
