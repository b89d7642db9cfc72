//! Which steps go together into a phase, and where values lie, within some bytes of shared memory. A search asks this for many
//! limits, so a sequence of steps is counted once: ids without gaps, sizes, who makes and who reads what.

use std::collections::{BTreeMap, BTreeSet};

use super::State;
use super::order::Step;

/// Bytes that a step may write at any time.
const LITTLE: usize = 1024;

/// Where values lie.
pub(super) struct Memory {
    pub(super) offsets: BTreeMap<usize, usize>,
    pub(super) shared: usize,
    pub(super) scratch_places: BTreeMap<usize, usize>,
    pub(super) scratch: usize,
}

/// A value that steps read or write.
struct Value {
    /// Its id outside.
    id: usize,
    /// Bytes of shared memory, in whole lines; none where it lies elsewhere.
    bytes: usize,
    /// The order in which what does not fit goes to scratch.
    size: (usize, bool, usize),
    /// The last step that makes it.
    made: Option<usize>,
    readers: usize,
}

/// Steps, counted.
pub(super) struct Room {
    values: Vec<Value>,
    reads: Vec<Vec<usize>>,
    writes: Vec<Vec<usize>>,
    /// Bytes that each step writes.
    adds: Vec<usize>,
    /// Who reads what a step makes.
    followers: Vec<Vec<usize>>,
    /// Those from here on replace what others read, and are a phase of their own.
    before_last: usize,
    /// A step, a value that it makes element by element, and one of the same form that it reads nowhere but there.
    over: Vec<(usize, usize, usize)>,
}

/// First and last phase of a value; none where it gets no memory.
type Life = Vec<Option<(usize, usize)>>;

impl State<'_, '_> {
    /// Counts steps.
    pub(super) fn room(&self, steps: &[Step], before_last: usize) -> Room {
        let ids: BTreeSet<usize> = steps.iter().flat_map(|s| s.reads.iter().chain(&s.writes).copied()).collect();
        let index: BTreeMap<usize, usize> = ids.iter().enumerate().map(|(i, id)| (*id, i)).collect();
        let value = |id: &usize| {
            let bytes = if self.is_allocated(*id) { self.places[id].bytes } else { 0 };
            let size = (bytes, self.is_copy(*id), *id);
            Value { id: *id, bytes: bytes.next_multiple_of(128), size, made: None, readers: 0 }
        };
        let mut values: Vec<Value> = ids.iter().map(value).collect();
        let reads: Vec<Vec<usize>> = steps.iter().map(|s| s.reads.iter().map(|id| index[id]).collect()).collect();
        let writes: Vec<Vec<usize>> = steps.iter().map(|s| s.writes.iter().map(|id| index[id]).collect()).collect();
        for i in 0..steps.len() {
            writes[i].iter().for_each(|w| values[*w].made = Some(i));
            reads[i].iter().for_each(|r| values[*r].readers += 1);
        }
        let mut followers = vec![vec![]; steps.len()];
        for (i, reads) in reads.iter().enumerate() {
            reads.iter().filter_map(|r| values[*r].made).for_each(|m| followers[m].push(i));
        }
        let adds = writes.iter().map(|w| w.iter().map(|id| values[*id].bytes).sum()).collect();
        let over = steps.iter().enumerate().flat_map(|(i, step)| {
            let numbered = |(made, read): (usize, usize)| (i, index[&made], index[&read]);
            self.in_place(step).into_iter().map(numbered).collect::<Vec<_>>()
        });
        Room { over: over.collect(), values, reads, writes, adds, followers, before_last }
    }
}

impl Room {
    /// The phase of each step, a barrier between two: in each, what is ready, has room within `limit` bytes and is not more than
    /// `window` steps ahead, little things in any case.
    pub(super) fn phases(&self, limit: usize, window: usize) -> Vec<usize> {
        let (end, adds) = (self.before_last, &self.adds);
        let mut readers: Vec<usize> = self.values.iter().map(|v| v.readers).collect();
        // how many results each step waits for
        let mut open = vec![0; self.reads.len()];
        self.followers[..end].iter().flatten().for_each(|i| open[*i] += 1);
        let mut ready: Vec<usize> = (0..end).filter(|i| open[*i] == 0).collect();
        let mut phase: Vec<Option<usize>> = vec![None; self.reads.len()];
        let (mut now, mut live, mut first) = (0, 0, 0);
        while let Some(next) = (first..end).find(|i| phase[*i].is_none()) {
            first = next;
            let frees =
                |i: usize| self.reads[i].iter().filter(|r| readers[**r] == 1).map(|r| self.values[*r].bytes).sum();
            ready.sort_by_cached_key(|i| {
                let frees: usize = frees(*i);
                (adds[*i] > LITTLE, adds[*i] > frees, *i)
            });
            let mut chosen = vec![];
            let mut used = live;
            for i in ready.iter().copied() {
                if adds[i] <= LITTLE || (i <= first + window && used + adds[i] <= limit) {
                    used += adds[i];
                    chosen.push(i);
                }
            }
            if chosen.is_empty() {
                chosen.push(*ready.first().expect("steps have an order"));
            }
            for &i in &chosen {
                phase[i] = Some(now);
                live += adds[i];
                for r in &self.reads[i] {
                    readers[*r] -= 1;
                    if readers[*r] == 0 {
                        live -= self.values[*r].bytes.min(live);
                    }
                }
                for f in &self.followers[i] {
                    open[*f] -= 1;
                    if open[*f] == 0 && *f < end {
                        ready.push(*f);
                    }
                }
            }
            // what nobody reads is memory for the step's own work
            let own = chosen.iter().flat_map(|i| &self.writes[*i]).filter(|w| self.values[**w].readers == 0);
            live -= own.map(|w| self.values[*w].bytes).sum::<usize>().min(live);
            ready.retain(|i| phase[*i].is_none());
            now += 1;
        }
        phase.into_iter().map(|p| p.unwrap_or(now)).collect()
    }

