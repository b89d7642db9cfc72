//! What is computed together: products in one accumulator, elementwise work where it is used.

use std::collections::{BTreeMap, BTreeSet};

use super::{Group, State};
use crate::emit::cuda::expr;
use crate::emit::cuda::place::{Place, turned};
use crate::emit::graph::{Graph, Kind, Ref};
use crate::tile::{Axis, Leaf, MapFn};

/// How many operations are rather done again than waited for.
const LIGHT: usize = 8;

pub(super) type Candidate<'c> = &'c dyn Fn(usize, &BTreeMap<usize, Place>) -> bool;

impl State<'_, '_> {
    pub(super) fn graph(&self) -> &Graph {
        self.block.graph
    }

    /// Whether a value is read from device memory, where no step writes it.
    pub(super) fn is_record(&self, node: usize) -> bool {
        self.block.records.contains(&node) && !self.fetched.contains_key(&node)
    }

    /// Whether an expression goes through a node without reading memory, and no other does.
    pub(super) fn is_inline(&self, node: usize) -> bool {
        !self.places.contains_key(&node) && self.uses.get(&node) == Some(&1)
    }

    /// Whether a value is a number a token (or one) that short work on inputs makes: others of its kind make it again, rather than
    /// wait for it.
    pub(super) fn is_light(&self, node: usize) -> bool {
        self.weight(node).is_some()
    }

    /// The operations behind such a value.
    fn weight(&self, node: usize) -> Option<usize> {
        if self.block.given.contains_key(&node) {
            return Some(0);
        }
        match &self.graph().nodes[node].kind {
            _ if self.graph().is_matrix(node) => None,
            Kind::Leaf(_) => Some(0),
            Kind::Map(_, args) => {
                args.iter().try_fold(1, |sum, a| Some(sum + self.weight(a.node)?).filter(|sum| *sum <= LIGHT))
            }
            _ => None,
        }
    }

    /// Whether the step that is written makes a value again.
    fn is_seen_through(&self, node: usize) -> bool {
        self.through.get() && !self.block.given.contains_key(&node) && self.is_light(node)
    }

    /// The first group of products below a reference that its expression adds up.
    pub(super) fn find(&self, r: Ref, top: bool, candidate: Candidate) -> Option<Group> {
        if !top && !self.is_inline(r.node) && !candidate(r.node, &self.places) {
            return None;
        }
        let shape = self.graph().shape(r);
        if shape.rows == Axis::One || shape.cols == Axis::One {
            return None;
        }
        let mut group = Group { root: r, products: vec![], others: vec![] };
        self.terms(r, top, false, candidate, &mut group);
        if !group.products.is_empty() {
            return Some(group);
        }
        let Kind::Map(_, args) = &self.graph().nodes[r.node].kind else { return None };
        args.iter().find_map(|a| self.find(Ref { node: a.node, flip: a.flip != r.flip }, false, candidate))
    }

    pub(super) fn terms(&self, r: Ref, top: bool, minus: bool, candidate: Candidate, group: &mut Group) {
        if candidate(r.node, &self.places) {
            group.products.push((minus, r));
            return;
        }
        let arg = |a: &Ref| Ref { node: a.node, flip: a.flip != r.flip };
        let same = |a: &Ref| self.graph().shape(arg(a)) == self.graph().shape(r);
        match &self.graph().nodes[r.node].kind {
            Kind::Map(MapFn::Add, args) if top || self.is_inline(r.node) => {
                for a in args {
                    if same(a) {
                        self.terms(arg(a), false, minus, candidate, group)
                    } else {
                        group.others.push((minus, arg(a)))
                    }
                }
            }
            Kind::Map(MapFn::Sub, args) if top || self.is_inline(r.node) => {
                for (a, flip) in args.iter().zip([false, true]) {
                    let sign = minus != flip;
                    if same(a) {
                        self.terms(arg(a), false, sign, candidate, group)
                    } else {
                        group.others.push((sign, arg(a)))
                    }
                }
            }
            Kind::Map(MapFn::Neg, args) if top || self.is_inline(r.node) => {
                self.terms(arg(&args[0]), false, !minus, candidate, group)
            }
            _ => group.others.push((minus, r)),
        }
    }

