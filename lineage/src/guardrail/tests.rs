//! The shipped guardrails load and decide; every way of writing a wrong one says what is wrong and where.

use proptest::prelude::*;

use super::*;

const BASE: &str = "@id(\"base\")\npermit(principal, action, resource);\n";

fn load(files: &[(&str, &str)]) -> Result<Guardrails, Vec<String>> {
    let files: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Guardrails::load(&files).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn error(text: &str) -> String {
    let errors = load(&[("base.cedar", BASE), ("x.cedar", text)]).expect_err("an error");
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.into_iter().next().unwrap_or_default()
}

fn shipped() -> Guardrails {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../rules/guardrails");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("rules/guardrails") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "cedar") {
            files.push((path.display().to_string(), std::fs::read_to_string(&path).expect("text")));
        }
    }
    assert!(files.len() >= 6, "{files:?}");
    Guardrails::load(&files).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn tagged(id: &str, tags: &[&str]) -> Tagged {
    Tagged { id: id.to_owned(), tags: tags.iter().map(|&tag| tag.to_owned()).collect() }
}

fn broken(agent: Option<&str>, groups: &[&str], operation: &str, more: GuardrailRequest<'_>) -> Vec<String> {
    let groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
    let request = GuardrailRequest { agent, groups: &groups, operation, outcome: "allowed", provider: "aws", ..more };
    let decision = shipped().decide(&request);
    assert_eq!(decision.errors, Vec::<String>::new());
    decision.broken
}

#[test]
fn the_shipped_guardrails_are_named_as_their_files_and_described() {
    for guardrail in shipped().iter() {
        let file = guardrail.file.rsplit('/').next().unwrap_or_default();
        assert_eq!(file, format!("{}.cedar", guardrail.id));
        assert!(guardrail.title.is_some(), "{file}");
        assert!(guardrail.severity.is_some() || guardrail.effect == Effect::Permit, "{file}");
    }
}

#[test]
fn agents_stay_off_customer_data_and_people_do_not_have_to() {
    let resources = [tagged("cluster:orders", &[]), tagged("cluster:customers", &["customer-data"])];
    let more = GuardrailRequest { resources: &resources, ..GuardrailRequest::default() };
    assert_eq!(
        broken(Some("refund-agent"), &["ai"], "rds-data:ExecuteStatement", more),
        ["ai-agents-stay-off-customer-data"]
    );
    assert_eq!(broken(None, &[], "rds-data:ExecuteStatement", more), Vec::<String>::new());
    let only = GuardrailRequest { resources: &resources[..1], ..GuardrailRequest::default() };
    assert_eq!(broken(Some("refund-agent"), &["ai"], "rds-data:ExecuteStatement", only), Vec::<String>::new());
}

#[test]
fn agents_use_no_static_credential_and_do_not_administer_or_read_secrets() {
    let key = GuardrailRequest { credential_lifetime: Some("static"), ..GuardrailRequest::default() };
    assert_eq!(broken(Some("a"), &["ai"], "s3:GetObject", key), ["agents-use-no-static-credentials"]);
    let none = GuardrailRequest::default();
    for operation in
        ["iam:CreateAccessKey", "iam:AttachRolePolicy", "SetIamPolicy", "Microsoft.Authorization/roleAssignments/WRITE"]
    {
        assert_eq!(broken(Some("a"), &["ai"], operation, none), ["agents-do-not-administer-identity"], "{operation}");
    }
    for operation in ["iam:ListUsers", "iam:GetUser", "s3:ListBuckets"] {
        assert_eq!(broken(Some("a"), &["ai"], operation, none), Vec::<String>::new(), "{operation}");
    }
    for operation in [
        "secretsmanager:GetSecretValue",
        "secretmanager:google.cloud.secretmanager.v1.SecretManagerService.AccessSecretVersion",
    ] {
        assert_eq!(broken(Some("a"), &["ai"], operation, none), ["agents-do-not-read-secrets"], "{operation}");
    }
    assert_eq!(broken(None, &[], "secretsmanager:GetSecretValue", none), Vec::<String>::new());
}

#[test]
fn nobody_switches_audit_logs_off() {
    for operation in
        ["cloudtrail:StopLogging", "cloudtrail:DeleteTrail", "microsoft.insights/diagnosticSettings/delete"]
    {
        let none = GuardrailRequest::default();
        assert_eq!(broken(None, &[], operation, none), ["audit-logs-stay-on"], "{operation}");
    }
}

#[test]
fn a_policy_that_does_not_parse_names_its_line() {
    let message = error("@id(\"x\")\nforbid(principal, action, resource)\nwhen { context.operation == };\n");
    assert!(message.starts_with("x.cedar:3: "), "{message}");
}

