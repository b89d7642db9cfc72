//! Tensors: shape, strides, element type, storage.
//!
//! A [`View`] reads, a [`ViewMut`] writes memory that someone else owns; a [`Tensor`] owns contiguous memory. Strides
//! count elements; where a shape has a last dimension its stride is 1, so that a row of channels is contiguous.
use crate::device::cpu::memory::{large_pages, stagger};
use crate::error::{Error, Result};
use half::{bf16, f16};
use std::fmt;

/// Element types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// bfloat16.
    Bf16,
    /// IEEE half precision.
    F16,
    /// 64-bit float: the oracle and the tile interpreter only.
    F64,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
}

impl DType {
    /// The name in messages, options and reports.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::Bf16 => "bf16",
            DType::F16 => "f16",
            DType::F64 => "f64",
            DType::I32 => "i32",
            DType::I64 => "i64",
        }
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::Bf16 | DType::F16 => 2,
            DType::F32 | DType::I32 => 4,
            DType::F64 | DType::I64 => 8,
        }
    }

    /// A floating type.
    pub fn is_float(self) -> bool {
        !matches!(self, DType::I32 | DType::I64)
    }

    /// A floating type of 16 bits.
    pub fn is_half(self) -> bool {
        matches!(self, DType::Bf16 | DType::F16)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Dimensions of the largest tensor: batch, token, head, channel.
pub const MAX_RANK: usize = 4;

/// Shape and strides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    rank: usize,
    shape: [usize; MAX_RANK],
    strides: [usize; MAX_RANK],
}

impl Layout {
    /// Row-major without gaps.
    pub fn contiguous(shape: &[usize]) -> Result<Layout> {
        let mut strides = [0; MAX_RANK];
        let mut step = 1usize;
        for i in (0..shape.len().min(MAX_RANK)).rev() {
            strides[i] = step;
            step = step.checked_mul(shape[i].max(1)).ok_or_else(|| too_large(shape))?;
        }
        Layout::strided(shape, &strides[..shape.len().min(MAX_RANK)])
    }

    /// Any strides, in elements, whose last is 1.
    pub fn strided(shape: &[usize], strides: &[usize]) -> Result<Layout> {
        if shape.len() > MAX_RANK {
            return Err(Error::argument("shape", format!("at most {MAX_RANK} dimensions"), format!("{shape:?}")));
        }
        if shape.len() != strides.len() {
            return Err(Error::argument("strides", format!("{} of them", shape.len()), format!("{strides:?}")));
        }
        if let (Some(&size), Some(&stride)) = (shape.last(), strides.last())
            && stride != 1
            && size > 1
        {
            return Err(Error::argument("strides", "a last stride of 1", format!("{strides:?}")));
        }
        let mut layout = Layout { rank: shape.len(), shape: [0; MAX_RANK], strides: [0; MAX_RANK] };
        layout.shape[..shape.len()].copy_from_slice(shape);
        layout.strides[..shape.len()].copy_from_slice(strides);
        layout.checked_span().ok_or_else(|| too_large(shape))?;
        Ok(layout)
    }

    /// Sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape[..self.rank]
    }

    /// Elements from one index of a dimension to the next.
    pub fn strides(&self) -> &[usize] {
        &self.strides[..self.rank]
    }

    /// Number of elements.
    pub fn count(&self) -> usize {
        self.shape().iter().product()
    }

    /// Elements from the first to the last, both included; 0 where there are none.
    pub fn span(&self) -> usize {
        self.checked_span().expect("checked when the layout was made")
    }

    fn checked_span(&self) -> Option<usize> {
        self.shape().iter().try_fold(1usize, |n, &size| n.checked_mul(size.max(1)))?;
        if self.shape().contains(&0) {
            return Some(0);
        }
        let mut last = 0usize;
        for (&size, &stride) in self.shape().iter().zip(self.strides()) {
            last = last.checked_add((size - 1).checked_mul(stride)?)?;
        }
        last.checked_add(1).filter(|&span| span <= isize::MAX as usize / 8)
    }

    /// Whether two indices may name one element (a sufficient test: strides sorted, each beyond what lies inside it).
    pub fn overlaps_itself(&self) -> bool {
        if self.count() == 0 {
            return false;
        }
        let mut order = [0, 1, 2, 3];
        let order = &mut order[..self.rank];
        order.sort_by_key(|&i| self.strides[i]);
        let mut span = 1;
        for &i in order.iter() {
            if self.shape[i] > 1 {
                if self.strides[i] < span {
                    return true;
                }
                span += (self.shape[i] - 1) * self.strides[i];
            }
        }
        false
    }

    /// Calls `visit(offset)` for the start of each row along the last dimension, in row-major order.
    pub(crate) fn rows(&self, mut visit: impl FnMut(usize)) {
        if self.count() == 0 {
            return;
        }
        let outer = self.rank.saturating_sub(1);
        let mut index = [0usize; MAX_RANK];
        loop {
            visit((0..outer).map(|i| index[i] * self.strides[i]).sum());
            let mut dim = outer;
            loop {
                if dim == 0 {
                    return;
                }
                dim -= 1;
                index[dim] += 1;
                if index[dim] < self.shape[dim] {
                    break;
                }
                index[dim] = 0;
            }
        }
    }

    /// Length of a row along the last dimension; 1 for a single number.
    pub(crate) fn row_length(&self) -> usize {
        self.shape().last().copied().unwrap_or(1)
    }

    fn narrow(&self, dim: usize, start: usize, length: usize) -> Result<(usize, Layout)> {
        let Some(&size) = self.shape().get(dim) else {
            return Err(Error::argument("dim", format!("below {}", self.rank), dim.to_string()));
        };
        if start.checked_add(length).is_none_or(|end| end > size) {
            return Err(Error::argument("range", format!("within 0..{size}"), format!("{start}, {length} long")));
        }
        let mut layout = *self;
        layout.shape[dim] = length;
        let offset = if layout.count() == 0 { 0 } else { start * self.strides[dim] };
        Ok((offset, layout))
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} with strides {:?}", self.shape(), self.strides())
    }
}

