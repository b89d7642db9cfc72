//! Each name is declared once and is not reserved; every use finds its declaration.
//!
//! Dims have a name space of their own, since they stand only where a side stands. Declarations may follow their use,
//! except where [`super::order`] says otherwise; a dim may not.

use std::collections::HashMap;

use super::{Draft, Entity, NO_SIDE, Ty};
use crate::ast::{self, Body, DomainKind, ItemKind, Name, Operator};
use crate::diagnostic::{Collector, Message};
use crate::recurrence::{
    Const, Domain, Expr, ExprId, ExprKind, Input, Recurrence, Side, Span, State, Statement, StatementKind, Type,
};
use crate::symbol;

pub(super) fn check<'a>(variant: &'a ast::Variant, out: &mut Collector) -> Draft<'a> {
    let recurrence = Recurrence {
        name: variant.name.text.clone(),
        docs: variant.docs.clone(),
        public: variant.public,
        sides: symbol::SIDES.iter().map(|s| s.to_string()).collect(),
        inputs: Vec::new(),
        consts: Vec::new(),
        states: Vec::new(),
        outputs: Vec::new(),
        statements: Vec::new(),
        exprs: Vec::new(),
        span: variant.span,
        name_span: variant.name.span,
    };
    let mut draft = Draft {
        source: variant,
        recurrence,
        types: Vec::new(),
        const_first: Vec::new(),
        first: Vec::new(),
        names: HashMap::new(),
        dim_from: vec![0; symbol::SIDES.len()],
        dims: symbol::SIDES.iter().enumerate().map(|(i, s)| (s.to_string(), i)).collect(),
    };
    let bodies = declare(&mut draft, out);
    initial_states(&draft, out);
    for (i, body) in bodies.consts.iter().enumerate() {
        let first = draft.recurrence.exprs.len();
        draft.const_first.push(first);
        draft.recurrence.consts[i].value = lower(&mut draft, *body, out);
    }
    for (i, (body, assigned)) in bodies.statements.iter().enumerate() {
        let first = draft.recurrence.exprs.len();
        draft.first.push(first);
        draft.recurrence.statements[i].value = lower(&mut draft, *body, out);
        if let Some(name) = assigned {
            assignment(&mut draft, i, name, out);
        }
    }
    draft
}

/// The right-hand sides, in order; of an assignment also the name on its left.
#[derive(Default)]
struct Bodies<'a> {
    consts: Vec<Body>,
    statements: Vec<(Body, Option<&'a Name>)>,
}

fn declare<'a>(draft: &mut Draft<'a>, out: &mut Collector) -> Bodies<'a> {
    let mut bodies = Bodies::default();
    let later: HashMap<&'a str, Span> = draft.source.items.iter().flat_map(dims_of).collect();
    let mut node = 0; // the syntax tree's first node behind the item at hand
    for item in &draft.source.items {
        let docs = || item.docs.clone();
        match &item.kind {
            ItemKind::Dim(names) => names.iter().for_each(|name| dim(draft, name, node, out)),
            ItemKind::Inputs(kind, groups) => {
                for group in groups {
                    let side = group.side.as_ref().map(|name| side(draft, name, &later, out));
                    let domain = domain(group, out);
                    for name in &group.names {
                        let entity = Entity::Input(draft.recurrence.inputs.len());
                        declare_one(draft, name, entity, out);
                        draft.recurrence.inputs.push(Input {
                            name: name.text.clone(),
                            docs: docs(),
                            kind: *kind,
                            gate: group.gate,
                            side,
                            domain,
                            span: name.span,
                        });
                    }
                }
            }
            ItemKind::Const(name, body) => {
                let entity = Entity::Const(draft.recurrence.consts.len());
                declare_one(draft, name, entity, out);
                let value = ExprId(0);
                draft.recurrence.consts.push(Const { name: name.text.clone(), docs: docs(), value, span: name.span });
                bodies.consts.push(*body);
                node = body.root + 1;
            }
            ItemKind::State { names, first, second } => {
                let first = side(draft, first, &later, out);
                let second = second.as_ref().map(|name| side(draft, name, &later, out));
                let (rows, cols) = second.map_or((None, first), |second| (Some(first), second));
                for name in names {
                    let entity = Entity::State(draft.recurrence.states.len());
                    declare_one(draft, name, entity, out);
                    let name = State { name: name.text.clone(), docs: docs(), rows, cols, span: name.span };
                    draft.recurrence.states.push(name);
                }
            }
            ItemKind::Let(name, body) | ItemKind::Assign(name, body) | ItemKind::Output(name, body) => {
                let index = draft.recurrence.statements.len();
                let kind = match &item.kind {
                    ItemKind::Let(..) => {
                        declare_one(draft, name, Entity::Let(index), out);
                        StatementKind::Let
                    }
                    ItemKind::Output(..) => {
                        let output = draft.recurrence.outputs.len();
                        declare_one(draft, name, Entity::Output(output), out);
                        draft.recurrence.outputs.push(name.text.clone());
                        StatementKind::Output(output)
                    }
                    // which state it is is known when all names are
                    _ => StatementKind::Assign(usize::MAX),
                };
                let assigned = matches!(kind, StatementKind::Assign(_)).then_some(name);
                let (name, docs, value) = (name.text.clone(), docs(), ExprId(0));
                draft.recurrence.statements.push(Statement { kind, name, docs, value, span: item.span });
                bodies.statements.push((*body, assigned));
                node = body.root + 1;
            }
        }
    }
    bodies
}

