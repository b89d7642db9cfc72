//! The division of a chain among warps.
//!
//! All warps of a role do the same part of a chunk's work, each for 16 channels: a role for each state (what its next value
//! needs), one for results that no state needs. A role works on the chunk that those it reads from worked on a step before,
//! so that all are busy at once; what it reads was left in shared memory, one place for each step that it waits there.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Chain;
use crate::emit::graph::{Graph, Kind, Ref};
use crate::tile::MapFn;

/// What is one accumulator, and what is written out where it is used.
pub struct Plan<'a> {
    /// The chain.
    pub chain: &'a Chain,
    /// The graph.
    pub graph: &'a Graph,
    /// Which values hold a carried state.
    pub depends: &'a [bool],
    /// Next values of the states.
    pub next: BTreeMap<usize, usize>,
    /// Values that are stored.
    stored: BTreeSet<usize>,
    /// Values that have no tile of their own.
    inline: BTreeSet<usize>,
    /// Sums with products: each term, subtracted or not.
    sums: HashMap<usize, Vec<(bool, usize)>>,
    /// Left operands of products.
    operands: BTreeSet<usize>,
    uses: HashMap<usize, usize>,
}

/// Part of a chain's work.
#[derive(Clone, Debug, Default)]
pub struct Role {
    /// States that it carries.
    pub states: Vec<usize>,
    /// Values that it computes, in order.
    pub tiles: BTreeSet<usize>,
    /// Steps that it is behind.
    pub lag: usize,
    /// States of other roles that it reads as operands.
    pub operands: BTreeSet<usize>,
    /// Values of other roles that it reads.
    pub values: BTreeSet<usize>,
    /// Whether it writes states at the chunk's start to memory: its own, or, without any, those that it reads.
    pub keeps: bool,
}

/// What a role leaves for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A state at the chunk's start, as an operand.
    State(usize),
    /// A value.
    Tile(usize),
    /// Room in which a role turns what a value needs; it leaves nothing.
    Room(usize),
}