fn too_large(shape: &[usize]) -> Error {
    Error::argument("shape", "a tensor that fits the address space", format!("{shape:?}"))
}

/// Types that a tensor may hold.
pub trait Element: Copy + sealed::Element {
    /// Its name among [`DType`].
    const DTYPE: DType;
}

mod sealed {
    use super::{Elements, ElementsMut, Storage};
    pub trait Element: Sized {
        fn elements(data: &[Self]) -> Elements<'_>;
        fn elements_mut(data: &mut [Self]) -> ElementsMut<'_>;
        fn storage(data: Vec<Self>) -> Storage;
    }
}

/// Bytes of a line of the cache.
const LINE: usize = 64;
/// Tensors of this many bytes start at a line: vectors that straddle two lines cost a decode step a quarter of its speed.
const ALIGNED: usize = 4096;

macro_rules! storages {
    ($($variant:ident $ty:ty),*) => {
        /// Borrowed elements.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Elements<'a> { $(#[doc = stringify!($ty)] $variant(&'a [$ty])),* }

        /// Borrowed elements, to be written.
        #[derive(Debug)]
        pub enum ElementsMut<'a> { $(#[doc = stringify!($ty)] $variant(&'a mut [$ty])),* }

        /// Owned elements.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Storage { $(#[doc = stringify!($ty)] $variant(Vec<$ty>)),* }

        $(impl Element for $ty { const DTYPE: DType = DType::$variant; }
        impl sealed::Element for $ty {
            fn elements(data: &[Self]) -> Elements<'_> { Elements::$variant(data) }
            fn elements_mut(data: &mut [Self]) -> ElementsMut<'_> { ElementsMut::$variant(data) }
            fn storage(data: Vec<Self>) -> Storage { Storage::$variant(data) }
        })*

        impl<'a> Elements<'a> {
            fn dtype(&self) -> DType { match self { $(Elements::$variant(_) => DType::$variant),* } }
            fn from(&self, start: usize) -> Elements<'a> {
                match self { $(Elements::$variant(d) => Elements::$variant(&d[start..])),* }
            }
            fn pointer(&self) -> *const u8 { match self { $(Elements::$variant(d) => d.as_ptr().cast()),* } }
        }
        impl<'a> ElementsMut<'a> {
            fn dtype(&self) -> DType { match self { $(ElementsMut::$variant(_) => DType::$variant),* } }
            fn from(self, start: usize) -> ElementsMut<'a> {
                match self { $(ElementsMut::$variant(d) => ElementsMut::$variant(&mut d[start..])),* }
            }
            fn pointer(&mut self) -> *mut u8 { match self { $(ElementsMut::$variant(d) => d.as_mut_ptr().cast()),* } }
            fn reborrow(&mut self) -> ElementsMut<'_> {
                match self { $(ElementsMut::$variant(d) => ElementsMut::$variant(d)),* }
            }
            fn shared(&self) -> Elements<'_> { match self { $(ElementsMut::$variant(d) => Elements::$variant(d)),* } }
        }
        impl Storage {
            fn elements(&self) -> Elements<'_> { match self { $(Storage::$variant(d) => Elements::$variant(d)),* } }
            fn elements_mut(&mut self) -> ElementsMut<'_> {
                match self { $(Storage::$variant(d) => ElementsMut::$variant(d)),* }
            }
            /// Zeros, and where the elements start: at a line of the cache where there are many.
            fn zeros(dtype: DType, count: usize) -> (Storage, usize) {
                match dtype {
                    $(DType::$variant => {
                        let size = size_of::<$ty>();
                        if count * size < ALIGNED {
                            return (Storage::$variant(vec![<$ty>::default(); count]), 0);
                        }
                        let skip = stagger(count * size) / size;
                        let mut data = vec![<$ty>::default(); count + LINE / size - 1 + skip];
                        large_pages(&data);
                        let start = data.as_ptr().align_offset(LINE).min(LINE / size - 1) + skip;
                        data.truncate(start + count);
                        (Storage::$variant(data), start)
                    }),*
                }
            }
            fn drop_first(&mut self, start: usize) {
                match self { $(Storage::$variant(d) => drop(d.drain(..start))),* }
            }
        }
        impl<'a> Elements<'a> {
            /// A copy of its own.
            fn copied(&self) -> (Storage, usize) {
                match self {
                    $(Elements::$variant(d) => {
                        let (mut storage, start) = Storage::zeros(DType::$variant, d.len());
                        if let Storage::$variant(own) = &mut storage {
                            own[start..].copy_from_slice(d);
                        }
                        (storage, start)
                    }),*
                }
            }
        }
    };
}
storages!(F32 f32, Bf16 bf16, F16 f16, F64 f64, I32 i32, I64 i64);

