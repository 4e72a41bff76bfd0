//! `[server.tls]`, and `tls` of an upstream. The files are read, so that the problems of a file are reported where it is named.

use std::path::Path;

use rustls::pki_types::ServerName;

use super::super::item::Item;
use super::super::problem::{Checked, Fault, quoted};
use super::super::section::Section;
use super::super::table::{Kind, Setting, Table};
use super::shared::FILE;
use crate::tls::{self, ClientTls, Flaw, Identity, ServerTls};

const CERTIFICATE: &str = "{ cert = \"api.pem\", key = \"api.key\" }";

const CERT: Setting = Setting::new(
    "cert",
    FILE,
    "A PEM file: the certificate, followed by the intermediate certificates of its authority.",
)
.example(r#""api.pem""#);
const KEY: Setting =
    Setting::new("key", FILE, "A PEM file: the private key of the certificate.").example(r#""api.key""#);

pub(super) static SERVER_TLS: Table = Table::new(
    "The certificates of the listeners that speak TLS. They speak TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.",
    &[
        Setting::new(
            "certificates",
            Kind::List(&Kind::Table(&IDENTITY), 1),
            "The certificates. A client is shown the first one that has the name of the host it asks for, or the \
             first of the list.",
        )
        .example(r#"[{ cert = "api.pem", key = "api.key" }]"#)
        .required(),
        Setting::new(
            "client_ca",
            FILE,
            "A PEM file of certificate authorities. Clients must show a certificate that one of them has issued.",
        )
        .example(r#""clients-ca.pem""#),
        Setting::new(
            "client_certificates",
            Kind::Word(&["required", "optional"]),
            "Whether a client must show a certificate. With `optional` it may show none, and routes decide; a \
             certificate that does not verify is refused all the same.",
        )
        .or("\"required\""),
    ],
);

static IDENTITY: Table = Table::new("A certificate and its key.", &[CERT.required(), KEY.required()]);

pub(super) static CLIENT_TLS: Table = Table::new(
    "How the gateway speaks TLS with the servers of an upstream.",
    &[
        Setting::new(
            "ca",
            FILE,
            "A PEM file of the certificate authorities to trust. Without this key the system's are trusted.",
        )
        .example(r#""internal-ca.pem""#),
        Setting::new(
            "server_name",
            Kind::Pattern(&[".+"]),
            "The name that the server is asked for and that its certificate must have. Without this key it is the \
             host in `servers`.",
        )
        .example(r#""users.internal""#),
        Setting::new(
            "insecure",
            Kind::Boolean,
            "Whether the server's certificate is not verified at all. Anybody can then pose as the server.",
        ).or("false"),
        CERT,
        KEY,
    ],
);

impl From<Flaw> for Fault {
    fn from(flaw: Flaw) -> Self {
        Self::new(flaw.what).hint(flaw.remedy)
    }
}

/// Reads `[server.tls]`. `speaks_tls` are the switches of the listeners that need it, all of them if `complete`.
pub(super) fn server(
    section: &Section<'_>,
    speaks_tls: &[Item<'_>],
    complete: Checked<()>,
) -> Checked<Option<ServerTls>> {
    let Some(item) = section.get("tls") else {
        for listener in speaks_tls {
            let fault = Fault::new("a listener that speaks TLS needs a certificate");
            listener.report(
                fault.hint(format!("write [server.tls], and below it certificates = [{CERTIFICATE}]")),
            );
        }
        return match speaks_tls {
            [] => Ok(None),
            _ => Err(section.sink.already_reported()),
        };
    };
    if let (Ok(()), []) = (complete, speaks_tls) {
        let fault = Fault::new("[server.tls] does nothing, since no listener speaks TLS");
        section.sink.report(
            item.key_span(),
            fault.hint("write listen = [{ address = \"0.0.0.0:8443\", tls = true }]"),
        );
    }
    let section = item.section(&SERVER_TLS, "[server.tls]".into(), "[server.tls] and its keys below")?;
    let identities = section.required(
        "certificates",
        "certificates = [{ cert = \"api.pem\", key = \"api.key\" }]",
        |item| {
            let identities = item.values("certificates", certificate).all()?;
            match identities.is_empty() {
                true => Err(item.report(
                    Fault::new("a listener that speaks TLS needs a certificate")
                        .hint(format!("write one at least: certificates = [{CERTIFICATE}]")),
                )),
                false => Ok(identities),
            }
        },
    );
    let client_authorities = section.optional("client_ca", |item| {
        tls::read_authorities(path(&item)?).map_err(|flaw| item.report(flaw.into()))
    });
    let strangers = section
        .or("client_certificates", false, |item| item.word(&[("required", false), ("optional", true)]));
    if let (Ok(None), Ok(true)) = (&client_authorities, strangers) {
        section.useless(
            &["client_certificates"],
            "without `client_ca`",
            "write client_ca = \"clients.pem\"",
        )?;
    }
    section.finish();
    Ok(Some(ServerTls {
        identities: identities?,
        client_authorities: client_authorities?,
        strangers: strangers?,
    }))
}

/// Reads `tls` of an upstream: true, false, or a table.
pub(super) fn client(name: &str, item: &Item<'_>) -> Checked<Option<ClientTls>> {
    let system_authorities = || tls::system_authorities().map_err(|flaw| item.report(flaw.into()));
    if !item.is_table() {
        return match item.boolean()? {
            false => Ok(None),
            true => Ok(Some(ClientTls {
                authorities: system_authorities()?,
                server_name: None,
                verify: true,
                identity: None,
            })),
        };
    }
    let section =
        item.section(&CLIENT_TLS, format!("[upstreams.{}.tls]", name.escape_debug()), "{ ca = \"ca.pem\" }")?;
    let authorities = section
        .optional("ca", |item| tls::read_authorities(path(&item)?).map_err(|flaw| item.report(flaw.into())));
    let server_name = section.optional("server_name", |item| {
        item.parse("the name of a host", |text| match ServerName::try_from(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err(Fault::new(format!("{} is not the name of a host", quoted(text)))
                .hint("write the name that is in the server's certificate, such as \"users.internal\"")),
        })
    });
    let insecure = section.or("insecure", false, |item| item.boolean());
    let identity = match section.get("cert").or(section.get("key")) {
        Some(_) => identity(&section).map(Some),
        None => Ok(None),
    };
    if let (Ok(true), Some(item)) = (insecure, section.get("ca")) {
        let fault = Fault::new("`ca` does nothing where nothing is verified");
        section.sink.report(item.key_span(), fault.hint("leave out `ca`, or `insecure = true`"));
    }
    section.finish();
    Ok(Some(ClientTls {
        authorities: authorities?.map_or_else(system_authorities, Ok)?,
        server_name: server_name?,
        verify: !insecure?,
        identity: identity?,
    }))
}

fn certificate(item: Item<'_>) -> Checked<Identity> {
    let section = item.section(&IDENTITY, "a certificate".into(), CERTIFICATE)?;
    let identity = identity(&section);
    section.finish();
    identity
}

/// Reads `cert` and `key`.
pub(super) fn identity(section: &Section<'_>) -> Checked<Identity> {
    let chain = section.required("cert", "cert = \"api.pem\"", |item| {
        let path = path(&item)?;
        Ok((path, tls::read_chain(path).map_err(|flaw| item.report(flaw.into()))?))
    });
    section.required("key", "key = \"api.key\"", |item| {
        let path_of_key = path(&item)?;
        item.note_key(path_of_key);
        let key = tls::read_key(path_of_key).map_err(|flaw| item.report(flaw.into()))?;
        let (path, chain) = chain?;
        Identity::new(path, chain, key).map_err(|flaw| item.report(flaw.into()))
    })
}

/// The path of a PEM file, which the configuration depends on from then on.
pub(super) fn path<'a>(item: &Item<'a>) -> Checked<&'a Path> {
    let path = item.parse("the path of a PEM file", |text| match text {
        "" => Err(Fault::new("an empty path names no file").hint("write the path of a PEM file")),
        path => Ok(Path::new(path)),
    })?;
    item.note_file(path);
    Ok(path)
}
