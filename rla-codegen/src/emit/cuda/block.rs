//! A set of values computed by one block, step by step, on matrices in shared memory (or global, where it is full).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Interface;
use super::expr;
use super::place::{Elem, Place, Sizes, turned};
use crate::emit::graph::{Graph, Kind, Pos, Ref};
use crate::emit::text::Text;
use crate::tile::{Axis, DecayKind, Direction, Leaf, MapFn, ScanKind};

/// Where an elementwise result goes: a statement with `@` for the value, at row `r` and column `c` of the reference.
#[derive(Clone, Debug)]
pub struct Sink {
    /// The value.
    pub value: Ref,
    /// The condition around it, may be empty.
    pub condition: String,
    /// The statement.
    pub statement: String,
    /// Statement of the recurrence, for the comment.
    pub comment: String,
    /// Whether the padding is written too, with zeros.
    pub padded: bool,
    /// Whether it replaces what other steps read: it runs after all of them.
    pub last: bool,
}

/// What a block computes.
pub struct Block<'a> {
    /// The graph.
    pub graph: &'a Graph,
    /// Sizes.
    pub sizes: &'a Sizes,
    /// Type of products.
    pub product: Elem,
    /// Statements for comments.
    pub interface: &'a Interface,
    /// Values that are there already.
    pub given: BTreeMap<usize, Place>,
    /// Values wanted at places outside.
    pub wanted: BTreeMap<usize, Place>,
    /// Results written elementwise.
    pub sinks: Vec<Sink>,
    /// Bytes of shared memory that may be used, after `reserved`.
    pub budget: usize,
    /// Bytes at the start of shared memory that belong to the frame.
    pub reserved: usize,
}

/// Text of a block's work.
pub struct Written {
    /// Declarations of pointers into shared memory and scratch.
    pub pointers: Vec<String>,
    /// The steps.
    pub body: Vec<String>,
    /// Bytes of shared memory.
    pub shared: usize,
    /// Bytes of global scratch for a block.
    pub scratch: usize,
    /// Leaves that are read from the caller's memory.
    pub leaves: BTreeSet<usize>,
}

/// Products added into one accumulator.
#[derive(Clone, Debug)]
pub struct Group {
    /// The sum that the accumulator stands for.
    pub root: Ref,
    /// Each product: subtracted, and the reference (flip as seen from the target).
    pub products: Vec<(bool, Ref)>,
    /// The other terms.
    pub others: Vec<(bool, Ref)>,
}

enum Target {
    Node(usize),
    Sink(usize),
}

struct State<'a, 'b> {
    block: &'b Block<'a>,
    /// Nodes that are stored, given ones included.
    places: BTreeMap<usize, Place>,
    /// How often each node is used here.
    uses: HashMap<usize, usize>,
    groups: HashMap<usize, Group>,
    sink_groups: HashMap<usize, Group>,
}

/// Whether an operation reads its operands from memory, in any order.
fn reads_stored(kind: &Kind) -> bool {
    !matches!(kind, Kind::Leaf(_) | Kind::Map(..) | Kind::Lower(_) | Kind::Sum(..) | Kind::Part(..))
}

