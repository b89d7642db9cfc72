//! One stage, one function.

use std::collections::{BTreeMap, BTreeSet};

use super::ahead::Requests;
use super::elementwise::Row;
use super::fuse::{Form, Stage, Term};
use super::graph::{Kind, Pos, Ref};
use super::order::{Ordered, is_chain_root, sum_lane};
use super::pairs;
use super::product;
use super::solve;
use super::space::Space;
use super::text::Text;
use crate::schedule::Choices;
use crate::tile::{Axis, DecayKind, Direction, ScanKind};

/// What the functions of a pass are written from.
pub struct Context<'a> {
    /// Names and addresses.
    pub space: &'a Space<'a>,
    /// Stages in order.
    pub ordered: &'a Ordered,
    /// Which products fetch rows ahead.
    pub requests: Requests,
    /// Of the pass.
    pub choices: Choices,
    /// Nodes whose every store passes the caches by: kept for backward, read by nobody here.
    pub streamed: BTreeSet<usize>,
    /// Nodes that are stored once more, for backward, and the field that says where.
    pub kept: BTreeMap<usize, String>,
    /// Text of the recurrence's statements.
    pub statements: &'a [String],
}

/// The rows of a tile stage's blocks.
pub fn block(context: &Context, stage: &Stage) -> usize {
    let rows = context.space.widths.tile.rows;
    match &stage.form {
        Form::Tile { chains, solve: Some(_) } => match chains.len() {
            0 | 1 => rows,
            2 => rows / 2,
            _ => (rows / 4).max(1),
        },
        _ => rows,
    }
}

/// Whether a stage's blocks run from the last to the first.
pub fn backwards(context: &Context, stage: &Stage) -> bool {
    let solve = match stage.form {
        Form::Tile { solve: Some(solve), .. } | Form::Serial { solve } => solve,
        _ => return false,
    };
    matches!(context.space.graph.nodes[solve].kind, Kind::Solve { direction: Direction::Up, .. })
}

/// Whether a stage's function takes a panel.
pub fn takes_panel(context: &Context, index: usize) -> bool {
    let stage = &context.ordered.fused.stages[index];
    match stage.form {
        Form::Finish { .. } => false,
        Form::Map => stage.lanes != Axis::One && !has_lane_sum(context, stage),
        _ => stage.lanes != Axis::One,
    }
}

fn has_lane_sum(context: &Context, stage: &Stage) -> bool {
    stage.nodes.iter().any(|n| lane_sum(context, *n) == Some(true))
}

/// For a sum: whether it goes over lanes.
pub fn lane_sum(context: &Context, node: usize) -> Option<bool> {
    let graph = context.space.graph;
    match &graph.nodes[node].kind {
        Kind::Sum(x, over) => Some(!graph.is_matrix(x.node) || context.space.layout[x.node] == over.flip(x.flip)),
        _ => None,
    }
}

/// Writes a stage's function; `attributes` stand before it.
pub fn write(context: &Context, index: usize, attributes: &[String], out: &mut Text) {
    let stage = &context.ordered.fused.stages[index];
    comment(context, index, out);
    out.lines(attributes);
    let parameters = match (takes_panel(context, index), &stage.form) {
        (true, Form::Tile { .. }) => "w: &Work, p: usize, r: usize",
        (true, _) => "w: &Work, p: usize",
        _ => "w: &Work",
    };
    out.line(format!("unsafe fn s{index}({parameters}) {{"));
    match &stage.form {
        Form::Tile { chains, solve: None } => tile(context, index, &chains[0], out),
        Form::Tile { chains, solve: Some(solve) } => solve::tile(context, index, chains, *solve, out),
        Form::Serial { solve } => solve::serial(context, index, *solve, out),
        Form::Map => map(context, index, out),
        Form::Helper => helper(context, stage, out),
        Form::Turn => turn(context, stage, out),
        Form::Pack(kind) => pairs::pack(context, stage, *kind, out),
        Form::TurnPairs => pairs::turn(context, stage, out),
        Form::Finish { tile } => finish(context, *tile, stage.nodes[0], out),
    }
    out.line("}");
    out.line("");
}

