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

// What rounding left of a left operand, rounded itself.
template <class P>
__device__ __forceinline__ void left_by_rounding(u32 (&rest)[4], const u32 (&a)[4], const float (&x)[4], const float (&y)[4]) {
  float low[2][4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float2 high = unpair(a[i], P());
    low[i >> 1][2 * (i & 1)] = (i < 2 ? x : y)[2 * (i & 1)] - high.x;
    low[i >> 1][2 * (i & 1) + 1] = (i < 2 ? x : y)[2 * (i & 1) + 1] - high.y;
  }
  operand<P>(rest, low[0], low[1]);
}

// Rows of LD elements, or, LD 0, of 16-bit elements in panels: ROWS rows of 64 columns, 128 bytes each, whose eight pieces of 16 bytes
// are exchanged by the last three bits of the row's number (the swizzle of 128 bytes of `wgmma`). So eight rows lie in different banks.
constexpr int PANELS = 0, PANEL = 64;
template <int ROWS> __device__ __forceinline__ int in_panels(int row, int column) {
  return column / PANEL * (ROWS * PANEL) + row * PANEL + ((column / 8 ^ row) % 8) * 8 + column % 8;
}
template <int ROWS, int LD> __device__ __forceinline__ int in_rows(int row, int column) {
  return LD == PANELS ? in_panels<ROWS>(row, column) : row * LD + column;
}

// Which products of 16 x 16 blocks (k, n) of a right operand are not zero.
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
      if (PARTS == 2) left_by_rounding<P>(rest, a, x.x[2 * k], x.x[2 * k + 1]);
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

// What one warp leaves in shared memory for the same channels' warp of another role: lane l finds what lane l left.
template <int N> __device__ __forceinline__ void leave(char* to, const Tile<N>& x) {
  const int l = threadIdx.x & 31;
#pragma unroll
  for (int n = 0; n < N; n++) *(float4*)(to + (n * 32 + l) * 16) = make_float4(x.x[n][0], x.x[n][1], x.x[n][2], x.x[n][3]);
}
template <int N> __device__ __forceinline__ void found(Tile<N>& x, const char* from) {
  const int l = threadIdx.x & 31;
#pragma unroll
  for (int n = 0; n < N; n++) {
    const float4 f = *(const float4*)(from + (n * 32 + l) * 16);
    x.x[n][0] = f.x, x.x[n][1] = f.y, x.x[n][2] = f.z, x.x[n][3] = f.w;
  }
}

// A state as a left operand of type P: of 16-bit elements the four 8 x 8 blocks of each 16 columns, row by row.
template <class P, int N> __device__ __forceinline__ void leave(char* to, const Tile<N>& x) {
  const int l = threadIdx.x & 31;
  if constexpr (sizeof(P) == 2) {
    const u32 at = (u32)__cvta_generic_to_shared(to);
#pragma unroll
    for (int k = 0; k < N / 2; k++) {
      u32 a[4];
      operand<P>(a, x.x[2 * k], x.x[2 * k + 1]);
      store4(at + k * 512, a);
    }
  } else {
    leave(to, x);
  }
}

// As multiply, of a left operand of 8 K columns that another warp left.
template <class P, int LD, bool DOWN, Part PART, bool MINUS, int K, int N>
__device__ __forceinline__ void multiply_left(Tile<N>& acc, const char* left, const P* b) {
  const int l = threadIdx.x & 31;
  if constexpr (sizeof(P) == 2) {
    const int m = l >> 3, r = l & 7;
    const P* at = DOWN ? b + ((m & 1) * 8 + r) * LD + (m >> 1) * 8 : b + ((m >> 1) * 8 + r) * LD + (m & 1) * 8;
#pragma unroll
    for (int k = 0; k < K / 2; k++) {
      u32 a[4];
      load4(a, left + (k * 32 + l) * 16);
      if (MINUS) {
#pragma unroll
        for (int i = 0; i < 4; i++) a[i] ^= 0x80008000u;
      }
#pragma unroll
      for (int n = 0; n < N / 2; n++)
        if (within(PART, k, n)) {
          u32 f[4];
          if (DOWN) load4t(f, at + k * 16 * LD + n * 16);
          else load4(f, at + n * 16 * LD + k * 16);
          mma(acc.x[2 * n], a, f[0], f[1], P());
          mma(acc.x[2 * n + 1], a, f[2], f[3], P());
        }
    }
  } else {
    Tile<K> x;
    found(x, left);
    multiply<P, LD, DOWN, PART, MINUS, 1>(acc, x, b);
  }
}

