//! The calling convention of generated CPU kernels, the same text that is compiled into them.

include!("../../templates/cpu/abi.rs");
