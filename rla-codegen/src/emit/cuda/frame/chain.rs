//! The sequential kernel around a chain: warps by role, states in registers, rings of shared memory that some warps fill.
//!
//! A step of the loop ends with a barrier of the block. In step n a role works on chunk n less its lag; meanwhile the copying
//! warps fetch what is needed some steps later. An item of a ring stays from its first reader's step to its last reader's.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::address::view_kind;
use super::chunks::OF_CHUNK;
use super::copiers::{BARRIERS, Crew, Fetch, Item, at_launch, cluster};
use super::{Address, Frame, Launch};
use crate::emit::cuda::block::Written;
use crate::emit::cuda::chain::roles::{Plan, Role, What};
use crate::emit::cuda::chain::{Chain, Work, Writer, room_of};
use crate::emit::cuda::place::{Elem, Order, Place};
use crate::emit::cuda::stage::Group;
use crate::emit::cuda::{Error, Grid, Kernel, Pass};
use crate::emit::graph::Kind;
use crate::emit::text::Text;
use crate::tile::{Leaf, Role as Outcome};

/// Threads of a block up to which each may have all registers that there are.
const ROOMY: usize = 256;

/// Threads of a block that keeps, or runs backward, whose registers suffice.
const MOST_THREADS: usize = 384;

/// Shared memory that copies more than two steps ahead may fill where a block makes all of them alone: the first-level cache keeps
/// some room. Copies for two blocks have a longer way.
const AHEAD_SHARED: usize = 160 * 1024;

/// Warps of a role that multiply together, on one right operand.
const TOGETHER: usize = 4;

/// Where panels may start: at multiples of eight of their rows.
const PANELS_AT: usize = 1024;

/// Bytes between two vectors that are rather fetched with them.
const BETWEEN: usize = 256;

/// Where an item lies.
pub(super) struct Ring {
    pub offset: usize,
    pub places: usize,
    /// Lag of its first reader.
    pub first: usize,
}

/// The work of a block divided among roles, and what goes between them.
pub(super) struct Division {
    pub groups: usize,
    pub roles: Vec<Role>,
    bodies: Vec<Work>,
    /// Lags of the first and the last role that mentions a pointer, by its name.
    lags: BTreeMap<String, (usize, usize)>,
    /// Offset, bytes and places of what a role leaves, for one group of channels.
    exchange: BTreeMap<What, (usize, usize, usize)>,
    exchange_bytes: usize,
    /// Whether the four warps of a role multiply at once.
    pub together: bool,
    pub crew: Crew,
    threads: usize,
    /// Registers of a thread by role, where they are divided anew.
    pub registers: Option<Vec<usize>>,
}

impl Division {
    pub(super) fn workers(&self) -> usize {
        self.groups * self.roles.len()
    }

    /// Lags of an item's first and last reader.
    fn lags(&self, item: &Item) -> Option<(usize, usize)> {
        let lags = item.names.iter().filter_map(|(name, ..)| self.lags.get(name)).copied();
        lags.reduce(|(first, last), (early, late)| (first.min(early), last.max(late)))
    }
}

/// A division, and where in shared memory lies what it reads.
pub(super) struct Layout {
    pub division: Division,
    /// What is fetched.
    pub items: Vec<Item>,
    pub rings: Vec<Option<Ring>>,
    pub staged: usize,
    /// Steps between the fetching of an item and its first reader's.
    ahead: usize,
}

impl Layout {
    /// Where the barriers of copies lie, behind everything else.
    pub(super) fn barriers(&self) -> usize {
        self.staged + self.division.groups * self.division.exchange_bytes
    }

    /// Bytes of shared memory.
    fn shared(&self) -> usize {
        self.barriers() + BARRIERS
    }
}

/// The statement that writes a value to rows of a record.
fn keep_rows(place: &Place, address: &str) -> String {
    let elem = place.elem.c();
    format!("!keep_rows<{elem}, {}>(({elem}*)({address}) + channel, @);", place.ld)
}

