//! Accesses to shared memory that nothing orders.
//!
//! Every warp has a clock of what it knows of all others (vector clocks; Flanagan and Freund, "FastTrack"): barriers, counters,
//! flags and waits hand knowledge on, and an access must know of every earlier one that it conflicts with. So a missing barrier is
//! found in any order of events. Copies and products that go on while their warp does are agents of their own, of which a warp
//! knows once it has waited for them. What tensor cores read themselves must have passed a fence as well.
//!
//! Within a warp and in the device's memory nothing is watched.

/// An access by an agent at its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Access {
    agent: u16,
    time: u32,
}

/// The last write of two bytes, and what was read since.
#[derive(Clone, Debug, Default)]
struct Cell {
    written: Option<Access>,
    read: Vec<Access>,
}

/// What somebody knows: by agent the time up to which all is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    known: Vec<u32>,
    /// Of that, what has passed a fence to where tensor cores read.
    fenced: Vec<u32>,
}

impl Clock {
    fn of(agents: usize) -> Clock {
        Clock { known: vec![0; agents], fenced: vec![0; agents] }
    }

    /// Learns what another knows.
    pub fn learn(&mut self, other: &Clock) {
        let latest = |own: &mut Vec<u32>, other: &[u32]| {
            own.resize(own.len().max(other.len()), 0);
            own.iter_mut().zip(other).for_each(|(a, b)| *a = (*a).max(*b));
        };
        latest(&mut self.known, &other.known);
        latest(&mut self.fenced, &other.fenced);
    }
}

/// Who touches memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The warp itself.
    Warp,
    /// Its copies of this group.
    Copies(u32),
    /// Its products of this group.
    Products(u32),
}

/// The clocks of a cluster's warps, and its shared memory's accesses.
pub struct Races {
    warps: usize,
    clocks: Vec<Clock>,
    /// By block.
    cells: Vec<Vec<Cell>>,
    /// Copies of many bytes that each block was sent.
    bulks: Vec<u32>,
}

impl Races {
    /// Nothing happened yet. `bytes` of shared memory in each block.
    pub fn new(blocks: usize, warps: usize, bytes: usize) -> Races {
        let agents = 3 * warps + blocks;
        let mut clocks = vec![Clock::of(agents); warps];
        clocks.iter_mut().enumerate().for_each(|(warp, clock)| clock.known[warp] = 1);
        Races { warps, clocks, cells: vec![vec![Cell::default(); bytes.div_ceil(2)]; blocks], bulks: vec![0; blocks] }
    }

    /// A warp tells what it knows; what it does from now on is not among it.
    pub fn tell(&mut self, warp: usize) -> Clock {
        let told = self.clocks[warp].clone();
        self.clocks[warp].known[warp] += 1;
        told
    }

    /// A warp learns what was told.
    pub fn learn(&mut self, warp: usize, told: &Clock) {
        self.clocks[warp].learn(told);
    }

    /// A warp's fence: all that it knows may be read by tensor cores.
    pub fn fence(&mut self, warp: usize) {
        let clock = &mut self.clocks[warp];
        clock.fenced.clone_from(&clock.known);
    }

    /// A warp waited for its copies, or its products, up to a group.
    pub fn waited(&mut self, warp: usize, by: By) {
        let (agent, group) = match by {
            By::Warp => return,
            By::Copies(group) => (self.warps + warp, group),
            By::Products(group) => (2 * self.warps + warp, group),
        };
        let known = &mut self.clocks[warp].known[agent];
        *known = (*known).max(group);
    }

    fn agent(&self, warp: usize, by: By) -> Access {
        let (agent, time) = match by {
            By::Warp => (warp, self.clocks[warp].known[warp]),
            By::Copies(group) => (self.warps + warp, group),
            By::Products(group) => (2 * self.warps + warp, group),
        };
        Access { agent: agent as u16, time }
    }

    fn name(&self, agent: u16) -> String {
        let agent = agent as usize;
        match agent / self.warps {
            0 => format!("warp {agent}"),
            1 => format!("copies of warp {}", agent - self.warps),
            2 => format!("products of warp {}", agent - 2 * self.warps),
            _ => "a copy of many bytes".into(),
        }
    }