fn comment(context: &Context, index: usize, out: &mut Text) {
    let stage = &context.ordered.fused.stages[index];
    let space = context.space;
    let mut origins: Vec<u32> = stage.nodes.iter().filter_map(|n| space.graph.nodes[*n].origin).collect();
    origins.sort_unstable();
    origins.dedup();
    for origin in origins {
        if let Some(text) = context.statements.get(origin as usize) {
            for (i, line) in text.lines().enumerate() {
                out.line(
                    format!("/// {}{}", if i == 0 { "From `" } else { "  " }, line.trim())
                        + if i + 1 == text.lines().count() { "`." } else { "" },
                );
            }
        }
    }
    let names: Vec<&str> = stage.nodes.iter().map(|n| space.name(*n)).collect();
    let what = match &stage.form {
        Form::Tile { solve: None, .. } => "A tile of",
        Form::Tile { solve: Some(_), .. } => "A block of rows, by substitution, of",
        Form::Serial { .. } => "Row by row, by substitution,",
        Form::Map => "Elementwise",
        Form::Helper => "All of",
        Form::Turn => "The other orientation of",
        Form::Pack(_) => "A copy in bf16 of",
        Form::TurnPairs => "A copy in bf16, in the other orientation, of",
        Form::Finish { .. } => "Sums over lanes:",
    };
    out.line(format!("/// {what} {}.", names.join(", ")));
}

/// Text that puts a chain's sum into a tile named `acc`.
pub fn chain(context: &Context, index: usize, acc: &str, rows: usize, chain: &[Term], out: &mut Text) {
    let space = context.space;
    let stage = &context.ordered.fused.stages[index];
    let vectors = space.widths.vectors(stage.lanes);
    let values: Vec<(Ref, bool)> = chain
        .iter()
        .filter_map(|t| match t {
            Term::Value { x, minus } => Some((*x, *minus)),
            Term::Product { .. } => None,
        })
        .collect();
    out.line(format!("let mut {acc} = zeros::<{rows}, {vectors}>();"));
    let mut scaled = chain.iter().filter_map(|t| match t {
        Term::Product { a, b, minus, scale: Some(scale) } => Some((*a, *b, *minus, *scale)),
        _ => None,
    });
    // a scaled product, then what is added to it
    let first = scaled.next();
    if let Some((a, b, _, scale)) = first {
        out.line(format!("// {acc} = {} ({} {})", space.show(scale), space.show(a), space.show(b)));
        out.line(product::call(context, acc, (rows, vectors), a, b, false));
    }
    if !values.is_empty() || first.is_some() {
        let mut row = Row::new(space, &context.ordered.fused, "p", "r");
        let mut sum = None;
        for (x, minus) in &values {
            let v = row.operand(*x, Pos::Cols);
            sum = Some(match (sum, minus) {
                (None, false) => v,
                (None, true) => format!("neg({v})"),
                (Some(sum), false) => format!("add({sum}, {v})"),
                (Some(sum), true) => format!("sub({sum}, {v})"),
            });
        }
        let sum = scale_into(&mut row, first.map(|(_, _, minus, scale)| (minus, scale)), &format!("{acc}[i][j]"), sum);
        if !values.is_empty() {
            let shown: Vec<String> = values
                .iter()
                .map(|(x, minus)| format!("{}{}", if *minus { "-" } else { "" }, space.show(*x)))
                .collect();
            let sign = if first.is_some() { "+=" } else { "=" };
            out.line(format!("// {acc} {sign} {}", shown.join(" + ")));
        }
        each_vector(acc, (rows, vectors), row, &sum, out);
    }
    for (a, b, minus, scale) in scaled {
        let sign = if minus { "-=" } else { "+=" };
        out.line(format!("// {acc} {sign} {} ({} {})", space.show(scale), space.show(a), space.show(b)));
        out.line(format!("let mut part = zeros::<{rows}, {vectors}>();"));
        out.line(product::call(context, "part", (rows, vectors), a, b, false));
        let mut row = Row::new(space, &context.ordered.fused, "p", "r");
        let sum = scale_into(&mut row, Some((minus, scale)), "part[i][j]", Some(format!("{acc}[i][j]")));
        each_vector(acc, (rows, vectors), row, &sum, out);
    }
    for term in chain {
        if let Term::Product { a, b, minus, scale: None } = term {
            out.line(format!("// {acc} {} {} {}", if *minus { "-=" } else { "+=" }, space.show(*a), space.show(*b)));
            out.line(product::call(context, acc, (rows, vectors), *a, *b, *minus));
        }
    }
}

