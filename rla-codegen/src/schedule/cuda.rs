//! The free choices of CUDA kernels, as `space` lists those of the CPU: named parameters, predicates of what is legal, and a
//! prediction that orders a search.
use super::parameter::{self, Predicate};
use serde::{Deserialize, Serialize};

/// How decode divides the rows of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Lanes that share rows: a power of two up to 32.
    pub lanes: usize,
    /// Rows of such a group: 1, 2 or 4.
    pub rows: usize,
    /// Warps of a block.
    pub warps: usize,
}

/// What choices are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// Forward that keeps nothing.
    Forward,
    /// Forward that keeps, and backward: they share what is kept, and so its layout.
    Training,
    /// Decode.
    Decode,
}

impl Slot {
    /// All of them.
    pub const ALL: [Slot; 3] = [Slot::Forward, Slot::Training, Slot::Decode];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Slot::Forward => "forward",
            Slot::Training => "training",
            Slot::Decode => "decode",
        }
    }

    /// The slot of that name.
    pub fn named(name: &str) -> Option<Slot> {
        Slot::ALL.into_iter().find(|slot| slot.name() == name)
    }
}

/// Choices for one pass. None changes results beyond rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choices {
    /// Tokens a chunk.
    pub chunk: usize,
    /// Groups of 16 channels of the free side that a sequential block carries.
    pub groups: usize,
    /// Chunks that a block of backward's finish takes at once, at most: as many as the recurrence and a block's memory allow.
    #[serde(default = "one_chunk")]
    pub span: usize,
    /// Groups that a sequential block of backward carries where finish starts beside it; 0: finish starts when it has ended, and
    /// `groups` are backward's too.
    #[serde(default)]
    pub beside: usize,
    /// Decode: lanes that share rows of a state; 0, with `rows` and `warps` 0 too: as the sizes say.
    pub lanes: usize,
    /// Decode: rows of such a group of lanes.
    pub rows: usize,
    /// Decode: warps of a block.
    pub warps: usize,
}

/// What tables that do not name a span mean.
fn one_chunk() -> usize {
    1
}

impl Default for Choices {
    /// Those that were fastest on an H100 over all built-in variants.
    fn default() -> Choices {
        Choices { chunk: 32, groups: 1, span: 1, beside: 0, lanes: 0, rows: 0, warps: 0 }
    }
}

impl Choices {
    /// How decode divides the rows of a state; `None`: as the sizes say.
    pub fn tile(&self) -> Option<Tile> {
        (self.lanes > 0).then_some(Tile { lanes: self.lanes, rows: self.rows, warps: self.warps })
    }

    /// With decode's rows divided like that.
    pub fn with_tile(self, tile: Tile) -> Choices {
        Choices { lanes: tile.lanes, rows: tile.rows, warps: tile.warps, ..self }
    }
}

/// Groups of 16 channels a sequential block where no table says: one if the card holds all blocks at once, which is the shortest time
/// a chunk; more where blocks would wait for others, since wider blocks read keys and records less often. The bits are the same for
/// all: a channel's work is a warp's.
pub fn groups_for(sequences: usize, channels: usize, multiprocessors: usize) -> usize {
    let waits = |groups: &usize| sequences * channels.div_ceil(16 * groups) > multiprocessors;
    [1, 2].into_iter().find(|groups| !waits(groups)).unwrap_or(4)
}

/// Of the time that a chunk takes a block of one group, what it takes one of more, measured on an H200 over the variants of one state.
const OF_GROUPS: [(usize, f64); 3] = [(1, 1.0), (2, 1.35), (4, 1.75)];

/// Time of backward's finish for a sequence and value head on a whole H200, of that of a sequential kernel of one group: from 0.09
/// (gated delta rule) over 0.12 (simple GLA) to 0.27 (KDA).
const OF_FINISH: f64 = 0.1;

/// Of its time alone, what finish has to gain beside the sequential kernel: the warp that tells is one that does not copy.
const GAIN: f64 = 0.05;

