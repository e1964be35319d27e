//! Mutations of byte strings, a fixed sequence for each seed.

/// Tokens that are rare by chance and matter in the formats read here.
const TOKENS: [&str; 32] = [
    "0",
    "-0",
    "-1",
    "1",
    "2",
    "255",
    "256",
    "65536",
    "4294967295",
    "4294967296",
    "18446744073709551616",
    "1e308",
    "-1e308",
    "1e-308",
    "1e400",
    "0.5",
    "NaN",
    "inf",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "[0]",
    ",",
    ":",
    "\"",
    "\\u0000",
    "\n",
    " ",
    "\0",
    "é",
];

/// Inputs longer than this are cut: short ones run faster and find the same.
const LONGEST: usize = 96 << 10;

/// Kept inputs; beyond this the new replace the old.
const MOST_KEPT: usize = 256;

pub struct Mutator {
    state: u64,
    seeds: Vec<Vec<u8>>,
    kept: Vec<Vec<u8>>,
}

impl Mutator {
    pub fn new(seed: u64, seeds: Vec<Vec<u8>>) -> Mutator {
        Mutator { state: seed, seeds, kept: Vec::new() }
    }

    /// Keeps an input to mutate further.
    pub fn keep(&mut self, input: Vec<u8>) {
        if self.kept.len() < MOST_KEPT {
            self.kept.push(input);
        } else {
            let k = self.below(MOST_KEPT);
            self.kept[k] = input;
        }
    }

    pub fn next(&mut self) -> Vec<u8> {
        let mut input = self.any().clone();
        for _ in 0..1 + self.below(4) {
            self.mutate(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    fn any(&mut self) -> &Vec<u8> {
        let k = self.below(2 * self.seeds.len() + self.kept.len());
        if k < 2 * self.seeds.len() { &self.seeds[k / 2] } else { &self.kept[k - 2 * self.seeds.len()] }
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let n = input.len();
        let a = self.below(n + 1);
        let longest = 1 << self.below(10);
        let b = (a + 1 + self.below(longest)).min(n);
        let piece = a.min(b)..b;
        match self.below(9) {
            0 if a < n => input[a] ^= 1 << self.below(8),
            1 if a < n => input[a] = self.below(256) as u8,
            2 => drop(input.drain(piece)),
            3 => {
                let copy = input[piece].to_vec();
                let at = self.below(n + 1);
                input.splice(at..at, copy);
            }
            4 => {
                let other = self.any().clone();
                let from = self.below(other.len() + 1);
                let to = (from + self.below(64)).min(other.len());
                input.splice(a..a, other[from..to].iter().copied());
            }
            5 => {
                let token = TOKENS[self.below(TOKENS.len())];
                input.splice(a..a, token.bytes());
            }
            6 | 7 => {
                // One number of a text becomes another.
                let digit = |c: &u8| c.is_ascii_digit() || b"+-.eE".contains(c);
                let Some(start) = input[a..].iter().position(digit).map(|p| a + p) else { return };
                let end = input[start..].iter().position(|c| !digit(c)).map_or(n, |p| start + p);
                let token = TOKENS[self.below(TOKENS.len())];
                input.splice(start..end, token.bytes());
            }
            _ => input.truncate(a),
        }
    }

    /// Uniform below `n`, or 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        if n == 0 { 0 } else { (z % n as u64) as usize }
    }
}
