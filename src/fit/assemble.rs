//! Frames into factors: rows of many frames on all threads, then into the factors in the order of the frames.
//!
//! Of a device the force rows stay there, and the threads keep several frames at a time under way: its triangles come to the host where
//! somebody asks for the factors.

use super::block::{Block, Place};
use super::data::Observation;
use super::factor::{Factor, Scratch};
use super::factors::Factors;
use super::settings::Settings;
use crate::device::{Device, too_many};
use crate::extxyz::Frame;
use crate::graph::Graph;
use crate::model::Model;
use crate::parallel;
use crate::plan::{Outputs, Plan, Precision, Rows};
use crate::potential::{Stored, Triangles};
use crate::{Error, Result, memory};
use ndarray::{ArrayViewMut1, ArrayViewMut2, s};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

/// Rows to have in memory at a time, bytes, unless one frame alone has more.
const CHUNK_BYTES: usize = 32 << 20;

/// What an assembler did with its time.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Work {
    /// Graphs and rows, s.
    pub rows: f64,
    /// Rows into triangles, s.
    pub factors: f64,
    /// Floating-point operations of these, `2 m n²` for `m` rows of `n` numbers.
    pub operations: f64,
}

/// Takes frames, gives factors.
#[derive(Debug)]
pub struct Assembler {
    plan: Plan,
    /// Where the plan's device keeps force rows.
    triangles: Option<Box<dyn Triangles>>,
    /// Of the parts without parameters, whose share is taken from the data.
    fixed: Option<Plan>,
    settings: Settings,
    factors: Factors,
    waiting: Vec<(u64, Observation)>,
    bytes: usize,
    seen: HashSet<u64>,
    work: Work,
    /// The rows of the frames that wait. The system takes long to give as much anew, here and in eliminations.
    rows: Vec<f64>,
    scratch: Scratch,
    /// What went wrong when a part of some frames was in the factors.
    broken: Option<String>,
}

/// The number of a frame, what it says, and its neighbours.
pub(super) type Waiting = (u64, Observation, Graph);

/// The rows of a frame, (n_rows, n_columns) each; none of forces where a device keeps them.
struct FrameRows<'a> {
    energy: &'a mut [f64],
    energy_per_atom: &'a mut [f64],
    force: &'a mut [f64],
    virial: &'a mut [f64],
    closest: Vec<f64>,
    /// The species of a single atom without neighbours.
    isolated: Option<usize>,
}

impl Assembler {
    /// # Errors
    /// A model without linear parameters.
    pub fn new(model: &Model, settings: &Settings) -> Result<Assembler> {
        Self::on(Device::Cpu, Factors::new(model), settings)
    }

    /// Goes on where earlier factors ended.
    ///
    /// # Errors
    /// As [`Assembler::new`].
    pub fn resume(factors: Factors, settings: &Settings) -> Result<Assembler> {
        Self::on(Device::Cpu, factors, settings)
    }

    /// The same with rows from a device, where those of forces are factorised, too. Factors are the same to rounding.
    ///
    /// # Errors
    /// As [`Assembler::new`]; [`Error::Device`] where the device or its memory, NVRTC or cuSOLVER is missing, or kernels for the model.
    pub fn on(device: Device, factors: Factors, settings: &Settings) -> Result<Assembler> {
        settings.check()?;
        if factors.n_params() == 0 {
            return Err(Error::Fit("the model has no linear parameters".into()));
        }
        if let Device::Cudas { n, .. } = device {
            return Err(too_many(n, "a fit"));
        }
        let plan = Plan::new(&factors.model, device, Precision::F64)?;
        let triangles = plan.triangles(factors.n_columns())?;
        let new = |model| Plan::new(&model, Device::Cpu, Precision::F64);
        let (fixed, settings) = (factors.model.fixed()?.map(new).transpose()?, settings.clone());
        let (waiting, seen) = (Vec::new(), HashSet::new());
        let (work, rows, scratch) = (Work::default(), Vec::new(), Scratch::default());
        Ok(Assembler {
            plan,
            triangles,
            fixed,
            settings,
            factors,
            waiting,
            bytes: 0,
            seen,
            work,
            rows,
            scratch,
            broken: None,
        })
    }

