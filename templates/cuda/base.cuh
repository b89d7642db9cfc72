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

// Sequences of a call: `count` of them, each of `tokens` tokens, or packed with `offsets` (int64 where `wide`).
struct Sequences {
  const void* offsets;
  i64 wide, count, tokens;

  __device__ i64 offset(i64 i) const { return wide ? ((const i64*)offsets)[i] : (i64)((const int*)offsets)[i]; }
  __device__ i64 batch(i64 i) const { return offsets ? 0 : i; }
  __device__ i64 start(i64 i) const { return offsets ? offset(i) : 0; }
  __device__ i64 length(i64 i) const { return offsets ? offset(i + 1) - offset(i) : tokens; }
  // Chunks are numbered through all sequences; a packed sequence may leave a number unused.
  __device__ i64 slot(i64 i, int chunk) const {
    return offsets ? offset(i) / chunk + i : i * ((tokens + chunk - 1) / chunk);
  }
  __device__ i64 slots(int chunk) const { return offsets ? tokens / chunk + count : slot(count, chunk); }

  // Turns: numbers in the order in which sequential kernels come to them, backward from the last on. In each turn the next chunk of
  // one sequence after the other (packed: all of one sequence first); so many turns further is a sequence's next.
  __device__ u32 together() const { return offsets ? 1 : (u32)count; }
  template <bool BACK> __device__ i64 slot_of_turn(u32 turn, int chunk) const {
    const u32 n = together(), own = (u32)(offsets ? slots(chunk) : slot(1, chunk)), i = turn / n;
    return (i64)(turn % n) * own + (BACK ? own - 1 - i : i);
  }
  template <bool BACK> __device__ i64 first_turn(i64 i, int chunk, int chunks) const {
    if (!offsets) return i;
    return BACK ? slots(chunk) - slot(i, chunk) - chunks : slot(i, chunk);
  }
};

// One chunk of one sequence and value head.
struct Chunk {
  i64 batch, first, slot;  // batch entry, first token, number
  int head, key_head, valid;  // value head, its key head, tokens that are there

  __device__ int token(int t) const { return t < valid ? t : valid - 1; }
};

// The chunk of a number; `valid` is 0 where the number is unused.
__device__ inline Chunk chunk_of(const Sequences& q, i64 slot, int head, int group, int size, i64* sequence) {
  i64 low = 0, high = q.count - 1;
  if (!q.offsets) {  // in 32 bits, which divide faster
    const u32 each = (u32)((q.tokens + size - 1) / size);
    low = high = each ? (u32)slot / each : 0;
  }
  while (low < high) {  // the last sequence that starts at or before the number
    i64 middle = (low + high + 1) / 2;
    if (q.slot(middle, size) <= slot) low = middle;
    else high = middle - 1;
  }
  i64 index = slot - q.slot(low, size), left = q.length(low) - index * size;
  *sequence = low;
  return {q.batch(low), q.start(low) + index * size, slot, head, group > 1 ? head / group : head, (int)(left < 0 ? 0 : left < size ? left : size)};
}

template <class T> __device__ __forceinline__ T* rows_of(const View& v, i64 batch, i64 token, i64 head) {
  return (T*)v.ptr + batch * v.s0 + token * v.s1 + head * v.s2;
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
