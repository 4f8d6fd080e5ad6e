//! Plain tables: columns as wide as their widest cell, two spaces between them.

/// A table with a heading.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text; no line ends in spaces.
    pub(super) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let padded = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        self.rows.iter().map(line).collect()
    }
}

/// A size for people: three digits and a binary unit.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let exponent = bytes.checked_ilog2().unwrap_or(0) / 10;
    let index = usize::try_from(exponent).unwrap_or(0).min(UNITS.len() - 1);
    let unit = UNITS.get(index).copied().unwrap_or("B");
    if index == 0 {
        return format!("{bytes} {unit}");
    }
    let tenths = u128::from(bytes) * 10 / (1_u128 << (10 * index));
    if tenths >= 1000 {
        format!("{} {unit}", tenths / 10)
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// A period for people: its two largest units.
pub(super) fn period(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_periods_are_short_enough_to_read() {
        let sizes: Vec<_> = [0, 999, 1024, 1536, 200 << 20, 3 << 40].map(size).into();
        assert_eq!(sizes, ["0 B", "999 B", "1.0 KiB", "1.5 KiB", "200 MiB", "3.0 TiB"]);
        let periods: Vec<_> = [0, 59, 61, 3661, 90_000].map(period).into();
        assert_eq!(periods, ["0 s", "59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&["NAME", "N"]);
        table.row(["a long name".to_owned(), "1".to_owned()]);
        assert_eq!(table.render(), "NAME         N\na long name  1\n");
    }
}