fn dims_of(item: &ast::Item) -> impl Iterator<Item = (&str, Span)> {
    let names: &[Name] = match &item.kind {
        ItemKind::Dim(names) => names,
        _ => &[],
    };
    names.iter().map(|name| (name.text.as_str(), name.span))
}

fn dim(draft: &mut Draft, name: &Name, node: usize, out: &mut Collector) {
    let text = &name.text;
    if symbol::NOT_A_DIM.contains(&text.as_str()) {
        let reason = "a word that starts a type".to_string();
        out.report(Message::ReservedName { name: text.clone(), reason }, name.span);
    } else if text == "cu_seqlens" {
        reserved_cu_seqlens(name, out);
    } else if draft.dims.contains_key(text) && !out.is_full() {
        let what = " as a dim".to_string();
        let mut declared = draft.source.items.iter().flat_map(dims_of);
        let first = declared.find(|(first, _)| first == text).map_or(name.span, |(_, span)| span);
        out.report(Message::Duplicate { name: text.clone(), what }, name.span).at("first declared here", first);
    } else {
        draft.dims.insert(text.clone(), draft.recurrence.sides.len());
        draft.recurrence.sides.push(text.clone());
        draft.dim_from.push(node);
    }
}

fn reserved_cu_seqlens(name: &Name, out: &mut Collector) {
    let reason = "the offsets of packed sequences".to_string();
    out.report(Message::ReservedName { name: name.text.clone(), reason }, name.span);
}

/// The side of that name, [`NO_SIDE`] where there is none.
fn side(draft: &Draft, name: &Name, later: &HashMap<&str, Span>, out: &mut Collector) -> Side {
    if let Some(side) = draft.dims.get(&name.text) {
        return Side(*side as u16);
    }
    if let Some(place) = later.get(name.text.as_str()) {
        out.report(Message::DimOrder { name: name.text.clone() }, name.span).at("declared here", *place);
    } else if !draft.source.damaged {
        let diagnostic = out.report(Message::UnknownSide { name: name.text.clone() }, name.span);
        match symbol::nearest(&name.text, draft.recurrence.sides.iter().map(String::as_str)) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic.help(format!("a side is `key`, `value` or a dim: `dim {};`", name.text)),
        };
    }
    NO_SIDE
}

fn domain(group: &ast::Group, out: &mut Collector) -> Domain {
    let Some(domain) = &group.domain else { return Domain::Any };
    match domain.kind {
        DomainKind::Unit if group.side.is_none() => {
            out.report(Message::UnitScalar {}, domain.span);
            Domain::Any
        }
        DomainKind::Unit => Domain::Unit,
        DomainKind::Range(low, high) => {
            if low > high || low == f64::INFINITY || high == f64::NEG_INFINITY {
                let diagnostic = out.report(Message::EmptyDomain { domain: format!("{low}..{high}") }, domain.span);
                if low > high {
                    diagnostic.help(format!("the smaller bound comes first: `{high}..{low}`"));
                }
            }
            Domain::Range(low, high)
        }
    }
}

fn declare_one(draft: &mut Draft, name: &Name, entity: Entity, out: &mut Collector) {
    if name.text == "cu_seqlens" {
        reserved_cu_seqlens(name, out);
    }
    match draft.names.get(&name.text) {
        Some((_, first)) => {
            let message = Message::Duplicate { name: name.text.clone(), what: String::new() };
            out.report(message, name.span).at("first declared here", *first);
        }
        None => {
            draft.names.insert(name.text.clone(), (entity, name.span));
        }
    }
}

/// `S0` is the initial value of a state `S`, so nothing else is called so.
fn initial_states(draft: &Draft, out: &mut Collector) {
    for state in &draft.recurrence.states {
        let initial = format!("{}0", state.name);
        if let Some((_, span)) = draft.names.get(&initial) {
            let reason = format!("the initial value of the state `{}`", state.name);
            out.report(Message::ReservedName { name: initial, reason }, *span).at("the state", state.span);
        }
    }
}

fn assignment(draft: &mut Draft, statement: usize, name: &Name, out: &mut Collector) {
    match draft.names.get(&name.text) {
        Some((Entity::State(i), _)) => draft.recurrence.statements[statement].kind = StatementKind::Assign(*i),
        Some((entity, declared)) => {
            let what = entity.describe(&draft.recurrence).to_string();
            let message = Message::NotAState { name: name.text.clone(), what };
            out.report(message, name.span).at("declared here", *declared);
        }
        None if draft.source.damaged => {}
        None => {
            out.report(Message::UnknownName { name: name.text.clone() }, name.span)
                .help(format!("a state is declared with its sides: `state {}: value x key;`", name.text));
        }
    }
}

