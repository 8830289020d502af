//! How the daemon's own failures read as problem documents.

use liaison_node::local::RequestError;
use liaison_node::operator::OperatorError;
use liaison_node::store::StoreError;

use crate::api::model::{Problem, ProblemCode};
use crate::shelf::ReadError;

/// What a request to the daemon gives.
pub(crate) type Answer<T> = Result<T, Problem>;

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        // Words about the disk, never content.
        Self::new(ProblemCode::StoreFault, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code =
            if matches!(error, StoreError::Full { .. }) { ProblemCode::DiskFull } else { ProblemCode::StoreFault };
        Self::new(code, error.to_string())
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let code = match error {
            RequestError::Full => ProblemCode::DiskFull,
            RequestError::Fault => ProblemCode::StoreFault,
            RequestError::Refused { .. } => ProblemCode::Policy,
            RequestError::Stopping => ProblemCode::Stopping,
        };
        Self::new(code, error.to_string())
    }
}

impl From<OperatorError> for Problem {
    fn from(error: OperatorError) -> Self {
        let code = match error {
            OperatorError::Store { .. } => ProblemCode::StoreFault,
            OperatorError::Stopping => ProblemCode::Stopping,
            _ => ProblemCode::Internal,
        };
        Self::new(code, error.to_string())
    }
}