/// Vectors in as few pieces as can be, since each piece takes long to start: those that lie near one another, with what is between.
fn together(mut vectors: Vec<(Address, Place)>) -> Vec<Item> {
    vectors.sort_by_key(|(address, _)| (address.base, address.offset));
    let mut items: Vec<Item> = vec![];
    for (address, place) in vectors {
        let bytes = place.bytes.next_multiple_of(16);
        if let Some(Item { names, bytes: all, fetch: Fetch::Piece(start) }) = items.last_mut()
            && start.base == address.base
            && address.offset - start.offset <= *all + BETWEEN
        {
            let at = address.offset - start.offset;
            names.push((place.name, place.elem, at));
            *all = at + bytes;
            continue;
        }
        items.push(Item { names: vec![(place.name, place.elem, 0)], bytes, fetch: Fetch::Piece(address) });
    }
    items
}

/// What lies one behind the other, and has readers (`alike`: at the same steps), in one piece.
fn in_few_pieces(items: &[Item], alike: bool, division: &Division) -> Vec<Item> {
    let lags = |item: &Item| division.lags(item);
    let mut out: Vec<Item> = vec![];
    let mut items: Vec<&Item> = items.iter().collect();
    items.sort_by_key(|item| match item.fetch {
        Fetch::Piece(address) => (0, address.base, address.offset),
        _ => (1, "", 0),
    });
    for item in items {
        if let (Fetch::Piece(own), Some(before)) = (&item.fetch, out.last_mut())
            && let Fetch::Piece(start) = before.fetch
            && (start.base, start.offset + before.bytes) == (own.base, own.offset)
            && lags(before).is_some()
            && lags(item).is_some()
            && (!alike || lags(before) == lags(item))
        {
            let at = before.bytes;
            before.names.extend(item.names.iter().map(|(name, elem, offset)| (name.clone(), *elem, at + offset)));
            before.bytes += item.bytes;
            continue;
        }
        out.push(item.clone());
    }
    out
}

/// What of a record is fetched in one piece.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pieces {
    /// All that lies one behind the other.
    Whole,
    /// Of that what is read at the same steps: it takes less room.
    Alike,
    /// Each value by itself.
    Single,
}

