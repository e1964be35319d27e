// The pair style `acerust`, and what its computes ask of it.

#ifndef ACERUST_PAIR_H
#define ACERUST_PAIR_H

#include "acerust.h"
#include "pair.h"

#include <exception>
#include <memory>
#include <string>
#include <vector>

namespace LAMMPS_NS {

// Handles of the library that free themselves.
template <typename T, int32_t (*release)(T *)> struct Free {
  void operator()(T *handle) const { release(handle); }
};

class PairACErust : public Pair {
 public:
  PairACErust(LAMMPS *);
  ~PairACErust() override;

  void settings(int, char **) override;
  void coeff(int, char **) override;
  void init_style() override;
  double init_one(int, int) override { return rcut; }
  void compute(int, int) override;
  int pack_forward_comm(int, int *, double *, int, int *) override;
  void unpack_forward_comm(int, int, double *) override;
  int pack_reverse_comm(int, int, double *) override;
  void unpack_reverse_comm(int, int *, double *) override;
  double memory_usage() override;

  bool has_committee() const { return !committee_file.empty(); }
  bool has_grade() const { return !grade_file.empty(); }

  // The extrapolation grade of owned atoms, by LAMMPS' index; 0 for those of other styles. The forces of this step must be there.
  void grades(double *);
  // Standard deviations over the committee, of site energies (eV) and of force components (eV/Å), likewise.
  void spreads(double **);

 private:
  using Plan = std::unique_ptr<acerust_plan, Free<acerust_plan, acerust_plan_free>>;
  using Graph = std::unique_ptr<acerust_graph, Free<acerust_graph, acerust_graph_free>>;

  int32_t device, index, precision;
  acerust_options options;
  std::string committee_file, grade_file;
  std::string head;
  int64_t charge, spin;
  bool has_charge, has_spin;
  Plan plan;
  size_t n_members = 0;
  size_t n_exchanged = 0;    // numbers of an atom that travel between layers; 0: there is one layer
  size_t hops = 1;
  bool wide = false;         // ghosts as far as the hops reach, instead of an exchange
  double rcut = 0;
  std::vector<int32_t> number_of_type;    // 0: the type is none of ours

  // The graph, and what it was made from.
  Graph graph;
  size_t n_owned = 0, n_centres = 0, n_atoms = 0;
  int owned = 0;             // atoms of LAMMPS on this process when the list was built
  bigint step = -1;          // of the positions that it has
  bool same = false;         // are its atoms all those of LAMMPS, in that order?
  std::vector<int> atoms;    // if not, LAMMPS' index of each
  std::vector<int32_t> numbers;
  std::vector<uint32_t> first, neighbour;

  std::vector<double> positions;    // of the atoms of the graph, where these are not LAMMPS'
  std::vector<double> energies, forces, virials, gradients;
  std::vector<double> spread;    // forces by LAMMPS' index, where that is not the graph's

  // What goes to ghosts or to their owners: so many numbers an atom.
  double *moving = nullptr;
  int columns = 0;
  std::exception_ptr failure;    // of an exchange, on its way through the library

  int atom_of(size_t i) const { return same ? static_cast<int>(i) : atoms[i]; }
  std::string read(const char *, const std::string &);
  int32_t device_of(const std::string &);
  int32_t precision_of(const std::string &);
  // Where the device cannot exchange, ghosts are wide in any case.
  bool is_wide() const { return hops > 1 && (wide || !n_exchanged); }
  void collect();
  void new_graph(const double *);
  acerust_input input();
  void evaluate(const acerust_outputs &);
  template <bool to_ghosts> static int32_t exchange(void *, size_t, size_t, double *);
  double *by_atom(double *, size_t width = 3);
  void atom_virials();
  void to_owners(double *, int);
  void must_have_evaluated(const char *);
  void check(int32_t);
  static std::string last_error();
};

}    // namespace LAMMPS_NS

#endif