// Writes a state that a warp left to a record: 16-bit elements as fragments (`to` at those of the warp's channels), f32 by
// rows of LD elements.
template <class P, int K, int LD> __device__ __forceinline__ void keep(P* to, const char* left) {
  const int l = threadIdx.x & 31, g = l >> 2, q = l & 3;
  if constexpr (sizeof(P) == 2) {
#pragma unroll
    for (int k = 0; k < K / 2; k++) {
      u32 a[4];
      load4t(a, left + (k * 32 + l) * 16);
      *(uint4*)((char*)to + (k * 32 + l) * 16) = make_uint4(a[0], a[1], a[2], a[3]);
    }
  } else {
#pragma unroll
    for (int k = 0; k < K; k++) {
      const float4 x = *(const float4*)(left + (k * 32 + l) * 16);
      P* const at = to + g * LD + 8 * k + 2 * q;
      *(float2*)at = make_float2(x.x, x.y);
      *(float2*)(at + 8 * LD) = make_float2(x.z, x.w);
    }
  }
}
// The same of a warp's own state.
template <class P, int LD, int K> __device__ __forceinline__ void keep(P* to, const Tile<K>& x) {
  const int l = threadIdx.x & 31, g = l >> 2, q = l & 3;
  if constexpr (sizeof(P) == 2) {
#pragma unroll
    for (int k = 0; k < K / 2; k++) {
      u32 a[4];
      operand<P>(a, x.x[2 * k], x.x[2 * k + 1]);
#pragma unroll
      for (int i = 0; i < 4; i++) a[i] = turn(a[i]);
      *(uint4*)((char*)to + (k * 32 + l) * 16) = make_uint4(a[0], a[1], a[2], a[3]);
    }
  } else {
#pragma unroll
    for (int k = 0; k < K; k++) {
      P* const at = to + g * LD + 8 * k + 2 * q;
      *(float2*)at = make_float2(x.x[k][0], x.x[k][1]);
      *(float2*)(at + 8 * LD) = make_float2(x.x[k][2], x.x[k][3]);
    }
  }
}

// Values per token and channel turned, so that a lane has a channel: 16 rows of T numbers, each a row of T + 8.
constexpr int turned(int tokens) { return 16 * (tokens + 8); }
template <int N, class F> __device__ __forceinline__ void give_channels(float* to, F f) {
  const int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3;
#pragma unroll
  for (int n = 0; n < N; n++)
#pragma unroll
    for (int e = 0; e < 4; e += 2) {
      const int r = g + 4 * e, c = 8 * n + 2 * q;
      *(float2*)(to + r * (8 * N + 8) + c) = make_float2(f(n, e, r, c), f(n, e + 1, r, c + 1));
    }
}
template <int N> __device__ __forceinline__ void take_channels(Tile<N>& x, const float* from) {
  const int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3;
#pragma unroll
  for (int n = 0; n < N; n++)
#pragma unroll
    for (int e = 0; e < 4; e += 2) {
      const float2 y = *(const float2*)(from + (g + 4 * e) * (8 * N + 8) + 8 * n + 2 * q);
      x.x[n][e] = y.x, x.x[n][e + 1] = y.y;
    }
}

