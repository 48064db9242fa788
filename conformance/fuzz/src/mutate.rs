//! Mutations without coverage, for `cargo test`: the same number gives the same bytes.

/// A small generator (xorshift): no crate is worth the dependency here.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// From a seed; 0 counts as 1.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    /// `bytes` with a few places changed, removed, doubled or filled with extreme numbers.
    pub fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(out.len());
            match self.below(6) {
                0 => out.truncate(at),
                1 => {
                    let end = (at + self.below(16)).min(out.len());
                    out.drain(at..end);
                }
                2 => {
                    let end = (at + self.below(16)).min(out.len());
                    let again = out.get(at..end).unwrap_or_default().to_vec();
                    out.splice(at..at, again);
                }
                3 => {
                    let extreme = [0x00, 0xff, 0x7f, 0x80][self.below(4)];
                    let end = (at + [1, 2, 4, 8][self.below(4)]).min(out.len());
                    out.get_mut(at..end).unwrap_or_default().fill(extreme);
                }
                _ => {
                    let new = self.next().to_le_bytes()[0];
                    if let Some(byte) = out.get_mut(at) {
                        *byte = new;
                    }
                }
            }
        }
        out
    }
}
