//! The report: one page that stands alone, names every run, and says beside each number what it is not.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bpsta_datasets::DatasetId;
use bpsta_harness::{HarnessError, Options, Record, Report, RunState, RunStore, accept, report};
use bpsta_spiking::Rule;

use crate::common::{options, plan, root, run};

const PAPER: &str = "https://arxiv.org/abs/2110.08858";

fn committed() -> Report {
    report(&root().join("results"), &root().join("experiments")).unwrap()
}

/// The folders in a folder of results/, by their places there.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("results").join(folder)).unwrap();
    let folders = entries.map(Result::unwrap).filter(|entry| entry.path().is_dir());
    folders.map(|entry| folder.join(entry.file_name())).collect()
}

/// The committed records, each with where it lies under results/.
fn records() -> Vec<(PathBuf, Record)> {
    let mut records = Vec::new();
    for folder in folders(Path::new("")).iter().flat_map(|artefact| folders(artefact)) {
        let folder = folder.join("records");
        for entry in std::fs::read_dir(root().join("results").join(&folder)).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.path().extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let record = serde_json::from_slice(&std::fs::read(entry.path()).unwrap()).unwrap();
            records.push((folder.join(entry.file_name()), record));
        }
    }
    records
}

/// The values of an attribute, wherever it stands.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let begin = format!(" {attribute}=\"");
    let parts = page.split(&begin).skip(1);
    parts.map(|rest| rest.split('"').next().unwrap()).collect()
}

/// Panics at a tag that is not closed where it should be.
fn assert_balanced(page: &str) {
    const VOID: [&str; 3] = ["meta", "br", "!doctype"];
    let mut open: Vec<&str> = Vec::new();
    for rest in page.split('<').skip(1) {
        let tag = rest.split('>').next().unwrap();
        let name = tag.split([' ', '\n', '/']).next().unwrap();
        match tag.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed)),
            None if tag.ends_with('/') || VOID.contains(&name) => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_page_stands_alone_and_is_the_same_each_time() {
    let Report { html, .. } = committed();
    assert_eq!(html, committed().html);
    assert_balanced(&html);
    assert!(!html.contains("<script") && !html.contains("url(") && !html.contains("@import"));
    assert!(values(&html, "src").is_empty());
    for link in values(&html, "href") {
        let inside = link.strip_prefix('#');
        let leads = |id: &str| html.contains(&format!(" id=\"{id}\""));
        assert!(inside.is_some_and(leads) || link == PAPER, "{link}");
    }
}

#[test]
fn every_run_is_named_and_every_row_says_what_it_is_less_than_the_protocol() {
    let Report { html, chapters, runs, .. } = committed();
    let records = records();
    let different =
        |of: fn(&(PathBuf, Record)) -> String| records.iter().map(of).collect::<BTreeSet<_>>().len();
    let folder = |(path, _): &(PathBuf, Record)| path.parent().unwrap().display().to_string();
    let run_id = |(_, record): &(PathBuf, Record)| record.run_id.clone();
    assert_eq!((chapters, runs), (different(folder), different(run_id)));
    let rows: Vec<&str> =
        html.split("<tr class=\"ours\">").skip(1).map(|row| row.split("</tr>").next().unwrap()).collect();
    for (_, record) in &records {
        let id = &record.run_id;
        assert!(html.contains(&format!("<tr id=\"run-{id}\">")), "{id} has no provenance");
        let link = format!("#run-{id}\"");
        let shown: Vec<&&str> = rows.iter().filter(|row| row.contains(&link)).collect();
        assert!(!shown.is_empty(), "{id} stands in no row");
        let mark = match (record.synthetic, record.subset) {
            (true, _) => "synthetic stand-in",
            (false, Some(_)) => "subset of",
            (false, None) => "",
        };
        let marks = |row: &&&str| {
            let marks =
                row.split_once("<span class=\"mark\">").and_then(|(_, rest)| rest.split_once("</span>"));
            marks.is_some_and(|(marks, _)| !marks.is_empty() && marks.contains(mark))
        };
        assert!(shown.iter().all(marks), "{id}: {shown:?}");
    }
    let drawings = html.split("<figure>").skip(1).map(|rest| rest.split_once("</svg>").unwrap());
    for (drawing, caption) in drawings {
        let of_stand_in = caption.split("</figure>").next().unwrap().contains("synthetic stand-in");
        assert_eq!(
            drawing.contains("synthetic stand-in"),
            of_stand_in,
            "the drawing alone says what it is of"
        );
    }
}

