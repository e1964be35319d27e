//! A MACE model evaluated from its definition: plain loops over the file's own tensors and paths, every intermediate kept.
//!
//! Independent of the library: the JSON of the neutral form is read as it stands. Features are (atom, flat index) in `mul_ir`, as
//! the training program has them.
#![allow(clippy::needless_range_loop)]

use super::models::{floats, triples};
use super::rotations::{harmonics, w3j};
use serde_json::Value;
use std::collections::BTreeMap;

/// Rows of numbers.
pub type Table = Vec<Vec<f64>>;

/// Energies of atoms (E0 included), and what was computed on the way, by the names of the golden files.
pub struct Naive {
    pub energies: Vec<f64>,
    pub seen: BTreeMap<String, Table>,
}

struct Model<'a> {
    config: &'a Value,
    tensors: &'a Value,
}

fn text(v: &Value) -> &str {
    v.as_str().unwrap()
}

fn int(v: &Value) -> usize {
    v.as_u64().unwrap() as usize
}

fn list(v: &Value) -> &[Value] {
    v.as_array().unwrap()
}

/// (multiplicity, degree) of each block.
fn irreps(v: &Value) -> Vec<(usize, usize)> {
    let block = |b: &str| {
        let (mul, irrep) = b.split_once('x').unwrap();
        (mul.parse().unwrap(), irrep[..irrep.len() - 1].parse().unwrap())
    };
    text(v).split('+').map(block).collect()
}

