"""The rule sets of the bench: 1, 57, 570 and 5,700 distinct Sigma rules, as folders of one file a rule.

57: SigmaHQ's CloudTrail rules, byte for byte, from the folder `sigma` of the reference data: the 57 files of
rules/cloud/aws/cloudtrail. (There are 58 at SigmaHQ: the one under rules-placeholder needs values that only its user
knows, and no engine loads it without.) A rule that Keytrail refuses to load, because it names a field that CloudTrail
does not have, is left out for every program, one of own_rules.py takes its place, and the run says so. Where there
is no such folder, all 57 of own_rules.py.

1: the one of them that names cloudtrail's StopLogging, or, should there be none, the first.

570 and 5,700: the 57 and 9 or 99 copies of each. Copy k has id, title and values of its own, by the last digit of k:

* 2 or 5 (a fifth): the calls stay, and one more value is asked for: a fragment of a user agent, the name of a user or
  an address, of those that are in the corpus, so that copies can match.
* 6 (a tenth): likewise, but the calls (and their source) become one of the 60 most frequent calls of the corpus, so
  that many events come as far as the second value.
* else: `V<k>` is put after every event name, which then is none that the corpus has.

Copies of rules that name no call are all of the first kind. No two detections are the same; this is checked.
"""
import copy
import hashlib
import json
import pathlib
import tempfile
import uuid

import corpus
import own_rules

SIGMA = pathlib.PurePath("sigma", "rules", "cloud", "aws", "cloudtrail")
COUNTS = [1, 57, 570, 5700]
FIRST = "StopLogging"


def folders(place, reference, yaml, refused=(), counts=COUNTS):
    """Writes the sets under `place`; gives {count: folder}, the rules as dictionaries by count, and where from.

    One of the bench's own takes the place of each SigmaHQ rule that is `refused`.
    """
    files = sorted((reference / SIGMA).glob("*.yml")) if reference and yaml else []
    texts = {path.stem: path.read_text() for path in files if path.stem not in refused}
    rules = {stem: yaml.safe_load(text) for stem, text in texts.items()}
    missing = 57 - len(rules)
    rules |= dict(list(own().items())[57 - missing:])
    texts |= {stem: text_of(rule) for stem, rule in rules.items() if stem not in texts}
    one = next((stem for stem, text in texts.items() if FIRST in text), next(iter(texts)))
    sets = {1: {one: rules[one]}} | {count: varied(rules, count // 57) for count in counts[1:]}
    place.mkdir(parents=True, exist_ok=True)
    where = {}
    for count, chosen in sets.items():
        distinct(count, chosen)
        files_of = {f"{stem}.yml": texts.get(stem) or text_of(rule) for stem, rule in chosen.items()}
        where[count] = written(place, files_of)
    said = f"{57 - missing} of SigmaHQ as they are" if files else "no SigmaHQ rules at hand"
    said += f", {missing} of the bench's own" if missing else ""
    return where, {count: list(chosen.values()) for count, chosen in sets.items()}, said


def written(place, texts):
    """A folder of these files, named by what is in them: written once, and whole or not at all."""
    mark = hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()[:8]
    folder = place / f"{len(texts)}-{mark}"
    if not folder.exists():
        part = pathlib.Path(tempfile.mkdtemp(dir=place, prefix="part-"))
        for name, text in texts.items():
            (part / name).write_text(text)
        part.rename(folder)
    return folder


def own():
    return {f"bench-{number:02}": rule for number, rule in enumerate(own_rules.all_of_them())}


def varied(rules, times):
    """Each rule and `times - 1` copies of it."""
    busy = corpus.frequent(60)
    out = dict(rules)
    for place, (stem, rule) in enumerate(rules.items()):
        for k in range(1, times):
            out[f"{stem}-{k:02}"] = variant(rule, place, k, busy)
    return out


def variant(rule, place, k, busy):
    new = copy.deepcopy({key: value for key, value in rule.items() if key not in ("related", "name")})
    new["title"] = f"{rule['title']} {k}"
    new["id"] = str(uuid.uuid5(uuid.UUID(str(rule["id"])), str(k)))
    calls = [(items, key) for items in positive(new["detection"]) for key in items if key.startswith("eventName")]
    if k % 10 == 6 and calls:
        service, call = busy[(place + 7 * (k // 10)) % len(busy)]
        for items, key in calls:
            items[key] = call
            items.update({"eventSource": f"{service}.amazonaws.com"} if "eventSource" in items else {})
    if k % 10 in (2, 5, 6) or not calls:
        new["detection"]["one_more"] = one_more(place, k)
        new["detection"]["condition"] = f"({new['detection']['condition']}) and one_more"
    else:
        for items, key in calls:
            values = items[key] if isinstance(items[key], list) else [items[key]]
            items[key] = [f"{value}V{k}" for value in values]
    return new


def positive(detection):
    """The field maps of selections that are no filters."""
    for name, selection in detection.items():
        if name != "condition" and not name.startswith("filter"):
            parts = selection if isinstance(selection, list) else [selection]
            yield from (part for part in parts if isinstance(part, dict))


def one_more(place, k):
    """For one rule another value with each k below 100."""
    addresses = corpus.ADDRESSES
    return [{"userAgent|contains": f"1.{40 + place % 4}.{k}"},
            {"userIdentity.userName": corpus.user_name(2 * (k + place))},
            {"sourceIPAddress": addresses[(37 * k + 11 * place) % len(addresses)]}][(place + k) % 3]


def distinct(count, rules):
    detections = {json.dumps(rule["detection"], sort_keys=True) for rule in rules.values()}
    if (len(rules), len(detections)) != (count, count):
        raise SystemExit(f"{count} rules wanted: {len(rules)} made, {len(detections)} of them distinct")


def text_of(rule):
    """YAML by way of JSON: a key a line."""
    return "".join(f"{key}: {json.dumps(value, default=str, ensure_ascii=False)}\n" for key, value in rule.items())
