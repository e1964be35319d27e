/* The C interface of ACERust: site models of the atomic cluster expansion at hardware speed.
 *
 * Generated from src/capi: change it there, then run `ACERUST_BLESS=1 cargo test --test capi header`.
 *
 * Units are eV and Å; indices count from 0; matrices are row-major unless something else is said: positions of n atoms are
 * (n, 3), x y z of one atom after another.
 *
 * Every function returns a status: ACERUST_OK, or one of ACERUST_ERROR_…, and then acerust_last_error has a message that names the
 * culprit. Where a function fails, what its results hold is not specified, but handles that it was to make are left alone.
 *
 * Handles are made by functions whose last argument is `out` and freed by acerust_…_free. They are not addresses. A handle that was
 * freed, or never was one, is an error and does no harm. All functions may be called from several threads at once, on the same
 * handles too.
 *
 * Buffers belong to the caller; their lengths count entries, not bytes, and are checked. Buffers for results may not overlap each
 * other. Where a length is 0 the pointer may be null. */

#ifndef ACERUST_H
#define ACERUST_H

#include <stddef.h>
#include <stdint.h>

/**
 * The version of the binary interface. Functions and status codes are only ever added within a version;
 * what is removed or changed raises it.
 */
#define ACERUST_ABI_VERSION 2

/**
 * All went well.
 */
#define ACERUST_OK 0

/**
 * A file could not be read or written.
 */
#define ACERUST_ERROR_IO 1

/**
 * A model file is malformed or inconsistent.
 */
#define ACERUST_ERROR_MODEL 2

/**
 * A structure is malformed.
 */
#define ACERUST_ERROR_STRUCTURE 3

/**
 * A neighbour graph is inconsistent or cannot be built.
 */
#define ACERUST_ERROR_GRAPH 4

/**
 * An argument has the wrong shape or value: null, misaligned, of the wrong length, overlapping another, out of range.
 */
#define ACERUST_ERROR_ARGUMENT 5

/**
 * The device cannot do what was asked.
 */
#define ACERUST_ERROR_DEVICE 6

/**
 * A handle is null, was freed, or never was one of the kind that the function expects.
 */
#define ACERUST_ERROR_HANDLE 7

/**
 * A defect of the library: an internal check failed. Please report it with the message.
 */
#define ACERUST_ERROR_PANIC 8

/**
 * More memory than there is, or than `acerust_set_memory_limit` allows.
 */
#define ACERUST_ERROR_MEMORY 9

/**
 * A result is not a finite number; the message names the atom.
 */
#define ACERUST_ERROR_NOT_FINITE 10

/**
 * A callback of the caller's ended the work.
 */
#define ACERUST_ERROR_CANCELLED 11

/**
 * `Σ (l / wl)^p + (n / wn)^p` over the factors of a basis function.
 */
#define ACERUST_PRIOR_ALGEBRAIC 0

/**
 * `exp Σ (l / wl + n / wn)`
 */
#define ACERUST_PRIOR_EXPONENTIAL 1

/**
 * `exp Σ ((l / wl)² + (n / wn)²)`
 */
#define ACERUST_PRIOR_GAUSSIAN 2

/**
 * The processor.
 */
#define ACERUST_CPU 0

/**
 * A CUDA device.
 */
#define ACERUST_CUDA 1

/**
 * Double precision.
 */
#define ACERUST_F64 0

/**
 * Single precision, but for the transform of distances; positions are subtracted, and atoms summed, in double precision all the same.
 */
#define ACERUST_F32 1

/**
 * Single precision, the transform of distances included; on the processor the same as `ACERUST_F32`.
 */
#define ACERUST_F32_DISTANCES 2

/**
 * As `ACERUST_F32`, with radial tables in numbers of 24 bits; for MACE models on CUDA devices.
 */
#define ACERUST_F24_RADIAL 3

/**
 * The same with factors of linear maps in TF32; too inexact to be offered, which is an error that says so.
 */
#define ACERUST_TF32 4

/**
 * The same with features and messages in f16; not offered either.
 */
#define ACERUST_F16_FEATURES 5

/**
 * The same with features and messages in bf16; not offered either.
 */
#define ACERUST_BF16_FEATURES 6

/**
 * Radial functions in the way that the library prefers, at present as the model file has them.
 */
#define ACERUST_RADIAL_DEFAULT 0

/**
 * Radial functions as the model file has them.
 */
#define ACERUST_RADIAL_EXACT 1

/**
 * Radial functions from tables of the given tolerance.
 */
#define ACERUST_RADIAL_TABLE 2

/**
 * The tables that pacemaker and LAMMPS build of pacemaker's functions; other functions exactly.
 */
#define ACERUST_RADIAL_PACE_TABLE 3

/**
 * The best instruction set of the processor.
 */
#define ACERUST_ISA_BEST 0

/**
 * What every processor of this architecture has.
 */
#define ACERUST_ISA_PORTABLE 1

/**
 * AVX2 and FMA.
 */
#define ACERUST_ISA_AVX2 2

/**
 * AVX-512 (F, DQ, VL).
 */
#define ACERUST_ISA_AVX512 3

/**
 * NEON, of 64-bit Arm.
 */
#define ACERUST_ISA_NEON 4

/**
 * Entry (i, j) of a matrix at `i·ld + j`.
 */
#define ACERUST_ROW_MAJOR 0

/**
 * Entry (i, j) of a matrix at `i + j·ld`.
 */
#define ACERUST_COL_MAJOR 1

/**
 * Numbers of 16 bits with 5 of exponent; of trainings.
 */
#define ACERUST_F16 16

/**
 * Numbers of 16 bits with 8 of exponent; of trainings.
 */
#define ACERUST_BF16 17

/**
 * What a training says of a structure, with all that gradients take of the way to it.
 */
typedef struct acerust_evaluation acerust_evaluation;

/**
 * A fit under way: the model of a recipe, and the factors of the data that were given. One call at a time works with it; others are errors.
 */
typedef struct acerust_fit acerust_fit;

/**
 * Atoms and their neighbours. Several threads may evaluate on one graph at once; an update waits for them.
 */
typedef struct acerust_graph acerust_graph;

/**
 * A neighbour list on the device of the plan that made it, reused from call to call. One thread works with it at a time.
 */
typedef struct acerust_list acerust_list;

/**
 * A validated model: species and a stack of parts. It never changes.
 */
typedef struct acerust_model acerust_model;

/**
 * An equivariant operation, made from a descriptor for the processor or a CUDA device.
 */
typedef struct acerust_op acerust_op;

/**
 * A model made ready for a device. Several threads may evaluate on one plan at once; what changes a plan waits for them.
 */
typedef struct acerust_plan acerust_plan;

/**
 * A MACE model whose parameters change.
 */
typedef struct acerust_training acerust_training;

/**
 * What a plan may be told beyond device and precision. Set `size` to `sizeof(acerust_options)` and the rest to 0 for the
 * defaults; later versions of the library may add fields at the end, whose 0 will mean what this version does.
 */
