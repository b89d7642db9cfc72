//! Which values are computed together: the stages of a chunk.
//!
//! A *tile* stage keeps register tiles alive through a chain of products, a substitution and everything elementwise that
//! follows. A *map* stage is elementwise work and sums without a product. What can join neither is a stage of its own.

use super::graph::{Graph, Kind, Pos, Ref};
use super::layout::Layout;
use super::pairs::Pairs;
use crate::tile::{Axis, DecayKind, Leaf, MapFn};

/// One term of a sum that a tile accumulates.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// An elementwise value, where the tile starts.
    Value { x: Ref, minus: bool },
    /// A product, the lanes of whose result lie along columns; `scale`: a vector that its rows or lanes are scaled by.
    Product { a: Ref, b: Ref, minus: bool, scale: Option<Ref> },
}

/// How a stage computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// Tiles: one chain, or one a readout of a substitution.
    Tile { chains: Vec<Vec<Term>>, solve: Option<usize> },
    /// Rows of vectors.
    Map,
    /// A substitution row by row.
    Serial { solve: usize },
    /// One call of a helper; for `DecayDot` all with the same w and decay.
    Helper,
    /// The other orientation of a value.
    Turn,
    /// A bf16 copy of a value, paired along its rows or lanes.
    Pack(Pairs),
    /// The bf16 copy of the other orientation, paired along its rows, from the copy paired along lanes.
    TurnPairs,
    /// Sums over lanes from the partial sums of a tile stage.
    Finish { tile: usize },
}

/// Nodes computed together, over rows and lanes.
#[derive(Clone, Debug)]
pub struct Stage {
    /// How.
    pub form: Form,
    /// What, in order.
    pub nodes: Vec<usize>,
    /// Axis of the rows; One for vectors.
    pub rows: Axis,
    /// Axis of the lanes.
    pub lanes: Axis,
    /// 0: once a call; 1: per chunk without a state; 2: with one.
    pub class: u8,
}

/// Where a node's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A leaf.
    Given,
    /// A stage; `live`: at hand in registers there.
    Stage { stage: usize, live: bool },
    /// Recomputed where it is used.
    Inline,
    /// A term of another node's chain, or the system behind parts.
    Absorbed,
}

/// Stages in no particular order.
#[derive(Clone, Debug)]
pub struct Fused {
    /// Stages.
    pub stages: Vec<Stage>,
    /// Where each node is.
    pub places: Vec<Place>,
    /// Stages that others must follow, as found while fusing.
    depends: Vec<Vec<usize>>,
}

struct Fuse<'a> {
    graph: &'a Graph,
    layout: &'a Layout,
    solve: usize,
    uses: Vec<usize>,
    users: Vec<Vec<usize>>,
    is_result: Vec<bool>,
    class: Vec<u8>,
    out: Fused,
}

/// Forms the stages; systems of at most `solve` readouts in register blocks.
pub fn fuse(graph: &Graph, layout: &Layout, solve: usize) -> Fused {
    let count = graph.nodes.len();
    let mut users = vec![vec![]; count];
    for (i, node) in graph.nodes.iter().enumerate() {
        for r in node.kind.operands() {
            users[r.node].push(i);
        }
    }
    let mut is_result = vec![false; count];
    graph.results.iter().for_each(|(_, r)| is_result[r.node] = true);
    let mut fuse = Fuse {
        graph,
        layout,
        solve,
        uses: graph.uses(),
        users,
        is_result,
        class: classes(graph),
        out: Fused { stages: vec![], places: vec![Place::Given; count], depends: vec![] },
    };
    for node in 0..count {
        fuse.place(node);
    }
    fuse.out
}

/// 0: once a call; 1: per chunk without a state; 2: with one.
fn classes(graph: &Graph) -> Vec<u8> {
    let mut class = vec![0; graph.nodes.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        class[i] = match &node.kind {
            Kind::Leaf(Leaf::State(_) | Leaf::StateGrad(_)) => 2,
            Kind::Leaf(Leaf::Saved(_) | Leaf::OutputGrad(_) | Leaf::Valid) => 1,
            Kind::Leaf(_) => u8::from(node.shape.rows == Axis::Token),
            kind => kind.operands().iter().map(|r| class[r.node]).max().unwrap_or(0),
        };
    }
    class
}

