//! The integration tests of `ferula-alerting`.

mod bed;
mod corpora;
mod delivery;
mod files;
mod manager;
mod peers;
mod reload;
mod server;