/// Groups of 16 channels of a sequential block of backward where finish starts beside it and no table says; 0 where that gains
/// nothing. Wider blocks take longer, but leave multiprocessors to finish.
pub fn beside_for(sequences: usize, channels: usize, multiprocessors: usize) -> usize {
    let card = multiprocessors.max(1);
    let finish = OF_FINISH * (132 * sequences) as f64 / card as f64;
    let blocks = |groups: usize| sequences * channels.div_ceil(16 * groups);
    let chain = |groups: usize| {
        let of = OF_GROUPS.iter().find(|(g, _)| *g == groups).map_or(1.0, |(_, time)| *time);
        of * blocks(groups).div_ceil(card) as f64
    };
    let beside = |groups: usize| {
        let free = 1.0 - (blocks(groups) as f64 / card as f64).min(1.0);
        chain(groups).max(chain(groups) + finish - chain(groups) * free)
    };
    let after = chain(groups_for(sequences, channels, multiprocessors)) + finish;
    let widths = OF_GROUPS.iter().map(|(g, _)| *g).filter(|g| channels >= 16 * g);
    let best = widths.min_by(|a, b| beside(*a).total_cmp(&beside(*b)));
    best.filter(|g| beside(*g) < (1.0 - GAIN) * after).unwrap_or(0)
}

/// Choices for every pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// Forward that keeps nothing.
    pub forward: Choices,
    /// Forward that keeps, and backward.
    pub training: Choices,
    /// Decode.
    pub decode: Choices,
}

impl Schedule {
    /// The choices of a slot.
    pub fn of(&self, slot: Slot) -> &Choices {
        match slot {
            Slot::Forward => &self.forward,
            Slot::Training => &self.training,
            Slot::Decode => &self.decode,
        }
    }

    /// The same, to be changed.
    pub fn of_mut(&mut self, slot: Slot) -> &mut Choices {
        match slot {
            Slot::Forward => &mut self.forward,
            Slot::Training => &mut self.training,
            Slot::Decode => &mut self.decode,
        }
    }

    /// These choices everywhere.
    pub fn all(choices: Choices) -> Schedule {
        Schedule { forward: choices, training: choices, decode: choices }
    }
}

/// One free choice.
pub type Parameter = parameter::Parameter<Choices>;

const CHUNK: Parameter = Parameter {
    name: "chunk",
    what: "tokens a chunk",
    values: &[16, 32, 64],
    get: |c| c.chunk,
    set: |c, x| c.chunk = x,
};

const GROUPS: Parameter = Parameter {
    name: "groups",
    what: "groups of 16 channels that a sequential block carries",
    values: &[1, 2, 4],
    get: |c| c.groups,
    set: |c, x| c.groups = x,
};

const BESIDE: Parameter = Parameter {
    name: "beside",
    what: "groups of backward's sequential block where finish starts beside it (0: it starts afterwards)",
    values: &[0, 1, 2, 4],
    get: |c| c.beside,
    set: |c, x| c.beside = x,
};

const SPAN: Parameter = Parameter {
    name: "span",
    what: "chunks that a block of backward's finish takes at once, at most",
    values: &[1, 2],
    get: |c| c.span,
    set: |c, x| c.span = x,
};

/// Those of decode.
const DECODE: [Parameter; 3] = [
    Parameter {
        name: "lanes",
        what: "lanes that share rows of a state (0: as the sizes say)",
        values: &[0, 8, 16, 32],
        get: |c| c.lanes,
        set: |c, x| c.lanes = x,
    },
    Parameter {
        name: "rows",
        what: "rows of such a group of lanes",
        values: &[0, 1, 2, 4],
        get: |c| c.rows,
        set: |c, x| c.rows = x,
    },
    Parameter {
        name: "warps",
        what: "warps of a block of decode",
        values: &[0, 1, 2, 4],
        get: |c| c.warps,
        set: |c, x| c.warps = x,
    },
];

/// Every free choice of a slot.
pub fn parameters(slot: Slot) -> &'static [Parameter] {
    match slot {
        Slot::Forward => const { &[CHUNK, GROUPS] },
        Slot::Training => const { &[CHUNK, GROUPS, SPAN, BESIDE] },
        Slot::Decode => &DECODE,
    }
}

/// Every condition. What a block's shared memory does not hold is refused when the text is written, what spills when it is
/// compiled.
pub const PREDICATES: [Predicate<Choices>; 6] = [
    Predicate {
        demands: "chunk is 16, 32, 64 or 128: rows of whole tensor-core tiles",
        holds: |c| [16, 32, 64, 128].contains(&c.chunk),
    },
    Predicate { demands: "groups is 1, 2 or 4", holds: |c| [1, 2, 4].contains(&c.groups) },
    Predicate { demands: "span is 1 or 2", holds: |c| [1, 2].contains(&c.span) },
    Predicate { demands: "beside is 0, 1, 2 or 4", holds: |c| [0, 1, 2, 4].contains(&c.beside) },
    Predicate {
        demands: "lanes, rows and warps are all 0, or none",
        holds: |c| {
            [c.lanes, c.rows, c.warps].iter().all(|x| *x == 0) || [c.lanes, c.rows, c.warps].iter().all(|x| *x > 0)
        },
    },
    Predicate {
        demands: "lanes is a power of two up to 32, rows is 1, 2 or 4, warps is 1, 2, 4 or 8",
        holds: |c| {
            c.lanes == 0
                || (c.lanes.is_power_of_two()
                    && c.lanes <= 32
                    && [1, 2, 4].contains(&c.rows)
                    && [1, 2, 4, 8].contains(&c.warps))
        },
    },
];

