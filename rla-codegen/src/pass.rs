//! The passes, each in its file: `chunk` (canonical recurrence to tile program), `simplify`, `differentiate`, `save`.

pub mod chunk;
