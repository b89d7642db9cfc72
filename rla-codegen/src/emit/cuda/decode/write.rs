//! The text of a divided decode kernel.

use std::collections::BTreeSet;

use super::rows::Division;
use super::{Tile, elem};
use crate::emit::cuda::{Config, Interface, expr};
use crate::emit::step::{Kind, Lowered};
use crate::emit::text::Text;
use crate::tile::MapFn;

pub struct Write<'a> {
    pub lowered: &'a Lowered,
    pub division: &'a Division,
    pub interface: &'a Interface,
    pub config: &'a Config,
    pub tile: Tile,
    pub slices: usize,
    /// Rows of the states' declaration are contiguous, not columns.
    pub by_columns: bool,
}

/// Where a node's elements lie.
#[derive(Clone, Copy, PartialEq)]
enum Along {
    /// One number, in every lane.
    Number,
    /// A number a row, in every lane of its group.
    Rows,
    /// Spread over the lanes of every group.
    Columns(usize),
}

impl Write<'_> {
    fn size(&self, side: u16) -> usize {
        self.config.sizes.sides[usize::from(side)]
    }

    fn rows(&self) -> usize {
        self.size(self.division.side)
    }

    fn along(&self, node: usize) -> Along {
        match self.lowered.nodes[node].axis {
            None => Along::Number,
            Some(side) if side == self.division.side => Along::Rows,
            Some(side) => Along::Columns(self.size(side)),
        }
    }

    fn matrices(&self) -> impl Iterator<Item = usize> + '_ {
        self.division.columns.iter().map(|(state, _)| *state)
    }

    /// Strides of a state along rows and along columns.
    fn strides(&self, state: usize) -> [String; 2] {
        let turned = self.division.turned(self.lowered, state);
        (if turned { ["s3", "s2"] } else { ["s2", "s3"] }).map(|s| format!("x.states[{state}].{s}"))
    }

    /// Whether the rows that a group has of a state are side by side in memory.
    fn by_rows(&self, state: usize) -> bool {
        self.division.turned(self.lowered, state) != self.by_columns
    }

    /// The kernel's body.
    pub fn body(&self) -> String {
        let mut out = Text::default();
        let block = self.tile.block();
        out.line("const int lane = threadIdx.x % LANES;");
        out.line(format!("const i64 number = blockIdx.x / {};", self.slices));
        out.line("const i64 sequence = number / (int)x.heads;");
        out.line("const int head = number % (int)x.heads, key_head = head / (int)x.group;");
        out.line("wait_for_launch_before();");
        out.line("const i64 slot = x.slots ? x.slots[sequence] : sequence;");
        out.line("if (slot < 0) return;");
        for (i, name) in self.interface.constants.iter().enumerate() {
            out.line(format!("const float const{i} = (float)x.constants[{i}];  // {name}"));
        }
        for (state, name) in self.interface.states.iter().enumerate() {
            out.line(format!(
                "float* const state{state} = rows_of<float>(x.states[{state}], slot, head, 0);  // {name}"
            ));
        }
        let first = format!("(int)(blockIdx.x % {}) * {block} + (int)(threadIdx.x / LANES) * ROWS", self.slices);
        let tiles = self.division.shared && block < self.rows();
        match tiles {
            true => out.line(format!("for (int top = 0; top < {}; top += {block}) {{", self.rows())),
            false => out.line("const int top = 0;"),
        }
        out.line(format!("const int row = top + {first};"));
        self.load_states(&mut out);
        out.line("for (i64 t = 0; t < x.tokens; t++) {");
        self.load_inputs(&mut out);
        self.token(&mut out);
        out.line("}");
        self.store_states(tiles, &mut out);
        out.finish()
    }

    fn load_states(&self, out: &mut Text) {
        for state in self.matrices() {
            let (n, k) = (self.rows(), self.size(self.division.columns_of(state)));
            let [rows, columns] = self.strides(state);
            out.line(format!("float x{state}[ROWS][part({k})];"));
            let by_rows = self.by_rows(state);
            out.line(format!(
                "part_of_state<false, {by_rows}, {n}, {k}>(x{state}, state{state}, {rows}, {columns}, row, lane);"
            ));
        }
        for (state, next) in &self.lowered.vectors {
            match self.along(*next) {
                Along::Columns(k) => {
                    out.line(format!("float x{state}[part({k})];"));
                    out.line(format!(
                        "part_of_vector<false, {k}>(x{state}, state{state}, x.states[{state}].s3, lane);"
                    ));
                }
                _ => {
                    let n = self.rows();
                    out.line(format!("float x{state}[ROWS];"));
                    out.line(format!("rows_of_vector<{n}>(x{state}, state{state}, x.states[{state}].s3, row);"));
                }
            }
        }
    }

    fn store_states(&self, tiles: bool, out: &mut Text) {
        for state in self.matrices() {
            if self.division.update(self.lowered, state).is_none() {
                continue;
            }
            let (n, k) = (self.rows(), self.size(self.division.columns_of(state)));
            let [rows, columns] = self.strides(state);
            let by_rows = self.by_rows(state);
            out.line(format!(
                "part_of_state<true, {by_rows}, {n}, {k}>(x{state}, state{state}, {rows}, {columns}, row, lane);"
            ));
        }
        let rows = self.lowered.vectors.iter().filter(|(_, next)| self.along(*next) == Along::Rows);
        for (state, _) in rows {
            let n = self.rows();
            out.line("__syncwarp();  // all lanes of the group have read it");
            out.line(format!("store_rows<{n}>(state{state}, x.states[{state}].s3, x{state}, row, lane);"));
        }
        if self.division.shared {
            let block = self.tile.block();
            if tiles {
                out.line(format!("if (top + {block} < {}) continue;", self.rows()));
            }
            out.line("__syncthreads();  // all groups have read the states that they share");
            out.line("if (threadIdx.x < LANES) {");
            for (state, next) in &self.lowered.vectors {
                if let Along::Columns(k) = self.along(*next) {
                    out.line(format!("part_of_vector<true, {k}>(x{state}, state{state}, x.states[{state}].s3, lane);"));
                }
            }
            out.line("}");
        }
        if tiles {
            out.line("}");
        }
    }

    /// Queues the loads of a token's inputs.
    fn load_inputs(&self, out: &mut Text) {
        for (n, node) in self.lowered.nodes.iter().enumerate() {
            let Kind::Input(i) = node.kind else { continue };
            let name = &self.interface.input_names[i];
            let head = if self.config.per_key_head[i] { "key_head" } else { "head" };
            let c = elem(self.config, i);
            out.line(format!(
                "const {c}* const in{n} = rows_of<const {c}>(x.inputs[{i}], sequence, t, {head});  // {name}"
            ));
            match self.along(n) {
                Along::Number => out.line(format!("const {c} raw{n} = *in{n};")),
                Along::Rows => {
                    out.line(format!("{c} raw{n}[ROWS];"));
                    out.line(format!("rows_of_vector<{}>(raw{n}, in{n}, 1, row);", self.rows()));
                }
                Along::Columns(k) => {
                    out.line(format!("Pack<{c}, 4> raw{n}[part({k}) / 4];"));
                    out.line(format!("part_of_row<{k}>(raw{n}, in{n}, lane);"));
                }
            }
        }
    }

    /// Readouts of a state; a number for each of the group's rows.
    fn reads(&self) -> Vec<usize> {
        let is = |n: &usize| matches!(self.lowered.nodes[*n].kind, Kind::Read { .. });
        (0..self.lowered.nodes.len()).filter(is).collect()
    }

    fn token(&self, out: &mut Text) {
        let summed = self.division.summed(self.lowered);
        let mut origin = None;
        // nothing along columns and no number depends on what is along rows
        for along_rows in [false, true] {
            if along_rows {
                self.read(out);
            }
            for n in 0..self.lowered.nodes.len() {
                if (self.along(n) == Along::Rows) == along_rows {
                    self.comment(n, &mut origin, out);
                    self.node(n, &summed, out);
                }
            }
        }
        for (index, n) in &self.lowered.outputs {
            self.output(*index, *n, out);
        }
        for state in self.matrices() {
            self.update(state, out);
        }
        for (state, n) in &self.lowered.vectors {
            match self.along(*n) {
                Along::Columns(k) => out.line(format!("EACH_COLUMN(part({k})) x{state}[c] = e{n}[c];")),
                _ => out.line(format!("EACH_ROW x{state}[r] = e{n}[r];")),
            }
        }
    }

    /// The statement that what follows comes from, where it is another one.
    fn comment(&self, node: usize, before: &mut Option<u32>, out: &mut Text) {
        let node = &self.lowered.nodes[node];
        if matches!(node.kind, Kind::Map(..) | Kind::Sum(_) | Kind::Softmax(_))
            && let Some(origin) = node.origin
            && *before != Some(origin)
            && let Some(statement) = self.interface.statements.get(origin as usize)
        {
            out.line(format!("// {statement}"));
            *before = Some(origin);
        }
    }

    /// All readouts: products with the lanes' columns, then the sums over lanes, side by side.
    fn read(&self, out: &mut Text) {
        let reads = self.reads();
        if reads.is_empty() {
            return;
        }
        out.line(format!("float reads[{} * ROWS];", reads.len()));
        for (i, n) in reads.iter().enumerate() {
            let Kind::Read { state, by, .. } = self.lowered.nodes[*n].kind else { unreachable!("a readout") };
            let name = &self.interface.states[state];
            out.line(format!("read_rows(reads + {i} * ROWS, x{state}, e{by});  // {name}[t-1]"));
        }
        out.line("sum_lanes(reads);");
    }

    /// An element of a node, where `r` or `c` counts.
    fn element(&self, node: usize) -> String {
        match self.along(node) {
            Along::Number => format!("e{node}"),
            Along::Rows => format!("e{node}[r]"),
            Along::Columns(_) => format!("e{node}[c]"),
        }
    }

    fn node(&self, n: usize, summed: &BTreeSet<usize>, out: &mut Text) {
        let node = &self.lowered.nodes[n];
        let along = self.along(n);
        let declare = |out: &mut Text| match along {
            Along::Number => {}
            Along::Rows => out.line(format!("float e{n}[ROWS];")),
            Along::Columns(k) => out.line(format!("float e{n}[part({k})];")),
        };
        // one element, in a loop over rows or columns
        let each = |text: String, out: &mut Text| match along {
            Along::Number => out.line(format!("const float e{n} = {text};")),
            Along::Rows => out.line(format!("EACH_ROW e{n}[r] = {text};")),
            Along::Columns(k) => out.line(format!("EACH_COLUMN(part({k})) e{n}[c] = {text};")),
        };
        declare(out);
        match &node.kind {
            Kind::Number(value) => each(expr::number(*value), out),
            Kind::Const(i) => each(format!("const{i}"), out),
            Kind::Size(side) => each(expr::number(self.size(*side) as f64), out),
            Kind::Input(_) => match along {
                Along::Number => each(format!("widen(raw{n})"), out),
                Along::Rows => each(format!("widen(raw{n}[r])"), out),
                Along::Columns(_) => out.line(format!("widen_row(e{n}, raw{n});")),
            },
            Kind::State(state) => each(format!("x{state}[{}]", if along == Along::Rows { "r" } else { "c" }), out),
            Kind::Map(f, args) => each(self.map(*f, args), out),
            Kind::Sum(x) => match self.along(*x) {
                Along::Columns(_) => out.line(format!("const float e{n} = sum_row(e{x});")),
                _ => unreachable!("rows are not summed over"),
            },
            Kind::Softmax(x) => match along {
                Along::Columns(k) => out.line(format!("softmax_row<{k}>(e{n}, e{x}, lane);")),
                _ => unreachable!("rows have no softmax"),
            },
            Kind::Read { .. } => {
                let place = self.reads().iter().position(|read| *read == n).expect("it is one of them");
                each(format!("reads[{place} * ROWS + r]"), out);
            }
        }
        if let Along::Columns(k) = along
            && !k.is_multiple_of(4 * self.tile.lanes)
            && matches!(node.kind, Kind::Map(..) | Kind::Number(_) | Kind::Const(_) | Kind::Size(_))
            && summed.contains(&n)
        {
            out.line(format!("clear_beyond<{k}>(e{n}, lane);"));
        }
    }

    fn map(&self, f: MapFn, args: &[usize]) -> String {
        expr::map(f, &args.iter().map(|x| self.element(*x)).collect::<Vec<_>>())
    }

    fn output(&self, index: usize, n: usize, out: &mut Text) {
        let c = self.config.output.c();
        let to = format!("rows_of<{c}>(x.outputs[{index}], sequence, t, head)");
        match self.along(n) {
            Along::Rows => out.line(format!("store_rows<{}>({to}, 1, e{n}, row, lane);", self.rows())),
            Along::Columns(k) => out.line(format!("if (row < ROWS) store_row<{k}>({to}, e{n}, lane);")),
            Along::Number => out.line(format!("if (row < ROWS && lane == 0) *{to} = narrow<{c}>(e{n});")),
        }
    }

    fn update(&self, state: usize, out: &mut Text) {
        let Some((decay, writes)) = self.division.update(self.lowered, state) else { return };
        let factors = decay.number.into_iter().chain(decay.rows).chain(decay.cols);
        let mut text = format!("x{state}[r][c]");
        for factor in factors {
            text = format!("{text} * {}", self.element(factor));
        }
        for (u, w) in writes {
            text = format!("{text} + {} * {}", self.element(u), self.element(w));
        }
        let k = self.size(self.division.columns_of(state));
        let name = &self.interface.states[state];
        out.line(format!("EACH_ROW EACH_COLUMN(part({k})) x{state}[r][c] = {text};  // {name}[t]"));
    }
}
