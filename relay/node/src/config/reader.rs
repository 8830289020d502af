//! Walks parsed TOML, and remembers everything that is wrong with it.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Problem, SecretRef, did_you_mean};

struct Document<'d> {
    file: &'d Path,
    text: &'d str,
    problems: RefCell<Vec<Problem>>,
}

impl Document<'_> {
    fn line_at(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }

    fn push(&self, offset: Option<usize>, key: String, text: String) {
        let line = offset.map(|offset| self.line_at(offset));
        self.problems.borrow_mut().push(Problem { file: self.file.into(), line, key, text });
    }
}

/// Parses the whole document; what TOML itself refuses comes alone, since keys after a syntax error mean little.
pub(super) fn read_document<T>(
    file: &Path,
    text: &str,
    read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
) -> (Option<T>, Vec<Problem>) {
    let document = Document { file, text, problems: RefCell::default() };
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let reason = error.message().lines().collect::<Vec<_>>().join(", ");
        document.push(error.span().map(|span| span.start), String::new(), reason);
    }
    if !errors.is_empty() {
        return (None, document.problems.into_inner());
    }
    let mut reader =
        Reader { document: &document, table: Some(root.get_ref()), at: None, label: Label::Root, asked: Vec::new() };
    let value = read(&mut reader);
    reader.finish();
    if value.is_none() && document.problems.borrow().is_empty() {
        document.push(None, String::new(), "incomplete".into());
    }
    (value, document.problems.into_inner())
}

/// How messages name the table: `[limits]`, `[[peer]]`, or nothing for the top.
#[derive(Clone)]
enum Label {
    Array(String),
    Root,
    Table(String),
}

impl Label {
    fn name(&self, key: &str) -> String {
        match self {
            Self::Array(table) => format!("[[{table}]] {key}"),
            Self::Root => key.into(),
            Self::Table(table) => format!("[{table}] {key}"),
        }
    }

    fn path(&self, key: &str) -> String {
        match self {
            Self::Array(table) | Self::Table(table) => format!("{table}.{key}"),
            Self::Root => key.into(),
        }
    }
}

/// One table of the file. Every getter names the key it looks for; keys that no getter asked for are unknown.
pub struct Reader<'d> {
    document: &'d Document<'d>,
    /// None: the file has no such table, so every key is absent.
    table: Option<&'d DeTable<'d>>,
    /// Where the table starts; none for the top and for absent tables.
    at: Option<usize>,
    label: Label,
    asked: Vec<&'static str>,
}

impl<'d> Reader<'d> {
    /// A string value, through its `FromStr`. `None` if absent, or wrong (then it is recorded).
    pub fn text<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Option<T> {
        let value = self.find(key)?;
        let text = self.expect_text(key, value)?;
        self.parse_text(key, value, text)
    }

    /// As [`Reader::text`], and absence is a problem too.
    pub fn required<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Option<T> {
        self.require(key);
        self.text(key)
    }

    /// As [`Reader::text`], with both bounds inclusive.
    pub fn text_within<T>(&mut self, key: &'static str, bounds: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr<Err: Display> + PartialOrd + Display,
    {
        let value = self.text::<T>(key)?;
        self.within(key, value, &bounds)
    }

    /// A list of strings; one string alone is a list of one. Absent: empty.
    pub fn texts<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Vec<T> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let items: Vec<_> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let read = |item: &'d Spanned<DeValue<'d>>| {
            let text = self.expect_text(key, item)?;
            self.parse_text(key, item, text)
        };
        items.into_iter().filter_map(read).collect()
    }

