//! Decode: one token, one sweep over each state, in place (CPU_PLAN 8 of the design; DESIGN 5).
//!
//! The decode program's work falls into three parts. What depends on no state comes first, once a head: vectors of one
//! side in arrays of the kernel's own, numbers in registers. Then each state is read once for all its readouts, and
//! updated from the cache. Value-major states (columns side by side) go by blocks of rows whose dots end in lanes over
//! the rows; key-major ones by whole rows. Other strides are gathered first.
