//! What passes from kernel to kernel, and from forward to backward.

use std::collections::BTreeSet;

use super::{Address, Frame, Handed};
use crate::emit::cuda::Pass;
use crate::emit::cuda::chain::Chain;
use crate::emit::cuda::place::{Elem, Order, Place, Record};
use crate::emit::cuda::stage::{Carry, Group};
use crate::emit::graph::{Kind, Ref, Take};
use crate::tile::{Axis, Leaf, MapFn, Role, Shape};

impl Handed {
    /// A value and where it lies, behind the pointers to what a chunk and what a span hands on.
    pub(super) fn item(&self, key: usize, [chunk, span]: [&'static str; 2]) -> Option<(&Place, Address)> {
        let (base, found) = match self.chunk.item(key) {
            Some(found) => (chunk, found),
            None => (span, self.span.item(key)?),
        };
        let (_, place, offset) = found;
        Some((place, Address { base, offset: *offset }))
    }
}

impl Frame<'_> {
    /// The place of a value in a record, named so that it does not meet another place of the same value.
    pub(super) fn placed(&self, node: usize, elem: Elem) -> Place {
        Place::of(self.graph, self.sizes(), node, elem)
    }

    /// The type in which rows of tokens pass from a sequential kernel to others: rounded, as the tensors of the caller are.
    fn rows_elem(&self, shape: Shape) -> Elem {
        if self.is_rows(shape) { self.config.product } else { Elem::F32 }
    }

    /// Whether a value is handed on as a row of channels for each token.
    pub(super) fn is_rows(&self, shape: Shape) -> bool {
        shape.rows == Axis::Token && matches!(shape.cols, Axis::Side(_))
    }

    /// What forward keeps: the same layout from both programs, so it follows from shapes alone.
    pub(super) fn lay_out_kept(&mut self) {
        if !matches!(self.pass, Pass::ForwardSave | Pass::Backward) {
            return;
        }
        let sizes = self.sizes();
        let place = |shape: Shape, elem: Elem, state: bool| {
            if shape.rows != Axis::One && shape.cols != Axis::One {
                if state {
                    return Place::of_state(sizes, String::new(), shape, elem);
                }
                if self.is_rows(shape) {
                    return Place::of_rows(sizes, String::new(), shape, elem);
                }
                let ld = sizes.padded(shape.cols) + 16 / elem.bytes();
                let bytes = sizes.padded(shape.rows) * ld * elem.bytes();
                return Place { name: String::new(), elem, ld, bytes, order: Order::Rows };
            }
            let axis = if shape.cols == Axis::One { shape.rows } else { shape.cols };
            let bytes = 4 * sizes.padded(axis).next_multiple_of(4);
            Place { name: String::new(), elem: Elem::F32, ld: 0, bytes, order: Order::Rows }
        };
        let mut kept = Handed::default();
        for (i, state) in self.program.states.iter().enumerate() {
            let states = if self.config.span > 1 { &mut kept.span } else { &mut kept.chunk };
            states.add(i, place(Shape::new(state.free, state.contracted), self.config.product, true));
        }
        for (k, shape) in self.program.saved.iter().enumerate().filter(|(k, _)| !self.is_prepared(*k)) {
            kept.chunk.add(usize::MAX - k, place(*shape, self.rows_elem(*shape), false));
        }
        self.kept = kept;
        self.lay_out_prepared();
    }

    pub(super) fn kept_place(&self, key: usize, name: String) -> Option<(Place, Address)> {
        let (place, address) = self.kept.item(key, ["kept", "kept_span"])?;
        Some((Place { name, ..place.clone() }, address))
    }

    /// Leaves of a kernel that lie in what forward kept.
    pub(super) fn kept_leaf(&self, node: usize) -> Option<(Place, Address)> {
        if !self.backward() {
            return None;
        }
        match self.graph.nodes[node].kind {
            Kind::Leaf(Leaf::State(i)) => self.kept_place(i, format!("v{node}")),
            Kind::Leaf(Leaf::Saved(k)) => self.kept_place(usize::MAX - k, format!("v{node}")),
            _ => None,
        }
    }

    /// Whether a value is made again where it is used rather than handed over: inputs and elementwise work on them.
    pub(super) fn is_cheap(&self, node: usize) -> bool {
        let product = |r: &Ref| matches!(self.graph.nodes[r.node].kind, Kind::Product(..));
        match &self.graph.nodes[node].kind {
            // a sum of products is one accumulator
            Kind::Map(MapFn::Add | MapFn::Sub, args) => !args.iter().any(product),
            kind => matches!(kind, Kind::Leaf(_) | Kind::Map(..) | Kind::Lower(_)),
        }
    }

