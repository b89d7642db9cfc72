// Waits until all slices of the sequential kernel, which may still run, have handed on so many chunks.
__device__ __forceinline__ void handed_on(const int* progress, int slices, int chunks) {
  if (threadIdx.x < slices)
    for (;;) {
      int seen;
      asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(seen) : "l"(progress + threadIdx.x) : "memory");
      if (seen >= chunks) break;
      __nanosleep(500);
    }
  __syncthreads();
}
// A number that addresses what another kernel writes: nothing is read with it before this.
__device__ __forceinline__ int from_now(int number) {
  asm volatile("" : "+r"(number)::"memory");
  return number;
}
// Waits until the kernel before has ended.
__device__ __forceinline__ void wait_for_end() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// The kernel behind this one may start on what room is left, once all blocks of this one have.
__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

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

// Values of adjacent columns, stored at once.
template <int N> struct Some {
  float x[N];
};
template <class T, int N> __device__ __forceinline__ void put(T* to, const Some<N>& y) {
  if constexpr (N == 1) {
    *to = narrow<T>(y.x[0]);
  } else if constexpr (sizeof(T) == 2) {
    u32 x[N / 2];
#pragma unroll
    for (int i = 0; i < N / 2; i++) x[i] = pair(y.x[2 * i], y.x[2 * i + 1], T());
    if constexpr (N == 2) *(u32*)to = x[0];
    else if constexpr (N == 4) *(uint2*)to = make_uint2(x[0], x[1]);
    else *(uint4*)to = make_uint4(x[0], x[1], x[2], x[3]);
  } else if constexpr (N == 2) {
    *(float2*)to = make_float2(y.x[0], y.x[1]);
  } else {
#pragma unroll
    for (int i = 0; i < N; i += 4) *(float4*)(to + i) = make_float4(y.x[i], y.x[i + 1], y.x[i + 2], y.x[i + 3]);
  }
}
// Values rounded, and REST elements further what rounding left.
template <int REST, class T, int N> __device__ __forceinline__ void put_twice(T* to, const Some<N>& y) {
  Some<N> rest;
#pragma unroll
  for (int i = 0; i < N; i++) rest.x[i] = y.x[i] - widen(narrow<T>(y.x[i]));
  put(to, y);
  put(to + REST, rest);
}
// How many adjacent elements are read at once, and the n-th of them: what is asked for again is not read again. GIVEN: from device
// memory that this kernel does not write, so that reads may go before writes.
template <int N> struct Width {};
template <bool GIVEN, class T> __device__ __forceinline__ T word(const void* from) {
  if constexpr (GIVEN) return __ldg((const T*)from);
  else return *(const T*)from;
}
template <bool GIVEN = false, class T, int N> __device__ __forceinline__ float pick(Width<N>, const T* from, int n) {
  if constexpr (N == 1) {
    return widen(*from);
  } else if constexpr (sizeof(T) == 2) {
    u32 x[N / 2];
    if constexpr (N == 2) {
      x[0] = word<GIVEN, u32>(from);
    } else if constexpr (N == 4) {
      const uint2 y = word<GIVEN, uint2>(from);
      x[0] = y.x, x[1] = y.y;
    } else {
      const uint4 y = word<GIVEN, uint4>(from);
      x[0] = y.x, x[1] = y.y, x[2] = y.z, x[3] = y.w;
    }
    const float2 both = unpair(x[n / 2], T());
    return n % 2 ? both.y : both.x;
  } else if constexpr (N == 2) {
    const float2 y = word<GIVEN, float2>(from);
    return n ? y.y : y.x;
  } else {
    const float4 y = word<GIVEN, float4>(from + n / 4 * 4);
    return n % 4 == 0 ? y.x : n % 4 == 1 ? y.y : n % 4 == 2 ? y.z : y.w;
  }
}
// Four adjacent values, rounded.
template <class T> struct Rounded {
  u32 x[2];
};
template <class T> __device__ __forceinline__ void put(T* to, const Rounded<T>& y) { *(uint2*)to = make_uint2(y.x[0], y.x[1]); }
template <class T> __device__ __forceinline__ void put_row(T* to, const Rounded<T>& y, int there, bool wide) {
  if (wide && there >= 4) {
    put(to, y);
    return;
  }
  const float2 low = unpair(y.x[0], T()), high = unpair(y.x[1], T());
  const float x[4] = {low.x, low.y, high.x, high.y};
#pragma unroll
  for (int i = 0; i < 4; i++)
    if (i < there) to[i] = narrow<T>(x[i]);
}
// The same to a row of the caller, of which `there` columns are left; `wide`: see is_wide.
template <class T, int N> __device__ __forceinline__ void put_row(T* to, const Some<N>& y, int there, bool wide) {
  if (wide && there >= N) {
    put(to, y);
    return;
  }
#pragma unroll
  for (int i = 0; i < N; i++)
    if (i < there) to[i] = narrow<T>(y.x[i]);
}
// Whether rows of a tensor of the caller start at multiples of 16 bytes.
template <class T> __device__ __forceinline__ bool is_wide(const View& v) {
  return (((size_t)v.ptr | (size_t)((v.s0 | v.s1 | v.s2) * (i64)sizeof(T))) & 15) == 0;
}

