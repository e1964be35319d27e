//! From the spec to the network: everything is checked here.

use super::layer::Context;
use super::linear::linear;
use super::radial::{Basis, Features, Transform};
use super::readout::{Embedding, Property, Readout, ReadoutKind, ReadoutLayer};
use super::{Network, Shape, Zbl};
use crate::mace::spec::{Config, FORMAT, HARMONICS, LAYOUT, LinearConfig, MaceSpec, ReadoutConfig, VERSION};
use crate::{Error, Result};

type Checked<T> = std::result::Result<T, String>;

/// More layers than any model has.
const MAX_LAYERS: usize = 16;
/// The highest degree of the harmonics.
const MAX_DEGREE: usize = 6;

impl Network {
    /// # Errors
    /// The first fault, with the name of the tensor or of the field; what is not covered is refused by name.
    pub fn new(spec: &MaceSpec) -> Result<Network> {
        build(spec).map_err(|message| Error::Model(format!("MACE: {message}")))
    }

    /// How far an atom's energy looks: one cutoff for each layer.
    pub fn hops(&self) -> usize {
        self.layers.len()
    }
}

fn build(spec: &MaceSpec) -> Checked<Network> {
    let c = &spec.config;
    header(c)?;
    let species = species(spec)?;
    let (nz, nh) = (species.len(), c.heads.len());
    let cutoff = positive(spec.scalar("r_max")?, "r_max")?;
    if cutoff > crate::graph::MAX_CUTOFF {
        return Err(format!("the cutoff {cutoff} Å"));
    }
    let features = features(spec, cutoff, &species)?;
    let k = c.node_embedding.irreps_out.dim();
    let map = linear(spec, &c.node_embedding, "node_embedding.linear", [nz, k])?;
    if map.from.ls != [0] || map.to.ls != [0] {
        return Err("node_embedding: not a row of scalars for each species".into());
    }
    let embedding = map.blocks.into_iter().next().map_or(Vec::new(), |b| b.w);
    let mut layers = Vec::new();
    let mut shape = Shape { k, ls: vec![0] };
    let context = Context { spec, features: &features, n_species: nz, k };
    for t in 0..c.num_interactions {
        let layer = context.layer(t, &shape)?;
        shape = layer.linear.to.clone();
        if shape.ls.first() != Some(&0) {
            return Err(format!("products.{t}: the features have no scalars in front"));
        }
        layers.push(layer);
    }
    let e0 = per_head(spec, "atomic_energies_fn.atomic_energies", nh, nz)?;
    let (scale, shift) = match c.class.as_str() {
        "MACE" => (vec![1.0; nh], vec![0.0; nh]),
        _ => (head_numbers(spec, "scale_shift.scale", nh)?, head_numbers(spec, "scale_shift.shift", nh)?),
    };
    let readouts = readouts(spec, &layers.iter().map(|l| &l.linear.to).collect::<Vec<_>>())?;
    let zbl = if c.zbl { Some(zbl(spec, &species)?) } else { None };
    if let Some(zbl) = zbl.as_ref().filter(|z| z.cutoff() > cutoff) {
        return Err(format!("the pair repulsion reaches {} Å, beyond the cutoff {cutoff} Å", zbl.cutoff()));
    }
    let extra = extra(spec, k)?;
    let (heads, lmax) = (c.heads.clone(), c.lmax);
    Ok(Network { species, heads, cutoff, lmax, e0, scale, shift, embedding, extra, layers, readouts, zbl })
}

