//! One round of message passing, out of its configuration.

use super::linear::{indexed_linear, linear};
use super::radial::{Dense, Features, LayerNorm, Net, Radial};
use super::{Contraction, Gate, Layer, Map, Norm, Path, Shape};
use crate::mace::spec::{InteractionConfig, LinearConfig, MaceSpec, MlpConfig, SkipConfig};
use crate::ops::Irreps;

type Result<T> = std::result::Result<T, String>;

/// What an interaction block does, by its class.
#[derive(Clone, Copy, PartialEq)]
enum Block {
    /// No skip connection: the message itself goes through a map of the species.
    Plain,
    Residual,
    NonLinear,
}

/// What all layers share.
pub struct Context<'a> {
    pub spec: &'a MaceSpec,
    pub features: &'a Features,
    pub n_species: usize,
    pub k: usize,
}

impl Context<'_> {
    pub fn layer(&self, t: usize, input: &Shape) -> Result<Layer> {
        let (spec, nz) = (self.spec, self.n_species);
        let c = &spec.config.interactions[t];
        let name = |part: &str| format!("interactions.{t}.{part}");
        let (block, dense) = match c.class.as_str() {
            "RealAgnosticInteractionBlock" => (Block::Plain, false),
            "RealAgnosticResidualInteractionBlock" => (Block::Residual, false),
            "RealAgnosticDensityInteractionBlock" => (Block::Plain, true),
            "RealAgnosticDensityResidualInteractionBlock" => (Block::Residual, true),
            "RealAgnosticResidualNonLinearInteractionBlock" => (Block::NonLinear, true),
            other => return Err(format!("interactions.{t}: blocks of the class `{other}` are not covered")),
        };
        let need = |map: &'_ Option<LinearConfig>, part: &str| -> Result<LinearConfig> {
            map.clone().ok_or_else(|| format!("interactions.{t}: no `{part}`"))
        };
        let k = self.k;
        let k_edge = c.linear_up.irreps_out.blocks().first().map_or(0, |b| b.mul);
        let up = linear(spec, &c.linear_up, &name("linear_up"), [k, k_edge])?;
        if up.from != *input {
            return Err(format!(
                "{}: `{}` are not the features of the layer",
                name("linear_up"),
                c.linear_up.irreps_in
            ));
        }
        let paths = self.paths(c, &up.to, &name("conv_tp"))?;
        let messages = Shape { k: k_edge, ls: paths.iter().map(|p| p.l3).collect() };
        let target = Shape { k, ls: (0..=spec.config.lmax).collect() };
        let map = |part: &str, config: &LinearConfig, widths| linear(spec, config, &name(part), widths);
        let (mut message, mut norm, mut gate) = (Vec::new(), None, None);
        if dense {
            let [alpha, beta] = match block {
                Block::NonLinear => [spec.scalar(&name("alpha"))?, spec.scalar(&name("beta"))?],
                _ => [1.0, 1.0],
            };
            norm = Some(Norm { alpha, beta });
        }
        if block == Block::NonLinear {
            message.push(map("linear_1", &need(&c.linear_1, "linear_1")?, [k_edge, k])?);
            gate = Some(self.gate(t, c, &up.to, &target)?);
        } else {
            let first = map("linear", &need(&c.linear, "linear")?, [k_edge, k])?;
            let first = match norm {
                Some(_) => first,
                None if c.avg_num_neighbors > 0.0 && c.avg_num_neighbors.is_finite() => {
                    first.scaled(1.0 / c.avg_num_neighbors)
                }
                None => return Err(format!("interactions.{t}: avg_num_neighbors {}", c.avg_num_neighbors)),
            };
            message.push(first);
        }
        let expected = gate.as_ref().map_or(&target, |g| &g.residual.to);
        if message[0].from != messages || message[0].to != *expected {
            return Err(format!("interactions.{t}: the map after the product does not fit its irreps"));
        }
        let mut skip = Vec::new();
        match (&c.skip_tp, block) {
            (Some(SkipConfig::Product(config)), Block::Plain) => {
                let maps = indexed_linear(spec, config, &name("skip_tp"), [k, k], nz)?;
                if maps[0].from != target || maps[0].to != target {
                    return Err(format!("{}: does not fit the messages", name("skip_tp")));
                }
                // Two linear maps after each other are one.
                message = maps.iter().map(|skip| skip.after(&message[0])).collect();
            }
            (Some(SkipConfig::Product(config)), Block::Residual) => {
                skip = indexed_linear(spec, config, &name("skip_tp"), [k, k], nz)?;
            }
            (Some(SkipConfig::Linear(config)), Block::NonLinear) => {
                skip = vec![linear(spec, config, &name("skip_tp"), [k, k])?];
            }
            _ => return Err(format!("interactions.{t}: the skip connection is not that of `{}`", c.class)),
        }
        let p = &spec.config.products[t];
        let product = Contraction::new(spec, t, &p.contraction, k, nz)?;
        let linear = linear(spec, &p.linear, &format!("products.{t}.linear"), [k, k])?;
        if product.from != target || product.to != linear.from {
            return Err(format!("products.{t}: the irreps do not fit each other"));
        }
        if !p.use_sc {
            skip.clear();
        }
        if let Some(skip) = skip.first()
            && (skip.from != *input || skip.to != linear.to)
        {
            return Err(format!("{}: does not fit the features", name("skip_tp")));
        }
        let radial = self.radial(t, c, paths.len() * k_edge)?;
        Ok(Layer { up, paths, radial, message, norm, gate, product, linear, skip })
    }

    /// The paths of the product, and whether the file has them in the same order with the same factors.
    fn paths(&self, c: &InteractionConfig, edge: &Shape, name: &str) -> Result<Vec<Path>> {
        let lmax = self.spec.config.lmax;
        if c.conv_tp.irreps_in1 != c.linear_up.irreps_out || c.conv_tp.irreps_in2 != harmonics(lmax)? {
            return Err(format!("{name}: the irreps are not those of the features and of the harmonics"));
        }
        let mut paths = Vec::new();
        for (block, &l1) in edge.ls.iter().enumerate() {
            for l2 in 0..=lmax {
                // Natural parity: even sums only.
                for l3 in (l1.abs_diff(l2)..=(l1 + l2).min(lmax)).step_by(2) {
                    paths.push(Path { block, l1, l2, l3 });
                }
            }
        }
        paths.sort_by_key(|p| p.l3);
        let fits = paths.len() == c.conv_tp.paths.len()
            && paths.iter().zip(&c.conv_tp.paths).enumerate().all(|(k, (p, f))| {
                (f.in1, f.in2, f.out) == (p.block as i64, p.l2 as i64, k as i64)
                    && f.mode == "uvu"
                    && f.shape == [edge.k, 1]
                    && (f.alpha - ((2 * p.l3 + 1) as f64).sqrt()).abs() < 1e-6
            });
        match fits {
            true => Ok(paths),
            false => Err(format!("{name}: the paths are not those of the channelwise product")),
        }
    }

    fn gate(&self, t: usize, c: &InteractionConfig, edge: &Shape, target: &Shape) -> Result<Gate> {
        let name = |part: &str| format!("interactions.{t}.{part}");
        let fail = || format!("{}: not the gate of `{}`", name("equivariant_nonlin"), c.class);
        let g = c.equivariant_nonlin.as_ref().ok_or_else(fail)?;
        let need = |map: &'_ Option<LinearConfig>, part: &str| -> Result<LinearConfig> {
            map.clone().ok_or_else(|| format!("interactions.{t}: no `{part}`"))
        };
        let k = self.k;
        let acts = (g.act.as_deref(), g.gate.as_deref());
        let input = Shape::new(&g.irreps_in, k, &name("equivariant_nonlin"))?;
        // Scalars, a gate for each other irrep, and those.
        let n = target.ls.len() - 1;
        let ls: Vec<usize> = std::iter::repeat_n(0, 1 + n).chain(1..=n).collect();
        let parts = [(&g.scalars, &target.ls[..1]), (&g.gates, &vec![0; n]), (&g.gated, &target.ls[1..])];
        for (irreps, ls) in parts {
            if Shape::new(irreps, k, &name("equivariant_nonlin"))?.ls != *ls {
                return Err(fail());
            }
        }
        if acts != (Some("silu"), Some("sigmoid")) || input.ls != ls || g.irreps_out != c.target {
            return Err(fail());
        }
        let residual = linear(self.spec, &need(&c.linear_res, "linear_res")?, &name("linear_res"), [edge.k, k])?;
        let after = linear(self.spec, &need(&c.linear_2, "linear_2")?, &name("linear_2"), [k, k])?;
        if residual.from != *edge || residual.to != input || after.from != *target || after.to != *target {
            return Err(fail());
        }
        Ok(Gate { residual, scalar_constant: g.act_constant, gate_constant: g.gate_constant, after })
    }

    fn radial(&self, t: usize, c: &InteractionConfig, n_weights: usize) -> Result<Radial> {
        let name = |part: &str| format!("interactions.{t}.{part}");
        let table = |config: &Option<LinearConfig>, part: &str| -> Result<Option<Vec<f64>>> {
            let Some(config) = config else { return Ok(None) };
            let k = config.irreps_out.dim();
            let map = linear(self.spec, config, &name(part), [self.n_species, k])?;
            Ok(Some(map.blocks.into_iter().next().map_or(Vec::new(), |b| b.w)))
        };
        let tables =
            match (table(&c.source_embedding, "source_embedding")?, table(&c.target_embedding, "target_embedding")?) {
                (Some(a), Some(b)) => Some([a, b]),
                (None, None) => None,
                _ => return Err(format!("interactions.{t}: one of `source_embedding` and `target_embedding` alone")),
            };
        let width = |t: &[Vec<f64>; 2]| (t[0].len() + t[1].len()) / self.n_species;
        let n_in = self.spec.config.radial.n + tables.as_ref().map_or(0, width);
        let net = self.net(&c.conv_tp_weights, &name("conv_tp_weights"), n_in, n_weights)?;
        let density = c.density_fn.as_ref().map(|d| self.net(d, &name("density_fn"), n_in, 1)).transpose()?;
        Ok(Radial { features: self.features.clone(), tables, net, density, n_weights, n_species: self.n_species })
    }

    fn net(&self, config: &MlpConfig, name: &str, n_in: usize, n_out: usize) -> Result<Net> {
        let (MlpConfig::Plain { sizes, .. } | MlpConfig::LayerNorm { sizes, .. }) = config;
        let n = sizes.len().saturating_sub(1);
        if n == 0 || sizes[0] != n_in || sizes[n] != n_out || sizes.contains(&0) {
            return Err(format!("{name}: the sizes {sizes:?} instead of {n_in} to {n_out}"));
        }
        match config {
            MlpConfig::Plain { act, act_constant, .. } => {
                if n > 1 && act.as_deref() != Some("silu") {
                    return Err(format!("{name}: the activation {act:?} is not covered, only silu"));
                }
                let layer = |k: usize| {
                    let (a, b) = (sizes[k], sizes[k + 1]);
                    let mut w = self.spec.values(&format!("{name}.layer{k}.weight"), &[a, b])?;
                    w.iter_mut().for_each(|w| *w /= (a as f64).sqrt());
                    Ok(Dense { n_out: b, w, b: Vec::new() })
                };
                Ok(Net::Plain { layers: (0..n).map(layer).collect::<Result<_>>()?, constant: *act_constant })
            }
            MlpConfig::LayerNorm { eps, act, .. } => {
                if act != "silu" || eps.len() != n - 1 {
                    return Err(format!("{name}: {} norms and the activation {act}", eps.len()));
                }
                let layer = |k: usize| {
                    let (a, b, at) = (sizes[k], sizes[k + 1], 3 * k);
                    // Stored (out, in).
                    let stored = self.spec.values(&format!("{name}.net.{at}.weight"), &[b, a])?;
                    let w = (0..a * b).map(|k| stored[k % b * a + k / b]).collect();
                    Ok(Dense { n_out: b, w, b: self.spec.values(&format!("{name}.net.{at}.bias"), &[b])? })
                };
                let norm = |k: usize| {
                    let (n, at) = (sizes[k + 1], 3 * k + 1);
                    let get = |part: &str| self.spec.values(&format!("{name}.net.{at}.{part}"), &[n]);
                    Ok(LayerNorm { eps: eps[k], w: get("weight")?, b: get("bias")? })
                };
                let layers = (0..n).map(layer).collect::<Result<_>>()?;
                Ok(Net::LayerNorm { layers, norms: (0..n - 1).map(norm).collect::<Result<_>>()? })
            }
        }
    }
}

/// `1x0e+1x1o+…` up to `lmax`.
pub fn harmonics(lmax: usize) -> Result<Irreps> {
    Irreps::harmonics(lmax).map_err(|e| e.to_string())
}

impl Layer {
    /// The features that edges carry.
    pub fn edge(&self) -> &Shape {
        &self.up.to
    }

    /// The messages, a block for each path.
    pub fn messages(&self) -> &Shape {
        &self.message[0].from
    }

    /// The map that is for atoms of this species.
    pub fn of_species(maps: &[Map], z: usize) -> Option<&Map> {
        maps.get(if maps.len() > 1 { z } else { 0 })
    }
}
