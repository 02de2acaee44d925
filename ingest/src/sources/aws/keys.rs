//! The public keys that CloudTrail's digests are verified with: asked of CloudTrail, or given as files.

use std::path::{Path, PathBuf};

use aws_sdk_cloudtrail::Client;
use aws_sdk_cloudtrail::primitives::DateTime;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keytrail_model::Micros;

use super::access::{Access, fault};
use super::now;
use crate::sources::SourceError;

/// Pages of keys; a region has a few keys a year.
const PAGES: usize = 100;

/// `rsaEncryption` with no parameters, as every public key that is not bare begins.
const RSA: &[u8] = &[0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01, 0x05, 0x00];

pub(super) struct Keys {
    given: Vec<PublicKey>,
    client: Client,
}

#[derive(Clone, Debug)]
pub(super) struct PublicKey {
    /// As a digest names it; a key that was given as a file may be any.
    pub(super) fingerprint: Option<String>,
    /// PKCS#1.
    pub(super) der: Vec<u8>,
}

impl Keys {
    pub(super) fn open(source: &str, files: &[PathBuf], access: &Access) -> Result<Self, SourceError> {
        let given = files.iter().map(|file| read(file).map_err(|fault| SourceError::config(source, fault)));
        Ok(Self { given: given.collect::<Result<_, _>>()?, client: Client::new(&access.config) })
    }

    /// Those that signed within this time.
    pub(super) async fn within(&self, since: Micros, until: Micros) -> Result<Vec<PublicKey>, SourceError> {
        if !self.given.is_empty() {
            return Ok(self.given.clone());
        }
        let (mut keys, mut token) = (Vec::new(), None);
        for _ in 0..PAGES {
            let ask = self.client.list_public_keys().start_time(seconds(since)).end_time(seconds(until));
            let said = ask.set_next_token(token).send().await;
            let said = said.map_err(|error| fault("cloudtrail:ListPublicKeys", &error))?;
            keys.extend(said.public_key_list.unwrap_or_default().into_iter().filter_map(|key| {
                let der = bare(key.value?.into_inner());
                Some(PublicKey { fingerprint: key.fingerprint, der })
            }));
            token = said.next_token;
            if token.is_none() {
                break;
            }
        }
        Ok(keys)
    }

    /// Whether CloudTrail may be asked; nothing where it need not be.
    pub(super) async fn asked(&self) -> Option<Result<(), SourceError>> {
        if !self.given.is_empty() {
            return None;
        }
        Some(self.within(Micros(now().0 - 3600 * Micros::SECOND), now()).await.map(drop))
    }
}

pub(super) fn seconds(at: Micros) -> DateTime {
    DateTime::from_secs(at.0.div_euclid(Micros::SECOND))
}

/// PEM or base64, of a bare RSA key or of one with its algorithm.
fn read(file: &Path) -> Result<PublicKey, String> {
    let named = |why: &str| format!("`digest_keys`: {}: {why}", file.display());
    let text = std::fs::read_to_string(file).map_err(|fault| named(&fault.to_string()))?;
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    let packed: String = lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    let der = STANDARD.decode(packed).ok().filter(|der| der.first() == Some(&0x30));
    let der = der
        .ok_or_else(|| named("no RSA public key; write it as PEM, or as `aws cloudtrail list-public-keys` gives it"))?;
    Ok(PublicKey { fingerprint: None, der: bare(der) })
}

/// Without the algorithm in front: what follows its name is a bit string with the key in it.
fn bare(der: Vec<u8>) -> Vec<u8> {
    let Some(at) = memchr::memmem::find(der.get(..64).unwrap_or(&der), RSA) else { return der };
    let key = der.get(at + RSA.len()..).and_then(|rest| {
        // Tag, length in one to three bytes, and how many bits are unused: none.
        let length = match rest {
            [0x03, 0x82, ..] => 4,
            [0x03, 0x81, ..] => 3,
            [0x03, ..] => 2,
            _ => return None,
        };
        rest.get(length + 1..).map(<[u8]>::to_vec)
    });
    key.unwrap_or(der)
}
