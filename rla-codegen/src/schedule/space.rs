//! The free choices of a CPU kernel as named parameters with their values, and what is legal as predicates that can be listed.

use super::parameter::{self, Predicate};
use super::{Choices, Schedule, Slot, Tile};
use crate::kernel::Level;

/// One free choice.
pub type Parameter = parameter::Parameter<Choices>;

/// Every free choice; the last is of calls, the others of texts.
pub const PARAMETERS: [Parameter; 10] = [
    Parameter {
        name: "chunk",
        what: "tokens a chunk",
        values: &[8, 16, 32, 64, 128],
        get: |c| c.chunk,
        set: |c, x| c.chunk = x,
    },
    Parameter {
        name: "rows",
        what: "rows of a register tile (0: the level's own)",
        values: &[0, 2, 4, 8],
        get: |c| c.rows,
        set: |c, x| c.rows = x,
    },
    Parameter {
        name: "vectors",
        what: "vectors of a row of a register tile (0: the level's own); a panel of a state is as wide",
        values: &[0, 1, 2, 4],
        get: |c| c.vectors,
        set: |c, x| c.vectors = x,
    },
    Parameter {
        name: "prefetch",
        what: "the next chunk's rows are fetched not at all (0), or within an n-th part of this chunk's products",
        values: &[0, 1, 2, 4],
        get: |c| c.prefetch,
        set: |c, x| c.prefetch = x,
    },
    Parameter {
        name: "solve",
        what: "a system of at most so many readouts is solved in register blocks, of more row by row",
        values: &[0, 1, 2, 4],
        get: |c| c.solve,
        set: |c, x| c.solve = x,
    },
    Parameter {
        name: "unroll",
        what: "work behind a tile of at most so many lines is unrolled with the tile in registers",
        values: &[0, 10, 24],
        get: |c| c.unroll,
        set: |c, x| c.unroll = x,
    },
    Parameter {
        name: "stream",
        what: "what forward keeps for backward passes the caches by (1), or not (0)",
        values: &[0, 1],
        get: |c| usize::from(c.stream),
        set: |c, x| c.stream = x != 0,
    },
    Parameter {
        name: "ahead",
        what: "KiB from a line of a state that is updated to the one that is fetched meanwhile (0: 16)",
        values: &[0, 2, 4, 8, 32, 64],
        get: |c| c.ahead,
        set: |c, x| c.ahead = x,
    },
    Parameter {
        name: "readouts",
        what: "readouts that one sweep of a state takes at a time (0: as many as the registers hold)",
        values: &[0, 1, 2],
        get: |c| c.readouts,
        set: |c, x| c.readouts = x,
    },
    Parameter {
        name: "threads",
        what: "threads that sequences and heads are divided among, at most (0: all); only in mode throughput",
        values: &[0, 1, 2, 4, 8, 16, 32, 64],
        get: |c| c.threads,
        set: |c, x| c.threads = x,
    },
];

/// Parameters of decode alone; all others but `threads` are of the other passes.
const OF_DECODE: std::ops::Range<usize> = 7..9;

/// Those of a slot that make another text.
fn of_texts(slot: Slot) -> &'static [Parameter] {
    let all: &'static [Parameter] = const { &PARAMETERS };
    if slot == Slot::Decode { &all[OF_DECODE] } else { &all[..OF_DECODE.start] }
}

/// Every free choice of a slot.
pub fn parameters(slot: Slot) -> impl Iterator<Item = &'static Parameter> {
    let all: &'static [Parameter] = const { &PARAMETERS };
    of_texts(slot).iter().chain(&all[OF_DECODE.end..])
}

/// The choices for each number of threads that a search tries where there are so many.
pub fn divided(choices: Choices, threads: usize) -> impl Iterator<Item = Choices> {
    let values = parameter("threads").map_or(&[0][..], |p| p.values);
    values.iter().filter(move |n| **n < threads.max(1)).map(move |n| choices.with_threads(*n))
}

/// The parameter of that name.
pub fn parameter(name: &str) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|p| p.name == name)
}

/// Choices for a slot on a level; on `None`: on some level.
pub type Judged = (Choices, Slot, Option<Level>);

/// Every condition.
pub const PREDICATES: [Predicate<Judged>; 10] = [
    Predicate {
        demands: "chunk is 1 or a power of two from 8 to 128; of decode 1; with bf16 products 0 (none), 32, 64 or 128: a panel of tokens is \
                  two vectors wide, so that a vector of pairs is whole",
        holds: |(c, slot, _)| match slot {
            Slot::Bf16 => [0, 32, 64, 128].contains(&c.chunk),
            Slot::Decode => c.chunk == 1,
            _ => c.chunk == 1 || (c.chunk.is_power_of_two() && (8..=128).contains(&c.chunk)),
        },
    },
    Predicate {
        demands: "rows is 0, 2, 4 or 8: a system of two readouts halves a block, of more quarters it",
        holds: |(c, _, _)| [0, 2, 4, 8].contains(&c.rows),
    },
    Predicate {
        demands: "vectors is 0, 1, 2 or 4: panels are powers of two; with bf16 products 0 or 2",
        holds: |(c, slot, _)| [0, 1, 2, 4].contains(&c.vectors) && (*slot != Slot::Bf16 || [0, 2].contains(&c.vectors)),
    },
    Predicate {
        demands: "a tile, a row of its right operand and a left element fit in the registers, and its rows in one vector's lanes",
        holds: |(c, _, level)| level.is_none_or(|level| tile_refusal(&asked(c, level), level).is_none()),
    },
    Predicate { demands: "prefetch is at most 8", holds: |(c, _, _)| c.prefetch <= 8 },
    Predicate { demands: "solve is at most 4: registers hold no more blocks", holds: |(c, _, _)| c.solve <= 4 },
    Predicate { demands: "unroll is at most 64", holds: |(c, _, _)| c.unroll <= 64 },
    Predicate {
        demands: "ahead is at most 256: a line is used before it is driven out",
        holds: |(c, _, _)| c.ahead <= 256,
    },
    Predicate {
        demands: "readouts is at most 3: each has accumulators in registers",
        holds: |(c, _, _)| c.readouts <= 3,
    },
    Predicate {
        demands: "threads is at most 1024 (and 0 in rows of mode invariant: one number would hold for all B, N and T)",
        holds: |(c, _, _)| c.threads <= 1024,
    },
];

