//! The sequential stage of one group of states, transposed and state-stationary (templates/cuda/chain.cuh).
//!
//! Legal where every value between the states' readouts and their updates is per channel of the states' free side: then a
//! warp owns 16 channels from the first chunk to the last. What holds no state comes as right operands, numbers per token,
//! and inputs per channel.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Interface;
use super::expr;
use super::place::{Elem, Place, Sizes};
use crate::emit::graph::{Graph, Kind, Ref};
use crate::emit::text::Text;
use crate::tile::{Axis, Leaf, MapFn, Shape};

/// One group of states and what is computed with it.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// The free side.
    pub free: Option<Axis>,
    /// The carried leaves, by state.
    pub carried: BTreeMap<usize, usize>,
    /// Values in registers.
    pub tiles: BTreeSet<usize>,
    /// Right operands: matrices without a state.
    pub images: BTreeSet<usize>,
    /// Numbers and vectors without a state.
    pub vectors: BTreeSet<usize>,
    /// Matrices along the free side without a state that another kernel computes.
    pub given: BTreeSet<usize>,
}

/// How a product is computed in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Multiply {
    /// The operand in registers.
    tile: usize,
    /// The right operand in memory.
    image: usize,
    /// Whether element (k, n) is at row k of the image.
    down: bool,
}

impl Chain {
    /// The chain of states with a free side; `carried` maps their index to the leaf's node.
    pub fn new(free: Axis, carried: BTreeMap<usize, usize>) -> Chain {
        Chain { free: Some(free), tiles: carried.values().copied().collect(), carried, ..Chain::default() }
    }

    fn is_tile(&self, shape: Shape) -> bool {
        let free = self.free.expect("set");
        shape == Shape::new(Axis::Token, free) || (shape.rows == free && matches!(shape.cols, Axis::Side(_)))
    }

    /// Adds a value with all that it needs, or says what does not fit.
    pub fn add(&mut self, graph: &Graph, depends: &[bool], node: usize) -> Result<(), String> {
        let before = self.clone();
        let result = self.visit(graph, depends, node);
        if result.is_err() {
            *self = before;
        }
        result
    }

    fn visit(&mut self, graph: &Graph, depends: &[bool], node: usize) -> Result<(), String> {
        let Node { kind, shape } = Node { kind: &graph.nodes[node].kind, shape: graph.nodes[node].shape };
        if self.tiles.contains(&node) || self.vectors.contains(&node) || self.given.contains(&node) {
            return Ok(());
        }
        if let Kind::Leaf(Leaf::Number(_) | Leaf::Size(_) | Leaf::Const(_)) = kind {
            return Ok(());
        }
        if !graph.is_matrix(node) {
            if depends[node] {
                return Err(format!("%{node}, {shape} of a carried state, is not per channel"));
            }
            self.vectors.insert(node);
            return Ok(());
        }
        if !self.is_tile(shape) {
            return Err(format!("%{node} is {shape}"));
        }
        let inside = match kind {
            Kind::Leaf(Leaf::Input(_) | Leaf::OutputGrad(_)) => true,
            Kind::Map(_, args) => {
                let all = args.iter().all(|a| !(a.flip && graph.is_matrix(a.node)));
                all && args.iter().all(|a| self.try_visit(graph, depends, a.node))
            }
            Kind::Product(..) => match self.multiply(graph, depends, node) {
                Some(m) => {
                    let there = self.try_visit(graph, depends, m.tile);
                    if there {
                        self.images.insert(m.image);
                    }
                    there
                }
                None => false,
            },
            _ => false,
        };
        if inside {
            self.tiles.insert(node);
            return Ok(());
        }
        if depends[node] {
            return Err(format!("%{node}: {kind:?}"));
        }
        if shape.rows != Axis::Token {
            return Err(format!("%{node}, {shape}, would have to be handed over"));
        }
        self.given.insert(node);
        Ok(())
    }

    fn try_visit(&mut self, graph: &Graph, depends: &[bool], node: usize) -> bool {
        self.add(graph, depends, node).is_ok()
    }

