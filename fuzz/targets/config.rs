//! A config file. Every problem has a place in it, and what it shows of itself is no secret.
#![no_main]

use gateway::config::Config;
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "s3cr3t-of-the-environment";

fuzz_target!(|text: &str| {
    let env = |name: &str| (name == "TOKEN").then(|| SECRET.to_owned());
    match Config::parse("f", text, &env) {
        Ok(config) => assert!(!config.shown.to_string().contains(SECRET)),
        Err(problems) => {
            let lines = text.split('\n').count();
            assert!(problems.iter().count() > 0);
            for (position, _) in problems.iter() {
                assert!((1..=lines).contains(&position.line), "{position} of {lines} lines");
            }
        }
    }
});