// Rows of a chunk in a tensor of the caller, of COLS columns.
template <class T, int COLS> struct RowsTo {
  T* const first;
  const i64 step;
  const int valid;
  const bool wide;
  __device__ __forceinline__ RowsTo(const View& v, const Chunk& c, i64 head)
      : first(rows_of<T>(v, c.batch, c.first, head)), step(v.s1), valid(c.valid), wide(is_wide<T>(v)) {}
  template <int N> __device__ __forceinline__ void put(int r, int c, const Some<N>& y) const {
    if (r < valid) put_row(first + r * step + c, y, COLS % 16 == 0 ? N : COLS - c, wide);
  }
  __device__ __forceinline__ void put(int r, int c, const Rounded<T>& y) const {
    if (r < valid) put_row(first + r * step + c, y, COLS % 16 == 0 ? 4 : COLS - c, wide);
  }
};

// A warp's tile of a result: `value` makes element (r, c + n) of the accumulator's, of two adjacent ones that `store` takes.
template <int W, class Value, class Store>
__device__ __forceinline__ void finish_tile(float (&acc)[W][4], int m, int n, Value value, Store store) {
  const int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3;
#pragma unroll
  for (int w = 0; w < W; w++)
#pragma unroll
    for (int e = 0; e < 4; e++) acc[w][e] = value(Width<2>(), m + g + 8 * (e >> 1), n + 8 * w + 2 * q, e & 1, acc[w][e]);
#pragma unroll
  for (int w = 0; w < W; w++)
#pragma unroll
    for (int e = 0; e < 4; e += 2) store(m + g + 4 * e, n + 8 * w + 2 * q, Some<2>{acc[w][e], acc[w][e + 1]});
}

