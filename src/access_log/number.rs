//! Numbers and addresses as text. They are formatted here and not by `std::fmt`, because a line has so many of them that it would
//! take several times as long.

use std::fmt::Display;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A number of a byte in decimal: digits, then zeros, and how many digits there are.
struct Short {
    digits: [u8; 4],
    count: usize,
}

const SHORT: [Short; 256] = {
    let mut table = [const { Short { digits: [0; 4], count: 0 } }; 256];
    let mut number = 0;
    while number < table.len() {
        let digits = [number / 100, number / 10 % 10, number % 10];
        let leading_zeros = (number < 100) as usize + (number < 10) as usize;
        let mut at = leading_zeros;
        while at < digits.len() {
            table[number].digits[at - leading_zeros] = b"0123456789"[digits[at]];
            at += 1;
        }
        table[number].count = digits.len() - leading_zeros;
        number += 1;
    }
    table
};

/// Decimal digits.
pub(super) fn integer(number: impl Into<u64>, line: &mut Vec<u8>) {
    let number = number.into();
    match u8::try_from(number) {
        Ok(number) => short(number, line),
        Err(_) => line.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
}

/// The same for few digits. Four bytes are appended, because that is one instruction however many are wanted, and then those taken away that
/// are no digits.
fn short(number: u8, line: &mut Vec<u8>) {
    let Short { digits, count } = &SHORT[usize::from(number)];
    let end = line.len() + count;
    line.extend_from_slice(digits);
    line.truncate(end);
}

/// Microseconds of a second, always with six digits.
pub(super) fn microseconds(microseconds: u32, line: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    // The first digit is there to keep the zeros after it.
    line.extend_from_slice(&digits.format(1_000_000 + microseconds).as_bytes()[1..]);
}

/// Milliseconds, with as many decimals as they have, but at least one, and at most three. Up to 31 years that is the shortest text
/// of the nearest `f64`.
pub(super) fn milliseconds(duration: Duration, line: &mut Vec<u8>) {
    let microseconds =
        duration.as_secs().saturating_mul(1_000_000).saturating_add(duration.subsec_micros().into());
    integer(microseconds / 1000, line);
    line.push(b'.');
    let mut digits = itoa::Buffer::new();
    let decimals = &digits.format(1000 + microseconds % 1000).as_bytes()[1..];
    line.extend_from_slice(match decimals {
        [tenths, b'0', b'0'] => std::slice::from_ref(tenths),
        [decimals @ .., b'0'] => decimals,
        _ => decimals,
    });
}

/// Two hexadecimal digits for each byte, in lower case.
pub(super) fn hexadecimal<const N: usize>(bytes: [u8; N], line: &mut Vec<u8>) {
    // Computed, not looked up, because that can be done for many at once.
    let digit = |four_bits: u8| four_bits + if four_bits < 10 { b'0' } else { b'a' - 10 };
    line.extend_from_slice(bytes.map(|byte| [digit(byte >> 4), digit(byte & 15)]).as_flattened());
}

/// An address of a machine. It has nothing in it that any format escapes.
pub(super) fn address(address: IpAddr, line: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            let [first, rest @ ..] = address.octets();
            short(first, line);
            for octet in rest {
                line.push(b'.');
                short(octet, line);
            }
        }
        IpAddr::V6(address) => displayed(&address, line),
    }
}

/// An address of a port, in which there is nothing to escape either.
pub(super) fn socket_address(socket: SocketAddr, line: &mut Vec<u8>) {
    match socket {
        SocketAddr::V4(socket) => {
            address(IpAddr::V4(*socket.ip()), line);
            line.push(b':');
            integer(socket.port(), line);
        }
        SocketAddr::V6(socket) => displayed(&socket, line),
    }
}

/// A value that has nothing in it to escape, as `std::fmt` writes it.
pub(super) fn displayed(value: &dyn Display, line: &mut Vec<u8>) {
    // Appending to a `Vec` cannot fail.
    let _ = write!(line, "{value}");
}
