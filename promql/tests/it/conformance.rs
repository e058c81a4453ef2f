//! Scripts of the promqltest language: upstream's, and those under `testdata/`.

use std::path::{Path, PathBuf};

use ferula_promql::testing::{Options, run_script};

fn scripts(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder of scripts");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    files.sort();
    assert!(!files.is_empty(), "no scripts in {}", folder.display());
    files
}

/// Runs every script of a folder, prints passed and total for each, and answers the failures.
fn run_all(folder: &Path) -> Vec<String> {
    let mut failures = Vec::new();
    for path in scripts(folder) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let report = run_script(&std::fs::read_to_string(&path).expect("a script"), &Options::default());
        println!("{name}: {} of {}", report.passed, report.passed + report.failed);
        failures.extend(report.failures.iter().map(|failure| format!("{name}:{failure}")));
    }
    failures
}

#[test]
fn upstream_scripts() {
    let Ok(conformance) = std::env::var("FERULA_CONFORMANCE") else {
        println!("skipped: FERULA_CONFORMANCE is not set");
        return;
    };
    let failures = run_all(&Path::new(&conformance).join("promqltest"));
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
