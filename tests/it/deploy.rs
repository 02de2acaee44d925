//! What `deploy/` ships: its files read, its dashboards and alerts name metrics that exist, its settings stay tight.
//!
//! Tools that check more (terraform, helm, promtool, systemd-analyze) are asked where they are installed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use walkdir::WalkDir;

use crate::golden::{root, skipped};
use crate::run::Folder;

/// The top-level keys of a configuration of the service.
const CONFIG_KEYS: [&str; 10] =
    ["out", "store", "store_password_file", "rules", "inventory", "tickets", "lake", "limits", "sources", "run"];

/// The chart's values for tests: together they take every branch of its templates.
const CI: [&str; 3] = ["ci/all-values.yaml", "ci/poll-values.yaml", "ci/sqlite-values.yaml"];

/// What a unit must say at least; a value is a prefix.
const HARDENED: [&str; 22] = [
    "DynamicUser=yes",
    "NoNewPrivileges=yes",
    "CapabilityBoundingSet=",
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "PrivateDevices=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "ProtectControlGroups=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces=yes",
    "MemoryDenyWriteExecute=yes",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged",
    "MemoryMax=",
    "StateDirectory=keytrail",
    "LoadCredential=",
    "UMask=0077",
    "KillSignal=SIGTERM",
    "TimeoutStopSec=",
    "ExecReload=/bin/kill -HUP $MAINPID",
];

#[test]
fn every_yaml_and_json_file_of_deploy_reads() {
    let files = files(&["yaml", "yml", "json"]);
    assert!(files.len() >= 12, "{files:?}");
    for file in files {
        let value = value(&file);
        assert!(value.is_object(), "{}: not a mapping", short(&file));
    }
}

#[test]
fn dashboard_and_alerts_name_metrics_that_exist() {
    let listed = listed();
    let asked: Vec<(String, String)> = dashboard().into_iter().chain(alerts()).collect();
    assert!(asked.len() >= 35, "{} queries", asked.len());
    for (name, query) in &asked {
        let unknown: Vec<String> = metrics(query).into_iter().filter(|metric| !known(&listed, metric)).collect();
        assert_eq!(unknown, Vec::<String>::new(), "{name}: {query}: not in deploy/metrics.txt");
        assert!(!metrics(query).is_empty(), "{name}: {query}: no metric");
    }
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let shown: BTreeSet<String> = dashboard().iter().flat_map(|(_, query)| metrics(query)).collect();
    let shown: BTreeSet<&str> = shown.iter().map(|metric| base(metric)).collect();
    let missing: Vec<String> = listed().into_iter().filter(|metric| !shown.contains(base(metric))).collect();
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_service_gives_the_metrics_that_are_listed() {
    let code = WalkDir::new(root().join("keytrail/src/service")).into_iter().flatten();
    let code = code.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "rs"));
    let mut given = BTreeSet::new();
    for entry in code {
        let text = read(entry.path());
        let named = text.split('"').filter(|part| part.starts_with("keytrail_") || part.starts_with("process_"));
        given.extend(named.map(str::to_owned));
    }
    assert_eq!(given, listed());
}

#[test]
fn metrics_of_a_query_are_found() {
    let query = "sum by (le) (rate(keytrail_pipeline_stage_duration_seconds_bucket{what=~\"up{\"}[5m])) > on (a) up{b=\"c\"} / process_x";
    let found: Vec<String> = metrics(query).into_iter().collect();
    assert_eq!(found, ["keytrail_pipeline_stage_duration_seconds_bucket", "process_x", "up"]);
    assert_eq!(base("keytrail_pipeline_stage_duration_seconds_bucket"), "keytrail_pipeline_stage_duration_seconds");
}

#[test]
fn every_alert_says_what_to_do() {
    let mut names = BTreeSet::new();
    for rule in alert_rules() {
        let name = rule["alert"].as_str().expect("a name").to_owned();
        for key in ["summary", "runbook"] {
            let text = rule["annotations"][key].as_str().unwrap_or_default();
            assert!(text.len() > 20, "{name}: {key}");
        }
        assert!(rule["for"].is_string() && rule["labels"]["severity"].is_string(), "{name}");
        names.insert(name);
    }
    for name in [
        "SourceStalled",
        "SourceGaps",
        "InboxGrowing",
        "CheckpointOld",
        "StoreDown",
        "RejectsRising",
        "RuleFailing",
        "TicketsUndelivered",
    ] {
        assert!(names.contains(name), "{name} is missing");
    }
}

