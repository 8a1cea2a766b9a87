//! The admin port: HTTP API, metrics and health, on one thread with a tokio runtime of its own.
//!
//! Control owns HTTP for backends and operators and knows nothing of sockets of clients, frames or
//! rings: it publishes and asks through [`Engine`] and reads counters. Every request passes `guard`
//! first; bodies are read only after that. `serve` bounds connections and time, `body` bytes,
//! `call` what the JSON may say; `run` carries out, `answer` lists every refusal with its status.

mod answer;
mod api;
mod body;
mod call;
mod guard;
mod method;
pub mod metrics;
mod node;
mod process;
mod run;
mod serve;
#[cfg(test)]
mod tests;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{self, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::config::{Config, Secret};
use crate::engine::Engine;
use crate::id::{ChannelName, ShardId};
use crate::lifecycle::{Lifecycle, Phase};
use crate::mail::{Answer, Permits, Question, Subject, Surveyed, Unanswered};
use crate::protocol::channel::Namespaces;
use crate::stats::{ControlCounters, Stats};
use answer::{ApiError, Failed};
use method::Method;

pub use node::Node;

/// What control takes from the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The key of the HTTP API. `None`: only local programs may use the port, no web page.
    pub api_key: Option<Secret>,
    /// Payload bytes of one publication.
    pub publication_size: usize,
    /// What channels offer; the same as every shard's.
    pub channels: Arc<Namespaces>,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        Self {
            api_key: config.server.api_key.clone(),
            publication_size: config.limits.publication_size,
            channels: Arc::new(config.channels.clone()),
        }
    }
}

/// Everything the admin port serves from.
#[derive(Debug)]
pub struct Control {
    /// Key and limits.
    pub settings: Settings,
    /// What `info` says of this process.
    pub node: Node,
    /// Where publishes and questions go.
    pub engine: Engine,
    /// What `/metrics` shows; control is the only writer of `stats.control`.
    pub stats: Stats,
    /// Connections by shard and their bound, for `/metrics`.
    pub permits: Permits,
    /// What `/health` shows and when publishing ends.
    pub lifecycle: Lifecycle,
}

impl Control {
    /// Serves the admin port on the calling thread until `shutdown` resolves.
    ///
    /// `shutdown` runs on control's runtime (timers, IO and signals are enabled), so the gateway
    /// may wait for signals in it. When it resolves, no connection is accepted any more, the
    /// engine is closed, and requests in flight get `limits::CONTROL_STOP_S` to end: with the
    /// owner's answer where its shard still runs, else with 503.
    ///
    /// # Errors
    /// The kernel refused the runtime's epoll instance or the listener.
    pub fn run(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        listener.set_nonblocking(true)?;
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let engine = self.engine.clone();
            serve::serve(listener, router(Arc::new(self)), shutdown, &engine).await;
            Ok(())
        })
    }

    /// Asks the owner of a channel.
    async fn ask(&self, channel: ChannelName, question: Question) -> Result<Answer, Unanswered> {
        let answer = self.engine.ask(channel, question).await;
        self.count_full(answer.as_ref().err());
        answer
    }

    /// Asks a shard for a piece of all it holds.
    async fn survey(
        &self,
        shard: ShardId,
        subject: Subject,
        cursor: usize,
    ) -> Result<Surveyed, Unanswered> {
        let answer = self.engine.survey(shard, subject, cursor).await;
        self.count_full(answer.as_ref().err());
        answer
    }

    fn count_full(&self, error: Option<&Unanswered>) {
        self.counters().api_mail_full.add(u64::from(error == Some(&Unanswered::Full)));
    }

    fn counters(&self) -> &ControlCounters {
        &self.stats.control.counters
    }
}

/// What handlers share.
type Shared = Arc<Control>;

fn router(control: Shared) -> Router {
    let pages = Router::new()
        .route("/", get(index))
        .route("/health", get(health))
        .route("/metrics", get(show_metrics))
        .route("/api/openapi.json", get(description));
    let with_api = Method::ALL.into_iter().fold(pages, |router, method| {
        let answer = move |State(control): State<Shared>, request: Request| {
            api::answer(method, control, request)
        };
        router.route(&format!("/api/{}", method.name()), post(answer))
    });
    with_api
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(control.clone(), admit))
        .with_state(control)
}

/// Lets a request pass the guards, and counts and times API calls.
async fn admit(State(control): State<Shared>, request: Request, next: Next) -> Response {
    let key = control.settings.api_key.as_ref();
    let is_api = request.uri().path().starts_with("/api/");
    if !is_api {
        return match guard::check_page(&request, key) {
            Ok(()) => next.run(request).await,
            Err(error) => error.into_response(),
        };
    }
    let started_at = Instant::now();
    control.counters().api_calls.add(1);
    let response = match guard::check_api(&request, key) {
        Ok(()) => admit_call(&control, request, next).await,
        Err(error) => {
            control.counters().api_refused.add(1);
            error.into_response()
        }
    };
    control.stats.control.api_call.record(started_at.elapsed());
    response
}

async fn admit_call(control: &Control, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.extensions().get::<Failed>().is_some() {
        control.counters().api_errors.add(1);
    }
    response
}

async fn index() -> &'static str {
    concat!(
        "tidegate ",
        env!("CARGO_PKG_VERSION"),
        " admin port\n\n",
        "POST /api/METHOD        publish, history, presence and more\n",
        "GET  /api/openapi.json  what each method takes and answers\n",
        "GET  /metrics           Prometheus text\n",
        "GET  /health            200 while serving, 503 before and after\n",
    )
}

/// The API in OpenAPI 3.1.
async fn description() -> Response {
    let text = include_str!("openapi.json")
        .replace("\"VERSION\"", concat!("\"", env!("CARGO_PKG_VERSION"), "\""));
    ([(header::CONTENT_TYPE, answer::JSON)], text).into_response()
}

async fn health(State(control): State<Shared>) -> Response {
    match control.lifecycle.phase() {
        Phase::Serving => ([(header::CONTENT_TYPE, answer::JSON)], "{}").into_response(),
        Phase::Starting => ApiError::Starting.into_response(),
        Phase::Draining | Phase::Drained => ApiError::Draining.into_response(),
    }
}

async fn show_metrics(State(control): State<Shared>) -> Response {
    let text = metrics::text(&control.stats, &control.permits);
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn not_found() -> ApiError {
    ApiError::PathUnknown
}

async fn method_not_allowed(method: http::Method) -> ApiError {
    ApiError::MethodWrong { asked: method }
}
