// Work of a whole block on matrices in memory: rows of LD elements, FLIP for the transpose. THREADS is the block's size.
// Lane l of a warp holds, of a 16 x 8 accumulator, elements (g, 2q), (g, 2q + 1), (g + 8, 2q), (g + 8, 2q + 1) with
// g = l / 4 and q = l % 4.

template <class A, class B> struct same {
  static constexpr bool value = false;
};
template <class A> struct same<A, A> {
  static constexpr bool value = true;
};

// SHARED: in shared memory, so that 16-bit elements load as whole blocks.
template <class T, int LD, bool FLIP, bool SHARED = false> struct Mat {
  const T* p;
  template <class P> static constexpr bool by_blocks() { return SHARED && sizeof(P) == 2 && same<T, P>::value; }
  // block (m, k) of 16 x 16 as a left operand
  template <class P> __device__ __forceinline__ void left(u32 (&x)[4], int m, int k, P tag) const {
    const int l = threadIdx.x & 31, i = l >> 3, r = l & 7;
    if constexpr (by_blocks<P>()) {
      if (FLIP) load4t(x, p + (k + (i >> 1) * 8 + r) * LD + m + (i & 1) * 8);
      else load4(x, p + (m + (i & 1) * 8 + r) * LD + k + (i >> 1) * 8);
    } else {
      const int g = l >> 2, c = k + 2 * (l & 3);
      x[0] = along(m + g, c, tag);
      x[1] = along(m + g + 8, c, tag);
      x[2] = along(m + g, c + 8, tag);
      x[3] = along(m + g + 8, c + 8, tag);
    }
  }
  // block (k, n) as the right operands of two accumulators
  template <class P> __device__ __forceinline__ void right(u32 (&x)[4], int k, int n, P tag) const {
    const int l = threadIdx.x & 31, i = l >> 3, r = l & 7;
    if constexpr (by_blocks<P>()) {
      if (FLIP) load4(x, p + (n + (i >> 1) * 8 + r) * LD + k + (i & 1) * 8);
      else load4t(x, p + (k + (i & 1) * 8 + r) * LD + n + (i >> 1) * 8);
    } else {
      const int g = l >> 2, c = k + 2 * (l & 3);
      x[0] = down(c, n + g, tag);
      x[1] = down(c + 8, n + g, tag);
      x[2] = down(c, n + 8 + g, tag);
      x[3] = down(c + 8, n + 8 + g, tag);
    }
  }
  // rows k ... k + 31 of 8 columns: the right operands of one accumulator in two steps
  template <class P> __device__ __forceinline__ void column(u32 (&x)[4], int k, int n, P tag) const {
    const int l = threadIdx.x & 31, i = l >> 3, r = l & 7;
    if constexpr (by_blocks<P>()) {
      if (FLIP) load4(x, p + (n + r) * LD + k + i * 8);
      else load4t(x, p + (k + i * 8 + r) * LD + n);
    } else {
#pragma unroll
      for (int j = 0; j < 4; j++) x[j] = down(k + 8 * j + 2 * (l & 3), n + (l >> 2), tag);
    }
  }
  __device__ __forceinline__ float at(int r, int c) const { return widen(FLIP ? p[c * LD + r] : p[r * LD + c]); }
  // elements (r, c) and (r, c + 1) as one operand register
  template <class P> __device__ __forceinline__ u32 along(int r, int c, P tag) const {
    if constexpr (!FLIP && sizeof(T) == 2) return *(const u32*)(p + r * LD + c);
    else return pair(at(r, c), at(r, c + 1), tag);
  }
  // elements (r, c) and (r + 1, c)
  template <class P> __device__ __forceinline__ u32 down(int r, int c, P tag) const {
    if constexpr (FLIP && sizeof(T) == 2) return *(const u32*)(p + c * LD + r);
    else return pair(at(r, c), at(r + 1, c), tag);
  }
};

// Where row r starts of a matrix that lies in records of T rows each, NEXT elements apart.
template <int T, int LD> __device__ __forceinline__ i64 piece(int r, i64 next) { return r / T * next + r % T * LD; }
// A value where there is one: read in any case, so that what is read again is not.
__device__ __forceinline__ float where(bool there, float x) { return there ? x : 0.f; }

