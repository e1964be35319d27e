//! The curves.

use crate::row::Row;
use plotters::prelude::*;
use plotters::style::register_font;
use std::error::Error;
use std::fs::File;
use std::path::Path;

struct Panel<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    log: bool,
    points: Vec<(f64, f64)>,
}

const SIZE: (u32, u32) = (1500, 900);

pub fn draw(path: &Path, machine: &str, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| "the font is broken")?;
    let mut pixels = vec![255; (SIZE.0 * SIZE.1 * 3) as usize];
    let root = BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area();
    let title = format!("{machine}: energy, forces and virial, f64");
    let area = root.margin(12, 0, 0, 0).titled(&title, ("sans-serif", 26))?;
    for (area, panel) in area.split_evenly((2, 3)).iter().zip(panels(rows)) {
        panel.draw(area)?;
    }
    drop((root, area));
    let mut file = png::Encoder::new(File::create(path)?, SIZE.0, SIZE.1);
    file.set_color(png::ColorType::Rgb);
    file.write_header()?.write_image_data(&pixels)?;
    Ok(())
}

fn panels(rows: &[Row]) -> Vec<Panel<'_>> {
    const TIME: &str = "µs an atom";
    let curve = |keep: &dyn Fn(&Row) -> bool, x: fn(&Row) -> f64| -> Vec<(f64, f64)> {
        rows.iter().filter(|r| keep(r)).map(|r| (x(r), r.forces)).collect()
    };
    let series = |name: &'static str| move |r: &Row| r.series == name;
    let models = |names: &'static [&str]| move |r: &Row| r.series == "models" && names.contains(&r.model.as_str());
    let threads = curve(&series("threads"), |r| r.threads as f64);
    let one = threads.first().map_or(1.0, |p| p.1);
    vec![
        Panel {
            title: "atoms, si_bench",
            x: "atoms",
            y: TIME,
            log: true,
            points: curve(&series("atoms"), |r| r.atoms as f64),
        },
        Panel {
            title: "species, hea_bench",
            x: "species in the structure",
            y: TIME,
            log: false,
            points: curve(&series("species"), |r| r.species as f64),
        },
        Panel {
            title: "order, degree 10",
            x: "order",
            y: TIME,
            log: false,
            points: curve(&models(&["si_2_10", "si_3_10", "si_4_10"]), |r| r.order as f64),
        },
        Panel {
            title: "degree, order 3",
            x: "total degree",
            y: TIME,
            log: false,
            points: curve(&models(&["si_3_10", "si_bench", "si_fit", "si_3_14", "si_3_16"]), |r| r.degree),
        },
        Panel {
            title: "neighbours, si_bench",
            x: "neighbours",
            y: TIME,
            log: false,
            points: curve(&series("neighbours"), |r| r.neighbours),
        },
        Panel {
            title: "threads, 100 000 atoms",
            x: "threads",
            y: "times as fast as one",
            log: false,
            points: threads.iter().map(|&(n, t)| (n, one / t)).collect(),
        },
    ]
}

impl Panel<'_> {
    fn draw<DB: DrawingBackend>(mut self, area: &DrawingArea<DB, plotters::coord::Shift>) -> Result<(), Box<dyn Error>>
    where
        DB::ErrorType: 'static,
    {
        self.points.sort_by(|a, b| a.0.total_cmp(&b.0));
        // Logarithmic axes as powers of two.
        let scale = |x: f64| if self.log { x.log2() } else { x };
        let points: Vec<_> = self.points.iter().map(|&(x, y)| (scale(x), y)).collect();
        let most = |f: fn(&(f64, f64)) -> f64| points.iter().map(f).fold(0.0, f64::max);
        let least = points.iter().map(|p| p.0).fold(f64::INFINITY, f64::min).min(if self.log { 3.0 } else { 0.0 });
        let (right, top) = (1.05 * most(|p| p.0), 1.1 * most(|p| p.1));
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(42)
            .y_label_area_size(58)
            .build_cartesian_2d(least..right, 0.0..top)?;
        let label = |&x: &f64| match self.log {
            true => format!("{:.0}", x.exp2()),
            false if x.fract() == 0.0 => format!("{x:.0}"),
            false => String::new(),
        };
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc(self.x)
            .y_desc(self.y)
            .x_labels(6)
            .x_label_formatter(&label)
            .label_style(("sans-serif", 15))
            .draw()?;
        if self.x == "threads" {
            chart.draw_series(LineSeries::new([(0.0, 0.0), (right.min(top), right.min(top))], BLACK.mix(0.3)))?;
        }
        chart.draw_series(LineSeries::new(points.iter().copied(), BLUE.stroke_width(2)))?;
        chart.draw_series(points.iter().map(|&p| Circle::new(p, 4, BLUE.filled())))?;
        Ok(())
    }
}
