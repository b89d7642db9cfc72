//! 32 lanes that go through a program, together where they are at the same step.
mod access;
mod copy;
mod matrix;
mod product;
mod shared;
mod shuffle;

use crate::block::Block;
use crate::fault::{Fault, Result};
use crate::flow::NOWHERE;
use crate::launch::{Cluster, Launch};
use crate::memory::Memory;
use crate::program::{Address, From, Operation, Program};
use crate::ptx::Register;
use crate::race::{By, Clock, Races};
use access::Access;
use copy::Copies;
use product::Products;
use std::cell::RefCell;

/// A number of every lane.
pub type Lanes = [u64; 32];

/// What a warp works on besides its registers.
pub struct Context<'c> {
    /// The device's memory.
    pub memory: &'c mut Memory,
    /// The blocks of the cluster.
    pub blocks: &'c mut [Block],
    /// What they share.
    pub cluster: &'c mut Cluster,
    /// Warps of the cluster.
    pub warps: usize,
    /// The kernel's parameters.
    pub parameters: &'c [u8],
    /// Whether what may happen later does.
    pub late: bool,
    /// Whether the launch before has ended.
    pub alone: bool,
    /// What is known of shared memory, where races are looked for.
    pub races: Option<&'c RefCell<Races>>,
}

impl Context<'_> {
    /// Asks, or tells, where races are looked for.
    fn races<T: Default>(&self, f: impl FnOnce(&mut Races) -> T) -> T {
        self.races.map_or_else(T::default, |races| f(&mut races.borrow_mut()))
    }
}

/// Why a warp's turn is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It waits at a barrier.
    Waits,
    /// It asked whether something is ready that was not, or read what another warp writes.
    Asks,
    /// Its steps are used up.
    Turn,
    /// It ended.
    Ended,
}

/// What a warp waits for.
#[derive(Clone, Copy, Debug)]
enum Waiting {
    Block { number: u64, before: usize },
    Cluster { before: usize },
    Launch,
}

/// Lanes that are at one step, until they come to where they meet those below them.
#[derive(Clone, Copy, Debug)]
struct Group {
    at: usize,
    lanes: u32,
    until: usize,
}

/// A warp.
pub struct Warp {
    number: usize,
    /// Number of its block in the cluster, and its own there.
    block: usize,
    index: usize,
    registers: Vec<Lanes>,
    /// The last goes on; those below wait for it.
    groups: Vec<Group>,
    waiting: Option<Waiting>,
    /// How often the cluster had met when this warp arrived.
    arrived: usize,
    copies: Copies,
    products: Products,
}

/// The lanes of a mask.
fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |lane| mask >> lane & 1 != 0)
}

impl Warp {
    /// A warp at the first step. `block` counts in the grid, `rank` in the cluster; `registers` are those of a warp that ended,
    /// if there is one, and hold what it left.
    pub fn new(
        program: &Program,
        launch: &Launch,
        (block, rank, number): (usize, usize, usize),
        registers: Option<Vec<Lanes>>,
    ) -> Warp {
        let mut registers = registers.unwrap_or_else(|| vec![[0xdead_beef_dead_beef; 32]; program.registers]);
        let own = |f: &dyn Fn(usize) -> usize| std::array::from_fn(|lane| f(lane) as u64);
        // as `ptx::SPECIAL` names them
        let special: [Lanes; 8] = [
            own(&|lane| number * 32 + lane),
            own(&|_| launch.threads),
            own(&|_| block),
            own(&|_| launch.blocks),
            own(&|lane| lane),
            own(&|_| number),
            own(&|_| rank),
            own(&|_| program.cluster),
        ];
        registers[..special.len()].copy_from_slice(&special);
        Warp {
            number,
            block: rank,
            index: rank * (launch.threads / 32) + number,
            registers,
            groups: vec![Group { at: 0, lanes: u32::MAX, until: NOWHERE }],
            waiting: None,
            arrived: 0,
            copies: Copies::default(),
            products: Products::default(),
        }
    }

    /// Its registers, for another.
    pub fn into_registers(self) -> Vec<Lanes> {
        self.registers
    }

