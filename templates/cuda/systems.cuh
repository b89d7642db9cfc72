// (I - a)^-1, a strictly lower: blocks of 16 by substitution, then pairs of blocks: -T22 L21 T11 with L = -a. Up to 32 tokens
// are the work of one warp, another for each `turn`; more take the block, with a barrier at the end.
template <int T, int LD> __device__ __forceinline__ void invert(const float* a, int la, float* out, int turn) {
  constexpr bool alone = T <= 32;
  constexpr int threads = alone ? 32 : THREADS;
  if (alone && (int)threadIdx.x / 32 != turn % (THREADS / 32)) return;
  const int thread = alone ? threadIdx.x % 32 : threadIdx.x;
  auto meet = [] {
    if (alone) __syncwarp();
    else __syncthreads();
  };
  for (int i = thread; i < T * T; i += threads)
    if (i / T / 16 != i % T / 16) out[i / T * LD + i % T] = 0.f;
  for (int c = thread; c < T; c += threads) {
    const int b = c & ~15;
    float x[16];
#pragma unroll
    for (int i = 0; i < 16; i++) {
      float sum = b + i == c ? 1.f : 0.f;
#pragma unroll
      for (int k = 0; k < i; k++) sum += a[(b + i) * la + b + k] * x[k];
      x[i] = b + i < c ? 0.f : sum;
    }
    // written after all is read: the compiler does not know that these places differ
#pragma unroll
    for (int i = 0; i < 16; i++) out[(b + i) * LD + c] = x[i];
  }
  meet();
  if constexpr (alone) {
    if constexpr (T == 32) {
      const int g = thread >> 2, q = thread & 3;
      float acc[2][4] = {};
      auto put = [&](int r, int c) {
#pragma unroll
        for (int w = 0; w < 2; w++)
#pragma unroll
          for (int e = 0; e < 4; e++) out[(r + g + 8 * (e >> 1)) * LD + c + 8 * w + 2 * q + (e & 1)] = acc[w][e];
      };
      struct Rows {
        const float* p;
        int ld;
        __device__ float at(int r, int c) const { return p[r * ld + c]; }
      };
      // the upper block holds L21 T11 meanwhile
      mac<float, 16, false>(acc, Rows{a + 16 * la, la}, Rows{out, LD}, 0, 0);
      put(0, 16);
      meet();
#pragma unroll
      for (int i = 0; i < 8; i++) acc[i / 4][i % 4] = 0.f;
      mac<float, 16, false>(acc, Rows{out + 16 * LD + 16, LD}, Rows{out + 16, LD}, 0, 0);
      meet();
      put(16, 0);
      for (int i = thread; i < 256; i += 32) out[i / 16 * LD + 16 + i % 16] = 0.f;
    }
    return;
  }
#pragma unroll
  for (int n = 16; n < T; n *= 2) {
    // the upper block of a pair holds L21 T11 meanwhile
    for (int i = thread; i < T / 2 * n; i += threads) {
      const int b = i / (n * n) * 2 * n, r = i / n % n, c = i % n;
      float sum = 0;
#pragma unroll 8
      for (int k = 0; k < n; k++) sum += a[(b + n + r) * la + b + k] * out[(b + k) * LD + b + c];
      out[(b + r) * LD + b + n + c] = sum;
    }
    meet();
    for (int i = thread; i < T / 2 * n; i += threads) {
      const int b = i / (n * n) * 2 * n, r = i / n % n, c = i % n;
      float sum = 0;
#pragma unroll 8
      for (int k = 0; k < n; k++) sum += out[(b + n + r) * LD + b + n + k] * out[(b + k) * LD + b + n + c];
      out[(b + n + r) * LD + b + c] = sum;
    }
    meet();
    for (int i = thread; i < T / 2 * n; i += threads) {
      const int b = i / (n * n) * 2 * n, r = i / n % n, c = i % n;
      out[(b + r) * LD + b + n + c] = 0.f;
    }
    meet();
  }
}

