//! The text of a step.

use super::{Group, IMAGE, State, Target};
use crate::emit::cuda::place::{Elem, Order};
use crate::emit::graph::{Kind, Pos, Ref};
use crate::emit::text::Text;
use crate::tile::{DecayKind, Direction, ScanKind};

impl State<'_, '_> {
    pub(super) fn comment(&self, node: usize, out: &mut Text) {
        if let Some(origin) = self.graph().nodes[node].origin
            && let Some(statement) = self.block.interface.statements.get(origin as usize)
        {
            let line = format!("// {statement}");
            out.line(line);
        }
    }

    /// `0` beyond the real rows and columns.
    pub(super) fn guarded(&self, r: Ref, value: String) -> String {
        let shape = self.graph().shape(r);
        let sizes = self.block.sizes;
        let mut conditions = vec![];
        if sizes.padded(shape.rows) != sizes.real(shape.rows) {
            conditions.push(format!("r < {}", sizes.real(shape.rows)));
        }
        if sizes.padded(shape.cols) != sizes.real(shape.cols) {
            conditions.push(format!("c + n < {}", sizes.real(shape.cols)));
        }
        if conditions.is_empty() { value } else { format!("{} ? {value} : 0.f", conditions.join(" && ")) }
    }

    /// Products of a group, added to an accumulator of that name, of H times 16 rows where it is tall.
    pub(super) fn products(&self, group: &Group, acc: &str, tall: bool, out: &mut Text) {
        for (minus, r) in &group.products {
            let Kind::Product(mut a, mut b) = self.graph().nodes[r.node].kind else { unreachable!() };
            if r.flip {
                (a, b) = (b.t(), a.t());
            }
            let exact = self.block.exact(r.node);
            let elem = if exact { Elem::F32 } else { self.block.product };
            let inner = self.block.sizes.padded(self.graph().shape(a).cols);
            let mac = if elem != Elem::F32 && self.is_twice(a.node) { "mac_twice" } else { "mac" };
            let part = match self.graph().triangle(a) {
                Some(true) if elem != Elem::F32 => "LOWER",
                Some(false) if elem != Elem::F32 => "UPPER",
                _ => "",
            };
            let (a, b) = (self.operand(a, exact), self.operand(b, exact));
            let more = match (part, tall) {
                ("", false) => String::new(),
                ("", true) => ", H".into(),
                (part, tall) => format!(", {}, {part}", if tall { "H" } else { "1" }),
            };
            out.line(format!("{mac}<{}, {inner}, {minus}{more}>({acc}, {a}, {b}, m, n);", elem.c()));
        }
    }

    /// The number of a step that is less than all warps' work: such steps start at different warps.
    pub(super) fn next_turn(&self) -> usize {
        self.turn.set(self.turn.get() + 1);
        self.turn.get() - 1
    }

    /// The same for work of a thread a column.
    fn column_turn(&self, columns: usize) -> usize {
        let turn = self.next_turn();
        turn * columns.div_ceil(32)
    }

    /// Elementwise work: `store` takes `y` at row `r` and column `c`.
    fn fill(&self, rows: usize, cols: usize, value: &str, store: &str, out: &mut Text) {
        let turn = if cols == 1 { self.next_turn() } else { 0 };
        out.line(format!(
            "fill<{rows}, {cols}>({turn}, [&](auto width, int r, int c, int n) {{ return {value}; }}, [&](int r, int c, auto y) {{ {store} }});"
        ));
    }

    /// A sum of products, and elementwise work on it.
    fn tiles(&self, root: Ref, group: &Group, value: &str, store: &str, out: &mut Text) {
        let (sizes, shape) = (self.block.sizes, self.graph().shape(root));
        let (rows, cols) = (sizes.padded(shape.rows), sizes.padded(shape.cols));
        let turn = if rows * cols <= 2048 { 4 * self.next_turn() } else { 0 };
        out.line(format!("tiles<{rows}, {cols}>({turn}, [&](auto& acc, int m, int n) {{"));
        // blocks of zeros cost no products
        let lower = self.graph().triangle(root) == Some(true);
        if lower {
            out.line("if (m + 16 > n) {");
        }
        self.products(group, "acc", false, out);
        if lower {
            out.line("}");
        }
        out.line(format!(
            "}}, [&](auto width, int r, int c, int n, float acc) {{ return {value}; }}, [&](int r, int c, auto y) {{"
        ));
        out.line(store);
        out.line("});");
    }

