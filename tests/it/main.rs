//! The facade from outside: programs started, requests sent, answers read.

mod crash;
mod peers;
mod program;
#[path = "../support/write_request.rs"]
mod write_request;