    /// Whether backward's finish makes a value without a state again, rather than reads it: of all but what is long to make. Its
    /// time goes to memory, and what it needs for that it reads anyway. In a span, what prepare made of chunks is not of use.
    fn is_made_again(&self, node: usize) -> bool {
        let there = !self.graph.is_matrix(node) && self.in_chain(node) && self.config.span == 1;
        if !self.backward() || there {
            return false;
        }
        match &self.graph.nodes[node].kind {
            Kind::Product(a, b) => {
                let square = |r: &Ref| self.graph.shape(*r) == Shape::new(Axis::Token, Axis::Token);
                !(square(a) && square(b))
            }
            Kind::Map(..) | Kind::Sum(..) | Kind::RectSum(_) | Kind::Scan(..) | Kind::Decay(..) => true,
            _ => false,
        }
    }

    fn in_chain(&self, node: usize) -> bool {
        let chains = self.stages.groups.iter().filter_map(|g| match &g.carry {
            Carry::Chain(chain) => Some(chain),
            Carry::Walk => None,
        });
        chains.into_iter().any(|chain| self.fetched(chain).contains(&node))
    }

    /// What a block kernel with these roots reads from records: (from prepare, from sequential kernels).
    pub(super) fn hand_over(&self, roots: &[usize], own: Option<&Group>) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let mut again = BTreeSet::new();
        let (mut record, mut passed) = self.reach(roots, own, &again);
        // elementwise work on what is passed anyway is done once more rather than passed too
        for n in passed.clone().into_iter().rev() {
            if !matches!(self.graph.nodes[n].kind, Kind::Map(..)) {
                continue;
            }
            let mut more = again.clone();
            let mut todo = vec![n];
            while let Some(m) = todo.pop() {
                if more.insert(m) {
                    let operands = self.graph.nodes[m].kind.operands().into_iter().map(|r| r.node);
                    todo.extend(operands.filter(|o| {
                        self.stages.depends[*o]
                            && !passed.contains(o)
                            && matches!(self.graph.nodes[*o].kind, Kind::Map(..))
                    }));
                }
            }
            let (wider, fewer) = self.reach(roots, own, &more);
            if fewer.len() < passed.len() && wider.difference(&record).all(|m| !self.graph.is_matrix(*m)) {
                (record, passed, again) = (wider, fewer, more);
            }
        }
        (record, passed)
    }

    /// What is behind roots, up to what other kernels hand over; `again` is made once more.
    fn reach(
        &self,
        roots: &[usize],
        own: Option<&Group>,
        again: &BTreeSet<usize>,
    ) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let (mut record, mut passed) = (BTreeSet::new(), BTreeSet::new());
        let mut seen = vec![false; self.graph.nodes.len()];
        let mut todo = roots.to_vec();
        while let Some(n) = todo.pop() {
            if std::mem::replace(&mut seen[n], true) {
                continue;
            }
            let carried = self.stages.leaves.values().any(|l| *l == n);
            if self.stages.depends[n] {
                let foreign = self
                    .stages
                    .groups
                    .iter()
                    .any(|g| g.values.contains(&n) && own.is_none_or(|own| own.states != g.states));
                if (foreign && !again.contains(&n)) || (carried && own.is_none()) {
                    passed.insert(n);
                    continue;
                }
            } else if !(self.is_cheap(n) || own.is_none() && self.is_made_again(n)) {
                record.insert(n);
                continue;
            }
            if let Kind::Part(solve, _) = self.graph.nodes[n].kind {
                todo.push(solve);
            }
            todo.extend(self.graph.nodes[n].kind.operands().iter().map(|r| r.node));
        }
        (record, passed)
    }

    /// Results that finish writes; backward's are all written there.
    pub(super) fn finish_roots(&self) -> Vec<(usize, Role, Ref)> {
        let results = self.graph.results.iter().enumerate();
        results
            .filter(|(index, (role, r))| {
                let state = matches!(role, Role::State(_) | Role::StateGrad(_));
                !state
                    && (self.stages.depends[r.node] || self.backward())
                    && !self.stages.sequential.contains_key(index)
            })
            .map(|(index, (role, r))| (index, *role, *r))
            .collect()
    }

    pub(super) fn walk_roots(&self, g: usize, group: &Group) -> Vec<usize> {
        let mut roots: Vec<usize> = group.states.iter().map(|s| self.stages.next[s]).collect();
        roots.extend(
            self.stages.sequential.iter().filter(|(_, of)| **of == g).map(|(i, _)| self.graph.results[*i].1.node),
        );
        roots
    }

    pub(super) fn lay_out_records(&mut self) {
        let mut passed = BTreeSet::new();
        let mut later = BTreeSet::new();
        let roots: Vec<usize> = self.finish_roots().iter().map(|(_, _, r)| r.node).collect();
        let (record, from) = self.hand_over(&roots, None);
        later.extend(record);
        passed.extend(from);
        for (g, group) in self.stages.groups.iter().enumerate() {
            if let Carry::Walk = group.carry {
                let (record, from) = self.hand_over(&self.walk_roots(g, group), Some(group));
                later.extend(record);
                passed.extend(from);
            }
        }
        // what a chain fetches lies together
        let mut record = Record::default();
        for group in &self.stages.groups {
            let Carry::Chain(chain) = &group.carry else { continue };
            for n in self.fetched(chain) {
                let elem = self.fetched_elem(chain, n);
                if record.item(n).is_none() && self.prepared_home(n, elem).is_none() {
                    record.add(n, self.placed(n, elem));
                }
            }
        }
        for group in &self.stages.groups {
            if let Carry::Chain(chain) = &group.carry {
                later.extend(chain.given.iter().filter(|n| self.kept_leaf(**n).is_none()));
            }
        }
        let only_products = |n: usize| {
            let plain = |user: usize| {
                matches!(self.graph.nodes[user].kind, Kind::Product(..))
                    && self.graph.nodes[user].shape != Shape::new(Axis::Token, Axis::Token)
            };
            let users = (0..self.graph.nodes.len())
                .filter(|u| self.graph.nodes[*u].kind.operands().iter().any(|r| r.node == n));
            let result = self.graph.results.iter().any(|(_, r)| r.node == n);
            let in_chain =
                self.stages.groups.iter().any(|g| matches!(&g.carry, Carry::Chain(c) if c.given.contains(&n)));
            let inverse = matches!(
                self.graph.nodes[n].kind,
                Kind::Substitute { b: None, .. } | Kind::System { take: Take::Columns | Take::Rows, .. }
            );
            let mut users = users.peekable();
            !inverse && !result && !in_chain && users.peek().is_some() && users.all(plain)
        };
        for n in later {
            if record.item(n).is_none() {
                let elem = if self.graph.is_matrix(n) && only_products(n) { self.config.product } else { Elem::F32 };
                record.add(n, self.placed(n, elem));
            }
        }
        self.record = record;
        for n in passed {
            // states travel rounded: they are operands of products
            let state = self.stages.leaves.values().any(|l| *l == n);
            if state && self.pass == Pass::ForwardSave {
                continue;
            }
            let (shape, name) = (self.graph.nodes[n].shape, format!("v{n}"));
            let round = self.graph.is_matrix(n) && (state || only_products(n));
            let elem = if round { self.config.product } else { self.rows_elem(shape) };
            let place = match state && round {
                true => Place::of_state(self.sizes(), name, shape, elem),
                false if self.is_rows(shape) => Place::of_rows(self.sizes(), name, shape, elem),
                false => self.placed(n, elem),
            };
            let to = if state && self.config.span > 1 { &mut self.passed.span } else { &mut self.passed.chunk };
            to.add(n, place);
        }
    }

    /// Vectors, right operands and squares of a chain that come from prepare.
    pub(super) fn fetched(&self, chain: &Chain) -> Vec<usize> {
        let vectors = chain.vectors.iter().copied();
        let images = chain.images.iter().copied().filter(|n| !self.is_own_image(*n));
        vectors.chain(images).chain(chain.squares.iter().copied()).collect()
    }

    /// The type in which a chain fetches a value of prepare.
    pub(super) fn fetched_elem(&self, chain: &Chain, node: usize) -> Elem {
        let exact = !self.graph.is_matrix(node) || chain.squares.contains(&node);
        if exact { Elem::F32 } else { self.config.product }
    }

    /// A right operand that is an input as it is, in the type of products: copies do not convert.
    pub(super) fn is_own_image(&self, node: usize) -> bool {
        let Kind::Leaf(leaf @ (Leaf::Input(_) | Leaf::OutputGrad(_))) = &self.graph.nodes[node].kind else {
            return false;
        };
        self.graph.nodes[node].shape.rows == Axis::Token && self.elem_of(leaf) == self.config.product
    }
}
