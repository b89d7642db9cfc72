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
