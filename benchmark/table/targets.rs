//! What is to be reached on one core, and whether it is.

use crate::row::Row;

pub const COUNT: usize = 13;

/// A value, and what it is to be at most, or at least.
struct Target {
    what: String,
    value: f64,
    at_least: bool,
    target: f64,
    stretch: Option<f64>,
}

impl Target {
    fn new(
        what: impl Into<String>,
        value: f64,
        at_least: bool,
        target: f64,
        stretch: impl Into<Option<f64>>,
    ) -> Target {
        Target { what: what.into(), value, at_least, target, stretch: stretch.into() }
    }

    fn reaches(&self, goal: f64) -> bool {
        if self.at_least { self.value >= goal } else { self.value <= goal }
    }
}

/// The number of those that are met.
pub fn print(rows: &[Row]) -> usize {
    let targets = targets(rows);
    assert_eq!(targets.len(), COUNT);
    println!("\n{:<64} {:>8} {:>10} {:>10}", "target", "value", "target", "stretch");
    for t in &targets {
        let sign = if t.at_least { "≥" } else { "≤" };
        let stretch = t.stretch.map_or(String::new(), |s| format!("{sign} {s}"));
        let verdict = match (t.reaches(t.target), t.stretch.is_some_and(|s| t.reaches(s))) {
            (_, true) => "met, stretch too",
            (true, false) => "met",
            (false, false) => "NOT MET",
        };
        println!("{:<64} {:>8.3} {:>10} {stretch:>10}  {verdict}", t.what, t.value, format!("{sign} {}", t.target));
    }
    // What the cores do beside each other bounds what threads can reach.
    let (one, copies) = ends(rows, "copies");
    println!(
        "{} evaluations at once that share nothing : one, 512 atoms {:.3}",
        copies.threads,
        one.forces / copies.forces
    );
    let (one, all) = ends(rows, "threads");
    println!(
        "{} threads, 100 000 atoms : as many evaluations that share nothing {:.3}",
        all.threads,
        copies.forces / all.forces
    );
    let list = |row: &Row| row.list.unwrap_or(f64::NAN);
    println!("list, {} threads : 1 thread, 100 000 atoms {:.3}", all.threads, list(one) / list(all));
    targets.iter().filter(|t| t.reaches(t.target)).count()
}

/// The rows of a series with one thread and with all.
fn ends<'a>(rows: &'a [Row], series: &str) -> (&'a Row, &'a Row) {
    let mut series = rows.iter().filter(|r| r.series == series);
    let one = series.next().expect("a measured row");
    (one, series.next_back().unwrap_or(one))
}

fn targets(rows: &[Row]) -> Vec<Target> {
    let find = |series: &str, model: &str, atoms: usize| {
        rows.iter().find(|r| r.series == series && r.model == model && r.atoms >= atoms).expect("a measured row")
    };
    let model = |name| find("models", name, 0);
    let si = model("si_bench");
    // Both rates from operations counted alike.
    let rate = |name| model(name).kflop / model(name).forces;
    let (one, all) = ends(rows, "threads");
    let (small, large) = (find("atoms", "si_bench", 64), find("atoms", "si_bench", 4096));
    let n = all.threads as f64;
    let share = |name| model(name).share();
    vec![
        Target::new("E+F, si_bench (order 3, degree 12), % of peak", share("si_bench"), true, 12.0, 25.0),
        Target::new("E+F, order 2, degree 8, % of peak", share("si_2_8"), true, 10.0, 20.0),
        Target::new("E+F, order 3, degree 16, % of peak", share("si_3_16"), true, 15.0, 30.0),
        Target::new("time an operation, hea_bench : si_3_10", rate("si_3_10") / rate("hea_bench"), false, 2.0, 1.3),
        Target::new("time an operation, cu_4_14 : si_3_16", rate("si_3_16") / rate("cu_4_14"), false, 2.0, 1.3),
        Target::new("design rows, si_bench, 512 atoms, µs an atom", si.rows.unwrap_or(f64::NAN), false, 45.0, 25.0),
        Target::new("design rows, si_bench, 64 atoms, µs an atom", small.rows.unwrap_or(f64::NAN), false, 45.0, 25.0),
        Target::new("f64 : f32, E+F, si_bench", si.forces / si.forces_f32.unwrap_or(f64::NAN), true, 1.7, 1.9),
        Target::new("E : E+F, si_bench", si.energy.unwrap_or(f64::NAN) / si.forces, false, 0.45, None),
        Target::new(
            format!("{n} threads : 1 thread, 100 000 atoms"),
            one.forces / all.forces,
            true,
            14.0 / 16.0 * n,
            None,
        ),
        Target::new("64 atoms, E+F and list, ms", small.whole.unwrap_or(f64::NAN) * 64e-3, false, 0.3, 0.2),
        Target::new(
            format!("list, 4 096 atoms, {:.1} neighbours, µs an atom", large.neighbours),
            large.list.unwrap_or(f64::NAN),
            false,
            1.0,
            0.6,
        ),
        Target::new(
            "list, 32 768 atoms, µs an atom",
            find("atoms", "si_bench", 32_768).list.unwrap_or(f64::NAN),
            false,
            1.0,
            0.6,
        ),
    ]
}