// An M x N result by tiles of 16 x 8 W a warp, the first warp the one of that `turn`: `product` adds to the accumulator.
template <int M, int N, class Product, class Value, class Store>
__device__ __forceinline__ void tiles(int turn, Product product, Value value, Store store) {
  constexpr int warps = THREADS / 32;
  constexpr int W = N % 64 == 0 && (M / 16) * (N / 64) >= warps ? 8
                  : N % 32 == 0 && (M / 16) * (N / 32) >= warps ? 4
                                                                : 2;
#pragma unroll 1
  for (int i = (threadIdx.x / 32 + turn) % warps; i < (M / 16) * (N / (8 * W)); i += warps) {
    const int m = i % (M / 16) * 16, n = i / (M / 16) * (8 * W);
    float acc[W][4] = {};
    product(acc, m, n);
    finish_tile(acc, m, n, value, store);
  }
}
// G results side by side, of right operands that they share.
template <int M, int N, int G, class Product, class Finish>
__device__ __forceinline__ void tiles_of(Product product, Finish finish) {
  constexpr int warps = THREADS / 32;
  constexpr int W = G <= 2 && N % 32 == 0 && (M / 16) * (N / 32) >= warps ? 4 : 2;
#pragma unroll 1
  for (int i = threadIdx.x / 32; i < (M / 16) * (N / (8 * W)); i += warps) {
    const int m = i % (M / 16) * 16, n = i / (M / 16) * (8 * W);
    float acc[G][W][4] = {};
    product(acc, m, n);
    finish(acc, m, n);
  }
}
// Tiles of 16 H x 8 W of an M x N result, each a warp's work; the first warp is the one of that `turn`.
template <int M, int N, int H, int W, class Work> __device__ __forceinline__ void each_tile(int turn, Work work) {
  constexpr int warps = THREADS / 32, high = M / (16 * H), all = high * (N / (8 * W));
  int i = (threadIdx.x / 32 + turn) % warps;
  auto at = [&] { work(i % high * (16 * H), i / high * (8 * W)); };
  if constexpr (all == warps) {
    at();
  } else {
#pragma unroll 1
    for (; i < all; i += warps) at();
  }
}
// The elements of a tile that a lane has: (r, c + n) is element (w, e) of the accumulators.
template <int H, int W, class F> __device__ __forceinline__ void in_tile(int m, int n, F f) {
  const int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3;
#pragma unroll
  for (int w = 0; w < H * W; w++)
#pragma unroll
    for (int e = 0; e < 4; e++) f(Width<2>(), m + 16 * (w / W) + g + 8 * (e >> 1), n + 8 * (w % W) + 2 * q, e & 1, w, e);
}
template <int H, int W, class Store> __device__ __forceinline__ void put_tile(int m, int n, const float (&x)[H * W][4], Store store) {
  const int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3;
#pragma unroll
  for (int w = 0; w < H * W; w++)
#pragma unroll
    for (int e = 0; e < 4; e += 2)
      store(m + 16 * (w / W) + g + 4 * e, n + 8 * (w % W) + 2 * q, Some<2>{x[w][e], x[w][e + 1]});
}
// The same for the caller's rows of T, four adjacent elements at once: of two accumulators side by side neighbours exchange one.
template <class T, int H, int W, class Store>
__device__ __forceinline__ void put_tile_rows(int m, int n, const float (&x)[H * W][4], Store store) {
  static_assert(W % 2 == 0);
  const int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3;
  const bool odd = q & 1;
#pragma unroll
  for (int w = 0; w < H * W; w += 2)
#pragma unroll
    for (int e = 0; e < 4; e += 2) {
      const int r = m + 16 * (w / W) + g + 4 * e, c = n + 8 * (w % W) + (odd ? 8 : 0) + (q >> 1) * 4;
      const float *low = x[w] + e, *high = x[w + 1] + e;
      if constexpr (sizeof(T) == 2) {
        const u32 first = pair(low[0], low[1], T()), second = pair(high[0], high[1], T());
        const u32 other = __shfl_xor_sync(~0u, odd ? first : second, 1);
        store(r, c, odd ? Rounded<T>{{other, second}} : Rounded<T>{{first, other}});
      } else {
        const float a = __shfl_xor_sync(~0u, odd ? low[0] : high[0], 1), b = __shfl_xor_sync(~0u, odd ? low[1] : high[1], 1);
        store(r, c, odd ? Some<4>{a, b, high[0], high[1]} : Some<4>{low[0], low[1], a, b});
      }
    }
}
// Of sums of rows in PARTS parts, the one of a tile: what a lane has of rows g, g + 8 and so on.
template <int PARTS, int H> __device__ __forceinline__ void put_row_parts(const float (&x)[2 * H], float* to, int m, int part) {
  const int l = threadIdx.x & 31;
#pragma unroll
  for (int h = 0; h < 2 * H; h++) {
    float sum = x[h] + __shfl_xor_sync(~0u, x[h], 1);
    sum += __shfl_xor_sync(~0u, sum, 2);
    if (l % 4 == 0) to[(m + l / 4 + 8 * h) * PARTS + part] = sum;
  }
}
// Such a sum, of row r.
template <int PARTS> __device__ __forceinline__ float total(const float* from, int r) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < PARTS; i++) sum += from[r * PARTS + i];
  return sum;
}
// Adds the products of the elements of two blocks, each held as the right operands of two accumulators, to the diagonal of the
// first eight rows of an accumulator: what is elsewhere means nothing. The transpose of a right operand is a left one.
template <class P> __device__ __forceinline__ void add_products(float (&acc)[4], const u32 (&x)[4], const u32 (&y)[4], P tag) {
  mma(acc, {x[0], x[2], x[1], x[3]}, y[0], y[1], tag);
  mma(acc, {x[2], x[0], x[3], x[1]}, y[2], y[3], tag);
}
// What a lane has of that diagonal.
__device__ __forceinline__ float diagonal(const float (&acc)[4]) {
  const int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3;
  return g == 2 * q ? acc[0] : g == 2 * q + 1 ? acc[1] : 0.f;
}