impl<'a> Block<'a> {
    /// Nodes that the results need, given ones not looked behind.
    fn needed(&self) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut todo: Vec<usize> = self.wanted.keys().copied().collect();
        todo.extend(self.sinks.iter().map(|s| s.value.node));
        while let Some(node) = todo.pop() {
            if !needed.insert(node) || self.given.contains_key(&node) {
                continue;
            }
            todo.extend(self.graph.nodes[node].kind.operands().iter().map(|r| r.node));
            // a system's writes are made with it
            if let Kind::Solve { .. } = self.graph.nodes[node].kind {
                todo.extend(self.parts(node));
            }
        }
        needed
    }

    fn parts(&self, solve: usize) -> Vec<usize> {
        let part = |n: &usize| matches!(self.graph.nodes[*n].kind, Kind::Part(s, _) if s == solve);
        (0..self.graph.nodes.len()).filter(part).collect()
    }

    /// Wanted values that are stored rounded, and used here as they are.
    fn copies(&self, needed: &BTreeSet<usize>) -> Vec<usize> {
        let used = |node: usize| {
            needed.iter().filter(|n| !self.given.contains_key(n)).any(|n| {
                let kind = &self.graph.nodes[*n].kind;
                kind.operands().iter().any(|r| r.node == node) && (!matches!(kind, Kind::Product(..)) || self.exact(*n))
            })
        };
        let copied = |(n, place): &(&usize, &Place)| {
            let f32_only = matches!(self.graph.nodes[**n].kind, Kind::Inverse(_) | Kind::Part(..));
            self.given.contains_key(n) || (place.elem != Elem::F32 && (f32_only || used(**n)))
        };
        self.wanted.iter().filter(copied).map(|(n, _)| *n).collect()
    }

    /// Writes the steps.
    pub fn write(mut self) -> Written {
        for node in self.copies(&self.needed()) {
            let place = self.wanted.remove(&node).expect("it is wanted");
            self.sinks.push(Sink {
                value: Ref { node, flip: false },
                condition: String::new(),
                statement: format!("{} = narrow<{}>(@);", place.element(self.graph, node, "r", "c"), place.elem.c()),
                comment: "rounded, for the kernels that follow".into(),
                padded: true,
                last: false,
            });
        }
        self.steps()
    }

    fn steps(&self) -> Written {
        let graph = self.graph;
        let needed = self.needed();
        let mut uses: HashMap<usize, usize> = HashMap::new();
        let mut stored_by_user: BTreeSet<usize> = BTreeSet::new();
        for n in needed.iter().filter(|n| !self.given.contains_key(n)) {
            let kind = &graph.nodes[*n].kind;
            for r in kind.operands() {
                *uses.entry(r.node).or_default() += 1;
                if reads_stored(kind) {
                    stored_by_user.insert(r.node);
                }
            }
        }
        for sink in &self.sinks {
            *uses.entry(sink.value.node).or_default() += 1;
        }
        let used_as_f32 = |node: usize| {
            needed.iter().filter(|n| !self.given.contains_key(n)).any(|n| {
                let kind = &graph.nodes[*n].kind;
                kind.operands().iter().any(|r| r.node == node) && (!matches!(kind, Kind::Product(..)) || self.exact(*n))
            }) || self.sinks.iter().any(|s| s.value.node == node)
        };
        let mut places = self.given.clone();
        let mut depth: HashMap<usize, usize> = HashMap::new();
        for &n in &needed {
            if self.given.contains_key(&n) {
                continue;
            }
            let kind = &graph.nodes[n].kind;
            let count = uses.get(&n).copied().unwrap_or(0);
            let stored = match kind {
                Kind::Leaf(Leaf::Number(_) | Leaf::Size(_) | Leaf::Const(_)) => false,
                Kind::Leaf(_) => stored_by_user.contains(&n),
                Kind::Solve { .. } => false,
                Kind::Map(f, args) => {
                    let below = args.iter().map(|a| depth.get(&a.node).copied().unwrap_or(0)).sum::<usize>() + 1;
                    let costly = expr::is_costly(*f) || below > 6;
                    let stored = stored_by_user.contains(&n) || (count > 1 && costly) || below > 24;
                    depth.insert(n, if stored { 0 } else { below });
                    stored
                }
                Kind::Lower(_) => stored_by_user.contains(&n),
                _ => true,
            };
            if let Some(place) = self.wanted.get(&n) {
                places.insert(n, place.clone());
            } else if stored {
                let part = matches!(kind, Kind::Part(..) | Kind::Inverse(_));
                let elem = if graph.is_matrix(n) && !part && !used_as_f32(n) { self.product } else { Elem::F32 };
                places.insert(n, Place::of(graph, self.sizes, n, elem));
            }
        }
        let candidate = |n: usize, places: &BTreeMap<usize, Place>| {
            matches!(graph.nodes[n].kind, Kind::Product(..))
                && uses.get(&n) == Some(&1)
                && !self.wanted.contains_key(&n)
                && places.contains_key(&n)
                && !self.given.contains_key(&n)
        };
        let mut state =
            State { block: self, places, uses: uses.clone(), groups: HashMap::new(), sink_groups: HashMap::new() };
        for &n in &needed {
            let is_map = matches!(graph.nodes[n].kind, Kind::Map(..));
            if is_map && state.places.contains_key(&n) && !self.given.contains_key(&n) && graph.is_matrix(n) {
                let root = Ref { node: n, flip: false };
                if let Some(group) = state.find(root, true, &|m, p| candidate(m, p)) {
                    group.products.iter().for_each(|(_, r)| {
                        state.places.remove(&r.node);
                    });
                    state.groups.insert(n, group);
                }
            }
        }
        for (s, sink) in self.sinks.iter().enumerate() {
            let root = sink.value;
            if state.places.contains_key(&root.node) && !candidate(root.node, &state.places) {
                continue;
            }
            if !graph.is_matrix(root.node) || uses.get(&root.node) != Some(&1) {
                continue;
            }
            if let Some(group) = state.find(root, true, &|m, p| candidate(m, p)) {
                group.products.iter().for_each(|(_, r)| {
                    state.places.remove(&r.node);
                });
                state.sink_groups.insert(s, group);
            }
        }
        state.emit(&needed)
    }

    /// Products of two token-by-token matrices are made in three tf32 parts: they build what solves a system.
    fn exact(&self, node: usize) -> bool {
        let Kind::Product(a, b) = self.graph.nodes[node].kind else { return true };
        let square = |r: Ref| {
            let s = self.graph.shape(r);
            s.rows == Axis::Token && s.cols == Axis::Token
        };
        square(a) && square(b)
    }
}

