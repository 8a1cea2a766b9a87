//! The handshake table on the modules alone: head reader, request, admission, answer.

mod rules;

use std::collections::HashSet;

use rules::handshake::{End, HandshakeRow, rows};
use tidegate::accept::Site;
use tidegate::accept::answer::Answer;
use tidegate::lifecycle::Phase;
use tidegate::protocol::admission::{Origins, Policy};
use tidegate::protocol::channel::{Audience, ChannelOptions, Namespaces};
use tidegate::ws::handshake::{HeadReader, Request};

/// What `--dev` allows.
fn site() -> Site {
    let open = ChannelOptions {
        allow_subscribe: Audience::Anyone,
        allow_publish: Audience::Anyone,
        ..ChannelOptions::default()
    };
    let policy = Policy {
        echo: true,
        demo: true,
        compression: false,
        origins: Origins::new(&[], true),
        channels: Namespaces::new(open, []),
        ..Policy::default()
    };
    Site { policy, admin: ([127, 0, 0, 1], 8001).into(), keyed: false }
}

/// Feeds `input` in pieces of `step` bytes; `None`: no answer yet at its end.
fn answer(input: &[u8], step: usize, site: &Site) -> Option<(Answer, usize)> {
    let mut reader = HeadReader::new();
    let mut len = 0;
    while len < input.len() {
        len = (len + step).min(input.len());
        match reader.handle(&input[..len]) {
            Ok(None) => {}
            Ok(Some(head_len)) => {
                let answer = match Request::parse(&input[..head_len]) {
                    Ok(request) => Answer::to_request(&request, site, Phase::Serving),
                    Err(error) => Answer::to_fault(error),
                };
                return Some((answer, head_len));
            }
            Err(error) => return Some((Answer::to_fault(error), len)),
        }
    }
    None
}

fn check(row: &HandshakeRow, step: usize, site: &Site) {
    let name = format!("{} {} in steps of {step}", row.rule, row.name);
    let Some((answer, head_len)) = answer(&row.input, step, site) else {
        assert_eq!(row.end, End::Deadline, "{name}: no answer");
        return;
    };
    let (response, end) = match answer {
        Answer::Upgrade { response, .. } => (response, End::Open),
        Answer::Undecided(_) => panic!("no row shows a token"),
        Answer::Page { response } | Answer::Refused { response, .. } => (response, End::Closed),
    };
    let text = String::from_utf8_lossy(&response);
    assert_eq!(text, String::from_utf8_lossy(&row.expect), "{name}");
    assert_eq!(end, row.end, "{name}");
    if end == End::Open {
        assert_eq!(row.input[head_len..], row.leftover, "{name}");
    }
}

#[test]
fn every_row_whole_and_byte_by_byte() {
    let site = site();
    for row in rows() {
        check(&row, usize::MAX, &site);
        check(&row, 1, &site);
    }
}

#[test]
fn every_row_split_once_at_every_offset() {
    let site = site();
    // Rows about limits are long; halves, thirds and so on of them will do.
    for row in rows().into_iter().filter(|row| row.input.len() < 1_000) {
        for step in 2..=row.input.len() {
            check(&row, step, &site);
        }
    }
}

#[test]
fn every_rule_has_a_row_and_every_row_a_name() {
    let rows = rows();
    let rules: HashSet<_> = rows.iter().map(|row| row.rule.to_owned()).collect();
    let expect: HashSet<_> = (1..=18).map(|number| format!("H{number}")).collect();
    assert_eq!(rules, expect);
    let names: HashSet<_> = rows.iter().map(|row| (row.rule, row.name)).collect();
    assert_eq!(names.len(), rows.len(), "two rows have one name");
}