// Half of the sum of M[t,s] w_s over earlier tokens s (BACK: of M[s,t], over later ones), in the order of steps. Slots of steps to
// come hold zero.
template <int T, bool BACK> __device__ __forceinline__ float half_sum(const float* m, const float (&w)[T / 2], int t, int half) {
  constexpr int LD = T + 4, H = T / 2;
  float sum[4] = {};
#pragma unroll
  for (int k = 0; k < H; k += 4) {
    float x[4];
    if (BACK) {
#pragma unroll
      for (int i = 0; i < 4; i++) x[i] = m[(T - 1 - half * H - k - i) * LD + t];
    } else {
      const float4 y = *(const float4*)(m + t * LD + half * H + k);
      x[0] = y.x, x[1] = y.y, x[2] = y.z, x[3] = y.w;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) sum[i] += x[i] * w[k + i];
  }
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

// What differs from channel to channel because the decay does: two lanes a channel, each with half of the writes, decayed from
// their tokens to the one at hand: a running product, never a quotient. Half of the steps are written out: two rounds of them stay
// in the instruction cache.

// y_l = start_l + sum over j of M_lj w_j, u_j = b_j + sum over l of c_jl y_l, by substitution. `room` holds, turned, start, b, c and
// the decay; then u in place of b and, where it is wanted (Y), y in place of start. THERE: a bit for each M that is not zero.
template <int T, bool BACK, int L, int J, bool DECAYS, bool Y, u32 THERE>
__device__ __forceinline__ void solve_channels(float* room, const float* const (&m)[L * J]) {
  constexpr int H = T / 2, SIZE = turned(T);
  const int half = (threadIdx.x & 31) >> 4;
  float* const own = room + (threadIdx.x & 15) * (T + 8);
  float w[J][H] = {}, u[J][H] = {}, y[L][H] = {};
  __syncwarp();
#pragma unroll 1
  for (int round = 0; round < 2; round++) {
    const bool mine = half == round;
#pragma unroll
    for (int k = 0; k < H; k++) {
      const int t = BACK ? T - 1 - round * H - k : round * H + k;
      float now[L];
#pragma unroll
      for (int l = 0; l < L; l++) {
        float sum = 0.f;
#pragma unroll
        for (int j = 0; j < J; j++)
          if (THERE >> (l * J + j) & 1) sum += half_sum<T, BACK>(m[l * J + j], w[j], t, half);
        now[l] = own[l * SIZE + t] + (sum + __shfl_xor_sync(~0u, sum, 16));
        if (Y && mine) y[l][k] = now[l];
      }
#pragma unroll
      for (int j = 0; j < J; j++) {
        float made = own[(L + j) * SIZE + t];
#pragma unroll
        for (int l = 0; l < L; l++) made += own[(L + J + j * L + l) * SIZE + t] * now[l];
        if (DECAYS) {
          const float a = own[(L + J + J * L) * SIZE + t];
#pragma unroll
          for (int i = 0; i < H; i++) w[j][i] *= a;
        }
        if (mine) w[j][k] = u[j][k] = made;
      }
    }
  }
  __syncwarp();
#pragma unroll
  for (int k = 0; k < H; k++) {
    const int t = BACK ? T - 1 - half * H - k : half * H + k;
    if (Y) {
#pragma unroll
      for (int l = 0; l < L; l++) own[l * SIZE + t] = y[l][k];
    }
#pragma unroll
    for (int j = 0; j < J; j++) own[(L + j) * SIZE + t] = u[j][k];
  }
  __syncwarp();
}

// y_t = sum of M[t,s] w_s, decayed from s to t. `room` holds, turned, w and the decay, then y in place of w.
template <int T, bool BACK> __device__ __forceinline__ void apply_channels(float* room, const float* m) {
  constexpr int H = T / 2;
  const int half = (threadIdx.x & 31) >> 4;
  float* const own = room + (threadIdx.x & 15) * (T + 8);
  float w[H] = {}, y[H] = {};
  __syncwarp();
#pragma unroll 1
  for (int round = 0; round < 2; round++) {
    const bool mine = half == round;
#pragma unroll
    for (int k = 0; k < H; k++) {
      const int t = BACK ? T - 1 - round * H - k : round * H + k;
      float sum = half_sum<T, BACK>(m, w, t, half);
      sum += __shfl_xor_sync(~0u, sum, 16);
      const float a = own[turned(T) + t], x = own[t];
#pragma unroll
      for (int i = 0; i < H; i++) w[i] *= a;
      if (mine) w[k] = x, y[k] = sum;
    }
  }
  __syncwarp();
#pragma unroll
  for (int k = 0; k < H; k++) own[BACK ? T - 1 - half * H - k : half * H + k] = y[k];
  __syncwarp();
}

// The thread's number, asked for anew.
__device__ __forceinline__ int thread_again() {
  int thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
}

// On sm_90a four warps at a time may leave registers to others of the block, or take what is left: all four, at one place of the code.
template <int N> __device__ __forceinline__ void leave_registers() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
#endif
}
template <int N> __device__ __forceinline__ void take_registers() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
#endif
}

