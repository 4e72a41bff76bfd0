//! `[upstreams.NAME.sticky]`.

use std::time::Duration;

use super::super::item::Item;
use super::super::problem::{Checked, Fault, quoted};
use super::super::table::{Kind, Setting, Table};
use super::super::value::key::is_token;
use super::shared::DURATION_OR_ZERO;
use super::shared_store::secret;
use crate::sticky::Sticky;

pub(super) static STICKY: Table = Table::new(
    "A cookie by which a client comes back to the server that answered it.",
    &[
        Setting::new(
            "cookie",
            Kind::Pattern(&["[0-9A-Za-z!#$%&'*+.^_`|~-]+"]),
            "The name of the cookie. The servers do not receive it.",
        )
        .example(r#""gw""#)
        .required(),
        Setting::new(
            "max_age",
            DURATION_OR_ZERO,
            "How long a browser keeps the cookie after it was set. `0` is until the browser is closed.",
        )
        .example(r#""8h""#)
        .or("\"1h\""),
        Setting::new(
            "secret",
            Kind::Text,
            "The secret from which the gateway makes the value of the cookie, at least 16 characters. All \
             gateways in front of the same servers need the same secret.",
        )
        .example(r#""${STICKY_SECRET}""#)
        .required(),
    ],
);

/// Reads `sticky` of the upstream with this name.
pub(super) fn sticky(upstream: &str, item: &Item<'_>) -> Checked<Sticky> {
    let title = format!("[upstreams.{}.sticky]", upstream.escape_debug());
    let section =
        item.section(&STICKY, title, "sticky = { cookie = \"gw\", secret = \"${STICKY_SECRET}\" }")?;
    let cookie = section.required("cookie", "cookie = \"gw\"", |item| {
        item.parse("the name of a cookie such as \"gw\"", |text| match is_token(text) {
            true => Ok(text.to_owned()),
            false => Err(Fault::new(format!("{} is not the name of a cookie", quoted(text)))
                .hint("such as \"gw\": letters, digits and marks such as - and _, without spaces")),
        })
    });
    let max_age = section.or("max_age", Duration::from_secs(60 * 60), |item| item.duration_or_zero());
    let secret = section.required("secret", "secret = \"${STICKY_SECRET}\"", |item| {
        item.secret().parse("a text of at least 16 characters", secret)
    });
    section.finish();
    Ok(Sticky { cookie: cookie?, max_age: Some(max_age?).filter(|age| !age.is_zero()), secret: secret? })
}
