//! Typical bond lengths of the elements, from which cutoffs and transforms have their defaults.

/// Å by atomic number from 1, 0 where there is none: libAtoms/universalSOAP, column `bond_len` of `length_scales_VASP_auto_length_scales.yaml`.
#[rustfmt::skip]
const BOND_LENGTHS: [f64; 91] = [
    1.2, 0.0, 3.0, 2.2, 1.8, 1.4, 1.6, 1.7, 2.1, 0.0, 3.7, 3.2, 2.9,
    2.4, 2.5, 2.3, 2.6, 0.0, 4.6, 3.8, 3.2, 2.9, 2.6, 2.5, 0.0, 2.5,
    2.5, 2.5, 2.6, 2.8, 3.0, 2.5, 2.7, 2.8, 2.8, 0.0, 4.7, 4.2, 3.6,
    3.2, 2.9, 2.7, 2.7, 2.7, 2.7, 2.8, 2.9, 3.2, 3.4, 2.9, 3.1, 3.2,
    3.2, 0.0, 0.0, 4.3, 3.7, 3.4, 3.7, 3.7, 3.6, 3.6, 0.0, 3.6, 3.6,
    3.5, 0.0, 0.0, 3.5, 3.8, 0.0, 3.2, 2.9, 2.8, 2.8, 2.7, 2.7, 2.8,
    2.9, 3.3, 3.4, 3.5, 3.3, 3.3, 0.0, 0.0, 0.0, 0.0, 4.0, 3.6, 3.3,
];

/// The bond length of an element, Å, where one is known.
pub fn bond_length(number: u8) -> Option<f64> {
    BOND_LENGTHS.get((number as usize).checked_sub(1)?).copied().filter(|&b| b > 0.0)
}