/// Copies a right-hand side into the recurrence's arena, names resolved.
fn lower(draft: &mut Draft, body: Body, out: &mut Collector) -> ExprId {
    let source = draft.source;
    let base = draft.recurrence.exprs.len();
    let at = |id: usize| ExprId((id - body.first + base) as u32);
    for (index, node) in source.exprs.iter().enumerate().take(body.root + 1).skip(body.first) {
        let kind = if out.is_full() {
            None
        } else {
            match &node.kind {
                ast::ExprKind::Error => None,
                ast::ExprKind::Number(x) => Some(ExprKind::Number(*x)),
                ast::ExprKind::Identity => Some(ExprKind::Identity),
                ast::ExprKind::Name(name) => resolve(draft, name, node.span, out),
                ast::ExprKind::Read { name, previous } => resolve_read(draft, name, *previous, node.span, out),
                ast::ExprKind::Dim(name) => {
                    let found = draft.dims.get(&name.text).copied();
                    match found {
                        Some(i) if draft.dim_from[i] > index => {
                            let declared = source.items.iter().flat_map(dims_of).find(|(dim, _)| *dim == name.text);
                            let place = declared.map_or(name.span, |(_, span)| span);
                            let message = Message::DimOrder { name: name.text.clone() };
                            out.report(message, name.span).at("declared here", place);
                            None
                        }
                        Some(i) => Some(ExprKind::Dim(Side(i as u16))),
                        None => {
                            side(draft, name, &HashMap::new(), out);
                            None
                        }
                    }
                }
                ast::ExprKind::Negate(a) => Some(ExprKind::Negate(at(*a))),
                ast::ExprKind::Transpose(a) => Some(ExprKind::Transpose(at(*a))),
                ast::ExprKind::Binary(operator, a, b) => {
                    let (a, b) = (at(*a), at(*b));
                    Some(match operator {
                        Operator::Add => ExprKind::Add(a, b),
                        Operator::Subtract => ExprKind::Subtract(a, b),
                        Operator::Multiply => ExprKind::Multiply(a, b),
                        Operator::Hadamard => ExprKind::Hadamard(a, b),
                        Operator::Divide => ExprKind::Divide(a, b),
                    })
                }
                ast::ExprKind::Call(func, list) => Some(ExprKind::Call(*func, list.iter().map(|a| at(*a)).collect())),
            }
        };
        draft.types.push(if kind.is_some() { Ty::Square } else { Ty::Unknown });
        let kind = kind.unwrap_or(ExprKind::Number(0.0));
        draft.recurrence.exprs.push(Expr { kind, ty: Type::Scalar, span: node.span });
    }
    at(body.root)
}

fn resolve(draft: &Draft, name: &str, span: Span, out: &mut Collector) -> Option<ExprKind> {
    match draft.names.get(name) {
        Some((Entity::Input(i), _)) => Some(ExprKind::Input(*i)),
        Some((Entity::Const(i), _)) => Some(ExprKind::Const(*i)),
        Some((Entity::Let(i), _)) => Some(ExprKind::Let(*i)),
        Some((Entity::State(_), _)) => {
            out.report(Message::BareState { name: name.into() }, span)
                .help(format!("write `{name}[t-1]`, or `{name}[t]` after its assignment"));
            None
        }
        Some((Entity::Output(_), declared)) => {
            out.report(Message::OutputRead { name: name.into() }, span).at("declared here", *declared);
            None
        }
        None => {
            unknown(draft, name, span, out);
            None
        }
    }
}

fn resolve_read(draft: &Draft, name: &Name, previous: bool, span: Span, out: &mut Collector) -> Option<ExprKind> {
    match draft.names.get(&name.text) {
        Some((Entity::State(i), _)) if previous => Some(ExprKind::StatePrevious(*i)),
        Some((Entity::State(i), _)) => Some(ExprKind::StateCurrent(*i)),
        Some((entity, _)) => {
            let what = entity.describe(&draft.recurrence).to_string();
            out.report(Message::NotIndexed { name: name.text.clone(), what }, span)
                .help(format!("write `{}`: it is the value at the token `t`", name.text));
            None
        }
        None => {
            unknown(draft, &name.text, name.span, out);
            None
        }
    }
}

fn unknown(draft: &Draft, name: &str, span: Span, out: &mut Collector) {
    if draft.source.damaged || out.is_full() {
        return;
    }
    let initial = name.strip_suffix('0').filter(|s| matches!(draft.names.get(*s), Some((Entity::State(_), _))));
    let diagnostic = out.report(Message::UnknownName { name: name.into() }, span);
    let mut names: Vec<&str> = draft.names.keys().map(String::as_str).collect();
    names.sort_unstable();
    if let Some(state) = initial {
        diagnostic.help(format!("the initial value of `{state}` is read as `{state}[t-1]` at the first token"));
    } else if name == "T" {
        diagnostic.help("a transpose is written `x^T`");
    } else if draft.dims.contains_key(name) {
        diagnostic.help(format!("the size of a side is `dim({name})`"));
    } else if let Some(near) = symbol::nearest(name, names) {
        diagnostic.help(format!("did you mean `{near}`?"));
    }
}