/// Why choices are not legal.
pub fn refusal(choices: &Choices) -> Option<String> {
    parameter::refusal(&PREDICATES, choices, || {
        format!("{} {}", text(choices, Slot::Training), text(choices, Slot::Decode))
    })
}

/// Every legal combination of the values that a search tries for a slot.
pub fn all(slot: Slot) -> Vec<Choices> {
    let mut found = parameter::combinations(parameters(slot), Choices::default());
    found.retain(|c| refusal(c).is_none());
    found
}

/// `chunk=32 groups=1`: the parameters of a slot.
pub fn text(choices: &Choices, slot: Slot) -> String {
    parameter::text(parameters(slot), choices)
}

/// Parameters that a user sets, whatever chooses the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins(Vec<(Slot, &'static str, usize)>);

impl Pins {
    /// `training.span=2,forward.groups=4`.
    ///
    /// # Errors
    /// What is no parameter of the slot, or no number.
    pub fn parse(text: &str) -> Result<Pins, String> {
        let pin = |item: &str| {
            let expected = || format!("`{item}`: expected PASS.PARAMETER=NUMBER");
            let (name, value) = item.split_once('=').ok_or_else(expected)?;
            let (slot, name) = name.trim().split_once('.').ok_or_else(expected)?;
            let value = value.trim().parse().map_err(|_| expected())?;
            let slots = Slot::ALL.map(Slot::name).join(", ");
            let slot = Slot::named(slot).ok_or_else(|| format!("`{slot}`: expected one of {slots}"))?;
            let names = || parameters(slot).iter().map(|p| p.name).collect::<Vec<_>>().join(", ");
            let found = parameters(slot).iter().find(|p| p.name == name);
            let parameter = found.ok_or_else(|| format!("`{name}`: expected one of {}", names()))?;
            Ok((slot, parameter.name, value))
        };
        let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(pin).collect::<Result<_, String>>().map(Pins)
    }

    /// The choices of a slot with what is pinned.
    ///
    /// # Errors
    /// Why they are not legal.
    pub fn over(&self, slot: Slot, mut choices: Choices) -> Result<Choices, String> {
        for (_, name, value) in self.0.iter().filter(|(of, ..)| *of == slot) {
            let parameter = parameters(slot).iter().find(|p| p.name == *name).expect("it was found");
            (parameter.set)(&mut choices, *value);
        }
        refusal(&choices).map_or(Ok(choices), Err)
    }

    /// Whether anything of a slot is pinned.
    pub fn of(&self, slot: Slot) -> bool {
        self.0.iter().any(|(of, ..)| *of == slot)
    }
}

/// What a token of one value head is predicted to cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Operations of the products that are executed.
    pub flops: f64,
    /// Bytes of records, written and read; inputs and results are the same for all choices.
    pub bytes: f64,
    /// Time of the sequential kernels' steps, in barriers that a chunk waits for.
    pub waits: f64,
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
/// chain waits; tokens squared of a chunk whose own work is as long as that wait; and how much longer a step is with each further
/// group of channels. Of an H200 (benches/records/tuning_cuda_h200_2026-11-29.csv); they order a search and promise nothing.
const FLOPS_A_BYTE: f64 = 130.0;
const BYTES_A_WAIT: f64 = 1.1e6;
const TOKENS_A_WAIT: f64 = 1000.0;
const A_GROUP: f64 = 0.26;

impl Cost {
    /// Of a pass's kernels with these choices: executed operations a token, bytes that a chunk's records are written and read.
    pub fn of(choices: &Choices, backward: bool, flops: f64, records: usize) -> Cost {
        let groups = if backward && choices.beside > 0 { choices.beside } else { choices.groups };
        let (chunk, further) = (choices.chunk as f64, groups as f64 - 1.0);
        let waits = (1.0 / chunk + chunk / TOKENS_A_WAIT) * (1.0 + A_GROUP * further);
        Cost { flops, bytes: records as f64 / chunk, waits }
    }

