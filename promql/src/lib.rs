//! PromQL: parser, type checker, planner and evaluator over any storage.
