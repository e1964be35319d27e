//! Chemical symbols ↔ atomic numbers 1..=118.

/// The largest atomic number known here (oganesson).
pub const MAX: u8 = 118;

#[rustfmt::skip]
const SYMBOLS: [&str; MAX as usize] = [
    "H", "He",
    "Li", "Be", "B", "C", "N", "O", "F", "Ne",
    "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar",
    "K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As", "Se", "Br", "Kr",
    "Rb", "Sr", "Y", "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In", "Sn", "Sb", "Te", "I", "Xe",
    "Cs", "Ba",
    "La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu",
    "Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn",
    "Fr", "Ra",
    "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm", "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr",
    "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc", "Lv", "Ts", "Og",
];

/// Atomic number by first letter and second letter (0: none); 0 where there is no such element.
const NUMBERS: [[u8; 27]; 26] = {
    let mut table = [[0; 27]; 26];
    let mut i = 0;
    while i < SYMBOLS.len() {
        let s = SYMBOLS[i].as_bytes();
        let second = if s.len() == 2 { s[1] - b'a' + 1 } else { 0 };
        table[(s[0] - b'A') as usize][second as usize] = i as u8 + 1;
        i += 1;
    }
    table
};

/// The chemical symbol of an atomic number, if it is within 1..=118.
pub fn symbol(number: u8) -> Option<&'static str> {
    SYMBOLS.get((number as usize).checked_sub(1)?).copied()
}

/// The atomic number of a chemical symbol, spelt as usual: `Si`, not `SI` or `si`.
pub fn number(symbol: &str) -> Option<u8> {
    let (first, second) = match *symbol.as_bytes() {
        [a @ b'A'..=b'Z'] => (a, 0),
        [a @ b'A'..=b'Z', b @ b'a'..=b'z'] => (a, b - b'a' + 1),
        _ => return None,
    };
    let number = NUMBERS[(first - b'A') as usize][second as usize];
    (number != 0).then_some(number)
}

/// The symbol for messages, or the bare number where there is none.
pub fn name(number: u8) -> String {
    symbol(number).map_or_else(|| number.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_and_numbers_are_inverse() {
        for z in 1..=MAX {
            assert_eq!(number(symbol(z).unwrap()), Some(z));
        }
        for (s, z) in [("H", 1), ("Si", 14), ("Mo", 42), ("W", 74), ("U", 92), ("Og", 118)] {
            assert_eq!((number(s), symbol(z)), (Some(z), Some(s)));
        }
    }

    #[test]
    fn everything_else_is_unknown() {
        for s in ["", "X", "si", "SI", "Sii", "S1", "J", "é", "Q"] {
            assert_eq!(number(s), None, "{s}");
        }
        for z in [0, 119, 255] {
            assert_eq!(symbol(z), None);
        }
    }
}
