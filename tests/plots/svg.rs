//! A plot as SVG: two axes from zero, lines, bars and notes. The background is left out, and the colours are of a middle tone, so that
//! they can be read on a light page and on a dark one.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;

/// An axis, from zero to `max`, with a number at each `step`.
pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) max: u32,
    pub(super) step: usize,
}

/// How a series is drawn.
#[derive(Clone, Copy)]
pub(super) enum Style {
    Blue,
    Orange,
    Green,
}

impl Style {
    fn colour(self) -> &'static str {
        match self {
            Self::Blue => "#2f81d6",
            Self::Orange => "#d0700f",
            Self::Green => "#2b9a5a",
        }
    }

    /// Lines differ without colours too.
    fn dashes(self) -> &'static str {
        match self {
            Self::Blue => "",
            Self::Orange => " stroke-dasharray=\"9 4\"",
            Self::Green => " stroke-dasharray=\"3 3\"",
        }
    }
}

/// A plot that is being drawn.
pub(super) struct Plot {
    x: Axis,
    y: Axis,
    drawn: String,
    legend_ends: f64,
}

impl Plot {
    pub(super) fn new(x: Axis, y: Axis) -> Self {
        let mut plot = Self { x, y, drawn: String::new(), legend_ends: LEFT };
        plot.axes();
        plot
    }

    fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let across = x / f64::from(self.x.max) * (WIDTH - LEFT - RIGHT);
        let up = y / f64::from(self.y.max) * (HEIGHT - TOP - BOTTOM);
        (LEFT + across, HEIGHT - BOTTOM - up)
    }

    fn axes(&mut self) {
        for value in (0..=self.y.max).step_by(self.y.step) {
            let (left, y) = self.at((0.0, f64::from(value)));
            let right = WIDTH - RIGHT;
            self.put(&format!("<path d=\"M{left:.1} {y:.1}H{right:.1}\" class=\"grid\"/>"));
            self.text((left - 8.0, y + 4.0), "end", &value.to_string());
        }
        for value in (0..=self.x.max).step_by(self.x.step) {
            let (x, y) = self.at((f64::from(value), 0.0));
            self.put(&format!("<path d=\"M{x:.1} {y:.1}v5\" class=\"axis\"/>"));
            self.text((x, y + 20.0), "middle", &value.to_string());
        }
        let (left, bottom) = self.at((0.0, 0.0));
        self.put(&format!(
            "<path d=\"M{left:.1} {TOP:.1}V{bottom:.1}H{:.1}\" class=\"axis\"/>",
            WIDTH - RIGHT
        ));
        self.text(((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 10.0), "middle", self.x.label);
        let middle = (TOP + HEIGHT - BOTTOM) / 2.0;
        let label = self.y.label;
        self.put(&format!(
            "<text transform=\"translate(15 {middle:.1}) rotate(-90)\" text-anchor=\"middle\">{label}</text>"
        ));
    }

    fn put(&mut self, element: &str) {
        self.drawn += element;
        self.drawn.push('\n');
    }

    fn text(&mut self, (x, y): (f64, f64), anchor: &str, text: &str) {
        self.put(&format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"));
    }

    fn legend(&mut self, label: &str, sample: impl Fn(f64, f64) -> String) {
        let (x, y) = (self.legend_ends, TOP - 22.0);
        self.put(&sample(x, y));
        self.text((x + 36.0, y + 4.0), "start", label);
        // A letter of this size is seven wide, or less.
        self.legend_ends += 60.0 + 7.0 * f64::from(u32::try_from(label.len()).unwrap());
    }

    /// A line through these points.
    pub(super) fn line(mut self, style: Style, label: &str, points: &[(f64, f64)]) -> Self {
        let stroke =
            format!("fill=\"none\" stroke=\"{}\" stroke-width=\"2.5\"{}", style.colour(), style.dashes());
        self.legend(label, |x, y| format!("<path d=\"M{x:.1} {y:.1}h28\" {stroke}/>"));
        let mut path = String::new();
        for point in points {
            let (x, y) = self.at(*point);
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
        }
        self.put(&format!("<path d=\"{path}\" {stroke}/>"));
        self
    }

    /// Bars of this width, each with where it begins on the one axis, and from where to where it goes on the other.
    pub(super) fn bars(mut self, style: Style, label: &str, width: f64, bars: &[(f64, f64, f64)]) -> Self {
        let fill = format!("fill=\"{}\"", style.colour());
        self.legend(label, |x, y| {
            format!("<rect x=\"{:.1}\" y=\"{:.1}\" width=\"14\" height=\"12\" {fill}/>", x + 14.0, y - 6.0)
        });
        for &(begin, low, high) in bars.iter().filter(|(_, low, high)| low < high) {
            let ((left, top), (right, bottom)) = (self.at((begin, high)), self.at((begin + width, low)));
            let (wide, tall) = (right - left - 1.0, bottom - top);
            self.put(&format!(
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{wide:.1}\" height=\"{tall:.1}\" {fill}/>"
            ));
        }
        self
    }

    /// A text that begins at a point.
    pub(super) fn note(mut self, point: (f64, f64), text: &str) -> Self {
        let (x, y) = self.at(point);
        self.text((x + 7.0, y - 5.0), "start", text);
        self
    }

    /// The file, with the text that stands for it.
    pub(super) fn finish(self, alternative: &str) -> String {
        let Self { drawn, .. } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">
<title>{alternative}</title>
<style>text {{ font: 13px sans-serif; fill: #7b848d }} .grid {{ stroke: #7b848d; stroke-opacity: .25 }} \
             .axis {{ stroke: #7b848d; fill: none }}</style>
{drawn}</svg>\n"
        )
    }
}
