//! Plain tables: columns as wide as their widest cell, two spaces between them.

pub(super) use crate::units::{period_words as period, size_words as size};

/// A table with a heading.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// Of what was rendered before.
    widths: Vec<usize>,
}

impl Table {
    pub(super) fn new(heading: &[&str]) -> Self {
        let rows = vec![heading.iter().map(|&cell| cell.to_owned()).collect()];
        Self { rows, widths: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text; no line ends in spaces.
    pub(super) fn render(&self) -> String {
        let widths = self.widths();
        let line = |row: &Vec<String>| {
            let padded = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        self.rows.iter().map(line).collect()
    }

    /// The rows since the last time, in columns that are not narrower than then: for tables of any length.
    pub(super) fn render_next(&mut self) -> String {
        let text = self.render();
        self.widths = self.widths();
        self.rows.clear();
        text
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0).max(self.widths.len());
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            widest.max(self.widths.get(column).copied().unwrap_or(0))
        };
        (0..columns).map(width).collect()
    }
}

/// A wait for people, in milliseconds or seconds.
pub(super) fn brief(millis: u64) -> String {
    match millis {
        0..1000 => format!("{millis} ms"),
        1000..60_000 => format!("{}.{} s", millis / 1000, millis / 100 % 10),
        _ => period(millis / 1000),
    }
}

/// A rate for people: events a second.
pub(super) fn per_second(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        rate if rate < 0.1 => "<0.1".to_owned(),
        rate if rate < 9.95 => format!("{rate:.1}"),
        rate if rate < 99_999.5 => format!("{rate:.0}"),
        rate => format!("{:.0}k", rate / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_short_enough_to_read() {
        let rates: Vec<_> = [0.0, 0.004, 0.25, 9.96, 1234.4, 123_456.0].map(per_second).into();
        assert_eq!(rates, ["0", "<0.1", "0.2", "10", "1234", "123k"]);
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["NAME", "N"]);
        table.row(["a long name".to_owned(), "1".to_owned()]);
        assert_eq!(table.render(), "NAME         N\na long name  1\n");
        assert_eq!(table.render_next(), "NAME         N\na long name  1\n");
        table.row(["short".to_owned(), "2".to_owned()]);
        assert_eq!(table.render_next(), "short        2\n");
    }
}
