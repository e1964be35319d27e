use crate::options::{self, Options};
use crate::output::Output;
use crate::uncertainty;
use acerust::bench::{fma_peak, nominal_flops};
use acerust::extxyz::Frames;
use acerust::graph::Graph;
use acerust::ndarray::{ArrayViewMut2, ArrayViewMut3};
use acerust::plan::{Device, Isa, Outputs, Plan, Rows};
use acerust::structure::Structure;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// Measures the time an atom of energies, forces, design rows and neighbour list
///
/// Wall-clock time of rounds over all structures, after a round to warm up: the shortest, and the median. All
/// but the list is measured with the list at hand. The peak is the rate of fused multiply–adds in registers,
/// measured before and after on the same threads with the instruction set and precision in use (not for a CUDA device, whose times
/// include copying the structures there and the results back). With an active set or a committee: energies and forces with grades, and
/// with those of all members. The number of operations is nominal:
/// for a many-body part `10 n_R + 10 (lmax+1)² + 6 n_A` an edge and 4 to 5 a product, for a pair part 10 an edge
/// (see acerust::bench::nominal_flops).
#[derive(clap::Args)]
pub struct Bench {
    /// The model file
    model: PathBuf,
    /// Structures, extended XYZ; several files follow one another
    #[arg(required = true)]
    structures: Vec<PathBuf>,
    /// Take one frame alone, counted from 0 over all files
    #[arg(long, value_name = "INDEX")]
    frame: Option<usize>,
    /// Repeat each structure along its cell vectors (not for the design rows)
    #[arg(long, num_args = 3, value_names = ["NX", "NY", "NZ"], value_parser = clap::value_parser!(u16).range(1..))]
    repeat: Option<Vec<u16>>,
    /// Seconds for each measurement
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    #[command(flatten)]
    uncertainty: uncertainty::Flags,
    /// Print one JSON object; times in µs an atom, the shortest and (`…_median`) the median
    #[arg(long)]
    json: bool,
}

/// Design rows are not measured where those of a structure take more than this.
const MOST_ROW_BYTES: usize = 1 << 30;

/// Of a structure.
#[derive(Default)]
struct Results {
    energy: f64,
    sites: Vec<f64>,
    forces: Vec<[f64; 3]>,
    virial: [[f64; 3]; 3],
}

impl Results {
    fn new(n_atoms: usize) -> Results {
        Results { sites: vec![0.0; n_atoms], forces: vec![[0.0; 3]; n_atoms], ..Results::default() }
    }

    fn site_energies(&mut self) -> Outputs<'_> {
        Outputs::new().site_energies(&mut self.sites[..])
    }

    /// Energies, forces and virial.
    fn all(&mut self) -> Outputs<'_> {
        let Results { energy, sites, forces, virial } = self;
        Outputs::new().energy(energy).site_energies(&mut sites[..]).forces(&mut forces[..]).virial(virial)
    }
}

/// Seconds of the rounds.
struct Times {
    shortest: f64,
    median: f64,
}

