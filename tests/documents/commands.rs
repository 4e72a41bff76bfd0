//! The commands of a block.

/// A command, and what the document shows of its output.
#[derive(Debug, PartialEq)]
pub(crate) struct Command {
    pub(crate) text: String,
    /// The lines of the block after the command, if there are any.
    pub(crate) shown: Option<String>,
    /// The number of the block's lines before the command, and before and after what is shown.
    pub(crate) lines: [usize; 3],
}

impl Command {
    /// The commands of a block ```` ```sh ````: a line each, or several where the line before ends in `\`, or the next is indented.
    pub(crate) fn of_script(text: &str) -> Vec<Self> {
        let mut commands: Vec<Self> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let goes_on = line.starts_with(' ') && !line.trim().is_empty();
            match commands.last_mut() {
                Some(last) if goes_on || last.text.ends_with('\\') => {
                    last.text += "\n";
                    last.text += line;
                    last.lines[1..].fill(number + 1);
                }
                _ if line.trim().is_empty() || line.starts_with('#') => {}
                _ => commands.push(Self {
                    text: line.to_owned(),
                    shown: None,
                    lines: [number, number + 1, number + 1],
                }),
            }
        }
        commands
    }

    /// The commands of a block ```` ```console ````: each begins with `$ `, goes on after `\`, and is followed by its output.
    pub(crate) fn of_console(text: &str) -> Vec<Self> {
        let mut commands: Vec<Self> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let last = commands.last_mut();
            if let Some(command) = line.strip_prefix("$ ") {
                commands.push(Self {
                    text: command.to_owned(),
                    shown: None,
                    lines: [number, number + 1, number + 1],
                });
            } else if let Some(last) = last {
                if last.text.ends_with('\\') && last.shown.is_none() {
                    last.text += "\n";
                    last.text += line;
                    last.lines[1..].fill(number + 1);
                } else {
                    let shown = last.shown.get_or_insert_default();
                    *shown += line;
                    *shown += "\n";
                    last.lines[2] = number + 1;
                }
            }
        }
        commands
    }

    /// What a program that goes on running prints when it can be used; `None` of a command that ends.
    pub(crate) fn ready(&self) -> Option<&'static str> {
        let code = self.text.split(" #").next().unwrap_or_default().trim_end().trim_end_matches('&');
        let mut words = code.split_whitespace().skip_while(|word| is_assignment(word));
        match words.next()?.rsplit('/').next()? {
            "mock-backend" => Some("mock-backend listening on"),
            "make" => (words.next() == Some("run")).then_some("Ctrl-C stops both."),
            "gateway" => {
                let mut serves = true;
                while let Some(word) = words.next() {
                    match word {
                        "-c" | "--config" => _ = words.next(),
                        "--help" | "--version" => serves = false,
                        _ if word.starts_with('-') => {}
                        _ => {
                            serves = word == "proxy" && !words.any(|word| word == "--help");
                            break;
                        }
                    }
                }
                serves.then_some("] ready")
            }
            _ => None,
        }
    }
}

/// Whether a word sets a variable of the command behind it, as in `BACKEND=:3000 gateway`.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}
