//! Which AWS credential made a call, and whether it is static. Every `aws_credential_*` function takes the same
//! arguments, so that a mapping writes them once per column and all columns agree. The event alone decides: lineage
//! later upgrades `console_or_unknown_parent` when it saw the `GetSessionToken` that issued the key.

use std::borrow::Cow;

use super::text_function::{Call, Function, Row, is_true, text};

const ARGUMENTS: &[&str] =
    &["type", "accessKeyId", "credentialId", "bearer", "bearerTokenType", "creationDate", "consoleMarks…"];

pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "aws_credential",
        arguments: &["accessKeyId", "credentialId", "bearer", "bearerTokenType", "userName", "principalId"],
        doc: "id of the credential used: the access key, the Identity Center bearer id, or `bedrock-api-key:<user>` \
              when a service API key was used, whose id the event does not hold and which the access key id is not",
        call: Call::Text(credential),
    },
    Function {
        name: "aws_credential_kind",
        arguments: ARGUMENTS,
        doc: "aws_access_key, aws_session_key, aws_bedrock_api_key, aws_identity_center_token, aws_service_token, \
              user_session; null without a credential. Any console mark (sessionCredentialFromConsole, \
              signInSessionArn, invokedBy, a console sign-in) counts unless empty or `false`",
        call: Call::Text(|row| Class::of(row).kind.map(Cow::Borrowed)),
    },
    Function {
        name: "aws_credential_lifetime",
        arguments: ARGUMENTS,
        doc: "static (AKIA of an IAM user or root, long-term service API key), derived_from_static, ephemeral, unknown",
        call: Call::Text(|row| Some(Cow::Borrowed(Class::of(row).lifetime))),
    },
    Function {
        name: "aws_credential_quality",
        arguments: ARGUMENTS,
        doc: "exact when the event names the credential, group when it is one of a user's service API keys, else none",
        call: Call::Text(|row| Some(Cow::Borrowed(Class::of(row).quality))),
    },
    Function {
        name: "aws_credential_note",
        arguments: ARGUMENTS,
        doc: "what is odd: akia_with_<type>, asia_with_<type>, console_or_unknown_parent; null when nothing is",
        call: Call::Text(|row| Class::of(row).note.map(Cow::Owned)),
    },
];

/// A service API key was used: the flag, or just its type, which some services log alone.
fn by_bearer_token(flag: Option<&str>, kind: Option<&str>) -> bool {
    is_true(flag) || kind.is_some()
}

fn credential<'a>(row: Row<'_, 'a>) -> Option<Cow<'a, str>> {
    if by_bearer_token(text(row, 2), text(row, 3)) {
        let user = text(row, 4).or(text(row, 5))?;
        return Some(Cow::Owned(format!("bedrock-api-key:{user}")));
    }
    text(row, 0).or(text(row, 1)).map(Cow::Borrowed)
}

#[derive(Debug, PartialEq, Eq)]
struct Class {
    kind: Option<&'static str>,
    lifetime: &'static str,
    quality: &'static str,
    note: Option<String>,
}

const UNREADABLE: &str = "console_or_unknown_parent";
/// Principal types whose calls come from a session of their own, even where the event leaves the key out.
const OWN_SESSION: &[&str] = &["Root", "IAMUser", "AssumedRole", "Role", "FederatedUser", "IdentityCenterUser"];

impl Class {
    const NOTHING: Self = Self { kind: None, lifetime: "unknown", quality: "none", note: None };

    fn of(row: Row<'_, '_>) -> Self {
        let principal = text(row, 0).unwrap_or_default();
        let issued = text(row, 5).is_some();
        let console =
            (6..row.len()).any(|index| text(row, index).is_some_and(|mark| !mark.eq_ignore_ascii_case("false")));
        if by_bearer_token(text(row, 3), text(row, 4)) {
            return Self::service_api_key(principal, text(row, 4), issued);
        }
        match text(row, 1) {
            Some(key) => Self::access_key(key, principal, console),
            None if text(row, 2).is_some() => Self::exact("aws_identity_center_token", "ephemeral"),
            None if !OWN_SESSION.contains(&principal) => Self::NOTHING,
            None if issued || console => Self::without_key(principal, console),
            None => Self::NOTHING,
        }
    }

    fn exact(kind: &'static str, lifetime: &'static str) -> Self {
        Self { kind: Some(kind), lifetime, quality: "exact", note: None }
    }

