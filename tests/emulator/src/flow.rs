//! Where lanes that a branch parts come together again: the first step that all ways from it go through.
use crate::program::{Operation, Step};

/// No step: the ways meet only where the kernel ends.
pub const NOWHERE: usize = usize::MAX;

/// For every step that may part lanes, the step at which they meet; for others [`NOWHERE`].
pub fn meetings(steps: &[Step]) -> Vec<usize> {
    let blocks = Blocks::of(steps);
    let after = blocks.after();
    let mut out = vec![NOWHERE; steps.len()];
    for (block, start) in blocks.starts.iter().enumerate() {
        let last = blocks.starts.get(block + 1).map_or(steps.len(), |next| *next) - 1;
        debug_assert!(*start <= last);
        if matches!(steps[last].operation, Operation::Branch(_)) && after[block] < blocks.starts.len() {
            out[last] = blocks.starts[after[block]];
        }
    }
    out
}

/// Steps that are only entered at the first and left at the last; one more, of no steps, is the end.
struct Blocks {
    starts: Vec<usize>,
    next: Vec<Vec<usize>>,
}

impl Blocks {
    fn of(steps: &[Step]) -> Blocks {
        let mut first = vec![false; steps.len() + 1];
        first[0] = true;
        for (at, step) in steps.iter().enumerate() {
            match step.operation {
                Operation::Branch(target) => {
                    first[target] = true;
                    first[at + 1] = true;
                }
                Operation::Exit => first[at + 1] = true,
                _ => {}
            }
        }
        let starts: Vec<usize> = (0..steps.len()).filter(|at| first[*at]).collect();
        let end = starts.len();
        let block = |at: usize| starts.binary_search(&at).unwrap_or(end);
        let next = (0..end).map(|b| {
            let last = starts.get(b + 1).map_or(steps.len(), |next| *next) - 1;
            let step = &steps[last];
            match step.operation {
                Operation::Branch(target) if step.guard.is_none() => vec![block(target)],
                Operation::Branch(target) => vec![block(target), block(last + 1)],
                Operation::Exit if step.guard.is_none() => vec![end],
                Operation::Exit => vec![end, block(last + 1)],
                _ => vec![block(last + 1)],
            }
        });
        Blocks { next: next.collect(), starts }
    }

    /// For every block the nearest one that all ways from it go through (the immediate post-dominator; Cooper, Harvey and
    /// Kennedy, "A Simple, Fast Dominance Algorithm", on the reversed graph).
    fn after(&self) -> Vec<usize> {
        let end = self.starts.len();
        // by how late a block is left by a walk from the end against the arrows
        let mut before: Vec<Vec<usize>> = vec![vec![]; end + 1];
        for (block, next) in self.next.iter().enumerate() {
            next.iter().for_each(|n| before[*n].push(block));
        }
        let mut order = vec![];
        let mut seen = vec![false; end + 1];
        let mut walk = vec![(end, 0)];
        seen[end] = true;
        while let Some((block, child)) = walk.pop() {
            match before[block].get(child) {
                Some(&from) => {
                    walk.push((block, child + 1));
                    if !seen[from] {
                        seen[from] = true;
                        walk.push((from, 0));
                    }
                }
                None => order.push(block),
            }
        }
        let mut rank = vec![0; end + 1];
        order.iter().enumerate().for_each(|(i, block)| rank[*block] = i);
        let mut after = vec![NOWHERE; end + 1];
        after[end] = end;
        let mut changed = true;
        while changed {
            changed = false;
            for block in order.iter().rev().filter(|b| **b != end) {
                let mut found = NOWHERE;
                for next in self.next[*block].iter().filter(|n| after[**n] != NOWHERE) {
                    found = if found == NOWHERE { *next } else { meet(&after, &rank, *next, found) };
                }
                if after[*block] != found {
                    after[*block] = found;
                    changed = true;
                }
            }
        }
        after
    }
}

fn meet(after: &[usize], rank: &[usize], mut a: usize, mut b: usize) -> usize {
    while a != b {
        while rank[a] < rank[b] {
            a = after[a];
        }
        while rank[b] < rank[a] {
            b = after[b];
        }
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(operation: Operation, guarded: bool) -> Step {
        Step { line: 0, guard: guarded.then_some((0, true)), operation }
    }

    #[test]
    fn ways_meet_behind_a_choice_and_behind_a_loop() {
        // 0: to 3 or on; 1; 2: to 5; 3; 4: back to 6 (out of line); 5: loop to 5 or on; 7: end
        let steps = [
            step(Operation::Branch(3), true),
            step(Operation::Nothing, false),
            step(Operation::Branch(5), false),
            step(Operation::Nothing, false),
            step(Operation::Branch(6), false),
            step(Operation::Branch(5), true),
            step(Operation::Nothing, false),
            step(Operation::Exit, false),
        ];
        let found = meetings(&steps);
        assert_eq!((found[0], found[5]), (6, 6));
    }
}
