//! Times everything on the processor: a table, the targets, and `benchmark/results/<machine>.csv` and `.png`.
//!
//! Runs in the root of the repository, also as a binary that was built elsewhere. An argument sets the seconds spent on a
//! model (default 1.5).

mod machine;
mod measure;
// The reference is that of the tests.
#[path = "../../test/common/evaluate.rs"]
#[allow(dead_code)]
mod evaluate;
#[path = "../../test/naive/mod.rs"]
mod naive;
mod plot;
mod report;
mod row;
mod structures;
mod targets;

use acerust::bench::fma_peak;
use acerust::plan::Isa;
use acerust::plan::Precision;
use measure::Quantity::{self, *};
use row::Row;
use std::path::{Path, PathBuf};
use std::time::Instant;
use structures::{crystal, silicon};

const ALL: &[Quantity] = &[Energy, Forces, Single, Rows, List, Whole];
const MODELS: [&str; 11] = [
    "si_2_8",
    "si_2_10",
    "si_3_10",
    "si_4_10",
    "si_bench",
    "si_fit",
    "si_3_14",
    "si_3_16",
    "sio_o2",
    "hea_bench",
    "cu_4_14",
];

fn main() {
    let seconds: f64 = std::env::args().nth(1).map_or(1.5, |s| s.parse().expect("a number of seconds"));
    let start = Instant::now();
    let machine = machine::name();
    let rows = run(seconds);
    let folder = PathBuf::from("benchmark/results");
    let csv = folder.join(format!("{machine}.csv"));
    let last = row::last(&csv);
    report::print(&machine, &rows, &last);
    let met = targets::print(&rows);
    let (cores, additions) = (machine::cores(), measure::additions(machine::cores(), seconds));
    println!("integer additions in registers, {cores} threads : 1 thread {additions:.3}");
    println!("\n{met} of {} targets met", targets::COUNT);
    row::write(&csv, &rows);
    let png = csv.with_extension("png");
    plot::draw(&png, &machine, &rows).expect("a plot");
    println!("{} and {}, {:.0} s", csv.display(), png.display(), start.elapsed().as_secs_f64());
}

/// Everything that is measured. The peak of a row is that of the moment: clocks change.
fn run(seconds: f64) -> Vec<Row> {
    let cores = machine::cores();
    let one = measure::pool(1);
    let peaks = || [Precision::F64, Precision::F32].map(|p| one.install(|| fma_peak(p, Isa::detect())));
    let mut before = peaks();
    let mut rows: Vec<Row> = Vec::new();
    let mut add = |series: &str, model: &str, s, threads: &[usize], quantities: &[Quantity], seconds| {
        eprintln!("{series}: {model}, threads: {threads:?}");
        let new = measure::measure(series, model, &s, threads, quantities, seconds);
        let after = peaks();
        for mut row in new {
            [row.peak, row.peak_f32] = std::array::from_fn(|k| measure::short(before[k].max(after[k])));
            rows.push(row);
        }
        before = after;
    };
    for model in MODELS {
        let atoms = if matches!(model, "hea_bench" | "cu_4_14") { 500 } else { 512 };
        add("models", model, crystal(model, atoms), &[1], ALL, seconds);
    }
    for atoms in [8, 64, 512, 4096, 32_768] {
        add("atoms", "si_bench", crystal("si_bench", atoms), &[1], &[Forces, Rows, List, Whole], seconds / 2.0);
    }
    for species in 1..=5 {
        add("species", "hea_bench", structures::alloy(species, 500), &[1], &[Forces], seconds / 4.0);
    }
    for neighbours in [16, 28, 34, 70, 140] {
        add("neighbours", "si_bench", silicon(512, neighbours as f64), &[1], &[Forces], seconds / 4.0);
    }
    let powers = (0..).map(|k| 1 << k).take_while(|&n| n < cores);
    let threads: Vec<usize> = powers.chain([cores]).collect();
    add("threads", "si_bench", crystal("si_bench", 100_000), &threads, &[Forces, List], 4.0 * seconds);
    add("copies", "si_bench", crystal("si_bench", 512), &[1, cores], &[Forces], seconds);
    rows
}

/// A file of this repository.
pub fn model_file(name: &str) -> PathBuf {
    Path::new("benchmark/models").join(format!("{name}.json"))
}