// All warps of the block, whatever code they are in: not bar.sync, which is for warps at one place of the code.
__device__ __forceinline__ void meet() { asm volatile("barrier.cta.sync 1, %0;" ::"n"(THREADS - 32 * TELLERS) : "memory"); }

// Says that a slice has handed on so many chunks: what other threads wrote before they met this one is there for who sees it.
__device__ __forceinline__ void hand_on(int* progress, int chunks) {
  asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(progress), "r"(chunks) : "memory");
}
// The same within a block, for a warp that only tells: what it says it sees only when all that was written before is there, which is
// long, and no other warp waits for it.
__device__ __forceinline__ void tell(int* told, int chunks) {
  asm volatile("st.release.cta.shared.s32 [%0], %1;" ::"r"((u32)__cvta_generic_to_shared(told)), "r"(chunks) : "memory");
}
template <int EVERY> __device__ __forceinline__ void tell_progress(int* progress, int* told, int chunks) {
  if (threadIdx.x & 31) return;
  for (int said = 0; said < chunks;) {
    int done;
    asm volatile("ld.acquire.cta.shared.s32 %0, [%1];" : "=r"(done) : "r"((u32)__cvta_generic_to_shared(told)) : "memory");
    if (done >= said + EVERY || done == chunks && done > said) hand_on(progress, said = done);
    else __nanosleep(300);
  }
}

// A number of the block's in a value of its own: where registers are few the compiler else finds it in the stack at every step.
__device__ __forceinline__ int by_itself(int x) {
  asm volatile("" : "+r"(x));
  return x;
}

// A number per token, from a vector in shared memory, for element e of column tile n.
__device__ __forceinline__ float per_token(const float* v, int n, int e) {
  const float2 x = *(const float2*)(v + 8 * n + 2 * (threadIdx.x & 3));
  return e & 1 ? x.y : x.x;
}

// A column tile of a value as rows of tokens: blocks turned, then halves exchanged between neighbours. A lane has 4 channels of
// token g, from 8 * odd + 4 * (q / 2) on: four lanes have its 32 bytes.
template <class T> __device__ __forceinline__ uint2 turned_rows(const float (&x)[4], bool odd) {
  const u32 low = turn(pair(x[0], x[1], T())), high = turn(pair(x[2], x[3], T()));
  const u32 other = __shfl_xor_sync(~0u, odd ? low : high, 1);
  return odd ? make_uint2(other, high) : make_uint2(low, other);
}

// Writes a value per token and channel to rows of LD elements in a record, `to` at the warp's first channel.
template <class T, int LD, int N> __device__ __forceinline__ void keep_rows(T* to, const Tile<N>& x) {
  const int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3;
  if constexpr (sizeof(T) == 2) {
    const bool odd = q & 1;
    T* const at = to + g * LD + (odd ? 8 : 0) + (q >> 1) * 4;
#pragma unroll
    for (int n = 0; n < N; n++) *(uint2*)(at + 8 * n * LD) = turned_rows<T>(x.x[n], odd);
  } else {
    T* const at = to + 2 * q * LD + g;
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
      for (int e = 0; e < 4; e++) at[(8 * n + (e & 1)) * LD + 8 * (e >> 1)] = x.x[n][e];
  }
}