typedef struct {
  /**
   * `sizeof(acerust_options)`.
   */
  size_t size;
  /**
   * 0: all threads of the machine, or as many as the environment variable RAYON_NUM_THREADS says.
   */
  size_t n_threads;
  /**
   * Of `ACERUST_RADIAL_TABLE`: the largest error of values and slopes, relative to the largest of the same function;
   * above 1e-15 and below 1.
   */
  double tolerance;
  /**
   * `ACERUST_RADIAL_…`.
   */
  int32_t radial;
  /**
   * `ACERUST_ISA_…`; for the processor.
   */
  int32_t instruction_set;
  /**
   * How many CUDA devices, from the index of the plan on, share each structure: space is cut into slabs, for large systems and models
   * of several layers. 0: one.
   */
  size_t n_devices;
} acerust_options;

/**
 * What is to be known of a structure beyond its atoms, for models that know such things. Set `size` to `sizeof(acerust_conditions)`
 * and the rest to null for the defaults; later versions of the library may add fields at the end.
 */
typedef struct {
  /**
   * `sizeof(acerust_conditions)`.
   */
  size_t size;
  /**
   * The head of a model that has several, UTF-8; null: the first one.
   */
  const char *head;
  /**
   * In elementary charges; null: 0.
   */
  const int64_t *total_charge;
  /**
   * As the model counts it, usually the multiplicity; null: 1.
   */
  const int64_t *total_spin;
} acerust_conditions;

/**
 * Exchanges features between processes: `rows` is (n_atoms, width), row-major, in the order of the atoms of the graph; forwards, those of
 * ghosts are NaN before. What is not 0 ends the evaluation with `ACERUST_ERROR_ARGUMENT`. It must neither throw nor evaluate with the
 * same plan; with several threads it may be called from one that is not the caller's.
 */
typedef int32_t (*acerust_exchange)(void *context, size_t layer, size_t width, double *rows);

/**
 * Atoms and how their neighbours are known. Set `size` to `sizeof(acerust_input)` and what is not needed to 0; later versions of the
 * library may add fields at the end, whose 0 will mean what this version does. One of three:
 *
 * - a `graph`, and nothing else;
 * - a structure, whose neighbours are found anew in every call: `n_atoms`, `numbers`, `positions`, `cell`, `pbc`;
 * - a structure and a `list`, which is kept from call to call; with `on_device` the positions, and the results `site_energies`
 *   and `forces`, are addresses in the memory of the plan's CUDA device.
 */
typedef struct {
  /**
   * `sizeof(acerust_input)`.
   */
  size_t size;
  /**
   * Atoms of a graph; null for a structure.
   */
  const acerust_graph *graph;
  /**
   * A list for the structure; null for none.
   */
  acerust_list *list;
  /**
   * May be 0.
   */
  size_t n_atoms;
  /**
   * (n_atoms) atomic numbers, 1 to 118, of elements that the model knows.
   */
  const int32_t *numbers;
  /**
   * (n_atoms, 3), row-major, Å; finite.
   */
  const double *positions;
  /**
   * (3, 3), cell vectors as rows, Å; null for no cell. Rows of directions without periodicity are ignored.
   */
  const double *cell;
  /**
   * (3), not 0 where the structure is periodic along the cell vector; null for no periodicity.
   */
  const int32_t *pbc;
  /**
   * The CUDA stream (`CUstream` or `cudaStream_t`) that writes the positions, which the work waits for; null is the default stream.
   */
  void *stream;
  /**
   * Not 0: `positions` are on the device. Energy and virial are still on the host, and there is a virial with forces alone.
   */
  int32_t on_device;
  /**
   * For graphs whose ghosts have no edges, and potentials of several hops: fills in the rows of ghosts, from those of the atoms that
   * they are images of. Called before each layer but the first, on every process of an engine that splits space, those without
   * atoms included. Null, as `backward` then: the graph has all edges that the hops take.
   */
  acerust_exchange forward;
  /**
   * Adds the rows of ghosts to those of the atoms that they are images of. Called as often, where an output is a derivative.
   */
  acerust_exchange backward;
  /**
   * What both are called with.
   */
  void *context;
} acerust_input;

/**
 * Where results go. Set `size` to `sizeof(acerust_outputs)`; a result whose pointer is null is not wanted. The number beside a
 * pointer must be that of the result. Results may not overlap one another, or what is read.
 */
typedef struct {
  /**
   * `sizeof(acerust_outputs)`.
   */
  size_t size;
  /**
   * (1), eV: the sum over the owned atoms, in their order.
   */
  double *energy;
  /**
   * (n_owned), eV. With a device input an address there.
   */
  double *site_energies;
  /**
   * Numbers in `site_energies`.
   */
  size_t n_site_energies;
  /**
   * (n_atoms, 3), row-major, eV/Å: −∂E/∂x. With a device input an address there.
   */
  double *forces;
  /**
   * Numbers in `forces`.
   */
  size_t n_forces;
  /**
   * (3, 3), V = −Σ g ⊗ r over edges, eV; stress = −V / volume.
   */
  double *virial;
  /**
   * Numbers in `virial`.
   */
  size_t n_virial;
  /**
   * (n_atoms, 3, 3), eV: half of −g ⊗ r of each edge for either of its atoms. Their sum is the virial.
   */
  double *site_virials;
  /**
   * Numbers in `site_virials`.
   */
  size_t n_site_virials;
  /**
   * (n_edges, 3), eV/Å: ∂E/∂r_ij in the order of the edges; 0 for edges beyond the cutoff. For graphs alone.
   */
  double *edge_gradients;
  /**
   * Numbers in `edge_gradients`.
   */
  size_t n_edge_gradients;
  /**
   * (n_members), eV.
   */
  double *committee_energies;
  /**
   * Numbers in `committee_energies`.
   */
  size_t n_committee_energies;
  /**
   * (n_members, n_owned), eV.
   */
  double *committee_site_energies;
  /**
   * Numbers in `committee_site_energies`.
   */
  size_t n_committee_site_energies;
  /**
   * (n_members, n_atoms, 3), eV/Å.
   */
  double *committee_forces;
  /**
   * Numbers in `committee_forces`.
   */
  size_t n_committee_forces;
  /**
   * (n_members, 3, 3), eV.
   */
  double *committee_virials;
  /**
   * Numbers in `committee_virials`.
   */
  size_t n_committee_virials;
  /**
   * (n_owned): how far each site is from what the potential was fitted to, at most 1 within; for plans with an active set.
   */
  double *grade;
  /**
   * Numbers in `grade`.
   */
  size_t n_grade;
  /**
   * (n_owned, n_basis), row-major: the site basis of linear potentials, the parts side by side.
   */
  double *descriptors;
  /**
   * Numbers in `descriptors`.
   */
  size_t n_descriptors;
} acerust_outputs;

/**
 * Where the design rows of a structure go: E = energy · θ, F = forces · θ, V = virial · θ for linear parameters θ, one-body
 * energies left out. A matrix whose pointer is null is not computed. Matrices may not overlap, not
 * even in each other's gaps.
 */
typedef struct {
  /**
   * `sizeof(acerust_rows)`.
   */
  size_t size;
  /**
   * (1, n_params), eV.
   */
  double *energy;
  /**
   * Numbers in `energy`, at least as many as order and leading dimension take.
   */
  size_t n_energy;
  /**
   * Leading dimension of `energy`; 0: without gaps.
   */
  size_t ld_energy;
  /**
   * (3·n_atoms, n_params), eV/Å; row 3·atom + axis.
   */
  double *forces;
  /**
   * Numbers in `forces`.
   */
  size_t n_forces;
  /**
   * Leading dimension of `forces`; 0: without gaps.
   */
  size_t ld_forces;
  /**
   * (n_virial_rows, n_params), eV.
   */
  double *virial;
  /**
   * Numbers in `virial`.
   */
  size_t n_virial;
  /**
   * Leading dimension of `virial`; 0: without gaps.
   */
  size_t ld_virial;
  /**
   * 9, row 3·a + b, or 6, in the order xx, yy, zz, yz, xz, xy.
   */
  int32_t n_virial_rows;
  /**
   * `ACERUST_ROW_MAJOR` or `ACERUST_COL_MAJOR`, of all three.
   */
  int32_t order;
} acerust_rows;

