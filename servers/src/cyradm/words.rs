//! Lines of a script, or typed: words as shells have them, commands separated by `;`, and redirections.

/// One command of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// The command and its arguments.
    pub(super) words: Vec<String>,
    /// `> file`, `>> file`, `2> file`, `2>> file`, in this order.
    pub(super) redirections: Vec<Redirection>,
}

/// Where output goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Redirection {
    /// What the command reports as wrong, and not what it shows.
    pub(super) errors: bool,
    /// Behind what is in the file.
    pub(super) append: bool,
    /// The file; `&1` and `&2` are what the other goes to.
    pub(super) target: String,
}

/// Why a line is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadLine {
    /// A quotation mark has no second one.
    #[error("unmatched {0}")]
    Unmatched(char),
    /// A redirection without file.
    #[error("no file behind the redirection")]
    NoTarget,
    /// Not built, as in the original.
    #[error("cyradm has no pipes and no background")]
    NoPipes,
}

/// Takes a line apart. What follows `#` at the beginning of a word is a comment.
pub(super) fn commands(text: &str) -> Result<Vec<Line>, BadLine> {
    let mut commands = Vec::new();
    let mut line = Line::default();
    let mut word: Option<String> = None;
    let mut open: Option<(bool, bool)> = None;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '#' if word.is_none() => break,
            '\\' => {
                if let Some(next) = letters.next() {
                    word.get_or_insert_default().push(next);
                }
            }
            quote @ ('"' | '\'') => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next() {
                        None => return Err(BadLine::Unmatched(quote)),
                        Some(end) if end == quote => break,
                        Some('\\') if quote == '"' => match letters.next() {
                            Some(next) => word.push(next),
                            None => return Err(BadLine::Unmatched(quote)),
                        },
                        Some(letter) => word.push(letter),
                    }
                }
            }
            ';' => {
                finish(&mut line, &mut word, &mut open)?;
                push(&mut commands, std::mem::take(&mut line));
            }
            '>' => {
                let errors = word.as_deref() == Some("2");
                if matches!(word.as_deref(), Some("1" | "2")) {
                    word = None;
                }
                finish(&mut line, &mut word, &mut open)?;
                let append = letters.next_if_eq(&'>').is_some();
                open = Some((errors, append));
            }
            '|' => return Err(BadLine::NoPipes),
            '&' if open.is_none() => return Err(BadLine::NoPipes),
            letter if letter.is_whitespace() => {
                if word.is_some() {
                    finish(&mut line, &mut word, &mut open)?;
                }
            }
            letter => word.get_or_insert_default().push(letter),
        }
    }
    finish(&mut line, &mut word, &mut open)?;
    push(&mut commands, line);
    Ok(commands)
}

/// Ends a word, which is an argument or the target of a redirection.
fn finish(
    line: &mut Line,
    word: &mut Option<String>,
    open: &mut Option<(bool, bool)>,
) -> Result<(), BadLine> {
    match (word.take(), open.take()) {
        (Some(word), None) => line.words.push(word),
        (Some(target), Some((errors, append))) => line.redirections.push(Redirection {
            errors,
            append,
            target,
        }),
        (None, Some(_)) => return Err(BadLine::NoTarget),
        (None, None) => {}
    }
    Ok(())
}

fn push(commands: &mut Vec<Line>, line: Line) {
    if !line.words.is_empty() {
        commands.push(line);
    }
}

/// A word so written that it is read as one.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+@=,:%*!^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        commands(text)
            .unwrap()
            .into_iter()
            .map(|line| line.words)
            .collect()
    }

    #[test]
    fn words_are_quoted_as_in_shells() {
        assert_eq!(
            words(r#"cm "user/a b" 'c "d"' e\ f"#),
            [["cm", "user/a b", "c \"d\"", "e f"]]
        );
        assert_eq!(words(r#"a "\\Junk" "" "#), [["a", "\\Junk", ""]]);
        assert_eq!(
            words("lm; lq root ;; # nothing"),
            [vec!["lm"], vec!["lq", "root"]]
        );
        assert_eq!(commands("lm \"x"), Err(BadLine::Unmatched('"')));
    }

    #[test]
    fn output_goes_where_it_is_told() {
        let line = &commands("lm user/* > out 2>>err").unwrap()[0];
        assert_eq!(line.words, ["lm", "user/*"]);
        let [out, err] = line.redirections.as_slice() else {
            panic!()
        };
        assert!(!out.errors && !out.append && out.target == "out");
        assert!(err.errors && err.append && err.target == "err");
        assert_eq!(commands("lm >"), Err(BadLine::NoTarget));
        assert_eq!(commands("lm | less"), Err(BadLine::NoPipes));
        assert_eq!(commands("lm 2>&1").unwrap()[0].redirections[0].target, "&1");
    }

    proptest! {
        #[test]
        fn a_quoted_word_is_read_back(word in "[ -~\u{e4}]{0,12}") {
            let text = format!("x {}", quoted(&word));
            prop_assert_eq!(&words(&text)[0][1], &word);
        }
    }
}
