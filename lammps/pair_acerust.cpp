// The pair style `acerust`: potentials of ACERust in LAMMPS, through the C ABI and nothing else.
//
// Owned are the atoms of LAMMPS' full neighbour list. Energies belong to them alone; forces fall on owned and ghost
// atoms, and the ghosts' travel back to their owners: by LAMMPS with newton on, by this style with newton off. Potentials
// of several hops exchange features of ghosts between their layers, or have ghosts with neighbours of their own.

#include "pair_acerust.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "update.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

using namespace LAMMPS_NS;

PairACErust::PairACErust(LAMMPS *lmp) : Pair(lmp)
{
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  // The virial is the library's own, so that it is there with newton off as well.
  no_virial_fdotr_compute = 1;
  centroidstressflag = CENTROID_AVAIL;
  comm_reverse = 3;
  comm_reverse_off = 9;
}

PairACErust::~PairACErust()
{
  if (allocated) {
    memory->destroy(setflag);
    memory->destroy(cutsq);
  }
}

void PairACErust::init_style()
{
  if (strcmp(update->unit_style, "metal") != 0) error->all(FLERR, "pair_style acerust: its units are metal, not {}", update->unit_style);
  for (int i = 1; i <= 3; i++)
    if (atom->molecular != Atom::ATOMIC && (force->special_lj[i] != 1.0 || force->special_coul[i] != 1.0))
      error->all(FLERR, "pair_style acerust: bonded neighbours count in full, which takes special_bonds lj/coul 1 1 1");
  neighbor->add_request(this, is_wide() ? NeighConst::REQ_FULL | NeighConst::REQ_GHOST : NeighConst::REQ_FULL);
  if (is_wide()) comm->cutghostuser = std::max(comm->cutghostuser, hops * rcut + neighbor->skin);
  graph.reset();
}

/* Takes over LAMMPS' list: owned atoms first, then ghosts that have neighbours, then all others of our types. */
void PairACErust::collect()
{
  const int *type = atom->type;
  const int all = atom->nlocal + atom->nghost;
  same = list->inum == atom->nlocal && !is_wide();
  for (int k = 0; same && k < list->inum; k++) same = list->ilist[k] == k;
  for (int t = 1; t <= atom->ntypes; t++) same = same && number_of_type[t] != 0;

  atoms.clear();
  numbers.clear();
  std::vector<int> place;    // in the graph, by LAMMPS' index
  if (same) {
    n_owned = n_centres = atom->nlocal;
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
    n_owned = n_centres = atoms.size();
    for (size_t hop = 1, from = 0; is_wide() && hop < hops; hop++) {
      for (; from < n_centres; from++) {
        const int i = atoms[from];
        for (int k = 0; k < list->numneigh[i]; k++) add(list->firstneigh[i][k] & NEIGHMASK);
      }
      n_centres = atoms.size();
    }
    for (int i = 0; i < all; i++) add(i);
  }
  n_atoms = numbers.size();
  owned = atom->nlocal;

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
  step = update->ntimestep;

  double energy = 0, v[9];
  energies.resize(n_owned);
  forces.resize(3 * n_atoms);
  acerust_outputs outputs = {};
  outputs.size = sizeof outputs;
  outputs.energy = &energy;
  outputs.site_energies = energies.data();
  outputs.n_site_energies = n_owned;
  outputs.forces = forces.data();
  outputs.n_forces = 3 * n_atoms;
  outputs.virial = v;
  outputs.n_virial = 9;
  if (vflag_atom) {
    virials.resize(9 * n_atoms);
    outputs.site_virials = virials.data();
    outputs.n_site_virials = virials.size();
  }
  if (cvflag_atom) {
    gradients.resize(3 * neighbour.size());
    outputs.edge_gradients = gradients.data();
    outputs.n_edge_gradients = gradients.size();
  }
  evaluate(outputs);

  double *on = by_atom(forces.data());
  int n = atom->nlocal;
  if (force->newton) n += atom->nghost;
  else to_owners(on, 3);
  for (int i = 0; i < n; i++)
    for (int d = 0; d < 3; d++) atom->f[i][d] += on[3 * i + d];

  if (eflag_global) eng_vdwl += energy;
  if (eflag_atom)
    for (size_t c = 0; c < n_owned; c++) eatom[atom_of(c)] += energies[c];
  if (vflag_global) {
    const int of[6] = {0, 4, 8, 1, 2, 5};
    for (int k = 0; k < 6; k++) virial[k] += v[of[k]];
  }
  if (vflag_atom || cvflag_atom) atom_virials();
}

