//! Functions of the host: closures over the values of PromQL.
//!
//! A host function sees one step at a time: scalars as numbers, instant vectors as samples, range vectors as series of
//! samples. It answers a scalar or an instant vector. That is slower than what is built in, and needs no knowledge of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ferula_model::{Labels, Timestamp, Value};

use super::{Function, FunctionId, HostSignature, Variadic};
use crate::syntax::ast::ValueType;

/// An argument of a host function at one step.
///
/// ```
/// use ferula_model::Timestamp;
/// use ferula_promql::functions::{FunctionRegistry, HostArgument, HostResult};
/// use ferula_promql::syntax::ValueType;
/// use ferula_promql::testing::MemoryStorage;
/// use ferula_promql::{Engine, EngineOptions, QueryOptions};
///
/// let mut options = EngineOptions::default();
/// options.functions.register("half", &[ValueType::Scalar], ValueType::Scalar, |_, args| match args {
///     [HostArgument::Scalar(number)] => Ok(HostResult::Scalar(number / 2.0)),
///     _ => Err("one number, please".to_owned()),
/// });
/// let engine = Engine::new(options);
/// let answer = engine.instant(&MemoryStorage::new(), "half(7)", Timestamp(5_000), &QueryOptions::default())?;
/// assert_eq!(answer.scalar()?, 3.5);
/// # Ok::<(), ferula_promql::QueryError>(())
/// ```
#[derive(Clone, Debug)]
pub enum HostArgument {
    /// A number.
    Scalar(f64),
    /// A text, as written in the query.
    String(String),
    /// One sample for each series.
    Vector(Vec<HostSample>),
    /// The samples of each series within the window, by rising time.
    Matrix(Vec<HostSeries>),
}

/// One sample of an instant vector.
///
/// ```
/// use ferula_model::{Labels, Value};
/// use ferula_promql::functions::{HostResult, HostSample};
///
/// let sample = HostSample { labels: Labels::from_pairs([("host", "a")]), value: Value::Float(1.0) };
/// let result = HostResult::Vector(vec![sample]);
/// assert!(matches!(result, HostResult::Vector(samples) if samples.len() == 1));
/// ```
#[derive(Clone, Debug)]
pub struct HostSample {
    /// The series.
    pub labels: Labels,
    /// Its value.
    pub value: Value,
}

/// One series of a range vector.
///
/// ```
/// use ferula_model::{Labels, Timestamp, Value};
/// use ferula_promql::functions::HostSeries;
///
/// let series = HostSeries { labels: Labels::empty(), samples: vec![(Timestamp(0), Value::Float(1.0))] };
/// assert_eq!(series.samples.len(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct HostSeries {
    /// The series.
    pub labels: Labels,
    /// Its samples by rising time.
    pub samples: Vec<(Timestamp, Value)>,
}

/// What a host function answers.
///
/// ```
/// use ferula_promql::functions::HostResult;
///
/// let answer = |found: Option<f64>| found.map(HostResult::Scalar).ok_or("nothing found".to_owned());
/// assert!(matches!(answer(Some(1.0)), Ok(HostResult::Scalar(_))));
/// assert!(answer(None).is_err());
/// ```
#[derive(Clone, Debug)]
pub enum HostResult {
    /// A number.
    Scalar(f64),
    /// One sample for each series; labels must differ.
    Vector(Vec<HostSample>),
}

/// What a host function is told besides its arguments.
///
/// ```
/// use ferula_model::Timestamp;
/// use ferula_promql::functions::{FunctionRegistry, HostResult};
/// use ferula_promql::syntax::ValueType;
/// use ferula_promql::testing::MemoryStorage;
/// use ferula_promql::{Engine, EngineOptions, QueryOptions};
///
/// let mut options = EngineOptions::default();
/// options.functions.register("now_millis", &[], ValueType::Scalar, |context, _| {
///     Ok(HostResult::Scalar(context.at.as_millis() as f64))
/// });
/// let engine = Engine::new(options);
/// let answer = engine.instant(&MemoryStorage::new(), "now_millis()", Timestamp(5_000), &QueryOptions::default())?;
/// assert_eq!(answer.scalar()?, 5_000.0);
/// # Ok::<(), ferula_promql::QueryError>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct HostContext {
    /// The moment of the step.
    pub at: Timestamp,
}

/// A host function: arguments at one step to a result, or an error text that ends the query.
///
/// ```
/// use ferula_promql::functions::{HostFunction, HostResult};
///
/// let answer: Box<HostFunction> = Box::new(|_, _| Ok(HostResult::Scalar(42.0)));
/// drop(answer);
/// ```
pub type HostFunction = dyn Fn(&HostContext, &[HostArgument]) -> Result<HostResult, String> + Send + Sync;

/// The functions a host adds to the language.
///
/// ```
/// use ferula_model::Value;
/// use ferula_promql::functions::{FunctionRegistry, HostArgument, HostResult};
/// use ferula_promql::syntax::ValueType;
///
/// let mut registry = FunctionRegistry::new();
/// registry.register("double", &[ValueType::Vector], ValueType::Vector, |_, args| {
///     let [HostArgument::Vector(samples)] = args else { return Err("one vector, please".to_owned()) };
///     let mut samples = samples.clone();
///     for sample in &mut samples {
///         if let Value::Float(value) = &mut sample.value {
///             *value *= 2.0;
///         }
///     }
///     Ok(HostResult::Vector(samples))
/// });
/// assert!(registry.get("double").is_some());
/// ```
#[derive(Clone, Default)]
pub struct FunctionRegistry {
    functions: HashMap<String, (Arc<HostSignature>, Arc<HostFunction>)>,
}

impl FunctionRegistry {
    /// No functions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function with a fixed number of arguments that drops the metric name. A name of the language, or one that
    /// is no identifier, is not taken: the answer says whether it was.
    pub fn register(
        &mut self,
        name: &str,
        args: &[ValueType],
        returns: ValueType,
        function: impl Fn(&HostContext, &[HostArgument]) -> Result<HostResult, String> + Send + Sync + 'static,
    ) -> bool {
        let signature = HostSignature {
            name: name.to_owned(),
            args: args.to_vec(),
            variadic: Variadic::No,
            returns,
            keeps_name: false,
            reads_time: true,
        };
        self.register_with(signature, function)
    }

    /// As [`register`](Self::register), with every fact chosen.
    pub fn register_with(
        &mut self,
        signature: HostSignature,
        function: impl Fn(&HostContext, &[HostArgument]) -> Result<HostResult, String> + Send + Sync + 'static,
    ) -> bool {
        let name = &signature.name;
        let answers = matches!(signature.returns, ValueType::Scalar | ValueType::Vector);
        if !answers || FunctionId::by_name(name).is_some() || !ferula_model::is_legacy_label_name(name) {
            return false;
        }
        self.functions.insert(name.clone(), (Arc::new(signature), Arc::new(function)));
        true
    }

    /// The function of that name, as the parser needs it.
    pub fn get(&self, name: &str) -> Option<Function> {
        self.functions.get(name).map(|(signature, _)| Function::Host(Arc::clone(signature)))
    }

    /// The signatures of all functions.
    pub fn signatures(&self) -> impl Iterator<Item = &Arc<HostSignature>> {
        self.functions.values().map(|(signature, _)| signature)
    }

    pub(crate) fn implementation(&self, name: &str) -> Option<&Arc<HostFunction>> {
        self.functions.get(name).map(|(_, function)| function)
    }
}

impl fmt::Debug for FunctionRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.functions.keys()).finish()
    }
}
