//! The runtime: compile, dispatch, call.
//!
//! Reading order: `tensor` (views of memory), `problem` (sizes), `op` (forward, backward, decode); below it `kernel`
//! (arguments checked, a kernel chosen, the call) and `device` (what the machine offers). `variant` is what the types of
//! [`rla_variant!`] stand on. `case` reads and writes files of
//! inputs and expected results, `judge` bounds errors. With the feature `models` (default, on candle): `model`, then `train`
//! and `sample` over it, `checkpoint`.
pub mod bench;
pub mod case;
#[cfg(feature = "models")]
pub mod checkpoint;
pub mod device;
pub mod error;
pub mod kernel;
pub mod ladder;
pub mod laws;
#[cfg(feature = "models")]
pub mod model;
pub mod op;
pub mod problem;
#[cfg(feature = "models")]
pub mod sample;
pub mod tensor;
#[cfg(feature = "models")]
pub mod train;
#[cfg(feature = "tune")]
pub mod tune;
pub mod variant;
pub mod verify;

pub use error::{Error, Result};
pub use op::{Backend, Mode, Operation};
pub use problem::{Problem, Products, StateLayout};
pub use rla_build::{draw, judge};
pub use rla_dsl_macro::rla_variant;
pub use tensor::{DType, Tensor, View, ViewMut};
