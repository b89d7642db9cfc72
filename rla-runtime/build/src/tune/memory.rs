//! Memory of a call: typed elements, and working memory at a line of the cache, poisoned and guarded.
#![allow(unsafe_code)] // words of floats
use crate::memory::{Floats, stagger};
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

    /// Bytes of an element.
    pub(super) fn bytes(self) -> usize {
        match self {
            Element::F32 => 4,
            Element::Bf16 => 2,
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

/// Elements of one type, laid as the runtime lays its tensors: at a line of the cache, large ones in large pages and apart
/// in the cache.
pub(super) struct Buffer {
    element: Element,
    count: usize,
    memory: Floats,
    /// Floats before the first element.
    start: usize,
}

impl Buffer {
    pub fn new(element: Element, values: &[f64]) -> Buffer {
        let mut buffer = Buffer::poisoned(element, values.len());
        match element {
            Element::F32 => buffer.f32s().iter_mut().zip(values).for_each(|(to, &x)| *to = x as f32),
            Element::Bf16 => buffer.words().iter_mut().zip(values).for_each(|(to, &x)| *to = bf16(x as f32)),
        }
        buffer
    }

    /// Not a number, so that what a kernel leaves unwritten shows.
    pub fn poisoned(element: Element, count: usize) -> Buffer {
        let floats = count.div_ceil(4 / element.bytes());
        let start = stagger(4 * floats) / 4;
        let mut memory = Floats::new();
        memory.reserve(start + floats);
        let mut buffer = Buffer { element, count, memory, start };
        buffer.poison();
        buffer
    }

    pub fn poison(&mut self) {
        match self.element {
            Element::F32 => self.f32s().fill(f32::NAN),
            Element::Bf16 => self.words().fill(0x7fc0),
        }
    }

    pub fn element(&self) -> Element {
        self.element
    }

    /// The address of the first element.
    pub fn address(&mut self) -> *mut u8 {
        self.memory.as_mut_slice()[self.start..].as_mut_ptr().cast()
    }

    pub fn values(&self) -> Vec<f64> {
        let floats = &self.memory.as_slice()[self.start..];
        match self.element {
            Element::F32 => floats[..self.count].iter().map(|&x| f64::from(x)).collect(),
            Element::Bf16 => (0..self.count)
                .map(|i| {
                    let word = floats[i / 2].to_bits().to_le_bytes();
                    let at = i % 2 * 2;
                    f64::from(f32::from_bits(u32::from(u16::from_le_bytes([word[at], word[at + 1]])) << 16))
                })
                .collect(),
        }
    }

    fn f32s(&mut self) -> &mut [f32] {
        &mut self.memory.as_mut_slice()[self.start..][..self.count]
    }

    fn words(&mut self) -> &mut [u16] {
        let floats = &mut self.memory.as_mut_slice()[self.start..][..self.count.div_ceil(2)];
        // SAFETY: a float is two aligned words of any bits, and there are enough; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(floats.as_mut_ptr().cast(), self.count) }
    }
}

/// Floats before and after guarded memory.
const GUARD: usize = 1024;
const MARK: f32 = 7.0;

/// Working memory as the runtime gives it, between guards that a kernel must leave alone.
pub(super) struct Guarded {
    memory: Floats,
    floats: usize,
}

impl Guarded {
    pub fn new(floats: usize) -> Guarded {
        let mut memory = Floats::new();
        memory.reserve(floats + 2 * GUARD)[..].fill(MARK);
        let mut guarded = Guarded { memory, floats };
        guarded.poison();
        guarded
    }

    pub fn poison(&mut self) {
        let floats = self.floats;
        self.memory.as_mut_slice()[GUARD..][..floats].fill(f32::NAN);
    }

    pub fn floats(&self) -> usize {
        self.floats
    }

    pub fn address(&mut self) -> *mut f32 {
        self.memory.as_mut_slice()[GUARD..].as_mut_ptr()
    }

    /// Whether a kernel wrote beside its memory.
    pub fn broken(&self) -> bool {
        let all = &self.memory.as_slice()[..self.floats + 2 * GUARD];
        let marks = all[..GUARD].iter().chain(&all[GUARD + self.floats..]);
        marks.into_iter().any(|x| x.to_bits() != MARK.to_bits())
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
        memory.memory.as_mut_slice()[GUARD + 5] = 1.0;
        assert!(memory.broken());
    }
}
