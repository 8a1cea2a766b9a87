//! Rules C1 to C4 of the negotiation, from both ends.

use super::*;
use crate::ws::handshake::extension;

fn list(value: &str) -> Vec<Extension<'_>> {
    let mut list = Vec::new();
    extension::parse(value.as_bytes(), &mut list).expect("follows the grammar");
    list
}

/// The answer to an offer; `None`: declined.
fn answer(policy: &DeflatePolicy, offer: &str) -> Option<String> {
    policy.choose(&list(offer)).map(|answer| answer.to_string())
}

fn answer_any(offer: &str) -> Option<String> {
    answer(&DeflatePolicy::ANY, offer)
}

#[test]
fn c1_an_offer_that_breaks_a_rule_is_declined_and_the_next_one_tried() {
    for bad in [
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=10",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=true",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=08",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; server_max_window_bits=9.0",
        "permessage-deflate; server_max_window_bits=1000000000000",
        "permessage-deflate; client_max_window_bits=09",
        "permessage-deflate; client_max_window_bits=0",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=-9",
        "x-webkit-deflate-frame",
        "Permessage-Deflate",
    ] {
        assert_eq!(answer_any(bad), None, "{bad}");
        let next = format!("{bad}, permessage-deflate");
        assert_eq!(answer_any(&next).as_deref(), Some("permessage-deflate"), "{next}");
    }
    assert_eq!(answer_any(""), None);
}

#[test]
fn c2_the_clients_window_is_named_only_where_it_was_offered() {
    let policy = DeflatePolicy { client_window_bits_max: 11, ..DeflatePolicy::ANY };
    for (offer, expected) in [
        ("permessage-deflate", "permessage-deflate"),
        (
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=11",
        ),
        (
            "permessage-deflate; client_max_window_bits=15",
            "permessage-deflate; client_max_window_bits=11",
        ),
        (
            "permessage-deflate; client_max_window_bits=\"10\"",
            "permessage-deflate; client_max_window_bits=10",
        ),
        // Said to use 8, a client uses 9 or fails; not limited, it uses what it can.
        ("permessage-deflate; client_max_window_bits=8", "permessage-deflate"),
    ] {
        assert_eq!(answer(&policy, offer).as_deref(), Some(expected), "{offer}");
    }
    let params = policy.choose(&list("permessage-deflate")).expect("accepted").params;
    assert_eq!(params.client_window_bits, 15, "who cannot be told may use all");
}

#[test]
fn c3_no_compressor_is_agreed_to_have_a_window_of_8() {
    for bits in 8..=15 {
        let offer = format!("permessage-deflate; server_max_window_bits={bits}");
        let expected = (bits > 8).then_some(offer.as_str());
        assert_eq!(answer_any(&offer).as_deref(), expected);

        let client = format!("permessage-deflate; client_max_window_bits={bits}");
        let params = DeflatePolicy::ANY.choose(&list(&client)).expect("accepted").params;
        assert_eq!(params.client_window_bits, if bits == 8 { 15 } else { bits });
        let checked = DeflateOffer::ANY.check(&list(&client));
        if bits == 8 {
            assert_eq!(checked, Err(ResponseError::DeflateWindowTooSmall));
        } else {
            assert_eq!(checked.map(|params| params.map(|p| p.client_window_bits)), Ok(Some(bits)));
        }
    }
    let inflates_8 = list("permessage-deflate; server_max_window_bits=8");
    let params = DeflateOffer::ANY.check(&inflates_8).expect("fine").expect("compressed");
    assert_eq!(params.server_window_bits, 8);
}

#[test]
fn what_the_offer_asks_for_stands_in_the_answer() {
    for (offer, expected) in [
        ("permessage-deflate; server_no_context_takeover", None),
        ("permessage-deflate; client_no_context_takeover", None),
        ("permessage-deflate; server_max_window_bits=15", None),
        (
            "permessage-deflate; client_max_window_bits=9; server_max_window_bits=10; \
             client_no_context_takeover; server_no_context_takeover",
            Some(
                "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                 server_max_window_bits=10; client_max_window_bits=9",
            ),
        ),
    ] {
        assert_eq!(answer_any(offer).as_deref(), Some(expected.unwrap_or(offer)));
    }
    let narrow = DeflatePolicy { server_window_bits_max: 12, ..DeflatePolicy::ANY };
    let told = Some("permessage-deflate; server_max_window_bits=12");
    assert_eq!(answer(&narrow, "permessage-deflate").as_deref(), told);
    let offer = "permessage-deflate; server_max_window_bits=14";
    assert_eq!(answer(&narrow, offer).as_deref(), told);
}