// Where element (r, c) of a matrix of COLS columns lies among 16-bit elements in fragments.
template <int COLS> __device__ __forceinline__ int in_fragments(int r, int c) {
  return ((r >> 4) * (COLS / 16) + (c >> 4)) * 256 + (c & 7) * 32 + (r >> 1 & 3) * 8 + ((r >> 3 & 1) + (c >> 3 & 1) * 2) * 2 + (r & 1);
}

// A matrix of 16-bit elements in global memory whose blocks of 16 x 16 are the right operands of two accumulators, of products
// that sum over rows: lane l's four registers together, taken as they lie. Other uses turn blocks of 8 x 8 in registers.
template <class T, int COLS, bool FLIP> struct Fragments {
  const T* p;
  __device__ __forceinline__ const T* lane(int r, int c) const { return p + ((r >> 4) * (COLS / 16) + (c >> 4)) * 256 + (threadIdx.x & 31) * 8; }
  __device__ __forceinline__ uint4 block(int r, int c) const { return *(const uint4*)lane(r, c); }
  template <class P> __device__ __forceinline__ void left(u32 (&x)[4], int m, int k, P tag) const {
    const uint4 f = FLIP ? block(k, m) : block(m, k);
    if (FLIP) x[0] = f.x, x[1] = f.z, x[2] = f.y, x[3] = f.w;
    else x[0] = turn(f.x), x[1] = turn(f.y), x[2] = turn(f.z), x[3] = turn(f.w);
  }
  template <class P> __device__ __forceinline__ void right(u32 (&x)[4], int k, int n, P tag) const {
    const uint4 f = FLIP ? block(n, k) : block(k, n);
    if (!FLIP) x[0] = f.x, x[1] = f.y, x[2] = f.z, x[3] = f.w;
    else x[0] = turn(f.x), x[1] = turn(f.z), x[2] = turn(f.y), x[3] = turn(f.w);
  }
  __device__ __forceinline__ float at(int r, int c) const { return widen(p[FLIP ? in_fragments<COLS>(c, r) : in_fragments<COLS>(r, c)]); }
};

// Fragments of COUNT operands on their way to shared memory, DEPTH steps of a sum over their rows at a time: a lane finds what it asked
// for itself, so it waits for its own copies and meets nobody.
template <int COUNT, int DEPTH> struct Ahead {
  char* const room;
  __device__ __forceinline__ char* place(int step, int which) const {
    return room + ((step % DEPTH * COUNT + which) * THREADS + threadIdx.x) * 16;
  }
  __device__ __forceinline__ void copy(int step, int which, const void* from) const { copy16(place(step, which), from); }
  __device__ __forceinline__ void take(u32 (&x)[4], int step, int which) const {
    const uint4 f = *(const uint4*)place(step, which);
    x[0] = f.x, x[1] = f.y, x[2] = f.z, x[3] = f.w;
  }
};

// Whether an operand comes from global memory: all of it is asked for as early as registers allow.
template <class B> constexpr bool waits = false;
template <class T, int COLS, bool FLIP> constexpr bool waits<Fragments<T, COLS, FLIP>> = true;

// Which blocks of 16 x 16 of an operand are not zero.
enum Part { WHOLE, UPPER, LOWER };  // all; row <= column; row >= column
// Whether rows m ... m + ROWS - 1 of a left operand are not zero in columns k ... k + 15.
template <Part PART, int ROWS> __device__ __forceinline__ bool reaches(int m, int k) {
  return PART == WHOLE || (PART == LOWER ? k < m + ROWS : k + 16 > m);
}

