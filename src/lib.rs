//! Interatomic potentials of the atomic cluster expansion (ACE).
//!
//! A *site model* gives every atom an energy that depends on its neighbours within a cutoff. From site energies and
//! their gradients come energy, forces and virial; from the basis behind them the design rows of a linear fit.
//!
//! # The way of the data
//!
//! ```text
//! structure ──► graph ──► radial ─┐
//! (positions,   (CSR      angular ┴► pool ──► product ──► readout ──► site energies
//!  cell, pbc,    edges)     R, Y       A     c·AA | B         │
//!  species)                                                   ▼
//!     forces, virial ◄── scatter ◄── edge gradients ◄── adjoint (the same stages, backwards)
//!     design rows    ◄── assemble ◄── basis, Jacobian
//! ```
//!
//! | stage | where |
//! | --- | --- |
//! | structure | [`structure`], [`extxyz`] |
//! | graph | [`graph`] |
//! | radial, angular, pool, product, basis and Jacobian | `stage` |
//! | equivariant operations on irreps | [`ops`] |
//! | one-body, pair, ACE: compositions of stages | `part` |
//! | model file, validation | [`model`] |
//! | MACE: message passing, from checkpoints on | [`mace`] |
//! | several plans as one calculator | [`stack`] |
//! | from a recipe to a model | [`build`] |
//! | from data to parameters | [`fit`] |
//! | model × device × precision: the front door | [`plan`] |
//! | what bindings hand out: plans and graphs shared by threads | `shared` |
//! | many structures, several devices | [`batch`] |
//! | the C ABI | `capi` |
//!
//! Stages work on a block of centres whose intermediates stay in cache: the lanes of a vector register are centres of one
//! species. Nothing of size edges × basis functions reaches main memory on the way to energy and forces. A [`plan::Plan`] is
//! made once and then executed from any number of threads; results do not depend on how many work on them.
//!
//! # Ledger
//!
//! | symbol | shape | meaning |
//! | --- | --- | --- |
//! | `i`, `j` | | centre, neighbour; an *edge* is a directed pair `i → j` with a cell shift |
//! | `r_ij` | (n_edges, 3), Å | `x_j + shift·cell − x_i`; an edge exists where `0 < r ≤ rcut` |
//! | `first` | (n_atoms + 1) | the edges of centre `i` are `first[i]..first[i+1]` |
//! | `z_i` | (n_atoms) | species index in the model's list of species |
//! | `R_nl` | an edge | radial functions of `r` and the ordered pair of species, envelope included |
//! | `Y_lm` | (lmax + 1)² an edge | real harmonics, index `l² + l + m`, solid (with `r^l`) or spherical |
//! | `A_v` | n_A a centre | `Σ_j R_{n_v l_v}(r_ij) Y_{l_v m_v}(r_ij)` |
//! | `AA_k` | n_AA a centre | the product of the `A_v` listed for `k` |
//! | `B_b` | n_B a centre | `Σ_k C[b,k] AA_k`: invariant under rotation and permutation |
//! | `E_i` | eV | `Σ_b W[z_i, b] B_b` |
//! | `g_ij` | (n_edges, 3), eV/Å | `∂E_i/∂r_ij` |
//! | forces | (n_atoms, 3), eV/Å | `F_i += g_ij`, `F_j −= g_ij` over all edges |
//! | virial | (3, 3), eV | `V[a][b] = −Σ g[a] r[b]` |
//! | `θ` | (n_params), eV | linear parameters: part after part, species-major within a part, `z·n_B + b` |
//!
//! For energies and forces `C` is folded into the weights once, `c[z,k] = Σ_b W[z,b] C[b,k]`, so that `E_i = Σ_k c[z_i,k] AA_k`.
//!
//! # Example
//!
//! ```
//! use acerust::model::Model;
//! use acerust::plan::{Device, Outputs, Plan, Precision};
//! use acerust::structure::Structure;
//!
//! let model = Model::load("benchmark/models/si_fit.json")?;
//! let plan = Plan::new(&model, Device::Cpu, Precision::F64)?;
//!
//! let crystal = Structure::diamond(14, 5.47).repeat([2, 2, 2]).rattle(0.05, 1);
//! let graph = plan.graph(&crystal)?;
//! let (mut energy, mut forces, mut virial) = (0.0, vec![[0.0; 3]; 64], [[0.0; 3]; 3]);
//! let mut outputs = Outputs::new().energy(&mut energy).forces(&mut forces[..]).virial(&mut virial);
//! plan.evaluate((&graph, &crystal.numbers), &mut outputs)?;
//!
//! assert!((energy / 64.0 + 5.4).abs() < 0.05); // eV an atom
//! assert!((virial[0][1] - virial[1][0]).abs() < 1e-9);
//! # Ok::<(), acerust::Error>(())
//! ```
//!
//! Modules that this page does not list are for the bindings, the program and the benchmarks of the repository, and change with them.
#![warn(missing_debug_implementations)]

pub mod batch;
#[doc(hidden)]
pub mod bench;
pub mod build;
#[doc(hidden)]
pub mod capi;
mod cpu;
#[cfg(feature = "cuda")]
#[doc(hidden)]
pub mod cuda;
mod device;
pub mod dtype;
pub mod element;
pub mod error;
pub mod extxyz;
#[doc(hidden)]
pub mod file;
pub mod fit;
pub mod graph;
pub mod mace;
pub mod memory;
pub mod model;
#[doc(hidden)]
pub mod npz;
pub mod ops;
#[doc(hidden)]
pub mod pace;
#[doc(hidden)]
pub mod parallel;
mod part;
pub mod plan;
mod potential;
mod precision;
mod random;
#[doc(hidden)]
pub mod shared;
mod simd;
pub mod stack;
mod stage;
pub mod structure;
pub mod train;

pub use error::{Error, Result};
/// The crate of the views in this interface.
pub use ndarray;
