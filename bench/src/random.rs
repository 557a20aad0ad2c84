//! Random numbers that come again: everything random here follows from a printed seed.

/// The splitmix64 generator (Steele, Lea, Flood, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound.max(1) as u64) as usize
    }

    /// A length from 1 to `most`, small ones as likely as large ones: first its magnitude, then its value.
    pub fn length(&mut self, most: usize) -> usize {
        let most = most.max(1);
        let magnitude = self.below(most.ilog2() as usize + 1);
        let low = 1usize << magnitude;
        low + self.below(low.min(most - low + 1))
    }

    /// `length` random bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// A seed that no other run has: the wall clock and the process's number.
pub fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Random::new(now.as_nanos() as u64 ^ (u64::from(std::process::id()) << 48)).number()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_reach_both_ends() {
        let mut random = Random::new(1);
        let lengths: Vec<usize> = (0..20_000).map(|_| random.length(12_288)).collect();
        assert_eq!(lengths.iter().min(), Some(&1));
        assert!(lengths.iter().all(|&length| length <= 12_288));
        assert!(lengths.iter().any(|&length| length > 12_200), "the top is never reached");
        assert!((0..100).all(|_| Random::new(3).length(1) == 1));
    }

    #[test]
    fn a_seed_comes_again() {
        let run = |seed| Random::new(seed).bytes(100);
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
