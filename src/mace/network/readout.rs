//! What is small and stays in double precision: readouts, and the embedding of charge and spin.

/// From the scalars of a layer's features to a share of the energy of an atom.
#[derive(Clone, Debug)]
pub struct Readout {
    /// The layer whose output it reads.
    pub layer: usize,
    pub kind: ReadoutKind,
}

#[derive(Clone, Debug)]
pub enum ReadoutKind {
    /// (channels).
    Linear(Vec<f64>),
    /// Matrices with an activation `κ silu` between them; the last one has a single column.
    Mlp { layers: Vec<ReadoutLayer>, constant: f64 },
}

#[derive(Clone, Debug)]
pub struct ReadoutLayer {
    pub n_out: usize,
    /// (in, out).
    pub w: Vec<f64>,
    /// (out), or empty.
    pub b: Vec<f64>,
}

/// `silu(x)` and its derivative.
pub fn silu(x: f64) -> [f64; 2] {
    let s = 1.0 / (1.0 + (-x).exp());
    [x * s, s + x * s * (1.0 - s)]
}

impl Readout {
    /// The value at the scalars `x` (channels), and its gradient by them, written to `bar`.
    pub fn evaluate(&self, x: &[f64], bar: &mut [f64]) -> f64 {
        match &self.kind {
            ReadoutKind::Linear(w) => {
                bar.copy_from_slice(w);
                w.iter().zip(x).map(|(w, x)| w * x).sum()
            }
            ReadoutKind::Mlp { layers, constant } => {
                let mut values = x.to_vec();
                let mut slopes = Vec::new();
                for (k, layer) in layers.iter().enumerate() {
                    values = layer.apply(&values);
                    if k + 1 < layers.len() {
                        let acts: Vec<[f64; 2]> = values.iter().map(|&x| silu(x).map(|y| constant * y)).collect();
                        values = acts.iter().map(|a| a[0]).collect();
                        slopes.push(acts);
                    }
                }
                let mut back = vec![1.0];
                for (k, layer) in layers.iter().enumerate().rev() {
                    back = layer
                        .w
                        .chunks(layer.n_out)
                        .map(|row| row.iter().zip(&back).map(|(w, b)| w * b).sum())
                        .collect();
                    if k > 0 {
                        back.iter_mut().zip(&slopes[k - 1]).for_each(|(b, a)| *b *= a[1]);
                    }
                }
                bar.copy_from_slice(&back);
                values[0]
            }
        }
    }
}

impl ReadoutLayer {
    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.n_out];
        out[..self.b.len()].copy_from_slice(&self.b);
        for (x, row) in x.iter().zip(self.w.chunks(self.n_out)) {
            out.iter_mut().zip(row).for_each(|(o, w)| *o += x * w);
        }
        out
    }
}

/// Properties of a structure, each with a table: rows side by side, `silu(row · W)` is added to `h^0` of every atom.
#[derive(Clone, Debug)]
pub struct Embedding {
    pub properties: Vec<Property>,
    /// (width of all rows, channels).
    pub w: Vec<f64>,
}

#[derive(Clone, Debug)]
pub struct Property {
    /// `total_charge`, `total_spin`.
    pub name: String,
    /// Added to the value to get the row.
    pub offset: i64,
    pub n_rows: usize,
    /// (rows, width).
    pub table: Vec<f64>,
}

impl Property {
    /// The row of a value.
    ///
    /// # Errors
    /// A value beyond the table, by its name.
    pub fn row(&self, value: i64) -> Result<usize, String> {
        let row = value.checked_add(self.offset).and_then(|k| usize::try_from(k).ok()).filter(|&k| k < self.n_rows);
        row.ok_or_else(|| {
            let (low, high) = (-self.offset, self.n_rows as i64 - 1 - self.offset);
            format!("{} {value}: this model knows {low} to {high}", self.name)
        })
    }
}

impl Embedding {
    /// What is added to `h^0`, (channels), for the values of the properties.
    ///
    /// # Errors
    /// A value beyond the table, by its name.
    pub fn features(&self, values: &[i64], channels: usize) -> Result<Vec<f64>, String> {
        let mut out = vec![0.0; channels];
        let mut rows = self.w.chunks(channels);
        for (p, &value) in self.properties.iter().zip(values) {
            let row = p.row(value)?;
            let width = p.table.len() / p.n_rows;
            for &x in &p.table[row * width..][..width] {
                let row = rows.next().expect("a row for each column of the tables");
                out.iter_mut().zip(row).for_each(|(o, w)| *o += x * w);
            }
        }
        out.iter_mut().for_each(|x| *x = silu(*x)[0]);
        Ok(out)
    }
}