/// Whether a system is solved row by row: where it decays by channel, has more readouts than `most` (registers
/// hold no more blocks), or a single column. What it reads is then in memory, and no product is absorbed into it.
fn is_serial(graph: &Graph, solve: usize, most: usize) -> bool {
    let Kind::Solve { y0, a, .. } = &graph.nodes[solve].kind else { return false };
    a.is_some() || y0.len() > most || graph.nodes[solve].shape.cols == Axis::One
}

impl Fuse<'_> {
    fn place(&mut self, node: usize) {
        let graph = self.graph;
        self.out.places[node] = match &graph.nodes[node].kind {
            Kind::Leaf(_) => Place::Given,
            Kind::Solve { .. } => self.solve(node),
            Kind::Part(solve, _) => {
                let stage = self.out.stages.iter().position(|s| match &s.form {
                    Form::Tile { solve: Some(x), .. } | Form::Serial { solve: x } => x == solve,
                    _ => false,
                });
                let stage = stage.expect("a solve comes before its parts");
                self.out.stages[stage].nodes.push(node);
                Place::Stage { stage, live: true }
            }
            Kind::Product(..) => {
                let user = self.users[node].first();
                if self.deferred(node) || user.is_some_and(|user| self.scale_of(*user) == Some(node)) {
                    Place::Absorbed
                } else {
                    self.tile(node)
                }
            }
            Kind::Map(MapFn::Mul, _) if self.scale_of(node).is_some() => Place::Absorbed,
            Kind::Map(MapFn::Add | MapFn::Sub, args)
                if graph.is_matrix(node) && args.iter().any(|r| self.absorbs(node, *r)) =>
            {
                if self.deferred(node) {
                    Place::Absorbed
                } else {
                    self.tile(node)
                }
            }
            Kind::Map(..) | Kind::Lower(_) => self.map(node),
            Kind::Sum(x, over) => self.sum(node, *x, *over),
            Kind::DecayDot { w, a, .. } => {
                let same =
                    |n: usize| matches!(&graph.nodes[n].kind, Kind::DecayDot { w: x, a: y, .. } if x == w && y == a);
                let found = self.out.stages.iter().position(|s| s.form == Form::Helper && same(s.nodes[0]));
                match found.filter(|s| self.free_of(node, *s)) {
                    Some(stage) => {
                        self.join(node, stage);
                        Place::Stage { stage, live: false }
                    }
                    None => self.alone(node, Form::Helper, Axis::One, Axis::One),
                }
            }
            kind => {
                let by_channel = match kind {
                    Kind::Scan(_, x)
                    | Kind::Decay(_, x)
                    | Kind::DecayApply { w: x, .. }
                    | Kind::DecayRect { w: x, .. } => {
                        graph.is_matrix(x.node) && !matches!(kind, Kind::Decay(DecayKind::Segment, _))
                    }
                    _ => false,
                };
                let lanes = if by_channel { graph.nodes[node].shape.cols } else { Axis::One };
                self.alone(node, Form::Helper, if by_channel { Axis::Token } else { Axis::One }, lanes)
            }
        };
    }

    fn alone(&mut self, node: usize, form: Form, rows: Axis, lanes: Axis) -> Place {
        let stage = self.stage(form, rows, lanes, self.class[node]);
        self.join(node, stage);
        Place::Stage { stage, live: false }
    }

    fn stage(&mut self, form: Form, rows: Axis, lanes: Axis, class: u8) -> usize {
        self.out.stages.push(Stage { form, nodes: vec![], rows, lanes, class });
        self.out.depends.push(vec![]);
        self.out.stages.len() - 1
    }

    /// Puts a node into a stage, with the stages its operands come from.
    fn join(&mut self, node: usize, stage: usize) {
        for s in self.sources(node) {
            if s != stage && !self.out.depends[stage].contains(&s) {
                self.out.depends[stage].push(s);
            }
        }
        self.out.stages[stage].nodes.push(node);
    }

    /// Stages that a node's operands come from.
    fn sources(&self, node: usize) -> Vec<usize> {
        let mut found = vec![];
        let mut todo: Vec<Ref> = self.graph.nodes[node].kind.operands();
        while let Some(r) = todo.pop() {
            match self.out.places[r.node] {
                Place::Given => {}
                Place::Stage { stage, .. } => found.push(stage),
                Place::Inline | Place::Absorbed => todo.extend(self.graph.nodes[r.node].kind.operands()),
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Operands of a node that are in a stage, inline ones looked through: (node, at hand there).
    fn inputs_in(&self, node: usize, stage: usize) -> Vec<(usize, bool)> {
        let mut found = vec![];
        let mut todo: Vec<Ref> = self.graph.nodes[node].kind.operands();
        while let Some(r) = todo.pop() {
            match self.out.places[r.node] {
                Place::Stage { stage: s, live } if s == stage => found.push((r.node, live)),
                Place::Inline | Place::Absorbed => todo.extend(self.graph.nodes[r.node].kind.operands()),
                _ => {}
            }
        }
        found
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        // whether `to` follows `from`
        let mut seen = vec![false; self.out.stages.len()];
        let mut todo = vec![to];
        while let Some(s) = todo.pop() {
            if s == from {
                return true;
            }
            if !std::mem::replace(&mut seen[s], true) {
                todo.extend(&self.out.depends[s]);
            }
        }
        false
    }

    /// Whether a node may run within a stage: nothing it needs from elsewhere follows the stage, and what it needs from
    /// the stage is at hand.
    fn free_of(&self, node: usize, stage: usize) -> bool {
        self.sources(node).iter().all(|s| *s == stage || !self.reaches(stage, *s))
            && self.inputs_in(node, stage).iter().all(|(_, live)| *live)
    }

    /// Whether a product, or a sum with one, may be a term of its only user's chain.
    fn deferred(&self, node: usize) -> bool {
        if self.uses[node] != 1 || self.is_result[node] {
            return false;
        }
        let user = self.users[node][0];
        let used = |r: &&Ref| r.node == node;
        match &self.graph.nodes[user].kind {
            Kind::Map(MapFn::Add | MapFn::Sub, args) if self.graph.is_matrix(user) => {
                let r = args.iter().find(used).expect("a user uses");
                self.graph.shape(*r) == self.graph.nodes[user].shape
                    && self.layout[node] == self.layout[user].flip(r.flip)
            }
            Kind::Solve { y0, .. } if !is_serial(self.graph, user, self.solve) => {
                y0.iter().flatten().any(|r| r.node == node && self.layout[node] == Pos::Cols.flip(r.flip))
            }
            _ => false,
        }
    }

    /// The product that a node scales within its only user's chain. (Scalings of products that sum in bf16 stand outside
    /// them; others were moved into an operand.)
    fn scale_of(&self, node: usize) -> Option<usize> {
        let Kind::Map(MapFn::Mul, args) = &self.graph.nodes[node].kind else { return None };
        let is_product = |r: &&Ref| match &self.graph.nodes[r.node].kind {
            Kind::Product(a, b) => self.graph.in_bf16(*a, *b),
            _ => false,
        };
        let product = args.iter().find(is_product)?;
        let other = if args[0] == *product { args[1] } else { args[0] };
        let alone = self.users[product.node].len() == 1 && !self.is_result[product.node];
        let aligned = self.layout[product.node] == self.layout[node].flip(product.flip);
        (alone && aligned && !self.graph.is_matrix(other.node) && self.deferred(node)).then_some(product.node)
    }

    fn absorbs(&self, node: usize, r: Ref) -> bool {
        self.out.places[r.node] == Place::Absorbed && self.users[r.node] == [node]
    }

    /// The terms of a chain, its result's lanes along `r`'s columns.
    fn terms(&self, r: Ref, minus: bool, root: bool, out: &mut Vec<Term>) {
        let absorbed = root || self.out.places[r.node] == Place::Absorbed;
        match &self.graph.nodes[r.node].kind {
            Kind::Product(a, b) if absorbed => {
                let (a, b) = if r.flip { (b.t(), a.t()) } else { (*a, *b) };
                out.push(Term::Product { a, b, minus, scale: None });
            }
            Kind::Map(MapFn::Mul, args) if self.out.places[r.node] == Place::Absorbed => {
                let product = self.scale_of(r.node).expect("what is absorbed is a sum or a scaling");
                for arg in args {
                    if arg.node == product {
                        self.terms(Ref { node: product, flip: arg.flip ^ r.flip }, minus, false, out);
                    }
                }
                let factor = args.iter().find(|arg| arg.node != product).expect("a product is not its own factor");
                if let Some(Term::Product { scale, .. }) = out.last_mut() {
                    *scale = Some(Ref { node: factor.node, flip: factor.flip ^ r.flip });
                }
            }
            Kind::Map(f @ (MapFn::Add | MapFn::Sub), args) if absorbed => {
                for (i, arg) in args.iter().enumerate() {
                    let arg = Ref { node: arg.node, flip: arg.flip ^ r.flip };
                    self.terms(arg, minus ^ (i == 1 && *f == MapFn::Sub), false, out);
                }
            }
            _ => out.push(Term::Value { x: r, minus }),
        }
    }

    fn chain(&self, r: Ref, root: bool) -> Vec<Term> {
        let mut terms = vec![];
        self.terms(r, false, root, &mut terms);
        // elementwise terms first, positive ones before: the tile starts from them, or from a scaled product and them
        terms.sort_by_key(|t| match t {
            Term::Value { minus, .. } => u8::from(*minus),
            Term::Product { scale: Some(_), .. } => 2,
            Term::Product { .. } => 3,
        });
        terms
    }

    fn tile(&mut self, node: usize) -> Place {
        let lane = self.layout[node];
        let chain = self.chain(Ref { node, flip: lane == Pos::Rows }, true);
        let shape = self.graph.nodes[node].shape;
        let (rows, lanes) = if lane == Pos::Cols { (shape.rows, shape.cols) } else { (shape.cols, shape.rows) };
        let stage = self.stage(Form::Tile { chains: vec![chain], solve: None }, rows, lanes, self.class[node]);
        self.join(node, stage);
        Place::Stage { stage, live: true }
    }

    fn solve(&mut self, node: usize) -> Place {
        let graph = self.graph;
        let Kind::Solve { y0, .. } = &graph.nodes[node].kind else { unreachable!("called for a solve") };
        let shape = graph.nodes[node].shape;
        let form = if is_serial(graph, node, self.solve) {
            Form::Serial { solve: node }
        } else {
            let chains = y0.iter().map(|r| r.map_or(vec![], |r| self.chain(r, false))).collect();
            Form::Tile { chains, solve: Some(node) }
        };
        let stage = self.stage(form, shape.rows, shape.cols, self.class[node]);
        self.join(node, stage);
        self.out.stages[stage].nodes.clear();
        Place::Absorbed
    }

    /// Rows and lanes of elementwise work on a node.
    fn frame(&self, node: usize) -> (Axis, Axis) {
        let shape = self.graph.nodes[node].shape;
        if !self.graph.is_matrix(node) {
            (Axis::One, self.graph.vector_axis(node))
        } else if self.layout[node] == Pos::Cols {
            (shape.rows, shape.cols)
        } else {
            (shape.cols, shape.rows)
        }
    }

    fn map(&mut self, node: usize) -> Place {
        let frame = self.frame(node);
        let matrix = self.graph.is_matrix(node);
        // a stage that holds an operand in registers
        let mut candidates: Vec<usize> = self.sources(node);
        candidates.retain(|s| {
            let stage = &self.out.stages[*s];
            let holds = matches!(stage.form, Form::Tile { .. } | Form::Map | Form::Serial { .. });
            holds
                && (stage.rows, stage.lanes) == frame
                && stage.class == self.class[node]
                && self.inputs_in(node, *s).iter().any(|(n, live)| *live && self.is_aligned(node, *n))
                && self.inputs_in(node, *s).iter().all(|(n, live)| *live && self.is_aligned(node, *n))
                && self.free_of(node, *s)
        });
        let tile = candidates.iter().rev().copied().find(|s| self.out.stages[*s].form != Form::Map);
        if let Some(stage) = tile {
            self.join(node, stage);
            return Place::Stage { stage, live: true };
        }
        if matrix && self.inlinable(node) {
            return Place::Inline;
        }
        let sources = self.sources(node);
        let open = (0..self.out.stages.len()).rev().find(|s| {
            let stage = &self.out.stages[*s];
            stage.form == Form::Map
                && (stage.rows, stage.lanes) == frame
                && stage.class == self.class[node]
                && self.inputs_in(node, *s).iter().all(|(n, live)| *live && self.is_aligned(node, *n))
                && sources.iter().all(|h| h == s || self.reaches(*h, *s) || *h < *s && stage.class < 2)
                && self.free_of(node, *s)
        });
        let stage = open.unwrap_or_else(|| self.stage(Form::Map, frame.0, frame.1, self.class[node]));
        self.join(node, stage);
        Place::Stage { stage, live: true }
    }

    /// Whether an operand lies as its user needs it (looking through inline values costs nothing: they follow).
    fn is_aligned(&self, node: usize, operand: usize) -> bool {
        if !self.graph.is_matrix(operand) {
            return !self.graph.is_matrix(node);
        }
        let mut todo = vec![(node, self.layout[node])];
        while let Some((n, lane)) = todo.pop() {
            for r in self.graph.nodes[n].kind.operands() {
                let pos = lane.flip(r.flip);
                if r.node == operand && self.layout[operand] != pos {
                    return false;
                }
                if matches!(self.out.places[r.node], Place::Inline) {
                    todo.push((r.node, pos));
                }
            }
        }
        true
    }

    /// Cheap elementwise work that only elementwise work reads is done again where it is read.
    fn inlinable(&self, node: usize) -> bool {
        if self.is_result[node] || self.work(node) > 2 || self.uses[node] > 2 {
            return false;
        }
        self.users[node].iter().all(|user| match &self.graph.nodes[*user].kind {
            Kind::Map(..) | Kind::Lower(_) | Kind::Sum(..) => true,
            Kind::Solve { c, b, .. } => c.iter().chain(b).flatten().any(|r| r.node == node),
            _ => false,
        })
    }

    fn work(&self, node: usize) -> usize {
        match &self.graph.nodes[node].kind {
            Kind::Map(f, args) => {
                let own = match f {
                    MapFn::Add | MapFn::Sub | MapFn::Mul | MapFn::Neg | MapFn::Keep | MapFn::Sq | MapFn::Abs => 1,
                    MapFn::Relu | MapFn::Clamp | MapFn::Inside | MapFn::Positive | MapFn::Sign => 2,
                    _ => 100,
                };
                let inline = args.iter().filter(|r| self.out.places[r.node] == Place::Inline);
                own + inline.map(|r| self.work(r.node)).sum::<usize>()
            }
            _ => 100,
        }
    }

    fn sum(&mut self, node: usize, x: Ref, over: Pos) -> Place {
        let graph = self.graph;
        let frame = self.frame(x.node);
        // over lanes where the operand's lanes lie along the axis that goes
        let by_lanes = !graph.is_matrix(x.node) || self.layout[x.node] == over.flip(x.flip);
        let class = self.class[node];
        let fits = |fuse: &Self, s: usize| {
            let stage = &fuse.out.stages[s];
            let own = stage.class == class && (stage.rows, stage.lanes) == frame;
            let order = stage.form != Form::Map
                || stage.nodes.iter().all(|n| match &graph.nodes[*n].kind {
                    Kind::Sum(y, o) => by_lanes == (!graph.is_matrix(y.node) || fuse.layout[y.node] == o.flip(y.flip)),
                    _ => true,
                });
            own && order && fuse.free_of(node, s)
        };
        let place = self.out.places[x.node];
        let stage = match place {
            Place::Stage { stage, live: true }
                if matches!(self.out.stages[stage].form, Form::Tile { .. } | Form::Map | Form::Serial { .. })
                    && fits(self, stage) =>
            {
                stage
            }
            _ => {
                let open = (0..self.out.stages.len()).rev().find(|s| {
                    self.out.stages[*s].form == Form::Map
                        && fits(self, *s)
                        && self.sources(node).iter().all(|h| h == s || self.reaches(*h, *s))
                });
                open.unwrap_or_else(|| self.stage(Form::Map, frame.0, frame.1, class))
            }
        };
        self.join(node, stage);
        let in_tile = matches!(self.out.stages[stage].form, Form::Tile { .. } | Form::Serial { .. });
        if in_tile && by_lanes {
            let finish = self.stage(Form::Finish { tile: stage }, Axis::One, Axis::One, class);
            self.out.depends[finish].push(stage);
            self.out.stages[finish].nodes.push(node);
            return Place::Stage { stage: finish, live: false };
        }
        Place::Stage { stage, live: false }
    }
}

/// The nodes of a tile stage's chains that its products read.
pub fn products(stage: &Stage) -> Vec<(Ref, Ref)> {
    match &stage.form {
        Form::Tile { chains, .. } => chains
            .iter()
            .flatten()
            .filter_map(|t| match t {
                Term::Product { a, b, .. } => Some((*a, *b)),
                Term::Value { .. } => None,
            })
            .collect(),
        _ => vec![],
    }
}
