//! From the modules of a checkpoint to the configuration of the model.
//!
//! What older checkpoints lack is what the training program did at their time: one head, the cutoff applied to the radial
//! features, couplings that are not reduced (they come from the file in any case).

use super::archive::Archive;
use super::module::Module;
use crate::mace::spec::*;
use indexmap::IndexMap;

type Result<T> = std::result::Result<T, String>;

pub fn convert(archive: &Archive) -> Result<MaceSpec> {
    let m = Module::root(archive)?;
    if !["MACE", "ScaleShiftMACE"].contains(&m.class()) {
        return Err(format!("models of the class `{}` are not covered, only MACE and ScaleShiftMACE", m.class()));
    }
    let tensors = m.tensors()?;
    let dtype = match tensors.get("r_max").map(|t| t.dtype) {
        Some(Type::Float64) => "float64",
        Some(Type::Float32) => "float32",
        _ => return Err("no cutoff `r_max` in single or double precision".into()),
    };
    let harmonics = m.module("spherical_harmonics")?;
    let lmax = harmonics.sizes("_ls_list")?.into_iter().max().ok_or_else(|| harmonics.lacks("_ls_list"))?;
    let interactions = m.list("interactions")?;
    Ok(MaceSpec {
        config: Config {
            format: FORMAT.into(),
            version: VERSION,
            class: m.class().into(),
            dtype: dtype.into(),
            heads: m.texts("heads").unwrap_or_else(|| vec!["Default".into()]),
            num_interactions: interactions.len(),
            layout: LAYOUT.into(),
            lmax,
            harmonics: HARMONICS.into(),
            radial: radial(&m.module("radial_embedding")?)?,
            zbl: m.get("pair_repulsion_fn").is_some(),
            use_reduced_cg: m.bool("use_reduced_cg").unwrap_or(false),
            use_agnostic_product: m.bool("use_agnostic_product").unwrap_or(false),
            use_last_readout_only: m.bool("use_last_readout_only").unwrap_or(false),
            node_embedding: m.module("node_embedding")?.linear("linear")?,
            interactions: interactions.iter().map(interaction).collect::<Result<_>>()?,
            products: m.list("products")?.iter().map(product).collect::<Result<_>>()?,
            readouts: m.list("readouts")?.iter().map(readout).collect::<Result<_>>()?,
            embedding_specs: m.get("joint_embedding").map(|_| embeddings(&m)).transpose()?,
            embedding_readout: m.get("joint_embedding").map(|_| m.get("embedding_readout").is_some()),
        },
        tensors,
    })
}

fn radial(m: &Module) -> Result<RadialConfig> {
    let basis = m.module("bessel_fn")?;
    let gaussian = basis.class() == "GaussianBasis";
    Ok(RadialConfig {
        basis: basis.class().into(),
        n: m.size("out_dim")?,
        transform: m.get("distance_transform").map(|t| t.class().into()),
        apply_cutoff: m.bool("apply_cutoff").unwrap_or(true),
        gaussian_coefficient: gaussian.then(|| basis.float("coeff")).transpose()?,
    })
}

/// The activation of a module and its factor: `normalize2mom` of e3nn, or nothing.
fn activation(m: &Module, name: &str) -> Result<(Option<String>, f64)> {
    let Some(act) = m.get(name) else { return Ok((None, 1.0)) };
    let constant = if act.bool("_is_id") == Some(true) { 1.0 } else { act.float("cst")? };
    Ok((act.function("f"), constant))
}

fn mlp(parent: &Module, name: &str) -> Result<MlpConfig> {
    let m = parent.module(name)?;
    let sizes = m.sizes("hs")?;
    if m.get("net").is_some() {
        let norms = m.list("net")?.into_iter().filter(|layer| layer.class() == "LayerNorm");
        let eps = norms.map(|norm| norm.float("eps")).collect::<Result<_>>()?;
        return Ok(MlpConfig::LayerNorm { sizes, eps, act: "silu".into() });
    }
    let (act, act_constant) = activation(&m.module("layer0")?, "act")?;
    Ok(MlpConfig::Plain { sizes, act, act_constant })
}

fn gate(m: &Module) -> Result<GateConfig> {
    if m.get("act_scalars").is_some() {
        return gate_of_e3nn(m);
    }
    Ok(GateConfig {
        kind: Default::default(),
        irreps_in: m.irreps("_irreps_in")?,
        irreps_out: m.irreps("_irreps_out")?,
        scalars: m.irreps("irreps_scalars")?,
        gates: m.irreps("irreps_gates")?,
        gated: m.irreps("irreps_gated")?,
        act: m.function("_act_scalar"),
        act_constant: m.float("_scalar_cst")?,
        gate: m.function("_act_gate"),
        gate_constant: m.float("_gate_cst")?,
    })
}