    fn multiply(&self, graph: &Graph, depends: &[bool], node: usize) -> Option<Multiply> {
        let Kind::Product(a, b) = graph.nodes[node].kind else { return None };
        let (free, shape) = (self.free?, graph.nodes[node].shape);
        let image = |r: Ref| !depends[r.node] && graph.is_matrix(r.node);
        let of = |r: Ref| graph.nodes[r.node].shape;
        if shape.rows == Axis::Token {
            // A X^T, X [free, side] in registers: B[k][n] = A[n][k]
            if b.flip && of(b).rows == free && matches!(of(b).cols, Axis::Side(_)) && image(a) {
                return Some(Multiply { tile: b.node, image: a.node, down: a.flip });
            }
            // M X, X [token, free]: B[s][t] = M[t][s]
            if !b.flip && of(b) == Shape::new(Axis::Token, free) && image(a) && graph.shape(a).cols == Axis::Token {
                return Some(Multiply { tile: b.node, image: a.node, down: a.flip });
            }
            return None;
        }
        // X^T W: B[t][k] = W[t][k]
        (a.flip && of(a) == Shape::new(Axis::Token, free) && image(b) && of(b).rows == Axis::Token && !b.flip)
            .then_some(Multiply { tile: a.node, image: b.node, down: true })
    }
}

struct Node<'a> {
    kind: &'a Kind,
    shape: Shape,
}

/// Writes the work of a chunk.
pub struct Writer<'a> {
    /// The chain.
    pub chain: &'a Chain,
    /// The graph.
    pub graph: &'a Graph,
    /// Which values hold a carried state.
    pub depends: &'a [bool],
    /// Sizes.
    pub sizes: &'a Sizes,
    /// Type of products.
    pub product: Elem,
    /// Statements for comments.
    pub interface: &'a Interface,
    /// Places of images, vectors and given values.
    pub places: BTreeMap<usize, Place>,
    /// Leaves along the free side: their slab's place.
    pub slabs: BTreeMap<usize, Place>,
    /// Next values of the states.
    pub next: BTreeMap<usize, usize>,
    /// Statements with `@` for the element at token `c` and channel `row`, by value.
    pub stores: Vec<(usize, String, String)>,
}

