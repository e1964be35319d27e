//! A search for the recipe that predicts best: frames are left out in turn, and nothing but the training set is looked at.
//!
//! Coordinate descent. Bases are compared at equal size: for each choice the degrees are the largest whose number of parameters stays
//! within the limit. First at a fraction of the parameters, where a trial takes seconds, choice after choice (shape of the degrees,
//! cutoff, weight of `l`, transform, weight of energies, prior); then the best at full size, and its neighbours as long as there is time.

use super::assemble::Assembler;
use super::factors::Factors;
use super::settings::{Settings, Weights};
use super::system::System;
use super::{RowErrors, all_but_one, parameters};
use crate::build::{self, ByOrder, ByPair, Prior, Recipe};
use crate::extxyz::Frame;
use crate::model::Model;
use crate::{Error, Result};
use serde::Serialize;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long and how large.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most linear parameters.
    pub parameters: usize,
    /// No trial begins after that.
    pub time: Duration,
    /// Parts of the training set, each of which is predicted from the others; at least 2.
    pub folds: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { parameters: 2000, time: Duration::from_secs(1800), folds: 5 }
    }
}

/// A recipe with the settings of its fit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    pub recipe: Recipe,
    pub settings: Settings,
}

/// What became of a candidate.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// What is new about it.
    pub change: String,
    pub candidate: Candidate,
    pub parameters: usize,
    /// Errors of frames that were left out: the root-mean-square errors of the groups, in the mean over frames.
    pub errors: RowErrors,
    /// The sum of the logarithms of the errors of energies and forces: less is better.
    pub score: f64,
    /// Of the search so far.
    pub seconds: f64,
}

/// Levels that products lose for each order beyond the first.
const TAPERS: [f64; 3] = [0.0, 2.0, 4.0];
/// What a first trial may have of the parameters.
const FRACTION: usize = 5;

/// Finds the best candidate, the first one being where to start; its degrees do not matter. `frames` reads the training set, once a trial.
///
/// # Errors
/// A recipe that is none or whose bases are all too large; fewer frames with data than folds; what reading and fitting may fail with.
pub fn search<E: From<Error>, I: IntoIterator<Item = std::result::Result<Frame, E>>>(
    start: Candidate,
    limits: Limits,
    frames: impl FnMut() -> std::result::Result<I, E>,
    told: impl FnMut(&Trial),
) -> std::result::Result<Trial, E> {
    if limits.folds < 2 || limits.parameters == 0 {
        return Err(Error::Fit("a search takes two folds and one parameter at least".into()).into());
    }
    let mut search = Search { limits, began: Instant::now(), frames, told, sizes: HashMap::new() };
    let small = limits.parameters.div_ceil(FRACTION);
    let mut best = None;
    search.descend(&mut best, &start, small, &[shapes])?;
    let Some(Trial { candidate: shaped, .. }) = best.clone() else {
        return Err(Error::Fit(format!("no basis of such a recipe has {small} parameters or fewer")).into());
    };
    search.descend(&mut best, &shaped, small, &[cutoffs, levels, transforms, weights, priors])?;
    let start = best.take().map_or(shaped, |b| b.candidate);
    search.attempt(&mut best, "full size".into(), start.clone(), limits.parameters)?;
    search.descend(&mut best, &start, limits.parameters, &[shapes, cutoffs, weights, priors, levels])?;
    Ok(best.expect("what is within a part of the size is within the size"))
}

type Choices = Vec<(String, Candidate)>;

fn varied<T: Copy>(
    from: &Candidate,
    values: &[T],
    name: impl Fn(T) -> String,
    set: impl Fn(&mut Candidate, T),
) -> Choices {
    let with = |&value: &T| {
        let mut candidate = from.clone();
        set(&mut candidate, value);
        (name(value), candidate)
    };
    values.iter().map(with).collect()
}

