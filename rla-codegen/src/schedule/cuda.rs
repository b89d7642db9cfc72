//! The free choices of CUDA kernels, as `space` lists those of the CPU: named parameters, and predicates of what is legal. `dispatch`
//! says what calls have without a table, `pins` what a user sets over it, `cost` predicts, and so orders a search.
mod cost;
mod dispatch;
mod pins;

use super::parameter::{self, Predicate};
use serde::{Deserialize, Serialize};

pub use cost::{Cost, Load, Work};
pub use dispatch::{beside_for, groups_for};
pub use pins::Pins;

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