/**
 * A list of the caller, as of a simulation engine. Set `size` to `sizeof(acerust_edges)` and what is not needed to 0.
 *
 * Atoms 0 … n_owned − 1 have energies; those up to n_centres − 1 have rows of edges, too; all from there on are ghosts, which only exert
 * and feel forces. Every centre has all its directed edges within the cutoff; longer ones are passed over.
 */
typedef struct {
  /**
   * `sizeof(acerust_edges)`.
   */
  size_t size;
  /**
   * Å; at least that of the plans that will be evaluated.
   */
  double cutoff;
  /**
   * At most n_centres.
   */
  size_t n_owned;
  /**
   * At most n_atoms.
   */
  size_t n_centres;
  /**
   * Owned atoms, other centres and ghosts.
   */
  size_t n_atoms;
  /**
   * (n_atoms) atomic numbers.
   */
  const int32_t *numbers;
  /**
   * (n_centres + 1) offsets: the edges of centre i are first[i] … first[i + 1] − 1.
   */
  const uint32_t *first;
  /**
   * first[n_centres].
   */
  size_t n_edges;
  /**
   * (n_edges) indices below n_atoms.
   */
  const uint32_t *neighbour;
  /**
   * (n_edges, 3), vectors from centre to neighbour, Å; null where `positions` say as much.
   */
  const double *r;
  /**
   * (n_atoms, 3), Å; null where there are vectors.
   */
  const double *positions;
  /**
   * For new lists and updates, of the list that a graph is made from: 0 for all threads of the machine, or as many as the environment
   * variable RAYON_NUM_THREADS says.
   */
  size_t n_threads;
} acerust_edges;

/**
 * A named argument or result. `data` has `length` numbers of the operation's `storage`, row-major, in the memory of the device that the operation
 * is for; indices are `uint32_t`, and always in the memory of the host.
 */
typedef struct {
  const char *name;
  void *data;
  size_t length;
} acerust_array;

/**
 * Derivatives of a loss by results; null: zero. Set `size` to `sizeof(acerust_cotangent)`; later versions of the library may add
 * fields at the end, whose 0 will mean what this version does.
 */
typedef struct {
  /**
   * `sizeof(acerust_cotangent)`.
   */
  size_t size;
  /**
   * By the energy, 1/eV.
   */
  double energy;
  /**
   * By the energy of each atom besides, (n_atoms), 1/eV.
   */
  const double *site_energies;
  /**
   * (n_atoms, 3), Å/eV.
   */
  const double *forces;
  /**
   * (3, 3), 1/eV.
   */
  const double *virial;
} acerust_cotangent;

/**
 * Called with the number of frames that were read so far in this call. What is not 0 ends it with `ACERUST_ERROR_CANCELLED`; what was taken
 * until then stays. It must not throw, and calls with the same fit are errors meanwhile; with several
 * threads it may be called from one that is not the caller's.
 */
typedef int32_t (*acerust_progress)(void *context, uint64_t n_frames);

/**
 * How files are read. Set `size` to `sizeof(acerust_share)` and the rest to 0 to read all of them; later versions of the library may add
 * fields at the end, whose 0 will mean what this version does.
 */
typedef struct {
  /**
   * `sizeof(acerust_share)`.
   */
  size_t size;
  /**
   * Every `of`-th frame alone, from the `number`-th on, which counts from 1; both 0: all frames.
   */
  uint64_t number;
  uint64_t of;
  /**
   * A file in which factors are kept after each `every` frames, and from which a call goes on where the file is there; null for none.
   * It is of the frames of this call alone.
   */
  const char *checkpoint;
  uint64_t every;
  /**
   * Told of every frame; null: nobody.
   */
  acerust_progress progress;
  /**
   * What it is called with.
   */
  void *context;
} acerust_share;

/**
 * Data of a structure; null: there is none of it. Set `size` to `sizeof(acerust_observation)`; later versions of the library may add fields
 * at the end, whose 0 will mean what this version does.
 */
typedef struct {
  /**
   * `sizeof(acerust_observation)`.
   */
  size_t size;
  /**
   * eV.
   */
  const double *energy;
  /**
   * (n_atoms, 3), eV/Å.
   */
  const double *forces;
  /**
   * (3, 3), eV.
   */
  const double *virial;
  /**
   * A name, ending in NUL; null: `default`.
   */
  const char *group;
  /**
   * A factor on all weights; null: 1.
   */
  const double *weight;
} acerust_observation;

/**
 * How a fit is solved and looked at. Set `size` to `sizeof(acerust_solve)` and the rest to 0 for the settings of the recipe and a report of
 * the rows; later versions of the library may add fields at the end, whose 0 will mean what this version does.
 */
typedef struct {
  /**
   * `sizeof(acerust_solve)`.
   */
  size_t size;
  /**
   * Settings in place of those of the recipe: the text of a section `fit` in TOML or JSON, ending in NUL; null for the recipe's.
   */
  const char *settings;
  /**
   * Not 0: the report has the errors of each group under a fit to all others.
   */
  int32_t leave_one_out;
  /**
   * (n_training), (n_test) files whose frames the model is evaluated on for the report.
   */
  const char *const *training;
  size_t n_training;
  const char *const *test;
  size_t n_test;
  /**
   * Told of every frame that is evaluated; null: nobody.
   */
  acerust_progress progress;
  /**
   * What it is called with.
   */
  void *context;
} acerust_solve;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The ABI version of the library, to be compared with `ACERUST_ABI_VERSION` of the header.
 */
uint32_t acerust_abi_version(void);

/**
 * The version of the library, as `0.1.0`; a string that lives as long as the library.
 */
const char *acerust_version(void);

/**
 * Sets the most bytes that one call may take beyond what its caller provides, as estimated before it takes them; for the process.
 *
 * @param bytes 0: half of the memory that is free at the time of the call.
 * @return `ACERUST_OK`.
 */
int32_t acerust_set_memory_limit(uint64_t bytes);

/**
 * Asks whether a call may take so much memory: for callers that make large arrays of what the library gives them.
 *
 * @param bytes What would be taken.
 * @param what What it is for, ending in NUL; the message begins with it.
 * @return `ACERUST_ERROR_MEMORY` where it is more than the limit of `acerust_set_memory_limit`.
 */
int32_t acerust_check_memory(double bytes, const char *what);

/**
 * Copies the message of this thread's last failure, UTF-8, into `buffer`, of `length` bytes; it is cut where it does not fit and
 * always ends in a NUL byte. Returns the bytes that the whole message needs with its NUL; 1 where nothing has failed yet.
 * `buffer` may be null for that number alone.
 */
size_t acerust_last_error(char *buffer, size_t length);

/**
 * The atomic number of a chemical symbol.
 *
 * @param symbol Spelt as usual, `Si`, ending in NUL.
 * @param out 1 to 118.
 * @return `ACERUST_ERROR_ARGUMENT` for a symbol that no element has.
 */
