//! Decode: the tokens of one sequence and head one by one, each state swept once, where it lies.
//!
//! With one token every value is a number, a vector along one side, or a state. `emit/step` takes the decode program apart
//! into those (and says what it cannot: the general frame then runs with chunks of one token); `plan` orders the work;
//! this page writes it. A state's rows are what is contiguous in the caller's memory, so each layout has its own plan:
//!
//! - A readout along the rows gives one number a row. Rows go by blocks of a vector's lanes: dots for all readouts of the
//!   block, then elementwise work in lanes over the rows, then the block's update from the first-level cache.
//! - A readout across the rows adds scaled rows up; the update follows in a second sweep, when all rows have been seen.
//!
//! States of other strides are copied to rows first and back after the last token.

mod plan;

use super::Interface;
use super::elementwise::call;
use super::text::{Text, float};
use crate::emit::step::{self, Decay, Kind, Lowered};
use crate::kernel::Level;
use crate::schedule::Choices;
use crate::tile::{MapFn, Program};
use plan::{Loop, Plan, Step, plan};

/// Writes decode as the items of a module; nothing if the program holds what has no form here.
pub fn write(
    program: &Program,
    interface: &Interface,
    choices: &Choices,
    level: Level,
    attributes: &[String],
) -> Option<String> {
    let lowered = step::lower(program)?;
    let mut out = Text::default();
    let emit = Emit { lowered: &lowered, interface, choices, level };
    emit.scratch(&mut out);
    let matrices = (0..lowered.states.len()).any(|i| lowered.is_matrix(i));
    for by_columns in [false, true] {
        if by_columns && !matrices {
            break;
        }
        emit.token(&plan(&lowered, by_columns), by_columns, attributes, &mut out);
    }
    emit.run(matrices, attributes, &mut out);
    Some(out.finish())
}

struct Emit<'a> {
    lowered: &'a Lowered,
    interface: &'a Interface,
    choices: &'a Choices,
    level: Level,
}

/// KiB from an updated line to the one fetched meanwhile, shared by the states that a loop updates, where choices say nothing.
const AHEAD: usize = 16;

/// Sizes of sides for which decode by rows is compiled apart, all sides alike and states without gaps: a fifth faster.
const SIZES: [usize; 2] = [64, 128];

/// Readouts that one sweep takes at a time: as many accumulators as the registers hold.
fn readouts_at_once(level: Level) -> usize {
    if matches!(level, Level::Avx512 | Level::Neon) { 3 } else { 2 }
}

/// Vectors of a row that a sweep across rows takes at a time.
fn vectors_at_once(level: Level, readouts: usize) -> usize {
    match (level, readouts) {
        (Level::Avx512 | Level::Neon, 3) => 6,
        (Level::Avx512 | Level::Neon, _) => 8,
        (_, 1) => 8,
        _ => 4,
    }
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", items.into_iter().collect::<Vec<_>>().join(", "))
}

