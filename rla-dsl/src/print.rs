//! Canonical text: `parse(print(r)) == r`, places apart.
//!
//! Declarations come in the order dims, inputs and parameters, constants, states; then the statements. Parentheses
//! stand only where the grammar needs them.

use std::fmt::Write;

use crate::recurrence::{Domain, ExprId, ExprKind, Input, InputKind, Recurrence, Side, State, StatementKind};

/// The recurrence as text.
pub fn print(recurrence: &Recurrence) -> String {
    let mut out = String::new();
    docs(&mut out, "", &recurrence.docs);
    writeln!(out, "{}variant {} {{", if recurrence.public { "pub " } else { "" }, recurrence.name).unwrap();
    if recurrence.sides.len() > 2 {
        writeln!(out, "    dim {};", recurrence.sides[2..].join(", ")).unwrap();
    }
    for item in recurrence.inputs.chunk_by(|a, b| a.kind == b.kind && a.docs == b.docs) {
        inputs(&mut out, recurrence, item);
    }
    for constant in &recurrence.consts {
        docs(&mut out, "    ", &constant.docs);
        writeln!(out, "    const {} = {};", constant.name, expression(recurrence, constant.value)).unwrap();
    }
    for item in recurrence.states.chunk_by(|a, b| (a.rows, a.cols, &a.docs) == (b.rows, b.cols, &b.docs)) {
        states(&mut out, recurrence, item);
    }
    if !recurrence.statements.is_empty() {
        out.push('\n');
    }
    for statement in &recurrence.statements {
        docs(&mut out, "    ", &statement.docs);
        let name = &statement.name;
        match statement.kind {
            StatementKind::Let => write!(out, "    let {name}").unwrap(),
            StatementKind::Assign(_) => write!(out, "    {name}[t]").unwrap(),
            StatementKind::Output(_) => write!(out, "    output {name}").unwrap(),
        }
        writeln!(out, " = {};", expression(recurrence, statement.value)).unwrap();
    }
    out.push_str("}\n");
    out
}

fn docs(out: &mut String, indent: &str, docs: &str) {
    if docs.is_empty() {
        return;
    }
    for line in docs.split('\n') {
        let blank = if line.is_empty() { "" } else { " " };
        writeln!(out, "{indent}///{blank}{line}").unwrap();
    }
}

/// Inputs of one kind: groups of one type and domain.
fn inputs(out: &mut String, recurrence: &Recurrence, inputs: &[Input]) {
    docs(out, "    ", &inputs[0].docs);
    let word = match inputs[0].kind {
        InputKind::Input => "input",
        InputKind::Param => "param",
    };
    let same = |a: &Input, b: &Input| (a.gate, a.side, a.domain) == (b.gate, b.side, b.domain);
    let groups = inputs.chunk_by(same).map(|group| {
        let names: Vec<&str> = group.iter().map(|input| input.name.as_str()).collect();
        let Input { gate, side, domain, .. } = group[0];
        let gate = if gate { "gate " } else { "" };
        let side = side.map_or("scalar", |side| side_name(recurrence, side));
        let domain = match domain {
            Domain::Any => String::new(),
            Domain::Unit => " unit".to_string(),
            Domain::Range(low, high) => format!(" in {}..{}", number(low), number(high)),
        };
        format!("{}: {gate}{side}{domain}", names.join(", "))
    });
    writeln!(out, "    {word} {};", groups.collect::<Vec<_>>().join(", ")).unwrap();
}

fn states(out: &mut String, recurrence: &Recurrence, states: &[State]) {
    docs(out, "    ", &states[0].docs);
    let names: Vec<&str> = states.iter().map(|state| state.name.as_str()).collect();
    let cols = side_name(recurrence, states[0].cols);
    let sides = match states[0].rows {
        Some(rows) => format!("{} x {cols}", side_name(recurrence, rows)),
        None => cols.to_string(),
    };
    writeln!(out, "    state {}: {sides};", names.join(", ")).unwrap();
}

fn side_name(recurrence: &Recurrence, side: Side) -> &str {
    &recurrence.sides[side.0 as usize]
}

