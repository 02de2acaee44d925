//! GitHub's tokens as the audit log names them. `programmatic_access_type` is an open list of phrases, so it is matched
//! by its start and without regard to case.

use std::borrow::Cow;

use super::text_function::{Call, Function, Row, is_true, text};

const ARGUMENTS: &[&str] = &["programmatic_access_type", "transport_protocol_name?", "token?"];

pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "github_credential_kind",
        arguments: ARGUMENTS,
        doc: "github_pat_classic, github_pat_fine_grained, github_oauth_token, github_app_user_token, \
              github_app_installation_token, github_deploy_key, github_ssh_key, github_token (kind not told); null \
              without a token. An SSH transport without a phrase is an SSH key",
        call: Call::Text(|row| class(row).map(|(kind, _)| Cow::Borrowed(kind))),
    },
    Function {
        name: "github_credential_lifetime",
        arguments: ARGUMENTS,
        doc: "static for personal access tokens, OAuth tokens, SSH and deploy keys; ephemeral for GitHub App tokens",
        call: Call::Text(|row| Some(Cow::Borrowed(class(row).map_or("unknown", |(_, lifetime)| lifetime)))),
    },
    Function {
        name: "github_token_hash",
        arguments: &["hashed_token"],
        doc: "a hashed token in GitHub's own form, padded base64: from unpadded, URL-safe or hex",
        call: Call::Text(|row| Some(token_hash(text(row, 0)?.trim()))),
    },
    Function {
        name: "github_actor_kind",
        arguments: &["programmatic_access_type", "actor_is_bot?", "actor?"],
        doc: "app for GitHub Apps and bots, deploy_key, else user",
        call: Call::Text(|row| Some(Cow::Borrowed(actor_kind(row)))),
    },
];

const KINDS: &[(&str, &str, &str)] = &[
    ("fine-grained personal access token", "github_pat_fine_grained", "static"),
    ("personal access token", "github_pat_classic", "static"),
    ("oauth access token", "github_oauth_token", "static"),
    ("github app user-to-server", "github_app_user_token", "ephemeral"),
    ("user-to-server", "github_app_user_token", "ephemeral"),
    ("github app server-to-server", "github_app_installation_token", "ephemeral"),
    ("server-to-server", "github_app_installation_token", "ephemeral"),
    ("github actions", "github_app_installation_token", "ephemeral"),
    ("deploy key", "github_deploy_key", "static"),
    ("public key (deploy", "github_deploy_key", "static"),
    ("public key", "github_ssh_key", "static"),
    ("ssh key", "github_ssh_key", "static"),
];

fn class(row: Row<'_, '_>) -> Option<(&'static str, &'static str)> {
    if let Some(phrase) = text(row, 0) {
        let phrase = phrase.to_lowercase();
        let known = KINDS.iter().find(|(start, ..)| phrase.starts_with(start));
        return Some(known.map_or(("github_token", "unknown"), |(_, kind, lifetime)| (*kind, *lifetime)));
    }
    if text(row, 1).is_some_and(|transport| transport.eq_ignore_ascii_case("ssh")) {
        return Some(("github_ssh_key", "static"));
    }
    text(row, 2).map(|_| ("github_token", "unknown"))
}

fn actor_kind(row: Row<'_, '_>) -> &'static str {
    match class(row).map(|(kind, _)| kind) {
        Some("github_app_installation_token") => "app",
        _ if is_true(text(row, 1)) || text(row, 2).is_some_and(|actor| actor.ends_with("[bot]")) => "app",
        Some("github_deploy_key") => "deploy_key",
        _ if text(row, 2) == Some("deploy_key") => "deploy_key",
        _ => "user",
    }
}

/// Bytes of a SHA-256.
const HASH_BYTES: usize = 32;

fn token_hash(written: &str) -> Cow<'_, str> {
    if written.len() == HASH_BYTES * 2
        && let Some(bytes) = from_hex(written)
    {
        return Cow::Owned(base64(&bytes));
    }
    let standard =
        written.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=").replace('-', "+").replace('_', "/");
    let bare = standard.trim_end_matches('=');
    Cow::Owned(if bare.len() == (HASH_BYTES * 4).div_ceil(3) { format!("{bare}=") } else { standard })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let digit = |index: u32| ALPHABET.get((index & 63) as usize).map_or('=', |byte| char::from(*byte));
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = group.iter().chain([0, 0].iter()).take(3).fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        let digits = [18, 12, 6, 0].map(|shift| digit(number >> shift));
        text.extend(digits.iter().take(group.len() + 1));
    }
    text.extend(std::iter::repeat_n('=', (3 - bytes.len() % 3) % 3));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_give_kind_and_lifetime() {
        for (phrase, want) in [
            ("Personal access token (classic)", ("github_pat_classic", "static")),
            ("Personal access token", ("github_pat_classic", "static")),
            ("Fine-grained personal access token", ("github_pat_fine_grained", "static")),
            ("FINE-GRAINED PERSONAL ACCESS TOKEN", ("github_pat_fine_grained", "static")),
            ("OAuth access token", ("github_oauth_token", "static")),
            ("GitHub App user-to-server token", ("github_app_user_token", "ephemeral")),
            ("GitHub App server-to-server token", ("github_app_installation_token", "ephemeral")),
            ("Public Key (User/Deploy)", ("github_ssh_key", "static")),
            ("Deploy key", ("github_deploy_key", "static")),
            ("Something new", ("github_token", "unknown")),
        ] {
            assert_eq!(class(&[Some(phrase)]), Some(want), "{phrase}");
        }
        assert_eq!(class(&[None, Some("ssh")]), Some(("github_ssh_key", "static")));
        assert_eq!(class(&[None, Some("http"), Some("hash")]), Some(("github_token", "unknown")));
        assert_eq!(class(&[None, None, None]), None);
    }

    #[test]
    fn one_form_of_a_hash() {
        let hash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        for written in [
            hash,
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
            "47DEQpj8HBSa%2B%2FTImW%2B5JCeuQeRkm5NMpJWZG3hSuFU%3D",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ] {
            assert_eq!(token_hash(written), hash, "{written}");
        }
    }

    #[test]
    fn who_acts() {
        for (phrase, bot, actor, want) in [
            ("GitHub App server-to-server token", "false", "shop-ci", "app"),
            ("", "true", "shop-ci", "app"),
            ("", "", "dependabot[bot]", "app"),
            ("", "", "deploy_key", "deploy_key"),
            ("Personal access token (classic)", "false", "maya", "user"),
        ] {
            assert_eq!(actor_kind(&[Some(phrase), Some(bot), Some(actor)]), want, "{phrase} {actor}");
        }
    }
}
