//! What is read, and each thing that is not.

use acerust::pace::{Base, Form, InnerCutoff, Potential};

const YACE: &str = include_str!("small.yace");
const YAML: &str = include_str!("small.yaml");

#[track_caller]
fn refusal(text: &str) -> String {
    match Potential::parse(text.as_bytes()) {
        Ok(_) => panic!("accepted: {text}"),
        Err(e) => e.to_string(),
    }
}

/// Replaces `from`, which has to be there, and expects a message that contains `message`.
#[track_caller]
fn check(file: &str, from: &str, to: &str, message: &str) {
    assert!(file.contains(from), "{from} is not in the file");
    let found = refusal(&file.replacen(from, to, 1));
    assert!(found.contains(message), "{from} → {to}: {found}");
    assert!(!found.contains('\n'), "several lines: {found}");
}

#[test]
fn a_small_yace_file_is_read() {
    let p = Potential::parse(YACE.as_bytes()).unwrap();
    assert_eq!((p.species.as_slice(), p.e0.as_slice(), p.bins), (&[7, 39][..], &[-1.5, 0.25][..], 0.01));
    assert_eq!(p.inner, InnerCutoff::Density);
    assert_eq!(p.embeddings[0].densities, [[1.0, 1.0], [0.5, 0.5]]);
    assert_eq!(p.embeddings[1].form, Form::FinnisSinclairShiftedScaled);
    assert_eq!(
        p.bonds.iter().map(|b| b.base).collect::<Vec<_>>(),
        [Base::ChebExpCos, Base::SBessel, Base::ChebPow, Base::ChebLinear]
    );
    assert_eq!((p.bonds[1].inner, p.bonds[1].inner_width, p.bonds[0].inner), (0.5, 0.2, 0.0));
    assert_eq!(p.functions[0][1].ms, [0, 0, 1, -1]);
    assert_eq!((p.sizes(), p.rcut()), ([2, 1, 1], 5.0));
}

#[test]
fn a_small_yaml_file_is_read() {
    let p = Potential::parse(YAML.as_bytes()).unwrap();
    assert_eq!((p.species.as_slice(), p.e0.as_slice()), (&[7, 39][..], &[0.0, 0.0][..]), "sorted by name");
    assert_eq!(p.embeddings[0].core, [50.0, 250.0]);
    assert_eq!(p.embeddings[1].core, [1e5, 250.0]);
    assert_eq!(p.bonds[1], p.bonds[2]);
    assert_eq!(p.bonds[0].core, [0.0, 0.0]);
    let of_y: Vec<usize> = p.functions[1].iter().map(|f| f.rank()).collect();
    assert_eq!((of_y.as_slice(), p.functions[0].len()), (&[1, 2, 3][..], 1), "one is skipped, the others are sorted");
    // ⟨0 0 1 m | 1 m⟩⟨1 m 1 −m | 0 0⟩ c
    let f = &p.functions[1][2];
    assert_eq!(f.ms, [0, -1, 1, 0, 0, 0, 0, 1, -1]);
    for (found, expected) in f.coefficients.iter().zip([1.0, -1.0, 1.0]) {
        assert!((found - 0.25 * expected / 3f64.sqrt()).abs() < 1e-15, "{:?}", f.coefficients);
    }
}

