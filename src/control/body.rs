//! Reads a request body within its limits.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::answer::ApiError;
use crate::limits;

/// The whole body, at most `limits::API_BODY_MAX` bytes, within `limits::API_BODY_TIMEOUT_S`.
///
/// Memory grows with what arrives, not with what a header announces.
pub(super) async fn read(request: Request) -> Result<Vec<u8>, ApiError> {
    let headers = request.headers();
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    // A client that asks before it sends is told at once and sends nothing.
    if announced.is_some_and(|len| len > limits::API_BODY_MAX as u64)
        && headers.contains_key(header::EXPECT)
    {
        return Err(ApiError::BodyTooLarge);
    }
    let whole = read_whole(request.into_body());
    timeout(Duration::from_secs(limits::API_BODY_TIMEOUT_S), whole)
        .await
        .unwrap_or(Err(ApiError::BodyLate))
}

async fn read_whole(mut body: Body) -> Result<Vec<u8>, ApiError> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::BodyBroken)?;
        // Trailers say nothing to us.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if data.len() > limits::API_BODY_MAX - whole.len() {
            drop(whole);
            discard(body).await;
            return Err(ApiError::BodyTooLarge);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// Reads on without keeping anything. Closing a socket with unread bytes resets it, and the reset
/// would take the answer away from a client that writes its whole body before it reads.
async fn discard(mut body: Body) {
    let mut discarded = 0;
    while let Some(Ok(frame)) = body.frame().await {
        discarded += frame.data_ref().map_or(0, |data| data.len());
        if discarded > limits::API_DISCARD_MAX {
            return;
        }
    }
}
