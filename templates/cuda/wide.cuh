// Products of four warps at once: on sm_90a `wgmma`, whose left operand is the four warps' 64 channels in registers and whose right
// operand the tensor cores read from shared memory themselves; else each warp's own `mma`. The sums are in the same order.

// A left operand of 16 x 16 STEPS for each warp.
template <int STEPS> struct Left {
  u32 x[STEPS][4];
};

// What registers hold is settled here: nothing that reads or writes them moves across.
template <int N> __device__ __forceinline__ void settle(Tile<N>& x) {
#pragma unroll
  for (int n = 0; n < N; n++)
    asm volatile("" : "+f"(x.x[n][0]), "+f"(x.x[n][1]), "+f"(x.x[n][2]), "+f"(x.x[n][3])::"memory");
}
template <int STEPS> __device__ __forceinline__ void settle(Left<STEPS>& a) {
#pragma unroll
  for (int k = 0; k < STEPS; k++) asm volatile("" : "+r"(a.x[k][0]), "+r"(a.x[k][1]), "+r"(a.x[k][2]), "+r"(a.x[k][3])::"memory");
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define ROW(i) "+f"(d.x[i][0]), "+f"(d.x[i][1]), "+f"(d.x[i][2]), "+f"(d.x[i][3])
#define ROWS4(i) ROW(i), ROW(i + 1), ROW(i + 2), ROW(i + 3)
#define ROWS8(i) ROWS4(i), ROWS4(i + 4)
#define WGMMA(TILES, COLUMNS, TYPE, NAME, ACCUMULATORS, A, B, REGISTERS)                                                         \
  template <int SCALE, int TURNED>                                                                                               \
  __device__ __forceinline__ void wgmma(Tile<TILES>& d, const u32 (&a)[4], unsigned long long b, TYPE) {                         \
    asm volatile("{.reg .pred p; setp.ne.b32 p, 1, 0;\n"                                                                         \
                 "wgmma.mma_async.sync.aligned.m64n" COLUMNS "k16.f32." NAME "." NAME " {" ACCUMULATORS "}, " A ", " B ";}"       \
                 : REGISTERS                                                                                                     \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(SCALE), "n"(TURNED));                                 \
  }
#define ALL16 ROWS8(0), ROWS8(8)
#define ACCUMULATORS32 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
WGMMA(4, "32", bf16, "bf16", ACCUMULATORS32, "{%16, %17, %18, %19}", "%20, p, %21, 1, %22", ROWS4(0))
WGMMA(4, "32", f16, "f16", ACCUMULATORS32, "{%16, %17, %18, %19}", "%20, p, %21, 1, %22", ROWS4(0))
#define ACCUMULATORS64 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
WGMMA(8, "64", bf16, "bf16", ACCUMULATORS64, "{%32, %33, %34, %35}", "%36, p, %37, 1, %38", ROWS8(0))
WGMMA(8, "64", f16, "f16", ACCUMULATORS64, "{%32, %33, %34, %35}", "%36, p, %37, 1, %38", ROWS8(0))
#define ACCUMULATORS128 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
WGMMA(16, "128", bf16, "bf16", ACCUMULATORS128, "{%64, %65, %66, %67}", "%68, p, %69, 1, %70", ALL16)
WGMMA(16, "128", f16, "f16", ACCUMULATORS128, "{%64, %65, %66, %67}", "%68, p, %69, 1, %70", ALL16)

// Where a right operand lies: its address, the bytes from one panel to the next, and eight rows.
template <int ROWS> __device__ __forceinline__ unsigned long long in_shared(const void* b) {
  const unsigned long long at = ((u32)__cvta_generic_to_shared(b) & 0x3ffff) >> 4;
  return at | (unsigned long long)(ROWS * 2 * PANEL / 16) << 16 | (unsigned long long)(1024 / 16) << 32 | 1ull << 62;
}
#endif

// A value, rounded to P.
template <class P, int K> __device__ __forceinline__ Left<K / 2> left_of(const Tile<K>& x) {
  Left<K / 2> a;
#pragma unroll
  for (int k = 0; k < K / 2; k++) operand<P>(a.x[k], x.x[2 * k], x.x[2 * k + 1]);
  settle(a);
  return a;
}
// What another role left as an operand.
template <int STEPS> __device__ __forceinline__ Left<STEPS> left_found(const char* from) {
  Left<STEPS> a;
#pragma unroll
  for (int k = 0; k < STEPS; k++) load4(a.x[k], from + (k * 32 + (threadIdx.x & 31)) * 16);
  settle(a);
  return a;
}
template <int STEPS> __device__ __forceinline__ void leave(char* to, const Left<STEPS>& a) {
  const u32 at = (u32)__cvta_generic_to_shared(to);
#pragma unroll
  for (int k = 0; k < STEPS; k++) store4(at + k * 512, a.x[k]);
}

// Writes a warp's own state to a record as fragments, `to` at those of its channels.
template <class P, int STEPS> __device__ __forceinline__ void keep(P* to, const Left<STEPS>& a) {
  const int l = threadIdx.x & 31;
#pragma unroll
  for (int k = 0; k < STEPS; k++)
    *(uint4*)((char*)to + (k * 32 + l) * 16) = make_uint4(turn(a.x[k][0]), turn(a.x[k][1]), turn(a.x[k][2]), turn(a.x[k][3]));
}

// acc (16 x 8 N) += or -= a B by one warp. B[k][n] is at row n, column k, or, DOWN, at row k, column n.
template <class P, int ROWS, bool DOWN, bool MINUS, int N, int STEPS>
__device__ __forceinline__ void multiply_alone(Tile<N>& acc, const Left<STEPS>& left, const P* b) {
  const int l = threadIdx.x & 31, m = l >> 3, r = l & 7;
#pragma unroll
  for (int k = 0; k < STEPS; k++) {
    u32 a[4];
#pragma unroll
    for (int i = 0; i < 4; i++) a[i] = left.x[k][i] ^ (MINUS ? 0x80008000u : 0);
#pragma unroll
    for (int n = 0; n < N / 2; n++) {
      u32 f[4];
      if (DOWN) load4t(f, b + in_panels<ROWS>(k * 16 + (m & 1) * 8 + r, n * 16 + (m >> 1) * 8));
      else load4(f, b + in_panels<ROWS>(n * 16 + (m >> 1) * 8 + r, k * 16 + (m & 1) * 8));
      mma(acc.x[2 * n], a, f[0], f[1], P());
      mma(acc.x[2 * n + 1], a, f[2], f[3], P());
    }
  }
}

// A stage: `begin_together` of each accumulator, products, `end_together` of the accumulators and left operands. Between, nothing
// touches those, and all four warps take the same way.
template <int N> __device__ __forceinline__ void begin_together(Tile<N>& acc) {
  settle(acc);
}
template <class... Operands> __device__ __forceinline__ void end_together(Operands&... x) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  (settle(x), ...);
#endif
}

// acc += or -= a B, of which the sum over 16 columns of a after the other is added up.
template <class P, int ROWS, bool DOWN, bool MINUS, int N, int STEPS>
__device__ __forceinline__ void multiply_together(Tile<N>& acc, Left<STEPS>& a, const P* b) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  if constexpr (N == 4 || N == 8 || N == 16) {
    const unsigned long long at = in_shared<ROWS>(b);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int k = 0; k < STEPS; k++)
      wgmma<MINUS ? -1 : 1, DOWN>(acc, a.x[k], at + (DOWN ? k * 16 * 2 * PANEL : k / 4 * ROWS * 2 * PANEL + k % 4 * 32) / 16, P());
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    return;
  }
#endif
  multiply_alone<P, ROWS, DOWN, MINUS>(acc, a, b);
}
