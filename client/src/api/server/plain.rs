//! What is wrong with a request, in the words of JSON and HTTP instead of those of our libraries.

/// Phrases of the libraries, and what callers read for them. Longer phrases come before their parts.
const PHRASES: [(&str, &str); 17] = [
    ("Failed to deserialize the JSON body into the target type: ", "the body: "),
    ("Failed to parse the request body as JSON: ", "the body is not JSON: "),
    ("Failed to deserialize query string: ", "the query: "),
    ("Failed to deserialize form body: ", "the body: "),
    ("Expected request with `Content-Type: application/json`", "the header Content-Type must be application/json"),
    ("Failed to buffer the request body: ", "the body: "),
    ("Invalid URL: ", "the path: "),
    (" to a `u32`", " to a number"),
    ("EOF while parsing a", "the body ends inside a"),
    ("invalid digit found in string", "not a whole number"),
    ("cannot parse integer from empty string", "a whole number is missing"),
    ("number too large to fit in target type", "the number is too large"),
    ("length limit exceeded", "too long"),
    ("invalid type: ", "wrong type: "),
    ("a sequence", "a list"),
    ("sequence", "list"),
    ("a map", "an object"),
];

/// `text` of a library, in plain words.
pub(super) fn plain(text: &str) -> String {
    let mut text = text.to_owned();
    for (theirs, ours) in PHRASES {
        text = text.replace(theirs, ours);
    }
    let mut words: Vec<&str> = Vec::new();
    let mut given = text.split(' ').peekable();
    while let Some(word) = given.next() {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        match bare {
            "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => words.push("a whole number, 0 or more"),
            "i8" | "i16" | "i32" | "i64" | "isize" => words.push("a whole number"),
            "f32" | "f64" => words.push("a number"),
            "struct" => {
                words.push("an object");
                given.next();
                if given.peek() == Some(&"with") {
                    // "with 3 elements": how many fields a type has says nothing to callers.
                    given.by_ref().take(3).for_each(drop);
                }
            }
            "enum" => {
                words.push("one of its words");
                given.next();
            }
            "variant" => words.push("word"),
            _ => words.push(word),
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_read_of_numbers_lists_and_objects() {
        for (theirs, ours) in [
            (
                "Failed to deserialize the JSON body into the target type: total_len: invalid type: string \"x\", expected u64 at line 1 column 30",
                "the body: total_len: wrong type: string \"x\", expected a whole number, 0 or more at line 1 column 30",
            ),
            (
                "Failed to deserialize the JSON body into the target type: invalid type: integer `7`, expected struct Submission at line 1 column 1",
                "the body: wrong type: integer `7`, expected an object at line 1 column 1",
            ),
            (
                "invalid length 1, expected struct Submission with 12 elements at line 1 column 4",
                "invalid length 1, expected an object at line 1 column 4",
            ),
            (
                "tlp: unknown variant `blue`, expected one of `clear`, `green`",
                "tlp: unknown word `blue`, expected one of `clear`, `green`",
            ),
            (
                "Failed to deserialize query string: limit: invalid digit found in string",
                "the query: limit: not a whole number",
            ),
            ("Invalid URL: Cannot parse `x` to a `u32`", "the path: Cannot parse `x` to a number"),
            (
                "Expected request with `Content-Type: application/json`",
                "the header Content-Type must be application/json",
            ),
        ] {
            assert_eq!(plain(theirs), ours);
        }
    }
}