/// A product's vector, scaled, with another one added; without a scale the other one alone.
fn scale_into(row: &mut Row, scale: Option<(bool, Ref)>, product: &str, other: Option<String>) -> String {
    let scale = scale.map(|(minus, scale)| (minus, row.operand(scale, Pos::Cols)));
    match (scale, other) {
        (None, other) => other.expect("a value or a scaled product"),
        (Some((false, s)), Some(other)) => format!("fma({s}, {product}, {other})"),
        (Some((true, s)), Some(other)) => format!("fnma({s}, {product}, {other})"),
        (Some((false, s)), None) => format!("mul({s}, {product})"),
        (Some((true, s)), None) => format!("neg(mul({s}, {product}))"),
    }
}

/// Sets each vector of a tile.
fn each_vector(acc: &str, (rows, vectors): (usize, usize), row: Row, value: &str, out: &mut Text) {
    out.lines(&row.top);
    out.line(format!("each!({rows}, i, {{"));
    out.line("let r = r + i;");
    out.lines(&row.head);
    out.line(format!("each!({vectors}, j, {{"));
    out.lines(&row.body);
    out.line(format!("{acc}[i][j] = {value};"));
    out.line("});");
    out.line("});");
}

/// How a stage's function walks over rows and lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// One block of rows of one panel a call.
    Blocks,
    /// All rows of one panel a call.
    Panel,
    /// All rows; sums over lanes within the call.
    Rows,
}

/// Work that follows a tile, for one row: stores, sums and what lies between.
pub struct Epilogue {
    /// Once a call.
    pub top: Vec<String>,
    /// Once a call, before the first row.
    pub before: Vec<String>,
    /// Once a row.
    pub head: Vec<String>,
    /// Per vector.
    pub body: Vec<String>,
    /// The same of a panel that is whole, if that is less.
    pub whole: Option<Vec<String>>,
    /// Once a row, after its vectors.
    pub tail: Vec<String>,
    /// Once a call, after the last row.
    pub after: Vec<String>,
}

/// The epilogue of a stage on rows `r` of panel `p`; nodes at hand are given to `row` before.
pub fn epilogue(context: &Context, index: usize, mut row: Row, walk: Walk, backwards: bool) -> Epilogue {
    let in_tile = walk != Walk::Rows;
    let space = context.space;
    let graph = space.graph;
    let stage = &context.ordered.fused.stages[index];
    let vectors = space.widths.vectors(stage.lanes);
    let w = space.widths.panel(stage.lanes);
    let (mut before, mut head, mut tail, mut after) = (vec![], vec![], vec![], vec![]);
    // lines of sums over lanes: of the lanes that mean something, of all
    let mut masked: Vec<(String, String)> = vec![];
    let p = if stage.lanes == Axis::One { "0" } else { "p" };
    for node in &stage.nodes {
        let kind = &graph.nodes[*node].kind;
        match kind {
            Kind::Map(..) | Kind::Lower(_) if !is_chain_root(stage, *node) => {
                let lane = row.lane(*node);
                let v = row.compute(*node, lane);
                store(context, &mut row, *node, p, &v);
            }
            _ => {}
        }
    }
    let sums = graph.nodes.iter().enumerate().filter(|(n, node)| {
        matches!(node.kind, Kind::Sum(..)) && (stage.nodes.contains(n) || finished_by(context, index, *n))
    });
    for (node, info) in sums {
        let Kind::Sum(x, _) = &info.kind else { unreachable!("filtered") };
        let pos = sum_lane(graph, space.layout, *x);
        let v = row.operand(*x, pos);
        let s = format!("s{node}");
        let name = space.name(node);
        if lane_sum(context, node) == Some(true) {
            let exact = stage.lanes == Axis::Token && space.widths.chunk.is_multiple_of(space.widths.tile.lanes);
            let all = format!("{s} = add({s}, {v});");
            let some = format!(
                "{s} = add({s}, first({v}, {} as isize - ({p} * {w} + j * L) as isize));",
                space.widths.size(stage.lanes)
            );
            head.push(format!("let mut {s} = zero();"));
            row.body.push(if exact { all.clone() } else { some.clone() });
            masked.extend((!exact).then_some((some, all)));
            if in_tile {
                tail.push(format!("let at = w.{name}_part.add(r * L);"));
                tail.push(format!("store(at, if p == 0 {{ {s} }} else {{ add(load(at), {s}) }});"));
            } else {
                tail.push(format!("*w.{name}.add(r) = sum({s});"));
            }
        } else {
            before.push(format!("let mut {s} = [zero(); {vectors}];"));
            let partial = match stage.rows {
                Axis::Side(_) => true,
                Axis::Token => !space.widths.chunk.is_multiple_of(block(context, stage)),
                Axis::One => false,
            };
            let guard = walk == Walk::Blocks && partial;
            let add = format!("{s}[j] = add({s}[j], {v});");
            row.body.push(if guard { format!("if r < {} {{ {add} }}", space.widths.size(stage.rows)) } else { add });
            let at = format!("w.{name}.add({p} * {w} + j * L)");
            let first = if walk != Walk::Blocks {
                None
            } else if backwards {
                Some(format!("r + {} >= {}", block(context, stage), space.widths.size(stage.rows)))
            } else {
                Some("r == 0".to_string())
            };
            let value = match first {
                None => format!("{s}[j]"),
                Some(first) => format!("if {first} {{ {s}[j] }} else {{ add(load({at}), {s}[j]) }}"),
            };
            after.push(format!("for j in 0..{vectors} {{"));
            after.push(format!("store({at}, {value});"));
            after.push("}".into());
        }
    }
    pairs::around(context, index, &mut before, &mut tail, &mut after);
    head.extend(std::mem::take(&mut row.head));
    let whole = (!masked.is_empty()).then(|| {
        let line = |line: &String| masked.iter().find(|(some, _)| some == line).map_or(line, |(_, all)| all).clone();
        row.body.iter().map(line).collect()
    });
    Epilogue { top: row.top, before, head, body: row.body, whole, tail, after }
}

