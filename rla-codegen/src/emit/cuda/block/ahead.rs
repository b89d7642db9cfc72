//! Fragments of products side by side, on their way to shared memory some phases before the products and then some steps
//! ahead of them: a lane copies what it needs itself, so it waits for its own copies and for nobody else. Those for which there is no
//! room there are asked for as many steps ahead, in registers.

use std::collections::BTreeMap;

use super::order::Step;
use super::room::Memory;
use super::{State, Target};
use crate::emit::graph::Ref;
use crate::emit::text::Text;

/// Steps of a sum over rows that are under way, where there is room for so many.
const DEPTHS: [usize; 2] = [4, 2];

/// Copies that are under way for products, among those of values: a number of `first` and `i` beyond all of these.
const COPIES: usize = 1 << 41;

/// Fragments that are copied ahead.
#[derive(Clone, Debug)]
pub(super) struct Ahead {
    /// The phase in which the first are asked for.
    pub(super) phase: usize,
    /// How many steps are under way.
    pub(super) depth: usize,
    /// Where they arrive in shared memory.
    at: usize,
    /// The values that go through shared memory, in the order of the places of a step.
    copied: Vec<usize>,
    /// Those that go through registers.
    loaded: Vec<usize>,
    /// Steps of the sum.
    steps: usize,
    /// The tiles of the products, each a warp's.
    tiles: String,
}

impl Ahead {
    fn name(&self) -> String {
        format!("ahead{}", self.copied[0])
    }

    /// Stands for the copies of the `i`-th step, among copies under way; `first`: of the products.
    pub(super) fn copy_id(&self, first: usize, i: usize) -> usize {
        COPIES + first * DEPTHS[0] + i
    }

    /// The declarations of the memory and the registers; `start`: what lies before the memory.
    pub(super) fn declarations(&self, start: usize) -> Vec<String> {
        let (count, depth, at) = (self.copied.len(), self.depth, self.at + start);
        let memory = format!("const Ahead<{count}, {depth}> {} = {{shared + {at}}};", self.name());
        [memory].into_iter().chain(self.loaded.iter().map(|b| format!("u32 next{b}[{depth}][4];"))).collect()
    }
}

impl State<'_, '_> {
    /// What is copied ahead, within the memory that leaves a multiprocessor as many blocks; `memory` grows by it.
    pub(super) fn plan_ahead(&self, phases: &[(usize, Step)], memory: &mut Memory) -> BTreeMap<usize, Ahead> {
        let mut plans = BTreeMap::new();
        let Some(threads_of) = self.block.threads else { return plans };
        // first and last phase of what has a place
        let mut life: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for (phase, step) in phases {
            for id in step.reads.iter().chain(&step.writes).filter(|id| memory.offsets.contains_key(id)) {
                life.entry(*id).or_insert((*phase, *phase)).1 = *phase;
            }
        }
        let mut taken: Vec<(usize, usize, (usize, usize))> = vec![];
        for (phase, step) in phases.iter().filter(|(phase, _)| *phase > 0) {
            let (Target::Joined(targets), Some(nodes)) = (&step.target, side_of(&step.target)) else { continue };
            let (fragments, steps) = self.right_fragments(nodes);
            let threads = |shared: usize| threads_of(self.block.sizes.chunk, shared, self.substitutes_here());
            // not in a block alone on its multiprocessor: KDA's spilled
            let (count, blocks) = threads(memory.shared + self.block.reserved);
            if blocks < 2 {
                continue;
            }
            let Some(tiles) = self.warp_tiles(targets, count) else { continue };
            // ways from the best on: as many steps, of as many fragments, and from as early on as there is room for
            let whole = DEPTHS.into_iter().map(|depth| (depth, fragments.len()));
            let ways =
                whole.chain((2..fragments.len()).rev().map(|some| (2, some))).filter(|(depth, _)| *depth <= steps);
            let starts = |way: (usize, usize)| (0..*phase).map(move |first| (way, first));
            let most = self.block.budget.saturating_sub(self.block.reserved);
            for ((depth, some), first) in ways.flat_map(starts) {
                let overlaps = |(start, end): (usize, usize)| start <= *phase && end >= first;
                let values = life.iter().map(|(id, life)| (memory.offsets[id], self.places[id].bytes, *life));
                let busy = values.chain(taken.iter().copied()).filter(|(.., life)| overlaps(*life));
                let mut busy: Vec<(usize, usize)> = busy.map(|(at, bytes, _)| (at, at + bytes)).collect();
                busy.sort_unstable();
                let bytes = some * depth * count * 16;
                let after = |to: usize| to.next_multiple_of(128);
                let at =
                    busy.iter().fold(0, |at, (from, to)| if at + bytes <= *from { at } else { at.max(after(*to)) });
                let shared = memory.shared.max(at + bytes);
                let same = threads(shared + self.block.reserved) == threads(memory.shared + self.block.reserved);
                if shared > most || !same {
                    continue;
                }
                memory.shared = shared;
                taken.push((at, bytes, (first, *phase)));
                let (copied, loaded) = (fragments[..some].to_vec(), fragments[some..].to_vec());
                plans.insert(nodes[0], Ahead { phase: first, depth, at, copied, loaded, steps, tiles });
                break;
            }
        }
        plans
    }

