//! YAML into plain data, bounded in memory and time by the length of the text.

use serde::de::DeserializeOwned;

/// Collections within collections; the files here have six.
const DEPTH: usize = 16;
/// What aliases may add to the events that are spelt out. Few files have any.
const REPLAYED: usize = 1 << 16;

/// Reads a document; errors are one line.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let length = text.len();
    let options = serde_saphyr::options! {
        // A number, a bracket or a comma is an event at most.
        budget: serde_saphyr::budget! {
            max_events: 2 * length + 16,
            max_nodes: length + 16,
            max_total_scalar_bytes: length + 16,
            max_depth: DEPTH,
            flow_nesting_limit: DEPTH,
            max_documents: 1,
            max_recorded_anchor_events: REPLAYED,
            max_recorded_anchor_bytes: 1 << 20,
            max_inclusion_depth: 0,
        },
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Error,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: REPLAYED, max_replay_stack_depth: 4 },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let message = error.to_string();
        message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
    })
}