int32_t acerust_atomic_number(const char *symbol, int32_t *out);

/**
 * Reads a model file, or a potential of pacemaker (`.yace`, `.yaml`).
 *
 * @param path Name of the file, ending in NUL.
 * @param out The model; to be freed with `acerust_model_free`.
 * @return `ACERUST_ERROR_IO` for a file that cannot be read, `ACERUST_ERROR_MODEL` for one that is no valid model.
 */
int32_t acerust_model_load(const char *path, acerust_model **out);

/**
 * Reads what a model file holds, text or not, or a potential of pacemaker (`.yace`, `.yaml`), or a checkpoint of MACE; which of them, the
 * bytes say.
 *
 * @param json `length` bytes, which need not end in NUL.
 * @param out The model; to be freed with `acerust_model_free`.
 * @return `ACERUST_ERROR_MODEL` for a text that is no valid model.
 */
int32_t acerust_model_from_json(const char *json,
                                size_t length,
                                acerust_model **out);

/**
 * Reads the model in the text of a reference file (format `acerust-reference/1`).
 *
 * @param json `length` bytes, which need not end in NUL.
 * @param out The model; to be freed with `acerust_model_free`.
 * @return `ACERUST_ERROR_MODEL` for a text that is no reference file, or whose model is not valid.
 */
int32_t acerust_model_from_reference_json(const char *json, size_t length, acerust_model **out);

/**
 * Builds the model of a recipe (`docs/fit.md`), TOML or JSON; its linear parameters are zero.
 *
 * @param recipe `length` bytes, which need not end in NUL; a section `fit` is of no account.
 * @param out The model; to be freed with `acerust_model_free`.
 * @return `ACERUST_ERROR_ARGUMENT` for a text that is no recipe, or a basis that cannot be built.
 */
int32_t acerust_model_build(const char *recipe, size_t length, acerust_model **out);

/**
 * The model made of some parts of another.
 *
 * @param parts (n_parts) indices below `acerust_model_n_parts`, each at most once.
 * @param out The new model; to be freed with `acerust_model_free`.
 * @return `ACERUST_ERROR_ARGUMENT` for an index out of range or repeated.
 */
int32_t acerust_model_extract(const acerust_model *model, const size_t *parts, size_t n_parts, acerust_model **out);

/**
 * Frees a model. Plans made from it live on. Null is ignored.
 *
 * @return `ACERUST_ERROR_HANDLE` for a handle that was freed before.
 */
int32_t acerust_model_free(acerust_model *model);

/**
 * The text of the model file. Call it with a null buffer first to learn its size.
 *
 * @param buffer `length` bytes for the text and a NUL, or null.
 * @param needed Bytes that text and NUL need, or null.
 * @return `ACERUST_ERROR_ARGUMENT` for a buffer that is too short; it is left alone then.
 */
int32_t acerust_model_to_json(const acerust_model *model, char *buffer, size_t length, size_t *needed);

/**
 * Writes the model file. A file of that name is replaced as a whole or not at all.
 *
 * @param path Name of the file, ending in NUL.
 * @return `ACERUST_ERROR_IO` where it cannot be written.
 */
int32_t acerust_model_save(const acerust_model *model, const char *path);

/**
 * Species, cutoff, sizes of the parts and memory, in lines for people. Buffer and errors as for `acerust_model_to_json`.
 */
int32_t acerust_model_summary(const acerust_model *model, char *buffer, size_t length, size_t *needed);

/**
 * The name in the model file. Buffer and errors as for `acerust_model_to_json`.
 */
int32_t acerust_model_name(const acerust_model *model, char *buffer, size_t length, size_t *needed);

/**
 * The number of species.
 */
int32_t acerust_model_n_species(const acerust_model *model, size_t *out);

/**
 * Atomic numbers of the species, in the order of the blocks of linear parameters.
 *
 * @param species (n_species); `length` must be n_species.
 */
int32_t acerust_model_species(const acerust_model *model, int32_t *species, size_t length);

/**
 * The largest cutoff of the parts, Å; 0 where no part has neighbours.
 */
int32_t acerust_model_rcut(const acerust_model *model, double *out);

/**
 * The number of linear parameters, n_params = n_species · n_basis.
 */
int32_t acerust_model_length_basis(const acerust_model *model, size_t *out);

/**
 * Basis functions of a site, all parts together: the columns of the site basis.
 */
int32_t acerust_model_n_basis(const acerust_model *model, size_t *out);

/**
 * The number of parts.
 */
int32_t acerust_model_n_parts(const acerust_model *model, size_t *out);

/**
 * The kind of a part: `onebody`, `pair` or `ace`. Buffer and errors as for `acerust_model_to_json`.
 *
 * @param part Index of the part, below `acerust_model_n_parts`.
 */
int32_t acerust_model_part_kind(const acerust_model *model, size_t part, char *buffer, size_t length, size_t *needed);

/**
 * Basis functions of a site that belong to a part; the parts follow one another in the columns of the site basis.
 *
 * @param part Index of the part, below `acerust_model_n_parts`.
 */
int32_t acerust_model_part_n_basis(const acerust_model *model, size_t part, size_t *out);

/**
 * The readout weights, the model's linear parameters, eV: species-major within a part, the parts one after another.
 *
 * @param parameters (n_params); `length` must be n_params.
 */
int32_t acerust_model_linear_parameters(const acerust_model *model, double *parameters, size_t length);

/**
 * The factors of every basis function that has linear parameters, in the order of the columns of the site basis. A result whose pointer is
 * null is not wanted.
 *
 * @param first (n_basis + 1) offsets: the factors of function b are first[b] … first[b + 1] − 1.
 * @param factors (first[n_basis], 2), row-major: n from 1 and l of the radial functions. A pair function has one factor, n and 0.
 * @return `ACERUST_ERROR_ARGUMENT` for a wrong length; each must be the number of entries as given here.
 */
int32_t acerust_model_basis_labels(const acerust_model *model,
                                   size_t *first,
                                   size_t n_first,
                                   uint32_t *factors,
                                   size_t n_factors);

/**
 * The logarithm of the diagonal `Γ` of a smoothness prior: `Γ θ` is what a regularised fit keeps small.
 *
 * @param kind `ACERUST_PRIOR_…`.
 * @param p The power of the algebraic prior; others pass over it.
 * @param wl,wn Above 0.
 * @param diagonal (n_params); `length` must be n_params.
 * @return `ACERUST_ERROR_ARGUMENT` for another kind, for weights or a power that are not above 0, and for a wrong length.
 */
int32_t acerust_model_log_prior(const acerust_model *model,
                                int32_t kind,
                                double p,
                                double wl,
                                double wn,
                                double *diagonal,
                                size_t length);

/**
 * The model with natural cubic splines in place of radial polynomials; splines stay as they are.
 *
 * @param nodes Of each spline, 2 to 10 000.
 * @param out The new model; to be freed with `acerust_model_free`.
 * @return `ACERUST_ERROR_ARGUMENT` for another number of nodes, for too many of them, and for functions that are no polynomials.
 */
int32_t acerust_model_splinify(const acerust_model *model, size_t nodes, acerust_model **out);

/**
 * How many devices of a kind there are; of CUDA devices 0 without a driver that works.
 *
 * @param device `ACERUST_CPU` or `ACERUST_CUDA`.
 * @return `ACERUST_ERROR_ARGUMENT` for another kind.
 */
