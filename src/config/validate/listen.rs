//! Two listeners cannot have one address.

use super::super::listener::Address;
use super::super::problem::{Checked, Fault, Sink, Span};

/// An address and where it is written; `None` is a default.
pub(super) type Place = (Address, Option<Span>);

/// Checks that no address of the server is there twice, or is also the admin's.
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

/// Whether one of two listeners could not be bound. An address that stands for all of a host's covers the others
/// of its family; whether `[::]` covers IPv4 as well depends on the system, so it is left to the attempt.
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
