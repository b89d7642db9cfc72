//! Channel decays: the partial derivatives of one trilinear form (ARCHITECTURE.md, "Tile program"), as walks over pairs of tokens
//! or as products on tensor cores (templates/cuda/decay.cuh).

use std::collections::{BTreeMap, BTreeSet};

use super::order::{Needs, Step, gathered};
use super::{State, Target, WORK};
use crate::emit::cuda::place::{Elem, Order, Place};
use crate::emit::graph::{Kind, Ref};
use crate::emit::text::Text;

/// Tokens of a chunk for which there are forms on tensor cores.
const TOKENS: usize = 32;

/// What derivatives by P, W and the decays read: those with the same `m` and `a`, and no other `p` or `w`, are made together.
#[derive(Clone, Copy)]
struct Parts {
    m: Ref,
    a: Ref,
    p: Option<Ref>,
    w: Option<Ref>,
}

impl Parts {
    fn of(kind: &Kind) -> Option<Parts> {
        match *kind {
            Kind::DecayApply { m, w, a, transposed: false } => Some(Parts { m, a, p: None, w: Some(w) }),
            Kind::DecayApply { m, w, a, transposed: true } => Some(Parts { m, a, p: Some(w), w: None }),
            Kind::DecayRect { m, p, w, a } => Some(Parts { m, a, p: Some(p), w: Some(w) }),
            _ => None,
        }
    }

    fn with(self, other: Parts) -> Option<Parts> {
        let one = |x: Option<Ref>, y: Option<Ref>| x.is_none() || y.is_none() || x == y;
        let agree = (self.m, self.a) == (other.m, other.a) && one(self.p, other.p) && one(self.w, other.w);
        agree.then_some(Parts { p: self.p.or(other.p), w: self.w.or(other.w), ..self })
    }
}

/// Whether a line of a kernel calls `templates/cuda/decay.cuh`.
pub fn is_decay(line: &str) -> bool {
    line.trim_start().starts_with("decay_")
}

/// The result of a step that is a part.
fn node_of(step: &Step) -> usize {
    match step.target {
        Target::Node(n) => n,
        _ => unreachable!("it is a node"),
    }
}

impl State<'_, '_> {
    /// Whether decays of a channel each are products on tensor cores here.
    fn has_products(&self) -> bool {
        self.block.product != Elem::F32 && self.block.sizes.chunk == TOKENS
    }

    /// Memory that a step needs while it runs.
    pub(super) fn lay_out_work(&mut self, node: usize) -> Option<usize> {
        let Kind::DecayDot { p, .. } = self.graph().nodes[node].kind else { return None };
        if !self.has_products() {
            return None;
        }
        // sums of up to four warps, each over 16 channels at a time
        let parts = (self.block.sizes.padded(self.graph().shape(p).cols) / 16).min(4);
        let bytes = 4 * TOKENS * TOKENS / 2 * parts;
        let place = Place { name: format!("s{node}"), elem: Elem::F32, ld: 0, bytes, order: Order::Rows };
        self.places.insert(node + WORK, place);
        Some(node + WORK)
    }

    /// Derivatives that share what they read as one step each, where that makes no circle.
    pub(super) fn decays_together(&self, steps: Vec<Step>) -> Vec<Step> {
        let of = |step: &Step| match step.target {
            Target::Node(n) if self.has_products() => Parts::of(&self.graph().nodes[n].kind),
            _ => None,
        };
        let needs = Needs::of(&steps, |_, _, _| false);
        let mut home: Vec<usize> = (0..steps.len()).collect();
        let mut sets: BTreeMap<usize, Parts> = BTreeMap::new();
        for (i, step) in steps.iter().enumerate() {
            let Some(own) = of(step) else { continue };
            let found = sets.iter().find_map(|(set, parts)| {
                let together = parts.with(own)?;
                let trial: Vec<usize> = home.iter().enumerate().map(|(j, h)| if j == i { *set } else { *h }).collect();
                needs.have_order(&trial).then_some((*set, together))
            });
            let (set, parts) = found.unwrap_or((i, own));
            home[i] = set;
            sets.insert(set, parts);
        }
        let alone = |set: usize| !sets.contains_key(&set);
        gathered(steps, &home, &|set, own| match alone(set) {
            true => own,
            false => vec![Step {
                target: Target::Decays(own.iter().map(node_of).collect()),
                reads: own.iter().flat_map(|s| s.reads.iter().copied()).collect::<BTreeSet<usize>>(),
                writes: own.iter().flat_map(|s| s.writes.iter().copied()).collect(),
            }],
        })
    }

