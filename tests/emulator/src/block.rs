//! What the warps of a block share: its memory and its barriers.
use crate::ptx::module::SHARED;
use crate::race::Clock;
use std::collections::BTreeMap;

/// A barrier that counts threads, by number.
#[derive(Clone, Debug, Default)]
struct Meeting {
    arrived: usize,
    /// How often it was complete.
    times: usize,
    told: Told,
}

/// What those who arrive tell, and what was told when all had.
#[derive(Clone, Debug, Default)]
pub struct Told {
    now: Clock,
    all: Clock,
}

impl Told {
    /// Somebody tells.
    pub fn add(&mut self, told: Option<&Clock>) {
        if let Some(told) = told {
            self.now.learn(told);
        }
    }

    /// All have.
    pub fn complete(&mut self) {
        self.all.learn(&std::mem::take(&mut self.now));
    }

    /// What was told.
    pub fn all(&self) -> &Clock {
        &self.all
    }
}

/// A barrier in shared memory, which counts arrivals and bytes.
#[derive(Clone, Debug)]
struct Counter {
    count: i64,
    pending: i64,
    bytes: i64,
    phase: u64,
    told: Told,
}

impl Counter {
    fn settle(&mut self) {
        if self.pending == 0 && self.bytes == 0 {
            self.pending = self.count;
            self.phase ^= 1;
            self.told.complete();
        }
    }
}

/// A copy of many bytes that is under way.
#[derive(Clone, Debug)]
pub struct Bulk {
    /// Offset in shared memory.
    pub to: u64,
    /// Address on the device.
    pub of: u64,
    /// Bytes.
    pub bytes: usize,
    /// Its barrier's offset.
    pub barrier: u64,
    /// What those know who see it arrive.
    pub told: Option<Clock>,
}

/// A block.
pub struct Block {
    /// Shared memory, from address 0.
    pub shared: Vec<u8>,
    /// Threads.
    pub threads: usize,
    meetings: [Meeting; 16],
    counters: BTreeMap<u64, Counter>,
    /// What was told by writing a flag, by its offset.
    flags: BTreeMap<u64, Clock>,
    /// Copies that were started and not done.
    pub bulks: Vec<Bulk>,
    /// Whether it let the launch behind start.
    pub released: bool,
}

impl Block {
    /// A block with so many bytes of shared memory of its own, all 0xff.
    pub fn new(threads: usize, shared: usize) -> Block {
        Block {
            shared: vec![0xff; SHARED + shared],
            threads,
            meetings: std::array::from_fn(|_| Meeting::default()),
            counters: BTreeMap::new(),
            flags: BTreeMap::new(),
            bulks: vec![],
            released: false,
        }
    }

    /// A warp comes to a barrier: how often it had been complete before.
    ///
    /// # Errors
    /// More threads than it waits for.
    pub fn meet(&mut self, number: u64, threads: u64, told: Option<&Clock>) -> Result<usize, String> {
        let meeting = self.meetings.get_mut(number as usize).ok_or_else(|| format!("barrier {number}"))?;
        let before = meeting.times;
        meeting.told.add(told);
        meeting.arrived += 32;
        if meeting.arrived > threads as usize {
            return Err(format!("barrier {number} waits for {threads} threads, and more came"));
        }
        if meeting.arrived == threads as usize {
            (meeting.arrived, meeting.times) = (0, before + 1);
            meeting.told.complete();
        }
        Ok(before)
    }

    /// Whether a barrier was complete more often than `before`.
    pub fn met(&self, number: u64, before: usize) -> bool {
        self.meetings[number as usize].times > before
    }

    /// What was told at a barrier.
    pub fn told_at(&self, number: u64) -> &Clock {
        self.meetings[number as usize].told.all()
    }

    /// A flag is written.
    pub fn flag(&mut self, at: u64, told: &Clock) {
        self.flags.entry(at).or_default().learn(told);
    }

    /// What was told by writing a flag.
    pub fn flagged(&self, at: u64) -> Option<&Clock> {
        self.flags.get(&at)
    }

    /// Makes a barrier that counts.
    ///
    /// # Errors
    /// An address that is not its own.
    pub fn init(&mut self, at: u64, count: u64) -> Result<(), String> {
        if !at.is_multiple_of(8) || at as usize + 8 > self.shared.len() {
            return Err(format!("a barrier at {at:#x}"));
        }
        let count = count as i64;
        self.counters.insert(at, Counter { count, pending: count, bytes: 0, phase: 0, told: Told::default() });
        Ok(())
    }

    fn counter(&mut self, at: u64) -> Result<&mut Counter, String> {
        self.counters.get_mut(&at).ok_or_else(|| format!("no barrier was made at {at:#x}"))
    }

    /// An arrival, which says how many bytes will come.
    ///
    /// # Errors
    /// No barrier there, or more arrivals than it counts.
    pub fn arrive(&mut self, at: u64, bytes: u64, told: Option<&Clock>) -> Result<(), String> {
        let counter = self.counter(at)?;
        counter.told.add(told);
        counter.bytes += bytes as i64;
        counter.pending -= 1;
        if counter.pending < 0 {
            return Err(format!("the barrier at {at:#x} counts {}, and more arrived", counter.count));
        }
        counter.settle();
        Ok(())
    }

    /// Bytes came.
    ///
    /// # Errors
    /// No barrier there.
    pub fn came(&mut self, at: u64, bytes: usize, told: Option<&Clock>) -> Result<(), String> {
        let counter = self.counter(at)?;
        counter.told.add(told);
        counter.bytes -= bytes as i64;
        counter.settle();
        Ok(())
    }

    /// Whether the phase of a parity is over.
    ///
    /// # Errors
    /// No barrier there.
    pub fn over(&mut self, at: u64, parity: u64) -> Result<bool, String> {
        Ok(self.counter(at)?.phase != parity & 1)
    }

    /// What was told at a barrier that counts.
    pub fn told_by(&self, at: u64) -> Option<&Clock> {
        self.counters.get(&at).map(|counter| counter.told.all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_over_when_all_arrived_and_all_bytes_came() {
        let mut block = Block::new(64, 64);
        block.init(1024, 2).unwrap();
        block.arrive(1024, 16, None).unwrap();
        block.came(1024, 16, None).unwrap();
        assert!(!block.over(1024, 0).unwrap());
        block.came(1024, 8, None).unwrap();
        block.arrive(1024, 8, None).unwrap();
        assert!(block.over(1024, 0).unwrap() && !block.over(1024, 1).unwrap());
        assert!(block.arrive(1032, 0, None).is_err());
        let before = block.meet(1, 64, None).unwrap();
        assert!(!block.met(1, before));
        block.meet(1, 64, None).unwrap();
        assert!(block.met(1, before));
    }
}
