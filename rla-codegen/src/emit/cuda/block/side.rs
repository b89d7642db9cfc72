//! Products side by side: results whose right operands are the same fragments in global memory are made together, so that a state
//! is read once.

use std::collections::BTreeSet;

use super::order::{Needs, Step, gathered};
use super::{Group, State, Target};
use crate::emit::cuda::place::{Elem, Order};
use crate::emit::graph::{Kind, Pos, Ref};
use crate::emit::text::Text;
use crate::tile::{MapFn, Shape};

/// What may be made side by side.
struct Streamed {
    /// Fragments that it reads.
    fragments: BTreeSet<usize>,
    /// Shape of the result and length of the sums; none for a sum of products of fragments.
    form: Option<(Shape, usize)>,
}

/// Steps of a sum over rows that are written out, where a tile holds so many results of so many rows: fragments that are asked for
/// together, as far as registers allow.
fn fragments_ahead(held: usize, rows: usize) -> usize {
    match held {
        0..=2 => 4,
        3..=4 if rows <= 32 => 2,
        _ => 1,
    }
}

/// The same of fragments that are on their way already.
const WRITTEN_OUT: usize = 4;

impl State<'_, '_> {
    fn is_fragments(&self, r: Ref) -> bool {
        let there = |place: &crate::emit::cuda::place::Place| place.order == Order::Fragments;
        !r.flip && self.block.given.contains_key(&r.node) && self.places.get(&r.node).is_some_and(there)
    }

    /// Operands of a product, in the order of the target.
    pub(super) fn factors(&self, r: Ref) -> (Ref, Ref) {
        let Kind::Product(a, b) = self.graph().nodes[r.node].kind else { unreachable!("it is a product") };
        if r.flip { (b.t(), a.t()) } else { (a, b) }
    }

    pub(super) fn group_of(&self, n: usize) -> Option<Group> {
        let root = Ref { node: n, flip: false };
        match self.graph().nodes[n].kind {
            Kind::Product(..) => Some(Group { root, products: vec![(false, root)], others: vec![] }),
            _ => self.groups.get(&n).cloned(),
        }
    }

    fn streamed(&self, n: usize) -> Option<Streamed> {
        if self.block.product == Elem::F32 {
            return None;
        }
        if let (true, Kind::Sum(x, Pos::Cols)) = (self.parted.contains(&n), &self.graph().nodes[n].kind) {
            let Kind::Map(MapFn::Mul, args) = &self.graph().nodes[x.node].kind else { return None };
            let fragments: BTreeSet<usize> = args.iter().map(|a| a.node).collect();
            let both = args.iter().all(|a| self.is_fragments(*a)) && fragments.len() == 2;
            return both.then_some(Streamed { fragments, form: None });
        }
        let group = self.group_of(n)?;
        let (mut fragments, mut inner) = (BTreeSet::new(), None);
        for (_, r) in &group.products {
            let (a, b) = self.factors(*r);
            let length = self.block.sizes.padded(self.graph().shape(a).cols);
            let fits = !self.block.exact(r.node) && !self.is_twice(a.node) && self.is_fragments(b);
            if !fits || inner.is_some_and(|i| i != length) {
                return None;
            }
            inner = Some(length);
            fragments.insert(b.node);
        }
        Some(Streamed { fragments, form: Some((self.graph().nodes[n].shape, inner?)) })
    }

