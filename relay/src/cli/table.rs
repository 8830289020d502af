//! Aligned columns.

use anstyle::Style;

use super::out::{PLAIN, paint};
use super::words::safe;

/// One cell.
pub(super) struct Cell(pub(super) String, pub(super) Style);

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self(text.into(), PLAIN)
    }
}

/// Where a column's cells stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Rows under a heading. Without rows it is nothing: an empty list prints no line.
pub(super) struct Table {
    columns: Vec<(&'static str, Side)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(columns: &[(&'static str, Side)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn render(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let heading: Vec<Cell> = self.columns.iter().map(|(name, _)| Cell::from(*name)).collect();
        let lines = std::iter::once(&heading).chain(&self.rows);
        lines.map(|row| self.line(row)).collect()
    }

    fn line(&self, cells: &[Cell]) -> String {
        let mut line = String::new();
        for (index, (Cell(text, style), (_, side))) in cells.iter().zip(&self.columns).enumerate() {
            let fill = " ".repeat(self.width(index).saturating_sub(text.chars().count()));
            let text = &safe(text);
            let gap = if index == 0 { "" } else { "  " };
            line.push_str(gap);
            match side {
                Side::Left => line.push_str(&(paint(*style, text) + &fill)),
                Side::Right => line.push_str(&(fill + &paint(*style, text))),
            }
        }
        line.truncate(line.trim_end().len());
        line + "\n"
    }

    fn width(&self, column: usize) -> usize {
        let heading = self.columns.get(column).map_or(0, |(name, _)| name.len());
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.0.chars().count());
        cells.chain([heading]).max().unwrap_or(0)
    }
}
