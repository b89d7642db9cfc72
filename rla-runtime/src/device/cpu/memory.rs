//! Working memory at cache-line boundaries.

/// Floats of a cache line.
const LINE: usize = 16;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Floats at a 64-byte boundary, grown when asked for and never shrunk.
#[derive(Default)]
pub struct Floats {
    lines: Vec<Line>,
}

impl Floats {
    /// None yet.
    pub const fn new() -> Floats {
        Floats { lines: Vec::new() }
    }

    /// The first `count` floats, of any contents.
    pub fn reserve(&mut self, count: usize) -> &mut [f32] {
        let lines = count.div_ceil(LINE);
        if self.lines.len() < lines {
            // what was there has no meaning: give it back first, do not copy it
            self.lines = Vec::new();
            self.lines.resize(lines, Line([0.0; LINE]));
        }
        &mut self.as_mut_slice()[..count]
    }

    /// All floats.
    pub fn as_slice(&self) -> &[f32] {
        // SAFETY: `Line` is 16 floats without padding, and `lines` holds that many of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.lines.len() * LINE) }
    }

    /// All floats, to write.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as for `as_slice`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * LINE) }
    }

    /// Rounds a count up to whole lines, so that parts laid one after another start at a boundary.
    pub const fn round_up(count: usize) -> usize {
        count.next_multiple_of(LINE)
    }
}
