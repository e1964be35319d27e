//! Systems and arguments at the edge of sense.

use super::cases::Case;
use super::models::{finish, invariant_model, pair, random_model, random_models};
use super::random::Random;
use super::results::{Order, jacobian, on_graph, results, rows};
use super::structures::CUBE;
use crate::common::evaluate::{committee, energy_forces_virial, site_grads};
use acerust::graph::{Edges, Graph};
use acerust::model::Model;
use acerust::model::spec::{HarmonicsKind, OneBodySpec, PartSpec};
use acerust::ndarray::ArrayViewMut2;
use acerust::plan::{Outputs, Plan, Rows};
use acerust::structure::Structure;

fn atoms(numbers: &[u8], positions: &[[f64; 3]]) -> Structure {
    Structure { numbers: numbers.to_vec(), positions: positions.to_vec(), ..Structure::default() }
}

/// One call of each kind.
fn run_all(plan: &mut Plan, s: &Structure) {
    let own = plan.model().linear_parameters();
    plan.set_committee(&[own.clone(), own.clone(), own]).unwrap();
    let graph = plan.graph(s).unwrap();
    let n = s.n_atoms();
    assert_eq!((graph.n_centres(), graph.n_atoms()), (n, n));
    let found = on_graph(plan, &graph, &s.numbers);
    let difference = (plan.energy((&graph, &s.numbers)).unwrap() - found.energy).abs();
    assert!(difference <= 1e-5 * found.site_energies.iter().map(|e| e.abs()).sum::<f64>());
    let mut gradients = vec![[f64::NAN; 3]; graph.n_edges()];
    site_grads(plan, &graph, &s.numbers, &mut vec![f64::NAN; n], &mut gradients).unwrap();
    jacobian(plan, &graph, &s.numbers);
    rows(plan, &graph, &s.numbers, Order::ColMajor, 2, 6);
    rows(plan, &graph, &s.numbers, Order::RowMajor, 0, 9);
    let (mut e, mut v) = ([f64::NAN; 3], [[[f64::NAN; 3]; 3]; 3]);
    let (mut sites, mut f) = (vec![f64::NAN; 3 * n], vec![[f64::NAN; 3]; 3 * n]);
    committee(plan, &graph, &s.numbers, [&mut e, &mut sites], &mut f, &mut v);
    let numbers = [&e[..], &sites, f.as_flattened(), v.as_flattened().as_flattened()].concat();
    assert!(numbers.iter().all(|x| x.is_finite()), "the committee's results are finite");
}

/// No atoms, one atom, atoms without neighbours at any place, for every kind of model; the outputs are whole.
pub fn few_or_lonely_atoms(cases: &[Case]) {
    for case in cases {
        for model in random_models() {
            let z = model.species()[0];
            let plan = &mut case.plan(&model);
            run_all(plan, &Structure::default());
            let none = results(plan, &Structure { cell: CUBE, pbc: [true; 3], ..Structure::default() });
            assert_eq!((none.energy, none.virial), (0.0, [[0.0; 3]; 3]));

            let one = atoms(&[z], &[[1.0, 2.0, 3.0]]);
            run_all(plan, &one);
            let alone = results(plan, &one);
            let e0: f64 = (model.spec().parts.iter())
                .map(|part| if let PartSpec::OneBody(one) = part { one.e0[0] } else { 0.0 })
                .sum();
            assert_eq!(alone.energy, e0, "{}: {}", case.label(), model.spec().name);
            assert_eq!((&alone.forces[..], alone.virial), (&[[0.0; 3]][..], [[0.0; 3]; 3]));

            let lonely: Vec<_> = (0..70).map(|k| [50.0 * f64::from(k), 0.0, 0.0]).collect();
            let lonely = atoms(&[z; 70], &lonely);
            run_all(plan, &lonely);
            assert_eq!(results(plan, &lonely).site_energies, [e0; 70]);

            let two = atoms(&[z; 2], &[[0.0; 3], [1.5, 1.0, 0.3]]);
            let bound = results(plan, &two);
            for at in 0..3 {
                let mut three = two.clone();
                three.positions.insert(at, [0.0, 70.0, -50.0]);
                three.numbers.insert(at, z);
                run_all(plan, &three);
                let found = results(plan, &three);
                let mut sites = bound.site_energies.clone();
                sites.insert(at, e0);
                assert_eq!(found.site_energies, sites, "{}: a lonely atom at {at}", case.label());
                assert_eq!(found.forces[at], [0.0; 3]);
            }
        }
    }
}