// Writes a value per token and channel to rows of a tensor: `to` at the first token and the warp's first channel, of which
// `size` are there.
template <class T, int N> __device__ __forceinline__ void write_rows(const Tile<N>& x, T* to, i64 step, int valid, int size) {
  const int g = (threadIdx.x & 31) >> 2, q = threadIdx.x & 3;
  if constexpr (sizeof(T) == 2) {
    if (valid == 8 * N && size >= 16 && (((size_t)to | (size_t)(step * 2)) & 7) == 0) {
      const bool odd = q & 1;
      T* at = to + g * step + (odd ? 8 : 0) + (q >> 1) * 4;
#pragma unroll
      for (int n = 0; n < N; n++, at += 8 * step) *(uint2*)at = turned_rows<T>(x.x[n], odd);
      return;
    }
  }
  // what follows from the step is worked out here, where it is seldom needed: the compiler would keep it through the loop over chunks
  asm volatile("" : "+l"(step));
  T* at = to + 2 * q * step + g;
#pragma unroll
  for (int n = 0; n < N; n++, at += 8 * step)
#pragma unroll
    for (int e = 0; e < 2; e++)
      if (8 * n + 2 * q + e < valid) {
        if (g < size) at[e * step] = narrow<T>(x.x[n][e]);
        if (g + 8 < size) at[e * step + 8] = narrow<T>(x.x[n][e + 2]);
      }
}

// The warps of a block that do nothing but copy, each some of what is fetched. From sm_90 on what lies in one piece and rows of 128
// bytes or more are bulk copies, whose bytes are counted in a barrier of their step as they arrive, and the blocks of a cluster share
// them: each starts a part of the copies, for all. All else is copies of 16 bytes. Short code: it shares the instruction caches.
#if __CUDA_ARCH__ >= 900
#define BULK 1
#define CLUSTER_OF(n) __cluster_dims__(n, 1, 1)
#else
#define BULK 0
#define CLUSTER_OF(n)
#endif

struct Crew {
  int lane, rank;      // rank: of the block in its cluster
  u32 barrier, bytes;  // of a step's bulk copies
};

// Number of the block in its cluster.
__device__ __forceinline__ int cluster_rank() {
  u32 r = 0;
#if BULK
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
#endif
  return r;
}
// All threads of a cluster.
__device__ __forceinline__ void meet_cluster() {
#if BULK
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
#endif
}

// The barriers of a block's copies: AHEAD + 1 that count what arrives, then as many on which the other blocks of the cluster say
// that they have met. WARPS of the block start bulk copies.
template <int AHEAD, int CLUSTER, int WARPS> __device__ __forceinline__ void set_up_barriers(void* barriers) {
#if BULK
  if (threadIdx.x == 0) {
    const u32 b = (u32)__cvta_generic_to_shared(barriers);
    for (int i = 0; i <= AHEAD; i++) {
      asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(b + 8 * i), "n"(WARPS) : "memory");
      if (CLUSTER > 1) asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(b + 8 * (AHEAD + 1 + i)), "n"(CLUSTER - 1) : "memory");
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  if (CLUSTER > 1) meet_cluster();
  else __syncthreads();
#endif
}

