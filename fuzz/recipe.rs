//! Recipes of bases and fits.

use acerust::Error;
use acerust::build::{self, ByOrder, Recipe};
use acerust::fit::Settings;
use acerust::model::Model;

pub fn seeds() -> Vec<Vec<u8>> {
    let plain = "elements = [\"Si\"]\norder = 2\ndegree = 4\nrcut = 5.5\nE0 = { Si = -0.8 }\n[fit.weights]\ndefault = { energy = 10 }\n";
    let pairs = "preset = \"ace\"\nelements = [\"Si\", \"O\"]\norder = 2\ndegree = [4, 3]\ncore = 1.0\nmaxl = 2\n\
                 rcut = { \"Si-O\" = 4.0, default = 5.0 }\nenvelope = [2, 2]\npair_degree = 3\n[fit]\nprior = { type = \"algebraic\", p = 4 }\n";
    [plain, pairs].map(|text| text.as_bytes().to_vec()).into()
}

/// What is accepted says the same when it is written and read; what is small enough makes a model.
pub fn target(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let Ok((_, recipe)) = Settings::split(text) else { return false };
    if !is_small(&recipe) {
        return true;
    }
    match build::model(&recipe) {
        Ok(model) => {
            let again = Model::from_json(model.to_json()).expect("what we write is what we read");
            assert_eq!(model, again);
            true
        }
        Err(Error::Recipe(_) | Error::Model(_) | Error::NotFinite(_)) => false,
        Err(e) => panic!("a recipe: {e}"),
    }
}

/// What a large basis costs, its author chose.
fn is_small(recipe: &Recipe) -> bool {
    let most = |by: &ByOrder<f64>| match by {
        ByOrder::All(x) => *x,
        ByOrder::Each(x) => x.iter().copied().fold(0.0, f64::max),
    };
    let degree = recipe.degree.as_ref().map_or(0.0, most);
    let radial = recipe.n_polynomials.unwrap_or(0) as f64;
    recipe.order <= 3
        && recipe.elements.len() <= 2
        && recipe.wl.is_none_or(|wl| wl >= 0.5)
        && [degree, recipe.pair_degree.unwrap_or(0.0), radial].iter().all(|x| *x <= 6.0)
}
