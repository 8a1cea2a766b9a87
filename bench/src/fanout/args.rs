//! What `fanout` takes on the command line.

use std::time::Duration;

use clap::Args;

use super::message;
use super::plan::{Plan, PublishUrl};
use crate::cli::{ConnectArgs, MAX_SIZE, duration};
use crate::report::FanoutScenario;
use crate::session::{Protocol, SessionArgs};
use crate::target::Target;

/// What `fanout` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct FanoutArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
    /// Where to publish: an HTTP API such as http://127.0.0.1:8001/api/publish, or a WebSocket such
    /// as 'ws://127.0.0.1:8000/raw?channel=bench&publish=1'. With --protocol centrifuge such as
    /// ws://127.0.0.1:8000/connection/websocket, which gets publish commands.
    #[arg(long, value_name = "URL")]
    pub(crate) publish: PublishUrl,
    /// Publications a second over all channels, due at fixed times. 0: one publication outstanding
    /// per publisher, the next is due when every subscriber that reads has it.
    #[arg(long, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    pub(crate) rate: u64,
    /// Bytes of a publication's payload, a JSON string.
    #[arg(long, default_value_t = 64, value_parser = message_size)]
    pub(crate) size: usize,
    /// How long to measure.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub(crate) duration: Duration,
    /// How long to publish before measuring.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub(crate) warm_up: Duration,
    /// Channels to publish to in turn; above 1 their names get a number appended.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) channels: u16,
    /// Spread the subscribers by Zipf's law with this exponent, not evenly.
    #[arg(long, value_name = "S", value_parser = exponent)]
    pub(crate) zipf: Option<f64>,
    /// A text each subscriber sends when it is open; {channel} stands for the channel's name.
    #[arg(long, value_name = "TEXT")]
    pub(crate) subscribe: Option<String>,
    /// Connections to publish on, each waiting for one answer at a time; over WebSocket at least
    /// one a channel. [default: 8 over HTTP, 1 a channel over WebSocket]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) publishers: Option<u16>,
    /// Sent as X-API-Key when publishing over HTTP.
    #[arg(long, value_name = "KEY")]
    pub(crate) api_key: Option<String>,
    /// So many of the subscribers stop reading when the measuring begins.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) slow_readers: u32,
    /// Connections closed and opened again a second.
    #[arg(long, default_value_t = 0, value_name = "R", value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub(crate) churn: u64,
}

impl FanoutArgs {
    /// What the report says was asked for.
    pub(super) fn scenario(&self, plan: &Plan) -> FanoutScenario {
        FanoutScenario {
            publish: Some(self.publish.to_string()),
            publishers: Some(plan.publisher_count),
            subscribe: self.subscribe.clone(),
            channels: Some(self.channels),
            zipf: self.zipf,
            slow_readers: Some(self.slow_readers),
            churn: Some(self.churn),
        }
    }

    /// Of `subscribers` that are all sent what is published to `publish`, both URLs taken as they
    /// are unless `session` says how to subscribe.
    pub(crate) fn of_everyone(
        url: Target,
        session: Option<SessionArgs>,
        subscribers: u32,
        publish: PublishUrl,
        [warm_up, duration]: [Duration; 2],
        rate: u64,
        size: usize,
    ) -> Self {
        let none = SessionArgs { protocol: Protocol::None, ..SessionArgs::default() };
        let session = session.unwrap_or(none);
        Self {
            connect: ConnectArgs { session, ..ConnectArgs::to(url, subscribers) },
            publish,
            rate,
            size,
            duration,
            warm_up,
            channels: 1,
            zipf: None,
            subscribe: None,
            publishers: None,
            api_key: None,
            slow_readers: 0,
            churn: 0,
        }
    }
}

fn message_size(text: &str) -> Result<usize, String> {
    let size: usize = text.parse().map_err(|_| "write a number of bytes".to_owned())?;
    match size {
        ..message::SIZE_MIN => Err(format!(
            "a publication needs {} bytes for its time, publisher, channel and number",
            message::SIZE_MIN
        )),
        message::SIZE_MIN..=MAX_SIZE => Ok(size),
        _ => Err(format!("at most {MAX_SIZE}")),
    }
}

fn exponent(text: &str) -> Result<f64, &'static str> {
    let exponent = text.parse().ok().filter(|exponent| (0.0..=10.0).contains(exponent));
    exponent.ok_or("write a number from 0 to 10")
}