/// Orders one below and one above the recipe's, and how fast degrees fall with the order. The degrees themselves follow from the size.
fn shapes(from: &Candidate) -> Choices {
    let order = from.recipe.order.max(1);
    let orders = (order.max(2) - 1).max(2)..=(order + 1).clamp(2, build::MAX_ORDER);
    let all: Vec<(usize, f64)> = orders.flat_map(|o| TAPERS.map(|t| (o, t))).collect();
    let name = |(order, taper)| format!("order {order}, degrees fall by {taper}");
    varied(from, &all, name, |c, (order, taper)| {
        c.recipe.order = order;
        c.recipe.degree = Some(ByOrder::Each((0..order).map(|k| -taper * k as f64).collect()));
        // Limits by order would be those of another one.
        c.recipe.maxl = c.recipe.maxl.take().filter(|l| matches!(l, ByOrder::All(_)));
    })
}

fn cutoffs(from: &Candidate) -> Choices {
    let name = |f: f64| format!("cutoff {f} times as far");
    let changed = varied(from, &[0.8, 0.9, 1.1, 1.2], name, |c, f| {
        c.recipe.rcut = match c.recipe.rcut.take() {
            Some(ByPair::All(r)) => Some(ByPair::All(f * r)),
            Some(ByPair::Each(pairs)) => Some(ByPair::Each(pairs.into_iter().map(|(k, r)| (k, f * r)).collect())),
            None => None,
        }
    });
    changed.into_iter().filter(|(_, c)| c.recipe.rcut.is_some()).collect()
}

fn levels(from: &Candidate) -> Choices {
    varied(from, &[1.0, 1.25, 1.5, 2.0], |w| format!("wL = {w}"), |c, w| c.recipe.wl = Some(w))
}

fn transforms(from: &Candidate) -> Choices {
    let name = |t: [u32; 2]| format!("transform {t:?}");
    varied(from, &[[2, 2], [3, 3], [4, 2], [4, 4]], name, |c, t| c.recipe.transform = Some(t))
}

fn weights(from: &Candidate) -> Choices {
    let name = |f: f64| format!("energies count {f} times as much");
    varied(from, &[0.3, 3.0], name, |c, f| {
        c.settings.weights.entry("default".into()).or_insert_with(Weights::default);
        c.settings.weights.values_mut().for_each(|w| w.energy *= f);
    })
}

fn priors(from: &Candidate) -> Choices {
    let algebraic = |p| Prior::Algebraic { p, wl: 2.0 / 3.0, wn: 1.0 };
    let all = [algebraic(1.0), algebraic(2.0), algebraic(3.0), algebraic(4.0), Prior::Identity];
    let name = |p: Prior| match p {
        Prior::Algebraic { p, .. } => format!("algebraic prior, p = {p}"),
        _ => "no prior but the damping".into(),
    };
    varied(from, &all, name, |c, p| c.settings.prior = p)
}

struct Search<F, T> {
    limits: Limits,
    began: Instant,
    frames: F,
    told: T,
    /// The largest degree found for a recipe and a size, to begin with.
    sizes: HashMap<String, f64>,
}