impl Writer<'_> {
    /// Name of a value's tile: carried states go by their own name.
    fn name(&self, node: usize) -> String {
        match self.chain.carried.iter().find(|(_, leaf)| **leaf == node) {
            Some((state, _)) => format!("state{state}"),
            None => format!("t{node}"),
        }
    }

    /// Number of column tiles of a value: tokens of a value per token, else the contracted side.
    pub fn tiles(&self, node: usize) -> usize {
        let shape = self.graph.nodes[node].shape;
        let axis = if shape.rows == Axis::Token { Axis::Token } else { shape.cols };
        self.sizes.padded(axis) / 8
    }

    /// The steps of a chunk.
    pub fn write(&self) -> String {
        let graph = self.graph;
        let mut out = Text::default();
        let mut uses: HashMap<usize, usize> = HashMap::new();
        for n in &self.chain.tiles {
            for r in graph.nodes[*n].kind.operands() {
                *uses.entry(r.node).or_default() += 1;
            }
        }
        for (n, ..) in &self.stores {
            *uses.entry(*n).or_default() += 2;
        }
        for next in self.next.values() {
            *uses.entry(*next).or_default() += 2;
        }
        let once = |n: usize| uses.get(&n) == Some(&1);
        let next_of = |n: usize| self.next.iter().find(|(_, node)| **node == n).map(|(state, _)| *state);
        // products go into the accumulator of the sum that uses them; other work that is used once is written out there
        let mut absorbed: BTreeSet<usize> = BTreeSet::new();
        let mut sums: HashMap<usize, Vec<(bool, usize)>> = HashMap::new();
        for n in self.chain.tiles.iter().rev() {
            if absorbed.contains(n) {
                continue;
            }
            let mut terms = vec![];
            self.terms(*n, true, false, &once, &mut terms);
            let is_product = |(_, t): &(bool, usize)| matches!(graph.nodes[*t].kind, Kind::Product(..));
            if terms.iter().any(is_product) {
                for (_, t) in terms.iter().filter(|t| is_product(t) && t.1 != *n) {
                    absorbed.insert(*t);
                }
                self.inner_sums(*n, *n, &once, &mut absorbed);
                sums.insert(*n, terms);
            }
        }
        let products = self.chain.tiles.iter().filter_map(|n| self.chain.multiply(graph, self.depends, *n));
        let operands: BTreeSet<usize> = products.map(|m| m.tile).collect();
        let inline = |n: usize| {
            absorbed.contains(&n)
                || (once(n)
                    && !operands.contains(&n)
                    && !sums.contains_key(&n)
                    && matches!(graph.nodes[n].kind, Kind::Map(..)))
        };
        for n in operands.iter().filter(|n| self.chain.given.contains(n)) {
            let (name, place) = (self.name(*n), &self.places[n]);
            out.line(format!("Tile<{}> {name};", self.tiles(*n)));
            let value = place.read(graph, *n, "c", "channel + r");
            out.line(format!("every({name}, [&](float& x, int n, int e, int r, int c) {{ x = {value}; }});"));
        }
        let mut last = vec![];
        for n in &self.chain.tiles {
            if self.chain.carried.values().any(|leaf| leaf == n) || inline(*n) {
                continue;
            }
            if next_of(*n).is_some() {
                last.push(*n);
                continue;
            }
            self.tile(*n, self.name(*n), sums.get(n), &inline, true, &mut out);
            self.store(*n, &mut out);
        }
        // updates come last: everything else reads the states at the chunk's start
        for n in last {
            let state = next_of(n).expect("it is a next state");
            self.tile(n, format!("state{state}"), sums.get(&n), &inline, false, &mut out);
        }
        out.finish()
    }

    fn inner_sums(&self, _root: usize, node: usize, once: &impl Fn(usize) -> bool, absorbed: &mut BTreeSet<usize>) {
        if let Kind::Map(MapFn::Add | MapFn::Sub | MapFn::Neg, args) = &self.graph.nodes[node].kind {
            for a in args {
                let additive =
                    matches!(self.graph.nodes[a.node].kind, Kind::Map(MapFn::Add | MapFn::Sub | MapFn::Neg, _));
                if self.chain.tiles.contains(&a.node) && once(a.node) && additive {
                    absorbed.insert(a.node);
                    self.inner_sums(_root, a.node, once, absorbed);
                }
            }
        }
    }

    /// The terms that a value adds up: products used once, and the rest.
    fn terms(&self, n: usize, top: bool, minus: bool, once: &impl Fn(usize) -> bool, out: &mut Vec<(bool, usize)>) {
        let kind = &self.graph.nodes[n].kind;
        let through = top || (once(n) && self.chain.tiles.contains(&n));
        let shape = self.graph.nodes[n].shape;
        let same = |r: &Ref| self.graph.nodes[r.node].shape == shape;
        match kind {
            Kind::Map(MapFn::Add, args) if through && args.iter().all(same) => {
                args.iter().for_each(|a| self.terms(a.node, false, minus, once, out))
            }
            Kind::Map(MapFn::Sub, args) if through && args.iter().all(same) => {
                self.terms(args[0].node, false, minus, once, out);
                self.terms(args[1].node, false, !minus, once, out);
            }
            Kind::Map(MapFn::Neg, args) if through => self.terms(args[0].node, false, !minus, once, out),
            Kind::Product(..) if top || (once(n) && self.chain.tiles.contains(&n)) => out.push((minus, n)),
            _ => out.push((minus, n)),
        }
    }

    fn tile(
        &self,
        n: usize,
        name: String,
        terms: Option<&Vec<(bool, usize)>>,
        inline: &impl Fn(usize) -> bool,
        declare: bool,
        out: &mut Text,
    ) {
        let graph = self.graph;
        if let Some(origin) = graph.nodes[n].origin
            && let Some(statement) = self.interface.statements.get(origin as usize)
        {
            out.line(format!("// {statement}"));
        }
        let count = self.tiles(n);
        if declare {
            out.line(format!("Tile<{count}> {name};"));
        }
        if let Some(slab) = self.slabs.get(&n) {
            out.line(format!("take<{}, {}>({name}, {} + 16 * warp);", slab.elem.c(), slab.ld, slab.name));
            return;
        }
        let element =
            |value: &str| format!("every({name}, [&](float& x, int n, int e, int r, int c) {{ x = {value}; }});");
        let Some(terms) = terms else {
            out.line(element(&self.value(n, true, inline)));
            return;
        };
        let is_product = |t: usize| matches!(graph.nodes[t].kind, Kind::Product(..)) && (t == n || inline(t));
        let mut start = String::new();
        for (minus, t) in terms.iter().filter(|(_, t)| !is_product(*t)) {
            let sign = if *minus { "-" } else { "+" };
            start += &format!(" {sign} {}", self.value(*t, false, inline));
        }
        let start = start.trim_start_matches(" + ").to_string();
        out.line(element(if start.is_empty() { "0.f" } else { &start }));
        for (minus, t) in terms.iter().filter(|(_, t)| is_product(*t)) {
            let m = self.chain.multiply(graph, self.depends, *t).expect("it is a product of the chain");
            let image = &self.places[&m.image];
            // a strictly lower or unit lower matrix M: of B[s][t] = M[t][s] only s <= t counts
            let part = match self.lower(m.image) {
                true if m.down => "LOWER",
                true => "UPPER",
                false => "WHOLE",
            };
            out.line(format!(
                "multiply<{}, {}, {}, {part}, {minus}, {}>({name}, {}, {});",
                self.product.c(),
                image.ld,
                m.down,
                self.parts(m.image),
                self.name(m.tile),
                image.name
            ));
        }
    }

    fn lower(&self, node: usize) -> bool {
        lower(self.graph, node)
    }

    /// Parts of the operand in registers. What goes through the inverse of a system is a sum that later tokens' terms may
    /// cancel: it keeps twice the digits.
    fn parts(&self, image: usize) -> usize {
        1 + usize::from(solves(self.graph, image))
    }

    fn store(&self, n: usize, out: &mut Text) {
        for (node, statement, comment) in &self.stores {
            if *node == n {
                out.line(format!("// {comment}"));
                out.line(format!(
                    "every({}, [&](float& x, int n, int e, int r, int c) {{ const int row = channel + r; {} }});",
                    self.name(n),
                    statement.replace('@', "x")
                ));
            }
        }
    }

    /// The element (n, e), at row r and column c of the lane's tile, of a value.
    fn value(&self, n: usize, top: bool, inline: &impl Fn(usize) -> bool) -> String {
        let graph = self.graph;
        let shape = graph.nodes[n].shape;
        if !top {
            if self.chain.tiles.contains(&n) && !inline(n) {
                return format!("{}.x[n][e]", self.name(n));
            }
            if let Some(place) = self.places.get(&n) {
                return match (shape.rows, shape.cols) {
                    // a value per token and channel lies [token][channel]
                    (Axis::Token, axis) if axis != Axis::One => place.read(graph, n, "c", "channel + r"),
                    (Axis::One, Axis::One) => format!("{}[0]", place.name),
                    (Axis::Token, _) => format!("{}[c]", place.name),
                    (axis, _) if Some(axis) == self.chain.free => format!("{}[channel + r]", place.name),
                    (_, axis) if Some(axis) == self.chain.free => format!("{}[channel + r]", place.name),
                    _ => format!("{}[c]", place.name),
                };
            }
        }
        match &graph.nodes[n].kind {
            Kind::Leaf(Leaf::Number(x)) => expr::number(*x),
            Kind::Leaf(Leaf::Size(s)) => format!("{}.f", self.sizes.sides[*s as usize]),
            Kind::Leaf(Leaf::Const(i)) => format!("const{i}"),
            Kind::Map(f, args) => {
                let args: Vec<String> = args.iter().map(|a| self.value(a.node, false, inline)).collect();
                expr::map(*f, &args)
            }
            other => unreachable!("{other:?} in a chain"),
        }
    }
}

