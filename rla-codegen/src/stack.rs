//! Room for recursion.
//!
//! The language allows expressions thousands of operators high, and the passes walk them recursively. They run on a
//! thread of their own whose stack is large in address space; memory is used only as far as an expression is deep.

use std::panic::resume_unwind;
use std::thread::{Builder, scope};

/// Address space for the passes: 4096 operators high, a few frames each, in an unoptimised build.
const BYTES: usize = 256 << 20;

/// Runs `f` with a deep stack. A panic of `f` goes on in the caller.
pub fn deep<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    scope(|threads| {
        let thread = Builder::new().name("rla-compiler".into()).stack_size(BYTES).spawn_scoped(threads, f);
        // no thread to be had: the caller's own stack would do for anything but hostile input, but must not overflow
        let thread = thread.expect("a thread for the compiler");
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}
