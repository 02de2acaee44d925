//! Encoding modifiers: UTF-16, Base64 and Base64 at an unknown offset, applied to a value in the order written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rsigma_parser::Modifier;

pub(super) fn encodes(modifier: Modifier) -> bool {
    use Modifier as M;
    matches!(modifier, M::Base64 | M::Base64Offset | M::Wide | M::Utf16 | M::Utf16be)
}

/// What a value may look like after the encodings: one text, or three for `base64offset`.
pub(super) fn encoded(text: &str, encodings: &[Modifier]) -> Result<Vec<String>, String> {
    let mut variants = vec![text.as_bytes().to_vec()];
    for encoding in encodings {
        variants = variants.iter().flat_map(|bytes| encode(bytes, *encoding)).collect();
    }
    if variants.iter().any(Vec::is_empty) {
        return Err(format!("`{text}` is too short to be recognised at every offset: give at least two letters"));
    }
    let texts: Result<Vec<String>, _> = variants.into_iter().map(String::from_utf8).collect();
    texts.map_err(|_| format!("`{text}` is no text once it is encoded: add `base64` or `base64offset` after `utf16`"))
}

fn encode(bytes: &[u8], encoding: Modifier) -> Vec<Vec<u8>> {
    match encoding {
        Modifier::Base64 => vec![STANDARD.encode(bytes).into_bytes()],
        Modifier::Base64Offset => (0..3).map(|offset| at_offset(bytes, offset)).collect(),
        Modifier::Utf16be => vec![utf16(bytes).flat_map(u16::to_be_bytes).collect()],
        Modifier::Utf16 => vec![[0xFF, 0xFE].into_iter().chain(utf16(bytes).flat_map(u16::to_le_bytes)).collect()],
        _ => vec![utf16(bytes).flat_map(u16::to_le_bytes).collect()],
    }
}

fn utf16(bytes: &[u8]) -> impl Iterator<Item = u16> {
    let units: Vec<u16> = String::from_utf8_lossy(bytes).encode_utf16().collect();
    units.into_iter()
}

/// The letters that are the same whatever stands around the value: the first and last ones are left out where they hold
/// bits of a neighbour.
fn at_offset(bytes: &[u8], offset: usize) -> Vec<u8> {
    let padded: Vec<u8> = std::iter::repeat_n(b' ', offset).chain(bytes.iter().copied()).collect();
    let encoded = STANDARD.encode(&padded);
    let start = [0, 2, 3].get(offset).copied().unwrap_or_default();
    let cut = [0, 3, 2].get(padded.len() % 3).copied().unwrap_or_default();
    encoded.as_bytes().get(start..encoded.len().saturating_sub(cut)).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_at_every_offset_is_found_in_any_text() {
        let variants = encoded("/bin/bash", &[Modifier::Base64Offset]).expect("encodes");
        assert_eq!(variants, ["L2Jpbi9iYXNo", "9iaW4vYmFza", "vYmluL2Jhc2"]);
        for value in ["ab", "abc", "curl"] {
            for before in ["", "x", "xy", "xyz"] {
                for after in ["", "1", "12"] {
                    let whole = STANDARD.encode(format!("{before}{value}{after}"));
                    let found = encoded(value, &[Modifier::Base64Offset]).expect("encodes");
                    assert!(found.iter().any(|part| whole.contains(part)), "{value} in {whole}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn one_letter_is_too_short() {
        assert!(encoded("a", &[Modifier::Base64Offset]).is_err_and(|reason| reason.contains("too short")));
    }

    #[test]
    fn utf16_in_each_byte_order() {
        let one = |encoding| encoded("hi", &[encoding, Modifier::Base64]).expect("encodes");
        assert_eq!(one(Modifier::Wide), ["aABpAA=="]);
        assert_eq!(one(Modifier::Utf16be), ["AGgAaQ=="]);
        assert_eq!(one(Modifier::Utf16), ["//5oAGkA"]);
        assert_eq!(encoded("hi", &[Modifier::Wide]).expect("text"), ["h\0i\0"]);
        assert!(encoded("hi", &[Modifier::Utf16]).is_err());
    }
}