    /// Where values take the memory of what their step is the last to read: the place of each, if it is another value's.
    fn in_place(&self, phases: &[usize], life: &Life) -> Vec<Option<usize>> {
        let mut home = vec![None; self.values.len()];
        let mut taken = vec![false; self.values.len()];
        for (step, made, read) in &self.over {
            let (Some((start, _)), Some((_, end))) = (life[*made], life[*read]) else { continue };
            let alone = || (0..phases.len()).all(|i| i == *step || phases[i] != end || !self.reads[i].contains(read));
            if home[*made].is_none() && !taken[*read] && start == phases[*step] && end == start && alone() {
                (home[*made], taken[*read]) = (Some(*read), true);
            }
        }
        home
    }

    /// First and last phase of what gets memory.
    fn lifetimes(&self, phases: &[usize]) -> Life {
        let mut life = vec![None; self.values.len()];
        for (i, phase) in phases.iter().enumerate() {
            for n in self.reads[i].iter().chain(&self.writes[i]).filter(|n| self.values[**n].bytes > 0) {
                let (start, end) = life[*n].get_or_insert((*phase, *phase));
                (*start, *end) = ((*start).min(*phase), (*end).max(*phase));
            }
        }
        life
    }

    /// Bytes alive in the fullest phase: no arrangement takes less.
    fn least(&self, life: &Life) -> usize {
        let count = life.iter().flatten().map(|(_, end)| end + 1).max().unwrap_or(0);
        let mut change = vec![(0, 0); count + 1];
        for (value, (start, end)) in self.values.iter().zip(life).filter_map(|(v, life)| Some((v, (*life)?))) {
            change[start].0 += value.bytes;
            change[end + 1].1 += value.bytes;
        }
        let mut live = 0;
        let each = change.iter().map(|(more, less)| {
            live = live + more - less;
            live
        });
        each.max().unwrap_or(0)
    }

    /// Offsets in shared memory by first fit over lifetimes, and where they end; none where that is beyond `most`.
    fn first_fit(&self, life: &Life, most: usize) -> Option<(Vec<Option<usize>>, usize)> {
        if self.least(life) > most {
            return None;
        }
        let mut offsets: Vec<Option<usize>> = vec![None; life.len()];
        let mut peak = 0;
        let mut order: Vec<(usize, usize, usize)> =
            life.iter().enumerate().filter_map(|(n, life)| life.map(|(start, end)| (start, n, end))).collect();
        order.sort_unstable();
        // what has a place and is still alive: where it starts and ends, and its last phase
        let mut busy: Vec<(usize, usize, usize)> = vec![];
        for (start, n, last) in order {
            busy.retain(|(.., last)| *last >= start);
            let bytes = self.values[n].bytes;
            let mut at = 0;
            for (from, to, _) in &busy {
                if at + bytes <= *from {
                    break;
                }
                at = at.max(*to);
            }
            offsets[n] = Some(at);
            let place = (at, at + bytes, last);
            busy.insert(busy.partition_point(|b| *b < place), place);
            peak = peak.max(at + bytes);
            if peak > most {
                return None;
            }
        }
        Some((offsets, peak))
    }

    fn by_id(&self, offsets: Vec<Option<usize>>) -> BTreeMap<usize, usize> {
        offsets.into_iter().zip(&self.values).filter_map(|(at, value)| Some((value.id, at?))).collect()
    }

    /// Everything in `room` bytes of shared memory, if it fits.
    pub(super) fn fit(&self, phases: &[usize], room: usize) -> Option<Memory> {
        let mut life = self.lifetimes(phases);
        let home = self.in_place(phases, &life);
        let first_of = |n: usize| std::iter::successors(Some(n), |n| home[*n]).last().expect("itself at least");
        for n in (0..home.len()).filter(|n| home[*n].is_some()) {
            let (_, end) = life[n].take().expect("it gets memory");
            let (_, last) = life[first_of(n)].as_mut().expect("it gets memory");
            *last = (*last).max(end);
        }
        let (mut offsets, shared) = self.first_fit(&life, room)?;
        (0..home.len()).filter(|n| home[*n].is_some()).for_each(|n| offsets[n] = offsets[first_of(n)]);
        Some(Memory { offsets: self.by_id(offsets), shared, scratch_places: BTreeMap::new(), scratch: 0 })
    }

    /// Offsets in shared memory; what does not fit in `room` bytes goes to scratch, the largest first.
    pub(super) fn allocate(&self, phases: &[usize], room: usize) -> Memory {
        let mut life = self.lifetimes(phases);
        let (mut scratch_places, mut scratch) = (BTreeMap::new(), 0);
        loop {
            if let Some((offsets, shared)) = self.first_fit(&life, room) {
                return Memory { offsets: self.by_id(offsets), shared, scratch_places, scratch };
            }
            let alive = (0..life.len()).filter(|n| life[*n].is_some());
            let largest = alive.max_by_key(|n| self.values[*n].size).expect("nothing takes no room");
            scratch_places.insert(self.values[largest].id, scratch);
            scratch += self.values[largest].bytes;
            life[largest] = None;
        }
    }
}