// What this thread wrote to shared memory is there for products that read it themselves, once threads have met.
__device__ __forceinline__ void to_tensor_cores() {
#if BULK
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// The loop of a copying warp: `issue` starts the copies of a step, AHEAD steps before those that need them. The FIRST warp waits for
// bulk copies to arrive; a warp with BULKS starts some. WIDE: tensor cores read themselves what other copies brought.
template <int AHEAD, int CLUSTER, bool FIRST, bool BULKS, bool WIDE, class Issue>
__device__ __forceinline__ void copy_steps(int lane, void* barriers, int steps, Issue issue) {
  constexpr bool bulks = BULK && BULKS;
  constexpr u32 size = 8 * (AHEAD + 1);
  const u32 start = (u32)__cvta_generic_to_shared(barriers), end = start + size;
  Crew crew = {lane, CLUSTER > 1 ? cluster_rank() : 0, start, 0};
  u32 waited = start, parity = 0;
#pragma unroll 1
  for (int step = 0; step < steps + AHEAD; step++) {
    if (AHEAD > 0 && step >= AHEAD) {
      if (BULK && FIRST) arrived(waited, parity);
      copies_wait<(AHEAD > 0 ? AHEAD - 1 : 0)>();
      if (WIDE) to_tensor_cores();
    }
    if (step >= AHEAD) {
      meet();
#if BULK
      if (CLUSTER > 1) {
        if (FIRST && lane < CLUSTER && lane != crew.rank)
          asm volatile("{.reg .b32 r; mapa.shared::cluster.u32 r, %0, %1; mbarrier.arrive.shared::cluster.b64 _, [r];}" ::"r"(waited + size), "r"(lane) : "memory");
        if (BULKS) arrived(waited + size, parity);
      }
#endif
      if (AHEAD > 0 && (waited += 8) == end) waited = start, parity ^= 1;
    }
    crew.bytes = 0;
    issue(crew, step);
    if (bulks) {
      if (lane == 0)
        asm volatile("{.reg .b64 s; mbarrier.arrive.expect_tx.shared.b64 s, [%0], %1;}" ::"r"(crew.barrier), "r"(crew.bytes) : "memory");
      crew.barrier = crew.barrier + 8 == end ? start : crew.barrier + 8;
    }
    copies_end();
    if (AHEAD == 0) {
      if (BULK && FIRST) arrived(waited, parity);
      parity ^= 1;
      copies_wait<0>();
      if (WIDE) to_tensor_cores();
      meet();
    }
  }
}

// A bulk copy by one lane, into all blocks of the cluster.
template <int CLUSTER> __device__ __forceinline__ void bulk(const Crew& c, u32 at, const void* from, u32 bytes) {
#if BULK
  if (CLUSTER > 1)
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], %2, [%3], %4;" ::"r"(at),
                 "l"(from), "r"(bytes), "r"(c.barrier), "h"((unsigned short)((1 << CLUSTER) - 1))
                 : "memory");
  else
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(at), "l"(from), "r"(bytes),
                 "r"(c.barrier)
                 : "memory");
#endif
}
// One lane of the warp.
__device__ __forceinline__ bool elected() {
  u32 is = 0;
#if BULK
  asm volatile("{.reg .pred p; elect.sync _|p, 0xffffffff; selp.u32 %0, 1, 0, p;}" : "=r"(is));
#endif
  return is;
}
// ROWS of BYTES each, in steps of STEP bytes from rows `row` bytes apart. One lane is elected for all of them: what starting a copy takes
// is what steps of short chains wait for.
template <int CLUSTER, int ROWS, int BYTES, int STEP>
__device__ __forceinline__ void bulk_rows(const Crew& c, void* to, const void* from, i64 row) {
  if (elected()) {
    const u32 at = (u32)__cvta_generic_to_shared(to);
#pragma unroll 16
    for (int r = 0; r < ROWS; r++) bulk<CLUSTER>(c, at + r * STEP, (const char*)from + r * row, BYTES);
  }
  __syncwarp();
}

// BYTES in one piece, which the block of that `turn` starts.
template <int BYTES, int CLUSTER> __device__ __forceinline__ void fetch(Crew& c, char* to, const char* from, int turn) {
#if BULK
  if (CLUSTER == 1 || turn % CLUSTER == c.rank) bulk_rows<CLUSTER, 1, BYTES, 0>(c, to, from, 0);
  c.bytes += BYTES;
#else
#pragma unroll 2
  for (int i = c.lane * 16; i < BYTES; i += 32 * 16) copy16(to + i, from + i);
#endif
}

// ROWS rows of BYTES each, in steps of FROM and TO bytes: a warp's part of all.
template <int ROWS, int BYTES, int FROM, int TO, int PARTS>
__device__ __forceinline__ void fetch_part(const Crew& c, char* to, const char* from, int part) {
  constexpr int pieces = BYTES / 16;
#pragma unroll 2
  for (int i = c.lane + 32 * part; i < ROWS * pieces; i += 32 * PARTS)
    copy16(to + i / pieces * TO + i % pieces * 16, from + i / pieces * FROM + i % pieces * 16);
}