type Candidate<'c> = &'c dyn Fn(usize, &BTreeMap<usize, Place>) -> bool;

impl State<'_, '_> {
    fn graph(&self) -> &Graph {
        self.block.graph
    }

    /// Whether an expression goes through a node without reading memory, and no other does.
    fn is_inline(&self, node: usize) -> bool {
        !self.places.contains_key(&node) && self.uses.get(&node) == Some(&1)
    }

    /// The first group of products below a reference that its expression adds up.
    fn find(&self, r: Ref, top: bool, candidate: Candidate) -> Option<Group> {
        if !top && !self.is_inline(r.node) && !candidate(r.node, &self.places) {
            return None;
        }
        let shape = self.graph().shape(r);
        if shape.rows == Axis::One || shape.cols == Axis::One {
            return None;
        }
        let mut group = Group { root: r, products: vec![], others: vec![] };
        self.terms(r, top, false, candidate, &mut group);
        if !group.products.is_empty() {
            return Some(group);
        }
        let Kind::Map(_, args) = &self.graph().nodes[r.node].kind else { return None };
        args.iter().find_map(|a| self.find(Ref { node: a.node, flip: a.flip != r.flip }, false, candidate))
    }

    fn terms(&self, r: Ref, top: bool, minus: bool, candidate: Candidate, group: &mut Group) {
        if candidate(r.node, &self.places) {
            group.products.push((minus, r));
            return;
        }
        let arg = |a: &Ref| Ref { node: a.node, flip: a.flip != r.flip };
        let same = |a: &Ref| self.graph().shape(arg(a)) == self.graph().shape(r);
        match &self.graph().nodes[r.node].kind {
            Kind::Map(MapFn::Add, args) if top || self.is_inline(r.node) => {
                for a in args {
                    if same(a) {
                        self.terms(arg(a), false, minus, candidate, group)
                    } else {
                        group.others.push((minus, arg(a)))
                    }
                }
            }
            Kind::Map(MapFn::Sub, args) if top || self.is_inline(r.node) => {
                for (a, flip) in args.iter().zip([false, true]) {
                    let sign = minus != flip;
                    if same(a) {
                        self.terms(arg(a), false, sign, candidate, group)
                    } else {
                        group.others.push((sign, arg(a)))
                    }
                }
            }
            Kind::Map(MapFn::Neg, args) if top || self.is_inline(r.node) => {
                self.terms(arg(&args[0]), false, !minus, candidate, group)
            }
            _ => group.others.push((minus, r)),
        }
    }