    /// Its number in its block.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Whether all lanes ended.
    pub fn ended(&self) -> bool {
        self.groups.is_empty()
    }

    /// Where it is, for a reader.
    pub fn place(&self, program: &Program) -> String {
        let at = self.groups.last().map_or(0, |g| g.at);
        let line = program.steps.get(at).map_or(0, |s| s.line);
        format!("at line {line}{}", if self.waiting.is_some() { " (a barrier)" } else { "" })
    }

    /// Whether it still waits at a barrier.
    pub fn waits(&mut self, context: &Context) -> bool {
        let block = &context.blocks[self.block];
        let (still, told) = match self.waiting {
            None => return false,
            Some(Waiting::Block { number, before }) => (!block.met(number, before), Some(block.told_at(number))),
            Some(Waiting::Cluster { before }) => (context.cluster.times <= before, Some(context.cluster.told.all())),
            Some(Waiting::Launch) => (!context.alone, None),
        };
        if !still {
            self.waiting = None;
            told.into_iter().for_each(|told| context.races(|races| races.learn(self.index, told)));
        }
        still
    }

    /// What the warp tells others now.
    fn tell(&self, context: &Context) -> Option<Clock> {
        context.races.map(|races| races.borrow_mut().tell(self.index))
    }

    fn fetch(&self, from: From) -> Lanes {
        match from {
            From::Register(r) => self.registers[r as usize],
            From::Bits(bits) => [bits; 32],
        }
    }

    fn address(&self, address: Address) -> Lanes {
        self.fetch(address.base).map(|base| base.wrapping_add_signed(address.offset))
    }

    fn put(&mut self, to: Register, mask: u32, values: &Lanes) {
        let to = &mut self.registers[to as usize];
        lanes(mask).for_each(|lane| to[lane] = values[lane]);
    }

    /// Goes on for at most so many steps: why it stopped, and after how many.
    ///
    /// # Errors
    /// What a kernel must not do.
    pub fn run(&mut self, program: &Program, context: &mut Context, most: usize) -> Result<(Stop, usize)> {
        let mut steps = 0;
        while steps < most {
            let Some(top) = self.groups.len().checked_sub(1) else { return Ok((Stop::Ended, steps)) };
            let group = self.groups[top];
            if group.at == group.until || group.lanes == 0 {
                self.groups.pop();
                continue;
            }
            let step = &program.steps[group.at];
            steps += 1;
            let mut mask = group.lanes;
            if let Some((register, wanted)) = step.guard {
                let predicate = &self.registers[register as usize];
                mask &= lanes(u32::MAX).fold(0, |m, lane| m | u32::from((predicate[lane] != 0) == wanted) << lane);
            }
            self.groups[top].at += 1;
            if let Operation::Branch(target) = step.operation {
                self.branch(target, mask, program.meetings[group.at]);
            } else if mask != 0 {
                let stop = self
                    .step(&step.operation, mask, context)
                    .map_err(|message| Fault::at(step.line, message).within(&format!("warp {}", self.number)))?;
                if let Some(stop) = stop {
                    return Ok((stop, steps));
                }
            }
        }
        Ok((Stop::Turn, steps))
    }

    /// The lanes of a mask go to a step, the others go on; they meet again at `meeting`.
    fn branch(&mut self, target: usize, mask: u32, meeting: usize) {
        let group = self.groups.last_mut().expect("it branches");
        let stay = group.lanes & !mask;
        if stay == 0 {
            group.at = target;
        } else if mask != 0 {
            let on = Group { at: group.at, lanes: stay, until: meeting };
            group.at = meeting;
            if meeting == NOWHERE {
                self.groups.pop();
            }
            self.groups.push(on);
            self.groups.push(Group { at: target, lanes: mask, until: meeting });
        }
    }

    /// Lanes that have not ended.
    fn alive(&self) -> u32 {
        self.groups.iter().fold(0, |lanes, group| lanes | group.lanes)
    }

    /// What only a whole warp does.
    fn whole(&self, mask: u32) -> std::result::Result<(), String> {
        if mask == u32::MAX { Ok(()) } else { Err(format!("only lanes {mask:#010x} are here, and all 32 must be")) }
    }

