//! What an evaluation writes.

use crate::{Error, Result};
use ndarray::{ArrayViewMut, Dimension, IntoDimension, Ix1, Ix2, Ix3};

/// How many there are of what outputs are sized by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sizes {
    pub owned: usize,
    pub atoms: usize,
    /// `None` where there is no graph whose edges a caller could know.
    pub edges: Option<usize>,
    pub members: usize,
    pub descriptors: usize,
}

/// One line an output: its documentation, name, number of dimensions, and sizes.
macro_rules! outputs {
    (|$sizes:ident| $($(#[$doc:meta])* $name:ident: $ix:ty = $shape:expr,)*) => {
        /// Where results go: a view for each one that is wanted, in memory of the caller and without gaps. What has
        /// no view is not computed, unless something else needs it.
        ///
        /// ```
        /// # use acerust::plan::Outputs;
        /// let (mut energy, mut forces) = (0.0, [[0.0; 3]; 2]);
        /// let outputs = Outputs::new().energy(&mut energy).forces(&mut forces[..]);
        /// ```
        #[derive(Debug, Default)]
        #[non_exhaustive]
        pub struct Outputs<'a> {
            /// The energy of the owned atoms, eV. Its terms are added in the order of the atoms, in double precision.
            pub energy: Option<&'a mut f64>,
            $($(#[$doc])* pub $name: Option<ArrayViewMut<'a, f64, $ix>>,)*
        }

        /// The same for callers of other languages: every result is a slice of as many numbers as its view has.
        #[derive(Debug, Default)]
        pub struct Buffers<'a> {
            pub energy: Option<&'a mut f64>,
            $(pub $name: Option<&'a mut [f64]>,)*
        }

        impl<'a> Buffers<'a> {
            /// The names of the results that are wanted.
            pub fn wanted(&self) -> Vec<&'static str> {
                let mut names = Vec::new();
                self.energy.iter().for_each(|_| names.push("energy"));
                $(self.$name.iter().for_each(|_| names.push(stringify!($name)));)*
                names
            }

            /// # Errors
            /// [`Error::Argument`] for another length.
            pub(crate) fn views(self, $sizes: &Sizes) -> Result<Outputs<'a>> {
                Ok(Outputs { energy: self.energy, $($name: view(stringify!($name), self.$name, $shape)?,)* })
            }
        }

        impl<'a> Outputs<'a> {
            pub fn new() -> Outputs<'a> {
                Outputs::default()
            }

            /// Sets [`Outputs::energy`].
            pub fn energy(mut self, energy: &'a mut f64) -> Self {
                self.energy = Some(energy);
                self
            }

            $(
                #[doc = concat!("Sets [`Outputs::", stringify!($name), "`].")]
                pub fn $name(mut self, view: impl Into<ArrayViewMut<'a, f64, $ix>>) -> Self {
                    self.$name = Some(view.into());
                    self
                }
            )*

            /// The same views, for a while.
            pub(crate) fn reborrow(&mut self) -> Outputs<'_> {
                Outputs {
                    energy: self.energy.as_deref_mut(),
                    $($name: self.$name.as_mut().map(|view| view.view_mut()),)*
                }
            }

            /// # Errors
            /// [`Error::Argument`] for a view of another size, or with gaps.
            pub(crate) fn check(&self, $sizes: &Sizes) -> Result<()> {
                if self.edge_gradients.is_some() && $sizes.edges.is_none() {
                    return Err(Error::Argument("edge_gradients: only a graph says which edges there are".into()));
                }
                $(if let Some(view) = &self.$name {
                    check_view(stringify!($name), view, &$shape)?;
                })*
                Ok(())
            }

            /// The names of the outputs that are wanted.
            pub(crate) fn wanted(&self) -> Vec<&'static str> {
                let mut names = Vec::new();
                self.energy.iter().for_each(|_| names.push("energy"));
                $(self.$name.iter().for_each(|_| names.push(stringify!($name)));)*
                names
            }
        }
    };
}

