//! The Julia binding of ACERust by jlrs: the same operations as the C ABI, over the same [`acerust::shared`] objects.
//!
//! Models, plans and graphs are opaque types that Julia's garbage collector owns; arrays are Julia's own, not copied;
//! failures and panics become `ACERust.ACERustError`. While the library computes, Julia may collect garbage: everything
//! that takes time or waits is `#[gc_safe]` and calls nothing of Julia. Functions extend those of `ACERust` of the same
//! names, which say what they do; the Julia module that wraps this library imports them first.

mod arrays;
mod graph;
mod held;
mod list;
mod model;
mod outcome;
mod plan;

use arrays::{Array1, Array2, Array3};
use graph::Graph;
use jlrs::data::managed::value::typed::TypedValue;
use jlrs::prelude::*;
use list::List;
use model::Model;
use outcome::Outcome;
use plan::Plan;

/// The library itself: what the functions that make something from nothing belong to.
#[derive(OpaqueType)]
#[jlrs(super_type = "held::BindingType")]
pub struct Library;

impl Library {
    fn open() -> Outcome<Library> {
        outcome::attempt(|| Ok(Library))
    }

    fn set_memory_limit(&self, bytes: isize) -> Outcome<()> {
        outcome::attempt(|| {
            acerust::memory::set_limit(u64::try_from(bytes).ok().filter(|&b| b > 0));
            Ok(())
        })
    }

    fn check_memory(&self, bytes: f64, what: JuliaString) -> Outcome<()> {
        outcome::attempt(|| {
            Ok(acerust::memory::check(bytes, || String::from_utf8_lossy(what.as_bytes()).into_owned())?)
        })
    }
}

#[julia_version(since = "1.10", until = "1.10")]
const JULIA_MINOR: u32 = 10;
#[julia_version(since = "1.11", until = "1.11")]
const JULIA_MINOR: u32 = 11;
#[julia_version(since = "1.12", until = "1.12")]
const JULIA_MINOR: u32 = 12;
#[julia_version(since = "1.13", until = "1.13")]
const JULIA_MINOR: u32 = 13;

/// The Julia 1.x of the headers that this library was built with; no other may load it.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_jl_julia() -> u32 {
    JULIA_MINOR
}

/// The interface of JlrsCore that this library needs.
#[unsafe(no_mangle)]
pub extern "C" fn acerust_jl_jlrscore() -> isize {
    jlrs::JLRS_API_VERSION
}

