//! Runs of three octets of a text: whoever holds a string holds all of its runs.

/// Which texts of a message hold a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    /// Those of the message's own header.
    Header,
    /// All others.
    Body,
}

/// A run of three octets in one half of a message.
pub(super) type Gram = u64;

/// The octets of a run.
const SIZE: usize = 3;
const MASK: u32 = 0xFF_FFFF;
const RUNS: usize = 1 << 24;

/// The runs of `text` in a half, each once; nothing if it is too short to have one.
pub(super) fn of(half: Half, text: &[u8]) -> Option<Vec<Gram>> {
    let mut grams: Vec<Gram> = text.windows(SIZE).map(|run| gram(half, word(run))).collect();
    grams.sort_unstable();
    grams.dedup();
    (!grams.is_empty()).then_some(grams)
}

/// The runs of one message, gathered text by text.
pub(super) struct Gatherer {
    /// One bit a run, for each half.
    seen: [Vec<u64>; 2],
    found: Vec<Gram>,
    /// The last octets of the text that is being read.
    last: u32,
    read: usize,
}

impl Gatherer {
    pub(super) fn new() -> Self {
        Self {
            seen: [vec![0; RUNS / 64], vec![0; RUNS / 64]],
            found: Vec::new(),
            last: 0,
            read: 0,
        }
    }

    /// The next text begins.
    pub(super) fn begin(&mut self) {
        self.read = 0;
    }

    /// More of the text.
    pub(super) fn add(&mut self, half: Half, piece: &[u8]) {
        let seen = match half {
            Half::Header => &mut self.seen[0],
            Half::Body => &mut self.seen[1],
        };
        for &byte in piece {
            self.last = (self.last << 8 | u32::from(byte)) & MASK;
            self.read += 1;
            if self.read < SIZE {
                continue;
            }
            let (place, bit) = (self.last as usize / 64, 1 << (self.last % 64));
            if let Some(bits) = seen.get_mut(place).filter(|bits| **bits & bit == 0) {
                *bits |= bit;
                self.found.push(gram(half, self.last));
            }
        }
    }

    /// All runs of the message; the next message begins.
    pub(super) fn take(&mut self, each: &mut dyn FnMut(Gram)) {
        for gram in self.found.drain(..) {
            let half = usize::from(gram > u64::from(MASK));
            let run = (gram & u64::from(MASK)) as usize;
            if let Some(bits) = self.seen.get_mut(half).and_then(|seen| seen.get_mut(run / 64)) {
                *bits = 0;
            }
            each(gram);
        }
        self.begin();
    }
}

fn word(run: &[u8]) -> u32 {
    run.iter().fold(0, |word, &byte| word << 8 | u32::from(byte))
}

fn gram(half: Half, run: u32) -> Gram {
    match half {
        Half::Header => u64::from(run),
        Half::Body => u64::from(run) + u64::from(MASK) + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gathered(gatherer: &mut Gatherer) -> Vec<Gram> {
        let mut all = Vec::new();
        gatherer.take(&mut |gram| all.push(gram));
        all.sort_unstable();
        all
    }

    #[test]
    fn a_string_of_two_octets_has_no_run() {
        assert_eq!(of(Half::Body, b"ab"), None);
        assert_eq!(of(Half::Header, b"abc"), Some(vec![0x61_6263]));
        assert_eq!(of(Half::Body, b"aaaa"), Some(vec![0x161_6161]));
    }

    #[test]
    fn no_run_spans_two_texts_or_messages() {
        let mut gatherer = Gatherer::new();
        gatherer.add(Half::Header, b"ab");
        gatherer.begin();
        gatherer.add(Half::Header, b"cd");
        assert!(gathered(&mut gatherer).is_empty());
        gatherer.add(Half::Header, b"ef");
        gatherer.add(Half::Header, b"g");
        assert_eq!(gathered(&mut gatherer), of(Half::Header, b"efg").unwrap());
    }

    proptest! {
        #[test]
        fn each_run_is_told_once_however_the_text_is_cut(text in "[a-c]{0,40}", cut in 0_usize..40, half in any::<bool>()) {
            let half = if half { Half::Header } else { Half::Body };
            let mut gatherer = Gatherer::new();
            for _ in 0..2 {
                let (one, two) = text.as_bytes().split_at(cut.min(text.len()));
                gatherer.add(half, one);
                gatherer.add(half, two);
                prop_assert_eq!(gathered(&mut gatherer), of(half, text.as_bytes()).unwrap_or_default());
            }
        }
    }
}
