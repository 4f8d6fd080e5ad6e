//! The table at the end.

/// Whether a figure is what it should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// No promise was made; it is told.
    None,
    /// At least this.
    AtLeast(f64),
    /// Less than this.
    Under(f64),
}

/// One line of the table.
#[derive(Debug)]
struct Row {
    figure: String,
    value: f64,
    unit: &'static str,
    reference: Option<(f64, String)>,
    target: Target,
}

impl Row {
    fn met(&self) -> Option<bool> {
        match self.target {
            Target::None => None,
            Target::AtLeast(least) => Some(self.value >= least),
            Target::Under(limit) => Some(self.value < limit),
        }
    }
}

/// All figures so far. Each is also told on standard error as soon as it is known.
#[derive(Debug, Default)]
pub struct Report(Vec<Row>);

impl Report {
    /// A figure that stands for itself.
    pub fn figure(&mut self, figure: &str, value: f64, unit: &'static str, target: Target) {
        self.add(figure, value, unit, None, target);
    }

    /// A figure beside a reference of the same unit, measured in the same run.
    pub fn compared(
        &mut self,
        figure: &str,
        value: f64,
        unit: &'static str,
        reference: (f64, &str),
        target: Target,
    ) {
        self.add(figure, value, unit, Some((reference.0, reference.1.to_owned())), target);
    }

    fn add(
        &mut self,
        figure: &str,
        value: f64,
        unit: &'static str,
        reference: Option<(f64, String)>,
        target: Target,
    ) {
        eprintln!("  {figure}: {} {unit}", digits(value));
        self.0.push(Row { figure: figure.to_owned(), value, unit, reference, target });
    }

    /// Whether a target was missed.
    pub fn missed(&self) -> bool {
        self.0.iter().any(|row| row.met() == Some(false))
    }

    /// Prints the table, as Markdown, on standard output.
    pub fn print(&self) {
        println!("| figure | measured | reference in the same run | ratio | target | |");
        println!("|---|---:|---|---:|---:|---|");
        for row in &self.0 {
            let (reference, ratio) = match &row.reference {
                Some((value, what)) => {
                    (format!("{} {what}", digits(*value)), format!("{:.2}", row.value / value))
                }
                None => (String::new(), String::new()),
            };
            let target = match row.target {
                Target::None => String::new(),
                Target::AtLeast(least) => format!(">= {}", digits(least)),
                Target::Under(limit) => format!("< {}", digits(limit)),
            };
            let verdict = match row.met() {
                None => "",
                Some(true) => "met",
                Some(false) => "missed",
            };
            println!(
                "| {} | {} {} | {reference} | {ratio} | {target} | {verdict} |",
                row.figure,
                digits(row.value),
                row.unit
            );
        }
    }
}

/// Three significant digits, thousands separated.
pub fn digits(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    if value.abs() < 100.0 {
        let decimals = if value.abs() < 10.0 { 2 } else { 1 };
        return format!("{value:.decimals$}");
    }
    let whole = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