    /// The value of a reference at (row, col); `acc` stands for a group's products.
    fn expr(&self, r: Ref, row: &str, col: &str, top: bool, group: Option<&Group>) -> String {
        if let Some(group) = group
            && group.root == r
        {
            let mut text = "acc".to_string();
            for (minus, other) in &group.others {
                let sign = if *minus { "-" } else { "+" };
                text += &format!(" {sign} {}", self.expr(*other, row, col, false, None));
            }
            return format!("({text})");
        }
        let (row, col) = turned(r, row, col);
        let node = r.node;
        if !top && let Some(place) = self.places.get(&node) {
            return place.read(self.graph(), node, row, col);
        }
        match &self.graph().nodes[node].kind {
            Kind::Leaf(leaf) => {
                // a number a row is the same in every column
                let col = if self.graph().nodes[node].shape.cols == Axis::One { "0" } else { col };
                self.leaf(*leaf, row, col)
            }
            Kind::Map(f, args) => {
                // seen from the operands, which are not flipped with this reference
                let turn = |x: &Ref| Ref { node: x.node, flip: x.flip != r.flip };
                let group = group.map(|g| Group {
                    root: turn(&g.root),
                    others: g.others.iter().map(|(minus, x)| (*minus, turn(x))).collect(),
                    products: g.products.clone(),
                });
                let args: Vec<String> = args.iter().map(|a| self.expr(*a, row, col, false, group.as_ref())).collect();
                expr::map(*f, &args)
            }
            Kind::Lower(x) => format!("({row} > {col} ? {} : 0.f)", self.expr(*x, row, col, false, None)),
            other => unreachable!("{other:?} is stored"),
        }
    }

    fn leaf(&self, leaf: Leaf, row: &str, col: &str) -> String {
        match leaf {
            Leaf::Number(x) => expr::number(x),
            Leaf::Size(s) => format!("{}.f", self.block.sizes.sides[s as usize]),
            Leaf::Const(i) => format!("const{i}"),
            Leaf::Valid => format!("({row} < ch.valid ? 1.f : 0.f)"),
            Leaf::Input(i) => format!("in{i}({row}, {col})"),
            Leaf::OutputGrad(i) => format!("og{i}({row}, {col})"),
            Leaf::Identity(_) => format!("({row} == {col} ? 1.f : 0.f)"),
            other => unreachable!("{other:?} is given"),
        }
    }

    /// Stored nodes and leaves that an expression reads.
    fn reads(&self, r: Ref, top: bool, group: Option<&Group>, out: &mut BTreeSet<usize>, leaves: &mut BTreeSet<usize>) {
        if let Some(group) = group
            && group.products.iter().any(|(_, p)| p.node == r.node)
        {
            let Kind::Product(a, b) = self.graph().nodes[r.node].kind else { unreachable!() };
            out.extend([a.node, b.node]);
            return;
        }
        if !top && self.places.contains_key(&r.node) {
            out.insert(r.node);
            return;
        }
        let kind = &self.graph().nodes[r.node].kind;
        if let Kind::Leaf(_) = kind {
            leaves.insert(r.node);
        }
        kind.operands().iter().for_each(|a| self.reads(*a, false, group, out, leaves));
    }

