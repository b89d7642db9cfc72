//! Symbols of the canonical form as formulas, for a terminal or for LaTeX.

use rla_dsl::recurrence::Recurrence;

use crate::canon::Canonical;
use crate::canon::symbol::{Sym, SymKind, SymType};
use crate::tile::MapFn;

/// How formulas are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `a (S[t-1] q)`.
    Text,
    /// `a_t\,(S_{t-1} q_t)`.
    Latex,
}

/// Writes formulas of one recurrence.
#[derive(Clone, Copy, Debug)]
pub struct Formulas<'a> {
    /// Names.
    pub recurrence: &'a Recurrence,
    /// Symbols.
    pub canonical: &'a Canonical,
    /// How.
    pub style: Style,
}

/// Binding strength: what a formula is made of last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Sum,
    Product,
    Atom,
}

impl Formulas<'_> {
    /// A symbol.
    pub fn of(&self, sym: Sym) -> String {
        self.formula(sym).0
    }

    /// A symbol as a factor: sums in parentheses.
    pub fn factor(&self, sym: Sym) -> String {
        self.at(sym, Level::Product)
    }

    /// A symbol as one term: everything but names and calls in parentheses.
    pub fn atom(&self, sym: Sym) -> String {
        self.at(sym, Level::Atom)
    }

    /// A name with its index: `beta`, `beta_t` in LaTeX.
    pub fn name(&self, name: &str, index: &str) -> String {
        match self.style {
            Style::Text => name.to_string(),
            Style::Latex => {
                let name = if name.chars().count() == 1 { name.to_string() } else { greek(name) };
                if index.is_empty() { name } else { format!("{name}_{{{index}}}") }
            }
        }
    }

    /// The state before the token, `S[t-1]`.
    pub fn previous(&self, state: usize) -> String {
        let name = &self.recurrence.states[state].name;
        match self.style {
            Style::Text => format!("{name}[t-1]"),
            Style::Latex => self.name(name, "t-1"),
        }
    }

    /// A write's vector `u1[S]`.
    pub fn write(&self, state: usize, write: usize) -> String {
        self.numbered("u", state, write, self.canonical.states[state].writes.len())
    }

    /// An own readout `y1[S]`.
    pub fn readout(&self, state: usize, readout: usize) -> String {
        self.numbered("y", state, readout, self.canonical.states[state].readouts.len())
    }

    fn numbered(&self, letter: &str, state: usize, index: usize, count: usize) -> String {
        let name = &self.recurrence.states[state].name;
        let number = if count > 1 { (index + 1).to_string() } else { String::new() };
        match self.style {
            Style::Text => format!("{letter}{number}_{name}"),
            Style::Latex => format!("{letter}^{{{}{number}}}_t", self.name(name, "")),
        }
    }

    /// `a b`.
    pub fn times(&self, a: &str, b: &str) -> String {
        match self.style {
            Style::Text => format!("{a} {b}"),
            Style::Latex => format!("{a}\\,{b}"),
        }
    }

    /// A transposed factor.
    pub fn transposed(&self, a: &str) -> String {
        match self.style {
            Style::Text => format!("{a}^T"),
            Style::Latex => format!("{{{a}}}^\\top"),
        }
    }

    /// In parentheses.
    pub fn group(&self, a: &str) -> String {
        match self.style {
            Style::Text => format!("({a})"),
            Style::Latex => format!("\\left({a}\\right)"),
        }
    }

    fn at(&self, sym: Sym, least: Level) -> String {
        let (text, level) = self.formula(sym);
        if level < least { self.group(&text) } else { text }
    }

    fn formula(&self, sym: Sym) -> (String, Level) {
        let arena = &self.canonical.arena;
        let call = |name: &str, args: &[String]| {
            let name = match self.style {
                Style::Text => name.to_string(),
                Style::Latex => format!("\\operatorname{{{name}}}"),
            };
            (format!("{name}({})", args.join(", ")), Level::Atom)
        };
        match arena.kind(sym) {
            SymKind::Number(bits) => (f64::from_bits(*bits).to_string(), Level::Atom),
            SymKind::Const(i) => (self.name(&self.recurrence.consts[*i].name, ""), Level::Atom),
            SymKind::Size(side) => call("dim", &[self.recurrence.sides[side.0 as usize].clone()]),
            SymKind::Input(i) => (self.name(&self.recurrence.inputs[*i].name, "t"), Level::Atom),
            SymKind::Dot(a, b) => {
                let a = self.transposed(&self.at(*a, Level::Atom));
                (self.times(&a, &self.at(*b, Level::Atom)), Level::Product)
            }
            SymKind::Sum(x) => call("sum", &[self.of(*x)]),
            SymKind::Softmax(x) => call("softmax", &[self.of(*x)]),
            SymKind::L2norm(x, eps) => call("l2norm", &[self.of(*x), self.of(*eps)]),
            SymKind::Read { state, transposed, p } => {
                let state = self.previous(*state);
                let state = if *transposed { self.transposed(&state) } else { state };
                (self.times(&state, &self.at(*p, Level::Atom)), Level::Product)
            }
            SymKind::Vector(state) => (self.previous(*state), Level::Atom),
            SymKind::Write(state, write) => (self.write(*state, *write), Level::Atom),
            SymKind::Map(f, args) => self.map(*f, args, call),
        }
    }

    fn map(&self, f: MapFn, args: &[Sym], call: impl Fn(&str, &[String]) -> (String, Level)) -> (String, Level) {
        let arena = &self.canonical.arena;
        match f {
            MapFn::Add => {
                let (a, b) = (self.of(args[0]), self.of(args[1]));
                let text = match b.strip_prefix('-') {
                    Some(b) => format!("{a} - {b}"),
                    None => format!("{a} + {b}"),
                };
                (text, Level::Sum)
            }
            MapFn::Sub => (format!("{} - {}", self.of(args[0]), self.at(args[1], Level::Product)), Level::Sum),
            MapFn::Neg => (format!("-{}", self.at(args[0], Level::Product)), Level::Sum),
            MapFn::Mul => {
                let (a, b) = (self.at(args[0], Level::Product), self.at(args[1], Level::Product));
                let vectors = args.iter().all(|x| arena.ty(*x) != SymType::Scalar);
                let text = match (vectors, self.style) {
                    (true, Style::Text) => format!("{a} .* {b}"),
                    (true, Style::Latex) => format!("{a} \\odot {b}"),
                    (false, _) => self.times(&a, &b),
                };
                (text, Level::Product)
            }
            MapFn::Div => {
                let (a, b) = (self.at(args[0], Level::Product), self.at(args[1], Level::Atom));
                (format!("{a} / {b}"), Level::Product)
            }
            _ => {
                let args: Vec<String> = args.iter().map(|x| self.of(*x)).collect();
                call(&format!("{f:?}").to_lowercase(), &args)
            }
        }
    }
}

/// A name of several letters in LaTeX: Greek where it is one.
fn greek(name: &str) -> String {
    const LETTERS: [&str; 20] = [
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi",
        "pi", "rho", "sigma", "tau", "phi", "psi", "omega",
    ];
    if LETTERS.contains(&name) {
        return format!("\\{name}");
    }
    format!("\\mathrm{{{}}}", name.replace('_', "\\_"))
}
