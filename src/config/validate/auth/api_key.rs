//! `[auth.api_key]`: where requests have their API keys.

use http::HeaderName;

use crate::config::ApiKey;
use crate::config::item::Item;
use crate::config::problem::{Checked, Fault};
use crate::config::table::{Kind, Setting, Table};
use crate::config::validate::shared::{FIELD, FIELD_NAME};
use crate::config::value::http::header_name;
use crate::field_names::{is_of_the_gateway, is_plain};

const HEADER: HeaderName = HeaderName::from_static("x-api-key");

pub(super) static API_KEY: Table = Table::new(
    "Where requests carry their API keys.",
    &[
        Setting::new(
            "header",
            FIELD,
            "The request field that carries the API key. If neither `header` nor `query` is set, it is \
             `X-Api-Key`.",
        )
        .example(r#""X-Api-Key""#),
        Setting::new("query", Kind::Pattern(&[".+"]), "The query parameter that carries the API key.")
            .example(r#""api_key""#),
        Setting::new("keep", Kind::Boolean, "Whether upstreams receive the key too.").or("false"),
    ],
);

/// Without `[auth.api_key]`.
pub(super) fn default() -> ApiKey {
    ApiKey { header: Some(HEADER), query: None, keep: false }
}

/// Reads `[auth.api_key]`.
pub(super) fn read(item: &Item<'_>, underscores: bool) -> Checked<ApiKey> {
    let section = item.section(&API_KEY, "[auth.api_key]".into(), "{ header = \"X-Api-Key\" }")?;
    let header =
        section.optional("header", |item| item.parse(FIELD_NAME, |text| key_field(text, underscores)));
    let query = section.optional("query", |item| {
        item.parse("the name of a parameter", |text| match text {
            "" => Err(Fault::new("a parameter without a name").hint("such as \"api_key\", or leave it out")),
            name => Ok(name.to_owned()),
        })
    });
    let keep = section.or("keep", false, |item| item.boolean());
    section.finish();
    let (header, query) = (header?, query?);
    let header = if query.is_none() { header.or(Some(HEADER)) } else { header };
    Ok(ApiKey { header, query, keep: keep? })
}

/// The name of a field that requests may have a key in.
fn key_field(text: &str, underscores: bool) -> Result<HeaderName, Fault> {
    let name = header_name(text)?;
    if is_of_the_gateway(&name) {
        return Err(Fault::new(format!("`{name}` means something else to the gateway"))
            .hint("choose another name, such as \"X-Api-Key\""));
    }
    if !underscores && !is_plain(&name) {
        let fault = Fault::new(format!(
            "`{name}` never arrives: names with anything but letters, digits and - are dropped"
        ));
        return Err(fault.hint("write it with -, or set underscores_in_headers = true in [server]"));
    }
    Ok(name)
}
