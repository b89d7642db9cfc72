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
