//! Pooling: `A_{n,lm} = Σ_j R_n(r_j) Y_lm(r_j)` for each shell `l`, and its adjoint.
//!
//! Both are products of small matrices; tiles of them are kept in registers.

use crate::simd::Lanes;

/// The functions `t0 .. t0 + n` with angular momentum `l`; their `A` start at `a0`, `2l + 1` for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shell {
    pub l: usize,
    pub t0: usize,
    pub n: usize,
    pub a0: usize,
}

impl Shell {
    /// `2l + 1`.
    pub fn width(&self) -> usize {
        2 * self.l + 1
    }
}

/// Slots of edges: functions `r`, derivatives `dr` and harmonics `y`, each slot after the other.
#[derive(Clone, Copy)]
pub struct Slots<'a, V> {
    pub r: &'a [V],
    pub dr: &'a [V],
    pub y: &'a [V],
    /// Functions, and harmonics, of a slot.
    pub n_r: usize,
    pub n_y: usize,
}

/// Calls `$f::<.., M>` with `M = 2l + 1` where that is a constant, so that tiles stay in registers.
macro_rules! by_width {
    ($l:expr, $f:ident $args:tt) => {
        match $l {
            0 => $f::<V, 1> $args,
            1 => $f::<V, 3> $args,
            2 => $f::<V, 5> $args,
            3 => $f::<V, 7> $args,
            4 => $f::<V, 9> $args,
            5 => $f::<V, 11> $args,
            6 => $f::<V, 13> $args,
            _ => wide::<V> $args,
        }
    };
}

pub(super) use by_width;

/// `a += Σ_s R_s ⊗ Y_s` over the slots `0..n_slots`; shells that start at `fresh` or later in `a` are overwritten.
#[inline(never)]
pub fn pool<V: Lanes>(shells: &[Shell], slots: Slots<V>, n_slots: usize, fresh: usize, a: &mut [V]) {
    #[inline(always)]
    fn narrow<V: Lanes, const M: usize>(shell: Shell, slots: Slots<V>, n_slots: usize, fresh: usize, a: &mut [V]) {
        let mut n = 0;
        while n < shell.n {
            // At most about 24 accumulators.
            let left = shell.n - n;
            n += match M {
                1 if left >= 8 => tile::<V, M, 8>(shell, n, slots, n_slots, fresh, a),
                1 | 3 | 5 if left >= 4 => tile::<V, M, 4>(shell, n, slots, n_slots, fresh, a),
                1 | 3 | 5 | 7 | 9 | 11 if left >= 2 => tile::<V, M, 2>(shell, n, slots, n_slots, fresh, a),
                _ => tile::<V, M, 1>(shell, n, slots, n_slots, fresh, a),
            };
        }
    }

    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn tile<V: Lanes, const M: usize, const T: usize>(
        shell: Shell,
        n: usize,
        slots: Slots<V>,
        n_slots: usize,
        fresh: usize,
        a: &mut [V],
    ) -> usize {
        let a: &mut [V] = &mut a[shell.a0 + n * M..][..T * M];
        let mut acc = [[V::zero(); M]; T];
        if shell.a0 < fresh {
            for t in 0..T {
                for m in 0..M {
                    acc[t][m] = a[t * M + m];
                }
            }
        }
        for s in 0..n_slots {
            let r = &slots.r[s * slots.n_r + shell.t0 + n..][..T];
            let y = &slots.y[s * slots.n_y + shell.l * shell.l..][..M];
            for t in 0..T {
                for m in 0..M {
                    acc[t][m] = r[t].mul_add(y[m], acc[t][m]);
                }
            }
        }
        for t in 0..T {
            for m in 0..M {
                a[t * M + m] = acc[t][m];
            }
        }
        T
    }

    #[inline(always)]
    fn wide<V: Lanes>(shell: Shell, slots: Slots<V>, n_slots: usize, fresh: usize, a: &mut [V]) {
        let width = shell.width();
        if shell.a0 >= fresh {
            a[shell.a0..][..shell.n * width].fill(V::zero());
        }
        for s in 0..n_slots {
            let y = &slots.y[s * slots.n_y + shell.l * shell.l..][..width];
            for n in 0..shell.n {
                let r = slots.r[s * slots.n_r + shell.t0 + n];
                for (a, &y) in a[shell.a0 + n * width..][..width].iter_mut().zip(y) {
                    *a = r.mul_add(y, *a);
                }
            }
        }
    }

    V::vectorize(
        #[inline(always)]
        || {
            for &shell in shells {
                by_width!(shell.l, narrow(shell, slots, n_slots, fresh, a));
            }
        },
    );
}

/// The adjoint for slot `s`: `Ȳ_lm = Σ_n Ā_{n,lm} R_n` into `y_bar`, and
/// `Σ_n (Σ_m Ā_{n,lm} Y_lm) ∂R_n/∂r`, which is returned.
#[inline(always)]
pub fn pullback<V: Lanes>(shells: &[Shell], slots: Slots<V>, s: usize, a_bar: &[V], y_bar: &mut [V]) -> V {
    let Slots { r, dr, y, n_r, n_y } = slots;
    let (r, dr, y) = (&r[s * n_r..][..n_r], &dr[s * n_r..][..n_r], &y[s * n_y..][..n_y]);
    #[inline(always)]
    fn narrow<V: Lanes, const M: usize>(shell: Shell, a_bar: &[V], r: &[V], dr: &[V], y: &[V], y_bar: &mut [V]) -> V {
        let y: &[V] = &y[shell.l * shell.l..][..M];
        // Sums in turn hide the latency of the addition; where there are many side by side one set of them is enough.
        let sets = if M < 5 { 2 } else { 1 };
        let (mut acc, mut radial) = ([[V::zero(); M]; 2], [V::zero(); 2]);
        let (r, dr) = (&r[shell.t0..][..shell.n], &dr[shell.t0..][..shell.n]);
        let a_bar = &a_bar[shell.a0..][..shell.n * M];
        for first in (0..shell.n).step_by(2) {
            for (turn, radial) in radial.iter_mut().enumerate() {
                let n = first + turn;
                if n == shell.n {
                    break;
                }
                let (a_bar, set) = (&a_bar[n * M..][..M], turn % sets);
                let mut sum = V::zero();
                for m in 0..M {
                    acc[set][m] = a_bar[m].mul_add(r[n], acc[set][m]);
                    sum = a_bar[m].mul_add(y[m], sum);
                }
                *radial = sum.mul_add(dr[n], *radial);
            }
        }
        for m in 0..M {
            y_bar[shell.l * shell.l + m] = acc[0][m] + acc[1][m];
        }
        radial[0] + radial[1]
    }

    #[inline(always)]
    fn wide<V: Lanes>(shell: Shell, a_bar: &[V], r: &[V], dr: &[V], y: &[V], y_bar: &mut [V]) -> V {
        let (width, at) = (shell.width(), shell.l * shell.l);
        let mut radial = V::zero();
        y_bar[at..at + width].fill(V::zero());
        for n in 0..shell.n {
            let mut sum = V::zero();
            for m in 0..width {
                let a = a_bar[shell.a0 + n * width + m];
                y_bar[at + m] = a.mul_add(r[shell.t0 + n], y_bar[at + m]);
                sum = a.mul_add(y[at + m], sum);
            }
            radial = sum.mul_add(dr[shell.t0 + n], radial);
        }
        radial
    }

    let mut radial = V::zero();
    for &shell in shells {
        radial = radial + by_width!(shell.l, narrow(shell, a_bar, r, dr, y, y_bar));
    }
    radial
}
