//! Sequences of calls of the C ABI with arguments right and wrong. Lengths are never longer than the buffers, which is all that the
//! library has to believe its caller; what surrounds a buffer must not change.

use crate::mutate::Mutator;
use acerust::capi::evaluate::acerust_rows;
use acerust::capi::graph::{
    acerust_graph, acerust_graph_build, acerust_graph_free, acerust_graph_n_atoms, acerust_graph_n_centres,
    acerust_graph_n_edges, acerust_graph_update,
};
use acerust::capi::model::*;
use acerust::capi::plan::*;
use acerust::capi::status::*;
use short::*;
use std::ptr::{null, null_mut, without_provenance, without_provenance_mut};

#[path = "../test/capi/short.rs"]
mod short;

/// Any bytes are a sequence of calls; of some at random, those in which a call succeeds.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut random = Mutator::new(7, Vec::new());
    let mut bytes = || (0..512).map(|_| random.below(256) as u8).collect::<Vec<u8>>();
    let seeds: Vec<_> = (0..64).map(|_| bytes()).filter(|input| target(input)).collect();
    assert!(seeds.len() > 16, "{} seeds", seeds.len());
    seeds
}

/// The bytes of an input, one choice after another; 0 at the end.
struct Choices<'a>(std::slice::Iter<'a, u8>);

impl Choices<'_> {
    fn byte(&mut self) -> usize {
        self.0.next().copied().unwrap_or(0).into()
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.byte() % values.len()]
    }

    /// Rarely true.
    fn rarely(&mut self) -> bool {
        self.byte() > 240
    }

    fn real(&mut self) -> f64 {
        match self.byte() {
            254 => f64::NAN,
            253 => f64::INFINITY,
            252 => 1e300,
            251 => -1e-300,
            k => k as f64 / 16.0 - 6.0,
        }
    }

    fn reals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.real()).collect()
    }
}

/// A buffer for results between two others that nobody may write to.
struct Guarded {
    memory: Vec<f64>,
    n: usize,
    pointer: *mut f64,
}

const FENCE: usize = 8;
const UNTOUCHED: f64 = 123.456;

impl Guarded {
    /// Mostly as long as expected; sometimes of another length, null, or not aligned.
    fn new(choices: &mut Choices, expected: usize) -> Guarded {
        let n = if choices.rarely() { choices.byte() } else { expected };
        let mut memory = vec![UNTOUCHED; n + 2 * FENCE];
        let start = memory.as_mut_ptr().wrapping_add(FENCE);
        let pointer = match choices.byte() {
            250.. => start.wrapping_byte_sub(3),
            200.. => null_mut(),
            _ => start,
        };
        Guarded { memory, n, pointer }
    }

    fn check(&self) {
        let (front, back) = (&self.memory[..FENCE], &self.memory[FENCE + self.n..]);
        assert!(front.iter().chain(back).all(|&x| x == UNTOUCHED), "a buffer of {} was overrun", self.n);
    }
}

#[derive(Default)]
struct Atoms {
    numbers: Vec<i32>,
    positions: Vec<f64>,
    cell: Vec<f64>,
    pbc: Vec<i32>,
}

impl Atoms {
    fn new(choices: &mut Choices) -> Atoms {
        let n = choices.byte() % 10;
        let mut atoms = Atoms {
            numbers: (0..n)
                .map(|_| if choices.rarely() { choices.byte() as i32 - 3 } else { choices.of(&[14, 8]) })
                .collect(),
            positions: choices.reals(3 * n),
            cell: vec![6.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 7.0],
            pbc: (0..3).map(|_| choices.byte() as i32 % 2).collect(),
        };
        if choices.rarely() {
            let k = choices.byte() % 9;
            atoms.cell[k] = choices.of(&[0.0, 2.0, -3.0, 1e-320, 1e300, f64::NAN, f64::INFINITY]);
        }
        atoms
    }
}

#[derive(Default)]
struct Machine {
    models: Vec<usize>,
    plans: Vec<usize>,
    graphs: Vec<usize>,
    successes: usize,
}

