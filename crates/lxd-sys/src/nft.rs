//! Atomic batches for nft.
