"""What must have been found, worked out from what was fed: plain Python that shares nothing with Keytrail.

usage: audit.py RAW FINDINGS — a folder with one .ndjson of CloudTrail records a source, and `finding list -o ndjson`
"""
import collections
import glob
import json
import os
import sys
from datetime import datetime

DAY, WITHIN, LEAST = 86_400, 20, 10


def seconds(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def fed(folder):
    """By source, and every event once."""
    counts, events = {}, {}
    for path in sorted(glob.glob(os.path.join(folder, "*.ndjson"))):
        with open(path, encoding="utf-8") as lines:
            name = os.path.basename(path).removesuffix(".ndjson")
            counts[name] = 0
            for line in lines:
                one = json.loads(line)
                counts[name] += 1
                events[one["eventID"]] = (one["userIdentity"]["accessKeyId"], seconds(one["eventTime"]),
                                          one["eventName"], "errorCode" in one)
    return counts, events


def expected(events):
    """(rule, key, count), sorted, from all events."""
    made, denied, minted, used = (collections.defaultdict(list) for _ in range(4))
    for key, at, action, refused in events.values():
        if refused:
            denied[key].append(at)
        elif action == "CreateAccessKey":
            made[key].append(at)
        elif action == "GetSessionToken":
            minted[key].append(at)
        elif action == "PutUserPolicy":
            used[key].append(at)
    found = []
    for key, times in made.items():
        found += [("soak-marker", key, count) for count in collections.Counter(at // DAY for at in times).values()]
    for key, times in denied.items():
        count = crowded(sorted(times))
        found += [("soak-denied", key, count)] if count else []
    for key, times in minted.items():
        pairs = [(first, then) for first in times for then in used.get(key, []) if 0 <= then - first <= WITHIN]
        found += [("soak-sequence", key, len(pairs) * 2)] if pairs else []
    return sorted(found)


def crowded(times):
    """How many are in a span with enough of them."""
    inside, begin = set(), 0
    for end, at in enumerate(times):
        while at - times[begin] > WITHIN:
            begin += 1
        if end - begin + 1 >= LEAST:
            inside.update(range(begin, end + 1))
    return len(inside)


def differences(wanted, found):
    """As sentences: what is missing, what is too much."""
    wanted, found = collections.Counter(wanted), collections.Counter(found)
    said = [f"missing: {rule} of {key} with {count} events" for rule, key, count in (wanted - found).elements()]
    return said + [f"not planted: {rule} of {key} with {count} events" for rule, key, count in (found - wanted).elements()]


def shown(rows):
    """The findings of `finding list` as they are compared."""
    return sorted((row["rule"], row["credential"].split(":")[-1], row["count"]) for row in rows)


def main():
    counts, events = fed(sys.argv[1])
    with open(sys.argv[2], encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    wanted, said = expected(events), []
    ids = collections.Counter(row["id"] for row in rows)
    said += [f"{count} rows with the id {one}" for one, count in ids.items() if count > 1]
    said += differences(wanted, shown(rows))
    print(json.dumps({"fed": counts, "events": len(events), "wanted": len(wanted), "found": len(rows), "wrong": said}))
    sys.exit(1 if said else 0)


if __name__ == "__main__":
    main()
