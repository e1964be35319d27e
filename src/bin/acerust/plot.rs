//! Results against references, as a picture.

use acerust::fit::{Comparison, Comparisons, QUANTITIES, Quantity};
use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

/// Points of one group at most, evenly chosen: more make the file large, not the picture better.
const MOST_POINTS: usize = 5000;

/// Colours that the colour-blind tell apart (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

/// An SVG of energies, force components and, where there are some, stresses, with their root-mean-square errors over all groups.
pub fn parity(groups: &Comparisons, all: &Comparison) -> Result<String> {
    let mut svg = String::new();
    let panels: Vec<_> = QUANTITIES.iter().zip(["energy, eV/atom", "force components, eV/Å", "stress, GPa"]).collect();
    let panels = if all.stresses.is_empty() { &panels[..2] } else { &panels };
    {
        let area = SVGBackend::with_string(&mut svg, (480 * panels.len() as u32, 480)).into_drawing_area();
        area.fill(&WHITE).map_err(|e| anyhow!("plot: {e}"))?;
        let areas = area.split_evenly((1, panels.len()));
        let drawn = areas.iter().zip(panels).try_for_each(|(area, (quantity, title))| {
            let title = match &quantity.shown(all)[0][..] {
                "-" => title.to_string(),
                rmse => format!("{title}: RMSE {rmse} {}", quantity.unit),
            };
            panel(area, &title, groups, quantity)
        });
        drawn.and_then(|()| area.present().map_err(|e| e.to_string())).map_err(|e| anyhow!("plot: {e}"))?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn panel(area: &Area, title: &str, groups: &Comparisons, Quantity { pairs, .. }: &Quantity) -> Result<(), String> {
    let text = |e: DrawingAreaErrorKind<_>| e.to_string();
    let numbers = || groups.values().flat_map(|group| pairs(group).sample()).flat_map(|(pair, _)| pair);
    let (low, high) = numbers().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
    if low > high {
        return area.titled(&format!("{title}: none"), ("sans-serif", 21)).map(drop).map_err(text);
    }
    let margin = (0.04 * (high - low)).max(1e-3);
    let range = low - margin..high + margin;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 21))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(range.clone(), range.clone())
        .map_err(text)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(6)
        .y_labels(6)
        .x_desc("reference")
        .y_desc("model")
        .label_style(("sans-serif", 16))
        .axis_desc_style(("sans-serif", 18))
        .draw()
        .map_err(text)?;
    chart
        .draw_series(LineSeries::new([(range.start, range.start), (range.end, range.end)], BLACK.mix(0.5)))
        .map_err(text)?;
    for ((name, group), colour) in groups.iter().zip(COLOURS.iter().cycle()) {
        let pairs: Vec<[f64; 2]> = pairs(group).sample().map(|(pair, _)| pair).collect();
        let points = pairs.iter().step_by(pairs.len().div_ceil(MOST_POINTS).max(1));
        let style = colour.mix(0.6).filled();
        let radius = if numbers().count() < 1000 { 4 } else { 2 };
        let series = chart.draw_series(points.map(|&[x, y]| Circle::new((x, y), radius, style))).map_err(text)?;
        series.label(name).legend(move |(x, y)| Circle::new((x + 8, y), 4, style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 16))
        .draw()
        .map_err(text)
}

/// An SVG with the distribution of errors of force components, a line for each group.
pub fn histogram(groups: &Comparisons) -> Result<String> {
    const BINS: usize = 60;
    let errors = groups.values().flat_map(|g| g.forces.sample());
    let largest = errors.fold(0.0, |m: f64, ([a, b], _)| m.max((b - a).abs()));
    if largest == 0.0 {
        return Ok(String::new());
    }
    let curve = |(name, group): (&String, &Comparison)| {
        let mut counts = [0; BINS];
        for ([a, b], of) in group.forces.sample() {
            counts[(((b - a).abs() / largest * BINS as f64) as usize).min(BINS - 1)] += of;
        }
        let width = largest / BINS as f64;
        let points = counts.iter().enumerate().filter(|(_, n)| **n > 0);
        (name.clone(), points.map(|(k, &n)| ((k as f64 + 0.5) * width, (n as f64).log10())).collect())
    };
    let curves: Vec<_> = groups.iter().map(curve).collect();
    lines("errors of force components, log10 of their number", "eV/Å", &curves)
}

/// A name and points.
pub type Curve = (String, Vec<(f64, f64)>);

/// An SVG with curves.
pub fn lines(title: &str, x_title: &str, curves: &[Curve]) -> Result<String> {
    let mut svg = String::new();
    let drawn = draw_lines(&mut svg, title, x_title, curves);
    drawn.map_err(|e| anyhow!("plot: {e}"))?;
    Ok(svg)
}

fn draw_lines(svg: &mut String, title: &str, x_title: &str, curves: &[Curve]) -> Result<(), String> {
    let area = SVGBackend::with_string(svg, (960, 380)).into_drawing_area();
    let text = |e: DrawingAreaErrorKind<_>| e.to_string();
    area.fill(&WHITE).map_err(text)?;
    let range = |of: fn(&(f64, f64)) -> f64| {
        let values = curves.iter().flat_map(|c| &c.1).map(of);
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
        if low < high { low..high } else { 0.0..1.0 }
    };
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 21))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(range(|p| p.0), range(|p| p.1))
        .map_err(text)?;
    let mesh =
        chart.configure_mesh().light_line_style(TRANSPARENT).x_desc(x_title).label_style(("sans-serif", 16)).draw();
    mesh.map_err(text)?;
    for ((name, points), colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let series = chart.draw_series(LineSeries::new(points.iter().copied(), colour)).map_err(text)?;
        series.label(name).legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
    }
    let labels = chart.configure_series_labels().background_style(WHITE.mix(0.8)).label_font(("sans-serif", 16)).draw();
    labels.map_err(text)?;
    area.present().map_err(text)
}
