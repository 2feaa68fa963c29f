//! Settings on the command line: `key=value ...`.

use std::collections::BTreeMap;

use crate::context::read_stdin;
use crate::error::{Error, Result};

/// Takes `key=value` words apart; two words without `=` in the first are a key and a value, the old form.
///
/// A value of `-` is read from standard input.
///
/// # Errors
/// For a word without `=`.
pub(crate) fn pairs(words: &[String]) -> Result<BTreeMap<String, String>> {
    if let [key, value] = words
        && !key.contains('=')
    {
        return Ok(BTreeMap::from([(key.clone(), from_stdin(value)?)]));
    }
    words.iter().map(|word| pair(word)).collect()
}

/// Takes `key=value` words apart, without the old form; `wrong` is what is said of another word.
///
/// # Errors
/// For a word without `=`.
pub(crate) fn strict_pairs(words: &[String], wrong: fn(&str) -> String) -> Result<BTreeMap<String, String>> {
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) => Ok((key.to_string(), from_stdin(value)?)),
        None => Err(Error::message(wrong(word))),
    };
    words.iter().map(pair).collect()
}

fn pair(word: &str) -> Result<(String, String)> {
    let (key, value) = word
        .split_once('=')
        .ok_or_else(|| Error::message(format!("Invalid key=value configuration: {word}")))?;
    Ok((key.to_string(), from_stdin(value)?))
}

fn from_stdin(value: &str) -> Result<String> {
    if value == "-" {
        read_stdin()
    } else {
        Ok(value.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(String::from).collect()
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(pairs(&words("limits.cpu 2")).unwrap()["limits.cpu"], "2");
        let both = pairs(&words("a=1 b=x=y")).unwrap();
        assert_eq!((both["a"].as_str(), both["b"].as_str()), ("1", "x=y"));
        assert_eq!(
            pairs(&words("a=1 b")).unwrap_err().to_string(),
            "Invalid key=value configuration: b"
        );
    }
}
