//! Decode where every value with a state is per channel of one side: that side is divided among groups of lanes.
//!
//! A group of lanes owns a few rows (channels of the divided side) of every matrix state and holds them in registers from the
//! first token of a call to its last; each lane has some columns. Vectors along columns are spread over the lanes in the same
//! way, vectors along rows and numbers are in every lane. So all readouts of a token are products of registers and one sum
//! over the lanes of a group, nothing is shared between groups, and a state is read once and written once.
//!
//! The exception are vector states along another side than the divided one: every group computes them. Then one block has all
//! rows of a head, and writes them after all have read them.
//!
//! What is not of this form (`rows` says why) is walked by one block a head: `frame/walk`.

mod rows;
mod write;

use super::place::Elem;
use super::{BASE, Config, Counts, Error, Grid, Interface, Kernel, Kernels, Template};
use crate::emit::step;
use crate::tile::Program;

pub use crate::schedule::cuda::Tile;

const DECODE: &str = include_str!("../../../../templates/cuda/decode.cuh");
static KERNEL: Template = Template::new(include_str!("../../../../templates/cuda/decode.cu.tera"));

/// What a tile is chosen by.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Matrix states.
    pub states: usize,
    /// Elements of the longest row.
    pub columns: usize,
    /// Whether every group has much to compute along columns before it reads states: more rows share it.
    pub costly: bool,
    /// Whether a group's rows are side by side in memory, and not the elements of a row.
    pub by_rows: bool,
}

impl Tile {
    /// The tile for a load: the best of those that were measured on an H100 with all built-in variants.
    pub fn of(load: Load) -> Tile {
        let quads = load.columns.div_ceil(4);
        // floats of a row that a lane holds; where rows are side by side, few lanes of a group make long runs of them
        let wide = if load.by_rows { 16 } else { 8 };
        let mut lanes = quads.next_power_of_two().min(8);
        while lanes < 32 && 4 * quads.div_ceil(lanes) > wide {
            lanes *= 2;
        }
        let rows = match load.by_rows {
            true if load.states <= 2 => 4,
            false if load.costly && load.states <= 2 => 4,
            _ => 2,
        };
        Tile { lanes, rows, warps: if load.by_rows { 2 } else { 1 } }
    }

    /// Rows of a block.
    fn block(&self) -> usize {
        self.warps * 32 / self.lanes * self.rows
    }
}

/// Warps of a block that has all rows of a head.
const MOST_WARPS: usize = 8;

/// Writes the kernels of a decode program, one for each layout of the states; `None` where it is not of this form.
pub fn emit(
    program: &Program,
    interface: &Interface,
    config: &Config,
    counts: Counts,
    symbol: &str,
) -> Result<Option<Kernels>, Error> {
    let Some(lowered) = step::lower(program) else { return Ok(None) };
    let sizes = &config.sizes.sides;
    let Ok(division) = rows::divide(&lowered) else { return Ok(None) };
    let mut kernels = vec![];
    for by_columns in [false, true] {
        // without a matrix there is one layout
        if by_columns && division.columns.is_empty() {
            break;
        }
        let load = Load {
            states: division.columns.len(),
            columns: division.columns.iter().map(|(_, side)| sizes[usize::from(*side)]).max().unwrap_or(1),
            costly: division.shared || division.costly(&lowered),
            by_rows: division.columns.iter().any(|(state, _)| division.turned(&lowered, *state) != by_columns),
        };
        let mut tile = config.decode.unwrap_or_else(|| Tile::of(load));
        let all = sizes[usize::from(division.side)];
        if division.shared {
            while tile.warps < MOST_WARPS && tile.block() < all {
                tile.warps *= 2;
            }
        }
        let slices = if division.shared { 1 } else { all.div_ceil(tile.block()) };
        let stage = if by_columns { "columns" } else { "rows" };
        let name = format!("{symbol}_decode_{stage}");
        let write =
            write::Write { lowered: &lowered, division: &division, interface, config, tile, slices, by_columns };
        let threads = 32 * tile.warps;
        // element by element an access takes more registers than the assembler thinks right
        let odd = division.columns.iter().any(|(_, side)| !sizes[usize::from(*side)].is_multiple_of(4));
        let text = Text {
            title: &format!("decode, {stage} of the states contiguous"),
            name: &name,
            lanes: tile.lanes,
            rows: tile.rows,
            bounds: if odd { format!("{threads}, 1") } else { threads.to_string() },
            counts: [counts.inputs, counts.outputs, counts.states, counts.constants].map(|n| n.max(1)),
            body: write.body().lines().map(str::to_string).collect(),
        };
        let source = KERNEL.render(&text, &[("base", BASE), ("decode", DECODE)])?;
        kernels.push(Kernel { name, source, grid: Grid::Sequences(slices), threads, shared: 0, stage, overlaps: true });
    }
    Ok(Some(Kernels { kernels, span: 1, ..Kernels::default() }))
}

/// The pieces of the kernel's text.
#[derive(serde::Serialize)]
struct Text<'a> {
    title: &'a str,
    name: &'a str,
    lanes: usize,
    rows: usize,
    bounds: String,
    counts: [usize; 4],
    body: Vec<String>,
}

/// The C++ type of an input.
fn elem(config: &Config, input: usize) -> &'static str {
    config.inputs.get(input).copied().unwrap_or(Elem::F32).c()
}