impl Frame<'_> {
    /// The kernel of a chain.
    pub(super) fn chain(&self, g: usize, group: &Group, chain: &Chain) -> Result<Kernel, Error> {
        let sizes = self.sizes();
        let free = chain.free.expect("a chain has a free side");
        let channels = sizes.padded(free);
        // slices of equal width: no warp works beyond the padding
        let overlapped = self.is_overlapped(g);
        let most = self.config.warps.clamp(1, channels / 16);
        let stores = self.stores(g, chain);
        let next = group.states.iter().map(|s| (*s, self.stages.next[s])).collect();
        let stored = stores.iter().map(|(n, ..)| *n).collect();
        let plan = Plan::new(chain, self.graph, &self.stages.depends, next, stored);
        let keeps = group.states.iter().any(|s| !self.state_targets(*s).is_empty());
        let divided = |together| plan.roles(true, keeps, together).len();
        let ways = (1..=most).rev().filter(|w| (channels / 16).is_multiple_of(*w));
        let mut ways = ways.map(|groups| {
            let (items, places, slabs) = self.items(chain, groups);
            let mut writer = Writer {
                plan: &plan,
                sizes,
                product: self.config.product,
                interface: self.interface,
                places,
                slabs,
                stores: stores.clone(),
                roomy: true,
                together: false,
                handed: BTreeSet::new(),
                rounded: BTreeSet::new(),
            };
            let layout = self.best_layout(g, &mut writer, &items, keeps, groups, channels / 16 / groups);
            (groups, layout)
        });
        // narrower where roles would have to be joined; what is kept, and gradients, take registers: there also where warps are many
        let fits = |(groups, layout): &(usize, Layout)| {
            let Division { roles, together, threads, registers, .. } = &layout.division;
            let few = self.pass == Pass::Forward || registers.is_some() || *threads <= MOST_THREADS;
            *groups == 1 || roles.len() == divided(*together) && few
        };
        let (groups, layout) = ways.find(fits).expect("one group fits in any case");
        let slices = channels / 16 / groups;
        let shared = layout.shared();
        let out = self.chain_text(g, &layout, slices);
        let leaves = BTreeSet::new();
        let written = Written { pointers: vec![], body: vec![], shared, substitutes: false, scratch: 0, leaves };
        let division = &layout.division;
        let launch = Launch {
            wide: division.together,
            grid: Grid::Sequences(slices),
            chunk: self.sizes().chunk,
            threads: division.threads,
            blocks: 1,
            cluster: cluster(&division.crew, slices),
            beside: false,
            tellers: usize::from(overlapped),
        };
        Ok(self.kernel("chain", g, launch, &written, out, true)?.0)
    }

    /// The first way to divide the work that fits into shared memory.
    fn best_layout(
        &self,
        g: usize,
        writer: &mut Writer,
        items: &[Item],
        keeps: bool,
        groups: usize,
        slices: usize,
    ) -> Layout {
        let (overlapped, room) = (self.is_overlapped(g), self.config.shared);
        let fits = |l: &Layout| {
            let alone = cluster(&l.division.crew, slices) == 1;
            let most = if l.ahead > 2 && alone { room.min(AHEAD_SHARED) } else { room };
            l.shared() <= most || l.ahead == 0
        };
        // in more pieces each waits only for who reads it, and takes less room; beside finish they take too long
        let single = if overlapped { 0 } else { 2 };
        // a role for each state, or one for all
        for split in [true, false] {
            let mut division = self.divide(g, writer, items, keeps, groups, split);
            let ways: Vec<(usize, Pieces)> = if split {
                let far = (2..=4).rev().map(|ahead| (ahead, Pieces::Whole));
                // short steps: a copy takes longer than one
                let near = division.together.then_some((2, Pieces::Alike)).into_iter().chain([(1, Pieces::Whole)]);
                far.chain(near).chain((1..=single).rev().map(|ahead| (ahead, Pieces::Single))).collect()
            } else {
                (0..=2).rev().map(|ahead| (ahead, Pieces::Whole)).collect()
            };
            for (ahead, pieces) in ways {
                let layout = self.layout(division, items, ahead, pieces);
                if fits(&layout) {
                    return layout;
                }
                division = layout.division;
            }
        }
        unreachable!("the last way is taken in any case")
    }

    /// Statements that store values, by value.
    fn stores(&self, g: usize, chain: &Chain) -> Vec<(usize, String, String)> {
        let mut stores = vec![];
        let free = chain.free.expect("set");
        let (real, padded) = (self.sizes().real(free), self.sizes().padded(free));
        let size = if real == padded { "16".to_string() } else { format!("{real} - channel") };
        for (index, of) in &self.stages.sequential {
            if *of != g {
                continue;
            }
            let (role, r) = self.graph.results[*index];
            match role {
                Outcome::Output(i) => {
                    let elem = self.config.output.c();
                    let at = if self.moves_with_channel() { "" } else { " + channel" };
                    stores.push((
                        r.node,
                        format!("!write_rows<{elem}>(@, out{i}{at}, out{i}_step, ch.valid, {size});"),
                        format!("output {i}"),
                    ));
                }
                Outcome::Saved(k) => {
                    let (place, address) = self.kept_place(usize::MAX - k, String::new()).expect("kept");
                    stores.push((r.node, keep_rows(&place, &address.to_string()), "kept for backward".into()));
                }
                _ => {}
            }
        }
        for (n, place, offset) in &self.passed.chunk.items {
            if chain.tiles.contains(n) && !chain.carried.values().any(|l| l == n) {
                stores.push((*n, keep_rows(place, &format!("passed + {offset}")), "for finish".into()));
            }
        }
        stores
    }

    /// What is fetched, and the places of images, vectors and given values, and of leaves along the free side.
    fn items(&self, chain: &Chain, groups: usize) -> (Vec<Item>, BTreeMap<usize, Place>, BTreeMap<usize, Place>) {
        let sizes = self.sizes();
        let free = chain.free.expect("set");
        let real = sizes.real(free);
        let (mut places, mut slabs): (BTreeMap<usize, Place>, BTreeMap<usize, Place>) = Default::default();
        let mut items = vec![];
        let mut vectors = vec![];
        for n in self.fetched(chain) {
            let (place, address) = match self.prepared_home(n, self.fetched_elem(chain, n)) {
                Some(home) if self.record.item(n).is_none() => home,
                _ => {
                    let (_, place, offset) = self.record.item(n).expect("laid out");
                    (place.clone(), Address { base: "record", offset: *offset })
                }
            };
            if self.graph.is_matrix(n) {
                let bytes = place.bytes.next_multiple_of(16);
                let names = vec![(place.name.clone(), place.elem, 0)];
                items.push(Item { names, bytes, fetch: Fetch::Piece(address) });
            } else {
                vectors.push((address, place.clone()));
            }
            places.insert(n, place);
        }
        items.extend(together(vectors));
        for n in chain.images.iter().filter(|n| self.is_own_image(**n)) {
            let panels = Place::of_panels(self.graph, sizes, *n, self.config.product).filter(|_| groups == TOGETHER);
            let place = panels.unwrap_or_else(|| self.placed(*n, self.config.product));
            let Kind::Leaf(leaf) = &self.graph.nodes[*n].kind else { unreachable!("it is an input") };
            let (axis, zero) = (self.graph.nodes[*n].shape.cols, matches!(leaf, Leaf::OutputGrad(_)));
            items.push(Item {
                names: vec![(place.name.clone(), place.elem, 0)],
                bytes: place.bytes,
                fetch: Fetch::Rows {
                    to: self.config.product,
                    from: self.elem_of(leaf),
                    channels: sizes.padded(axis),
                    ld: (place.order == Order::Rows).then_some(place.ld),
                    arguments: format!(
                        "{}, ch, {}, 0, {}, {zero}",
                        self.view_of(leaf),
                        self.head_of(leaf),
                        sizes.real(axis)
                    ),
                    shared: true,
                },
            });
            places.insert(*n, place);
        }
        let width = 16 * groups;
        let slab = |name: String, elem: Elem| {
            let ld = width + 16 / elem.bytes();
            Place { name, elem, ld, bytes: sizes.chunk * ld * elem.bytes(), order: Order::Rows }
        };
        for n in &chain.tiles {
            let Kind::Leaf(leaf) = &self.graph.nodes[*n].kind else { continue };
            if view_kind(leaf).is_none() {
                continue;
            }
            let elem = if self.elem_of(leaf) == self.config.product { self.config.product } else { Elem::F32 };
            let (place, zero) = (slab(format!("slab{n}"), elem), matches!(leaf, Leaf::OutputGrad(_)));
            items.push(Item {
                names: vec![(place.name.clone(), elem, 0)],
                bytes: place.bytes,
                fetch: Fetch::Rows {
                    to: elem,
                    from: self.elem_of(leaf),
                    channels: width,
                    ld: Some(place.ld),
                    arguments: format!("{}, ch, {}, column, {real}, {zero}", self.view_of(leaf), self.head_of(leaf)),
                    shared: false,
                },
            });
            slabs.insert(*n, place);
        }
        // values along the free side that other kernels computed
        for n in &chain.given {
            let (from, base, offset) = match self.kept_leaf(*n) {
                Some((place, address)) => (place, address.base, address.offset),
                None => {
                    let (_, place, offset) = self.record.item(*n).expect("laid out");
                    (place.clone(), "record", *offset)
                }
            };
            let (place, size) = (slab(format!("v{n}"), from.elem), from.elem.bytes());
            items.push(Item {
                names: vec![(place.name.clone(), from.elem, 0)],
                bytes: place.bytes,
                fetch: Fetch::Part {
                    base,
                    start: format!("{offset} + column * {size}"),
                    bytes: width * size,
                    from: from.ld * size,
                    to: place.ld * size,
                },
            });
            places.insert(*n, place);
        }
        (items, places, slabs)
    }

    fn divide(
        &self,
        g: usize,
        writer: &mut Writer,
        items: &[Item],
        keeps: bool,
        groups: usize,
        split: bool,
    ) -> Division {
        let together = items.iter().any(|item| item.fetch.is_panels());
        let roles = writer.plan.roles(split, keeps, together);
        writer.together = together;
        let handed = writer.plan.handed(&roles);
        writer.handed = handed.keys().copied().collect();
        let values = handed.keys().filter_map(|what| if let What::Tile(n) = what { Some(*n) } else { None });
        writer.rounded = values.filter(|n| writer.is_left_rounded(&roles, *n)).collect();
        let crew = Crew::of(groups * roles.len(), self.is_overlapped(g));
        let threads = 32 * (groups * roles.len() + crew.warps());
        writer.roomy = threads <= ROOMY;
        let registers = crew.registers(groups, &roles, together);
        let of_role = |r: usize| registers.as_ref().map_or(at_launch(threads), |registers| registers[r]);
        let bodies: Vec<Work> = roles.iter().enumerate().map(|(r, role)| writer.write(role, of_role(r))).collect();
        let lags_of = |name: &str| {
            let readers = roles.iter().zip(&bodies).filter(|(_, body)| body.mentions(name)).map(|(role, _)| role.lag);
            Some((readers.clone().min()?, readers.max()?))
        };
        let names = items.iter().flat_map(|item| &item.names).map(|(name, ..)| name);
        let lags = names.filter_map(|name| Some((name.clone(), lags_of(name)?))).collect();
        let (mut exchange, mut exchange_bytes) = (BTreeMap::new(), 0);
        for (what, (_, places)) in handed {
            let bytes = match what {
                What::State(s) => {
                    let per_tile = if self.config.product == Elem::F32 { 512 } else { 256 };
                    self.sizes().padded(self.state_shape(s).cols) / 8 * per_tile
                }
                What::Tile(n) => writer.tiles(n) * if writer.rounded.contains(&n) { 256 } else { 512 },
                What::Room(_) => unreachable!("it is not handed on"),
            };
            exchange.insert(what, (exchange_bytes, bytes, places));
            exchange_bytes += places * bytes;
        }
        for n in roles.iter().flat_map(|role| &role.tiles) {
            if let Some(bytes) = room_of(&self.graph.nodes[*n].kind, self.sizes()) {
                exchange.insert(What::Room(*n), (exchange_bytes, bytes, 1));
                exchange_bytes += bytes;
            }
        }
        Division { groups, roles, bodies, lags, exchange, exchange_bytes, together, crew, threads, registers }
    }

    fn layout(&self, division: Division, items: &[Item], ahead: usize, pieces: Pieces) -> Layout {
        let items = match pieces {
            Pieces::Single => items.to_vec(),
            _ => in_few_pieces(items, pieces == Pieces::Alike, &division),
        };
        let mut staged: usize = 0;
        let rings = items.iter().map(|item| {
            let (first, last) = division.lags(item)?;
            let places = ahead + last - first + 1;
            staged = staged.next_multiple_of(if item.fetch.is_panels() { PANELS_AT } else { 128 });
            let ring = Ring { offset: staged, places, first };
            staged += places * item.bytes.next_multiple_of(128);
            Some(ring)
        });
        let rings = rings.collect();
        Layout { division, items, rings, staged, ahead }
    }

    fn chain_text(&self, g: usize, layout: &Layout, slices: usize) -> Text {
        let mut out = Text::default();
        let division = &layout.division;
        let groups = division.groups;
        let lag = division.roles.iter().map(|r| r.lag).max().unwrap_or(0);
        out.line(format!(
            "constexpr int SLICES = {slices}, GROUPS = {groups}, ROLES = {}, COPIERS = {}, LAG = {lag}, AHEAD = {};",
            division.roles.len(),
            division.crew.copiers,
            layout.ahead
        ));
        out.line("const int warp = threadIdx.x / 32, role = warp / GROUPS;");
        out.line("const int slice = blockIdx.x % SLICES, head = blockIdx.x / SLICES % x.heads;");
        out.line("const int sequence = blockIdx.x / SLICES / x.heads;");
        out.line("// the warp's first channel, of the block's and of all");
        out.line("const int own = 16 * (warp % GROUPS), column = slice * 16 * GROUPS, channel = column + own;");
        let consts = (0..self.graph.nodes.len())
            .filter(|n| matches!(self.graph.nodes[*n].kind, Kind::Leaf(Leaf::Const(_))))
            .collect();
        self.readers(&consts, false, &mut out);
        out.line("const int tokens = x.sequences.length(sequence), start = x.sequences.start(sequence);");
        out.line("const int chunks = (u32)(tokens + CHUNK - 1) / CHUNK;");
        out.line("const int first = x.sequences.slot(sequence, CHUNK), batch = x.sequences.batch(sequence);");
        out.line("const int key_head = head / (int)x.group;");
        self.spans_of_sequence(&mut out);
        self.start_progress(g, layout.shared() - 8, &mut out);
        out.line("auto chunk_of_step = [&](int i) {");
        out.line(if self.backward() { "const int k = chunks - 1 - i;" } else { "const int k = i;" });
        out.line("const int left = tokens - k * CHUNK;");
        let valid = "left < CHUNK ? left : CHUNK";
        out.line(format!(
            "return Chunk{{batch, start + k * CHUNK, first + k, head, key_head, {valid}, sequence, k, left}};"
        ));
        out.line("};");
        self.set_up_copies(layout, slices, &mut out);
        self.copiers(layout, slices, &mut out);
        if division.exchange_bytes > 0 {
            out.line(format!(
                "char* const exchange = shared + {} + warp % GROUPS * {};",
                layout.staged, division.exchange_bytes
            ));
        }
        for (r, (role, body)) in division.roles.iter().zip(&division.bodies).enumerate() {
            out.line(format!("if (role == {r}) {{"));
            if let Some(registers) = &division.registers {
                match registers[r].cmp(&at_launch(division.threads)) {
                    Ordering::Less => out.line(format!("leave_registers<{}>();", registers[r])),
                    Ordering::Equal => {}
                    Ordering::Greater => out.line(format!("take_registers<{}>();", registers[r])),
                }
            }
            if r > 0 && self.pass == Pass::ForwardSave {
                // kept from before the branches it would take a register of the roles between, which spill here and nowhere else:
                // RDN's backward chain of few heads took a tenth longer with it
                out.line("const int own = 16 * (thread_again() / 32 % GROUPS), channel = column + own;");
            }
            self.role(role, body, layout, &mut out);
            out.line("}");
        }
        self.end_progress(g, &mut out);
        out.line("if (CLUSTER > 1) meet_cluster();  // no block leaves while copies into it are under way");
        out
    }

    /// Whether pointers to outputs have the channel in them: forward that keeps, or in four groups, has no register left for it in each
    /// step (`by_itself`).
    fn moves_with_channel(&self) -> bool {
        self.pass == Pass::ForwardSave || self.pass == Pass::Forward && self.config.warps == 4
    }

    fn role(&self, role: &Role, body: &Work, layout: &Layout, out: &mut Text) {
        let sizes = self.sizes();
        let (from, to) = self.state_fields();
        for state in &role.states {
            let shape = self.state_shape(*state);
            let (rows, cols) = (sizes.real(shape.rows), sizes.real(shape.cols));
            out.line(format!("// carries {}", self.interface.states[*state]));
            out.line(format!("Tile<{}> state{state};", sizes.padded(shape.cols) / 8));
            out.line(format!("every(state{state}, [&](float& y, int, int, int r, int c) {{"));
            out.line(format!(
                "y = x.{from}[{state}].ptr && channel + r < {rows} && c < {cols} ? {} : 0.f;",
                self.state_element(*state, from, "channel + r", "c")
            ));
            out.line("});");
        }
        // counters rather than remainders, and pointers that move: what comes before a chunk's first load is short
        let rings = layout.items.iter().zip(&layout.rings).filter_map(|(item, ring)| {
            let read = item.names.iter().any(|(name, ..)| body.mentions(name));
            ring.as_ref().filter(|_| read).map(|ring| ring.places)
        });
        let left =
            layout.division.exchange.iter().filter(|(what, _)| self.touches(role, body, **what)).map(|(_, (.., n))| *n);
        let places: BTreeSet<usize> = rings.chain(left).filter(|n| *n > 1).collect();
        for n in &places {
            out.line(format!("int place{n} = 0;"));
        }
        let outputs = self.graph.results.iter().filter_map(|(result, _)| match result {
            Outcome::Output(i) if body.mentions(&format!("out{i}")) => Some(*i),
            _ => None,
        });
        let outputs = outputs.collect::<Vec<_>>();
        for i in &outputs {
            let elem = self.config.output.c();
            out.line(format!("const i64 out{i}_step = x.outputs[{i}].s1;"));
            let first = if self.moves_with_channel() { " + by_itself(channel)" } else { "" };
            out.line(format!("{elem}* out{i} = rows_of<{elem}>(x.outputs[{i}], batch, start, head){first};"));
        }
        let place = |n: usize| if n > 1 { format!("place{n}") } else { "0".into() };
        out.line("for (int step = 0; step < chunks + LAG; step++) {");
        if layout.ahead == 0 {
            out.line("meet();");
        }
        out.line("meet();");
        out.line(format!("const int i = step - {};", role.lag));
        if layout.division.roles.len() > 1 {
            out.line("if (i < 0 || i >= chunks) continue;");
        }
        out.line("const Chunk ch = chunk_of_step(i);");
        self.bases(OF_CHUNK, false, out);
        for (item, ring) in layout.items.iter().zip(&layout.rings) {
            let Some(ring) = ring else { continue };
            let bytes = item.bytes.next_multiple_of(128);
            for (name, elem, offset) in item.names.iter().filter(|(name, ..)| body.mentions(name)) {
                let e = elem.c();
                out.line(format!(
                    "const {e}* const {name} = (const {e}*)(shared + {} + {} * {bytes});",
                    ring.offset + offset,
                    place(ring.places)
                ));
            }
        }
        for (what, (offset, bytes, places)) in &layout.division.exchange {
            if let What::Room(n) = what {
                if role.tiles.contains(n) {
                    out.line(format!("float* const room{n} = (float*)(exchange + {offset});"));
                }
                continue;
            }
            if self.touches(role, body, *what) {
                let name = match what {
                    What::State(s) => format!("from{s}"),
                    What::Tile(n) => format!("at{n}"),
                    What::Room(_) => unreachable!("written above"),
                };
                out.line(format!("char* const {name} = exchange + {offset} + {} * {bytes};", place(*places)));
            }
        }
        out.lines(body.first.lines());
        if role.keeps {
            self.ends_of_span(out, |out| self.keep_states(role, body, out));
        }
        out.lines(body.rest.lines());
        for n in &places {
            out.line(format!("place{n} = place{n} == {} ? 0 : place{n} + 1;", n - 1));
        }
        for i in &outputs {
            out.line(format!("out{i} += CHUNK * out{i}_step;"));
        }
        out.line("}");
        for state in &role.states {
            let shape = self.state_shape(*state);
            let (rows, cols) = (sizes.real(shape.rows), sizes.real(shape.cols));
            out.line(format!("if (x.{to}[{state}].ptr) every(state{state}, [&](float& y, int, int, int r, int c) {{"));
            out.line(format!(
                "if (channel + r < {rows} && c < {cols}) {} = y;",
                self.state_element(*state, to, "channel + r", "c")
            ));
            out.line("});");
        }
    }

    /// Whether a role leaves something, or finds it.
    fn touches(&self, role: &Role, body: &Work, what: What) -> bool {
        match what {
            What::State(s) => role.states.contains(&s) || role.operands.contains(&s),
            What::Tile(n) => body.mentions(&format!("at{n}")),
            What::Room(_) => false,
        }
    }
}
