//! `info`: which further labels does the target have?

use ferula_model::StepGrid;

use crate::error::QueryError;
use crate::eval::BoxOperator;
use crate::eval::build::Builder;
use crate::plan::NodeId;

pub(crate) fn info<'q>(
    builder: &mut Builder<'q>,
    _: NodeId,
    args: &'q [NodeId],
    grid: StepGrid,
) -> Result<BoxOperator<'q>, QueryError> {
    let _ = (builder, args, grid);
    Err(QueryError::execution("info() is not there yet"))
}