outputs! { |n|
    /// (n_owned), eV.
    site_energies: Ix1 = [n.owned],
    /// `−∂E/∂x`, (n_atoms, 3), eV/Å. Atoms that are not owned get the forces that the owned ones exert on them.
    forces: Ix2 = [n.atoms, 3],
    /// (3, 3), `V[a, b] = −Σ g[a] r[b]` over all edges, eV; stress = −V / volume.
    virial: Ix2 = [3, 3],
    /// (n_atoms, 3, 3), eV: half of `−g ⊗ r` of each edge for either of its atoms. Their sum is the virial.
    site_virials: Ix3 = [n.atoms, 3, 3],
    /// `∂E/∂r_ij`, (n_edges, 3), eV/Å; for site models `∂E_i/∂r_ij`.
    edge_gradients: Ix2 = [n.edges.unwrap_or(0), 3],
    /// The energy of every committee member, (n_members), eV, and so on.
    committee_energies: Ix1 = [n.members],
    /// (n_members, n_owned), eV.
    committee_site_energies: Ix2 = [n.members, n.owned],
    /// (n_members, n_atoms, 3), eV/Å.
    committee_forces: Ix3 = [n.members, n.atoms, 3],
    /// (n_members, 3, 3), eV.
    committee_virials: Ix3 = [n.members, 3, 3],
    /// How far each site is from what the potential was fitted to, (n_owned): at most 1 within; by the plan's
    /// [`ActiveSet`](crate::plan::ActiveSet).
    grade: Ix1 = [n.owned],
    /// What a site looks like to the potential, (n_owned, n_descriptors): the basis `B` of linear potentials, the parts side by
    /// side.
    descriptors: Ix2 = [n.owned, n.descriptors],
}

/// A slice as a view of this shape.
fn view<'a, const N: usize, D: Dimension>(
    name: &str,
    numbers: Option<&'a mut [f64]>,
    shape: [usize; N],
) -> Result<Option<ArrayViewMut<'a, f64, D>>>
where
    [usize; N]: IntoDimension<Dim = D>,
{
    let Some(numbers) = numbers else { return Ok(None) };
    let (expected, found) = (shape.iter().product::<usize>(), numbers.len());
    let wrong = |_| Error::Argument(format!("{name}: expected a length of {expected}, got {found}"));
    if found != expected {
        Err(wrong(()))
    } else {
        ArrayViewMut::from_shape(shape, numbers).map(Some).map_err(|_| wrong(()))
    }
}

/// # Errors
/// [`Error::Argument`] for a view of another size, or with gaps.
pub(crate) fn check_view<D: Dimension>(name: &str, view: &ArrayViewMut<f64, D>, expected: &[usize]) -> Result<()> {
    if view.shape() != expected {
        return Err(Error::Argument(format!("{name}: expected {}, got {}", sizes(expected), sizes(view.shape()))));
    }
    match view.is_standard_layout() {
        true => Ok(()),
        false => Err(Error::Argument(format!("{name}: its numbers do not follow one another in memory"))),
    }
}

/// As `(3, 4)`.
pub(super) fn sizes(n: &[usize]) -> String {
    let n: Vec<_> = n.iter().map(ToString::to_string).collect();
    format!("({})", n.join(", "))
}

/// The numbers of a view without gaps.
pub(crate) fn numbers<'a, D: Dimension>(view: &'a mut Option<ArrayViewMut<f64, D>>) -> Option<&'a mut [f64]> {
    view.as_mut().and_then(|v| v.as_slice_mut())
}

/// The same as vectors.
pub(crate) fn vectors<'a, D: Dimension>(view: &'a mut Option<ArrayViewMut<f64, D>>) -> Option<&'a mut [[f64; 3]]> {
    numbers(view).map(|x| x.as_chunks_mut().0)
}

/// The same as matrices of 3 × 3.
pub(crate) fn matrices<'a, D: Dimension>(
    view: &'a mut Option<ArrayViewMut<f64, D>>,
) -> Option<&'a mut [[[f64; 3]; 3]]> {
    vectors(view).map(|x| x.as_chunks_mut().0)
}

/// The sum, in a fixed order that does not wait for each addition.
pub(crate) fn total(energies: &[f64]) -> f64 {
    let (chunks, rest) = energies.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for chunk in chunks {
        sums.iter_mut().zip(chunk).for_each(|(sum, e)| *sum += e);
    }
    sums.iter().chain(rest).sum()
}