template <int R, int C, class F> __device__ __forceinline__ void each(F f) {
  for (int i = threadIdx.x; i < R * C; i += THREADS) f(i / C, i % C);
}

// Elements of an R x C result, eight or four adjacent ones a thread where rows have so many: some at once, so that what they read
// is under way together. A column starts at the warp of that `turn`.
template <int R, int C, class Value, class Store> __device__ __forceinline__ void fill(int turn, Value value, Store store) {
  constexpr int N = C % 8 == 0 && R * C >= 8 * THREADS ? 8 : C % 4 == 0 ? 4 : 1, all = R * C / N;
  constexpr int batch = all % (4 * THREADS) == 0 ? 4 : all % (2 * THREADS) == 0 ? 2 : 1;
  for (int i = (threadIdx.x + (C == 1 ? 32 * turn : 0)) % THREADS; i < all; i += batch * THREADS) {
    Some<N> y[batch];
#pragma unroll
    for (int b = 0; b < batch; b++) {
      const int j = i + b * THREADS, r = j / (C / N), c = j % (C / N) * N;
#pragma unroll
      for (int n = 0; n < N; n++) y[b].x[n] = value(Width<N>(), r, c, n);
    }
#pragma unroll
    for (int b = 0; b < batch; b++) {
      const int j = i + b * THREADS;
      store(j / (C / N), j % (C / N) * N, y[b]);
    }
  }
}

// How many adjacent elements of R x C a thread of a sweep has at a time: `most`, where its registers hold those of several values.
template <int R, int C> constexpr int sweep_width(int most) {
  return THREADS * BLOCKS <= 512 && R * C >= 8 * THREADS ? most : 4;
}

// Work on N adjacent elements at a time of R x C, with S sums of each row: some lanes have a row together, and add up in a fixed
// order. What ROWS rows read is under way together.
template <int R, int C, int N, int S, int ROWS, class Work, class Store> __device__ __forceinline__ void sweep(Work work, Store store) {
  constexpr int most = C / N;
  constexpr int lanes = most >= 32 ? 32 : most >= 16 ? 16 : most >= 8 ? 8 : most >= 4 ? 4 : most >= 2 ? 2 : 1;
  const int lane = threadIdx.x % lanes;
#pragma unroll(ROWS)
  for (int first = 0; first < R; first += THREADS / lanes) {
    const int r = first + threadIdx.x / lanes;
    float sum[S > 0 ? S : 1] = {};
    if (R % (THREADS / lanes) == 0 || r < R)
      for (int c = lane * N; c < C; c += lanes * N) work(r, c, sum);
    if constexpr (S > 0) {
#pragma unroll
      for (int i = 0; i < S; i++)
#pragma unroll
        for (int o = lanes / 2; o; o >>= 1) sum[i] += __shfl_xor_sync(~0u, sum[i], o);
      if (lane == 0 && r < R) store(r, sum);
    }
  }
}

// BYTES as they are, from global to shared memory.
template <int BYTES> __device__ __forceinline__ void copy_block(void* to, const void* from) {
  for (int i = threadIdx.x * 16; i < BYTES; i += THREADS * 16) copy16((char*)to + i, (const char*)from + i);
}

