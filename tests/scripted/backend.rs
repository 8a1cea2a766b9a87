//! The thread that asks backends, played by the test: what it is asked, and what it answers.

use tidegate::mail::{AuthAsk, HookAnswer, HookAsk, Request, Ruling, Verdict};
use tidegate::protocol::claims::{Overrides, SubscriptionClaims};
use tidegate::protocol::hook::{HookOutcome, HookRefused, HookReply};
use tidegate::ws::CloseCode;

use super::{START_UNIX_S, World};

pub(crate) fn asked(world: &mut World) -> HookAsk {
    match world.auth.asks_in[0].pop() {
        Ok(AuthAsk::Hook(ask)) => ask,
        other => panic!("no question: {other:?}"),
    }
}

pub(crate) fn answer(world: &mut World, ask: &HookAsk, outcome: HookOutcome) {
    let channel = ask.call.channel().cloned();
    let answer = HookAnswer { hook: ask.call.hook(), client: ask.call.client, channel, outcome };
    let verdict = Verdict { asker: ask.asker, ruling: Ruling::Hook(answer) };
    let lane = &mut world.auth.verdicts_out[0];
    lane.push(Request::Verdict(Box::new(verdict))).expect("room");
    lane.bell().ring();
    world.settle();
}

pub(crate) fn at(seconds: u64) -> u64 {
    START_UNIX_S + seconds
}

pub(crate) fn grant(channel: &str, ttl: Option<u64>) -> HookOutcome {
    Ok(HookReply::Subscribe(SubscriptionClaims {
        user: "ann".into(),
        channel: channel.into(),
        client: None,
        expire_at: ttl.map(at),
        info: Some(r#"{"role":"x"}"#.into()),
        overrides: Overrides { force_positioning: Some(true), ..Overrides::default() },
        data: Some("[\n1]".into()),
    }))
}

pub(crate) fn error(code: u32) -> HookOutcome {
    Err(HookRefused::Error { code, message: "no \"way\"".into(), temporary: false })
}

pub(crate) fn disconnect(code: u16) -> HookOutcome {
    let code = CloseCode::new(code).expect("a code");
    Err(HookRefused::Disconnect { code, reason: "out".into() })
}
