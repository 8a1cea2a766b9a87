//! The query of `/raw`: `channel=A&channel=B&publish=1&token=T`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::super::claims::TokenText;
use super::{RawEntry, Refusal};
use crate::id::ChannelName;
use crate::limits;

/// Reads the query. Names and values are decoded as browsers encode them (`%XX`, `+` for a blank;
/// a `%` that begins no escape stands for itself). Parameters with other names are ignored.
///
/// # Errors
/// A channel is missing, empty, too long or not UTF-8, there are too many, or `publish` is neither
/// `0` nor `1`.
pub(super) fn parse(query: Option<&str>) -> Result<RawEntry, Refusal> {
    let mut channels: Vec<ChannelName> = Vec::new();
    let mut publish = false;
    let mut number = 0;
    for pair in query.unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match &*decode(name) {
            b"channel" => {
                number += 1;
                let channel = parse_channel(&decode(value), number)?;
                if channels.iter().any(|known| **known == *channel) {
                    continue;
                }
                if channels.len() == limits::CHANNELS_PER_CONNECTION_MAX {
                    return Err(Refusal::ChannelsTooMany);
                }
                channels.push(channel);
            }
            b"publish" => match &*decode(value) {
                b"1" => publish = true,
                b"0" => publish = false,
                _ => return Err(Refusal::PublishMalformed),
            },
            _ => {}
        }
    }
    if channels.is_empty() {
        return Err(Refusal::ChannelMissing);
    }
    Ok(RawEntry { channels: channels.into(), publish, expire_at: None, user: None })
}

/// The token in the query; an empty one is none.
///
/// # Errors
/// There are two.
pub(super) fn token(query: Option<&str>) -> Result<Option<TokenText>, Refusal> {
    let mut found = None;
    for pair in query.unwrap_or_default().split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if *decode(name) != *b"token" || value.is_empty() {
            continue;
        }
        // What is not UTF-8 is no token either way.
        let token = TokenText::new(&String::from_utf8_lossy(&decode(value)));
        if found.replace(token).is_some() {
            return Err(Refusal::TokenTwice);
        }
    }
    Ok(found)
}

/// Whether the query of the Centrifuge protocol asks for Protobuf.
pub(super) fn asks_for_protobuf(query: Option<&str>) -> bool {
    ["format", "cf_protocol"].iter().any(|name| has(query, name, "protobuf"))
}

/// Whether the query of the Centrifuge protocol asks for pings in control frames.
pub(super) fn asks_for_frame_pings(query: Option<&str>) -> bool {
    has(query, "cf_ws_frame_ping_pong", "true")
}

/// Whether a parameter has this value.
fn has(query: Option<&str>, name: &str, value: &str) -> bool {
    query.unwrap_or_default().split('&').any(|pair| {
        let (one, its) = pair.split_once('=').unwrap_or((pair, ""));
        *decode(one) == *name.as_bytes() && *decode(its) == *value.as_bytes()
    })
}

/// The name of channel `number` of the query, counted from 1.
fn parse_channel(name: &[u8], number: usize) -> Result<ChannelName, Refusal> {
    if name.is_empty() {
        return Err(Refusal::ChannelEmpty { number });
    }
    if name.len() > limits::CHANNEL_NAME_MAX {
        return Err(Refusal::ChannelTooLong { number });
    }
    let name = str::from_utf8(name).map_err(|_| Refusal::ChannelNotUtf8 { number })?;
    Ok(name.into())
}

/// The bytes that `text` stands for.
fn decode(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        // A blank may come through decoding only once: `%2B` is a plus and stays one.
        percent_decode_str(&text.replace('+', " ")).collect::<Vec<u8>>().into()
    } else {
        percent_decode_str(text).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(query: &str) -> Vec<String> {
        let entry = parse(Some(query)).expect(query);
        entry.channels.iter().map(|channel| channel.to_string()).collect()
    }

    #[test]
    fn names_are_decoded_and_keep_their_first_place() {
        assert_eq!(channels("channel=b&channel=a&channel=b&channel=%61"), ["b", "a"]);
        assert_eq!(channels("channel=a+b%2Bc%20d"), ["a b+c d"]);
        assert_eq!(channels("ch%61nnel=%C3%A4&x&=&y=1"), ["\u{e4}"]);
        assert_eq!(channels("channel=100%&channel=%zz&channel=a%3D=b"), ["100%", "%zz", "a==b"]);
        assert_eq!(channels("channel=a%00%1b"), ["a\0\u{1b}"]);
    }

    #[test]
    fn publish_is_0_or_1() {
        for (query, publish) in [
            ("channel=a", false),
            ("publish=1&channel=a", true),
            ("channel=a&publish=%31", true),
            ("channel=a&publish=1&publish=0", false),
        ] {
            assert_eq!(parse(Some(query)).expect(query).publish, publish, "{query}");
        }
        for query in [
            "channel=a&publish",
            "channel=a&publish=",
            "channel=a&publish=yes",
            "channel=a&publish=11",
        ] {
            assert_eq!(parse(Some(query)), Err(Refusal::PublishMalformed), "{query}");
        }
    }

    #[test]
    fn what_is_no_channel() {
        for query in ["", "x=1", "Channel=a", "channels=a"] {
            assert_eq!(parse(Some(query)), Err(Refusal::ChannelMissing), "{query}");
        }
        assert_eq!(parse(None), Err(Refusal::ChannelMissing));
        assert_eq!(parse(Some("channel")), Err(Refusal::ChannelEmpty { number: 1 }));
        assert_eq!(parse(Some("channel=a&channel=")), Err(Refusal::ChannelEmpty { number: 2 }));
        assert_eq!(parse(Some("channel=%ff")), Err(Refusal::ChannelNotUtf8 { number: 1 }));
        let name = "a".repeat(limits::CHANNEL_NAME_MAX);
        assert_eq!(channels(&format!("channel={name}")), [name.as_str()]);
        let long = format!("channel=b&channel={name}a");
        assert_eq!(parse(Some(&long)), Err(Refusal::ChannelTooLong { number: 2 }));
        // The limit is on what the name says, not on how it is written.
        let escaped = format!("channel={}", "%61".repeat(limits::CHANNEL_NAME_MAX));
        assert_eq!(channels(&escaped), [name.as_str()]);
    }

    #[test]
    fn the_129th_channel_is_one_too_many_and_duplicates_do_not_count() {
        let max = limits::CHANNELS_PER_CONNECTION_MAX;
        let query: Vec<String> = (0..max).map(|n| format!("channel=c{n}&channel=c0")).collect();
        let query = query.join("&");
        assert_eq!(channels(&query).len(), max);
        assert_eq!(parse(Some(&format!("{query}&channel=x"))), Err(Refusal::ChannelsTooMany));
    }
}
