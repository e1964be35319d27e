//! The neighbour graph: directed edges `i → j` in compressed rows.

/// Edges sorted by centre: those of centre `i` are `first[i]..first[i+1]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// Offsets, (n_centres + 1).
    pub first: Vec<u32>,
    /// Neighbour of each edge, (n_edges), an index below `n_atoms`.
    pub neighbour: Vec<u32>,
    /// `x_j + shift·cell − x_i` of each edge, (n_edges, 3), Å.
    pub r: Vec<[f64; 3]>,
    /// Cell shift of each edge, (n_edges, 3).
    pub shift: Vec<[i16; 3]>,
    /// Incoming edges in compressed columns: those that end in atom `j` are
    /// `incoming[incoming_first[j]..incoming_first[j+1]]`, ascending.
    pub incoming_first: Vec<u32>,
    pub incoming: Vec<u32>,
}
