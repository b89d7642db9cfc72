//! What the compiler understood of a recurrence, in words, formulas and numbers.
//!
//! [`explain`] gives the class, the order of states, the canonical form, the chunk form and the arithmetic; the reason
//! and its place where a recurrence has no chunk form.

use rla_dsl::recurrence::{Recurrence, Side};

use crate::canon::symbol::Sym;
use crate::canon::{self, CanonState, Canonical};
use crate::pipeline;
use crate::schedule::{Schedule, Slot};

pub mod cost;
mod formula;
mod memory;
mod page;

use formula::Formulas;
pub use formula::Style;
use page::Page;

/// Everything that is known of a recurrence, as a page for a terminal or a LaTeX fragment (amsmath). `sizes` has one size
/// a side, for the counts.
pub fn explain(recurrence: &Recurrence, sizes: &[usize], style: Style) -> String {
    let mut page = Page::new(style);
    match canon::canonicalize(recurrence) {
        Ok(canonical) => inside(recurrence, &canonical, sizes, &mut page),
        Err(outside) => {
            let (line, column) = (outside.span.line, outside.span.column + 1);
            page.title(&format!("{}: outside the class, runs token by token", recurrence.name));
            page.words(&format!("line {line}, column {column}: {}", outside.reason));
            page.section("cost");
            let programs = pipeline::token_programs(recurrence);
            executed(&mut page, &programs, &[("forward", 1), ("backward", 1)], sizes);
        }
    }
    page.finish()
}

fn inside(recurrence: &Recurrence, canonical: &Canonical, sizes: &[usize], page: &mut Page) {
    let formulas = Formulas { recurrence, canonical, style: page.style() };
    page.title(&format!("{}: in the class, chunk-parallel", recurrence.name));
    for remark in &canonical.remarks {
        page.words(&format!("line {}: {}", remark.span.line, remark.message));
    }
    let order: Vec<&str> = canonical.order.iter().map(|&i| recurrence.states[i].name.as_str()).collect();
    page.words(&format!("states in order of their dependence: {}", order.join(", ")));
    for &state in &canonical.order {
        canonical_form(&formulas, state, page);
    }
    page.section("outputs");
    for (name, &sym) in recurrence.outputs.iter().zip(&canonical.outputs) {
        page.equation(&formulas.name(name, "t"), &formulas.of(sym));
    }
    chunk_form(&formulas, page);

    page.section("cost");
    let dims: Vec<String> = recurrence.sides.iter().zip(sizes).map(|(side, n)| format!("{side} {n}")).collect();
    page.words(&format!(
        "operations per token and value head, {}, chunks of {}, everything shared:",
        dims.join(", "),
        cost::CHUNK
    ));
    let terms = cost::floor(recurrence, canonical, sizes, 1);
    let mut names: Vec<&str> = terms.iter().map(|term| term.what.as_str()).collect();
    names.dedup();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let alike: Vec<f64> = terms.iter().filter(|t| t.what == name).map(|t| t.flops).collect();
        page.count(name, alike.len(), alike.iter().sum());
    }
    page.count("least, forward", 1, cost::total(&terms));
    page.count("least, one decoded token", 1, cost::per_step(&terms));
    if let Ok((_, programs)) = pipeline::chunk_programs(recurrence) {
        executed(page, &programs, &[("forward", cost::CHUNK), ("backward", 2 * cost::CHUNK)], sizes);
        kept(recurrence, &programs, sizes, page);
    }
}

/// What forward keeps for backward.
fn kept(recurrence: &Recurrence, programs: &pipeline::Programs, sizes: &[usize], page: &mut Page) {
    page.section("memory of training");
    page.words("kept for backward, bytes per token and value head; states are kept where chunks start:");
    let keeping = &programs.forward_save;
    let chunk = Schedule::default().of(Slot::of_training(keeping)).chunk;
    let on_a_cpu = memory::formula(keeping, recurrence, (4, 4), chunk);
    page.words(&format!("CPU, f32: {on_a_cpu}"));
    let on_a_gpu = memory::on_a_gpu(recurrence, sizes);
    for kept in &on_a_gpu {
        page.words(&format!("{}: {}", kept.of, kept.formula));
    }
    for kept in on_a_gpu {
        page.count(&format!("{}, filled up", kept.of), 1, kept.bytes);
    }
}

fn executed(page: &mut Page, programs: &pipeline::Programs, passes: &[(&str, usize)], sizes: &[usize]) {
    for &(pass, chunk) in passes {
        let program = if pass == "forward" { &programs.forward } else { &programs.backward };
        page.count(&format!("executed, {pass}, C = {chunk}"), 1, cost::executed(program, chunk, sizes));
    }
}

fn side(recurrence: &Recurrence, side: Option<Side>) -> &str {
    side.map_or("1", |side| &recurrence.sides[side.0 as usize])
}

