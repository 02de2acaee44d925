#!/usr/bin/env python3
"""The rules as one DuckDB query over read_json, and its run: `query.py FILE SQL THREADS`.

Written to be fast: columns are typed and only those that rules name, each is lowered once, plain values are compared
and not matched, and a path is a STRUCT's field unless a rule also asks for the whole of it, which makes it JSON.
Arrays are not crossed: DuckDB would need a list expression for what few rules want.
"""
import pathlib
import re
import sys

TESTS = {"contains": "contains({}, {})", "startswith": "starts_with({}, {})", "endswith": "ends_with({}, {})"}
WORDS = re.compile(r"\(|\)|[^\s()]+")


def text(rules):
    """The query, with {file} where the file goes. One count a rule, so that none can be left out."""
    fields = {}
    counts = [f"count(*) FILTER (WHERE {predicate(rule['detection'], fields)})" for rule in rules]
    paths = sorted({path for path, _ in fields})
    inner = ",\n  ".join(f"{read(path, paths, raw)} AS {name}" for (path, raw), name in fields.items())
    columns = ", ".join(f"{top}: '{kind(top, paths)}'" for top in dict.fromkeys(path.split(".")[0] for path in paths))
    source = "read_json('{file}', format = 'newline_delimited', columns = {" + columns + "})"
    return ",\n  ".join(["SELECT count(*)", *counts]) + f"\nFROM (SELECT {inner}\n  FROM {source})"


def predicate(detection, fields):
    named = {name: either(selection, fields) for name, selection in detection.items() if name != "condition"}
    words = WORDS.findall(detection["condition"])
    out = []
    while words:
        word = words.pop(0)
        if word in ("1", "all") and words[:1] == ["of"]:
            stem = words[1].rstrip("*")
            chosen = [sql for name, sql in named.items() if stem == "them" or name.startswith(stem)]
            out.append(f"({(' OR ' if word == '1' else ' AND ').join(chosen)})")
            del words[:2]
        else:
            out.append(named.get(word, word))
    return " ".join(out)


def either(selection, fields):
    parts = selection if isinstance(selection, list) else [selection]
    return "(" + " OR ".join(all_items(part, fields) for part in parts) + ")"


def all_items(items, fields):
    return "(" + " AND ".join(item(key, value, fields) for key, value in items.items()) + ")"


def item(key, value, fields):
    """One line of a selection, as an expression that is never NULL."""
    path, *modifiers = key.split("|")
    raw = "re" in modifiers
    name = fields.setdefault((path, raw), f"f{len(fields)}")
    if "fieldref" in modifiers:
        other = fields.setdefault((value, False), f"f{len(fields)}")
        return f"coalesce({name} = {other}, false)"
    values = value if isinstance(value, list) else [value]
    plain = [one for one in values if one is not None and not modifiers and not re.search(r"[*?]", str(one))]
    tests = [test(name, one, modifiers) for one in values if one not in plain]
    if plain:
        tests.append(f"coalesce({name} IN ({', '.join(quoted(one) for one in plain)}), false)")
    return "(" + (" AND " if "all" in modifiers else " OR ").join(tests) + ")"


def test(name, value, modifiers):
    if value is None:
        return f"{name} IS NULL"
    if "re" in modifiers:
        return f"coalesce(regexp_matches({name}, {quoted(value, str)}), false)"
    how = next((modifier for modifier in modifiers if modifier in TESTS), None)
    if how and not re.search(r"[*?]", str(value)):
        return f"coalesce({TESTS[how].format(name, quoted(value))}, false)"
    before, after = ("%" if how in ends else "" for ends in (("contains", "endswith"), ("contains", "startswith")))
    like = before + re.sub(r"[%_\\]", r"\\\g<0>", str(value)).replace("*", "%").replace("?", "_") + after
    return f"coalesce({name} LIKE {quoted(like)} ESCAPE '\\', false)"


def quoted(value, case=str.lower):
    return "'" + case(str(value)).replace("'", "''") + "'"


def read(path, paths, raw):
    top, *rest = path.split(".")
    if kind(top, paths) == "JSON":
        found = f"json_extract_string({top}, '$.{'.'.join(rest)}')" if rest else f"CAST({top} AS VARCHAR)"
    else:
        found = ".".join([top, *rest])
    return found if raw else f"lower({found})"


def kind(node, paths):
    """The type of a path: VARCHAR if it is only read whole, JSON if also in parts, else a STRUCT of its parts."""
    parts = dict.fromkeys(path[len(node) + 1:].split(".")[0] for path in paths if path.startswith(f"{node}."))
    if not parts:
        return "VARCHAR"
    if node in paths:
        return "JSON"
    return "STRUCT(" + ", ".join(f"{part} {kind(f'{node}.{part}', paths)}" for part in parts) + ")"


def main():
    import duckdb
    file, sql, threads = sys.argv[1:]
    database = duckdb.connect(config={"threads": int(threads)})
    events, *counts = database.execute(pathlib.Path(sql).read_text().replace("{file}", file)).fetchone()
    print(f"events {events}\nmatches {sum(counts)}")


if __name__ == "__main__":
    main()
