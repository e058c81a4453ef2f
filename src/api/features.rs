//! `/features`: what can a client rely on?
//!
//! `{"category":{"feature":true}}`; what is known and switched off is false. Categories that nobody fills are left out.

use std::collections::BTreeMap;

use ferula_promql::functions::FunctionId;
use ferula_promql::syntax::ast::AggregateOp;

use super::error::ApiError;
use super::response::Response;
use super::{Api, json};

/// All features by category, both sorted.
pub(super) fn answer(api: &Api) -> Result<Response, ApiError> {
    let features = api.engine.options().dialect.features;
    let mut all: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
    let mut say = |category, name, on| {
        all.entry(category).or_default().insert(name, on);
    };
    for function in FunctionId::ALL {
        let stable = !function.signature().experimental;
        say("promql_functions", function.name(), stable || features.experimental_functions);
    }
    for aggregation in AggregateOp::ALL {
        let stable = !aggregation.signature().experimental;
        say("promql_operators", aggregation.name(), stable || features.experimental_functions);
    }
    for operator in
        ["+", "-", "*", "/", "%", "^", "==", "!=", "<", "<=", ">", ">=", "and", "or", "unless", "atan2", "@", "offset"]
    {
        say("promql_operators", operator, true);
    }
    for (name, on) in [
        ("anchored", features.extended_range_selectors),
        ("smoothed", features.extended_range_selectors),
        ("fill", features.fill_modifiers),
        ("at_modifier", true),
        ("negative_offset", true),
        ("subqueries", true),
        ("duration_expr", true),
        ("delayed_name_removal", api.engine.options().delayed_name_removal),
        ("per_step_stats", api.engine.options().per_step_statistics),
        ("type_and_unit_labels", api.engine.options().type_and_unit_labels),
        ("use_start_timestamps", api.engine.options().use_start_timestamps),
    ] {
        say("promql", name, on);
    }
    for name in ["static", "file", "http"] {
        say("service_discovery_providers", name, true);
    }
    for (name, on) in [("admin", api.admin.is_some()), ("exclude_alerts", true), ("query_stats", true)] {
        say("api", name, on);
    }
    let mut out = Vec::new();
    json::object(&mut out, |o| {
        for (category, features) in &all {
            o.with(category, |out| {
                json::object(out, |o| {
                    for (name, on) in features {
                        // Names are shown as they are, `<` too.
                        o.plain_boolean(name, *on);
                    }
                });
            });
        }
    });
    Ok(Response::data(&out))
}