#[test]
fn a_shared_copy_declines_a_smaller_window_of_the_server() {
    let shared = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for (offer, expected) in [
        ("permessage-deflate", Some(shared.to_owned())),
        ("permessage-deflate; client_max_window_bits", Some(shared.to_owned())),
        (
            "permessage-deflate; server_max_window_bits=15",
            Some(format!("{shared}; server_max_window_bits=15")),
        ),
        ("permessage-deflate; server_max_window_bits=14", None),
        ("permessage-deflate; server_max_window_bits=9", None),
        (
            "permessage-deflate; server_max_window_bits=9, permessage-deflate",
            Some(shared.to_owned()),
        ),
    ] {
        assert_eq!(answer(&DeflatePolicy::SHARED, offer), expected, "{offer}");
    }
}

#[test]
fn answers_a_client_refuses() {
    use ResponseError::*;
    let plain = DeflateOffer { client_window_bits: None, ..DeflateOffer::ANY };
    let narrow =
        DeflateOffer { server_window_bits: 10, client_window_bits: Some(10), ..DeflateOffer::ANY };
    let alone = DeflateOffer { server_no_context_takeover: true, ..DeflateOffer::ANY };
    for (offer, answer, error) in [
        (plain, "permessage-deflate; unknown", DeflateMalformed),
        (plain, "permessage-deflate, permessage-deflate", DeflateMalformed),
        (plain, "permessage-deflate; server_max_window_bits", DeflateMalformed),
        (plain, "permessage-deflate; server_max_window_bits=16", DeflateMalformed),
        (plain, "permessage-deflate; server_max_window_bits=010", DeflateMalformed),
        (narrow, "permessage-deflate; client_max_window_bits", DeflateMalformed),
        (plain, "permessage-deflate; client_max_window_bits=10", DeflateNotOffered),
        (narrow, "permessage-deflate", DeflateNotOffered),
        (narrow, "permessage-deflate; server_max_window_bits=11", DeflateNotOffered),
        (
            narrow,
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=11",
            DeflateNotOffered,
        ),
        (alone, "permessage-deflate", DeflateNotOffered),
    ] {
        assert_eq!(offer.check(&list(answer)), Err(error), "{answer}");
    }
    assert_eq!(plain.check(&list("")), Ok(None));
}

#[test]
fn a_client_keeps_to_its_own_offer_and_to_the_answer() {
    let own = DeflateOffer {
        client_window_bits: Some(10),
        client_no_context_takeover: true,
        ..DeflateOffer::ANY
    };
    let params = own.check(&list("permessage-deflate")).expect("fine").expect("compressed");
    assert_eq!(params.client_window_bits, 10);
    assert!(params.client_no_context_takeover && !params.server_no_context_takeover);
    let told = list(
        "permessage-deflate; client_no_context_takeover; server_no_context_takeover; \
         server_max_window_bits=9; client_max_window_bits=9",
    );
    let params = DeflateOffer::ANY.check(&told).expect("fine").expect("compressed");
    let expected = DeflateParams {
        server_window_bits: 9,
        client_window_bits: 9,
        server_no_context_takeover: true,
        client_no_context_takeover: true,
    };
    assert_eq!(params, expected);
}

#[test]
fn both_ends_mean_the_same_whatever_is_offered_to_whatever_policy() {
    let flags = [false, true];
    for (server_bits, client_bits) in (9..=15).flat_map(|a| (8..=15).map(move |b| (a, b))) {
        for (server_alone, client_alone) in flags.map(|a| flags.map(|b| (a, b))).concat() {
            let offer = DeflateOffer {
                server_window_bits: server_bits,
                client_window_bits: (client_bits > 8).then_some(client_bits),
                server_no_context_takeover: server_alone,
                client_no_context_takeover: client_alone,
            };
            for policy in [
                DeflatePolicy::ANY,
                DeflatePolicy::SHARED,
                DeflatePolicy {
                    server_window_bits_max: 11,
                    client_window_bits_max: 9,
                    ..DeflatePolicy::ANY
                },
            ] {
                let sent = offer.to_string();
                let Some(answer) = policy.choose(&list(&sent)) else {
                    assert!(server_bits < policy.server_window_bits_min);
                    continue;
                };
                let received = answer.to_string();
                let params = offer.check(&list(&received)).expect("a good answer");
                assert_eq!(params, Some(answer.params), "{sent} answered {received}");
            }
        }
    }
}
