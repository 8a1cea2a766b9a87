//! The list in `Sec-WebSocket-Extensions` (RFC 6455 section 9.1).

use std::borrow::Cow;

use super::{is_token, is_token_byte};

/// One element of the list: an extension and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its name, a token, as sent.
    pub name: &'a str,
    /// Names and values of its parameters in the order sent; a value that was quoted is without
    /// its quotes and escapes.
    pub parameters: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// Appends the elements of one header's value to `list`; `None` if it breaks the grammar. Empty
/// elements are skipped (RFC 9110 section 5.6.1).
pub(super) fn parse<'a>(value: &'a [u8], list: &mut Vec<Extension<'a>>) -> Option<()> {
    let mut rest = value.trim_ascii();
    while !rest.is_empty() {
        if let [b',', more @ ..] = rest {
            rest = more.trim_ascii_start();
            continue;
        }
        let (name, after) = take_token(rest)?;
        let mut extension = Extension { name, parameters: Vec::new() };
        rest = after;
        while let [b';', more @ ..] = rest {
            let (name, after) = take_token(more.trim_ascii_start())?;
            let (value, after) = match after {
                [b'=', value @ ..] => {
                    let (value, after) = take_value(value.trim_ascii_start())?;
                    (Some(value), after)
                }
                _ => (None, after),
            };
            extension.parameters.push((name, value));
            rest = after;
        }
        if !(rest.is_empty() || rest[0] == b',') {
            return None;
        }
        list.push(extension);
    }
    Some(())
}

/// A token and what follows it and its blanks.
fn take_token(text: &[u8]) -> Option<(&str, &[u8])> {
    let len = text.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(text.len());
    let token = str::from_utf8(&text[..len]).expect("token bytes are ASCII");
    (len > 0).then(|| (token, text[len..].trim_ascii_start()))
}

/// A token, quoted or not, and what follows it and its blanks. Between quotes stands a token too,
/// once its escapes are resolved.
fn take_value(text: &[u8]) -> Option<(Cow<'_, str>, &[u8])> {
    let [b'"', quoted @ ..] = text else {
        let (token, after) = take_token(text)?;
        return Some((token.into(), after));
    };
    let mut value = String::new();
    let mut bytes = quoted.iter().copied().enumerate();
    while let Some((at, byte)) = bytes.next() {
        let byte = match byte {
            b'"' => {
                let after = quoted[at + 1..].trim_ascii_start();
                return is_token(value.as_bytes()).then_some((value.into(), after));
            }
            b'\\' => bytes.next()?.1,
            _ => byte,
        };
        if !is_token_byte(byte) {
            return None;
        }
        value.push(char::from(byte));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(value: &str) -> Option<Vec<String>> {
        let mut list = Vec::new();
        parse(value.as_bytes(), &mut list)?;
        let show = |(name, value): &(&str, Option<Cow<'_, str>>)| match value {
            Some(value) => format!(";{name}={value}"),
            None => format!(";{name}"),
        };
        Some(
            list.iter()
                .map(|e| e.name.to_owned() + &e.parameters.iter().map(show).collect::<String>())
                .collect(),
        )
    }

    #[test]
    fn lists_that_follow_the_grammar() {
        for (value, expect) in [
            ("", &[][..]),
            (" , ,", &[]),
            ("permessage-deflate", &["permessage-deflate"]),
            ("a;b, c ; d = e;f=\"g\" ,h", &["a;b", "c;d=e;f=g", "h"]),
            ("a; b=\"1\\5\"", &["a;b=15"]),
            (
                "permessage-deflate; client_max_window_bits",
                &["permessage-deflate;client_max_window_bits"],
            ),
        ] {
            let expect: Vec<String> = expect.iter().map(|s| s.to_string()).collect();
            assert_eq!(names(value), Some(expect), "{value}");
        }
    }

    #[test]
    fn lists_that_do_not() {
        for value in [
            ";",
            "=",
            "a b",
            "a;",
            "a;;b",
            "a;b=",
            "a;=b",
            "a;b=,",
            "a;b=\"",
            "a;b=\"\"",
            "a;b=\"c d\"",
            "a;b=\"c\\",
            "a;b=\"c\"d",
            "a=b",
            "(a)",
            "a;b=\"\\,\"",
            "\"a\"",
        ] {
            assert_eq!(names(value), None, "{value}");
        }
    }
}
