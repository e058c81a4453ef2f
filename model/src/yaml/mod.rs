//! YAML as Prometheus' configuration reads it: strict, with a line number for every complaint, all complaints at once.
//!
//! ```text
//!  text --parse--> Node --Decode--> your struct --Encode--> Node --to_string--> text
//! ```
//!
//! A struct says its keys once for each direction:
//!
//! ```
//! use std::time::Duration;
//! use ferula_model::Secret;
//! use ferula_model::yaml::{self, Encode, Fields, Node, Struct};
//!
//! #[derive(Debug)]
//! struct Job { name: String, every: Duration, token: Option<Secret> }
//!
//! impl Default for Job {
//!     fn default() -> Self {
//!         Self { name: String::new(), every: Duration::from_secs(60), token: None }
//!     }
//! }
//!
//! impl Struct for Job {
//!     const TYPE: &'static str = "config.plain";
//!     fn fields(&mut self, fields: &mut Fields<'_>) {
//!         fields.set("job_name", &mut self.name);
//!         fields.set("scrape_interval", &mut self.every);
//!         fields.set("token", &mut self.token);
//!     }
//!     fn check(&mut self) -> Result<(), String> {
//!         if self.name.is_empty() { Err("job_name is empty".to_owned()) } else { Ok(()) }
//!     }
//! }
//!
//! impl Encode for Job {
//!     fn encode(&self) -> Node {
//!         Node::mapping()
//!             .put("job_name", &self.name)
//!             .put("scrape_interval", &self.every)
//!             .put_some("token", &self.token)
//!     }
//! }
//!
//! let job: Job = yaml::decode("job_name: api\nscrape_interval:\ntoken: hunter2\n").unwrap();
//! assert_eq!(yaml::to_string(&job), "job_name: api\nscrape_interval: 1m\ntoken: <secret>\n");
//!
//! let error = yaml::decode::<Job>("job_name: [a]\nscrape_intervall: 1m\n").unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!seq into string\n  \
//!      line 2: field scrape_intervall not found in type config.plain"
//! );
//! ```
//!
//! # Rules
//!
//! An absent key and a null (`key:`, `~`, `null`) both leave the default. Unknown keys and keys that come twice are errors.
//! Booleans are YAML 1.1's (`yes`, `on`), integers may have underscores and `0x`, `0o`, `0b` or `0` in front, and where text
//! is wanted, any scalar is text. `<<` merges mappings. Wording follows go-yaml 2, which Prometheus uses.
//!
//! # Limits
//!
//! A document has at most a million nodes with all aliases expanded, and nests at most 255 deep.

mod decode;
mod emit;
mod error;
mod fields;
mod load;
mod node;
mod scalar;
#[cfg(test)]
mod tests;
mod types;

pub use decode::{Context, Decode, decode, decode_node, decode_with};
pub use emit::{Encode, to_string, write};
pub use error::{Trouble, YamlError};
pub use fields::{Fields, Struct};
pub use load::{parse, parse_first};
pub use node::{Kind, Node};
pub use types::{ByteSize, ByteSizeError};
