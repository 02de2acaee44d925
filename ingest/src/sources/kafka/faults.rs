//! librdkafka's faults, as ours: what may pass by itself, what somebody has to change, and how.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::config::Settings;
use crate::sources::SourceError;

/// `reason` is what librdkafka said besides.
pub(super) fn of(settings: &Settings, what: &str, fault: &KafkaError, reason: &str) -> SourceError {
    let Settings { group, topics, .. } = settings;
    let denied = |remedy: String| SourceError::Denied { what: what.to_owned(), fault: remedy };
    let code = fault.rdkafka_error_code();
    match code {
        Some(Code::GroupAuthorizationFailed) => {
            denied(format!("the principal may not use group `{group}`: grant it Read on the group"))
        }
        Some(Code::TopicAuthorizationFailed) => {
            denied(format!("the principal may not read {}: grant it Read and Describe on the topic", topics.join(", ")))
        }
        Some(Code::ClusterAuthorizationFailed) => denied("the principal may not use the cluster".to_owned()),
        Some(Code::Authentication | Code::SaslAuthenticationFailed) => {
            denied(format!("{}: check `sasl` and that the broker's listener wants it", said(fault, reason)))
        }
        Some(Code::SSL) => denied(format!("{}: {}", said(fault, reason), TLS_REMEDY)),
        _ if is_tls(reason) => denied(format!("{}: {}", said(fault, reason), TLS_REMEDY)),
        _ if is_login(reason) => {
            denied(format!("{}: check `sasl` and that the broker's listener wants it", said(fault, reason)))
        }
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
            let remedy = "it is not there: create it or correct `topics`";
            SourceError::unreachable(format!("{what} of {}", topics.join(", ")), remedy)
        }
        Some(Code::FencedInstanceId) => {
            denied("another replica has the same `instance`: give each replica its own".to_owned())
        }
        _ => SourceError::unreachable(
            what,
            format!("{}: check `brokers` ({}) and the network", said(fault, reason), settings.brokers),
        ),
    }
}

const TLS_REMEDY: &str = "check `ca_file`, and that the certificate names the broker as `brokers` does";

fn is_tls(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    ["ssl handshake", "certificate", "ssl_"].iter().any(|word| reason.contains(word))
}

fn is_login(reason: &str) -> bool {
    reason.contains("SASL") || reason.contains("token file") || reason.contains("no token")
}

fn said(fault: &KafkaError, reason: &str) -> String {
    match reason {
        "" => brief(fault),
        reason => reason.chars().take(300).collect(),
    }
}

/// Without the value of a setting, which may be a secret.
fn brief(fault: &KafkaError) -> String {
    match fault {
        KafkaError::ClientConfig(_, why, key, _) => format!("{key}: {why}"),
        other => other.to_string(),
    }
}

/// librdkafka does not take the settings.
pub(super) fn unusable(settings: &Settings, fault: &KafkaError) -> SourceError {
    SourceError::config(&settings.name, format!("librdkafka does not take it: {}", brief(fault)))
}

pub(super) fn denied(settings: &Settings, fault: impl Into<String>) -> SourceError {
    SourceError::Denied { what: format!("logging in to {}", settings.brokers), fault: fault.into() }
}
