// What LAMMPS calls when it loads the plugin.

#include "compute_acerust.h"
#include "pair_acerust.h"

#include "error.h"

using namespace LAMMPS_NS;

namespace {

// What a plugin tells LAMMPS about a style of its own: lammpsplugin_t of LAMMPS' manual, which installations leave out.
struct Style {
  const char *version, *style, *name, *info, *author;
  void *creator, *handle;
};

Compute *grade(LAMMPS *lmp, int narg, char **arg) { return new ComputeACErust(lmp, narg, arg, ComputeACErust::GRADE); }
Compute *committee(LAMMPS *lmp, int narg, char **arg) { return new ComputeACErust(lmp, narg, arg, ComputeACErust::COMMITTEE); }
Pair *pair(LAMMPS *lmp) { return new PairACErust(lmp); }

}    // namespace

extern "C" void lammpsplugin_init(void *lmp, void *handle, void *to_register)
{
  auto *host = static_cast<LAMMPS *>(lmp);
  if (acerust_abi_version() != ACERUST_ABI_VERSION)
    host->error->all(FLERR, "acerustplugin.so was built for ABI {} of libacerust, not {}", ACERUST_ABI_VERSION, acerust_abi_version());
  const auto add = reinterpret_cast<void (*)(Style *, void *)>(to_register);
  static const std::string info = std::string("ACERust ") + acerust_version();
  Style style = {ACERUST_LAMMPS_VERSION, "pair", "acerust", info.c_str(), "the ACERust developers", reinterpret_cast<void *>(pair), handle};
  add(&style, lmp);
  style.style = "compute";
  style.name = "acerust/grade/atom";
  style.creator = reinterpret_cast<void *>(grade);
  add(&style, lmp);
  style.name = "acerust/committee/atom";
  style.creator = reinterpret_cast<void *>(committee);
  add(&style, lmp);
}