fn header(c: &Config) -> Checked<()> {
    if c.format != FORMAT || c.version != VERSION {
        return Err(format!("the format `{}` {}, not `{FORMAT}` {VERSION}", c.format, c.version));
    }
    if !["MACE", "ScaleShiftMACE"].contains(&c.class.as_str()) {
        return Err(format!("models of the class `{}` are not covered", c.class));
    }
    if c.layout != LAYOUT || c.harmonics != HARMONICS {
        return Err(format!("layout `{}` and harmonics `{}` are not covered", c.layout, c.harmonics));
    }
    if c.heads.is_empty() || c.heads.len() > 1 << 12 {
        return Err(format!("{} heads", c.heads.len()));
    }
    if c.lmax > MAX_DEGREE {
        return Err(format!("harmonics up to l = {}: only up to {MAX_DEGREE} are covered", c.lmax));
    }
    let n = c.num_interactions;
    if !(1..=MAX_LAYERS).contains(&n) || n != c.interactions.len() || n != c.products.len() {
        let (i, p) = (c.interactions.len(), c.products.len());
        return Err(format!("{n} layers with {i} interactions and {p} products"));
    }
    if c.embedding_readout == Some(true) {
        return Err("a readout of the embedding is not covered".into());
    }
    Ok(())
}

fn species(spec: &MaceSpec) -> Checked<Vec<u8>> {
    let name = "atomic_numbers";
    let n = spec.tensors.get(name).ok_or("tensor `atomic_numbers` is missing")?.shape.first().copied().unwrap_or(0);
    let numbers = spec.values(name, &[n])?;
    let mut species = Vec::new();
    for x in numbers {
        let z = x as u8;
        if f64::from(z) != x || crate::element::symbol(z).is_none() || species.contains(&z) {
            return Err(format!("{name}: {x} is no element or there twice"));
        }
        species.push(z);
    }
    match species.is_empty() {
        true => Err(format!("{name}: no elements")),
        false => Ok(species),
    }
}

fn positive(x: f64, name: &str) -> Checked<f64> {
    match x > 0.0 && x.is_finite() {
        true => Ok(x),
        false => Err(format!("{name} = {x} is not positive")),
    }
}

/// Radii of the species out of a table by atomic number.
fn radii(spec: &MaceSpec, name: &str, species: &[u8]) -> Checked<Vec<f64>> {
    let n = spec.tensors.get(name).and_then(|t| t.shape.first()).copied().unwrap_or(0);
    let table = spec.values(name, &[n])?;
    let radius = |&z: &u8| table.get(z as usize).copied().ok_or_else(|| format!("{name}: nothing for Z = {z}"));
    species.iter().map(|z| positive(radius(z)?, name)).collect()
}

fn features(spec: &MaceSpec, cutoff: f64, species: &[u8]) -> Checked<Features> {
    let r = &spec.config.radial;
    let name = |part: &str| format!("radial_embedding.{part}");
    let n = r.n;
    if !(1..=1024).contains(&n) {
        return Err(format!("{n} radial functions"));
    }
    let basis = match r.basis.as_str() {
        "BesselBasis" => Basis::Bessel {
            weights: spec.values(&name("bessel_fn.bessel_weights"), &[n])?,
            prefactor: spec.scalar(&name("bessel_fn.prefactor"))?,
        },
        "GaussianBasis" => Basis::Gaussian {
            centres: spec.values(&name("bessel_fn.gaussian_weights"), &[n])?,
            coefficient: r.gaussian_coefficient.ok_or("radial: no `gaussian_coefficient`")?,
        },
        "ChebychevBasis" => {
            let orders = spec.values(&name("bessel_fn.n"), &[1, n])?;
            let order =
                |&x: &f64| (0.0..=1024.0).contains(&x).then_some(x as usize).ok_or(format!("radial: order {x}"));
            Basis::Chebyshev { orders: orders.iter().map(order).collect::<Checked<_>>()? }
        }
        other => return Err(format!("radial functions `{other}` are not covered")),
    };
    let part = |x: &str| name(&format!("distance_transform.{x}"));
    let transform = match r.transform.as_deref() {
        None => Transform::None,
        Some("AgnesiTransform") => Transform::Agnesi {
            a: positive(spec.scalar(&part("a"))?, "a")?,
            q: positive(spec.scalar(&part("q"))?, "q")?,
            p: positive(spec.scalar(&part("p"))?, "p")?,
            radii: radii(spec, &part("covalent_radii"), species)?,
        },
        Some("SoftTransform") => Transform::Soft {
            alpha: spec.scalar(&part("alpha"))?,
            radii: radii(spec, &part("covalent_radii"), species)?,
        },
        Some(other) => return Err(format!("the transform `{other}` is not covered")),
    };
    let p = spec.scalar(&name("cutoff_fn.p"))?;
    let reach = spec.scalar(&name("cutoff_fn.r_max"))?;
    if !(3.0..=64.0).contains(&p) || p.fract() != 0.0 || reach != cutoff {
        return Err(format!("a cutoff of power {p} at {reach} Å, where r_max is {cutoff} Å"));
    }
    Ok(Features { basis, transform, cutoff, p, early: r.apply_cutoff })
}

