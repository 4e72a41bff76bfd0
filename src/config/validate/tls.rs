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

const CERT: Setting =
    Setting::new("cert", FILE, "A PEM file: the certificate, and then those that vouch for it.");
const KEY: Setting = Setting::new("key", FILE, "A PEM file: the private key.");

pub(super) static SERVER_TLS: Table = Table::new(
    "TLS, for the listeners that speak it.",
    &[
        Setting::new(
            "certificates",
            Kind::List(&Kind::Table(&IDENTITY), 1),
            "Chosen by the name of the host; the first is for all others.",
        )
        .required(),
        Setting::new(
            "client_ca",
            FILE,
            "A PEM file of authorities: clients must show a certificate of one of them.",
        ),
        Setting::new(
            "client_certificates",
            Kind::Word(&["required", "optional"]),
            "Whether a client may show none: then routes say who must.",
        )
        .or("\"required\""),
    ],
);

static IDENTITY: Table = Table::new("A certificate and its key.", &[CERT.required(), KEY.required()]);

pub(super) static CLIENT_TLS: Table = Table::new(
    "How TLS is spoken with the servers.",
    &[
        Setting::new("ca", FILE, "A PEM file of the authorities to trust; left out, those of the system."),
        Setting::new("server_name", Kind::Pattern(&[".+"]), "The name in the certificate of a server."),
        Setting::new("insecure", Kind::Boolean, "Verify nothing.").or("false"),
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
