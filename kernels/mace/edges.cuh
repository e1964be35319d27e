// What kernels of MACE share: graphs, and radial functions as polynomials on equal intervals.
//
// Rust defines N_SPECIES, CUTOFF (Å), N_Y (harmonics), PAIRS (of coefficients of a polynomial) and PACKED before this file. PACKED: a pair is a parabola, whose
// last coefficient is the last eight bits of the others. Vectors, harmonics and what is summed over edges are `real`; rows of
// atoms and channels are `stored`.

struct real3 { real x, y, z; };
// The edges of atom i are first[i] .. first[i + 1]; r is the vector to the neighbour.
struct Graph { const u32* first; const u32* neighbour; const u32* species; const real3* r; };

#if SINGLE
typedef float2 Two;
#else
typedef double2 Two;
#endif
// Radial weights, (interval, path, PAIRS, channel) pairs of coefficients, and the edge density, (interval, 6) coefficients.
struct Table { const Two* rows; const real* density; double inverse_step; u64 n; };
// An interval of a table, and where within, from 0 to 1; NONE beyond the cutoff.
struct Place { u32 interval; real t; };

DEVICE real norm(real3 v) { return sqrt(v.x * v.x + v.y * v.y + v.z * v.z); }

DEVICE Place place(const Table& table, real r) {
  double x = double(r) * table.inverse_step;
  u32 k = min(u32(x), u32(table.n) - 1);
  return {r < real(CUTOFF) ? k : NONE, real(x - k)};
}

// Tables by sender, then by receiver.
DEVICE const Table& table_of(const Table* tables, u32 sender, u32 receiver) { return tables[sender * N_SPECIES + receiver]; }
