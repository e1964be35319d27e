//! The neighbour graph against its definition.

use acerust::graph::{Edges, Graph, NeighbourList};
use acerust::structure::Structure;

/// SplitMix64: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn uniform(&mut self, low: f64, high: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        low + (high - low) * (z >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn vector(&mut self, low: f64, high: f64) -> [f64; 3] {
        std::array::from_fn(|_| self.uniform(low, high))
    }
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// `x_j + shift·cell − x_i`
fn vector(s: &Structure, i: usize, j: usize, shift: [i16; 3]) -> [f64; 3] {
    std::array::from_fn(|k| {
        let t: f64 = (0..3).map(|d| if s.pbc[d] { f64::from(shift[d]) * s.cell[d][k] } else { 0.0 }).sum();
        s.positions[j][k] - s.positions[i][k] + t
    })
}

type Edge = (usize, usize, [i16; 3]);

/// Every edge by the definition: all pairs, all images that could be near enough.
fn naive(s: &Structure, rcut: f64) -> Vec<Edge> {
    // Rows of directions without periodicity do not count: any independent ones serve.
    let mut cell = s.cell;
    for d in (0..3).filter(|&d| !s.pbc[d]) {
        let others: Vec<[f64; 3]> = (0..3).filter(|&k| s.pbc[k] || k < d).map(|k| cell[k]).collect();
        cell[d] = match others[..] {
            [a, b] => cross(a, b),
            [a] => {
                let least = (0..3).min_by(|&p, &q| a[p].abs().total_cmp(&a[q].abs())).unwrap();
                cross(a, std::array::from_fn(|k| f64::from(u8::from(k == least))))
            }
            _ => std::array::from_fn(|k| f64::from(u8::from(k == d))),
        };
    }
    let volume = dot(cell[0], cross(cell[1], cell[2]));
    let dual = [cross(cell[1], cell[2]), cross(cell[2], cell[0]), cross(cell[0], cell[1])];
    let dual = dual.map(|v| v.map(|x| x / volume));
    let mut edges = Vec::new();
    for i in 0..s.n_atoms() {
        for j in 0..s.n_atoms() {
            let d = vector(s, i, j, [0; 3]);
            let range = |k: usize| {
                if !s.pbc[k] {
                    return 0..=0;
                }
                let (centre, width) = (-dot(d, dual[k]), rcut * dot(dual[k], dual[k]).sqrt());
                (centre - width).floor() as i16..=(centre + width).ceil() as i16
            };
            for a in range(0) {
                for b in range(1) {
                    for c in range(2) {
                        let r = vector(s, i, j, [a, b, c]);
                        if dot(r, r) > 0.0 && dot(r, r) <= rcut * rcut {
                            edges.push((i, j, [a, b, c]));
                        }
                    }
                }
            }
        }
    }
    edges.sort_unstable();
    edges
}

fn edges(g: &Graph) -> Vec<Edge> {
    let mut all: Vec<Edge> = (0..g.n_centres())
        .flat_map(|i| g.edges(i).map(move |e| (i, e)))
        .map(|(i, e)| (i, g.neighbours()[e] as usize, g.shifts()[e]))
        .collect();
    all.sort_unstable();
    all
}

/// Everything that holds for any graph of a structure.
fn check(s: &Structure, rcut: f64) -> Graph {
    let g = Graph::build(s, rcut).unwrap();
    assert_eq!((g.n_centres(), g.n_atoms()), (s.n_atoms(), s.n_atoms()));
    assert_eq!((g.vectors().len(), g.shifts().len()), (g.n_edges(), g.n_edges()));
    assert_eq!(edges(&g), naive(s, rcut), "{s:?} {rcut}");
    check_vectors(s, &g);
    check_incoming(&g);
    g
}

fn check_vectors(s: &Structure, g: &Graph) {
    for i in 0..g.n_centres() {
        for e in g.edges(i) {
            let r = vector(s, i, g.neighbours()[e] as usize, g.shifts()[e]);
            let size = s.positions.as_flattened().iter().fold(1.0_f64, |m, x| m.max(x.abs()));
            assert!(
                (0..3).all(|k| (r[k] - g.vectors()[e][k]).abs() <= 1e-13 * size.max(10.0) / 10.0),
                "{r:?} {:?}",
                g.vectors()[e]
            );
        }
    }
}

