//! What functions and aggregations are there, and what is each like? One table of facts.
//!
//! The parser, the type checker, the planner and the printer ask this table for signatures and flags; none of them
//! compares names. The computing itself is in the modules beside this one.
//!
//! ```
//! use ferula_promql::functions::FunctionId;
//!
//! let rate = FunctionId::by_name("rate").unwrap();
//! assert_eq!(rate, FunctionId::Rate);
//! assert!(rate.signature().allows_anchored && !rate.signature().keeps_name);
//! ```
//!
//! Sources: Prometheus 3.14, `docs/querying/functions.md`, and the reference in the project's specification.

pub(crate) mod absent;
pub(crate) mod classic;
pub(crate) mod date;
pub(crate) mod elementwise;
pub(crate) mod expressions;
pub(crate) mod extended;
pub(crate) mod histogram;
pub(crate) mod histogram_over_time;
pub(crate) mod info;
pub(crate) mod instant_rate;
pub(crate) mod labels;
pub(crate) mod note;
pub(crate) mod over_time;
pub(crate) mod rate;
pub(crate) mod rate_histogram;
pub(crate) mod registry;
pub(crate) mod sliding;
pub(crate) mod sort;
pub(crate) mod sum;
pub(crate) mod window;

pub use registry::{FunctionRegistry, HostArgument, HostContext, HostFunction, HostResult, HostSample, HostSeries};

use std::sync::Arc;

use crate::syntax::ast::ValueType::{self, Matrix, Scalar, String, Vector};
use crate::syntax::ast::{AggregateOp, Extension};

/// The facts about a function.
///
/// ```
/// use ferula_promql::functions::FunctionId;
/// use ferula_promql::syntax::ValueType;
///
/// let signature = FunctionId::Rate.signature();
/// assert_eq!((signature.name, signature.args), ("rate", [ValueType::Matrix].as_slice()));
/// assert!(!signature.keeps_name);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// As written in a query.
    pub name: &'static str,
    /// Types of the arguments. If the function is variadic, the last of these is the optional or repeated one.
    pub args: &'static [ValueType],
    /// Whether, and how often, the last argument may be left out or repeated.
    pub variadic: Variadic,
    /// Type of the result.
    pub returns: ValueType,
    /// Needs the feature `promql-experimental-functions`.
    pub experimental: bool,
    /// The series keep their metric name (and `__type__`, `__unit__`).
    pub keeps_name: bool,
    /// The result depends on the evaluation time, or on the query's own times, even where all selectors are pinned by
    /// `@`: such a call is not step-invariant.
    pub reads_time: bool,
    /// Takes a range selector with `anchored`.
    pub allows_anchored: bool,
    /// Takes a range selector with `smoothed`.
    pub allows_smoothed: bool,
}

/// How often the last argument of a function may appear.
///
/// ```
/// use ferula_promql::functions::{FunctionId, Variadic};
///
/// assert_eq!(FunctionId::Round.signature().variadic, Variadic::UpTo(1));
/// assert_eq!(FunctionId::Abs.signature().variadic, Variadic::No);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variadic {
    /// Exactly once.
    No,
    /// From never up to this often.
    UpTo(usize),
    /// Any number of times, never included.
    Any,
}

impl Signature {
    const fn keeps_name(mut self) -> Self {
        self.keeps_name = true;
        self
    }

    const fn reads_time(mut self) -> Self {
        self.reads_time = true;
        self
    }

    const fn experimental(mut self) -> Self {
        self.experimental = true;
        self
    }

    const fn any_number(mut self) -> Self {
        self.variadic = Variadic::Any;
        self
    }

    const fn up_to(mut self, times: usize) -> Self {
        self.variadic = Variadic::UpTo(times);
        self
    }

    const fn anchored(mut self) -> Self {
        self.allows_anchored = true;
        self
    }

    const fn smoothed(mut self) -> Self {
        self.allows_smoothed = true;
        self
    }
}

