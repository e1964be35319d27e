// Products of matrices in tiles, ROWS × COLUMNS sums a block of 4 warps, 32 × 64 a warp. Both factors come through panels in shared memory, DEPTH deep,
// STAGES of them in flight. TENSOR: on multiply–adds (0), or tensor cores with factors rounded to TF32 (1) or bf16 (2), sums in f32.

#define THREADS 128
#define ROWS 64
#define COLUMNS 128
// Numbers of 16 bytes.
#define WIDTH int(16 / sizeof(real))
#define DEPTH (4 * WIDTH)
#define STAGES 3

// Numbers side by side: as they are computed with, and as they are in memory.
template <int N> struct alignas(N * sizeof(real)) Some { real x[N]; };
template <int N> struct alignas(N * sizeof(stored)) Stored { stored x[N]; };
typedef Some<WIDTH> Pack;

// How many of `width` numbers from k on are there, of n.
DEVICE int present(int k, int n, int width = WIDTH) { return max(0, min(width, n - k)); }
// May N numbers that lie side by side be loaded at once: are all distances, and the address, multiples of as many?
template <int N> DEVICE bool aligned(const stored* base, u32 distances) { return distances % N == 0 && u64(base) % sizeof(Stored<N>) == 0; }

// N rows (or columns) of a factor. DEEP: the numbers of a row lie side by side, else those of one depth do. Rows are as far apart as keeps banks apart.
template <int N, bool DEEP> struct Panel {
  static constexpr int PITCH = DEEP ? DEPTH + WIDTH : N + WIDTH, SIZE = DEEP ? N * PITCH : DEPTH * PITCH;
  // A thread brings so many pieces of WIDTH numbers at a time.
  static constexpr int PIECES = N * 4 / THREADS, ACROSS = THREADS / DEPTH;
  alignas(16) real x[STAGES][SIZE];

  // Rows between the pieces of a thread; the first row of a piece, and its depth.
  static constexpr int STEP = DEEP ? THREADS / 4 : ACROSS * WIDTH;
  static DEVICE u32 row(int h) { return (DEEP ? threadIdx.x / 4 : threadIdx.x % ACROSS * WIDTH) + h * STEP; }
  static DEVICE u32 depth() { return DEEP ? threadIdx.x % 4 * WIDTH : threadIdx.x / ACROSS; }
  DEVICE real* place(u32 stage, int h) { return x[stage] + (DEEP ? line(row(0)) * PITCH + depth() : depth() * PITCH + row(0)) + h * STEP * (DEEP ? PITCH : 1); }
  // Where a row of a deep panel lies.
  static DEVICE u32 line(u32 row);
};

// The pieces that a thread brings at a time: of each `n` of WIDTH numbers `step` apart, zeros for the others.
#if STORAGE == 0
template <class P> struct Pieces {
  DEVICE void begin(P& panel, u32 stage, int h, const stored* from, u64 step, int n, bool at_once, const stored*) {
    real* to = panel.place(stage, h);
    if (at_once) {
      copy<16>(to, from, n * sizeof(real));
    } else {
#pragma unroll
      for (int k = 0; k < WIDTH; k++) copy<sizeof(real)>(to + k, from + k * step, k < n ? sizeof(real) : 0);
    }
  }
  DEVICE void end(P&, u32) {}
};
#else
// Through registers, where they are widened.
template <class P> struct Pieces {
  Stored<WIDTH> numbers[P::PIECES];
  // Four bits each.
  u32 counts;
  // What is not there comes from a place inside, as a branch would wait for its load.
  DEVICE void begin(P&, u32, int h, const stored* from, u64 step, int n, bool at_once, const stored* inside) {
    counts = h == 0 ? n : counts | u32(n) << 4 * h;
    if (at_once) {
      numbers[h] = *(const Stored<WIDTH>*)(n > 0 ? from : inside);
    } else {
#pragma unroll
      for (int k = 0; k < WIDTH; k++) numbers[h].x[k] = *(k < n ? from + k * step : inside);
    }
  }
  DEVICE void end(P& panel, u32 stage) {
#pragma unroll
    for (int h = 0; h < P::PIECES; h++) {
      const int n = counts >> 4 * h & 15;
      Pack y;
#pragma unroll
      for (int k = 0; k < WIDTH; k++) y.x[k] = k < n ? widen(numbers[h].x[k]) : real(0);
      *(Pack*)panel.place(stage, h) = y;
    }
  }
};
#endif

