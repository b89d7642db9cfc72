//! The warps of a chain's block that only copy: what each fetches, and their loop.
//!
//! A pointer moves from chunk to chunk and a place from step to step; all that a chunk's copies have in common is worked out before
//! the loop.

use std::collections::BTreeSet;

use super::chain::{Division, Layout};
use super::{Address, Frame};
use crate::emit::cuda::chain::roles::Role;
use crate::emit::cuda::place::Elem;
use crate::emit::text::Text;

/// Bytes for the barriers of bulk copies.
pub(super) const BARRIERS: usize = 128;

/// Bytes of a row from which on it is a bulk copy.
const ROW: usize = 128;

/// Rows from which on a matrix is divided among two warps, in bytes.
const DIVIDED: usize = 4096;

/// Chunks after which a telling warp says how far its block is, so that it does not hold up what the others write.
const TOLD_EVERY: usize = 8;

/// Registers of a multiprocessor.
const REGISTERS: usize = 65536;

/// Registers that a thread that copies keeps where they are divided anew: it makes do with 80, and gets more where there are more.
/// Chosen so that no part of a block spills.
fn copying(roles: &[Role]) -> usize {
    match roles.len() {
        3 => 80,
        _ if roles.iter().all(|role| !role.states.is_empty()) => 120,
        _ => 104,
    }
}

/// Registers with which a thread makes do that makes results of what two other roles left.
const RESULTS: usize = 96;

/// Registers that a thread of a block has at launch, at most.
pub(super) fn at_launch(threads: usize) -> usize {
    REGISTERS / threads / 8 * 8
}

/// Warps that copy: as many as fill whole schedulers, and four more where registers allow it and there are few.
fn copiers(workers: usize) -> usize {
    let left = 4 - workers % 4;
    if left < 3 && workers + left <= 4 { left + 4 } else { left }
}

/// The warps of a block that do not compute.
pub(super) struct Crew {
    /// Those that copy.
    pub copiers: usize,
    /// Those that only say how far the block is: one, where finish runs beside.
    pub tellers: usize,
}

impl Crew {
    pub(super) fn of(workers: usize, overlapped: bool) -> Crew {
        let copiers = copiers(workers);
        match overlapped {
            // in the place of a copying one; where there are two, schedulers are filled once more
            true if copiers > 2 => Crew { copiers: copiers - 1, tellers: 1 },
            true => Crew { copiers: copiers + 3, tellers: 1 },
            false => Crew { copiers, tellers: 0 },
        }
    }

    pub(super) fn warps(&self) -> usize {
        self.copiers + self.tellers
    }

    /// Registers of a thread that computes, by role, where those that copy leave the others some: four warps of each role, and four of the
    /// crew, since registers are divided anew by four warps. A role without a state makes do with fewer. Two roles have enough, unless
    /// warps multiply together, which takes operands whole.
    pub(super) fn registers(&self, groups: usize, roles: &[Role], together: bool) -> Option<Vec<usize>> {
        let carrying = roles.iter().filter(|role| !role.states.is_empty()).count();
        let divides = match roles.len() {
            2 => together,
            3 => self.tellers == 0,
            _ => false,
        };
        if !divides || groups != 4 || self.warps() != 4 {
            return None;
        }
        // what the block has is what it was launched with
        let quads = roles.len() + 1;
        let all = quads * at_launch(128 * quads) - copying(roles);
        let results = if roles.len() == 3 { RESULTS } else { all / 2 };
        let results = results / 8 * 8;
        let states = (all - results * (roles.len() - carrying)) / carrying / 8 * 8;
        Some(roles.iter().map(|role| if role.states.is_empty() { results } else { states }).collect())
    }
}

/// Blocks of a cluster, which carry other channels of the same states and share copies of whole rows: two where enough warps start
/// these, since a bulk copy takes long to start; what else there is goes to one block alone.
pub(super) fn cluster(crew: &Crew, slices: usize) -> usize {
    if slices.is_multiple_of(2) && crew.warps() > 4 { 2 } else { 1 }
}

/// Something that is fetched for every chunk.
#[derive(Clone)]
pub(super) struct Item {
    /// The pointers into it: name, element type, byte offset.
    pub names: Vec<(String, Elem, usize)>,
    pub bytes: usize,
    pub fetch: Fetch,
}

