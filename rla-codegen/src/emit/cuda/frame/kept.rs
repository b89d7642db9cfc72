//! What sequential kernels keep of states at chunks' starts: for finish, and forward for backward.

use super::Frame;
use crate::emit::cuda::Pass;
use crate::emit::cuda::chain::Work;
use crate::emit::cuda::chain::roles::Role;
use crate::emit::cuda::place::Place;
use crate::emit::cuda::stage::Group;
use crate::emit::text::{Text, mentions};

impl Frame<'_> {
    /// States at the chunk's start (gradients at its end), where finish or backward reads them.
    pub(super) fn keep_states(&self, role: &Role, body: &Work, out: &mut Text) {
        let of_others = role.operands.iter().filter(|_| role.states.is_empty());
        for state in role.states.iter().chain(of_others) {
            let columns = self.sizes().padded(self.state_shape(*state).cols) / 8;
            for (place, address) in self.state_targets(*state) {
                let (elem, ld) = (place.elem.c(), place.ld);
                let target = format!("({elem}*)({address}) + channel * {ld}");
                let left = format!("left{}", self.stages.leaves.get(state).copied().unwrap_or(usize::MAX));
                out.line(match role.states.contains(state) {
                    _ if mentions(&body.first, &left) => format!("keep<{elem}>({target}, {left});"),
                    true => format!("keep<{elem}, {ld}>({target}, state{state});"),
                    false => format!("keep<{elem}, {columns}, {ld}>({target}, from{state});"),
                });
            }
        }
    }

    /// Where a state at the chunk's start goes: the place and its address.
    pub(super) fn state_targets(&self, state: usize) -> Vec<(Place, String)> {
        let mut targets = vec![];
        if self.pass == Pass::ForwardSave
            && let Some((place, address)) = self.kept_place(state, String::new())
        {
            targets.push((place, address.to_string()));
        }
        if let Some(leaf) = self.stages.leaves.get(&state)
            && let Some((place, address)) = self.passed.item(*leaf, ["passed", "passed_span"])
        {
            targets.push((place.clone(), address.to_string()));
        }
        targets
    }

    /// As [`keep_states`](Frame::keep_states), of a walk's states in memory.
    pub(super) fn chunk_starts(&self, group: &Group, out: &mut Text) {
        for state in &group.states {
            let shape = self.state_shape(*state);
            for (place, address) in self.state_targets(*state) {
                let elem = place.elem.c();
                let target = format!("(({elem}*)({address}))");
                let (rows, cols) = (self.sizes().padded(shape.rows), self.sizes().padded(shape.cols));
                let matrix = place.ld > 0;
                let own = if matrix { format!("r * {} + c", cols + 4) } else { "r + c".into() };
                let index = if matrix { place.index("r", "c") } else { "r + c".into() };
                out.line(format!(
                    "each<{rows}, {cols}>([&](int r, int c) {{ {target}[{index}] = narrow<{elem}>(state{state}[{own}]); }});"
                ));
            }
        }
    }
}
