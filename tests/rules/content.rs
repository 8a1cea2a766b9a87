//! F10 to F17: what frames carry, how much of it, and what follows a Close.

use super::{
    FRAGMENT_LIMIT, FrameRow, MESSAGE_LIMIT, answer, bytes, client, client_keyed, close, closes,
    declared, open,
};

pub(crate) fn pings(rows: &mut Vec<FrameRow>) {
    for (name, payload) in [
        ("empty ping", Vec::new()),
        ("ping of text", b"are you there".to_vec()),
        ("ping that is no text", vec![0x00, 0xFF, 0xFE, 0xC0]),
        ("ping of 125 bytes", bytes(125)),
    ] {
        let (input, expect) = (client(0x89, &payload), answer(0x8A, &payload));
        open(rows, "F10", name, input, expect);
    }
    let (mut input, mut expect) = (Vec::new(), Vec::new());
    for number in 0..10 {
        input.extend(client(0x89, &[number]));
        expect.extend(answer(0x8A, &[number]));
    }
    open(rows, "F10", "ten pings back to back", input, expect);
    let name = "unsolicited pongs are ignored";
    let input = [client(0x8A, b""), client(0x8A, &bytes(125)), client(0x89, b"x")];
    open(rows, "F10", name, input.concat(), answer(0x8A, b"x"));
}

pub(crate) fn close_bodies(rows: &mut Vec<FrameRow>) {
    closes(rows, "F11", "empty body", client(0x88, b""), answer(0x88, b""));
    let fault = close(1002, "close body of one byte");
    closes(rows, "F11", "one byte", client(0x88, &[3]), fault);

    let longest = "r".repeat(123);
    for (name, reason) in [
        ("reason", "bye".as_bytes()),
        ("reason beyond ASCII", "tschüß €😀".as_bytes()),
        ("reason of 123 bytes", longest.as_bytes()),
    ] {
        let body = [&[3, 232], reason].concat();
        closes(rows, "F11", name, client(0x88, &body), close(1000, ""));
    }
    let fault = close(1007, "close reason is not UTF-8");
    for (name, reason) in [
        ("reason with an invalid byte", &b"a\xFFb"[..]),
        ("reason with a surrogate", b"\xED\xA0\x80"),
        ("reason that ends inside a character", b"\xE2\x82"),
    ] {
        let body = [&[3, 232], reason].concat();
        closes(rows, "F11", name, client(0x88, &body), fault.clone());
    }
}

pub(crate) fn close_codes(rows: &mut Vec<FrameRow>) {
    let taken = [
        ("code 1000", 1000),
        ("code 1001", 1001),
        ("code 1002", 1002),
        ("code 1003", 1003),
        ("code 1007", 1007),
        ("code 1008", 1008),
        ("code 1009", 1009),
        ("code 1010", 1010),
        ("code 1011", 1011),
        ("code 1012", 1012),
        ("code 1013", 1013),
        ("code 1014", 1014),
        ("code 3000", 3000),
        ("code 3999", 3999),
        ("code 4000", 4000),
        ("code 4999", 4999),
    ];
    for (name, code) in taken {
        let input = client(0x88, &u16::to_be_bytes(code));
        closes(rows, "F11", name, input, close(code, ""));
    }
    let refused = [
        ("code 0", 0),
        ("code 1", 1),
        ("code 999", 999),
        ("code 1004", 1004),
        ("code 1005", 1005),
        ("code 1006", 1006),
        ("code 1015", 1015),
        ("code 1016", 1016),
        ("code 1100", 1100),
        ("code 2000", 2000),
        ("code 2999", 2999),
        ("code 5000", 5000),
        ("code 65535", 65_535),
    ];
    for (name, code) in refused {
        let input = client(0x88, &u16::to_be_bytes(code));
        let fault = close(1002, "reserved close code");
        closes(rows, "F11", name, input, fault);
    }
}

