//! The C ABI, called as C does.

mod common;

#[path = "capi/basis.rs"]
mod basis;
#[path = "capi/batch.rs"]
mod batch;
#[path = "capi/call.rs"]
mod call;
#[path = "capi/conditions.rs"]
mod conditions;
#[path = "capi/exchange.rs"]
mod exchange;
#[path = "capi/fit.rs"]
mod fit;
#[path = "capi/header.rs"]
mod header;
#[path = "capi/list.rs"]
mod list;
#[path = "capi/models.rs"]
mod models;
#[path = "capi/op.rs"]
mod op;
#[path = "capi/outputs.rs"]
mod outputs;
#[path = "capi/refusals.rs"]
mod refusals;
#[path = "ops/refused.rs"]
mod refused;
#[path = "capi/short.rs"]
mod short;
#[path = "capi/smoke.rs"]
mod smoke;
#[path = "capi/threads.rs"]
mod threads;
#[path = "capi/train.rs"]
mod train;
#[path = "capi/uncertainty.rs"]
mod uncertainty;
#[path = "capi/values.rs"]
mod values;
