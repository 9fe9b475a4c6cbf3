//! Owns the targets of blocks with magic and version: chunk header, footer, hint, shared page.
//!
//! Promises: whatever decodes encodes to just the bytes that were read, so a block has one form.
//! Blocks that are too short are tried as they are, and filled up with zeros.

use super::LOG;
use crate::disk::sim::SimDisk;
use crate::disk::{Access, Disk};
use crate::format::footer::Footer;
use crate::format::header::ChunkHeader;
use crate::format::hint::Hint;
use crate::format::mend;
use crate::format::stats::{IDENTITY_WORDS, Identity, SEQUENCE};
use crate::stage::page::{PageReader, STATS};

const PAGE: usize = 4096;

fn filled(data: &[u8]) -> Vec<u8> {
    let mut block = data.to_vec();
    block.resize(PAGE.max(data.len()), 0);
    block
}

/// Decodes a chunk header.
pub fn chunk_header(data: &[u8]) {
    assert!(data.len() >= PAGE || ChunkHeader::decode(data).is_err(), "a header is a page");
    let block = filled(data);
    match ChunkHeader::decode(&block) {
        Ok(header) => {
            let mut again = Vec::new();
            header.encode(&mut again);
            assert_eq!(again, block[..PAGE], "{header:?}");
        }
        Err(flaw) => _ = flaw.describe(),
    }
}

/// Mends the checksum of a chunk header.
pub fn mend_chunk_header(data: &mut [u8], _: u32) {
    mend::page(data, PAGE, *b"PCHCHUNK");
}

/// Decodes a footer.
pub fn footer(data: &[u8]) {
    assert!(data.len() >= PAGE || Footer::decode(data).is_err(), "a footer is a page");
    let block = filled(data);
    match Footer::decode(&block) {
        Ok(footer) => {
            assert_eq!(footer.encode(), block[..PAGE], "{footer:?}");
            assert!(footer.end.data_end <= footer.offset() && footer.offset() < footer.file_size);
            for (index, section) in footer.sections.iter().enumerate() {
                let range = section.offset..section.offset + section.length;
                assert!(range.start >= footer.end.data_end && range.end <= footer.offset());
                let others = footer.sections[..index].iter();
                let are_apart = |other: &crate::format::footer::Section| {
                    other.kind != section.kind
                        && (other.end() <= range.start
                            || range.end <= other.offset
                            || range.is_empty()
                            || other.length == 0)
                };
                assert!(others.clone().all(are_apart), "{footer:?}");
            }
            let _ = (footer.end_position(), footer.section(1));
        }
        Err(flaw) => _ = flaw.describe(),
    }
}

/// Mends the checksum of a footer.
pub fn mend_footer(data: &mut [u8], _: u32) {
    mend::page(data, PAGE, *b"PCHFOOTR");
}

/// Decodes a file of hints.
pub fn hint(data: &[u8]) {
    let any = Hint::newest_of_any(data);
    let own = Hint::newest(data, LOG);
    // Bytes that a short file lacks are zeros as soon as it grows.
    let mut file = data.to_vec();
    file.resize(data.len().next_multiple_of(512), 0);
    assert!(
        own.is_none_or(|own| own.log == LOG && any.is_some_and(|any| any.sequence >= own.sequence))
    );
    for hint in any.into_iter().chain(own) {
        let (again, _) = hint.encode();
        let is_slot = file.chunks(512).any(|slot| slot.starts_with(&again));
        assert!(is_slot, "{hint:?} stands in no slot");
    }
}

/// Mends the checksums of both slots of a hint.
pub fn mend_hint(data: &mut [u8], seed: u32) {
    if seed & 0x100 != 0 {
        mend::hint(data, LOG, None);
    }
    for slot in data.chunks_mut(512).filter(|slot| slot.len() >= 88) {
        mend::page(&mut slot[..88], 88, *b"PCHHINTS");
    }
}

/// Reads a shared page.
pub fn stats_page(data: &[u8]) {
    let (words, _) = data.as_chunks::<8>();
    let word = |index: usize| words.get(index).map_or(0, |word| u64::from_le_bytes(*word));
    let identity: [u64; IDENTITY_WORDS] = std::array::from_fn(word);
    let decoded = Identity::decode(&identity);
    match decoded {
        Ok(known) => assert_eq!(known.encode(), identity, "{known:?}"),
        Err(flaw) => _ = flaw.describe(),
    }
    let disk = SimDisk::new();
    let page = disk.page(STATS, Access::Write).expect("memory gives pages");
    let origin = page.origin().expect("memory knows its pages");
    (0..words.len().min(page.length())).for_each(|index| page.store(index, word(index)));
    let reader = PageReader::open(&disk).expect("the page is there");
    let _ = (reader.state(), reader.heartbeat(), reader.file(), reader.counted());
    let told = reader.read(LOG);
    let is_trusted = decoded.is_ok_and(|known| {
        known.log == LOG && known.boot == origin.boot && known.file == origin.file
    }) && word(SEQUENCE).is_multiple_of(2);
    assert_eq!(told.is_some(), is_trusted, "{told:?}");
}

/// Mends the identity of a shared page; often into that of the page which the target makes.
pub fn mend_stats_page(data: &mut [u8], seed: u32) {
    if seed & 0x300 != 0
        && let Some(fields) = data.get_mut(16..56)
    {
        fields[..16].copy_from_slice(LOG.as_bytes());
        fields[16..32].copy_from_slice(uuid::Uuid::from_u128(1).as_bytes());
        fields[32..].fill(0);
    }
    if let Some(identity) = data.get_mut(..80) {
        mend::page(identity, 80, *b"PCHSTATS");
    }
}
