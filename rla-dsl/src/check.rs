//! From the syntax tree to a [`Recurrence`]: the checks, in order.
//!
//! 1. [`names`]: each name is declared once, is not reserved, and every use finds its declaration.
//! 2. [`order`]: lets and constants come before their use, `S[t]` after its assignment; each state is assigned once.
//! 3. [`shapes`]: every operator gets operands that it takes; `I` finds its side; results fit what they are given to.
//! 4. [`constants`]: `const` values and bounds of `clamp` are constant expressions, and finite.
//! 5. [`warnings`]: what is accepted and probably not meant.
//!
//! All of them work on a [`Draft`], whose arena is already the recurrence's: constants first, then statements, so that
//! the order of an accepted text's declarations does not show. A node that was reported is [`Ty::Unknown`], and nothing
//! built on it is reported again.

mod constants;
mod names;
mod order;
mod shapes;
mod suggest;
mod warnings;

use std::collections::HashMap;

use crate::ast;
use crate::diagnostic::{Collector, Message};
use crate::recurrence::{Expr, ExprId, ExprKind, Recurrence, Side, Span, Type};

/// Operators that may stand on top of one another. A sum of so many terms is one such tower.
pub(crate) const HEIGHT: usize = 4096;

/// The type of a node while it is being checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ty {
    Known(Type),
    /// A square matrix built from `I` alone, its side not known yet.
    Square,
    /// Reported already.
    Unknown,
}

/// In the place of a side that was reported as unknown. No list of sides is so long.
const NO_SIDE: Side = Side(u16::MAX);

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entity {
    Input(usize),
    Const(usize),
    State(usize),
    /// The `let` statement of this index.
    Let(usize),
    Output(usize),
}

impl Entity {
    /// In a sentence.
    fn describe(self, recurrence: &Recurrence) -> &'static str {
        match self {
            Entity::Input(i) => match recurrence.inputs[i].kind {
                crate::recurrence::InputKind::Input => "an input",
                crate::recurrence::InputKind::Param => "a parameter",
            },
            Entity::Const(_) => "a constant",
            Entity::State(_) => "a state",
            Entity::Let(_) => "the name of a `let`",
            Entity::Output(_) => "an output",
        }
    }
}

/// A recurrence being checked.
struct Draft<'a> {
    source: &'a ast::Variant,
    /// Declarations, statements and the arena; types are placeholders until the end.
    recurrence: Recurrence,
    types: Vec<Ty>,
    /// First node of each constant's expression.
    const_first: Vec<usize>,
    /// First node of each statement's expression.
    first: Vec<usize>,
    names: HashMap<String, (Entity, Span)>,
    dims: HashMap<String, usize>,
    /// For each side the first node of the syntax tree that stands behind its declaration.
    dim_from: Vec<usize>,
}

impl Draft<'_> {
    fn kind(&self, id: ExprId) -> &ExprKind {
        &self.recurrence.expr(id).kind
    }

    fn ty(&self, id: ExprId) -> Ty {
        self.types[id.0 as usize]
    }

    fn span(&self, id: ExprId) -> Span {
        self.recurrence.expr(id).span
    }

    /// Where the name was declared.
    fn declared(&self, name: &str) -> Span {
        self.names.get(name).map_or(self.source.name.span, |entry| entry.1)
    }
}

/// Checks every variant; those without errors are recurrences.
pub(crate) fn file(variants: &[ast::Variant], out: &mut Collector) -> Vec<Recurrence> {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    let mut checked = Vec::new();
    for variant in variants {
        let (name, span) = (&variant.name.text, variant.name.span);
        if let Some(first) = seen.get(name.as_str()) {
            let what = " as a variant".to_string();
            out.report(Message::Duplicate { name: name.clone(), what }, span).at("first declared here", *first);
        }
        seen.entry(name).or_insert(span);
        if out.is_full() {
            break;
        }
        checked.extend(check(variant, out));
    }
    checked
}

fn check(variant: &ast::Variant, out: &mut Collector) -> Option<Recurrence> {
    let before = out.errors();
    let mut draft = names::check(variant, out);
    height(&draft, out);
    order::check(&mut draft, out);
    shapes::check(&mut draft, out);
    constants::check(&draft, out);
    // `Unknown` alone: what the parser reported
    if out.errors() > before || variant.damaged || draft.types.contains(&Ty::Unknown) {
        return None;
    }
    let mut recurrence = {
        warnings::check(&draft, out);
        draft.recurrence
    };
    for (Expr { ty, .. }, known) in recurrence.exprs.iter_mut().zip(&draft.types) {
        *ty = match known {
            Ty::Known(known) => *known,
            Ty::Square | Ty::Unknown => unreachable!("without an error every node has a type"),
        };
    }
    Some(recurrence)
}

/// No expression is a tower of more than [`HEIGHT`] operators: later passes may recurse so deep.
fn height(draft: &Draft, out: &mut Collector) {
    let mut heights = vec![0usize; draft.recurrence.exprs.len()];
    for (i, expr) in draft.recurrence.exprs.iter().enumerate() {
        let height = children(&expr.kind).map(|c| heights[c.0 as usize] + 1).max().unwrap_or(0);
        if height == HEIGHT + 1 && !out.is_full() {
            out.report(Message::TooDeep { limit: HEIGHT.to_string() }, expr.span);
        }
        heights[i] = height;
    }
}

/// The operands of a node. A reference to a `let` has none.
fn children(kind: &ExprKind) -> impl Iterator<Item = ExprId> + '_ {
    let (fixed, list): ([Option<ExprId>; 2], &[ExprId]) = match kind {
        ExprKind::Negate(a) | ExprKind::Transpose(a) => ([Some(*a), None], &[]),
        ExprKind::Add(a, b)
        | ExprKind::Subtract(a, b)
        | ExprKind::Multiply(a, b)
        | ExprKind::Hadamard(a, b)
        | ExprKind::Divide(a, b) => ([Some(*a), Some(*b)], &[]),
        ExprKind::Call(_, arguments) => ([None, None], arguments),
        _ => ([None, None], &[]),
    };
    fixed.into_iter().flatten().chain(list.iter().copied())
}