/// How an item is fetched.
#[derive(Clone)]
pub(super) enum Fetch {
    /// In one piece: from the pointer of this name, so many bytes.
    Piece(Address),
    /// Rows of the caller: element type in shared memory and the caller's, channels, elements from row to row (none: in panels), and the
    /// arguments that say which; whether the blocks of a cluster read the same.
    Rows { to: Elem, from: Elem, channels: usize, ld: Option<usize>, arguments: String, shared: bool },
    /// Rows of a record: its name, the first byte, bytes of a row and from row to row there and in shared memory.
    Part { base: &'static str, start: String, bytes: usize, from: usize, to: usize },
}

impl Fetch {
    /// The pointer that it reads from, if another kernel wrote that.
    pub fn base(&self) -> Option<&'static str> {
        match self {
            Fetch::Piece(address) => Some(address.base),
            Fetch::Part { base, .. } => Some(base),
            Fetch::Rows { .. } => None,
        }
    }

    /// Whether it lies in panels, for products of four warps at once.
    pub fn is_panels(&self) -> bool {
        matches!(self, Fetch::Rows { ld: None, .. })
    }

    /// Whether bulk copies fetch it, where there are any.
    fn is_bulk(&self, cluster: usize) -> bool {
        match self {
            Fetch::Piece(_) => true,
            Fetch::Rows { to, from, channels, shared, .. } => {
                *shared && cluster > 1 && !self.is_panels() && to == from && channels * to.bytes() >= ROW
            }
            Fetch::Part { .. } => false,
        }
    }

    /// Whether two warps can share it.
    fn divides(&self, chunk: usize) -> bool {
        match self {
            Fetch::Piece(_) => false,
            Fetch::Rows { to, channels, .. } => {
                let pieces = channels * to.bytes() / 16;
                32 % pieces == 0 && chunk.is_multiple_of(2 * 32 / pieces)
            }
            Fetch::Part { .. } => true,
        }
    }
}

/// A warp's share of an item: which part of how many.
struct Share {
    item: usize,
    part: usize,
    parts: usize,
}

/// What each copying warp fetches: the first what lies in one piece, the others rows, evenly. Warp n has scheduler n modulo 4: those
/// beside a worker get less.
fn shares(items: &[Item], count: usize, workers: usize, chunk: usize) -> Vec<Vec<Share>> {
    let mut shares: Vec<Vec<Share>> = (0..count).map(|_| vec![]).collect();
    let beside = |warp: usize| if (workers + warp) % 4 < workers { 2048 } else { 0 };
    let mut load: Vec<usize> = (0..count).map(beside).collect();
    let mut parts = vec![];
    for (i, item) in items.iter().enumerate() {
        match item.fetch {
            Fetch::Piece(_) => shares[0].push(Share { item: i, part: 0, parts: 1 }),
            _ => {
                let n = if count > 2 && item.bytes >= DIVIDED && item.fetch.divides(chunk) { 2 } else { 1 };
                parts.extend((0..n).map(|part| Share { item: i, part, parts: n }));
            }
        }
    }
    parts.sort_by_key(|share| std::cmp::Reverse(items[share.item].bytes / share.parts));
    for share in parts {
        // two parts of an item are two warps': names in a warp's text go by the item
        let free = |w: &usize| shares[*w].iter().all(|own| own.item != share.item);
        let warp = (count.min(2) - 1..count).filter(free).min_by_key(|w| load[*w]).expect("at least one copies");
        load[warp] += items[share.item].bytes / share.parts + 1024;
        shares[warp].push(share);
    }
    shares
}

