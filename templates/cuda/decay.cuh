// The decay forms with one decay a channel: the partial derivatives of the sum over t > s and c of A[t,s] P[t,c] W[s,c] E[t,s,c].
// a is the decay itself, E[t,s,c] its product over the tokens between s and t. First the walks over all pairs of tokens, in f32;
// then, for 32 tokens and products of 16 bits, the forms on tensor cores.

// Adds what two lanes whose numbers differ by `o` have, half of the places in each; `row` is that of a lane's first place.
template <int HALF, int R> __device__ __forceinline__ void halve(float (&x)[R], int o, int& row) {
  const bool high = threadIdx.x & o;
  row += high ? HALF : 0;
#pragma unroll
  for (int u = 0; u < HALF; u++) {
    const float give = high ? x[u] : x[u + HALF], keep = high ? x[u + HALF] : x[u];
    x[u] = keep + __shfl_xor_sync(~0u, give, o);
  }
}

// A[t,s] = sum over c of P[t,c] W[s,c] E[t,s,c]. A warp has a few columns s and 16 rows t: its lanes lie along the channels, four
// a lane, so that each row of P and of the decays is read once for all columns; what lanes have of a sum is added up at the end,
// each step halving what a lane has. Where channels are few, groups of lanes have columns of their own. Early columns have more
// rows: every other `turn` starts at the last warp.
template <int T, int N, class P, class W, class A, class Store>
__device__ __forceinline__ void decay_dot(int turn, P p, W w, A a, Store store) {
  constexpr int R = 16, LANES = N % 128 == 0 ? 32 : N % 64 == 0 ? 16 : N % 32 == 0 ? 8 : 4, GROUPS = 32 / LANES;
  constexpr int COLS = T / GROUPS < 4 ? T / GROUPS : 4, WIDE = GROUPS * COLS;
  constexpr int warps = THREADS / 32, units = T / WIDE * (T / R);
  const int lane = threadIdx.x & 31, warp = turn % 2 ? warps - 1 - threadIdx.x / 32 : threadIdx.x / 32;
#pragma unroll 1
  for (int i = warp; i < units; i += warps) {
    const int k = units % (2 * warps) == 0 && i / warps % 2 ? i / warps * (2 * warps) + warps - 1 - i : i;
    const int first = k % (T / WIDE) * WIDE, top = k / (T / WIDE) * R, s = first + lane / LANES * COLS;
    float x[COLS][R] = {};
#pragma unroll 1
    for (int c = lane % LANES * 4; c < N; c += 4 * LANES) {
      float e[COLS][4];
#pragma unroll
      for (int j = 0; j < COLS; j++)
#pragma unroll
        for (int n = 0; n < 4; n++) e[j][n] = w(Width<4>(), s + j, c, n);
#pragma unroll 1
      for (int t = s + 1; t < top; t++)
#pragma unroll
        for (int n = 0; n < 4; n++) {
          const float d = a(Width<4>(), t, c, n);
#pragma unroll
          for (int j = 0; j < COLS; j++)
            if (t > s + j) e[j][n] *= d;
        }
      // four rows at a time: none of them below the columns, some, or all
#pragma unroll
      for (int u = 0; u < R; u += 4) {
        auto rows = [&](auto all) {
#pragma unroll
          for (int v = u; v < u + 4; v++)
#pragma unroll
            for (int n = 0; n < 4; n++) {
              const float y = p(Width<4>(), top + v, c, n), d = a(Width<4>(), top + v, c, n);
#pragma unroll
              for (int j = 0; j < COLS; j++) {
                x[j][v] += y * e[j][n];
                if (all.value || top + v > s + j) e[j][n] *= d;
              }
            }
        };
        if (top + u >= first + WIDE) rows(same<int, int>());
        else if (top + u + 4 > first) rows(same<int, float>());
      }
    }
#pragma unroll
    for (int j = 0; j < COLS; j++) {
      int row = top;
      if (LANES > 16) halve<R / 2>(x[j], 16, row);
      constexpr int one = LANES > 16 ? R / 2 : R;
      if (LANES > 8) halve<one / 2>(x[j], 8, row);
      constexpr int two = LANES > 8 ? one / 2 : one;
      if (LANES > 4) halve<two / 2>(x[j], 4, row);
      constexpr int three = LANES > 4 ? two / 2 : two;
      halve<three / 2>(x[j], 2, row);
      constexpr int rest = three / 2;
      if (rest > 1) {
        halve<rest / 2>(x[j], 1, row);
      } else {
        x[j][0] += __shfl_xor_sync(~0u, x[j][0], 1);
      }
      constexpr int left = rest > 1 ? rest / 2 : 1;
#pragma unroll
      for (int u = 0; u < left; u++)
        if (rest > 1 || lane % 2 == 0) store(row + u, s + j, row + u > s + j ? x[j][u] : 0.f);
    }
  }
}

