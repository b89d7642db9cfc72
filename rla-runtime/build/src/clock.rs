//! Two clocks: the wall, and the processor time of the calling thread, which other work on the machine does not lengthen.
#![allow(unsafe_code)] // asking the system for a thread's time
use std::time::{Duration, Instant};

/// Which time is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// What passes.
    #[default]
    Wall,
    /// What the calling thread computes; it sees nothing of other threads.
    Thread,
}

/// A moment on a clock.
#[derive(Clone, Copy, Debug)]
pub struct Moment(Clock, Instant, Duration);

impl Clock {
    /// The name in options and rows.
    pub fn name(self) -> &'static str {
        match self {
            Clock::Wall => "wall",
            Clock::Thread => "thread",
        }
    }

    /// The clock for so many threads: of one its own time, where the system tells it.
    pub fn of_threads(threads: usize) -> Clock {
        if threads == 1 && cfg!(unix) { Clock::Thread } else { Clock::Wall }
    }

    /// Now. The thread's time is there on unix only.
    pub fn now(self) -> Moment {
        let processor = if self == Clock::Thread { processor() } else { Duration::ZERO };
        Moment(self, Instant::now(), processor)
    }
}

impl Moment {
    /// Seconds since.
    pub fn seconds(self) -> f64 {
        match self.0 {
            Clock::Wall => self.1.elapsed().as_secs_f64(),
            Clock::Thread => processor().saturating_sub(self.2).as_secs_f64(),
        }
    }
}

#[cfg(unix)]
fn processor() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of this frame.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "every unix has this clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(not(unix))]
fn processor() -> Duration {
    panic!("the thread's clock is asked for on unix only")
}
