//! References beside results: their errors, and as many pairs of them as pictures show, however many there are.

/// Pairs that are kept at most.
const MOST: usize = 1 << 15;

/// Pairs `[reference, result]`, one after another.
#[derive(Clone, Debug)]
pub struct Pairs {
    count: u64,
    /// Of the differences, and of their sizes.
    squares: f64,
    sizes: f64,
    /// Every `stride`-th pair.
    kept: Vec<[f64; 2]>,
    stride: usize,
    /// That of the largest difference.
    worst: [f64; 2],
}

impl Default for Pairs {
    fn default() -> Self {
        Pairs { count: 0, squares: 0.0, sizes: 0.0, kept: vec![], stride: 1, worst: [0.0; 2] }
    }
}

impl Pairs {
    pub fn push(&mut self, pair: [f64; 2]) {
        let difference = |[a, b]: [f64; 2]| (b - a).abs();
        let d = difference(pair);
        self.squares += d * d;
        self.sizes += d;
        if d > difference(self.worst) || self.count == 0 {
            self.worst = pair;
        }
        if self.count.is_multiple_of(self.stride as u64) {
            self.kept.push(pair);
        }
        self.count += 1;
        if self.kept.len() > MOST {
            self.thin();
        }
    }

    /// Adds those of others.
    pub fn append(&mut self, other: &Pairs) {
        let size = |[a, b]: [f64; 2]| (b - a).abs();
        if other.count > 0 && (self.count == 0 || size(other.worst) > size(self.worst)) {
            self.worst = other.worst;
        }
        self.count += other.count;
        self.squares += other.squares;
        self.sizes += other.sizes;
        while self.stride < other.stride {
            self.thin();
        }
        self.kept.extend(other.kept.iter().step_by(self.stride / other.stride));
        while self.kept.len() > MOST {
            self.thin();
        }
    }

    fn thin(&mut self) {
        let mut keep = false;
        self.kept.retain(|_| {
            keep = !keep;
            keep
        });
        self.stride *= 2;
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Root-mean-square and mean absolute difference of all pairs; `None` of nothing.
    pub fn errors(&self) -> Option<[f64; 2]> {
        let n = self.count as f64;
        (!self.is_empty()).then(|| [(self.squares / n).sqrt(), self.sizes / n])
    }

    /// Pairs, evenly chosen, and how many each stands for; the one of the largest difference is always there.
    pub fn sample(&self) -> impl Iterator<Item = ([f64; 2], usize)> {
        let worst = (self.stride > 1).then_some((self.worst, 1));
        self.kept.iter().map(|&pair| (pair, self.stride)).chain(worst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(n: usize, from: usize) -> Pairs {
        let mut pairs = Pairs::default();
        (from..from + n).for_each(|k| pairs.push([k as f64, k as f64 + (k as f64).sin()]));
        pairs
    }

    #[test]
    fn errors_are_of_all_pairs_and_few_are_kept() {
        for n in [0, 1, 1000, MOST, MOST + 1, 10 * MOST + 7] {
            let mut pairs = of(n, 0);
            let (mut squares, mut sizes, mut largest) = (0.0, 0.0, 0.0_f64);
            for k in 0..n {
                let d = (k as f64 + (k as f64).sin() - k as f64).abs();
                (squares, sizes, largest) = (squares + d * d, sizes + d, largest.max(d));
            }
            let expected = (n > 0).then(|| [(squares / n as f64).sqrt(), sizes / n as f64]);
            assert_eq!((pairs.errors(), pairs.is_empty()), (expected, n == 0));
            let kept: Vec<_> = pairs.sample().collect();
            assert!(kept.len() <= MOST + 1 && (n > MOST || kept.len() == n));
            let standing = kept.iter().map(|(_, of)| of).sum::<usize>();
            assert!(standing >= n && standing < n + 64, "{standing} for {n}");
            assert!(n == 0 || kept.iter().any(|([a, b], _)| (b - a).abs() == largest));
            // In two parts of any size they are the same but for rounding.
            for first in [0, n / 3, n] {
                pairs = of(first, 0);
                pairs.append(&of(n - first, first));
                let near = |(a, b): (f64, f64)| (a - b).abs() <= 1e-12 * b;
                let (found, expected) = (pairs.errors().unwrap_or_default(), expected.unwrap_or_default());
                assert!(found.into_iter().zip(expected).all(near));
                assert!(
                    pairs.sample().count() <= MOST + 1
                        && (n == 0 || pairs.sample().any(|([a, b], _)| (b - a).abs() == largest))
                );
            }
        }
    }
}