// Rows of COLS elements that lie one right behind the other, to rows of LD in shared memory.
template <class T, int ROWS, int COLS, int LD> __device__ __forceinline__ void copy_apart(T* to, const T* from) {
  constexpr int pieces = COLS * sizeof(T) / 16, each = 16 / sizeof(T);
#pragma unroll
  for (int first = 0; first < ROWS * pieces; first += THREADS) {
    const int i = first + threadIdx.x;
    if (ROWS * pieces % THREADS == 0 || i < ROWS * pieces) copy16(to + i / pieces * LD + i % pieces * each, from + i * each);
  }
}

// The same of rows that lie PIECE by PIECE, pieces `next` elements apart; those from `there` on are zero.
template <class T, int ROWS, int PIECE, int COLS, int LD>
__device__ __forceinline__ void copy_pieces(T* to, const T* from, i64 next, int there) {
  constexpr int pieces = COLS * sizeof(T) / 16, each = 16 / sizeof(T);
#pragma unroll
  for (int first = 0; first < ROWS * pieces; first += THREADS) {
    const int i = first + threadIdx.x, r = i / pieces, n = i % pieces * each;
    if (ROWS * pieces % THREADS != 0 && i >= ROWS * pieces) break;
    if (r < there) copy16(to + r * LD + n, from + piece<PIECE, COLS>(r, next) + n);
    else *(uint4*)(to + r * LD + n) = make_uint4(0, 0, 0, 0);
  }
}

// BYTES as they are, from shared to global memory, by the warp of that `turn`.
template <int BYTES> __device__ __forceinline__ void store_block(int turn, void* to, const void* from) {
  constexpr int pieces = BYTES / 16;
  if ((int)threadIdx.x / 32 != turn % (THREADS / 32)) return;
#pragma unroll
  for (int first = 0; first < pieces; first += 32) {
    const int i = first + threadIdx.x % 32;
    if (pieces % 32 == 0 || i < pieces) ((uint4*)to)[i] = ((const uint4*)from)[i];
  }
}

// Rows of 16-bit elements of the caller as they are: ROWS x COLS, of them `size` columns there; rows beyond the last repeat
// it, or are zero.
template <class T, int ROWS, int COLS, int LD>
__device__ __forceinline__ void copy_rows(T* to, const View& v, const Chunk& c, i64 head, int size, bool zero) {
  const T* from = rows_of<const T>(v, c.batch, c.first, head);
  constexpr int pieces = COLS / 8;
  const bool wide = ((((size_t)from) | (size_t)(v.s1 * 2)) & 15) == 0 && size % 8 == 0 && v.ptr;
  if (wide && size == COLS && c.valid == ROWS && THREADS % pieces == 0 && ROWS % (THREADS / pieces) == 0) {
    // a thread stays in its column
    constexpr int step = THREADS / pieces;
    const int t = threadIdx.x / pieces, n = threadIdx.x % pieces * 8;
    const T* at = from + t * v.s1 + n;
#pragma unroll
    for (int r = 0; r < ROWS; r += step, at += step * v.s1) copy16(to + (t + r) * LD + n, at);
    return;
  }
  if (wide) {
    for (int i = threadIdx.x; i < ROWS * pieces; i += THREADS) {
      const int t = i / pieces, n = i % pieces * 8;
      if (n < size && !(zero && t >= c.valid)) copy16(to + t * LD + n, from + c.token(t) * v.s1 + n);
      else *(uint4*)(to + t * LD + n) = make_uint4(0, 0, 0, 0);
    }
    return;
  }
  for (int i = threadIdx.x; i < ROWS * COLS; i += THREADS) {
    const int t = i / COLS, n = i % COLS;
    const bool there = n < size && v.ptr && !(zero && t >= c.valid);
    to[t * LD + n] = there ? from[c.token(t) * v.s1 + n] : T{0};
  }
}

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int o = 16; o; o >>= 1) x += __shfl_xor_sync(~0u, x, o);
  return x;
}
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int o = 16; o; o >>= 1) x = fmaxf(x, __shfl_xor_sync(~0u, x, o));
  return x;
}

