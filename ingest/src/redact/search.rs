//! Finds every needle of the table in one pass that looks at every second place of the text.
//!
//! Three bytes, folded in case, are looked up in a bitmap that fits the first-level cache. A needle is entered under
//! two of its threes, side by side, so whichever parity it stands at, one look-up meets it. An Aho-Corasick automaton
//! over the same table took longer: it waits for each byte's state, these look-ups wait for nothing.

use std::ops::Range;

const BITS: u32 = 17;
const BUCKET_BITS: u32 = 10;

/// What may follow a needle of three bytes, so that it has four.
const FOLLOWERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-_.~+/=%!$&'()*,;:@[]\\\"";

/// What every log is full of. Needles are entered under threes that are rare here.
const ORDINARY: &[u8] = br#"
"useridentity":{"type":"assumedrole","principalid":"arn":"arn:aws:sts::assumed-role/","accountid":"accesskeyid":
"sessioncontext":{"sessionissuer":{"username":"attributes":{"mfaauthenticated":"false","creationdate":"eventtime":
"eventsource":"eventname":"awsregion":"sourceipaddress":"useragent":"https://console errorcode errormessage is not
authorized to perform requestparameters responseelements additionaleventdata requestid eventid readonly resources
eventtype apicall managementevent recipientaccountid eventcategory tlsdetails ciphersuite clientprovidedhostheader
amazonaws.com signatureversion authenticationmethod correlationid operationname resultsignature subscriptions
resourcegroups providers microsoft authorizationinfo permission granted protopayload methodname servicename
authenticationinfo principalemail useremail logname insertid servicedata policy actor_id created_at document_id user_id
org_id repository properties serviceprincipal appdisplayname identityprovider secretid password sharedeventid us-east-1
eu-west-1 ipaddress aws-sdk-go/1.44 boto3 botocore python linux terraform hashicorp go1.19 tls_aes s3.amazonaws.com
ecdhe-rsa-aes128-gcm-sha256 https://www. last master region web internal workspaces api"#;

pub(super) struct Search {
    needles: Vec<&'static [u8]>,
    bitmap: Box<[u64; 1 << (BITS - 6)]>,
    /// By hash: the bitmap's bucket → its entries.
    starts: Vec<u16>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    hash: u32,
    gram: u32,
    needle: u16,
    offset: u8,
}

impl Search {
    /// Needles have at least three bytes.
    pub(super) fn new(needles: impl Iterator<Item = &'static str>) -> Self {
        let needles: Vec<_> = needles.map(str::as_bytes).collect();
        let mut entries: Vec<Entry> = (0u16..).zip(&needles).flat_map(|(id, needle)| entries(id, needle)).collect();
        entries.sort_unstable();
        entries.dedup();
        let mut bitmap = Box::new([0; 1 << (BITS - 6)]);
        for entry in &entries {
            if let Some(word) = bitmap.get_mut(entry.hash as usize >> 6) {
                *word |= 1 << (entry.hash & 63);
            }
        }
        let bucket = |at: u32| entries.partition_point(|entry| entry.hash >> (BITS - BUCKET_BITS) < at);
        let starts = (0..=1 << BUCKET_BITS).map(|at| u16::try_from(bucket(at)).unwrap_or(u16::MAX)).collect();
        Self { needles, bitmap, starts, entries }
    }

    /// Which needles stand where, nearly in the order of the text.
    pub(super) fn find(&self, bytes: &[u8]) -> Vec<(usize, Range<usize>)> {
        let mut hits = Vec::new();
        let mut at = 0;
        while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            let eight = u64::from_le_bytes(*eight);
            for step in [0, 2, 4] {
                self.look(bytes, at + step, gram(low_half(eight >> (8 * step))), &mut hits);
            }
            at += 6;
        }
        while let Some([a, b, c]) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
            self.look(bytes, at, gram(u32::from_le_bytes([*a, *b, *c, 0])), &mut hits);
            at += 2;
        }
        hits
    }

    #[inline]
    fn look(&self, bytes: &[u8], at: usize, gram: u32, hits: &mut Vec<(usize, Range<usize>)>) {
        let hash = hash(gram);
        let word = self.bitmap.get(hash as usize >> 6).copied().unwrap_or_default();
        if word >> (hash & 63) & 1 == 1 {
            self.compare(bytes, at, gram, hash, hits);
        }
    }

    #[cold]
    fn compare(&self, bytes: &[u8], at: usize, gram: u32, hash: u32, hits: &mut Vec<(usize, Range<usize>)>) {
        let bucket = (hash >> (BITS - BUCKET_BITS)) as usize;
        let Some(&[first, end]) = self.starts.get(bucket..bucket + 2) else { return };
        let entries = self.entries.get(usize::from(first)..usize::from(end)).unwrap_or_default();
        for entry in entries.iter().filter(|entry| entry.gram == gram) {
            let Some(needle) = self.needles.get(usize::from(entry.needle)) else { continue };
            let Some(start) = at.checked_sub(usize::from(entry.offset)) else { continue };
            let range = start..start + needle.len();
            if bytes.get(range.clone()).is_some_and(|text| text.eq_ignore_ascii_case(needle)) {
                hits.push((usize::from(entry.needle), range));
            }
        }
    }
}

fn entries(needle: u16, text: &[u8]) -> Vec<Entry> {
    let entry = |three: &[u8], offset: usize| {
        let gram = gram_of(three);
        Entry { hash: hash(gram), gram, needle, offset: u8::try_from(offset).unwrap_or(u8::MAX) }
    };
    if let [_, second, third] = *text {
        let followed = FOLLOWERS.iter().map(|follower| entry(&[second, third, *follower], 1));
        return std::iter::once(entry(text, 0)).chain(followed).collect();
    }
    let rarest = (0..text.len() - 3).min_by_key(|at| text.get(*at..at + 4).map(commonness)).unwrap_or_default();
    text.windows(3).enumerate().skip(rarest).take(2).map(|(offset, three)| entry(three, offset)).collect()
}

/// How often the two threes of four bytes occur in ordinary text.
fn commonness(four: &[u8]) -> usize {
    let count = |three: &[u8]| ORDINARY.windows(3).filter(|other| gram_of(other) == gram_of(three)).count();
    four.windows(3).map(count).sum()
}

fn gram_of(three: &[u8]) -> u32 {
    gram(three.iter().rev().fold(0, |gram, byte| gram << 8 | u32::from(*byte)))
}

/// The first three of four bytes, letters in one case. Other bytes may fall together; `compare` tells them apart.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is meant")]
fn low_half(eight: u64) -> u32 {
    eight as u32
}

fn gram(four: u32) -> u32 {
    (four | 0x2020_2020) & 0x00FF_FFFF
}

#[inline]
fn hash(gram: u32) -> u32 {
    gram.wrapping_mul(0x9E37_79B1) >> (32 - BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_needle_is_found_once_wherever_it_stands() {
        let needles = ["abc", "Token", "sk-", "session_token"];
        let search = Search::new(needles.into_iter());
        for (id, needle) in needles.iter().enumerate() {
            for before in 0..6 {
                for text in [needle.to_string(), needle.to_uppercase()] {
                    let text = format!("{}{text}xx", ".".repeat(before));
                    let found = search.find(text.as_bytes());
                    let own: Vec<_> = found.into_iter().filter(|(found, _)| *found == id).collect();
                    assert_eq!(own, [(id, before..before + needle.len())], "{text}");
                }
            }
        }
        assert!(search.find(b"").is_empty() && search.find(b"ab").is_empty());
        assert_eq!(search.find(b"abc").len(), 1);
    }
}
