//! Which credential an Entra application or user showed. All functions take the same arguments, so that the columns
//! agree. `appidacr` 2 means an assertion: certificate, federated credential and managed identity all show it, so it
//! never proves a static certificate.

use std::borrow::Cow;

use super::text_function::{Call, Function, Row, text};

const ARGUMENTS: &[&str] = &[
    "clientCredentialType?",
    "keyId?",
    "thumbprint?",
    "federatedCredentialId?",
    "managedIdentity?",
    "appidacr?",
    "user?",
    "authenticationType?",
];

pub const FUNCTIONS: &[Function] = &[
    Function {
        name: "azure_credential_kind",
        arguments: ARGUMENTS,
        doc: "azure_client_secret, azure_certificate, azure_federated, azure_managed_identity, azure_client_assertion, \
              azure_storage_key, azure_sas, azure_access_token, user_session; null when nothing tells. managedIdentity is \
              xms_mirid or a managed identity's id, user a user's id, authenticationType a storage log's identity.type",
        call: Call::Text(|row| Class::of(row).kind.map(Cow::Borrowed)),
    },
    Function {
        name: "azure_credential_lifetime",
        arguments: ARGUMENTS,
        doc: "static for a secret, certificate, storage key or SAS; ephemeral for federated, managed and user sessions",
        call: Call::Text(|row| Some(Cow::Borrowed(Class::of(row).lifetime))),
    },
    Function {
        name: "azure_credential_quality",
        arguments: ARGUMENTS,
        doc: "exact when the record names the key, group when it only tells the application and the kind, else none",
        call: Call::Text(|row| Some(Cow::Borrowed(Class::of(row).quality))),
    },
    Function {
        name: "azure_credential_note",
        arguments: ARGUMENTS,
        doc: "secret_or_certificate, certificate_or_federated, assertion_without_key; null when the record is plain",
        call: Call::Text(|row| Class::of(row).note.map(Cow::Borrowed)),
    },
];

#[derive(Debug, PartialEq, Eq)]
struct Class {
    kind: Option<&'static str>,
    lifetime: &'static str,
    quality: &'static str,
    note: Option<&'static str>,
}

const fn class(kind: &'static str, lifetime: &'static str, quality: &'static str) -> Class {
    Class { kind: Some(kind), lifetime, quality, note: None }
}

const NOTHING: Class = Class { kind: None, lifetime: "unknown", quality: "none", note: None };

impl Class {
    fn of(row: Row<'_, '_>) -> Self {
        let said = |index| text(row, index).filter(|text| !text.eq_ignore_ascii_case("none"));
        let kind = said(0).map(str::to_ascii_lowercase);
        Self::from_workload(kind.as_deref(), said(3).is_some(), said(4).is_some())
            .or_else(|| Self::from_key(kind.as_deref(), said(1).is_some(), said(2).is_some()))
            .or_else(|| Self::from_data_plane(said(7)?))
            .or_else(|| Self::from_token(said(5), said(6).is_some()))
            .unwrap_or(NOTHING)
    }

    fn from_workload(kind: Option<&str>, federated: bool, managed: bool) -> Option<Self> {
        match kind {
            Some("managedidentity") => Some(class("azure_managed_identity", "ephemeral", "group")),
            Some("federatedidentitycredential") if !federated => Some(class("azure_federated", "ephemeral", "group")),
            _ if managed => Some(class("azure_managed_identity", "ephemeral", "group")),
            _ if federated => Some(class("azure_federated", "ephemeral", "exact")),
            _ => None,
        }
    }

    fn from_key(kind: Option<&str>, key: bool, thumbprint: bool) -> Option<Self> {
        let quality = if key || thumbprint { "exact" } else { "group" };
        match kind {
            Some("clientsecret") => Some(class("azure_client_secret", "static", quality)),
            Some("certificate") => Some(class("azure_certificate", "static", quality)),
            _ if thumbprint => Some(class("azure_certificate", "static", "exact")),
            Some("clientassertion") if key => Some(class("azure_certificate", "static", "exact")),
            Some("clientassertion") => {
                Some(Self { note: Some("assertion_without_key"), ..class("azure_client_assertion", "unknown", "none") })
            }
            _ if key => {
                Some(Self { note: Some("secret_or_certificate"), ..class("azure_client_secret", "static", "exact") })
            }
            _ => None,
        }
    }

