//! Targets: discovery, relabelling, scheduling, fetching and ingesting.
