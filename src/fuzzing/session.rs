//! Whole connections, both roles: the handshake and the frames behind it.

use super::{cuttings, pieces};
use crate::ws::decode::{Decoder, Event};
use crate::ws::handshake::{
    ClientRequest, DeflateOffer, DeflatePolicy, HandshakeError, HeadReader, Request, ResponseError,
};
use crate::ws::header::{HEADER_MAX, Header, HeaderRules};
use crate::ws::{
    CloseCode, DecodeLimits, DeflateParams, DeflateSide, Deflater, Inflater, MessageKind, Opcode,
    PieceDecoder, ProtocolError, Role, encode, inflate_message, pieces as by_piece,
};

/// One header for each kind of reader: more bytes never change an answer, and what was read is
/// written again byte for byte.
pub fn frame_header(data: &[u8]) {
    for (role, deflate) in
        [Role::Server, Role::Client].map(|role| [(role, false), (role, true)]).concat()
    {
        let rules = HeaderRules::new(role, deflate);
        let answer = Header::parse(data, rules);
        for cut in 0..=data.len().min(HEADER_MAX) {
            match Header::parse(&data[..cut], rules) {
                Ok(None) => {}
                early => assert_eq!(early, answer, "after {cut} bytes"),
            }
        }
        let Ok(Some((header, len))) = answer else { continue };
        let mut written = Vec::new();
        header.append(&mut written);
        assert_eq!(written, data[..len]);
        assert_eq!(header.wire_len(), len);
        assert_eq!(header.key.is_some(), role == Role::Server);
        assert!(!header.opcode.is_control() || (header.fin && header.payload_len <= 125));
        assert!(!header.compressed || deflate);
    }
}

/// What a client may send: a request and frames, or frames alone. See [`check`].
pub fn server_session(data: &[u8]) {
    check(data, Role::Server, data.starts_with(b"GET "));
}

/// What a server may send: an answer and frames, or frames alone. See [`check`].
pub fn client_session(data: &[u8]) {
    check(data, Role::Client, data.starts_with(b"HTTP/"));
}