fn finished_by(context: &Context, tile: usize, node: usize) -> bool {
    context
        .ordered
        .fused
        .stages
        .iter()
        .any(|s| matches!(s.form, Form::Finish { tile: t } if t == tile) && s.nodes[0] == node)
}

/// Stores a vector that is at hand, if anyone reads it.
pub fn store(context: &Context, row: &mut Row, node: usize, p: &str, v: &str) {
    pairs::store(context, row, node, p, v);
    if !context.ordered.stored.contains(&node) {
        return;
    }
    let space = context.space;
    let at = if space.graph.is_matrix(node) {
        space.matrix(node, space.layout[node]).at(p, "r")
    } else {
        let w = space.widths.panel(space.graph.vector_axis(node));
        if p == "0" { format!("w.{}", space.name(node)) } else { format!("w.{}.add({p} * {w})", space.name(node)) }
    };
    let stored = if context.streamed.contains(&node) { "stream" } else { "store" };
    row.body.push(format!("{stored}({at}.add(j * L), {v});"));
    if let Some(field) = context.kept.get(&node) {
        let here = format!("w.{}", space.name(node));
        let kept = if context.choices.stream { "stream" } else { "store" };
        row.body.push(format!("{kept}({}.add(j * L), {v});", at.replacen(&here, &format!("w.{field}"), 1)));
    }
}

/// Whether everything that a stage of tokens by tokens leaves behind is zero on and above the diagonal.
fn lower_only(context: &Context, index: usize) -> bool {
    let (graph, layout, ordered) = (context.space.graph, context.space.layout, context.ordered);
    let stage = &ordered.fused.stages[index];
    let lower = |n: usize| graph.triangle(Ref { node: n, flip: layout[n] == Pos::Rows }) == Some(true);
    let left = |n: usize| ordered.stored.contains(&n) || ordered.copies.iter().any(|c| c.node == n);
    let sums = stage.nodes.iter().any(|n| matches!(graph.nodes[*n].kind, Kind::Sum(..)))
        || ordered.fused.stages.iter().any(|s| s.form == Form::Finish { tile: index });
    let by_tokens = stage.rows == Axis::Token && stage.lanes == Axis::Token;
    by_tokens && !sums && stage.nodes.iter().all(|n| !left(*n) || graph.is_matrix(*n) && lower(*n))
}

