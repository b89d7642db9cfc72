//! The search of a build: some seconds for all kernels together, shared so that as many as possible get a search.
use crate::clock::Clock;
use crate::compile::Cache;
use crate::error::Error;
use crate::machine;
use crate::table::{self, Mode, Row, Table, Tables};
use crate::tune::search::{self, Settings};
use crate::tune::{Compiler, DECODE_SEQUENCES, Element, Source, Task, write};
use rla_codegen::data::Dims;
use rla_codegen::pipeline;
use rla_codegen::schedule::{Choices, Slot, space};
use rla_dsl::Recurrence;
use std::path::Path;
use std::time::{Duration, Instant};

/// What a kernel asks of the seconds.
#[derive(Clone, Copy, Debug)]
struct Need {
    /// Predicted seconds until what it begins with and one batch beside it are compiled.
    seconds: f64,
    /// Whether an earlier search's row holds for it.
    known: bool,
}

/// The seconds of each kernel: equal parts, of which none is less than the kernel needs. Where the seconds do not suffice for all,
/// those without a row come first, then those that need least; the others get none. So what a build leaves out is what the next
/// one begins with.
fn plan(seconds: f64, needs: &[Need]) -> Vec<f64> {
    let mut left = seconds;
    let mut served = order(needs);
    served.retain(|&index| {
        let fits = needs[index].seconds <= left && left > 0.0;
        if fits {
            left -= needs[index].seconds;
        }
        fits
    });
    // whoever needs more than an equal part gets that, the rest is divided
    served.sort_by(|&a, &b| needs[b].seconds.total_cmp(&needs[a].seconds));
    let mut parts = vec![0.0; needs.len()];
    let (mut left, mut count) = (seconds, served.len());
    for index in served {
        parts[index] = needs[index].seconds.max(left / count as f64);
        left -= parts[index];
        count -= 1;
    }
    parts
}

/// Kernels in the order in which they are served.
fn order(needs: &[Need]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..needs.len()).collect();
    let key = |index: usize| (needs[index].known, needs[index].seconds);
    order.sort_by(|&a, &b| {
        let (a, b) = (key(a), key(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
    });
    order
}

/// A kernel that waits for its search.
struct Waiting {
    task: Task,
    start: Choices,
    /// What an earlier search found.
    known: Choices,
    need: Need,
}

/// Searches for every pass of every recurrence that its seconds reach, and writes what was found into the table.
pub(super) fn search(
    out: &Path,
    recurrences: &[Recurrence],
    before: &Tables,
    device: &str,
    path: &Path,
    seconds: f64,
) -> Result<(), Error> {
    let began = Instant::now();
    let compiler = table::compiler();
    let cache = Cache::at(out.join("tune"));
    let workers = std::env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1usize).clamp(1, 4);
    let mut waiting = waiting(recurrences, before)?;
    let count = waiting.len();
    let source = |task: &Task| Compiler::new(task, cache.clone(), machine::caches());
    let needs = |waiting: &[Waiting]| waiting.iter().map(|w| w.need).collect::<Vec<Need>>();

    // lengths of texts to seconds, by the one that is compiled first in any case
    if let Some(&first) = order(&needs(&waiting)).first() {
        let since = Instant::now();
        let made = source(&waiting[first].task)?.make(&waiting[first].start);
        made.map_err(|reason| Error::Compile(format!("`{}`: {reason}", waiting[first].task.recurrence.name)))?;
        // it, and a batch of two for every worker
        let scale = 3.0 * since.elapsed().as_secs_f64() / waiting[first].need.seconds;
        waiting.iter_mut().for_each(|w| w.need.seconds *= scale);
    }
    let all: f64 = waiting.iter().map(|w| w.need.seconds).sum();
    let mut searched = 0;
    while !waiting.is_empty() {
        let left = (seconds - began.elapsed().as_secs_f64()).max(0.0);
        let (needs, parts) = (needs(&waiting), plan(left, &needs(&waiting)));
        let mut next = order(&needs).into_iter();
        // the first is begun however few the seconds are
        let next = if searched == 0 { next.next() } else { next.find(|&index| parts[index] > 0.0) };
        let Some(index) = next else { break };
        let budget = Duration::from_secs_f64(if parts[index] > 0.0 { parts[index] } else { left });
        let Waiting { task, start, known, .. } = waiting.remove(index);
        searched += 1;
        let settings = Settings { budget, clock: Clock::of_threads(1), workers, seed: search::fresh_seed() };
        let found = search::search(&task, &source(&task)?, start, &[known], &settings, &|| false, None, &mut |_| ())?;
        let row = Row::new(&task, &found, &compiler);
        println!(
            "rla: searched {} {}: {} candidates in {:.1} s, {:.3} of the default's time (spread {:.3}): {}",
            row.measured.variant,
            row.measured.pass,
            row.measured.candidates,
            found.seconds,
            row.measured.ratio,
            row.measured.spread,
            space::text(&row.choices)
        );
        Table::merge(path, device, row)?;
    }
    for Waiting { task, .. } in &waiting {
        println!("rla: {} {}: not searched, the seconds are spent", task.recurrence.name, task.slot.name());
    }
    let enough =
        if waiting.is_empty() { String::new() } else { format!(" (about {:.0} s reach all)", all.max(seconds).ceil()) };
    println!(
        "cargo::warning=rla: searched {searched} of {count} kernels in {:.0} s{enough}: {}",
        began.elapsed().as_secs_f64(),
        path.display()
    );
    Ok(())
}

