//! Binary operators: what do two samples make, and which samples meet?
//!
//! [`element`] combines two samples; [`scalar`] does so for a vector and a scalar, [`join`] for pairs of series,
//! [`set`] for sets of series. [`matching`] says which series may meet.

pub(crate) mod element;
pub(crate) mod join;
pub(crate) mod matching;
pub(crate) mod scalar;
pub(crate) mod set;
