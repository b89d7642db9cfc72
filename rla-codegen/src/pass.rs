//! The passes, each in its file, in the order of the pipeline: `chunk` (canonical recurrence to tile program), `scale`
//! (row scalings into the broadcast operand), `differentiate`, `save` (what forward keeps and backward recomputes).

pub mod chunk;
pub mod decode;
pub mod differentiate;
pub mod rewrite;
pub mod save;
pub mod scale;
pub mod token;
