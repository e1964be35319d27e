//! Neighbour graphs.

use crate::Library;
use crate::arrays::{Array1, Array2, count, input, output, vectors};
use crate::held::Held;
use crate::outcome::{Outcome, attempt};
use acerust::Error;
use acerust::capi::status::Result;
use acerust::graph;
use acerust::shared::{Edges, SharedGraph, Taken, atomic_numbers};
use acerust::structure::Structure;
use jlrs::prelude::*;
use std::sync::Arc;

#[derive(OpaqueType)]
#[jlrs(super_type = "crate::held::GraphType")]
pub struct Graph(Held<SharedGraph>);

/// Takes over a structure of Julia's: numbers (n_atoms), positions (3, n_atoms), a cell vector a column, flags (3).
///
/// # Safety
/// As [`input`].
pub unsafe fn fill(
    structure: &mut Structure,
    numbers: &Array1<i32>,
    positions: &Array2<f64>,
    cell: &Array2<f64>,
    pbc: &Array1<i32>,
) -> Result<()> {
    // SAFETY: passed on.
    unsafe {
        atomic_numbers(&mut structure.numbers, input(numbers))?;
        structure.positions.clear();
        structure.positions.extend_from_slice(vectors("positions", positions)?);
        (structure.cell, structure.pbc) = cell_and_pbc(cell, pbc)?;
    }
    Ok(())
}

/// # Safety
/// As [`input`].
pub unsafe fn cell_and_pbc(cell: &Array2<f64>, pbc: &Array1<i32>) -> Result<([[f64; 3]; 3], [bool; 3])> {
    let wrong = |name: &str| Error::Argument(format!("{name} is not of 3"));
    // SAFETY: passed on.
    let (vectors, flags) = unsafe { (vectors("cell", cell)?, input(pbc)) };
    let flags: [i32; 3] = flags.try_into().map_err(|_| wrong("pbc"))?;
    Ok((vectors.try_into().map_err(|_| wrong("cell"))?, flags.map(|flag| flag != 0)))
}

impl Library {
    #[allow(clippy::too_many_arguments)]
    pub fn build(
        &self,
        numbers: Array1<i32>,
        positions: Array2<f64>,
        cell: Array2<f64>,
        pbc: Array1<i32>,
        rcut: f64,
        skin: f64,
        n_threads: isize,
    ) -> Outcome<Graph> {
        attempt(|| {
            let mut structure = Structure::default();
            // SAFETY: the caller leaves its arguments alone while the call lasts, here and below.
            unsafe { fill(&mut structure, &numbers, &positions, &cell, &pbc) }?;
            let graph = SharedGraph::build(structure, rcut, skin, count("n_threads", n_threads)?)?;
            Ok(Graph(Held::new(graph)))
        })
    }

    /// Of as many centres as `first` says; atoms beyond are ghosts.
    pub fn from_edges(
        &self,
        numbers: Array1<i32>,
        first: Array1<u32>,
        neighbour: Array1<u32>,
        r: Array2<f64>,
        cutoff: f64,
    ) -> Outcome<Graph> {
        attempt(|| unsafe {
            let mut z = Vec::new();
            atomic_numbers(&mut z, input(&numbers))?;
            let first = input(&first);
            let n_centres = first.len().saturating_sub(1);
            let (n_atoms, neighbour) = (z.len(), input(&neighbour));
            let edges = graph::Edges { cutoff, n_owned: n_centres, n_centres, n_atoms, first, neighbour, shift: &[] };
            let r = vectors("r", &r)?;
            let fill = |graph: &mut graph::Graph, numbers: &mut Vec<u8>| -> acerust::Result<()> {
                *graph = graph::Graph::from_edges(&edges, r)?;
                *numbers = z;
                Ok(())
            };
            Ok(Graph(Held::new(SharedGraph::from_edges(0, fill)?)))
        })
    }
}

impl Graph {
    pub fn get(&self) -> Result<Arc<SharedGraph>> {
        self.0.get("graph")
    }

    pub fn update(
        &self,
        numbers: Array1<i32>,
        positions: Array2<f64>,
        cell: Array2<f64>,
        pbc: Array1<i32>,
    ) -> Outcome<bool> {
        attempt(|| {
            let fill = |structure: &mut Structure| unsafe { fill(structure, &numbers, &positions, &cell, &pbc) };
            self.get()?.update(fill)
        })
    }

    pub fn n_edges(&self) -> Outcome<isize> {
        attempt(|| self.get()?.read(|graph| Ok(graph.n_edges() as isize)))
    }

    pub fn edges(&self, first: Array1<u32>, neighbour: Array1<u32>, shift: Array2<i32>, r: Array2<f64>) -> Outcome<()> {
        attempt(|| unsafe {
            let mut outputs = Taken::default();
            let edges = Edges {
                first: output(&mut outputs, "first", first)?,
                neighbour: output(&mut outputs, "neighbour", neighbour)?,
                shift: output(&mut outputs, "shift", shift)?,
                r: output(&mut outputs, "r", r)?,
            };
            Ok(self.get()?.edges(edges)?)
        })
    }

    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }

    pub fn release(&self) {
        self.0.release();
    }
}