pub(crate) fn after_close(rows: &mut Vec<FrameRow>) {
    for (name, later) in [
        ("message after close", client(0x81, b"late")),
        ("ping after close", client(0x89, b"late")),
        ("second close", client(0x88, &[3, 233])),
        ("broken frame after close", vec![0xFF; 40]),
        ("half a header after close", vec![0x82]),
    ] {
        let input = [client(0x81, b"a"), client(0x88, &[3, 232]), later].concat();
        let expect = [answer(0x81, b"a"), close(1000, "")].concat();
        closes(rows, "F12", name, input, expect);
    }
    for (name, later) in [
        ("message after a fault", client(0x81, b"late")),
        ("close after a fault", client(0x88, &[3, 232])),
    ] {
        let input = [client(0x83, b""), later].concat();
        closes(rows, "F12", name, input, close(1002, "reserved opcode"));
    }
}

pub(crate) fn good_text(rows: &mut Vec<FrameRow>) {
    for (name, text) in [
        ("ASCII", "Hello"),
        ("two, three and four bytes", "κόσμε €\u{7FF}\u{800}\u{FFFF}\u{10000}"),
        ("the last code point", "\u{10FFFF}"),
        ("beside the surrogates", "\u{D7FF}\u{E000}"),
        ("NUL and the byte order mark", "\0\u{FEFF}"),
    ] {
        let (input, expect) = (client(0x81, text.as_bytes()), answer(0x81, text.as_bytes()));
        open(rows, "F13", name, input, expect);
    }
    let text = "κόσμε €😀".as_bytes();
    let mut input = Vec::new();
    for (index, byte) in text.iter().enumerate() {
        let first = if index == 0 { 0x01 } else { 0x00 };
        input.extend(client(first, &[*byte]));
    }
    input.extend(client(0x80, b""));
    let name = "each byte a fragment of its own";
    open(rows, "F13", name, input, answer(0x81, text));

    let text = "€".repeat(40_000);
    let (input, expect) = (client(0x81, text.as_bytes()), answer(0x81, text.as_bytes()));
    let name = "characters across blocks and reads";
    open(rows, "F13", name, input, expect);
    let name = "binary is not text";
    let (input, expect) = (client(0x82, &[0xFF, 0xC0]), answer(0x82, &[0xFF, 0xC0]));
    open(rows, "F13", name, input, expect);
}

pub(crate) fn bad_text(rows: &mut Vec<FrameRow>) {
    let fault = close(1007, "text is not UTF-8");
    for (name, text) in [
        ("lone continuation byte", &b"a\x80"[..]),
        ("overlong slash in two bytes", b"\xC0\xAF"),
        ("overlong slash in three bytes", b"\xE0\x80\xAF"),
        ("overlong slash in four bytes", b"\xF0\x80\x80\xAF"),
        ("first surrogate", b"\xED\xA0\x80"),
        ("last surrogate", b"\xED\xBF\xBF"),
        ("above 10FFFF", b"\xF4\x90\x80\x80"),
        ("five-byte form", b"\xF8\x88\x80\x80\x80"),
        ("FE and FF", b"\xFE\xFF"),
        ("character cut by another", b"\xE2\x82a"),
        ("ends inside a character", b"Hello \xE2\x82"),
    ] {
        closes(rows, "F13", name, client(0x81, text), fault.clone());
    }
    let name = "surrogate across two fragments";
    let input = [client(0x01, b"a\xED"), client(0x80, b"\xA0\x80")].concat();
    closes(rows, "F13", name, input, fault.clone());
    let name = "last fragment ends inside a character";
    let input = [client(0x01, b"\xE2"), client(0x80, b"\x82")].concat();
    closes(rows, "F13", name, input, fault.clone());
    let name = "empty last fragment inside a character";
    let input = [client(0x01, b"\xE2\x82"), client(0x80, b"")].concat();
    closes(rows, "F13", name, input, fault.clone());
    let name = "fails fast: the message is not complete";
    closes(rows, "F13", name, client(0x01, b"a\xFFb"), fault.clone());
    let name = "fails fast: the frame is not complete";
    let mut input = client(0x81, &[&b"\xFF"[..], &bytes(70_000)].concat());
    input.truncate(20);
    closes(rows, "F13", name, input, fault.clone());
    let name = "fails fast: after a large part";
    let mut text = "€".repeat(20_000).into_bytes();
    text.extend_from_slice(b"\x80");
    closes(rows, "F13", name, client(0x81, &text), fault);
}

