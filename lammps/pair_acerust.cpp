// The pair style `acerust`: potentials of ACERust in LAMMPS, through the C ABI and nothing else.
//
// Centres are the atoms of LAMMPS' full neighbour list. Energies belong to them alone; forces fall on owned and ghost
// atoms, and the ghosts' travel back to their owners: by LAMMPS with newton on, by this style with newton off.

#include "acerust.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair.h"
#include "universe.h"
#include "update.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>

using namespace LAMMPS_NS;

namespace {

// Handles of the library that free themselves.
template <typename T, int32_t (*release)(T *)> struct Free {
  void operator()(T *handle) const { release(handle); }
};
using Model = std::unique_ptr<acerust_model, Free<acerust_model, acerust_model_free>>;
using Plan = std::unique_ptr<acerust_plan, Free<acerust_plan, acerust_plan_free>>;
using Graph = std::unique_ptr<acerust_graph, Free<acerust_graph, acerust_graph_free>>;

std::string last_error()
{
  std::string message(acerust_last_error(nullptr, 0), '\0');
  acerust_last_error(message.data(), message.size());
  message.pop_back();
  return message;
}

class PairACErust : public Pair {
 public:
  PairACErust(LAMMPS *lmp) : Pair(lmp)
  {
    restartinfo = 0;
    one_coeff = 1;
    manybody_flag = 1;
    // The virial is the library's own, so that it is there with newton off as well.
    no_virial_fdotr_compute = 1;
    centroidstressflag = CENTROID_AVAIL;
    comm_reverse_off = 9;
  }

  ~PairACErust() override
  {
    if (allocated) {
      memory->destroy(setflag);
      memory->destroy(cutsq);
    }
  }

  void settings(int, char **) override;
  void coeff(int, char **) override;
  void init_style() override;
  double init_one(int, int) override { return rcut; }
  void compute(int, int) override;
  int pack_reverse_comm(int, int, double *) override;
  void unpack_reverse_comm(int, int *, double *) override;
  double memory_usage() override;

 private:
  int32_t device = ACERUST_CPU, index = 0, precision = ACERUST_F64;
  acerust_options options = {sizeof(acerust_options), 1, 0, 0, 0};
  Plan plan;
  double rcut = 0;
  std::vector<int32_t> number_of_type;    // 0: the type is none of ours

  // The graph, and what it was made from.
  Graph graph;
  size_t n_centres = 0, n_atoms = 0;
  bool same = false;         // are its atoms all those of LAMMPS, in that order?
  std::vector<int> atoms;    // if not, LAMMPS' index of each
  std::vector<int32_t> numbers;
  std::vector<uint32_t> first, neighbour;

  std::vector<double> positions;    // of the atoms of the graph, where these are not LAMMPS'
  std::vector<double> energies, forces, gradients;
  std::vector<double> spread;    // forces by LAMMPS' index, where that is not the graph's

  // What goes to its owners, with newton off: so many numbers an atom.
  double *moving = nullptr;
  int columns = 0;

  int atom_of(size_t i) const { return same ? static_cast<int>(i) : atoms[i]; }
  void collect();
  void new_graph(const double *x);
  void atom_virials();
  void to_owners(double *numbers, int each);
  void check(int32_t status);
};

/* pair_style acerust [device cpu|cuda[:n]] [precision f64|f32|f32-distances] [threads n] [radial exact|table tolerance] */
void PairACErust::settings(int narg, char **arg)
{
  for (int i = 0; i < narg; i += 2) {
    const std::string key = arg[i];
    if (i + 1 == narg) error->all(FLERR, "pair_style acerust: {} needs a value", key);
    const std::string value = arg[i + 1];
    if (key == "device") {
      if (value == "cpu") {
        device = ACERUST_CPU;
        index = 0;
      } else if (value == "cuda") {
        // Round robin over the processes of a node, those of other partitions included.
        device = ACERUST_CUDA;
        MPI_Comm node;
        MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, comm->me, MPI_INFO_NULL, &node);
        int rank, size;
        MPI_Comm_rank(node, &rank);
        MPI_Comm_size(node, &size);
        MPI_Comm_free(&node);
        index = rank + universe->iworld * size;
      } else if (utils::strmatch(value, "^cuda:\\d+$")) {
        device = ACERUST_CUDA;
        index = utils::inumeric(FLERR, value.substr(5), false, lmp);
      } else {
        error->all(FLERR, "pair_style acerust: device {} is none of cpu, cuda, cuda:N", value);
      }
    } else if (key == "precision") {
      if (value == "f64") precision = ACERUST_F64;
      else if (value == "f32") precision = ACERUST_F32;
      else if (value == "f32-distances") precision = ACERUST_F32_DISTANCES;
      else error->all(FLERR, "pair_style acerust: precision {} is none of f64, f32, f32-distances", value);
    } else if (key == "threads") {
      const int n = utils::inumeric(FLERR, value, false, lmp);
      if (n < 0) error->all(FLERR, "pair_style acerust: {} threads", n);
      options.n_threads = n;
    } else if (key == "radial") {
      options.tolerance = 0;
      if (value == "exact") options.radial = ACERUST_RADIAL_EXACT;
      else {
        options.radial = ACERUST_RADIAL_TABLE;
        options.tolerance = utils::numeric(FLERR, value, false, lmp);
      }
    } else {
      error->all(FLERR, "pair_style acerust: unknown keyword {}", key);
    }
  }
}

