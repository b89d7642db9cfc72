//! A set of values computed by one block, step by step, on matrices in shared memory (or global, where it is full).

mod abreast;
mod ahead;
mod decay;
mod fuse;
mod join;
mod joined;
mod operands;
mod order;
mod over;
mod room;
mod side;
mod step;
mod substitute;

pub use decay::is_decay;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};

use self::ahead::Ahead;
use super::Interface;
use super::expr;
use super::place::{Elem, Order, Place, Sizes};
use crate::emit::graph::{Graph, Kind, Pos, Ref};
use crate::tile::{Axis, Leaf, MapFn, Shape};

/// Where an elementwise result goes: a statement that takes `y`, one or more adjacent values from row `r` and column `c` of the
/// reference on.
#[derive(Clone, Debug)]
pub struct Sink {
    /// The value.
    pub value: Ref,
    /// The condition around it, may be empty.
    pub condition: String,
    /// What is said once before.
    pub setup: String,
    /// The statement.
    pub statement: String,
    /// Statement of the recurrence, for the comment.
    pub comment: String,
    /// Whether the padding is written too, with zeros.
    pub padded: bool,
    /// Whether it replaces what other steps read: it runs after all of them.
    pub last: bool,
    /// The element type, where `put` goes to rows of the caller.
    pub rows: Option<Elem>,
}

/// Rows of a tensor of the caller.
#[derive(Clone, Debug)]
pub struct Rows {
    /// The view's name.
    pub view: String,
    /// The head's name.
    pub head: &'static str,
    /// Tokens that are not there are zero; else they repeat the last.
    pub zero: bool,
}

/// What a block computes.
pub struct Block<'a> {
    /// The graph.
    pub graph: &'a Graph,
    /// Sizes.
    pub sizes: &'a Sizes,
    /// Type of products.
    pub product: Elem,
    /// Statements for comments.
    pub interface: &'a Interface,
    /// Values that are there already.
    pub given: BTreeMap<usize, Place>,
    /// Given values in device memory, which no step writes.
    pub records: BTreeSet<usize>,
    /// Values wanted at places outside.
    pub wanted: BTreeMap<usize, Place>,
    /// Numbers wanted at a second place.
    pub also: BTreeMap<usize, Place>,
    /// Values that go to their places outside whole, from shared memory: those that are made row by row.
    pub stores: BTreeMap<usize, Vec<Place>>,
    /// Results written elementwise.
    pub sinks: Vec<Sink>,
    /// Inputs that lie in the caller's memory in the type of products: where to copy their rows from.
    pub direct: BTreeMap<usize, Rows>,
    /// Bytes of shared memory that may be used, after `reserved`.
    pub budget: usize,
    /// Bytes at the start of shared memory that belong to the frame.
    pub reserved: usize,
    /// Threads of the block and blocks of a multiprocessor, for tokens of a chunk, bytes of shared memory, and whether it substitutes;
    /// given for backward's finish alone: what follows from it, states asked for ahead, numbers copied first, products abreast, made
    /// registers spill in forward's finish and prepare slower.
    pub threads: Option<Threads>,
}

/// See `Block::threads`.
pub type Threads = fn(usize, usize, bool) -> (usize, usize);

/// Text of a block's work.
pub struct Written {
    /// Declarations of pointers into shared memory and scratch.
    pub pointers: Vec<String>,
    /// The steps.
    pub body: Vec<String>,
    /// Bytes of shared memory.
    pub shared: usize,
    /// Whether it substitutes into shared memory, which takes registers.
    pub substitutes: bool,
    /// Bytes of global scratch for a block.
    pub scratch: usize,
    /// Leaves that are read from the caller's memory.
    pub leaves: BTreeSet<usize>,
}

/// Products added into one accumulator.
#[derive(Clone, Debug)]
pub struct Group {
    /// The sum that the accumulator stands for.
    pub root: Ref,
    /// Each product: subtracted, and the reference (flip as seen from the target).
    pub products: Vec<(bool, Ref)>,
    /// The other terms.
    pub others: Vec<(bool, Ref)>,
}

#[derive(Clone)]
enum Target {
    Node(usize),
    /// The copy or the image of a given value.
    Copy(usize),
    Sink(usize),
    /// Results side by side, of products that share right operands in global memory, and sums of those operands' products.
    Side(Vec<usize>),
    /// Derivatives of a decayed sum that share what they read.
    Decays(Vec<usize>),
    /// Work on the same elements.
    Joined(Vec<Target>),
    /// Results of one system.
    System(Vec<usize>),
    /// A value to its place outside.
    Store(usize),
}

