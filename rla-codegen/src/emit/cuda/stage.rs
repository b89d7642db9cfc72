//! What is computed where: prepare, sequential, finish.

use std::collections::{BTreeMap, BTreeSet};

use super::chain::Chain;
use crate::emit::graph::{Graph, Kind};
use crate::tile::{Axis, Leaf, Role};

/// How a group of states is carried.
#[derive(Clone, Debug)]
pub enum Carry {
    /// In registers.
    Chain(Chain),
    /// By one block, in memory.
    Walk,
}

/// One group of states that need one another.
#[derive(Clone, Debug)]
pub struct Group {
    /// The states.
    pub states: Vec<usize>,
    /// How they are carried.
    pub carry: Carry,
    /// Values that it computes and that hold a carried state.
    pub values: BTreeSet<usize>,
}

/// The stages of a pass.
#[derive(Clone, Debug)]
pub struct Stages {
    /// Whether a value holds a carried state.
    pub depends: Vec<bool>,
    /// The carried leaf of each state, where it is read.
    pub leaves: BTreeMap<usize, usize>,
    /// The next value of each state.
    pub next: BTreeMap<usize, usize>,
    /// Groups of states.
    pub groups: Vec<Group>,
    /// Results that a sequential kernel writes: index into the graph's results, and the group.
    pub sequential: BTreeMap<usize, usize>,
}

/// Divides the work.
pub fn stages(graph: &Graph, backward: bool, chunk: usize) -> Stages {
    let carried = |leaf: &Leaf| match leaf {
        Leaf::State(i) if !backward => Some(*i),
        Leaf::StateGrad(i) if backward => Some(*i),
        _ => None,
    };
    let mut depends = vec![false; graph.nodes.len()];
    let mut leaves = BTreeMap::new();
    for (n, node) in graph.nodes.iter().enumerate() {
        if let Kind::Leaf(leaf) = &node.kind
            && let Some(state) = carried(leaf)
        {
            depends[n] = true;
            leaves.insert(state, n);
        }
        depends[n] |= node.kind.operands().iter().any(|r| depends[r.node]);
    }
    let mut next = BTreeMap::new();
    for (role, r) in &graph.results {
        match role {
            Role::State(i) if !backward => next.insert(*i, r.node),
            Role::StateGrad(i) if backward => next.insert(*i, r.node),
            _ => None,
        };
    }
    // states whose next values share work, or read one another
    let closures: BTreeMap<usize, BTreeSet<usize>> =
        next.iter().map(|(i, n)| (*i, behind(graph, &depends, *n))).collect();
    let mut groups: Vec<(Vec<usize>, BTreeSet<usize>)> = vec![];
    for (state, mut values) in closures {
        if let Some(leaf) = leaves.get(&state) {
            values.insert(*leaf);
        }
        let mut states = vec![state];
        groups.retain(|(others, theirs)| {
            let meets = theirs.intersection(&values).next().is_some();
            if meets {
                states.extend(others);
                values.extend(theirs);
            }
            !meets
        });
        states.sort_unstable();
        groups.push((states, values));
    }
    let mut groups: Vec<Group> = groups
        .into_iter()
        .map(|(states, values)| {
            let carry = match chain(graph, &depends, &states, &leaves, &next, chunk) {
                Ok(chain) => Carry::Chain(chain),
                Err(_) => Carry::Walk,
            };
            Group { states, carry, values }
        })
        .collect();
    for g in 0..groups.len() {
        let fits = fits_beside(&groups, g);
        if let Carry::Chain(chain) = &groups[g].carry
            && !fits(chain)
        {
            groups[g].carry = Carry::Walk;
        }
    }
    let mut sequential = BTreeMap::new();
    for (index, (role, r)) in graph.results.iter().enumerate() {
        if !depends[r.node] || !matches!(role, Role::Output(_) | Role::Saved(_)) || r.flip {
            continue;
        }
        for g in 0..groups.len() {
            let fits_beside = fits_beside(&groups, g);
            let group = &mut groups[g];
            let taken = match &mut group.carry {
                Carry::Chain(chain) => {
                    let before = chain.clone();
                    let added = chain.add(graph, &depends, r.node).is_ok();
                    let fits = added && fits_beside(chain);
                    if !fits {
                        *chain = before;
                    }
                    fits
                }
                // a walk computes results that need its states alone
                Carry::Walk => {
                    let needs = behind(graph, &depends, r.node);
                    let own: BTreeSet<usize> = group.states.iter().filter_map(|s| leaves.get(s)).copied().collect();
                    leaves.values().filter(|l| needs.contains(l)).all(|l| own.contains(l))
                }
            };
            if taken {
                sequential.insert(index, g);
                break;
            }
        }
    }
    for group in &mut groups {
        if let Carry::Chain(chain) = &group.carry {
            group.values = chain.tiles.iter().copied().filter(|n| depends[*n]).collect();
        } else {
            for index in sequential.keys() {
                let values = behind(graph, &depends, graph.results[*index].1.node);
                if values.iter().any(|v| group.values.contains(v)) {
                    group.values.extend(values);
                }
            }
            // a system's readouts and writes are made with it
            let made =
                |n: &usize| matches!(graph.nodes[*n].kind, Kind::Part(solve, _) if group.values.contains(&solve));
            let parts: Vec<usize> = (0..graph.nodes.len()).filter(made).collect();
            group.values.extend(parts);
        }
    }
    Stages { depends, leaves, next, groups, sequential }
}

/// Whether a chain gets along with those of the other groups: a matrix comes either rounded or not.
fn fits_beside(groups: &[Group], g: usize) -> impl Fn(&Chain) -> bool + use<> {
    let (mut images, mut squares) = (BTreeSet::new(), BTreeSet::new());
    for (other, group) in groups.iter().enumerate() {
        if let Carry::Chain(chain) = &group.carry
            && other != g
        {
            images.extend(chain.images.iter().copied());
            squares.extend(chain.squares.iter().copied());
        }
    }
    move |chain| chain.squares.is_disjoint(&images) && chain.images.is_disjoint(&squares)
}

/// Values with a carried state that a value needs, itself included.
fn behind(graph: &Graph, depends: &[bool], node: usize) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![node];
    while let Some(n) = todo.pop() {
        if depends[n] && seen.insert(n) {
            todo.extend(graph.nodes[n].kind.operands().iter().map(|r| r.node));
        }
    }
    seen
}

fn chain(
    graph: &Graph,
    depends: &[bool],
    states: &[usize],
    leaves: &BTreeMap<usize, usize>,
    next: &BTreeMap<usize, usize>,
    chunk: usize,
) -> Result<Chain, String> {
    let mut carried = BTreeMap::new();
    let mut free = None;
    for state in states {
        let leaf = *leaves.get(state).ok_or_else(|| format!("state {state} is not read"))?;
        let shape = graph.nodes[leaf].shape;
        if !matches!((shape.rows, shape.cols), (Axis::Side(_), Axis::Side(_))) {
            return Err(format!("state {state} is {shape}"));
        }
        if free.is_some_and(|f| f != shape.rows) {
            return Err("its states have different free sides".into());
        }
        free = Some(shape.rows);
        carried.insert(*state, leaf);
    }
    let mut chain = Chain::new(free.ok_or("no state")?, carried, chunk);
    for state in states {
        if let Some(r) = graph.results.iter().find(|(_, r)| Some(&r.node) == next.get(state))
            && r.1.flip
        {
            return Err(format!("state {state} comes out transposed"));
        }
        chain.add(graph, depends, next[state])?;
    }
    Ok(chain)
}
