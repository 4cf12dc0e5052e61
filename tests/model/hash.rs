//! A quick hasher. The exploration hashes hundreds of millions of small values, and none of them is hostile.

use std::hash::{BuildHasherDefault, Hash, Hasher};

pub type Fast = BuildHasherDefault<Quick>;

/// 128 bits that stand for a value. Among a hundred million values, the chance that any two share their bits is 1 in
/// 10^22.
pub fn fingerprint(value: &impl Hash) -> u128 {
    let mut wide = Wide::default();
    value.hash(&mut wide);
    u128::from(mixed(wide.one)) | u128::from(mixed(wide.other)) << 64
}

/// Two hashes at once that have nothing in common. Each word changes each hash by a function that has an inverse, so values
/// that differ in one place never share their bits.
#[derive(Default)]
struct Wide {
    one: u64,
    other: u64,
}

impl Hasher for Wide {
    fn finish(&self) -> u64 {
        self.one
    }

    fn write(&mut self, bytes: &[u8]) {
        words(bytes).for_each(|word| self.write_u64(word));
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        let one = (self.one ^ word ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xff51_afd7_ed55_8ccd);
        self.one = one ^ (one >> 32);
        let other = self.other.rotate_left(23).wrapping_add(word).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        self.other = other ^ (other >> 29);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word.cast_unsigned() as u64);
    }
}

fn mixed(hash: u64) -> u64 {
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    })
}

#[derive(Default)]
pub struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        mixed(self.0)
    }

    fn write(&mut self, bytes: &[u8]) {
        words(bytes).for_each(|word| self.write_u64(word));
    }

    /// A fingerprint is spread already, so one half of it suffices.
    fn write_u128(&mut self, fingerprint: u128) {
        self.write_u64(fingerprint as u64);
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(word.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(29) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95) ^ (self.0 >> 31);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word.cast_unsigned() as u64);
    }
}
