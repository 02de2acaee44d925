//! The names of public Sigma rules, asked of records as the vendors write them.

use serde_json::{Value, json};

use crate::run::{Folder, repository};

/// Whether a rule for that log source matches the record.
fn matches(service: &str, selection: &Value, record: &Value) -> bool {
    let (product, service) = service.split_once('/').unwrap();
    let folder = Folder::new();
    folder.write("events.jsonl", format!("{record}\n"));
    let rule = json!({"title": "Theirs", "id": "theirs", "logsource": {"product": product, "service": service},
        "detection": {"selection": selection, "condition": "selection"}});
    let text: String = rule.as_object().unwrap().iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
    folder.write("mine/theirs.yml", text);
    let ran =
        folder.run(&["scan", "--dry-run", "--no-builtin-rules", "--rules", "mine", "--skip-bad-rules", "events.jsonl"]);
    let ran = ran.ok();
    assert!(!ran.stderr.contains("left out"), "{}", ran.stderr);
    !ran.rows().is_empty()
}

#[track_caller]
fn check(service: &str, selection: &Value, cases: &[(Value, bool)]) {
    for (record, wanted) in cases {
        assert_eq!(matches(service, selection, record), *wanted, "{selection} on {record}");
    }
}

fn with(mut record: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else { panic!("no object: {changes}") };
    changes.into_iter().for_each(|(key, value)| record[key] = value);
    record
}

fn unified(workload: &str, operation: &str, more: Value) -> Value {
    let record = json!({"CreationTime": "2026-11-04T02:20:00", "Id": "00000000-3650-4000-8000-0000000000d1",
        "Operation": operation, "OrganizationId": "00000000-0000-0000-0000-0000000000aa", "RecordType": 1,
        "UserKey": "100300EXAMPLE", "UserType": 0, "Version": 1, "Workload": workload, "UserId": "maya.ito@example.com"});
    with(record, more)
}

#[test]
fn a_result_means_the_same_in_every_workload_of_microsoft_365() {
    let raised = |result: &str| {
        let more = json!({"ResultStatus": result, "Name": "Mail sent on to a partner", "RecordType": 40});
        unified("SecurityComplianceCenter", "AlertTriggered", more)
    };
    let rule = json!({"eventSource": "SecurityComplianceCenter", "eventName": "Mail sent on to a partner", "status": "success"});
    check("m365/threat_management", &rule, &[(raised("Succeeded"), true), (raised("Failed"), false)]);
    let set = |result: &str| unified("Exchange", "Set-TransportRule", json!({"ResultStatus": result}));
    let rule = json!({"eventSource": "Exchange", "eventName": "Set-TransportRule", "status": "success"});
    check("m365/exchange", &rule, &[(set("True"), true), (set("False"), false)]);
    let rule = json!({"eventName": "Set-TransportRule", "status": "failure"});
    check("m365/audit", &rule, &[(set("True"), false), (set("False"), true)]);
}

#[test]
fn an_extended_property_counts_by_its_name() {
    let signed_in = |name: &str| {
        let properties = json!([{"Name": "UserAgent", "Value": "curl/8.5.0"}, {"Name": name, "Value": "Login:login"}]);
        unified(
            "AzureActiveDirectory",
            "UserLoggedIn",
            json!({"ResultStatus": "Success", "ExtendedProperties": properties}),
        )
    };
    let rule = json!({"Operation": "UserLoggedIn", "RequestType": "Login:login"});
    check("m365/audit", &rule, &[(signed_in("RequestType"), true), (signed_in("KeepMeSignedIn"), false)]);
}

fn activity(application: &str, events: &Value) -> Value {
    json!({"kind": "admin#reports#activity", "id": {"time": "2026-11-02T08:00:00.100Z", "uniqueQualifier": "-41",
        "applicationName": application, "customerId": "C00EXAMPLE"}, "ipAddress": "198.51.100.22", "events": events,
        "actor": {"callerType": "USER", "email": "lena.braun@example.com", "profileId": "100000000000000000003"}})
}

fn setting(pairs: &[(&str, &str)]) -> Value {
    let pairs: Vec<Value> = pairs.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!([{"type": "A", "name": "CHANGE_EXAMPLE", "parameters": [{"name": "OTHER", "value": "none"}]},
           {"type": "APPLICATION_SETTINGS", "name": "CHANGE_APPLICATION_SETTING", "parameters": pairs}])
}

#[test]
fn workspace_is_asked_by_the_names_of_cloud_logging() {
    let rule = json!({"eventService": "admin.googleapis.com", "eventName": "CHANGE_APPLICATION_SETTING",
        "setting_name|startswith": "Mail", "new_value": "false"});
    let meant = setting(&[("SETTING_NAME", "MailDelegation"), ("OLD_VALUE", "true"), ("NEW_VALUE", "false")]);
    let turned = setting(&[("SETTING_NAME", "MailDelegation"), ("OLD_VALUE", "false"), ("NEW_VALUE", "true")]);
    let other = setting(&[("SETTING_NAME", "Sites"), ("APPLICATION_NAME", "Mail"), ("NEW_VALUE", "false")]);
    let cases =
        [(activity("admin", &meant), true), (activity("admin", &turned), false), (activity("admin", &other), false)];
    check("gcp/google_workspace.admin", &rule, &cases);
    let logged = |events: &Value| {
        let events: Vec<Value> = events.as_array().unwrap().iter().map(|event| {
            json!({"eventName": event["name"], "eventType": event["type"], "parameter": event["parameters"]})
        }).collect();
        json!({"logName": "organizations/123/logs/cloudaudit.googleapis.com%2Factivity", "insertId": "e1",
            "timestamp": "2026-11-02T08:00:00.100Z", "resource": {"type": "audited_resource"},
            "protoPayload": {"@type": "type.googleapis.com/google.cloud.audit.AuditLog",
                "serviceName": "admin.googleapis.com", "methodName": "google.admin.AdminService.changeApplicationSetting",
                "authenticationInfo": {"principalEmail": "lena.braun@example.com"}, "metadata": {"event": events}}})
    };
    check("gcp/google_workspace.admin", &rule, &[(logged(&meant), true), (logged(&turned), false)]);
    let rule = json!({"protoPayload.serviceName": "login.googleapis.com", "protoPayload.metadata.event.eventName": "signed_out"});
    let signed_out = json!([{"type": "login", "name": "signed_out"}]);
    check("gcp/google_workspace.login", &rule, &[(activity("login", &signed_out), true)]);
}

