//! `gateway completions` and `gateway man`: what shells and `man` read of the command line.
//!
//! Both are made of the definition of the command line, so they say what the program takes.

use std::io::{self, Write};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

/// Writes the script by which a shell completes the command line.
///
/// # Errors
/// When `out` takes no more.
pub fn completions(mut command: Command, shell: Shell, out: &mut impl Write) -> io::Result<()> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    out.write_all(&script)
}

/// Writes the page of the manual: the program, and each of its subcommands with its options.
///
/// # Errors
/// When `out` takes no more.
pub fn page(mut command: Command, out: &mut impl Write) -> io::Result<()> {
    // Options that every subcommand takes are copied to each of them.
    command.build();
    let page = Man::new(command.clone());
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let mut heading = Roff::new();
        heading.control("SH", [format!("gateway {}", subcommand.get_name()).to_uppercase().as_str()]);
        heading.text([roman(subcommand.get_about().map(ToString::to_string).unwrap_or_default())]);
        heading.to_writer(out)?;
        Man::new(subcommand.clone()).render_options_section(out)?;
    }
    let mut end = Roff::new();
    end.control("SH", ["EXIT STATUS"]);
    end.text([roman(command.get_after_help().map(ToString::to_string).unwrap_or_default())]);
    end.to_writer(out)?;
    page.render_version_section(out)
}