// Y[t,c] = sum over s < t of A[t,s] W[s,c] E[t,s,c]; BACK: over later tokens, A[s,t]. A thread has a channel of some tokens,
// which share the decays from their first one (BACK: last) on.
template <int T, int N, bool BACK, class M, class W, class A, class Store>
__device__ __forceinline__ void decay_apply(M m, W w, A a, Store store) {
  constexpr int U = 8;
#pragma unroll 1
  for (int i = threadIdx.x; i < N * (T / U); i += THREADS) {
    const int c = i % N, first = i / N * U;
    float sum[U] = {}, e = 1.f, near[U], decay[U];
    if (BACK) {
#pragma unroll 2
      for (int s = first + U; s < T; s++) {
        const float x = w(s, c) * e;
        e *= a(s, c);
#pragma unroll
        for (int u = 0; u < U; u++) sum[u] += m(s, first + u) * x;
      }
    } else {
#pragma unroll 2
      for (int s = first - 1; s >= 0; s--) {
        const float x = w(s, c) * e;
        e *= a(s, c);
#pragma unroll
        for (int u = 0; u < U; u++) sum[u] += m(first + u, s) * x;
      }
    }
#pragma unroll
    for (int u = 0; u < U; u++) near[u] = w(first + u, c), decay[u] = a(first + u, c);
#pragma unroll
    for (int u = 0; u < U; u++) {
      float inner = 0.f, d = 1.f;
      if (BACK) {
#pragma unroll
        for (int s = u + 1; s < U; s++) inner += m(first + s, first + u) * near[s] * d, d *= decay[s];
      } else {
#pragma unroll
        for (int s = u - 1; s >= 0; s--) inner += m(first + u, first + s) * near[s] * d, d *= decay[s];
      }
      store(first + u, c, inner + sum[u] * d);
    }
  }
}

