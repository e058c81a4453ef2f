//! A real Prometheus beside this server: the same samples, requests and flags must get the same answers.

mod federate;
mod queries;
mod requests;