    /// Takes the next frame. What cannot be used is noted in the factors' remarks.
    ///
    /// # Errors
    /// No memory for its rows.
    pub fn push(&mut self, frame: Frame) -> Result<()> {
        let number = self.factors.frames;
        self.factors.frames += 1;
        match self.settings.observe(frame, self.factors.model.species()) {
            Err(reason) => self.factors.remarks.skip(reason, number),
            Ok(observation) => {
                let s = &observation.structure;
                let mut hasher = DefaultHasher::new();
                s.numbers.hash(&mut hasher);
                let numbers = s.positions.iter().chain(&s.cell).flatten();
                numbers.for_each(|x| x.to_bits().hash(&mut hasher));
                self.factors.remarks.duplicates += u64::from(!self.seen.insert(hasher.finish()));
                self.factors.group(&observation.group);
                self.bytes += 24 * s.n_atoms() * self.factors.n_columns();
                self.waiting.push((number, observation));
            }
        }
        let rows = self.triangles.as_ref().map(|triangles| triangles.capacity());
        match self.bytes > rows.map_or(CHUNK_BYTES, |rows| 8 * rows * self.factors.n_columns()) {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Adds the factors of other frames.
    ///
    /// # Errors
    /// As [`Factors::merge`] and [`Assembler::push`].
    pub fn merge(&mut self, other: &Factors) -> Result<()> {
        self.settle()?;
        self.factors.merge(other)
    }

    /// Takes the factors of a checkpoint, of the same model, in place of its own, which are of nothing.
    pub(super) fn go_on(&mut self, mut part: Factors) -> Result<()> {
        part.merge(&self.factors)?;
        self.factors = part;
        Ok(())
    }

    /// Notes what the frames are the data of.
    pub(super) fn note(&mut self, source: String) {
        self.factors.sources.insert(source);
    }

    /// The model whose basis the rows are of.
    pub fn model(&self) -> &Model {
        &self.factors.model
    }

    /// What it was told.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it did with its time so far.
    pub fn work(&self) -> Work {
        self.work
    }

    /// How many frames were taken.
    pub fn frames(&self) -> u64 {
        self.factors.frames
    }

    /// The factors so far.
    ///
    /// # Errors
    /// As [`Assembler::push`].
    pub fn factors(&mut self) -> Result<&Factors> {
        self.settle()?;
        Ok(&self.factors)
    }

    /// The factors of all frames.
    ///
    /// # Errors
    /// As [`Assembler::push`].
    pub fn finish(mut self) -> Result<Factors> {
        self.settle()?;
        Ok(self.factors)
    }

    /// Brings all there is into the factors.
    fn settle(&mut self) -> Result<()> {
        self.flush()?;
        (self.rows, self.scratch) = (Vec::new(), Scratch::default());
        self.fetch()
    }

    /// Merges the triangles of the device into the factors.
    fn fetch(&mut self) -> Result<()> {
        let start = Instant::now();
        while let Some((name, rows, triangle)) = self.triangles.as_mut().map_or(Ok(None), |t| t.pop())? {
            let factor = Factor::from_parts(self.factors.n_columns(), rows, &triangle, vec![]);
            self.factors.group(&name).force.merge(&factor);
        }
        self.work.factors += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// Brings the frames that wait into the factors. Where that fails they wait on; where it fails half way, nobody can trust the factors any more.
    fn flush(&mut self) -> Result<()> {
        if let Some(message) = &self.broken {
            return Err(Error::Fit(format!("frames were lost before: {message}")));
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        let (waiting, mut begun) = (std::mem::take(&mut self.waiting), false);
        let start = Instant::now();
        let mut graphs: Vec<Result<Graph>> = waiting.iter().map(|_| Ok(Graph::default())).collect();
        let plan = &self.plan;
        parallel::for_each_mut(&mut graphs, |k, graph| {
            *graph = parallel::alone(|| plan.graph(&waiting[k].1.structure));
        });
        let (mut usable, mut failed) = (Vec::new(), None);
        for ((number, observation), graph) in waiting.into_iter().zip(graphs) {
            match graph {
                // Two atoms in one place, say: no reason to lose all others.
                Err(Error::Graph(reason)) => self.factors.remarks.skip(reason, number),
                Ok(graph) => usable.push((number, observation, graph)),
                Err(error) => {
                    failed.get_or_insert(Error::Fit(format!("frame {number}: {error}")));
                    usable.push((number, observation, Graph::default()));
                }
            }
        }
        let done = match failed {
            Some(error) => Err(error),
            None if usable.is_empty() => Ok(()),
            None => self.take_in(&usable, start, &mut begun),
        };
        match &done {
            Err(error) if begun => self.broken = Some(error.to_string()),
            Err(_) => self.waiting = usable.into_iter().map(|(number, observation, _)| (number, observation)).collect(),
            Ok(()) => self.bytes = 0,
        }
        done
    }

    /// Rows of frames into the factors, which change once this has `begun`.
    fn take_in(&mut self, waiting: &[Waiting], start: Instant, begun: &mut bool) -> Result<()> {
        let n_columns = self.factors.n_columns();
        let observations = || waiting.iter().map(|(_, observation, _)| observation);
        let block = self.triangles.as_mut().map(|triangles| Block::new(&mut **triangles, waiting)).transpose()?;
        let counts = observations().map(|observation| FrameRows::counts(observation, block.is_some()));
        let counts: Vec<[usize; 4]> = counts.collect();
        let n_rows: usize = counts.iter().flatten().sum();
        memory::caught(|| {
            memory::resize(&mut self.rows, n_rows * n_columns, 0.0);
            Ok(())
        })?;
        let mut rest = &mut self.rows[..];
        let mut take = |n: usize| rest.split_off_mut(..n * n_columns).expect("room for all");
        let places = counts.into_iter().map(|counts| counts.map(&mut take));
        let mut rows: Vec<(_, Result<FrameRows>)> = places.map(|to| (to, Err(Error::Fit(String::new())))).collect();
        parallel::for_each_mut(&mut rows, |k, (to, rows)| {
            let ((plan, fixed), (_, observation, graph)) = ((&self.plan, self.fixed.as_ref()), &waiting[k]);
            let place = block.as_ref().and_then(|block| block.place(k));
            let to = std::mem::take(to);
            *rows = parallel::alone(|| FrameRows::new(plan, fixed, (observation, graph), n_columns, to, place));
        });
        let rows: Vec<FrameRows> = waiting
            .iter()
            .zip(rows)
            .map(|((number, ..), (_, rows))| rows.map_err(|e| Error::Fit(format!("frame {number}: {e}"))))
            .collect::<Result<_>>()?;
        *begun = true;
        if let Some((block, triangles)) = block.zip(self.triangles.as_mut()) {
            block.eliminate(&mut **triangles)?;
        }
        let done = Instant::now();
        self.work.rows += (done - start).as_secs_f64();
        let (work, scratch) = (&mut self.work, &mut self.scratch);
        let mut push = |factor: &mut Factor, rows: &[f64]| {
            let before = factor.pending().len() + rows.len();
            factor.push_with(rows, scratch);
            work.operations += 2.0 * ((before - factor.pending().len()) * n_columns) as f64;
        };
        for ((_, observation, _), rows) in waiting.iter().zip(rows) {
            if let (Some(species), Some(energy)) = (rows.isolated, observation.energy) {
                let entry = &mut self.factors.isolated[species];
                *entry = (entry.0 + energy, entry.1 + 1);
            }
            self.factors.closest.iter_mut().zip(&rows.closest).for_each(|(a, b)| *a = a.min(*b));
            let group = self.factors.group(&observation.group);
            group.frames += 1;
            group.atoms += observation.structure.n_atoms() as u64;
            push(&mut group.energy, rows.energy);
            push(&mut group.energy_per_atom, rows.energy_per_atom);
            push(&mut group.force, rows.force);
            push(&mut group.virial, rows.virial);
        }
        self.work.factors += done.elapsed().as_secs_f64();
        match self.triangles.as_ref().is_some_and(|triangles| triangles.are_many()) {
            true => self.fetch(),
            false => Ok(()),
        }
    }
}

impl<'a> FrameRows<'a> {
    /// How many there are of energy, energy per atom, forces and virial.
    fn counts(data: &Observation, forces_elsewhere: bool) -> [usize; 4] {
        let count = |wanted: bool, n: usize| if wanted { n } else { 0 };
        let energy = count(data.energy.is_some(), 1);
        let forces = data.forces.is_some() && !forces_elsewhere;
        [energy, energy, count(forces, 3 * data.structure.n_atoms()), count(data.virial.is_some(), 6)]
    }

    fn new(
        plan: &Plan,
        fixed: Option<&Plan>,
        (data, graph): (&Observation, &Graph),
        n_columns: usize,
        to: [&'a mut [f64]; 4],
        place: Option<Place>,
    ) -> Result<FrameRows<'a>> {
        let s = &data.structure;
        let (n, n_params, species) = (s.n_atoms(), plan.length_basis(), plan.model().species());
        let [energy, energy_per_atom, force, virial] = to;
        [&mut *energy, &mut *force, &mut *virial].into_iter().for_each(|rows| rows.fill(0.0));
        let (mut known, mut known_forces, mut known_virial) = (0.0, vec![[0.0; 3]; n], [[0.0; 3]; 3]);
        if let Some(fixed) = fixed {
            let outputs = Outputs::new().energy(&mut known).forces(&mut known_forces[..]).virial(&mut known_virial);
            fixed.evaluate(s, &mut { outputs })?;
        }
        let forces =
            data.forces.iter().flatten().flatten().zip(known_forces.as_flattened()).map(|(f, known)| f - known);
        let mut rows = Rows::new();
        let on_device: Vec<f64>;
        if data.energy.is_some() {
            rows = rows.energy(ArrayViewMut1::from(&mut energy[..n_params]));
        }
        if let Some(Place { address, step, calls }) = place {
            on_device = forces.clone().map(|f| f * data.weight).collect();
            let weight = data.weight;
            rows.stored = Some(Stored { address, step, weight, data: &on_device, n_columns, calls });
        } else if data.forces.is_some() {
            rows = rows.forces(columns(force, n_params, n_columns)?);
        }
        if data.virial.is_some() {
            rows = rows.virial(columns(virial, n_params, n_columns)?);
        }
        plan.assemble(graph, &s.numbers, &mut rows)?;
        let index = |z: u8| species.iter().position(|&s| s == z).expect("an element of the model");
        if let Some(e) = data.energy {
            s.numbers.iter().for_each(|&z| energy[n_params + index(z)] += 1.0);
            energy[n_columns - 1] = e - known;
        }
        energy_per_atom.iter_mut().zip(&*energy).for_each(|(x, e)| *x = e / n as f64);
        let by_root = data.weight / (n as f64).sqrt();
        energy.iter_mut().for_each(|x| *x *= by_root);
        for (row, f) in force.chunks_exact_mut(n_columns).zip(forces) {
            row[n_columns - 1] = f;
        }
        if data.weight != 1.0 {
            force.iter_mut().for_each(|x| *x *= data.weight);
        }
        let v = data.virial.unwrap_or_default();
        let voigt = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)];
        for (row, (a, b)) in virial.chunks_exact_mut(n_columns).zip(voigt) {
            row[n_columns - 1] = 0.5 * (v[a][b] + v[b][a]) - known_virial[a][b];
        }
        virial.iter_mut().for_each(|x| *x *= by_root);

        let n_species = species.len();
        let mut closest = vec![f64::INFINITY; n_species * (n_species + 1) / 2];
        for i in 0..n {
            for e in graph.edges(i) {
                let (a, b) = (index(s.numbers[i]), index(s.numbers[graph.neighbours()[e] as usize]));
                let (a, b) = (a.min(b), a.max(b));
                let at = &mut closest[a * n_species - a * (a + 1) / 2 + b];
                *at = at.min(graph.vectors()[e].iter().map(|x| x * x).sum::<f64>().sqrt());
            }
        }
        let isolated = (n == 1 && graph.n_edges() == 0).then(|| index(s.numbers[0]));
        Ok(FrameRows { energy, energy_per_atom, force, virial, closest, isolated })
    }
}

/// The columns of the parameters.
fn columns(rows: &mut [f64], n_params: usize, n_columns: usize) -> Result<ArrayViewMut2<'_, f64>> {
    let all = ArrayViewMut2::from_shape((rows.len() / n_columns, n_columns), rows);
    Ok(all.map_err(|e| Error::Fit(e.to_string()))?.slice_move(s![.., ..n_params]))
}