impl Frame<'_> {
    /// What each copying warp of a chain fetches.
    fn shares(&self, layout: &Layout) -> Vec<Vec<Share>> {
        shares(&layout.items, layout.division.crew.copiers, layout.division.workers(), self.sizes().chunk)
    }

    /// The barriers of copies.
    pub(super) fn set_up_copies(&self, layout: &Layout, slices: usize, out: &mut Text) {
        let cluster = cluster(&layout.division.crew, slices);
        let bulks = |s: &Share| layout.rings[s.item].is_some() && layout.items[s.item].fetch.is_bulk(cluster);
        let shares = self.shares(layout);
        let warps = shares.iter().enumerate().filter(|(n, own)| *n == 0 || own.iter().any(bulks)).count();
        out.line(format!("constexpr int CLUSTER = BULK ? {cluster} : 1;"));
        out.line(format!("set_up_barriers<AHEAD, CLUSTER, {warps}>(shared + {});", layout.barriers()));
    }

    /// The warps that copy: what a step's roles need is there before they meet.
    pub(super) fn copiers(&self, layout: &Layout, slices: usize, out: &mut Text) {
        let Division { roles, crew, registers, .. } = &layout.division;
        let (count, overlapped) = (crew.copiers, crew.tellers > 0);
        let shares = self.shares(layout);
        let cluster = cluster(crew, slices);
        out.line("if (role >= ROLES) {");
        if registers.is_some() {
            out.line(format!("leave_registers<{}>();", copying(roles)));
        }
        out.line("const int member = warp - GROUPS * ROLES, lane = threadIdx.x & 31;");
        out.line("const int last = (int)(tokens - (i64)(chunks - 1) * CHUNK);  // tokens of the last chunk");
        out.line("const Chunk ch = chunk_of_step(0);");
        let mut written = BTreeSet::new();
        for (member, own) in shares.iter().enumerate() {
            if !written.insert(member) {
                continue;
            }
            // one text for two warps that have the same but for the part
            let same = |other: &usize| {
                let pairs = || own.iter().zip(&shares[*other]);
                let turned = own.first().is_some_and(|a| a.part == 1);
                own.len() == shares[*other].len()
                    && pairs().all(|(a, b)| a.item == b.item && (a.part, b.part) == (turned as usize, !turned as usize))
            };
            let second = (member + 1..count).find(|other| member > 0 && !own.is_empty() && same(other));
            written.extend(second);
            let own: Vec<&Share> = own.iter().filter(|s| layout.rings[s.item].is_some()).collect();
            match second {
                Some(second) => {
                    out.line(format!("if (member == {member} || member == {second}) {{"));
                    let sign = if own[0].part == 0 { "==" } else { "!=" };
                    out.line(format!("const int part = member {sign} {second};"));
                }
                None => out.line(format!("if (member == {member}) {{")),
            }
            let says = overlapped && (member == count - 1 || second == Some(count - 1));
            self.copier((member == 0, second.is_some(), cluster, says), &own, layout, out);
            out.line("}");
        }
        if overlapped {
            out.line(format!("if (member == COPIERS) tell_progress<{TOLD_EVERY}>(progress, told, chunks);"));
        }
        out.line("}");
    }

    fn copier(
        &self,
        (first, two, cluster, says): (bool, bool, usize, bool),
        shares: &[&Share],
        layout: &Layout,
        out: &mut Text,
    ) {
        let (items, barriers) = (&layout.items, layout.barriers());
        let part = |share: &Share| if two { "part".to_string() } else { share.part.to_string() };
        let ring = |share: &Share| layout.rings[share.item].as_ref().expect("it has readers");
        let starts: BTreeSet<usize> = shares.iter().map(|s| ring(s).first).collect();
        for start in &starts {
            for (name, stride) in self.records() {
                let reads = |s: &&&Share| items[s.item].fetch.base() == Some(name);
                if shares.iter().filter(|s| ring(s).first == *start).any(|s| reads(&s)) {
                    out.line(format!(
                        "const char* {name}{start} = (char*)__builtin_assume_aligned({}, 128) + (ch.slot * x.heads + head) * {stride};",
                        self.origin(name)
                    ));
                    let sign = if self.backward() { "-" } else { "" };
                    out.line(format!("const i64 {name}{start}_step = {sign}x.heads * {stride};"));
                }
            }
            let places: BTreeSet<usize> =
                shares.iter().filter(|s| ring(s).first == *start).map(|s| ring(s).places).collect();
            for places in places.into_iter().filter(|n| *n > 1) {
                out.line(format!("int place{places}_{start} = 0;"));
            }
        }
        for share in shares {
            if let Fetch::Rows { to, from, channels, ld, arguments, shared } = &items[share.item].fetch {
                out.line(format!(
                    "Rows<{}, {}, CHUNK, {channels}, {}, {}, {}, {}> rows{}({arguments}, {}, {});",
                    to.c(),
                    from.c(),
                    ld.map_or("PANELS".to_string(), |ld| ld.to_string()),
                    share.parts,
                    if *shared { "CLUSTER" } else { "1" },
                    items[share.item].fetch.is_bulk(cluster),
                    share.item,
                    self.backward(),
                    part(share)
                ));
            }
        }
        let bulks = first || shares.iter().any(|s| items[s.item].fetch.is_bulk(cluster));
        let wide = shares.iter().any(|s| items[s.item].fetch.is_panels());
        out.line(format!("copy_steps<AHEAD, CLUSTER, {first}, {bulks}, {wide}>(lane, shared + {barriers}, chunks + LAG, [&](Crew& crew, int step) {{"));
        if says {
            self.say_progress(out);
        }
        for start in starts {
            out.line(format!("if (const int i = step - {start}; i >= 0 && i < chunks) {{"));
            let valid = if self.backward() { "i == 0" } else { "i == chunks - 1" };
            let own: Vec<&&Share> = shares.iter().filter(|s| ring(s).first == start).collect();
            if own.iter().any(|s| matches!(items[s.item].fetch, Fetch::Rows { .. })) {
                out.line(format!("const int valid = {valid} ? last : CHUNK;"));
            }
            let (mut places, mut bases) = (BTreeSet::new(), BTreeSet::new());
            for share in own {
                let (item, ring) = (&items[share.item], ring(share));
                let place = match ring.places {
                    1 => String::new(),
                    n => format!(" + place{n}_{start} * {}", item.bytes.next_multiple_of(128)),
                };
                let to = format!("shared + {}{place}", ring.offset);
                places.insert(ring.places);
                match &item.fetch {
                    Fetch::Piece(Address { base, offset }) => {
                        bases.insert(base);
                        out.line(format!(
                            "fetch<{}, CLUSTER>(crew, {to}, {base}{start} + {offset}, {});",
                            item.bytes, share.item
                        ));
                    }
                    Fetch::Rows { to: elem, .. } => {
                        out.line(format!("rows{}.fetch(crew, ({}*)({to}), valid);", share.item, elem.c()))
                    }
                    Fetch::Part { base, start: at, bytes, from, to: step } => {
                        bases.insert(base);
                        out.line(format!(
                            "fetch_part<CHUNK, {bytes}, {from}, {step}, {}>(crew, {to}, {base}{start} + {at}, {});",
                            share.parts,
                            part(share)
                        ));
                    }
                }
            }
            for base in bases {
                out.line(format!("{base}{start} += {base}{start}_step;"));
            }
            for n in places.into_iter().filter(|n| *n > 1) {
                out.line(format!("place{n}_{start} = place{n}_{start} == {} ? 0 : place{n}_{start} + 1;", n - 1));
            }
            out.line("}");
        }
        out.line("});");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheduler_has_as_many_warps() {
        for workers in 1..=12 {
            for overlapped in [false, true] {
                let crew = Crew::of(workers, overlapped);
                assert_eq!((workers + crew.warps()) % 4, 0, "{workers} workers");
                assert!(crew.copiers > 0 && crew.tellers == usize::from(overlapped));
            }
        }
    }

    #[test]
    fn roles_take_no_more_registers_than_the_block_has() {
        let role = |carries: bool| Role { states: if carries { vec![0] } else { vec![] }, ..Role::default() };
        for carries in [&[true, false][..], &[true, true], &[true, true, false], &[true, true, true]] {
            let roles: Vec<Role> = carries.iter().map(|c| role(*c)).collect();
            let crew = Crew::of(4 * roles.len(), false);
            let registers = crew.registers(4, &roles, true).expect("they are divided");
            let all = (roles.len() + 1) * at_launch(128 * (roles.len() + 1));
            assert!(copying(&roles) + registers.iter().sum::<usize>() <= all, "{registers:?} of {all}");
            assert!(registers.iter().all(|r| r % 8 == 0 && *r <= 240), "{registers:?}");
        }
    }

    #[test]
    fn two_parts_of_an_item_are_two_warps() {
        let rows = |channels: usize, bytes: usize| Item {
            names: vec![],
            bytes,
            fetch: Fetch::Rows {
                to: Elem::Bf16,
                from: Elem::Bf16,
                channels,
                ld: Some(channels + 8),
                arguments: String::new(),
                shared: false,
            },
        };
        // the first does not divide, and is more than all of the second
        let items = [rows(160, 21504), rows(64, 9216)];
        let shares = shares(&items, 3, 1, 64);
        assert_eq!(shares.iter().flatten().count(), 3, "the second divides");
        for own in &shares {
            let distinct: BTreeSet<usize> = own.iter().map(|share| share.item).collect();
            assert_eq!(distinct.len(), own.len());
        }
    }
}
