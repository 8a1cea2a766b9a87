//! The HTTP API's methods: read the body, check all of it, publish, answer.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::answer::{Answer, ApiError, Published, Responses, json};
use super::call::Call;
use super::{Control, Shared, body};
use crate::lifecycle::Phase;
use crate::mail::{PublishError, PublishResult};

/// `POST /api/publish`: answers once the channel's owner has numbered the publication.
pub(super) async fn publish(
    State(control): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = body::read(request).await?;
    let (channel, payload) = Call::read(&body)?.publish(control.settings.publication_size)?;
    check_open(&control)?;
    let result = control.engine.publish(channel, payload).await;
    count_full(&control, &[result]);
    let answer = Answer::Result(Published::from(result?));
    Ok(json(StatusCode::OK, &answer))
}

/// `POST /api/broadcast`: bad input refuses all; then each channel has its own result or error.
pub(super) async fn broadcast(
    State(control): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let body = body::read(request).await?;
    let (channels, payload) = Call::read(&body)?.broadcast(control.settings.publication_size)?;
    check_open(&control)?;
    let results = control.engine.publish_many(&channels, &payload).await;
    count_full(&control, &results);
    let failed_count = results.iter().filter(|result| result.is_err()).count();
    control.counters().api_errors.add(failed_count as u64);
    let responses = results.into_iter().map(|result| match result {
        Ok(position) => Answer::Result(position.into()),
        Err(error) => Answer::Error(ApiError::from(error).object()),
    });
    let result = Responses { responses: responses.collect() };
    Ok(json(StatusCode::OK, &Answer::Result(result)).into_response())
}

/// Publishing stays open until the last client is closed, so that clients which are still there
/// during a drain miss nothing.
fn check_open(control: &Control) -> Result<(), ApiError> {
    match control.lifecycle.phase() {
        Phase::Starting | Phase::Serving | Phase::Draining => Ok(()),
        Phase::Drained => Err(ApiError::Draining),
    }
}

fn count_full(control: &Control, results: &[PublishResult]) {
    let is_full = |result: &&PublishResult| **result == Err(PublishError::MailboxFull);
    control.counters().api_mail_full.add(results.iter().filter(is_full).count() as u64);
}
