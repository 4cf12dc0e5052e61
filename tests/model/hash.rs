//! A quick hasher. The exploration hashes hundreds of millions of small values, and none of them is hostile.

use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

pub type Fast = BuildHasherDefault<Quick>;

/// 128 bits that stand for a value. Among a hundred million values, the chance that any two share their bits is 1 in
/// 10^22.
pub fn fingerprint(value: &impl Hash) -> u128 {
    let (mut quick, mut thorough) = (Quick::default(), DefaultHasher::new());
    value.hash(&mut quick);
    value.hash(&mut thorough);
    u128::from(quick.finish()) | u128::from(thorough.finish()) << 64
}

#[derive(Default)]
pub struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ (mixed >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
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
