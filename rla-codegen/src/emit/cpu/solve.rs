//! Substitution: a block of rows in registers, products with the rows before it.

use super::elementwise::Row;
use super::fuse::Term;
use super::graph::{Kind, Pos, Ref};
use super::product;
use super::space::Space;
use super::stage::{Context, Walk, block, chain, epilogue, store};
use super::text::Text;
use crate::tile::Direction;

struct System<'a> {
    direction: Direction,
    m: &'a [Option<Ref>],
    c: &'a [Option<Ref>],
    y0: &'a [Option<Ref>],
    b: &'a [Option<Ref>],
    a: Option<Ref>,
}

impl System<'_> {
    fn of<'a>(space: &'a Space, solve: usize) -> System<'a> {
        match &space.graph.nodes[solve].kind {
            Kind::Solve { direction, m, c, y0, b, a } => System { direction: *direction, m, c, y0, b, a: *a },
            kind => unreachable!("{kind:?} is not a system"),
        }
    }

    /// The matrix that takes write j into readout l, in the order of substitution.
    fn matrix(&self, l: usize, j: usize) -> Option<Ref> {
        let m = self.m[l * self.b.len() + j]?;
        Some(if self.direction == Direction::Up { m.t() } else { m })
    }
}

/// Node of part `k` of a solve, if anything uses it.
fn part(context: &Context, index: usize, solve: usize, k: usize) -> Option<usize> {
    let graph = context.space.graph;
    let nodes = &context.ordered.fused.stages[index].nodes;
    nodes.iter().copied().find(|n| graph.nodes[*n].kind == Kind::Part(solve, k))
}

/// Stores a part's vector, or its number where the system has one column: then all lanes hold it.
fn keep(context: &Context, row: &mut Row, node: usize, v: &str) {
    if context.space.graph.is_matrix(node) {
        store(context, row, node, "p", v);
    } else if context.ordered.stored.contains(&node) {
        row.body.push(format!("*w.{}.add(r) = sum(first({v}, 1));", context.space.name(node)));
    }
}

/// Gives the row's program its readouts and computes its writes; returns the vector of each write.
fn parts(context: &Context, index: usize, solve: usize, row: &mut Row, y: impl Fn(usize) -> String) -> Vec<String> {
    let system = System::of(context.space, solve);
    let readouts = system.y0.len();
    for l in 0..readouts {
        row.body.push(format!("let y{l} = {};", y(l)));
        if let Some(node) = part(context, index, solve, l) {
            row.set(node, format!("y{l}"));
            keep(context, row, node, &format!("y{l}"));
        }
    }
    let mut writes = vec![];
    for j in 0..system.b.len() {
        let mut u = system.b[j].map(|b| row.operand(b, Pos::Cols));
        for l in 0..readouts {
            if let Some(c) = system.c[j * readouts + l] {
                let c = row.operand(c, Pos::Cols);
                u = Some(match u {
                    Some(u) => format!("fma({c}, y{l}, {u})"),
                    None => format!("mul({c}, y{l})"),
                });
            }
        }
        row.body.push(format!("let u{j} = {};", u.unwrap_or("zero()".into())));
        if let Some(node) = part(context, index, solve, readouts + j) {
            row.set(node, format!("u{j}"));
            keep(context, row, node, &format!("u{j}"));
        }
        writes.push(format!("u{j}"));
    }
    writes
}

/// One block of rows.
pub fn tile(context: &Context, index: usize, chains: &[Vec<Term>], solve: usize, out: &mut Text) {
    let space = context.space;
    let stage = &context.ordered.fused.stages[index];
    let rows = block(context, stage);
    let vectors = space.widths.vectors(stage.lanes);
    let system = System::of(space, solve);
    let (readouts, writes) = (system.y0.len(), system.b.len());
    let up = system.direction == Direction::Up;
    let chunk = space.widths.chunk;
    for (l, terms) in chains.iter().enumerate() {
        let acc = format!("acc{l}");
        chain(context, index, &acc, rows, terms, out);
        for j in 0..writes {
            let Some(m) = system.matrix(l, j) else { continue };
            let u = part(context, index, solve, readouts + j).expect("a write that a matrix reads is kept");
            let u = Ref { node: u, flip: false };
            out.line(format!(
                "// {acc} += {} {}, rows {} this block",
                space.show(m),
                space.show(u),
                if up { "after" } else { "before" }
            ));
            let (start, count) = if up {
                (Some(format!("r + {rows}")), format!("({chunk}usize).saturating_sub(r + {rows})"))
            } else {
                (None, "r".to_string())
            };
            out.line(if up { format!("if r + {rows} < {chunk} {{") } else { "if r > 0 {".into() });
            out.line(product::range(context, &acc, (rows, vectors), m, u, false, false, start, count));
            out.line("}");
            out.line(format!("let m{l}_{j} = {};", corner(context, m)));
        }
    }
    let mut row = Row::new(space, &context.ordered.fused, "p", "r");
    let u = parts(context, index, solve, &mut row, |l| format!("acc{l}[i][j]"));
    let end = epilogue(context, index, row, Walk::Blocks, up);
    out.lines(&end.top);
    out.lines(&end.before);
    let each = if up { "each_back" } else { "each" };
    out.line(format!("{each}!({rows}, i, {{"));
    out.line("let r = r + i;");
    out.lines(&end.head);
    for j in 0..writes {
        out.line(format!("let mut w{j} = [zero(); {vectors}];"));
    }
    out.line(format!("each!({vectors}, j, {{"));
    out.lines(&end.body);
    for (j, u) in u.iter().enumerate() {
        out.line(format!("w{j}[j] = {u};"));
    }
    out.line("});");
    out.lines(&end.tail);
    out.line("// this row's writes into the rows that follow");
    out.line(format!("each!({rows}, k, {{"));
    out.line(if up { "if k < i {" } else { "if k > i {" });
    for l in 0..readouts {
        for j in 0..writes {
            let Some(m) = system.matrix(l, j) else { continue };
            let left = product::left(context, m);
            let (row, inner) = (left.row, left.inner.unwrap_or(1));
            out.line(format!("let m = splat(*m{l}_{j}.add(k * {row} + i * {inner}));"));
            out.line(format!("each!({vectors}, j, {{"));
            out.line(format!("acc{l}[k][j] = fma(m, w{j}[j], acc{l}[k][j]);"));
            out.line("});");
        }
    }
    out.line("}");
    out.line("});");
    out.line("});");
    out.lines(&end.after);
}