// y[j,c] = sum over t > j > s of A[t,s] P[t,c] W[s,c] E[t,s,c], with the sums over later t by s: a thread
// a channel, but where a block is so large that most of it would wait.
template <int T, int N, class M, class P, class W, class A, class Store>
__device__ __forceinline__ void decay_rect(M m, P p, W w, A a, Store store) {
  if constexpr (T <= 32 && THREADS >= 512) {
    // four lanes a channel, each with every fourth t; a lane has of a result what the t after it give, so it is the last U results
    // before its t that it adds to, and lanes later in t are as much ahead
    constexpr int U = 4;
#pragma unroll 1
    for (int i = threadIdx.x; i < (N + 7) / 8 * 32; i += THREADS) {
      const int k = i >> 3 & 3, channel = (i >> 5) * 8 + (i & 7), c = channel < N ? channel : N - 1;
      float late[T] = {}, before[U] = {};
#pragma unroll 1
      for (int top = T - 1; top > 0; top -= U) {
        const int t = top - k;
        float e = p(t, c), own[U] = {};
#pragma unroll
        for (int s = T - 2; s >= 0; s--)
          if (s < top) {
            if (s < t) {
              late[s] += m(t, s) * w(s, c) * e;
              e *= a(s, c);
            }
#pragma unroll
            for (int u = 0; u < U; u++) own[u] += s < t - 1 - u ? late[s] : 0.f;
          }
#pragma unroll
        for (int u = 0; u < U; u++) {
          float x = own[u];
#pragma unroll
          for (int v = 1; v < U; v++) x = k == v ? (u >= v ? own[(u + U - v) % U] : before[(u + U - v) % U]) : x;
          x += __shfl_xor_sync(~0u, x, 8);
          x += __shfl_xor_sync(~0u, x, 16);
          if (k == u && channel < N && u < top) store(top - 1 - u, c, x);
        }
#pragma unroll
        for (int u = 0; u < U; u++) before[u] = own[u];
      }
      if (k == 0 && channel < N) store(T - 1, c, 0.f);
    }
    return;
  }
  if constexpr (T <= 32) {
#pragma unroll 1
    for (int c = threadIdx.x; c < N; c += THREADS) {
      float late[T] = {};
#pragma unroll 1
      for (int t = T - 1; t >= 0; t--) {
        float sum = 0.f, e = p(t, c);
#pragma unroll
        for (int s = T - 1; s >= 0; s--)
          if (s < t) {
            sum += late[s];
            late[s] += m(t, s) * w(s, c) * e;
            e *= a(s, c);
          }
        store(t, c, sum);
      }
    }
    return;
  }
  each<T, N>([&](int j, int c) {
    float sum = 0, late = 1;
    for (int t = j + 1; t < T; t++) {
      float inner = 0, early = 1;
      for (int s = j - 1; s >= 0; s--) {
        inner += m(t, s) * w(s, c) * early;
        early *= a(s, c);
      }
      sum += p(t, c) * late * inner;
      late *= a(t, c);
    }
    store(j, c, sum * a(j, c));
  });
}

// On tensor cores. Numbers t > s agree down to some bit, the level, that t has and s has not; of tokens at which they part, the
// first that has the bit is the boundary. E[t,s,c] is the product of a from the boundary to t and of a from s to the boundary; so
// what the pairs of a level give is a product of P and W that are scaled, each by itself, in f32 and then rounded. Half of the 32
// tokens have the bit, 16 rows, and half have not, 16 columns; of the 16 x 16 results those count that agree above the level.
// Tokens x and 31 - x differ in every bit: a lane that holds both has a row and a column at every level.

// Some adjacent elements.
template <int N, class F> __device__ __forceinline__ void get(float (&x)[N], F f, int r, int c) {
#pragma unroll
  for (int n = 0; n < N; n++) x[n] = f(Width<N>(), r, c, n);
}