/* A graph of LAMMPS' list; until that is built anew its positions alone change. */
void PairACErust::new_graph(const double *x)
{
  acerust_edges edges = {};
  edges.size = sizeof edges;
  edges.cutoff = rcut;
  edges.n_owned = n_owned;
  edges.n_centres = n_centres;
  edges.n_atoms = n_atoms;
  edges.numbers = numbers.data();
  edges.first = first.data();
  edges.n_edges = neighbour.size();
  edges.neighbour = neighbour.data();
  edges.positions = x;
  edges.n_threads = options.n_threads;
  if (graph) return check(acerust_graph_replace_edges(graph.get(), &edges));
  acerust_graph *made = nullptr;
  check(acerust_graph_from_edges(&edges, &made));
  graph.reset(made);
}

acerust_input PairACErust::input()
{
  acerust_input input = {};
  input.size = sizeof input;
  input.graph = graph.get();
  if (n_exchanged && !wide) {
    input.forward = exchange<true>;
    input.backward = exchange<false>;
    input.context = this;
  }
  return input;
}

void PairACErust::evaluate(const acerust_outputs &outputs)
{
  const acerust_input in = input();
  const int32_t status = acerust_evaluate(plan.get(), &in, &outputs);
  if (failure) std::rethrow_exception(std::exchange(failure, nullptr));
  check(status);
}

/* Rows of the graph's atoms, between two layers of a network: ghosts get those of their owners, or owners what ghosts have. */
template <bool to_ghosts> int32_t PairACErust::exchange(void *context, size_t, size_t width, double *rows)
{
  auto *const pair = static_cast<PairACErust *>(context);
  try {
    double *on = pair->by_atom(rows, width);
    if (to_ghosts) {
      pair->moving = on;
      pair->columns = width;
      pair->comm->forward_comm(pair, width);
    } else {
      pair->to_owners(on, width);
    }
    for (size_t i = 0; !pair->same && i < pair->n_atoms; i++) std::copy_n(on + width * pair->atoms[i], width, rows + width * i);
    return 0;
  } catch (...) {
    // The library's frames know no exceptions.
    pair->failure = std::current_exception();
    return 1;
  }
}

/* Rows of the atoms of the graph, by LAMMPS' index. */
double *PairACErust::by_atom(double *rows, size_t width)
{
  if (same) return rows;
  spread.assign(width * (atom->nlocal + atom->nghost), 0.0);
  for (size_t i = 0; i < n_atoms; i++) std::copy_n(rows + width * i, width, &spread[width * atoms[i]]);
  return spread.data();
}

/* Virials of atoms: of an edge half to either atom; in the centroid form, W_j = Σ_i r_ij F_j, all to the neighbour, so that Σ_j W_j v_j
   is the heat that energies of centres carry. */
void PairACErust::atom_virials()
{
  const int place[9][2] = {{0, 0}, {1, 1}, {2, 2}, {0, 1}, {0, 2}, {1, 2}, {1, 0}, {2, 0}, {2, 1}};
  const size_t owned = atom->nlocal, all = owned + atom->nghost;
  if (!force->newton) {
    // LAMMPS has no use for ghosts then.
    if (vflag_atom) std::fill(vatom[0] + 6 * owned, vatom[0] + 6 * all, 0.0);
    if (cvflag_atom) std::fill(cvatom[0] + 9 * owned, cvatom[0] + 9 * all, 0.0);
  }
  // The library's matrices are −g ⊗ r, LAMMPS' r ⊗ F.
  for (size_t i = 0; vflag_atom && i < n_atoms; i++)
    for (int k = 0; k < 6; k++) vatom[atom_of(i)][k] += virials[9 * i + 3 * place[k][1] + place[k][0]];
  for (size_t c = 0, e = 0; cvflag_atom && c < n_centres; c++) {
    const double *at = atom->x[atom_of(c)];
    for (; e < first[c + 1]; e++) {
      const int j = atom_of(neighbour[e]);
      for (int k = 0; k < 9; k++)
        cvatom[j][k] -= (atom->x[j][place[k][0]] - at[place[k][0]]) * gradients[3 * e + place[k][1]];
    }
  }
  if (!force->newton) {
    if (vflag_atom) to_owners(vatom[0], 6);
    if (cvflag_atom) to_owners(cvatom[0], 9);
  }
}

