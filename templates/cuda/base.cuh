// Types, views and the place of a chunk. Every generated kernel starts with this page.
typedef unsigned int u32;
typedef long long i64;
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)

// The 16-bit types, without the toolkit's headers.
struct bf16 {
  unsigned short bits;
};
struct f16 {
  unsigned short bits;
};

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(bf16 x) { return __uint_as_float((u32)x.bits << 16); }
__device__ __forceinline__ float widen(f16 x) {
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x.bits));
  return r;
}
template <class T> __device__ __forceinline__ T narrow(float x);
template <> __device__ __forceinline__ float narrow<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 narrow<bf16>(float x) {
  bf16 r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(x));
  return r;
}
template <> __device__ __forceinline__ f16 narrow<f16>(float x) {
  f16 r;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r.bits) : "f"(x));
  return r;
}

// A tensor of the caller: element (i, j, k, c) lies at i s0 + j s1 + k s2 + c s3 elements. Inputs, outputs and their
// gradients: batch entry, token, head, channel. States: sequence or slot, head, row, column.
struct View {
  char* ptr;
  i64 s0, s1, s2, s3;
};

// Sequences of a call: `count` of them, each of `tokens` tokens, or packed with `offsets` (int64 where `wide`). Tokens, chunks and
// sequences are counted in 32 bits: the host sees to that.
struct Sequences {
  const void* offsets;
  i64 wide, count, tokens;

  __device__ int offset(int i) const { return wide ? (int)((const i64*)offsets)[i] : ((const int*)offsets)[i]; }
  __device__ int batch(int i) const { return offsets ? 0 : i; }
  __device__ int start(int i) const { return offsets ? offset(i) : 0; }
  __device__ int length(int i) const { return offsets ? offset(i + 1) - offset(i) : (int)tokens; }
  // Chunks of a sequence that is not packed.
  __device__ int each(int chunk) const { return ((u32)tokens + chunk - 1) / chunk; }
  // Chunks are numbered through all sequences; a packed sequence may leave a number unused.
  __device__ int slot(int i, int chunk) const { return offsets ? (u32)offset(i) / chunk + i : i * each(chunk); }
  __device__ int slots(int chunk) const { return offsets ? (u32)tokens / chunk + (int)count : slot(count, chunk); }
};

// One chunk of one sequence and value head.
struct Chunk {
  int batch, first, slot;     // batch entry, first token, number
  int head, key_head, valid;  // value head, its key head, tokens that are there
  int sequence, index, left;  // the sequence, which of its chunks, and its tokens from the chunk on

  __device__ int token(int t) const { return t < valid ? t : valid - 1; }
};

// A chunk that may not be there: then `valid` is 0.
__device__ __forceinline__ Chunk chunk_at(const Sequences& q, int sequence, int index, int slot, int head, int group, int size) {
  const int left = q.length(sequence) - index * size;
  return {q.batch(sequence), q.start(sequence) + index * size, slot, head, (u32)head / (u32)group,
          left < 0 ? 0 : left < size ? left : size, sequence, index, left};
}

// The same, of packed sequences, of a number.
__device__ inline Chunk packed_chunk(const Sequences& q, int slot, int head, int group, int size) {
  int low = 0, high = (int)q.count - 1;
  while (low < high) {  // the last sequence that starts at or before the number
    const int middle = (low + high + 1) / 2;
    if (q.slot(middle, size) <= slot) low = middle;
    else high = middle - 1;
  }
  return chunk_at(q, low, slot - q.slot(low, size), slot, head, group, size);
}

// The chunk of a number.
__device__ __forceinline__ Chunk chunk_of(const Sequences& q, int slot, int head, int group, int size) {
  if (q.offsets) return packed_chunk(q, slot, head, group, size);
  const u32 each = q.each(size), sequence = (u32)slot / each;
  return chunk_at(q, sequence, slot - sequence * each, slot, head, group, size);
}

// The chunk of a turn: a number in the order in which backward's sequential kernels come to chunks. In each turn the next one, from the
// last on, of one sequence after the other; packed, all of one sequence first.
__device__ __forceinline__ Chunk chunk_of_turn(const Sequences& q, u32 turn, int head, int group, int size) {
  if (q.offsets) return packed_chunk(q, q.slots(size) - 1 - turn, head, group, size);
  const u32 each = q.each(size), n = (u32)q.count, i = turn / n, sequence = turn - i * n, index = each - 1 - i;
  return chunk_at(q, sequence, index, sequence * each + index, head, group, size);
}

// Strides of tokens and of heads have 32 bits, which the host sees to: a multiplication is one instruction.
template <class T> __device__ __forceinline__ T* rows_of(const View& v, int batch, int token, int head) {
  return (T*)v.ptr + (u32)batch * v.s0 + (unsigned long long)(u32)token * (u32)v.s1 + (unsigned long long)(u32)head * (u32)v.s2;
}

// Elementwise functions; a NaN passes through those with a kink.
__device__ __forceinline__ float f_log(float x) { return logf(x); }
__device__ __forceinline__ float f_exp(float x) { return expf(x); }
__device__ __forceinline__ float f_sigmoid(float x) { return 1.f / (1.f + expf(-x)); }
__device__ __forceinline__ float f_logsigmoid(float x) { return fminf(x, 0.f) - log1pf(expf(-fabsf(x))); }
__device__ __forceinline__ float f_tanh(float x) { return tanhf(x); }
__device__ __forceinline__ float f_silu(float x) { return x / (1.f + expf(-x)); }
__device__ __forceinline__ float f_softplus(float x) { return fmaxf(x, 0.f) + log1pf(expf(-fabsf(x))); }
__device__ __forceinline__ float f_sq(float x) { return x * x; }
__device__ __forceinline__ float f_relu(float x) { return x <= 0.f ? 0.f : x; }
__device__ __forceinline__ float f_clamp(float x, float lo, float hi) {
  float r;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(x), "f"(lo));
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(r), "f"(hi));
  return r;
}
__device__ __forceinline__ float f_inside(float x, float lo, float hi, float d) { return x <= lo || x >= hi ? 0.f : d; }
__device__ __forceinline__ float f_positive(float x, float d) { return x <= 0.f ? 0.f : d; }
__device__ __forceinline__ float f_sign(float x, float d) { return x == 0.f ? 0.f : x < 0.f ? -d : x > 0.f ? d : x; }
__device__ __forceinline__ float f_keep(float mask, float x) { return mask == 0.f ? 0.f : x; }
