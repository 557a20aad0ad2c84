//! Blind changes of an input, from a seed: what the smoke run does where no coverage guides it.

use fastrand::Rng;

/// Numbers at which decoders go wrong.
const EDGES: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    u64::MAX >> 1,
    u64::MAX - 1,
    u64::MAX,
];

/// Changes `input` in one to six places; `other` is another input, to take pieces from. At most `longest` bytes are left.
pub fn change(input: &mut Vec<u8>, other: &[u8], longest: usize, random: &mut Rng) {
    for _ in 0..random.usize(1..=6) {
        match random.u8(0..8) {
            0 => flip(input, random),
            1 => write_edge(input, random),
            2 => add_small(input, random),
            3 => remove(input, random),
            4 => repeat(input, random),
            5 => insert(input, random),
            6 => splice(input, other, random),
            _ => copy_over(input, random),
        }
    }
    input.truncate(longest);
}

fn flip(input: &mut [u8], random: &mut Rng) {
    if let Some(at) = place(input, random) {
        input[at] ^= 1 << random.u8(0..8);
    }
}

/// Writes a number of 1, 2, 4 or 8 bytes, in either byte order.
fn write_edge(input: &mut [u8], random: &mut Rng) {
    let Some(at) = place(input, random) else { return };
    let edge = EDGES[random.usize(..EDGES.len())];
    let width = (1 << random.usize(0..4)).min(input.len() - at);
    let (little, big) = (edge.to_le_bytes(), edge.to_be_bytes());
    let bytes = if random.bool() { &little[..width] } else { &big[8 - width..] };
    input[at..at + width].copy_from_slice(bytes);
}

fn add_small(input: &mut [u8], random: &mut Rng) {
    if let Some(at) = place(input, random) {
        input[at] = input[at].wrapping_add(random.u8(1..=16)).wrapping_sub(8);
    }
}

fn remove(input: &mut Vec<u8>, random: &mut Rng) {
    let range = range(input, random);
    input.drain(range);
}

fn repeat(input: &mut Vec<u8>, random: &mut Rng) {
    let piece = input[range(input, random)].to_vec();
    let at = random.usize(0..=input.len());
    input.splice(at..at, piece);
}

fn insert(input: &mut Vec<u8>, random: &mut Rng) {
    let piece: Vec<u8> = (0..random.usize(1..=16)).map(|_| random.u8(..)).collect();
    let at = random.usize(0..=input.len());
    input.splice(at..at, piece);
}

fn splice(input: &mut Vec<u8>, other: &[u8], random: &mut Rng) {
    let (piece, into) = (range(other, random), range(input, random));
    input.splice(into, other[piece].iter().copied());
}

fn copy_over(input: &mut [u8], random: &mut Rng) {
    let from = range(input, random);
    let to = random.usize(0..=input.len() - from.len());
    input.copy_within(from, to);
}

fn place(input: &[u8], random: &mut Rng) -> Option<usize> {
    (!input.is_empty()).then(|| random.usize(..input.len()))
}

/// A short piece, mostly.
fn range(input: &[u8], random: &mut Rng) -> std::ops::Range<usize> {
    let begin = random.usize(0..=input.len());
    let most = if random.u8(..) < 32 { input.len() } else { 32 };
    begin..begin + random.usize(0..=most.min(input.len() - begin))
}