/// The gate of e3nn itself, which older checkpoints have.
fn gate_of_e3nn(m: &Module) -> Result<GateConfig> {
    let first = |name: &str| -> Result<(Option<String>, f64)> {
        let acts = m.module(name)?.module("acts")?;
        activation(&acts, "0")
    };
    let ((act, act_constant), (gate, gate_constant)) = (first("act_scalars")?, first("act_gates")?);
    Ok(GateConfig {
        kind: Default::default(),
        irreps_in: m.irreps("_irreps_in")?,
        irreps_out: m.irreps("_irreps_out")?,
        scalars: m.module("act_scalars")?.irreps("irreps_in")?,
        gates: m.module("act_gates")?.irreps("irreps_in")?,
        gated: m.module("mul")?.irreps("irreps_in1")?,
        act,
        act_constant,
        gate,
        gate_constant,
    })
}

fn interaction(m: &Module) -> Result<InteractionConfig> {
    let skip = match m.get("skip_tp") {
        Some(tp) if tp.irreps("irreps_in1").is_ok() => Some(SkipConfig::Product(m.product("skip_tp")?)),
        Some(_) => Some(SkipConfig::Linear(m.linear("skip_tp")?)),
        None => None,
    };
    Ok(InteractionConfig {
        class: m.class().into(),
        avg_num_neighbors: m.float("avg_num_neighbors")?,
        node_feats: m.irreps("node_feats_irreps")?,
        target: m.irreps("target_irreps")?,
        hidden: m.irreps("hidden_irreps")?,
        linear_up: m.linear("linear_up")?,
        linear: m.maybe_linear("linear")?,
        linear_1: m.maybe_linear("linear_1")?,
        linear_2: m.maybe_linear("linear_2")?,
        linear_res: m.maybe_linear("linear_res")?,
        source_embedding: m.maybe_linear("source_embedding")?,
        target_embedding: m.maybe_linear("target_embedding")?,
        conv_tp: m.product("conv_tp")?,
        skip_tp: skip,
        conv_tp_weights: mlp(m, "conv_tp_weights")?,
        density_fn: m.get("density_fn").map(|_| mlp(m, "density_fn")).transpose()?,
        equivariant_nonlin: m.get("equivariant_nonlin").map(|g| gate(&g)).transpose()?,
    })
}

fn product(m: &Module) -> Result<ProductConfig> {
    let contraction = m.module("symmetric_contractions")?;
    let orders = contraction.list("contractions")?;
    Ok(ProductConfig {
        use_sc: m.bool("use_sc").ok_or_else(|| m.lacks("use_sc"))?,
        linear: m.linear("linear")?,
        contraction: ContractionConfig {
            irreps_in: contraction.irreps("irreps_in")?,
            irreps_out: contraction.irreps("irreps_out")?,
            correlation: orders.iter().map(|c| c.size("correlation")).collect::<Result<_>>()?,
        },
    })
}

fn readout(m: &Module) -> Result<ReadoutConfig> {
    let (mut act, mut act_constant, mut num_heads) = (None, None, None);
    if let Some(nonlinear) = m.get("non_linearity") {
        let (name, constant) = activation(&nonlinear.module("acts")?, "0")?;
        (act, act_constant) = (name, Some(constant));
        num_heads = Some(m.size("num_heads").unwrap_or(1));
    }
    if m.get("equivariant_nonlin").is_some() {
        return Err(format!("{}: readouts of the class `{}` are not covered", m.path, m.class()));
    }
    Ok(ReadoutConfig {
        class: m.class().into(),
        linear: m.maybe_linear("linear")?,
        linear_1: m.maybe_linear("linear_1")?,
        linear_mid: m.maybe_linear("linear_mid")?,
        linear_2: m.maybe_linear("linear_2")?,
        act,
        act_constant,
        num_heads,
    })
}

fn embeddings(m: &Module) -> Result<IndexMap<String, EmbeddingConfig>> {
    let tables = m.plain_tables("embedding_specs").ok_or_else(|| m.lacks("embedding_specs"))?;
    let entry = |(name, fields)| {
        let read = serde_json::from_value(fields).map_err(|e| format!("embedding of `{name}`: {e}"))?;
        Ok((name, read))
    };
    tables.into_iter().map(entry).collect()
}
