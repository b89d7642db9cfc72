//! Launches: their blocks one cluster after another, or, where launches overlap, all at once.
use crate::block::{Block, Told};
use crate::fault::{Fault, Result};
use crate::memory::Memory;
use crate::order::{Dice, Order};
use crate::program::Program;
use crate::race::{Clock, Races};
use crate::warp::{Context, Lanes, Stop, Warp};
use std::cell::RefCell;
use std::sync::Arc;

/// A kernel's launch.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What runs.
    pub program: Arc<Program>,
    /// Blocks.
    pub blocks: usize,
    /// Threads of a block.
    pub threads: usize,
    /// Dynamic shared memory of a block, in bytes.
    pub shared: usize,
    /// Parameters.
    pub parameters: Vec<u8>,
    /// Whether it may start before the launch before it has ended.
    pub overlaps: bool,
}

/// Turns in which all that runs only asks whether others are ready, until they are taken to wait for ever.
const PATIENCE: usize = 20_000;
/// Steps of a turn that only asks.
const ASKING: usize = 64;

/// What the blocks of a cluster share.
#[derive(Debug, Default)]
pub struct Cluster {
    arrived: usize,
    /// How often all had arrived.
    pub times: usize,
    /// What they told.
    pub told: Told,
}

impl Cluster {
    /// A warp, of so many, arrives: how often all had before.
    pub fn arrive(&mut self, warps: usize, told: Option<&Clock>) -> usize {
        let before = self.times;
        self.arrived += 1;
        self.told.add(told);
        if self.arrived == warps {
            (self.arrived, self.times) = (0, before + 1);
            self.told.complete();
        }
        before
    }
}

impl Launch {
    fn check(&self) -> Result<()> {
        let Launch { program, threads, .. } = self;
        let wrong = |message: String| Err(Fault::at(0, message).within(&program.name));
        if *threads == 0 || !threads.is_multiple_of(32) || *threads > 1024 {
            return wrong(format!("{threads} threads a block"));
        }
        if program.threads.is_some_and(|most| *threads > most) {
            return wrong(format!("{threads} threads a block, more than its text says"));
        }
        let needed = program.parameters.last().map_or(0, |(offset, bytes)| offset + bytes);
        if self.parameters.len() < needed || !self.blocks.is_multiple_of(program.cluster) {
            return wrong(format!("{} bytes of parameters, {} blocks", self.parameters.len(), self.blocks));
        }
        Ok(())
    }
}

/// What all warps work on, and in which order.
struct Room<'m> {
    memory: &'m mut Memory,
    order: Order,
    dice: Dice,
    /// Registers of warps that ended.
    registers: Vec<Vec<Lanes>>,
}

/// The blocks of a cluster, and their warps.
struct Together {
    first: usize,
    blocks: Vec<Block>,
    warps: Vec<Warp>,
    shared: Cluster,
    races: Option<RefCell<Races>>,
}

impl Together {
    fn new(launch: &Launch, first: usize, room: &mut Room) -> Together {
        let program = &launch.program;
        let per_block = launch.threads / 32;
        let block = || Block::new(launch.threads, program.shared + launch.shared);
        let warps = (0..program.cluster * per_block).map(|w| {
            let place = (first + w / per_block, w / per_block, w % per_block);
            let used = room.registers.iter().position(|r| r.len() == program.registers);
            Warp::new(program, launch, place, used.map(|at| room.registers.swap_remove(at)))
        });
        let warps = warps.collect();
        let blocks: Vec<Block> = (0..program.cluster).map(|_| block()).collect();
        let races = || RefCell::new(Races::new(blocks.len(), blocks.len() * per_block, blocks[0].shared.len()));
        let races = room.order.races.then(races);
        Together { first, blocks, warps, shared: Cluster::default(), races }
    }