// For each of R results, the sum over C terms; always in the same order. Some lanes a result, some adjacent terms each.
template <int R, int C, class F, class Store> __device__ __forceinline__ void sums(F f, Store store) {
  constexpr int N = C % 64 == 0 ? 8 : C % 4 == 0 ? 4 : 1, most = C / N < 32 ? C / N : 32, share = THREADS / R;
  constexpr int lanes = share >= 32 && most >= 32 ? 32
                      : share >= 16 && most >= 16 ? 16
                      : most >= 8                 ? 8
                      : most >= 4                 ? 4
                      : most >= 2                 ? 2
                                                  : 1;
  const int lane = threadIdx.x % lanes;
  for (int first = 0; first < R; first += THREADS / lanes) {
    const int r = first + threadIdx.x / lanes;
    float x = 0;
    if (R % (THREADS / lanes) == 0 || r < R) {
#pragma unroll
      for (int c = lane * N; c < C; c += lanes * N)
#pragma unroll
        for (int n = 0; n < N; n++) x += f(Width<N>(), r, c, n);
    }
#pragma unroll
    for (int o = lanes / 2; o; o >>= 1) x += __shfl_xor_sync(~0u, x, o);
    if (lane == 0 && r < R) store(r, x);
  }
}

// What each thread has of a sum, as R parts.
template <int R> __device__ __forceinline__ void put_parts(float x, float* to) {
  x = warp_sum(x);
  if ((threadIdx.x & 31) == 0) to[threadIdx.x / 32] = x;
  for (int i = THREADS / 32 + threadIdx.x; i < R; i += THREADS) to[i] = 0.f;
}

// The sum of N terms, which may be had in any order, as R parts.
template <int N, int R, class F> __device__ __forceinline__ void parts(F f, float* to) {
  float x = 0;
#pragma unroll 2
  for (int i = threadIdx.x * 8; i < N; i += THREADS * 8)
#pragma unroll
    for (int n = 0; n < 8; n++) x += f(Width<8>(), i, n);
  put_parts<R>(x, to);
}

template <int R, int C, class F, class Store> __device__ __forceinline__ void softmax(F f, Store store) {
  for (int r = threadIdx.x / 32; r < R; r += THREADS / 32) {
    float top = -INFINITY, total = 0;
    for (int c = threadIdx.x & 31; c < C; c += 32) top = fmaxf(top, f(r, c));
    top = warp_max(top);
    for (int c = threadIdx.x & 31; c < C; c += 32) total += expf(f(r, c) - top);
    total = warp_sum(total);
    for (int c = threadIdx.x & 31; c < C; c += 32) store(r, c, expf(f(r, c) - top) / total);
  }
}

// Running sums or products over T tokens without the token itself, of N columns; forwards, or from the end. One column is a
// warp's work, whose lanes have T / 32 tokens each. The first thread is one of the warp of that `turn`.
template <int T, int N, bool PRODUCT, bool BACK, class F, class Store>
__device__ __forceinline__ void scan(int turn, F f, Store store) {
  auto both = [](float x, float y) { return PRODUCT ? x * y : x + y; };
  constexpr float none = PRODUCT ? 1.f : 0.f;
  const int thread = (threadIdx.x + THREADS - 32 * turn % THREADS) % THREADS;
  if constexpr (N == 1 && T % 32 == 0) {
    constexpr int own = T / 32;
    const int lane = threadIdx.x & 31;
    if (thread >= 32) return;
    float x[own], sum = none;
#pragma unroll
    for (int i = 0; i < own; i++) {
      const int t = own * lane + i;
      x[i] = f(BACK ? T - 1 - t : t, 0);
      sum = both(sum, x[i]);
    }
#pragma unroll
    for (int o = 1; o < 32; o *= 2) {
      const float y = __shfl_up_sync(~0u, sum, o);
      if (lane >= o) sum = both(y, sum);
    }
    sum = __shfl_up_sync(~0u, sum, 1);
    if (lane == 0) sum = none;
#pragma unroll
    for (int i = 0; i < own; i++) {
      const int t = own * lane + i;
      store(BACK ? T - 1 - t : t, 0, sum);
      sum = both(sum, x[i]);
    }
    return;
  }
  constexpr int S = T % 8 == 0 ? 8 : 1;
  for (int n = thread; n < N; n += THREADS) {
    float x = none;
#pragma unroll 1
    for (int i = 0; i < T; i += S) {
      // read before any is written: the compiler does not know that these places differ
      float y[S];
#pragma unroll
      for (int k = 0; k < S; k++) y[k] = f(BACK ? T - 1 - i - k : i + k, n);
#pragma unroll
      for (int k = 0; k < S; k++) {
        store(BACK ? T - 1 - i - k : i + k, n, x);
        x = both(x, y[k]);
      }
    }
  }
}

