//! The table of messages: every sentence that the language says, one row each.

use std::fmt;

use super::{Diagnostic, Severity};
use crate::recurrence::Span;

macro_rules! messages {
    ($($name:ident { $($field:ident),* } $severity:ident $code:literal $text:literal $(help $help:literal)?;)*) => {
        /// A row of the table, with what fills it.
        #[derive(Clone, Debug)]
        pub(crate) enum Message {
            $($name { $($field: String),* },)*
        }

        /// The codes of all messages.
        pub const CODES: &[&str] = &[$($code),*];

        impl Message {
            /// As a diagnostic at `span`.
            pub(crate) fn into_diagnostic(self, span: Span) -> Diagnostic {
                let (severity, code, help): (_, _, &[&str]) = match &self {
                    $(Message::$name { .. } => (Severity::$severity, $code, &[$($help)?]),)*
                };
                let mut diagnostic =
                    Diagnostic { severity, code, message: self.to_string(), span, notes: Vec::new() };
                for help in help {
                    diagnostic.help(*help);
                }
                diagnostic
            }
        }

        impl fmt::Display for Message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Message::$name { $($field),* } => write!(f, $text),)*
                }
            }
        }
    };
}

messages! {
    // tokens
    TooLong { size, limit } Error "text-too-long" "the text has {size}; the limit is {limit}";
    NotText { offset } Error "not-utf8" "the text is not UTF-8 from byte {offset} on";
    UnknownCharacter { what } Error "unknown-character" "{what} is not part of the language";
    Unclosed { open } Error "unclosed" "`{open}` is never closed";
    Unopened { close } Error "unopened" "`{close}` closes nothing";
    Mismatched { close, open } Error "mismatched" "`{close}` cannot close `{open}`";
    UnclosedComment {} Error "unclosed-comment" "this comment is never closed";
    BadNumber { text, reason } Error "bad-number" "`{text}` is not a number here: {reason}";
    NumberRange { text } Error "number-range" "`{text}` is beyond the largest 64-bit floating-point number";
    BadName { name, reason } Error "bad-name" "`{name}` cannot be a name: {reason}";
    Attribute {} Error "attribute" "attributes are not part of the language"
        help "documentation is written as `/// ...`, anything else about an item has its own word";
    StrayDoc {} Warning "stray-doc" "this `///` documents nothing"
        help "documentation stands before a variant or an item; a plain comment starts with `//`";

    // grammar
    Expected { expected, found } Error "expected" "expected {expected}, found {found}";
    Nesting { limit } Error "nesting" "nested deeper than {limit}"
        help "give a part its own name with `let`";
    TooDeep { limit } Error "too-deep" "more than {limit} operators on top of one another"
        help "give a part its own name with `let`";
    NoVariant {} Error "no-variant" "there is no variant in the text"
        help "a variant reads `variant name { input ...; state ...; S[t] = ...; output o = ...; }`";
    UnknownItem { found } Error "unknown-item" "{found} does not start an item";
    UnknownFunction { name } Error "unknown-function" "there is no function `{name}`";
    BadTime { name } Error "bad-time" "a state is read as `{name}[t-1]`, or as `{name}[t]` after its assignment";
    GateScalar {} Error "gate-scalar" "a scalar cannot be `gate`"
        help "a scalar is per value head already: write `scalar`";

    // names
    Duplicate { name, what } Error "duplicate-name" "`{name}` is declared twice{what}";
    ReservedName { name, reason } Error "reserved-name" "`{name}` is reserved: it is {reason}";
    UnknownName { name } Error "unknown-name" "`{name}` is not declared";
    UnknownSide { name } Error "unknown-side" "there is no side `{name}`";
    DimOrder { name } Error "dim-order" "the dim `{name}` is used before its declaration";
    NotIndexed { name, what } Error "not-indexed" "`{name}` is {what}; only a state has a time";
    BareState { name } Error "bare-state" "the state `{name}` is read without a time";
    OutputRead { name } Error "output-read" "`{name}` is an output and cannot be read"
        help "name the value with `let` first, and use that name in both places";
    NotAState { name, what } Error "not-a-state" "`{name}` is {what}; only a state is assigned";
    EmptyDomain { domain } Error "empty-domain" "no number lies in `{domain}`";
    UnitScalar {} Error "unit-scalar" "a scalar has no length that could be `unit`"
        help "a domain of a scalar reads `in a..b`";

    // order
    LetOrder { name } Error "let-order" "`{name}` is used before its `let`";
    ConstOrder { name } Error "const-order" "the constant `{name}` is used before its declaration"
        help "a constant is built from earlier ones";
    ReadBeforeAssign { name } Error "read-before-assign" "`{name}[t]` is read before it is assigned";
    AssignedTwice { name } Error "assigned-twice" "`{name}[t]` is assigned twice";
    NeverAssigned { name } Error "never-assigned" "the state `{name}` is never assigned";
    NoOutput { name } Error "no-output" "`{name}` has no output"
        help "add `output o = ...;`";

    // types
    Operands { operator, left, right } Error "operands" "`{operator}` does not take {left} and {right}";
    Argument { function, expected, found } Error "argument" "`{function}` takes {expected}, not {found}";
    Arity { function, expected, found } Error "arity" "`{function}` takes {expected}, not {found}";
    NoSide {} Error "identity-side" "nothing gives `I` a side here"
        help "`I` takes its side from the matrix that it is added to or multiplied with";
    AssignType { name, expected, found } Error "assign-type" "`{name}` is {expected}, the value is {found}";
    OutputType { name, found } Error "output-type" "the output `{name}` is a column or a scalar, not {found}";
    NotConstant { what, found } Error "not-constant" "{what} is a constant expression, but {found}"
        help "constant expressions are built from numbers, `dim(..)`, constants, `+ - * /` and the scalar functions";
    NotFinite { name, value } Error "const-not-finite" "the constant `{name}` is {value}";

    // warnings
    Unused { what, name, consequence } Warning "unused" "{what} `{name}` is never used{consequence}";
    UnknownSize { name } Warning "unknown-size" "no input, parameter or state has the dim `{name}`"
        help "the size of a dim is taken from the tensors of a call, and none has it";
    NoState { name } Warning "no-state" "`{name}` has no state: nothing is carried from token to token";
    MayVanish { function, found, consequence } Warning "may-vanish" "the argument of `{function}` may vanish, where {consequence}{found}";
    ClampOrder { low, high } Warning "clamp-order" "the lower bound {low} is above the upper bound {high}: every value becomes {high}";

    TooMany {} Warning "too-many" "there may be more: the search stopped here";
}
