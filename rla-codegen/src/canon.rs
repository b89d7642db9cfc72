//! The canonical form of a recurrence: DESIGN section 2's class.
//!
//! Reading order: `symbol` (scalars and vectors), `matrix` (states written out), `expand` (a recurrence's statements),
//! `affine` (own readouts), `decay` (factors as log decays), `class` (the canonical form, or the reason why not),
//! `order` (dependency order of the states).

pub mod affine;
pub mod class;
pub mod decay;
pub mod expand;
pub mod matrix;
pub mod order;
pub mod symbol;

use rla_dsl::recurrence::{Recurrence, Side, Span};

use symbol::{Arena, Sym};

/// Why a recurrence is outside the class: the term's place, and the reason in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Outside {
    /// The term.
    pub span: Span,
    /// The reason, as a sentence about the term.
    pub reason: String,
}

impl Outside {
    /// A reason at a place.
    pub fn new(span: Span, reason: String) -> Outside {
        Outside { span, reason }
    }
}

/// A remark about a recurrence inside the class.
#[derive(Clone, Debug, PartialEq)]
pub struct Remark {
    /// The term.
    pub span: Span,
    /// What to know.
    pub message: String,
}

/// One write `u w^T` of a state.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// w along the contracted side; `None` for a vector state (1).
    pub given: Option<Sym>,
    /// b along the free side; `None` is zero.
    pub base: Option<Sym>,
    /// c_l for each own readout l, a scalar or a vector along the free side; `None` is zero.
    pub coefficients: Vec<Option<Sym>>,
}

/// A state in canonical form: `X[t] = diag(L) X[t-1] diag(R) + sum u_j w_j^T`, `u_j = b_j + sum c_jl y_l`.
#[derive(Clone, Debug, PartialEq)]
pub struct CanonState {
    /// The side of u and of readouts; `None` for a vector state that reads itself (a 1 x n matrix).
    pub free: Option<Side>,
    /// The side of w and p; `None` for any other vector state (n channels that know nothing of one another).
    pub contracted: Option<Side>,
    /// Free is the column side of the state as declared.
    pub transposed: bool,
    /// Scalar log decay; `None` is no decay.
    pub scalar_decay: Option<Sym>,
    /// Log decay along the free side.
    pub free_decay: Option<Sym>,
    /// Log decay along the contracted side.
    pub contracted_decay: Option<Sym>,
    /// Own readouts that writes use: the vectors p (contracted side) of `y_l = X[t-1] p_l`.
    pub readouts: Vec<Sym>,
    /// Writes, those with equal w merged.
    pub writes: Vec<Write>,
    /// Index of the statement that assigns the state.
    pub statement: usize,
}

/// A recurrence in canonical form.
#[derive(Clone, Debug)]
pub struct Canonical {
    /// All symbols.
    pub arena: Arena,
    /// States, as in the recurrence.
    pub states: Vec<CanonState>,
    /// Indices of states such that each uses readouts only of earlier ones (and its own).
    pub order: Vec<usize>,
    /// Outputs.
    pub outputs: Vec<Sym>,
    /// Things worth telling the author.
    pub remarks: Vec<Remark>,
}

/// Brings a recurrence to canonical form.
///
/// # Errors
/// [`Outside`] names the first term that keeps it out of the class.
pub fn canonicalize(recurrence: &Recurrence) -> Result<Canonical, Outside> {
    crate::stack::deep(|| passes(recurrence))
}

fn passes(recurrence: &Recurrence) -> Result<Canonical, Outside> {
    let expanded = expand::expand(recurrence)?;
    class::classify(recurrence, expanded)
}
