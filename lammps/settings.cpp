// The commands `pair_style acerust` and `pair_coeff`.

#include "pair_acerust.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "memory.h"
#include "universe.h"

#include <algorithm>
#include <climits>
#include <fstream>
#include <sstream>

using namespace LAMMPS_NS;

/* pair_style acerust [device cpu|cuda[:n]] [precision f64|f32|f32-distances|f24-radial] [threads n] [radial exact|pace-table|tolerance] [committee file] [grade file]
   [head name] [charge q] [spin multiplicity] [ghosts exchange|wide] */
void PairACErust::settings(int narg, char **arg)
{
  device = ACERUST_CPU;
  index = 0;
  precision = ACERUST_F64;
  options = {};
  options.size = sizeof options;
  options.n_threads = 1;
  committee_file.clear();
  grade_file.clear();
  head.clear();
  has_charge = has_spin = false;
  std::string ghosts;
  for (int i = 0; i < narg; i += 2) {
    const std::string key = arg[i];
    if (i + 1 == narg) error->all(FLERR, "pair_style acerust: {} needs a value", key);
    const std::string value = arg[i + 1];
    if (key == "device") {
      device = device_of(value);
    } else if (key == "precision") {
      precision = precision_of(value);
    } else if (key == "threads") {
      const int n = utils::inumeric(FLERR, value, false, lmp);
      if (n < 0) error->all(FLERR, "pair_style acerust: {} threads", n);
      options.n_threads = n;
    } else if (key == "radial") {
      options.tolerance = 0;
      if (value == "exact") options.radial = ACERUST_RADIAL_EXACT;
      else if (value == "pace-table") options.radial = ACERUST_RADIAL_PACE_TABLE;
      else {
        options.radial = ACERUST_RADIAL_TABLE;
        options.tolerance = utils::numeric(FLERR, value, false, lmp);
      }
    } else if (key == "committee") {
      committee_file = value;
    } else if (key == "grade") {
      grade_file = value;
    } else if (key == "ghosts") {
      if (value != "exchange" && value != "wide")
        error->all(FLERR, "pair_style acerust: ghosts {} is none of exchange, wide", value);
      ghosts = value;
    } else if (key == "head") {
      head = value;
    } else if (key == "charge" || key == "spin") {
      const bool of_charge = key == "charge";
      (of_charge ? charge : spin) = utils::bnumeric(FLERR, value, false, lmp);
      (of_charge ? has_charge : has_spin) = true;
    } else {
      error->all(FLERR, "pair_style acerust: unknown keyword {}", key);
    }
  }
  // From a device features go by the host, which takes longer than to compute them again.
  wide = ghosts == "wide" || (ghosts.empty() && device == ACERUST_CUDA);
}

/* The number of a preset. */
int32_t PairACErust::precision_of(const std::string &name)
{
  static const std::pair<const char *, int32_t> known[] = {
      {"f64", ACERUST_F64}, {"f32", ACERUST_F32}, {"f32-distances", ACERUST_F32_DISTANCES},
      {"f24-radial", ACERUST_F24_RADIAL}, {"tf32", ACERUST_TF32}, {"f16-features", ACERUST_F16_FEATURES}, {"bf16-features", ACERUST_BF16_FEATURES}};
  std::string names;
  for (const auto &[key, number] : known) {
    if (name == key) return number;
    names += (names.empty() ? "" : ", ") + std::string(key);
  }
  error->all(FLERR, "pair_style acerust: precision {} is none of {}", name, names);
  return ACERUST_F64;
}

