//! Memory of a call: typed elements, and working memory at a line of the cache, poisoned and guarded.
#![allow(unsafe_code)] // floats of lines
use rla_codegen::abi;

/// Element types of inputs and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// 32-bit float.
    F32,
    /// bfloat16.
    Bf16,
}

impl Element {
    /// The name in options and tables.
    pub fn name(self) -> &'static str {
        match self {
            Element::F32 => "f32",
            Element::Bf16 => "bf16",
        }
    }

    /// The constant of the calling convention.
    pub(super) fn code(self) -> u32 {
        match self {
            Element::F32 => abi::DTYPE_F32,
            Element::Bf16 => abi::DTYPE_BF16,
        }
    }

    /// A value as this type holds it.
    pub fn round(self, x: f64) -> f64 {
        match self {
            Element::F32 => f64::from(x as f32),
            Element::Bf16 => f64::from(f32::from_bits(u32::from(bf16(x as f32)) << 16)),
        }
    }
}

/// Rounded to nearest, ties to even; a NaN stays one.
fn bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// Elements of one type.
#[derive(Clone, Debug)]
pub(super) enum Buffer {
    F32(Vec<f32>),
    Bf16(Vec<u16>),
}

impl Buffer {
    pub fn new(element: Element, values: &[f64]) -> Buffer {
        match element {
            Element::F32 => Buffer::F32(values.iter().map(|&x| x as f32).collect()),
            Element::Bf16 => Buffer::Bf16(values.iter().map(|&x| bf16(x as f32)).collect()),
        }
    }

    /// Not a number, so that what a kernel leaves unwritten shows.
    pub fn poisoned(element: Element, count: usize) -> Buffer {
        match element {
            Element::F32 => Buffer::F32(vec![f32::NAN; count]),
            Element::Bf16 => Buffer::Bf16(vec![0x7fc0; count]),
        }
    }

    pub fn element(&self) -> Element {
        match self {
            Buffer::F32(_) => Element::F32,
            Buffer::Bf16(_) => Element::Bf16,
        }
    }

    /// The address of element `at`.
    pub fn address(&mut self, at: usize) -> *mut u8 {
        match self {
            Buffer::F32(x) => x.as_mut_ptr().wrapping_add(at).cast(),
            Buffer::Bf16(x) => x.as_mut_ptr().wrapping_add(at).cast(),
        }
    }

    pub fn values(&self) -> Vec<f64> {
        match self {
            Buffer::F32(x) => x.iter().map(|&x| f64::from(x)).collect(),
            Buffer::Bf16(x) => x.iter().map(|&x| f64::from(f32::from_bits(u32::from(x) << 16))).collect(),
        }
    }
}

/// Floats of a line of the cache.
const LINE: usize = 16;
/// Lines before and after guarded memory.
const GUARD: usize = 64;
const MARK: f32 = 7.0;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Floats at a line of the cache, between guards that a kernel must leave alone.
pub(super) struct Guarded {
    lines: Vec<Line>,
    floats: usize,
}

impl Guarded {
    pub fn new(floats: usize) -> Guarded {
        let inside = floats.div_ceil(LINE);
        let mut guarded = Guarded { lines: vec![Line([MARK; LINE]); inside + 2 * GUARD], floats };
        guarded.poison();
        guarded
    }

    pub fn poison(&mut self) {
        let floats = self.floats;
        self.all()[GUARD * LINE..][..floats].fill(f32::NAN);
    }

    pub fn floats(&self) -> usize {
        self.floats
    }

    pub fn address(&mut self) -> *mut f32 {
        self.all()[GUARD * LINE..].as_mut_ptr()
    }

    /// Whether a kernel wrote beside its memory.
    pub fn broken(&mut self) -> bool {
        let floats = self.floats;
        let all = self.all();
        let marks = all[..GUARD * LINE].iter().chain(&all[GUARD * LINE + floats..]);
        marks.into_iter().any(|x| x.to_bits() != MARK.to_bits())
    }

    fn all(&mut self) -> &mut [f32] {
        // SAFETY: a `Line` is 16 floats without padding, and `lines` holds that many of them; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * LINE) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_to_nearest_even() {
        for (x, expected) in [(1.0, 1.0), (1.0 + 1.0 / 256.0, 1.0), (1.0 + 3.0 / 256.0, 1.0 + 2.0 / 128.0), (-0.0, 0.0)]
        {
            assert_eq!(Element::Bf16.round(x), expected);
        }
        assert!(Element::Bf16.round(f64::NAN).is_nan());
        assert_eq!(Element::Bf16.round(f64::NEG_INFINITY), f64::NEG_INFINITY);
    }

    #[test]
    fn a_guard_notices() {
        let mut memory = Guarded::new(5);
        assert!(!memory.broken());
        memory.all()[GUARD * LINE + 5] = 1.0;
        assert!(memory.broken());
    }
}
