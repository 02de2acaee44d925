//! Which settings of object storage are keys that do not expire. Looks at names alone, and gives no value away.

/// By kind of URL, variables that hold a key which does not expire, and what makes each harmless.
const STATIC_KEYS: &[(&str, &str, Option<&str>)] = &[
    ("s3", "AWS_SECRET_ACCESS_KEY", Some("AWS_SESSION_TOKEN")),
    ("az", "AZURE_STORAGE_ACCOUNT_KEY", None),
    ("az", "AZURE_STORAGE_ACCESS_KEY", None),
    ("az", "AZURE_STORAGE_MASTER_KEY", None),
    ("az", "AZURE_STORAGE_CLIENT_SECRET", None),
    ("az", "AZURE_CLIENT_SECRET", None),
    ("gs", "GOOGLE_SERVICE_ACCOUNT", None),
    ("gs", "GOOGLE_SERVICE_ACCOUNT_PATH", None),
    ("gs", "GOOGLE_SERVICE_ACCOUNT_KEY", None),
    ("gs", "GOOGLE_APPLICATION_CREDENTIALS", None),
];

/// The first setting that holds a lasting key to storage at this kind of URL. Names count in any case, as the clients that
/// read them take them.
#[must_use]
pub fn static_key_of<'a>(
    scheme: &str,
    settings: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Option<&'static str> {
    let has = |name: &str| settings.clone().any(|(known, value)| known.eq_ignore_ascii_case(name) && !value.is_empty());
    let mut of_scheme = STATIC_KEYS.iter().filter(|(of, ..)| *of == scheme);
    of_scheme.find(|(_, name, excused)| has(name) && !excused.is_some_and(has)).map(|(_, name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::static_key_of;

    #[test]
    fn a_lasting_key_is_named_and_one_that_expires_is_not() {
        let settings = [("aws_secret_access_key", "x"), ("GOOGLE_SERVICE_ACCOUNT", "")];
        assert_eq!(static_key_of("s3", settings.into_iter()), Some("AWS_SECRET_ACCESS_KEY"));
        assert_eq!(static_key_of("gs", settings.into_iter()), None);
        let session = settings.into_iter().chain([("AWS_SESSION_TOKEN", "y")]);
        assert_eq!(static_key_of("s3", session), None);
    }
}