#[test]
fn configurations_have_known_keys_only() {
    for Configuration { name, config, .. } in configurations() {
        let keys = config.as_object().unwrap_or_else(|| panic!("{name}")).keys();
        let unknown: Vec<&String> = keys.filter(|key| !CONFIG_KEYS.contains(&key.as_str())).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
    }
    let schema = value(&deploy("helm/keytrail/values.schema.json"));
    let keys = schema["properties"]["config"]["properties"].as_object().expect("the configuration's schema").keys();
    assert_eq!(keys.map(String::as_str).collect::<BTreeSet<_>>(), CONFIG_KEYS.into_iter().collect());
}

#[test]
fn the_binary_accepts_every_configuration() {
    for Configuration { name, config, files } in configurations() {
        let folder = Folder::new();
        for (file, text) in files {
            folder.write(&file, text);
        }
        // What is mounted there lies beside it here. JSON is YAML.
        folder.write("keytrail.yaml", config.to_string().replace("/etc/keytrail/", ""));
        let ran = folder.run(&["-c", "keytrail.yaml", "config", "validate"]);
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
    }
}

/// What can be read here, which is what others push, is opened too: address, spool and token.
#[test]
fn pushed_records_would_be_taken_in() {
    for Configuration { name, config, .. } in configurations() {
        let Some(push) = config["sources"].get("push") else { continue };
        let folder = Folder::new();
        let token = push["http"]["token_file"].as_str().and_then(|path| path.rsplit('/').next()).expect("a token");
        folder.write(token, "made up").write("listen", "made up");
        let push = push.to_string().replace("/var/lib/keytrail/", "").replace("/run/secrets/keytrail/", "");
        let push: Value = serde_json::from_str(&push.replace("/run/secrets/", "")).expect("a source");
        let run = serde_json::json!({"listen": config["run"]["listen"], "listen_token_file": "listen"});
        let alone = serde_json::json!({"out": "out", "sources": {"push": push}, "run": run});
        folder.write("keytrail.yaml", alone.to_string());
        let ran = folder.run(&["run", "--check", "-c", "keytrail.yaml"]);
        assert_eq!(ran.code, 0, "{name}: {}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn the_schema_of_the_chart_names_each_value() {
    let schema = value(&deploy("helm/keytrail/values.schema.json"));
    let named: BTreeSet<&String> = schema["properties"].as_object().expect("properties").keys().collect();
    let values = value(&deploy("helm/keytrail/values.yaml"));
    let missing: Vec<&String> = values.as_object().expect("values").keys().filter(|key| !named.contains(key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn images_are_named_by_version() {
    let mut images: Vec<String> = Vec::new();
    let compose = value(&deploy("compose/compose.yaml"));
    for (name, service) in compose["services"].as_object().expect("services") {
        images.push(service["image"].as_str().unwrap_or_else(|| panic!("{name}: no image")).to_owned());
    }
    let container = read(&deploy("container/Containerfile"));
    let given = container.lines().filter_map(|line| line.strip_prefix("ARG ")?.split_once('='));
    images.extend(given.map(|(_, image)| image.to_owned()));
    assert!(images.len() >= 10, "{images:?}");
    for image in images {
        let tag = image.rsplit('/').next().and_then(|last| last.split_once(':')).map_or("", |(_, tag)| tag);
        assert!(!tag.is_empty() && tag != "latest", "`{image}` has no version");
    }
    for file in texts() {
        assert!(!read(&file).contains(":latest"), "{}: `latest` is no version", short(&file));
    }
}

#[test]
fn no_secret_stands_in_a_file() {
    for file in texts() {
        for (number, line) in read(&file).lines().enumerate() {
            let fault = secret(line);
            assert!(fault.is_none(), "{}:{}: {}", short(&file), number + 1, fault.unwrap_or_default());
        }
    }
}

#[test]
fn secrets_are_told_from_their_names() {
    for line in
        ["password: hunter2", "  api_token = \"abc\"", "POSTGRES_PASSWORD: x", "postgres://a:b@c/d", "- PASSWORD=x"]
    {
        assert!(secret(line).is_some(), "{line}");
    }
    for line in [
        "store_password_file: /run/secrets/store_password",
        "POSTGRES_PASSWORD_FILE: /run/secrets/x",
        "GF_SECURITY_ADMIN_PASSWORD__FILE: /run/secrets/x",
        "store_password: {file: ./secrets/store_password}",
        "# the password: see below",
        "store: postgres://keytrail@db/keytrail",
        "secrets: [store_password]",
        "existingSecret: keytrail",
        "automountServiceAccountToken: false",
    ] {
        assert_eq!(secret(line), None, "{line}");
    }
}

#[test]
fn the_unit_is_hardened() {
    let unit = read(&deploy("systemd/keytrail.service"));
    let lines: Vec<&str> = unit.lines().collect();
    for wanted in HARDENED {
        assert!(lines.iter().any(|line| line.starts_with(wanted)), "the unit lacks `{wanted}`");
    }
    assert!(!unit.contains("Environment="), "secrets come as credentials, the rest stands in the configuration");
}

#[test]
fn pods_and_services_are_hardened() {
    let chart = read(&deploy("helm/keytrail/templates/deployment.yaml"));
    for wanted in [
        "runAsNonRoot: true",
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
        "drop: [ALL]",
        "seccompProfile: {type: RuntimeDefault}",
        "automountServiceAccountToken: false",
        "path: /healthz",
        "path: /readyz",
    ] {
        assert!(chart.contains(wanted), "the chart lacks `{wanted}`");
    }
    let compose = value(&deploy("compose/compose.yaml"));
    let service = &compose["services"]["keytrail"];
    assert_eq!(service["read_only"], true);
    assert_eq!(service["cap_drop"][0], "ALL");
    for (name, service) in compose["services"].as_object().expect("services") {
        for port in service["ports"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: port {port} is open to others");
        }
    }
}

#[test]
fn the_container_copies_what_the_build_needs() {
    let container = read(&deploy("container/Containerfile"));
    let ignored = read(&deploy("container/.containerignore"));
    let manifest = read(&root().join("Cargo.toml"));
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = [")).expect("members");
    let members = members.split('"').skip(1).step_by(2);
    for folder in members.chain(["rules", "sample-events"]) {
        assert!(container.contains(&format!("COPY {folder} {folder}\n")), "the Containerfile lacks {folder}");
        assert!(ignored.contains(&format!("!{folder}\n")), ".containerignore lacks {folder}");
    }
    assert!(container.contains("USER 65532:65532"));
}

#[test]
fn terraform_is_formatted() {
    let folder = deploy("terraform");
    asked("terraform", &["fmt", "-check", "-recursive", "-diff"], &folder);
    for module in ["aws", "aws/act", "azure", "gcp", "github", "modules/log-bucket"] {
        for file in ["main.tf", "variables.tf", "outputs.tf", "versions.tf"] {
            assert!(folder.join(module).join(file).is_file(), "{module}/{file}");
        }
    }
}

#[test]
fn the_chart_lints() {
    let chart = deploy("helm/keytrail");
    asked("helm", &["lint", "--strict", "."], &chart);
    for values in CI {
        asked("helm", &["lint", "--strict", ".", "-f", values], &chart);
        asked("helm", &["template", "k", ".", "--kube-version", "1.33.0", "-f", values], &chart);
    }
}

#[test]
fn the_chart_refuses_what_would_not_work() {
    let second = "config.sources.other.http.listen=0.0.0.0:8088,config.sources.other.http.token_file=/x,\
                  config.sources.other.http.spool=/var/lib/keytrail/other";
    for (set, said) in [
        (second, "has one port for them"),
        ("config.sources.push=null", "there is nothing to read"),
        ("ports.push=8089", "but ports.push is 8089"),
        ("ports.metrics=9465", "but ports.metrics is 9465"),
        ("config.sources.push.http.listen=127.0.0.1:8088", "from outside the pod"),
        ("config.sources.push.http.spool=/spool", "only /var/lib/keytrail can be written"),
        ("config.sources.push.http.token_file=null", "open to others"),
        ("config.sources.other.http.listen=0.0.0.0:8088", "spool"),
        ("persistence.existingClaim=state", "would share the spool"),
        ("config.store=/var/lib/keytrail/keytrail.db", "is no PostgreSQL address"),
    ] {
        let arguments = ["template", "k", ".", "--kube-version", "1.33.0", "--set", set];
        let out = Command::new("helm").args(arguments).current_dir(deploy("helm/keytrail")).output();
        let Ok(out) = out else { return skipped("helm is not installed") };
        let error = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && error.contains(said), "{set}: {error}");
    }
}

#[test]
fn alerts_fire_on_what_they_are_for() {
    asked("promtool", &["check", "rules", "deploy/prometheus/rules.yaml"], &root());
    asked("promtool", &["check", "config", "--syntax-only", "deploy/prometheus/prometheus.yml"], &root());
    asked("promtool", &["test", "rules", "tests/deploy/rules-test.yaml"], &root());
}

/// promtool reads queries in rules only, so each becomes one.
#[test]
fn queries_of_the_dashboard_parse() {
    let rules: Vec<Value> = dashboard()
        .into_iter()
        .enumerate()
        .map(|(number, (_, query))| serde_json::json!({"record": format!("q{number}"), "expr": filled(&query)}))
        .collect();
    let file = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    let folder = tempfile::tempdir().expect("a folder");
    // JSON is YAML.
    std::fs::write(folder.path().join("rules.yaml"), file.to_string()).expect("a file");
    asked("promtool", &["check", "rules", "rules.yaml"], folder.path());
}

/// Runs a tool that may not be there; where it is, it must be content.
fn asked(tool: &str, arguments: &[&str], folder: &Path) {
    let out = match Command::new(tool).args(arguments).current_dir(folder).output() {
        Ok(out) => out,
        Err(error) => return skipped(&format!("{tool} {}: {error}", arguments.join(" "))),
    };
    let said = [out.stdout, out.stderr].concat();
    assert!(out.status.success(), "{tool} {}: {}", arguments.join(" "), String::from_utf8_lossy(&said));
}

/// Title and query of everything that the dashboard asks.
fn dashboard() -> Vec<(String, String)> {
    let dashboard = value(&deploy("grafana/keytrail.json"));
    assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 39));
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            found.push((title.to_owned(), target["expr"].as_str().expect("a query").to_owned()));
        }
    }
    found
}

/// A configuration of the service, and the files that stand beside it.
struct Configuration {
    name: String,
    config: Value,
    files: BTreeMap<String, String>,
}

/// Every one of `deploy/`: Compose's, the chart's, and the chart's with each of its values for tests.
fn configurations() -> Vec<Configuration> {
    let values = value(&deploy("helm/keytrail/values.yaml"));
    let mut found = vec![compose(), chart("values.yaml", &values)];
    for name in CI {
        let mut values = values.clone();
        merge(&mut values, value(&deploy("helm/keytrail").join(name)));
        found.push(chart(name, &values));
    }
    found
}

fn compose() -> Configuration {
    let mounts = value(&deploy("compose/compose.yaml"))["services"]["keytrail"]["volumes"].clone();
    let mounts = mounts.as_array().expect("volumes").iter().filter_map(Value::as_str);
    let mounts = mounts.filter_map(|mount| mount.split_once(":/etc/keytrail/"));
    let read = |(from, to): (&str, &str)| (to.trim_end_matches(":ro").to_owned(), read(&deploy("compose").join(from)));
    let mut files: BTreeMap<String, String> = mounts.map(read).collect();
    let text = files.remove("keytrail.yaml").expect("the configuration is mounted");
    let config = serde_saphyr::from_str(&text).expect("the configuration reads");
    Configuration { name: "compose".to_owned(), config, files }
}

fn chart(name: &str, values: &Value) -> Configuration {
    let text = |(name, text): (&String, &Value)| (name.clone(), text.as_str().expect("a text").to_owned());
    let files = values["files"].as_object().expect("files").iter().map(text).collect();
    Configuration { name: format!("chart, {name}"), config: values["config"].clone(), files }
}

/// As Helm does it: mappings are merged, nothing takes a key away, and all else is put in place.
fn merge(values: &mut Value, over: Value) {
    match (values, over) {
        (Value::Object(values), Value::Object(over)) => {
            for (key, over) in over {
                match over {
                    Value::Null => drop(values.remove(&key)),
                    over => merge(values.entry(key).or_insert(Value::Null), over),
                }
            }
        }
        (values, over) => *values = over,
    }
}

fn alert_rules() -> Vec<Value> {
    let rules = value(&deploy("prometheus/rules.yaml"));
    let groups = rules["groups"].as_array().expect("groups").iter();
    groups.flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect()
}

fn alerts() -> Vec<(String, String)> {
    let text = |rule: &Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
    alert_rules().iter().map(|rule| (text(rule, "alert"), text(rule, "expr"))).collect()
}

/// A query as Grafana would send it.
fn filled(query: &str) -> String {
    let variables = [("$__rate_interval", "1m"), ("$__range", "1h"), ("$source", ".+"), ("$job", ".+")];
    variables.iter().fold(query.to_owned(), |query, (name, value)| query.replace(name, value))
}

/// The service's metrics; its code is tested against the same list.
fn listed() -> BTreeSet<String> {
    let text = read(&deploy("metrics.txt"));
    let names: Vec<&str> = text.lines().collect();
    let unique: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(unique.len(), names.len(), "a name stands twice in deploy/metrics.txt");
    assert!(unique.iter().all(|name| name.starts_with("keytrail_") || name.starts_with("process_")), "{unique:?}");
    unique
}

/// A histogram is listed by its own name.
fn base(metric: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|ending| metric.strip_suffix(ending)).unwrap_or(metric)
}

