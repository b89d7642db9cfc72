//! The words of the language: those that start an item, and the functions.

use crate::recurrence::Func;

/// The words that start an item. `dim` is also the function `dim(side)`.
pub(crate) const ITEMS: &[&str] = &["dim", "input", "param", "const", "state", "let", "output"];

/// Sides every variant has, in the order of [`crate::recurrence::Side`].
pub(crate) const SIDES: &[&str] = &["key", "value"];

/// What a declared dim may not be called, since a type reads it otherwise.
pub(crate) const NOT_A_DIM: &[&str] = &["key", "value", "gate", "scalar"];

/// What a function takes and gives; [`crate::check`] reads it, the language page prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A scalar, column or row; the result has its type.
    Elementwise,
    /// Like `Elementwise`, then two constant bounds.
    Bounded,
    /// A column and a scalar; the result is a column.
    ColumnAndScalar,
    /// A column; the result is a column.
    Column,
    /// A column; the result is a scalar.
    Reduce,
    /// Two columns of one side; the result is a scalar.
    Pair,
    /// A column; the result is a square matrix.
    Diagonal,
}

impl Shape {
    /// How many arguments.
    pub(crate) fn arity(self) -> usize {
        match self {
            Shape::Bounded => 3,
            Shape::ColumnAndScalar | Shape::Pair => 2,
            _ => 1,
        }
    }
}

/// The functions: name, meaning, shape.
pub(crate) const FUNCS: &[(&str, Func, Shape)] = &[
    ("exp", Func::Exp, Shape::Elementwise),
    ("log", Func::Log, Shape::Elementwise),
    ("sqrt", Func::Sqrt, Shape::Elementwise),
    ("rsqrt", Func::Rsqrt, Shape::Elementwise),
    ("sigmoid", Func::Sigmoid, Shape::Elementwise),
    ("logsigmoid", Func::LogSigmoid, Shape::Elementwise),
    ("tanh", Func::Tanh, Shape::Elementwise),
    ("silu", Func::Silu, Shape::Elementwise),
    ("softplus", Func::Softplus, Shape::Elementwise),
    ("relu", Func::Relu, Shape::Elementwise),
    ("abs", Func::Abs, Shape::Elementwise),
    ("sq", Func::Sq, Shape::Elementwise),
    ("clamp", Func::Clamp, Shape::Bounded),
    ("l2norm", Func::L2norm, Shape::ColumnAndScalar),
    ("softmax", Func::Softmax, Shape::Column),
    ("sum", Func::Sum, Shape::Reduce),
    ("dot", Func::Dot, Shape::Pair),
    ("diag", Func::Diag, Shape::Diagonal),
];

impl Func {
    /// The function of that name.
    pub fn from_name(name: &str) -> Option<Func> {
        FUNCS.iter().find(|row| row.0 == name).map(|row| row.1)
    }

    /// Its name in the text.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What it takes and gives.
    pub(crate) fn shape(self) -> Shape {
        self.row().2
    }

    fn row(self) -> &'static (&'static str, Func, Shape) {
        FUNCS.iter().find(|row| row.1 == self).expect("every function has a row")
    }
}

/// Why `name` cannot be a name, or `None` where it can.
pub(crate) fn reserved(name: &str) -> Option<&'static str> {
    match name {
        "I" => Some("the identity matrix"),
        "t" => Some("the token's position"),
        _ if ITEMS.contains(&name) => Some("a word that starts an item"),
        _ if Func::from_name(name).is_some() => Some("a function"),
        _ => None,
    }
}

/// The candidate nearest to `word`, if it is near enough to be a slip of the pen.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = match word.len() {
        0..=1 => return None,
        2..=4 => 1,
        5..=32 => 2,
        _ => return None,
    };
    candidates
        .into_iter()
        .filter(|c| c.len().abs_diff(word.len()) <= limit)
        .map(|c| (edit_distance(word.as_bytes(), c.as_bytes()), c))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// Insertions, deletions, substitutions and swaps of neighbours between two short words.
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                best = best.min(rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]));
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}