    /// A turn of every warp that can: whether any is left, and whether any did more than ask. `alone`: the launch before has ended.
    fn turn(&mut self, launch: &Launch, room: &mut Room, alone: bool) -> Result<(bool, bool)> {
        let all = self.warps.len();
        let (mut alive, mut moved) = (false, false);
        let skip = if room.order.seed.is_some() { room.dice.below(all as u64) as usize } else { 0 };
        for turn in 0..all {
            let warp = &mut self.warps[(turn + skip) % all];
            let mut context = Context {
                memory: &mut *room.memory,
                blocks: &mut self.blocks,
                cluster: &mut self.shared,
                warps: all,
                parameters: &launch.parameters,
                late: room.order.late,
                alone,
                races: self.races.as_ref(),
            };
            if warp.ended() {
                continue;
            }
            alive = true;
            if warp.waits(&context) {
                continue;
            }
            let most = if room.order.seed.is_some() { 1 + room.dice.below(300) as usize } else { usize::MAX };
            let ran = warp.run(&launch.program, &mut context, most);
            let (stop, steps) =
                ran.map_err(|fault| fault.within(&format!("{}, block {}", launch.program.name, self.first)))?;
            moved |= stop != Stop::Asks || steps > ASKING;
        }
        Ok((alive, moved))
    }

    /// Whether every block let the launch behind start, or ended.
    fn released(&self) -> bool {
        if self.warps.iter().all(Warp::ended) {
            return true;
        }
        let per_block = self.warps.len() / self.blocks.len();
        let mut blocks = self.blocks.iter().zip(self.warps.chunks(per_block));
        blocks.all(|(block, warps)| block.released || warps.iter().all(Warp::ended))
    }

    fn end(self, room: &mut Room) {
        room.registers.extend(self.warps.into_iter().map(Warp::into_registers));
    }

    fn places(&self, program: &Program) -> Vec<String> {
        let alive = self.warps.iter().filter(|w| !w.ended());
        alive.map(|w| format!("warp {} of {}, {}", w.number(), program.name, w.place(program))).collect()
    }
}

fn for_ever(places: &[String]) -> Fault {
    Fault::at(0, format!("all wait for ever: {}", places.join(", ")))
}

/// Executes launches of which each may overlap the one before, as far as the order says.
///
/// # Errors
/// What a kernel must not do, or warps that wait for ever.
pub fn run(launches: &[Launch], memory: &mut Memory, order: Order) -> Result<()> {
    launches.iter().try_for_each(Launch::check)?;
    let mut room = Room { memory, order, dice: Dice::new(order.seed.unwrap_or(0)), registers: vec![] };
    if launches.len() > 1 {
        return side_by_side(launches, &mut room);
    }
    for launch in launches {
        for first in (0..launch.blocks).step_by(launch.program.cluster) {
            let mut cluster = Together::new(launch, first, &mut room);
            let mut idle = 0;
            loop {
                let (alive, moved) = cluster.turn(launch, &mut room, true)?;
                if !alive {
                    break;
                }
                idle = if moved { 0 } else { idle + 1 };
                if idle > PATIENCE {
                    return Err(for_ever(&cluster.places(&launch.program)));
                }
            }
            cluster.end(&mut room);
        }
    }
    Ok(())
}

/// All blocks of all launches that may have started; the latest launch goes first, which is hardest on the earlier.
fn side_by_side(launches: &[Launch], room: &mut Room) -> Result<()> {
    let mut started: Vec<Vec<Together>> = vec![];
    let mut ended = vec![false; launches.len()];
    let mut idle = 0;
    while !ended.iter().all(|e| *e) {
        let next = started.len();
        if next < launches.len() && started.last().is_none_or(|before| before.iter().all(Together::released)) {
            let launch = &launches[next];
            let first = (0..launch.blocks).step_by(launch.program.cluster);
            started.push(first.map(|first| Together::new(launch, first, room)).collect());
        }
        let mut moved = false;
        for at in (0..started.len()).rev().filter(|at| !ended[*at]).collect::<Vec<_>>() {
            let alone = at == 0 || ended[at - 1];
            let mut alive = false;
            for cluster in &mut started[at] {
                let (lives, moves) = cluster.turn(&launches[at], room, alone)?;
                (alive, moved) = (alive || lives, moved || moves);
            }
            ended[at] = !alive;
            moved |= !alive;
            if !alive {
                // an ended launch holds no registers; its blocks say that it let the next start
                for cluster in &mut started[at] {
                    room.registers.extend(cluster.warps.drain(..).map(Warp::into_registers));
                }
            }
        }
        idle = if moved { 0 } else { idle + 1 };
        if idle > PATIENCE {
            let each = started.iter().zip(launches);
            let places: Vec<String> = each.flat_map(|(c, l)| c.iter().flat_map(|c| c.places(&l.program))).collect();
            return Err(for_ever(&places));
        }
    }
    Ok(())
}
