//! The text of a step.

use super::{Group, IMAGE, State, Target};
use crate::emit::cuda::place::Elem;
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
    pub(super) fn guarded(&self, node: usize, value: String) -> String {
        let shape = self.graph().nodes[node].shape;
        let sizes = self.block.sizes;
        let mut conditions = vec![];
        if sizes.padded(shape.rows) != sizes.real(shape.rows) {
            conditions.push(format!("r < {}", sizes.real(shape.rows)));
        }
        if sizes.padded(shape.cols) != sizes.real(shape.cols) {
            conditions.push(format!("c < {}", sizes.real(shape.cols)));
        }
        if conditions.is_empty() { value } else { format!("{} ? {value} : 0.f", conditions.join(" && ")) }
    }

    pub(super) fn products(&self, group: &Group, out: &mut Text) {
        for (minus, r) in &group.products {
            let Kind::Product(mut a, mut b) = self.graph().nodes[r.node].kind else { unreachable!() };
            if r.flip {
                (a, b) = (b.t(), a.t());
            }
            let exact = self.block.exact(r.node);
            let elem = if exact { Elem::F32 } else { self.block.product };
            let inner = self.block.sizes.padded(self.graph().shape(a).cols);
            let mac = if elem != Elem::F32 && self.is_twice(a.node) { "mac_twice" } else { "mac" };
            let (a, b) = (self.operand(a, exact), self.operand(b, exact));
            out.line(format!("{mac}<{}, {inner}, {minus}>(acc, {a}, {b}, m, n);", elem.c()));
        }
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
                if sink.padded {
                    let value = self.expr(sink.value, "r", "c", false, None);
                    let value = self.guarded(sink.value.node, value);
                    let (rows, cols) = (sizes.padded(shape.rows), sizes.padded(shape.cols));
                    let statement = sink.statement.replace('@', &format!("({value})"));
                    out.line(format!("each<{rows}, {cols}>([&](int r, int c) {{ {statement} }});"));
                    return;
                }
                match self.sink_groups.get(s) {
                    Some(group) => {
                        out.line(format!(
                            "tiles<{}, {}>([&](auto& acc, int m, int n) {{",
                            sizes.padded(shape.rows),
                            sizes.padded(shape.cols)
                        ));
                        self.products(group, out);
                        out.line("}, [&](int r, int c, float acc) {");
                        let value = self.expr(sink.value, "r", "c", true, Some(group));
                        out.line(format!("if (r < {rows} && c < {cols}) {}", sink.statement.replace('@', &value)));
                        out.line("});");
                    }
                    None => {
                        let value = self.expr(sink.value, "r", "c", false, None);
                        out.line(format!(
                            "each<{rows}, {cols}>([&](int r, int c) {{ {} }});",
                            sink.statement.replace('@', &value)
                        ));
                    }
                }
                if !sink.condition.is_empty() {
                    out.line("}");
                }
            }
            Target::Node(n) => self.node(*n, out),
            Target::Copy(n) => self.copy(*n, out),
        }
    }

    /// A given value to shared memory, in the type of products.
    pub(super) fn copy(&self, id: usize, out: &mut Text) {
        let graph = self.graph();
        let (node, to) = (id % IMAGE, &self.places[&id]);
        if let Some(from) = self.fetched.get(&id) {
            out.line(format!("copy_block<{}>({}, {});", to.bytes, to.name, from.name));
            return;
        }
        let shape = graph.nodes[node].shape;
        let (rows, cols) = (self.block.sizes.padded(shape.rows), self.block.sizes.padded(shape.cols));
        out.line(format!(
            "each<{rows}, {cols}>([&](int r, int c) {{ {} = narrow<{}>({}); }});",
            to.element(graph, node, "r", "c"),
            to.elem.c(),
            self.places[&node].read(graph, node, "r", "c")
        ));
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
        let assigned = if self.places.contains_key(&n) { self.assign(n, "r", "c", "x") } else { String::new() };
        let store = format!("[&](int r, int c, float x) {{ {assigned} }}");
        let pad = |out: &mut Text| {
            if rows != real_rows || cols != real_cols {
                out.line(format!(
                    "each<{rows}, {cols}>([&](int r, int c) {{ if (r >= {real_rows} || c >= {real_cols}) {{ {} }} }});",
                    self.assign(n, "r", "c", "0.f")
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
                let group = self.groups.get(&n);
                let value = self.expr(Ref { node: n, flip: false }, "r", "c", true, group);
                let value = self.guarded(n, value);
                match group {
                    Some(group) => {
                        out.line(format!("tiles<{rows}, {cols}>([&](auto& acc, int m, int n) {{"));
                        self.products(group, out);
                        out.line("}, [&](int r, int c, float acc) {");
                        out.line(self.assign(n, "r", "c", &value));
                        out.line("});");
                    }
                    None => out.line(format!(
                        "each<{rows}, {cols}>([&](int r, int c) {{ {} }});",
                        self.assign(n, "r", "c", &value)
                    )),
                }
            }
            Kind::Product(..) => {
                let group = Group {
                    root: Ref { node: n, flip: false },
                    products: vec![(false, Ref { node: n, flip: false })],
                    others: vec![],
                };
                out.line(format!("tiles<{rows}, {cols}>([&](auto& acc, int m, int n) {{"));
                self.products(&group, out);
                out.line("}, [&](int r, int c, float acc) {");
                out.line(self.assign(n, "r", "c", "acc"));
                out.line("});");
            }
            Kind::Sum(x, over) => {
                let from = graph.shape(*x);
                let (count, terms) = match over {
                    Pos::Cols => (sizes.real(from.rows), sizes.real(from.cols)),
                    Pos::Rows => (sizes.real(from.cols), sizes.real(from.rows)),
                };
                let (value, result) = match over {
                    Pos::Cols => (at(*x, "i", "j"), element(n, "i", "0")),
                    Pos::Rows => (at(*x, "j", "i"), element(n, "0", "i")),
                };
                out.line(format!(
                    "sums<{count}, {terms}>([&](int i, int j) {{ return {value}; }}, [&](int i, float x) {{ {result} = x; }});"
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
                let back = *scan == ScanKind::After;
                out.line(format!(
                    "scan<{tokens}, {real_cols}, false, {back}>([&](int r, int c) {{ return {}; }}, {store});",
                    at(*x, "r", "c")
                ));
                pad(out);
            }
            Kind::RectSum(x) => out.line(format!(
                "rectangles<{tokens}>([&](int r, int c) {{ return {}; }}, [&](int r, float x) {{ {} = x; }});",
                at(*x, "r", "c"),
                element(n, "r", "0")
            )),
            Kind::Decay(decay, a) => {
                let value = at(*a, "r", "c");
                match decay {
                    DecayKind::Prefix | DecayKind::Suffix => {
                        let back = *decay == DecayKind::Suffix;
                        out.line(format!(
                            "scan<{tokens}, {real_cols}, true, {back}>([&](int r, int c) {{ return {value}; }}, {store});"
                        ));
                        pad(out);
                    }
                    DecayKind::Total => {
                        out.line(format!(
                            "totals<{tokens}, {real_cols}>([&](int r, int c) {{ return {value}; }}, {store});"
                        ));
                        pad(out);
                    }
                    DecayKind::Segment => {
                        out.line(format!("segments<{tokens}>([&](int r) {{ return {}; }}, {store});", at(*a, "r", "0")))
                    }
                }
            }
            Kind::Inverse(x) => {
                let (from, to) = (&self.places[&x.node], &self.places[&n]);
                assert!(!x.flip, "inverses are of lower matrices");
                let turn = graph.nodes[..n].iter().filter(|m| matches!(m.kind, Kind::Inverse(_))).count();
                out.line(format!("invert<{tokens}, {}>({}, {}, {}, {turn});", to.ld, from.name, from.ld, to.name));
            }
            Kind::DecayDot { p, w, a } => {
                let channels = sizes.real(graph.shape(*p).cols);
                let f = |r: &Ref| format!("[&](int r, int c) {{ return {}; }}", at(*r, "r", "c"));
                out.line(format!("decay_dot<{tokens}, {channels}>({}, {}, {}, {store});", f(p), f(w), f(a)));
            }
            Kind::DecayApply { m, w, a, transposed } => {
                let f = |r: &Ref| format!("[&](int r, int c) {{ return {}; }}", at(*r, "r", "c"));
                out.line(format!(
                    "decay_apply<{tokens}, {real_cols}, {transposed}>({}, {}, {}, {store});",
                    f(m),
                    f(w),
                    f(a)
                ));
                pad(out);
            }
            Kind::DecayRect { m, p, w, a } => {
                let f = |r: &Ref| format!("[&](int r, int c) {{ return {}; }}", at(*r, "r", "c"));
                out.line(format!(
                    "decay_rect<{tokens}, {real_cols}>({}, {}, {}, {}, {store});",
                    f(m),
                    f(p),
                    f(w),
                    f(a)
                ));
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
                        out.line(format!("{{ {} }}", self.assign(p, "t", "n", &format!("y{l}"))));
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
                    out.line(format!("{{ {} }}", self.assign(p, "t", "n", &value)));
                }
                out.line("}");
                out.line("});");
            }
            Kind::Part(..) => unreachable!("written with its system"),
        }
    }
}