#[test]
fn the_status_of_a_sign_in_is_its_error_code_in_every_shape() {
    let hub = |code: u32| {
        json!({"time": "2026-11-02T04:00:02Z", "category": "SignInLogs", "operationName": "Sign-in activity",
            "resultType": code.to_string(), "resultSignature": "None", "location": "IE",
            "properties": {"id": "d1", "createdDateTime": "2026-11-02T04:00:02Z", "appId": "a1", "userId": "u1",
                "status": {"errorCode": code}, "authenticationRequirement": "singleFactorAuthentication"}})
    };
    let graph = |code: u32| {
        json!({"id": "d2", "createdDateTime": "2026-11-02T04:00:02Z", "appId": "a1", "userId": "u1",
            "userPrincipalName": "maya.ito@example.com", "status": {"errorCode": code},
            "authenticationRequirement": "singleFactorAuthentication"})
    };
    let analytics = |code: u32| {
        json!({"TimeGenerated": "2026-11-02T04:00:02Z", "Category": "SignInLogs", "Type": "SigninLogs", "Id": "d3",
            "AppId": "a1", "UserId": "u1", "ResultType": code.to_string(), "Status": json!({"errorCode": code}).to_string(),
            "AuthenticationRequirement": "singleFactorAuthentication"})
    };
    let rule = json!({"Status": "Success", "AuthenticationRequirement": "singleFactorAuthentication"});
    for shape in [&hub as &dyn Fn(u32) -> Value, &graph, &analytics] {
        check("azure/signinlogs", &rule, &[(shape(0), true), (shape(53003), false)]);
    }
}

#[test]
fn a_detail_of_the_entra_audit_log_counts_by_its_key() {
    let audited = |key: &str| {
        json!({"id": "d4", "activityDateTime": "2026-11-02T04:00:02Z", "activityDisplayName": "Read a device secret",
            "category": "Device", "result": "success", "initiatedBy": {"user": {"id": "u1"}}, "targetResources": [],
            "additionalDetails": [{"key": "User-Agent", "value": "curl/8.5.0"}, {"key": key, "value": "read by device"}]})
    };
    let rule = json!({"additionalDetails.additionalInfo|contains": "by device"});
    check("azure/auditlogs", &rule, &[(audited("AdditionalInfo"), true), (audited("Reason"), false)]);
}

/// The names that a log source's dialect has.
fn names(source: &str) -> Vec<String> {
    let rows = Folder::new().run(&["rule", "fields", source]).ok().rows();
    let names = rows.iter().filter(|row| row["kind"] == "dialect name");
    names.map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_name_of_every_dialect_stands_somewhere() {
    let folder = Folder::new();
    let files = std::fs::read_dir(repository("rules/dialects")).unwrap();
    for file in files.map(|file| file.unwrap().path()) {
        let source = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let names: serde_json::Map<String, Value> = names(&source).into_iter().map(|name| (name, json!("*"))).collect();
        let id = source.replace('.', "-");
        let sigma = json!({"selection": names, "condition": "selection"});
        let rule = format!(
            "id: {id}\ntitle: All names\nseverity: low\nsource: {source}\ndescription: Every name at once\n\
             summary: \"{{action}}\"\nsigma: {sigma}\ngroup_by: [actor]\ntests: []\n"
        );
        folder.write(&format!("mine/{id}.yaml"), rule);
    }
    let rows = folder.run(&["rule", "lint", "mine"]).rows();
    assert!(rows.iter().any(|row| row["lint"] == "tests-missing"), "{rows:?}");
    let wrong: Vec<&Value> =
        rows.iter().filter(|row| row["lint"] == "rule-plan" || row["lint"] == "rule-read").collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_a_dialect_computes_is_listed() {
    let rows = Folder::new().run(&["rule", "fields", "google.workspace"]).ok().rows();
    let row = rows.iter().find(|row| row["name"] == "eventService").expect("listed");
    assert_eq!(
        (&row["kind"], &row["from"]),
        (&json!("dialect name"), &json!("id.applicationName || '.googleapis.com'"))
    );
}

#[test]
fn lint_names_what_is_wrong_with_a_rule_that_is_skipped() {
    let rule = "title: Theirs\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n  s:\n    \
                userName|expand: '%people%'\n    src_contry: x\n    sourceIPAddress|cidr|expand: '%networks%'\n  \
                condition: s\n";
    let folder = Folder::new();
    folder.write("mine/theirs.yml", rule);
    let ran = folder.run(&["rule", "lint", "mine"]).ends(1);
    let ran = ran.says(&["theirs.yml:5: rule skipped: placeholder `%people%`", "theirs.yml:7: rule skipped"]);
    let rows = ran.rows();
    let of = |line: u64| rows.iter().filter(|row| row["line"] == line).collect::<Vec<_>>();
    assert!(
        of(6).iter().any(|row| row["problem"].as_str().unwrap().starts_with("`src_contry` is neither")),
        "{rows:?}"
    );
    assert!(of(7).is_empty(), "{rows:?}");
}