// (I - a)^-1 b, a and b lower and a strictly, of up to 32 tokens; b null: of the identity. Rows of LD (the result's LT) elements. A lane
// substitutes for a column, a warp for one of COUNT systems, which `of` names; the first warp is the one of that TURN.
template <int T, int LD, int LT, class P, int COUNT, int TURN, class Of> __device__ __forceinline__ void substitute(Of of) {
  static_assert(T <= 32);
  const int lane = threadIdx.x & 31;
  const auto solve = [&](const float* a, const float* b, P* to) {
    float x[T];
#pragma unroll
    for (int i = 0; i < T; i++) {
      // the row before comes last: all else can be added up while it is made
      float sum[4] = {b ? b[i * LD + lane] : i == lane ? 1.f : 0.f};
#pragma unroll
      for (int k = 0; k < i - 1; k++) sum[k & 3] += x[k] * pick(Width<4>(), a + i * LD + (k & ~3), k & 3);
      x[i] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
      if (i > 0) x[i] += x[i - 1] * a[i * LD + i - 1];
    }
#pragma unroll
    for (int i = 0; i < T; i++) to[i * LT + lane] = narrow<P>(i < lane ? 0.f : x[i]);
  };
  constexpr int warps = THREADS / 32, before = (warps - TURN % warps) % warps;
#pragma unroll 1
  for (int i = before ? (threadIdx.x / 32 + before) % warps : threadIdx.x / 32; i < COUNT; i += warps)
    if (lane < T) of(i, solve);
}

// Where a result goes, in rows of LD elements, and one that is not wanted.
template <class P, int LD> struct To {
  P* p;
  __device__ __forceinline__ void put(int r, int c, float x) const { p[r * LD + c] = narrow<P>(x); }
};
struct Unwanted {
  __device__ __forceinline__ void put(int, int, float) const {}
};

// Of X = (I - L D)^-1 L, L strictly lower of up to 32 tokens, in rows of LD elements, and D the diagonal of numbers d, times `sign`: X,
// I + X D and I + D X, as far as they are wanted. A lane substitutes for a column, a warp for one of COUNT systems, which `of` names; the
// first warp is the one of that TURN.
template <int T, int LD, int COUNT, int TURN, class Of> __device__ __forceinline__ void systems(Of of) {
  static_assert(T <= 32);
  const int lane = threadIdx.x & 31;
  const auto solve = [&](const float* lower, const float* d, float sign, auto plain, auto columns, auto rows) {
    // of one system the compiler reads further ahead, and has registers for two sums
    constexpr int SUMS = COUNT > 1 ? 4 : 2;
    const float own = sign * d[lane];
    float z[T];
    // some rows are stored at once: a store between reads would hold these up
    constexpr int together = 4;
#pragma unroll
    for (int first = 0; first < T; first += together) {
      float x[together];
#pragma unroll
      for (int i = first; i < first + together; i++) {
        // the row before comes last: all else can be added up while it is made
        float sum[SUMS] = {lower[i * LD + lane]};
#pragma unroll
        for (int k = 0; k < i - 1; k++) sum[k % SUMS] += z[k] * pick(Width<4>(), lower + i * LD + (k & ~3), k & 3);
        float y = sum[0] + sum[1];
        if constexpr (SUMS == 4) y += sum[2] + sum[3];
        if (i > 0) y += z[i - 1] * lower[i * LD + i - 1];
        z[i] = sign * pick(Width<4>(), d + (i & ~3), i & 3) * y;
        x[i - first] = y;
      }
#pragma unroll
      for (int i = first; i < first + together; i++) {
        const float one = i == lane ? 1.f : 0.f;
        rows.put(i, lane, one + z[i]);
        columns.put(i, lane, one + x[i - first] * own);
        plain.put(i, lane, x[i - first]);
      }
    }
  };
  constexpr int warps = THREADS / 32, before = (warps - TURN % warps) % warps;
#pragma unroll 1
  for (int i = before ? (threadIdx.x / 32 + before) % warps : threadIdx.x / 32; i < COUNT; i += warps)
    if (lane < T) of(i, solve);
}
