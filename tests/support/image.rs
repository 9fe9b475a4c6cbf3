//! Owns the images of files under `tests/data/`: text that people can read and that leaves out the
//! zeros.
//!
//! The first line is `size N`; each further line is an offset and up to 32 bytes in hex that stand
//! there. All else is zero. Lines that begin with `#` are comments.

use std::fmt::Write;

const LINE: usize = 32;

/// The bytes that an image stands for.
pub(crate) fn decode(image: &str) -> Vec<u8> {
    let mut lines = image.lines().filter(|line| !line.starts_with('#'));
    let size = lines.next().and_then(|line| line.strip_prefix("size "));
    let size: usize = size.and_then(|size| size.parse().ok()).expect("an image begins with a size");
    let mut bytes = vec![0; size];
    for line in lines {
        let (offset, hex) = line.split_once(' ').expect("an offset and bytes");
        let offset: usize = offset.parse().expect("an offset");
        for (index, digits) in hex.as_bytes().chunks(2).enumerate() {
            let digits = std::str::from_utf8(digits).expect("hex digits");
            bytes[offset + index] = u8::from_str_radix(digits, 16).expect("hex digits");
        }
    }
    bytes
}

/// The image of these bytes.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut image = format!("size {}\n", bytes.len());
    for (index, line) in bytes.chunks(LINE).enumerate() {
        let Some(last) = line.iter().rposition(|byte| *byte != 0) else { continue };
        write!(image, "{} ", index * LINE).expect("text grows");
        for byte in &line[..=last] {
            write!(image, "{byte:02x}").expect("text grows");
        }
        image.push('\n');
    }
    image
}
