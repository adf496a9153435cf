//! What was learned about modules, to be read and forgotten.

use hyper::{Response, StatusCode};

use super::body::{Body, json};
use super::problem::Problem;
use crate::executor::Executor;

pub fn get(executor: &Executor) -> Result<Response<Body>, Problem> {
    json(StatusCode::OK, &executor.learned())
}

pub async fn forget(executor: &Executor) -> Result<Response<Body>, Problem> {
    let forgotten = executor.forget_learned().await;
    forgotten.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the file stays: {error}")))?;
    json(StatusCode::OK, &serde_json::json!({}))
}
