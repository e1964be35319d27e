//! Files of PACE potentials.

use acerust::pace::{Potential, products::Products};

pub fn seeds() -> Vec<Vec<u8>> {
    let files = [include_str!("../test/pace/small.yace"), include_str!("../test/pace/small.yaml")];
    files.map(|text| text.as_bytes().to_vec()).into()
}

/// What is accepted has products, of finite coefficients.
pub fn target(input: &[u8]) -> bool {
    let Ok(potential) = Potential::parse(input) else { return false };
    let products = Products::new(&potential);
    assert!(
        products.densities.iter().flatten().flatten().all(|(k, c)| (*k as usize) < products.aa.len() && !c.is_nan())
    );
    true
}