    /// Whether a token-by-token matrix goes into a system: an inverse, or a product that builds one.
    fn builds_system(&self, node: usize) -> bool {
        let graph = self.graph();
        graph.nodes.iter().enumerate().any(|(n, user)| {
            user.kind.operands().iter().any(|r| r.node == node)
                && match user.kind {
                    Kind::Inverse(_) | Kind::Substitute { .. } | Kind::System { .. } => true,
                    Kind::Product(..) => self.block.exact(n),
                    Kind::Map(..) | Kind::Lower(_) => self.builds_system(n),
                    _ => false,
                }
        })
    }

    /// Adjacent elements of an operand.
    fn reader(&self, r: Ref) -> String {
        format!("[&](auto width, int r, int c, int n) {{ return {}; }}", self.expr(r, "r", "c + n", false, None))
    }

    /// The text of derivatives that are made together.
    pub(super) fn decays(&self, nodes: &[usize], out: &mut Text) {
        let graph = self.graph();
        let part = |n: &usize| Parts::of(&graph.nodes[*n].kind).expect("a derivative");
        let parts = nodes[1..].iter().map(part).fold(part(&nodes[0]), |x, y| x.with(y).expect("they agree"));
        let stored = |is: &dyn Fn(&Kind) -> bool| {
            let node = nodes.iter().find(|n| is(&graph.nodes[**n].kind));
            node.map_or("Nowhere()".into(), |n| {
                format!("[&](int r, int c, auto y) {{ {} }}", self.assign(*n, "r", "c", "y"))
            })
        };
        let by_p = stored(&|k| matches!(k, Kind::DecayApply { transposed: false, .. }));
        let by_w = stored(&|k| matches!(k, Kind::DecayApply { transposed: true, .. }));
        let by_a = stored(&|k| matches!(k, Kind::DecayRect { .. }));
        self.comment(nodes[0], out);
        // where one of P and W is not read, the other stands for it
        let (p, w) = (parts.p.or(parts.w).expect("one is read"), parts.w.or(parts.p).expect("one is read"));
        let channels = self.block.sizes.real(graph.nodes[nodes[0]].shape.cols);
        let [m, p, w, a] = [parts.m, p, w, parts.a].map(|r| self.reader(r));
        let elem = self.block.product.c();
        out.line(format!("decay_parts_32<{channels}, {elem}>({m}, {p}, {w}, {a}, {by_p}, {by_w}, {by_a});"));
    }

    /// The text of a sum over channels; `store` takes a number.
    pub(super) fn decay_dot(&self, node: usize, store: &str, out: &mut Text) {
        let graph = self.graph();
        let Kind::DecayDot { p, w, a } = graph.nodes[node].kind else { unreachable!("it is one") };
        let (tokens, channels) = (self.block.sizes.chunk, self.block.sizes.real(graph.shape(p).cols));
        // steps of few warps start at different ones
        let turn = graph.nodes[..node].iter().filter(|m| matches!(m.kind, Kind::DecayDot { .. })).count();
        let [p, w, a] = [p, w, a].map(|r| self.reader(r));
        out.line(match self.places.get(&(node + WORK)) {
            Some(work) => {
                let (elem, sums, twice) = (self.block.product.c(), &work.name, self.builds_system(node));
                format!("decay_dot_32<{channels}, {elem}, {twice}>({turn}, {p}, {w}, {a}, {sums}, {store});")
            }
            None => format!("decay_dot<{tokens}, {channels}>({turn}, {p}, {w}, {a}, {store});"),
        });
    }

    /// The text of one derivative as a walk over pairs of tokens; `store` takes a number.
    pub(super) fn decay_walk(&self, node: usize, store: &str, out: &mut Text) {
        let (tokens, channels) = (self.block.sizes.chunk, self.block.sizes.real(self.graph().nodes[node].shape.cols));
        let f = |r: &Ref| format!("[&](int r, int c) {{ return {}; }}", self.expr(*r, "r", "c", false, None));
        out.line(match &self.graph().nodes[node].kind {
            Kind::DecayApply { m, w, a, transposed } => {
                let (m, w, a) = (f(m), f(w), f(a));
                format!("decay_apply<{tokens}, {channels}, {transposed}>({m}, {w}, {a}, {store});")
            }
            Kind::DecayRect { m, p, w, a } => {
                let (m, p, w, a) = (f(m), f(p), f(w), f(a));
                format!("decay_rect<{tokens}, {channels}>({m}, {p}, {w}, {a}, {store});")
            }
            other => unreachable!("{other:?} is no derivative"),
        });
    }
}
