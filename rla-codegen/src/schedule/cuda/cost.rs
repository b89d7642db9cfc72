//! A prediction of what kernels cost, which orders a search.

use super::Choices;

/// What a token of one value head is predicted to cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Operations of the products that are executed.
    pub flops: f64,
    /// Bytes of records, written and read; inputs and results are the same for all choices.
    pub bytes: f64,
    /// Time of the sequential kernels' steps, in barriers that a chunk waits for.
    pub waits: f64,
    /// Of it, that of backward's beside which finish runs.
    pub beside: f64,
    /// Bytes of finish's whose time that hides.
    pub hidden: f64,
}

/// What a pass's kernels do.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// Whether the pass is backward.
    pub backward: bool,
    /// Whether a step is short: of one state without systems, nothing kept.
    pub short: bool,
    /// Executed operations a token.
    pub flops: f64,
    /// Bytes that a chunk's records are written and read.
    pub records: usize,
}

/// What a card works on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Sequences times value heads.
    pub sequences: usize,
    /// Channels of a state's free side.
    pub channels: usize,
    /// Multiprocessors of the card.
    pub multiprocessors: usize,
}

/// Operations that a card does on its tensor cores in the time in which it moves a byte, and bytes that it moves while a step of a
/// chain waits; tokens squared of a chunk whose own work is as long as that wait, of short steps more; and how much longer a step is
/// with each further group of channels. Of an H200 (benches/records/tuning_cuda_h200_*.csv); they order a search and promise nothing.
const FLOPS_A_BYTE: f64 = 130.0;
const BYTES_A_WAIT: f64 = 1.1e6;
const TOKENS_A_WAIT: f64 = 920.0;
const TOKENS_A_SHORT_WAIT: f64 = 4700.0;
const A_GROUP: f64 = 0.26;
/// Of the time that finish could hide, what it does: both want the same memory.
const HIDDEN: f64 = 0.85;

impl Cost {
    /// Of a pass's kernels with these choices.
    pub fn of(choices: &Choices, work: &Work) -> Cost {
        let beside = work.backward && choices.beside > 0;
        let groups = if beside { choices.beside } else { choices.groups };
        let (chunk, further) = (choices.chunk as f64, groups as f64 - 1.0);
        let tokens = if work.short { TOKENS_A_SHORT_WAIT } else { TOKENS_A_WAIT };
        let waits = (1.0 / chunk + chunk / tokens) * (1.0 + A_GROUP * further);
        let bytes = work.records as f64 / chunk;
        Cost { flops: work.flops, bytes, waits, beside: if beside { waits } else { 0.0 }, hidden: 0.0 }
    }

    /// On a card with that load: its sequences wait side by side, blocks that it does not hold at once one after the other. Finish,
    /// whose time goes to bytes, is hidden behind backward's steps on multiprocessors that these leave free.
    pub fn on(self, choices: &Choices, load: &Load) -> Cost {
        let card = load.multiprocessors.max(1);
        let blocks = |groups: usize| load.sequences * load.channels.div_ceil(16 * groups.max(1));
        let turns = |groups: usize| blocks(groups).div_ceil(card).max(1) as f64 / load.sequences.max(1) as f64;
        let beside = self.beside * turns(choices.beside);
        let waits = (self.waits - self.beside) * turns(choices.groups) + beside;
        let free = 1.0 - (blocks(choices.beside) as f64 / card as f64).min(1.0);
        let hidden = HIDDEN * (free * beside * BYTES_A_WAIT).min(self.bytes);
        Cost { waits, beside, hidden, ..self }
    }

    /// All together, in bytes.
    pub fn total(&self) -> f64 {
        self.flops / FLOPS_A_BYTE + self.bytes - self.hidden + self.waits * BYTES_A_WAIT
    }
}

impl std::ops::Add for Cost {
    type Output = Cost;
    fn add(self, other: Cost) -> Cost {
        Cost {
            flops: self.flops + other.flops,
            bytes: self.bytes + other.bytes,
            waits: self.waits + other.waits,
            beside: self.beside + other.beside,
            hidden: self.hidden + other.hidden,
        }
    }
}