    /// The value of a reference at (row, col); `acc` stands for a group's products.
    pub(super) fn expr(&self, r: Ref, row: &str, col: &str, top: bool, group: Option<&Group>) -> String {
        if let Some(group) = group
            && group.root == r
        {
            let mut text = "acc".to_string();
            for (minus, other) in &group.others {
                let sign = if *minus { "-" } else { "+" };
                text += &format!(" {sign} {}", self.expr(*other, row, col, false, None));
            }
            return format!("({text})");
        }
        let (row, col) = turned(r, row, col);
        let node = r.node;
        if !top
            && (row, col) == ("r", "c + n")
            && let Some(held) = self.held.borrow().get(&node)
        {
            return held.clone();
        }
        if !top
            && let Some(place) = self.places.get(&node)
            && !self.is_seen_through(node)
        {
            let text = place.read(self.graph(), node, row, col);
            return if self.ahead.get() && self.is_record(node) {
                text.replacen("pick(", "pick<true>(", 1)
            } else {
                text
            };
        }
        match &self.graph().nodes[node].kind {
            Kind::Leaf(leaf) => {
                // a number a row is the same in every column
                let col = if self.graph().nodes[node].shape.cols == Axis::One { "0" } else { col };
                self.leaf(*leaf, row, col)
            }
            Kind::Map(f, args) => {
                // seen from the operands, which are not flipped with this reference
                let turn = |x: &Ref| Ref { node: x.node, flip: x.flip != r.flip };
                let group = group.map(|g| Group {
                    root: turn(&g.root),
                    others: g.others.iter().map(|(minus, x)| (*minus, turn(x))).collect(),
                    products: g.products.clone(),
                });
                // what spreads a number over a row adds zeros: an element needs none
                let zero = |a: &&Ref| *f == MapFn::Add && args.len() == 2 && self.is_zero(**a);
                if let Some(zero) = args.iter().position(|a| zero(&a)) {
                    return self.expr(args[1 - zero], row, col, false, group.as_ref());
                }
                let args: Vec<String> = args.iter().map(|a| self.expr(*a, row, col, false, group.as_ref())).collect();
                expr::map(*f, &args)
            }
            Kind::Lower(x) => format!("({row} > {col} ? {} : 0.f)", self.expr(*x, row, col, false, None)),
            other => unreachable!("{other:?} is stored"),
        }
    }

    /// Whether a value is zero everywhere: nothing, selected.
    fn is_zero(&self, r: Ref) -> bool {
        let number = |r: &Ref| matches!(self.graph().nodes[r.node].kind, Kind::Leaf(Leaf::Number(x)) if x == 0.0);
        match &self.graph().nodes[r.node].kind {
            Kind::Map(MapFn::Inside, args) => !self.places.contains_key(&r.node) && args.last().is_some_and(number),
            _ => false,
        }
    }

    pub(super) fn leaf(&self, leaf: Leaf, row: &str, col: &str) -> String {
        match leaf {
            Leaf::Number(x) => expr::number(x),
            Leaf::Size(s) => format!("{}.f", self.block.sizes.sides[s as usize]),
            Leaf::Const(i) => format!("const{i}"),
            Leaf::Valid => format!("({row} < ch.valid ? 1.f : 0.f)"),
            Leaf::Input(i) => format!("in{i}({row}, {col})"),
            Leaf::OutputGrad(i) => format!("og{i}({row}, {col})"),
            Leaf::Identity(_) => format!("({row} == {col} ? 1.f : 0.f)"),
            other => unreachable!("{other:?} is given"),
        }
    }

    /// Stored nodes and leaves that an expression reads.
    pub(super) fn reads(
        &self,
        r: Ref,
        top: bool,
        group: Option<&Group>,
        out: &mut BTreeSet<usize>,
        leaves: &mut BTreeSet<usize>,
    ) {
        if let Some(group) = group
            && group.products.iter().any(|(_, p)| p.node == r.node)
        {
            out.extend(self.product_reads(r.node));
            return;
        }
        if !top && self.places.contains_key(&r.node) && !self.is_seen_through(r.node) {
            out.insert(r.node);
            return;
        }
        let kind = &self.graph().nodes[r.node].kind;
        if let Kind::Leaf(_) = kind {
            leaves.insert(r.node);
        }
        if let Kind::Product(..) = kind {
            out.extend(self.product_reads(r.node));
            return;
        }
        kind.operands().iter().for_each(|a| self.reads(*a, false, group, out, leaves));
    }
}
