//! Random numbers that can be had again: `KDFS_SEED=n` replays a run.

pub struct Random(u64);

impl Random {
    /// Seeded from `KDFS_SEED`, else from the clock; the seed is shown when the test fails.
    pub fn new(test: &str) -> Random {
        let given = std::env::var("KDFS_SEED").ok().map(|seed| seed.parse().expect("KDFS_SEED is a number"));
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = given.unwrap_or(clock.as_nanos() as u64);
        println!("replay with: KDFS_SEED={seed} cargo test -p kdfs-fs {test}");
        Random(seed)
    }

    /// Another sequence, of the same seed.
    pub fn fork(&mut self) -> Random {
        Random(self.next())
    }

    pub fn next(&mut self) -> u64 {
        // splitmix64 (Steele, Lea, Flood, OOPSLA 2014)
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Less than `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}
