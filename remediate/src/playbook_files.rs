//! The playbooks that ship: they load, and each of their filters and steps can do something. Tests only.

use keytrail_model::{Mode, Target};

use crate::playbook::Playbooks;
use crate::remediators::contract::targets;

pub fn shipped() -> Playbooks {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../rules/playbooks");
    let mut files: Vec<(String, String)> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).expect("a file")))
        .collect();
    files.sort();
    Playbooks::load(&files).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

#[test]
fn all_load_and_stay_in_shadow_mode() {
    let playbooks = shipped();
    assert!(playbooks.iter().count() >= 12);
    for playbook in playbooks.iter() {
        assert_eq!(playbook.mode, Mode::Shadow, "{}", playbook.id);
        assert!(playbook.description.ends_with('.') && !playbook.title.ends_with('.'), "{}", playbook.id);
    }
}

#[test]
fn a_step_is_for_kinds_that_its_playbook_is_for() {
    for playbook in shipped().iter() {
        let kinds = &playbook.applies_to.kinds;
        for step in &playbook.steps {
            let foreign = step.when.kinds.iter().find(|kind| !kinds.is_empty() && !kinds.contains(kind));
            assert_eq!(foreign, None, "{} {}", playbook.id, step.remediator);
        }
    }
}

#[test]
fn every_containing_remediator_stands_in_a_playbook() {
    let playbooks = shipped();
    for name in crate::remediators::names() {
        let used = playbooks.iter().flat_map(|playbook| &playbook.steps).any(|step| step.remediator == name);
        assert!(used, "{name}");
    }
}

#[test]
fn typical_credentials_find_their_playbook() {
    let playbooks = shipped();
    let chosen = |kind: &str, lifetime: &str, actor: &str| {
        let text = |text: &str| Some(text.to_owned());
        let target =
            Target { kind: text(kind), lifetime: text(lifetime), actor_kind: text(actor), ..targets()[0].clone() };
        playbooks.for_target(&target).map_or("notify-owner", |playbook| playbook.id.as_str()).to_owned()
    };
    for (kind, lifetime, actor, playbook) in [
        ("aws_access_key", "static", "user", "contain-aws-access-key"),
        ("aws_access_key", "static", "root", "contain-root-key"),
        ("aws_access_key", "unknown", "role", "notify-owner"),
        ("aws_session_key", "derived_from_static", "user", "contain-aws-derived-session"),
        ("aws_session_key", "ephemeral", "role", "contain-aws-role-session"),
        ("aws_session_key", "ephemeral", "user", "notify-owner"),
        ("aws_bedrock_api_key", "static", "user", "contain-bedrock-api-key"),
        ("gcp_service_account_key", "static", "service_account", "contain-gcp-service-account-key"),
        ("azure_client_secret", "static", "service_principal", "contain-entra-application"),
        ("azure_managed_identity", "ephemeral", "managed_identity", "notify-owner"),
        ("github_pat_classic", "static", "user", "contain-github-pat"),
        ("github_deploy_key", "static", "deploy_key", "remove-deploy-key"),
        ("github_app_installation_token", "ephemeral", "app", "contain-github-app"),
        ("something_new", "unknown", "user", "notify-owner"),
    ] {
        assert_eq!(chosen(kind, lifetime, actor), playbook, "{kind} {lifetime} {actor}");
    }
}