/// Results of a test's own: the committed quick records, and an experiment whose title is markup.
fn of_its_own(folder: &Path) -> PathBuf {
    let (results, experiments) = (folder.join("results"), folder.join("experiments"));
    std::fs::create_dir_all(&experiments).unwrap();
    let text = std::fs::read_to_string(root().join("experiments/table2.toml")).unwrap();
    let title = "title = \"Accuracy on neuromorphic data sets\"";
    assert!(text.contains(title));
    let text = text.replace(title, "title = \"A <script> & more\"");
    std::fs::write(experiments.join("table2.toml"), text).unwrap();
    for (path, record) in records().into_iter().filter(|(path, _)| path.starts_with("table2/quick")) {
        let path = results.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, serde_json::to_vec(&record).unwrap()).unwrap();
    }
    results
}

#[test]
fn a_title_stays_text() {
    let folder = tempfile::tempdir().unwrap();
    let results = of_its_own(folder.path());
    let Report { html, .. } = report(&results, &folder.path().join("experiments")).unwrap();
    assert!(html.contains("A &#60;script&#62; &#38; more") && !html.contains("<script"), "{html}");
}

/// Two rules and two seeds, trained in seconds, then accepted.
#[test]
fn what_newer_records_have_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        datasets: vec![DatasetId::NMNIST],
        rules: vec![Rule::Baseline, Rule::Both],
        time_steps: vec![2],
        epochs: Some(2),
        seeds: Some(2),
        ..options(folder.path())
    };
    let (runs, results) = (folder.path().join("runs"), folder.path().join("results"));
    run(&options, &runs, 2);
    accept(&plan(&options).0, &RunStore::new(&runs), &results).unwrap();
    let Report { html, runs, .. } = report(&results, &root().join("experiments")).unwrap();
    assert_balanced(&html);
    assert_eq!((runs, html.matches("<svg").count()), (4, 2));
    for part in [
        "voting after t time steps",
        "Test accuracy after each time step",
        "additions/sample",
        "both - baseline",
        "best test epoch %",
        "code version",
        "kernels ",
    ] {
        assert!(html.contains(part), "the page lacks {part:?}");
    }
    assert!(!html.contains("not recorded"));
}

/// The same runs before they are accepted: every artefact that asks for them, and by name what no table shows.
#[test]
fn a_run_store_is_shown_as_one_and_what_is_not_finished_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        datasets: vec![DatasetId::NMNIST],
        rules: vec![Rule::Both],
        epochs: Some(1),
        ..options(folder.path())
    };
    let runs = folder.path().join("runs");
    run(&options, &runs, 2);
    let stopped = runs.join("00000000000000aa");
    std::fs::create_dir(&stopped).unwrap();
    let refused = runs.join("00000000000000bb");
    std::fs::create_dir(&refused).unwrap();
    std::fs::write(refused.join("record.json"), "{}").unwrap();

    let page = report(&runs, &root().join("experiments")).unwrap();
    assert_balanced(&page.html);
    assert!(page.about.contains("run store") && page.html.contains(page.about));
    assert_eq!((page.runs, page.left_out), (1, 2));
    for part in
        ["id=\"table2-quick\"", "00000000000000aa: a run without", "00000000000000bb: ", "record is refused"]
    {
        assert!(page.html.contains(part), "the page lacks {part:?}");
    }
    assert!(!page.html.contains("id=\"table1-quick\""), "which asks for no N-MNIST");

    let found = RunStore::new(&runs).runs(&root().join("experiments")).unwrap();
    let states: Vec<(RunState, usize)> = found.iter().map(|run| (run.state, run.epochs)).collect();
    assert_eq!(states, [(RunState::Stopped, 0), (RunState::Refused, 0), (RunState::Finished, 1)]);
    assert!(found[2].artefacts.contains(&"table2".to_owned()) && found[2].bytes > 0, "{:?}", found[2]);
}

/// What stands in LaTeX between two columns, or ends a row.
fn columns(line: &str) -> usize {
    let bytes = line.as_bytes();
    1 + (1..bytes.len()).filter(|at| bytes[*at] == b'&' && bytes[*at - 1] != b'\\').count()
}