/// Every pass of every recurrence. What they need is the length of their texts until something has been compiled.
fn waiting(recurrences: &[Recurrence], before: &Tables) -> Result<Vec<Waiting>, Error> {
    let mut waiting = vec![];
    for recurrence in recurrences {
        let Ok((_, programs)) = pipeline::chunk_programs(recurrence) else { continue };
        for slot in [Slot::Forward, Slot::of_training(&programs.forward_save), Slot::Decode] {
            let task = task(recurrence, slot);
            let start = *Table::shipped()?.schedule(&recurrence.name)?.of(slot);
            let chosen = before.choose(recurrence, task.level)?;
            let text = write(&task, &programs, &start);
            let text = text.map_err(|reason| Error::Compile(format!("`{}`: {reason}", recurrence.name)))?;
            let need = Need { seconds: text.source.len() as f64, known: chosen.tuned.contains(&slot) };
            waiting.push(Waiting { task, start, known: *chosen.schedule.of(slot), need });
        }
    }
    Ok(waiting)
}

/// What a build tunes: the usual sizes, short enough to be timed often.
fn task(recurrence: &Recurrence, slot: Slot) -> Task {
    let mut sizes = vec![128, 128];
    sizes.resize(recurrence.sides.len(), 64);
    let (batch, tokens) = if slot == Slot::Decode { (DECODE_SEQUENCES, 1) } else { (1, 512) };
    let dims = Dims { sizes, batch, tokens, key_heads: 2, value_heads: 2 };
    Task {
        recurrence: recurrence.clone(),
        slot,
        level: machine::best(),
        element: Element::F32,
        dims,
        threads: 1,
        mode: Mode::Invariant,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(seconds: &[f64]) -> Vec<Need> {
        seconds.iter().map(|&seconds| Need { seconds, known: false }).collect()
    }

    #[test]
    fn parts_are_equal_where_they_suffice() {
        assert_eq!(plan(30.0, &fresh(&[1.0, 5.0, 2.0])), [10.0, 10.0, 10.0]);
    }

    #[test]
    fn nobody_gets_less_than_needed_and_all_is_given() {
        let parts = plan(30.0, &fresh(&[16.0, 1.0, 2.0]));
        assert_eq!(parts, [16.0, 7.0, 7.0]);
    }

    #[test]
    fn where_the_seconds_do_not_suffice_as_many_as_possible_get_a_part() {
        let parts = plan(10.0, &fresh(&[9.0, 3.0, 8.0, 3.0]));
        assert_eq!(parts, [0.0, 5.0, 0.0, 5.0]);
        assert_eq!(plan(2.0, &fresh(&[9.0, 3.0])), [0.0, 0.0]);
        assert_eq!(plan(0.0, &fresh(&[0.0])), [0.0]);
    }

    #[test]
    fn what_was_left_out_comes_first_in_the_next_build() {
        let mut needs = fresh(&[9.0, 3.0, 8.0, 3.0]);
        let known = |parts: &[f64], needs: &mut [Need]| {
            parts.iter().zip(needs).for_each(|(part, need)| need.known |= *part > 0.0);
        };
        let mut served = vec![];
        for _ in 0..3 {
            let parts = plan(10.0, &needs);
            served.push(parts.iter().map(|part| *part > 0.0).collect::<Vec<_>>());
            known(&parts, &mut needs);
        }
        assert_eq!(served[0], [false, true, false, true]);
        assert_eq!(served[1], [false, false, true, false]);
        assert_eq!(served[2], [true, false, false, false]);
    }

    /// However few the seconds, a build searches one kernel, of those that earlier ones left out: three reach all passes.
    #[test]
    fn one_pass_after_another_is_searched_and_applied() {
        let folder = std::env::temp_dir().join(format!("rla-build-tuning-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let text = "variant plain { input q, k: key, v: value; state S: value x key; S[t] = 0.5 * S[t-1] + v * k^T; \
                    output o = S[t] * q; }";
        let recurrences = rla_dsl::parse(text).expect("a variant").variants;
        let (device, path) = ("a device", folder.join("a.toml"));
        let tables = || Tables::of(device, std::slice::from_ref(&path)).expect("tables");
        for searched in 1..=3 {
            search(&folder, &recurrences, &tables(), device, &path, 1e-3).expect("a search");
            let chosen = tables().choose(&recurrences[0], machine::best()).expect("a choice");
            assert_eq!(chosen.tuned.len(), searched, "{:?}", chosen.passed_over);
        }
        let table = Table::read(&path).expect("it is whole");
        let decode = table.rows().iter().find(|row| row.measured.pass == "decode").expect("a row");
        assert_eq!((decode.timed, decode.choices.chunk), ([DECODE_SEQUENCES, 1], 1));
        assert!(decode.evidence.cases > 0 && decode.evidence.worst < 1.0, "{decode:?}");
        let _ = std::fs::remove_dir_all(folder);
    }
}