impl<E: From<Error>, I: IntoIterator<Item = std::result::Result<Frame, E>>, F, T> Search<F, T>
where
    F: FnMut() -> std::result::Result<I, E>,
    T: FnMut(&Trial),
{
    /// Tries choice after choice, each from the best so far.
    fn descend(
        &mut self,
        best: &mut Option<Trial>,
        start: &Candidate,
        size: usize,
        all: &[fn(&Candidate) -> Choices],
    ) -> std::result::Result<(), E> {
        for choices in all {
            for (change, candidate) in choices(best.as_ref().map_or(start, |b| &b.candidate)) {
                self.attempt(best, change, candidate, size)?;
            }
        }
        Ok(())
    }

    /// Tries a candidate, unless it is the best one already or time is up.
    fn attempt(
        &mut self,
        best: &mut Option<Trial>,
        change: String,
        mut candidate: Candidate,
        size: usize,
    ) -> std::result::Result<(), E> {
        if best.is_some() && self.began.elapsed() > self.limits.time {
            return Ok(());
        }
        let Some(model) = self.sized(&mut candidate.recipe, size)? else {
            return Ok(());
        };
        if best.as_ref().is_some_and(|b| b.candidate == candidate) {
            return Ok(());
        }
        let folds = self.folds(&model, &candidate.settings)?;
        let errors = predicted(&folds, &candidate.settings)?;
        if errors.energy.or(errors.force).is_none() {
            return Err(Error::Fit("a search takes frames with energies or forces".into()).into());
        }
        let score = [errors.energy, errors.force].iter().flatten().map(|e| e.ln()).sum();
        let (parameters, seconds) = (model.length_basis(), self.began.elapsed().as_secs_f64());
        let trial = Trial { change, candidate, parameters, errors, score, seconds };
        (self.told)(&trial);
        if best.as_ref().is_none_or(|b| trial.score < b.score) {
            *best = Some(trial);
        }
        Ok(())
    }

    /// The model of the largest degrees within the size, if there is one; their differences stay.
    fn sized(&mut self, recipe: &mut Recipe, size: usize) -> Result<Option<Model>> {
        let Some(ByOrder::Each(degrees)) = recipe.degree.clone() else { unreachable!("the shapes have lists") };
        let falls: Vec<f64> = degrees.iter().map(|d| degrees[0] - d).collect();
        let mut of = |top: f64| {
            recipe.degree = Some(ByOrder::Each(falls.iter().map(|f| (top - f).max(0.0)).collect()));
            build::model(recipe)
        };
        let key = format!("{size} {falls:?}");
        let mut top = self.sizes.get(&key).copied().unwrap_or(4.0);
        // A basis that cannot be built counts as too large, unless the smallest one cannot.
        let mut model = loop {
            match of(top) {
                Ok(model) if model.length_basis() <= size => break model,
                Err(e) if top < 2.0 => return Err(e),
                Ok(_) if top < 2.0 => return Ok(None),
                _ => top -= 1.0,
            }
        };
        while let Ok(next) = of(top + 1.0)
            && next.length_basis() <= size
        {
            (top, model) = (top + 1.0, next);
        }
        // Leaves the degrees of the model in the recipe.
        recipe.degree = Some(ByOrder::Each(falls.iter().map(|f| (top - f).max(0.0)).collect()));
        self.sizes.insert(key, top);
        Ok(Some(model))
    }

    /// The factors of each part of the training set. The frames of a group go round.
    fn folds(&mut self, model: &Model, settings: &Settings) -> std::result::Result<Vec<Factors>, E> {
        let n = self.limits.folds;
        let folds: Result<Vec<Assembler>> = (0..n).map(|_| Assembler::new(model, settings)).collect();
        let (mut folds, mut turns) = (folds?, HashMap::<String, usize>::new());
        for frame in (self.frames)()? {
            let frame = frame?;
            let turn = turns.entry(settings.group_of(&frame)).or_default();
            folds[*turn % n].push(frame)?;
            *turn += 1;
        }
        Ok(folds.into_iter().map(Assembler::finish).collect::<Result<Vec<Factors>>>()?)
    }
}

/// The errors of each part under a fit to all others.
fn predicted(folds: &[Factors], settings: &Settings) -> Result<RowErrors> {
    if folds.iter().any(|f| f.groups.is_empty()) {
        return Err(Error::Fit(format!("fewer frames with data than the {} parts to leave out", folds.len())));
    }
    let mut all = folds[0].clone();
    // Compositions of all frames; the rows themselves are of no use here.
    if settings.one_body != super::OneBody::Given {
        folds[1..].iter().try_for_each(|f| all.merge(f))?;
    }
    let e0 = all.one_body(settings.one_body)?;
    let log_gamma = settings.prior.log_diagonal(&all.model);
    let mut sums = [(0.0, 0u64); 3];
    let none = System::new(all.n_params());
    let add = |k: usize, system: &mut System| {
        folds[k].groups.iter().for_each(|(name, g)| g.add_to(system, settings, name, &e0, &log_gamma));
    };
    all_but_one(folds.len(), none, add, |k, others| {
        let theta = parameters(&settings.solver.solve(others)?.phi, &log_gamma);
        for group in folds[k].groups.values() {
            let RowErrors { energy, force, virial } = group.errors(&theta, &e0);
            for (sum, error) in sums.iter_mut().zip([energy, force, virial]) {
                *sum = error.map_or(*sum, |e| (sum.0 + e * group.frames as f64, sum.1 + group.frames));
            }
        }
        Ok(())
    })?;
    let [energy, force, virial] = sums.map(|(sum, n)| (n > 0).then(|| sum / n as f64));
    Ok(RowErrors { energy, force, virial })
}