    /// Puts steps side by side where that makes no circle, no more than `most` results.
    pub(super) fn side_by_side(&self, steps: Vec<Step>, most: usize) -> Vec<Step> {
        let of = |step: &Step| match step.target {
            Target::Node(n) => self.streamed(n),
            _ => None,
        };
        let all: Vec<Option<Streamed>> = steps.iter().map(of).collect();
        let needs = Needs::of(&steps, |_, _, _| false);
        // the set of each step, by its first
        let mut home: Vec<usize> = (0..steps.len()).collect();
        let of_set = |home: &[usize], set: usize| -> (BTreeSet<usize>, usize, Option<(Shape, usize)>) {
            let own = (0..steps.len()).filter(|j| home[*j] == set).filter_map(|j| all[j].as_ref());
            own.fold((BTreeSet::new(), 0, None), |(mut fragments, count, form), s| {
                fragments.extend(&s.fragments);
                (fragments, count + usize::from(s.form.is_some()), form.or(s.form))
            })
        };
        // results first, then sums of products, which may bring together what they stand between
        let streamed = |form: bool| {
            all.iter().enumerate().filter(move |(_, s)| s.as_ref().is_some_and(|s| s.form.is_some() == form))
        };
        for (i, own) in streamed(true).chain(streamed(false)) {
            let own = own.as_ref().expect("filtered");
            let sets: BTreeSet<usize> =
                home.iter().enumerate().filter(|(j, _)| *j != i && all[*j].is_some()).map(|(_, h)| *h).collect();
            let mut joined = home.clone();
            for set in sets {
                let (fragments, count, form) = of_set(&home, set);
                let Some(form) = form else { continue };
                let (_, more, other) = of_set(&joined, joined[i]);
                let shares = fragments.intersection(&own.fragments).next().is_some();
                if !shares || count + more > most || other.is_some_and(|f| f != form) {
                    continue;
                }
                let from = joined[i];
                let trial: Vec<usize> = joined.iter().map(|h| if *h == from { set } else { *h }).collect();
                if needs.have_order(&trial) {
                    joined = trial;
                }
            }
            // a sum of products needs all of its operands there
            if own.form.is_some() || own.fragments.is_subset(&with_results(&all, &joined, joined[i])) {
                home = joined;
            }
        }
        gathered(steps, &home, &|_, own| if own.len() == 1 { own } else { vec![Step::side(own)] })
    }

    /// The text of results side by side.
    pub(super) fn side(&self, nodes: &[usize], out: &mut Text) {
        let graph = self.graph();
        let (sums, results): (Vec<usize>, Vec<usize>) = nodes.iter().partition(|n| self.parted.contains(n));
        let shape = graph.nodes[results[0]].shape;
        let (rows, cols) = (self.block.sizes.padded(shape.rows), self.block.sizes.padded(shape.cols));
        nodes.iter().for_each(|n| self.comment(*n, out));
        out.line("{");
        sums.iter().for_each(|n| out.line(format!("float sum{n}[4] = {{}};")));
        out.line(format!("tiles_of<{rows}, {cols}, {}>([&](auto& acc, int m, int n) {{", results.len()));
        out.line("constexpr int W = sizeof(acc[0]) / 16;");
        self.side_products(
            nodes,
            false,
            results.len(),
            &|n| format!("acc[{}]", results.iter().position(|r| *r == n).expect("a result")),
            out,
        );
        out.line("}, [&](auto& acc, int m, int n) {");
        for (g, n) in results.iter().enumerate() {
            let (root, group) = (Ref { node: *n, flip: false }, self.group_of(*n));
            let value = self.guarded(root, self.expr(root, "r", "c + n", true, group.as_ref()));
            let puts = self.assign(*n, "r", "c", "y");
            out.line(format!(
                "finish_tile(acc[{g}], m, n, [&](auto width, int r, int c, int n, float acc) {{ return {value}; }}, [&](int r, int c, auto y) {{ {puts} }});"
            ));
        }
        out.line("});");
        self.side_sums(nodes, out);
        out.line("}");
    }

