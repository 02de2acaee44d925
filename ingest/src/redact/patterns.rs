//! What a secret looks like: one line a pattern. Needles are searched without regard to case.

use std::ops::Range;

use super::key::{argument, assigned, header, json, tail};
use super::shapes::{self, Charset};

/// Given the text and where the needle stands, where the secret stands.
pub(super) type Judge = fn(&[u8], Range<usize>) -> Option<Range<usize>>;

pub(super) struct Pattern {
    pub(super) needle: &'static str,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// The value of a JSON key that is exactly the needle, also inside JSON within a string; or of `needle=`.
    Key,
    /// The same, unless the value is a JSON text itself.
    Header,
    /// The same for a name that ends with the needle, such as an environment variable's.
    Tail,
    /// Only `needle=` in a query string or a connection string.
    Assigned,
    /// The word after an option of a command line.
    Argument,
    /// The needle in exactly this case, then at least so many of these characters.
    Prefix(Charset, usize),
    /// Anything else.
    Shape(Judge),
}

const fn key(needle: &'static str) -> Pattern {
    Pattern { needle, kind: Kind::Key }
}

const fn assigned_only(needle: &'static str) -> Pattern {
    Pattern { needle, kind: Kind::Assigned }
}

const fn prefix(needle: &'static str, of: Charset, least: usize) -> Pattern {
    Pattern { needle, kind: Kind::Prefix(of, least) }
}

const fn shape(needle: &'static str, judge: Judge) -> Pattern {
    Pattern { needle, kind: Kind::Shape(judge) }
}

pub(super) const PATTERNS: &[Pattern] = &[
    // Keys of JSON members, query parameters and form fields.
    key("accessToken"),
    key("access_token"),
    key("accountKey"),
    key("adminPassword"),
    key("administratorLoginPassword"),
    key("apiKey"),
    key("api_key"),
    key("authToken"),
    key("auth_token"),
    key("bearerToken"),
    key("clientSecret"),
    key("client_secret"),
    key("client_assertion"),
    key("connectionString"),
    key("currentPassword"),
    key("dbPassword"),
    key("idToken"),
    key("id_token"),
    key("keyString"),
    key("masterPassword"),
    key("masterUserPassword"),
    key("newPassword"),
    key("oldPassword"),
    key("passphrase"),
    key("passwd"),
    key("password"),
    key("presharedKey"),
    key("privateKey"),
    key("pwd"),
    key("rootPassword"),
    key("private_key"),
    key("privateKeyData"),
    key("privateKeyMaterial"),
    key("proposedPassword"),
    key("previousPassword"),
    key("refreshToken"),
    key("refresh_token"),
    key("sasToken"),
    key("secretAccessKey"),
    key("secret_access_key"),
    key("secretBinary"),
    key("secretString"),
    key("secretText"),
    key("securityToken"),
    key("serviceCredentialSecret"),
    key("servicePassword"),
    key("sessionToken"),
    key("session_token"),
    key("sharedAccessKey"),
    key("token"),
    key("tokenSecret"),
    key("userData"),
    key("userPassword"),
    key("webIdentityToken"),
    key("SAMLAssertion"),
    key("X-Amz-Security-Token"),
    key("X-Amz-Signature"),
    key("x-api-key"),
    key("X-Vault-Token"),
    key("aws_session_token"),
    Pattern { needle: "authorization", kind: Kind::Header },
    Pattern { needle: "proxy-authorization", kind: Kind::Header },
    Pattern { needle: "set-cookie", kind: Kind::Header },
    Pattern { needle: "cookie", kind: Kind::Header },
    Pattern { needle: "_password", kind: Kind::Tail },
    Pattern { needle: "_passwd", kind: Kind::Tail },
    Pattern { needle: "_secret", kind: Kind::Tail },
    Pattern { needle: "_secret_key", kind: Kind::Tail },
    Pattern { needle: "_api_key", kind: Kind::Tail },
    Pattern { needle: "_private_key", kind: Kind::Tail },
    assigned_only("sig"),
    assigned_only("pwd"),
    assigned_only("code_verifier"),
    Pattern { needle: "--password", kind: Kind::Argument },
    Pattern { needle: "--token", kind: Kind::Argument },
    Pattern { needle: "--secret", kind: Kind::Argument },
    // Values that say themselves what they are.
    prefix("ABSK", Charset::Base64, 40),
    prefix("AIza", Charset::Url, 30),
    prefix("AGE-SECRET-KEY-1", Charset::Alnum, 40),
    prefix("bedrock-api-key-", Charset::Token, 20),
    prefix("dapi", Charset::Hex, 32),
    prefix("dop_v1_", Charset::Hex, 40),
    prefix("ghp_", Charset::Alnum, 20),
    prefix("gho_", Charset::Alnum, 20),
    prefix("ghu_", Charset::Alnum, 20),
    prefix("ghs_", Charset::Token, 20),
    prefix("ghr_", Charset::Alnum, 20),
    prefix("github_pat_", Charset::Url, 20),
    prefix("glpat-", Charset::Token, 16),
    prefix("GOCSPX-", Charset::Url, 20),
    prefix("hf_", Charset::Alnum, 30),
    prefix("hvb.", Charset::Url, 20),
    prefix("hvs.", Charset::Url, 20),
    prefix("npm_", Charset::Alnum, 30),
    prefix("pypi-AgE", Charset::Url, 30),
    prefix("sk_live_", Charset::Alnum, 16),
    prefix("rk_live_", Charset::Alnum, 16),
    prefix("ya29.", Charset::Url, 20),
    prefix("xapp-", Charset::Url, 20),
    shape("sk-", shapes::model_key),
    shape("xox", shapes::slack),
    shape("8Q~", shapes::entra_secret),
    shape("eyJ", shapes::jwt),
    shape("-----BEGIN ", shapes::private_key),
    shape("://", shapes::url_password),
    shape("Bearer ", shapes::header_value),
    shape("Basic ", shapes::header_value),
    shape("aws_secret_access_key", shapes::aws_secret),
];

impl Pattern {
    pub(super) fn secret(&self, bytes: &[u8], hit: Range<usize>) -> Option<Range<usize>> {
        match self.kind {
            Kind::Key => json(bytes, hit.clone()).or_else(|| assigned(bytes, hit)),
            Kind::Header => header(bytes, hit),
            Kind::Tail => tail(bytes, hit),
            Kind::Assigned => assigned(bytes, hit),
            Kind::Argument => argument(bytes, hit),
            Kind::Prefix(of, least) => shapes::prefixed(bytes, hit, self.needle, of, least),
            Kind::Shape(judge) => judge(bytes, hit),
        }
    }
}
