//! The event: one table of fields, from which the Arrow schema, `rule fields`, docs and OCSF paths come.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Time,
    Text,
    Texts,
    Flag,
    Number,
}

impl Kind {
    #[must_use]
    pub fn arrow(self) -> DataType {
        match self {
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Text => DataType::Utf8View,
            Self::Texts => DataType::List(Arc::new(ArrowField::new_list_field(DataType::Utf8View, true))),
            Self::Flag => DataType::Boolean,
            Self::Number => DataType::Float64,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Text => "text",
            Self::Texts => "text list",
            Self::Flag => "bool",
            Self::Number => "number",
        }
    }
}

/// Who fills a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// The log source's mapping file.
    Mapping,
    /// Inventory, lineage and guardrails, after the mapping.
    Enrichment,
    /// The record's own bytes.
    Record,
}

#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub filled: Filled,
    /// OCSF 1.8 path, or `unmapped.…` where OCSF has none.
    pub ocsf: &'static str,
    pub doc: &'static str,
}

const fn field(name: &'static str, kind: Kind, filled: Filled, ocsf: &'static str, doc: &'static str) -> Field {
    Field { name, kind, filled, ocsf, doc }
}

use Filled::{Enrichment, Mapping, Record};
use Kind::{Flag, Number, Text, Texts, Time};