int32_t acerust_n_devices(int32_t device, size_t *out);

/**
 * Makes a model ready for a device: checks it once, builds tables and folded coefficients.
 *
 * @param device `ACERUST_CPU` or `ACERUST_CUDA`.
 * @param index Of the CUDA device; 0 for the processor.
 * @param precision `ACERUST_F64`, `ACERUST_F32` or another of these.
 * @param options Null for the defaults.
 * @param out The plan; to be freed with `acerust_plan_free`. It does not need the model any more.
 * @return `ACERUST_ERROR_DEVICE` for a device or instruction set that is missing, `ACERUST_ERROR_ARGUMENT` for a value that is
 * none of the above.
 */
int32_t acerust_plan_new(const acerust_model *model,
                         int32_t device,
                         int32_t index,
                         int32_t precision,
                         const acerust_options *options,
                         acerust_plan **out);

/**
 * A plan for the same model on the same device under other conditions. Weights, tables and threads are shared: cheap enough for each
 * call.
 *
 * @param out The plan; to be freed with `acerust_plan_free`. It does not need the other one any more.
 * @return `ACERUST_ERROR_ARGUMENT` for a head that the model does not have, or a model that knows nothing of the kind. A charge or
 * spin beyond what the model knows is an error of the evaluation; one that a MACE model does not embed changes nothing.
 */
int32_t acerust_plan_at(const acerust_plan *plan,
                        const acerust_conditions *conditions,
                        acerust_plan **out);

/**
 * Frees a plan, as soon as no other thread works with it. Null is ignored.
 *
 * @return `ACERUST_ERROR_HANDLE` for a handle that was freed before.
 */
int32_t acerust_plan_free(acerust_plan *plan);

/**
 * Sets the number of threads for the calls that follow. Results do not depend on it.
 *
 * @param n_threads 0: all threads of the machine, or as many as the environment variable RAYON_NUM_THREADS says. Handles
 * of the same number share their threads. With 1 an evaluation runs on the thread that calls.
 */
int32_t acerust_plan_set_threads(acerust_plan *plan, size_t n_threads);

/**
 * The model of a plan, with the plan's current linear parameters: to be saved, or read out.
 *
 * @param out The model; to be freed with `acerust_model_free`.
 */
int32_t acerust_plan_model(const acerust_plan *plan, acerust_model **out);

/**
 * The cutoff that graphs for this plan need, Å; 0 where no part has neighbours.
 */
int32_t acerust_plan_rcut(const acerust_plan *plan, double *out);

/**
 * How many edges away atoms are that an energy depends on: 1 for site models, one for each layer of messages. Graphs need the edges of
 * all atoms within that of an owned one, or an exchange.
 */
int32_t acerust_plan_hops(const acerust_plan *plan,
                          size_t *out);

/**
 * The largest `width` that functions of `acerust_exchange` are called with; 0 where there is nothing to exchange.
 */
int32_t acerust_plan_n_exchanged(const acerust_plan *plan, size_t *out);

/**
 * The number of linear parameters, n_params.
 */
int32_t acerust_plan_length_basis(const acerust_plan *plan, size_t *out);

/**
 * Basis functions of a site, n_basis.
 */
int32_t acerust_plan_n_basis(const acerust_plan *plan, size_t *out);

/**
 * The number of committee members, n_members.
 */
int32_t acerust_plan_n_members(const acerust_plan *plan, size_t *out);

/**
 * The linear parameters, eV, in the order of `acerust_model_linear_parameters`.
 *
 * @param parameters (n_params); `length` must be n_params.
 */
int32_t acerust_plan_linear_parameters(const acerust_plan *plan, double *parameters, size_t length);

/**
 * Replaces the linear parameters. Waits until no thread evaluates with the old ones.
 *
 * @param parameters (n_params), eV, finite; `length` must be n_params.
 * @return `ACERUST_ERROR_ARGUMENT` for a wrong length or a parameter that is not finite; nothing is changed then.
 */
int32_t acerust_plan_set_linear_parameters(acerust_plan *plan, const double *parameters, size_t length);

/**
 * Sets the committee: further sets of linear parameters, evaluated together. Waits until no thread evaluates.
 *
 * @param parameters (n_members, n_params), row-major, eV, finite; `length` must be n_members · n_params.
 * @param n_members 0 removes the committee.
 * @return `ACERUST_ERROR_ARGUMENT` for a wrong length or a parameter that is not finite; nothing is changed then.
 */
int32_t acerust_plan_set_committee(acerust_plan *plan, const double *parameters, size_t length, size_t n_members);

/**
 * As `acerust_plan_set_committee` with the matrix in a file of `acerust fit --committee`.
 *
 * @param file The bytes of the file, `length` of them.
 * @return `ACERUST_ERROR_ARGUMENT` for anything else; nothing is changed then.
 */
int32_t acerust_plan_committee_from_file(acerust_plan *plan, const uint8_t *file, size_t length);

/**
 * Sets what the `grade` of `acerust_outputs` is relative to: an active set, as `acerust fit --active-set` writes it, or an `.asi` of
 * pacemaker. Waits until no thread evaluates.
 *
 * @param file The bytes of the file, `length` of them; none remove the active set.
 * @return `ACERUST_ERROR_ARGUMENT` for anything else, or the active set of another model; nothing is changed then.
 */
int32_t acerust_plan_active_set_from_file(acerust_plan *plan,
                                          const uint8_t *file,
                                          size_t length);

/**
 * Evaluates a potential: whatever `outputs` has pointers for.
 *
 * @param plan The plan to evaluate.
 * @param input Atoms and their neighbours.
 * @param outputs Where results go.
 * @return `ACERUST_ERROR_STRUCTURE` or `ACERUST_ERROR_GRAPH` for a structure that makes no sense: numbers, positions, a singular
 * periodic cell, two atoms in one place; `ACERUST_ERROR_GRAPH` for a graph or list whose cutoff is less than the potential's.
 * `ACERUST_ERROR_ARGUMENT` for an element that the model does not know, a wrong length, an overlap, or a result that
 * there is not. `ACERUST_ERROR_NOT_FINITE` for results that are none, `ACERUST_ERROR_MEMORY`. The message names the atom, counted from 0.
 */
int32_t acerust_evaluate(const acerust_plan *plan,
                         const acerust_input *input,
                         const acerust_outputs *outputs);

/**
 * The site basis of a graph and its derivatives ∂B_b/∂r_ij. A result whose pointer is null is not wanted. Errors as for
 * `acerust_evaluate`.
 *
 * @param basis (n_owned, n_basis), row-major.
 * @param jacobian (n_edges, n_basis, 3), row-major, 1/Å.
 */
int32_t acerust_site_basis_jacobian(const acerust_plan *plan,
                                    const acerust_input *input,
                                    double *basis,
                                    size_t n_basis,
                                    double *jacobian,
                                    size_t n_jacobian);

/**
 * The design rows of a structure or a graph. Errors as for `acerust_evaluate`.
 *
 * @param rows Where they go. `ACERUST_ERROR_ARGUMENT` for a matrix that does not fit, or overlaps another.
 */
int32_t acerust_assemble(const acerust_plan *plan, const acerust_input *input, const acerust_rows *rows);

