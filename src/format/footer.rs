//! Owns the footer of a sealed chunk.
