//! Grids: blocks one after another, those of a cluster side by side.
use crate::block::Block;
use crate::fault::{Fault, Result};
use crate::memory::Memory;
use crate::order::{Dice, Order};
use crate::program::Program;
use crate::warp::{Context, Lanes, Stop, Warp};

/// A kernel's launch.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Blocks.
    pub blocks: usize,
    /// Threads of a block.
    pub threads: usize,
    /// Dynamic shared memory of a block, in bytes.
    pub shared: usize,
    /// Parameters.
    pub parameters: Vec<u8>,
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
}

impl Cluster {
    /// A warp, of so many, arrives: how often all had before.
    pub fn arrive(&mut self, warps: usize) -> usize {
        let before = self.times;
        self.arrived += 1;
        if self.arrived == warps {
            *self = Cluster { arrived: 0, times: before + 1 };
        }
        before
    }
}

/// Executes a launch.
///
/// # Errors
/// What a kernel must not do, or warps that wait for ever.
pub fn run(program: &Program, launch: &Launch, memory: &mut Memory, order: Order) -> Result<()> {
    let wrong = |message: String| Err(Fault::at(0, message).within(&program.name));
    if launch.threads == 0 || !launch.threads.is_multiple_of(32) || launch.threads > 1024 {
        return wrong(format!("{} threads a block", launch.threads));
    }
    if program.threads.is_some_and(|most| launch.threads > most) {
        return wrong(format!("{} threads a block, more than its text says", launch.threads));
    }
    let needed = program.parameters.last().map_or(0, |(offset, bytes)| offset + bytes);
    if launch.parameters.len() < needed || !launch.blocks.is_multiple_of(program.cluster) {
        return wrong(format!("{} bytes of parameters, {} blocks", launch.parameters.len(), launch.blocks));
    }
    let mut dice = Dice::new(order.seed.unwrap_or(0));
    let mut registers = vec![];
    for first in (0..launch.blocks).step_by(program.cluster) {
        cluster(program, launch, first, memory, (order, &mut dice), &mut registers)
            .map_err(|fault| fault.within(&format!("{}, block {first}", program.name)))?;
    }
    Ok(())
}

fn cluster(
    program: &Program,
    launch: &Launch,
    first: usize,
    memory: &mut Memory,
    (order, dice): (Order, &mut Dice),
    registers: &mut Vec<Vec<Lanes>>,
) -> Result<()> {
    let per_block = launch.threads / 32;
    let mut blocks: Vec<Block> =
        (0..program.cluster).map(|_| Block::new(launch.threads, program.shared + launch.shared)).collect();
    let mut warps: Vec<Warp> = (0..program.cluster * per_block)
        .map(|w| {
            let place = (first + w / per_block, w / per_block, w % per_block);
            Warp::new(program, launch, place, registers.pop())
        })
        .collect();
    let mut together = Cluster::default();
    let all = warps.len();
    let mut idle = 0;
    loop {
        let (mut alive, mut moved) = (0, false);
        let skip = if order.seed.is_some() { dice.below(all as u64) as usize } else { 0 };
        for turn in 0..all {
            let warp = &mut warps[(turn + skip) % all];
            let mut context = Context {
                memory: &mut *memory,
                blocks: &mut blocks,
                cluster: &mut together,
                warps: all,
                parameters: &launch.parameters,
                late: order.late,
            };
            if warp.ended() {
                continue;
            }
            alive += 1;
            if warp.waits(&context) {
                continue;
            }
            let most = if order.seed.is_some() { 1 + dice.below(300) as usize } else { usize::MAX };
            let (stop, steps) = warp.run(program, &mut context, most)?;
            moved |= stop != Stop::Asks || steps > ASKING;
        }
        if alive == 0 {
            registers.extend(warps.into_iter().map(Warp::into_registers));
            return Ok(());
        }
        idle = if moved { 0 } else { idle + 1 };
        if idle > PATIENCE {
            let places: Vec<String> = warps
                .iter()
                .filter(|w| !w.ended())
                .map(|w| format!("warp {} {}", w.number(), w.place(program)))
                .collect();
            return Err(Fault::at(0, format!("all wait for ever: {}", places.join(", "))));
        }
    }
}
