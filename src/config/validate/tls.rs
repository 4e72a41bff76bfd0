//! `[server.tls]`: the files are read, so that what is wrong with one is told where it is named.

use std::path::Path;
use std::sync::Arc;

use super::super::item::Item;
use super::super::problem::{Checked, Fault};
use super::super::section::Section;
use crate::tls::{self, Flaw, Identity, ServerTls};

const CERTIFICATE: &str = "{ cert = \"api.pem\", key = \"api.key\" }";

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
    let section = item.section("[server.tls]".into(), "[server.tls] and its keys below")?;
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
        path(&item)
            .and_then(|path| tls::read_authorities(path).map_err(|flaw| item.report(flaw.into())))
            .map(Arc::new)
    });
    section.finish();
    Ok(Some(ServerTls { identities: identities?, client_authorities: client_authorities? }))
}

fn certificate(item: Item<'_>) -> Checked<Identity> {
    let section = item.section("a certificate".into(), CERTIFICATE)?;
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
        let key = tls::read_key(path(&item)?).map_err(|flaw| item.report(flaw.into()))?;
        let (path, chain) = chain?;
        Identity::new(path, chain, key).map_err(|flaw| item.report(flaw.into()))
    })
}

fn path<'a>(item: &Item<'a>) -> Checked<&'a Path> {
    let path = item.parse("the path of a PEM file", |text| match text {
        "" => Err(Fault::new("an empty path names no file").hint("write the path of a PEM file")),
        path => Ok(Path::new(path)),
    })?;
    item.note_file(path);
    Ok(path)
}
