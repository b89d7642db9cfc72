//! Operands of products in shared memory, in the products' own type: as they lie, as a copy, or as an image beside the value.

use std::collections::BTreeSet;

use super::{IMAGE, State};
use crate::emit::cuda::place::{Elem, Order, Place};
use crate::emit::graph::{Kind, Ref};
use crate::tile::{Axis, Shape};

impl State<'_, '_> {
    /// Chooses copies and images for all products.
    pub(super) fn operands(&mut self, needed: &BTreeSet<usize>) {
        let product = self.block.product;
        if product == Elem::F32 {
            return;
        }
        let graph = self.block.graph;
        for &n in needed.iter().filter(|n| !self.block.given.contains_key(n)) {
            if self.block.exact(n) {
                continue;
            }
            for r in graph.nodes[n].kind.operands() {
                let Some(place) = self.places.get(&r.node) else { continue };
                let apart = self.is_apart(r.node);
                if self.is_twice(r.node) {
                    if !apart && !self.block.wanted.contains_key(&r.node) {
                        let mut image = Place::of(graph, self.block.sizes, r.node, product);
                        (image.name, image.bytes, image.order) =
                            (format!("h{}", r.node), 2 * image.bytes, Order::Twice);
                        self.places.insert(r.node + IMAGE, image);
                    }
                    continue;
                }
                let (given, wanted) = (self.block.given.contains_key(&r.node), self.block.wanted.contains_key(&r.node));
                // what lies as fragments goes into registers as it is
                let there = place.elem == product && (!given && !wanted || place.order == Order::Fragments);
                if place.ld == 0 || there {
                    continue;
                }
                let name = format!("h{}", r.node);
                if given && place.elem == product {
                    self.fetch(r.node);
                } else {
                    let image = Place { name, ..Place::of(graph, self.block.sizes, r.node, product) };
                    self.places.insert(r.node + IMAGE, image);
                }
            }
        }
        self.fetch_numbers(needed);
        // rows that elementwise work reads: asked for at the start, when nobody waits for them yet
        let rows = |n: &usize| {
            let place = &self.places[n];
            let by_rows = matches!(place.order, Order::Rows | Order::Pieces(_));
            place.elem == product && by_rows && place.ld > 0 && !self.block.is_square(*n)
        };
        let read = needed.iter().copied().filter(|n| self.block.records.contains(n) && self.uses.contains_key(n));
        self.ahead_rows = read.filter(rows).filter(|n| !self.fetched.contains_key(n)).collect();
        self.ahead_rows.clone().into_iter().for_each(|n| self.fetch(n));
    }

    /// Numbers a token that work on matrices reads from records: copied at the start, so that nobody waits for them in a sweep.
    fn fetch_numbers(&mut self, needed: &BTreeSet<usize>) {
        if self.block.threads.is_none() {
            return;
        }
        let graph = self.block.graph;
        let made = needed.iter().filter(|n| !self.block.given.contains_key(n) && graph.is_matrix(**n));
        let read: BTreeSet<usize> = made.flat_map(|n| graph.nodes[*n].kind.operands()).map(|r| r.node).collect();
        for n in read.into_iter().filter(|n| self.block.records.contains(n)) {
            let of_tokens = graph.nodes[n].shape == Shape::new(Axis::Token, Axis::One);
            if of_tokens && self.places[&n].order == Order::Rows && !self.fetched.contains_key(&n) {
                self.fetch(n);
            }
        }
    }

    /// Given values that are copied to shared memory though no product reads them.
    pub(super) fn rows_ahead(&self) -> Vec<usize> {
        self.ahead_rows.iter().copied().filter(|n| self.fetched.contains_key(n)).collect()
    }

    /// A given value, copied to shared memory.
    pub(super) fn fetch(&mut self, node: usize) {
        if self.fetched.contains_key(&node) {
            return;
        }
        let (graph, sizes) = (self.block.graph, self.block.sizes);
        let copy = match self.places[&node].order {
            Order::Rows | Order::Pieces(_) => Place::of(graph, sizes, node, self.block.product),
            _ => self.places[&node].clone(),
        };
        let from = self.places.insert(node, Place { name: format!("h{node}"), ..copy }).expect("it is given");
        self.fetched.insert(node, from);
    }

    /// A token-by-token matrix of sums over channels, in f32, is an operand with twice the digits.
    pub(super) fn is_twice(&self, node: usize) -> bool {
        self.block.is_square(node) && self.places.get(&node).is_some_and(|p| p.elem == Elem::F32)
    }

    /// Whether an allocation is a copy or an image that products can do without.
    pub(super) fn is_copy(&self, id: usize) -> bool {
        id >= IMAGE || self.fetched.contains_key(&id)
    }

    /// Does without a copy or an image.
    pub(super) fn drop_copy(&mut self, id: usize) {
        match self.fetched.remove(&id) {
            Some(from) => self.places.insert(id, from),
            None => self.places.remove(&id),
        };
    }

    /// What a product reads for an operand.
    pub(super) fn operand_id(&self, node: usize, exact: bool) -> usize {
        if !exact && self.places.contains_key(&(node + IMAGE)) { node + IMAGE } else { node }
    }

    /// What a product reads.
    pub(super) fn product_reads(&self, node: usize) -> [usize; 2] {
        let Kind::Product(a, b) = self.block.graph.nodes[node].kind else { unreachable!("it is a product") };
        let exact = self.block.exact(node);
        [self.operand_id(a.node, exact), self.operand_id(b.node, exact)]
    }

    /// An operand's text.
    pub(super) fn operand(&self, x: Ref, exact: bool) -> String {
        let id = self.operand_id(x.node, exact);
        self.places[&id].matrix(x.flip, self.shared.contains(&id))
    }

    /// The image of a value, where it is written with it: else it is copied from what is given, or from an inverse.
    pub(super) fn own_image(&self, node: usize) -> Option<usize> {
        let id = node + IMAGE;
        (self.places.contains_key(&id) && !self.is_apart(node)).then_some(id)
    }

    /// Whether a value's image is copied from it.
    fn is_apart(&self, node: usize) -> bool {
        let kind = &self.block.graph.nodes[node].kind;
        let whole = matches!(kind, Kind::Inverse(_) | Kind::Substitute { .. } | Kind::System { .. });
        self.block.given.contains_key(&node) || whole
    }

    /// `y`, values from (row, col) on, goes to a value and its image.
    pub(super) fn assign(&self, node: usize, row: &str, col: &str, y: &str) -> String {
        let put = |id: usize| {
            let (place, element) = (&self.places[&id], self.places[&id].element(self.block.graph, node, row, col));
            match place.order {
                Order::Twice => format!("put_twice<{}>(&{element}, {y});", place.bytes / place.elem.bytes() / 2),
                _ => format!("put(&{element}, {y});"),
            }
        };
        let own = (!self.unstored.contains(&node)).then_some(node);
        let second = self.block.also.get(&node);
        let second = second.map(|place| format!("put(&{}, {y});", place.element(self.block.graph, node, row, col)));
        own.into_iter().chain(self.own_image(node)).map(put).chain(second).collect::<Vec<_>>().join(" ")
    }
}
