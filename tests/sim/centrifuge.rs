//! What a client of the Centrifuge protocol asks, and what it makes of the answers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{Scene, id_of, publication};
use super::oracle::{Position, Publisher, Run};

/// The state of one client.
#[derive(Default)]
pub(crate) struct Centrifuge {
    /// Its name, once it is connected.
    pub(crate) name: Option<String>,
    last_command: u32,
    /// Commands without a reply.
    pub(crate) unanswered: BTreeMap<u32, Asked>,
    /// Whether its last word about a channel was to subscribe.
    wanted: BTreeMap<usize, bool>,
    /// Where it stood in channels it is not subscribed to any more.
    pub(crate) kept: BTreeMap<usize, Position>,
}

/// A command that waits for its reply.
#[derive(Debug)]
pub(crate) enum Asked {
    Connect,
    Subscribe { channel: usize, from: Option<Position>, asked_at: Duration },
    Unsubscribe { channel: usize },
    Publish { id: u32 },
    History { channel: usize },
}

impl Centrifuge {
    /// A client that comes back and knows where it stood.
    pub(crate) fn returning(kept: BTreeMap<usize, Position>) -> Self {
        Self { kept, ..Self::default() }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.name.is_some()
    }

    /// Its first command.
    pub(crate) fn greeting(&mut self) -> String {
        self.command(Asked::Connect, "connect", json!({}))
    }

    /// One command, or several in one message.
    pub(crate) fn talk(&mut self, scene: &mut Scene<'_>, number: usize) -> Option<String> {
        if !self.is_connected() {
            // Nothing else may come before.
            return self.unanswered.is_empty().then(|| self.greeting());
        }
        let count = if scene.env.one_in(4) { 1 + scene.env.below(6) } else { 1 };
        let commands: Vec<_> = (0..count).map(|_| self.any(scene, number)).collect();
        Some(commands.join("\n"))
    }

    /// Subscribes to a channel it is not subscribed to.
    pub(crate) fn subscribe(&mut self, scene: &Scene<'_>, channel: usize) -> String {
        self.wanted.insert(channel, true);
        // It comes back to where it stood; what the reply to an unsubscription under way will say
        // about that it cannot know.
        let is_settled = !self.unanswered.values().any(|asked| asked.is_about(channel));
        let from = self.kept.get(&channel).filter(|_| {
            is_settled && scene.channels[channel].history.is_some() && !scene.env.one_in(4)
        });
        let from = from.cloned();
        let name = &scene.channels[channel].name;
        let body = match &from {
            None => json!({"channel": name, "join_leave": true}),
            Some(Position { epoch, offset, .. }) => json!({
                "channel": name, "join_leave": true,
                "recover": true, "epoch": epoch, "offset": offset
            }),
        };
        let asked_at = scene.env.now();
        self.command(Asked::Subscribe { channel, from, asked_at }, "subscribe", body)
    }

    pub(crate) fn is_wanted(&self, channel: usize) -> bool {
        self.wanted.get(&channel).copied().unwrap_or_default()
    }

    fn any(&mut self, scene: &mut Scene<'_>, number: usize) -> String {
        let channel = scene.env.below(scene.channels.len());
        let name = scene.channels[channel].name.clone();
        match scene.env.below(10) {
            0..3 if self.is_wanted(channel) => {
                self.wanted.insert(channel, false);
                let body = json!({"channel": name});
                self.command(Asked::Unsubscribe { channel }, "unsubscribe", body)
            }
            0..4 if !self.is_wanted(channel) => self.subscribe(scene, channel),
            4 if scene.channels[channel].history.is_some() => {
                let body = json!({"channel": name, "limit": scene.env.below(5)});
                self.command(Asked::History { channel }, "history", body)
            }
            _ => {
                let (id, data) = publication(scene, channel, Publisher::Client(number));
                let data: Value = serde_json::from_str(&data).expect("JSON");
                let body = json!({"channel": name, "data": data});
                self.command(Asked::Publish { id }, "publish", body)
            }
        }
    }

    fn command(&mut self, asked: Asked, method: &str, body: Value) -> String {
        self.last_command += 1;
        self.unanswered.insert(self.last_command, asked);
        json!({"id": self.last_command, method: body}).to_string()
    }

    /// A reply or a push.
    pub(crate) fn on_line(
        &mut self,
        scene: &mut Scene<'_>,
        runs: &mut BTreeMap<usize, Run>,
        line: &Value,
    ) {
        if let Some(push) = line.get("push") {
            return self.on_push(scene, runs, push);
        }
        let id = line["id"].as_u64().unwrap_or_else(|| panic!("neither reply nor push: {line}"));
        let asked = self.unanswered.remove(&u32::try_from(id).expect("a command's"));
        let asked = asked.unwrap_or_else(|| panic!("a reply nobody asked for: {line}"));
        if let Some(error) = line.get("error") {
            return on_error(scene, &asked, error);
        }
        match asked {
            Asked::Connect => {
                self.name = Some(line["connect"]["client"].as_str().expect("a name").to_owned());
            }
            Asked::Publish { id } => {
                assert!(line.get("publish").is_some(), "{line}");
                scene.oracle.accept(id, None);
            }
            Asked::Unsubscribe { channel } => {
                assert!(line.get("unsubscribe").is_some(), "{line}");
                if let Some(run) = runs.remove(&channel) {
                    scene.oracle.assert_no_late_start("a client that unsubscribed", &run);
                    self.kept.extend(run.position.map(|at| (channel, at)));
                }
            }
            Asked::Subscribe { channel, from, asked_at } => {
                let run = subscribed(scene, channel, from, asked_at, &line["subscribe"]);
                assert!(runs.insert(channel, run).is_none(), "subscribed twice");
            }
            Asked::History { channel } => {
                let page = &line["history"];
                let epoch = page["epoch"].as_str().expect("an epoch");
                for entry in page["publications"].as_array().expect("a page") {
                    let offset = entry["offset"].as_u64().expect("an offset");
                    scene.oracle.place(channel, epoch, offset, id_of(&entry["data"]));
                }
            }
        }
    }