pub(crate) fn sizes(rows: &mut Vec<FrameRow>) {
    let fault = close(1009, "message over the size limit");
    for (name, len) in [
        ("limit + 1 declared", MESSAGE_LIMIT + 1),
        ("2^32 declared", 1 << 32),
        ("2^63 - 1 declared", (1 << 63) - 1),
    ] {
        closes(rows, "F14", name, declared(0x82, len), fault.clone());
    }
    let name = "sum of fragments: 1 and the limit";
    let input = [client(0x02, b"x"), declared(0x80, MESSAGE_LIMIT)].concat();
    closes(rows, "F14", name, input, fault.clone());
    let name = "sum of fragments: 1 and 2^63 - 1";
    let input = [client(0x02, b"x"), declared(0x00, (1 << 63) - 1)].concat();
    closes(rows, "F14", name, input, fault.clone());
    let name = "a ping in between does not count";
    let input = [
        client(0x02, &bytes(1000)),
        client(0x89, &bytes(125)),
        declared(0x80, MESSAGE_LIMIT - 999),
    ];
    let expect = [answer(0x8A, &bytes(125)), fault];
    closes(rows, "F14", name, input.concat(), expect.concat());
}

pub(crate) fn fragment_counts(rows: &mut Vec<FrameRow>) {
    let start = client(0x02, b"");
    let more = |count| client(0x00, b"").repeat(count);
    let end = client(0x80, b"");
    let name = "as many fragments as the limit";
    let input = [&start[..], &more(FRAGMENT_LIMIT - 2), &end].concat();
    open(rows, "F15", name, input, answer(0x82, b""));
    let name = "one fragment more than the limit";
    let input = [&start[..], &more(FRAGMENT_LIMIT)].concat();
    let fault = close(1008, "too many fragments");
    closes(rows, "F15", name, input, fault);
}

pub(crate) fn mask_phases(rows: &mut Vec<FrameRow>) {
    let (mut input, mut expect) = (Vec::new(), Vec::new());
    for len in 0..=130 {
        input.extend(client(0x82, &bytes(len)));
        expect.extend(answer(0x82, &bytes(len)));
    }
    open(rows, "F16", "all lengths from 0 to 130", input, expect);

    let (mut input, mut expect) = (Vec::new(), Vec::new());
    for key in [[0; 4], [0xFF; 4], [1, 0, 0, 0], [0, 0, 0, 0x80]] {
        input.extend(client_keyed(0x82, &bytes(77), key));
        expect.extend(answer(0x82, &bytes(77)));
    }
    open(rows, "F16", "other keys, also zero", input, expect);

    let (mut input, mut whole) = (Vec::new(), Vec::new());
    for len in 1..=9 {
        let first = if len == 1 { 0x02 } else { 0x00 };
        input.extend(client_keyed(first, &bytes(len), [len as u8, 2, 3, 4]));
        whole.extend(bytes(len));
    }
    input.extend(client(0x80, b""));
    let name = "each fragment starts its own key anew";
    open(rows, "F16", name, input, answer(0x82, &whole));
}

pub(crate) fn empty_frames(rows: &mut Vec<FrameRow>) {
    for (name, first) in [("empty text", 0x81), ("empty binary", 0x82)] {
        open(rows, "F17", name, client(first, b""), answer(first, b""));
    }
    let name = "all fragments empty";
    let input = [client(0x01, b""), client(0x00, b""), client(0x80, b"")].concat();
    open(rows, "F17", name, input, answer(0x81, b""));
    let name = "empty fragments around a full one";
    let input = [client(0x01, b""), client(0x00, b"full"), client(0x00, b""), client(0x80, b"")];
    open(rows, "F17", name, input.concat(), answer(0x81, b"full"));
    let name = "a hundred empty messages";
    let (input, expect) = (client(0x82, b""), answer(0x82, b""));
    open(rows, "F17", name, input.repeat(100), expect.repeat(100));
}