#[test]
fn yace_files() {
    let y = |from, to, message| check(YACE, from, to, message);
    y("functions:", "function:", "neither a model file nor a potential of pacemaker");
    y("[N, Y]", "[N, X]", "elements: 'X' is unknown");
    y("[N, Y]", "[N]", "embeddings: species 1 is not below 1");
    y("[N, Y]", "[]", "embeddings: species 0 is not below 0");
    y("[-1.5, 0.25]", "[-1.5]", "E0: expected 2 entries, got 1");
    y("[-1.5, 0.25]", "[-1.5, .nan]", "E0: NaN is not finite");
    y("deltaSplineBins: 0.01", "deltaSplineBins: 1e-9", "spline bins");
    y("deltaSplineBins: 0.01", "deltaSplineBins: 0", "spline bins");
    y("deltaSplineBins: 0.01", "other: 0.01", "unknown field");
    y("  1: {ndensity: 1, FS", "  2: {ndensity: 1, FS", "embeddings: species 2 is not below 2");
    y("  [1, 0]: {", "  [1, 2]: {", "bonds: [1, 0] is missing");
    y("  [1, 0]: {", "  [0, 0]: {", "duplicate");
    y("metadata:", "weights: {}\nmetadata:", "unknown field");
    y("  1:\n    - {mu0: 1", "  2:\n    - {mu0: 1", "functions: species 2 is not below 2");
    y("ndensity: 2, FS", "ndensity: 1, FS", "embeddings: 0: 4 parameters for 1 densities");
    y("[1, 1, 0.5, 0.5]", "[1, 1, 0.5, 0]", "embedding of N: parameters: the exponent 0 is not above 0");
    y("npoti: FinnisSinclair,", "npoti: Sum,", "embeddings: 0: the embedding 'Sum' is unknown");
    y("drho_core_cutoff: 25", "drho_core_cutoff: -25", "rho_core_cutoff: 100 ± -25 eV is no range");
    y("radbasename: SBessel", "radbasename: Bessel", "bonds: [0, 1]: the base functions 'Bessel' are unknown");
    y("radbasename: SBessel", "radbasename: ACE.jl.base", "'ACE.jl.base' are not supported");
    y("inner_cutoff_type: density", "inner_cutoff_type: soft", "the inner cutoff 'soft' is unknown");
    y("radparameters: [5.25]", "radparameters: []", "radparameters: the first one is missing");
    y("radparameters: [5.25]", "radparameters: [0]", "bond N N: radparameters: λ = 0");
    y("radparameters: [2.5]", "radparameters: [-1]", "bond Y N: radparameters: λ = -1 is not above 0");
    y("nradmax: 1", "nradmax: 2", "bonds: [0, 0]: radcoefficients: expected 2 × 2 × 2 numbers");
    y("nradmax: 1, lmax: 1", "nradmax: 1, lmax: 18446744073709551615", "radcoefficients");
    y("[0.25, 1]", "[0.25, 1, 3]", "radcoefficients: expected 1 × 2 × 2 numbers");
    y("[0.25, 1]", "[0.25, .inf]", "bond N N: radcoefficients: inf is not finite");
    y("rcut: 4,", "rcut: 0,", "bond N N: rcut: 0 Å");
    y("rcut: 4,", "rcut: 400,", "bond N N: rcut: 400 Å");
    y("dcut: 0.5}", "dcut: -0.5}", "bond N N: dcut: -0.5 Å");
    y("lambdahc: 1", "lambdahc: .nan", "bond N N: core repulsion: NaN is not finite");
    y("mu0: 0, rank: 1", "mu0: 1, rank: 1", "functions: 0[0]: mu0 is 1");
    y("rank: 1, ndensity: 2", "rank: 1, ndensity: 1", "functions: 0[0]: ndensity is 1, the embedding has 2");
    y("mus: [1], ns: [2]", "mus: [], ns: [2]", "functions: 0[0]: mus: expected 1 entries, got 0");
    y("ns: [2], ls: [0]", "ns: [2, 1], ls: [0]", "ns: expected 1 entries, got 2");
    y("ns: [2], ls: [0]", "ns: [0], ls: [0]", "ns: they count from 1");
    y("ns: [2], ls: [0]", "ns: [3], ls: [0]", "function 0 of N: n = 3 is above 2");
    y("ns: [2], ls: [0]", "ns: [2], ls: [1]", "function 0 of N: l = 1 where there is one factor");
    y("ls: [1, 1]", "ls: [2, 1]", "function 1 of N: l = 2 is above 1");
    y("mus: [0, 1]", "mus: [0, 2]", "function 1 of N: species 2 is not below 2");
    y("num_ms_combs: 2", "num_ms_combs: 3", "ms_combs: expected 6 entries, got 4");
    y("num_ms_combs: 2", "num_ms_combs: 18446744073709551615", "ms_combs: expected 18446744073709551615 entries");
    y("[0, 0, 1, -1]", "[0, 0, 2, -1]", "function 1 of N: m = 2 where l = 1");
    y("[0.5, 0.25, -1, 0.125]", "[0.5, 0.25, -1]", "ctildes: expected 4 entries, got 3");
    y("[0.5, 0.25, -1, 0.125]", "[0.5, 0.25, -1, .inf]", "function 1 of N: coefficients: inf is not finite");
    let zbl = YACE.replace("dcut: 0.5}", "dcut: 0.5, inner_cutoff_type: zbl}");
    check(&zbl, "dcut: 0.5, inner", "dcut: 0, inner", "bond N N: dcut: it is 0");
    let long = format!(
        "rank: 9, ndensity: 2, num_ms_combs: 1, mus: {o:?}, ns: {i:?}, ls: {o:?}, ms_combs: {o:?}",
        o = [0; 9],
        i = [1; 9]
    );
    let short = "rank: 1, ndensity: 2, num_ms_combs: 1, mus: [1], ns: [2], ls: [0], ms_combs: [0]";
    y(short, &long, "function 0 of N: rank 9 is not in 1 … 8");
    let none = YACE.split("functions:").next().unwrap().to_owned() + "functions: {0: [], 1: []}\n";
    assert!(refusal(&none).contains("functions: there are none"));
    assert!(refusal(&none.replace("1: []", "")).contains("functions: species 1 is missing"));
}