void PairACErust::grades(double *out)
{
  must_have_evaluated("acerust/grade/atom");
  std::vector<double> grade(n_owned);
  acerust_outputs outputs = {};
  outputs.size = sizeof outputs;
  outputs.grade = grade.data();
  outputs.n_grade = n_owned;
  evaluate(outputs);
  std::fill_n(out, atom->nlocal, 0.0);
  for (size_t c = 0; c < n_owned; c++) out[atom_of(c)] = grade[c];
}

void PairACErust::spreads(double **out)
{
  must_have_evaluated("acerust/committee/atom");
  std::vector<double> site_energies(n_members * n_owned), on(n_members * 3 * n_atoms);
  acerust_outputs outputs = {};
  outputs.size = sizeof outputs;
  outputs.committee_site_energies = site_energies.data();
  outputs.n_committee_site_energies = site_energies.size();
  outputs.committee_forces = on.data();
  outputs.n_committee_forces = on.size();
  evaluate(outputs);
  // Members side by side, (n_members, n_owned, 4).
  const size_t owned = atom->nlocal;
  std::vector<double> values(n_members * owned * 4, 0.0);
  for (size_t m = 0; m < n_members; m++) {
    double *member = values.data() + m * owned * 4, *forces = by_atom(on.data() + m * 3 * n_atoms);
    to_owners(forces, 3);
    for (size_t c = 0; c < n_owned; c++) member[4 * atom_of(c)] = site_energies[m * n_owned + c];
    for (size_t i = 0; i < owned; i++) std::copy_n(forces + 3 * i, 3, member + 4 * i + 1);
  }
  for (size_t i = 0; i < 4 * owned; i++) {
    double mean = 0, square = 0;
    for (size_t m = 0; m < n_members; m++) mean += values[m * owned * 4 + i] / n_members;
    for (size_t m = 0; m < n_members; m++) square += std::pow(values[m * owned * 4 + i] - mean, 2) / n_members;
    out[i / 4][i % 4] = std::sqrt(square);
  }
}

/* Computes may be asked for before the first step, or after atoms have come or gone. */
void PairACErust::must_have_evaluated(const char *compute)
{
  const bool current = graph && step == update->ntimestep && owned == atom->nlocal;
  if (!current) error->one(FLERR, "compute {}: the forces of this step have not been computed", compute);
}

/* Adds what ghosts have to what their owners have. */
void PairACErust::to_owners(double *numbers, int each)
{
  moving = numbers;
  columns = each;
  comm->reverse_comm(this, each);
}

int PairACErust::pack_forward_comm(int n, int *from, double *buffer, int, int *)
{
  for (int i = 0; i < n; i++) std::copy_n(moving + columns * from[i], columns, buffer + columns * i);
  return columns * n;
}

void PairACErust::unpack_forward_comm(int n, int start, double *buffer)
{
  std::copy_n(buffer, columns * n, moving + columns * start);
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

std::string PairACErust::last_error()
{
  std::string message(acerust_last_error(nullptr, 0), '\0');
  acerust_last_error(message.data(), message.size());
  message.pop_back();
  return message;
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
  return sizeof(double) * (positions.capacity() + energies.capacity() + forces.capacity() + virials.capacity() +
                          gradients.capacity() + spread.capacity()) +
      4.0 * (first.capacity() + neighbour.capacity() + numbers.capacity() + atoms.capacity());
}