struct State<'a, 'b> {
    block: &'b Block<'a>,
    /// Nodes that are stored, given ones included.
    places: BTreeMap<usize, Place>,
    /// How often each node is used here.
    uses: HashMap<usize, usize>,
    groups: HashMap<usize, Group>,
    sink_groups: HashMap<usize, Group>,
    /// Given matrices in the type of products that are copied to shared memory, and where they come from.
    fetched: BTreeMap<usize, Place>,
    /// Of them those that only elementwise work reads.
    ahead_rows: Vec<usize>,
    /// Values (and the images of values) that lie in shared memory.
    shared: BTreeSet<usize>,
    /// Sums of rows that are but added up, of what lies as fragments: they hold any parts of their sum.
    parted: BTreeSet<usize>,
    /// Steps so far that are less than all warps' work.
    turn: Cell<usize>,
    /// Whether the step that is written makes light values again.
    through: Cell<bool>,
    /// Whether the step that is written may read records before what it has written.
    ahead: Cell<bool>,
    /// Values of the element that is worked on: what holds them.
    held: RefCell<BTreeMap<usize, String>>,
    /// Values that are not stored, but for their images.
    unstored: BTreeSet<usize>,
    /// Whether the block has more warps than a small result has tiles of 16 columns.
    many_warps: Cell<bool>,
    /// What is copied ahead for products side by side, by the first of these.
    aheads: BTreeMap<usize, Ahead>,
}

/// An operand of products that is kept in another type, or elsewhere, has an image in their type: number node + `IMAGE`.
const IMAGE: usize = 1 << 40;

/// Memory that a step needs while it runs has number node + `WORK`.
const WORK: usize = 1 << 39;

/// Whether an operation reads its operands from memory, in any order.
fn reads_stored(kind: &Kind) -> bool {
    !matches!(kind, Kind::Leaf(_) | Kind::Map(..) | Kind::Lower(_) | Kind::Sum(..) | Kind::Part(..))
}

