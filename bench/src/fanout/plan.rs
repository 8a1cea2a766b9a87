//! What a run will do, settled before it begins: channels, who listens to which, when what is due.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use super::args::FanoutArgs;
use super::message::Payload;
use crate::centrifuge::Hello;
use crate::dial::Place;
use crate::schedule::Schedule;
use crate::session::{Protocol, SessionError};
use crate::target::{Target, TargetError};
use crate::traffic::Window;

/// Where publications go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublishUrl {
    /// An HTTP API.
    Http(Target),
    /// A WebSocket whose messages are published.
    WebSocket(Target),
}

/// A run, settled. Publication `n` goes to channel `n` modulo their count, by publisher `n` modulo
/// theirs.
pub(super) struct Plan {
    pub(super) channels: Vec<Channel>,
    /// The channel of each subscriber.
    pub(super) channel_of: Vec<u16>,
    /// Connections that publish.
    pub(super) publisher_count: u16,
    /// Those of the run, the warm-up included.
    pub(super) publication_count: u32,
    pub(super) pace: Pace,
    pub(super) window: Window,
    /// Subscribers that stop reading.
    pub(super) slow_count: u32,
    /// Tells this run's publications from others.
    pub(super) run: u32,
    pub(super) payload: Payload,
    /// Whether a server may send what is no publication.
    pub(super) foreign_allowed: bool,
    /// Subscribers agree on compression.
    pub(super) compression: bool,
    /// Connections speak the Centrifuge protocol.
    pub(super) is_centrifuge: bool,
    /// What connections that publish say first.
    pub(super) publisher_hello: Option<Hello>,
}

/// When publications are due.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// At fixed times.
    Open(Schedule),
    /// The next of a publisher when its last has arrived everywhere.
    Closed,
}

/// One channel.
pub(super) struct Channel {
    pub(super) name: String,
    /// Where its subscribers connect to.
    pub(super) subscribe: Target,
    /// Where it is published over WebSocket.
    pub(super) publish: Target,
    /// What its subscribers say first.
    pub(super) hello: Option<Hello>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("with --protocol none everyone gets everything: leave --channels at 1")]
    ChannelsOfNone,
    #[error("the channel of a URL is letters, digits and any of . _ : ~ -")]
    ChannelName,
    #[error(
        "at most {PUBLICATIONS_MAX} publications a run are accounted for: lower --rate or --duration"
    )]
    Publications,
    #[error(
        "at most {PUBLICATIONS_MAX} publications a run are accounted for, and the closed loop used \
         them up before its end: lower --duration"
    )]
    Exhausted,
    #[error("a closed loop waits for every subscriber: leave --churn at 0, or give a --rate")]
    ChurnInClosedLoop,
    #[error(
        "a closed loop waits for a subscriber that reads, and a channel has none: lower --channels \
         or --slow-readers, or give a --rate"
    )]
    NobodyReads,
    #[error("more slow readers than subscribers")]
    SlowReaders,
    #[error("at most {} publishers", u16::MAX)]
    Publishers,
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl Plan {
    /// What `args` ask for.
    pub(super) fn new(args: &FanoutArgs) -> Result<Self, PlanError> {
        let session = &args.connect.session;
        args.connect.check_session()?;
        if session.protocol == Protocol::None && args.channels > 1 {
            return Err(PlanError::ChannelsOfNone);
        }
        if args.slow_readers > args.connect.connections {
            return Err(PlanError::SlowReaders);
        }
        let window = Window {
            start_ns: args.warm_up.as_nanos() as u64,
            end_ns: (args.warm_up + args.duration).as_nanos() as u64,
        };
        let (pace, publication_count) = pace(args, window)?;
        let publisher_count = match &args.publish {
            PublishUrl::Http(_) => u32::from(args.publishers.unwrap_or(8)),
            // Each is bound to one channel.
            PublishUrl::WebSocket(_) => {
                let a_channel = args.publishers.unwrap_or(1).div_ceil(args.channels);
                u32::from(args.channels) * u32::from(a_channel)
            }
        };
        let plan = Self {
            channels: channels(args)?,
            channel_of: spread(args.connect.connections, args.channels, args.zipf),
            publisher_count: publisher_count.try_into().map_err(|_| PlanError::Publishers)?,
            publication_count,
            pace,
            window,
            slow_count: args.slow_readers,
            run: fastrand::u32(..),
            payload: Payload::new(args.size, args.connect.compression),
            compression: args.connect.compression,
            foreign_allowed: args.subscribe.is_some(),
            is_centrifuge: session.is_centrifuge(),
            publisher_hello: session.hello(None),
        };
        match plan.pace {
            Pace::Closed if args.churn > 0 => Err(PlanError::ChurnInClosedLoop),
            Pace::Closed if !plan.somebody_reads_everything() => Err(PlanError::NobodyReads),
            Pace::Open(_) | Pace::Closed => Ok(plan),
        }
    }

    /// When `publication`, sent at `sent_ns`, was due, in nanoseconds since the run's start. In a
    /// closed loop it is sent in the turn in which it falls due.
    pub(super) fn due_ns(&self, publication: u32, sent_ns: u64) -> u64 {
        match &self.pace {
            Pace::Open(schedule) => schedule.due_of(0, publication),
            Pace::Closed => sent_ns,
        }
    }

    fn somebody_reads_everything(&self) -> bool {
        let mut is_read = vec![false; self.channels.len()];
        for (number, channel) in (0..).zip(&self.channel_of) {
            is_read[usize::from(*channel)] |= !self.is_slow(number);
        }
        is_read.into_iter().all(|is_read| is_read)
    }

    /// The channel it goes to.
    pub(super) fn channel(&self, publication: u32) -> u16 {
        (publication as usize % self.channels.len()) as u16
    }

    /// The publisher that sends it.
    pub(super) fn publisher(&self, publication: u32) -> u16 {
        (publication % u32::from(self.publisher_count)) as u16
    }

    /// Whether subscriber `number` stops reading: they are spread evenly.
    pub(super) fn is_slow(&self, number: u32) -> bool {
        let total = self.channel_of.len() as u64;
        let before = |number: u64| number * u64::from(self.slow_count) / total;
        before(number.into()) != before(u64::from(number) + 1)
    }
}

