//! Working memory at cache-line boundaries, and large pages for memory that is worth them.
#![allow(unsafe_code)] // floats of lines, advice to the system

use std::sync::atomic::{AtomicUsize, Ordering};

/// Floats of a cache line.
const LINE: usize = 16;
/// Lines of a large page.
const PAGE: usize = (2 << 20) / 64;
/// Working memory from this many lines on starts at a large page.
const SPREAD: usize = (128 << 10) / 64;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Floats at a 64-byte boundary, grown when asked for and never shrunk.
#[derive(Default)]
pub struct Floats {
    lines: Vec<Line>,
    /// Lines before the first float.
    start: usize,
}

impl Floats {
    /// None yet.
    pub const fn new() -> Floats {
        Floats { lines: Vec::new(), start: 0 }
    }

    /// The first `count` floats, of any contents.
    pub fn reserve(&mut self, count: usize) -> &mut [f32] {
        let lines = count.div_ceil(LINE);
        if self.lines.len() - self.start < lines {
            // what was there has no meaning: give it back first, do not copy it
            (self.lines, self.start) = (Vec::new(), 0);
            if lines < SPREAD {
                self.lines.reserve_exact(lines);
            } else {
                // a large page lies in the cache as it lies in memory; of small ones some sets get more than they hold
                self.lines.reserve_exact(lines.next_multiple_of(PAGE) + PAGE);
                self.start = self.lines.as_ptr().align_offset(PAGE * size_of::<Line>()).min(PAGE);
            }
            large_pages(&self.lines);
            self.lines.resize(self.start + lines, Line([0.0; LINE]));
        }
        &mut self.as_mut_slice()[..count]
    }

    /// All floats.
    pub fn as_slice(&self) -> &[f32] {
        let lines = &self.lines[self.start..];
        // SAFETY: `Line` is 16 floats without padding, and `lines` holds that many of them.
        unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LINE) }
    }

    /// All floats, to write.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        let lines = &mut self.lines[self.start..];
        // SAFETY: as for `as_slice`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * LINE) }
    }

    /// Rounds a count up to whole lines, so that parts laid one after another start at a boundary.
    pub const fn round_up(count: usize) -> usize {
        count.next_multiple_of(LINE)
    }
}

/// Memory from this size on starts at different sets of the cache.
const STAGGERED: usize = 4 << 20;
/// Bytes between two starts, and how many starts there are. A row of 128 channels and a line: with whole rows channel decays
/// train a fifth slower.
const STAGGER: (usize, usize) = (576, 16);
/// Counts staggered starts.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Bytes to leave free before memory of a size: none before little, a few rows before much, others each time. Rows of one head
/// lie a power of two apart, so that a chunk of one tensor fills a few sets of the cache, and those of all tensors would fill
/// the same.
pub fn stagger(bytes: usize) -> usize {
    if bytes < STAGGERED { 0 } else { NEXT.fetch_add(1, Ordering::Relaxed) % STAGGER.1 * STAGGER.0 }
}

/// Memory from this size on is worth large pages.
#[cfg(target_os = "linux")]
const LARGE: usize = 2 << 20;

/// Asks for large pages for the memory of a vector that has not been written yet.
///
/// Rows of one head lie a page or more apart: with small pages every row of a chunk costs a walk of the page tables, which
/// was a tenth of a backward pass. It is advice: where the system does not take it, nothing changes.
pub fn large_pages<T>(memory: &Vec<T>) {
    #[cfg(target_os = "linux")]
    {
        let (start, bytes) = (memory.as_ptr() as usize, memory.capacity() * size_of::<T>());
        // SAFETY: `sysconf` takes any name.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let (first, last) = (start.next_multiple_of(page), (start + bytes) / page * page);
        if bytes >= LARGE && first < last {
            // SAFETY: whole pages inside memory that the vector owns; the advice changes no contents.
            unsafe { libc::madvise(first as *mut libc::c_void, last - first, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}