/**
 * Evaluates many structures, each for its own outputs: on processors threads take structures, with the results of `acerust_evaluate` to
 * the last bit; a CUDA device has many of them in one sequence of launches.
 *
 * @param plan The plan to evaluate.
 * @param n How many structures; 0 is fine.
 * @param inputs `n` structs of one size: structures, neither graphs nor lists, on the host.
 * @param conditions Null, or `n` structs of one size: head, charge and spin of each; nothing said: those of the plan.
 * @param outputs `n` structs of one size. No result may overlap another, or what is read, of any structure.
 * @return As `acerust_evaluate`; the message begins with the number of the structure, `structure 3: …`, counted from 0. Results of other
 * structures may have been written then.
 */
int32_t acerust_evaluate_batch(const acerust_plan *plan,
                               size_t n,
                               const acerust_input *inputs,
                               const acerust_conditions *conditions,
                               const acerust_outputs *outputs);

/**
 * The neighbour graph of a structure: all directed edges i → j with 0 < r ≤ rcut, those to periodic images included, and, with
 * a skin, some that are longer; evaluations pass over these.
 *
 * @param n_atoms,numbers,positions,cell,pbc As for `acerust_input`.
 * @param rcut Å, at least that of the plans that will be evaluated; 0 for models without neighbours.
 * @param skin Å. Updates keep the edges while no atom has moved by more than half the skin. 0 for graphs that will not be
 * updated.
 * @param n_threads For building: 0 for all threads of the machine, or as many as the environment variable RAYON_NUM_THREADS says.
 * @param out The graph; to be freed with `acerust_graph_free`.
 * @return `ACERUST_ERROR_STRUCTURE` or `ACERUST_ERROR_GRAPH` for a structure, cutoff or skin that makes no sense.
 */
int32_t acerust_graph_build(size_t n_atoms,
                            const int32_t *numbers,
                            const double *positions,
                            const double *cell,
                            const int32_t *pbc,
                            double rcut,
                            double skin,
                            size_t n_threads,
                            acerust_graph **out);

/**
 * Takes over new positions, or another structure altogether. Builds anew only where an atom has moved by more than half the skin,
 * or atoms, cell or periodicity have changed; else it allocates nothing. Waits until no thread evaluates on the graph.
 *
 * @param n_atoms,numbers,positions,cell,pbc As for `acerust_input`.
 * @param rebuilt 1 where the edges are others than before, 0 where they are the same; may be null.
 * @return As `acerust_graph_build`; the graph can then not be evaluated until an update succeeds. A graph made from edges keeps them, and
 * its vectors follow the positions, which must be as many as before.
 */
int32_t acerust_graph_update(acerust_graph *graph,
                             size_t n_atoms,
                             const int32_t *numbers,
                             const double *positions,
                             const double *cell,
                             const int32_t *pbc,
                             int32_t *rebuilt);

/**
 * A graph from a list of the caller, which is copied. `acerust_graph_update` moves its atoms, `acerust_graph_replace_edges` changes the list.
 *
 * @param edges The list.
 * @param out The graph; to be freed with `acerust_graph_free`.
 * @return `ACERUST_ERROR_GRAPH` for offsets, indices or vectors that make no sense; the message names the centre or the edge.
 */
int32_t acerust_graph_from_edges(const acerust_edges *edges,
                                 acerust_graph **out);

/**
 * Replaces the list of a graph that was made from edges, in its memory. Waits until no thread evaluates on the graph.
 *
 * @return As `acerust_graph_from_edges`; the graph can then not be evaluated until a list succeeds. `ACERUST_ERROR_GRAPH` for a graph
 * made from a structure.
 */
int32_t acerust_graph_replace_edges(acerust_graph *graph,
                                    const acerust_edges *edges);

/**
 * Frees a graph, as soon as no other thread works with it. Null is ignored.
 *
 * @return `ACERUST_ERROR_HANDLE` for a handle that was freed before.
 */
int32_t acerust_graph_free(acerust_graph *graph);

/**
 * The number of centres, n_centres: all atoms, but for graphs from edges with ghosts.
 */
int32_t acerust_graph_n_centres(const acerust_graph *graph, size_t *out);

/**
 * The number of atoms, n_atoms: centres and ghosts.
 */
int32_t acerust_graph_n_atoms(const acerust_graph *graph, size_t *out);

/**
 * The number of directed edges, n_edges.
 */
int32_t acerust_graph_n_edges(const acerust_graph *graph, size_t *out);

/**
 * Copies the edges out, sorted by centre. A result whose pointer is null is not wanted.
 *
 * @param first (n_centres + 1) offsets: the edges of centre i are first[i] … first[i + 1] − 1.
 * @param neighbour (n_edges) indices below n_atoms.
 * @param shift (n_edges, 3), in cell vectors: r = x_j + shift · cell − x_i. Graphs from edges have none.
 * @param r (n_edges, 3), Å.
 * @return `ACERUST_ERROR_ARGUMENT` for a wrong length; each must be the number of entries as given here.
 */
int32_t acerust_graph_edges(const acerust_graph *graph,
                            uint32_t *first,
                            size_t n_first,
                            uint32_t *neighbour,
                            size_t n_neighbour,
                            int32_t *shift,
                            size_t n_shift,
                            double *r,
                            size_t n_r);

/**
 * An empty neighbour list on the device of a plan. Calls build it, and keep it while no atom has moved by more than half the skin and
 * atoms, cell and periodicity are the same.
 *
 * @param plan The plan that will be evaluated; another one of the same model, device and cutoff is as good.
 * @param skin Å; 0 for structures that have nothing in common.
 * @param out The list; to be freed with `acerust_list_free`. It does not need the plan any more.
 */
int32_t acerust_list_new(const acerust_plan *plan,
                         double skin,
                         acerust_list **out);

/**
 * Frees a list, as soon as no other thread works with it. Null is ignored.
 *
 * @return `ACERUST_ERROR_HANDLE` for a handle that was freed before.
 */
int32_t acerust_list_free(acerust_list *list);

/**
 * How often the list was built rather than reused.
 */
int32_t acerust_list_builds(const acerust_list *list, size_t *out);

/**
 * An operation from its descriptor, such as `{"operation": {"linear": {"irreps_in": "128x0e", "irreps_out": "64x0e"}}, "storage": "f32"}`.
 *
 * `operation` is one of `harmonics` (lmax, normalization: component or orthonormal), `linear` (irreps_in, irreps_out, bias, species),
 * `channelwise` (irreps_in1, irreps_in2, targets, shared_weights, convolution), `fully_connected` (irreps_in1, irreps_in2, irreps_out,
 * shared_weights, convolution), `contraction` (irreps_in, irreps_out, correlation, species, basis, projection), `radial` (r_max, basis,
 * cutoff, transform), `mlp` (widths, activation, constant, layer_norm) and `gate` (scalars, gated, activation, constant,
 * gate_activation, gate_constant). `layout` and `layout_out` are ir_mul (as kernels have it) or mul_ir, `storage` is f64, f32, f16
 * or bf16, `convention` is O3_e3nn or O3, `arithmetic` is full, or, for `linear` and `mlp` on CUDA devices, tf32 or bf16, on tensor cores.
 *
 * @param json The descriptor, UTF-8.
 * @param device `ACERUST_CPU` or `ACERUST_CUDA`.
 * @param index Of the CUDA device; 0 for the processor.
 * @param out The operation; to be freed with `acerust_op_free`.
 * @return `ACERUST_ERROR_DEVICE` for a device that is missing, `ACERUST_ERROR_ARGUMENT` for an operation that cannot be.
 */
