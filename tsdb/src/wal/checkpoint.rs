//! Checkpoints: what of the sealed segments is still needed?
