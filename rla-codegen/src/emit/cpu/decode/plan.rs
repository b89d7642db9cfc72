//! The order of decode's work, for states whose rows or whose columns are contiguous.
//!
//! What is known grows in turns: numbers; softmaxes; loops over the channels of a side; then readouts. A loop over the
//! channels of a side holds the readouts along rows of that side whose vectors are known, what follows from them channel
//! by channel, and the updates of the states of which nothing is left to read.

use std::collections::BTreeSet;

use crate::emit::step::{Kind, Lowered};

/// A piece of work.
#[derive(Debug)]
pub enum Step {
    /// Numbers, in order.
    Numbers(Vec<usize>),
    /// One softmax.
    Softmax(usize),
    /// Channels of one side.
    Loop(Loop),
    /// Readouts across the rows of a state.
    Sums {
        /// The state.
        state: usize,
        /// The readouts.
        reads: Vec<usize>,
    },
    /// The update of a whole state.
    Update(usize),
}

/// Work in lanes over the channels of a side.
#[derive(Debug, Default)]
pub struct Loop {
    /// The side.
    pub axis: u16,
    /// Readouts by state: one number a row.
    pub reads: Vec<(usize, Vec<usize>)>,
    /// Vectors from memory.
    pub loads: Vec<usize>,
    /// Elementwise work, in order.
    pub maps: Vec<usize>,
    /// Sums of vectors over the channels.
    pub sums: Vec<usize>,
    /// States updated row by row.
    pub updates: Vec<usize>,
}

/// All work of a token.
#[derive(Debug)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
    /// Vectors that are written to memory where they are made.
    pub stored: BTreeSet<usize>,
    /// By state: the side whose channels are the contiguous rows.
    pub rows: Vec<u16>,
    /// By state: the side along a row.
    pub columns: Vec<u16>,
    /// By state: whether that makes the contracted side's channels the rows.
    pub turned: Vec<bool>,
}

struct Planner<'a> {
    lowered: &'a Lowered,
    plan: Plan,
    known: BTreeSet<usize>,
    updated: BTreeSet<usize>,
}

/// Plans a token.
pub fn plan(lowered: &Lowered, by_columns: bool) -> Plan {
    let count = lowered.states.len();
    let mut plan = Plan {
        steps: vec![],
        stored: BTreeSet::new(),
        rows: vec![0; count],
        columns: vec![0; count],
        turned: vec![false; count],
    };
    for state in (0..count).filter(|s| lowered.is_matrix(*s)) {
        let (rows, cols) = lowered.sides(state);
        (plan.rows[state], plan.columns[state]) = if by_columns { (cols, rows) } else { (rows, cols) };
        plan.turned[state] = lowered.states[state].transposed != by_columns;
    }
    let mut planner = Planner { lowered, plan, known: BTreeSet::new(), updated: BTreeSet::new() };
    planner.run();
    planner.stores();
    planner.plan
}