const fn takes(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Signature {
    Signature {
        name,
        args,
        variadic: Variadic::No,
        returns,
        experimental: false,
        keeps_name: false,
        reads_time: false,
        allows_anchored: false,
        allows_smoothed: false,
    }
}

/// Declares [`FunctionId`] and its table from rows sorted by name.
macro_rules! functions {
    ($($id:ident = $signature:expr;)*) => {
        /// A function of the language. Its facts: [`FunctionId::signature`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each is the function of that name; the table has the facts")]
        pub enum FunctionId { $($id,)* }

        impl FunctionId {
            /// Every function, by rising name.
            pub const ALL: &'static [FunctionId] = &[$(FunctionId::$id,)*];
        }

        const SIGNATURES: &[Signature] = &[$($signature,)*];
    };
}

functions! {
    Abs = takes("abs", &[Vector], Vector);
    Absent = takes("absent", &[Vector], Vector);
    AbsentOverTime = takes("absent_over_time", &[Matrix], Vector);
    Acos = takes("acos", &[Vector], Vector);
    Acosh = takes("acosh", &[Vector], Vector);
    Asin = takes("asin", &[Vector], Vector);
    Asinh = takes("asinh", &[Vector], Vector);
    Atan = takes("atan", &[Vector], Vector);
    Atanh = takes("atanh", &[Vector], Vector);
    AvgOverTime = takes("avg_over_time", &[Matrix], Vector);
    Ceil = takes("ceil", &[Vector], Vector);
    Changes = takes("changes", &[Matrix], Vector).anchored();
    Clamp = takes("clamp", &[Vector, Scalar, Scalar], Vector);
    ClampMax = takes("clamp_max", &[Vector, Scalar], Vector);
    ClampMin = takes("clamp_min", &[Vector, Scalar], Vector);
    Cos = takes("cos", &[Vector], Vector);
    Cosh = takes("cosh", &[Vector], Vector);
    CountOverTime = takes("count_over_time", &[Matrix], Vector);
    DayOfMonth = takes("day_of_month", &[Vector], Vector).reads_time().up_to(1);
    DayOfWeek = takes("day_of_week", &[Vector], Vector).reads_time().up_to(1);
    DayOfYear = takes("day_of_year", &[Vector], Vector).reads_time().up_to(1);
    DaysInMonth = takes("days_in_month", &[Vector], Vector).reads_time().up_to(1);
    Deg = takes("deg", &[Vector], Vector);
    Delta = takes("delta", &[Matrix], Vector).anchored().smoothed();
    Deriv = takes("deriv", &[Matrix], Vector);
    DoubleExponentialSmoothing = takes("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Vector).experimental();
    End = takes("end", &[], Scalar).reads_time().experimental();
    Exp = takes("exp", &[Vector], Vector);
    FirstOverTime = takes("first_over_time", &[Matrix], Vector).keeps_name();
    Floor = takes("floor", &[Vector], Vector);
    HistogramAvg = takes("histogram_avg", &[Vector], Vector);
    HistogramCount = takes("histogram_count", &[Vector], Vector);
    HistogramFraction = takes("histogram_fraction", &[Scalar, Scalar, Vector], Vector);
    HistogramQuantile = takes("histogram_quantile", &[Scalar, Vector], Vector);
    HistogramQuantiles = takes("histogram_quantiles", &[Vector, String, Scalar, Scalar], Vector).experimental().up_to(9);
    HistogramStddev = takes("histogram_stddev", &[Vector], Vector);
    HistogramStdvar = takes("histogram_stdvar", &[Vector], Vector);
    HistogramSum = takes("histogram_sum", &[Vector], Vector);
    Hour = takes("hour", &[Vector], Vector).reads_time().up_to(1);
    Idelta = takes("idelta", &[Matrix], Vector);
    Increase = takes("increase", &[Matrix], Vector).anchored().smoothed();
    Info = takes("info", &[Vector, Vector], Vector).keeps_name().experimental().up_to(1);
    Irate = takes("irate", &[Matrix], Vector);
    LabelJoin = takes("label_join", &[Vector, String, String, String], Vector).keeps_name().any_number();
    LabelReplace = takes("label_replace", &[Vector, String, String, String, String], Vector).keeps_name();
    LastOverTime = takes("last_over_time", &[Matrix], Vector).keeps_name();
    Ln = takes("ln", &[Vector], Vector);
    Log10 = takes("log10", &[Vector], Vector);
    Log2 = takes("log2", &[Vector], Vector);
    MadOverTime = takes("mad_over_time", &[Matrix], Vector).experimental();
    MaxOf = takes("max_of", &[Scalar, Scalar], Scalar).experimental();
    MaxOverTime = takes("max_over_time", &[Matrix], Vector);
    MinOf = takes("min_of", &[Scalar, Scalar], Scalar).experimental();
    MinOverTime = takes("min_over_time", &[Matrix], Vector);
    Minute = takes("minute", &[Vector], Vector).reads_time().up_to(1);
    Month = takes("month", &[Vector], Vector).reads_time().up_to(1);
    Pi = takes("pi", &[], Scalar);
    PredictLinear = takes("predict_linear", &[Matrix, Scalar], Vector).reads_time();
    PresentOverTime = takes("present_over_time", &[Matrix], Vector);
    QuantileOverTime = takes("quantile_over_time", &[Scalar, Matrix], Vector);
    Rad = takes("rad", &[Vector], Vector);
    Range = takes("range", &[], Scalar).reads_time().experimental();
    Rate = takes("rate", &[Matrix], Vector).anchored().smoothed();
    Resets = takes("resets", &[Matrix], Vector).anchored();
    Round = takes("round", &[Vector, Scalar], Vector).up_to(1);
    Scalar = takes("scalar", &[Vector], Scalar);
    Sgn = takes("sgn", &[Vector], Vector);
    Sin = takes("sin", &[Vector], Vector);
    Sinh = takes("sinh", &[Vector], Vector);
    Sort = takes("sort", &[Vector], Vector).keeps_name();
    SortByLabel = takes("sort_by_label", &[Vector, String], Vector).keeps_name().experimental().any_number();
    SortByLabelDesc = takes("sort_by_label_desc", &[Vector, String], Vector).keeps_name().experimental().any_number();
    SortDesc = takes("sort_desc", &[Vector], Vector).keeps_name();
    Sqrt = takes("sqrt", &[Vector], Vector);
    Start = takes("start", &[], Scalar).reads_time().experimental();
    StartTimestamp = takes("start_timestamp", &[Vector], Vector).reads_time().experimental();
    StddevOverTime = takes("stddev_over_time", &[Matrix], Vector);
    StdvarOverTime = takes("stdvar_over_time", &[Matrix], Vector);
    Step = takes("step", &[], Scalar).reads_time().experimental();
    SumOverTime = takes("sum_over_time", &[Matrix], Vector);
    Tan = takes("tan", &[Vector], Vector);
    Tanh = takes("tanh", &[Vector], Vector);
    Time = takes("time", &[], Scalar).reads_time();
    Timestamp = takes("timestamp", &[Vector], Vector).reads_time();
    TsOfFirstOverTime = takes("ts_of_first_over_time", &[Matrix], Vector).experimental();
    TsOfLastOverTime = takes("ts_of_last_over_time", &[Matrix], Vector).experimental();
    TsOfMaxOverTime = takes("ts_of_max_over_time", &[Matrix], Vector).experimental();
    TsOfMinOverTime = takes("ts_of_min_over_time", &[Matrix], Vector).experimental();
    Vector = takes("vector", &[Scalar], Vector);
    Year = takes("year", &[Vector], Vector).reads_time().up_to(1);
}

impl FunctionId {
    /// The function of that name (names are lower case), stable or experimental.
    pub fn by_name(name: &str) -> Option<Self> {
        let at = SIGNATURES.binary_search_by(|signature| signature.name.cmp(name)).ok()?;
        Self::ALL.get(at).copied()
    }

    /// The facts.
    pub fn signature(self) -> &'static Signature {
        &SIGNATURES[self as usize]
    }

    /// As written in a query.
    pub fn name(self) -> &'static str {
        self.signature().name
    }

    /// The functions that take a range selector with that extension, by rising name.
    pub fn allowing(extension: Extension) -> impl Iterator<Item = FunctionId> {
        Self::ALL.iter().copied().filter(move |function| function.allows(extension))
    }

    /// Whether the function takes a range selector with that extension.
    pub fn allows(self, extension: Extension) -> bool {
        match extension {
            Extension::Anchored => self.signature().allows_anchored,
            Extension::Smoothed => self.signature().allows_smoothed,
        }
    }
}