#if TENSOR
// Row `lane / 4` of a fragment, and eight more; columns in twos.
#define OWN_ROWS 4
#define OWN_COLUMNS 16
#define TOGETHER 2
DEVICE u32 own_row(int i) { return threadIdx.x / 64 * 32 + i / 2 * 16 + i % 2 * 8 + threadIdx.x % 32 / 4; }
DEVICE u32 own_column(int j) { return threadIdx.x / 32 % 2 * 64 + j / 2 * 8 + threadIdx.x % 4 * 2 + j % 2; }

template <int N, bool DEEP> DEVICE u32 Panel<N, DEEP>::line(u32 row) { return row; }

// Two numbers of a row, at depths from k on.
template <int N, bool DEEP> DEVICE Some<2> two(const Panel<N, DEEP>& panel, u32 stage, u32 row, u32 k) {
  if constexpr (DEEP) return *(const Some<2>*)(panel.x[stage] + row * panel.PITCH + k);
  else return {panel.x[stage][k * panel.PITCH + row], panel.x[stage][(k + 1) * panel.PITCH + row]};
}

// In which order eight depths are summed does not matter: a thread has two neighbours where the instruction speaks of k and k + 4.
template <bool DEEP_A, bool DEEP_B>
DEVICE void multiply(const Panel<ROWS, DEEP_A>& a, const Panel<COLUMNS, DEEP_B>& b, u32 stage, real (&sum)[OWN_ROWS][OWN_COLUMNS]) {
  const u32 lane = threadIdx.x % 32, row = threadIdx.x / 64 * 32 + lane / 4, column = threadIdx.x / 32 % 2 * 64 + lane / 4, depth = lane % 4 * 2;
  constexpr int AT_ONCE = TENSOR == 1 ? 8 : 16;
#pragma unroll
  for (int k = 0; k < DEPTH; k += AT_ONCE) {
    u32 x[2][4], y[8][2];
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
      for (int h = 0; h < AT_ONCE / 8; h++) {
        const Some<2> s = two(a, stage, row + 8 * i, depth + k + 8 * h);
#if TENSOR == 1
        x[i / 2][i % 2] = to_tf32(s.x[0]), x[i / 2][i % 2 + 2] = to_tf32(s.x[1]);
#else
        x[i / 2][i % 2 + 2 * h] = to_bf16s(s.x[0], s.x[1]);
#endif
      }
    }
#pragma unroll
    for (int j = 0; j < 8; j++) {
#pragma unroll
      for (int h = 0; h < AT_ONCE / 8; h++) {
        const Some<2> s = two(b, stage, column + 8 * j, depth + k + 8 * h);
#if TENSOR == 1
        y[j][0] = to_tf32(s.x[0]), y[j][1] = to_tf32(s.x[1]);
#else
        y[j][h] = to_bf16s(s.x[0], s.x[1]);
#endif
      }
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
      for (int j = 0; j < 8; j++) {
        float c[4] = {sum[2 * i][2 * j], sum[2 * i][2 * j + 1], sum[2 * i + 1][2 * j], sum[2 * i + 1][2 * j + 1]};
#if TENSOR == 1
        multiply_tf32(c, x[i], y[j]);
#else
        multiply_bf16(c, x[i], y[j]);
#endif
        sum[2 * i][2 * j] = c[0], sum[2 * i][2 * j + 1] = c[1], sum[2 * i + 1][2 * j] = c[2], sum[2 * i + 1][2 * j + 1] = c[3];
      }
    }
  }
}
#else
// 4 × 8 groups of threads make a warp: a row of them is given by bits 0 and 4 of the lane, a column by bits 1 to 3, so that neighbours load the same 16
// bytes of one of the panels (shared memory then serves half a warp at once). Own rows and columns are in runs of WIDTH, one from each group in turn.
#define OWN_ROWS 8
#define OWN_COLUMNS 8
#define TOGETHER WIDTH
DEVICE u32 group_row() { return (threadIdx.x & 1) | (threadIdx.x >> 3 & 2); }
DEVICE u32 group_column() { return threadIdx.x >> 1 & 7; }
DEVICE u32 own_row(int i) { return threadIdx.x / 64 * 32 + i / WIDTH * 4 * WIDTH + group_row() * WIDTH + i % WIDTH; }
DEVICE u32 own_column(int j) { return threadIdx.x / 32 % 2 * 64 + j / WIDTH * 8 * WIDTH + group_column() * WIDTH + j % WIDTH; }

