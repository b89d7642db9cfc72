// Decode: LANES neighbouring lanes own ROWS rows of every state, each lane some columns of these rows, in registers.
// Lane l has columns 4 l .. 4 l + 3 of every 4 LANES: 16 bytes an access where the elements of a row are side by side; where
// the rows are, a lane's ROWS rows are one access.
#define EACH_ROW _Pragma("unroll") for (int r = 0; r < ROWS; r++)
#define EACH_COLUMN(count) _Pragma("unroll") for (int c = 0; c < count; c++)

// Floats that a lane holds of a row of n.
__host__ __device__ constexpr int part(int n) { return (n + 4 * LANES - 1) / (4 * LANES) * 4; }
__device__ __forceinline__ int column(int c, int lane) { return c / 4 * (4 * LANES) + 4 * lane + c % 4; }

template <class T, int N> struct alignas(N * sizeof(T)) Pack {
  T v[N];
};

// The launch before may still run when this one's blocks start: they wait here until its memory can be seen, and let the
// next launch's blocks come and wait in turn. Without the launch's attribute both do nothing.
__device__ __forceinline__ void wait_for_launch_before() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

template <bool STORE, class T> __device__ __forceinline__ void exchange(T& mine, T* memory) {
  if (STORE) *memory = mine;
  else mine = *memory;
}

// A lane's part of rows row .. row + ROWS - 1 of a state of N x K, from memory or to it. What is not there is 0. Elements of a
// row are expected side by side, or with BY_ROWS the rows are; other strides work too, one element at a time.
template <bool STORE, bool BY_ROWS, int N, int K>
__device__ __forceinline__ void part_of_state(float (&x)[ROWS][part(K)], float* state, i64 s_row, i64 s_column, int row, int lane) {
  constexpr int C = part(K);
  constexpr int SIDE = BY_ROWS ? ROWS : 4;  // elements of one access
  const i64 near = BY_ROWS ? s_row : s_column, far = BY_ROWS ? s_column : s_row;
  if (!STORE) {
    EACH_ROW EACH_COLUMN(C) x[r][c] = 0.f;
  }
  if ((BY_ROWS ? N : K) % SIDE == 0 && near == 1 && far % SIDE == 0 && ((i64)state & (4 * SIDE - 1)) == 0) {
    if constexpr (BY_ROWS) {
      EACH_COLUMN(C) {
        if (row < N && column(c, lane) < K) {
          Pack<float, ROWS> p;
          if (STORE) EACH_ROW p.v[r] = x[r][c];
          exchange<STORE>(p, (Pack<float, ROWS>*)(state + column(c, lane) * far + row));
          if (!STORE) EACH_ROW x[r][c] = p.v[r];
        }
      }
    } else {
      EACH_ROW {
        Pack<float, 4>* const from = (Pack<float, 4>*)(state + (row + r) * far) + lane;
        _Pragma("unroll") for (int c = 0; c < C; c += 4) {
          if (row + r < N && column(c, lane) < K) {
            Pack<float, 4> p;
            if (STORE) _Pragma("unroll") for (int i = 0; i < 4; i++) p.v[i] = x[r][c + i];
            exchange<STORE>(p, from + c / 4 * LANES);
            if (!STORE) _Pragma("unroll") for (int i = 0; i < 4; i++) x[r][c + i] = p.v[i];
          }
        }
      }
    }
  } else {
    EACH_ROW EACH_COLUMN(C) {
      if (row + r < N && column(c, lane) < K) exchange<STORE>(x[r][c], state + (row + r) * s_row + column(c, lane) * s_column);
    }
  }
}

// A lane's part of a vector of K elements as it lies in memory, not widened: the loads are only queued.
template <int K, class T> __device__ __forceinline__ void part_of_row(Pack<T, 4> (&to)[part(K) / 4], const T* from, int lane) {
  const bool wide = K % 4 == 0 && ((i64)from & (4 * sizeof(T) - 1)) == 0;
  _Pragma("unroll") for (int c = 0; c < part(K); c += 4) {
    to[c / 4] = {};
    if (wide) {
      if (column(c, lane) < K) to[c / 4] = ((const Pack<T, 4>*)from)[c / 4 * LANES + lane];
    } else {
      _Pragma("unroll") for (int i = 0; i < 4; i++)
        if (column(c + i, lane) < K) to[c / 4].v[i] = from[column(c + i, lane)];
    }
  }
}