/// An expression as text.
pub fn expression(recurrence: &Recurrence, root: ExprId) -> String {
    bounded(recurrence, root, Binding::Sum, usize::MAX).expect("no bound")
}

/// An expression as text that may stand where `within` binds, if it has at most `most` bytes.
pub(crate) fn short(recurrence: &Recurrence, root: ExprId, within: Binding, most: usize) -> Option<String> {
    bounded(recurrence, root, within, most)
}

/// A number as the language reads it (`inf` in a bound only).
pub(crate) fn number(x: f64) -> String {
    if x == x.trunc() && x.abs() < 1e15 { format!("{x}") } else { format!("{x:?}") }
}

/// How tightly an expression binds: what it may stand in without parentheses.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Binding {
    Sum,
    Product,
    Factor,
    Atom,
}

enum Piece<'a> {
    Text(&'a str),
    Expr(ExprId, Binding),
}

/// Prints with a stack of its own: an expression may be a tower of thousands of operators.
fn bounded(recurrence: &Recurrence, root: ExprId, within: Binding, most: usize) -> Option<String> {
    use Piece::{Expr, Text};
    let mut out = String::new();
    let mut stack = vec![Expr(root, within)];
    while let Some(piece) = stack.pop() {
        if out.len() > most {
            return None;
        }
        let (id, within) = match piece {
            Text(text) => {
                out.push_str(text);
                continue;
            }
            Expr(id, within) => (id, within),
        };
        let kind = &recurrence.expr(id).kind;
        let parentheses = binding(kind) < within;
        if parentheses {
            out.push('(');
            stack.push(Text(")"));
        }
        let mut binary = |a: ExprId, operator: &'static str, b: ExprId, left: Binding, right: Binding| {
            stack.extend([Expr(b, right), Text(operator), Expr(a, left)]);
        };
        match kind {
            ExprKind::Number(x) => out.push_str(&number(*x)),
            ExprKind::Input(i) => out.push_str(&recurrence.inputs[*i].name),
            ExprKind::Const(i) => out.push_str(&recurrence.consts[*i].name),
            ExprKind::Let(i) => out.push_str(&recurrence.statements[*i].name),
            ExprKind::StatePrevious(i) => write!(out, "{}[t-1]", recurrence.states[*i].name).unwrap(),
            ExprKind::StateCurrent(i) => write!(out, "{}[t]", recurrence.states[*i].name).unwrap(),
            ExprKind::Identity => out.push('I'),
            ExprKind::Dim(side) => write!(out, "dim({})", side_name(recurrence, *side)).unwrap(),
            ExprKind::Negate(a) => stack.extend([Expr(*a, Binding::Factor), Text("-")]),
            ExprKind::Transpose(a) => stack.extend([Text("^T"), Expr(*a, Binding::Atom)]),
            ExprKind::Add(a, b) => binary(*a, " + ", *b, Binding::Sum, Binding::Product),
            ExprKind::Subtract(a, b) => binary(*a, " - ", *b, Binding::Sum, Binding::Product),
            ExprKind::Multiply(a, b) => binary(*a, " * ", *b, Binding::Product, Binding::Factor),
            ExprKind::Hadamard(a, b) => binary(*a, " .* ", *b, Binding::Product, Binding::Factor),
            ExprKind::Divide(a, b) => binary(*a, " / ", *b, Binding::Product, Binding::Factor),
            ExprKind::Call(func, arguments) => {
                write!(out, "{}(", func.name()).unwrap();
                stack.push(Text(")"));
                for (i, argument) in arguments.iter().enumerate().rev() {
                    stack.push(Expr(*argument, Binding::Sum));
                    if i > 0 {
                        stack.push(Text(", "));
                    }
                }
            }
        }
    }
    (out.len() <= most).then_some(out)
}

fn binding(kind: &ExprKind) -> Binding {
    match kind {
        ExprKind::Add(..) | ExprKind::Subtract(..) => Binding::Sum,
        ExprKind::Multiply(..) | ExprKind::Hadamard(..) | ExprKind::Divide(..) => Binding::Product,
        // a negative number is no literal of the language
        ExprKind::Negate(_) => Binding::Factor,
        ExprKind::Number(x) if *x < 0.0 => Binding::Factor,
        _ => Binding::Atom,
    }
}
