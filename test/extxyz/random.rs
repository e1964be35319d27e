//! Random frames survive the round trip; random damage is refused or read, never a panic.

use super::*;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    fn coin(&mut self) -> bool {
        self.bits() & 1 == 1
    }

    /// Any finite number, of any magnitude.
    fn real(&mut self) -> f64 {
        loop {
            let x = f64::from_bits(self.bits());
            if x.is_finite() {
                return x;
            }
        }
    }

    fn modest(&mut self) -> f64 {
        (self.bits() as i64) as f64 / 1e18
    }

    fn vec<T>(&mut self, n: usize, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..n).map(|_| make(self)).collect()
    }

    fn vector(&mut self) -> [f64; 3] {
        std::array::from_fn(|_| self.modest())
    }

    fn text(&mut self) -> String {
        const LETTERS: [char; 24] = [
            'a', 'T', 'F', '0', '1', '-', '.', 'e', 'd', ' ', '\t', '"', '\'', '\\', '\n', '[', ']', '{', '}', ',',
            '=', 'n', 'é', ':',
        ];
        let n = self.below(6);
        (0..n).map(|_| LETTERS[self.below(LETTERS.len())]).collect()
    }

    fn word(&mut self) -> String {
        let word = self.text().replace([' ', '\t', '\n'], "_");
        if word.is_empty() { "w".into() } else { word }
    }

    fn value(&mut self) -> Value {
        let n = self.below(4);
        match self.below(10) {
            0 => Value::Bool(self.coin()),
            1 => Value::Int(self.bits() as i64),
            2 => Value::Real(self.real()),
            3..=5 => Value::Text(self.text()),
            6 => array(Value::Int, self.vec(n, |r| r.bits() as i64)),
            7 => array(Value::Bool, self.vec(n, Self::coin)),
            8 => array(Value::Text, self.vec(n, Self::text)),
            _ => Value::Array(self.vec(n, |r| array(Value::Real, r.vec(n, Self::real)))),
        }
    }

    fn column(&mut self, n_atoms: usize) -> Column {
        let width = 1 + self.below(3);
        let n = n_atoms * width;
        let data = match self.below(4) {
            0 => Data::Text(self.vec(n, Self::word)),
            1 => Data::Real(self.vec(n, Self::real)),
            2 => Data::Int(self.vec(n, |r| r.bits() as i64)),
            _ => Data::Bool(self.vec(n, Self::coin)),
        };
        Column { width, data }
    }

    fn frame(&mut self) -> Frame {
        let n = self.below(5);
        let mut frame = Frame::from(Structure {
            numbers: self.vec(n, |r| 1 + r.below(118) as u8),
            positions: self.vec(n, Self::vector),
            ..Structure::default()
        });
        if self.coin() {
            frame.structure.cell = std::array::from_fn(|_| self.vector());
            frame.structure.pbc = std::array::from_fn(|_| self.coin());
        }
        frame.energy = self.coin().then(|| self.real());
        frame.virial = self.coin().then(|| std::array::from_fn(|_| self.vector()));
        frame.forces = self.coin().then(|| self.vec(n, Self::vector));
        for i in 0..self.below(4) {
            let (key, value) = (format!("{}{i}", self.text()), self.value());
            frame.info.insert(key, value);
            let (name, column) = (format!("{}{i}", self.word().replace(':', "")), self.column(n));
            frame.arrays.insert(name, column);
        }
        frame
    }
}

#[test]
fn random_frames_survive() {
    let mut random = Random(1);
    for _ in 0..500 {
        let frames = random.vec(3, Random::frame);
        let once = written(&frames);
        let again = extxyz::parse(&once, &Keys::default()).unwrap_or_else(|e| panic!("{e}\n{once}"));
        assert_eq!(again, frames, "{once}");
        let order = |f: &Frame| (f.info.keys().cloned().collect(), f.arrays.keys().cloned().collect());
        let (before, after): (Vec<(Vec<_>, Vec<_>)>, Vec<_>) =
            (frames.iter().map(order).collect(), again.iter().map(order).collect());
        assert_eq!(before, after);
        assert_eq!(written(&again), once);
    }
}

#[test]
fn damage_never_panics_and_what_is_read_can_be_written() {
    const BYTES: &[u8] = b"\"'\\[]{}=:, \t\r\n0129.-+edTFnSRILx\0\xc3";
    let mut random = Random(2);
    let mut read = 0;
    for _ in 0..30_000 {
        let mut bytes = FULL.as_bytes().to_vec();
        for _ in 0..1 + random.below(4) {
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => drop(bytes.remove(at)),
                1 => bytes[at] ^= 1 << random.below(8),
                2 => bytes[at] = BYTES[random.below(BYTES.len())],
                _ => bytes.insert(at, BYTES[random.below(BYTES.len())]),
            }
        }
        for frame in Reader::new(bytes.as_slice(), &Keys::default()).map_while(Result::ok) {
            read += 1;
            let once = written(std::slice::from_ref(&frame));
            // Through the text: an uninterpreted column may hold NaN.
            assert_eq!(written(&parse(&once)), once);
        }
    }
    // Most damage hits a digit, a name or the other frame.
    assert!(read > 10_000, "{read}");
}