impl Channel {
    /// Where its subscribers connect to, and what they say first.
    pub(super) fn place(&self) -> Place<'_> {
        Place { target: &self.subscribe, hello: self.hello.as_ref() }
    }
}

impl FromStr for PublishUrl {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Self, TargetError> {
        match url.strip_prefix("http://") {
            // The same form and the same port as ws.
            Some(rest) => format!("ws://{rest}").parse().map(Self::Http),
            None if url.starts_with("https://") => Err(TargetError::Tls),
            None => url.parse().map(Self::WebSocket),
        }
    }
}

impl Display for PublishUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(Target { host, path, .. }) => write!(f, "http://{host}{path}"),
            Self::WebSocket(target) => target.fmt(f),
        }
    }
}

/// When publications are due, and how many there can be.
fn pace(args: &FanoutArgs, window: Window) -> Result<(Pace, u32), PlanError> {
    if args.rate == 0 {
        return Ok((Pace::Closed, PUBLICATIONS_MAX));
    }
    let count = (u128::from(window.end_ns) * u128::from(args.rate)).div_ceil(1_000_000_000);
    let count = u32::try_from(count).ok().filter(|count| *count <= PUBLICATIONS_MAX);
    let count = count.ok_or(PlanError::Publications)?;
    Ok((Pace::Open(Schedule::new(args.rate, 0, 1, 1)), count))
}

fn channels(args: &FanoutArgs) -> Result<Vec<Channel>, PlanError> {
    let publish = match &args.publish {
        PublishUrl::Http(target) | PublishUrl::WebSocket(target) => target,
    };
    let given = channel_of(&args.connect.url).or_else(|| channel_of(publish));
    let session = &args.connect.session;
    let given = if session.is_centrifuge() { Some(session.channel()) } else { given };
    let base = given.unwrap_or("bench").to_owned();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:~-".contains(&byte);
    if !session.is_centrifuge() && !base.bytes().all(plain) {
        return Err(PlanError::ChannelName);
    }
    let channel = |number: u16| {
        let name = if args.channels == 1 { base.clone() } else { format!("{base}-{number}") };
        let named = |target: &Target| match session.protocol {
            Protocol::Raw => with_channel(target, &name),
            Protocol::Centrifuge | Protocol::None => target.clone(),
        };
        Channel {
            subscribe: named(&args.connect.url),
            publish: named(publish),
            hello: session.hello(Some(&name)),
            name,
        }
    };
    Ok((0..args.channels).map(channel).collect())
}

/// The first parameter `channel` of a URL.
fn channel_of(target: &Target) -> Option<&str> {
    let (_, query) = target.path.split_once('?')?;
    query.split('&').find_map(|parameter| parameter.strip_prefix("channel="))
}

/// The URL with `name` in place of the first parameter `channel`, or appended.
fn with_channel(target: &Target, name: &str) -> Target {
    let (path, query) = target.path.split_once('?').unwrap_or((&target.path, ""));
    let mut found = false;
    let mut parameters: Vec<String> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
            let first = !found && parameter.starts_with("channel=");
            found |= first;
            if first { format!("channel={name}") } else { parameter.to_owned() }
        })
        .collect();
    if !found {
        parameters.push(format!("channel={name}"));
    }
    Target { path: format!("{path}?{}", parameters.join("&")), ..target.clone() }
}