fn tile(context: &Context, index: usize, terms: &[Term], out: &mut Text) {
    let space = context.space;
    let stage = &context.ordered.fused.stages[index];
    let rows = block(context, stage);
    let vectors = space.widths.vectors(stage.lanes);
    match terms {
        [Term::Product { a, b, minus, scale: None }] if vectors == 2 && lower_only(context, index) => {
            let show = format!("{} {}", space.show(*a), space.show(*b));
            let w = space.widths.panel(stage.lanes);
            out.line(format!("let mut acc = zeros::<{rows}, 2>();"));
            out.line(format!("// acc {} {show}, as far as the diagonal", if *minus { "-=" } else { "+=" }));
            out.line(format!("if r + {rows} > p * {w} + L {{"));
            out.line(product::call(context, "acc", (rows, 2), *a, *b, *minus));
            out.line(format!("}} else if r + {rows} > p * {w} {{"));
            out.line(format!("let mut part = zeros::<{rows}, 1>();"));
            out.line(product::call(context, "part", (rows, 1), *a, *b, *minus));
            out.line(format!("each!({rows}, i, {{ acc[i][0] = part[i][0]; }});"));
            out.line("}");
        }
        _ => chain(context, index, "acc", rows, terms, out),
    }
    let mut row = Row::new(space, &context.ordered.fused, "p", "r");
    let root = stage.nodes[0];
    let var = format!("v{root}");
    row.set(root, var.clone());
    store(context, &mut row, root, "p", &var);
    let end = epilogue(context, index, row, Walk::Blocks, false);
    out.lines(&end.top);
    out.lines(&end.before);
    // short work is unrolled with the tile in registers; long work reads a copy of it
    let short = end.head.len() + end.body.len() + end.tail.len() <= context.choices.unroll;
    let source = if short { "acc" } else { "tile" };
    if short {
        out.line(format!("each!({rows}, i, {{"));
    } else {
        out.line("let tile = acc;");
        out.line(format!("for i in 0..{rows} {{"));
    }
    out.line("let r = r + i;");
    out.lines(&end.head);
    out.line(if short { format!("each!({vectors}, j, {{") } else { format!("for j in 0..{vectors} {{") });
    out.line(format!("let {var} = {source}[i][j]; // {}", space.name(root)));
    out.lines(&end.body);
    let close = if short { "});" } else { "}" };
    out.line(close);
    out.lines(&end.tail);
    out.line(close);
    out.lines(&end.after);
}

fn map(context: &Context, index: usize, out: &mut Text) {
    let space = context.space;
    let stage = &context.ordered.fused.stages[index];
    let vectors = space.widths.vectors(stage.lanes);
    let p = if stage.lanes == Axis::One { "0" } else { "p" };
    let row = Row::new(space, &context.ordered.fused, p, "r");
    let end = epilogue(context, index, row, Walk::Rows, false);
    let panelled = takes_panel(context, index);
    out.lines(&end.top);
    out.lines(&end.before);
    out.line(format!("for r in 0..{} {{", space.widths.size(stage.rows)));
    out.line("let _ = r;");
    out.lines(&end.head);
    let panels = space.widths.panels(stage.lanes);
    // the panels that are whole, then what is left
    let parts = match (&end.whole, stage.lanes) {
        _ if panelled || stage.lanes == Axis::One => vec![(None, &end.body)],
        (Some(whole), Axis::Side(_)) => {
            let first = format!("{} / {}", space.widths.size(stage.lanes), space.widths.panel(stage.lanes));
            vec![(Some(format!("0..{first}")), whole), (Some(format!("{first}..{panels}")), &end.body)]
        }
        _ => vec![(Some(format!("0..{panels}")), &end.body)],
    };
    for (range, body) in parts {
        if let Some(range) = &range {
            out.line(format!("for p in {range} {{"));
        }
        out.line(format!("for j in 0..{vectors} {{"));
        out.lines(body);
        out.line("}");
        if range.is_some() {
            out.line("}");
        }
    }
    out.lines(&end.tail);
    out.line("}");
    out.lines(&end.after);
}

fn finish(context: &Context, tile: usize, node: usize, out: &mut Text) {
    let space = context.space;
    let rows = context.ordered.fused.stages[tile].rows;
    out.line(format!("for r in 0..{} {{", space.widths.size(rows)));
    out.line(format!("*w.{0}.add(r) = sum(load(w.{0}_part.add(r * L)));", space.name(node)));
    out.line("}");
}

fn turn(context: &Context, stage: &Stage, out: &mut Text) {
    let space = context.space;
    let node = stage.nodes[0];
    let lane = space.layout[node];
    let from = space.matrix(node, lane);
    let to = space.matrix(node, lane.flip(true));
    let rows = space.widths.size(from.rows);
    let (w, w2) = (from.row, to.row);
    out.line(format!(
        "turn({}, {rows}, {w}, w.{}.add(p * {w} * {w2}), {w2}, {});",
        from.at("p", "0"),
        to.field,
        to.panel
    ));
}