fn check_incoming(g: &Graph) {
    let mut columns = vec![Vec::new(); g.n_atoms()];
    g.neighbours().iter().enumerate().for_each(|(e, &j)| columns[j as usize].push(e as u32));
    for (j, column) in columns.iter().enumerate() {
        assert_eq!(&g.incoming()[g.incoming_first()[j] as usize..g.incoming_first()[j + 1] as usize], column);
    }
    assert_eq!(g.incoming().len(), g.n_edges());
}

fn gas(random: &mut Random, n: usize, cell: [[f64; 3]; 3], pbc: [bool; 3]) -> Structure {
    let positions = (0..n)
        .map(|_| {
            let f = random.vector(0.0, 1.0);
            std::array::from_fn(|k| (0..3).map(|d| f[d] * cell[d][k]).sum())
        })
        .collect();
    Structure { numbers: vec![14; n], positions, cell, pbc }
}

fn every_pbc() -> impl Iterator<Item = [bool; 3]> {
    (0..8).map(|b| [b & 1 > 0, b & 2 > 0, b & 4 > 0])
}

fn silicon(n: usize) -> Structure {
    Structure::diamond(14, 5.43).repeat([n; 3]).rattle(0.1, 3)
}

#[test]
fn random_cells_with_every_periodicity() {
    let mut random = Random(1);
    for round in 0..40 {
        for pbc in every_pbc() {
            // From much thinner than the cutoff to several cutoffs wide, flattened now and then.
            let mut cell: [[f64; 3]; 3] = std::array::from_fn(|_| random.vector(-4.0, 4.0));
            for (d, row) in cell.iter_mut().enumerate() {
                row[d] += random.uniform(2.0, 14.0);
            }
            let s = gas(&mut random, 1 + round % 23, cell, pbc);
            check(&s, random.uniform(0.5, 6.0));
        }
    }
}

#[test]
fn strongly_skewed_cells() {
    let mut random = Random(2);
    for skew in [-35.5, -9.0, 8.25, 60.0] {
        for pbc in every_pbc() {
            let cell = [[4.0, 0.1, 0.0], [skew, 5.0, 0.3], [0.7 * skew, -1.3 * skew, 6.0]];
            check(&gas(&mut random, 7, cell, pbc), 4.5);
        }
    }
}

#[test]
fn atoms_outside_the_cell_keep_their_positions() {
    let mut random = Random(3);
    for pbc in every_pbc() {
        let mut s = gas(&mut random, 20, [[7.0, 0.0, 1.0], [2.0, 8.0, 0.0], [0.0, -1.0, 6.0]], pbc);
        for x in &mut s.positions {
            let away = random.vector(-5.0, 5.0).map(f64::round);
            *x = std::array::from_fn(|k| x[k] + (0..3).map(|d| away[d] * s.cell[d][k]).sum::<f64>());
        }
        check(&s, 5.0);
    }
}

#[test]
fn one_atom_with_thousands_of_images() {
    let s = Structure {
        numbers: vec![29],
        positions: vec![[0.3, -7.0, 2.0]],
        cell: [[0.0, 1.8, 1.8], [1.8, 0.0, 1.8], [1.8, 1.8, 0.0]],
        pbc: [true; 3],
    };
    let g = check(&s, 20.05);
    assert!(g.n_edges() > 2500, "{}", g.n_edges());
    // The nearest shells of the face-centred cubic lattice.
    assert_eq!(check(&s, 2.6).n_edges(), 12);
    assert_eq!(check(&s, 3.7).n_edges(), 18);
}

#[test]
fn clustered_and_elongated_systems() {
    let mut random = Random(4);
    let mut droplets = gas(&mut random, 60, [[6.0, 0.0, 0.0], [0.0, 6.0, 0.0], [0.0, 0.0, 6.0]], [false; 3]);
    for (i, x) in droplets.positions.iter_mut().enumerate() {
        *x = x.map(|x| x + 1e4 * (i % 3) as f64);
    }
    let g = check(&droplets, 3.0);
    assert!(g.n_edges() > 100);
    // Neither the vacuum nor the periodicity around it changes the edges.
    for (size, pbc) in [(2.0e4 + 50.0, true), (1e9, true), (0.0, false)] {
        let cell = [[size, 0.0, 0.0], [0.0, size, 0.0], [0.0, 0.0, size]];
        let boxed = Structure { cell, pbc: [pbc; 3], ..droplets.clone() };
        assert_eq!(edges(&Graph::build(&boxed, 3.0).unwrap()), edges(&g));
    }
    let chain = gas(&mut random, 100, [[500.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.5]], [true, false, true]);
    check(&chain, 5.0);
}