template <int T, int N, class F, class Store> __device__ __forceinline__ void totals(int turn, F f, Store store) {
  const int thread = (threadIdx.x + THREADS - 32 * turn % THREADS) % THREADS;
  if constexpr (N == 1 && T % 32 == 0) {
    if (thread >= 32) return;
    float x = 1.f;
    for (int t = thread; t < T; t += 32) x *= f(t, 0);
#pragma unroll
    for (int o = 16; o; o >>= 1) x *= __shfl_xor_sync(~0u, x, o);
    if (thread == 0) store(0, 0, x);
    return;
  }
  for (int n = thread; n < N; n += THREADS) {
    float x = 1.f;
#pragma unroll 8
    for (int t = 0; t < T; t++) x *= f(t, n);
    store(0, n, x);
  }
}

// E[t,s]: the product of a_j over s < j < t, strictly lower; a thread has some rows of a column, of which the first is a product by
// itself. The first warp is the one of that `turn`.
template <int T, class F, class Store> __device__ __forceinline__ void segments(int turn, F a, Store store) {
  constexpr int parts = T % 32 == 0 && THREADS >= 4 * T ? 4 : T % 32 == 0 && THREADS >= 2 * T ? 2 : 1, rows = T / parts;
  constexpr int S = rows % 8 == 0 ? 8 : 1;
  const int thread = (threadIdx.x + THREADS - 32 * turn % THREADS) % THREADS;
  for (int i = thread; i < T * parts; i += THREADS) {
    const int s = i % T, first = i / T * rows;
    float e = 1.f;
#pragma unroll 1
    for (int j = 0; j < first; j += S) {
      float y[S];
#pragma unroll
      for (int k = 0; k < S; k++) y[k] = j + k > s ? a(j + k) : 1.f;
#pragma unroll
      for (int k = 1; k < S; k *= 2)
#pragma unroll
        for (int m = 0; m < S; m += 2 * k) y[m] *= y[m + k];
      e *= y[0];
    }
#pragma unroll 1
    for (int t = first; t < first + rows; t += S) {
      float y[S];
#pragma unroll
      for (int k = 0; k < S; k++) y[k] = a(t + k);
#pragma unroll
      for (int k = 0; k < S; k++) {
        store(t + k, s, t + k > s ? e : 0.f);
        if (t + k > s) e *= y[k];
      }
    }
  }
}

// y_j: the sum of x[t,s] over t > j > s, x strictly lower, as PARTS of some tokens t each: lanes over s have running sums of a row. A
// part is a warp's work, the first that of the warp of this `turn`.
template <int T, int PARTS, class F, class Store> __device__ __forceinline__ void rectangles(int turn, F x, Store store) {
  constexpr int warps = THREADS / 32, own = (T + 31) / 32;
  const int lane = threadIdx.x & 31;
#pragma unroll 1
  for (int part = (threadIdx.x / 32 + turn) % warps; part < PARTS; part += warps) {
    float sum[own] = {};
#pragma unroll 4
    for (int t = part; t < T; t += PARTS) {
      float before = 0;
#pragma unroll
      for (int i = 0; i < own; i++) {
        const int s = lane + 32 * i;
        float to = s < t ? x(t, s) : 0.f;
#pragma unroll
        for (int o = 1; o < 32; o *= 2) {
          const float y = __shfl_up_sync(~0u, to, o);
          if (lane >= o) to += y;
        }
        const float here = __shfl_up_sync(~0u, to, 1);
        if (t > s) sum[i] += lane ? before + here : before;
        if (i + 1 < own) before += __shfl_sync(~0u, to, 31);
      }
    }
#pragma unroll
    for (int i = 0; i < own; i++)
      if (lane + 32 * i < T) store(lane + 32 * i, part, sum[i]);
  }
}

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