/// Every column of `events`, in order.
#[rustfmt::skip]
pub const FIELDS: &[Field] = &[
    field("time", Time, Mapping, "time", "when it happened, UTC; a record without one is a reject"),
    field("event_id", Text, Mapping, "metadata.uid", "the provider's id of the event, or a hash of the record"),
    field("source", Text, Mapping, "metadata.log_name", "log source: aws.cloudtrail, gcp.audit, azure.activity …"),
    field("provider", Text, Mapping, "cloud.provider", "aws, azure, gcp, github, google, kubernetes, m365, okta, onelogin, bitbucket, duo"),
    field("account", Text, Mapping, "cloud.account.uid", "AWS account, Azure subscription or tenant, GCP project, GitHub organisation, Workspace customer"),
    field("region", Text, Mapping, "cloud.region", "region or location, where the source has one"),
    field("service", Text, Mapping, "api.service.name", "short service name: iam, rds-data, Microsoft.Compute, storage"),
    field("action", Text, Mapping, "api.operation", "service:Operation, as the provider names it: iam:CreateAccessKey"),
    field("outcome", Text, Mapping, "status", "allowed, denied or error"),
    field("outcome_code", Text, Mapping, "status_code", "the provider's code: AccessDenied, 7, Forbidden"),
    field("outcome_layer", Text, Mapping, "actor.authorizations.policy.type", "which layer denied: session_policy, identity_policy, permissions_boundary, scp, rcp, resource_policy, vpc_endpoint_policy, vpc_service_controls, organization_policy, rbac, admission"),
    field("actor", Text, Mapping, "actor.user.uid", "stable id of the principal: ARN, object id, e-mail, login"),
    field("actor_kind", Text, Mapping, "actor.user.type", "user, root, role, federated_user, service_principal, managed_identity, service_account, app, service, deploy_key, anonymous"),
    field("actor_name", Text, Mapping, "actor.user.name", "short name: user, role, service account, application"),
    field("session", Text, Mapping, "actor.session.uid", "what ties calls of one session together: sign-in session ARN, role session ARN, token id"),
    field("credential", Text, Mapping, "actor.session.credential_uid", "id of the credential used, never its value"),
    field("credential_kind", Text, Mapping, "api.token.type", "aws_access_key, aws_session_key, aws_bedrock_api_key, gcp_service_account_key, azure_client_secret, github_pat_classic, okta_api_token, k8s_service_account_token, google_oauth_grant …"),
    field("credential_lifetime", Text, Mapping, "unmapped.credential_lifetime", "static, derived_from_static, ephemeral or unknown"),
    field("credential_quality", Text, Mapping, "unmapped.credential_quality", "exact: one credential; group: one of a few; none: not known"),
    field("credential_note", Text, Mapping, "unmapped.credential_note", "what is odd about the classification: akia_with_assumed_role, console_or_unknown_parent, domain_wide_delegation, stale_token …"),
    field("credential_parent", Text, Enrichment, "unmapped.credential_parent", "the credential that this one was issued from, seen in the logs"),
    field("credential_age", Number, Enrichment, "unmapped.credential_age", "days since the credential was made, where the logs or the inventory say"),
    field("issued_credential", Text, Mapping, "unmapped.issued_credential", "id of a credential that this event issued or created"),
    field("issued_kind", Text, Mapping, "unmapped.issued_kind", "its kind"),
    field("issued_lifetime", Text, Mapping, "unmapped.issued_lifetime", "static, derived_from_static, ephemeral or unknown"),
    field("issued_for", Text, Mapping, "unmapped.issued_for", "name of the principal it was made for"),
    field("issued_until", Text, Mapping, "unmapped.issued_until", "its expiry, as the provider wrote it"),
    field("agent", Text, Enrichment, "unmapped.agent", "inventory id of the AI agent or workload behind the call"),
    field("agent_evidence", Text, Mapping, "unmapped.agent_evidence", "why it is taken for an agent: inventory, principal, user_agent, mcp, actor_is_agent"),
    field("on_behalf_of", Text, Mapping, "actor.user.account.uid", "the human that the caller acts for, where the record says"),
    field("tool", Text, Mapping, "unmapped.tool", "the tool or MCP server and tool that made the call"),
    field("user_agent", Text, Mapping, "http_request.user_agent", "self-declared by the caller: evidence, never proof"),
    field("ip", Text, Mapping, "src_endpoint.ip", "where the call came from"),
    field("resources", Texts, Mapping, "resources.uid", "what it touched"),
    field("resource_kinds", Texts, Mapping, "resources.type", "the kinds of what it touched"),
    field("request_id", Text, Mapping, "api.request.uid", "the provider's request id, for joins with other logs"),
    field("downstream_ids", Texts, Mapping, "unmapped.downstream_ids", "request ids of the calls that this one (a tool call) made"),
    field("prompt_ref", Text, Mapping, "unmapped.prompt_ref", "reference to the prompt that led to it; never the prompt"),
    field("owner", Text, Enrichment, "resources.owner.uid", "id of the best known owner of the credential"),
    field("owner_confidence", Number, Enrichment, "unmapped.owner_confidence", "0 to 1; the fallback owner has 0"),
    field("lease", Text, Enrichment, "unmapped.lease", "active or ended, where a lease of ours covers the credential or session"),
    field("guardrails", Texts, Enrichment, "unmapped.guardrails", "ids of the guardrails that this event breaks"),
    field("in_scope", Flag, Enrichment, "unmapped.in_scope", "whether a declared task of the agent covers it; null without a declaration"),
    field("raw", Text, Record, "raw_data", "the record itself, redacted"),
];

/// The field of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.name == name)
}

/// Where the field of that name stands in `FIELDS`.
#[must_use]
pub fn position(name: &str) -> Option<usize> {
    static POSITIONS: LazyLock<HashMap<&str, usize>> =
        LazyLock::new(|| FIELDS.iter().enumerate().map(|(at, field)| (field.name, at)).collect());
    POSITIONS.get(name).copied()
}

/// Arrow schema of `events`; each column's metadata carries its OCSF path and doc.
#[must_use]
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(FIELDS.iter().map(arrow_field).collect::<Vec<_>>()))
}

fn arrow_field(field: &Field) -> ArrowField {
    let metadata = [("ocsf", field.ocsf), ("doc", field.doc)];
    ArrowField::new(field.name, field.kind.arrow(), field.name != "time")
        .with_metadata(metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_field_is_documented() {
        let mut names: Vec<_> = FIELDS.iter().map(|field| field.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FIELDS.len());
        assert!(FIELDS.iter().all(|field| !field.doc.is_empty() && !field.ocsf.is_empty()));
    }
}