#[test]
fn isolated_atoms_have_empty_rows_wherever_they_stand() {
    let far = [[900.0, 0.0, 0.0], [0.0; 3], [0.0, 900.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 900.0]];
    let s = Structure { numbers: vec![1; 5], positions: far.to_vec(), cell: [[0.0; 3]; 3], pbc: [false; 3] };
    let g = check(&s, 2.0);
    assert_eq!((g.first(), g.neighbours()), (&[0, 0, 1, 1, 2, 2][..], &[3, 1][..]));
    assert_eq!((g.vectors(), g.incoming()), (&[[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]][..], &[1, 0][..]));
}

#[test]
fn no_atom_and_one_atom() {
    for pbc in [[false; 3], [true; 3]] {
        let mut s =
            Structure { cell: [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 9.0]], pbc, ..Structure::default() };
        let g = check(&s, 5.0);
        assert_eq!((g.first(), g.incoming_first()), (&[0][..], &[0][..]));
        s.numbers.push(1);
        s.positions.push([1.0, 2.0, 3.0]);
        assert_eq!(check(&s, 5.0).first(), [0, 0]);
    }
}

/// Rows are sorted by neighbour; what is short enough stands in the same order whatever else the row has, and whatever grid found it.
#[test]
fn the_order_of_a_row_follows_from_the_structure() {
    let mut random = Random(6);
    let crowd = gas(&mut random, 40, [[5.0, 0.0, 0.0], [1.0, 6.0, 0.0], [0.0, -2.0, 5.5]], [true; 3]);
    let open = gas(&mut random, 400, [[30.0, 0.0, 0.0], [9.0, 25.0, 0.0], [0.0, 3.0, 20.0]], [true, false, true]);
    for s in [silicon(5), crowd, open] {
        let rows = |reach: f64| -> Vec<Vec<(u32, [i16; 3])>> {
            let g = Graph::build(&s, reach).unwrap();
            let short = |e: &usize| dot(g.vectors()[*e], g.vectors()[*e]) <= 9.0;
            let row = |i| g.edges(i).filter(short).map(|e| (g.neighbours()[e], g.shifts()[e])).collect();
            (0..g.n_centres()).map(row).collect()
        };
        let expected = rows(3.0);
        assert!(expected.iter().map(Vec::len).sum::<usize>() > 800);
        assert!(expected.iter().all(|row| row.is_sorted_by_key(|edge| edge.0)));
        for reach in [3.5, 5.0, 8.0, 14.0] {
            assert!(rows(reach) == expected, "{reach}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let mut random = Random(5);
    let shuffled = gas(&mut random, 3000, [[40.0, 0.0, 0.0], [9.0, 35.0, 0.0], [0.0, 3.0, 30.0]], [true, true, false]);
    for s in [silicon(8), shuffled] {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Graph::build(&s, 5.5).unwrap())
        };
        let one = on(1);
        assert!(one.n_edges() > 1 << 16, "enough for several threads: {}", one.n_edges());
        assert!(one == on(2) && one == on(3));
        check_incoming(&one);
    }
}

#[test]
fn edges_come_in_opposite_pairs() {
    let s = Structure::diamond(14, 5.0).repeat([3; 3]);
    // A shell at exactly the cutoff, where rounding decides.
    let g = Graph::build(&s, 5.0).unwrap();
    let forward: Vec<_> = (0..g.n_centres())
        .flat_map(|i| g.edges(i).map(move |e| (i, e)))
        .map(|(i, e)| (i, g.neighbours()[e] as usize, g.shifts()[e], g.vectors()[e].map(|x| (x + 0.0).to_bits())))
        .collect();
    let mut reverse: Vec<_> = forward
        .iter()
        .map(|&(i, j, s, r)| (j, i, s.map(|s| -s), r.map(|x| (0.0 - f64::from_bits(x)).to_bits())))
        .collect();
    let mut forward = forward;
    forward.sort_unstable();
    reverse.sort_unstable();
    assert!(forward == reverse);
}

#[test]
fn translation_and_permutation_only_rename() {
    let mut random = Random(6);
    let s = gas(&mut random, 40, [[9.0, 0.0, 0.0], [-3.0, 8.0, 0.0], [1.0, 1.0, 12.0]], [true, true, false]);
    let original = edges(&check(&s, 4.0));
    let mut moved = s.clone();
    moved.positions.iter_mut().for_each(|x| *x = [x[0] + 103.0, x[1] - 57.0, x[2] + 7.5]);
    assert_eq!(edges(&check(&moved, 4.0)), original);
    let n = s.n_atoms();
    let name = |i: usize| (i * 17 + 5) % n;
    let mut renamed = s.clone();
    (0..n).for_each(|i| renamed.positions[name(i)] = s.positions[i]);
    let mut expected: Vec<Edge> = original.iter().map(|&(i, j, shift)| (name(i), name(j), shift)).collect();
    expected.sort_unstable();
    assert_eq!(edges(&check(&renamed, 4.0)), expected);
}

#[test]
fn vectors_follow_new_positions_and_cells() {
    let s = silicon(2);
    let mut g = Graph::build(&s, 5.5).unwrap();
    let mut strained = s.clone().rattle(0.3, 9);
    strained.cell[1][0] += 0.2;
    g.update_vectors(&strained).unwrap();
    check_vectors(&strained, &g);
    let message = g.update_vectors(&silicon(1)).unwrap_err().to_string();
    assert_eq!(message, "graph: 8 positions for a graph of 64 atoms");
}

#[test]
fn small_moves_are_followed_and_clashes_found() {
    let s = silicon(2);
    let mut g = Graph::build(&s, 5.5).unwrap();
    let mut moved = s.clone();
    for step in 0..12 {
        moved = moved.rattle(0.1, step);
        g.update_vectors(&moved).unwrap();
        check_vectors(&moved, &g);
        let mut fresh = Graph::build(&s, 5.5).unwrap();
        fresh.update_vectors(&moved).unwrap();
        assert!(g == fresh && g == g.clone(), "step {step}");
        // Without having been asked for vectors in between.
        g.update_vectors(&moved).unwrap();
    }
    // Two atoms come nearer in small steps, until they are in one place.
    let (from, to) = (moved.positions[0], moved.positions[1]);
    for k in 1..=20 {
        let t = f64::from(k) / 20.0;
        moved.positions[0] = std::array::from_fn(|d| (1.0 - t) * from[d] + t * to[d]);
        let updated = g.update_vectors(&moved);
        match k {
            20 => assert!(updated.unwrap_err().to_string().contains("from atom 0 to atom 1: vector")),
            _ => updated.unwrap(),
        }
    }
    moved.positions[0] = from;
    g.update_vectors(&moved).unwrap();
    check_vectors(&moved, &g);
    moved.positions[3][1] = f64::NAN;
    assert!(g.update_vectors(&moved).unwrap_err().to_string().ends_with("not finite"));
    moved.positions[3][1] = 1e200;
    assert!(g.update_vectors(&moved).unwrap_err().to_string().ends_with("not finite"));
}

/// The edges of a graph up to a cutoff.
fn within(g: &Graph, rcut: f64) -> Vec<Edge> {
    let mut all: Vec<Edge> = (0..g.n_centres())
        .flat_map(|i| g.edges(i).map(move |e| (i, e)))
        .filter(|&(_, e)| dot(g.vectors()[e], g.vectors()[e]) <= rcut * rcut)
        .map(|(i, e)| (i, g.neighbours()[e] as usize, g.shifts()[e]))
        .collect();
    all.sort_unstable();
    all
}

#[test]
fn a_skin_reuses_the_list_and_loses_no_edge() {
    let mut random = Random(7);
    let mut s = silicon(2);
    let mut list = NeighbourList::new(4.5, 0.8).unwrap();
    for step in 0..60 {
        for x in s.positions.as_flattened_mut() {
            *x += random.uniform(-0.06, 0.06);
        }
        let g = list.update(&s).unwrap();
        assert_eq!(within(g, 4.5), naive(&s, 4.5), "step {step}");
        check_vectors(&s, g);
        check_incoming(g);
    }
    assert!((3..30).contains(&list.builds()), "{}", list.builds());

    // Vectors are those of the atoms wherever these go, also when asked again.
    let mut moved = s.clone();
    moved.positions[0][0] += 0.01;
    for s in [&moved, &moved, &s, &s, &moved] {
        check_vectors(s, list.update(s).unwrap());
    }

    let rebuilds = |list: &mut NeighbourList, s: &Structure| {
        let before = list.builds();
        assert_eq!(within(list.update(s).unwrap(), 4.5), naive(s, 4.5));
        list.builds() - before
    };
    rebuilds(&mut list, &s);
    assert_eq!(rebuilds(&mut list, &s), 0);
    let cell = s.cell;
    s.positions[3] = std::array::from_fn(|k| s.positions[3][k] + cell[0][k] - 2.0 * cell[2][k]);
    assert_eq!(rebuilds(&mut list, &s), 1);
    s.cell[0][0] += 0.01;
    assert_eq!(rebuilds(&mut list, &s), 1);
    s.pbc[1] = false;
    assert_eq!(rebuilds(&mut list, &s), 1);
    s.numbers.pop();
    s.positions.pop();
    assert_eq!(rebuilds(&mut list, &s), 1);
    // Half the skin is the limit, and a failed build is not reused.
    s.positions[0][1] += 0.399;
    assert_eq!(rebuilds(&mut list, &s), 0);
    s.positions[0][1] += 0.002;
    assert_eq!(rebuilds(&mut list, &s), 1);
    let good = s.positions[5];
    s.positions[5][2] = f64::NAN;
    assert!(list.update(&s).is_err() && list.update(&s).is_err());
    s.positions[5] = good;
    assert_eq!(rebuilds(&mut list, &s), 1);
}

#[test]
fn a_list_without_skin_follows_every_move() {
    let mut s = silicon(2);
    let mut list = NeighbourList::new(4.5, 0.0).unwrap();
    assert_eq!(edges(list.update(&s).unwrap()), naive(&s, 4.5));
    list.update(&s).unwrap();
    assert_eq!(list.builds(), 1);
    s.positions[7][0] += 1e-9;
    list.update(&s).unwrap();
    assert_eq!(list.builds(), 2);
}

#[test]
fn memory_of_a_larger_structure_leaves_no_trace() {
    let mut list = NeighbourList::new(5.0, 0.3).unwrap();
    for n in [4, 1, 3, 2] {
        let s = silicon(n);
        let (found, expected) = (list.update(&s).unwrap(), Graph::build(&s, 5.3).unwrap());
        assert_eq!((found.cutoff(), expected.cutoff()), (5.0, 5.3));
        assert!(found.first() == expected.first() && found.neighbours() == expected.neighbours());
        assert!(found.shifts() == expected.shifts() && found.vectors() == expected.vectors());
        assert!(found.incoming_first() == expected.incoming_first() && found.incoming() == expected.incoming());
    }
}

/// Atoms that come together within half the skin: an error every time, until they part.
#[test]
fn a_list_that_failed_fails_again() {
    let crystal = Structure::diamond(14, 5.43);
    let mut together = crystal.clone();
    together.positions[1] = together.positions[0];
    let mut list = NeighbourList::new(3.0, 8.0).unwrap();
    list.update(&crystal).unwrap();
    for _ in 0..2 {
        assert!(list.update(&together).is_err());
    }
    let vectors = list.update(&crystal).unwrap().vectors().to_vec();
    assert_eq!((list.builds(), &vectors[..]), (1, Graph::build(&crystal, 11.0).unwrap().vectors()));
}

#[test]
fn external_lists_with_ghosts() {
    let (first, neighbour) = ([0, 2, 2, 5], [4, 1, 0, 0, 3]);
    let r: Vec<[f64; 3]> = (0..5).map(|e| [1.0, f64::from(e), 0.0]).collect();
    let edges = |n_centres, n_atoms, first, neighbour| Edges {
        cutoff: 5.0,
        n_owned: n_centres,
        n_centres,
        n_atoms,
        first,
        neighbour,
        shift: &[],
    };
    let g = Graph::from_edges(&edges(3, 5, &first, &neighbour), &r).unwrap();
    assert_eq!((g.n_centres(), g.n_atoms(), g.n_edges()), (3, 5, 5));
    assert_eq!((g.incoming_first(), g.incoming()), (&[0, 2, 3, 3, 4, 5][..], &[2, 3, 1, 4, 0][..]));
    assert!(g.shifts().is_empty() && g.vectors() == r);
    let empty = Graph::from_edges(&edges(0, 0, &[0], &[]), &[]).unwrap();
    assert_eq!((empty.n_centres(), empty.n_atoms(), empty.n_edges()), (0, 0, 0));

    fn bad(n_centres: usize, n_atoms: usize, first: &[u32], neighbour: &[u32], r: &[[f64; 3]]) -> String {
        let edges = Edges { cutoff: 5.0, n_owned: n_centres, n_centres, n_atoms, first, neighbour, shift: &[] };
        Graph::from_edges(&edges, r).unwrap_err().to_string()
    }
    assert_eq!(bad(6, 5, &first, &neighbour, &r), "graph: 6 centres among 5 atoms");
    assert_eq!(bad(2, 5, &first, &neighbour, &r), "graph: 4 offsets for 2 centres, expected 3");
    assert_eq!(bad(3, 5, &first, &neighbour, &r[1..]), "graph: 4 vectors for 5 neighbours");
    assert_eq!(bad(3, 5, &[1, 2, 2, 5], &neighbour, &r), "graph: the first offset is 1, not 0");
    assert_eq!(bad(3, 5, &[0, 3, 2, 5], &neighbour, &r), "graph: centre 1: offsets 3 and 2 decrease");
    assert_eq!(bad(3, 5, &[0, 2, 2, 4], &neighbour, &r), "graph: the last offset is 4 for 5 edges");
    assert_eq!(bad(3, 4, &first, &neighbour, &r), "graph: edge 0: neighbour 4 of 4 atoms");
    for wrong in [[0.0; 3], [1e-150, 0.0, 0.0], [f64::NAN, 0.0, 0.0], [0.0, f64::INFINITY, 0.0]] {
        let mut r = r.clone();
        r[3] = wrong;
        let message = bad(3, 5, &first, &neighbour, &r);
        let expected =
            format!("graph: edge 3 from atom 2 to atom 0: vector {wrong:?} is shorter than 1e-10 Å or not finite");
        assert_eq!(message, expected);
    }
}

#[test]
fn bad_input_names_the_culprit() {
    let fails = |s: &Structure, rcut: f64| Graph::build(s, rcut).unwrap_err().to_string();
    let good = silicon(2);
    for rcut in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let message = format!("graph: cutoff {rcut} Å is not positive and finite");
        assert_eq!(fails(&good, rcut), message);
        assert_eq!(NeighbourList::new(rcut, 1.0).unwrap_err().to_string(), message);
    }
    for skin in [-0.1, f64::NAN, f64::INFINITY] {
        let message = NeighbourList::new(5.0, skin).unwrap_err().to_string();
        assert_eq!(message, format!("graph: skin {skin} Å is negative or not finite"));
    }
    let mut s = good.clone();
    s.positions[11][0] = f64::NAN;
    assert!(fails(&s, 5.0).starts_with("structure: atom 11: position"));
    let mut s = good.clone();
    s.numbers.pop();
    assert_eq!(fails(&s, 5.0), "structure: 63 atomic numbers for 64 positions");
    let mut s = good.clone();
    s.cell[2] = [0.0; 3];
    assert_eq!(fails(&s, 5.0), "structure: cell row 2 is zero, yet periodic");

    let mut s = good.clone();
    s.positions[40] = s.positions[9];
    assert_eq!(fails(&s, 5.0), "graph: atoms 9 and 40 are at the same place");
    // Also across the border of the cell, where rounding leaves a tiny distance.
    s.positions[40] = std::array::from_fn(|k| s.positions[9][k] + 7.0 * s.cell[0][k] - 3.0 * s.cell[1][k]);
    assert_eq!(fails(&s, 5.0), "graph: atoms 9 and 40 are at the same place");

    let mut s = good.clone();
    s.positions[3][1] += 1e6;
    let message = "graph: shifts beyond 16 bits: atom 3 lies thousands of cells away from atom 0";
    assert_eq!(fails(&s, 5.0), message);
    let thin = Structure { cell: [[1e-4, 0.0, 0.0], [0.0; 3], [0.0; 3]], pbc: [true, false, false], ..good.clone() };
    assert_eq!(fails(&thin, 5.0), "graph: shifts beyond 16 bits: the cutoff spans too many cells");
    assert!(fails(&good, 1500.0).starts_with("graph: about 4.5e10 edges within 1500 Å"), "{}", fails(&good, 1500.0));
    let sheet =
        Structure { cell: [[0.03, 0.0, 0.0], [0.0, 0.03, 0.0], [0.0; 3]], pbc: [true, true, false], ..silicon(1) };
    assert!(fails(&sheet, 900.0).contains("edges within 900 Å, more than 32 bits can count"));
}