impl<'a> Plan<'a> {
    /// Looks at the chain; `stored` are the values with stores.
    pub fn new(
        chain: &'a Chain,
        graph: &'a Graph,
        depends: &'a [bool],
        next: BTreeMap<usize, usize>,
        stored: BTreeSet<usize>,
    ) -> Plan<'a> {
        let mut uses: HashMap<usize, usize> = HashMap::new();
        for n in &chain.tiles {
            for r in graph.nodes[*n].kind.operands() {
                *uses.entry(r.node).or_default() += 1;
            }
        }
        for n in stored.iter().chain(next.values()) {
            *uses.entry(*n).or_default() += 2;
        }
        let products = chain.tiles.iter().filter_map(|n| chain.multiply(graph, depends, *n));
        let operands = products.map(|m| m.tile).collect();
        let (inline, sums) = Default::default();
        let mut plan = Plan { chain, graph, depends, next, stored, inline, sums, operands, uses };
        plan.absorb();
        plan
    }

    fn once(&self, n: usize) -> bool {
        self.uses.get(&n) == Some(&1)
    }

    /// Products go into the accumulator of the sum that uses them; other work that is used once is written out there.
    fn absorb(&mut self) {
        let mut absorbed: BTreeSet<usize> = BTreeSet::new();
        for n in self.chain.tiles.iter().rev() {
            if absorbed.contains(n) {
                continue;
            }
            let mut terms = vec![];
            self.add_terms(*n, true, false, &mut terms);
            let own = |t: usize| self.is_product(t) && self.chain.tiles.contains(&t) && (t == *n || self.once(t));
            if terms.iter().any(|(_, t)| own(*t)) {
                absorbed.extend(terms.iter().map(|(_, t)| *t).filter(|t| own(*t) && t != n));
                self.inner_sums(*n, &mut absorbed);
                self.sums.insert(*n, terms);
            }
        }
        let plain = |n: &usize| {
            self.once(*n)
                && !self.operands.contains(n)
                && !self.sums.contains_key(n)
                && matches!(self.graph.nodes[*n].kind, Kind::Map(..))
        };
        let inline: BTreeSet<usize> = self.chain.tiles.iter().copied().filter(plain).collect();
        self.inline = inline.union(&absorbed).copied().collect();
    }

    fn inner_sums(&self, node: usize, absorbed: &mut BTreeSet<usize>) {
        let additive =
            |n: usize| matches!(self.graph.nodes[n].kind, Kind::Map(MapFn::Add | MapFn::Sub | MapFn::Neg, _));
        if !additive(node) {
            return;
        }
        for a in self.graph.nodes[node].kind.operands() {
            if self.chain.tiles.contains(&a.node) && self.once(a.node) && additive(a.node) {
                absorbed.insert(a.node);
                self.inner_sums(a.node, absorbed);
            }
        }
    }

    /// The terms that a value adds up: products used once, and the rest.
    fn add_terms(&self, n: usize, top: bool, minus: bool, out: &mut Vec<(bool, usize)>) {
        let through = top || (self.once(n) && self.chain.tiles.contains(&n));
        let shape = self.graph.nodes[n].shape;
        let same = |r: &Ref| self.graph.nodes[r.node].shape == shape;
        match &self.graph.nodes[n].kind {
            Kind::Map(MapFn::Add, args) if through && args.iter().all(same) => {
                args.iter().for_each(|a| self.add_terms(a.node, false, minus, out))
            }
            Kind::Map(MapFn::Sub, args) if through && args.iter().all(same) => {
                self.add_terms(args[0].node, false, minus, out);
                self.add_terms(args[1].node, false, !minus, out);
            }
            Kind::Map(MapFn::Neg, args) if through => self.add_terms(args[0].node, false, !minus, out),
            _ => out.push((minus, n)),
        }
    }

    /// Whether a value is a product that goes into an accumulator.
    pub fn is_product(&self, n: usize) -> bool {
        matches!(self.graph.nodes[n].kind, Kind::Product(..))
    }

    /// Whether a value is written out where it is used.
    pub fn is_inline(&self, n: usize) -> bool {
        self.inline.contains(&n)
    }

    /// The terms of a sum with products.
    pub fn terms(&self, n: usize) -> Option<&Vec<(bool, usize)>> {
        self.sums.get(&n)
    }

    /// Whether a value is a left operand of a product.
    pub fn is_operand(&self, n: usize) -> bool {
        self.operands.contains(&n)
    }

    /// The state whose carried value this is.
    pub fn state_of(&self, n: usize) -> Option<usize> {
        self.chain.carried.iter().find(|(_, leaf)| **leaf == n).map(|(state, _)| *state)
    }

    /// The state whose next value this is.
    pub fn next_of(&self, n: usize) -> Option<usize> {
        self.next.iter().find(|(_, node)| **node == n).map(|(state, _)| *state)
    }

    /// Values with a tile that what a sum begins with reads.
    pub fn start_reads(&self, n: usize) -> BTreeSet<usize> {
        let terms = self.sums.get(&n).into_iter().flatten().map(|(_, t)| *t);
        let others = terms.filter(|t| !(self.is_product(*t) && (*t == n || self.is_inline(*t))));
        let (tiles, inline): (Vec<usize>, Vec<usize>) =
            others.filter(|t| self.chain.tiles.contains(t)).partition(|t| !self.is_inline(*t));
        inline.into_iter().flat_map(|t| self.reads(t)).chain(tiles).collect()
    }

    /// Values with a tile, states among them, that the text of a value reads.
    pub fn reads(&self, n: usize) -> BTreeSet<usize> {
        let mut out = BTreeSet::new();
        let mut todo = vec![n];
        while let Some(m) = todo.pop() {
            let operands: Vec<usize> = match self.chain.multiply(self.graph, self.depends, m) {
                Some(product) => vec![product.tile],
                None => self.graph.nodes[m].kind.operands().iter().map(|r| r.node).collect(),
            };
            for x in operands.into_iter().filter(|x| self.chain.tiles.contains(x)) {
                if self.is_inline(x) {
                    todo.push(x);
                } else {
                    out.insert(x);
                }
            }
        }
        out
    }

    /// Whether all that a role does with a value is products whose left operand it is.
    pub fn only_multiplies(&self, role: &Role, value: usize) -> bool {
        let elementwise = |n: usize| {
            let mut todo = vec![n];
            while let Some(m) = todo.pop() {
                let products = |t: &usize| self.is_product(*t) && (*t == m || self.is_inline(*t));
                let operands: Vec<usize> = match self.sums.get(&m) {
                    _ if self.chain.multiply(self.graph, self.depends, m).is_some() => vec![],
                    Some(terms) => terms.iter().map(|(_, t)| *t).filter(|t| !products(t)).collect(),
                    None => self.graph.nodes[m].kind.operands().iter().map(|r| r.node).collect(),
                };
                if operands.contains(&value) {
                    return true;
                }
                todo.extend(operands.into_iter().filter(|x| self.is_inline(*x)));
            }
            false
        };
        !role.tiles.iter().any(|n| elementwise(*n))
    }

    /// Inputs and elementwise work on them: every role that needs one makes it.
    fn is_free(&self, n: usize) -> bool {
        if self.depends[n] || self.stored.contains(&n) {
            return false;
        }
        match self.graph.nodes[n].kind {
            Kind::Leaf(_) => true,
            Kind::Map(..) => !self.sums.contains_key(&n) && self.reads(n).iter().all(|x| self.is_free(*x)),
            _ => false,
        }
    }

    /// Values behind some, themselves included, that are not free; states go to `states`.
    fn closure(&self, from: impl IntoIterator<Item = usize>, states: &mut BTreeSet<usize>) -> BTreeSet<usize> {
        let mut out = BTreeSet::new();
        let mut todo: Vec<usize> = from.into_iter().collect();
        while let Some(n) = todo.pop() {
            if let Some(state) = self.state_of(n) {
                states.insert(state);
            } else if !self.is_free(n) && out.insert(n) {
                todo.extend(self.reads(n));
                // a system is solved once, with all its parts
                todo.extend(super::parts(self.graph, n));
            }
        }
        out
    }

    /// States at the chunk's start, and what each is multiplied with, where a value is the sum of such products alone.
    pub fn readouts(&self, n: usize) -> Option<Vec<(usize, usize)>> {
        let of = |(_, t): &(bool, usize)| {
            let product = self.chain.multiply(self.graph, self.depends, *t);
            let own = product.filter(|_| *t == n || self.is_inline(*t))?;
            Some((self.state_of(own.tile)?, own.image))
        };
        self.sums.get(&n)?.iter().map(of).collect()
    }

    /// The state that all of a value's readouts are of.
    fn readout_of(&self, n: usize) -> Option<usize> {
        let readouts = self.readouts(n)?;
        let (first, _) = *readouts.first()?;
        readouts.iter().all(|(state, _)| *state == first).then_some(first)
    }

    /// The roles; one for everything unless `split`. `keeps`: states at the chunk's start are written to memory. `together`: four warps
    /// multiply at once; then a state stays with its role, which makes its readouts and keeps it, else a role of results does.
    pub fn roles(&self, split: bool, keeps: bool, together: bool) -> Vec<Role> {
        let states: Vec<usize> = self.next.keys().copied().collect();
        let mut reach: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for state in &states {
            let mut others = BTreeSet::new();
            self.closure([self.next[state]], &mut others);
            others.remove(state);
            reach.insert(*state, others);
        }
        let reaches = |a: usize, b: usize| {
            let mut seen = BTreeSet::new();
            let mut todo = vec![a];
            while let Some(x) = todo.pop() {
                todo.extend(reach[&x].iter().filter(|y| seen.insert(**y)));
            }
            seen.contains(&b)
        };
        // states that read one another stay together; each comes after those that it reads
        let mut teams: Vec<Vec<usize>> = vec![];
        for state in &states {
            let together = |t: &&mut Vec<usize>| !split || t.iter().any(|x| reaches(*x, *state) && reaches(*state, *x));
            match teams.iter_mut().find(together) {
                Some(team) => team.push(*state),
                None => teams.push(vec![*state]),
            }
        }
        let before = |team: &[usize]| states.iter().filter(|x| !team.contains(x) && reaches(team[0], **x)).count();
        teams.sort_by_key(|team| before(team));
        let mut done = BTreeSet::new();
        let mut roles = vec![];
        for team in teams {
            let needed = self.closure(team.iter().map(|s| self.next[s]), &mut BTreeSet::new());
            let own = needed.difference(&done).copied().collect();
            done.extend(needed);
            roles.push(Role { states: team, tiles: own, ..Role::default() });
        }
        let results = self.closure(self.stored.iter().copied(), &mut BTreeSet::new());
        let mut rest: BTreeSet<usize> = results.difference(&done).copied().collect();
        // a state alone whose next value needs no readout is read by the role of results, which has the time
        let stays = together && (roles.len() > 1 || done.iter().any(|n| self.readout_of(*n).is_some()));
        if stays && split {
            let all: Vec<usize> = rest.iter().chain(&done).copied().collect();
            for (n, state) in all.into_iter().filter_map(|n| Some((n, self.readout_of(n)?))) {
                roles.iter_mut().map(|role| &mut role.tiles).chain([&mut rest]).for_each(|tiles| {
                    tiles.remove(&n);
                });
                let role = roles.iter_mut().find(|role| role.states.contains(&state));
                role.expect("some role carries it").tiles.insert(n);
            }
        }
        let apply = |n: usize| matches!(self.graph.nodes[n].kind, Kind::DecayApply { .. });
        let heavy = rest.iter().any(|n| self.sums.contains_key(n) || apply(*n));
        let results = split && (keeps && !together || heavy);
        if !results || stays {
            roles.iter_mut().for_each(|role| role.keeps = keeps);
        }
        if results {
            roles.push(Role { tiles: rest, keeps: keeps && !stays, ..Role::default() });
        } else {
            roles.last_mut().expect("a chain has a state").tiles.extend(rest);
        }
        for i in 0..roles.len() {
            let mut role = roles[i].clone();
            let owner = |n: usize| (0..i).find(|o| roles[*o].tiles.contains(&n));
            let carrier = |s: usize| (0..i).find(|o| roles[*o].states.contains(&s));
            let reads: BTreeSet<usize> = role.tiles.iter().flat_map(|n| self.reads(*n)).collect();
            let mut free: Vec<usize> = vec![];
            for x in reads {
                match self.state_of(x) {
                    Some(s) if role.states.contains(&s) => {}
                    Some(s) => {
                        role.operands.insert(s);
                    }
                    None if role.tiles.contains(&x) => {}
                    None if self.is_free(x) => free.push(x),
                    None => {
                        role.values.insert(x);
                    }
                }
            }
            while let Some(x) = free.pop() {
                if role.tiles.insert(x) {
                    free.extend(self.reads(x));
                }
            }
            if role.keeps && role.states.is_empty() {
                role.operands.extend(&states);
            }
            let from =
                role.operands.iter().filter_map(|s| carrier(*s)).chain(role.values.iter().filter_map(|n| owner(*n)));
            role.lag = from.map(|o| roles[o].lag + 1).max().unwrap_or(0);
            roles[i] = role;
        }
        roles
    }

    /// What roles leave for others: who leaves it, and in how many places.
    pub fn handed(&self, roles: &[Role]) -> BTreeMap<What, (usize, usize)> {
        let mut out: BTreeMap<What, (usize, usize)> = BTreeMap::new();
        for role in roles {
            let states = role.operands.iter().map(|s| What::State(*s));
            for what in states.chain(role.values.iter().map(|n| What::Tile(*n))) {
                let from = roles.iter().position(|r| match what {
                    What::State(s) => r.states.contains(&s),
                    What::Tile(n) => r.tiles.contains(&n) && !r.values.contains(&n),
                    What::Room(_) => false,
                });
                let from = from.expect("some role makes it");
                let places = role.lag - roles[from].lag + 1;
                let entry = out.entry(what).or_insert((from, places));
                entry.1 = entry.1.max(places);
            }
        }
        out
    }
}
