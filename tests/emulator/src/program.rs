//! What a warp executes.
use crate::ptx::Register;

/// Where an operation's number comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum From {
    /// A register.
    Register(Register),
    /// These bits.
    Bits(u64),
}

/// Which memory an address is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// As the address says.
    Generic,
    /// The device's.
    Global,
    /// A block's, or that of a block of the cluster.
    Shared,
    /// A kernel's parameters.
    Parameters,
}

/// Which lane a lane's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shuffle {
    /// The lane's number with some bits turned.
    Butterfly,
    /// A lane before it.
    Up,
    /// A lane after it.
    Down,
    /// The lane that is named.
    Index,
}

/// Type of a product's operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// bfloat16, two to a register.
    Bf16,
    /// IEEE half, two to a register.
    F16,
    /// An f32 of which the tensor cores read 19 bits.
    Tf32,
}

/// An address: a register or number and an offset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Address {
    /// Base.
    pub base: From,
    /// Added to it.
    pub offset: i64,
}

/// A scalar operation on the bits of its operands.
pub type Scalar = fn(u64, u64, u64) -> u64;

/// An operation.
#[derive(Clone, Debug)]
pub enum Operation {
    /// `to = f(a, b, c)` in every lane.
    Scalar { f: Scalar, to: Register, of: [From; 3] },
    /// Registers of so many bits side by side in one.
    Pack { to: Register, of: Vec<From>, bits: u32 },
    /// The reverse.
    Unpack { to: Vec<Option<Register>>, of: From, bits: u32 },
    /// Goes to a statement.
    Branch(usize),
    /// The lanes end.
    Exit,
    /// Reads so many bytes for each register; `awaits`: as a rule again and again, until another warp has written.
    Load { space: Space, bytes: usize, signed: bool, to: Vec<Register>, at: Address, awaits: bool },
    /// Writes so many bytes of each number; `tells`: others wait for that.
    Store { space: Space, bytes: usize, of: Vec<From>, at: Address, tells: bool },
    /// A value of another lane.
    Shuffle { kind: Shuffle, to: Register, found: Option<Register>, of: From, by: From, clamp: From },
    /// True in one lane.
    Elect(Register),
    /// A bit for each of a mask's lanes.
    Ballot { to: Register, of: From, lanes: From },
    /// The block's barrier of a number, for so many threads (all: none).
    Barrier { number: From, threads: Option<From> },
    /// Waits until the launch before has ended.
    AwaitLaunch,
    /// Lets the launch behind start, once all blocks have.
    Release,
    /// Lanes of a mask come together.
    Gather(From),
    /// Says that the warp came to the cluster's barrier.
    ArriveCluster,
    /// Waits for all others to have said so.
    AwaitCluster,
    /// Makes a barrier that counts arrivals.
    InitBarrier { at: Address, count: From },
    /// An arrival, of a barrier in any block of the cluster; bytes that will arrive are announced.
    Arrive { at: Address, bytes: From },
    /// Whether the phase of a parity is over.
    Test { to: Register, at: Address, parity: From },
    /// The address of a block of the cluster for one's own.
    Map { to: Register, at: From, block: From },
    /// Starts a copy of 16 bytes (fewer: 4 or 8) to shared memory.
    Copy { to: Address, of: Address, bytes: usize },
    /// Ends a group of copies.
    CommitCopies,
    /// Waits until at most so many groups are under way; none of all, committed or not.
    AwaitCopies(Option<usize>),
    /// Starts a copy of many bytes that arrives at a barrier.
    Bulk { to: Address, of: Address, bytes: From, barrier: Address, blocks: Option<From> },
    /// A product of a warp: 16 x 8, over 16 (tf32: 8) columns.
    Product { factor: Factor, to: [Register; 4], a: [From; 4], b: Vec<From>, c: [From; 4] },
    /// Reads four matrices of 8 x 8.
    LoadMatrices { to: Vec<Register>, at: Address, turned: bool },
    /// Writes them.
    StoreMatrices { of: Vec<From>, at: Address, turned: bool },
    /// Turns one over.
    TurnMatrix { to: Register, of: From },
    /// A warp's part of a product of four warps: its left operand in registers, the right one in shared memory.
    Wide { factor: Factor, to: Vec<Register>, a: [Register; 4], b: From, minus: bool, turned: bool },
    /// Ends a group of such products.
    CommitWide,
    /// Waits until at most so many groups are under way.
    AwaitWide(usize),
    /// What the warp knows of shared memory may be read by tensor cores.
    Fence,
    /// What orders other memory or gives hints: all is in order here.
    Nothing,
}

/// An operation with what it needs to be told apart.
#[derive(Clone, Debug)]
pub struct Step {
    /// Line of the PTX.
    pub line: usize,
    /// Lanes where this register is true, or false.
    pub guard: Option<(Register, bool)>,
    /// What is done.
    pub operation: Operation,
}

/// A kernel as it is executed.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Name.
    pub name: String,
    /// Steps.
    pub steps: Vec<Step>,
    /// Where lanes that a step parts meet again, as `flow` found.
    pub meetings: Vec<usize>,
    /// Registers of a lane.
    pub registers: usize,
    /// Offsets and bytes of parameters.
    pub parameters: Vec<(usize, usize)>,
    /// Bytes of shared memory besides what a launch asks for.
    pub shared: usize,
    /// Threads of a block, where the text says.
    pub threads: Option<usize>,
    /// Blocks of a cluster.
    pub cluster: usize,
}