/// The first number of each block, and the end.
fn starts(irreps: &[(usize, usize)]) -> Vec<usize> {
    let mut at = vec![0];
    irreps.iter().for_each(|(mul, l)| at.push(at[at.len() - 1] + mul * (2 * l + 1)));
    at
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// The polynomial cutoff.
fn envelope(u: f64, p: f64) -> f64 {
    if u >= 1.0 {
        return 0.0;
    }
    1.0 - (p + 1.0) * (p + 2.0) / 2.0 * u.powf(p) + p * (p + 2.0) * u.powf(p + 1.0)
        - p * (p + 1.0) / 2.0 * u.powf(p + 2.0)
}

impl Model<'_> {
    /// A tensor, zeros filled in.
    fn tensor(&self, name: &str) -> Vec<f64> {
        let t = &self.tensors[name];
        assert!(!t.is_null(), "{name}");
        if !t["data"].is_null() {
            return floats(&t["data"]);
        }
        let mut out = vec![0.0; list(&t["shape"]).iter().map(int).product()];
        for (k, x) in list(&t["index"]).iter().zip(list(&t["value"])) {
            out[int(k)] = x.as_f64().unwrap();
        }
        out
    }

    fn number(&self, name: &str) -> f64 {
        self.tensor(name)[0]
    }

    /// `out_b[v, m] = α Σ_u W[u, v] x_a[u, m]` over the paths of the file, and the bias.
    fn linear(&self, config: &Value, name: &str, x: &[f64]) -> Vec<f64> {
        let (a, b) = (irreps(&config["irreps_in"]), irreps(&config["irreps_out"]));
        let (from, to) = (starts(&a), starts(&b));
        let mut out = vec![0.0; to[b.len()]];
        // A bias has a path from nowhere.
        let paths: Vec<&Value> = list(&config["paths"]).iter().filter(|p| p["in"] != -1).collect();
        let w = if paths.is_empty() { Vec::new() } else { self.tensor(&format!("{name}.weight")) };
        let mut at = 0;
        for p in paths {
            let (i, o, alpha) = (int(&p["in"]), int(&p["out"]), p["alpha"].as_f64().unwrap());
            let (mu, mv, d) = (a[i].0, b[o].0, 2 * a[i].1 + 1);
            for (u, v, m) in (0..mu).flat_map(|u| (0..mv).flat_map(move |v| (0..d).map(move |m| (u, v, m)))) {
                out[to[o] + v * d + m] += alpha * w[at + u * mv + v] * x[from[i] + u * d + m];
            }
            at += mu * mv;
        }
        if !self.tensors[format!("{name}.bias")].is_null() {
            out.iter_mut().zip(self.tensor(&format!("{name}.bias"))).for_each(|(o, b)| *o += b);
        }
        out
    }

    /// The product with one hot species.
    fn skip(&self, config: &Value, name: &str, x: &[f64], z: usize) -> Vec<f64> {
        if config["kind"] == "linear" {
            return self.linear(config, name, x);
        }
        let (a, b) = (irreps(&config["irreps_in1"]), irreps(&config["irreps_out"]));
        let nz = irreps(&config["irreps_in2"])[0].0;
        let (from, to) = (starts(&a), starts(&b));
        let (w, mut at) = (self.tensor(&format!("{name}.weight")), 0);
        let mut out = vec![0.0; to[b.len()]];
        for p in list(&config["paths"]) {
            let (i, o, alpha) = (int(&p["in1"]), int(&p["out"]), p["alpha"].as_f64().unwrap());
            let (mu, mv, d) = (a[i].0, b[o].0, 2 * a[i].1 + 1);
            // The 3j symbol with a scalar is δ/√(2l + 1).
            let alpha = alpha / (d as f64).sqrt();
            for (u, v, m) in (0..mu).flat_map(|u| (0..mv).flat_map(move |v| (0..d).map(move |m| (u, v, m)))) {
                out[to[o] + v * d + m] += alpha * w[at + (u * nz + z) * mv + v] * x[from[i] + u * d + m];
            }
            at += mu * nz * mv;
        }
        out
    }

    /// The channelwise product of an edge.
    fn product(&self, config: &Value, x: &[f64], y: &[f64], w: &[f64]) -> Vec<f64> {
        let (a, b, o) = (irreps(&config["irreps_in1"]), irreps(&config["irreps_in2"]), irreps(&config["irreps_out"]));
        let (xa, yb, to) = (starts(&a), starts(&b), starts(&o));
        let (mut out, mut at) = (vec![0.0; to[o.len()]], 0);
        for p in list(&config["paths"]) {
            let (i, j, k, alpha) = (int(&p["in1"]), int(&p["in2"]), int(&p["out"]), p["alpha"].as_f64().unwrap());
            let (l1, l2, l3) = (a[i].1, b[j].1, o[k].1);
            let c = w3j(l1, l2, l3);
            for u in 0..a[i].0 {
                for (m1, m2, m3) in (0..2 * l1 + 1)
                    .flat_map(|i| (0..2 * l2 + 1).flat_map(move |j| (0..2 * l3 + 1).map(move |k| (i, j, k))))
                {
                    out[to[k] + u * (2 * l3 + 1) + m3] +=
                        alpha * w[at + u] * c[m1][m2][m3] * x[xa[i] + u * (2 * l1 + 1) + m1] * y[yb[j] + m2];
                }
            }
            at += a[i].0;
        }
        out
    }

    fn mlp(&self, config: &Value, name: &str, x: &[f64]) -> Vec<f64> {
        let sizes: Vec<usize> = list(&config["sizes"]).iter().map(int).collect();
        let mut x = x.to_vec();
        for k in 0..sizes.len() - 1 {
            let (n, m, last) = (sizes[k], sizes[k + 1], k + 2 == sizes.len());
            let mut y = vec![0.0; m];
            if config["kind"] == "mlp" {
                let w = self.tensor(&format!("{name}.layer{k}.weight"));
                (0..n * m).for_each(|i| y[i % m] += x[i / m] * w[i] / (n as f64).sqrt());
                if !last {
                    let constant = config["act_constant"].as_f64().unwrap();
                    y.iter_mut().for_each(|y| *y = constant * silu(*y));
                }
            } else {
                let (w, b) = (
                    self.tensor(&format!("{name}.net.{}.weight", 3 * k)),
                    self.tensor(&format!("{name}.net.{}.bias", 3 * k)),
                );
                (0..n * m).for_each(|i| y[i / n] += x[i % n] * w[i]);
                y.iter_mut().zip(b).for_each(|(y, b)| *y += b);
                if !last {
                    let mean = y.iter().sum::<f64>() / m as f64;
                    let variance = y.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>() / m as f64;
                    let at = format!("{name}.net.{}", 3 * k + 1);
                    let (w, b) = (self.tensor(&format!("{at}.weight")), self.tensor(&format!("{at}.bias")));
                    let eps = config["eps"][k].as_f64().unwrap();
                    for i in 0..m {
                        y[i] = silu((y[i] - mean) / (variance + eps).sqrt() * w[i] + b[i]);
                    }
                }
            }
            x = y;
        }
        x
    }

    /// Radial features before the cutoff.
    fn basis(&self, r: f64, radii: impl Fn(&str) -> f64) -> Vec<f64> {
        let c = &self.config["radial"];
        let name = |part: &str| format!("radial_embedding.{part}");
        let t = match c["transform"].as_str() {
            None => r,
            Some("AgnesiTransform") => {
                let get = |x: &str| self.number(&name(&format!("distance_transform.{x}")));
                let (a, q, p) = (get("a"), get("q"), get("p"));
                let s = r / (0.5 * radii(&name("distance_transform.covalent_radii")));
                1.0 / (1.0 + a * s.powf(q) / (1.0 + s.powf(q - p)))
            }
            Some(_) => {
                let alpha = self.number(&name("distance_transform.alpha"));
                let r0 = radii(&name("distance_transform.covalent_radii"));
                let (p0, p1) = (0.75 * r0, 4.0 / 3.0 * r0);
                p0 + (r - p0) * 0.5 * (1.0 + (alpha * (r - 0.5 * (p0 + p1)) / (p1 - p0)).tanh())
            }
        };
        match text(&c["basis"]) {
            "BesselBasis" => {
                let (w, k) =
                    (self.tensor(&name("bessel_fn.bessel_weights")), self.number(&name("bessel_fn.prefactor")));
                w.iter().map(|w| k * (w * t).sin() / t).collect()
            }
            "GaussianBasis" => {
                let gamma = c["gaussian_coefficient"].as_f64().unwrap();
                let centres = self.tensor(&name("bessel_fn.gaussian_weights"));
                centres.iter().map(|mu| (gamma * (t - mu) * (t - mu)).exp()).collect()
            }
            _ => self.tensor(&name("bessel_fn.n")).iter().map(|&n| chebyshev(n as usize, t)).collect(),
        }
    }

    /// `B` of an atom from `A` (channel, component).
    fn contraction(&self, t: usize, a: &[f64], z: usize) -> Vec<f64> {
        let c = &self.config["products"][t]["contraction"];
        let (input, output) = (irreps(&c["irreps_in"]), irreps(&c["irreps_out"]));
        let (k, d) = (input[0].0, input.iter().map(|(_, l)| 2 * l + 1).sum::<usize>());
        let mut out = Vec::new();
        for (block, &(_, l)) in output.iter().enumerate() {
            let max = int(&c["correlation"][block]);
            let mut b = vec![0.0; k * (2 * l + 1)];
            for nu in 1..=max {
                let name = format!("products.{t}.symmetric_contractions.contractions.{block}");
                let u = self.tensor(&format!("{name}.U_matrix_{nu}"));
                let w = match max - nu {
                    0 => format!("{name}.weights_max"),
                    n => format!("{name}.weights.{}", n - 1),
                };
                let paths = int(&self.tensors[&w]["shape"][1]);
                let w = self.tensor(&w);
                for (flat, u) in u.iter().enumerate().filter(|(_, u)| **u != 0.0) {
                    let (path, mut rest) = (flat % paths, flat / paths);
                    let mut q = Vec::new();
                    (0..nu).for_each(|_| {
                        q.push(rest % d);
                        rest /= d;
                    });
                    for ch in 0..k {
                        let product: f64 = q.iter().map(|q| a[ch * d + q]).product();
                        b[ch * (2 * l + 1) + rest] += w[(z * paths + path) * k + ch] * u * product;
                    }
                }
            }
            out.extend(b);
        }
        out
    }

    fn gate(&self, c: &Value, x: &[f64]) -> Vec<f64> {
        let (scalars, gated) = (irreps(&c["scalars"])[0].0, irreps(&c["gated"]));
        let (ka, kg) = (c["act_constant"].as_f64().unwrap(), c["gate_constant"].as_f64().unwrap());
        let mut out: Vec<f64> = x[..scalars].iter().map(|&x| ka * silu(x)).collect();
        let n_gates: usize = gated.iter().map(|g| g.0).sum();
        let (mut gate, mut at) = (scalars, scalars + n_gates);
        for (mul, l) in gated {
            for _ in 0..mul {
                let g = kg / (1.0 + (-x[gate]).exp());
                out.extend(x[at..at + 2 * l + 1].iter().map(|x| g * x));
                (gate, at) = (gate + 1, at + 2 * l + 1);
            }
        }
        out
    }

    /// The readout of a head; `hidden` numbers of other heads are zero.
    fn readout(&self, r: usize, x: &[f64], head: usize) -> Vec<f64> {
        let c = &self.config["readouts"][r];
        let name = |part: &str| format!("readouts.{r}.{part}");
        if !c["linear"].is_null() {
            return self.linear(&c["linear"], &name("linear"), x);
        }
        let heads = list(&self.config["heads"]).len();
        let act = |mut x: Vec<f64>| {
            let (n, k) = (x.len() / heads, c["act_constant"].as_f64().unwrap());
            x.iter_mut().enumerate().for_each(|(i, x)| *x = if i / n == head { k * silu(*x) } else { 0.0 });
            x
        };
        let mut x = act(self.linear(&c["linear_1"], &name("linear_1"), x));
        if !c["linear_mid"].is_null() {
            x = act(self.linear(&c["linear_mid"], &name("linear_mid"), &x));
        }
        self.linear(&c["linear_2"], &name("linear_2"), &x)
    }
}

