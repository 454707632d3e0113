//! The documentation of the options, made from their table.

use super::options::{OPTIONS, OptionSpec};

/// The options that the README lists: those that most users set.
const README_OPTIONS: [&str; 12] = [
    "region",
    "endpoint_url",
    "profile",
    "log_group",
    "log_stream",
    "create_log_group",
    "retention_days",
    "concurrency",
    "flush_interval_ms",
    "buffer_max_bytes",
    "when_full",
    "state_dir",
];

/// The table of the options that the README lists, as Markdown.
pub fn readme_table() -> String {
    table(OPTIONS.iter().filter(|option| README_OPTIONS.contains(&option.key)))
}

/// The page `docs/CONFIGURATION.md`.
pub fn configuration_page() -> String {
    let head = "# Configuration

Each option is set as text with `cwl_config_set(config, \"option\", \"value\")`. A wrong key or value is refused there.
`cwl_last_error()` then names the option, the value and what is allowed. `cwl_sink_open` checks the options together.

This page is made from the table in `src/config/options.rs` by `make docs`.

";
    format!("{head}{}", table(OPTIONS))
}

fn table<'a>(options: impl IntoIterator<Item = &'a OptionSpec>) -> String {
    let mut table = String::from("| option | values | default | meaning |\n| --- | --- | --- | --- |\n");
    for option in options {
        let default = if option.default.is_empty() { "none".into() } else { format!("`{}`", option.default) };
        let allowed = option.kind.allowed();
        table += &format!("| `{}` | {allowed} | {default} | {} |\n", option.key, option.help);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_the_readme_exists() {
        let lines = readme_table().lines().count();
        assert_eq!(lines, README_OPTIONS.len() + 2, "a header of two lines, and a line for each option");
    }
}