/// `X[t] = diag(L) X[t-1] diag(R) + sum u w^T`, and what u is.
fn canonical_form(formulas: &Formulas, index: usize, page: &mut Page) {
    let Formulas { recurrence, canonical, .. } = *formulas;
    let state = &canonical.states[index];
    let decl = &recurrence.states[index];
    page.section(&format!(
        "state {}: {} x {}, channels along {}, contracts {}",
        decl.name,
        side(recurrence, decl.rows),
        recurrence.sides[decl.cols.0 as usize],
        side(recurrence, state.free),
        side(recurrence, state.contracted),
    ));
    let mut update = decayed(formulas, state, index);
    for (j, write) in state.writes.iter().enumerate() {
        let u = formulas.write(index, j);
        let product = match write.given {
            Some(w) => {
                let w = formulas.atom(w);
                match state.transposed {
                    false => formulas.times(&u, &formulas.transposed(&w)),
                    true => formulas.times(&w, &formulas.transposed(&u)),
                }
            }
            None => u,
        };
        update = format!("{update} + {product}");
    }
    page.equation(&current(formulas, index), &update);
    for (l, &p) in state.readouts.iter().enumerate() {
        let state_name = formulas.previous(index);
        let state_name = if state.transposed { formulas.transposed(&state_name) } else { state_name };
        page.equation(&formulas.readout(index, l), &formulas.times(&state_name, &formulas.atom(p)));
    }
    for j in 0..state.writes.len() {
        page.equation(&formulas.write(index, j), &written(formulas, state, index, j));
    }
}

fn current(formulas: &Formulas, index: usize) -> String {
    let name = &formulas.recurrence.states[index].name;
    match formulas.style {
        Style::Text => format!("{name}[t]"),
        Style::Latex => formulas.name(name, "t"),
    }
}

/// The decayed state before the token.
fn decayed(formulas: &Formulas, state: &CanonState, index: usize) -> String {
    let exp = |log: Sym| match formulas.style {
        Style::Text => format!("exp({})", formulas.of(log)),
        Style::Latex => format!("e^{{{}}}", formulas.of(log)),
    };
    let diagonal = |log: Sym| match formulas.style {
        Style::Text => format!("diag({})", exp(log)),
        Style::Latex => format!("\\operatorname{{diag}}({})", exp(log)),
    };
    let (rows, columns) = match state.transposed {
        false => (state.free_decay, state.contracted_decay),
        true => (state.contracted_decay, state.free_decay),
    };
    let mut text = formulas.previous(index);
    if let Some(log) = rows {
        text = formulas.times(&diagonal(log), &text);
    }
    if let Some(log) = columns {
        text = formulas.times(&text, &diagonal(log));
    }
    match state.scalar_decay {
        Some(log) => formulas.times(&exp(log), &text),
        None => text,
    }
}

/// `u_j = b_j + sum c_jl y_l`.
fn written(formulas: &Formulas, state: &CanonState, index: usize, write: usize) -> String {
    let row = &state.writes[write];
    let mut text = row.base.map_or(String::new(), |b| formulas.of(b));
    for (l, c) in row.coefficients.iter().enumerate() {
        let Some(c) = c else { continue };
        let (c, y) = (formulas.factor(*c), formulas.readout(index, l));
        let term = if c == "1" { y } else { formulas.times(&c, &y) };
        text = match (text.is_empty(), term.starts_with('-') || term.starts_with("(-")) {
            (true, _) => term,
            (false, true) if term.starts_with('-') => format!("{text} - {}", &term[1..]),
            _ => format!("{text} + {term}"),
        };
    }
    if text.is_empty() { "0".into() } else { text }
}

/// The equations of one chunk: rows are its tokens, the state's name is the state at its start.
fn chunk_form(formulas: &Formulas, page: &mut Page) {
    let Formulas { recurrence, canonical, style } = *formulas;
    page.section("chunk form (rows are the C tokens of a chunk; a state's name stands for it at the chunk's start)");
    let latex = style == Style::Latex;
    let strict = if latex { "\\odot" } else { ".*" };
    for &index in &canonical.order {
        let state = &canonical.states[index];
        let name = formulas.name(&recurrence.states[index].name, "");
        let logs = [state.scalar_decay, state.free_decay, state.contracted_decay];
        let decays: Vec<String> = logs.into_iter().flatten().map(|log| formulas.of(log)).collect();
        let between = match (decays.is_empty(), latex) {
            (true, true) => "[s<t]".to_string(),
            (true, false) => "[s < t]".to_string(),
            (false, true) => format!("[s<t]\\, e^{{\\sum_{{s<j<t}} ({})_j}}", decays.join(" + ")),
            (false, false) => format!("[s < t] exp(sum over s < j < t of {})", decays.join(" + ")),
        };
        page.equation(&format!("E_{name}[t,s]"), &between);
        let (e, f) = (format!("e_{name}"), format!("f_{name}"));
        for (l, &p) in state.readouts.iter().enumerate() {
            let p = formulas.atom(p);
            let mut y = format!("({e} {strict} {p}) {}", formulas.transposed(&name));
            for (j, write) in state.writes.iter().enumerate() {
                let w = write.given.map_or("1".to_string(), |w| formulas.atom(w));
                y = format!("{y} + ({p} {} {strict} E_{name}) {}", formulas.transposed(&w), formulas.write(index, j));
            }
            page.equation(&formulas.readout(index, l), &y);
        }
        let mut end = if decays.is_empty() { name.clone() } else { format!("t_{name} {name}") };
        for (j, write) in state.writes.iter().enumerate() {
            let u = formulas.transposed(&formulas.write(index, j));
            end = match write.given {
                Some(w) => format!("{end} + {u} ({f} {strict} {})", formulas.atom(w)),
                None => format!("{end} + {u} {f}"),
            };
        }
        page.equation(&format!("{name}'"), &end);
    }
    page.words(
        "e, f, t: decay from the chunk's start to a token, from behind a token to the chunk's end, and over the whole \
         chunk. Readouts and writes of one state are one triangular system, solved by substitution. Readouts by outputs \
         and by other states have the same form as y.",
    );
}
