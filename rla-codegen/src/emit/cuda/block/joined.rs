//! The text of joined steps: a sweep over rows and columns, or tiles of products with what is done to their accumulators.

use std::collections::BTreeSet;

use super::{Group, State, Target};
use crate::emit::graph::{Kind, Ref};
use crate::emit::text::Text;

/// Matrices from device memory from which on a sweep reads several rows at a time.
const RECORDS: usize = 3;

/// Those rows: all that a warp has of 32 tokens.
const ROWS_AHEAD: usize = 4;

/// Values and sums of a sweep for which registers suffice then.
const MADE: usize = 12;

/// Elements of a result up to which its tiles are less than all warps' work.
const TURNED: usize = 2048;

/// Tiles of 16 rows that a tall tile has, in blocks of fewer than 512 threads and in others: as many tall tiles as there are warps come
/// first.
fn high(rows: usize, cols: usize, width: usize) -> (usize, usize) {
    // tiles for sixteen warps
    if rows * cols >= 16 * 32 * 8 * width { (4, 2) } else { (2, 1) }
}

impl State<'_, '_> {
    pub(super) fn joined(&self, targets: &[Target], out: &mut Text) {
        for target in targets {
            match target {
                Target::Node(n) => self.comment(*n, out),
                Target::Side(nodes) => nodes.iter().for_each(|n| self.comment(*n, out)),
                Target::Sink(s) => out.line(format!("// {}", self.block.sinks[*s].comment)),
                Target::Copy(_) | Target::Decays(_) | Target::Joined(_) | Target::System(_) | Target::Store(_) => {
                    unreachable!("these are not joined")
                }
            }
        }
        if targets.iter().any(|t| self.is_tile(t)) {
            self.joined_tiles(targets, out);
        } else {
            self.joined_sweep(targets, out);
        }
        self.held.borrow_mut().clear();
    }

    /// The element that a target makes, its expression and its group.
    pub(super) fn element_of(&self, target: &Target) -> (Ref, bool, Option<Group>) {
        match target {
            Target::Sink(s) => {
                let group = self.sink_groups.get(s).cloned();
                (self.block.sinks[*s].value, group.is_some(), group)
            }
            Target::Node(n) => match &self.graph().nodes[*n].kind {
                Kind::Sum(x, _) => (*x, false, None),
                _ => (Ref { node: *n, flip: false }, true, self.group_of(*n)),
            },
            _ => unreachable!("it makes one element"),
        }
    }

    fn value_of(&self, target: &Target) -> String {
        let (r, top, group) = self.element_of(target);
        // a product that is its own sum
        let value = match (&group, &self.graph().nodes[r.node].kind) {
            (Some(_), Kind::Product(..)) => "acc".into(),
            _ => self.expr(r, "r", "c + n", top, group.as_ref()),
        };
        self.guarded(r, value)
    }

    fn is_row_sum(&self, target: &Target) -> Option<usize> {
        match target {
            Target::Node(n) if matches!(self.graph().nodes[*n].kind, Kind::Sum(..)) => Some(*n),
            _ => None,
        }
    }

    /// Whether a value or its image is stored.
    fn is_stored(&self, n: usize) -> bool {
        !self.unstored.contains(&n) || self.own_image(n).is_some()
    }

    /// The statement of a sink for `y`, where the element is there.
    fn sink_store(&self, s: usize) -> String {
        let sink = &self.block.sinks[s];
        if sink.padded {
            return sink.statement.clone();
        }
        let shape = self.graph().shape(sink.value);
        let (rows, cols) = (self.block.sizes.real(shape.rows), self.block.sizes.real(shape.cols));
        format!("if (r < {rows} && c < {cols}) {}", sink.statement)
    }

    /// Whether a sweep waits for so much from device memory that several rows at a time pay, and makes so little that registers suffice.
    fn reads_records(&self, targets: &[Target]) -> bool {
        let (mut reads, mut leaves) = (BTreeSet::new(), BTreeSet::new());
        for target in targets {
            let (r, top, group) = self.element_of(target);
            self.reads(r, top, group.as_ref(), &mut reads, &mut leaves);
        }
        let records = reads.iter().filter(|n| self.is_record(**n) && self.graph().is_matrix(**n));
        records.count() >= RECORDS && targets.len() <= MADE
    }

