//! Reads a line in its format, and tells the format of a line.

use super::fields::Wanted;
use super::format::Format;
use super::stamp::ClfStamps;
use super::unreadable::Unreadable;
use super::{apache, caddy, gateway, traefik};
use crate::replay::record::Record;

/// The format that reads this line.
pub(super) fn format_of(line: &[u8], wanted: &Wanted) -> Option<Format> {
    Format::ALL.into_iter().find(|format| {
        let read = read(line, *format, wanted, &mut ClfStamps::default());
        let is_read = matches!(read, Ok(_) | Err(Unreadable::NoRequest));
        is_read && (*format != Format::Combined || apache::is_combined(line))
    })
}

/// Reads a line.
pub(super) fn read(
    line: &[u8],
    format: Format,
    wanted: &Wanted,
    stamps: &mut ClfStamps,
) -> Result<Record, Unreadable> {
    match format {
        Format::Gateway => gateway::read(line, wanted),
        Format::Combined | Format::VhostCombined | Format::Common => {
            apache::read(line, format, wanted, stamps)
        }
        Format::Caddy => caddy::read(line, wanted),
        Format::Traefik => traefik::read(line, wanted),
    }
}

#[cfg(test)]
mod tests;
