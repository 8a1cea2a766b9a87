//! One question to a backend: a POST with JSON, and what comes back, bounded in time and bytes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Request, StatusCode, Uri, header};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::Semaphore;

use super::super::https::{self, chain};
use super::super::unix_now;
use super::answer::{self, Fault};
use crate::config::Hooks;
use crate::limits;
use crate::protocol::claims::TokenText;
use crate::protocol::hook::{Dialect, ForwardedHeaders, Hook, HookCall, HookOutcome, Topic};
use crate::publication::json;

/// Asks the configured addresses, and no others.
#[derive(Debug)]
pub(super) struct Backend {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    addresses: [Option<Uri>; Hook::COUNT],
    timeout: Duration,
    concurrency: usize,
    headers: Vec<(HeaderName, HeaderValue)>,
    forward_headers: Vec<HeaderName>,
    /// Places in flight, by hook: one that hangs leaves the others theirs.
    places: [Arc<Semaphore>; Hook::COUNT],
}

impl Backend {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// A backend is to be asked over https, and this machine has no certificates to trust.
    pub(super) fn new(settings: &Hooks) -> io::Result<Self> {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(limits::HOOK_IDLE_S))
            .build(https::connector(settings.strictest_address())?);
        Ok(Self {
            client,
            addresses: settings.addresses.clone(),
            timeout: settings.timeout,
            concurrency: settings.concurrency,
            headers: settings.headers.clone(),
            forward_headers: settings.forward_headers.clone(),
            places: std::array::from_fn(|_| Arc::new(Semaphore::new(settings.concurrency))),
        })
    }

    /// Questions in flight to one hook.
    pub(super) fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// What the backend says to `call`, which came at `asked_at`.
    ///
    /// # Errors
    /// Why it says nothing.
    pub(super) async fn ask(
        &self,
        call: &HookCall,
        asked_at: Instant,
    ) -> Result<HookOutcome, Fault> {
        let deadline = tokio::time::Instant::from_std(asked_at + self.timeout);
        let place = &self.places[call.hook().index()];
        let said = tokio::time::timeout_at(deadline, async {
            let _place = place.acquire().await.expect("places are never closed");
            self.post(call).await
        });
        let bytes = said.await.map_err(|_| Fault::TimedOut(self.timeout))??;
        answer::read(call, &bytes, unix_now())
    }

    async fn post(&self, call: &HookCall) -> Result<Bytes, Fault> {
        let address = self.addresses[call.hook().index()].clone();
        let address = address.expect("only hooks with an address are asked");
        let mut body = Vec::new();
        append_call(&mut body, call);
        let mut request = Request::post(address)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .expect("the address was checked, and the headers are constant");
        self.add_headers(request.headers_mut(), call);
        let response = self.client.request(request).await;
        let response = response.map_err(|error| Fault::Connection(chain(&error)))?;
        if response.status() != StatusCode::OK {
            return Err(Fault::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), limits::HOOK_ANSWER_MAX).collect().await;
        match body {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Fault::TooLong),
            Err(error) => Err(Fault::Connection(error.to_string())),
        }
    }

    /// Those of the client, then our own, which a client cannot replace.
    fn add_headers(&self, headers: &mut hyper::HeaderMap, call: &HookCall) {
        if let Topic::Connect(newcomer) = &call.topic {
            let ForwardedHeaders(forwarded) = &newcomer.headers;
            for (index, value) in forwarded {
                let name = self.forward_headers[*index].clone();
                // What no header may hold has not come this far.
                let Ok(mut value) = HeaderValue::from_bytes(value) else { continue };
                value.set_sensitive(true);
                headers.append(name, value);
            }
        }
        for (name, _) in &self.headers {
            headers.remove(name);
        }
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// The question as backends read it.
fn append_call(out: &mut Vec<u8>, call: &HookCall) {
    let dialect = match call.dialect {
        Dialect::Json => "json",
        Dialect::Raw => "raw",
    };
    json::append_display(
        out,
        format_args!(
            "{{\"client\":\"{}\",\"transport\":\"websocket\",\"protocol\":\"{dialect}\",\
             \"encoding\":\"{dialect}\"",
            call.client
        ),
    );
    append_text(out, "user", Some(&call.user));
    append_json(out, "meta", call.meta.as_deref());
    let shown = |token: &Option<TokenText>| token.as_ref().map(|one| one.expose().to_owned());
    match &call.topic {
        Topic::Connect(newcomer) => {
            append_text(out, "token", shown(&newcomer.token).as_deref());
            append_text(out, "name", Some(&newcomer.name));
            append_text(out, "version", Some(&newcomer.version));
            append_json(out, "data", newcomer.data.as_deref());
            append_channels(out, newcomer.channels.iter().map(|channel| &**channel));
        }
        Topic::Subscribe { channel, token, data } => {
            append_text(out, "channel", Some(channel));
            append_text(out, "token", shown(token).as_deref());
            append_json(out, "data", data.as_deref());
        }
        Topic::Publish { channel, data } => {
            append_text(out, "channel", Some(channel));
            append_json(out, "data", Some(data));
        }
        Topic::Rpc { method, data } => {
            append_text(out, "method", Some(method));
            append_json(out, "data", data.as_deref());
        }
        Topic::Refresh => {}
        Topic::SubRefresh { channel } => append_text(out, "channel", Some(channel)),
    }
    out.push(b'}');
}

fn append_text(out: &mut Vec<u8>, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        json::append_display(out, format_args!(",\"{key}\":"));
        json::append_string(out, text);
    }
}

fn append_json(out: &mut Vec<u8>, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        json::append_display(out, format_args!(",\"{key}\":{text}"));
    }
}

fn append_channels<'a>(out: &mut Vec<u8>, channels: impl Iterator<Item = &'a str>) {
    out.extend_from_slice(b",\"channels\":[");
    for (index, channel) in channels.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::append_string(out, channel);
    }
    out.push(b']');
}
