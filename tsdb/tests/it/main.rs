//! Tests of the storage engine through its public door.