    fn noted(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    fn service_api_key(principal: &str, kind: Option<&str>, issued: bool) -> Self {
        let lifetime = match kind.map(str::to_ascii_uppercase).as_deref() {
            Some("ABSK" | "LONG_TERM") => "static",
            Some("SHORT_TERM") => "ephemeral",
            _ if issued => "ephemeral",
            _ if principal == "IAMUser" => "static",
            _ => "unknown",
        };
        Self { kind: Some("aws_bedrock_api_key"), lifetime, quality: "group", note: None }
    }

    fn access_key(key: &str, principal: &str, console: bool) -> Self {
        match (key.get(..4).unwrap_or_default(), principal) {
            ("AKIA", "IAMUser" | "Root") => Self::exact("aws_access_key", "static"),
            ("AKIA", _) => Self::exact("aws_access_key", "unknown").noted(contradiction("akia", principal)),
            ("ASIA", "FederatedUser") => Self::exact("aws_session_key", "derived_from_static"),
            ("ASIA", "IAMUser" | "Root") if console => Self::exact("aws_session_key", "ephemeral").noted(UNREADABLE),
            ("ASIA", "IAMUser" | "Root") => Self::exact("aws_session_key", "derived_from_static"),
            ("ASIA", "AssumedRole" | "Role") => Self::exact("aws_session_key", "ephemeral"),
            ("ASIA", _) => Self::exact("aws_session_key", "ephemeral").noted(contradiction("asia", principal)),
            ("ABIA", _) => Self::exact("aws_service_token", "unknown"),
            ("ACCA", _) => Self::exact("aws_context_credential", "unknown"),
            _ => Self::exact("aws_unknown_key", "unknown").noted("unknown_key_prefix"),
        }
    }

    /// A session whose key the event leaves out: console pages, the MCP server.
    fn without_key(principal: &str, console: bool) -> Self {
        let person = matches!(principal, "IAMUser" | "Root");
        let kind = if person || console { "user_session" } else { "aws_session_key" };
        let class = Self { kind: Some(kind), lifetime: "ephemeral", quality: "none", note: None };
        if person { class.noted(UNREADABLE) } else { class }
    }
}

/// `akia_with_assumed_role`, `akia_with_aws_account`, `asia_without_type`.
fn contradiction(prefix: &str, principal: &str) -> String {
    let letters: Vec<char> = principal.chars().collect();
    let upper = |at: usize| letters.get(at).is_some_and(char::is_ascii_uppercase);
    let lower = |at: usize| letters.get(at).is_some_and(char::is_ascii_lowercase);
    let mut snake = String::new();
    for (at, letter) in letters.iter().enumerate() {
        if at > 0 && upper(at) && (lower(at - 1) || lower(at + 1)) {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    if snake.is_empty() { format!("{prefix}_without_type") } else { format!("{prefix}_with_{snake}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AKIA: &str = "AKIAIOSFODNN7EXAMPLE";
    const ASIA: &str = "ASIAIOSFODNN7EXAMPLE";

    /// (type, key, creation date, mark) → lifetime and note.
    fn by_key(principal: &str, key: &str, created: &str, mark: &str) -> (&'static str, Option<String>) {
        let row = [Some(principal), Some(key), None, None, None, Some(created), Some(mark)];
        let class = Class::of(&row);
        (class.lifetime, class.note)
    }

    #[test]
    fn access_keys_by_prefix_and_principal() {
        for (principal, key, mark, lifetime, note) in [
            ("IAMUser", AKIA, "", "static", None),
            ("Root", AKIA, "", "static", None),
            ("AssumedRole", AKIA, "", "unknown", Some("akia_with_assumed_role")),
            ("Unknown", AKIA, "", "unknown", Some("akia_with_unknown")),
            ("AWSAccount", AKIA, "", "unknown", Some("akia_with_aws_account")),
            ("", AKIA, "", "unknown", Some("akia_without_type")),
            ("FederatedUser", ASIA, "", "derived_from_static", None),
            ("FederatedUser", ASIA, "true", "derived_from_static", None),
            ("IAMUser", ASIA, "", "derived_from_static", None),
            ("IAMUser", ASIA, "false", "derived_from_static", None),
            ("IAMUser", ASIA, "true", "ephemeral", Some("console_or_unknown_parent")),
            ("IAMUser", ASIA, "cloudformation.amazonaws.com", "ephemeral", Some("console_or_unknown_parent")),
            ("Root", ASIA, "true", "ephemeral", Some("console_or_unknown_parent")),
            ("Root", ASIA, "", "derived_from_static", None),
            ("AssumedRole", ASIA, "", "ephemeral", None),
            ("User", ASIA, "", "ephemeral", Some("asia_with_user")),
            ("IAMUser", "EXAMPLEKEY", "", "unknown", Some("unknown_key_prefix")),
        ] {
            let want = (lifetime, note.map(str::to_owned));
            assert_eq!(by_key(principal, key, "", mark), want, "{principal} {key} {mark}");
        }
    }

    #[test]
    fn bearer_tokens_are_not_the_access_key() {
        for (principal, flag, kind, created, lifetime) in [
            ("IAMUser", "true", "", "", "static"),
            ("IAMUser", "true", "ABSK", "2026-11-03T10:00:00Z", "static"),
            ("IAMUser", "", "LONG_TERM", "", "static"),
            ("AssumedRole", "True", "SHORT_TERM", "", "ephemeral"),
            ("AssumedRole", "true", "", "2026-11-03T10:00:00Z", "ephemeral"),
            ("AssumedRole", "true", "", "", "unknown"),
        ] {
            let row = [Some(principal), Some(AKIA), None, Some(flag), Some(kind), Some(created)];
            let class = Class::of(&row);
            assert_eq!((class.kind, class.lifetime), (Some("aws_bedrock_api_key"), lifetime), "{principal} {kind}");
            assert_eq!(class.quality, "group");
        }
        let named = |flag| credential(&[Some(AKIA), None, Some(flag), None, Some("BedrockAPIKey-x1"), None]);
        assert_eq!(named("true").as_deref(), Some("bedrock-api-key:BedrockAPIKey-x1"));
        assert_eq!(named("false").as_deref(), Some(AKIA));
    }

    #[test]
    fn sessions_without_a_key() {
        let class = |principal: &'static str, id: &'static str, created: &'static str, mark: &'static str| {
            let class = Class::of(&[Some(principal), Some(""), Some(id), None, None, Some(created), Some(mark)]);
            (class.kind, class.lifetime, class.quality, class.note)
        };
        assert_eq!(class("IdentityCenterUser", "b-1", "", "").0, Some("aws_identity_center_token"));
        assert_eq!(class("AWSService", "", "", "lambda.amazonaws.com"), (None, "unknown", "none", None));
        assert_eq!(class("", "", "", "lambda.amazonaws.com"), (None, "unknown", "none", None));
        assert_eq!(class("AssumedRole", "", "2026-11-03", ""), (Some("aws_session_key"), "ephemeral", "none", None));
        assert_eq!(class("IAMUser", "", "2026-11-03", "true").3.as_deref(), Some(UNREADABLE));
    }
}