/* pair_coeff * * model.json Si O … */
void PairACErust::coeff(int narg, char **arg)
{
  const int n_types = atom->ntypes;
  if (!allocated) {
    allocated = 1;
    memory->create(setflag, n_types + 1, n_types + 1, "pair:setflag");
    memory->create(cutsq, n_types + 1, n_types + 1, "pair:cutsq");
    map = new int[n_types + 1];
  }
  if (narg != 3 + n_types)
    error->all(FLERR, "pair_coeff of acerust: expected * * FILE and {} elements, one a type", n_types);
  map_element2type(narg - 3, arg + 3);

  // One process reads, so that a file that is missing somewhere is missing nowhere or everywhere.
  std::string text;
  int length = -1;
  if (comm->me == 0) {
    std::ifstream file(utils::get_potential_file_path(arg[2]), std::ios::binary);
    std::stringstream content;
    if (file && content << file.rdbuf()) {
      text = content.str();
      length = text.size() > INT_MAX ? -2 : static_cast<int>(text.size());
    }
  }
  MPI_Bcast(&length, 1, MPI_INT, 0, world);
  if (length == -1) error->all(FLERR, "pair_coeff of acerust: cannot read {}", arg[2]);
  if (length == -2) error->all(FLERR, "pair_coeff of acerust: {} is larger than 2 GB", arg[2]);
  text.resize(length);
  MPI_Bcast(text.data(), length, MPI_CHAR, 0, world);

  acerust_model *new_model = nullptr;
  check(acerust_model_from_json(text.data(), text.size(), &new_model));
  const Model model(new_model);

  size_t n_species = 0;
  check(acerust_model_n_species(model.get(), &n_species));
  std::vector<int32_t> species(n_species);
  check(acerust_model_species(model.get(), species.data(), n_species));
  number_of_type.assign(n_types + 1, 0);
  for (int type = 1; type <= n_types; type++) {
    if (map[type] < 0) continue;
    int32_t number = 0;
    if (acerust_atomic_number(elements[map[type]], &number))
      error->all(FLERR, "pair_coeff of acerust: type {}: {}", type, last_error());
    bool known = false;
    for (auto z : species) known |= z == number;
    if (!known) error->all(FLERR, "pair_coeff of acerust: type {}: {} has no element {}", type, arg[2], elements[map[type]]);
    number_of_type[type] = number;
  }

  acerust_plan *new_plan = nullptr;
  check(acerust_plan_new(model.get(), device, index, precision, &options, &new_plan));
  plan.reset(new_plan);
  check(acerust_plan_rcut(plan.get(), &rcut));
}

void PairACErust::init_style()
{
  if (strcmp(update->unit_style, "metal") != 0) error->all(FLERR, "pair_style acerust: its units are metal, not {}", update->unit_style);
  for (int i = 1; i <= 3; i++)
    if (atom->molecular != Atom::ATOMIC && (force->special_lj[i] != 1.0 || force->special_coul[i] != 1.0))
      error->all(FLERR, "pair_style acerust: bonded neighbours count in full, which takes special_bonds lj/coul 1 1 1");
  neighbor->add_request(this, NeighConst::REQ_FULL);
  graph.reset();
}