/// The tile as asked for, legal or not.
fn asked(choices: &Choices, level: Level) -> Tile {
    let own = Tile::of(level);
    let or = |chosen: usize, own: usize| if chosen == 0 { own } else { chosen };
    Tile { rows: or(choices.rows, own.rows), vectors: or(choices.vectors, own.vectors), ..own }
}

/// Vector registers of a level.
pub fn registers(level: Level) -> usize {
    match level {
        Level::Avx512 | Level::Neon => 32,
        Level::Avx2 | Level::Portable => 16,
    }
}

/// Why a level cannot hold a tile.
pub fn tile_refusal(tile: &Tile, level: Level) -> Option<String> {
    let needed = tile.rows * tile.vectors + tile.vectors + 1;
    if needed > registers(level) {
        let (rows, vectors) = (tile.rows, tile.vectors);
        return Some(format!("{rows} rows of {vectors} vectors need {needed} registers of {}", registers(level)));
    }
    // the blocks of a transposed left operand lie within one panel
    (tile.rows > tile.lanes).then(|| format!("{} rows are more than the {} lanes of a vector", tile.rows, tile.lanes))
}

/// Why choices are legal on no level.
pub fn refusal(choices: &Choices, slot: Slot) -> Option<String> {
    refusal_at(choices, slot, None)
}

/// Why choices are not legal on a level.
pub fn refusal_on(choices: &Choices, slot: Slot, level: Level) -> Option<String> {
    refusal_at(choices, slot, Some(level))
}

fn refusal_at(choices: &Choices, slot: Slot, level: Option<Level>) -> Option<String> {
    parameter::refusal(&PREDICATES, &(*choices, slot, level), || text(choices))
}

/// `chunk=16 rows=8 ...`, every parameter.
pub fn text(choices: &Choices) -> String {
    parameter::text(&PARAMETERS, choices)
}

/// The parameters in which choices differ from others, `rows=8 solve=0`; `as it was` where they do not.
pub fn difference(choices: &Choices, from: &Choices) -> String {
    let differ = PARAMETERS.iter().filter(|p| (p.get)(choices) != (p.get)(from));
    let parts: Vec<String> = differ.map(|p| format!("{}={}", p.name, (p.get)(choices))).collect();
    if parts.is_empty() { "as it was".into() } else { parts.join(" ") }
}

/// Parameters set by name over a schedule: `forward.chunk=32,training.rows=4`.
///
/// # Errors
/// What is no parameter, no number, or not legal.
pub fn parse(text: &str, schedule: &mut Schedule) -> Result<(), String> {
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (slot, name, value) = parameter::assignment(item)?;
        let slots = Slot::ALL.map(Slot::name).join(", ");
        let slot = Slot::named(slot).ok_or_else(|| format!("`{slot}`: expected one of {slots}"))?;
        let names = || parameters(slot).map(|p| p.name).collect::<Vec<_>>().join(", ");
        let parameter = parameters(slot).find(|p| p.name == name);
        let parameter = parameter.ok_or_else(|| format!("`{name}`: expected one of {}", names()))?;
        (parameter.set)(schedule.of_mut(slot), value);
    }
    schedule.refusal().map_or(Ok(()), Err)
}

/// All legal choices of a slot on a level, for all threads. What names the level's own tile in other words is left out.
pub fn candidates(slot: Slot, level: Level) -> Vec<Choices> {
    let mut all = parameter::combinations(of_texts(slot), Choices::chunk(if slot == Slot::Decode { 1 } else { 16 }));
    let own = Tile::of(level);
    all.retain(|c| {
        let named = c.rows == own.rows || c.vectors == own.vectors;
        // only training keeps
        let keeps = matches!(slot, Slot::Training | Slot::TrainingChannel);
        (slot == Slot::Decode || !named) && (keeps || c.stream) && refusal_on(c, slot, level).is_none() && c.chunk > 0
    });
    all
}

/// Legal choices that differ from others in one parameter, by a step or more.
pub fn neighbours(choices: &Choices, slot: Slot, level: Level) -> Vec<Choices> {
    let count = |other: &Choices| PARAMETERS.iter().filter(|p| (p.get)(other) != (p.get)(choices)).count();
    let others = candidates(slot, level).into_iter().map(|other| other.with_threads(choices.threads));
    others.chain(divided(*choices, usize::MAX)).filter(|other| count(other) == 1).collect()
}
