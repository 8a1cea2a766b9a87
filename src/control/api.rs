//! One call of the HTTP API: reads the body, checks all of it, has it carried out, answers.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::answer::{self, ApiError, ErrorMode};
use super::call::{self, Task};
use super::method::Method;
use super::{Shared, body, run};

/// Answers `POST /api/METHOD`.
pub(super) async fn answer(method: Method, control: Shared, request: Request) -> Response {
    let mode = error_mode(request.headers());
    match carry_out(method, &control, request).await {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, answer::JSON)], text).into_response(),
        Err(error) => error.into_response_in(mode),
    }
}

async fn carry_out(method: Method, control: &Shared, request: Request) -> Result<String, ApiError> {
    let body = body::read(request).await?;
    let task = call::read(method, &body, control.settings.publication_size)?;
    let key = match &task {
        Task::Batch(_) => "replies",
        _ => "result",
    };
    let result = run::run(control, task).await?;
    Ok(format!("{{\"{key}\":{result}}}"))
}

/// How the client wants to be told of errors.
fn error_mode(headers: &HeaderMap) -> ErrorMode {
    match headers.get(ERROR_MODE) {
        Some(mode) if mode.as_bytes().eq_ignore_ascii_case(b"transport") => ErrorMode::Transport,
        _ => ErrorMode::Body,
    }
}

const ERROR_MODE: HeaderName = HeaderName::from_static("x-centrifugo-error-mode");