    /// One of a few words.
    pub fn word<T: Clone>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let value = self.find(key)?;
        let text = self.expect_text(key, value)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(meaning.clone());
        }
        let all = words.iter().map(|(word, _)| *word).collect::<Vec<_>>();
        let hint = did_you_mean(text, all.iter().copied()).map(|near| format!(", did you mean '{near}'?"));
        let hint = hint.unwrap_or_else(|| format!("; one of: {}", all.join(", ")));
        self.problem_at(key, value.span().start, format!("unknown value '{text}'{hint}"));
        None
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.find(key)?;
        if value.get_ref().as_bool().is_none() {
            self.problem_at(
                key,
                value.span().start,
                format!("expected true or false, found {}", kind(value.get_ref())),
            );
        }
        value.get_ref().as_bool()
    }

    /// A whole number, both bounds inclusive.
    pub fn integer(&mut self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let value = self.find(key)?;
        let number = value.get_ref().as_integer().and_then(|i| u64::from_str_radix(i.as_str(), i.radix()).ok());
        let Some(number) = number else {
            let found = kind(value.get_ref());
            self.problem_at(key, value.span().start, format!("expected a whole number of at least 0, found {found}"));
            return None;
        };
        self.within(key, number, &bounds)
    }

    /// A path; relative ones are relative to the file's folder.
    pub fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let value = self.find(key)?;
        let text = self.expect_text(key, value)?;
        if text.is_empty() || text.contains('\0') {
            self.problem_at(key, value.span().start, "is empty or holds a zero byte; name a path".into());
            return None;
        }
        Some(self.folder().join(text))
    }

    /// As [`Reader::path`], and absence is a problem too.
    pub fn required_path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.require(key);
        self.path(key)
    }

    /// Where a key or passphrase is kept: `file:PATH` (relative to the file's folder) or `credential:NAME`.
    pub fn secret(&mut self, key: &'static str) -> Option<SecretRef> {
        let secret = self.text::<SecretRef>(key)?;
        Some(secret.under(self.folder()))
    }

    /// As [`Reader::secret`], and absence is a problem too.
    pub fn required_secret(&mut self, key: &'static str) -> Option<SecretRef> {
        self.require(key);
        self.secret(key)
    }

    /// The table `key`; if the file has none, `read` sees an empty one, so that defaults hold and required keys are
    /// missed by name.
    pub fn table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        match self.find(key) {
            Some(value) => self.read_table(key, value, Label::Table(self.label.path(key)), read),
            None => self.read_absent(key, read),
        }
    }

    /// The table `key`, if the file has it.
    pub fn optional_table<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let value = self.find(key)?;
        self.read_table(key, value, Label::Table(self.label.path(key)), read)
    }

    /// Each table of `[[key]]`, or of an array of inline tables. Absent: empty.
    pub fn tables<T>(&mut self, key: &'static str, mut read: impl FnMut(&mut Self) -> Option<T>) -> Vec<T> {
        let Some(value) = self.find(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            let text = format!("expected [[{}]] tables, found {}", self.label.path(key), kind(value.get_ref()));
            self.problem_at(key, value.span().start, text);
            return Vec::new();
        };
        let label = Label::Array(self.label.path(key));
        items.iter().filter_map(|item| self.read_table(key, item, label.clone(), &mut read)).collect()
    }

    /// Records that `key`'s value does not fit the rest of the file.
    pub fn refuse(&self, key: &'static str, text: impl Into<String>) {
        let at = self.table.and_then(|table| table.get(key)).map(|value| value.span().start).or(self.at);
        self.document.push(at, self.label.name(key), text.into());
    }

    /// Whether the file has `key` in this table.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// The folder of the file: what relative paths start from.
    #[must_use]
    pub fn folder(&self) -> &Path {
        match self.document.file.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        }
    }

    fn find(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.table.and_then(|table| table.get(key))
    }

    fn require(&mut self, key: &'static str) {
        if self.find(key).is_none() {
            self.document.push(self.at, self.label.name(key), "missing".into());
        }
    }

    fn expect_text(&self, key: &str, value: &'d Spanned<DeValue<'d>>) -> Option<&'d str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            let hint = match value.get_ref() {
                DeValue::Integer(_) | DeValue::Float(_) => "; sizes, durations and rates are quoted and carry a unit",
                _ => "",
            };
            let found = kind(value.get_ref());
            self.problem_at(key, value.span().start, format!("expected text in quotes, found {found}{hint}"));
        }
        text
    }

    fn parse_text<T: FromStr<Err: Display>>(&self, key: &str, value: &Spanned<DeValue<'_>>, text: &str) -> Option<T> {
        text.parse().map_err(|error: T::Err| self.problem_at(key, value.span().start, error.to_string())).ok()
    }

    fn within<T: PartialOrd + Display>(&self, key: &'static str, value: T, bounds: &RangeInclusive<T>) -> Option<T> {
        if bounds.contains(&value) {
            return Some(value);
        }
        self.refuse(key, format!("{value} is out of range, {} to {}", bounds.start(), bounds.end()));
        None
    }

    fn read_table<T>(
        &self,
        key: &str,
        value: &'d Spanned<DeValue<'d>>,
        label: Label,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<T> {
        let DeValue::Table(table) = value.get_ref() else {
            let text = format!("expected a table, found {}", kind(value.get_ref()));
            self.problem_at(key, value.span().start, text);
            return None;
        };
        let at = Some(value.span().start);
        let mut reader = Self { document: self.document, table: Some(table), at, label, asked: Vec::new() };
        let value = read(&mut reader);
        reader.finish();
        value
    }

    fn read_absent<T>(&self, key: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let label = Label::Table(self.label.path(key));
        read(&mut Self { document: self.document, table: None, at: None, label, asked: Vec::new() })
    }

    fn problem_at(&self, key: &str, offset: usize, text: String) {
        self.document.push(Some(offset), self.label.name(key), text);
    }

    /// Names the keys that nobody asked for.
    fn finish(self) {
        for key in self.table.into_iter().flat_map(DeTable::keys) {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let hint = did_you_mean(name, self.asked.iter().copied()).map(|near| format!(", did you mean '{near}'?"));
            let hint = hint.unwrap_or_else(|| format!("; known here: {}", self.asked.join(", ")));
            self.document.push(Some(key.span().start), self.label.name(name), format!("unknown key{hint}"));
        }
    }
}

/// A value's type, in words.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Array(_) => "a list",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Float(_) => "a fraction",
        DeValue::Integer(_) => "a number",
        DeValue::String(_) => "text",
        DeValue::Table(_) => "a table",
    }
}
