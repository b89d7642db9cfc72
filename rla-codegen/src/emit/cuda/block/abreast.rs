//! Products of one tile in one loop: they share operands in shared memory, and none waits for the sums of another.

use super::{Group, State, Target};
use crate::emit::cuda::place::{Elem, Order};
use crate::emit::graph::Ref;
use crate::emit::text::Text;

/// Warps from which on tiles of a small result are narrow, so that all have one.
const MANY_WARPS: usize = 8;

/// Steps of 16 that a narrow right operand has.
const NARROW: usize = 2;

impl State<'_, '_> {
    /// Length of the sums of a result's products, if they can be made abreast with others: not in prepare, where that was slower.
    fn abreast_length(&self, target: &Target) -> Option<usize> {
        let Target::Node(n) = target else { return None };
        let group = self.group_of(*n).filter(|_| self.block.product != Elem::F32 && self.block.threads.is_some())?;
        let mut length = None;
        for (_, r) in &group.products {
            let (a, b) = self.factors(*r);
            let streams = |x: Ref| self.places.get(&x.node).is_some_and(|p| p.order == Order::Fragments);
            let plain = !self.block.exact(r.node) && self.graph().triangle(a).is_none();
            let own = self.block.sizes.padded(self.graph().shape(a).cols);
            if !plain || self.is_twice(a.node) || streams(a) || streams(b) || length.is_some_and(|l| l != own) {
                return None;
            }
            length = Some(own);
        }
        length
    }

    /// Results of a tile that is not tall whose products are made in one loop; the length of their sums.
    pub(super) fn abreast(&self, targets: &[Target]) -> Option<(Vec<usize>, usize)> {
        let results = || targets.iter().filter(|t| self.is_tile(t));
        let length = results().find_map(|t| self.abreast_length(t))?;
        let fitting = results().filter(|t| self.abreast_length(t) == Some(length));
        let nodes: Vec<usize> = fitting.filter_map(|t| if let Target::Node(n) = t { Some(*n) } else { None }).collect();
        (nodes.len() > 1).then_some((nodes, length))
    }

    /// Whether a small result has tiles of eight columns: where warps would have nothing to do else.
    pub(super) fn is_narrow(&self, targets: &[Target], rows: usize, cols: usize) -> bool {
        let small = 2 * (rows / 16) * (cols / 16) <= MANY_WARPS;
        let all = |nodes: &[usize]| targets.iter().filter(|t| self.is_tile(t)).count() == nodes.len();
        let fits = |(nodes, length): (Vec<usize>, usize)| all(&nodes) && length.is_multiple_of(16 * NARROW);
        self.many_warps.get() && small && self.abreast(targets).is_some_and(fits)
    }

    /// Notes whether a block of so many threads, and so many blocks a multiprocessor, has more warps than a small result has tiles; whether
    /// that is news. A block that is alone on its multiprocessor keeps tiles of 16 columns.
    pub(super) fn note_threads(&self, (threads, blocks): (usize, usize)) -> bool {
        let many = threads / 32 >= MANY_WARPS && blocks > 1;
        self.many_warps.replace(many) != many
    }

    /// The loop, of tiles of `width` times 8 columns.
    pub(super) fn products_abreast(&self, nodes: &[usize], length: usize, width: usize, out: &mut Text) {
        let product = self.block.product.c();
        let steps = if width == 1 { NARROW } else { 1 };
        out.line("#pragma unroll 2");
        out.line(format!("for (int k = 0; k < {length}; k += {}) {{", 16 * steps));
        let groups: Vec<(usize, Group)> = nodes.iter().map(|n| (*n, self.group_of(*n).expect("a result"))).collect();
        let products = || groups.iter().flat_map(|(_, group)| &group.products);
        let mut right: Vec<Ref> = vec![];
        for (_, r) in products() {
            let (_, b) = self.factors(*r);
            if !right.contains(&b) {
                let (load, i) = (if width == 1 { "column" } else { "right" }, right.len());
                out.line(format!("u32 b{i}[4];"));
                out.line(format!("{}.{load}(b{i}, k, n, {product}());", self.operand(b, false)));
                right.push(b);
            }
        }
        for step in 0..steps {
            let mut left: Vec<(bool, Ref)> = vec![];
            let k = if step == 0 { "k".into() } else { format!("k + {}", 16 * step) };
            let name = |i: usize| format!("a{step}_{i}");
            for (minus, r) in products() {
                let (a, _) = self.factors(*r);
                if !left.contains(&(*minus, a)) {
                    let name = name(left.len());
                    out.line(format!("u32 {name}[4];"));
                    out.line(format!("{}.left({name}, m, {k}, {product}());", self.operand(a, false)));
                    if *minus {
                        out.line(format!("for (int i = 0; i < 4; i++) {name}[i] ^= 0x80008000u;"));
                    }
                    left.push((*minus, a));
                }
            }
            for (n, group) in &groups {
                for (minus, r) in &group.products {
                    let (a, b) = self.factors(*r);
                    let a = name(left.iter().position(|x| *x == (*minus, a)).expect("loaded"));
                    let b = right.iter().position(|x| *x == b).expect("loaded");
                    for w in 0..width {
                        let at = 2 * (step + w);
                        out.line(format!("mma(a{n}_[{w}], {a}, b{b}[{at}], b{b}[{}], {product}());", at + 1));
                    }
                }
            }
        }
        out.line("}");
    }
}