template <int C, class T> __device__ __forceinline__ void widen_row(float (&to)[C], const Pack<T, 4> (&from)[C / 4]) {
  EACH_COLUMN(C) to[c] = widen(from[c / 4].v[c % 4]);
}

// A vector state along columns; its elements are `stride` apart.
template <bool STORE, int K> __device__ __forceinline__ void part_of_vector(float (&x)[part(K)], float* from, i64 stride, int lane) {
  EACH_COLUMN(part(K)) {
    if (!STORE) x[c] = 0.f;
    if (column(c, lane) < K) exchange<STORE>(x[c], from + column(c, lane) * stride);
  }
}

// Elements of a vector along rows, as they lie in memory.
template <int N, class T> __device__ __forceinline__ void rows_of_vector(T (&to)[ROWS], const T* from, i64 stride, int row) {
  EACH_ROW {
    to[r] = {};
    if (row + r < N) to[r] = from[(row + r) * stride];
  }
}

// Every row is written by one lane.
template <int N, class T> __device__ __forceinline__ void store_rows(T* to, i64 stride, const float (&x)[ROWS], int row, int lane) {
  if (LANES >= ROWS) {
    float mine = x[0];
    EACH_ROW if (lane == r) mine = x[r];
    if (lane < ROWS && row + lane < N) to[(row + lane) * stride] = narrow<T>(mine);
  } else if (lane == 0) {
    EACH_ROW if (row + r < N) to[(row + r) * stride] = narrow<T>(x[r]);
  }
}

template <int K, class T> __device__ __forceinline__ void store_row(T* to, const float (&x)[part(K)], int lane) {
  EACH_COLUMN(part(K)) if (column(c, lane) < K) to[column(c, lane)] = narrow<T>(x[c]);
}

// Sums over the lanes of a group; all of them get the same bits.
template <int N> __device__ __forceinline__ void sum_lanes(float (&y)[N]) {
  _Pragma("unroll") for (int d = LANES / 2; d > 0; d /= 2)
    _Pragma("unroll") for (int i = 0; i < N; i++) y[i] += __shfl_xor_sync(0xffffffff, y[i], d);
}

// What is beyond column K is 0.
template <int K> __device__ __forceinline__ void clear_beyond(float (&x)[part(K)], int lane) {
  EACH_COLUMN(part(K)) if (column(c, lane) >= K) x[c] = 0.f;
}

template <int C> __device__ __forceinline__ float sum_row(const float (&x)[C]) {
  float y[1] = {};
  EACH_COLUMN(C) y[0] += x[c];
  sum_lanes(y);
  return y[0];
}

template <int K> __device__ __forceinline__ void softmax_row(float (&to)[part(K)], const float (&x)[part(K)], int lane) {
  float most = -INFINITY;
  EACH_COLUMN(part(K)) if (column(c, lane) < K) most = x[c] > most || x[c] != x[c] ? x[c] : most;
  _Pragma("unroll") for (int d = LANES / 2; d > 0; d /= 2) {
    const float other = __shfl_xor_sync(0xffffffff, most, d);
    most = other > most || other != other ? other : most;
  }
  EACH_COLUMN(part(K)) to[c] = column(c, lane) < K ? expf(x[c] - most) : 0.f;
  const float scale = 1.f / sum_row(to);
  EACH_COLUMN(part(K)) to[c] *= scale;
}

// This lane's share of the products of its rows with a vector along columns.
template <int C> __device__ __forceinline__ void read_rows(float* y, const float (&x)[ROWS][C], const float (&p)[C]) {
  EACH_ROW y[r] = 0.f;
  EACH_COLUMN(C) EACH_ROW y[r] += x[r][c] * p[c];
}