impl Bench {
    pub fn run(self, options: &Options) -> Result<()> {
        let model = options::model(&self.model)?;
        let mut plan = options.plan(&model)?;
        self.uncertainty.ready(&mut plan)?;
        let given = self.read()?;
        let counts = self.repeat.as_deref().map_or([1; 3], |r| std::array::from_fn(|d| r[d] as usize));
        let copies = counts.iter().product::<usize>();
        let atoms: usize = given.iter().map(|s| s.n_atoms()).sum();
        ensure!(atoms > 0, "{}: no atoms", self.names());
        ensure!(atoms.checked_mul(copies).is_some_and(|n| n < 1 << 31), "{atoms} atoms × {copies} are too many");
        let structures: Vec<Structure> = given.iter().map(|s| s.repeat(counts)).collect();
        let graphs = structures.iter().map(|s| plan.graph(s)).collect::<Result<Vec<Graph>, _>>()?;

        let on_cpu = plan.device() == Device::Cpu;
        let peak = || on_cpu.then(|| fma_peak(plan.precision(), Isa::detect()));
        let first_peak = peak();
        let mut results: Vec<Results> = structures.iter().map(|s| Results::new(s.n_atoms())).collect();
        let [list, energy, forces] = match on_cpu {
            true => self.time_graphs(&plan, &structures, &graphs, &mut results)?,
            false => self.time_lists(&plan, &structures, &mut results)?,
        };
        let rows = self.time_rows(&plan, &given)?;
        let grade =
            plan.active_set().map(|_| self.time_grade(&plan, &structures, &graphs, &mut results)).transpose()?;
        let committee = match plan.committee().len() {
            0 => None,
            n => Some(self.time_committee(&plan, n, &structures, &graphs, &mut results)?),
        };
        let peak = first_peak.zip(peak()).map(|(a, b)| f64::max(a, b));

        let n = (atoms * copies) as f64;
        let edges: usize = graphs.iter().map(Graph::n_edges).sum();
        let flops = graphs.iter().map(|g| nominal_flops(&model, g)).sum::<f64>();
        let rate = flops / forces.shortest * 1e-9;
        let us = |t: &Times, n: f64| [t.shortest, t.median].map(|seconds| seconds * 1e6 / n);
        let (list, energy, forces) = (us(&list, n), us(&energy, n), us(&forces, n));
        let rows = rows.map(|t| us(&t, atoms as f64));
        let [grade, committee] = [grade, committee].map(|t| t.map(|t| us(&t, n)));
        let threads = rayon::current_num_threads();
        let place = match plan.device() {
            Device::Cuda(index) => format!("CUDA device {index}"),
            Device::Cudas { first, n } => format!("CUDA devices {first} to {}", first + n - 1),
            _ => format!("{:?}", Isa::detect()),
        };
        let mut out = Output::new(None)?;
        if self.json {
            let value = json!({
                "model": model.spec().name,
                "atoms": n,
                "edges_per_atom": edges as f64 / n,
                "precision": plan.precision().to_string(),
                "isa": on_cpu.then(|| format!("{:?}", Isa::detect()).to_lowercase()),
                "device": if on_cpu { "cpu".to_owned() } else { place },
                "threads": threads,
                "us_per_atom": forces[0],
                "us_per_atom_median": forces[1],
                "us_per_atom_energy": energy[0],
                "us_per_atom_energy_median": energy[1],
                "us_per_atom_rows": rows.map(|r| r[0]),
                "us_per_atom_rows_median": rows.map(|r| r[1]),
                "us_per_atom_grade": grade.map(|t| t[0]),
                "us_per_atom_grade_median": grade.map(|t| t[1]),
                "us_per_atom_committee": committee.map(|t| t[0]),
                "us_per_atom_committee_median": committee.map(|t| t[1]),
                "us_per_atom_list": list[0],
                "us_per_atom_list_median": list[1],
                "nominal_flops_per_atom": flops / n,
                "gflops": rate,
                "fma_peak_gflops": peak,
                "share_of_peak": peak.map(|peak| rate / peak),
            });
            writeln!(out, "{value}")?;
        } else {
            writeln!(
                out,
                "{}: {n} atoms, {:.1} neighbours, {}, {place}, {threads} thread(s)",
                model.spec().name,
                edges as f64 / n,
                plan.precision()
            )?;
            writeln!(out, "{:28} {:>9} {:>9}", "µs/atom", "shortest", "median")?;
            let sum = [forces[0] + list[0], forces[1] + list[1]];
            let lines = [
                ("energy", Some(energy)),
                ("energy, forces, virial", Some(forces)),
                ("neighbour list", Some(list)),
                ("both", Some(sum)),
                ("design rows", rows),
            ];
            let doubts = [("with grades", grade), ("with the committee", committee)];
            for (what, times) in lines.into_iter().chain(doubts.into_iter().filter(|(_, times)| times.is_some())) {
                let times = times.map(|[a, b]| format!("{a:>9.3} {b:>9.3}"));
                writeln!(out, "{what:28} {}", times.unwrap_or_else(|| "not measured: too large".into()))?;
            }
            write!(out, "{:.1} nominal kflop/atom: {rate:.1} ", flops / n * 1e-3)?;
            match peak {
                Some(peak) => writeln!(out, "of {peak:.1} Gflop/s, {:.1} %", 100.0 * rate / peak)?,
                None => writeln!(out, "Gflop/s")?,
            }
        }
        out.finish()
    }

    /// Neighbour list, energies, and all of them with forces and virial, on the processor.
    fn time_graphs(
        &self,
        plan: &Plan,
        structures: &[Structure],
        graphs: &[Graph],
        results: &mut [Results],
    ) -> Result<[Times; 3]> {
        let list = self.time(|| structures.iter().try_for_each(|s| Ok(plan.graph(s).map(drop)?)))?;
        let energy = self.time(|| {
            for ((graph, s), results) in graphs.iter().zip(structures).zip(&mut *results) {
                plan.evaluate((graph, &s.numbers), &mut results.site_energies())?;
            }
            Ok(())
        })?;
        let forces = self.time(|| {
            for ((graph, s), results) in graphs.iter().zip(structures).zip(&mut *results) {
                plan.evaluate((graph, &s.numbers), &mut results.all())?;
            }
            Ok(())
        })?;
        Ok([list, energy, forces])
    }