// A[t,s] = sum over c of P[t,c] W[s,c] E[t,s,c], zero for s >= t; products of type T, of operands with TWICE its digits where the sums
// build what solves a system. A warp has 16 channels at a time: lane 4 g + q has four of them, of tokens 2 g, 2 g + 1 and the two
// that mirror them. What the warps have is added up in `sums`, 512 floats each for up to four.
template <int N, class T, bool TWICE, class P, class W, class A, class Store>
__device__ __forceinline__ void decay_dot_32(int turn, P p, W w, A a, float* sums, Store store) {
  constexpr int tiles = (N + 15) / 16, warps = THREADS / 32, most = warps < 8 ? warps : 8, used = tiles < most ? tiles : most;
  constexpr int parts = used > 4 ? (used + 1) / 2 : used;
  const int lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3, warp = (threadIdx.x / 32 + turn * used) % warps;
  // the last level's results; and those of the levels below, which count at different places: the level of a lane's element e
  float top[2][4] = {}, low[2][4] = {};
  auto level_at = [](int g, int q, int e) { return q >> 1 != g >> 2 ? 3 : q != g >> 1 ? 2 : (e & 1) != (g & 1) ? 1 : 0; };
  auto words = [](const float (&v)[4], u32& one, u32& two, u32& rest_one, u32& rest_two) {
    one = pair(v[0], v[1], T()), two = pair(v[2], v[3], T());
    if (TWICE) {
      const float2 x = unpair(one, T()), y = unpair(two, T());
      rest_one = pair(v[0] - x.x, v[1] - x.y, T()), rest_two = pair(v[2] - y.x, v[3] - y.y, T());
    }
  };
  auto products = [&](float (&y)[2][4], const float (&p0)[4], const float (&p1)[4], const float (&w0)[4], const float (&w1)[4]) {
    u32 left[4], left_rest[4], right[4], right_rest[4];
    words(p0, left[0], left[2], left_rest[0], left_rest[2]), words(p1, left[1], left[3], left_rest[1], left_rest[3]);
    words(w0, right[0], right[1], right_rest[0], right_rest[1]), words(w1, right[2], right[3], right_rest[2], right_rest[3]);
#pragma unroll
    for (int j = 0; j < 2; j++) {
      if (TWICE) {
        mma(y[j], left_rest, right[2 * j], right[2 * j + 1], T());
        mma(y[j], left, right_rest[2 * j], right_rest[2 * j + 1], T());
      }
      mma(y[j], left, right[2 * j], right[2 * j + 1], T());
    }
  };
  auto keep = [&](const float (&y)[2][4], int level) {
#pragma unroll
    for (int j = 0; j < 2; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) low[j][e] += level_at(g, q, e) == level ? y[j][e] : 0.f;
  };
  auto work = [&](int tile) {
    const int c = tile * 16 + 4 * q;
    // of a lane's own tokens, and of those that mirror them; products of both decays
    float p0[2][4], p1[2][4], w0[2][4], w1[2][4], a0[4], a1[4];
    {
      float b0[4], b1[4], d0[4], d1[4], y[2][4] = {};
      get(b0, a, 2 * g, c), get(b1, a, 2 * g + 1, c), get(d0, a, 30 - 2 * g, c), get(d1, a, 31 - 2 * g, c);
#pragma unroll
      for (int i = 0; i < 2; i++) {
        get(p0[i], p, 2 * g + i, c), get(p1[i], p, 31 - 2 * g - i, c);
        get(w0[i], w, 2 * g + i, c), get(w1[i], w, 31 - 2 * g - i, c);
      }
      products(y, p1[0], p0[1], w0[0], w1[1]);
      keep(y, 0);
#pragma unroll
      for (int n = 0; n < 4; n++) {
        p0[1][n] *= b0[n], p1[0][n] *= d0[n], w0[0][n] *= b1[n], w1[1][n] *= d1[n];
        a0[n] = b0[n] * b1[n], a1[n] = d0[n] * d1[n];
      }
    }
#pragma unroll 1
    for (int level = 1; level < 4; level++) {
      const bool own = g >> (level - 1) & 1;  // whether a lane's own tokens have the bit
      float row[2][4], column[2][4], y[2][4] = {};
#pragma unroll
      for (int i = 0; i < 2; i++)
#pragma unroll
        for (int n = 0; n < 4; n++) row[i][n] = own ? p0[i][n] : p1[i][n], column[i][n] = own ? w1[i][n] : w0[i][n];
      products(y, row[0], row[1], column[0], column[1]);
      keep(y, level);
#pragma unroll
      for (int n = 0; n < 4; n++) {
        const float beside0 = __shfl_xor_sync(~0u, a0[n], 2 << level), beside1 = __shfl_xor_sync(~0u, a1[n], 2 << level);
#pragma unroll
        for (int i = 0; i < 2; i++) {
          if (own) p0[i][n] *= beside0, w1[i][n] *= beside1;
          else p1[i][n] *= beside1, w0[i][n] *= beside0;
        }
        a0[n] *= beside0, a1[n] *= beside1;
      }
    }
    products(top, p1[0], p1[1], w0[0], w0[1]);
  };
  if constexpr (tiles == used) {
    if (warp < used) work(warp);
  } else {
#pragma unroll 1
    for (int tile = warp; warp < used && tile < tiles; tile += used) work(tile);
  }
  float4 mine[4];
#pragma unroll
  for (int j = 0; j < 2; j++) {
    mine[j] = make_float4(top[j][0], top[j][1], top[j][2], top[j][3]);
    mine[2 + j] = make_float4(low[j][0], low[j][1], low[j][2], low[j][3]);
  }
  float4* const part = (float4*)sums + warp % parts * 128 + lane;
  if (used > parts) {
    if (warp >= parts && warp < used) {
#pragma unroll
      for (int k = 0; k < 4; k++) part[32 * k] = mine[k];
    }
    __syncthreads();
  }
  if (warp < parts) {
#pragma unroll
    for (int k = 0; k < 4; k++) {
      if (warp + parts < used) {
        const float4 other = part[32 * k];
        mine[k].x += other.x, mine[k].y += other.y, mine[k].z += other.z, mine[k].w += other.w;
      }
      part[32 * k] = mine[k];
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 512; i += THREADS) {
    float sum = sums[i];
#pragma unroll
    for (int k = 1; k < parts; k++) sum += sums[512 * k + i];
    // element e of the accumulator of columns 8 j on, in lane 4 g + q
    const int e = i & 3, q = i >> 2 & 3, g = i >> 4 & 7, j = i >> 7 & 1, row = e >> 1, other = 2 * q + (e & 1);
    const int level = i >= 256 ? level_at(g, q, e) : 4;
    auto own = [&](int g) { return level < 4 && (g >> (level - 1) & 1); };
    int t, s;
    if (level == 0) {
      if (row == j) continue;
      t = row ? 2 * g + 1 : 31 - 2 * g, s = t - 1;
    } else {
      t = own(g) ? 2 * g + row : 31 - 2 * g - row, s = own(other) ? 31 - 2 * other - j : 2 * other + j;
    }
    store(t, s, sum);
    store(s, t, 0.f);
  }
  for (int t = threadIdx.x; t < 32; t += THREADS) store(t, t, 0.f);
}

// A result that nobody wants.
struct Nowhere {};

// The other derivatives, for 32 tokens: by P (the sum over s < t of A[t,s] W[s,c] E[t,s,c]), by W (over t > s of A[t,s] P[t,c]
// E[t,s,c]), and by the logarithm of a_j (over t > j > s of all). Of the last, the pairs of a level give a running sum: where j has
// the bit, of P times the derivative by P over later tokens, else of W times the derivative by W over earlier ones.
// A warp has 16 channels at a time, along rows: lane 4 g + q has two of them, and a run of tokens, 4 q on, with the run that mirrors
// it. Pairs within a run are summed as they are. A keeps twice the digits of T: it is a sum.
template <int N, class T, class M, class P, class W, class A, class ByP, class ByW, class ByA>
__device__ __forceinline__ void decay_parts_32(M m, P p, W w, A a, ByP by_p, ByW by_w, ByA by_a) {
  constexpr bool rect = !same<ByA, Nowhere>::value, early = !same<ByP, Nowhere>::value, late = !same<ByW, Nowhere>::value;
  const int lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
  const int start[2] = {4 * q, 28 - 4 * q};
#pragma unroll 1
  for (int tile = threadIdx.x / 32; tile < (N + 15) / 16; tile += THREADS / 32) {
    const int c = tile * 16 + 2 * g;
    // what the levels give of the derivatives, to be scaled within the run; what other runs give of the last; and for each run
    // the decay of the 4 tokens, and of the 8, that differ in the bit 2 or 3
    float yp[2][4][2] = {}, yw[2][4][2] = {}, far[2][2] = {}, beside[2][2][2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float d[4][2];
#pragma unroll
      for (int i = 0; i < 4; i++) get(d[i], a, start[r] + i, c);
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const float own = d[0][h] * d[1][h] * d[2][h] * d[3][h];
        beside[0][r][h] = __shfl_xor_sync(~0u, own, 1);
        beside[1][r][h] = __shfl_xor_sync(~0u, own * beside[0][r][h], 2);
      }
    }
#pragma unroll
    for (int level = 2; level < 5; level++) {
      // whether the low run of a lane has the bit: it is a row, and its mirror a column
      auto low = [](int q, int level) { return level == 4 ? 0 : q >> (level - 2) & 1; };
      const bool first = low(q, level);
      const int with = first ? start[0] : start[1], without = first ? start[1] : start[0];
      // A[t,s] as right operands, s along their rows and four of them a lane; what does not count is zero
      u32 right[2][2], rest[2][2];
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const int t = (low(g >> 1, level) ? 4 * (g >> 1) : 28 - 4 * (g >> 1)) + (g & 1) + 2 * j, s = without;
        float y[4];
        get(y, m, t, s);
#pragma unroll
        for (int n = 0; n < 4; n++) y[n] = t >> (level + 1) == s >> (level + 1) ? y[n] : 0.f;
#pragma unroll
        for (int k = 0; k < 2; k++) {
          right[j][k] = pair(y[2 * k], y[2 * k + 1], T());
          const float2 high = unpair(right[j][k], T());
          rest[j][k] = pair(y[2 * k] - high.x, y[2 * k + 1] - high.y, T());
        }
      }
      // the run with the bit and the one without it: decays to the boundary from the run's end, and P and W scaled to there
      float near[2] = {1.f, 1.f}, away[2] = {1.f, 1.f}, pf[4][2], wf[4][2];
#pragma unroll
      for (int below = 2; below < level; below++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
          near[h] *= low(q, below) == first ? (first ? beside[below - 2][0][h] : beside[below - 2][1][h]) : 1.f;
          away[h] *= low(q, below) == first ? (first ? beside[below - 2][1][h] : beside[below - 2][0][h]) : 1.f;
        }
      if (late || rect) {
        float e[2] = {near[0], near[1]};
#pragma unroll
        for (int i = 0; i < 4; i++) {
          float d[2];
          get(pf[i], p, with + i, c);
          if (i < 3) get(d, a, with + i, c);
#pragma unroll
          for (int h = 0; h < 2; h++) pf[i][h] *= e[h], e[h] *= d[h];
        }
      }
      if (early || rect) {
        float e[2] = {away[0], away[1]};
#pragma unroll
        for (int i = 3; i >= 0; i--) {
          float d[2];
          get(wf[i], w, without + i, c);
          if (i > 0) get(d, a, without + i, c);
#pragma unroll
          for (int h = 0; h < 2; h++) wf[i][h] *= e[h], e[h] *= d[h];
        }
      }
      // x, scaled, times A or its transpose gives the other run's y, scaled by `to`
      auto multiply = [&](bool second, const float (&x)[4][2], const float (&to)[2], const float (&z)[4][2], float (&y)[2][4][2],
                          float (&own)[2]) {
        float acc[2][4] = {};
        const u32 left[4] = {pair(x[0][0], x[1][0], T()), pair(x[0][1], x[1][1], T()), pair(x[2][0], x[3][0], T()),
                             pair(x[2][1], x[3][1], T())};
#pragma unroll
        for (int j = 0; j < 2; j++) {
          mma(acc[j], left, right[j][0], right[j][1], T());
          mma(acc[j], left, rest[j][0], rest[j][1], T());
        }
#pragma unroll
        for (int j = 0; j < 2; j++)
#pragma unroll
          for (int e = 0; e < 4; e++) {
            const int i = 2 * j + (e & 1), h = e >> 1;
            if (rect) own[h] += z[i][h] * acc[j][e];
            if (second) y[0][i][h] += acc[j][e] * to[h];
            else y[1][i][h] += acc[j][e] * to[h];
          }
      };
      float of_p[2] = {}, of_w[2] = {};
      if (early || rect) multiply(first, wf, near, pf, yp, of_p);
      if (late || rect) {
        auto flip = [](u32 (&x)[2][2]) {
          const u32 y = turn(x[0][1]);
          x[0][0] = turn(x[0][0]), x[0][1] = turn(x[1][0]), x[1][0] = y, x[1][1] = turn(x[1][1]);
        };
        flip(right), flip(rest);
        multiply(!first, pf, away, wf, yw, of_w);
      }
      if (rect && level > 2) {
        // of the runs that come before in a lane's order (columns) or after it (rows): the same lanes'
#pragma unroll
        for (int h = 0; h < 2; h++) {
          auto others = [&](float x) {
            const float one = __shfl_xor_sync(~0u, x, 1);
            if (level == 3) return q == 1 || q == 2 ? one : 0.f;
            const float two = __shfl_xor_sync(~0u, x + one, 2);
            return (q & 1 ? one : 0.f) + (q & 2 ? two : 0.f);
          };
          const float p = others(of_p[h]), w = others(of_w[h]);
          if (first) far[0][h] += p, far[1][h] += w;
          else far[1][h] += p, far[0][h] += w;
        }
      }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
      // read again: registers are short
      float d[4][2], pr[4][2] = {}, wr[4][2] = {};
#pragma unroll
      for (int i = 0; i < 4; i++) {
        get(d[i], a, start[r] + i, c);
        if (late || rect) get(pr[i], p, start[r] + i, c);
        if (early || rect) get(wr[i], w, start[r] + i, c);
      }
      Some<2> to_p[4], to_w[4], to_a[4];
#pragma unroll
      for (int h = 0; h < 2; h++) {
        // of the levels alone: running sums of what they give times P and W
        float e = 1.f, sum = far[r][h];
#pragma unroll
        for (int i = 0; i < 4; i++) to_p[i].x[h] = yp[r][i][h] * e, e *= d[i][h];
        e = 1.f;
#pragma unroll
        for (int i = 3; i >= 0; i--) to_w[i].x[h] = yw[r][i][h] * e, e *= d[i][h];
        if (rect) {
#pragma unroll
          for (int i = 0; i < 4; i++) to_a[i].x[h] = sum, sum += wr[i][h] * to_w[i].x[h];
          sum = 0.f;
#pragma unroll
          for (int i = 3; i >= 0; i--) to_a[i].x[h] += sum, sum += pr[i][h] * to_p[i].x[h];
        }
      }
#pragma unroll
      for (int t = 1; t < 4; t++) {
        float near[4];
        get(near, m, start[r] + t, start[r]);
#pragma unroll
        for (int h = 0; h < 2; h++) {
          float e = 1.f, inner[4] = {};
#pragma unroll
          for (int s = t - 1; s >= 0; s--) {
            const float x = near[s] * e;
            to_p[t].x[h] += x * wr[s][h], to_w[s].x[h] += x * pr[t][h];
            if (rect) {
#pragma unroll
              for (int j = s + 1; j < t; j++) inner[j] += x * wr[s][h];
            }
            e *= d[s][h];
          }
          if (rect) {
#pragma unroll
            for (int j = 1; j < t; j++) to_a[j].x[h] += inner[j] * pr[t][h];
          }
        }
      }
#pragma unroll
      for (int i = 0; i < 4; i++) {
        if constexpr (early) by_p(start[r] + i, c, to_p[i]);
        if constexpr (late) by_w(start[r] + i, c, to_w[i]);
        if constexpr (rect) by_a(start[r] + i, c, to_a[i]);
      }
    }
  }
}