#[test]
fn each_table_of_the_page_is_a_file_in_three_forms_that_say_what_it_is_of() {
    let Report { html, tables, .. } = committed();
    let names: BTreeSet<&str> = tables.iter().map(|file| file.name.as_str()).collect();
    assert_eq!((names.len(), tables.len()), (html.matches("<pre>").count(), html.matches("<pre>").count()));
    assert_eq!(html.matches("<pre>").count(), 3 * html.matches("<table>").count());
    for file in &tables {
        let words = file.text.contains("synthetic stand-in");
        let quick = file.name.contains("-quick-");
        assert!(words || !quick, "{} says nowhere that it is of stand-ins", file.name);
        assert!(!quick || file.text.contains("width 0."), "{} names no width", file.name);
        assert!(!file.name.contains("cpu-nmnist") || file.text.contains("subset of 1,000"), "{}", file.name);
        if !file.name.ends_with(".tex") {
            continue;
        }
        assert!(file.text.is_ascii(), "{}", file.name);
        let begin = file.text.split("\\begin{tabular}{").nth(1).unwrap();
        let wanted = begin.split('}').next().unwrap().len();
        let rows: Vec<&str> = begin.lines().filter(|line| line.ends_with(" \\\\")).collect();
        assert!(rows.len() > 1, "{}", file.name);
        for row in rows {
            assert_eq!(columns(row), wanted, "{}: {row}", file.name);
            for letter in ['%', '#', '_'] {
                let alone = row.match_indices(letter).find(|(at, _)| !row[..*at].ends_with('\\'));
                assert_eq!(alone, None, "{}: {row}", file.name);
            }
        }
    }
}

/// A data set with two sections in one artefact, as of its files and of a stand-in.
#[test]
fn tables_of_two_sections_are_files_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let results = of_its_own(folder.path());
    let records = results.join("table2/quick/records");
    let path = std::fs::read_dir(&records).unwrap().next().unwrap().unwrap().path();
    let mut record: Record = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    record.data = record.data.replace("seed 2110", "seed 2111");
    record.config.manifest_hash = "0123456789".to_owned();
    record.run_id = record.config.run_id();
    let path = records.join(format!("{}.json", record.run_id));
    std::fs::write(path, serde_json::to_vec(&record).unwrap()).unwrap();

    let Report { html, tables, .. } = report(&results, &folder.path().join("experiments")).unwrap();
    assert!(html.contains("seed 2111"), "the second section is there");
    let names: BTreeSet<&str> = tables.iter().map(|file| file.name.as_str()).collect();
    assert_eq!((names.len(), names.len()), (tables.len(), html.matches("<pre>").count()));
}

#[test]
fn a_run_store_and_an_empty_folder_are_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |expected: &str| {
        let error = report(folder.path(), &root().join("experiments")).unwrap_err();
        assert!(matches!(error, HarnessError::NothingToReport { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    refused("ARTEFACT/PROFILE/records/RUN_ID.json");
    refused("RUN_ID/record.json");
    std::fs::create_dir(folder.path().join("0123456789abcdef")).unwrap();
    std::fs::write(folder.path().join("0123456789abcdef/record.json"), "{}").unwrap();
    refused("cargo xtask status");
    std::fs::create_dir_all(folder.path().join("table2/quick/records")).unwrap();
    refused("side by side");
}

/// Headings, names of columns and rows, and captions: what the page says, without its numbers.
#[test]
fn the_skeleton_of_a_page_is_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let results = of_its_own(folder.path());
    let Report { html, .. } = report(&results, &root().join("experiments")).unwrap();
    let main = html.split("<main>").nth(1).unwrap().split("id=\"provenance\"").next().unwrap();
    let kept = ["h2", "h3", "li", "b", "figcaption", "p"];
    let mut lines = Vec::new();
    for rest in main.split('<').skip(1) {
        let Some((tag, text)) = rest.split_once('>') else { continue };
        let name = tag.split(' ').next().unwrap();
        if (kept.contains(&name) || tag == "span class=\"mark\"") && !text.trim().is_empty() {
            lines.push(format!("{name}: {}", text.trim()));
        }
    }
    insta::assert_snapshot!("report_table2_quick", lines.join("\n"));
}
