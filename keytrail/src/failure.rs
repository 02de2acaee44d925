//! Exit codes: 1 findings or failed tests, 2 a rule does not compile, 3 configuration or usage, 4 a provider, 5 the guard.

use std::process::ExitCode;

use keytrail_model::{FileError, printable_lines};

/// An end that has an exit code of its own. Everything else is 3: something to be set right before running again.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Findings where `--fail-on` asked for none, failed rule tests, lint errors.
    #[error("{0}")]
    Found(String),
    /// A rule, guardrail, playbook or mapping that does not compile.
    #[error("{}", lines(.0))]
    Rules(Vec<String>),
    /// A provider refused.
    #[error("{0}")]
    Refused(String),
    /// Asked to stop by a signal, with everything committed: 128 and its number.
    #[error("stopped")]
    Stopped(u8),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Found(_) => 1,
            Self::Rules(_) => 2,
            Self::Refused(_) => 4,
            Self::Stopped(code) => *code,
        }
    }

    /// Errors in rule files, one line each.
    pub fn rules<E: std::fmt::Display>(errors: impl IntoIterator<Item = E>) -> anyhow::Error {
        Self::Rules(errors.into_iter().map(|error| error.to_string()).collect()).into()
    }
}

fn lines(errors: &[String]) -> String {
    let many = if errors.len() == 1 { "1 error".to_owned() } else { format!("{} errors", errors.len()) };
    format!("{many} in rules:\n  {}", errors.join("\n  "))
}

/// Says what went wrong on stderr and gives the exit code.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    if let Some(Failure::Stopped(code)) = error.downcast_ref() {
        return ExitCode::from(*code);
    }
    eprintln!("error: {}", printable_lines(&sentence(error)));
    let code = error.downcast_ref::<Failure>().map_or(3, Failure::code);
    ExitCode::from(code)
}

/// The error and its causes in one sentence; a cause that the error has said already is not said again.
fn sentence(error: &anyhow::Error) -> String {
    let causes = error.chain().map(ToString::to_string);
    causes
        .reduce(|said, cause| if said.contains(&cause) { said } else { format!("{said}: {cause}") })
        .unwrap_or_default()
}

/// `keytrail … | head` is no error.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
    };
    error.chain().any(pipe)
}

/// File errors as one failure of configuration.
pub fn config(errors: Vec<FileError>) -> anyhow::Error {
    let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
    anyhow::anyhow!(text.join("\n  "))
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow!("disk I/O error").context("store `a.db`: disk I/O error").context("cannot scan");
        assert_eq!(super::sentence(&error), "cannot scan: store `a.db`: disk I/O error");
    }
}