/// (heads, n), stored without the first axis where there is one head.
fn per_head(spec: &MaceSpec, name: &str, nh: usize, n: usize) -> Checked<Vec<Vec<f64>>> {
    let flat = spec.tensors.get(name).is_some_and(|t| t.shape.len() == 1) && nh == 1;
    let shape = if flat { vec![n] } else { vec![nh, n] };
    Ok(spec.values(name, &shape)?.chunks(n).map(<[f64]>::to_vec).collect())
}

fn head_numbers(spec: &MaceSpec, name: &str, nh: usize) -> Checked<Vec<f64>> {
    match nh {
        1 => Ok(vec![spec.scalar(name)?]),
        _ => spec.values(name, &[nh]),
    }
}

/// For each head; where there are more of them, a head has a part of the hidden width.
fn readouts(spec: &MaceSpec, shapes: &[&Shape]) -> Checked<Vec<Vec<Readout>>> {
    let (n, nh) = (spec.config.readouts.len(), spec.config.heads.len());
    let layers: Vec<usize> = match n {
        1 => vec![shapes.len() - 1],
        n if n == shapes.len() => (0..n).collect(),
        n => return Err(format!("{n} readouts for {} layers", shapes.len())),
    };
    let mut heads = vec![Vec::new(); nh];
    for (r, layer) in layers.into_iter().enumerate() {
        let config = &spec.config.readouts[r];
        for (h, kind) in readout(spec, config, r, shapes[layer], nh)?.into_iter().enumerate() {
            heads[h].push(Readout { layer, kind });
        }
    }
    Ok(heads)
}

