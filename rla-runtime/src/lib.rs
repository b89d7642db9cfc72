//! The runtime: compile, dispatch, call.
//!
//! Reading order: `tensor` (views of memory), `problem` (sizes), `op` (forward, backward, decode); below it `kernel`
//! (arguments checked, a kernel chosen, the call) and `device` (what the machine offers). `case` reads and writes files of
//! inputs and expected results, `judge` bounds errors.
pub mod case;
pub mod device;
pub mod draw;
pub mod error;
pub mod judge;
pub mod kernel;
pub mod op;
pub mod problem;
pub mod tensor;

pub use error::{Error, Result};
pub use op::{Backend, Operation};
pub use problem::{Problem, StateLayout};
pub use tensor::{DType, Tensor, View, ViewMut};