/// The channel of each subscriber: in turn, or in shares as Zipf's law has them, mixed so that
/// each thread has its part of all.
fn spread(subscribers: u32, channels: u16, zipf: Option<f64>) -> Vec<u16> {
    let Some(exponent) = zipf else {
        return (0..subscribers).map(|number| (number % u32::from(channels)) as u16).collect();
    };
    let mut reached = 0.0;
    let sums: Vec<f64> = (1..=channels)
        .map(|rank| {
            reached += f64::from(rank).powf(-exponent);
            reached
        })
        .collect();
    let mut channel_of: Vec<u16> = (0..subscribers)
        .map(|number| {
            let place = (f64::from(number) + 0.5) / f64::from(subscribers) * reached;
            sums.partition_point(|sum| *sum < place).min(sums.len() - 1) as u16
        })
        .collect();
    // The same at every run: two runs shall compare.
    fastrand::Rng::with_seed(1).shuffle(&mut channel_of);
    channel_of
}

/// Publications of one run: each has its place in tables of every thread.
const PUBLICATIONS_MAX: u32 = 8 * 1024 * 1024;

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        fanout: FanoutArgs,
    }

    /// What `arguments` ask for, besides where to connect to.
    pub(in crate::fanout) fn args(arguments: &[&str]) -> FanoutArgs {
        let fixed = ["", "--url=ws://127.0.0.1:1/", "--publish=http://127.0.0.1:1/"];
        Line::try_parse_from(fixed.iter().chain(arguments)).expect("arguments").fanout
    }

    /// The plan of that.
    pub(in crate::fanout) fn plan(arguments: &[&str]) -> Plan {
        Plan::new(&args(arguments)).expect("a plan")
    }

    #[test]
    fn a_closed_loop_needs_somebody_to_wait_for() {
        assert!(matches!(plan(&["--rate", "0"]).pace, Pace::Closed));
        for (arguments, is_churn) in [
            (&["--rate=0", "--churn=1"][..], true),
            (&["--rate=0", "--channels=101"], false),
            (&["--rate=0", "--slow-readers=100"], false),
        ] {
            let error = Plan::new(&args(arguments)).err().expect("no plan");
            assert_eq!(matches!(error, PlanError::ChurnInClosedLoop), is_churn, "{error}");
            assert_eq!(matches!(error, PlanError::NobodyReads), !is_churn, "{error}");
        }
    }

    #[test]
    fn channels_get_their_place_in_the_url() {
        for (url, path) in [
            ("ws://127.0.0.1/raw?channel=a", "/raw?channel=b-1"),
            ("ws://127.0.0.1/raw?x=1&channel=a&channel=c", "/raw?x=1&channel=b-1&channel=c"),
            ("ws://127.0.0.1/raw?publish=1", "/raw?publish=1&channel=b-1"),
            ("ws://127.0.0.1/raw", "/raw?channel=b-1"),
        ] {
            let target: Target = url.parse().expect(url);
            assert_eq!(with_channel(&target, "b-1").path, path);
        }
        let target: Target = "ws://127.0.0.1/raw?channel=a&channel=b".parse().expect("a URL");
        assert_eq!(channel_of(&target), Some("a"));
    }

    #[test]
    fn subscribers_are_spread() {
        let counts = |channel_of: &[u16]| {
            let mut counts = [0; 4];
            channel_of.iter().for_each(|channel| counts[usize::from(*channel)] += 1);
            counts
        };
        assert_eq!(counts(&spread(10, 4, None)), [3, 3, 2, 2]);
        assert_eq!(counts(&spread(1200, 4, Some(0.0))), [300; 4]);
        // Shares of 1, 1/2, 1/3, 1/4.
        assert_eq!(counts(&spread(2500, 4, Some(1.0))), [1200, 600, 400, 300]);
        assert_eq!(spread(100, 4, Some(1.0)), spread(100, 4, Some(1.0)));
    }

    #[test]
    fn where_to_publish() {
        let http: PublishUrl = "http://127.0.0.1:8001/api/publish".parse().expect("a URL");
        let PublishUrl::Http(target) = http else { panic!("{http:?}") };
        assert_eq!(target.path, "/api/publish");
        for url in ["http://127.0.0.1:8001/api/publish", "ws://127.0.0.1:8000/raw?publish=1"] {
            assert_eq!(url.parse::<PublishUrl>().expect(url).to_string(), url);
        }
        assert!(matches!("ws://127.0.0.1/".parse(), Ok(PublishUrl::WebSocket(_))));
        assert!("https://127.0.0.1/".parse::<PublishUrl>().is_err());
        assert!("127.0.0.1".parse::<PublishUrl>().is_err());
    }
}