int32_t acerust_op_new(const char *json,
                       int32_t device,
                       int32_t index,
                       acerust_op **out);

/**
 * Frees an operation, as soon as no other thread works with it and its device has done what was queued. Null is ignored.
 *
 * @return `ACERUST_ERROR_HANDLE` for a handle that was freed before.
 */
int32_t acerust_op_free(acerust_op *op);

/**
 * Names and shapes of arguments and result, and bytes of scratch memory, as JSON:
 * `{"inputs": [{"name": …, "rows": …, "width": …}], "indices": [{"name": …, "rows": …, "bound": …}], "output": {…}, "scratch":
 * {"forward": …, "backward": …, "double_backward": …}}`. Scratch memory on devices grows to what it takes, once for each stream, and counts 0 here.
 *
 * @param rows,nodes As for `acerust_op_forward`.
 * @param buffer,length,needed The text, with a NUL at the end; null where it, or the bytes it needs, are not wanted.
 */
int32_t acerust_op_sizes(const acerust_op *op,
                         size_t rows,
                         size_t nodes,
                         char *buffer,
                         size_t length,
                         size_t *needed);

/**
 * The result, into the array `out`. On a CUDA device passes are queued and not waited for: arrays stay until `acerust_op_wait`, which also tells
 * whether results are finite, or until the stream is done by another account. Indices are read before a call returns; those of the last
 * graphs are kept on the device, so that calls with the same ones copy nothing.
 *
 * @param rows Rows; the edges of a convolution.
 * @param nodes Nodes of a convolution, 0 for other operations.
 * @param arrays,n_arrays Every input and every index by its name, and `out`. Results overlap nothing.
 * @param stream Of the operation's CUDA device (`CUstream` or `cudaStream_t`): what writes the inputs was queued there before; null is the default
 * stream. The processor has none.
 * @return `ACERUST_ERROR_ARGUMENT` where a name is missing or unknown, a length is wrong, an index is out of range, an address is in other memory
 * than the operation's, a result overlaps another array, or, on the processor, the result would not be finite.
 */
int32_t acerust_op_forward(const acerust_op *op,
                           size_t rows,
                           size_t nodes,
                           const acerust_array *arrays,
                           size_t n_arrays,
                           void *stream);

/**
 * The gradients of `Σ cotangent · out` with respect to the inputs.
 *
 * @param op,rows,nodes,stream As for `acerust_op_forward`.
 * @param arrays,n_arrays Every input and every index by its name, `cotangent`, and for every gradient that is wanted `grad.` and the
 * name of its input.
 */
int32_t acerust_op_backward(const acerust_op *op,
                            size_t rows,
                            size_t nodes,
                            const acerust_array *arrays,
                            size_t n_arrays,
                            void *stream);

/**
 * The gradients of `Σ grad · dir`, of the gradients along directions, with respect to the inputs and the cotangent.
 *
 * @param op,rows,nodes,stream As for `acerust_op_forward`.
 * @param arrays,n_arrays Every input and every index by its name, `cotangent`, `dir.` and the name of an input for every direction that
 * is not zero, and what is wanted of `second.` with the name of an input and `second.cotangent`.
 */
int32_t acerust_op_double_backward(const acerust_op *op,
                                   size_t rows,
                                   size_t nodes,
                                   const acerust_array *arrays,
                                   size_t n_arrays,
                                   void *stream);

/**
 * Waits for what was queued on a stream of a CUDA device. On the processor there is nothing to wait for.
 *
 * @param stream As for `acerust_op_forward`. What the last call on it read is still there.
 * @return `ACERUST_ERROR_ARGUMENT` where a result of the calls on this stream since the last wait is not finite; the message names the argument that
 * is not, where the last call has one. `ACERUST_ERROR_DEVICE` for failures of the device.
 */
int32_t acerust_op_wait(const acerust_op *op,
                        void *stream);

/**
 * Makes a MACE model ready for training.
 *
 * @param device `ACERUST_CPU` or `ACERUST_CUDA`.
 * @param index Of the CUDA device; 0 for the processor.
 * @param precision Of weights and intermediates: `ACERUST_F64`, `ACERUST_F32`, `ACERUST_F16` or `ACERUST_BF16`. Parameters and results are double
 * precision in any case.
 * @param n_threads As in `acerust_options`.
 * @param out To be freed with `acerust_training_free`. It does not need the model any more.
 * @return `ACERUST_ERROR_ARGUMENT` for a model that is no MACE model, `ACERUST_ERROR_DEVICE` for a device that is missing.
 */
int32_t acerust_training_new(const acerust_model *model,
                             int32_t device,
                             int32_t index,
                             int32_t precision,
                             size_t n_threads,
                             acerust_training **out);

/**
 * Frees a training. Null is ignored.
 */
int32_t acerust_training_free(acerust_training *training);

/**
 * How many numbers the parameters have.
 */
int32_t acerust_training_n_parameters(const acerust_training *training, size_t *out);

/**
 * The tensors that are trained, as JSON: `[{"name": …, "shape": […], "start": …, "length": …}, …]`, in the order of their numbers among all.
 *
 * @param buffer For the text and its NUL; may be null.
 * @param needed The bytes that it takes; may be null.
 */
int32_t acerust_training_tensors(const acerust_training *training,
                                 char *buffer,
                                 size_t length,
                                 size_t *needed);

/**
 * The numbers of all parameters.
 *
 * @param parameters As many as `acerust_training_n_parameters` says, which `length` must be.
 */
int32_t acerust_training_parameters(const acerust_training *training, double *parameters, size_t length);

/**
 * Replaces the parameters.
 *
 * @return `ACERUST_ERROR_ARGUMENT` for a wrong length, or a number that is not finite; nothing is changed then.
 */
int32_t acerust_training_set_parameters(acerust_training *training, const double *parameters, size_t length);

/**
 * The model with the current parameters.
 *
 * @param out The model; to be freed with `acerust_model_free`.
 */
int32_t acerust_training_model(const acerust_training *training, acerust_model **out);

/**
 * Multiplies gradients by this while they are computed, so that those of 16 bits do not vanish; results have it divided out again. At first it is 1.
 *
 * @return `ACERUST_ERROR_ARGUMENT` for what is not finite and above 0.
 */
int32_t acerust_training_set_loss_scale(acerust_training *training,
                                        double scale);

/**
 * The scale of a loss for training in 16 bits, found by trying: halved where a number overflows, doubled where none has for a while.
 *
 * @param scale Changed to the one of the next step. 0 at first, which becomes the one to begin with, whatever `finite` is.
 * @param steps Without overflow since the scale last changed; 0 at first.
 * @param finite 0 where the step that used the scale has come to `ACERUST_ERROR_NOT_FINITE`, and is to be skipped; else 1.
 * @return `ACERUST_ERROR_NOT_FINITE` where the scale is so small that it has nothing to do with it.
 */
int32_t acerust_loss_scale(double *scale,
                           uint32_t *steps,
                           int32_t finite);

/**
 * Evaluates at the current parameters.
 *
 * @param input A structure, or a graph without ghosts.
 * @param conditions Head, charge and spin; null for the defaults.
 * @param outputs Where results go: `energy`, `site_energies`, `forces`, `virial`; others are refused. May be null.
 * @param out For gradients; to be freed with `acerust_evaluation_free`, which frees all intermediates. Null where none is wanted.
 * @return As `acerust_evaluate`.
 */
