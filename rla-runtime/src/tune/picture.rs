//! The search as an SVG picture: time of every candidate in the order they came, beside what was predicted; the viewer's fonts
//! draw its text.
use crate::error::{Error, Result};
use plotters::prelude::*;
use rla_build::tune::Task;
use rla_build::tune::search::{Found, Outcome};
use std::path::Path;

/// Draws a search.
pub fn draw(path: &Path, task: &Task, found: &Found) -> Result<()> {
    let mut svg = String::new();
    plot(&mut svg, task, found).map_err(|e| Error::file(path, format!("the picture: {e}")))?;
    Ok(rla_build::whole::write(path, &svg)?)
}

fn plot(svg: &mut String, task: &Task, found: &Found) -> std::result::Result<(), Box<dyn std::error::Error>> {
    // times relative to the start's: each was measured beside the best of its moment
    let mut best = 1.0;
    let (mut timed, mut steps, mut predicted) = (vec![], vec![(0.0, 1.0)], vec![]);
    let first = found.records.first().map_or(f64::NAN, |r| r.predicted);
    for record in &found.records {
        let x = record.number as f64;
        predicted.push((x, record.predicted / first));
        let Some(measured) = &record.measured else { continue };
        let relative = if record.number == 0 { 1.0 } else { best * measured.ratio };
        timed.push((x, relative, record.outcome == Outcome::Best));
        if record.outcome == Outcome::Best {
            steps.extend([(x, best), (x, relative)]);
            best = relative;
        }
    }
    predicted.retain(|p| p.1.is_finite());
    let last = found.records.iter().map(|r| r.number).max().unwrap_or(0).max(1) as f64;
    steps.push((last, best));
    let values = || timed.iter().map(|p| p.1).chain(predicted.iter().map(|p| p.1));
    let (low, high) = values().fold((1.0f64, 1.0f64), |(l, h), v| (l.min(v), h.max(v)));
    let high = high.min(3.0);

    let title = format!("{} {}, {}: time over the start's", task.recurrence.name, task.slot.name(), task.level.name());
    let root = SVGBackend::with_string(svg, (880, 520)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .caption(title, ("sans-serif", 20))
        .build_cartesian_2d(0.0..last + 0.5, (low - 0.05).max(0.0)..high + 0.05)?;
    let number = |x: &f64| format!("{x:.0}");
    chart
        .configure_mesh()
        .x_desc("candidate")
        .x_label_formatter(&number)
        .light_line_style(WHITE)
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .draw()?;
    let (line, dot, model) = (RGBColor(31, 97, 166), RGBColor(200, 80, 20), RGBColor(150, 150, 150));
    chart
        .draw_series(predicted.iter().map(|&p| Circle::new(p, 3, model.stroke_width(1))))?
        .label("predicted")
        .legend(move |(x, y)| Circle::new((x + 10, y), 3, model.stroke_width(1)));
    chart
        .draw_series(timed.iter().map(|&(x, y, won)| Circle::new((x, y), if won { 5 } else { 3 }, dot.filled())))?
        .label("measured")
        .legend(move |(x, y)| Circle::new((x + 10, y), 3, dot.filled()));
    chart
        .draw_series(LineSeries::new(steps, line.stroke_width(2)))?
        .label("best so far")
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], line.stroke_width(2)));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.9))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 14))
        .draw()?;
    root.present()?;
    Ok(())
}
