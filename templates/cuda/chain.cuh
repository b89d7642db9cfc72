// The sequential stage, transposed and state-stationary: a warp owns 16 channels (rows) of every state of its chain, in
// registers, as accumulators: N x 8 columns, lane l holds of tile n the elements (g, 8n + 2q), (g, 8n + 2q + 1) and the
// same of row g + 8. Values per token have tokens as columns. An accumulator rounded to P in place is the next product's
// left operand, so rows never mix: no exchange between lanes, no barrier inside a chain. Right operands lie in shared
// memory, rows of LD elements.

template <int N> struct Tile {
  float x[N][4];
};

template <class P> __device__ __forceinline__ void operand(u32 (&a)[4], const float (&x)[4], const float (&y)[4]) {
  a[0] = pair(x[0], x[1], P());
  a[1] = pair(x[2], x[3], P());
  a[2] = pair(y[0], y[1], P());
  a[3] = pair(y[2], y[3], P());
}

// Which products of 16 x 16 blocks (k, n) of a right operand are not zero.
enum Part { WHOLE, UPPER, LOWER };  // all; k <= n; k >= n
__device__ constexpr bool within(Part part, int k, int n) { return part == WHOLE || (part == UPPER ? k <= n : k >= n); }

// acc (16 x 8 N) += or -= x (16 x 8 K) B. B[k][n] is at b[n * LD + k], or, DOWN, at b[k * LD + n].
// PARTS 2: x in two parts of type P, for products that feed a kink.
template <class P, int LD, bool DOWN, Part PART, bool MINUS, int PARTS, int N, int K>
__device__ __forceinline__ void multiply(Tile<N>& acc, const Tile<K>& x, const P* b) {
  const int l = threadIdx.x & 31;
  if constexpr (sizeof(P) == 2) {
    const int m = l >> 3, r = l & 7;
    const P* at = DOWN ? b + ((m & 1) * 8 + r) * LD + (m >> 1) * 8 : b + ((m >> 1) * 8 + r) * LD + (m & 1) * 8;
#pragma unroll
    for (int k = 0; k < K / 2; k++) {
      u32 a[4], rest[4];
      operand<P>(a, x.x[2 * k], x.x[2 * k + 1]);
      if (PARTS == 2) {
        float low[2][4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
          float2 high = unpair(a[i], P());
          low[i >> 1][2 * (i & 1)] = x.x[2 * k + (i >> 1)][2 * (i & 1)] - high.x;
          low[i >> 1][2 * (i & 1) + 1] = x.x[2 * k + (i >> 1)][2 * (i & 1) + 1] - high.y;
        }
        operand<P>(rest, low[0], low[1]);
      }
      if (MINUS) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          a[i] ^= 0x80008000u;
          if (PARTS == 2) rest[i] ^= 0x80008000u;
        }
      }
#pragma unroll
      for (int n = 0; n < N / 2; n++)
        if (within(PART, k, n)) {
          u32 f[4];
          if (DOWN) load4t(f, at + k * 16 * LD + n * 16);
          else load4(f, at + n * 16 * LD + k * 16);
          mma(acc.x[2 * n], a, f[0], f[1], P());
          mma(acc.x[2 * n + 1], a, f[2], f[3], P());
          if (PARTS == 2) {
            mma(acc.x[2 * n], rest, f[0], f[1], P());
            mma(acc.x[2 * n + 1], rest, f[2], f[3], P());
          }
        }
    }
  } else {
    // columns 2q and 2q + 1 of an accumulator tile stand for k = q and q + 4 of the operand
    const int g = l >> 2, q = l & 3;
#pragma unroll
    for (int k = 0; k < K; k++) {
      Parts a;
      const float s = MINUS ? -1.f : 1.f;
      split(s * x.x[k][0], a.hi[0], a.lo[0]);
      split(s * x.x[k][2], a.hi[1], a.lo[1]);
      split(s * x.x[k][1], a.hi[2], a.lo[2]);
      split(s * x.x[k][3], a.hi[3], a.lo[3]);
#pragma unroll
      for (int n = 0; n < N; n++)
        if (within(PART, k / 2, n / 2)) {
          const int i = 8 * k + 2 * q, j = 8 * n + g;
          mma3(acc.x[n], a, DOWN ? b[i * LD + j] : b[j * LD + i], DOWN ? b[(i + 1) * LD + j] : b[j * LD + i + 1]);
        }
    }
  }
}

// A value per token and channel from rows [token][channel] in shared memory, `b` at the warp's first channel.
template <class P, int LD, int N> __device__ __forceinline__ void take(Tile<N>& x, const P* b) {
  const int l = threadIdx.x & 31;
  if constexpr (sizeof(P) == 2) {
    const int m = l >> 3, r = l & 7;
#pragma unroll
    for (int i = 0; i < N / 2; i++) {
      u32 f[4];
      load4t(f, b + (i * 16 + (m >> 1) * 8 + r) * LD + (m & 1) * 8);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        float2 v = unpair(f[j], P());
        x.x[2 * i + (j >> 1)][2 * (j & 1)] = v.x;
        x.x[2 * i + (j >> 1)][2 * (j & 1) + 1] = v.y;
      }
    }
  } else {
    const int g = l >> 2, q = l & 3;
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) x.x[n][e] = b[(8 * n + 2 * q + (e & 1)) * LD + g + 8 * (e >> 1)];
  }
}

// f(element, row, column) of every element that the lane holds.
template <int N, class F> __device__ __forceinline__ void every(Tile<N>& x, F f) {
  const int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3;
#pragma unroll
  for (int n = 0; n < N; n++)
#pragma unroll
    for (int e = 0; e < 4; e++) f(x.x[n][e], n, e, g + 8 * (e >> 1), 8 * n + 2 * q + (e & 1));
}

// BYTES from a record, as they are.
template <int BYTES> __device__ __forceinline__ void fetch(char* to, const char* from) {
  for (int i = threadIdx.x * 16; i < BYTES; i += THREADS * 16) copy16(to + i, from + i);
}

// ROWS rows of COLS channels from `column` on, of a tensor with `size` channels, as P; rows beyond the last repeat it.
template <class P, class T, int ROWS, int COLS, int LD>
__device__ __forceinline__ void fetch_rows(P* to, const View& v, const Chunk& c, i64 head, int column, int size, bool zero) {
  const T* from = rows_of<const T>(v, c.batch, c.first, head);
  if constexpr (sizeof(P) == sizeof(T) && sizeof(T) == 2) {
    constexpr int step = 8;
    if (((((size_t)from) | (size_t)(v.s1 * 2)) & 15) == 0 && size % step == 0 && v.ptr) {
      for (int i = threadIdx.x; i < ROWS * (COLS / step); i += THREADS) {
        const int t = i / (COLS / step), n = i % (COLS / step) * step;
        if (column + n < size && !(zero && t >= c.valid)) copy16(to + t * LD + n, from + c.token(t) * v.s1 + column + n);
        else *(uint4*)(to + t * LD + n) = make_uint4(0, 0, 0, 0);
      }
      return;
    }
  }
  for (int i = threadIdx.x; i < ROWS * COLS; i += THREADS) {
    const int t = i / COLS, n = i % COLS;
    const bool there = column + n < size && v.ptr && !(zero && t >= c.valid);
    to[t * LD + n] = narrow<P>(there ? widen(from[c.token(t) * v.s1 + column + n]) : 0.f);
  }
}