    /// What stands for copies that a target's products wait for.
    pub(super) fn aheads_of(&self, target: &Target) -> impl Iterator<Item = usize> {
        let first = side_of(target).map(|nodes| nodes[0]);
        let plan = first.and_then(|first| self.aheads.get(&first).map(|plan| (first, plan)));
        plan.into_iter().flat_map(|(first, plan)| (0..plan.depth).map(move |i| plan.copy_id(first, i)))
    }

    /// The first steps' copies and loads.
    pub(super) fn start_ahead(&self, plan: &Ahead, out: &mut Text) {
        out.line("// states on their way to the products that follow");
        out.line(format!("{}(0, [&](int m, int n) {{", plan.tiles));
        out.line("#pragma unroll");
        out.line(format!("for (int k = 0; k < {}; k += 16) {{", 16 * plan.depth.min(plan.steps)));
        self.copy_ahead(plan, "k", out);
        self.load_ahead(plan, "k", out);
        out.line("copies_end();");
        out.line("}");
        out.line("});");
    }

    fn fragment(&self, node: usize) -> String {
        self.operand(Ref { node, flip: false }, false)
    }

    /// Asks for what the step reads whose rows start at `k`, in places of an earlier one.
    fn copy_ahead(&self, plan: &Ahead, k: &str, out: &mut Text) {
        for (i, b) in plan.copied.iter().enumerate() {
            out.line(format!("{}.copy({k} / 16, {i}, {}.lane({k}, n));", plan.name(), self.fragment(*b)));
        }
    }

    /// The same in registers of an earlier step.
    fn load_ahead(&self, plan: &Ahead, k: &str, out: &mut Text) {
        for b in &plan.loaded {
            out.line(format!("load_early(next{b}[{k} / 16 % {}], {}.lane({k}, n));", plan.depth, self.fragment(*b)));
        }
    }

    /// The right operands of a step, once they are there; what a later one reads is asked for in their place at once.
    pub(super) fn take_ahead(&self, plan: &Ahead, out: &mut Text) {
        out.line(format!("copies_wait<{}>();", plan.depth - 1));
        for (i, b) in plan.copied.iter().enumerate() {
            out.line(format!("u32 b{b}[4];"));
            out.line(format!("{}.take(b{b}, k / 16, {i});", plan.name()));
        }
        for b in &plan.loaded {
            out.line(format!("const u32(&b{b})[4] = next{b}[k / 16 % {}];", plan.depth));
        }
        self.later(plan, out, |k, out| self.copy_ahead(plan, k, out));
        out.line("copies_end();");
    }

    /// Asks for what a later step reads, in registers, when the step's own products have read theirs.
    pub(super) fn continue_ahead(&self, plan: &Ahead, out: &mut Text) {
        if !plan.loaded.is_empty() {
            self.later(plan, out, |k, out| self.load_ahead(plan, k, out));
        }
    }

    /// What is asked for a later step, if there is one.
    fn later(&self, plan: &Ahead, out: &mut Text, ask: impl Fn(&str, &mut Text)) {
        if plan.depth < plan.steps {
            out.line(format!("if (k < {}) {{", 16 * (plan.steps - plan.depth)));
            ask(&format!("(k + {})", 16 * plan.depth), out);
            out.line("}");
        }
    }
}

/// Products side by side in joined work.
fn side_of(target: &Target) -> Option<&Vec<usize>> {
    let Target::Joined(targets) = target else { return None };
    targets.iter().find_map(|t| if let Target::Side(nodes) = t { Some(nodes) } else { None })
}