    fn step(
        &mut self,
        operation: &Operation,
        mask: u32,
        context: &mut Context,
    ) -> std::result::Result<Option<Stop>, String> {
        match operation {
            Operation::Scalar { f, to, of } => {
                let [a, b, c] = of.map(|from| self.fetch(from));
                let to = &mut self.registers[*to as usize];
                if mask == u32::MAX {
                    for lane in 0..32 {
                        to[lane] = f(a[lane], b[lane], c[lane]);
                    }
                } else {
                    lanes(mask).for_each(|lane| to[lane] = f(a[lane], b[lane], c[lane]));
                }
            }
            Operation::Pack { to, of, bits } => {
                let mut out = [0; 32];
                for (i, from) in of.iter().enumerate() {
                    let part = self.fetch(*from);
                    for lane in 0..32 {
                        out[lane] |= (part[lane] & ((1 << bits) - 1)) << (bits * i as u32);
                    }
                }
                self.put(*to, mask, &out);
            }
            Operation::Unpack { to, of, bits } => {
                let whole = self.fetch(*of);
                for (i, register) in to.iter().enumerate() {
                    if let Some(register) = register {
                        self.put(*register, mask, &whole.map(|x| x >> (bits * i as u32) & ((1 << bits) - 1)));
                    }
                }
            }
            Operation::Branch(_) => unreachable!("`run` branches"),
            Operation::Exit => {
                self.groups.iter_mut().for_each(|g| g.lanes &= !mask);
                self.groups.retain(|g| g.lanes != 0);
                if self.groups.is_empty() {
                    self.copies.none_left()?;
                    return Ok(Some(Stop::Ended));
                }
            }
            Operation::Load { space, bytes, signed, to, at, awaits } => {
                let at = self.address(*at);
                self.load(*space, *bytes, *signed, to, &at, mask, context)?;
                self.watch(
                    *space,
                    &at,
                    bytes * to.len(),
                    mask,
                    if *awaits { Access::Awaits } else { Access::Reads },
                    context,
                )?;
                if *awaits {
                    return Ok(Some(Stop::Asks));
                }
            }
            Operation::Store { space, bytes, of, at, tells } => {
                let at = self.address(*at);
                self.watch(
                    *space,
                    &at,
                    bytes * of.len(),
                    mask,
                    if *tells { Access::Tells } else { Access::Writes },
                    context,
                )?;
                self.store(*space, *bytes, of, &at, mask, context)?;
            }
            Operation::Shuffle { kind, to, found, of, by, clamp } => {
                self.shuffle(*kind, (*to, *found), [*of, *by, *clamp], mask)?;
            }
            Operation::Elect(to) => {
                let first = mask.trailing_zeros() as usize;
                self.put(*to, mask, &std::array::from_fn(|lane| u64::from(lane == first)));
            }
            Operation::Ballot { to, of, lanes: named } => {
                let (of, named) = (self.fetch(*of), self.fetch(*named));
                if lanes(mask).any(|lane| named[lane] as u32 != mask) {
                    return Err("a vote of other lanes than those that are here".into());
                }
                let votes = lanes(mask).filter(|lane| of[*lane] & 1 == 1).fold(0, |votes, lane| votes | 1 << lane);
                self.put(*to, mask, &[votes; 32]);
            }
            Operation::Barrier { number, threads } => {
                self.whole(mask)?;
                let told = self.tell(context);
                let block = &mut context.blocks[self.block];
                let threads = threads.map_or(block.threads as u64, |t| self.fetch(t)[0]);
                let number = self.fetch(*number)[0];
                let before = block.meet(number, threads, told.as_ref())?;
                self.waiting = Some(Waiting::Block { number, before });
                return Ok(Some(Stop::Waits));
            }
            Operation::Gather(wanted) => {
                // lanes that branches parted are not waited for: the compiler has them meet before
                let wanted = self.fetch(*wanted)[mask.trailing_zeros() as usize] as u32;
                if wanted & self.alive() & !mask != 0 {
                    return Err(format!("lanes {wanted:#010x} are to meet, and only {mask:#010x} are here"));
                }
            }
            Operation::AwaitLaunch => {
                self.waiting = Some(Waiting::Launch);
                return Ok(Some(Stop::Waits));
            }
            Operation::Release => context.blocks[self.block].released = true,
            Operation::ArriveCluster => {
                self.whole(mask)?;
                let told = self.tell(context);
                self.arrived = context.cluster.arrive(context.warps, told.as_ref());
            }
            Operation::AwaitCluster => {
                self.waiting = Some(Waiting::Cluster { before: self.arrived });
                return Ok(Some(Stop::Waits));
            }
            Operation::InitBarrier { at, count } => {
                let (at, count) = (self.address(*at), self.fetch(*count));
                for lane in lanes(mask) {
                    let (block, offset) = self.shared_place(at[lane], context)?;
                    context.blocks[block].init(offset, count[lane])?;
                }
            }
            Operation::Arrive { at, bytes } => {
                let (at, bytes) = (self.address(*at), self.fetch(*bytes));
                for lane in lanes(mask) {
                    let (block, offset) = self.shared_place(at[lane], context)?;
                    let told = self.tell(context);
                    context.blocks[block].arrive(offset, bytes[lane], told.as_ref())?;
                }
            }
            Operation::Test { to, at, parity } => {
                let (at, parity) = (self.address(*at), self.fetch(*parity));
                let mut answers = [0; 32];
                for lane in lanes(mask) {
                    answers[lane] = u64::from(self.test(at[lane], parity[lane], context)?);
                }
                self.put(*to, mask, &answers);
                if lanes(mask).any(|lane| answers[lane] == 0) {
                    return Ok(Some(Stop::Asks));
                }
            }
            Operation::Map { to, at, block } => {
                let (at, block) = (self.fetch(*at), self.fetch(*block));
                self.put(*to, mask, &std::array::from_fn(|lane| shared::in_block(at[lane], block[lane])));
            }
            Operation::Copy { to, of, bytes } => {
                let (to, of) = (self.address(*to), self.address(*of));
                self.start_copies(&to, &of, *bytes, mask, context)?;
            }
            Operation::CommitCopies => self.copies.commit(mask),
            Operation::AwaitCopies(most) => self.finish_copies(*most, mask, context)?,
            Operation::Bulk { to, of, bytes, barrier, blocks } => {
                let (to, of, barrier) = (self.address(*to), self.address(*of), self.address(*barrier));
                let (bytes, blocks) = (self.fetch(*bytes), blocks.map(|b| self.fetch(b)));
                for lane in lanes(mask) {
                    let which = blocks.as_ref().map(|b| b[lane]);
                    self.bulk(to[lane], of[lane], bytes[lane] as usize, barrier[lane], which, context)?;
                }
            }
            Operation::Product { factor, to, a, b, c } => {
                self.whole(mask)?;
                self.product(*factor, to, a, b, c)?;
            }
            Operation::LoadMatrices { to, at, turned } => {
                self.whole(mask)?;
                let at = self.address(*at);
                self.load_matrices(to, &at, *turned, context)?;
            }
            Operation::StoreMatrices { of, at, turned } => {
                self.whole(mask)?;
                let at = self.address(*at);
                self.store_matrices(of, &at, *turned, context)?;
            }
            Operation::TurnMatrix { to, of } => {
                self.whole(mask)?;
                self.turn_matrix(*to, *of);
            }
            Operation::Wide { factor, to, a, b, minus, turned } => {
                self.whole(mask)?;
                let descriptor = self.fetch(*b)[0];
                let product = product::Wide {
                    factor: *factor,
                    to: to.clone(),
                    a: *a,
                    descriptor,
                    minus: *minus,
                    turned: *turned,
                };
                self.watch_wide(&product, context)?;
                if context.late {
                    self.products.start(product);
                } else {
                    self.wide(&product, context)?;
                }
            }
            Operation::CommitWide => self.products.commit(),
            Operation::AwaitWide(most) => {
                for product in self.products.finish(*most) {
                    self.wide(&product, context)?;
                }
                let group = self.products.ended() - self.products.under_way();
                context.races(|races| races.waited(self.index, By::Products(group)));
            }
            Operation::Fence => context.races(|races| races.fence(self.index)),
            Operation::Nothing => {}
        }
        Ok(None)
    }
}