// Rows that are not all there, or not aligned to 16 bytes, or of another type: code that seldom runs lies apart.
template <class P, class T, int ROWS, int COLS, int LD>
__device__ __noinline__ void fetch_some(P* to, const T* from, i64 step, int valid, int there, bool zero, bool aligned, int lane) {
  constexpr int N = 16 / sizeof(T), pieces = COLS / N;
  if (same<P, T>::value && aligned && (there >= COLS || there % N == 0)) {
#pragma unroll 1
    for (int i = lane; i < ROWS * pieces; i += 32) {
      const int t = i / pieces, n = i % pieces * N;
      P* const at = to + in_rows<ROWS, LD>(t, n);
      if (n < there && !(zero && t >= valid)) copy16(at, from + (t < valid ? t : valid - 1) * step + n);
      else *(uint4*)at = make_uint4(0, 0, 0, 0);
    }
    return;
  }
#pragma unroll 8
  for (int i = lane; i < ROWS * COLS; i += 32) {
    const int t = i / COLS, n = i % COLS;
    const bool is = n < there && !(zero && t >= valid);
    to[in_rows<ROWS, LD>(t, n)] = narrow<P>(is ? widen(from[(t < valid ? t : valid - 1) * step + n]) : 0.f);
  }
}

// ROWS rows of COLS channels from `column` on, of a tensor with `size` channels, as P, for one chunk after the other; rows beyond
// the last repeat it, or are zero. A warp copies one of PARTS parts, or the first all where rows are not whole.
template <class P, class T, int ROWS, int COLS, int LD, int PARTS, int CLUSTER, bool WHOLE> struct Rows {
  static constexpr int N = 16 / sizeof(T), PIECES = COLS / N;
  static constexpr bool BY_ROWS = BULK && WHOLE;
  static constexpr bool COLUMN = !BY_ROWS && 32 % PIECES == 0;  // a lane stays in its column
  static constexpr int MORE = COLUMN ? 32 / PIECES : 1;
  const T* from;
  i64 row, chunk;
  int part, there;
  bool zero, aligned, whole;

  __device__ __forceinline__ Rows(const View& v, const Chunk& ch, i64 head, int column, int size, bool zero, bool back, int part)
      : from(rows_of<const T>(v, ch.batch, ch.first, head) + column), row(v.s1), chunk(back ? -ROWS * v.s1 : ROWS * v.s1), part(part),
        there(v.ptr ? size - column : 0), zero(zero) {
    aligned = ((((size_t)from) | (size_t)(row * (i64)sizeof(T))) & 15) == 0;
    whole = same<P, T>::value && aligned && there >= COLS;
  }

  __device__ __forceinline__ void fetch(Crew& c, P* to, int valid) {
    if (!whole || valid < ROWS) {
      if (part == 0) fetch_some<P, T, ROWS, COLS, LD>(to, from, row, valid, there, zero, aligned, c.lane);
    } else if (BY_ROWS) {
      constexpr int own = ROWS / PARTS / CLUSTER;
      const int first = (part * CLUSTER + (CLUSTER > 1 ? c.rank : 0)) * own;
      bulk_rows<CLUSTER, own, COLS * sizeof(T), LD * sizeof(T)>(c, to + first * LD, from + first * row, row * sizeof(T));
      c.bytes += ROWS / PARTS * COLS * sizeof(T);
    } else if (COLUMN) {
      const int t = c.lane / PIECES + part * MORE, n = c.lane % PIECES * N;
      const T* at = from + t * row + n;
      const i64 step = MORE * PARTS * row;
#pragma unroll 8
      for (int r = 0; r < ROWS; r += MORE * PARTS, at += step)
        if (ROWS % (MORE * PARTS) == 0 || r + t < ROWS) copy16(to + in_rows<ROWS, LD>(t + r, n), at);
    } else {
#pragma unroll 2
      for (int i = c.lane; i < ROWS * PIECES; i += 32)
        copy16(to + in_rows<ROWS, LD>(i / PIECES, i % PIECES * N), from + i / PIECES * row + i % PIECES * N);
    }
    from += chunk;
  }
};
