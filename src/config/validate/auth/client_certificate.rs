//! `[auth.client_certificate]`: who has shown which certificate.

use crate::client_certificate::NameKind;
use crate::config::ClientCertificates;
use crate::config::item::Item;
use crate::config::problem::Checked;
use crate::config::table::{Kind, Setting, Table};

pub(super) static CLIENT_CERTIFICATE: Table = Table::new(
    "Certificates that clients show in the TLS handshake.",
    &[
        Setting::new(
            "name_from",
            Kind::Word(&["san_uri", "san_dns", "san_email", "subject_cn"]),
            "Which name in a certificate is the name of its consumer, if no consumer lists one of the \
             certificate's names. Without this key only listed certificates belong to a consumer.",
        )
        .example(r#""san_uri""#),
        Setting::new(
            "from_proxy",
            Kind::Boolean,
            "Whether trusted proxies say in `Client-Cert` (RFC 9440) which certificate the client has shown to \
             them.",
        )
        .or("false"),
    ],
);

const KINDS: &[(&str, NameKind)] = &[
    ("san_uri", NameKind::Uri),
    ("san_dns", NameKind::Dns),
    ("san_email", NameKind::Email),
    ("subject_cn", NameKind::CommonName),
];

/// Reads `[auth.client_certificate]`.
pub(super) fn read(item: &Item<'_>) -> Checked<ClientCertificates> {
    let section =
        item.section(&CLIENT_CERTIFICATE, "[auth.client_certificate]".into(), "{ name_from = \"san_uri\" }")?;
    let name_from = section.optional("name_from", |item| item.word(KINDS));
    let from_proxy = section.or("from_proxy", false, |item| item.boolean());
    section.finish();
    Ok(ClientCertificates { name_from: name_from?, from_proxy: from_proxy? })
}
