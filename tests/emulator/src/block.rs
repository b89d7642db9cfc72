//! What the warps of a block share: its memory and its barriers.
use crate::ptx::module::SHARED;
use std::collections::BTreeMap;

/// A barrier that counts threads, by number.
#[derive(Clone, Copy, Debug, Default)]
struct Meeting {
    arrived: usize,
    /// How often it was complete.
    times: usize,
}

/// A barrier in shared memory, which counts arrivals and bytes.
#[derive(Clone, Copy, Debug)]
struct Counter {
    count: i64,
    pending: i64,
    bytes: i64,
    phase: u64,
}

impl Counter {
    fn settle(&mut self) {
        if self.pending == 0 && self.bytes == 0 {
            self.pending = self.count;
            self.phase ^= 1;
        }
    }
}

/// A copy of many bytes that is under way.
#[derive(Clone, Copy, Debug)]
pub struct Bulk {
    /// Offset in shared memory.
    pub to: u64,
    /// Address on the device.
    pub of: u64,
    /// Bytes.
    pub bytes: usize,
    /// Its barrier's offset.
    pub barrier: u64,
}

/// A block.
pub struct Block {
    /// Shared memory, from address 0.
    pub shared: Vec<u8>,
    /// Threads.
    pub threads: usize,
    meetings: [Meeting; 16],
    counters: BTreeMap<u64, Counter>,
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
            meetings: [Meeting::default(); 16],
            counters: BTreeMap::new(),
            bulks: vec![],
            released: false,
        }
    }

    /// A warp comes to a barrier: how often it had been complete before.
    ///
    /// # Errors
    /// More threads than it waits for.
    pub fn meet(&mut self, number: u64, threads: u64) -> Result<usize, String> {
        let meeting = self.meetings.get_mut(number as usize).ok_or_else(|| format!("barrier {number}"))?;
        let before = meeting.times;
        meeting.arrived += 32;
        if meeting.arrived > threads as usize {
            return Err(format!("barrier {number} waits for {threads} threads, and more came"));
        }
        if meeting.arrived == threads as usize {
            *meeting = Meeting { arrived: 0, times: before + 1 };
        }
        Ok(before)
    }

    /// Whether a barrier was complete more often than `before`.
    pub fn met(&self, number: u64, before: usize) -> bool {
        self.meetings[number as usize].times > before
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
        self.counters.insert(at, Counter { count, pending: count, bytes: 0, phase: 0 });
        Ok(())
    }

    fn counter(&mut self, at: u64) -> Result<&mut Counter, String> {
        self.counters.get_mut(&at).ok_or_else(|| format!("no barrier was made at {at:#x}"))
    }

    /// An arrival, which says how many bytes will come.
    ///
    /// # Errors
    /// No barrier there, or more arrivals than it counts.
    pub fn arrive(&mut self, at: u64, bytes: u64) -> Result<(), String> {
        let counter = self.counter(at)?;
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
    pub fn came(&mut self, at: u64, bytes: usize) -> Result<(), String> {
        let counter = self.counter(at)?;
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_over_when_all_arrived_and_all_bytes_came() {
        let mut block = Block::new(64, 64);
        block.init(1024, 2).unwrap();
        block.arrive(1024, 16).unwrap();
        block.came(1024, 16).unwrap();
        assert!(!block.over(1024, 0).unwrap());
        block.came(1024, 8).unwrap();
        block.arrive(1024, 8).unwrap();
        assert!(block.over(1024, 0).unwrap() && !block.over(1024, 1).unwrap());
        assert!(block.arrive(1032, 0).is_err());
        let before = block.meet(1, 64).unwrap();
        assert!(!block.met(1, before));
        block.meet(1, 64).unwrap();
        assert!(block.met(1, before));
    }
}
