#include "compute_acerust.h"

#include "pair_acerust.h"

#include "atom.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "update.h"

#include <algorithm>

using namespace LAMMPS_NS;

ComputeACErust::ComputeACErust(LAMMPS *lmp, int narg, char **arg, What what) : Compute(lmp, narg, arg), what(what)
{
  if (narg != 3) error->all(FLERR, "compute {}: takes no arguments", style);
  peratom_flag = 1;
  size_peratom_cols = what == GRADE ? 0 : 4;
}

ComputeACErust::~ComputeACErust()
{
  memory->destroy(vector_atom);
  memory->destroy(array_atom);
}

void ComputeACErust::init()
{
  pair = dynamic_cast<PairACErust *>(force->pair_match("acerust", 1));
  if (!pair) error->all(FLERR, "compute {}: needs one pair style acerust", style);
  if (what == GRADE && !pair->has_grade()) error->all(FLERR, "compute {}: needs pair_style acerust … grade FILE", style);
  if (what == COMMITTEE && !pair->has_committee()) error->all(FLERR, "compute {}: needs pair_style acerust … committee FILE", style);
}

void ComputeACErust::compute_peratom()
{
  invoked_peratom = update->ntimestep;
  if (atom->nmax > n_max) {
    n_max = atom->nmax;
    memory->destroy(vector_atom);
    memory->destroy(array_atom);
    if (what == GRADE) memory->create(vector_atom, n_max, "acerust/grade/atom");
    else memory->create(array_atom, n_max, 4, "acerust/committee/atom");
  }
  if (what == GRADE) pair->grades(vector_atom);
  else pair->spreads(array_atom);
  for (int i = 0; i < atom->nlocal; i++) {
    if (atom->mask[i] & groupbit) continue;
    if (what == GRADE) vector_atom[i] = 0;
    else std::fill_n(array_atom[i], 4, 0.0);
  }
}

double ComputeACErust::memory_usage()
{
  return static_cast<double>(n_max) * std::max(size_peratom_cols, 1) * sizeof(double);
}
