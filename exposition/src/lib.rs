//! Exposition formats: metrics from bytes, bytes from metrics, and the registry.
