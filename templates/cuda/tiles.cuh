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