    fn on_push(&mut self, scene: &mut Scene<'_>, runs: &mut BTreeMap<usize, Run>, push: &Value) {
        let name = push["channel"].as_str().unwrap_or_else(|| panic!("no channel: {push}"));
        let channel = scene.channels.iter().position(|channel| channel.name == name);
        let channel = channel.unwrap_or_else(|| panic!("an unknown channel: {push}"));
        if let Some(how) = push.get("subscribe") {
            let position = position(how, Duration::ZERO);
            let loss = scene.channels[channel].loss;
            let run = Run::new(channel, scene.env.moment(), position, loss);
            assert!(runs.insert(channel, run).is_none(), "subscribed twice");
            return self.note_told(channel, true);
        }
        let run = runs.get_mut(&channel);
        let run = run.unwrap_or_else(|| panic!("a push without a subscription: {push}"));
        if let Some(publication) = push.get("pub") {
            receive(scene, run, publication);
        } else if let Some(join) = push.get("join") {
            run.note_presence(join["info"]["client"].as_str().expect("a client"), true);
        } else if let Some(leave) = push.get("leave") {
            run.note_presence(leave["info"]["client"].as_str().expect("a client"), false);
        } else {
            assert!(push.get("unsubscribe").is_some(), "an unknown push: {push}");
            let run = runs.remove(&channel).expect("just looked at");
            self.kept.extend(run.position.map(|at| (channel, at)));
            self.note_told(channel, false);
        }
    }

    /// The backend subscribed or unsubscribed the client. What it has asked for itself and has no
    /// reply to comes after that.
    fn note_told(&mut self, channel: usize, is_subscribed: bool) {
        let is_settled = !self.unanswered.values().any(|asked| asked.is_about(channel));
        if is_settled {
            self.wanted.insert(channel, is_subscribed);
        }
    }
}

impl Asked {
    /// Whether the reply changes the subscription to `channel`.
    fn is_about(&self, channel: usize) -> bool {
        match self {
            Self::Subscribe { channel: one, .. } | Self::Unsubscribe { channel: one } => {
                *one == channel
            }
            Self::Connect | Self::Publish { .. } | Self::History { .. } => false,
        }
    }
}

/// Errors are answers too, but only one is due to what these clients ask: the backend was first.
fn on_error(scene: &mut Scene<'_>, asked: &Asked, error: &Value) {
    if let (Asked::Subscribe { .. }, Some(105)) = (asked, error["code"].as_u64()) {
        return;
    }
    if let Asked::Publish { id } = asked {
        scene.oracle.refuse(*id);
    }
    panic!("{asked:?} was answered with {error}");
}

fn receive(scene: &mut Scene<'_>, run: &mut Run, publication: &Value) {
    let offset = publication["offset"].as_u64().expect("an offset");
    scene.oracle.receive(run, id_of(&publication["data"]), Some(offset));
}

/// The subscription that a reply tells of. Whoever asked for what it missed must get it, if the
/// channel keeps so much for so long.
fn subscribed(
    scene: &mut Scene<'_>,
    channel: usize,
    from: Option<Position>,
    asked_at: Duration,
    reply: &Value,
) -> Run {
    let position = position(reply, asked_at);
    let moment = scene.env.moment();
    let loss = scene.channels[channel].loss;
    let is_recovered = reply["recovered"] == true;
    assert_eq!(reply["was_recovering"] == true, from.is_some(), "{reply}");
    if let (Some(from), Some(Position { epoch, offset, .. })) = (&from, &position)
        && !is_recovered
        && from.epoch == *epoch
        && let Some(history) = scene.channels[channel].history
    {
        let is_kept = offset - from.offset <= u64::from(history.size);
        let is_young = scene.env.now() - from.since + Duration::from_millis(2)
            < Duration::from_millis(history.ttl_ms);
        assert!(!is_kept || !is_young, "from {from:?} to {offset} nothing was recovered");
    }
    match from {
        Some(from) if is_recovered => {
            let epoch = position.map(|position| position.epoch);
            assert_eq!(epoch.as_ref(), Some(&from.epoch), "recovered from another stream");
            let mut run = Run::new(channel, moment, Some(from), loss);
            for publication in reply["publications"].as_array().into_iter().flatten() {
                receive(scene, &mut run, publication);
            }
            run
        }
        _ => Run::new(channel, moment, position, loss),
    }
}

/// The position that is told, if one is.
fn position(told: &Value, since: Duration) -> Option<Position> {
    let epoch = told["epoch"].as_str()?.to_owned();
    Some(Position { epoch, offset: told["offset"].as_u64().unwrap_or(0), since })
}