julia_module! {
    become acerust_jl_init;

    struct Library;
    in Library fn open() -> Outcome<Library> as open_library;

    #[untracked_self]
    in Library fn set_memory_limit(&self, bytes: isize) -> Outcome<()>;
    #[untracked_self]
    in Library fn check_memory(&self, bytes: f64, what: JuliaString) -> Outcome<()>;

    struct Model;
    #[gc_safe] #[untracked_self]
    in Library fn load(&self, path: JuliaString) -> Outcome<Model> as model_load;
    #[gc_safe] #[untracked_self]
    in Library fn from_json(&self, json: JuliaString) -> Outcome<Model> as model_from_json;
    #[gc_safe] #[untracked_self]
    in Library fn from_reference_json(&self, json: JuliaString) -> Outcome<Model> as model_from_reference_json;
    #[gc_safe] #[untracked_self]
    in Model fn extract(&self, part: isize) -> Outcome<Model> as model_extract;
    #[gc_safe] #[untracked_self]
    in Model fn to_json(&self) -> Outcome<String> as model_to_json;
    #[gc_safe] #[untracked_self]
    in Model fn save(&self, path: JuliaString) -> Outcome<()> as model_save;
    #[untracked_self]
    in Model fn summary(&self) -> Outcome<String> as model_summary;
    #[untracked_self]
    in Model fn name(&self) -> Outcome<String> as model_name;
    #[untracked_self]
    in Model fn n_species(&self) -> Outcome<isize> as model_n_species;
    #[untracked_self]
    in Model fn species(&self, out: Array1<i32>) -> Outcome<()> as model_species!;
    #[untracked_self]
    in Model fn rcut(&self) -> Outcome<f64> as model_rcut;
    #[untracked_self]
    in Model fn length_basis(&self) -> Outcome<isize> as model_length_basis;
    #[untracked_self]
    in Model fn n_basis(&self) -> Outcome<isize> as model_n_basis;
    #[untracked_self]
    in Model fn n_parts(&self) -> Outcome<isize> as model_n_parts;
    #[untracked_self]
    in Model fn part_kind(&self, part: isize) -> Outcome<String> as model_part_kind;
    #[untracked_self]
    in Model fn linear_parameters(&self, out: Array1<f64>) -> Outcome<()> as model_linear_parameters!;
    #[untracked_self]
    in Model fn n_factors(&self) -> Outcome<isize> as model_n_factors;
    #[untracked_self]
    in Model fn basis_labels(&self, first: Array1<isize>, factors: Array2<u32>) -> Outcome<()> as model_basis_labels!;
    #[untracked_self]
    in Model fn log_prior(
        &self,
        kind: isize,
        p: f64,
        wl: f64,
        wn: f64,
        diagonal: Array1<f64>
    ) -> Outcome<()> as model_log_prior!;
    #[gc_safe] #[untracked_self]
    in Model fn splinify(&self, nodes: isize) -> Outcome<Model> as model_splinify;
    #[untracked_self]
    in Model fn is_open(&self) -> bool as is_open;
    #[gc_safe] #[untracked_self]
    in Model fn release(&self) as release;

    struct Plan;
    #[gc_safe] #[untracked_self]
    in Model fn plan(
        &self,
        device: isize,
        precision: isize,
        tolerance: f64,
        n_threads: isize
    ) -> Outcome<Plan> as plan_new;
    #[gc_safe] #[untracked_self]
    in Plan fn set_linear_parameters(&self, parameters: Array1<f64>) -> Outcome<()> as plan_set_linear_parameters;
    #[gc_safe] #[untracked_self]
    in Plan fn set_committee(&self, parameters: Array2<f64>) -> Outcome<()> as plan_set_committee;
    #[gc_safe] #[untracked_self]
    in Plan fn set_threads(&self, n: isize) -> Outcome<()> as plan_set_threads;
    #[gc_safe] #[untracked_self]
    in Plan fn at(&self, head: Array1<u8>, charge: Array1<isize>, spin: Array1<isize>) -> Outcome<Plan> as plan_at;
    #[gc_safe] #[untracked_self]
    in Plan fn model(&self) -> Outcome<Model> as plan_model;
    #[gc_safe] #[untracked_self]
    in Plan fn assemble(
        &self,
        numbers: Array1<i32>,
        positions: Array2<f64>,
        cell: Array2<f64>,
        pbc: Array1<i32>,
        energy: Array2<f64>,
        forces: Array2<f64>,
        virial: Array2<f64>,
        layout: Array1<isize>
    ) -> Outcome<()> as assemble!;
    #[untracked_self]
    in Plan fn is_open(&self) -> bool as is_open;
    #[gc_safe] #[untracked_self]
    in Plan fn release(&self) as release;

    struct Graph;
    #[gc_safe] #[untracked_self]
    in Library fn build(
        &self,
        numbers: Array1<i32>,
        positions: Array2<f64>,
        cell: Array2<f64>,
        pbc: Array1<i32>,
        rcut: f64,
        skin: f64,
        n_threads: isize
    ) -> Outcome<Graph> as graph_build;
    #[gc_safe] #[untracked_self]
    in Library fn from_edges(
        &self,
        numbers: Array1<i32>,
        first: Array1<u32>,
        neighbour: Array1<u32>,
        r: Array2<f64>,
        cutoff: f64
    ) -> Outcome<Graph> as graph_from_edges;
    #[gc_safe] #[untracked_self]
    in Graph fn update(
        &self,
        numbers: Array1<i32>,
        positions: Array2<f64>,
        cell: Array2<f64>,
        pbc: Array1<i32>
    ) -> Outcome<bool> as graph_update;
    #[gc_safe] #[untracked_self]
    in Graph fn n_edges(&self) -> Outcome<isize> as graph_n_edges;
    #[gc_safe] #[untracked_self]
    in Graph fn edges(
        &self,
        first: Array1<u32>,
        neighbour: Array1<u32>,
        shift: Array2<i32>,
        r: Array2<f64>
    ) -> Outcome<()> as graph_edges!;
    #[gc_safe] #[untracked_self]
    in Plan fn energy_forces_virial(
        &self,
        graph: TypedValue<Graph>,
        forces: Array2<f64>,
        virial: Array2<f64>
    ) -> Outcome<f64> as energy_forces_virial!;
    #[gc_safe] #[untracked_self]
    in Plan fn committee_energy_forces_virial(
        &self,
        graph: TypedValue<Graph>,
        energies: Array1<f64>,
        forces: Array3<f64>,
        virials: Array3<f64>
    ) -> Outcome<()> as committee_energy_forces_virial!;
    #[gc_safe] #[untracked_self]
    in Plan fn site_energies(&self, graph: TypedValue<Graph>, energies: Array1<f64>) -> Outcome<()> as site_energies!;
    #[gc_safe] #[untracked_self]
    in Plan fn site_grads(&self, graph: TypedValue<Graph>, gradients: Array2<f64>) -> Outcome<()> as site_grads!;
    #[gc_safe] #[untracked_self]
    in Plan fn site_basis(&self, graph: TypedValue<Graph>, basis: Array2<f64>) -> Outcome<()> as site_basis!;
    #[gc_safe] #[untracked_self]
    in Plan fn site_basis_jacobian(
        &self,
        graph: TypedValue<Graph>,
        basis: Array2<f64>,
        jacobian: Array3<f64>
    ) -> Outcome<()> as site_basis_jacobian!;
    #[untracked_self]
    in Graph fn is_open(&self) -> bool as is_open;
    #[gc_safe] #[untracked_self]
    in Graph fn release(&self) as release;

    struct List;
    #[gc_safe] #[untracked_self]
    in Plan fn list(&self, skin: f64) -> Outcome<List> as list_new;
    #[gc_safe] #[untracked_self]
    in List fn energy_forces_virial(
        &self,
        plan: TypedValue<Plan>,
        numbers: Array1<i32>,
        positions: Array2<f64>,
        cell: Array2<f64>,
        pbc: Array1<i32>,
        forces: Array2<f64>,
        virial: Array2<f64>
    ) -> Outcome<f64> as list_energy_forces_virial!;
    #[gc_safe] #[untracked_self]
    in List fn device_energy_forces_virial(
        &self,
        plan: TypedValue<Plan>,
        numbers: Array1<i32>,
        cell: Array2<f64>,
        pbc: Array1<i32>,
        positions: usize,
        forces: usize,
        stream: usize,
        virial: Array2<f64>
    ) -> Outcome<f64> as list_device_energy_forces_virial!;
    #[untracked_self]
    in List fn is_open(&self) -> bool as is_open;
    #[gc_safe] #[untracked_self]
    in List fn release(&self) as release;
}
