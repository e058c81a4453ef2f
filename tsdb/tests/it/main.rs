//! Tests of the storage engine through its public door.

#![allow(clippy::unwrap_used)]

mod blocks;
mod model;