/* cpu, cuda or cuda:N; sets the index as well. */
int32_t PairACErust::device_of(const std::string &name)
{
  index = 0;
  if (name == "cpu") return ACERUST_CPU;
  if (name == "cuda") {
    // Round robin over the processes of a node, those of other partitions included.
    MPI_Comm node;
    MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, comm->me, MPI_INFO_NULL, &node);
    int rank, size;
    MPI_Comm_rank(node, &rank);
    MPI_Comm_size(node, &size);
    MPI_Comm_free(&node);
    size_t devices = 0;
    check(acerust_n_devices(ACERUST_CUDA, &devices));
    index = (rank + universe->iworld * size) % std::max(static_cast<int>(devices), 1);
  } else if (utils::strmatch(name, "^cuda:\\d+$")) {
    index = utils::inumeric(FLERR, name.substr(5), false, lmp);
  } else {
    error->all(FLERR, "pair_style acerust: device {} is none of cpu, cuda, cuda:N", name);
  }
  return ACERUST_CUDA;
}

/* The bytes of a file. One process reads, so that a file that is missing somewhere is missing nowhere or everywhere. */
std::string PairACErust::read(const char *command, const std::string &name)
{
  std::string text;
  int length = -1;
  if (comm->me == 0) {
    std::ifstream file(utils::get_potential_file_path(name), std::ios::binary);
    std::stringstream content;
    if (file && content << file.rdbuf()) {
      text = content.str();
      length = text.size() > INT_MAX ? -2 : static_cast<int>(text.size());
    }
  }
  MPI_Bcast(&length, 1, MPI_INT, 0, world);
  if (length == -1) error->all(FLERR, "{} of acerust: cannot read {}", command, name);
  if (length == -2) error->all(FLERR, "{} of acerust: {} is larger than 2 GB", command, name);
  text.resize(length);
  MPI_Bcast(text.data(), length, MPI_CHAR, 0, world);
  return text;
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

  const std::string text = read("pair_coeff", arg[2]);
  acerust_model *new_model = nullptr;
  check(acerust_model_from_json(text.data(), text.size(), &new_model));
  const std::unique_ptr<acerust_model, Free<acerust_model, acerust_model_free>> model(new_model);

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
  if (!head.empty() || has_charge || has_spin) {
    acerust_conditions conditions = {};
    conditions.size = sizeof conditions;
    conditions.head = head.empty() ? nullptr : head.c_str();
    conditions.total_charge = has_charge ? &charge : nullptr;
    conditions.total_spin = has_spin ? &spin : nullptr;
    acerust_plan *at = nullptr;
    check(acerust_plan_at(plan.get(), &conditions, &at));
    plan.reset(at);
  }
  check(acerust_plan_hops(plan.get(), &hops));
  check(acerust_plan_n_exchanged(plan.get(), &n_exchanged));
  if (n_exchanged > INT_MAX) error->all(FLERR, "pair_coeff of acerust: features of {} numbers", n_exchanged);
  if (n_exchanged && !wide && comm->nprocs > 1 && options.n_threads != 1) {
    // The threads of the library call the exchange, one at a time.
    int provided = MPI_THREAD_SINGLE;
    MPI_Query_thread(&provided);
    if (provided < MPI_THREAD_SERIALIZED)
      error->all(FLERR, "pair_coeff of acerust: {} has layers, and this MPI was not initialized for threads: use threads 1 or ghosts wide", arg[2]);
  }
  // Room for the messages.
  comm_forward = static_cast<int>(n_exchanged);
  comm_reverse = std::max(3, comm_forward);
  comm_reverse_off = std::max(9, comm_forward);
  check(acerust_plan_rcut(plan.get(), &rcut));
  const auto bytes = [](const std::string &file) { return reinterpret_cast<const uint8_t *>(file.data()); };
  n_members = 0;
  if (has_committee()) {
    const std::string file = read("committee", committee_file);
    check(acerust_plan_committee_from_file(plan.get(), bytes(file), file.size()));
    check(acerust_plan_n_members(plan.get(), &n_members));
  }
  if (has_grade()) {
    const std::string file = read("grade", grade_file);
    check(acerust_plan_active_set_from_file(plan.get(), bytes(file), file.size()));
  }
}