#[test]
fn an_unknown_attribute_entity_or_type_names_its_line() {
    let message = error("@id(\"x\")\nforbid(principal, action, resource)\nwhen { context.operatoin == \"a\" };\n");
    assert!(
        message == "x.cedar:3: for policy `x`, attribute `operatoin` in context not found (did you mean `operation`?)",
        "{message}"
    );
    let message = error("@id(\"x\")\nforbid(principal, action, resource in Tga::\"a\");\n");
    assert!(message.starts_with("x.cedar:2: ") && message.contains("Tga"), "{message}");
    let message = error("@id(\"x\")\nforbid(principal, action == Action::\"uses\", resource);\n");
    assert!(message.contains("uses"), "{message}");
    let message = error("@id(\"x\")\nforbid(principal, action, resource)\nwhen { context.operation == 1 };\n");
    assert!(message.starts_with("x.cedar:"), "{message}");
    let message = error("@id(\"x\")\nforbid(principal, action, resource)\nwhen { context.tool == \"a\" };\n");
    assert!(message.starts_with("x.cedar:3: ") && message.contains("has tool"), "{message}");
}

#[test]
fn a_policy_that_can_never_apply_is_refused() {
    let message = error("@id(\"x\")\nforbid(principal in Tag::\"a\", action, resource);\n");
    assert!(message.starts_with("x.cedar:2: ") || message.starts_with("x.cedar:1: "), "{message}");
}

#[test]
fn ids_are_mandatory_and_unique_and_annotations_known() {
    let message = "x.cedar:2: policy has no id: put `@id(\"what-it-forbids\")` before it";
    assert_eq!(error("// a comment\nforbid(principal, action, resource);\n"), message);
    let message = "x.cedar:1: guardrail id `base` is used twice, first at base.cedar:1: rename one of the two";
    assert_eq!(error("@id(\"base\")\nforbid(principal, action, resource);\n"), message);
    let message = "x.cedar:1: unknown annotation `@sevrity`, did you mean `@severity`?; known: id, title";
    let found = error("@id(\"x\") @sevrity(\"high\")\nforbid(principal, action, resource);\n");
    assert!(found.starts_with(&message.replace("`@severity`", "`severity`")), "{found}");
    let found = error("@id(\"x\") @severity(\"hgh\")\nforbid(principal, action, resource);\n");
    assert!(
        found.starts_with("x.cedar:1: unknown severity `hgh`, did you mean `high`?; known: informational,"),
        "{found}"
    );
}

#[test]
fn templates_and_a_missing_permit_are_refused() {
    let message = error("@id(\"x\")\nforbid(principal == ?principal, action, resource);\n");
    assert!(message.contains("is a template"), "{message}");
    let errors = load(&[("x.cedar", "@id(\"x\")\nforbid(principal, action, resource);\n")]).expect_err("no permit");
    assert!(errors[0].starts_with("guardrails: no policy permits anything"), "{errors:?}");
}

#[test]
fn without_policies_nothing_is_broken() {
    let mut none = load(&[]).expect("no policies");
    assert_eq!(none.decide(&GuardrailRequest::default()), Decision::default());
}

#[test]
fn a_policy_that_fails_at_run_time_is_said() {
    let overflow = "@id(\"x\")\nforbid(principal, action, resource)\nwhen { 9223372036854775807 + 1 == 2 && context.owner_known };\n";
    let mut guardrails = load(&[("base.cedar", BASE), ("x.cedar", overflow)]).expect("it validates");
    let decision = guardrails.decide(&GuardrailRequest::default());
    assert_eq!(decision, Decision { broken: vec![], errors: vec!["error:x".to_owned()] });
}

#[test]
fn ids_cannot_break_out_of_their_quotes() {
    let resources = [tagged("\"; permit(principal, action, resource); //", &["customer-data"])];
    let more = GuardrailRequest { resources: &resources, ..GuardrailRequest::default() };
    assert_eq!(broken(Some("a\"b"), &["ai"], "x", more), ["ai-agents-stay-off-customer-data"]);
}

const TELLING: &str = "@id(\"tag\") forbid(principal in AgentGroup::\"ai\", action, resource in Tag::\"t\");\n\
    @id(\"name\") forbid(principal, action, resource == Resource::\"r1\");\n\
    @id(\"ip\") forbid(principal, action, resource) when { context has ip && context.ip == \"192.0.2.1\" };\n\
    @id(\"scope\") forbid(principal, action, resource) when { context has in_scope && !context.in_scope };\n\
    @id(\"who\") forbid(principal == Principal::\"p1\", action, resource);\n";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn the_memory_never_changes_a_decision(asked in prop::collection::vec((0..2, 0..2, 0..3, 0..3, 0_usize..3), 1..40)) {
        let mut guardrails = load(&[("base.cedar", BASE), ("x.cedar", TELLING)]).expect("policies");
        let fresh = guardrails.clone();
        for (agent, group, resource, ip, scope) in asked {
            let groups = if group == 0 { vec![] } else { vec!["ai".to_owned()] };
            let resources = [tagged(&format!("r{resource}"), if resource == 2 { &["t"] } else { &[] })];
            let (ip, actor) = (format!("192.0.2.{ip}"), format!("p{}", resource % 2));
            let request = GuardrailRequest {
                agent: (agent == 1).then_some("a"), actor: Some(&actor), groups: &groups, resources: &resources,
                ip: Some(&ip), in_scope: [None, Some(true), Some(false)][scope], ..GuardrailRequest::default()
            };
            prop_assert_eq!(guardrails.decide(&request), fresh.evaluate(&request));
        }
    }
}