impl<'a> Block<'a> {
    /// Nodes that the results need, given ones not looked behind.
    fn needed(&self) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut todo: Vec<usize> = self.wanted.keys().copied().collect();
        todo.extend(self.stores.keys());
        todo.extend(self.sinks.iter().map(|s| s.value.node));
        while let Some(node) = todo.pop() {
            if !needed.insert(node) || self.given.contains_key(&node) {
                continue;
            }
            todo.extend(self.graph.nodes[node].kind.operands().iter().map(|r| r.node));
            // a system's writes are made with it
            if let Kind::Solve { .. } = self.graph.nodes[node].kind {
                todo.extend(self.parts(node));
            }
        }
        needed
    }

    fn parts(&self, solve: usize) -> Vec<usize> {
        let part = |n: &usize| matches!(self.graph.nodes[*n].kind, Kind::Part(s, _) if s == solve);
        (0..self.graph.nodes.len()).filter(part).collect()
    }

    /// Wanted values that are stored rounded, and used here as they are.
    fn copies(&self, needed: &BTreeSet<usize>) -> Vec<usize> {
        let used = |node: usize| {
            needed.iter().filter(|n| !self.given.contains_key(n)).any(|n| {
                let kind = &self.graph.nodes[*n].kind;
                kind.operands().iter().any(|r| r.node == node) && (!matches!(kind, Kind::Product(..)) || self.exact(*n))
            })
        };
        let copied = |(n, place): &(&usize, &Place)| {
            let f32_only = matches!(self.graph.nodes[**n].kind, Kind::Inverse(_) | Kind::Part(..));
            self.given.contains_key(n) || (place.elem != Elem::F32 && (f32_only || used(**n)))
        };
        self.wanted.iter().filter(copied).map(|(n, _)| *n).collect()
    }

    /// Writes the steps.
    pub fn write(mut self) -> Written {
        for node in self.copies(&self.needed()) {
            let place = self.wanted.remove(&node).expect("it is wanted");
            self.sinks.push(Sink {
                value: Ref { node, flip: false },
                condition: String::new(),
                setup: String::new(),
                statement: format!("put(&{}, y);", place.element(self.graph, node, "r", "c")),
                comment: "rounded, for the kernels that follow".into(),
                padded: true,
                last: false,
                rows: None,
            });
        }
        let needed = self.needed();
        let made = || needed.iter().filter(|n| !self.given.contains_key(n)).map(|n| &self.graph.nodes[*n].kind);
        let scale = |n: usize| made().any(|kind| matches!(kind, Kind::System { scale, .. } if scale.node == n));
        let substituted =
            |n: &usize| matches!(self.graph.nodes[*n].kind, Kind::Substitute { .. } | Kind::System { .. });
        // sums, and what a substitution reads, go to a second place from shared memory too
        let summed = |n: &usize| matches!(self.graph.nodes[*n].kind, Kind::Sum(..) | Kind::RectSum(_));
        let apart = |n: &usize, place: &Place| {
            substituted(n) && place.elem != Elem::F32 || scale(*n) || summed(n) && self.also.contains_key(n)
        };
        let (apart, wanted) = self.wanted.iter().map(|(n, p)| (*n, p.clone())).partition(|(n, p)| apart(n, p));
        let apart: BTreeMap<usize, Place> = apart;
        self.wanted = wanted;
        for (n, place) in apart {
            self.stores.insert(n, [place].into_iter().chain(self.also.remove(&n)).collect());
        }
        self.steps()
    }

    fn steps(&self) -> Written {
        let graph = self.graph;
        let needed = self.needed();
        let mut uses: HashMap<usize, usize> = HashMap::new();
        let mut stored_by_user: BTreeSet<usize> = BTreeSet::new();
        for n in needed.iter().filter(|n| !self.given.contains_key(n)) {
            let kind = &graph.nodes[*n].kind;
            for r in kind.operands() {
                *uses.entry(r.node).or_default() += 1;
                // a scan reads a number once
                if reads_stored(kind) && (graph.is_matrix(r.node) || !matches!(kind, Kind::Scan(..))) {
                    stored_by_user.insert(r.node);
                }
            }
        }
        for sink in &self.sinks {
            *uses.entry(sink.value.node).or_default() += 1;
        }
        let used_as_f32 = |node: usize| {
            needed.iter().filter(|n| !self.given.contains_key(n)).any(|n| {
                let kind = &graph.nodes[*n].kind;
                kind.operands().iter().any(|r| r.node == node) && (!matches!(kind, Kind::Product(..)) || self.exact(*n))
            }) || self.sinks.iter().any(|s| s.value.node == node)
        };
        // numbers a token that matrices are scaled with: once for all columns
        let mut broadcast: BTreeSet<usize> = BTreeSet::new();
        for n in needed.iter().filter(|n| !self.given.contains_key(n)) {
            let kind = &graph.nodes[*n].kind;
            let wide = graph.is_matrix(*n) || kind.operands().iter().any(|r| graph.is_matrix(r.node));
            if wide {
                broadcast.extend(kind.operands().iter().map(|r| r.node).filter(|n| !graph.is_matrix(*n)));
            }
        }
        for sink in &self.sinks {
            if graph.is_matrix(sink.value.node) {
                let operands = graph.nodes[sink.value.node].kind.operands();
                broadcast.extend(operands.iter().map(|r| r.node).filter(|n| !graph.is_matrix(*n)));
            }
        }
        let sums_products = |n: usize| {
            let product = |r: &Ref| {
                uses.get(&r.node) == Some(&1)
                    && matches!(graph.nodes[r.node].kind, Kind::Product(..))
                    && !self.given.contains_key(&r.node)
                    && !self.wanted.contains_key(&r.node)
            };
            let Kind::Map(MapFn::Add | MapFn::Sub, args) = &graph.nodes[n].kind else { return false };
            args.iter().all(product)
        };
        let mut places = self.given.clone();
        let mut depth: HashMap<usize, usize> = HashMap::new();
        for &n in &needed {
            if self.given.contains_key(&n) {
                continue;
            }
            let kind = &graph.nodes[n].kind;
            let count = uses.get(&n).copied().unwrap_or(0);
            let stored = match kind {
                Kind::Leaf(Leaf::Number(_) | Leaf::Size(_) | Leaf::Const(_)) => false,
                Kind::Leaf(Leaf::Valid | Leaf::Identity(_)) => stored_by_user.contains(&n),
                Kind::Leaf(_) => {
                    let rows = self.direct.contains_key(&n) || broadcast.contains(&n);
                    stored_by_user.contains(&n) || rows
                }
                Kind::Solve { .. } => false,
                Kind::Map(f, args) => {
                    let below = args.iter().map(|a| depth.get(&a.node).copied().unwrap_or(0)).sum::<usize>() + 1;
                    let costly = expr::is_costly(*f) || below > 6;
                    let once = broadcast.contains(&n) || (count > 1 && (costly || sums_products(n)));
                    let stored = stored_by_user.contains(&n) || once || below > 24;
                    depth.insert(n, if stored { 0 } else { below });
                    stored
                }
                Kind::Lower(_) => stored_by_user.contains(&n),
                _ => true,
            };
            if let Some(place) = self.wanted.get(&n) {
                places.insert(n, place.clone());
            } else if let Some(stores) = self.stores.get(&n) {
                places.insert(n, Place { name: format!("v{n}"), ..stores[0].clone() });
            } else if stored {
                let part = matches!(kind, Kind::Part(..) | Kind::Inverse(_));
                let direct = self.direct.contains_key(&n);
                let plain = graph.is_matrix(n) && !part && !used_as_f32(n) && !self.is_square(n);
                let elem = if direct || plain { self.product } else { Elem::F32 };
                places.insert(n, Place::of(graph, self.sizes, n, elem));
            }
        }
        let candidate = |n: usize, places: &BTreeMap<usize, Place>| {
            matches!(graph.nodes[n].kind, Kind::Product(..))
                && uses.get(&n) == Some(&1)
                && !self.wanted.contains_key(&n)
                && places.contains_key(&n)
                && !self.given.contains_key(&n)
        };
        let mut state = State {
            block: self,
            places,
            uses: uses.clone(),
            groups: HashMap::new(),
            sink_groups: HashMap::new(),
            fetched: BTreeMap::new(),
            ahead_rows: vec![],
            shared: BTreeSet::new(),
            parted: needed.iter().copied().filter(|n| self.is_parted(*n, &uses)).collect(),
            turn: Cell::new(0),
            through: Cell::new(false),
            ahead: Cell::new(false),
            held: RefCell::default(),
            unstored: BTreeSet::new(),
            many_warps: Cell::new(false),
            aheads: BTreeMap::new(),
        };
        for &n in &needed {
            let is_map = matches!(graph.nodes[n].kind, Kind::Map(..));
            if is_map && state.places.contains_key(&n) && !self.given.contains_key(&n) && graph.is_matrix(n) {
                let root = Ref { node: n, flip: false };
                if let Some(group) = state.find(root, true, &|m, p| candidate(m, p)) {
                    group.products.iter().for_each(|(_, r)| {
                        state.places.remove(&r.node);
                    });
                    state.groups.insert(n, group);
                }
            }
        }
        for (s, sink) in self.sinks.iter().enumerate() {
            let root = sink.value;
            if state.places.contains_key(&root.node) && !candidate(root.node, &state.places) {
                continue;
            }
            if !graph.is_matrix(root.node) || uses.get(&root.node) != Some(&1) {
                continue;
            }
            if let Some(group) = state.find(root, true, &|m, p| candidate(m, p)) {
                group.products.iter().for_each(|(_, r)| {
                    state.places.remove(&r.node);
                });
                state.sink_groups.insert(s, group);
            }
        }
        state.operands(&needed);
        state.emit(&needed)
    }

    /// Whether a value is the sum over columns of what lies as fragments, and all that uses it is its own sum.
    fn is_parted(&self, node: usize, uses: &HashMap<usize, usize>) -> bool {
        let Kind::Sum(x, Pos::Cols) = &self.graph.nodes[node].kind else { return false };
        let users = self.graph.nodes.iter().filter(|n| n.kind.operands().iter().any(|r| r.node == node));
        let summed = users.into_iter().all(|n| matches!(n.kind, Kind::Sum(_, Pos::Rows)));
        let mut todo = vec![*x];
        while let Some(r) = todo.pop() {
            let there = self.given.get(&r.node).is_some_and(|p| p.order == Order::Fragments);
            match &self.graph.nodes[r.node].kind {
                _ if there && !r.flip => {}
                Kind::Map(_, args) if !r.flip && uses.get(&r.node) == Some(&1) => todo.extend(args),
                Kind::Leaf(Leaf::Number(_) | Leaf::Size(_) | Leaf::Const(_)) => {}
                _ => return false,
            }
        }
        summed && uses.get(&node) == Some(&1) && !self.given.contains_key(&node) && !self.wanted.contains_key(&node)
    }

    /// Whether a value is a token-by-token matrix.
    fn is_square(&self, node: usize) -> bool {
        self.graph.nodes[node].shape == Shape::new(Axis::Token, Axis::Token)
    }

    /// Products of two token-by-token matrices are made in three tf32 parts: they build what solves a system.
    fn exact(&self, node: usize) -> bool {
        let Kind::Product(a, b) = self.graph.nodes[node].kind else { return true };
        let square = |r: Ref| {
            let s = self.graph.shape(r);
            s.rows == Axis::Token && s.cols == Axis::Token
        };
        square(a) && square(b)
    }
}