    /// The products of results side by side, for one tile, of H times 16 rows where it is tall, which then holds so many results; `acc`
    /// names a result's accumulator.
    pub(super) fn side_products(
        &self,
        nodes: &[usize],
        tall: bool,
        held: usize,
        acc: &dyn Fn(usize) -> String,
        out: &mut Text,
    ) {
        let (graph, product) = (self.graph(), self.block.product.c());
        let (sums, results): (Vec<usize>, Vec<usize>) = nodes.iter().partition(|n| self.parted.contains(n));
        let groups: Vec<Group> = results.iter().map(|n| self.group_of(*n).expect("it has products")).collect();
        let rows = self.block.sizes.padded(graph.nodes[results[0]].shape.rows);
        let (right, inner) = self.right_fragments(nodes);
        let ahead = self.aheads.get(&nodes[0]);
        out.line(format!("#pragma unroll {}", ahead.map_or(fragments_ahead(held, rows), |_| WRITTEN_OUT)));
        out.line(format!("for (int k = 0; k < {}; k += 16) {{", 16 * inner));
        let right_operands = |out: &mut Text| {
            if let Some(plan) = ahead {
                return self.take_ahead(plan, out);
            }
            for b in &right {
                out.line(format!("u32 b{b}[4];"));
                let operand = self.operand(Ref { node: *b, flip: false }, false);
                out.line(format!("{operand}.right(b{b}, k, n + 8 * w, {product}());"));
            }
        };
        // one of the two loops has a single turn
        if tall {
            out.line("constexpr int w = 0;");
            right_operands(out);
            out.line("#pragma unroll");
            out.line("for (int h = 0; h < H; h++) {");
        }
        let row = if tall { "m + 16 * h" } else { "m" };
        let mut left: Vec<(bool, Ref)> = vec![];
        for (minus, r) in groups.iter().flat_map(|g| &g.products) {
            let (a, _) = self.factors(*r);
            if !left.contains(&(*minus, a)) {
                out.line(format!("u32 a{}[4];", left.len()));
                out.line(format!("{}.left(a{}, {row}, k, {product}());", self.operand(a, false), left.len()));
                if *minus {
                    out.line(format!("for (int i = 0; i < 4; i++) a{}[i] ^= 0x80008000u;", left.len()));
                }
                left.push((*minus, a));
            }
        }
        if !tall {
            out.line("#pragma unroll");
            out.line("for (int w = 0; w < W; w += 2) {");
            right_operands(out);
        }
        let index = if tall { "h * W" } else { "w" };
        for (node, group) in results.iter().zip(&groups) {
            for (minus, r) in &group.products {
                let (a, b) = self.factors(*r);
                let a = left.iter().position(|x| *x == (*minus, a)).expect("loaded");
                for half in 0..2 {
                    out.line(format!(
                        "mma({}[{index} + {half}], a{a}, b{}[{}], b{}[{}], {product}());",
                        acc(*node),
                        b.node,
                        2 * half,
                        b.node,
                        2 * half + 1
                    ));
                }
            }
        }
        if tall {
            out.line("}");
        }
        for (i, n) in sums.iter().enumerate() {
            let Kind::Sum(x, _) = &graph.nodes[*n].kind else { unreachable!("it is a sum") };
            let f: Vec<usize> = graph.nodes[x.node].kind.operands().iter().map(|r| r.node).collect();
            // of whichever rows, but not of all: a warp for each
            let m =
                if tall { format!("{i} % ({rows} / (16 * H)) * 16 * H") } else { (i % (rows / 16) * 16).to_string() };
            out.line(format!("if (m == {m}) add_products(sum{n}, b{}, b{}, {product}());", f[0], f[1]));
        }
        if !tall {
            out.line("}");
        }
        if let Some(plan) = ahead {
            self.continue_ahead(plan, out);
        }
        out.line("}");
    }

    /// Fragments that products side by side read, and steps of 16 rows of them.
    pub(super) fn right_fragments(&self, nodes: &[usize]) -> (Vec<usize>, usize) {
        let results = || nodes.iter().filter(|n| !self.parted.contains(n));
        let groups = results().filter_map(|n| self.group_of(*n));
        let right: BTreeSet<usize> = groups.flat_map(|g| g.products).map(|(_, r)| self.factors(r).1.node).collect();
        let first = results().next().and_then(|n| self.streamed(*n)).and_then(|s| s.form);
        (right.into_iter().collect(), first.expect("it streams").1 / 16)
    }

    /// The sums of products of operands, after all tiles.
    pub(super) fn side_sums(&self, nodes: &[usize], out: &mut Text) {
        for n in nodes.iter().filter(|n| self.parted.contains(n)) {
            let parts = self.block.sizes.padded(self.graph().nodes[*n].shape.rows);
            out.line(format!("put_parts<{parts}>(diagonal(sum{n}), {});", self.places[n].name));
        }
    }
}

/// Fragments that the results of a set read.
fn with_results(all: &[Option<Streamed>], home: &[usize], set: usize) -> BTreeSet<usize> {
    let own = all.iter().zip(home).filter(|(_, h)| **h == set).filter_map(|(s, _)| s.as_ref());
    own.filter(|s| s.form.is_some()).flat_map(|s| s.fragments.iter().copied()).collect()
}
