//! `gateway check`: tells what is wrong with a configuration, and what is probably not meant, without serving.
//!
//! Each thing is told in a line that editors and CI can follow. On a terminal the line of the file stands below it. `--format json` is
//! for programs.

use std::env;
use std::io::{self, IsTerminal as _};
use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde_json::{Value as Json, json};

use crate::config::{Config, Excerpts, Lint, LoadError, Place, Problem, Span, Warning, read, variable};

/// All warnings, as the value of `--deny`.
const ALL: &str = "warnings";

/// What `gateway check` takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Args {
    /// Exit with status 64 if there is a warning of this name, or with `warnings` if there is any.
    #[arg(long, value_name = "NAME", value_parser = denied(), hide_possible_values = true)]
    deny: Vec<Denied>,
    /// Leave out the warnings of this name, also where they are denied.
    #[arg(long, value_name = "NAME", value_parser = lint(), hide_possible_values = true)]
    allow: Vec<Lint>,
    /// How to tell it; left out, `snippet` on a terminal, and else `plain`.
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Warnings that are not let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denied {
    All,
    Only(Lint),
}

/// How problems and warnings are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line each, on standard error.
    Plain,
    /// The same, each with the line of the file.
    Snippet,
    /// One JSON object, on standard output.
    Json,
}

fn lint() -> impl clap::builder::TypedValueParser<Value = Lint> {
    PossibleValuesParser::new(Lint::ALL.map(Lint::name))
        .try_map(|name| name.parse().map_err(|()| io::Error::other("no such warning")))
}

fn denied() -> impl clap::builder::TypedValueParser<Value = Denied> {
    let names = [ALL].into_iter().chain(Lint::ALL.map(Lint::name));
    PossibleValuesParser::new(names).map(|name| name.parse().map_or(Denied::All, Denied::Only))
}

impl Args {
    fn allows(&self, warning: &Warning) -> bool {
        self.allow.contains(&warning.lint)
    }

    fn denies(&self, warning: &Warning) -> bool {
        self.deny.contains(&Denied::All) || self.deny.contains(&Denied::Only(warning.lint))
    }

    fn format(&self) -> Format {
        let default = || if io::stderr().is_terminal() { Format::Snippet } else { Format::Plain };
        self.format.unwrap_or_else(default)
    }
}

/// Checks the configuration at `path`, and tells what was found. Returns whether it is as it should be.
pub fn run(path: &Path, args: &Args) -> bool {
    let file = path.display().to_string();
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => {
            match args.format() {
                Format::Json => {
                    println!("{}", report(&file, false, &[json!({ "message": error.to_string() })], &[]));
                }
                Format::Plain | Format::Snippet => eprintln!("{error}"),
            }
            return false;
        }
    };
    let (config, excerpts) = Config::inspect(&file, &text, &variable);
    let warnings: Vec<Warning> = match &config {
        Ok(config) => {
            config.warnings(Some(path)).into_iter().filter(|warning| !args.allows(warning)).collect()
        }
        Err(_) => Vec::new(),
    };
    let denied = warnings.iter().filter(|warning| args.denies(warning)).count();
    let ok = config.is_ok() && denied == 0;
    if args.format() == Format::Json {
        let problems: Vec<Json> = match &config {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(|(place, problem)| of_problem(place, problem)).collect(),
        };
        let warnings: Vec<Json> = warnings.iter().map(of_warning).collect();
        println!("{}", report(&file, ok, &problems, &warnings));
        return ok;
    }
    let snippets = (args.format() == Format::Snippet).then(|| Snippets::new(&excerpts));
    for warning in &warnings {
        eprintln!("{}: warning: {} [{}]", warning.location(), warning.message, warning.lint.name());
        if let (Some(snippets), Some((span, place))) = (&snippets, &warning.place) {
            snippets.show(&warning.file, span, *place, Level::WARNING);
        }
    }
    match config {
        Ok(config) if ok => println!("{file}: ok: {}", config.summary()),
        Ok(_) => eprintln!(
            "{file}: not ok: {}",
            match denied {
                1 => "a warning is denied".to_owned(),
                more => format!("{more} warnings are denied"),
            }
        ),
        Err(problems) => match snippets {
            None => eprintln!("{}", LoadError::Invalid(problems)),
            Some(snippets) => {
                for (place, problem) in problems.first() {
                    let of = problem.file.as_ref().unwrap_or(&file);
                    eprintln!("{of}:{}: {problem}", place.start);
                    snippets.show(of, &problem.span, place, Level::ERROR);
                }
                for (file, more) in problems.more() {
                    eprintln!("{file}: and {more} more");
                }
            }
        },
    }
    ok
}

/// Shows lines of the files, with a mark under the place. Of a file that is not a part of the configuration, such as one of consumers, it shows none.
struct Snippets<'a> {
    excerpts: &'a Excerpts<'a>,
    renderer: Renderer,
}

impl<'a> Snippets<'a> {
    fn new(excerpts: &'a Excerpts<'a>) -> Self {
        let colours =
            io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { excerpts, renderer: if colours { Renderer::styled() } else { Renderer::plain() } }
    }

    fn show(&self, file: &str, span: &Span, place: Place, level: Level<'_>) {
        let Some(excerpt) = self.excerpts.around(file, span) else { return };
        let mark = AnnotationKind::Primary.span(excerpt.place.clone());
        let snippet = Snippet::source(&excerpt.text).line_start(place.start.line).annotation(mark);
        eprintln!("{}", self.renderer.render(&[Group::with_level(level).element(snippet)]));
    }
}

fn report(file: &str, ok: bool, problems: &[Json], warnings: &[Json]) -> Json {
    json!({ "file": file, "ok": ok, "problems": problems, "warnings": warnings })
}

fn of_problem(place: Place, problem: &Problem) -> Json {
    let mut told = json!({ "message": problem.to_string() });
    if let Some(file) = &problem.file {
        told["file"] = file.as_str().into();
    }
    placed(told, place)
}

fn of_warning(warning: &Warning) -> Json {
    let told = json!({ "name": warning.lint.name(), "file": warning.file, "message": warning.message });
    match &warning.place {
        Some((_, place)) => placed(told, *place),
        None => told,
    }
}

/// The same, with the place in the file: its first character, and the one behind its last.
fn placed(mut told: Json, place: Place) -> Json {
    told["line"] = place.start.line.into();
    told["column"] = place.start.column.into();
    told["end"] = json!({ "line": place.end.line, "column": place.end.column });
    told
}
