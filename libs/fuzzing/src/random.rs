//! Numbers, texts and bytes that look random, all made of one number.

/// A source of them. The same number always gives the same ones.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// Letters that mean something to somebody: to JSON, to paths, to queries, to lines; and some that take several bytes.
const LETTERS: &[char] = &[
    'a',
    'Z',
    '0',
    '9',
    ' ',
    '_',
    '-',
    '.',
    ':',
    ';',
    ',',
    '/',
    '=',
    '&',
    '+',
    '%',
    '"',
    '\\',
    '{',
    '}',
    '[',
    ']',
    '*',
    '\0',
    '\n',
    '\r',
    '\t',
    '\u{7f}',
    '\u{e9}',
    '\u{2028}',
    '\u{fffd}',
    '\u{1f4e6}',
];
/// Bytes that mean something to most who read.
const BYTES: &[u8] = b"\"{}[]:,\\0-9eE.+ntf%/=&;*\0\n\x01\x7f\x80\xff";
/// Numbers at which something ends.
const ENDS: &[u64] = &[
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    // The first that readers with floats take for their neighbour.
    (1 << 53) + 1,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

impl Random {
    /// That of this number.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// That of an input of a seed: neighbours have nothing in common.
    #[must_use]
    pub fn of(seed: u64, number: u64) -> Self {
        let mut random = Self(seed);
        Self(random.bits() ^ Self(number).bits())
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one; 0 where there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        let bits = self.bits();
        usize::try_from(bits % (bound as u64).max(1)).unwrap_or_default()
    }

    /// True so many times in a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of these, which may not be none.
    pub fn one_of<'a, T>(&mut self, these: &'a [T]) -> &'a T {
        &these[self.below(these.len())]
    }

    /// A number of any size: small ones, large ones, and those at which something ends.
    pub fn number(&mut self) -> u64 {
        if self.chance(30) {
            return *self.one_of(ENDS);
        }
        let shift = self.below(64);
        self.bits() >> shift
    }

    /// A text of at most so many letters, whatever they are.
    pub fn text(&mut self, letters_max: usize) -> String {
        let length = self.below(letters_max + 1);
        (0..length).map(|_| *self.one_of(LETTERS)).collect()
    }

    /// A text of at most so many of these letters.
    pub fn text_of(&mut self, letters: &str, letters_max: usize) -> String {
        let letters: Vec<char> = letters.chars().collect();
        let length = self.below(letters_max + 1);
        (0..length).map(|_| *self.one_of(&letters)).collect()
    }

    /// At most so many bytes.
    pub fn bytes(&mut self, bytes_max: usize) -> Vec<u8> {
        let length = self.below(bytes_max + 1);
        (0..length).map(|_| self.byte()).collect()
    }

    fn byte(&mut self) -> u8 {
        let any = self.bits().to_le_bytes()[0];
        if self.chance(50) { *self.one_of(BYTES) } else { any }
    }

    /// What may have become of these bytes on their way: one time in four nothing.
    #[must_use]
    pub fn damaged(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.below(4) {
            let (length, byte) = (bytes.len(), self.byte());
            let (from, to) = (self.below(length), self.below(length));
            match self.below(6) {
                _ if length == 0 => bytes.push(byte),
                0 => bytes[from] = byte,
                1 => drop(bytes.remove(from)),
                2 => bytes.insert(from, byte),
                // A bit of it.
                3 => bytes[from] ^= 1 << (byte & 7),
                // A part comes twice.
                4 => {
                    let part = bytes[from.min(to)..from.max(to)].to_vec();
                    bytes.splice(to..to, part);
                }
                _ => bytes.truncate(from),
            }
        }
        bytes
    }

    /// The same of a text, which stays one.
    #[must_use]
    pub fn damaged_text(&mut self, text: &str) -> String {
        String::from_utf8_lossy(&self.damaged(text.as_bytes().to_vec())).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_made_again_of_its_seed_and_number() {
        let made = |seed, number| {
            let mut random = Random::of(seed, number);
            let whole = random.bytes(20);
            (random.text(9), random.number(), random.damaged(whole))
        };
        assert_eq!(made(7, 3), made(7, 3));
        assert!(made(7, 3) != made(7, 4) && made(7, 3) != made(8, 3));
    }

    #[test]
    fn damage_changes_most_and_leaves_some_as_it_was() {
        let mut random = Random::new(1);
        let whole = b"{\"a\": [1, 2]}".to_vec();
        let left = (0..1_000).filter(|_| random.damaged(whole.clone()) == whole).count();
        assert!((200..500).contains(&left), "{left}");
        for _ in 0..1_000 {
            drop(random.damaged(Vec::new()));
            drop(random.damaged_text("\u{1f4e6}"));
        }
    }

    #[test]
    fn numbers_are_of_any_size_and_nothing_is_out_of_bounds() {
        let mut random = Random::new(2);
        let numbers: Vec<u64> = (0..2_000).map(|_| random.number()).collect();
        assert!(numbers.contains(&0) && numbers.contains(&u64::MAX) && numbers.contains(&(1 << 63)));
        assert_eq!((random.below(0), random.text(0), random.bytes(0)), (0, String::new(), Vec::new()));
        assert!((0..1_000).all(|_| random.below(3) < 3 && random.text_of("ab", 4).len() <= 4));
    }
}
