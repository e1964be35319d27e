//! MACE models of any size with random weights, as the training program would save them.

use acerust::mace::spec::{MaceSpec, Tensor, Type, Values};
use acerust::ops::Convention;
use acerust::ops::contraction::{Basis, Contraction};
use acerust::{Error, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Harmonics, and factors of a product.
const LMAX: usize = 3;
const ORDER: usize = 3;
const SPECIES: [u8; 2] = [14, 32];
const RADIAL: usize = 8;
const HIDDEN: [usize; 3] = [64; 3];
const READOUT: usize = 16;
const BLOCKS: [&str; 2] = ["RealAgnosticInteractionBlock", "RealAgnosticResidualInteractionBlock"];

/// Two layers of `k` channels, features up to the degree `l` between them.
pub struct Size {
    pub k: usize,
    pub l: usize,
    /// Å.
    pub cutoff: f64,
}

struct Builder<'a> {
    size: &'a Size,
    tensors: BTreeMap<String, Tensor>,
    seed: u64,
}

impl Size {
    /// # Errors
    /// What the library says of its own conventions.
    pub fn model(&self) -> Result<MaceSpec> {
        let mut b = Builder { size: self, tensors: BTreeMap::new(), seed: 1 };
        let nz = SPECIES.len();
        let (scalars, hidden, messages): (Vec<_>, Vec<_>, Vec<_>) =
            (vec![0], (0..=self.l).collect(), (0..=LMAX).collect());
        let features = [&scalars, &hidden, &scalars];
        let mut interactions = Vec::new();
        let mut products = Vec::new();
        for t in 0..2 {
            let (from, to) = (features[t], features[t + 1]);
            let name = |part: &str| format!("interactions.{t}.{part}");
            let paths = b.paths(from);
            let after: Vec<usize> = paths.iter().map(|p| p[2]).collect();
            let sizes = [&[RADIAL][..], &HIDDEN, &[paths.len() * self.k]].concat();
            for (l, w) in sizes.windows(2).enumerate() {
                b.random(&name(&format!("conv_tp_weights.layer{l}.weight")), w, 1.0);
            }
            let path = |(k, &[a, l2, l3]): (usize, &[usize; 3])| {
                let alpha = ((2 * l3 + 1) as f64).sqrt();
                json!({"in1": a, "in2": l2, "out": k, "mode": "uvu", "alpha": alpha, "shape": [self.k, 1]})
            };
            let (skip_from, skip_to) = if t == 0 { (&messages, &messages) } else { (from, to) };
            interactions.push(json!({
                "class": BLOCKS[t],
                "avg_num_neighbors": 28.0,
                "node_feats": self.irreps(from), "target": self.irreps(&messages), "hidden": self.irreps(to),
                "linear_up": b.linear(&name("linear_up"), from, from),
                "linear": b.linear(&name("linear"), &after, &messages),
                "conv_tp": {"kind": "tensor_product", "irreps_in1": self.irreps(from),
                    "irreps_in2": messages.iter().map(|&l| irrep(1, l)).collect::<Vec<_>>().join("+"),
                    "irreps_out": self.irreps(&after), "paths": paths.iter().enumerate().map(path).collect::<Vec<_>>()},
                "skip_tp": b.skip(&name("skip_tp"), skip_from, skip_to),
                "conv_tp_weights": {"kind": "mlp", "sizes": sizes, "act": "silu", "act_constant": 1.6791767923989418},
            }));
            for (block, &l) in to.iter().enumerate() {
                b.contraction(&format!("products.{t}.symmetric_contractions.contractions.{block}"), l)?;
            }
            products.push(json!({
                "use_sc": t == 1, "linear": b.linear(&format!("products.{t}.linear"), to, to),
                "contraction": {"irreps_in": self.irreps(&messages), "irreps_out": self.irreps(to), "correlation": vec![ORDER; to.len()]},
            }));
        }
        let dense = |n_in: usize, from: String, n_out: usize| {
            let path = json!({"in": 0, "out": 0, "alpha": (n_in as f64).powf(-0.5), "shape": [n_in, n_out]});
            json!({"kind": "linear", "irreps_in": from, "irreps_out": format!("{n_out}x0e"), "paths": [path]})
        };
        for (name, n) in
            [("readouts.0.linear", self.k), ("readouts.1.linear_1", self.k * READOUT), ("readouts.1.linear_2", READOUT)]
        {
            b.random(&format!("{name}.weight"), &[n], 0.2);
        }
        b.random("node_embedding.linear.weight", &[nz * self.k], 1.0);
        let pi = std::f64::consts::PI;
        let roots = (1..=RADIAL).map(|n| n as f64 * pi / self.cutoff).collect();
        b.numbers("radial_embedding.bessel_fn.bessel_weights", &[RADIAL], roots);
        b.numbers("atomic_numbers", &[nz], SPECIES.map(f64::from).to_vec());
        b.numbers("atomic_energies_fn.atomic_energies", &[nz], vec![-5.0; nz]);
        for (name, x) in [
            ("r_max", self.cutoff),
            ("radial_embedding.bessel_fn.prefactor", (2.0 / self.cutoff).sqrt()),
            ("radial_embedding.cutoff_fn.p", 5.0),
            ("radial_embedding.cutoff_fn.r_max", self.cutoff),
            ("scale_shift.scale", 1.0),
            ("scale_shift.shift", 0.0),
        ] {
            b.numbers(name, &[], vec![x]);
        }
        let config = json!({
            "format": "mace-neutral", "version": 1, "class": "ScaleShiftMACE", "dtype": "float64", "heads": ["Default"],
            "num_interactions": 2, "layout": "mul_ir", "lmax": LMAX, "harmonics": "e3nn, component, normalised input",
            "radial": {"basis": "BesselBasis", "n": RADIAL, "transform": null, "apply_cutoff": true},
            "zbl": false, "use_reduced_cg": false, "use_agnostic_product": false, "use_last_readout_only": false,
            "node_embedding": dense(nz, format!("{nz}x0e"), self.k),
            "interactions": interactions, "products": products,
            "readouts": [
                {"class": "LinearReadoutBlock", "linear": dense(self.k, self.irreps(&hidden), 1)},
                {"class": "NonLinearReadoutBlock", "linear_1": dense(self.k, self.irreps(&scalars), READOUT),
                    "linear_2": dense(READOUT, format!("{READOUT}x0e"), 1), "act": "silu", "act_constant": 1.6791767923989418, "num_heads": 1},
            ],
        });
        let config = serde_json::from_value(config).map_err(|e| Error::Model(e.to_string()))?;
        Ok(MaceSpec { config, tensors: b.tensors })
    }

