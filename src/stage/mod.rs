//! The stages: each file one arrow of the diagram, forwards and backwards.
//!
//! Every stage works on a [`block::Block`] of centres of one species, one centre to a lane.

pub mod angular;
pub mod base;
pub mod block;
pub mod core;
pub mod couple;
pub mod densities;
pub mod distance;
pub mod embedding;
pub mod features;
pub mod mix;
pub mod polynomial;
pub mod pool;
pub mod product;
pub mod radial;
pub mod rows;
pub mod spec;
pub mod table;
mod tagged;

#[cfg(test)]
mod tests;