/// What a call names: a function of the language, or one that the host added.
///
/// ```
/// use ferula_promql::functions::{Function, FunctionId};
///
/// let function = Function::Builtin(FunctionId::Rate);
/// assert_eq!((function.name(), function.args_min(), function.args_max()), ("rate", 1, Some(1)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Function {
    /// A function of the language.
    Builtin(FunctionId),
    /// A function of the host.
    Host(Arc<HostSignature>),
}

/// The facts about a function of the host.
///
/// ```
/// use ferula_promql::functions::{FunctionRegistry, HostResult};
/// use ferula_promql::syntax::ValueType;
///
/// let mut registry = FunctionRegistry::new();
/// registry.register("answer", &[], ValueType::Scalar, |_, _| Ok(HostResult::Scalar(42.0)));
/// let signature = registry.signatures().next().unwrap();
/// assert_eq!((signature.name.as_str(), signature.returns), ("answer", ValueType::Scalar));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSignature {
    /// As written in a query: a legacy metric name that is no function of the language and no keyword.
    pub name: std::string::String,
    /// Types of the arguments. If the function is variadic, the last of these is the optional or repeated one.
    pub args: Vec<ValueType>,
    /// Whether, and how often, the last argument may be left out or repeated.
    pub variadic: Variadic,
    /// Type of the result: scalar or instant vector.
    pub returns: ValueType,
    /// The series keep their metric name.
    pub keeps_name: bool,
    /// The result depends on the evaluation time even where all selectors are pinned by `@`.
    pub reads_time: bool,
}