    fn emit(&self, needed: &BTreeSet<usize>) -> Written {
        let graph = self.graph();
        let block = self.block;
        let mut steps: Vec<(Target, BTreeSet<usize>, Vec<usize>)> = vec![];
        let mut leaves = BTreeSet::new();
        for &n in needed {
            if block.given.contains_key(&n) {
                continue;
            }
            let kind = &graph.nodes[n].kind;
            let mut reads = BTreeSet::new();
            if let Kind::Solve { .. } = kind {
                for r in kind.operands() {
                    self.reads(r, false, None, &mut reads, &mut leaves);
                }
                steps.push((Target::Node(n), reads, block.parts(n)));
                continue;
            }
            if !self.places.contains_key(&n) || matches!(kind, Kind::Part(..)) {
                continue;
            }
            self.reads(Ref { node: n, flip: false }, true, self.groups.get(&n), &mut reads, &mut leaves);
            steps.push((Target::Node(n), reads, vec![n]));
        }
        let mut last = vec![];
        for (s, sink) in block.sinks.iter().enumerate() {
            let mut reads = BTreeSet::new();
            let group = self.sink_groups.get(&s);
            self.reads(sink.value, false, group, &mut reads, &mut leaves);
            if sink.last {
                last.push((Target::Sink(s), reads, vec![]));
                continue;
            }
            // as early as its operands are there, so that they can go
            let after = steps.iter().rposition(|(_, _, writes)| writes.iter().any(|w| reads.contains(w)));
            steps.insert(after.map_or(0, |i| i + 1), (Target::Sink(s), reads, vec![]));
        }
        let before_last = steps.len();
        steps.extend(last);
        let (offsets, shared, scratch_places, scratch) = self.allocate(&steps);
        let mut body = Text::default();
        // what was written and read since the last barrier
        let (mut written, mut touched): (BTreeSet<usize>, BTreeSet<usize>) = Default::default();
        let range = |n: usize| offsets.get(&n).map(|o| (*o, *o + self.places[&n].bytes));
        for (index, (target, reads, writes)) in steps.iter().enumerate() {
            if index == before_last {
                body.line("__syncthreads();");
                written.clear();
                touched.clear();
            }
            let overlaps = |n: usize, others: &BTreeSet<usize>| {
                range(n).is_some_and(|(a, b)| {
                    others.iter().any(|m| *m != n && range(*m).is_some_and(|(c, d)| a < d && c < b))
                })
            };
            if reads.iter().any(|r| written.contains(r)) || writes.iter().any(|w| overlaps(*w, &touched)) {
                body.line("__syncthreads();");
                written.clear();
                touched.clear();
            }
            self.step(target, &mut body);
            if matches!(target, Target::Node(n) if matches!(graph.nodes[*n].kind, Kind::Inverse(_))) {
                written.clear();
                touched.clear();
            } else {
                written.extend(writes);
                touched.extend(reads);
                touched.extend(writes);
            }
        }
        let mut pointers = vec![];
        for (n, place) in &self.places {
            let c = place.elem.c();
            if let Some(offset) = offsets.get(n) {
                pointers.push(format!("{c}* const {} = ({c}*)(shared + {});", place.name, offset + block.reserved));
            } else if let Some(offset) = scratch_places.get(n) {
                pointers.push(format!("{c}* const {} = ({c}*)(scratch + {offset});", place.name));
            }
        }
        let body = body.finish().lines().map(str::to_string).collect();
        Written { pointers, body, shared: shared + block.reserved, scratch, leaves }
    }

    /// Offsets in shared memory by first fit over lifetimes; what does not fit goes to scratch, the largest first.
    #[allow(clippy::type_complexity)]
    fn allocate(
        &self,
        steps: &[(Target, BTreeSet<usize>, Vec<usize>)],
    ) -> (BTreeMap<usize, usize>, usize, BTreeMap<usize, usize>, usize) {
        let mut life: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (i, (_, reads, writes)) in steps.iter().enumerate() {
            for n in reads.iter().chain(writes) {
                if self.block.given.contains_key(n) || self.block.wanted.contains_key(n) || !self.places.contains_key(n)
                {
                    continue;
                }
                life.entry(*n).or_insert((i, i)).1 = i;
            }
        }
        let (mut scratch_places, mut scratch) = (BTreeMap::new(), 0);
        loop {
            let mut offsets: BTreeMap<usize, usize> = BTreeMap::new();
            let mut peak = 0;
            let mut order: Vec<usize> = life.keys().copied().collect();
            order.sort_by_key(|n| life[n].0);
            for n in order {
                let bytes = self.places[&n].bytes.next_multiple_of(128);
                let mut busy: Vec<(usize, usize)> = offsets
                    .iter()
                    .filter(|(m, _)| life[m].0 <= life[&n].1 && life[&n].0 <= life[m].1)
                    .map(|(m, o)| (*o, *o + self.places[m].bytes.next_multiple_of(128)))
                    .collect();
                busy.sort_unstable();
                let mut at = 0;
                for (start, end) in busy {
                    if at + bytes <= start {
                        break;
                    }
                    at = at.max(end);
                }
                offsets.insert(n, at);
                peak = peak.max(at + bytes);
            }
            let budget = self.block.budget.saturating_sub(self.block.reserved);
            let largest = life.keys().copied().max_by_key(|n| (self.places[n].bytes, *n));
            match largest {
                Some(n) if peak > budget => {
                    scratch_places.insert(n, scratch);
                    scratch += self.places[&n].bytes.next_multiple_of(128);
                    life.remove(&n);
                }
                _ => return (offsets, peak, scratch_places, scratch),
            }
        }
    }

