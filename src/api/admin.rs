//! `/admin/tsdb/...`: deleting, cleaning up and snapshots, if the host allows them.

use ferula_model::{Matcher, TimeRange};

use super::error::{ApiError, ErrorKind};
use super::response::Response;
use super::series::{any_selectors, time_range};
use super::{Api, Request, json};

/// A storage that can be tidied up. Errors are shown to the client.
pub trait Admin: Send + Sync {
    /// Deletes the samples in `range` of series that satisfy all matchers.
    ///
    /// # Errors
    ///
    /// What the storage says.
    fn delete_series(&self, range: TimeRange, matchers: &[Matcher]) -> Result<(), Box<dyn std::error::Error>>;

    /// Gives back the space of what was deleted.
    ///
    /// # Errors
    ///
    /// What the storage says.
    fn clean_tombstones(&self) -> Result<(), Box<dyn std::error::Error>>;

    /// Copies what is stored into a new folder and gives its name.
    ///
    /// # Errors
    ///
    /// What the storage says.
    fn snapshot(&self, skip_head: bool) -> Result<String, Box<dyn std::error::Error>>;
}

/// One of the calls below `/admin/tsdb`.
pub(super) fn answer(api: &Api, request: &Request, call: &str) -> Result<Response, ApiError> {
    let Some(admin) = &api.admin else {
        return Err(ApiError::new(ErrorKind::Unavailable, "admin APIs disabled"));
    };
    match call {
        "delete_series" => {
            if request.params.all("match[]").next().is_none() {
                return Err(ApiError::bad_data("no match[] parameter provided"));
            }
            let range = time_range(request)?;
            let selectors = any_selectors(request).map_err(|error| ApiError::parameter("match[]", error))?;
            for matchers in &selectors {
                admin.delete_series(range, matchers).map_err(trouble)?;
            }
            Ok(Response::no_content())
        }
        "clean_tombstones" => {
            admin.clean_tombstones().map_err(trouble)?;
            Ok(Response::no_content())
        }
        "snapshot" => {
            let name =
                admin.snapshot(request.params.boolean("skip_head", "unable to parse boolean")?).map_err(trouble)?;
            let mut out = Vec::new();
            json::object(&mut out, |o| {
                o.string("name", &name);
            });
            Ok(Response::data(&out))
        }
        _ => Ok(Response::not_found()),
    }
}

fn trouble(error: Box<dyn std::error::Error>) -> ApiError {
    ApiError::new(ErrorKind::Internal, error.to_string())
}