impl Function {
    /// As written in a query.
    pub fn name(&self) -> &str {
        match self {
            Self::Builtin(id) => id.name(),
            Self::Host(host) => &host.name,
        }
    }

    /// Types of the arguments as declared; see [`Signature::args`].
    pub fn args(&self) -> &[ValueType] {
        match self {
            Self::Builtin(id) => id.signature().args,
            Self::Host(host) => &host.args,
        }
    }

    /// Whether, and how often, the last argument may be left out or repeated.
    pub fn variadic(&self) -> Variadic {
        match self {
            Self::Builtin(id) => id.signature().variadic,
            Self::Host(host) => host.variadic,
        }
    }

    /// Type of the result.
    pub fn returns(&self) -> ValueType {
        match self {
            Self::Builtin(id) => id.signature().returns,
            Self::Host(host) => host.returns,
        }
    }

    /// Whether the series keep their metric name.
    pub fn keeps_name(&self) -> bool {
        match self {
            Self::Builtin(id) => id.signature().keeps_name,
            Self::Host(host) => host.keeps_name,
        }
    }

    /// Whether the result depends on the evaluation time even where all selectors are pinned by `@`.
    pub fn reads_time(&self) -> bool {
        match self {
            Self::Builtin(id) => id.signature().reads_time,
            Self::Host(host) => host.reads_time,
        }
    }

    /// The function of the language, if it is one.
    pub fn builtin(&self) -> Option<FunctionId> {
        match self {
            Self::Builtin(id) => Some(*id),
            Self::Host(_) => None,
        }
    }

