//! The loss curve as an SVG picture; the viewer's fonts draw its text.

use super::log::Entry;
use crate::checkpoint::write_atomically;
use crate::error::{Error, Result};
use plotters::prelude::*;
use std::path::Path;

/// Draws training loss (a running mean), held-out loss at its evaluations and at the end, and the bigram entropy.
pub fn draw(path: &Path, entries: &[Entry], held_out: f64, bigram: f64) -> Result<()> {
    let mut svg = String::new();
    plot(&mut svg, entries, held_out, bigram).map_err(|e| Error::file(path, format!("the picture: {e}")))?;
    write_atomically(path, svg.as_bytes())
}

fn plot(
    svg: &mut String,
    entries: &[Entry],
    held_out: f64,
    bigram: f64,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let smooth = running_mean(entries);
    let last = entries.last().map_or(1, |e| e.step);
    let mut evaluations: Vec<(f64, f64)> = entries.iter().filter_map(|e| Some((e.step as f64, e.held_out?))).collect();
    evaluations.retain(|(step, _)| *step < last as f64);
    evaluations.push((last as f64, held_out));
    let values = || smooth.iter().chain(&evaluations).map(|p| p.1).chain([bigram]).filter(|v| v.is_finite());
    let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let margin = 0.05 * (high - low).max(0.1);

    let root = SVGBackend::with_string(svg, (880, 520)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .caption("Loss, nats per byte", ("sans-serif", 20))
        .build_cartesian_2d(0.0..last as f64, (low - margin)..(high + margin))?;
    let step = |x: &f64| format!("{x:.0}");
    chart
        .configure_mesh()
        .x_desc("step")
        .x_label_formatter(&step)
        .light_line_style(WHITE)
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .draw()?;
    let (training, out, counts) = (RGBColor(31, 97, 166), RGBColor(200, 80, 20), RGBColor(110, 110, 110));
    let key =
        |color: RGBColor| move |(x, y): (i32, i32)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2));
    chart
        .draw_series(LineSeries::new(smooth.iter().copied(), training.stroke_width(2)))?
        .label("training")
        .legend(key(training));
    chart
        .draw_series(LineSeries::new(evaluations.iter().copied(), out.stroke_width(2)))?
        .label("held out")
        .legend(key(out));
    chart.draw_series(evaluations.iter().map(|&p| Circle::new(p, 3, out.filled())))?;
    let line = [(0.0, bigram), (last as f64, bigram)];
    chart
        .draw_series(LineSeries::new(line, counts.stroke_width(1)))?
        .label("bigram counts, held out")
        .legend(key(counts));
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

/// Mean of the last hundredth of the steps so far, at least 5 where there are as many.
fn running_mean(entries: &[Entry]) -> Vec<(f64, f64)> {
    let width = (entries.len() / 100).max(5);
    let mean = |i: usize| {
        let part = &entries[(i + 1).saturating_sub(width)..=i];
        part.iter().map(|e| e.loss).sum::<f64>() / part.len() as f64
    };
    entries.iter().enumerate().map(|(i, e)| (e.step as f64, mean(i))).collect()
}
