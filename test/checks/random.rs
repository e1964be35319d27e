//! Random numbers that the seed alone determines.

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// SplitMix64.
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `low..high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * ((self.bits() >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// Uniform in −1..1.
    pub fn signed(&mut self) -> f64 {
        self.between(-1.0, 1.0)
    }

    /// Uniform among `low..=high`.
    pub fn integer(&mut self, low: usize, high: usize) -> usize {
        low + (self.bits() % (high - low + 1) as u64) as usize
    }

    pub fn flip(&mut self) -> bool {
        self.bits() & 1 == 1
    }

    pub fn vector(&mut self) -> [f64; 3] {
        std::array::from_fn(|_| self.signed())
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for k in (1..items.len()).rev() {
            items.swap(k, self.integer(0, k));
        }
    }

    /// A rotation matrix.
    pub fn rotation(&mut self) -> [[f64; 3]; 3] {
        // Gram–Schmidt; the third row makes it proper.
        let unit = |v: [f64; 3]| {
            let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
            v.map(|x| x / length)
        };
        let a = unit(self.vector());
        let b = self.vector();
        let along: f64 = (0..3).map(|k| a[k] * b[k]).sum();
        let b = unit(std::array::from_fn(|k| b[k] - along * a[k]));
        let c = std::array::from_fn(|k| a[(k + 1) % 3] * b[(k + 2) % 3] - a[(k + 2) % 3] * b[(k + 1) % 3]);
        [a, b, c]
    }
}