    fn joined_sweep(&self, targets: &[Target], out: &mut Text) {
        let shape = self.shape_of(&targets[0]);
        let (rows, cols) = (self.block.sizes.padded(shape.rows), self.block.sizes.padded(shape.cols));
        let sums: Vec<usize> = targets.iter().filter_map(|t| self.is_row_sum(t)).collect();
        out.line("{");
        for target in targets {
            if let Target::Sink(s) = target {
                out.line(&self.block.sinks[*s].setup);
            }
        }
        let width = match cols {
            1 => "1".to_string(),
            _ => format!("sweep_width<{rows}, {cols}>({})", self.sweep_width(targets)),
        };
        out.line(format!("constexpr int N = {width};"));
        let count = sums.len();
        let ahead = self.reads_records(targets);
        self.ahead.set(ahead);
        let at_once = if ahead { ROWS_AHEAD } else { 1 };
        out.line(format!("sweep<{rows}, {cols}, N, {count}, {at_once}>([&](int r, int c, auto& sum) {{"));
        out.line("const Width<N> width;");
        let name = |target: &Target| match target {
            Target::Node(n) => format!("e{n}"),
            Target::Sink(s) => format!("o{s}"),
            _ => unreachable!("a sweep has no products"),
        };
        let values: Vec<String> = targets.iter().filter(|t| self.is_row_sum(t).is_none()).map(name).collect();
        if !values.is_empty() {
            out.line(format!("Some<N> {};", values.join(", ")));
        }
        out.line("#pragma unroll");
        out.line("for (int n = 0; n < N; n++) {");
        for target in targets {
            self.through.set(cols == 1);
            let value = self.value_of(target);
            self.through.set(false);
            match self.is_row_sum(target) {
                Some(n) => {
                    let at = sums.iter().position(|s| *s == n).expect("collected");
                    out.line(format!("sum[{at}] += {value};"));
                }
                None => {
                    out.line(format!("{}.x[n] = {value};", name(target)));
                    if let Target::Node(n) = target {
                        self.held.borrow_mut().insert(*n, format!("e{n}.x[n]"));
                    }
                }
            }
        }
        out.line("}");
        for target in targets {
            match target {
                Target::Sink(s) => {
                    let sink = &self.block.sinks[*s];
                    let store = self.sink_store(*s).replace(", y", &format!(", o{s}"));
                    match sink.condition.as_str() {
                        "" => out.line(store),
                        condition => out.line(format!("if ({condition}) {{ {store} }}")),
                    }
                }
                Target::Node(n) if self.is_row_sum(target).is_none() && self.is_stored(*n) => {
                    out.line(self.assign(*n, "r", "c", &format!("e{n}")))
                }
                _ => {}
            }
        }
        self.ahead.set(false);
        out.line("}, [&](int r, const auto& sum) {");
        for (i, n) in sums.iter().enumerate() {
            out.line(format!("{} = sum[{i}];", self.places[n].element(self.graph(), *n, "r", "0")));
        }
        out.line("});");
        out.line("}");
    }

