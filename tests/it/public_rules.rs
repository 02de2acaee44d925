//! Every public cloud rule loads as `--rules` loads it, or is listed here with the reason why it does not.
//!
//! The rules lie in `sigma` beside the public logs; without them the tests say so and pass. Nothing of them is copied.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use keytrail::cli::RuleSet;
use keytrail::pack::{Pack, plan};
use keytrail_detect::{Loaded, Rule};
use keytrail_model::FileError;

use crate::golden::skipped;
use crate::reference::data;
use crate::run::Folder;

const RULES: usize = 307;

/// Rules that name a field which no record can have: the rule, the field, and what is said to be near it.
const TYPOS: &[(&str, &str, &str)] = &[
    ("aws_delete_saml_provider.yml", "status", "the nearest is"),
    ("azure_app_end_user_consent.yml", "ConsentContext.IsAdminConsent", "the nearest is"),
];

/// Rules that want values of the reader, and the names of those. The two that are marked name a wrong field as well:
/// without values nobody gets as far as that.
const PLACEHOLDERS: &[(&str, &[&str])] = &[
    // Also `src_country`, which no log has.
    ("aws_cloudtrail_console_login_success_from_susp_locations.yml", &["Legitimate_Countries", "Legitimate_IP_Ranges"]),
    // Also `Initiatied.By`, misspelt.
    ("azure_ad_account_created_deleted_nonapproved_user.yml", &["ApprovedUserUpn"]),
    ("azure_ad_auth_to_important_apps_using_single_factor_auth.yml", &["Important_AppIds"]),
    ("azure_ad_authentications_from_countries_you_do_not_operate_out_of.yml", &["Known_Location"]),
    ("azure_ad_failed_auth_from_countries_you_do_not_operate_out_of.yml", &["KNOWN_LOCATION"]),
    ("azure_ad_guest_users_invited_to_tenant_by_non_approved_inviters.yml", &["Approved_Inviters"]),
    ("azure_privileged_account_sigin_expected_controls.yml", &["UnApprovedDevice", "UnApprovedIp", "UnLegitCountries"]),
    ("azure_users_authenticating_to_other_azure_ad_tenants.yml", &["HomeTenantID"]),
    ("okta_session_impersonation_granted.yml", &["legtimate_identifiers"]),
];

/// With values for the placeholders these two are refused as well.
const TYPOS_BEHIND: &[(&str, &str)] = &[
    ("aws_cloudtrail_console_login_success_from_susp_locations.yml", "src_country"),
    ("azure_ad_account_created_deleted_nonapproved_user.yml", "Initiatied.By"),
];

/// What became of the public rules.
pub(crate) struct Public {
    pub(crate) pack: Pack,
    pub(crate) rules: Vec<Rule>,
    pub(crate) refused: Vec<FileError>,
    pub(crate) skipped: Vec<FileError>,
}

impl Public {
    /// By way of `--rules`; `more` are further folders of the user.
    pub(crate) fn load(data: &Path, more: &[&Path]) -> Option<Self> {
        let folder = data.join("sigma");
        if !folder.is_dir() {
            skipped(&format!("no public Sigma rules at {}", folder.display()));
            return None;
        }
        let rules = std::iter::once(folder.as_path()).chain(more.iter().copied()).map(Path::to_owned).collect();
        let set = RuleSet { rules, no_builtin_rules: true, ..RuleSet::default() };
        let mut pack = Pack::with(&set).expect("the folders");
        pack.exceptions.clear();
        pack.overlays.clear();
        let Loaded { mut rules, errors: mut refused, skipped, .. } = pack.load().expect("dialects and placeholders");
        let (mappings, dialects) =
            (pack.mappings().expect("mappings"), pack.vocabulary().expect("a vocabulary").dialects);
        refused.extend(plan(rules.clone(), &mappings, &dialects).err().unwrap_or_default());
        rules.retain(|rule| refused.iter().all(|error| error.file != rule.file));
        Some(Self { pack, rules, refused, skipped })
    }
}