    /// The same with lists on the plan's device. That of the list is what energies take longer where it is built anew.
    fn time_lists(&self, plan: &Plan, structures: &[Structure], results: &mut [Results]) -> Result<[Times; 3]> {
        let lists = || structures.iter().map(|_| plan.neighbours(0.0)).collect::<Result<Vec<_>, _>>();
        let mut reused = lists()?;
        let energy = self.time(|| {
            for ((list, s), results) in reused.iter_mut().zip(structures).zip(&mut *results) {
                plan.evaluate((s, list), &mut results.site_energies())?;
            }
            Ok(())
        })?;
        let forces = self.time(|| {
            for ((list, s), results) in reused.iter_mut().zip(structures).zip(&mut *results) {
                plan.evaluate((s, list), &mut results.all())?;
            }
            Ok(())
        })?;
        // Without a skin a list holds for not even a small move.
        let moved: Vec<_> = structures.iter().map(|s| s.clone().rattle(1e-6, 1)).collect();
        let (mut built, mut turn) = (lists()?, false);
        let both = self.time(|| {
            turn = !turn;
            let structures = if turn { &moved[..] } else { structures };
            for ((list, s), results) in built.iter_mut().zip(structures).zip(&mut *results) {
                plan.evaluate((s, list), &mut results.site_energies())?;
            }
            Ok(())
        })?;
        let less = |both: f64, alone: f64| (both - alone).max(0.0);
        let list = Times { shortest: less(both.shortest, energy.shortest), median: less(both.median, energy.median) };
        Ok([list, energy, forces])
    }

    /// Energies, forces and virial with extrapolation grades.
    fn time_grade(
        &self,
        plan: &Plan,
        structures: &[Structure],
        graphs: &[Graph],
        results: &mut [Results],
    ) -> Result<Times> {
        let mut grades: Vec<_> = structures.iter().map(|s| vec![0.0; s.n_atoms()]).collect();
        self.time(|| {
            for (((graph, s), results), grades) in graphs.iter().zip(structures).zip(&mut *results).zip(&mut grades) {
                plan.evaluate((graph, &s.numbers), &mut results.all().grade(&mut grades[..]))?;
            }
            Ok(())
        })
    }

    /// The same with energies and forces of a committee of `n`.
    fn time_committee(
        &self,
        plan: &Plan,
        n: usize,
        structures: &[Structure],
        graphs: &[Graph],
        results: &mut [Results],
    ) -> Result<Times> {
        let most = structures.iter().map(|s| s.n_atoms()).max().unwrap_or(0);
        let (mut energies, mut all) = (vec![0.0; n], vec![0.0; 3 * n * most]);
        self.time(|| {
            for ((graph, s), results) in graphs.iter().zip(structures).zip(&mut *results) {
                let view = ArrayViewMut3::from_shape((n, s.n_atoms(), 3), &mut all[..3 * n * s.n_atoms()])?;
                let out = results.all().committee_energies(&mut energies[..]);
                plan.evaluate((graph, &s.numbers), &mut { out.committee_forces(view) })?;
            }
            Ok(())
        })
    }

    fn names(&self) -> String {
        self.structures.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    fn read(&self) -> Result<Vec<Structure>> {
        let structures = Frames::new(&self.structures)?.map(|found| Ok(found?.frame.structure));
        let mut structures = structures.collect::<Result<Vec<_>>>()?;
        let count = structures.len();
        if let Some(index) = self.frame {
            let missing = || format!("{}: no frame {index} among {count}", self.names());
            structures = vec![structures.into_iter().nth(index).with_context(missing)?];
        }
        Ok(structures)
    }

    /// Rounds for the time that the user gives: at least three, the first one not counted.
    fn time(&self, mut round: impl FnMut() -> Result<()>) -> Result<Times> {
        round()?;
        let start = Instant::now();
        let mut times = Vec::new();
        while times.len() < 2 || start.elapsed().as_secs_f64() < self.seconds {
            let start = Instant::now();
            round()?;
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        Ok(Times { shortest: times[0], median: times[times.len() / 2] })
    }

    fn time_rows(&self, plan: &Plan, structures: &[Structure]) -> Result<Option<Times>> {
        if plan.model().check_linear().is_err() {
            return Ok(None);
        }
        let columns = plan.length_basis();
        let most = structures.iter().map(|s| s.n_atoms()).max().unwrap_or(0);
        if 24 * most * columns > MOST_ROW_BYTES {
            return Ok(None);
        }
        let graphs = structures.iter().map(|s| plan.graph(s)).collect::<Result<Vec<Graph>, _>>()?;
        let (mut e, mut f, mut v) = (vec![0.0; columns], vec![0.0; 3 * most * columns], vec![0.0; 9 * columns]);
        let times = self.time(|| {
            for (graph, s) in graphs.iter().zip(structures) {
                let n = 3 * s.n_atoms();
                let rows = Rows::new()
                    .energy(&mut e[..])
                    .forces(ArrayViewMut2::from_shape((n, columns), &mut f[..n * columns])?)
                    .virial(ArrayViewMut2::from_shape((9, columns), &mut v[..])?);
                plan.assemble(graph, &s.numbers, &mut { rows })?;
            }
            Ok(())
        })?;
        Ok(Some(times))
    }
}
