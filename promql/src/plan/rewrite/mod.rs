//! Rewrites: what need not be read?
//!
//! Lowering has already made equal nodes one and pinned what is the same at each step. What is left tells selectors
//! about their surroundings.
//!
//! - [`hints`]: which function looks at the samples. - [`statistics`]: where only count and sum are looked at.
//! - [`push_down`]: which labels the other side of a join will have. - [`projection`]: which labels are looked at.

mod hints;
mod projection;
mod push_down;
mod statistics;

use super::Plan;

/// Applies all rewrites.
pub(crate) fn rewrite(plan: &mut Plan) {
    hints::rewrite(plan);
    statistics::rewrite(plan);
    push_down::rewrite(plan);
    projection::rewrite(plan);
}
