//! Single stages of a many-body model on one block of centres of silicon; f64, the best instruction set, one core.

use crate::graph::{Graph, Sites};
use crate::model::Model;
use crate::model::PartSpec;
use crate::part::AceSpec;
use crate::part::ace::program::Program;
use crate::simd::{Isa, Lanes, with_lanes};
use crate::stage::angular::{Angular, n_harmonics};
use crate::stage::block::{Block, Cutoff};
use crate::stage::pool::{self, Slots};
use crate::stage::rows::{RadialRows, RowsScratch};
use crate::structure::Structure;
use crate::{Error, Result};
use std::fmt::{self, Debug, Formatter};
use std::hint::black_box;

/// One stage, to be run as often as one likes.
pub struct Stage<'a> {
    pub name: &'static str,
    /// Edges of the block that it works on.
    pub n_edges: usize,
    pub run: &'a mut dyn FnMut(),
}

impl Debug for Stage<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Hands the stages of the model's first many-body part to `measure`, in the order in which an evaluation runs them.
///
/// # Errors
/// [`Error::Model`] for a model of other elements than silicon, or without a many-body part.
pub fn stages(model: &Model, mut measure: impl FnMut(Stage)) -> Result<()> {
    let many_body = model.spec().parts.iter().find_map(|p| if let PartSpec::Ace(ace) = p { Some(ace) } else { None });
    match (model.species(), many_body) {
        ([14], Some(ace)) => with_lanes!(Isa::detect(), f64, V => stages_of::<V>(ace, &mut measure)),
        _ => Err(Error::Model("no many-body part of silicon alone".into())),
    }
}

fn stages_of<V: Lanes<Real = f64>>(ace: &AceSpec, measure: &mut dyn FnMut(Stage)) -> Result<()> {
    let program = Program::new(1, ace);
    let radial = RadialRows::<V>::new(program.radial.clone(), None);
    let angular = Angular::<V>::new(program.lmax, program.spherical);
    let s = Structure::diamond(14, 5.43).repeat([4; 3]).rattle(0.1, 1);
    let graph = Graph::build(&s, ace.rcut)?;
    let species = vec![0; s.n_atoms()];
    let sites = Sites { graph: &graph, species: &species, n_species: 1 };
    let centres: Vec<u32> = (0..V::N as u32).collect();
    let mut block = Block::<V>::default();
    let mut pack = || {
        block.pack(black_box(sites), 0, &centres, Cutoff { rcut: ace.rcut, by_species: false, of_pairs: &[] }, |_| {})
    };
    pack();

    measure(Stage { name: "pack", n_edges: graph.first()[V::N] as usize, run: &mut pack });
    let (n, n_edges, n_r, n_y) = (block.n_slots, block.n_edges, radial.stride(), n_harmonics(program.lmax));
    let mut measure = |name, run: &mut dyn FnMut()| measure(Stage { name, n_edges, run });
    let zeros = |n: usize| vec![V::zero(); n];
    let (mut r, mut dr, mut y) = (zeros(n * n_r), zeros(n * n_r), zeros(n * n_y));
    let (mut a, mut a_bar, mut y_bar, mut pushed) = (zeros(program.n_a), zeros(program.n_a), zeros(n * n_y), zeros(n));
    let mut scratch = RowsScratch::default();
    measure("radial", &mut || {
        radial.eval_slots::<true>(black_box(&block), 0..n, &mut scratch, &mut r, &mut dr);
    });
    measure("angular", &mut || angular.eval_slots(black_box(&block), 0..n, &mut y));
    let slots = Slots { r: &r, dr: &dr, y: &y, n_r, n_y };
    measure("pool", &mut || {
        a.fill(V::zero());
        pool::pool(&program.shells, black_box(slots), n, 0, &mut a);
    });

    let c = program.fold(&ace.weights[0]);
    let (mut p, mut sums) = (zeros(program.trie.n_inner()), zeros(program.trie.n_inner()));
    measure("product", &mut || {
        let energy = V::vectorize(
            #[inline(always)]
            || program.trie.eval::<V, true>(&c, black_box(&a), &mut a_bar, &mut p, &mut sums),
        );
        black_box(energy.to_array());
    });
    let mut gradient = vec![[V::zero(); 3]; n];
    measure("adjoint", &mut || {
        V::vectorize(
            #[inline(always)]
            || {
                pool::pullback(&program.shells, black_box(slots), n, &a_bar, &mut y_bar, &mut pushed);
                angular.pullback_slots(&block, 0..n, (&y, &y_bar), &pushed, &mut gradient);
            },
        );
    });

    let coupling = &program.coupling;
    let (mut monomials, mut basis) = (zeros(coupling.n_monomials()), zeros(program.n_basis));
    let mut derivatives = zeros(coupling.n_derivatives());
    measure("basis", &mut || {
        V::vectorize(
            #[inline(always)]
            || {
                coupling.monomials(black_box(&a), &mut monomials);
                coupling.basis(&monomials, &mut basis);
                coupling.derivatives(&monomials, &mut derivatives);
            },
        );
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_runs() {
        let model = |name: &str| Model::load(format!("benchmark/models/{name}.json")).expect("a model");
        let mut names = Vec::new();
        let measured = stages(&model("si_2_8"), |stage| {
            assert!(stage.n_edges > 0);
            (stage.run)();
            names.push(stage.name);
        });
        assert!(measured.is_ok());
        assert_eq!(names, ["pack", "radial", "angular", "pool", "product", "adjoint", "basis"]);
        assert!(stages(&model("hea_bench"), |_| panic!("nothing to measure")).is_err());
    }
}