    pub(super) fn step(&self, target: &Target, out: &mut Text) {
        let graph = self.graph();
        let sizes = self.block.sizes;
        match target {
            Target::Sink(s) => {
                let sink = &self.block.sinks[*s];
                out.line(format!("// {}", sink.comment));
                if !sink.condition.is_empty() {
                    out.line(format!("if ({}) {{", sink.condition));
                }
                let shape = graph.shape(sink.value);
                let (rows, cols) = (sizes.real(shape.rows), sizes.real(shape.cols));
                let grouped = self.sink_groups.get(s);
                if grouped.is_none() && !sink.setup.is_empty() {
                    out.line(&sink.setup);
                }
                if sink.padded {
                    let value = self.expr(sink.value, "r", "c + n", false, None);
                    let value = self.guarded(sink.value, value);
                    let (rows, cols) = (sizes.padded(shape.rows), sizes.padded(shape.cols));
                    self.fill(rows, cols, &value, &sink.statement, out);
                    return;
                }
                match grouped {
                    Some(group) => {
                        let value = self.expr(sink.value, "r", "c + n", true, Some(group));
                        let value = self.guarded(sink.value, value);
                        // not kept in registers through the products
                        let store = format!("{} if (r < {rows} && c < {cols}) {}", sink.setup, sink.statement);
                        self.tiles(sink.value, group, &value, &store, out);
                    }
                    None => {
                        let value = self.expr(sink.value, "r", "c + n", false, None);
                        self.fill(rows, cols, &value, &sink.statement, out);
                    }
                }
                if !sink.condition.is_empty() {
                    out.line("}");
                }
            }
            Target::Node(n) => self.node(*n, out),
            Target::Copy(n) => self.copy(*n, out),
            Target::System(_) => self.substitutions(std::slice::from_ref(target), out),
            Target::Store(n) => {
                let from = &self.places[n].name;
                for to in &self.block.stores[n] {
                    out.line(format!("store_block<{}>({}, {}, {from});", to.bytes, self.next_turn(), to.name));
                }
            }
            Target::Side(nodes) => self.side(nodes, out),
            Target::Decays(nodes) => self.decays(nodes, out),
            Target::Joined(targets) => self.joined(targets, out),
        }
    }

    /// A given value to shared memory, in the type of products.
    pub(super) fn copy(&self, id: usize, out: &mut Text) {
        let graph = self.graph();
        let (node, to) = (id % IMAGE, &self.places[&id]);
        if let Some(from) = self.fetched.get(&id) {
            if let Order::Pieces(piece) = from.order {
                let (elem, rows, cols, ld, name) = (to.elem.c(), to.rows(), from.ld, to.ld, &from.name);
                out.line(format!(
                    "copy_pieces<{elem}, {rows}, {piece}, {cols}, {ld}>({}, {name}, {name}_next, there);",
                    to.name
                ));
                return;
            }
            out.line(match to.ld == from.ld {
                true => format!("copy_block<{}>({}, {});", to.bytes, to.name, from.name),
                false => {
                    let (elem, cols) = (to.elem.c(), from.ld);
                    let rows = from.bytes / from.elem.bytes() / cols;
                    format!("copy_apart<{elem}, {rows}, {cols}, {}>({}, {});", to.ld, to.name, from.name)
                }
            });
            return;
        }
        let shape = graph.nodes[node].shape;
        let (rows, cols) = (self.block.sizes.padded(shape.rows), self.block.sizes.padded(shape.cols));
        let value = self.places[&node].read(graph, node, "r", "c + n");
        self.fill(rows, cols, &value, &format!("put(&{}, y);", to.element(graph, node, "r", "c")), out);
    }