    /// A warp, or what it started, reads.
    ///
    /// # Errors
    /// What was written there is not known to have been.
    pub fn read(&mut self, warp: usize, by: By, block: usize, offset: u64, bytes: usize) -> Result<(), String> {
        let own = self.agent(warp, by);
        let clock = &self.clocks[warp];
        let direct = matches!(by, By::Products(_));
        for at in offset as usize / 2..(offset as usize + bytes).div_ceil(2) {
            let cell = &mut self.cells[block][at];
            if let Some(Access { agent, time }) = cell.written {
                if agent != own.agent && clock.known[agent as usize] < time {
                    return Err(format!("a race: reads what {} writes", self.name(agent)));
                }
                if direct && (agent as usize) < 2 * self.warps && clock.fenced[agent as usize] < time {
                    return Err(format!("tensor cores read what {} wrote, without a fence", self.name(agent)));
                }
            }
            match cell.read.iter_mut().find(|access| access.agent == own.agent) {
                Some(access) => access.time = access.time.max(own.time),
                None => cell.read.push(own),
            }
        }
        Ok(())
    }

    fn written(&mut self, warp: usize, own: Access, block: usize, offset: u64, bytes: usize) -> Result<(), String> {
        let clock = &self.clocks[warp];
        for at in offset as usize / 2..(offset as usize + bytes).div_ceil(2) {
            let cell = &mut self.cells[block][at];
            let mut before = cell.read.iter().chain(&cell.written);
            let unknown = before.find(|a| a.agent != own.agent && clock.known[a.agent as usize] < a.time).copied();
            if let Some(Access { agent, .. }) = unknown {
                let what = if cell.written.is_some_and(|w| w.agent == agent) { "writes" } else { "reads" };
                return Err(format!("a race: writes where {} {what}", self.name(agent)));
            }
            cell.written = Some(own);
            cell.read.clear();
        }
        Ok(())
    }

    /// A warp, or copies that it started, write.
    ///
    /// # Errors
    /// What was read or written there before is not known to have been.
    pub fn write(&mut self, warp: usize, by: By, block: usize, offset: u64, bytes: usize) -> Result<(), String> {
        let own = self.agent(warp, by);
        self.written(warp, own, block, offset, bytes)
    }

    /// A warp starts a copy of many bytes into a block: what those know who see it arrive.
    ///
    /// # Errors
    /// As [`Races::write`].
    pub fn bulk(&mut self, warp: usize, block: usize, offset: u64, bytes: usize) -> Result<Clock, String> {
        self.bulks[block] += 1;
        let own = Access { agent: (3 * self.warps + block) as u16, time: self.bulks[block] };
        let mut told = Clock::of(self.clocks[warp].known.len());
        told.known[own.agent as usize] = own.time;
        // copies of a block follow one another only as far as somebody waited for them
        let before = self.cells[block][offset as usize / 2].written;
        if let Some(access) = before
            && access.agent == own.agent
            && self.clocks[warp].known[own.agent as usize] < access.time
        {
            return Err("a race: a copy to where another is on its way".into());
        }
        self.written(warp, own, block, offset, bytes)?;
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barrier_orders_and_its_absence_is_a_race() {
        let mut races = Races::new(1, 2, 64);
        races.write(0, By::Warp, 0, 8, 4).unwrap();
        assert!(races.sees(1).is_err());
        let told = races.tell(0);
        races.learn(1, &told);
        races.sees(1).unwrap();
        assert!(races.write(0, By::Warp, 0, 8, 4).unwrap_err().contains("warp 1 reads"));
    }

    #[test]
    fn copies_are_known_when_they_were_waited_for_and_products_need_a_fence() {
        let mut races = Races::new(1, 2, 64);
        races.write(0, By::Copies(1), 0, 8, 4).unwrap();
        assert!(races.read(0, By::Warp, 0, 8, 4).is_err());
        races.waited(0, By::Copies(1));
        races.read(0, By::Warp, 0, 8, 4).unwrap();
        let told = races.tell(0);
        races.learn(1, &told);
        assert!(races.read(1, By::Products(1), 0, 8, 4).unwrap_err().contains("without a fence"));
        races.fence(0);
        let told = races.tell(0);
        races.learn(1, &told);
        races.read(1, By::Products(1), 0, 8, 4).unwrap();
        assert!(races.write(1, By::Warp, 0, 8, 4).unwrap_err().contains("products of warp 1 reads"));
        races.waited(1, By::Products(1));
        races.write(1, By::Warp, 0, 8, 4).unwrap();
    }

    impl Races {
        fn sees(&mut self, warp: usize) -> Result<(), String> {
            self.read(warp, By::Warp, 0, 8, 4)
        }
    }
}