// In deep panels rows that are loaded together, one of each group, lie one after the other.
template <int N, bool DEEP> DEVICE u32 Panel<N, DEEP>::line(u32 row) {
  constexpr u32 GROUPS = N / 16, RUN = GROUPS * WIDTH;
  static_assert(STEP % RUN == 0 || !DEEP, "the pieces of a thread lie a number of lines apart");
  return row / RUN * RUN + row % WIDTH * GROUPS + row / WIDTH % GROUPS;
}

// The eight rows of a thread, WIDTH deep; `first` is the row of its warp.
template <int N, bool DEEP> DEVICE void load_own(const Panel<N, DEEP>& panel, u32 stage, u32 first, u32 group, int k, real (&to)[WIDTH][8]) {
  constexpr int GROUPS = N / 16;
  const real* x = panel.x[stage];
  if constexpr (DEEP) {
#pragma unroll
    for (int i = 0; i < 8; i++) {
      const Pack p = *(const Pack*)(x + (first + i / WIDTH * GROUPS * WIDTH + i % WIDTH * GROUPS + group) * panel.PITCH + k);
#pragma unroll
      for (int q = 0; q < WIDTH; q++) to[q][i] = p.x[q];
    }
  } else {
#pragma unroll
    for (int q = 0; q < WIDTH; q++) {
#pragma unroll
      for (int i = 0; i < 8; i += WIDTH) {
        const Pack p = *(const Pack*)(x + (k + q) * panel.PITCH + first + i * GROUPS + group * WIDTH);
#pragma unroll
        for (int r = 0; r < WIDTH; r++) to[q][i + r] = p.x[r];
      }
    }
  }
}

template <bool DEEP_A, bool DEEP_B>
DEVICE void multiply(const Panel<ROWS, DEEP_A>& a, const Panel<COLUMNS, DEEP_B>& b, u32 stage, real (&sum)[OWN_ROWS][OWN_COLUMNS]) {
#pragma unroll
  for (int k = 0; k < DEPTH; k += WIDTH) {
    real x[WIDTH][8], y[WIDTH][8];
    load_own(a, stage, threadIdx.x / 64 * 32, group_row(), k, x);
    load_own(b, stage, threadIdx.x / 32 % 2 * 64, group_column(), k, y);
#pragma unroll
    for (int q = 0; q < WIDTH; q++) {
#pragma unroll
      for (int i = 0; i < 8; i++) {
#pragma unroll
        for (int j = 0; j < 8; j++) sum[i][j] += x[q][i] * y[q][j];
      }
    }
  }
}
#endif

// Runs `fetch(stage)`, which begins to bring both factors to a stage, or says that there is nothing more, ahead of the products; `keep(stage)` ends it.
template <bool DEEP_A, bool DEEP_B, class Fetch, class Keep>
DEVICE void product(const Panel<ROWS, DEEP_A>& a, const Panel<COLUMNS, DEEP_B>& b, Fetch fetch, Keep keep, real (&sum)[OWN_ROWS][OWN_COLUMNS]) {
#pragma unroll
  for (int i = 0; i < OWN_ROWS; i++) {
#pragma unroll
    for (int j = 0; j < OWN_COLUMNS; j++) sum[i][j] = 0;
  }
  int ahead = 0;
#pragma unroll
  for (int stage = 0; stage < STAGES - 1; stage++) {
    if (fetch(stage)) keep(stage), ahead++;
    close_copies();
  }
  for (u32 stage = 0; ahead > 0; ahead--) {
    copied<STAGES - 2>();
    // All have what they wait for, and nobody uses the stage before this one any more: it is the next to be filled.
    __syncthreads();
    const u32 next = stage == 0 ? STAGES - 1 : stage - 1;
    const bool more = fetch(next);
    close_copies();
    multiply(a, b, stage, sum);
    if (more) keep(next), ahead++;
    stage = stage == STAGES - 1 ? 0 : stage + 1;
  }
}
