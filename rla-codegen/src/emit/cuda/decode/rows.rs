//! Which side of a token's values can be divided among groups that know nothing of one another.

use std::collections::BTreeSet;

use crate::emit::cuda::expr::is_costly;
use crate::emit::step::{Decay, Kind, Lowered};
use crate::tile::Axis;

/// A division by channels of one side.
#[derive(Debug)]
pub struct Division {
    /// The side that is divided: rows.
    pub side: u16,
    /// Matrix states with the side along their columns.
    pub columns: Vec<(usize, u16)>,
    /// Whether a vector state lies along another side, so that every group computes all of it.
    pub shared: bool,
}

/// Divides; an error says what keeps each side from it.
pub fn divide(lowered: &Lowered) -> Result<Division, String> {
    let mut sides: Vec<u16> = vec![];
    let states = lowered.states.iter().flat_map(|s| [s.free, s.contracted]);
    let nodes = lowered.nodes.iter().filter_map(|n| n.axis);
    let of_states = states.filter_map(|axis| if let Axis::Side(side) = axis { Some(side) } else { None });
    for side in of_states.chain(nodes) {
        if !sides.contains(&side) {
            sides.push(side);
        }
    }
    let mut reasons = vec![];
    for side in sides {
        match by_side(lowered, side) {
            Ok(division) => return Ok(division),
            Err(reason) => reasons.push(format!("side {side}: {reason}")),
        }
    }
    Err(reasons.join("; "))
}

fn by_side(lowered: &Lowered, side: u16) -> Result<Division, String> {
    let mut columns = vec![];
    for state in (0..lowered.states.len()).filter(|s| lowered.is_matrix(*s)) {
        let (rows, cols) = lowered.sides(state);
        match (rows == side, cols == side) {
            (true, false) => columns.push((state, cols)),
            (false, true) => columns.push((state, rows)),
            _ => return Err(format!("state {state} has it twice or not at all")),
        }
    }
    for node in &lowered.nodes {
        match &node.kind {
            Kind::Sum(x) | Kind::Softmax(x) if lowered.nodes[*x].axis == Some(side) => {
                return Err("a sum or softmax over it".into());
            }
            Kind::Read { by, .. } if lowered.nodes[*by].axis == Some(side) => {
                return Err("a readout sums over it".into());
            }
            _ => {}
        }
    }
    let along = |node: usize| lowered.nodes[node].axis;
    let shared = lowered.vectors.iter().any(|(_, node)| along(*node) != Some(side));
    Ok(Division { side, columns, shared })
}

impl Division {
    /// The side along a matrix state's columns.
    pub fn columns_of(&self, state: usize) -> u16 {
        self.columns.iter().find(|(s, _)| *s == state).expect("every matrix state is divided").1
    }

    /// Whether the state's declared columns are the rows here.
    pub fn turned(&self, lowered: &Lowered, state: usize) -> bool {
        lowered.sides(state).0 != self.side
    }

    /// A state's decay and its writes (u along rows, w along columns); `None` where the state stays as it is.
    pub fn update(&self, lowered: &Lowered, state: usize) -> Option<(Decay, Vec<(usize, usize)>)> {
        let update = lowered.updates[state].as_ref()?;
        let by_columns = lowered.states[state].free != Axis::Side(self.side);
        let decay = update.decay.turned(by_columns);
        let writes: Vec<(usize, usize)> =
            update.writes.iter().map(|(u, w)| if by_columns { (*w, *u) } else { (*u, *w) }).collect();
        let same = writes.is_empty() && decay.number.or(decay.rows).or(decay.cols).is_none();
        (!same).then_some((decay, writes))
    }

    /// Whether every group evaluates functions along columns.
    pub fn costly(&self, lowered: &Lowered) -> bool {
        lowered.nodes.iter().any(|node| match &node.kind {
            Kind::Map(f, _) => is_costly(*f) && node.axis.is_some_and(|axis| axis != self.side),
            Kind::Softmax(_) => true,
            _ => false,
        })
    }

    /// Nodes whose elements beyond the last column must be 0: what is summed over columns or written along them.
    pub fn summed(&self, lowered: &Lowered) -> BTreeSet<usize> {
        let mut out = BTreeSet::new();
        for node in &lowered.nodes {
            match &node.kind {
                Kind::Sum(x) => out.extend([*x]),
                Kind::Read { by, .. } => out.extend([*by]),
                _ => {}
            }
        }
        for (state, _) in &self.columns {
            let Some((decay, writes)) = self.update(lowered, *state) else { continue };
            out.extend(writes.iter().map(|(_, w)| *w));
            out.extend(decay.cols);
        }
        out.extend(lowered.vectors.iter().map(|(_, node)| *node));
        out.retain(|node| lowered.nodes[*node].axis.is_some_and(|axis| axis != self.side));
        out
    }
}
