// The calling convention between the runtime and generated CPU kernels: one file, compiled into both sides.
//
// One call works on one sequence and one value head, all its tokens. Arrays of views are in the recurrence's order of
// inputs (parameters included), outputs and states. Sizes and strides count elements, not bytes.

/// Element types of a view.
pub const DTYPE_F32: u32 = 0;
/// bfloat16.
pub const DTYPE_BF16: u32 = 1;
/// IEEE half precision.
pub const DTYPE_F16: u32 = 2;

/// One head's part of an input or an output: `tokens` rows of contiguous elements.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The first token's row.
    pub ptr: *mut u8,
    /// Elements from one token to the next; 0 for a parameter.
    pub stride: isize,
    /// One of the `DTYPE_` constants.
    pub dtype: u32,
    /// For gradients (always f32): 1 to add to what is there, 0 to overwrite. Elsewhere 0.
    pub accumulate: u32,
}

/// One head's state: element (r, c) lies at `ptr + r * row_stride + c * col_stride`; a vector state has r = 0.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StateView {
    /// Null: a zero state where it is read, not wanted where it is written.
    pub ptr: *mut f32,
    /// Elements from one row to the next.
    pub row_stride: isize,
    /// Elements from one column to the next.
    pub col_stride: isize,
}

/// Everything a kernel needs for one sequence and one value head.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Args {
    /// Tokens of this sequence; 0 is allowed.
    pub tokens: usize,
    /// Size of each side: key, value, declared dims.
    pub sizes: *const usize,
    /// Constants of the recurrence, in order.
    pub constants: *const f32,
    /// Inputs and parameters.
    pub inputs: *const View,
    /// Outputs; forward and decode write them.
    pub outputs: *const View,
    /// Initial states (decode: the states, updated in place).
    pub states_in: *const StateView,
    /// Final states, written by forward.
    pub states_out: *const StateView,
    /// What forward keeps for backward (`saved` floats, 64-byte aligned); null: keep nothing.
    pub saved: *mut f32,
    /// Working memory (`scratch` floats, 64-byte aligned), its contents of no meaning before and after.
    pub scratch: *mut f32,
    /// Backward: gradients of the outputs; a null pointer is zero.
    pub output_grads: *const View,
    /// Backward: gradients of inputs and parameters, f32; a null pointer is not wanted.
    pub input_grads: *const View,
    /// Backward: gradients of the final states; a null pointer is zero.
    pub state_grads_in: *const StateView,
    /// Backward: gradients of the initial states; a null pointer is not wanted.
    pub state_grads_out: *const StateView,
}

/// The passes of a variant.
pub const PASS_FORWARD: u32 = 0;
/// Forward that keeps what backward needs.
pub const PASS_FORWARD_SAVE: u32 = 1;
/// Backward from what forward kept.
pub const PASS_BACKWARD: u32 = 2;
/// A few tokens, states in place.
pub const PASS_DECODE: u32 = 3;
/// Forward with products in bf16.
pub const PASS_FORWARD_BF16: u32 = 4;

/// The kernels of one variant for one instruction set.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Forward; keeps for backward when `saved` is not null.
    pub forward: Option<unsafe extern "C" fn(*const Args)>,
    /// Forward with bf16 operands of products, summed in f32; keeps nothing. For machines that have avx512bf16.
    pub forward_bf16: Option<unsafe extern "C" fn(*const Args)>,
    /// Backward.
    pub backward: Option<unsafe extern "C" fn(*const Args)>,
    /// Decode.
    pub decode: Option<unsafe extern "C" fn(*const Args)>,
    /// Floats of working memory that a pass needs, given the sizes of the sides.
    pub scratch: Option<unsafe extern "C" fn(pass: u32, sizes: *const usize) -> usize>,
    /// Floats that forward keeps for `tokens` tokens of one sequence and head.
    pub saved: Option<unsafe extern "C" fn(tokens: usize, sizes: *const usize) -> usize>,
}