/// Address of element (r, r) of a matrix of the system.
fn corner(context: &Context, m: Ref) -> String {
    let stored = context.space.matrix(m.node, context.space.layout[m.node]);
    let w = stored.row;
    if context.space.widths.chunk <= w {
        format!("w.{}.add(r * {w} + r)", stored.field)
    } else {
        format!("w.{}.add(r / {w} * {} + r * {w} + r % {w})", stored.field, stored.panel)
    }
}

/// Row by row, each earlier write decayed on its way.
pub fn serial(context: &Context, index: usize, solve: usize, out: &mut Text) {
    let space = context.space;
    let stage = &context.ordered.fused.stages[index];
    let vectors = space.widths.vectors(stage.lanes);
    let system = System::of(space, solve);
    let (readouts, writes) = (system.y0.len(), system.b.len());
    let up = system.direction == Direction::Up;
    let chunk = space.widths.chunk;
    for j in 0..writes {
        out.line(format!("let mut run{j} = [[zero(); {vectors}]; {chunk}];"));
    }
    let mut row = Row::new(space, &context.ordered.fused, "p", "r");
    // what earlier rows left, decayed to this one
    let earlier = if up { format!("r + 1..{chunk}") } else { "0..r".to_string() };
    let mut gather = vec![];
    for l in 0..readouts {
        let y0 = system.y0[l].map_or("zero()".to_string(), |y| row.operand(y, Pos::Cols));
        gather.push(format!("let mut z{l} = {y0};"));
    }
    gather.push(format!("for s in {earlier} {{"));
    if let Some(a) = system.a {
        let m = space.matrix(a.node, Pos::Cols.flip(a.flip));
        let neighbour = if up { "(r + 1)" } else { "(r - 1)" };
        gather.push(format!("if {} {{", if up { "s > r + 1" } else { "s + 1 < r" }));
        gather.push(format!("let a = load({}.add(j * L));", m.at("p", neighbour)));
        for j in 0..writes {
            gather.push(format!("run{j}[s][j] = mul(run{j}[s][j], a);"));
        }
        gather.push("}".into());
    }
    for l in 0..readouts {
        for j in 0..writes {
            let Some(m) = system.matrix(l, j) else { continue };
            let stored = space.matrix(m.node, space.layout[m.node]);
            let (r, c) = if space.layout[m.node].flip(m.flip) == Pos::Cols { ("r", "s") } else { ("s", "r") };
            let w = stored.row;
            let at = format!("w.{}.add({c} / {w} * {} + {r} * {w} + {c} % {w})", stored.field, stored.panel);
            gather.push(format!("z{l} = fma(splat(*{at}), run{j}[s][j], z{l});"));
        }
    }
    gather.push("}".into());
    row.body.extend(gather);
    let u = parts(context, index, solve, &mut row, |l| format!("z{l}"));
    for (j, u) in u.iter().enumerate() {
        row.body.push(format!("run{j}[r][j] = {u};"));
    }
    let end = epilogue(context, index, row, Walk::Panel, up);
    out.lines(&end.top);
    out.lines(&end.before);
    if up {
        out.line(format!("for r in (0..{chunk}).rev() {{"));
    } else {
        out.line(format!("for r in 0..{chunk} {{"));
    }
    out.lines(&end.head);
    out.line(format!("for j in 0..{vectors} {{"));
    out.lines(&end.body);
    out.line("}");
    out.lines(&end.tail);
    out.line("}");
    out.lines(&end.after);
}