/// Cutting changes nothing; both decoders say the same; what they say, sent back, says the same to
/// the peer; no limit is passed; nothing comes behind a Close or a fault.
fn check(data: &[u8], role: Role, has_head: bool) {
    let cuttings = cuttings(data);
    let agreements: &[_] = if has_head { &[None] } else { &[None, Some(DEFLATE)] };
    for deflate in agreements {
        let run = |cuts: &[usize]| match has_head {
            true => with_head(data, cuts, role),
            false => {
                let mut talk = Talk::new(role, *deflate);
                pieces(data, cuts).for_each(|piece| talk.handle(piece));
                Ok(Some(talk))
            }
        };
        let whole = run(&cuttings[0]);
        for cuts in &cuttings[1..] {
            assert_eq!(shown(&run(cuts)), shown(&whole), "cut at {cuts:?}");
        }
        if let Ok(Some(talk)) = whole {
            talk.check_decoders_agree();
            talk.check_echo();
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refused {
    Request(HandshakeError),
    Answer(ResponseError),
}

/// Everything a cutting must not change.
fn shown(run: &Result<Option<Talk>, Refused>) -> Result<Option<[&Heard; 2]>, Refused> {
    match run {
        Ok(talk) => Ok(talk.as_ref().map(|talk| [&talk.heard, &talk.heard_by_piece])),
        Err(refused) => Err(refused.clone()),
    }
}

/// `None`: the head is not complete.
fn with_head(data: &[u8], cuts: &[usize], role: Role) -> Result<Option<Talk>, Refused> {
    let mut received = Vec::new();
    let mut reader = HeadReader::new();
    let mut talk: Option<Talk> = None;
    for piece in pieces(data, cuts) {
        if let Some(talk) = &mut talk {
            talk.handle(piece);
            continue;
        }
        received.extend_from_slice(piece);
        if let Some(len) = reader.handle(&received).map_err(Refused::Request)? {
            let (head, rest) = received.split_at(len);
            let deflate = match role {
                Role::Server => accept(head).map_err(Refused::Request)?,
                Role::Client => take_answer(head).map_err(Refused::Answer)?,
            };
            talk.insert(Talk::new(role, deflate)).handle(rest);
        }
    }
    Ok(talk)
}

fn accept(head: &[u8]) -> Result<Option<DeflateParams>, HandshakeError> {
    let mut upgrade = Request::parse(head)?.upgrade(&[])?;
    Ok(upgrade.agree_deflate(&DeflatePolicy::ANY))
}

fn take_answer(head: &[u8]) -> Result<Option<DeflateParams>, ResponseError> {
    let offer = DeflateOffer::ANY.to_string();
    let request = ClientRequest {
        host: "a",
        target: "/",
        key: *b"the sample nonce",
        subprotocols: &["chat"],
        extensions: &offer,
        headers: &[],
    };
    DeflateOffer::ANY.check(&request.check(head)?.extensions)
}

/// What the peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(CloseCode, String)>),
}

/// All that was heard, and how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    said: Vec<Said>,
    fault: Option<ProtocolError>,
}

impl Heard {
    fn is_over(&self) -> bool {
        self.fault.is_some() || matches!(self.said.last(), Some(Said::Close(_)))
    }
}

/// A connection that is open: the same bytes go to both decoders.
struct Talk {
    role: Role,
    deflate: Option<DeflateParams>,
    decoder: Decoder,
    inflater: Lazy,
    heard: Heard,
    piece_decoder: PieceDecoder,
    piece_inflater: Lazy,
    heard_by_piece: Heard,
    /// The message that arrives in pieces, inflated.
    open: Vec<u8>,
}

impl Talk {
    fn new(role: Role, deflate: Option<DeflateParams>) -> Self {
        let side = deflate.map(|both| both.incoming(role));
        let inflater = || Lazy { side, inflater: None };
        let (decoder, piece_decoder) = match deflate {
            Some(_) => (Decoder::with_deflate(role), PieceDecoder::with_deflate(role)),
            None => (Decoder::new(role), PieceDecoder::new(role)),
        };
        Self {
            role,
            deflate,
            decoder,
            inflater: inflater(),
            heard: Heard::default(),
            piece_decoder,
            piece_inflater: inflater(),
            heard_by_piece: Heard::default(),
            open: Vec::new(),
        }
    }

    fn handle(&mut self, piece: &[u8]) {
        self.handle_whole(&mut piece.to_vec());
        self.handle_by_piece(&mut piece.to_vec());
        let held_max = 2 * (LIMITS.message_size * 9 / 8 + 64 + 125);
        assert!(self.decoder.held_bytes() <= held_max, "{}", self.decoder.held_bytes());
    }

    fn handle_whole(&mut self, mut rest: &mut [u8]) {
        while self.heard.fault.is_none() {
            let was_over = self.heard.is_over();
            match self.decoder.handle(rest, &LIMITS) {
                Ok(decoded) => {
                    let consumed = decoded.consumed;
                    let Some(event) = decoded.event else {
                        return assert_eq!(consumed, rest.len());
                    };
                    assert!(!was_over, "nothing comes behind a Close");
                    match own(event, &mut self.inflater) {
                        Ok(said) => self.heard.said.push(said),
                        Err(fault) => self.heard.fault = Some(fault),
                    }
                    rest = &mut rest[consumed..];
                }
                Err(fault) => {
                    assert!(!was_over, "no fault comes behind a Close");
                    self.heard.fault = Some(fault);
                }
            }
        }
    }

    fn handle_by_piece(&mut self, mut rest: &mut [u8]) {
        let Self { piece_decoder, piece_inflater, heard_by_piece: heard, open, .. } = self;
        while heard.fault.is_none() {
            let was_over = heard.is_over();
            let decoded = match piece_decoder.handle(rest, &LIMITS) {
                Ok(decoded) => decoded,
                Err(fault) => {
                    assert!(!was_over, "no fault comes behind a Close");
                    heard.fault = Some(fault);
                    return;
                }
            };
            let consumed = decoded.consumed;
            let Some(event) = decoded.event else { return assert_eq!(consumed, rest.len()) };
            assert!(!was_over, "nothing comes behind a Close");
            let said = match event {
                by_piece::Event::Ping(payload) => Some(Said::Ping(payload.to_vec())),
                by_piece::Event::Pong(payload) => Some(Said::Pong(payload.to_vec())),
                by_piece::Event::Close(body) => {
                    Some(Said::Close(body.map(|(code, reason)| (code, reason.into_owned()))))
                }
                by_piece::Event::Piece(piece) => match take_piece(&piece, open, piece_inflater) {
                    Ok(said) => said,
                    Err(fault) => {
                        heard.fault = Some(fault);
                        return;
                    }
                },
            };
            heard.said.extend(said);
            rest = &mut rest[consumed..];
        }
    }

    /// In pieces a fault inside a compressed message is seen as soon as it comes, else at the end
    /// of the message, or never if another comes before.
    fn check_decoders_agree(&self) {
        if self.deflate.is_none() {
            assert_eq!(self.heard_by_piece, self.heard);
        } else {
            assert!(self.heard.said.starts_with(&self.heard_by_piece.said), "{:?}", self.heard);
            assert!(self.heard_by_piece.fault.is_some() || self.heard_by_piece == self.heard);
        }
    }

    /// Sent back, everything is the same to the peer.
    fn check_echo(&self) {
        let mut wire = Vec::new();
        let has_messages = self.heard.said.iter().any(|said| matches!(said, Said::Message(..)));
        let agreed = self.deflate.filter(|_| has_messages);
        let side = agreed.map(|both| both.outgoing(self.role));
        let mut deflater = side.map(|side| Deflater::new(side, 1));
        for said in &self.heard.said {
            match self.role {
                Role::Server => append(said, deflater.as_mut(), &mut wire),
                Role::Client => append_masked(said, deflater.as_mut(), &mut wire),
            }
        }
        let peer = match self.role {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        };
        let mut peer = Talk::new(peer, self.deflate);
        peer.handle_by_piece(&mut wire);
        let expected = Heard { said: self.heard.said.clone(), fault: None };
        assert_eq!(peer.heard_by_piece, expected);
    }
}

/// An inflater that is made for the first message that needs it: most inputs have none.
struct Lazy {
    side: Option<DeflateSide>,
    inflater: Option<Inflater>,
}

impl Lazy {
    fn get(&mut self) -> &mut Inflater {
        let side = self.side.expect("nothing is compressed unless it was agreed on");
        self.inflater.get_or_insert_with(|| Inflater::new(side.context_takeover))
    }
}

fn own(event: Event<'_>, inflater: &mut Lazy) -> Result<Said, ProtocolError> {
    Ok(match event {
        Event::Message(message) => {
            let mut payload = message.payload.into_owned();
            if message.compressed {
                let inflater = inflater.get();
                let (deflated, limit) = (std::mem::take(&mut payload), LIMITS.message_size);
                inflate_message(inflater, message.kind, &deflated, limit, &mut payload)?;
            }
            assert!(payload.len() <= LIMITS.message_size);
            assert!(message.kind == MessageKind::Binary || str::from_utf8(&payload).is_ok());
            Said::Message(message.kind, payload)
        }
        Event::Ping(payload) => Said::Ping(payload.into_owned()),
        Event::Pong(payload) => Said::Pong(payload.into_owned()),
        Event::Close(body) => Said::Close(body.map(|(code, reason)| (code, reason.into_owned()))),
    })
}

/// Adds a piece to the open message; the message if it was the last.
fn take_piece(
    piece: &by_piece::Piece<'_>,
    open: &mut Vec<u8>,
    inflater: &mut Lazy,
) -> Result<Option<Said>, ProtocolError> {
    assert!(!piece.begins || open.is_empty());
    if piece.compressed {
        let inflater = inflater.get();
        inflater.inflate_piece(piece.bytes, open, LIMITS.message_size)?;
        if piece.ends {
            inflater.finish_message(open, LIMITS.message_size)?;
            if piece.kind == MessageKind::Text && str::from_utf8(open).is_err() {
                return Err(ProtocolError::TextNotUtf8);
            }
        }
    } else {
        open.extend_from_slice(piece.bytes);
    }
    Ok(piece.ends.then(|| Said::Message(piece.kind, std::mem::take(open))))
}

fn append(said: &Said, deflater: Option<&mut Deflater>, wire: &mut Vec<u8>) {
    match said {
        Said::Message(kind, payload) => match deflated(payload, deflater) {
            Some(payload) => encode::append_compressed_message(wire, *kind, &payload),
            None => encode::append_message(wire, *kind, payload),
        },
        Said::Ping(payload) => encode::append_ping(wire, payload),
        Said::Pong(payload) => encode::append_pong(wire, payload),
        Said::Close(None) => encode::append_close(wire, None, ""),
        Said::Close(Some((code, reason))) => encode::append_close(wire, Some(*code), reason),
    }
}

fn append_masked(said: &Said, deflater: Option<&mut Deflater>, wire: &mut Vec<u8>) {
    let key = [wire.len() as u8, 0x80, 0, 0xFF];
    match said {
        Said::Message(kind, payload) => match deflated(payload, deflater) {
            Some(payload) => {
                encode::append_compressed_message_masked(wire, *kind, &payload, key);
            }
            None => encode::append_message_masked(wire, *kind, payload, key),
        },
        Said::Ping(payload) => {
            encode::append_masked(wire, true, Opcode::Ping, payload, key);
        }
        Said::Pong(payload) => {
            encode::append_masked(wire, true, Opcode::Pong, payload, key);
        }
        Said::Close(None) => encode::append_close_masked(wire, None, "", key),
        Said::Close(Some((code, reason))) => {
            encode::append_close_masked(wire, Some(*code), reason, key);
        }
    }
}

fn deflated(payload: &[u8], deflater: Option<&mut Deflater>) -> Option<Vec<u8>> {
    deflater.map(|deflater| {
        let mut out = Vec::new();
        deflater.deflate_message(payload, &mut out);
        out
    })
}

/// Small, so that short inputs reach them.
const LIMITS: DecodeLimits = DecodeLimits { message_size: 1_000, fragments: 6 };

/// Without a handshake: the most state there can be.
const DEFLATE: DeflateParams = DeflateParams {
    server_window_bits: 15,
    client_window_bits: 15,
    server_no_context_takeover: false,
    client_no_context_takeover: false,
};
