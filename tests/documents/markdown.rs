//! What a document has that can be tried: its blocks of code, the comments that say how to try them, its headings and its links.

use std::fs;
use std::ops::Range;
use std::path::Path;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A document, as far as it can be tried.
pub(crate) struct Document {
    /// Its path from the root of the repository.
    pub(crate) path: String,
    pub(crate) text: String,
    /// In their order.
    pub(crate) parts: Vec<Part>,
    /// Each as GitHub makes an anchor of it.
    pub(crate) anchors: Vec<String>,
    /// The line and the destination of each link.
    pub(crate) links: Vec<(usize, String)>,
}

/// What a reader sees as a block of code, and what a reader does not see.
pub(crate) enum Part {
    /// A comment, with the line on which it begins.
    Comment(usize, String),
    Block(Block),
    /// Text, a heading, a table and so on: a comment before it belongs to no block.
    Other,
}

/// A block of code.
#[derive(Clone)]
pub(crate) struct Block {
    /// What stands behind the fence.
    pub(crate) language: String,
    pub(crate) text: String,
    /// The line of the document on which `text` begins.
    pub(crate) line: usize,
}

impl Document {
    /// Reads a document by its path from the root of the repository.
    pub(crate) fn read(path: &str) -> Self {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let mut document =
            Self { path: path.to_owned(), text, parts: vec![], anchors: vec![], links: vec![] };
        document.parse();
        document
    }

    fn parse(&mut self) {
        let text = self.text.clone();
        let line = |range: &Range<usize>| text[..range.start].matches('\n').count() + 1;
        let mut heading: Option<String> = None;
        let mut block: Option<Block> = None;
        for (event, range) in Parser::new_ext(&text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let language = match kind {
                        CodeBlockKind::Fenced(language) => language.to_string(),
                        CodeBlockKind::Indented => String::new(),
                    };
                    block = Some(Block { language, text: String::new(), line: line(&range) + 1 });
                }
                Event::End(TagEnd::CodeBlock) => self.parts.extend(block.take().map(Part::Block)),
                Event::Start(Tag::HtmlBlock) => self.comments(&text[range.clone()], line(&range)),
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    self.links.push((line(&range), dest_url.to_string()));
                }
                Event::Start(Tag::Heading { .. }) => {
                    heading = Some(String::new());
                    self.parts.push(Part::Other);
                }
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = self.anchor(&heading.take().unwrap());
                    self.anchors.push(anchor);
                }
                Event::Start(Tag::Paragraph | Tag::Table(_) | Tag::Item) => self.parts.push(Part::Other),
                Event::Text(part) | Event::Code(part) => {
                    if let Some(block) = &mut block {
                        block.text += &part;
                    }
                    if let Some(heading) = &mut heading {
                        *heading += &part;
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes the comments out of HTML that begins on this line.
    fn comments(&mut self, html: &str, line: usize) {
        let mut rest = html;
        while let Some((before, after)) = rest.split_once("<!--") {
            let (comment, after) = after.split_once("-->").expect("a comment has an end");
            let offset = html.len() - rest.len() + before.len();
            let line = line + html[..offset].matches('\n').count();
            self.parts.push(Part::Comment(line, comment.trim().to_owned()));
            rest = after;
        }
    }

    /// The anchor of a heading, after those before it: lower case, letters, digits, `-` and `_`, `-` for a space, and a number where a
    /// heading comes again.
    fn anchor(&self, heading: &str) -> String {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let base: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase();
        let numbered = (1..).map(|number| format!("{base}-{number}"));
        [base.clone()].into_iter().chain(numbered).find(|anchor| !self.anchors.contains(anchor)).unwrap()
    }
}
