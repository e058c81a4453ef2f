//! `storage`: how samples are stored.

use std::time::Duration;

use ferula_model::yaml::{ByteSize, Context, Decode, Encode, Fields, Node, Struct};

/// The section `storage`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StorageConfig {
    /// How late a sample may be; `None` if the file says nothing.
    pub out_of_order_window: Option<Duration>,
    /// What is kept; `None` if the file says nothing.
    pub retention: Option<RetentionConfig>,
    /// How floats without start timestamps are encoded; those with one are in `Xor2` whatever it says.
    pub float_encoding: Option<ChunkEncoding>,
    /// At which share of stale series the head is compacted early; not acted on yet.
    pub stale_series_compaction_threshold: f64,
    /// How many exemplars are kept; `None` if the file says nothing.
    pub exemplars_max: Option<u64>,
}

/// `storage.tsdb.retention`; what is zero is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RetentionConfig {
    /// How long.
    pub time: Duration,
    /// How many bytes.
    pub size: ByteSize,
    /// How much of the disk, in percent.
    pub percentage: f64,
}

/// Encodings of chunks of floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkEncoding {
    /// As all of Prometheus' releases read it.
    Xor,
    /// Stale markers cost less; 3.11 and newer read it.
    Xor2,
}

impl StorageConfig {
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.stale_series_compaction_threshold > 0.0 {
            warnings.push("storage.tsdb.stale_series_compaction_threshold has no effect: not supported yet".to_owned());
        }
        warnings
    }
}

impl Struct for StorageConfig {
    const TYPE: &'static str = "config.StorageConfig";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        let mut tsdb = Tsdb::default();
        fields.set("tsdb", &mut tsdb);
        let mut exemplars = Exemplars::default();
        fields.set("exemplars", &mut exemplars);
        self.out_of_order_window = tsdb.window;
        self.retention = tsdb.retention;
        self.float_encoding = tsdb.encoding.floats;
        self.stale_series_compaction_threshold = tsdb.stale_threshold;
        self.exemplars_max = exemplars.max;
    }
}

#[derive(Default)]
struct Tsdb {
    window: Option<Duration>,
    retention: Option<RetentionConfig>,
    encoding: Encoding,
    stale_threshold: f64,
}

impl Struct for Tsdb {
    const TYPE: &'static str = "config.TSDBConfig";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("out_of_order_time_window", &mut self.window);
        fields.set("stale_series_compaction_threshold", &mut self.stale_threshold);
        fields.set("chunk_encoding", &mut self.encoding);
        let mut retention = RetentionConfig::default();
        if fields.set("retention", &mut retention) {
            self.retention = Some(retention);
        }
    }

    fn check(&mut self) -> Result<(), String> {
        if (0.0..=1.0).contains(&self.stale_threshold) {
            return Ok(());
        }
        Err(format!("stale_series_compaction_threshold must be between 0 and 1, got {}", self.stale_threshold))
    }
}

#[derive(Default)]
struct Encoding {
    floats: Option<ChunkEncoding>,
}

impl Struct for Encoding {
    const TYPE: &'static str = "config.ChunkEncodingConfig";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("floats", &mut self.floats);
    }
}

impl Decode for ChunkEncoding {
    fn decode(node: &Node, context: &mut Context) -> Option<Self> {
        match String::decode(node, context)?.as_str() {
            "xor" => Some(Self::Xor),
            "xor2" => Some(Self::Xor2),
            other => {
                let other = ferula_model::go_quote(other);
                context.trouble(node, format!("invalid float chunk encoding {other}, must be \"xor\" or \"xor2\""));
                None
            }
        }
    }
}

impl Struct for RetentionConfig {
    const TYPE: &'static str = "config.TSDBRetentionConfig";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        fields.set("time", &mut self.time);
        fields.set("size", &mut self.size);
        fields.set("percentage", &mut self.percentage);
    }

    fn check(&mut self) -> Result<(), String> {
        if (0.0..=100.0).contains(&self.percentage) {
            return Ok(());
        }
        Err(format!("storage.tsdb.retention.percentage must be between 0 and 100, got {}", self.percentage))
    }
}

#[derive(Default)]
struct Exemplars {
    max: Option<u64>,
}

impl Struct for Exemplars {
    const TYPE: &'static str = "config.ExemplarsConfig";

    fn fields(&mut self, fields: &mut Fields<'_>) {
        // A negative number keeps none, as upstream.
        let mut max: Option<i64> = None;
        fields.set("max_exemplars", &mut max);
        self.max = max.map(|max| u64::try_from(max).unwrap_or(0));
    }
}

impl Encode for StorageConfig {
    fn encode(&self) -> Node {
        let mut tsdb = Node::mapping();
        if let Some(window) = &self.out_of_order_window {
            tsdb = tsdb.put_some("out_of_order_time_window", window);
        }
        tsdb = tsdb.put_some("stale_series_compaction_threshold", &self.stale_series_compaction_threshold);
        if let Some(encoding) = self.float_encoding {
            let name = if encoding == ChunkEncoding::Xor { "xor" } else { "xor2" };
            tsdb = tsdb.put("chunk_encoding", &Node::mapping().put("floats", &Node::text(name)));
        }
        if let Some(retention) = &self.retention {
            let node = Node::mapping()
                .put_some("time", &retention.time)
                .put_some("size", &retention.size)
                .put_some("percentage", &retention.percentage);
            tsdb = tsdb.put_some("retention", &node);
        }
        let mut node = Node::mapping().put_some("tsdb", &tsdb);
        if let Some(max) = self.exemplars_max {
            node = node.put("exemplars", &Node::mapping().put("max_exemplars", &max));
        }
        node
    }
}
