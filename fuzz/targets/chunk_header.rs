//! Chunk headers.

#![no_main]

paperchase_fuzz::target!(chunk_header, mend_chunk_header);
