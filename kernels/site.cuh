// A centre and its edges, and the numbers of the model on the device. Rust defines N_PARTS and PAIR_SIZE.

struct Part {
  // Folded coefficients (many-body: (n_species, N_C); pair: rows), in the working precision.
  const real* folded;
  // Radial rows by ordered pair.
  const real* matrix;
  // PAIR_SIZE numbers for each ordered pair.
  const double* pairs;
};

struct Parts {
  // (n_species), eV.
  const double* e0;
  Part part[N_PARTS];
};

// A vector, its length and the inverse of that.
struct Edge { real x, y, z, r, inv; };

struct Site {
  const u32* neighbour;
  const u32* species;
  const real3* r;
  u32 lane, begin, end;

  // Vectors are fetched one edge ahead, so that their latency is hidden.
  DEVICE real3 first_vector() const { return begin + lane < end ? r[begin + lane] : real3{0, 0, 0}; }
  DEVICE Edge next(real3& ahead, u32 e) const {
    real3 v = ahead;
    ahead = r[min(e + GROUP, end - 1)];
    return of(v);
  }
  DEVICE Edge edge(u32 e) const { return of(r[e]); }
  DEVICE static Edge of(real3 v) {
    real x = v.x, y = v.y, z = v.z;
    real square = x * x + y * y + z * z, inv = reciprocal_root(square);
    return {x, y, z, square * inv, inv};
  }
  DEVICE u32 species_of(u32 e) const {
#if N_SPECIES > 1
    return __ldg(species + __ldg(neighbour + e));
#else
    return 0;
#endif
  }
};
