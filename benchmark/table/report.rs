//! The table.

use crate::row::Row;

pub fn print(machine: &str, rows: &[Row], last: &[Row]) {
    let Some(first) = rows.first() else { return };
    let highest = |peak: fn(&Row) -> f64| rows.iter().map(peak).fold(0.0, f64::max);
    println!(
        "{machine}, {}: a core does {:.1} Gflop/s (f64), {:.1} (f32) in registers",
        first.isa,
        highest(|r| r.peak),
        highest(|r| r.peak_f32)
    );
    println!(
        "one thread and its processor time, but for the series `threads` and `copies`; E+F: energy, forces and virial with the list at hand; µs an atom"
    );
    println!(
        "operations of GF/s and peak: * from the literature, else counted; last: against the committed result, > 1 is faster\n"
    );
    let heads = [
        "neigh", "E", "E+F", "ns/edge", "GF/s", "peak", "E:E+F", "f64:f32", "rows", "list", "E+F+list", "naive:",
        "last:",
    ];
    print!("{:<10} {:<9} {:>6}", "series", "model", "atoms");
    heads.iter().for_each(|head| print!(" {head:>8}"));
    println!();
    for row in rows {
        line(row, row.same(last));
    }
}

fn line(row: &Row, last: Option<&Row>) {
    let label = if row.threads > 1 { format!("{} {}", row.series, row.threads) } else { row.series.clone() };
    print!("{label:<10} {:<9} {:>6} {:>8.1}", row.model, row.atoms, row.neighbours);
    number(row.energy);
    number(Some(row.forces));
    number(Some(row.forces * 1e3 / row.neighbours));
    let mark = if row.kflop_peers.is_some() { "*" } else { " " };
    print!(" {:>7.1}{mark} {:>6.1} %", row.rate(), row.share() / row.threads as f64);
    number(row.energy.map(|e| e / row.forces));
    number(row.forces_f32.map(|f| row.forces / f));
    number(row.rows);
    number(row.list);
    number(row.whole);
    number(row.naive.map(|n| n / row.rows.unwrap_or(row.forces)));
    number(last.map(|l| l.forces / row.forces));
    println!();
}

/// Eight columns, three digits.
fn number(x: Option<f64>) {
    match x {
        None => print!(" {:>8}", "·"),
        Some(x) => {
            let digits = (2 - x.abs().max(1e-3).log10().floor() as i32).clamp(0, 3) as usize;
            print!(" {x:>8.digits$}");
        }
    }
}
