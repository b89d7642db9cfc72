//! Mutants of compiled programs: a rule changes every operation of one kind, as a slip in that operation's code, in its
//! adjoint or in a numerical rule would. Product code knows nothing of them: a mutant is a rewritten tile program.
pub mod decay;
pub mod kinds;
pub mod table;

use rla_codegen::pass::rewrite::rewrite;
use rla_codegen::tile::builder::Builder;
use rla_codegen::tile::verify::verify;
use rla_codegen::tile::{MapFn, Op, Program, Shape, Value};

/// A row of the list.
#[derive(Clone, Copy)]
pub struct Rule {
    /// What is wrong.
    pub name: &'static str,
    /// What an operation is replaced by; `None`: it stays. A leaf is in the builder already.
    pub change: fn(&mut Builder, &Op) -> Option<Value>,
}

/// A mutant: one of the rules, or every operation of a kind counted twice.
#[derive(Clone, Copy)]
pub enum Mutant {
    /// A rule.
    Rule(Rule),
    /// The name of the kind.
    Twice(&'static str),
}

impl Mutant {
    /// All of them, from the rules and the table of operations.
    pub fn all() -> Vec<Mutant> {
        // a mask is nonzero or zero, however often it is counted; a system is used by its parts only
        let once = ["valid", "solve_down", "solve_up"];
        let rules = decay::RULES.into_iter().chain(table::RULES).map(Mutant::Rule);
        rules.chain(kinds::ALL.into_iter().filter(|kind| !once.contains(kind)).map(Mutant::Twice)).collect()
    }

    /// What is wrong.
    pub fn name(&self) -> String {
        match self {
            Mutant::Rule(rule) => rule.name.to_string(),
            Mutant::Twice(kind) => format!("{kind}: counted twice"),
        }
    }

    fn change(&self, builder: &mut Builder, op: &Op, shape: Shape) -> Option<Value> {
        if let Op::Leaf(leaf) = op {
            builder.leaf(*leaf, shape);
        }
        match self {
            Mutant::Rule(rule) => (rule.change)(builder, op),
            Mutant::Twice(kind) if kinds::kind(op) == *kind => {
                let value = match op {
                    Op::Leaf(leaf) => builder.leaf(*leaf, shape),
                    op => same(builder, op),
                };
                Some(builder.add(value, value))
            }
            Mutant::Twice(_) => None,
        }
    }
}

/// The program with a mutant's change at every place where it fits; `None` where there is none.
pub fn mutated(program: &Program, mutant: &Mutant) -> Option<Program> {
    let mut places = 0;
    let changed = rewrite(program, |builder, old, op| {
        let value = mutant.change(builder, op, program.shape(old))?;
        places += 1;
        Some(value)
    });
    let fits =
        |a: &Program, b: &Program| a.results.iter().zip(&b.results).all(|((_, x), (_, y))| a.shape(*x) == b.shape(*y));
    (places > 0 && verify(&changed).is_ok() && fits(program, &changed)).then_some(changed)
}

/// The operation as it is.
pub fn same(builder: &mut Builder, op: &Op) -> Value {
    builder.op_value(op.clone())
}

/// `0` in the shape of a value, whatever it holds.
pub fn zeros(builder: &mut Builder, like: Value) -> Value {
    let zero = builder.number(0.0);
    builder.map(MapFn::Inside, &[like, zero, zero, zero])
}

/// `1` in the shape of a value.
pub fn ones(builder: &mut Builder, like: Value) -> Value {
    let zeros = zeros(builder, like);
    builder.map(MapFn::Exp, &[zeros])
}

/// Ones below the diagonal, `[Token, Token]`.
pub fn below(builder: &mut Builder) -> Value {
    let all = square(builder);
    builder.op_value(Op::StrictLower(all))
}

/// Ones on the diagonal, `[Token, Token]`.
pub fn diagonal(builder: &mut Builder) -> Value {
    let (all, below) = (square(builder), below(builder));
    let above = builder.op_value(Op::Transpose(below));
    let rest = builder.map(MapFn::Sub, &[all, below]);
    builder.map(MapFn::Sub, &[rest, above])
}

fn square(builder: &mut Builder) -> Value {
    let valid = builder.valid();
    let column = ones(builder, valid);
    builder.matmul(column, false, column, true)
}