/// The last part of a file's name.
pub(crate) fn short(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

fn by_file(errors: &[FileError]) -> BTreeMap<&str, Vec<String>> {
    let mut files: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for error in errors {
        files.entry(short(&error.file)).or_default().push(error.to_string());
    }
    files
}

#[test]
fn every_public_rule_loads_or_is_listed_here() {
    let Some(public) = data().and_then(|data| Public::load(&data, &[])) else { return };
    let (refused, skipped) = (by_file(&public.refused), by_file(&public.skipped));
    let told = format!("refused: {refused:#?}\nskipped: {skipped:#?}");
    let listed: Vec<&str> = TYPOS.iter().map(|(file, ..)| *file).collect();
    assert_eq!(refused.keys().copied().collect::<Vec<_>>(), listed, "{told}");
    for (file, field, near) in TYPOS {
        let [said] = refused[file].as_slice() else { panic!("{file} is refused for one reason: {told}") };
        let message = said.split(": ").nth(1).unwrap_or_default();
        assert!(message.starts_with(&format!("`{field}` is neither an event column")), "{said}");
        assert!(said.contains(near) && said.contains(".yml:"), "{said}");
    }
    let listed: Vec<&str> = PLACEHOLDERS.iter().map(|(file, _)| *file).collect();
    assert_eq!(skipped.keys().copied().collect::<Vec<_>>(), listed, "{told}");
    for (file, names) in PLACEHOLDERS {
        let told: BTreeSet<&str> = skipped[file].iter().filter_map(|said| said.split('%').nth(1)).collect();
        assert_eq!(told, names.iter().copied().collect(), "{file}");
    }
    let loaded: BTreeSet<&str> = public.rules.iter().map(|rule| rule.file.as_str()).collect();
    assert_eq!((loaded.len(), refused.len() + skipped.len()), (296, 11), "{told}");
    assert_eq!(loaded.len() + refused.len() + skipped.len(), RULES);
}

#[test]
fn values_for_placeholders_load_the_rules_that_want_them() {
    let Some(data) = data() else { return };
    let folder = Folder::new();
    let names = PLACEHOLDERS.iter().flat_map(|(_, names)| names.iter());
    let values: String = names.collect::<BTreeSet<_>>().iter().map(|name| format!("{name}: [192.0.2.1]\n")).collect();
    folder.write("mine/placeholders/p.yaml", values);
    let Some(public) = Public::load(&data, &[&folder.path("mine")]) else { return };
    assert!(public.skipped.is_empty(), "{:?}", public.skipped);
    let refused = by_file(&public.refused);
    let listed = TYPOS.iter().map(|(file, field, _)| (*file, *field)).chain(TYPOS_BEHIND.iter().copied());
    let listed: BTreeMap<&str, &str> = listed.collect();
    assert_eq!(refused.keys().collect::<Vec<_>>(), listed.keys().collect::<Vec<_>>(), "{refused:#?}");
    for (file, field) in listed {
        assert!(
            refused[file].iter().any(|said| said.contains(&format!("`{field}` is neither"))),
            "{:?}",
            refused[file]
        );
    }
}

#[test]
fn lint_refuses_the_same_rules_and_no_others() {
    let Some(data) = data().filter(|data| data.join("sigma").is_dir()) else { return };
    let folder = data.join("sigma").canonicalize().expect("a path");
    let ran = Folder::new().run(&["rule", "lint", "-o", "ndjson", &folder.display().to_string()]);
    let rows = ran.rows();
    let files: BTreeSet<&str> = rows.iter().map(|row| short(row["file"].as_str().expect("a file"))).collect();
    let typos = TYPOS.iter().map(|(file, ..)| *file).chain(TYPOS_BEHIND.iter().map(|(file, _)| *file));
    assert_eq!(files, typos.collect(), "{:#?}", rows.iter().take(20).collect::<Vec<_>>());
}