// acc (16 H x 8 W, at row m and column n of the result) += or -= A B, K wide, products of type P. PART: of A.
template <class P, int K, bool MINUS, int H = 1, Part PART = WHOLE, int HW, class A, class B>
__device__ __forceinline__ void mac(float (&acc)[HW][4], A a, B b, int m, int n) {
  constexpr int W = HW / H;
  [[maybe_unused]] const int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3;
  if constexpr (sizeof(P) == 2) {
#pragma unroll(H > 1 && !waits<B> ? 2 : 4)
    for (int k = 0; k < K; k += 16) {
      if (!reaches<PART, 16 * H>(m, k)) continue;
      u32 x[H][4];
#pragma unroll
      for (int h = 0; h < H; h++) {
        a.left(x[h], m + 16 * h, k, P());
        if (MINUS) {
#pragma unroll
          for (int i = 0; i < 4; i++) x[h][i] ^= 0x80008000u;
        }
      }
#pragma unroll
      for (int w = 0; w < W; w += 2) {
        u32 y[4];
        b.right(y, k, n + 8 * w, P());
#pragma unroll
        for (int h = 0; h < H; h++) {
          mma(acc[h * W + w], x[h], y[0], y[1], P());
          mma(acc[h * W + w + 1], x[h], y[2], y[3], P());
        }
      }
    }
  } else {
#pragma unroll
    for (int h = 0; h < H; h++) {
#pragma unroll 2
      for (int k = 0; k < K; k += 8) {
        Parts x;
        const float s = MINUS ? -1.f : 1.f;
        const int r = m + 16 * h + g;
        split(s * a.at(r, k + q), x.hi[0], x.lo[0]);
        split(s * a.at(r + 8, k + q), x.hi[1], x.lo[1]);
        split(s * a.at(r, k + q + 4), x.hi[2], x.lo[2]);
        split(s * a.at(r + 8, k + q + 4), x.hi[3], x.lo[3]);
#pragma unroll
        for (int w = 0; w < W; w++) mma3(acc[h * W + w], x, b.at(k + q, n + 8 * w + g), b.at(k + q + 4, n + 8 * w + g));
      }
    }
  }
}

// A matrix that keeps twice the digits of T: rounded, and REST elements further what rounding left.
template <class T, int LD, bool FLIP, bool SHARED, int REST> struct Twice {
  const T* p;
  template <class P> __device__ __forceinline__ void left(u32 (&x)[4], int m, int k, P tag) const { Mat<T, LD, FLIP, SHARED>{p}.left(x, m, k, tag); }
  template <class P> __device__ __forceinline__ void right(u32 (&x)[4], int k, int n, P tag) const { Mat<T, LD, FLIP, SHARED>{p}.right(x, k, n, tag); }
  // both parts, negated where MINUS
  template <bool MINUS, class P> __device__ __forceinline__ void parts(u32 (&x)[4], u32 (&rest)[4], int m, int k, P tag) const {
    left(x, m, k, tag);
    Mat<T, LD, FLIP, SHARED>{p + REST}.left(rest, m, k, tag);
    if (MINUS) {
#pragma unroll
      for (int i = 0; i < 4; i++) x[i] ^= 0x80008000u, rest[i] ^= 0x80008000u;
    }
  }
};
// The same of a matrix in f32.
template <bool MINUS, class A, class P> __device__ __forceinline__ void parts_of(A a, u32 (&x)[4], u32 (&rest)[4], int m, int k, P tag) {
  const int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int r = m + g + 8 * (i & 1), c = k + 2 * q + 8 * (i >> 1);
    const float s = MINUS ? -1.f : 1.f, u = s * a.at(r, c), v = s * a.at(r, c + 1);
    x[i] = pair(u, v, tag);
    const float2 high = unpair(x[i], tag);
    rest[i] = pair(u - high.x, v - high.y, tag);
  }
}
template <bool MINUS, class T, int LD, bool FLIP, bool SHARED, int REST, class P>
__device__ __forceinline__ void parts_of(Twice<T, LD, FLIP, SHARED, REST> a, u32 (&x)[4], u32 (&rest)[4], int m, int k, P tag) {
  a.template parts<MINUS>(x, rest, m, k, tag);
}

// As mac, of a left operand that keeps twice the digits of P: it is a sum that may be larger than its terms.
template <class P, int K, bool MINUS, int H = 1, Part PART = WHOLE, int HW, class A, class B>
__device__ __forceinline__ void mac_twice(float (&acc)[HW][4], A a, B b, int m, int n) {
  constexpr int W = HW / H;
#pragma unroll 2
  for (int k = 0; k < K; k += 16) {
    if (!reaches<PART, 16 * H>(m, k)) continue;
    u32 x[H][4], rest[H][4];
#pragma unroll
    for (int h = 0; h < H; h++) parts_of<MINUS>(a, x[h], rest[h], m + 16 * h, k, P());
#pragma unroll
    for (int w = 0; w < W; w += 2) {
      u32 y[4];
      b.right(y, k, n + 8 * w, P());
#pragma unroll
      for (int h = 0; h < H; h++) {
        mma(acc[h * W + w], x[h], y[0], y[1], P());
        mma(acc[h * W + w + 1], x[h], y[2], y[3], P());
        mma(acc[h * W + w], rest[h], y[0], y[1], P());
        mma(acc[h * W + w + 1], rest[h], y[2], y[3], P());
      }
    }
  }
}