/// Memory to read.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    data: Elements<'a>,
    layout: Layout,
}

impl<'a> View<'a> {
    /// Contiguous elements.
    pub fn new<T: Element>(data: &'a [T], shape: &[usize]) -> Result<View<'a>> {
        let layout = Layout::contiguous(shape)?;
        if layout.count() != data.len() {
            return Err(Error::argument(
                "data",
                format!("{} elements for {shape:?}", layout.count()),
                data.len().to_string(),
            ));
        }
        Ok(View { data: T::elements(data), layout })
    }

    /// Elements at any strides whose last is 1; `data` starts at the first element and may be longer than needed.
    pub fn strided<T: Element>(data: &'a [T], shape: &[usize], strides: &[usize]) -> Result<View<'a>> {
        let layout = Layout::strided(shape, strides)?;
        if layout.span() > data.len() {
            return Err(Error::argument(
                "data",
                format!("{} elements for {layout:?}", layout.span()),
                data.len().to_string(),
            ));
        }
        Ok(View { data: T::elements(data), layout })
    }

    /// The part of dimension `dim` from `start`, `length` long.
    pub fn narrow(&self, dim: usize, start: usize, length: usize) -> Result<View<'a>> {
        let (offset, layout) = self.layout.narrow(dim, start, length)?;
        Ok(View { data: self.data.from(offset), layout })
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// Sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// Shape and strides.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The elements from the first one on.
    pub fn elements(&self) -> Elements<'a> {
        self.data
    }

    /// Address of the first element.
    pub fn pointer(&self) -> *const u8 {
        self.data.pointer()
    }

    /// A dense copy in f64.
    pub fn to_f64(&self) -> Vec<f64> {
        let mut out = Vec::with_capacity(self.layout.count());
        let n = self.layout.row_length();
        macro_rules! copy {
            ($data:expr, $convert:expr) => {
                self.layout.rows(|at| out.extend($data[at..at + n].iter().map($convert)))
            };
        }
        match self.data {
            Elements::F32(d) => copy!(d, |&x| x as f64),
            Elements::Bf16(d) => copy!(d, |x: &bf16| x.to_f64()),
            Elements::F16(d) => copy!(d, |x: &f16| x.to_f64()),
            Elements::F64(d) => copy!(d, |&x| x),
            Elements::I32(d) => copy!(d, |&x| x as f64),
            Elements::I64(d) => copy!(d, |&x| x as f64),
        }
        out
    }
}

/// Memory to write.
#[derive(Debug)]
pub struct ViewMut<'a> {
    data: ElementsMut<'a>,
    layout: Layout,
}

impl<'a> ViewMut<'a> {
    /// Contiguous elements.
    pub fn new<T: Element>(data: &'a mut [T], shape: &[usize]) -> Result<ViewMut<'a>> {
        let layout = *View::new(data, shape)?.layout();
        Ok(ViewMut { data: T::elements_mut(data), layout })
    }

    /// Elements at any strides whose last is 1.
    pub fn strided<T: Element>(data: &'a mut [T], shape: &[usize], strides: &[usize]) -> Result<ViewMut<'a>> {
        let layout = *View::strided(data, shape, strides)?.layout();
        Ok(ViewMut { data: T::elements_mut(data), layout })
    }

    /// The part of dimension `dim` from `start`, `length` long.
    pub fn narrow(self, dim: usize, start: usize, length: usize) -> Result<ViewMut<'a>> {
        let (offset, layout) = self.layout.narrow(dim, start, length)?;
        Ok(ViewMut { data: self.data.from(offset), layout })
    }

    /// The same memory for a shorter while.
    pub fn reborrow(&mut self) -> ViewMut<'_> {
        ViewMut { data: self.data.reborrow(), layout: self.layout }
    }