    fn joined_tiles(&self, targets: &[Target], out: &mut Text) {
        let shape = self.shape_of(&targets[0]);
        let (rows, cols) = (self.block.sizes.padded(shape.rows), self.block.sizes.padded(shape.cols));
        let (tall, width) = self.tile_of(targets, shape);
        let high = match (tall, high(rows, cols, width)) {
            (true, (few, many)) => format!("(THREADS < 512 ? {few} : {many})"),
            (false, _) => "1".into(),
        };
        let turn = if rows * cols <= TURNED { 4 * self.next_turn() } else { 0 };
        let each = "[&](auto width, int r, int c, int n, int w, int e)";
        out.line("{");
        let sides = || targets.iter().filter_map(|t| if let Target::Side(nodes) = t { Some(nodes) } else { None });
        for n in sides().flatten().filter(|n| self.parted.contains(n)) {
            out.line(format!("float sum{n}[4] = {{}};"));
        }
        out.line(format!("each_tile<{rows}, {cols}, {high}, {width}>({turn}, [&](int m, int n) {{"));
        out.line(format!("constexpr int H = {high}, W = {width};"));
        let lower = self.is_lower(targets);
        let abreast = self.abreast(targets).filter(|_| !tall && width <= 2);
        if let Some((nodes, length)) = &abreast {
            nodes.iter().for_each(|n| out.line(format!("float a{n}_[H * W][4] = {{}};")));
            self.lower_only(lower, out, |out| self.products_abreast(nodes, *length, width, out));
        }
        let made = |n: &usize| abreast.as_ref().is_some_and(|(nodes, _)| nodes.contains(n));
        let (mut stores, mut held) = (vec![], 0);
        // sums of rows that follow one another, in one pass: a store between them would have all read again
        let mut sums: Vec<(usize, String)> = vec![];
        let row_sums = |sums: &mut Vec<(usize, String)>, out: &mut Text| {
            if sums.is_empty() {
                return;
            }
            sums.iter().for_each(|(n, _)| out.line(format!("float s{n}[2 * H] = {{}};")));
            out.line(format!("in_tile<H, W>(m, n, {each} {{"));
            sums.iter().for_each(|(n, value)| out.line(format!("s{n}[w / W * 2 + (e >> 1)] += {value};")));
            out.line("});");
            for (n, _) in sums.drain(..) {
                let (parts, to) = (cols / (8 * width), &self.places[&n].name);
                out.line(format!("put_row_parts<{parts}, H>(s{n}, {to}, m, n / (8 * W));"));
            }
        };
        // results that leave come last: nobody reads them
        let (leaving, staying): (Vec<&Target>, Vec<&Target>) =
            targets.iter().partition(|t| matches!(t, Target::Sink(_)));
        for target in staying.into_iter().chain(leaving) {
            if self.is_row_sum(target).is_none() && !matches!(target, Target::Node(n) if self.group_of(*n).is_none()) {
                row_sums(&mut sums, out);
            }
            match target {
                Target::Side(nodes) => {
                    let results = || nodes.iter().filter(|n| !self.parted.contains(n));
                    results().for_each(|n| out.line(format!("float a{n}_[H * W][4] = {{}};")));
                    held += results().count();
                    self.side_products(nodes, tall, held, &|n| format!("a{n}_"), out);
                    for n in results() {
                        let target = Target::Node(*n);
                        self.tile_value(&target, each, out);
                        stores.push(*n);
                    }
                }
                Target::Node(n) => match self.is_row_sum(target) {
                    Some(_) => sums.push((*n, self.value_of(target))),
                    None => {
                        if !made(n) {
                            out.line(format!("float a{n}_[H * W][4] = {{}};"));
                            if let Some(group) = self.group_of(*n) {
                                let acc = format!("a{n}_");
                                self.lower_only(lower, out, |out| self.products(&group, &acc, tall, out));
                            }
                        }
                        self.tile_value(target, each, out);
                        stores.push(*n);
                    }
                },
                Target::Sink(s) => {
                    let sink = &self.block.sinks[*s];
                    let open =
                        if sink.condition.is_empty() { "{".into() } else { format!("if ({}) {{", sink.condition) };
                    out.line(open);
                    out.line(&sink.setup);
                    out.line(format!("float o{s}[H * W][4] = {{}};"));
                    if let Some(group) = self.sink_groups.get(s) {
                        self.products(group, &format!("o{s}"), tall, out);
                    }
                    let value = self.value_of(target);
                    out.line(format!(
                        "in_tile<H, W>(m, n, {each} {{ const float acc = o{s}[w][e]; o{s}[w][e] = {value}; }});"
                    ));
                    let store = self.sink_store(*s);
                    let put = match sink.rows.filter(|_| width % 2 == 0) {
                        Some(elem) => format!("put_tile_rows<{}, H, W>", elem.c()),
                        None => "put_tile<H, W>".into(),
                    };
                    out.line(format!("{put}(m, n, o{s}, [&](int r, int c, auto y) {{ {store} }});"));
                    out.line("}");
                }
                Target::Copy(_) | Target::Decays(_) | Target::Joined(_) | Target::System(_) | Target::Store(_) => {
                    unreachable!("these are not joined")
                }
            }
        }
        row_sums(&mut sums, out);
        for n in stores.into_iter().filter(|n| self.is_stored(*n)) {
            let puts = self.assign(n, "r", "c", "y");
            out.line(format!("put_tile<H, W>(m, n, a{n}_, [&](int r, int c, auto y) {{ {puts} }});"));
        }
        out.line("});");
        sides().for_each(|nodes| self.side_sums(nodes, out));
        out.line("}");
    }

    /// Work on a tile, of a result that is zero above the diagonal where it is not: blocks of zeros cost no products.
    fn lower_only(&self, lower: bool, out: &mut Text, work: impl FnOnce(&mut Text)) {
        if lower {
            out.line("if (m + 16 * H > n) {");
        }
        work(out);
        if lower {
            out.line("}");
        }
    }

    /// The tiles of tall joined work, where a block of so many threads has a warp for each.
    pub(super) fn warp_tiles(&self, targets: &[Target], threads: usize) -> Option<String> {
        let shape = self.shape_of(&targets[0]);
        let (rows, cols) = (self.block.sizes.padded(shape.rows), self.block.sizes.padded(shape.cols));
        let (tall, width) = self.tile_of(targets, shape);
        let (few, many) = high(rows, cols, width);
        let height = 16 * if threads < 512 { few } else { many };
        let fits = tall && rows * cols > TURNED && rows / height * (cols / (8 * width)) <= threads / 32;
        fits.then(|| format!("each_tile<{rows}, {cols}, {}, {width}>", height / 16))
    }

    /// Whether all that leaves a joined step is zero above the diagonal.
    fn is_lower(&self, targets: &[Target]) -> bool {
        let lower = |node: usize| self.graph().triangle(Ref { node, flip: false }) == Some(true);
        targets.iter().all(|target| match target {
            Target::Node(n) => match (self.is_row_sum(target), &self.graph().nodes[*n].kind) {
                (Some(_), Kind::Sum(x, _)) => self.graph().triangle(*x) == Some(true),
                _ => !self.is_stored(*n) && self.own_image(*n).is_none() || lower(*n),
            },
            _ => false,
        })
    }

    /// The elements of a value from its products, in their accumulator's place.
    fn tile_value(&self, target: &Target, each: &str, out: &mut Text) {
        let Target::Node(n) = target else { unreachable!("a value") };
        let value = self.value_of(target);
        if value != "acc" {
            out.line(format!(
                "in_tile<H, W>(m, n, {each} {{ const float acc = a{n}_[w][e]; a{n}_[w][e] = {value}; }});"
            ));
        }
        self.held.borrow_mut().insert(*n, format!("a{n}_[w][e]"));
    }
}
