//! The language of linear-attention recurrences.
//!
//! Reading order: [`recurrence`] (what a checked recurrence is), `ast`, `parse`, `check`, `print`, `diagnostic`.
#![forbid(unsafe_code)]

pub mod recurrence;