    /// The same memory, to read.
    pub fn as_view(&self) -> View<'_> {
        View { data: self.data.shared(), layout: self.layout }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// Sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// Shape and strides.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Address of the first element.
    pub fn pointer(&mut self) -> *mut u8 {
        self.data.pointer()
    }

    /// Writes dense values, rounded to the element type.
    pub fn write_f64(&mut self, values: &[f64]) {
        assert_eq!(values.len(), self.layout.count(), "one value an element");
        let n = self.layout.row_length();
        let mut rows = values.chunks_exact(n.max(1));
        let layout = self.layout;
        macro_rules! copy {
            ($data:expr, $convert:expr) => {
                layout.rows(|at| {
                    let row = rows.next().expect("one row a row");
                    for (to, &from) in $data[at..at + n].iter_mut().zip(row) {
                        *to = $convert(from);
                    }
                })
            };
        }
        match &mut self.data {
            ElementsMut::F32(d) => copy!(d, |x: f64| x as f32),
            ElementsMut::Bf16(d) => copy!(d, bf16::from_f64),
            ElementsMut::F16(d) => copy!(d, f16::from_f64),
            ElementsMut::F64(d) => copy!(d, |x: f64| x),
            ElementsMut::I32(d) => copy!(d, |x: f64| x as i32),
            ElementsMut::I64(d) => copy!(d, |x: f64| x as i64),
        }
    }
}

/// Owned, contiguous elements.
#[derive(Debug)]
pub struct Tensor {
    storage: Storage,
    /// The first element's place in the storage.
    start: usize,
    shape: Vec<usize>,
}

impl Clone for Tensor {
    fn clone(&self) -> Tensor {
        let (storage, start) = self.elements().copied();
        Tensor { storage, start, shape: self.shape.clone() }
    }
}

impl PartialEq for Tensor {
    fn eq(&self, other: &Tensor) -> bool {
        self.shape == other.shape && self.elements() == other.elements()
    }
}

impl Tensor {
    /// All zero.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Tensor> {
        let count = Layout::contiguous(shape)?.count();
        let (storage, start) = Storage::zeros(dtype, count);
        Ok(Tensor { storage, start, shape: shape.to_vec() })
    }

    /// Takes the elements.
    pub fn from_vec<T: Element>(data: Vec<T>, shape: &[usize]) -> Result<Tensor> {
        View::new(&data, shape)?;
        Ok(Tensor { storage: T::storage(data), start: 0, shape: shape.to_vec() })
    }

    fn elements(&self) -> Elements<'_> {
        self.storage.elements().from(self.start)
    }

    /// Values rounded to `dtype`.
    pub fn from_f64(dtype: DType, values: &[f64], shape: &[usize]) -> Result<Tensor> {
        View::new(values, shape)?;
        let mut tensor = Tensor::zeros(dtype, shape)?;
        tensor.view_mut().write_f64(values);
        Ok(tensor)
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.storage.elements().dtype()
    }

    /// Sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Gives the elements away.
    pub fn into_storage(mut self) -> Storage {
        self.storage.drop_first(self.start);
        self.storage
    }

    /// To read.
    pub fn view(&self) -> View<'_> {
        let layout = Layout::contiguous(&self.shape).expect("checked when the tensor was made");
        View { data: self.elements(), layout }
    }

    /// To write.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        let layout = Layout::contiguous(&self.shape).expect("checked when the tensor was made");
        ViewMut { data: self.storage.elements_mut().from(self.start), layout }
    }

    /// The elements where they are f32.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.storage {
            Storage::F32(data) => Some(&data[self.start..]),
            _ => None,
        }
    }

    /// A dense copy in f64.
    pub fn to_f64(&self) -> Vec<f64> {
        self.view().to_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_elements_start_at_a_line_and_survive_copies() {
        for dtype in [DType::F32, DType::Bf16, DType::F64] {
            let values: Vec<f64> = (0..5000).map(|i| f64::from(i % 100)).collect();
            let tensor = Tensor::from_f64(dtype, &values, &[5000]).unwrap();
            let copy = tensor.clone();
            for t in [&tensor, &copy] {
                assert_eq!(t.view().data.pointer().align_offset(LINE), 0);
                assert_eq!(t.to_f64(), values);
            }
            assert_eq!(tensor, copy);
            assert!(tensor != Tensor::zeros(dtype, &[5000]).unwrap());
        }
        let given = Tensor::from_f64(DType::F32, &vec![2.0; 3000], &[3000]).unwrap().into_storage();
        assert_eq!(given, Storage::F32(vec![2.0; 3000]));
    }
}
