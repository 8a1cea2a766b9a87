//! F1 to F9: headers, and the order of frames.

use super::{FrameRow, KEY, answer, bytes, client, close, closes, declared, open};

pub(crate) fn masking(rows: &mut Vec<FrameRow>) {
    let fault = close(1002, "client frame not masked");
    for (name, input) in [
        ("text without mask", answer(0x81, b"Hello")),
        ("empty binary without mask", answer(0x82, b"")),
        ("ping without mask", answer(0x89, b"")),
    ] {
        closes(rows, "F1", name, input, fault.clone());
    }
    let input = [client(0x81, b"Hello"), answer(0x81, b"Hello"), client(0x81, b"later")];
    let expect = [answer(0x81, b"Hello"), fault];
    let name = "masked, then without mask";
    closes(rows, "F1", name, input.concat(), expect.concat());

    let hello = b"\x81\x85\x37\xFA\x21\x3D\x7F\x9F\x4D\x51\x58".to_vec();
    let name = "answer is not masked: the example of section 5.7";
    open(rows, "F2", name, hello, b"\x81\x05Hello".to_vec());
    for (name, len) in [
        ("answer of 125 bytes", 125),
        ("answer of 126 bytes", 126),
        ("answer of 127 bytes", 127),
        ("answer of 65535 bytes", 65_535),
        ("answer of 65536 bytes", 65_536),
    ] {
        let payload = bytes(len);
        let (input, expect) = (client(0x82, &payload), answer(0x82, &payload));
        open(rows, "F2", name, input, expect);
    }
}

pub(crate) fn first_byte(rows: &mut Vec<FrameRow>) {
    let fault = close(1002, "reserved bit set");
    for (name, first) in [
        ("RSV1 on text", 0xC1),
        ("RSV2 on text", 0xA1),
        ("RSV3 on text", 0x91),
        ("all three on binary", 0xF2),
        ("RSV1 on ping", 0xC9),
        ("RSV3 on close", 0x98),
        ("RSV1 on a reserved opcode", 0xC3),
    ] {
        closes(rows, "F3", name, client(first, b"x"), fault.clone());
    }
    let name = "what came before is answered";
    let input = [client(0x82, b"good"), client(0xC2, b"bad")].concat();
    let expect = [answer(0x82, b"good"), fault].concat();
    closes(rows, "F3", name, input, expect);

    let fault = close(1002, "reserved opcode");
    for (name, first) in [
        ("opcode 3", 0x83),
        ("opcode 4", 0x84),
        ("opcode 5", 0x85),
        ("opcode 6", 0x86),
        ("opcode 7", 0x87),
        ("opcode 11", 0x8B),
        ("opcode 12", 0x8C),
        ("opcode 13", 0x8D),
        ("opcode 14", 0x8E),
        ("opcode 15", 0x8F),
        ("opcode 3 without FIN", 0x03),
        ("opcode 11 without FIN", 0x0B),
    ] {
        closes(rows, "F4", name, client(first, b""), fault.clone());
    }
    let name = "opcode 15 inside a message";
    let input = [client(0x01, b"a"), client(0x8F, b"")].concat();
    closes(rows, "F4", name, input, fault);
}

pub(crate) fn length_forms(rows: &mut Vec<FrameRow>) {
    let fault = close(1002, "length not in its shortest form");
    for (name, len) in [("0 in 16 bits", 0_u16), ("1 in 16 bits", 1), ("125 in 16 bits", 125)] {
        let input = [&[0x82, 0xFE], &len.to_be_bytes()[..], &KEY].concat();
        closes(rows, "F5", name, input, fault.clone());
    }
    for (name, len) in [
        ("0 in 64 bits", 0),
        ("125 in 64 bits", 125),
        ("126 in 64 bits", 126),
        ("65535 in 64 bits", 65_535),
    ] {
        closes(rows, "F5", name, declared(0x82, len), fault.clone());
    }

    let fault = close(1002, "top bit of the length set");
    for (name, len) in [
        ("2^63", 1 << 63),
        ("2^63 + 1", (1 << 63) + 1),
        ("2^64 - 4", u64::MAX - 3),
        ("2^64 - 1", u64::MAX),
    ] {
        closes(rows, "F6", name, declared(0x82, len), fault.clone());
    }
    let name = "2^64 - 1 in a continuation";
    let input = [client(0x02, b"x"), declared(0x80, u64::MAX)].concat();
    closes(rows, "F6", name, input, fault);
}