fn chebyshev(n: usize, x: f64) -> f64 {
    match n {
        0 => 1.0,
        1 => x,
        n => 2.0 * x * chebyshev(n - 1, x) - chebyshev(n - 2, x),
    }
}

/// Everything of a structure of a golden file, from its edges and positions. Radial functions are those at `basis_positions`, if the
/// structure has such.
pub fn evaluate(file: &Value, s: &Value) -> Naive {
    let m = Model { config: &file["config"], tensors: &file["tensors"] };
    let c = m.config;
    let numbers = floats(&s["numbers"]);
    let species = m.tensor("atomic_numbers");
    let z: Vec<usize> = numbers.iter().map(|n| species.iter().position(|s| s == n).unwrap()).collect();
    let (n, head, r_max) = (z.len(), int(&s["head"]), m.number("r_max"));
    let index = |name: &str| floats(&s[name]).into_iter().map(|x| x as usize).collect::<Vec<_>>();
    let (sender, receiver) = (index("sender"), index("receiver"));
    let (x, cell, shift) = (triples(&s["positions"]), triples(&s["cell"]), triples(&s["shift"]));
    let vector = |x: &[[f64; 3]], e: usize| -> Vec<f64> {
        let shift = |d: usize| (0..3).map(|k| shift[e][k] * cell[k][d]).sum::<f64>();
        (0..3).map(|d| x[receiver[e]][d] - x[sender[e]][d] + shift(d)).collect()
    };
    let vectors: Table = (0..sender.len()).map(|e| vector(&x, e)).collect();
    let lmax = int(&c["lmax"]);
    let mut seen = BTreeMap::new();
    let radius = |name: &str, e: usize| {
        let radii = m.tensor(name);
        radii[numbers[sender[e]] as usize] + radii[numbers[receiver[e]] as usize]
    };

    let nz = species.len() as f64;
    let w = m.tensor("node_embedding.linear.weight");
    let k = w.len() / species.len();
    let mut h: Table = z.iter().map(|&z| w[z * k..][..k].iter().map(|w| w / nz.sqrt()).collect()).collect();
    seen.insert("embedding".to_owned(), h.clone());
    if let Some(specs) = c["embedding_specs"].as_object() {
        // Columns of the projection follow the order of the specification in the file.
        let mut row = Vec::new();
        for name in ["total_spin", "total_charge"].iter().filter(|name| specs.contains_key(**name)) {
            let spec = &specs[*name];
            let table = m.tensor(&format!("joint_embedding.embedders.{name}.weight"));
            let width = int(&spec["emb_dim"]);
            let at = (s[*name].as_i64().unwrap() + spec["offset"].as_i64().unwrap_or(0)) as usize;
            row.extend_from_slice(&table[at * width..][..width]);
        }
        let w = m.tensor("joint_embedding.project.0.weight");
        let add: Vec<f64> = (0..k).map(|v| silu((0..row.len()).map(|u| w[v * row.len() + u] * row[u]).sum())).collect();
        h.iter_mut().for_each(|h| h.iter_mut().zip(&add).for_each(|(h, a)| *h += a));
    }

    let y: Table = vectors.iter().map(|v| harmonics(lmax, [v[0], v[1], v[2]])).collect();
    let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let cutoff: Vec<f64> =
        vectors.iter().map(|v| envelope(length(v) / r_max, m.number("radial_embedding.cutoff_fn.p"))).collect();
    let fixed = s.get("basis_positions").map_or(Vec::new(), triples);
    let early = c["radial"]["apply_cutoff"].as_bool().unwrap();
    let features: Table = (0..sender.len())
        .map(|e| {
            let r = if fixed.is_empty() { length(&vectors[e]) } else { length(&vector(&fixed, e)) };
            let b = m.basis(r, |name| radius(name, e));
            b.into_iter().map(|b| if early { b * cutoff[e] } else { b }).collect()
        })
        .collect();
    seen.insert("vectors".to_owned(), vectors.clone());
    seen.insert("harmonics".to_owned(), y.clone());
    seen.insert("radial.0".to_owned(), features.clone());

    let mut shares = vec![0.0; n];
    if c["zbl"].as_bool().unwrap() {
        let get = |part: &str| m.tensor(&format!("pair_repulsion_fn.{part}"));
        let (a_exp, a_pre, p, screen) = (get("a_exp")[0], get("a_prefactor")[0], get("p")[0], get("c"));
        for e in 0..sender.len() {
            let (zu, zv, r) = (numbers[sender[e]], numbers[receiver[e]], length(&vectors[e]));
            let a = a_pre * 0.529 / (zu.powf(a_exp) + zv.powf(a_exp));
            let phi: f64 = screen.iter().zip([3.2, 0.9423, 0.4028, 0.2016]).map(|(c, b)| c * (-b * r / a).exp()).sum();
            let f = envelope(r / radius("pair_repulsion_fn.covalent_radii", e), p);
            shares[receiver[e]] += 0.5 * 14.3996 * zu * zv / r * phi * f;
        }
        seen.insert("zbl".to_owned(), shares.iter().map(|&p| vec![p]).collect());
    }

    let layers = int(&c["num_interactions"]);
    let mut after = Vec::new();
    for t in 0..layers {
        let i = &c["interactions"][t];
        let name = |part: &str| format!("interactions.{t}.{part}");
        let class = text(&i["class"]);
        let nonlinear = class.contains("NonLinear");
        let up: Table = h.iter().map(|h| m.linear(&i["linear_up"], &name("linear_up"), h)).collect();
        let input: Table = (0..sender.len())
            .map(|e| {
                let mut x = features[e].clone();
                if nonlinear {
                    for (part, atom) in [("source_embedding", sender[e]), ("target_embedding", receiver[e])] {
                        let mut one_hot = vec![0.0; species.len()];
                        one_hot[z[atom]] = 1.0;
                        x.extend(m.linear(&i[part], &name(part), &one_hot));
                    }
                }
                x
            })
            .collect();
        let weights: Table = input.iter().map(|x| m.mlp(&i["conv_tp_weights"], &name("conv_tp_weights"), x)).collect();
        if t == 0 {
            seen.insert("tp_weights.0".to_owned(), weights.clone());
        }
        let late = |e: usize| if early { 1.0 } else { cutoff[e] };
        let width = starts(&irreps(&i["conv_tp"]["irreps_out"])).pop().unwrap();
        let (mut message, mut density) = (vec![vec![0.0; width]; n], vec![0.0; n]);
        for e in 0..sender.len() {
            let w: Vec<f64> = weights[e].iter().map(|w| w * late(e)).collect();
            let product = m.product(&i["conv_tp"], &up[sender[e]], &y[e], &w);
            message[receiver[e]].iter_mut().zip(product).for_each(|(m, p)| *m += p);
            if !i["density_fn"].is_null() {
                let d = m.mlp(&i["density_fn"], &name("density_fn"), &input[e])[0];
                density[receiver[e]] += (d * d).tanh() * late(e);
            }
        }
        let mut next = Vec::new();
        let (mut all_a, mut all_b, mut all_skip) = (Vec::new(), Vec::new(), Vec::new());
        for atom in 0..n {
            let scaled = |x: Vec<f64>, by: f64| x.into_iter().map(|x| x / by).collect::<Vec<f64>>();
            let mut skip = None;
            let a = if nonlinear {
                let norm = m.number(&name("beta")) * density[atom] + m.number(&name("alpha"));
                let mut x = scaled(m.linear(&i["linear_1"], &name("linear_1"), &message[atom]), norm);
                let residual = m.linear(&i["linear_res"], &name("linear_res"), &up[atom]);
                x.iter_mut().zip(residual).for_each(|(x, r)| *x += r);
                skip = Some(m.skip(&i["skip_tp"], &name("skip_tp"), &h[atom], z[atom]));
                m.linear(&i["linear_2"], &name("linear_2"), &m.gate(&i["equivariant_nonlin"], &x))
            } else {
                let norm = match class.contains("Density") {
                    true => density[atom] + 1.0,
                    false => i["avg_num_neighbors"].as_f64().unwrap(),
                };
                let x = scaled(m.linear(&i["linear"], &name("linear"), &message[atom]), norm);
                if class.contains("Residual") {
                    skip = Some(m.skip(&i["skip_tp"], &name("skip_tp"), &h[atom], z[atom]));
                    x
                } else {
                    m.skip(&i["skip_tp"], &name("skip_tp"), &x, z[atom])
                }
            };
            // From blocks to (channel, component).
            let target = irreps(&i["target"]);
            let (at, channels) = (starts(&target), target[0].0);
            let row = |u: usize| {
                let blocks = target.iter().enumerate();
                blocks.flat_map(|(b, (_, l))| a[at[b] + u * (2 * l + 1)..][..2 * l + 1].to_vec()).collect::<Vec<f64>>()
            };
            let a: Vec<f64> = (0..channels).flat_map(row).collect();
            let zb = if c["use_agnostic_product"].as_bool().unwrap() { 0 } else { z[atom] };
            let b = m.contraction(t, &a, zb);
            let p = &c["products"][t];
            let mut out = m.linear(&p["linear"], &format!("products.{t}.linear"), &b);
            if let (true, Some(skip)) = (p["use_sc"].as_bool().unwrap(), &skip) {
                out.iter_mut().zip(skip).for_each(|(o, s)| *o += s);
            }
            all_a.push(a);
            all_b.push(b);
            all_skip.extend(skip);
            next.push(out);
        }
        seen.insert(format!("interaction.{t}.0"), all_a);
        if !all_skip.is_empty() {
            seen.insert(format!("interaction.{t}.1"), all_skip);
        }
        seen.insert(format!("contraction.{t}"), all_b);
        seen.insert(format!("node_feats.{t}"), next.clone());
        after.push(next.clone());
        h = next;
    }

    let readouts = list(&c["readouts"]).len();
    for r in 0..readouts {
        let layer = if readouts == 1 { layers - 1 } else { r };
        let out: Table = after[layer].iter().map(|h| m.readout(r, h, head)).collect();
        shares.iter_mut().zip(&out).for_each(|(e, o)| *e += o[head]);
        seen.insert(format!("readout.{r}"), out);
    }
    let by_head = |name: &str| {
        let t = m.tensor(name);
        t[if t.len() > 1 { head } else { 0 }]
    };
    let shift_and_scale = text(&c["class"]) == "ScaleShiftMACE";
    let [scale, shift] = match shift_and_scale {
        true => [by_head("scale_shift.scale"), by_head("scale_shift.shift")],
        false => [1.0, 0.0],
    };
    let e0 = m.tensor("atomic_energies_fn.atomic_energies");
    let e0_head = if e0.len() > species.len() { head * species.len() } else { 0 };
    let energies = (0..n).map(|i| e0[e0_head + z[i]] + scale * shares[i] + shift).collect();
    Naive { energies, seen }
}
