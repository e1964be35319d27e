//! All of a MACE model that is not a tensor, as the file has it (format `mace-neutral`, version 1).

use crate::ops::Irreps;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub const FORMAT: &str = "mace-neutral";
pub const VERSION: u32 = 1;
pub const LAYOUT: &str = "mul_ir";
pub const HARMONICS: &str = "e3nn, component, normalised input";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub format: String,
    pub version: u32,
    /// `MACE` or `ScaleShiftMACE`.
    pub class: String,
    /// The type that the model was trained in, `float32` or `float64`.
    pub dtype: String,
    pub heads: Vec<String>,
    pub num_interactions: usize,
    /// `mul_ir`: within a block of features the components of one channel are side by side.
    pub layout: String,
    pub lmax: usize,
    pub harmonics: String,
    pub radial: RadialConfig,
    pub zbl: bool,
    pub use_reduced_cg: bool,
    pub use_agnostic_product: bool,
    pub use_last_readout_only: bool,
    pub node_embedding: LinearConfig,
    pub interactions: Vec<InteractionConfig>,
    pub products: Vec<ProductConfig>,
    pub readouts: Vec<ReadoutConfig>,
    /// Embeddings of properties of the whole structure, such as charge and spin, in their order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_specs: Option<IndexMap<String, EmbeddingConfig>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_readout: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RadialConfig {
    /// `BesselBasis`, `GaussianBasis` or `ChebychevBasis`.
    pub basis: String,
    pub n: usize,
    /// `AgnesiTransform` or `SoftTransform` of the distance.
    pub transform: Option<String>,
    /// False: the cutoff multiplies the weights of the product instead of the radial features.
    pub apply_cutoff: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gaussian_coefficient: Option<f64>,
}

/// The word that says of which kind a map is: one `kind` for one type.
macro_rules! kinds {
    ($($Name:ident = $text:literal),*) => {$(
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $Name {
            #[default]
            #[serde(rename = $text)]
            Kind,
        }
    )*};
}
kinds!(LinearKind = "linear", ProductKind = "tensor_product", GateKind = "gate");

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearConfig {
    pub kind: LinearKind,
    pub irreps_in: Irreps,
    pub irreps_out: Irreps,
    pub paths: Vec<LinearPath>,
}

/// The block of weights between two blocks of features, with the factor `alpha` that multiplies it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearPath {
    #[serde(rename = "in")]
    pub input: i64,
    #[serde(rename = "out")]
    pub output: i64,
    pub alpha: f64,
    pub shape: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorProductConfig {
    pub kind: ProductKind,
    pub irreps_in1: Irreps,
    pub irreps_in2: Irreps,
    pub irreps_out: Irreps,
    pub paths: Vec<ProductPath>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductPath {
    pub in1: i64,
    pub in2: i64,
    pub out: i64,
    /// `uvu` or `uvw`.
    pub mode: String,
    pub alpha: f64,
    pub shape: Vec<usize>,
}

/// A skip connection, with weights per species or without.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SkipConfig {
    Product(TensorProductConfig),
    Linear(LinearConfig),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
pub enum MlpConfig {
    /// `x ← κ act(x W/√n)`, the last layer without activation.
    #[serde(rename = "mlp")]
    Plain { sizes: Vec<usize>, act: Option<String>, act_constant: f64 },
    /// Layers of torch: linear with bias, layer norm, silu; the last one linear with bias.
    #[serde(rename = "mlp_layernorm")]
    LayerNorm { sizes: Vec<usize>, eps: Vec<f64>, act: String },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateConfig {
    pub kind: GateKind,
    pub irreps_in: Irreps,
    pub irreps_out: Irreps,
    pub scalars: Irreps,
    pub gates: Irreps,
    pub gated: Irreps,
    pub act: Option<String>,
    pub act_constant: f64,
    pub gate: Option<String>,
    pub gate_constant: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InteractionConfig {
    pub class: String,
    pub avg_num_neighbors: f64,
    pub node_feats: Irreps,
    pub target: Irreps,
    pub hidden: Irreps,
    pub linear_up: LinearConfig,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear: Option<LinearConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear_1: Option<LinearConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear_2: Option<LinearConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear_res: Option<LinearConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_embedding: Option<LinearConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_embedding: Option<LinearConfig>,
    pub conv_tp: TensorProductConfig,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_tp: Option<SkipConfig>,
    pub conv_tp_weights: MlpConfig,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub density_fn: Option<MlpConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equivariant_nonlin: Option<GateConfig>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductConfig {
    /// Whether the skip connection of the interaction is added.
    pub use_sc: bool,
    pub linear: LinearConfig,
    pub contraction: ContractionConfig,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContractionConfig {
    pub irreps_in: Irreps,
    pub irreps_out: Irreps,
    /// Of each irrep of the output.
    pub correlation: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadoutConfig {
    pub class: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear: Option<LinearConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear_1: Option<LinearConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear_mid: Option<LinearConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear_2: Option<LinearConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act_constant: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_heads: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingConfig {
    /// `categorical`: a row of a table for each value; `continuous` is refused.
    #[serde(rename = "type")]
    pub kind: String,
    /// `graph`: one value for a structure.
    pub per: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_dim: Option<usize>,
    pub emb_dim: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_classes: Option<usize>,
    /// Added to the value to get the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_bias: Option<bool>,
}