pub(crate) fn control_frames(rows: &mut Vec<FrameRow>) {
    let fault = close(1002, "control frame fragmented");
    for (name, first) in
        [("close without FIN", 0x08), ("ping without FIN", 0x09), ("pong without FIN", 0x0A)]
    {
        closes(rows, "F7", name, client(first, b""), fault.clone());
    }
    let fault = close(1002, "control frame over 125 bytes");
    for (name, first) in
        [("close of 126 bytes", 0x88), ("ping of 126 bytes", 0x89), ("pong of 126 bytes", 0x8A)]
    {
        closes(rows, "F7", name, client(first, &bytes(126)), fault.clone());
    }
    let name = "ping of 65536 bytes, header only";
    closes(rows, "F7", name, declared(0x89, 65_536), fault);

    let input = [
        client(0x01, b"Hel"),
        client(0x89, b"between"),
        client(0x00, b"l"),
        client(0x8A, b"ignored"),
        client(0x89, &bytes(125)),
        client(0x80, b"o"),
    ];
    let expect = [answer(0x8A, b"between"), answer(0x8A, &bytes(125)), answer(0x81, b"Hello")];
    let name = "control frames between fragments";
    open(rows, "F7", name, input.concat(), expect.concat());
    let name = "close between fragments";
    let input = [client(0x01, b"Hel"), client(0x88, &[3, 232])].concat();
    closes(rows, "F7", name, input, close(1000, ""));
}

pub(crate) fn fragmentation(rows: &mut Vec<FrameRow>) {
    let fault = close(1002, "continuation without a start");
    let name = "last continuation without a start";
    closes(rows, "F8", name, client(0x80, b"x"), fault.clone());
    let name = "continuation without a start";
    closes(rows, "F8", name, client(0x00, b"x"), fault.clone());
    let input = [client(0x02, b"a"), client(0x80, b"b"), client(0x80, b"c"), client(0x82, b"d")];
    let expect = [answer(0x82, b"ab"), fault.clone()].concat();
    let name = "continuation after the last one";
    closes(rows, "F8", name, input.concat(), expect);
    let input = [client(0x82, b"a"), client(0x00, b"b")].concat();
    let expect = [answer(0x82, b"a"), fault].concat();
    let name = "continuation after a message in one frame";
    closes(rows, "F8", name, input, expect);

    let fault = close(1002, "new message inside a fragmented one");
    for (name, first, second) in [
        ("text in text, with FIN", 0x01, 0x81),
        ("text in text, without FIN", 0x01, 0x01),
        ("binary in text, with FIN", 0x01, 0x82),
        ("text in binary, without FIN", 0x02, 0x01),
        ("binary in binary, with FIN", 0x02, 0x82),
    ] {
        let input = [client(first, b"a"), client(second, b"b")].concat();
        closes(rows, "F8", name, input, fault.clone());
    }
    let input = [
        client(0x02, &bytes(200)),
        client(0x00, b""),
        client(0x00, &bytes(70_000)),
        client(0x80, b"end"),
        client(0x81, b"next"),
    ];
    let whole = [&bytes(200)[..], &bytes(70_000), b"end"].concat();
    let expect = [answer(0x82, &whole), answer(0x81, b"next")].concat();
    open(rows, "F8", "four fragments", input.concat(), expect);

    let fault = close(1002, "reserved bit set");
    for (name, first) in [
        ("RSV1 on a continuation", 0x40),
        ("RSV2 on a continuation", 0x20),
        ("RSV3 on the last continuation", 0x90),
    ] {
        let input = [client(0x01, b"a"), client(first, b"b")].concat();
        closes(rows, "F9", name, input, fault.clone());
    }
}