int32_t acerust_training_evaluate(const acerust_training *training,
                                  const acerust_input *input,
                                  const acerust_conditions *conditions,
                                  const acerust_outputs *outputs,
                                  acerust_evaluation **out);

/**
 * Frees an evaluation. Null is ignored.
 */
int32_t acerust_evaluation_free(acerust_evaluation *evaluation);

/**
 * The gradient of a loss by all parameters, at those of the evaluation.
 *
 * @param evaluation Of the same training. It may be used again.
 * @param cotangent The derivatives of the loss by the results of the evaluation.
 * @param gradient As many numbers as there are parameters, to which the gradient is added.
 * @return `ACERUST_ERROR_NOT_FINITE` where the numbers of the training cannot hold one on the way: nothing is added then.
 */
int32_t acerust_training_gradient(const acerust_training *training,
                                  const acerust_evaluation *evaluation,
                                  const acerust_cotangent *cotangent,
                                  double *gradient,
                                  size_t n_gradient);

/**
 * Begins a fit without data.
 *
 * @param recipe Text of a recipe (`docs/fit.md`), TOML or JSON, or of a model file; `length` bytes, which need not end in NUL.
 * @param device `ACERUST_CPU` or `ACERUST_CUDA`, where design rows are computed and factorised.
 * @param index Of the CUDA device; 0 for the processor.
 * @param n_threads As in `acerust_options`.
 * @param out The fit; to be freed with `acerust_fit_free`.
 * @return `ACERUST_ERROR_ARGUMENT` for a recipe that is none, or a model without linear parameters; `ACERUST_ERROR_DEVICE` for a device, or
 * a library of it, that is missing.
 */
int32_t acerust_fit_new(const char *recipe,
                        size_t length,
                        int32_t device,
                        int32_t index,
                        size_t n_threads,
                        acerust_fit **out);

/**
 * Begins a fit with factors that were written before, and the usual settings; no recipe is needed to solve it again.
 *
 * @param path Name of the file, ending in NUL.
 * @param n_threads As in `acerust_options`.
 * @param out The fit; to be freed with `acerust_fit_free`.
 */
int32_t acerust_fit_load(const char *path, size_t n_threads, acerust_fit **out);

/**
 * Frees a fit. Null is ignored.
 */
int32_t acerust_fit_free(acerust_fit *fit);

/**
 * Takes the frames of files in extended XYZ, compressed by gzip or not; energies, forces and virials are found under the names of the recipe.
 * Frames that cannot be used are in the report.
 *
 * @param paths (n_paths) names of files, each ending in NUL.
 * @param share Which of their frames; null for all.
 * @return `ACERUST_ERROR_IO`, `ACERUST_ERROR_STRUCTURE` for files that cannot be read; where a part of them had been taken, the fit is of no more use.
 */
int32_t acerust_fit_read(acerust_fit *fit,
                         const char *const *paths,
                         size_t n_paths,
                         const acerust_share *share);

/**
 * Takes one structure with its data. What cannot be used (no data, an unknown element …) is in the report, as it is of files.
 *
 * @param input A structure on the host, without graph and list.
 * @return `ACERUST_ERROR_STRUCTURE` for a malformed structure.
 */
int32_t acerust_fit_push(acerust_fit *fit, const acerust_input *input, const acerust_observation *observation);

/**
 * Adds the factors of other frames, from a file that `acerust_fit_save` or `acerust fit --factors` wrote. Any order gives the same fit, to
 * rounding.
 *
 * @return `ACERUST_ERROR_ARGUMENT` for factors of another basis, or a damaged file; the fit is as it was then.
 */
int32_t acerust_fit_merge(acerust_fit *fit,
                          const char *path);

/**
 * The same of factors in memory.
 *
 * @param bytes (length) bytes of `acerust_fit_factors`, or of a file.
 */
int32_t acerust_fit_merge_bytes(acerust_fit *fit, const uint8_t *bytes, size_t length);

/**
 * Writes the factors. A file of that name is replaced as a whole or not at all.
 */
int32_t acerust_fit_save(acerust_fit *fit, const char *path);

/**
 * The factors as bytes, those of the file. Both calls, for the size and for the bytes, write them out.
 *
 * @param buffer `length` bytes, or null.
 * @param needed How many bytes there are, or null.
 */
int32_t acerust_fit_factors(acerust_fit *fit, uint8_t *buffer, size_t length, size_t *needed);

/**
 * Solves for the linear parameters; more data may follow, and other settings.
 *
 * @param options Null for the settings of the recipe.
 * @param out The model, which says what it was fitted to; to be freed with `acerust_model_free`.
 * @return `ACERUST_ERROR_ARGUMENT` without data, and for settings that have no solution.
 */
int32_t acerust_fit_solve(acerust_fit *fit, const acerust_solve *options, acerust_model **out);

/**
 * What the last `acerust_fit_solve` has to say, as JSON: numbers of frames, rows, parameters and members of the committee, frames that were
 * left out by reason, errors of the rows by group (`errors`: energy in eV an atom, force in eV/Å, virial in eV by the root of the number of
 * atoms), of groups under fits to all others (`left_out`), of evaluated frames (`training`, `test`; `all` are those of all groups), closest
 * neighbours, and all of it in words (`text`). Buffer and errors as for `acerust_model_to_json`.
 */
int32_t acerust_fit_report(acerust_fit *fit,
                           char *buffer,
                           size_t length,
                           size_t *needed);

/**
 * Parameters drawn from the posterior of the last `acerust_fit_solve`, as many sets as the settings ask for.
 *
 * @param members (n_members, n_params); `length` must be n_members · n_params.
 */
int32_t acerust_fit_committee(acerust_fit *fit, double *members, size_t length);

/**
 * Looks at frames of files in extended XYZ for the active set that extrapolation grades are relative to: at those that the fit would use.
 * The fit itself takes nothing from them. May be called several times.
 *
 * @param paths (n_paths) names of files, each ending in NUL.
 * @return `ACERUST_ERROR_IO`, `ACERUST_ERROR_STRUCTURE` for files that cannot be read; frames before the place may have been looked at.
 */
int32_t acerust_fit_look(acerust_fit *fit,
                         const char *const *paths,
                         size_t n_paths);

/**
 * Looks at one structure for the active set, as `acerust_fit_look` at frames; it needs no data.
 *
 * @param input A structure on the host, without graph and list.
 * @return `ACERUST_ERROR_STRUCTURE` for a malformed structure, `ACERUST_ERROR_ARGUMENT` for an element that the model lacks.
 */
int32_t acerust_fit_look_at(acerust_fit *fit, const acerust_input *input);

/**
 * The active set of what `acerust_fit_look` looked at: the bytes of a file that `acerust eval --grade` reads, and
 * `acerust_plan_active_set_from_file`. Both calls, for the size and for the bytes, choose it.
 *
 * @param buffer `length` bytes, or null.
 * @param needed How many bytes there are, or null.
 * @return `ACERUST_ERROR_ARGUMENT` where the atoms of an element have too few independent rows.
 */
int32_t acerust_fit_active_set(acerust_fit *fit, uint8_t *buffer, size_t length, size_t *needed);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ACERUST_H */
