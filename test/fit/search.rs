//! The search for a recipe against fits by hand.

use super::{assemble, model, synthetic};
use crate::common::assert_close;
use crate::common::evaluate::energy_forces_virial;
use acerust::Error;
use acerust::build::{self, Recipe};
use acerust::extxyz::Frame;
use acerust::fit::{self, Candidate, Limits, Settings, Solver, Trial};
use acerust::plan::{Device, Plan, Precision};
use std::time::Duration;

fn search(frames: &[Frame], limits: Limits) -> Result<(Trial, Vec<Trial>), Error> {
    search_from("['Si', 'O']", frames, limits)
}

fn search_from(elements: &str, frames: &[Frame], limits: Limits) -> Result<(Trial, Vec<Trial>), Error> {
    let energies = if elements.contains("'O'") { "E0 = { Si = -2.0, O = -3.0 }" } else { "" };
    let recipe =
        Recipe::from_toml(&format!("elements = {elements}\norder = 2\nrcut = 4.0\n{energies}")).expect("a recipe");
    let solver = Solver::Ridge { lambda: 1e-3, absolute: false };
    let start = Candidate { recipe, settings: Settings { solver, ..Settings::default() } };
    let mut trials = Vec::new();
    let best = fit::search(start, limits, || Ok(frames.iter().cloned().map(Ok)), |t| trials.push(t.clone()))?;
    Ok((best, trials))
}

/// Which third of its group a frame is in.
fn folds(frames: &[Frame]) -> Vec<usize> {
    let (settings, mut turns) = (Settings::default(), std::collections::HashMap::new());
    let turn = |f: &Frame| {
        let turn = turns.entry(settings.group_of(f)).or_insert(0);
        *turn += 1;
        (*turn - 1) % 3
    };
    frames.iter().map(turn).collect()
}

#[test]
fn errors_are_those_of_frames_that_were_left_out() {
    let (frames, _) = synthetic(&model(), 12);
    // Out of time at once: a trial of a fifth of the size, and one of full size.
    let (best, trials) = search(&frames, Limits { parameters: 150, time: Duration::ZERO, folds: 3 }).unwrap();
    assert_eq!(trials.len(), 2);
    assert!(trials[0].parameters <= 30 && (31..=150).contains(&best.parameters), "{trials:?}");
    let Candidate { recipe, settings } = &best.candidate;
    let model = build::model(recipe).unwrap();
    assert_eq!(model.length_basis(), best.parameters);

    let folds = folds(&frames);
    let mut sums = [0.0; 3];
    for k in 0..3 {
        let others = frames.iter().zip(&folds).filter(|(_, f)| **f != k).map(|(f, _)| f);
        let fitted = fit::solve(&assemble(&model, settings, others), settings).unwrap();
        let plan = Plan::new(&fitted.model, Device::Cpu, Precision::F64).unwrap();
        for group in ["a", "b"] {
            let (mut squares, mut counts) = ([0.0; 3], [0.0; 3]);
            let left = frames.iter().zip(&folds).filter(|(f, fold)| **fold == k && settings.group_of(f) == group);
            let mut n_frames = 0.0;
            for (frame, _) in left {
                n_frames += 1.0;
                let s = &frame.structure;
                let n = s.n_atoms() as f64;
                let (mut sites, mut forces) = (vec![0.0; s.n_atoms()], vec![[0.0; 3]; s.n_atoms()]);
                let graph = plan.graph(s).unwrap();
                let (e, v) = energy_forces_virial(&plan, (&graph, &s.numbers), &mut sites, &mut forces).unwrap();
                squares[0] += ((e - frame.energy.unwrap()) / n).powi(2);
                counts[0] += 1.0;
                for (a, b) in forces.iter().flatten().zip(frame.forces.as_ref().unwrap().iter().flatten()) {
                    squares[1] += (a - b).powi(2);
                    counts[1] += 1.0;
                }
                for (a, b) in [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)] {
                    squares[2] += (v[a][b] - frame.virial.unwrap()[a][b]).powi(2) / n;
                    counts[2] += 1.0;
                }
            }
            (0..3).for_each(|i| sums[i] += n_frames * (squares[i] / f64::max(counts[i], 1.0)).sqrt());
        }
    }
    let expected = sums.map(|s: f64| s / 12.0);
    let found = [best.errors.energy, best.errors.force, best.errors.virial].map(Option::unwrap);
    assert_close("errors", &found, &expected, 1e-6);
    assert_close("score", &[best.score], &[expected[0].ln() + expected[1].ln()], 1e-6);
}

#[test]
fn the_best_of_the_large_trials_wins() {
    let (frames, _) = synthetic(&model(), 9);
    let limits = Limits { parameters: 100, time: Duration::from_secs(3600), folds: 2 };
    let (best, trials) = search(&frames, limits).unwrap();
    let full = trials.iter().position(|t| t.change == "full size").unwrap();
    let least = trials[full..].iter().map(|t| t.score).fold(f64::INFINITY, f64::min);
    assert_eq!(best.score, least);
    assert!(trials.iter().all(|t| t.parameters <= 100) && trials[..full].iter().all(|t| t.parameters <= 20));
    let cutoffs = trials.iter().filter(|t| t.change.starts_with("cutoff")).count();
    assert!(cutoffs >= 4 && full >= 10, "{full} small trials, {cutoffs} cutoffs");
}

#[test]
fn what_cannot_be_searched_is_an_error() {
    let (frames, _) = synthetic(&model(), 3);
    let limits = Limits { parameters: 50, time: Duration::ZERO, folds: 3 };
    let said = |frames: &[Frame], limits| search(frames, limits).unwrap_err().to_string();
    assert!(said(&[], limits).contains("fewer frames with data than the 3 parts"));
    assert!(said(&frames, Limits { folds: 1, ..limits }).contains("two folds"));
    assert!(
        said(&frames, Limits { parameters: 1, ..limits })
            .contains("no basis of such a recipe has 1 parameters or fewer")
    );
    assert!(
        search_from("['Si', 'Xx']", &frames, limits).unwrap_err().to_string().contains("'Xx' is no chemical symbol")
    );
    let (virials, _) = synthetic(&model(), 12);
    let virials: Vec<Frame> = virials.into_iter().map(|f| Frame { energy: None, forces: None, ..f }).collect();
    assert!(said(&virials, limits).contains("a search takes frames with energies or forces"));
}

#[test]
fn degrees_stop_where_no_basis_can_be_built() {
    // l beyond what harmonics go to comes before the limit of parameters.
    let (frames, _) = synthetic(&model(), 6);
    let limits = Limits { parameters: 20_000, time: Duration::ZERO, folds: 2 };
    let recipe = Recipe::from_toml("elements = ['Si', 'O']\norder = 1\nwL = 0.1\nrcut = 4.0").unwrap();
    let settings = Settings { solver: Solver::Ridge { lambda: 1e-3, absolute: false }, ..Settings::default() };
    let start = Candidate { recipe, settings };
    let best = fit::search(start, limits, || Ok::<_, Error>(frames.iter().cloned().map(Ok)), |_| {});
    let best = best.unwrap();
    assert!(best.parameters < 20_000 && build::model(&best.candidate.recipe).is_ok(), "{} parameters", best.parameters);
}
