//! What the compiler understood of a recurrence, in words and numbers.
pub mod cost;
