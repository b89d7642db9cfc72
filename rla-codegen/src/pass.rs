//! The passes, each in its file, in the order of the pipeline: `chunk` (canonical recurrence to tile program), `scale`
//! (row scalings into the broadcast operand), `differentiate`, `save` (what forward keeps and backward recomputes). For
//! CUDA then `invert` (substitutions into products with inverses), `unscale` (row scalings onto the carried side) and `keep` (forward
//! makes what backward would make of inputs alone).

pub mod chunk;
pub mod decode;
pub mod differentiate;
pub mod division;
pub mod invert;
pub mod keep;
pub mod rewrite;
pub mod save;
pub mod scale;
pub mod token;
pub mod unscale;
