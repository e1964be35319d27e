//! What is pooled over edges, and how `A` follows from it.
//!
//! Radial functions are linear in the polynomials, `R_t = Σ_q W[t, q] e P_q`. A shell of `A` can be pooled from its
//! functions, or from the polynomials, to be mixed once a centre; which takes less arithmetic depends on the shell. Where
//! functions and polynomials are the same (`W` is one-hot) there is nothing to mix.

use super::program::Program;
use crate::stage::block::MAX_SPECIES_BY_SLOT;
use crate::stage::mix::Mixed;
use crate::stage::pool::Shell;
use crate::stage::radial::Functions;
use std::ops::Range;

/// Neighbours of a centre that the cost of mixing is shared by.
const NEIGHBOURS: usize = 32;

#[derive(Clone, Debug, PartialEq)]
pub struct Pooling {
    /// In a slot: so many polynomials, then the functions `columns`. No polynomials: all functions in the layout of the rows.
    pub n_q: usize,
    pub columns: Range<usize>,
    /// By species of the neighbours where these have an `A` of their own, else one for all.
    pub channels: Vec<Channel>,
    pub n_mixed: usize,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Channel {
    /// Everything that is pooled; `a0` counts in `A` and the `n_mixed` entries that follow it.
    pub shells: Vec<Shell>,
    /// Shells that follow from pooled polynomials; `from` lies in those entries.
    pub mixed: Vec<Mixed>,
}

impl Pooling {
    /// All functions, as they are.
    pub fn functions(program: &Program) -> Pooling {
        let channel = Channel { shells: program.shells.clone(), mixed: vec![] };
        Pooling { n_q: 0, columns: 0..program.radial.n_t, channels: channel.of_all_species(program), n_mixed: 0 }
    }

    /// The least arithmetic for energy and gradient, from the exact functions.
    pub fn cheapest(program: &Program) -> Pooling {
        if !matches!(program.radial.functions, Functions::Polynomial { .. }) || program.n_species > MAX_SPECIES_BY_SLOT
        {
            return Self::functions(program);
        }
        let used: Vec<Used> = program.shells.iter().map(|shell| Used::new(program, shell)).collect();
        let n_q = used.iter().map(|u| u.q.end).max().unwrap_or(0);
        // Narrow shells from polynomials, wide ones, which have few functions, from those.
        let cost = |split: usize| -> usize {
            let shells = || program.shells.iter().zip(&used);
            let polynomials = shells().take(split).map(|(s, u)| u.cost(s, program.n_species));
            let functions = shells().skip(split).map(|(s, _)| 2 * s.n * n_q + 3 * s.n * s.width());
            polynomials.chain(functions).sum()
        };
        let split = (0..=used.len()).min_by_key(|&split| cost(split)).unwrap_or(0);
        if split == 0 {
            return Self::functions(program);
        }
        let first = program.shells.get(split).map_or(program.radial.n_t, |s| s.t0);
        let (mut pooling, mut n_mixed) = (Channel::default(), 0);
        for (k, (&shell, used)) in program.shells.iter().zip(&used).enumerate() {
            let from = Shell { t0: used.q.start, n: used.q.len(), a0: n_mixed, ..shell };
            if k >= split {
                pooling.shells.push(Shell { t0: n_q + shell.t0 - first, ..shell });
            } else if used.one_hot {
                pooling.shells.push(Shell { a0: shell.a0, ..from });
            } else {
                pooling.shells.push(Shell { a0: program.n_a + from.a0, ..from });
                pooling.mixed.push(Mixed { from, to: shell });
                n_mixed += from.n * from.width();
            }
        }
        Pooling { n_q, columns: first..program.radial.n_t, channels: pooling.of_all_species(program), n_mixed }
    }

    /// What is pooled of neighbours of this species.
    #[inline(always)]
    pub fn channel(&self, species: usize) -> &Channel {
        if self.channels.len() > 1 { &self.channels[species] } else { &self.channels[0] }
    }

    /// Do polynomials take part? Then the neighbours in a slot have to be of one species.
    pub fn has_polynomials(&self) -> bool {
        self.n_q > 0
    }
}

impl Channel {
    /// This one for every species that has an `A` of its own.
    fn of_all_species(self, program: &Program) -> Vec<Channel> {
        let n = if program.has_channels() { program.n_species } else { 1 };
        let moved = |by: usize| {
            let shells = self.shells.iter().map(|s| match s.a0 < program.n_a {
                true => Shell { a0: s.a0 + by, ..*s },
                false => *s,
            });
            let mixed = self.mixed.iter().map(|m| Mixed { to: Shell { a0: m.to.a0 + by, ..m.to }, ..*m });
            Channel { shells: shells.collect(), mixed: mixed.collect() }
        };
        (0..n).map(|z| moved(program.channel(z))).collect()
    }
}

/// The polynomials that a shell is made of.
struct Used {
    q: Range<usize>,
    /// Each function is one of them, in order, whatever the species.
    one_hot: bool,
}

impl Used {
    fn new(program: &Program, shell: &Shell) -> Used {
        let (n_t, n_q) = (program.radial.n_t, program.radial.n_terms());
        let pairs =
            || program.radial.matrix.chunks(n_t * n_q).map(|w| w.chunks(n_t).map(|row| &row[shell.t0..][..shell.n]));
        let present = |q: &usize| pairs().any(|mut w| w.nth(*q).is_some_and(|row| row.iter().any(|&x| x != 0.0)));
        let start = (0..n_q).find(present).unwrap_or(0);
        let end = (start..n_q).rfind(present).map_or(start + 1, |q| q + 1);
        let is_one_hot = |q: usize, row: &[f64]| row.iter().enumerate().all(|(t, &x)| x == f64::from(u8::from(t == q)));
        let one_hot = end - start == shell.n
            && pairs().all(|w| w.skip(start).take(shell.n).enumerate().all(|(q, row)| is_one_hot(q, row)));
        Used { q: start..end, one_hot }
    }

    /// Fused products an edge.
    fn cost(&self, shell: &Shell, n_species: usize) -> usize {
        let n = self.q.len() * shell.width();
        let mixing = if self.one_hot { 0 } else { 2 * n * shell.n * n_species / NEIGHBOURS };
        3 * n + mixing
    }
}
