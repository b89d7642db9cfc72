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
