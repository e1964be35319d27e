//! Products as device code, depth first: what `kernels/ace.cuh` expects.

use crate::stage::product::Trie;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Products up to this number are one piece of code.
const LINEAR: usize = 3000;
/// The same where they make densities, and as many as other pieces have.
const PIECE: usize = 256;

/// Definitions of the pieces, and the names to be undefined after the part.
pub fn code(trie: &Trie, embedded: bool) -> (String, Vec<String>) {
    let most = if !embedded && trie.n_coefficients() <= LINEAR { usize::MAX } else { PIECE };
    let mut children = vec![Vec::new(); trie.nodes.len()];
    (1..trie.nodes.len()).for_each(|k| children[trie.nodes[k].parent as usize].push(k));
    let mut pieces = Pieces { most, size: 0, text: String::new(), uses: BTreeSet::new(), path: vec![], done: vec![] };
    pieces.below(trie, &children, 0);
    pieces.cut();
    let (n, mut code, mut names) = (pieces.done.len(), String::new(), vec!["N_PIECES".into(), "FOR_PIECES".into()]);
    for (i, (text, uses)) in pieces.done.iter().enumerate() {
        let uses: String = uses.iter().map(|v| format!(" X({v})")).collect();
        code += &format!("#define TRIE_{i}(OPEN, AGAIN, LEAF, CLOSE){text}\n#define USES_{i}(X){uses}\n");
        names.extend([format!("TRIE_{i}"), format!("USES_{i}")]);
    }
    let each: String = (0..n).map(|i| format!(" X({i})")).collect();
    (code + &format!("#define N_PIECES {n}\n#define FOR_PIECES(X){each}\n"), names)
}

struct Pieces {
    /// Coefficients of one.
    most: usize,
    /// The one at hand: its coefficients, text and `A_v`, and the open nodes.
    size: usize,
    text: String,
    uses: BTreeSet<u32>,
    path: Vec<u32>,
    done: Vec<(String, BTreeSet<u32>)>,
}

impl Pieces {
    fn below(&mut self, trie: &Trie, children: &[Vec<usize>], k: usize) {
        let node = &trie.nodes[k];
        for leaf in node.first..node.last {
            let (slot, v) = (trie.nodes.len() + leaf as usize, trie.leaves[leaf as usize]);
            self.count(v);
            write!(self.text, " LEAF({}, {slot}, {v})", self.path.len()).expect("writing to a string");
        }
        for &child in &children[k] {
            let v = trie.nodes[child].v;
            self.count(v);
            let depth = self.path.len();
            write!(self.text, " \\\n  OPEN({depth}, {}, {child}, {v})", depth + 1).expect("writing to a string");
            self.path.push(v);
            self.below(trie, children, child);
            self.close(depth);
            self.path.pop();
        }
    }

    fn close(&mut self, depth: usize) {
        let v = self.path[depth];
        write!(self.text, " CLOSE({depth}, {}, {v})", depth + 1).expect("writing to a string");
    }

    /// Makes room for a coefficient, with the factor `A_v`.
    fn count(&mut self, v: u32) {
        if self.size == self.most {
            self.cut();
            for (depth, &v) in self.path.iter().enumerate() {
                write!(self.text, " AGAIN({depth}, {}, {v})", depth + 1).expect("writing to a string");
            }
            self.uses.extend(&self.path);
        }
        self.size += 1;
        self.uses.insert(v);
    }

    fn cut(&mut self) {
        (0..self.path.len()).rev().for_each(|depth| self.close(depth));
        self.done.push((std::mem::take(&mut self.text), std::mem::take(&mut self.uses)));
        self.size = 0;
    }
}