fn known(listed: &BTreeSet<String>, metric: &str) -> bool {
    listed.contains(metric) || listed.contains(base(metric))
}

/// Names of metrics: whatever a selector follows, and whatever begins as the service's own do. Strings are left out.
fn metrics(query: &str) -> BTreeSet<String> {
    let outside: String = query.split('"').step_by(2).collect::<Vec<_>>().join("\"");
    let mut found = BTreeSet::new();
    let mut word = String::new();
    for letter in outside.chars().chain([' ']) {
        if letter.is_ascii_alphanumeric() || letter == '_' || letter == ':' {
            word.push(letter);
            continue;
        }
        let named = word.starts_with("keytrail_") || word.starts_with("process_");
        let selected = ['{', '['].contains(&letter) && !word.is_empty();
        if named || selected {
            found.insert(word.clone());
        }
        word.clear();
    }
    found
}

/// Why a line seems to hold a secret.
fn secret(line: &str) -> Option<String> {
    let line = line.trim().trim_start_matches("- ");
    if line.starts_with('#') {
        return None;
    }
    let with_password = line.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', ' ', '"']).next().unwrap_or_default();
        authority.split_once('@').is_some_and(|(user, _)| user.contains(':'))
    });
    let (name, said) = line.split_once([':', '='])?;
    let name = name.trim().trim_matches('"').to_lowercase();
    let said = said.trim().trim_matches(['"', ',']);
    let secret_name =
        ["password", "passwd", "token", "api_key", "apikey", "secret_key", "client_secret", "private_key"]
            .iter()
            .any(|ending| name.ends_with(ending));
    // A mapping or a variable says where the secret is; nothing and a switch are none.
    let plain = !["", "true", "false", "null"].contains(&said) && !said.starts_with(['{', '[', '$', '|']);
    let named = secret_name && plain;
    (named || with_password || line.contains("PRIVATE KEY")).then(|| format!("a secret in the file: `{name}`"))
}

/// A file as a value; templates of the chart are no YAML before they are filled in.
fn value(file: &Path) -> Value {
    let text = read(file);
    if file.extension().is_some_and(|ending| ending == "json") {
        return serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", short(file)));
    }
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", short(file)))
}

fn files(endings: &[&str]) -> Vec<PathBuf> {
    let ends = |file: &PathBuf| file.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known));
    let template = |file: &PathBuf| file.components().any(|part| part.as_os_str() == "templates");
    texts().into_iter().filter(|file| ends(file) && !template(file)).collect()
}

/// Every file of `deploy/` but the secrets that `make-secrets` wrote on this machine, and what terraform left.
fn texts() -> Vec<PathBuf> {
    let left = |name: &str| ["secrets", ".terraform"].contains(&name) || name.contains(".tfstate");
    let walk = WalkDir::new(deploy("")).sort_by_file_name().into_iter();
    let walk = walk.filter_entry(move |entry| !entry.file_name().to_str().is_some_and(left));
    walk.flatten().filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}

fn deploy(name: &str) -> PathBuf {
    root().join("deploy").join(name)
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn short(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}