impl Planner<'_> {
    fn matrices(&self) -> Vec<usize> {
        (0..self.lowered.states.len()).filter(|s| self.lowered.is_matrix(*s)).collect()
    }

    fn run(&mut self) {
        for (i, node) in self.lowered.nodes.iter().enumerate() {
            if node.axis.is_some() && matches!(node.kind, Kind::Input(_) | Kind::State(_)) {
                self.known.insert(i);
            }
        }
        while self.known.len() < self.lowered.nodes.len() {
            let before = self.known.len();
            if self.numbers() || self.softmaxes() || self.loops(false) || self.loops(true) || self.sums() {
                debug_assert!(self.known.len() > before);
                continue;
            }
            unreachable!("operands come before their users");
        }
        for state in self.matrices() {
            if self.updated.insert(state) {
                self.plan.steps.push(Step::Update(state));
            }
        }
    }

    fn ready(&self, node: usize) -> bool {
        !self.known.contains(&node) && self.lowered.operands(node).iter().all(|x| self.known.contains(x))
    }

    fn numbers(&mut self) -> bool {
        let mut nodes = vec![];
        for (i, node) in self.lowered.nodes.iter().enumerate() {
            if node.axis.is_none() && !matches!(node.kind, Kind::Sum(_)) && self.ready(i) {
                self.known.insert(i);
                nodes.push(i);
            }
        }
        let any = !nodes.is_empty();
        if any {
            self.plan.steps.push(Step::Numbers(nodes));
        }
        any
    }

    fn softmaxes(&mut self) -> bool {
        let is = |i: &usize| matches!(self.lowered.nodes[*i].kind, Kind::Softmax(_)) && self.ready(*i);
        let Some(node) = (0..self.lowered.nodes.len()).find(is) else { return false };
        self.known.insert(node);
        self.plan.steps.push(Step::Softmax(node));
        true
    }

    /// A loop over the channels of some side, if there is work for one.
    fn loops(&mut self, read: bool) -> bool {
        let axes: BTreeSet<u16> = self.lowered.nodes.iter().filter_map(|n| n.axis).collect();
        for axis in axes {
            if let Some(work) = self.channels(axis, read) {
                self.plan.steps.push(Step::Loop(work));
                return true;
            }
        }
        false
    }

    fn channels(&mut self, axis: u16, read: bool) -> Option<Loop> {
        let lowered = self.lowered;
        let mut work = Loop { axis, ..Loop::default() };
        let mut here: BTreeSet<usize> = BTreeSet::new();
        for state in self.matrices().into_iter().filter(|s| read && self.plan.rows[*s] == axis) {
            let reads: Vec<usize> = self.reads(state, false).into_iter().filter(|r| self.ready(*r)).collect();
            here.extend(&reads);
            if !reads.is_empty() {
                work.reads.push((state, reads));
            }
        }
        if read && work.reads.is_empty() {
            return None;
        }
        let mut loads = BTreeSet::new();
        for (i, node) in lowered.nodes.iter().enumerate() {
            let at_hand = |x: &usize| here.contains(x) || self.known.contains(x);
            if self.known.contains(&i) || here.contains(&i) || !lowered.operands(i).iter().all(at_hand) {
                continue;
            }
            match node.kind {
                Kind::Map(..) if node.axis == Some(axis) => work.maps.push(i),
                Kind::Sum(x) if lowered.nodes[x].axis == Some(axis) => work.sums.push(i),
                _ => continue,
            }
            let vectors = lowered.operands(i).into_iter().filter(|x| lowered.nodes[*x].axis.is_some());
            loads.extend(vectors.filter(|x| !here.contains(x)));
            // a sum is known after the loop
            if node.axis.is_some() {
                here.insert(i);
            }
        }
        work.loads = loads.into_iter().collect();
        if work.reads.is_empty() && work.maps.is_empty() && work.sums.is_empty() {
            return None;
        }
        for state in self.matrices() {
            if self.updated.contains(&state) || self.plan.rows[state] != axis || !read {
                continue;
            }
            let lowered_update = lowered.updates[state].as_ref().expect("a matrix state");
            let decay = lowered_update.decay.turned(self.plan.turned[state]);
            let turned = self.plan.turned[state];
            let writes = lowered_update.writes.iter().map(|(u, w)| if turned { (*w, *u) } else { (*u, *w) });
            let rows = writes.clone().map(|(u, _)| u).chain(decay.rows);
            let fixed = writes.map(|(_, w)| w).chain(decay.cols).chain(decay.number);
            let all_read = [false, true].into_iter().flat_map(|across| self.reads(state, across));
            let all_read = all_read.into_iter().all(|r| here.contains(&r) || self.known.contains(&r));
            if all_read
                && rows.into_iter().all(|x| here.contains(&x) || self.known.contains(&x))
                && fixed.into_iter().all(|x| self.known.contains(&x))
            {
                work.updates.push(state);
            }
        }
        self.updated.extend(&work.updates);
        self.known.extend(here);
        self.known.extend(&work.sums);
        Some(work)
    }

    /// Readouts of a state along its contiguous rows, or across them.
    fn reads(&self, state: usize, across_rows: bool) -> Vec<usize> {
        let is = |kind: &Kind| {
            matches!(kind, Kind::Read { state: s, across, .. }
            if *s == state && (*across != self.plan.turned[state]) == across_rows)
        };
        (0..self.lowered.nodes.len()).filter(|i| is(&self.lowered.nodes[*i].kind)).collect()
    }

    fn sums(&mut self) -> bool {
        for state in self.matrices() {
            let reads: Vec<usize> = self.reads(state, true).into_iter().filter(|r| self.ready(*r)).collect();
            if !reads.is_empty() {
                self.known.extend(&reads);
                self.plan.steps.push(Step::Sums { state, reads });
                return true;
            }
        }
        false
    }

    /// Which vectors are needed outside the loop that makes them.
    fn stores(&mut self) {
        let lowered = self.lowered;
        let mut stored: BTreeSet<usize> = BTreeSet::new();
        stored.extend(lowered.outputs.iter().chain(&lowered.vectors).map(|(_, node)| *node));
        for update in lowered.updates.iter().flatten() {
            stored.extend(update.writes.iter().flat_map(|(u, w)| [*u, *w]));
            stored.extend(update.decay.rows.into_iter().chain(update.decay.cols));
        }
        for step in &self.plan.steps {
            match step {
                Step::Loop(work) => stored.extend(&work.loads),
                Step::Softmax(node) => stored.extend(lowered.operands(*node)),
                _ => {}
            }
        }
        for (i, node) in lowered.nodes.iter().enumerate() {
            if matches!(node.kind, Kind::Read { .. }) {
                stored.extend(lowered.operands(i));
            }
        }
        self.plan.stored = stored;
    }
}