    fn comment(&self, node: usize, out: &mut Text) {
        if let Some(origin) = self.graph().nodes[node].origin
            && let Some(statement) = self.block.interface.statements.get(origin as usize)
        {
            let line = format!("// {statement}");
            out.line(line);
        }
    }

    /// `0` beyond the real rows and columns.
    fn guarded(&self, node: usize, value: String) -> String {
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

    fn products(&self, group: &Group, out: &mut Text) {
        for (minus, r) in &group.products {
            let Kind::Product(mut a, mut b) = self.graph().nodes[r.node].kind else { unreachable!() };
            if r.flip {
                (a, b) = (b.t(), a.t());
            }
            let exact = self.block.exact(r.node);
            let elem = if exact { Elem::F32 } else { self.block.product };
            let inner = self.block.sizes.padded(self.graph().shape(a).cols);
            let operand = |x: Ref| self.places[&x.node].matrix(x.flip);
            out.line(format!("mac<{}, {inner}, {minus}>(acc, {}, {}, m, n);", elem.c(), operand(a), operand(b)));
        }
    }

    fn step(&self, target: &Target, out: &mut Text) {
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
        }
    }

    fn node(&self, n: usize, out: &mut Text) {
        let graph = self.graph();
        let sizes = self.block.sizes;
        let shape = graph.nodes[n].shape;
        let kind = &graph.nodes[n].kind;
        self.comment(n, out);
        let at = |r: Ref, row: &str, col: &str| self.expr(r, row, col, false, None);
        let narrow = |n: usize, value: &str| {
            let elem = self.places[&n].elem;
            if elem == Elem::F32 { value.to_string() } else { format!("narrow<{}>({value})", elem.c()) }
        };
        let element = |n: usize, row: &str, col: &str| self.places[&n].element(graph, n, row, col);
        let (rows, cols) = (sizes.padded(shape.rows), sizes.padded(shape.cols));
        let (real_rows, real_cols) = (sizes.real(shape.rows), sizes.real(shape.cols));
        let tokens = sizes.chunk;
        // (r, c) of the node from a function that stores one float
        let store = format!(
            "[&](int r, int c, float x) {{ {} = {}; }}",
            if self.places.contains_key(&n) { element(n, "r", "c") } else { String::new() },
            if self.places.contains_key(&n) { narrow(n, "x") } else { String::new() }
        );
        let pad = |out: &mut Text| {
            if rows != real_rows || cols != real_cols {
                out.line(format!(
                    "each<{rows}, {cols}>([&](int r, int c) {{ if (r >= {real_rows} || c >= {real_cols}) {} = {}; }});",
                    element(n, "r", "c"),
                    narrow(n, "0.f")
                ));
            }
        };
        match kind {
            Kind::Map(..) | Kind::Lower(_) | Kind::Leaf(_) => {
                let group = self.groups.get(&n);
                let value = self.expr(Ref { node: n, flip: false }, "r", "c", true, group);
                let value = self.guarded(n, value);
                match group {
                    Some(group) => {
                        out.line(format!("tiles<{rows}, {cols}>([&](auto& acc, int m, int n) {{"));
                        self.products(group, out);
                        out.line("}, [&](int r, int c, float acc) {");
                        out.line(format!("{} = {};", element(n, "r", "c"), narrow(n, &value)));
                        out.line("});");
                    }
                    None => out.line(format!(
                        "each<{rows}, {cols}>([&](int r, int c) {{ {} = {}; }});",
                        element(n, "r", "c"),
                        narrow(n, &value)
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
                out.line(format!("{} = {};", element(n, "r", "c"), narrow(n, "acc")));
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
                out.line(format!("invert<{tokens}, {}>({}, {}, {});", to.ld, from.name, from.ld, to.name));
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
                        out.line(format!("{} = {};", element(p, "t", "n"), narrow(p, &format!("y{l}"))));
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
                    out.line(format!(
                        "{} = {};",
                        element(p, "t", "n"),
                        narrow(p, &format!("n < {real_cols} ? {value} : 0.f"))
                    ));
                }
                out.line("}");
                out.line("});");
            }
            Kind::Part(..) => unreachable!("written with its system"),
        }
    }
}