/* Takes over LAMMPS' list: centres first, then all others of our types. */
void PairACErust::collect()
{
  const int *type = atom->type;
  const int all = atom->nlocal + atom->nghost;
  same = list->inum == atom->nlocal;
  for (int k = 0; same && k < list->inum; k++) same = list->ilist[k] == k;
  for (int t = 1; t <= atom->ntypes; t++) same = same && number_of_type[t] != 0;

  atoms.clear();
  numbers.clear();
  std::vector<int> place;    // in the graph, by LAMMPS' index
  if (same) {
    n_centres = atom->nlocal;
    for (int i = 0; i < all; i++) numbers.push_back(number_of_type[type[i]]);
  } else {
    place.assign(all, -1);
    const auto add = [&](int i) {
      if (place[i] >= 0 || number_of_type[type[i]] == 0) return;
      place[i] = static_cast<int>(atoms.size());
      atoms.push_back(i);
      numbers.push_back(number_of_type[type[i]]);
    };
    for (int k = 0; k < list->inum; k++) add(list->ilist[k]);
    n_centres = atoms.size();
    for (int i = 0; i < all; i++) add(i);
  }
  n_atoms = numbers.size();

  first.assign(1, 0);
  neighbour.clear();
  for (size_t c = 0; c < n_centres; c++) {
    const int i = atom_of(c);
    const int *row = list->firstneigh[i];
    for (int k = 0; k < list->numneigh[i]; k++) {
      const int j = row[k] & NEIGHMASK;
      const int p = same ? j : place[j];
      if (p >= 0) neighbour.push_back(p);
    }
    if (neighbour.size() > UINT32_MAX) error->one(FLERR, "pair_style acerust: more than {} neighbours on one process", UINT32_MAX);
    first.push_back(static_cast<uint32_t>(neighbour.size()));
  }
}

void PairACErust::compute(int eflag, int vflag)
{
  ev_init(eflag, vflag);
  const bool anew = neighbor->ago == 0 || !graph;
  if (anew) collect();
  const double *x = atom->x ? atom->x[0] : nullptr;
  if (!same) {
    positions.resize(3 * n_atoms);
    for (size_t i = 0; i < n_atoms; i++) std::copy_n(x + 3 * atoms[i], 3, &positions[3 * i]);
    x = positions.data();
  }
  if (anew) new_graph(x);
  else check(acerust_graph_update(graph.get(), n_atoms, numbers.data(), x, nullptr, nullptr, nullptr));

  double energy = 0, v[9];
  energies.resize(n_centres);
  forces.resize(3 * n_atoms);
  acerust_input input = {};
  input.size = sizeof input;
  input.graph = graph.get();
  acerust_outputs outputs = {};
  outputs.size = sizeof outputs;
  outputs.energy = &energy;
  outputs.site_energies = energies.data();
  outputs.n_site_energies = n_centres;
  outputs.forces = forces.data();
  outputs.n_forces = 3 * n_atoms;
  outputs.virial = v;
  outputs.n_virial = 9;
  check(acerust_evaluate(plan.get(), &input, &outputs));

  // By LAMMPS' index.
  double *on = forces.data();
  if (!same) {
    spread.assign(3 * (atom->nlocal + atom->nghost), 0.0);
    for (size_t i = 0; i < n_atoms; i++)
      for (int d = 0; d < 3; d++) spread[3 * atoms[i] + d] = forces[3 * i + d];
    on = spread.data();
  }
  int n = atom->nlocal;
  if (force->newton) n += atom->nghost;
  else to_owners(on, 3);
  for (int i = 0; i < n; i++)
    for (int d = 0; d < 3; d++) atom->f[i][d] += on[3 * i + d];

  if (eflag_global) eng_vdwl += energy;
  if (eflag_atom)
    for (size_t c = 0; c < n_centres; c++) eatom[atom_of(c)] += energies[c];
  if (vflag_global) {
    const int of[6] = {0, 4, 8, 1, 2, 5};
    for (int k = 0; k < 6; k++) virial[k] += v[of[k]];
  }
  if (vflag_atom || cvflag_atom) atom_virials();
}

/* A graph of LAMMPS' list; until that is built anew its positions alone change. */
void PairACErust::new_graph(const double *x)
{
  std::vector<double> vectors(3 * neighbour.size());
  for (size_t c = 0, e = 0; c < n_centres; c++)
    for (; e < first[c + 1]; e++)
      for (int d = 0; d < 3; d++) vectors[3 * e + d] = x[3 * neighbour[e] + d] - x[3 * c + d];
  acerust_edges edges = {};
  edges.size = sizeof edges;
  edges.cutoff = rcut;
  edges.n_owned = edges.n_centres = n_centres;
  edges.n_atoms = n_atoms;
  edges.numbers = numbers.data();
  edges.first = first.data();
  edges.n_edges = neighbour.size();
  edges.neighbour = neighbour.data();
  edges.r = vectors.data();
  graph.reset();
  acerust_graph *made = nullptr;
  check(acerust_graph_from_edges(&edges, &made));
  graph.reset(made);
}

