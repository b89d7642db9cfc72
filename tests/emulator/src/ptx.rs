//! PTX text to statements whose names are resolved: functions are put where they are called, registers are numbers, and labels
//! are places in the list of statements.
pub mod body;
pub mod module;
pub mod token;

/// A register of a warp, by number.
pub type Register = u32;

/// What a register holds when a kernel starts, in the order of their numbers.
pub const SPECIAL: [&str; 8] =
    ["%tid.x", "%ntid.x", "%ctaid.x", "%nctaid.x", "%laneid", "%warpid", "%cluster_ctarank", "%cluster_nctarank"];

/// An operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A register.
    Register(Register),
    /// A value that is passed to a function, or back.
    Passed(Register),
    /// Bits of a literal, or an address that is known.
    Bits(u64),
    /// A statement's number.
    Target(usize),
    /// `[base + offset]`.
    Address(Box<Operand>, i64),
    /// `{a, b, ...}`.
    List(Vec<Operand>),
    /// `a|b`.
    Both(Box<Operand>, Box<Operand>),
    /// `_`.
    Ignored,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Line of the text.
    pub line: usize,
    /// Runs for lanes where this register is true, or is false.
    pub guard: Option<(Register, bool)>,
    /// Its operation with all suffixes.
    pub operation: String,
    /// Operands.
    pub operands: Vec<Operand>,
}

/// A kernel.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Offsets and bytes of its parameters.
    pub parameters: Vec<(usize, usize)>,
    /// Threads of a block, where it says.
    pub threads: Option<usize>,
    /// Blocks of a cluster.
    pub cluster: usize,
    /// Statements.
    pub statements: Vec<Statement>,
    /// Registers.
    pub registers: usize,
    /// Bytes of shared memory that it declares itself.
    pub shared: usize,
}