impl Machine {
    fn status(&mut self, status: i32) {
        assert!((ACERUST_OK..=ACERUST_ERROR_NOT_FINITE).contains(&status), "status {status}: {}", message());
        assert_ne!(status, ACERUST_ERROR_PANIC, "{}", message());
        self.successes += usize::from(status == ACERUST_OK);
    }

    /// Mostly a live handle of the kind; sometimes one of another, none, or nonsense.
    fn handle<H>(&self, live: &[usize], choices: &mut Choices) -> *mut H {
        let all = [&self.models[..], &self.plans, &self.graphs].concat();
        let pick = |from: &[usize], k: usize| from.get(k % from.len().max(1)).copied().unwrap_or(0);
        without_provenance_mut(match choices.byte() {
            253.. => 0,
            250.. => 0xdead_beef,
            240.. => pick(&all, choices.byte()),
            k => pick(live, k),
        })
    }

    fn step(&mut self, choices: &mut Choices) {
        let model = self.handle(&self.models, choices);
        let plan: *mut acerust_plan = self.handle(&self.plans, choices);
        let graph: *mut acerust_graph = self.handle(&self.graphs, choices);
        let mut sizes = [0_usize; 5];
        let [p, b, n_centres, n_atoms, n_edges] = &mut sizes;
        // SAFETY, here and below: every length is that of its buffer or less.
        unsafe {
            acerust_plan_length_basis(plan, p);
            acerust_plan_n_basis(plan, b);
            acerust_graph_n_centres(graph, n_centres);
            acerust_graph_n_atoms(graph, n_atoms);
            acerust_graph_n_edges(graph, n_edges);
        }
        let [p, b, n_centres, n_atoms, n_edges] = sizes;
        let atoms = Atoms::new(choices);
        let (n, z, x) = (atoms.numbers.len(), atoms.numbers.as_ptr(), atoms.positions.as_ptr());
        let cell = if choices.rarely() { null() } else { atoms.cell.as_ptr() };
        let pbc = if choices.rarely() { null() } else { atoms.pbc.as_ptr() };
        let mut outputs = Vec::new();
        let mut out = |choices: &mut Choices, expected| {
            let buffer = Guarded::new(choices, expected);
            let found = (buffer.pointer, buffer.n);
            outputs.push(buffer);
            found
        };
        let operation = choices.byte() % 21;
        let status = unsafe {
            match operation {
                0 => {
                    let parts: Vec<usize> = (0..choices.byte() % 5).map(|_| choices.byte() % 5).collect();
                    let mut made = null_mut();
                    let status = acerust_model_extract(model, parts.as_ptr(), parts.len(), &mut made);
                    keep(&mut self.models, made);
                    status
                }
                1 | 2 => {
                    let options = acerust_options {
                        size: if choices.rarely() { choices.byte() % 32 } else { size_of::<acerust_options>() },
                        n_threads: choices.byte() % 3,
                        tolerance: choices.of(&[1e-3, 1e-6, 0.0, -1.0, f64::NAN, f64::INFINITY, 10.0]),
                        radial: choices.byte() as i32 % 4,
                        instruction_set: choices.of(&[0, 0, 1, 2, 3, 4, -1]),
                        n_devices: 0,
                    };
                    let options = if choices.rarely() { null() } else { &raw const options };
                    let (device, index) = (choices.of(&[0, 0, 0, 0, 1, 2]), choices.of(&[0, 0, 0, 1, -1, i32::MAX]));
                    let mut made = null_mut();
                    let precision = choices.of(&[0, 1, 0, 1, 2]);
                    let status = acerust_plan_new(model, device, index, precision, options, &mut made);
                    keep(&mut self.plans, made);
                    status
                }
                3 => {
                    let length = if choices.rarely() { p + 1 } else { p };
                    let values = choices.reals(length);
                    acerust_plan_set_linear_parameters(plan, values.as_ptr(), values.len())
                }
                4 => {
                    let k = choices.byte() % 4;
                    let length = if choices.rarely() { 3 } else { k * p };
                    let values = choices.reals(length);
                    acerust_plan_set_committee(plan, values.as_ptr(), values.len(), k)
                }
                5 | 6 => {
                    let (rcut, skin) =
                        (choices.of(&[4.0, 5.0, 0.0, 3.0, -1.0, f64::NAN]), choices.of(&[0.0, 0.5, -1.0]));
                    let mut made = null_mut();
                    let threads = choices.byte() % 3;
                    let status = acerust_graph_build(n, z, x, cell, pbc, rcut, skin, threads, &mut made);
                    keep(&mut self.graphs, made);
                    status
                }
                7 => acerust_graph_update(graph, n, z, x, cell, pbc, &mut 0),
                8 => {
                    let centres = if choices.rarely() { choices.byte() } else { choices.byte() % (n + 1) };
                    let mut first = vec![0];
                    for _ in 0..centres {
                        let last = *first.last().expect("one") as usize;
                        first.push((last + choices.byte() % 4).saturating_sub(usize::from(choices.rarely())) as u32);
                    }
                    let n_edges = *first.last().expect("one") as usize;
                    let stray = if choices.rarely() { 1 } else { 0 };
                    let neighbour: Vec<u32> =
                        (0..n_edges).map(|_| (choices.byte() % (n + stray).max(1)) as u32).collect();
                    let r = choices.reals(3 * n_edges);
                    let (f, j) = (first.as_ptr(), neighbour.as_ptr());
                    let mut made = null_mut();
                    let status = acerust_graph_from_edges(centres, n, z, f, n_edges, j, r.as_ptr(), &mut made);
                    keep(&mut self.graphs, made);
                    status
                }
                9 => {
                    let ((e, _), (s, ns), (f, nf), (v, _)) =
                        (out(choices, 1), out(choices, n), out(choices, 3 * n), out(choices, 9));
                    // Energy and virial have no lengths of their own: theirs are right or the pointers null.
                    let (e, v) = fixed(&outputs, e, v);
                    acerust_energy_forces_virial(plan, n, z, x, cell, pbc, e, s, ns, f, nf, v)
                }
                10 => {
                    let ((e, _), (s, ns)) = (out(choices, 1), out(choices, n_centres));
                    let ((f, nf), (v, _)) = (out(choices, 3 * n_atoms), out(choices, 9));
                    let (e, v) = fixed(&outputs, e, v);
                    acerust_graph_energy_forces_virial(plan, graph, e, s, ns, f, nf, v)
                }
                11 => {
                    let k = members(plan);
                    let ((e, ne), (s, ns)) = (out(choices, k), out(choices, k * n_centres));
                    let ((f, nf), (v, nv)) = (out(choices, 3 * k * n_atoms), out(choices, 9 * k));
                    acerust_graph_committee_energy_forces_virial(plan, graph, e, ne, s, ns, f, nf, v, nv)
                }
                12 => {
                    let ((s, ns), (g, ng)) = (out(choices, n_centres), out(choices, 3 * n_edges));
                    acerust_graph_site_grads(plan, graph, s, ns, g, ng)
                }
                13 => {
                    let ((s, ns), (g, ng)) = (out(choices, n_centres * b), out(choices, 3 * n_edges * b));
                    acerust_graph_site_basis_jacobian(plan, graph, s, ns, g, ng)
                }
                14 => {
                    let (s, ns) = out(choices, n * b);
                    acerust_site_basis(plan, n, z, x, cell, pbc, s, ns)
                }
                15 | 16 => {
                    let order = choices.of(&[0, 1, 0, 1, 2]);
                    let n_virial_rows = choices.of(&[6, 9, 6, 9, 7]);
                    let gap = choices.byte() % 3;
                    let rows = [1, 3 * n_atoms, n_virial_rows];
                    let lds = rows.map(|r| if gap == 0 { 0 } else { gap + if order == 0 { p } else { r } });
                    let [(e, ne), (f, nf), (v, nv)] = rows.map(|r| out(choices, (r + gap) * (p + gap)));
                    let rows = acerust_rows {
                        size: if choices.rarely() { choices.byte() % 88 } else { size_of::<acerust_rows>() },
                        energy: e,
                        n_energy: ne,
                        ld_energy: lds[0],
                        forces: f,
                        n_forces: nf,
                        ld_forces: lds[1],
                        virial: v,
                        n_virial: nv,
                        ld_virial: lds[2],
                        n_virial_rows: n_virial_rows as i32,
                        order,
                    };
                    acerust_graph_assemble(plan, graph, &rows)
                }
                17 => acerust_plan_set_threads(plan, choices.byte() % 3),
                20 => {
                    let mut input = if choices.rarely() { short::of(graph) } else { short::atoms(n, z, x, cell, pbc) };
                    let mut wanted = short::outputs();
                    (wanted.site_virials, wanted.n_site_virials) = out(choices, 9 * n);
                    (wanted.descriptors, wanted.n_descriptors) = out(choices, n * b);
                    (wanted.grade, wanted.n_grade) = if choices.rarely() { out(choices, n) } else { (null_mut(), 0) };
                    if choices.rarely() {
                        (wanted.forces, wanted.n_forces) = (wanted.site_virials, wanted.n_site_virials.min(3 * n));
                    }
                    // Sizes are never more than the structs have.
                    input.size = if choices.rarely() { choices.byte() % size_of_val(&input) } else { input.size };
                    wanted.size = if choices.rarely() { choices.byte() % size_of_val(&wanted) } else { wanted.size };
                    acerust::capi::evaluate::acerust_evaluate(plan, &input, &wanted)
                }
                18 => match choices.byte() % 3 {
                    0 => acerust_model_free(model),
                    1 => acerust_plan_free(plan),
                    _ => acerust_graph_free(graph),
                },
                _ => {
                    let (s, ns) = out(choices, p);
                    acerust_plan_linear_parameters(plan, s, ns)
                }
            }
        };
        outputs.iter().for_each(Guarded::check);
        self.status(status);
    }
}