pub fn models_of_one_part(cases: &[Case]) {
    let mut random = Random::new(5);
    let onebody = finish("one-body", 2, vec![PartSpec::OneBody(OneBodySpec { e0: vec![-1.5, -2.5] })]);
    let pairs = finish("pair", 2, vec![PartSpec::Pair(pair(&mut random, 2, false, 4.0))]);
    // C without entries.
    let mut empty = invariant_model(0, 1, HarmonicsKind::Spherical, false).into_spec();
    empty.parts.drain(..2);
    if let PartSpec::Ace(ace) = &mut empty.parts[0] {
        (ace.c.rows, ace.c.cols, ace.c.vals) = Default::default();
    }
    let empty = Model::new(empty).unwrap();
    for case in cases {
        let s = atoms(&[14, 8, 14], &[[0.0; 3], [1.7, 0.0, 0.3], [0.0, 2.0, 0.0]]);
        let periodic = Structure { cell: CUBE, pbc: [true; 3], ..s.clone() };
        let mut plan = case.plan(&onebody);
        assert_eq!((plan.rcut(), plan.length_basis(), plan.n_basis()), (0.0, 0, 0));
        for s in [&s, &periodic] {
            run_all(&mut plan, s);
            let found = results(&plan, s);
            assert_eq!(found.site_energies, [-1.5, -2.5, -1.5]);
            assert_eq!((found.forces, found.virial), (vec![[0.0; 3]; 3], [[0.0; 3]; 3]));
        }
        run_all(&mut case.plan(&pairs), &s);
        run_all(&mut case.plan(&pairs), &periodic);
        let silicon = atoms(&[14; 3], &s.positions);
        let mut plan = case.plan(&empty);
        run_all(&mut plan, &silicon);
        assert_eq!(results(&plan, &silicon).site_energies, [0.0; 3]);
    }
}

/// Atoms that nearly touch give large but finite results.
pub fn near_contact(cases: &[Case]) {
    for model in random_models() {
        let z = model.species()[0];
        for case in cases {
            let mut plan = case.plan(&model);
            for r in [0.3, 0.05] {
                run_all(&mut plan, &atoms(&[z; 2], &[[0.0; 3], [r, 0.0, 0.0]]));
                let found = results(&plan, &atoms(&[z; 3], &[[0.0; 3], [0.0, 0.0, r], [2.0, 0.0, 0.0]]));
                assert!(found.forces.as_flattened().iter().all(|f| f.is_finite()), "{}: {r} Å", case.label());
            }
        }
    }
}

/// A transform whose scale lies far outside the cutoff leaves nothing to tabulate, and overflows nowhere.
pub fn odd_transforms(cases: &[Case]) {
    let of = |rin: f64, req: f64, pin: u32| {
        let mut random = Random::new(6);
        let mut part = pair(&mut random, 1, false, 4.0);
        let t = &mut part.radial.transforms[0];
        (t.rin, t.req, t.pin, t.pcut, t.a, t.b0, t.b1) = (rin, req, pin, 1, 0.3, -1.0, 2.0);
        part.radial.envelopes[0] = acerust::model::spec::EnvelopeSpec::Poly1sr { rcut: 4.0, p: 2 };
        finish("odd", 1, vec![PartSpec::Pair(part)])
    };
    for model in [of(5.0, 6.0, 2), of(0.0, 50.0, 3), of(0.0, 0.02, 64)] {
        let exact = |case: &Case| {
            let options = case.options.radial(acerust::plan::RadialMode::Exact);
            Case { options, ..*case }.plan(&model)
        };
        for case in cases {
            for r in [0.5, 1.5, 2.5, 3.9] {
                let s = atoms(&[14; 2], &[[0.0; 3], [r, 0.0, 0.0]]);
                let (found, expected) = (results(&case.plan(&model), &s), results(&exact(case), &s));
                let (found, expected) = (found.forces[0][0], expected.forces[0][0]);
                assert!(expected.is_finite());
                let error = (found - expected).abs();
                assert!(
                    error <= case.tolerance * (1.0 + expected.abs()),
                    "{}: {r} Å: {found} {expected}",
                    case.label()
                );
            }
        }
    }
}

/// The message of what must fail.
fn message<T>(result: acerust::Result<T>) -> String {
    match result {
        Ok(_) => panic!("an error was expected"),
        Err(e) => e.to_string(),
    }
}

