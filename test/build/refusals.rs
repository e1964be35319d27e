//! Recipes that ask for what cannot be built: one clear error each, and never a panic.

use acerust::Error;
use acerust::build::{self, Recipe};

fn message(toml: &str) -> String {
    match Recipe::from_toml(toml).and_then(|recipe| build::model(&recipe)) {
        Ok(_) => panic!("accepted: {toml}"),
        Err(Error::Recipe(message)) => message,
        Err(other) => panic!("{toml}: {other}"),
    }
}

#[test]
fn the_culprit_is_named() {
    let base = "elements = ['Si']\norder = 2\ndegree = 6\n";
    for (recipe, culprit) in [
        ("", "elements: a model has at least one"),
        ("elements = ['Si']\norder = 2", "degree is missing"),
        ("elements = ['Si', 'Si']\norder = 1\ndegree = 3", "elements[1]: Si is listed twice"),
        ("elements = ['Sj']\norder = 1\ndegree = 3", "'Sj' is no chemical symbol"),
        ("elements = ['Si']\norder = 7\ndegree = 3", "order: 7"),
        ("elements = ['Si']\norder = 2\ndegree = [3]", "degree: 1 numbers for order 2"),
        ("elements = ['Si']\norder = 2\ndegree = nan", "degree: NaN"),
        ("elements = ['Si']\norder = 2\ndegree = 1e9", "degree: 1000000000"),
        ("elements = ['Mn']\norder = 1\ndegree = 3", "r0: Mn has no default"),
        ("elements = ['Si']\norder = 6\ndegree = 1000", "degree 1000 gives more than"),
        ("elements = ['Si']\norder = 6\ndegree = 60", "too many products"),
        ("elements = ['Si']\norder = 0\npair_degree = 0", "nothing to fit"),
        (&format!("{base}typo = 1"), "typo"),
        (&format!("{base}wL = -1"), "wL: -1"),
        (&format!("{base}rcut = 1.0"), "Si-Si: 0 ≤ rin < r0 < rcut"),
        (&format!("{base}rcut = nan"), "Si-Si: 0 ≤ rin < r0 < rcut"),
        (&format!("{base}rcut = {{ 'Si-O' = 5.0 }}"), "rcut: 'Si-O' is no pair"),
        (&format!("{base}E0 = {{ O = 1.0 }}"), "E0: O is none of the elements"),
        (&format!("{base}E0 = {{ Si = inf }}"), "E0[0]: inf is not finite"),
        (&format!("{base}core = 0.0"), "core: 0 Å of Si-Si is not above 0"),
        ("elements = ['Si', 'O']\norder = 1\ndegree = 3\ncore = { Si-O = 2.0 }", "core: Si-Si has none"),
        ("elements = ['Si']\norder = 0\npair_degree = 0\ncore = 2.0", "nothing to fit"),
        (&format!("{base}splines = 1"), "splines: 1"),
        (&format!("{base}splines = 1000000"), "splines: 1000000"),
        (&format!("{base}n_polynomials = 2"), "n_polynomials: 2"),
        (&format!("{base}weights = {{ given = [[[1.0]]] }}"), "weights: expected the shape"),
        (&format!("{base}transform = [0, 0]"), "transforms[0]"),
        (&format!("{base}pair_envelope = {{ poly1sr = 4000000000 }}"), "envelopes[0]"),
        (&format!("{base}envelope = [1, 100]"), "envelopes[0].p2"),
        (&format!("{base}polynomials = [4000000000, 4]"), "polynomials"),
    ] {
        let found = message(recipe);
        assert!(found.contains(culprit), "{recipe}\n{found}");
    }
}

/// Numbers of a recipe replaced by others, at random: an error or a model, in little time.
#[test]
fn random_recipes_do_no_harm() {
    let mut state = 7_u64;
    let mut random = move |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let numbers = ["0", "1", "2", "-1", "1e300", "nan", "inf", "3.5", "6", "40", "4294967295", "[3, 2]", "[]", "'x'"];
    let keys = [
        "order",
        "degree",
        "wL",
        "maxl",
        "maxn",
        "rcut",
        "r0",
        "rin",
        "transform",
        "pair_transform",
        "polynomials",
        "n_polynomials",
        "envelope",
        "pair_degree",
        "splines",
        "pair_splines",
        "seed",
        "weights",
        "pair_polynomials",
    ];
    let mut built = 0;
    for _ in 0..600 {
        let mut recipe = toml::Table::from_iter([
            ("elements".to_owned(), toml::Value::from(["Si", "O", "H"][..1 + random(3) as usize].to_vec())),
            ("order".to_owned(), toml::Value::from(random(4) as i64)),
            ("degree".to_owned(), toml::Value::from(random(60) as f64 / 10.0)),
        ]);
        for _ in 0..random(4) {
            let (key, number) = (keys[random(keys.len() as u64) as usize], numbers[random(14) as usize]);
            if key == "degree" && number == "40" {
                continue; // legitimate, and large
            }
            let value: toml::Table = format!("x = {number}").parse().unwrap();
            recipe.insert(key.to_owned(), value["x"].clone());
        }
        let text = toml::to_string(&recipe).unwrap();
        match Recipe::from_toml(&text).and_then(|recipe| build::model(&recipe)) {
            Ok(_) => built += 1,
            Err(e) => assert!(matches!(e, Error::Recipe(_)), "{text}\n{e}"),
        }
    }
    assert!(built > 100, "{built}");
}
