//! From positions to what a network reads of them: harmonics, radial features and cutoffs of edges, in double precision; forwards, along a
//! direction, and backwards.

use crate::graph::Graph;
use crate::mace::network::{Jet, Network};
use crate::ops::harmonics::{Harmonics, Normalization};
use crate::ops::{Args, Op, Operation, Sizes, Spec, Workspace};
use crate::{Result, parallel};

pub struct Geometry {
    harmonics: Op<f64>,
}

/// Edges within the cutoff, centre by centre.
pub struct EdgeRows {
    /// Of the graph.
    pub edge: Vec<usize>,
    pub centre: Vec<u32>,
    pub neighbour: Vec<u32>,
    /// From the neighbour to the centre, Å.
    v: Vec<[f64; 3]>,
    length: Vec<f64>,
    /// Radial features of each, then its cutoff.
    features: Vec<Vec<Jet>>,
    y: Vec<f64>,
}

/// A number for each harmonic, for each feature, and for the cutoff of every edge.
pub struct Leaves {
    pub y: Vec<f64>,
    pub features: Vec<f64>,
    pub cutoff: Vec<f64>,
}

impl Geometry {
    pub fn new(lmax: usize) -> Result<Geometry> {
        let harmonics = Harmonics { lmax, normalization: Normalization::Component };
        Ok(Geometry { harmonics: Op::new(&Spec::new(Operation::Harmonics(harmonics)))? })
    }

    pub fn edges(&self, net: &Network, graph: &Graph, species: &[u32], workspace: &mut Workspace) -> Result<EdgeRows> {
        let mut rows = EdgeRows {
            edge: Vec::new(),
            centre: Vec::new(),
            neighbour: Vec::new(),
            v: Vec::new(),
            length: Vec::new(),
            features: Vec::new(),
            y: Vec::new(),
        };
        let radial = &net.layers[0].radial.features;
        for (i, e) in (0..graph.n_centres()).flat_map(|i| graph.edges(i).map(move |e| (i, e))) {
            let (j, r) = (graph.neighbours()[e], graph.vectors()[e]);
            let length = r.iter().map(|x| x * x).sum::<f64>().sqrt();
            if length >= net.cutoff {
                continue;
            }
            rows.edge.push(e);
            rows.centre.push(i as u32);
            rows.neighbour.push(j);
            rows.v.push(r.map(|x| -x));
            rows.length.push(length);
        }
        let all: Vec<usize> = (0..rows.edge.len()).collect();
        rows.features = parallel::map(&all, |&k| {
            let [from, to] = [rows.neighbour[k], rows.centre[k]].map(|i| species[i as usize] as usize);
            let (mut features, cutoff) = radial.at(from, to, rows.length[k]);
            features.push(cutoff);
            features
        });
        let mut y = vec![0.0; rows.v.len() * (net.lmax + 1).pow(2)];
        self.harmonics.forward(&rows.args(&[rows.v.as_flattened()]), &mut y, workspace)?;
        rows.y = y;
        Ok(rows)
    }

    /// What changes where the vector of every edge, from the centre to the neighbour, changes by `u`.
    pub fn along(&self, rows: &EdgeRows, u: &[[f64; 3]], workspace: &mut Workspace) -> Result<Leaves> {
        let dv: Vec<[f64; 3]> = rows.edge.iter().map(|&e| u[e].map(|x| -x)).collect();
        let (mut y, nothing) = (vec![0.0; rows.y.len()], vec![0.0; rows.y.len()]);
        let (args, along) = ([rows.v.as_flattened()], [Some(dv.as_flattened())]);
        self.harmonics.double_backward(&rows.args(&args), &nothing, &along, &mut [None, Some(&mut y)], workspace)?;
        let inward = |k: usize| (0..3).map(|d| rows.v[k][d] * dv[k][d]).sum::<f64>() / rows.length[k];
        Ok(rows.leaves(y, |k, jet| jet.d * inward(k)))
    }

    /// The gradient by the vector of each edge, from the centre to the neighbour, (n_edges of the graph, 3).
    pub fn back(&self, rows: &EdgeRows, bars: &Leaves, to: &mut [[f64; 3]], workspace: &mut Workspace) -> Result<()> {
        let mut v_bar = vec![[0.0; 3]; rows.v.len()];
        let args = [rows.v.as_flattened()];
        self.harmonics.backward(&rows.args(&args), &bars.y, &mut [Some(v_bar.as_flattened_mut())], workspace)?;
        let n = rows.features.first().map_or(0, |f| f.len() - 1);
        for (k, &e) in rows.edge.iter().enumerate() {
            let own = bars.features[k * n..(k + 1) * n].iter().chain([&bars.cutoff[k]]);
            let radial: f64 = own.zip(&rows.features[k]).map(|(bar, jet)| bar * jet.d).sum();
            to[e] = std::array::from_fn(|d| -(v_bar[k][d] + radial * rows.v[k][d] / rows.length[k]));
        }
        Ok(())
    }
}

impl EdgeRows {
    fn args<'a>(&self, inputs: &'a [&'a [f64]]) -> Args<'a, f64> {
        Args { sizes: Sizes { rows: self.v.len(), nodes: 0 }, inputs, indices: &[] }
    }

    pub fn values(&self) -> Leaves {
        self.leaves(self.y.clone(), |_, jet| jet.x)
    }

    fn leaves(&self, y: Vec<f64>, of: impl Fn(usize, Jet) -> f64) -> Leaves {
        let (mut features, mut cutoff) = (Vec::new(), Vec::new());
        for (k, jets) in self.features.iter().enumerate() {
            let (last, rest) = jets.split_last().expect("the cutoff is there");
            features.extend(rest.iter().map(|&jet| of(k, jet)));
            cutoff.push(of(k, *last));
        }
        Leaves { y, features, cutoff }
    }
}
