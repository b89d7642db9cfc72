//! Room for recursion.
//!
//! The language allows expressions thousands of operators high, and the passes walk them recursively. They run on a
//! thread of their own whose stack is large in address space; memory is used only as far as an expression is deep.

use std::panic::resume_unwind;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, scope};

/// Address space for the passes: 4096 operators high, a few frames each, larger ones in an unoptimised build.
const BYTES: usize = if cfg!(debug_assertions) { 256 << 20 } else { 96 << 20 };

/// Runs `f` with a deep stack, or with the deepest that the system still gives. A panic of `f` goes on in the caller.
pub fn deep<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    let f = Mutex::new(Some(f));
    let run = || {
        let f = f.lock().unwrap_or_else(PoisonError::into_inner).take();
        f.expect("a thread that did not start has not taken it")()
    };
    scope(|threads| {
        for bytes in [BYTES, BYTES / 4, BYTES / 16] {
            let builder = Builder::new().name("rla-compiler".into()).stack_size(bytes);
            if let Ok(thread) = builder.spawn_scoped(threads, run) {
                return thread.join().unwrap_or_else(|panic| resume_unwind(panic));
            }
        }
        run()
    })
}