fn helper(context: &Context, stage: &Stage, out: &mut Text) {
    let space = context.space;
    let graph = space.graph;
    let chunk = space.widths.chunk;
    let p = if stage.lanes == Axis::One { "0" } else { "p" };
    let at = |r: &Ref| {
        if graph.is_matrix(r.node) {
            space.matrix(r.node, Pos::Cols.flip(r.flip)).at(p, "0")
        } else if p == "0" {
            format!("w.{}", space.name(r.node))
        } else {
            format!("w.{}.add(p * {})", space.name(r.node), space.widths.panel(graph.vector_axis(r.node)))
        }
    };
    let whole = |r: &Ref| format!("w.{}", space.matrix(r.node, Pos::Cols.flip(r.flip)).field);
    let node = stage.nodes[0];
    let to = at(&Ref { node, flip: false });
    let temporary = format!("w.{}_tmp", space.name(node));
    let width = |r: &Ref| space.widths.panel(graph.shape(*r).cols);
    let lanes = space.widths.panel(Axis::Token);
    out.line(match &graph.nodes[node].kind {
        Kind::Softmax(x) => {
            let (rows, cols) = (graph.shape(*x).rows, graph.shape(*x).cols);
            let w = width(x);
            let panel = if graph.is_matrix(x.node) {
                space.matrix(x.node, Pos::Cols.flip(x.flip)).panel
            } else {
                w.to_string()
            };
            format!("softmax({}, {to}, {}, {}, {w}, {panel});", at(x), space.widths.size(rows), space.widths.size(cols))
        }
        Kind::Scan(kind, x) => {
            let name = if *kind == ScanKind::Before { "sum_before" } else { "sum_after" };
            if graph.is_matrix(x.node) {
                format!("{name}({}, {to}, {chunk}, {});", at(x), width(x))
            } else {
                format!("{name}_scalar({}, {to}, {chunk});", at(x))
            }
        }
        Kind::Decay(DecayKind::Segment, a) => format!("segment({}, {to}, {chunk}, {lanes});", at(a)),
        Kind::Decay(kind, a) => {
            let name = match kind {
                DecayKind::Prefix => "prefix",
                DecayKind::Suffix => "suffix",
                _ => "total",
            };
            if graph.is_matrix(a.node) {
                format!("{name}({}, {to}, {chunk}, {});", at(a), width(a))
            } else {
                format!("{name}_scalar({}, {to}, {chunk});", at(a))
            }
        }
        Kind::RectSum(x) => format!("rectangle_sum({}, {to}, {temporary}, {chunk}, {lanes});", at(x)),
        Kind::DecayDot { w, a, .. } => {
            let p: Vec<String> = stage
                .nodes
                .iter()
                .map(|n| match &graph.nodes[*n].kind {
                    Kind::DecayDot { p, .. } => at(p),
                    other => unreachable!("{other:?} beside a decay dot"),
                })
                .collect();
            let y: Vec<String> = stage.nodes.iter().map(|n| at(&Ref { node: *n, flip: false })).collect();
            let as_const: Vec<String> = p.iter().map(|p| format!("{p} as *const f32")).collect();
            let m = space.matrix(w.node, Pos::Cols.flip(w.flip));
            format!(
                "dot::<{}>([{}], {}, {}, [{}], {temporary}, {chunk}, {}, {}, {}, {lanes});",
                p.len(),
                as_const.join(", "),
                at(w),
                at(a),
                y.join(", "),
                space.widths.size(graph.shape(*w).cols),
                m.row,
                m.panel
            )
        }
        Kind::DecayApply { m, w, a, transposed } => {
            let name = if *transposed { "apply_transposed" } else { "apply" };
            format!("{name}({}, {}, {}, {to}, {temporary}, {chunk}, {}, {lanes});", whole(m), at(w), at(a), width(w))
        }
        Kind::DecayRect { m, p, w, a } => format!(
            "rectangle({}, {}, {}, {}, {to}, {temporary}, {chunk}, {}, {lanes});",
            whole(m),
            at(p),
            at(w),
            at(a),
            width(w)
        ),
        kind => unreachable!("{kind:?} is not a helper's"),
    });
}