/// Buffers without a length of their own, first and last, or null where they are too short.
fn fixed(outputs: &[Guarded], e: *mut f64, v: *mut f64) -> (*mut f64, *mut f64) {
    let (first, last) = (&outputs[0], &outputs[outputs.len() - 1]);
    (if first.n < 1 { null_mut() } else { e }, if last.n < 9 { null_mut() } else { v })
}

fn members(plan: *const acerust_plan) -> usize {
    let mut k = 0;
    // SAFETY: one number to write to.
    unsafe { acerust_plan_n_members(plan, &mut k) };
    k
}

fn keep<H>(handles: &mut Vec<usize>, made: *mut H) {
    if !made.is_null() {
        handles.push(made.addr());
    }
}

fn message() -> String {
    let mut bytes = vec![0_u8; 4096];
    // SAFETY: the length is the buffer's.
    unsafe { acerust_last_error(bytes.as_mut_ptr().cast(), bytes.len()) };
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
}

/// Never a panic, never a write beside a buffer. Accepted: some call beyond the first ones succeeded.
pub fn target(input: &[u8]) -> bool {
    let mut machine = Machine::default();
    let json = super::model::small::model().to_string();
    let mut model = null_mut();
    // SAFETY: as long as the text.
    machine.status(unsafe { acerust_model_from_json(json.as_ptr().cast(), json.len(), &mut model) });
    keep(&mut machine.models, model);
    for precision in [ACERUST_F64, ACERUST_F32] {
        let mut plan = null_mut();
        let options =
            acerust_options { size: size_of::<acerust_options>(), radial: ACERUST_RADIAL_EXACT, ..Default::default() };
        // SAFETY: pointers to live objects.
        machine.status(unsafe { acerust_plan_new(model, ACERUST_CPU, 0, precision, &options, &mut plan) });
        keep(&mut machine.plans, plan);
    }
    let mut choices = Choices(input.iter());
    while choices.0.len() > 0 {
        machine.step(&mut choices);
    }
    // What was freed on the way says so, and harms nobody.
    for &handle in &machine.models {
        acerust_model_free(without_provenance::<acerust_model>(handle).cast_mut());
    }
    for &handle in &machine.plans {
        acerust_plan_free(without_provenance::<acerust_plan>(handle).cast_mut());
    }
    for &handle in &machine.graphs {
        acerust_graph_free(without_provenance::<acerust_graph>(handle).cast_mut());
    }
    machine.successes > 3
}