#[test]
fn yaml_files() {
    let y = |from, to, message| check(YAML, from, to, message);
    y("species:", "specie:", "neither a model file nor a potential of pacemaker");
    y("speciesblock: Y N", "speciesblock: Y X", "elements: 'X' is unknown");
    y("speciesblock: Y N", "speciesblock: ''", "species: '': no element");
    y("speciesblock: N\n", "speciesblock: Y\n", "species: 'Y': a second block of this element");
    y("ndensityi: 1", "ndensityi: 2", "species: 'Y': 2 parameters for 2 densities");
    y("    ndensityi: 1\n", "", "species: 'Y': ndensityi is missing");
    y("    npoti: FinnisSinclair\n", "", "species: 'Y': npoti is missing");
    y("    lmaxi: 1\n", "", "species: 'Y': lmaxi is missing");
    y("    rcutij: 4\n", "", "species: 'Y': rcutij is missing");
    y("core-repulsion: [10, 1]", "core-repulsion: [10]", "core-repulsion: expected 2 numbers, got 1");
    y("core-repulsion: [10, 1]", "inner_cutoff_type: zbl", "inner_cutoff_type: it has to be the same for all pairs");
    y("type: Y Y,", "type: N Y,", "species: 'Y': nbody[0]: type: 'N Y' has another centre than its block");
    y("type: Y Y,", "type: Y,", "type: no neighbour");
    y("type: Y Y,", "type: Y Q,", "'Q' is not an element of the block");
    y("nr: [1], nl: [0], c: 0.5", "nr: [0], nl: [0], c: 0.5", "nr: it counts from 1");
    y("nr: [1], nl: [0], c: 0.5", "nr: [1, 1], nl: [0], c: 0.5", "nr: expected 1 entries, got 2");
    y("nr: [1], nl: [0], c: 0.5", "nr: [1], nl: [99], c: 0.5", "nl: 99 is above 32");
    y("nr: [1], nl: [0], c: 0.5", "nr: [1], nl: [1], c: 0.5", "do not couple");
    y("c: 0.5", "c: [0.5, 1]", "c: expected 1 entries, one a density, got 2");
    y("lint: [1]", "lint: []", "nbody[2]: lint: expected 1 entries, got 0");
    y("lint: [1]", "lint: [0]", "nbody[2]: lint: l = [0, 1, 1] do not couple to [0] and 0");
    y("lint: [1]", "lint: [65]", "lint: 65 is above 64");
    y("lint: [1]", "lint: [1], ms: 1", "unknown field");
    // Its pair has two blocks, which differ.
    let twice = "  - speciesblock: N Y\n    nradmaxi: 1\n    lmaxi: 0\n    nradbaseij: 1\n    radbase: ChebPow\n    radparameters: [2]\n    radcoefficients: [[[1]]]\n    rcutij: 3.6\n    dcutij: 0.5\n";
    y("  - speciesblock: N Y\n", twice, "species: 'N Y': its radial functions or core differ");
    let pair = YAML.find("  - speciesblock: Y N").unwrap()..YAML.find("  - speciesblock: N Y").unwrap();
    assert!(refusal(&(YAML.to_owned() + &YAML[pair])).contains("species: 'Y N': a second block of this pair"));
    let alone = &YAML[..YAML.find("  - speciesblock: Y N").unwrap()];
    assert!(refusal(alone).contains("species: 'N Y': no block has the radial functions of this pair"));
}

/// Text that costs memory or time beyond its length.
#[test]
fn hostile_yaml() {
    let bomb: String =
        (1..12).map(|k| format!("a{k}: &a{k} [{}]\n", vec![format!("*a{}", k - 1); 9].join(", "))).collect();
    let hostile = [
        format!("a0: &a0 [lol]\n{bomb}functions: *a11\n"),
        format!("functions: {}", "[".repeat(100_000)),
        format!("functions: {}", "{0: ".repeat(100_000)),
        "functions:\n".to_owned() + &(0..2000).map(|k| format!("{}- \n", "  ".repeat(k))).collect::<String>(),
        format!("functions: {}", "- ".repeat(100_000)),
        format!("functions: \"{}", "x".repeat(1 << 20)),
        "functions: !!binary aGVsbG8=\n---\nfunctions: 1\n".to_owned(),
        "functions:\0".to_owned(),
        "functions: !include /etc/passwd".to_owned(),
        "functions: {<<: {0: []}}".to_owned(),
    ];
    for text in hostile {
        let start = std::time::Instant::now();
        let message = refusal(&text);
        assert!(start.elapsed().as_secs_f64() < 5.0, "{:?}", start.elapsed());
        assert!(message.len() < 1000 && !message.contains('\n'), "{message}");
    }
    // Many real terms from few characters.
    let ls = format!("nr: {:?}, nl: {:?}, lint: {:?}", [1; 8], [1; 8], [2, 2, 2, 2, 2, 2]);
    let many = YAML.replace("Y Y Y Y, nr: [1, 1, 1], nl: [0, 1, 1], lint: [1]", &format!("Y Y Y Y Y Y Y Y Y, {ls}"));
    let started = std::time::Instant::now();
    Potential::parse(many.as_bytes()).unwrap();
    assert!(started.elapsed().as_secs() < 5);
    let ls = format!("nr: {:?}, nl: {:?}, lint: {:?}", [1; 8], [32; 8], [2, 2, 2, 2, 2, 2]);
    let many = YAML.replace("Y Y Y Y, nr: [1, 1, 1], nl: [0, 1, 1], lint: [1]", &format!("Y Y Y Y Y Y Y Y Y, {ls}"));
    assert!(refusal(&many).contains("sets of m are too many"));
    assert!(Potential::parse(&[0xff, 0xfe]).is_err());
}