fn readout(spec: &MaceSpec, c: &ReadoutConfig, r: usize, shape: &Shape, nh: usize) -> Checked<Vec<ReadoutKind>> {
    let name = |part: &str| format!("readouts.{r}.{part}");
    // Of scalars to scalars: the matrix (in, out).
    let matrix = |config: &Option<LinearConfig>, part: &str, input: &Shape, n: usize| {
        let config = config.as_ref().ok_or_else(|| format!("readouts.{r} ({}) has no `{part}`", c.class))?;
        let map = linear(spec, config, &name(part), [input.k, n])?;
        match map.blocks.len() == 1 && map.from == *input && map.to == (Shape { k: n, ls: vec![0] }) {
            true => Ok(map.blocks.into_iter().next().expect("one block").w),
            false => Err(format!("{}: not from the scalars of the layer to {n} numbers", name(part))),
        }
    };
    // Columns of a part of the outputs, of a part of the inputs.
    let cut = |w: &[f64], n: usize, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>| -> Vec<f64> {
        w.chunks(n).skip(rows.start).take(rows.len()).flat_map(|row| row[columns.clone()].to_vec()).collect()
    };
    match c.class.as_str() {
        "LinearReadoutBlock" => {
            let w = matrix(&c.linear, "linear", shape, nh)?;
            Ok((0..nh).map(|h| ReadoutKind::Linear(cut(&w, nh, 0..shape.k, h..h + 1))).collect())
        }
        "NonLinearReadoutBlock" | "NonLinearBiasReadoutBlock" => {
            let biased = c.class == "NonLinearBiasReadoutBlock";
            if c.act.as_deref() != Some("silu") || c.num_heads != Some(nh) {
                return Err(format!("readouts.{r}: activation {:?} and {:?} heads", c.act, c.num_heads));
            }
            let constant = c.act_constant.ok_or_else(|| format!("readouts.{r}: no `act_constant`"))?;
            let hidden = Shape { k: c.linear_1.as_ref().map_or(0, |l| l.irreps_out.dim()), ls: vec![0] };
            let (n, width) = (hidden.k, hidden.k / nh);
            if width * nh != n || n == 0 {
                return Err(format!("readouts.{r}: {n} hidden numbers for {nh} heads"));
            }
            let first = matrix(&c.linear_1, "linear_1", shape, n)?;
            let middle = biased.then(|| matrix(&c.linear_mid, "linear_mid", &hidden, n)).transpose()?;
            let last = matrix(&c.linear_2, "linear_2", &hidden, nh)?;
            let bias = |part: &str, n: usize| match biased {
                true => spec.values(&name(&format!("{part}.bias")), &[n]),
                false => Ok(Vec::new()),
            };
            let (bias_middle, bias_last) = (bias("linear_mid", n)?, bias("linear_2", nh)?);
            let part = |b: &[f64], range: std::ops::Range<usize>| b.get(range).unwrap_or(&[]).to_vec();
            let head = |h: usize| {
                let own = h * width..(h + 1) * width;
                let mut layers =
                    vec![ReadoutLayer { n_out: width, w: cut(&first, n, 0..shape.k, own.clone()), b: Vec::new() }];
                if let Some(w) = &middle {
                    let w = cut(w, n, own.clone(), own.clone());
                    layers.push(ReadoutLayer { n_out: width, w, b: part(&bias_middle, own.clone()) });
                }
                let w = cut(&last, nh, own, h..h + 1);
                layers.push(ReadoutLayer { n_out: 1, w, b: part(&bias_last, h..h + 1) });
                ReadoutKind::Mlp { layers, constant }
            };
            Ok((0..nh).map(head).collect())
        }
        other => Err(format!("readouts of the class `{other}` are not covered")),
    }
}

fn zbl(spec: &MaceSpec, species: &[u8]) -> Checked<Zbl> {
    let name = |part: &str| format!("pair_repulsion_fn.{part}");
    let c = spec.values(&name("c"), &[4])?;
    Ok(Zbl {
        c: c.try_into().expect("four numbers"),
        p: positive(spec.scalar(&name("p"))?, "p")?,
        exponent: spec.scalar(&name("a_exp"))?,
        prefactor: positive(spec.scalar(&name("a_prefactor"))?, "a_prefactor")?,
        charges: species.iter().map(|&z| z.into()).collect(),
        radii: radii(spec, &name("covalent_radii"), species)?,
    })
}

fn extra(spec: &MaceSpec, k: usize) -> Checked<Option<Embedding>> {
    let Some(specs) = &spec.config.embedding_specs else { return Ok(None) };
    let mut properties = Vec::new();
    let mut width = 0;
    for (name, e) in specs {
        if e.kind != "categorical" || e.per != "graph" {
            return Err(format!("the embedding of `{name}`: `{}` per `{}` is not covered", e.kind, e.per));
        }
        let n_rows = e.num_classes.filter(|&n| n > 0).ok_or_else(|| format!("embedding of `{name}`: no classes"))?;
        let table = spec.values(&format!("joint_embedding.embedders.{name}.weight"), &[n_rows, e.emb_dim])?;
        width += e.emb_dim;
        properties.push(Property { name: name.clone(), offset: e.offset.unwrap_or(0), n_rows, table });
    }
    // Stored (out, in).
    let stored = spec.values("joint_embedding.project.0.weight", &[k, width])?;
    let w = (0..width * k).map(|n| stored[n % k * width + n / k]).collect();
    Ok(Some(Embedding { properties, w }))
}