    fn irreps(&self, ls: &[usize]) -> String {
        ls.iter().map(|&l| irrep(self.k, l)).collect::<Vec<_>>().join("+")
    }
}

fn irrep(k: usize, l: usize) -> String {
    format!("{k}x{l}{}", if l.is_multiple_of(2) { 'e' } else { 'o' })
}

impl Builder<'_> {
    fn numbers(&mut self, name: &str, shape: &[usize], values: Vec<f64>) {
        let tensor = Tensor { shape: shape.to_vec(), dtype: Type::Float64, values: Values::Dense(values) };
        self.tensors.insert(name.into(), tensor);
    }

    /// Numbers of this standard deviation.
    fn random(&mut self, name: &str, shape: &[usize], deviation: f64) {
        let mut next = || {
            self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (self.seed >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
        };
        let values = (0..shape.iter().product()).map(|_| deviation * 12_f64.sqrt() * next()).collect();
        self.numbers(name, shape, values);
    }

    /// Block of the features, degree of the harmonics, degree of the message; sorted by the last.
    fn paths(&self, from: &[usize]) -> Vec<[usize; 3]> {
        let mut paths = Vec::new();
        for (a, &l1) in from.iter().enumerate() {
            for l2 in 0..=LMAX {
                paths.extend((l1.abs_diff(l2)..=(l1 + l2).min(LMAX)).step_by(2).map(|l3| [a, l2, l3]));
            }
        }
        paths.sort_by_key(|p| p[2]);
        paths
    }

    /// Pairs of equal blocks with the width of what adds up in the second.
    fn pairs(&self, from: &[usize], to: &[usize]) -> Vec<(usize, usize, f64)> {
        let fan = |l: usize| (self.size.k * from.iter().filter(|&&other| other == l).count()) as f64;
        let pair = |(a, &l): (usize, &usize)| to.iter().position(|&other| other == l).map(|b| (a, b, fan(l)));
        from.iter().enumerate().filter_map(pair).collect()
    }

    fn linear(&mut self, name: &str, from: &[usize], to: &[usize]) -> Value {
        let (k, pairs) = (self.size.k, self.pairs(from, to));
        self.random(&format!("{name}.weight"), &[pairs.len() * k * k], 1.0);
        let path =
            |&(a, b, fan): &(usize, usize, f64)| json!({"in": a, "out": b, "alpha": fan.powf(-0.5), "shape": [k, k]});
        json!({"kind": "linear", "irreps_in": self.size.irreps(from), "irreps_out": self.size.irreps(to),
            "paths": pairs.iter().map(path).collect::<Vec<_>>()})
    }

    fn skip(&mut self, name: &str, from: &[usize], to: &[usize]) -> Value {
        let (k, nz, pairs) = (self.size.k, SPECIES.len(), self.pairs(from, to));
        self.random(&format!("{name}.weight"), &[pairs.len() * k * nz * k], 1.0);
        let path = |&(a, b, fan): &(usize, usize, f64)| {
            let alpha = ((2 * to[b] + 1) as f64 / (fan * nz as f64)).sqrt();
            json!({"in1": a, "in2": 0, "out": b, "mode": "uvw", "alpha": alpha, "shape": [k, nz, k]})
        };
        json!({"kind": "tensor_product", "irreps_in1": self.size.irreps(from), "irreps_in2": format!("{nz}x0e"),
            "irreps_out": self.size.irreps(to), "paths": pairs.iter().map(path).collect::<Vec<_>>()})
    }

    /// Couplings and weights to one irrep. Only what is symmetric in the factors acts: it stands at the sorted ones.
    fn contraction(&mut self, name: &str, l: usize) -> Result<()> {
        let messages: Vec<usize> = (0..=LMAX).collect();
        let irreps = |ls: &[usize]| self.size.irreps(ls).parse();
        let op = Contraction {
            irreps_in: irreps(&messages)?,
            irreps_out: irreps(&[l])?,
            correlation: ORDER,
            species: SPECIES.len(),
            basis: Basis::E3nn,
            projection: None,
        };
        let program = op.program(Convention::O3E3nn)?;
        let mut factors: Vec<Vec<u32>> = vec![Vec::new()];
        for &[parent, q] in &program.products {
            let longer = [&factors[parent as usize][..], &[q]].concat();
            factors.push(longer);
        }
        // By order: the path, the flat index without it, the value.
        let mut entries: Vec<Vec<(u32, u64, f64)>> = vec![Vec::new(); ORDER];
        for run in &program.runs {
            for leaf in run.first_leaf..run.end_leaf {
                let all = [&factors[run.product as usize][..], &[program.leaves[leaf as usize]]].concat();
                let flat = all.iter().fold(u64::from(run.out), |at, &q| at * program.d as u64 + u64::from(q));
                let fold = program.first_fold[leaf as usize] as usize..program.first_fold[leaf as usize + 1] as usize;
                entries[all.len() - 1].extend(program.fold[fold].iter().map(|&(path, x)| (path, flat, x)));
            }
        }
        // Paths of a higher order come first.
        let mut first = 0;
        for order in (1..=ORDER).rev() {
            let of = &entries[order - 1];
            let end = of.iter().map(|e| e.0 + 1).max().unwrap_or(first).max(first);
            let n = (end - first) as usize;
            let mut flat: Vec<(u64, f64)> =
                of.iter().map(|&(p, at, x)| (at * n as u64 + u64::from(p - first), x)).collect();
            flat.sort_by_key(|e| e.0);
            let mut shape = if l > 0 { vec![2 * l + 1] } else { vec![] };
            shape.extend(std::iter::repeat_n(program.d, order).chain([n]));
            let (index, values) = flat.into_iter().unzip();
            let tensor = Tensor { shape, dtype: Type::Float64, values: Values::Sparse(index, values) };
            self.tensors.insert(format!("{name}.U_matrix_{order}"), tensor);
            let weights = match ORDER - order {
                0 => "weights_max".into(),
                below => format!("weights.{}", below - 1),
            };
            self.random(&format!("{name}.{weights}"), &[SPECIES.len(), n, self.size.k], (n as f64).powf(-0.5));
            first = end;
        }
        Ok(())
    }
}