/// Whether a token-by-token matrix is a product with an inverse, or one itself.
fn solves(graph: &Graph, node: usize) -> bool {
    match &graph.nodes[node].kind {
        Kind::Inverse(_) => true,
        Kind::Product(a, b) => solves(graph, a.node) || solves(graph, b.node),
        Kind::Map(MapFn::Mul | MapFn::Add | MapFn::Sub | MapFn::Neg, args) => {
            args.iter().any(|a| graph.is_matrix(a.node) && solves(graph, a.node))
        }
        _ => false,
    }
}

/// Whether a token-by-token matrix is zero above its diagonal.
fn lower(graph: &Graph, node: usize) -> bool {
    let all = |r: &Ref| !r.flip && lower(graph, r.node);
    match &graph.nodes[node].kind {
        Kind::Inverse(_) => true,
        Kind::Product(a, b) => graph.nodes[node].shape == Shape::new(Axis::Token, Axis::Token) && all(a) && all(b),
        Kind::Map(MapFn::Mul, args) => args.iter().any(all),
        Kind::Map(MapFn::Add | MapFn::Sub, args) => args.iter().all(all),
        Kind::Map(MapFn::Neg, args) => all(&args[0]),
        _ => graph.triangle(Ref { node, flip: false }) == Some(true),
    }
}
