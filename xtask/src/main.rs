//! The automation of the project: `cargo xtask tidy` checks the house rules, `cargo xtask generate [--check]` writes
//! or compares the files under `api/`.

mod generate;
mod source;
mod tidy;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["tidy"] => tidy::run(),
        ["generate"] => generate::run(false),
        ["generate", "--check"] => generate::run(true),
        _ => Err(vec!["usage: cargo xtask tidy | generate [--check]".to_owned()]),
    };
    match outcome {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(complaints) => {
            for complaint in &complaints {
                eprintln!("{complaint}");
            }
            eprintln!("{} complaint(s)", complaints.len());
            ExitCode::FAILURE
        }
    }
}
