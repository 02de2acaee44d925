//! What a user agent says about the tool behind a call. Self-declared by the caller: evidence, never proof, and an
//! agent that shells out to `aws` or `curl` does not show here.

use std::borrow::Cow;

use super::text_function::{Call, Function, Row, text};

pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "agent_from_user_agent",
        arguments: &["user_agent"],
        doc: "the AI agent or MCP server that a user agent names (claude-code, cursor, awslabs/<server> …), else null",
        call: Call::Text(|row| agent(&text(row, 0)?.to_ascii_lowercase()).map(Cow::Owned)),
    },
    Function {
        name: "aws_console_user_agent",
        arguments: &["user_agent"],
        doc: "whether a user agent is a browser's or that of an AWS console page (S3Console, aws-internal)",
        call: Call::Flag(|row| text(row, 0).map(is_console)),
    },
    Function {
        name: "key_from_user_agent",
        arguments: &["user_agent"],
        doc: "where an AWS SDK says it found its credential: code, environment, profile, web_identity, assume_role, \
              sso, process, container, instance, login; null when it does not say",
        call: Call::Text(|row| credential_place(row).map(Cow::Borrowed)),
    },
];

/// A part of the lower-cased user agent, and the tool that it stands for. The first match counts.
const AGENTS: &[(&str, &str)] = &[
    ("claude-code", "claude-code"),
    ("claude-cli", "claude-code"),
    ("claude-user", "claude"),
    ("claude-desktop", "claude-desktop"),
    ("anthropic-mcp", "claude"),
    ("cursor-agent", "cursor"),
    ("cursor/", "cursor"),
    ("githubcopilot", "copilot"),
    ("github-copilot", "copilot"),
    ("copilot-", "copilot"),
    ("copilot/", "copilot"),
    ("codex_cli", "codex"),
    ("codex-cli", "codex"),
    ("codex/", "codex"),
    ("gemini-cli", "gemini-cli"),
    ("geminicli", "gemini-cli"),
    ("windsurf", "windsurf"),
    ("amazonq", "amazon-q"),
    ("amazon-q-", "amazon-q"),
    ("kiro", "kiro"),
    ("openhands", "openhands"),
    ("aider/", "aider"),
    ("devin/", "devin"),
    ("langchain", "langchain"),
    ("langgraph", "langgraph"),
    ("crewai", "crewai"),
    ("autogen/", "autogen"),
    ("mcp-proxy-for-aws", "mcp-proxy-for-aws"),
    ("github-mcp-server", "github-mcp-server"),
    ("azmcp", "azure-mcp"),
    ("azure-mcp", "azure-mcp"),
    ("aws-mcp.amazonaws.com", "aws-mcp.amazonaws.com"),
    ("aws-internal-mcp", "aws-mcp.amazonaws.com"),
    ("mcpclient/", "mcp"),
    ("mcp-server", "mcp"),
    ("mcp/", "mcp"),
];

fn agent(user_agent: &str) -> Option<String> {
    if let Some(server) = awslabs_server(user_agent) {
        return Some(format!("awslabs/{server}"));
    }
    let known = AGENTS.iter().find(|(part, _)| user_agent.contains(part))?.1;
    Some(if known == "mcp" { named_server(user_agent).unwrap_or(known) } else { known }.to_owned())
}

/// `md/awslabs#mcp#<server>#<version>`, `awslabs/mcp/<server>/<version>`, `awslabs.<server>/<version>`.
fn awslabs_server(user_agent: &str) -> Option<&str> {
    let after =
        ["awslabs#mcp#", "awslabs/mcp/", "awslabs.", "awslabs-"].iter().find_map(|mark| user_agent.split_once(mark))?.1;
    after.split(['#', '/', ' ', ';', '@']).next().filter(|server| !server.is_empty())
}

/// The token that names an MCP server or client: `orders-mcp-server/1.2`, `MCPClient/inspector#1`.
fn named_server(user_agent: &str) -> Option<&str> {
    let tokens = || user_agent.split([' ', '#']);
    let client = tokens().find_map(|token| token.split_once("mcpclient/")).map(|(_, client)| client);
    let server = tokens().find(|token| token.contains("mcp-server"));
    client.or_else(|| server?.rsplit('/').find(|part| part.contains("mcp-server"))).filter(|name| !name.is_empty())
}