    /// On a card with that load: its sequences wait side by side, blocks that it does not hold at once one after the other.
    pub fn on(self, choices: &Choices, load: &Load) -> Cost {
        let blocks = load.sequences * load.channels.div_ceil(16 * choices.groups);
        let turns = blocks.div_ceil(load.multiprocessors.max(1)).max(1);
        let waits = self.waits * turns as f64 / load.sequences.max(1) as f64;
        let free = match choices.beside {
            0 => 0.0,
            groups => {
                let blocks = load.sequences * load.channels.div_ceil(16 * groups);
                1.0 - (blocks as f64 / load.multiprocessors.max(1) as f64).min(1.0)
            }
        };
        // about half of the steps are backward's, and half of the bytes finish's
        let hidden = (free * waits / 2.0 * BYTES_A_WAIT).min(self.bytes / 2.0);
        Cost { waits, bytes: self.bytes - hidden, ..self }
    }

    /// All together, in bytes.
    pub fn total(&self) -> f64 {
        self.flops / FLOPS_A_BYTE + self.bytes + self.waits * BYTES_A_WAIT
    }
}

impl std::ops::Add for Cost {
    type Output = Cost;
    fn add(self, other: Cost) -> Cost {
        Cost { flops: self.flops + other.flops, bytes: self.bytes + other.bytes, waits: self.waits + other.waits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_space_holds_the_default_and_nothing_illegal() {
        for slot in Slot::ALL {
            let space = all(slot);
            assert!(space.contains(&Choices::default()), "{}", slot.name());
            assert!(space.iter().all(|c| refusal(c).is_none()));
            assert_eq!(Slot::named(slot.name()), Some(slot));
        }
        assert_eq!(all(Slot::Forward).len(), 9);
        // the default, and 3 of each
        assert_eq!(all(Slot::Decode).len(), 28);
    }

    #[test]
    fn blocks_are_as_narrow_as_the_card_holds_at_once() {
        assert_eq!([1, 16, 17, 33, 34, 64, 1000].map(|s| groups_for(s, 128, 132)), [1, 1, 2, 2, 4, 4, 4]);
        assert_eq!(groups_for(100, 16, 132), 1);
        assert_eq!(groups_for(0, 128, 132), 1);
    }

    #[test]
    fn pins_are_over_what_else_is_chosen() {
        let pins = Pins::parse("training.span=2, training.beside=1").expect("parameters of training");
        let wide = Choices { groups: 4, ..Choices::default() };
        assert_eq!(pins.over(Slot::Training, wide), Ok(Choices { span: 2, beside: 1, ..wide }));
        assert_eq!(pins.over(Slot::Forward, wide), Ok(wide));
        for (text, says) in [
            ("span=2", "PASS.PARAMETER=NUMBER"),
            ("training.span=two", "PASS.PARAMETER=NUMBER"),
            ("backward.span=2", "expected one of forward, training, decode"),
            ("forward.span=2", "expected one of chunk, groups"),
        ] {
            assert!(Pins::parse(text).expect_err(text).contains(says), "{text}");
        }
        let three = Pins::parse("training.span=3").expect("a number");
        assert!(three.over(Slot::Training, wide).expect_err("three").contains("span is 1 or 2"));
    }

    #[test]
    fn finish_starts_beside_blocks_that_leave_room() {
        // 128 blocks of one group fill the card, 32 of four do not; eight heads leave half of it anyway
        assert_eq!([1, 8, 16, 32, 64, 128].map(|s| beside_for(s, 128, 132)), [1, 1, 4, 4, 0, 0]);
        assert_eq!(beside_for(0, 128, 132), 0);
    }

    #[test]
    fn every_condition_refuses_something() {
        let with = |set: fn(&mut Choices)| {
            let mut choices = Choices::default();
            set(&mut choices);
            refusal(&choices).unwrap_or_default()
        };
        assert!(with(|c| c.chunk = 48).contains("chunk is 16"));
        assert!(with(|c| c.groups = 3).contains("groups is"));
        assert!(with(|c| c.span = 3).contains("span is"));
        assert!(with(|c| c.beside = 3).contains("beside is"));
        assert!(with(|c| c.lanes = 8).contains("all 0, or none"));
        assert!(with(|c| (c.lanes, c.rows, c.warps) = (8, 3, 1)).contains("rows is 1, 2 or 4"));
    }
}