    /// The type of the argument at `index`; `None` beyond the last of a function that is not variadic.
    pub fn arg(&self, index: usize) -> Option<ValueType> {
        let args = self.args();
        match self.variadic() {
            Variadic::No => args.get(index).copied(),
            Variadic::UpTo(_) | Variadic::Any => args.get(index).or(args.last()).copied(),
        }
    }

    /// The fewest arguments of a call.
    pub fn args_min(&self) -> usize {
        match self.variadic() {
            Variadic::No => self.args().len(),
            Variadic::UpTo(_) | Variadic::Any => self.args().len().saturating_sub(1),
        }
    }

    /// The most arguments of a call, if there is a limit.
    pub fn args_max(&self) -> Option<usize> {
        match self.variadic() {
            Variadic::No => Some(self.args().len()),
            Variadic::UpTo(times) => Some(self.args_min() + times),
            Variadic::Any => None,
        }
    }
}

/// The facts about an aggregation.
///
/// ```
/// use ferula_promql::syntax::ast::AggregateOp;
///
/// assert!(AggregateOp::Topk.signature().selects);
/// assert!(AggregateOp::Sum.signature().param.is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AggregateSignature {
    /// As written in a query.
    pub name: &'static str,
    /// The type of the first of two arguments, for those that take two.
    pub param: Option<ValueType>,
    /// Needs the feature `promql-experimental-functions`.
    pub experimental: bool,
    /// Chooses among the input's series and keeps their labels, instead of making one series per group.
    pub selects: bool,
}

impl AggregateOp {
    /// Every aggregation.
    pub const ALL: &'static [AggregateOp] = &[
        Self::Sum,
        Self::Avg,
        Self::Count,
        Self::Min,
        Self::Max,
        Self::Group,
        Self::Stddev,
        Self::Stdvar,
        Self::Topk,
        Self::Bottomk,
        Self::CountValues,
        Self::Quantile,
        Self::Limitk,
        Self::LimitRatio,
    ];

    /// The facts.
    pub const fn signature(self) -> AggregateSignature {
        const fn plain(name: &'static str) -> AggregateSignature {
            AggregateSignature { name, param: None, experimental: false, selects: false }
        }
        const fn with(name: &'static str, param: ValueType) -> AggregateSignature {
            AggregateSignature { name, param: Some(param), experimental: false, selects: false }
        }
        match self {
            Self::Sum => plain("sum"),
            Self::Avg => plain("avg"),
            Self::Count => plain("count"),
            Self::Min => plain("min"),
            Self::Max => plain("max"),
            Self::Group => plain("group"),
            Self::Stddev => plain("stddev"),
            Self::Stdvar => plain("stdvar"),
            Self::Topk => AggregateSignature { selects: true, ..with("topk", Scalar) },
            Self::Bottomk => AggregateSignature { selects: true, ..with("bottomk", Scalar) },
            Self::CountValues => with("count_values", String),
            Self::Quantile => with("quantile", Scalar),
            Self::Limitk => AggregateSignature { selects: true, experimental: true, ..with("limitk", Scalar) },
            Self::LimitRatio => AggregateSignature { selects: true, experimental: true, ..with("limit_ratio", Scalar) },
        }
    }

    /// As written in a query.
    pub fn name(self) -> &'static str {
        self.signature().name
    }

    /// The aggregation of that name, in any case of letters.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|op| op.name().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_found_by_name() {
        assert!(SIGNATURES.is_sorted_by(|a, b| a.name < b.name));
        for &function in FunctionId::ALL {
            assert_eq!(FunctionId::by_name(function.name()), Some(function));
        }
        assert_eq!(FunctionId::by_name("holt_winters"), None);
    }

    #[test]
    fn variadic_counts() {
        let counts = |name: &str| {
            let function = Function::Builtin(FunctionId::by_name(name).expect("known"));
            (function.args_min(), function.args_max())
        };
        assert_eq!(counts("round"), (1, Some(2)));
        assert_eq!(counts("label_join"), (3, None));
        assert_eq!(counts("histogram_quantiles"), (3, Some(12)));
        assert_eq!(counts("hour"), (0, Some(1)));
    }
}