    pub(super) fn node(&self, n: usize, out: &mut Text) {
        let graph = self.graph();
        let sizes = self.block.sizes;
        let shape = graph.nodes[n].shape;
        let kind = &graph.nodes[n].kind;
        self.comment(n, out);
        let at = |r: Ref, row: &str, col: &str| self.expr(r, row, col, false, None);
        let element = |n: usize, row: &str, col: &str| self.places[&n].element(graph, n, row, col);
        let (rows, cols) = (sizes.padded(shape.rows), sizes.padded(shape.cols));
        let (real_rows, real_cols) = (sizes.real(shape.rows), sizes.real(shape.cols));
        let tokens = sizes.chunk;
        // (r, c) of the node from a function that stores one float
        let puts = if self.places.contains_key(&n) { self.assign(n, "r", "c", "y") } else { String::new() };
        let store = format!("[&](int r, int c, float x) {{ const Some<1> y = {{x}}; {puts} }}");
        let pad = |out: &mut Text| {
            if rows != real_rows || cols != real_cols {
                out.line(format!(
                    "each<{rows}, {cols}>([&](int r, int c) {{ if (r >= {real_rows} || c >= {real_cols}) {{ const Some<1> y = {{0.f}}; {puts} }} }});"
                ));
            }
        };
        match kind {
            Kind::Leaf(_) if self.block.direct.contains_key(&n) => {
                let (rows_of, place) = (&self.block.direct[&n], &self.places[&n]);
                out.line(format!(
                    "copy_rows<{}, {rows}, {cols}, {}>({}, {}, ch, {}, {real_cols}, {});",
                    place.elem.c(),
                    place.ld,
                    place.name,
                    rows_of.view,
                    rows_of.head,
                    rows_of.zero
                ));
            }
            Kind::Map(..) | Kind::Lower(_) | Kind::Leaf(_) => {
                let (group, root) = (self.groups.get(&n), Ref { node: n, flip: false });
                self.through.set(self.is_light(n));
                let value = self.expr(root, "r", "c + n", true, group);
                self.through.set(false);
                let value = self.guarded(root, value);
                match group {
                    Some(group) => self.tiles(root, group, &value, &puts, out),
                    None => self.fill(rows, cols, &value, &puts, out),
                }
            }
            Kind::Product(..) => {
                let root = Ref { node: n, flip: false };
                let group = Group { root, products: vec![(false, root)], others: vec![] };
                self.tiles(root, &group, "acc", &puts, out);
            }
            Kind::Sum(x, Pos::Cols) if self.parted.contains(&n) => {
                let (all, value) =
                    (sizes.padded(graph.shape(*x).rows) * sizes.padded(graph.shape(*x).cols), at(*x, "i", ""));
                out.line(format!(
                    "parts<{all}, {rows}>([&](auto width, int i, int n) {{ return {value}; }}, {});",
                    self.places[&n].name
                ));
            }
            Kind::Sum(x, over) => {
                let from = graph.shape(*x);
                let (count, terms) = match over {
                    Pos::Cols => (sizes.real(from.rows), sizes.real(from.cols)),
                    Pos::Rows => (sizes.real(from.cols), sizes.real(from.rows)),
                };
                let (value, result) = match over {
                    Pos::Cols => (at(*x, "i", "c + n"), element(n, "i", "0")),
                    Pos::Rows => (at(*x, "c + n", "i"), element(n, "0", "i")),
                };
                out.line(format!(
                    "sums<{count}, {terms}>([&](auto width, int i, int c, int n) {{ return {value}; }}, [&](int i, float x) {{ {result} = x; }});"
                ));
                pad(out);
            }
            Kind::Softmax(x) => {
                out.line(format!(
                    "softmax<{real_rows}, {real_cols}>([&](int r, int c) {{ return {}; }}, {store});",
                    at(*x, "r", "c")
                ));
                pad(out);
            }
            Kind::Scan(scan, x) => {
                let (back, turn) = (*scan == ScanKind::After, self.column_turn(real_cols));
                out.line(format!(
                    "scan<{tokens}, {real_cols}, false, {back}>({turn}, [&](int r, int c) {{ return {}; }}, {store});",
                    at(*x, "r", "c")
                ));
                pad(out);
            }
            Kind::RectSum(x) => {
                let (turn, place) = (self.next_turn(), &self.places[&n]);
                let (parts, to) = match place.order {
                    Order::Parts(parts) => (parts, format!("{}[(r) * {parts} + part]", place.name)),
                    _ => (1, element(n, "r", "0")),
                };
                out.line(format!(
                    "rectangles<{tokens}, {parts}>({turn}, [&](int r, int c) {{ return {}; }}, [&](int r, int part, float x) {{ {to} = x; }});",
                    at(*x, "r", "c")
                ));
            }
            Kind::Decay(decay, a) => {
                let value = at(*a, "r", "c");
                let turn = self.column_turn(real_cols);
                match decay {
                    DecayKind::Prefix | DecayKind::Suffix => {
                        let back = *decay == DecayKind::Suffix;
                        out.line(format!(
                            "scan<{tokens}, {real_cols}, true, {back}>({turn}, [&](int r, int c) {{ return {value}; }}, {store});"
                        ));
                        pad(out);
                    }
                    DecayKind::Total => {
                        out.line(format!(
                            "totals<{tokens}, {real_cols}>({turn}, [&](int r, int c) {{ return {value}; }}, {store});"
                        ));
                        pad(out);
                    }
                    DecayKind::Segment => {
                        let value = at(*a, "r", "0");
                        out.line(format!("segments<{tokens}>({turn}, [&](int r) {{ return {value}; }}, {store});"))
                    }
                }
            }
            Kind::Inverse(x) => {
                let (from, to) = (&self.places[&x.node], &self.places[&n]);
                assert!(!x.flip, "inverses are of lower matrices");
                let turn = graph.nodes[..n].iter().filter(|m| matches!(m.kind, Kind::Inverse(_))).count();
                out.line(format!("invert<{tokens}, {}>({}, {}, {}, {turn});", to.ld, from.name, from.ld, to.name));
            }
            Kind::DecayDot { .. } => self.decay_dot(n, &store, out),
            Kind::DecayApply { .. } | Kind::DecayRect { .. } => {
                self.decay_walk(n, &store, out);
                pad(out);
            }
            Kind::Solve { direction, m, c, y0, b, a } => {
                let up = *direction == Direction::Up;
                let part = |k: usize| {
                    self.block.parts(n).into_iter().find(|p| matches!(graph.nodes[*p].kind, Kind::Part(_, i) if i == k))
                };
                out.line("// by substitution, a thread a channel");
                out.line(format!("each<1, {cols}>([&](int, int n) {{"));
                out.line(format!("for (int i = 0; i < {tokens}; i++) {{"));
                out.line(format!("const int t = {};", if up { format!("{tokens} - 1 - i") } else { "i".into() }));
                for l in 0..y0.len() {
                    let start = y0[l].map_or("0.f".into(), |y| at(y, "t", "n"));
                    out.line(format!("float y{l} = n < {real_cols} ? {start} : 0.f;"));
                }
                out.line("float e = 1.f;");
                out.line(if up {
                    format!("for (int s = t + 1; s < {tokens}; s++) {{")
                } else {
                    "for (int s = t - 1; s >= 0; s--) {".into()
                });
                for l in 0..y0.len() {
                    for j in 0..b.len() {
                        let (Some(m), Some(u)) = (m[l * b.len() + j], part(y0.len() + j)) else { continue };
                        let matrix = if up { at(m, "s", "t") } else { at(m, "t", "s") };
                        out.line(format!("y{l} += {matrix} * e * {};", self.places[&u].read(graph, u, "s", "n")));
                    }
                }
                if let Some(a) = a {
                    out.line(format!("if (n < {real_cols}) e *= {};", at(*a, "s", "n")));
                }
                out.line("}");
                for (l, _) in y0.iter().enumerate() {
                    if let Some(p) = part(l) {
                        out.line(format!("{{ const Some<1> y = {{y{l}}}; {} }}", self.assign(p, "t", "n", "y")));
                    }
                }
                for j in 0..b.len() {
                    let Some(p) = part(y0.len() + j) else { continue };
                    let mut value = b[j].map_or("0.f".into(), |b| at(b, "t", "n"));
                    for l in 0..y0.len() {
                        if let Some(c) = c[j * y0.len() + l] {
                            value += &format!(" + {} * y{l}", at(c, "t", "n"));
                        }
                    }
                    let value = format!("n < {real_cols} ? {value} : 0.f");
                    out.line(format!("{{ const Some<1> y = {{{value}}}; {} }}", self.assign(p, "t", "n", "y")));
                }
                out.line("}");
                out.line("});");
            }
            Kind::Substitute { .. } | Kind::System { .. } => unreachable!("written with those beside it"),
            Kind::Part(..) => unreachable!("written with its system"),
        }
    }
}