/// Bad input gives one error that names the culprit.
pub fn refusals(cases: &[Case]) {
    let model = random_model(1);
    for case in cases {
        let mut plan = case.plan(&model);
        let s = atoms(&[14, 8], &[[0.0; 3], [2.0, 0.0, 0.0]]);
        let graph = plan.graph(&s).unwrap();
        let (mut sites, mut forces) = (vec![0.0; 2], vec![[0.0; 3]; 2]);

        // Again, too: what is remembered of the last atoms is not that of refused ones.
        for _ in 0..2 {
            let unknown = message(plan.energy((&graph, &[14, 26])));
            assert!(unknown.contains("atom 1 is Fe; the model knows Si, O"), "{unknown}");
        }
        let unknown = message(plan.energy((&graph, &[0, 14])));
        assert!(unknown.contains("atom 0 is element 0"), "{unknown}");

        let text = message(plan.energy((&graph, &[14])));
        assert!(text.contains("numbers: expected 2, got 1"), "{text}");
        let text = message(energy_forces_virial(&plan, (&graph, &s.numbers), &mut sites[..1], &mut forces));
        assert!(text.contains("site_energies: expected (2), got (1)"), "{text}");
        let text = message(energy_forces_virial(&plan, (&graph, &s.numbers), &mut sites, &mut forces[..1]));
        assert!(text.contains("forces: expected (2, 3), got (1, 3)"), "{text}");
        let text = message(site_grads(&plan, &graph, &s.numbers, &mut sites, &mut []));
        assert!(text.contains("edge_gradients: expected (2, 3), got (0, 3)"), "{text}");
        let n_basis = plan.n_basis();
        let mut basis = vec![0.0; n_basis];
        let view = ArrayViewMut2::from_shape((1, n_basis), &mut basis).unwrap();
        let text = message(plan.evaluate((&graph, &s.numbers), &mut Outputs::new().descriptors(view)));
        assert!(text.contains(&format!("descriptors: expected (2, {n_basis}), got (1, {n_basis})")), "{text}");
        let mut none = acerust::ndarray::Array3::zeros((0, n_basis, 3));
        let text = message(plan.site_basis_jacobian(&graph, &s.numbers, None, none.view_mut()));
        assert!(text.contains("jacobian: expected (2, "), "{text}");
        let mut gaps = acerust::ndarray::Array2::<f64>::zeros((2, 6));
        let gaps = gaps.slice_mut(acerust::ndarray::s![.., ..3]);
        let text = message(plan.evaluate((&graph, &s.numbers), &mut Outputs::new().forces(gaps)));
        assert!(text.contains("forces: its numbers do not follow one another"), "{text}");
        let mut gradients = [[0.0; 3]; 2];
        let text = message(plan.evaluate(&s, &mut Outputs::new().edge_gradients(&mut gradients)));
        assert!(text.contains("edge_gradients: only a graph says which edges there are"), "{text}");
        let text = message(plan.evaluate(&s, &mut Outputs::new().grade(&mut sites)));
        assert!(text.contains("grade: the plan has no active set"), "{text}");

        let p = plan.length_basis();
        let mut data = vec![0.0; 12 * p];
        let mut assemble = |n_rows: usize, n_cols: usize, which: usize| {
            let view = ArrayViewMut2::from_shape((n_rows, n_cols), &mut data[..n_rows * n_cols]).unwrap();
            let rows = match which {
                0 => Rows::new().energy(view.into_shape_with_order(n_rows * n_cols).unwrap()),
                1 => Rows::new().forces(view),
                _ => Rows::new().virial(view),
            };
            message(plan.assemble(&graph, &s.numbers, &mut { rows }))
        };
        assert!(assemble(2, p, 0).contains(&format!("energy row: expected ({p}), got ({})", 2 * p)));
        assert!(assemble(1, p - 1, 0).contains(&format!("energy row: expected ({p}), got ({})", p - 1)));
        assert!(assemble(5, p, 1).contains(&format!("force rows: expected (6, {p}), got (5, {p})")));
        assert!(assemble(3, p, 2).contains(&format!("virial rows: expected (9, {p}), got (3, {p})")));

        let before = plan.model().linear_parameters();
        let text = message(plan.set_linear_parameters(&before[1..]));
        assert!(text.contains(&format!("expected {p}, got {}", p - 1)), "{text}");
        let mut bad = before.clone();
        bad[3] = f64::NAN;
        assert!(message(plan.set_linear_parameters(&bad)).contains("linear parameters[3]"));
        let text = message(plan.set_committee(&[before.clone(), bad]));
        assert!(text.contains("committee member 1") && text.contains("[3]"), "{text}");
        assert_eq!((plan.model().linear_parameters(), plan.committee().len()), (before, 0), "nothing has changed");

        let mut bad = s.clone();
        bad.positions[1][2] = f64::NAN;
        assert!(message(plan.graph(&bad)).contains("atom 1"), "{}", message(plan.graph(&bad)));
        bad.positions[1][2] = f64::INFINITY;
        assert!(message(plan.graph(&bad)).contains("atom 1"));
        let singular =
            Structure { cell: [[4.0, 0.0, 0.0], [8.0, 0.0, 0.0], [0.0, 0.0, 4.0]], pbc: [true; 3], ..s.clone() };
        assert!(message(plan.graph(&singular)).contains("cell row 1"), "{}", message(plan.graph(&singular)));
        let text = message(plan.graph(&atoms(&[14, 14], &[[1.0; 3]; 2])));
        assert!(text.contains("atoms 0 and 1"), "{text}");
        let text = message(Graph::from_edges(
            &Edges { cutoff: 5.0, n_owned: 1, n_centres: 1, n_atoms: 2, first: &[0, 1], neighbour: &[2], shift: &[] },
            &[[1.0, 0.0, 0.0]],
        ));
        assert!(text.contains("edge 0"), "{text}");

        let onebody = finish("one-body", 1, vec![PartSpec::OneBody(OneBodySpec { e0: vec![1.0] })]);
        let mut bad = s.clone();
        bad.positions[0][0] = f64::NAN;
        assert!(message(case.plan(&onebody).graph(&bad)).contains("atom 0"), "also where no neighbours are sought");
    }
}
