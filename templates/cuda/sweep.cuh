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
