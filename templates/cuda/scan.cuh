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
