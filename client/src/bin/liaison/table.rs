//! Aligned columns.

use anstyle::Style;

use crate::out::{PLAIN, paint};
use crate::text::{pad, safe_line, truncate, width};

/// One cell: its text, which is made safe to show, and its style.
#[derive(Clone, Debug)]
pub(crate) struct Cell(pub(crate) String, pub(crate) Style);

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self(text.into(), PLAIN)
    }
}

/// Columns that are left to the one that gives way first.
const ELASTIC_MIN: usize = 12;

/// Rows under a heading. Without rows it is nothing at all: an empty list prints no line.
pub(crate) struct Table {
    /// Heading, least width and spaces after it, for each column.
    columns: Vec<(&'static str, usize, usize)>,
    /// The column that gives way on a narrow terminal.
    elastic: Option<usize>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, usize, usize)]) -> Self {
        Self { columns: columns.to_vec(), elastic: None, rows: Vec::new() }
    }

    pub(crate) const fn elastic(mut self, column: usize) -> Self {
        self.elastic = Some(column);
        self
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// All lines, each ended. `columns` is the terminal's width, where there is one.
    pub(crate) fn render(&self, columns: Option<usize>) -> String {
        if self.rows.is_empty() { String::new() } else { self.render_heading(columns) + &self.render_rows(columns) }
    }

    /// The rows alone, for a table that goes on.
    pub(crate) fn render_rows(&self, columns: Option<usize>) -> String {
        let widths = self.widths(columns);
        self.rows.iter().map(|row| self.line(row, &widths)).collect()
    }

    fn render_heading(&self, columns: Option<usize>) -> String {
        let heading: Vec<Cell> = self.columns.iter().map(|(name, ..)| Cell::from(*name)).collect();
        self.line(&heading, &self.widths(columns))
    }

    fn widths(&self, columns: Option<usize>) -> Vec<usize> {
        let widest = |(index, (name, least, _)): (usize, &(&str, usize, usize))| {
            let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|cell| width(&cell.0));
            cells.chain([width(name), *least]).max().unwrap_or(0)
        };
        let mut widths: Vec<_> = self.columns.iter().enumerate().map(widest).collect();
        if let (Some(columns), Some(elastic)) = (columns, self.elastic) {
            let total: usize = widths.iter().sum::<usize>() + self.columns.iter().map(|(.., gap)| gap).sum::<usize>();
            let mut over = total.saturating_sub(columns);
            if let Some(width) = widths.get_mut(elastic) {
                let narrow = width.saturating_sub(over).max(ELASTIC_MIN.min(*width));
                over -= *width - narrow;
                *width = narrow;
            }
            // A terminal that is narrower still: the others give way, down to their least width.
            for (width, (name, least, _)) in widths.iter_mut().zip(&self.columns) {
                let narrow = width.saturating_sub(over).max((*least).max(self::width(name)).min(*width));
                over -= *width - narrow;
                *width = narrow;
            }
        }
        widths
    }

    fn line(&self, cells: &[Cell], widths: &[usize]) -> String {
        let mut line = String::new();
        for (index, (Cell(text, style), columns)) in cells.iter().zip(widths).enumerate() {
            let gap = self.columns.get(index).map_or(2, |(.., gap)| *gap);
            let text = truncate(&safe_line(text), *columns);
            let fill = pad(&text, columns + gap).split_off(text.len());
            line.push_str(&paint(*style, &text));
            line.push_str(&fill);
        }
        line.truncate(line.trim_end().len());
        line + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[("ID", 4, 2), ("SUBJECT", 8, 2), ("N", 1, 0)]).elastic(1);
        table.row(["a".into(), "東京 and a long subject".into(), "2".into()]);
        table
    }

    #[test]
    fn columns_align_and_lines_have_no_trailing_blanks() {
        let text = table().render(None);
        assert_eq!(text, "ID    SUBJECT                  N\na     東京 and a long subject  2\n");
    }

    #[test]
    fn the_elastic_column_gives_way() {
        assert_eq!(table().render(Some(22)), "ID    SUBJECT        N\na     東京 and a l…  2\n");
    }

    #[test]
    fn on_a_narrow_terminal_the_others_give_way_too() {
        let mut table = Table::new(&[("FROM", 8, 1), ("SUBJECT", 8, 1), ("N", 1, 0)]).elastic(1);
        table.row(["great.kaspersky".into(), "a long subject indeed".into(), "2".into()]);
        for line in table.render(Some(26)).lines() {
            assert!(width(line) <= 26, "{line}");
        }
    }

    #[test]
    fn no_rows_are_no_lines() {
        assert_eq!(Table::new(&[("ID", 4, 2)]).render(None), "");
    }
}
