//! The crystals: rattled, so that edges differ, and mixed without an order that a cache could use.

use crate::model_file;
use acerust::model::Model;
use acerust::structure::Structure;

/// Å, a coordinate.
const RATTLE: f64 = 0.1;

/// The crystal for a model with about this many atoms, one conventional cell at least.
pub fn crystal(model: &str, atoms: usize) -> Structure {
    match model {
        "cu_4_14" => Structure::fcc(29, 3.615).repeat(copies(atoms, 4)).rattle(0.05, 1),
        "hea_bench" => alloy(5, atoms),
        _ => {
            let s = silicon(atoms, 34.0);
            if model == "sio_o2" { mixed(s, &[14, 8]) } else { s }
        }
    }
}

/// Diamond with about this many neighbours within 5.5 Å.
pub fn silicon(atoms: usize, neighbours: f64) -> Structure {
    let a = 5.43 * (34.0 / neighbours).cbrt();
    Structure::diamond(14, a).repeat(copies(atoms, 8)).rattle(RATTLE * a / 5.43, 1)
}

/// The first species of `hea_bench`, 54 neighbours.
pub fn alloy(species: usize, atoms: usize) -> Structure {
    let elements = Model::load(model_file("hea_bench")).expect("a model").species().to_vec();
    mixed(Structure::fcc(24, 3.6).repeat(copies(atoms, 4)).rattle(RATTLE, 1), &elements[..species])
}

/// `[k, k, m]` copies of a cell of `n` atoms, as near to a cube as that many atoms allow.
fn copies(atoms: usize, n: usize) -> [usize; 3] {
    let cells = atoms.div_ceil(n);
    let edge = (cells as f64).cbrt().round() as usize;
    let edge = (edge..=cells).find(|k| cells.is_multiple_of(k * k)).unwrap_or(1);
    [edge, edge, cells / (edge * edge)]
}

fn mixed(mut s: Structure, elements: &[u8]) -> Structure {
    for (i, z) in s.numbers.iter_mut().enumerate() {
        *z = elements[((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize % elements.len()];
    }
    s
}
