// Computes of what the pair style `acerust` knows about its own uncertainty, at the steps that ask for it.

#ifndef ACERUST_COMPUTE_H
#define ACERUST_COMPUTE_H

#include "compute.h"

namespace LAMMPS_NS {

class PairACErust;

class ComputeACErust : public Compute {
 public:
  enum What { GRADE, COMMITTEE };

  // compute ID group acerust/grade/atom: a vector; acerust/committee/atom: an array of 4 columns.
  ComputeACErust(LAMMPS *, int, char **, What);
  ~ComputeACErust() override;
  void init() override;
  void compute_peratom() override;
  double memory_usage() override;

 private:
  const What what;
  PairACErust *pair = nullptr;
  int n_max = 0;
};

}    // namespace LAMMPS_NS

#endif
