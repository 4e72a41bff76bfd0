//! Checks that no two listeners have the same address.

use super::super::listener::Address;
use super::super::problem::{Checked, Fault, Sink, Span};

/// An address and where it is written; `None` is a default.
pub(super) type Place = (Address, Option<Span>);

/// Checks that the addresses of the server are different from each other and from the address of the side port.
pub(super) fn distinct(server: &[Place], admin: &Option<Place>, sink: &Sink<'_>) -> Checked<()> {
    let mut result = Ok(());
    for (index, (address, span)) in server.iter().enumerate() {
        let earlier = server[..index].iter().find(|(earlier, _)| collide(earlier, address));
        if let (Some((earlier, _)), Some(span)) = (earlier, span) {
            let fault = if earlier == address {
                Fault::new(format!("{address} is listened on twice")).hint("keep one of the two")
            } else {
                let is_wide = address.ip().is_some_and(|address| address.ip().is_unspecified());
                let (wide, narrow) = if is_wide { (address, earlier) } else { (earlier, address) };
                Fault::new(format!("{narrow} cannot be listened on beside {wide}, which covers it"))
                    .hint("keep one of the two")
            };
            result = Err(sink.report(span, fault));
        }
    }
    let Some((admin, admin_span)) = admin else { return result };
    let Some((address, span)) = server.iter().find(|(address, _)| collide(address, admin)) else {
        return result;
    };
    let fault = Fault::new(match (admin_span, span) {
        (Some(_), Some(span)) => format!(
            "the side port cannot listen on {admin}: the server listens on {address} (line {})",
            sink.line(span.start)
        ),
        (Some(_), None) => {
            format!("the side port cannot listen on {admin}: the server listens on {address}, its default")
        }
        (None, _) => {
            format!("the server cannot listen on {address}: the side port listens on {admin}, its default")
        }
    });
    let fault = fault.hint("give one of them another port, or set [admin] listen = \"off\"");
    match admin_span.as_ref().or(span.as_ref()) {
        Some(span) => Err(sink.report(span, fault)),
        None => result,
    }
}

/// Whether two listeners could not both be bound. An unspecified address covers all others of its family. Whether `[::]` covers IPv4 as
/// well depends on the system, so that is not checked here.
fn collide(a: &Address, b: &Address) -> bool {
    let (Some(a), Some(b)) = (a.ip(), b.ip()) else { return a == b };
    let covers = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && a.is_ipv4() == b.is_ipv4() && covers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_collide() {
        for (a, b, collides) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::1]:80", "[::]:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("0.0.0.0:0", "0.0.0.0:0", false),
            ("0.0.0.0:80", "[::]:80", false),
        ] {
            let place = |text: &str| Address::Ip(text.parse().unwrap());
            assert_eq!(collide(&place(a), &place(b)), collides, "{a} {b}");
        }
    }
}