impl Emit<'_> {
    /// Floats from an updated line to the one fetched meanwhile.
    fn ahead(&self) -> usize {
        256 * if self.choices.ahead == 0 { AHEAD } else { self.choices.ahead }
    }

    /// Readouts that one sweep takes at a time.
    fn readouts(&self) -> usize {
        let most = readouts_at_once(self.level);
        if self.choices.readouts == 0 { most } else { most.min(self.choices.readouts) }
    }

    /// Vectors with memory of their own, in order of their nodes.
    fn arrays(&self) -> Vec<(usize, u16)> {
        let nodes = self.lowered.nodes.iter().enumerate();
        nodes.filter_map(|(i, node)| Some((i, node.axis?))).collect()
    }

    fn scratch(&self, out: &mut Text) {
        out.line("/// Floats of working memory: a row for each vector, and room to gather states.");
        out.line("pub unsafe fn scratch(n: *const usize) -> usize {");
        let mut terms: Vec<String> = vec!["0".into()];
        for side in 0..self.interface.sides {
            let count = self.arrays().iter().filter(|(_, s)| usize::from(*s) == side).count();
            if count > 0 {
                terms.push(format!("{count} * lines(*n.add({side}))"));
            }
        }
        for i in (0..self.lowered.states.len()).filter(|i| self.lowered.is_matrix(*i)) {
            let (rows, cols) = self.lowered.sides(i);
            terms.push(format!("lines(*n.add({rows}) * *n.add({cols}))"));
        }
        out.line(terms.join(" + "));
        out.line("}");
        out.line("");
    }

    /// One token, in one of the two layouts.
    fn token(&self, plan: &Plan, by_columns: bool, attributes: &[String], out: &mut Text) {
        let (name, layout) = if by_columns { ("by_columns", "columns of") } else { ("by_rows", "rows of") };
        out.line(format!("/// One token, {layout} the states contiguous."));
        out.lines(attributes);
        let sized = if by_columns { "" } else { "<const SIZE: usize>" };
        out.line(format!(
            "unsafe fn {name}{sized}(x: &Args, t: usize, states: *const StateView, scratch: *mut f32) {{"
        ));
        for side in 0..self.interface.sides {
            let size = format!("*x.sizes.add({side})");
            let size = if by_columns { size } else { format!("if SIZE > 0 {{ SIZE }} else {{ {size} }}") };
            out.line(format!("let n{side} = {size};"));
        }
        out.line("let mut at = scratch;");
        self.memory(plan, out);
        for i in 0..self.lowered.states.len() {
            if self.lowered.is_matrix(i) {
                let stride = if by_columns { "col_stride" } else { "row_stride" };
                out.line(format!("let s{i} = (*states.add({i})).ptr;"));
                let rows = format!("(*states.add({i})).{stride} as usize");
                let rows = if by_columns { rows } else { format!("if SIZE > 0 {{ SIZE }} else {{ {rows} }}") };
                out.line(format!("let ld{i} = {rows};"));
            }
        }
        for step in &plan.steps {
            match step {
                Step::Numbers(nodes) => nodes.iter().for_each(|n| self.number(*n, out)),
                Step::Softmax(node) => {
                    let Kind::Softmax(x) = self.lowered.nodes[*node].kind else { unreachable!("a softmax") };
                    let n = self.size(*node);
                    out.line(format!("softmax(v{x}, v{node}, 1, {n}, usize::MAX, 0);"));
                }
                Step::Loop(work) => self.rows(plan, work, out),
                Step::Sums { state, reads } => self.sums(plan, *state, reads, out),
                Step::Update(state) => {
                    let rows = plan.rows[*state];
                    self.update(plan, *state, ("0", &format!("n{rows}")), self.ahead(), out);
                }
            }
        }
        for (index, node) in &self.lowered.outputs {
            let view = format!("&*x.outputs.add({index})");
            match self.lowered.nodes[*node].axis {
                Some(side) => out.line(format!("finish({view}, t, n{side}, v{node});")),
                None => out.line(format!("finish_number({view}, t, n_{node});")),
            }
        }
        for (state, node) in &self.lowered.vectors {
            let n = self.size(*node);
            out.line(format!("next_vector_state(&*states.add({state}), {n}, v{node});"));
        }
        out.line("}");
        out.line("");
    }

    /// Where each vector lies: in the caller's memory where it can, else in the kernel's own.
    fn memory(&self, plan: &Plan, out: &mut Text) {
        for (node, side) in self.arrays().into_iter().filter(|(node, _)| plan.stored.contains(node)) {
            let output = self.lowered.outputs.iter().filter(|(_, n)| *n == node).collect::<Vec<_>>();
            out.line(match (&self.lowered.nodes[node].kind, output.as_slice()) {
                (Kind::Input(i), _) => format!("let v{node} = input(&*x.inputs.add({i}), t, n{side}, at);"),
                (Kind::State(i), _) => {
                    format!("let v{node} = at; vector_state(&*states.add({i}), n{side}, at);")
                }
                (_, [(index, _)]) => format!("let v{node} = output(&*x.outputs.add({index}), t, n{side}, at);"),
                _ => format!("let v{node} = at;"),
            });
            out.line(format!("at = at.add(lines(n{side}));"));
        }
    }

    fn size(&self, node: usize) -> String {
        format!("n{}", self.lowered.nodes[node].axis.expect("a vector"))
    }

    fn number(&self, node: usize, out: &mut Text) {
        let text = match &self.lowered.nodes[node].kind {
            Kind::Number(value) => format!("splat({})", float(*value)),
            Kind::Const(i) => format!("splat(*x.constants.add({i}))"),
            Kind::Size(side) => format!("splat(n{side} as f32)"),
            Kind::Input(i) => format!("number(&*x.inputs.add({i}), t)"),
            Kind::Map(f, args) => self.map(*f, args),
            kind => unreachable!("{kind:?} is not a number"),
        };
        out.line(format!("let n_{node} = {text};"));
    }

    /// The vector of a node at hand: numbers in all lanes.
    fn value(&self, node: usize) -> String {
        if self.lowered.nodes[node].axis.is_some() { format!("e{node}") } else { format!("n_{node}") }
    }

    fn map(&self, f: MapFn, args: &[usize]) -> String {
        call(f, &args.iter().map(|a| self.value(*a)).collect::<Vec<_>>())
    }

    /// Work in lanes over the channels of one side, with the readouts and updates of the rows of that side.
    fn rows(&self, plan: &Plan, work: &Loop, out: &mut Text) {
        let side = work.axis;
        for sum in &work.sums {
            out.line(format!("let mut a{sum} = zero();"));
        }
        out.line("let mut r = 0;");
        out.line(format!("while r < n{side} {{"));
        out.line(format!("let m = if n{side} - r < L {{ n{side} - r }} else {{ L }};"));
        for (state, reads) in &work.reads {
            let cols = plan.columns[*state];
            for batch in reads.chunks(self.readouts()) {
                let count = batch.len();
                let results = list(batch.iter().map(|r| format!("e{r}")));
                let by = list(batch.iter().map(|r| format!("v{} as *const f32", self.lowered.by(*r))));
                let name = &self.interface.states[*state];
                out.line(format!(
                    "let {results} = dots::<{count}>(s{state}.add(r * ld{state}), ld{state}, m, n{cols}, {by}); // {name}"
                ));
            }
        }
        for node in &work.loads {
            out.line(format!("let e{node} = load(v{node}.add(r));"));
        }
        for node in &work.maps {
            let Kind::Map(f, args) = &self.lowered.nodes[*node].kind else { unreachable!("elementwise work") };
            out.line(format!("let e{node} = {};", self.map(*f, args)));
        }
        let made = work.reads.iter().flat_map(|(_, reads)| reads).chain(&work.maps);
        for node in made.filter(|n| plan.stored.contains(n)) {
            out.line(format!("store(v{node}.add(r), e{node});"));
        }
        for sum in &work.sums {
            let Kind::Sum(x) = self.lowered.nodes[*sum].kind else { unreachable!("a sum") };
            out.line(format!("a{sum} = add(a{sum}, first(e{x}, m as isize));"));
        }
        for state in &work.updates {
            self.update(plan, *state, ("r", "m"), self.ahead() / work.updates.len(), out);
        }
        out.line("r += L;");
        out.line("}");
        for sum in &work.sums {
            out.line(format!("let n_{sum} = splat(sum(a{sum}));"));
        }
    }

    /// Readouts across rows.
    fn sums(&self, plan: &Plan, state: usize, reads: &[usize], out: &mut Text) {
        let (rows, cols) = (plan.rows[state], plan.columns[state]);
        for batch in reads.chunks(self.readouts()) {
            let (count, vectors) = (batch.len(), vectors_at_once(self.level, batch.len()));
            let by = list(batch.iter().map(|r| format!("v{} as *const f32", self.lowered.by(*r))));
            let to = list(batch.iter().map(|r| format!("v{r}")));
            let name = &self.interface.states[state];
            out.line(format!(
                "sums::<{vectors}, {count}>(s{state}, ld{state}, n{rows}, n{cols}, {by}, {to}); // {name}"
            ));
        }
    }

    /// The update of `m` rows from row `r` on.
    fn update(&self, plan: &Plan, state: usize, (r, m): (&str, &str), ahead: usize, out: &mut Text) {
        let cols = plan.columns[state];
        let update = self.lowered.updates[state].as_ref().expect("a matrix state");
        let Decay { number, rows: row, cols: col } = update.decay.turned(plan.turned[state]);
        let writes: Vec<(usize, usize)> =
            update.writes.iter().map(|(u, w)| if plan.turned[state] { (*w, *u) } else { (*u, *w) }).collect();
        if writes.is_empty() && number.or(row).or(col).is_none() {
            return;
        }
        let scale = number.map_or("zero()".into(), |n| format!("n_{n}"));
        let kind = if row.is_some() {
            "ROWS"
        } else if number.is_some() {
            "NUMBER"
        } else {
            "NONE"
        };
        let none = || "core::ptr::null()".to_string();
        let row = row.map_or_else(none, |n| format!("v{n}.add({r})"));
        let has_col = col.is_some();
        let col = col.map_or_else(none, |n| format!("v{n}"));
        let u = list(writes.iter().map(|(u, _)| format!("v{u}.add({r}) as *const f32")));
        let w = list(writes.iter().map(|(_, w)| format!("v{w} as *const f32")));
        let count = writes.len();
        let name = &self.interface.states[state];
        out.line(format!(
            "update::<{count}, {kind}, {has_col}, {ahead}>(s{state}.add({r} * ld{state}), ld{state}, {m}, n{cols}, {scale}, {row}, {col}, {u}, {w}); // {name}"
        ));
    }

    /// All tokens; which of the layouts the states have.
    fn run(&self, matrices: bool, attributes: &[String], out: &mut Text) {
        let count = self.lowered.states.len();
        let matrix: Vec<usize> = (0..count).filter(|i| self.lowered.is_matrix(*i)).collect();
        out.line("/// All tokens of one sequence and head.");
        out.lines(attributes);
        out.line("pub unsafe fn run(x: &Args) {");
        if !matrices {
            out.line("for t in 0..x.tokens {");
            out.line("by_rows::<0>(x, t, x.states_in, x.scratch);");
            out.line("}");
            out.line("}");
            return;
        }
        for (name, stride) in [("rows", "col_stride"), ("columns", "row_stride")] {
            out.line(format!("let mut {name} = true;"));
            for i in &matrix {
                out.line(format!(
                    "{name} &= !(*x.states_in.add({i})).ptr.is_null() && (*x.states_in.add({i})).{stride} == 1;"
                ));
            }
        }
        out.line("if rows {");
        out.line("let mut size = *x.sizes;");
        for side in 1..self.interface.sides {
            out.line(format!("if *x.sizes.add({side}) != size {{ size = 0; }}"));
        }
        for i in &matrix {
            out.line(format!("if (*x.states_in.add({i})).row_stride != size as isize {{ size = 0; }}"));
        }
        out.line("for t in 0..x.tokens {");
        out.line("match size {");
        for size in SIZES {
            out.line(format!("{size} => by_rows::<{size}>(x, t, x.states_in, x.scratch),"));
        }
        out.line("_ => by_rows::<0>(x, t, x.states_in, x.scratch),");
        out.line("}");
        out.line("}");
        out.line("} else if columns {");
        out.line("for t in 0..x.tokens {");
        out.line("by_columns(x, t, x.states_in, x.scratch);");
        out.line("}");
        out.line("} else {");
        out.line("let mut at = x.scratch;");
        let states = list((0..count).map(|i| format!("*x.states_in.add({i})")));
        out.line(format!("let mut states = {states};"));
        for i in &matrix {
            let (rows, cols) = self.lowered.sides(*i);
            out.line(format!("states[{i}] = gather(&states[{i}], *x.sizes.add({rows}), *x.sizes.add({cols}), at);"));
            out.line(format!("at = at.add(lines(*x.sizes.add({rows}) * *x.sizes.add({cols})));"));
        }
        out.line("for t in 0..x.tokens {");
        out.line("by_rows::<0>(x, t, states.as_ptr(), at);");
        out.line("}");
        for i in &matrix {
            let (rows, cols) = self.lowered.sides(*i);
            out.line(format!(
                "scatter(&*x.states_in.add({i}), *x.sizes.add({rows}), *x.sizes.add({cols}), states[{i}].ptr);"
            ));
        }
        out.line("}");
        out.line("}");
    }
}