    /// Storage logs: `Account Key`, `SAS Key`, `SAS`, `OAuth`, `Kerberos`, `Anonymous`.
    fn from_data_plane(authentication: &str) -> Option<Self> {
        match authentication.to_ascii_lowercase().replace(' ', "").as_str() {
            "accountkey" | "sharedkey" => Some(class("azure_storage_key", "static", "exact")),
            "sas" | "saskey" => Some(class("azure_sas", "static", "exact")),
            "oauth" | "delegationsas" => Some(class("azure_access_token", "ephemeral", "none")),
            _ => None,
        }
    }

    fn from_token(appidacr: Option<&str>, user: bool) -> Option<Self> {
        match appidacr {
            _ if user => Some(class("user_session", "ephemeral", "none")),
            Some("1") => Some(class("azure_client_secret", "static", "group")),
            Some("2") => Some(Self {
                note: Some("certificate_or_federated"),
                ..class("azure_client_assertion", "unknown", "none")
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_record_shows() {
        // type, key id, thumbprint, federated id, managed identity, appidacr, user
        for (row, want) in [
            (["clientSecret", "k", "", "", "", "", ""], class("azure_client_secret", "static", "exact")),
            (["clientSecret", "", "", "", "", "", ""], class("azure_client_secret", "static", "group")),
            (["certificate", "k", "t", "", "", "", ""], class("azure_certificate", "static", "exact")),
            (["none", "", "t", "", "", "", ""], class("azure_certificate", "static", "exact")),
            (["clientAssertion", "k", "", "", "", "", ""], class("azure_certificate", "static", "exact")),
            (["federatedIdentityCredential", "", "", "f", "", "2", ""], class("azure_federated", "ephemeral", "exact")),
            (["managedIdentity", "", "", "", "", "", ""], class("azure_managed_identity", "ephemeral", "group")),
            (["", "", "", "", "/subscriptions/s/mi", "2", ""], class("azure_managed_identity", "ephemeral", "group")),
            (["", "", "", "", "", "1", ""], class("azure_client_secret", "static", "group")),
            (["", "", "", "", "", "1", "u"], class("user_session", "ephemeral", "none")),
            (["", "", "", "", "", "0", "u"], class("user_session", "ephemeral", "none")),
            (["none", "", "", "", "", "", ""], NOTHING),
        ] {
            assert_eq!(Class::of(&row.map(Some)), want, "{row:?}");
        }
    }

    #[test]
    fn an_assertion_is_no_proof_of_a_certificate() {
        for (row, lifetime, note) in [
            (["", "", "", "", "", "2", ""], "unknown", "certificate_or_federated"),
            (["clientAssertion", "", "", "", "", "2", ""], "unknown", "assertion_without_key"),
            (["none", "k", "", "", "", "", ""], "static", "secret_or_certificate"),
        ] {
            let class = Class::of(&row.map(Some));
            assert_eq!((class.lifetime, class.note), (lifetime, Some(note)), "{row:?}");
        }
    }

    #[test]
    fn storage_says_how_it_was_asked() {
        let lifetime = |kind: &'static str| {
            let class = Class::of(&[None, None, None, None, None, None, None, Some(kind)]);
            (class.kind, class.lifetime)
        };
        assert_eq!(lifetime("Account Key"), (Some("azure_storage_key"), "static"));
        assert_eq!(lifetime("SAS Key"), (Some("azure_sas"), "static"));
        assert_eq!(lifetime("OAuth"), (Some("azure_access_token"), "ephemeral"));
        assert_eq!(lifetime("Anonymous"), (None, "unknown"));
    }
}
