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

impl<V> Slots<'_, V> {
    /// From slot `s` on.
    #[inline(always)]
    pub fn from(self, s: usize) -> Self {
        Slots { r: &self.r[s * self.n_r..], dr: &self.dr[s * self.n_r..], y: &self.y[s * self.n_y..], ..self }
    }
}

/// Calls `$f::<.., M>` with `M = 2l + 1` where that is a constant, so that tiles stay in registers.
macro_rules! by_width {
    ($l:expr, $f:ident $args:tt) => {
        if const { V::UNROLLED } {
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
        } else {
            wide::<V> $args
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

/// The adjoint for the slots `0..n_slots`: `Ȳ_lm = Σ_n Ā_{n,lm} R_n` of each into `y_bar`, one slot after another, and
/// `Σ_n (Σ_m Ā_{n,lm} Y_lm) ∂R_n/∂r` into `radial`.
#[inline(always)]
pub fn pullback<V: Lanes>(
    shells: &[Shell],
    slots: Slots<V>,
    n_slots: usize,
    a_bar: &[V],
    y_bar: &mut [V],
    radial: &mut [V],
) {
    #[inline(always)]
    fn narrow<V: Lanes, const M: usize>(
        shell: Shell,
        slots: Slots<V>,
        n_slots: usize,
        a_bar: &[V],
        y_bar: &mut [V],
        radial: &mut [V],
    ) {
        let a_bar = &a_bar[shell.a0..][..shell.n * M];
        let (last, at) = (n_slots.saturating_sub(1), shell.l * shell.l);
        assert!(
            slots.r.len() >= last * slots.n_r + shell.t0 + shell.n
                && slots.dr.len() >= last * slots.n_r + shell.t0 + shell.n
                && slots.y.len() >= last * slots.n_y + at + M
                && y_bar.len() >= last * slots.n_y + at + M
                && radial.len() >= n_slots
        );
        let mut s = 0;
        // Two slots share what they read of `Ā` where there are registers for the sums of both.
        while 4 * M + 6 <= V::REGISTERS && s + 2 <= n_slots {
            // SAFETY: every slot has its functions and harmonics, see above.
            unsafe { tile::<V, M, 2>(shell, slots, s, a_bar, y_bar, radial) };
            s += 2;
        }
        while s < n_slots {
            // SAFETY: the same.
            unsafe { tile::<V, M, 1>(shell, slots, s, a_bar, y_bar, radial) };
            s += 1;
        }
    }

    /// # Safety
    /// `r`, `dr`, `y`, `y_bar` and `radial` have all entries of the shell for `S` slots from `first` on, `a_bar` those of the shell alone.
    #[inline(always)]
    unsafe fn tile<V: Lanes, const M: usize, const S: usize>(
        shell: Shell,
        slots: Slots<V>,
        first: usize,
        a_bar: &[V],
        y_bar: &mut [V],
        radial: &mut [V],
    ) {
        // SAFETY: the caller vouches for all lengths.
        unsafe {
            let mut acc = [[V::zero(); M]; S];
            let mut sums = [V::zero(); S];
            for n in 0..shell.n {
                for s in 0..S {
                    let at = (first + s) * slots.n_r + shell.t0 + n;
                    let y = (first + s) * slots.n_y + shell.l * shell.l;
                    let (r, mut sum) = (*slots.r.get_unchecked(at), V::zero());
                    for (m, acc) in acc[s].iter_mut().enumerate() {
                        let a = *a_bar.get_unchecked(n * M + m);
                        *acc = a.mul_add(r, *acc);
                        let y = *slots.y.get_unchecked(y + m);
                        sum = if m == 0 { a * y } else { a.mul_add(y, sum) };
                    }
                    sums[s] = sum.mul_add(*slots.dr.get_unchecked(at), sums[s]);
                }
            }
            for s in 0..S {
                let y = (first + s) * slots.n_y + shell.l * shell.l;
                for (m, acc) in acc[s].iter().enumerate() {
                    *y_bar.get_unchecked_mut(y + m) = *acc;
                }
                let radial = radial.get_unchecked_mut(first + s);
                *radial = *radial + sums[s];
            }
        }
    }

    #[inline(always)]
    fn wide<V: Lanes>(shell: Shell, slots: Slots<V>, n_slots: usize, a_bar: &[V], y_bar: &mut [V], radial: &mut [V]) {
        let (width, Slots { n_r, n_y, .. }) = (shell.width(), slots);
        for (s, radial) in radial.iter_mut().enumerate().take(n_slots) {
            let at = s * n_y + shell.l * shell.l;
            let (y, y_bar) = (&slots.y[at..][..width], &mut y_bar[at..][..width]);
            y_bar.fill(V::zero());
            for n in 0..shell.n {
                let (t, mut sum) = (s * n_r + shell.t0 + n, V::zero());
                for m in 0..width {
                    let a = a_bar[shell.a0 + n * width + m];
                    y_bar[m] = a.mul_add(slots.r[t], y_bar[m]);
                    sum = a.mul_add(y[m], sum);
                }
                *radial = sum.mul_add(slots.dr[t], *radial);
            }
        }
    }

    radial[..n_slots].fill(V::zero());
    for &shell in shells {
        by_width!(shell.l, narrow(shell, slots, n_slots, a_bar, y_bar, radial));
    }
}