/// Console pages call from AWS's side or from the browser; events older than `sessionCredentialFromConsole` show only this.
fn is_console(user_agent: &str) -> bool {
    let lower = user_agent.trim_start_matches('[').to_ascii_lowercase();
    lower.starts_with("mozilla/")
        || ["s3console", "aws-internal/", "console.amazonaws.com", "signin.amazonaws.com"]
            .iter()
            .any(|part| lower.contains(part))
}

/// botocore's feature ids in `m/…`, which tell the provider of the credential.
const PLACES: &[(&str, &str)] = &[
    ("e", "code"),
    ("g", "environment"),
    ("3", "environment"),
    ("n", "profile"),
    ("x", "profile"),
    ("h", "web_identity"),
    ("k", "web_identity"),
    ("q", "web_identity"),
    ("r", "sso"),
    ("s", "sso"),
    ("t", "sso"),
    ("u", "sso"),
    ("v", "process"),
    ("w", "process"),
    ("AC", "login"),
    ("AD", "login"),
    ("z", "container"),
    ("0", "instance"),
    ("o", "profile"),
    ("p", "profile"),
    ("i", "assume_role"),
];

fn credential_place(row: Row<'_, '_>) -> Option<&'static str> {
    let features = text(row, 0)?.split(' ').find_map(|token| token.strip_prefix("m/"))?;
    PLACES.iter().find(|(id, _)| features.split(',').any(|feature| feature == *id)).map(|(_, place)| *place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_tool() {
        for (user_agent, want) in [
            ("Boto3/1.40 md/awslabs#mcp#aws-api-mcp-server#1.0 md/Botocore#1.40", Some("awslabs/aws-api-mcp-server")),
            ("exec-env/awslabs/mcp/aws-serverless-mcp-server/0.1", Some("awslabs/aws-serverless-mcp-server")),
            ("awslabs.cloudwatch-mcp-server/0.2", Some("awslabs/cloudwatch-mcp-server")),
            ("claude-code/2.1.202 (cli)", Some("claude-code")),
            ("Cursor/1.7", Some("cursor")),
            ("GitHubCopilotChat/0.20", Some("copilot")),
            ("codex_cli_rs/0.50", Some("codex")),
            ("mcp-proxy-for-aws/1.1", Some("mcp-proxy-for-aws")),
            ("python/3 MCPClient/inspector#1.0", Some("inspector")),
            ("orders-mcp-server/1.2 node", Some("orders-mcp-server")),
            ("aws-mcp.amazonaws.com", Some("aws-mcp.amazonaws.com")),
            ("aws-cli/2.15.0 Python/3.11", None),
            ("Mozilla/5.0 (X11; Linux x86_64)", None),
        ] {
            assert_eq!(agent(&user_agent.to_ascii_lowercase()).as_deref(), want, "{user_agent}");
        }
    }

    #[test]
    fn console_pages() {
        for (user_agent, want) in [
            ("[S3Console/0.4, aws-internal/3 aws-sdk-java/1.12]", true),
            ("Mozilla/5.0 (X11; Linux x86_64)", true),
            ("signin.amazonaws.com", true),
            ("aws-cli/2.15.0 Python/3.11", false),
        ] {
            assert_eq!(is_console(user_agent), want, "{user_agent}");
        }
    }

    #[test]
    fn says_where_the_sdk_found_the_key() {
        for (user_agent, want) in [
            ("aws-cli/2.15 ua/2.1 m/E,g,b cfg/retry-mode#standard", Some("environment")),
            ("Boto3/1.40 ua/2.1 m/e,Z", Some("code")),
            ("Boto3/1.40 ua/2.1 m/n", Some("profile")),
            ("Boto3/1.40 ua/2.1 m/AC", Some("login")),
            ("Boto3/1.40 ua/2.1", None),
        ] {
            assert_eq!(credential_place(&[Some(user_agent)]), want, "{user_agent}");
        }
    }
}