/* Virials of atoms: of an edge half to either atom; in the centroid form, W_j = Σ_i r_ij F_j, all to the neighbour, so that Σ_j W_j v_j
   is the heat that energies of centres carry. */
void PairACErust::atom_virials()
{
  const int place[9][2] = {{0, 0}, {1, 1}, {2, 2}, {0, 1}, {0, 2}, {1, 2}, {1, 0}, {2, 0}, {2, 1}};
  gradients.resize(3 * neighbour.size());
  acerust_input input = {};
  input.size = sizeof input;
  input.graph = graph.get();
  acerust_outputs outputs = {};
  outputs.size = sizeof outputs;
  outputs.edge_gradients = gradients.data();
  outputs.n_edge_gradients = gradients.size();
  check(acerust_evaluate(plan.get(), &input, &outputs));
  const size_t owned = atom->nlocal, all = owned + atom->nghost;
  if (!force->newton) {
    // LAMMPS has no use for ghosts then.
    if (vflag_atom) std::fill(vatom[0] + 6 * owned, vatom[0] + 6 * all, 0.0);
    if (cvflag_atom) std::fill(cvatom[0] + 9 * owned, cvatom[0] + 9 * all, 0.0);
  }
  for (size_t c = 0, e = 0; c < n_centres; c++) {
    const int i = atom_of(c);
    for (; e < first[c + 1]; e++) {
      const int j = atom_of(neighbour[e]);
      const double *g = &gradients[3 * e];
      double r[3];
      for (int d = 0; d < 3; d++) r[d] = atom->x[j][d] - atom->x[i][d];
      for (int k = 0; k < 9; k++) {
        const double w = -r[place[k][0]] * g[place[k][1]];
        if (vflag_atom && k < 6) {
          vatom[i][k] += 0.5 * w;
          vatom[j][k] += 0.5 * w;
        }
        if (cvflag_atom) cvatom[j][k] += w;
      }
    }
  }
  if (!force->newton) {
    if (vflag_atom) to_owners(vatom[0], 6);
    if (cvflag_atom) to_owners(cvatom[0], 9);
  }
}

/* Adds what ghosts have to what their owners have. */
void PairACErust::to_owners(double *numbers, int each)
{
  moving = numbers;
  columns = each;
  comm->reverse_comm(this, each);
}

int PairACErust::pack_reverse_comm(int n, int start, double *buffer)
{
  std::copy_n(moving + columns * start, columns * n, buffer);
  return columns * n;
}

void PairACErust::unpack_reverse_comm(int n, int *to, double *buffer)
{
  for (int i = 0; i < n; i++)
    for (int k = 0; k < columns; k++) moving[columns * to[i] + k] += buffer[columns * i + k];
}

void PairACErust::check(int32_t status)
{
  if (status == ACERUST_OK) return;
  // Atoms of a graph have no name that the user knows.
  double **x = atom->x;
  for (int i = 0; i < (x ? atom->nlocal : 0); i++)
    if (!std::isfinite(x[i][0] + x[i][1] + x[i][2]))
      error->one(FLERR, "pair_style acerust: the position of atom ID {} is not finite", atom->tag[i]);
  error->one(FLERR, "pair_style acerust: {}", last_error());
}

double PairACErust::memory_usage()
{
  return sizeof(double) * (positions.capacity() + energies.capacity() + forces.capacity() + gradients.capacity() + spread.capacity()) +
      4.0 * (first.capacity() + neighbour.capacity() + numbers.capacity() + atoms.capacity());
}

// What a plugin tells LAMMPS about a style of its own: lammpsplugin_t of LAMMPS' manual, which installations leave out.
struct Style {
  const char *version, *style, *name, *info, *author;
  void *creator, *handle;
};

}    // namespace

extern "C" void lammpsplugin_init(void *lmp, void *handle, void *to_register)
{
  auto *host = static_cast<LAMMPS *>(lmp);
  if (acerust_abi_version() != ACERUST_ABI_VERSION)
    host->error->all(FLERR, "acerustplugin.so was built for ABI {} of libacerust, not {}", ACERUST_ABI_VERSION, acerust_abi_version());
  const auto add = reinterpret_cast<void (*)(Style *, void *)>(to_register);
  const auto pair = +[](LAMMPS *lmp) -> Pair * { return new PairACErust(lmp); };
  static const std::string info = std::string("ACERust ") + acerust_version();
  Style style = {ACERUST_LAMMPS_VERSION, "pair", "acerust", info.c_str(), "the ACERust developers", reinterpret_cast<void *>(pair), handle};
  add(&style, lmp);
}
