#!/usr/bin/env python3
"""Checks planned calls against the providers' own published models.

Reads Call objects (one JSON object a line) on stdin, prints one line for each: `ok`, `FAILED` or `not checked`.
Exit code: 0 all checked and fine, 1 a call failed, 2 none failed but some could not be checked, 3 unreadable input.

AWS: botocore's service models (operation, parameter names, required, types, lengths, patterns, enums).
GCP: Google's discovery documents (method id, path with its patterns, body fields).
GitHub: the OpenAPI description in @octokit/openapi (operation id, path, body fields, required, enums).
Microsoft Graph: the request builders and models of msgraph-sdk (path, method, body fields). They carry no operation
names, so that Graph's are not checked. Permissions are checked for AWS only: the other models do not name them.

The models are fetched once from PyPI and npm into $KEYTRAIL_CACHE or ~/.cache/keytrail, folder provider-models.
"""
import glob
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

PYPI = ["botocore==1.44.5", "google-api-python-client==2.202.0", "msgraph-sdk==1.65.0"]
NPM = "@octokit/openapi@23.0.2"


class Missing(Exception):
    """A model that could not be had: the call is neither right nor wrong."""


class Wrong(Exception):
    """The call is not what the provider's model describes."""


def cache():
    base = os.environ.get("KEYTRAIL_CACHE")
    if not base:
        base = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "keytrail")
    return os.path.join(base, "provider-models")


def fetched(name, fetch):
    """The file `name` in the cache; `fetch(folder)` makes it, in a folder of its own, and it is moved in when whole."""
    place = os.path.join(cache(), name)
    if os.path.exists(place):
        return place
    os.makedirs(cache(), exist_ok=True)
    work = tempfile.mkdtemp(dir=cache(), prefix="part-")
    try:
        os.replace(fetch(work), place)
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"{name} cannot be fetched: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return place


def run(*command, cwd):
    subprocess.run(command, cwd=cwd, check=True, timeout=300, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wheel(requirement):
    """A package's wheel. Wheels are read as archives: nothing is installed, no code of theirs runs."""

    def fetch(work):
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
        run(*pip, "-d", work, requirement, cwd=work)
        return glob.glob(os.path.join(work, "*.whl"))[0]

    requirement_name = requirement.replace("==", "-")
    return zipfile.ZipFile(fetched(f"{requirement_name}.whl", fetch))


def github_description():
    def fetch(work):
        run("npm", "pack", "--silent", NPM, cwd=work)
        with tarfile.open(glob.glob(os.path.join(work, "*.tgz"))[0]) as archive:
            member = archive.extractfile("package/generated/ghec.json")
            with open(os.path.join(work, "ghec.json"), "wb") as out:
                shutil.copyfileobj(member, out)
        return os.path.join(work, "ghec.json")

    with open(fetched("github-ghec-23.0.2.json", fetch), encoding="utf-8") as file:
        return json.load(file)


def once(make):
    made = {}

    def get(*key):
        if key not in made:
            try:
                made[key] = make(*key)
            except Missing as error:
                made[key] = error
        if isinstance(made[key], Missing):
            raise made[key]
        return made[key]

    return get


botocore = once(lambda: wheel(PYPI[0]))
google = once(lambda: wheel(PYPI[1]))
graph = once(lambda: wheel(PYPI[2]))
github = once(github_description)


def require(holds, message):
    if not holds:
        raise Wrong(message)


# AWS


@once
def aws_model(service):
    pattern = re.compile(rf"botocore/data/{re.escape(service)}/[^/]+/service-2\.json(\.gz)?$")
    names = sorted(name for name in botocore().namelist() if pattern.match(name))
    require(names, f"no AWS service is called `{service}`")
    raw = botocore().read(names[-1])
    return json.loads(gzip.decompress(raw) if names[-1].endswith(".gz") else raw)


def check_aws(call, service):
    model = aws_model(service)
    operation = model["operations"].get(call["operation"])
    require(operation, f"`{service}` has no operation `{call['operation']}`")
    check_aws_shape(model, operation["input"]["shape"], call["parameters"], call["operation"])
    want = f"{service}:{call['operation']}"
    require(call["permission"] == want, f"permission `{call['permission']}` is not `{want}`")
    if "PolicyDocument" in call["parameters"]:
        check_policy(call["parameters"]["PolicyDocument"])


def check_aws_shape(model, name, value, where):
    shape = model["shapes"][name]
    kind = shape["type"]
    if kind == "structure":
        require(isinstance(value, dict), f"{where} is no object")
        for key in value:
            require(key in shape["members"], f"{where} has no parameter `{key}`")
            check_aws_shape(model, shape["members"][key]["shape"], value[key], f"{where}.{key}")
        for key in shape.get("required", []):
            require(key in value, f"{where} lacks `{key}`")
    elif kind == "string":
        require(isinstance(value, str), f"{where} is no string")
        require(shape.get("min", 0) <= len(value) <= shape.get("max", len(value)), f"{where} has length {len(value)}")
        require(value in shape.get("enum", [value]), f"{where} cannot be `{value}`")
        if "pattern" in shape:
            require(re.fullmatch(aws_pattern(shape["pattern"]), value), f"{where} does not fit {shape['pattern']}")
    else:
        raise Wrong(f"{where} is a {kind}, which this script cannot check yet")


def aws_pattern(pattern):
    return pattern.replace(r"\u0009\u000A\u000D\u0020-\u00FF", r"\x09\x0a\x0d\x20-\xff")


def check_policy(text):
    """An IAM policy's grammar, as far as ours go: no model of it is published as data."""
    policy = json.loads(text)
    require(policy.get("Version") == "2012-10-17", "the policy has no version")
    for statement in policy["Statement"]:
        require(statement["Effect"] == "Deny", "a containing policy only denies")
        known = {"Sid", "Effect", "Action", "Resource", "Condition"}
        require(set(statement) <= known, "the policy has an unknown element")
        for operator, keys in statement.get("Condition", {}).items():
            require(operator in {"DateLessThan", "StringEquals", "StringLike"}, f"unknown condition `{operator}`")
            require(set(keys) <= {"aws:TokenIssueTime", "aws:userid"}, f"unknown condition key in {sorted(keys)}")


# GCP


def check_gcp(call, service):
    raw = google().read(f"googleapiclient/discovery_cache/documents/{service}.v1.json")
    document = json.loads(raw)
    method = document
    for part in call["operation"].split(".")[1:-1]:
        method = method.get("resources", {}).get(part)
        require(method, f"no resource `{part}` in `{call['operation']}`")
    method = method.get("methods", {}).get(call["operation"].split(".")[-1])
    require(method and method["id"] == call["operation"], f"no method `{call['operation']}`")
    verb, url = call["http"].split(" ", 1)
    require(verb == method["httpMethod"], f"method is {method['httpMethod']}, not {verb}")
    require(url.startswith(document["rootUrl"]), f"the address does not start with {document['rootUrl']}")
    path = url[len(document["rootUrl"]):]
    names = re.findall(r"\{\+(\w+)\}", method["path"])
    template = re.escape(method["path"])
    for name in names:
        template = template.replace(re.escape("{+" + name + "}"), f"(?P<{name}>.+?)")
    found = re.fullmatch(template, path)
    require(found, f"`{path}` does not fit `{method['path']}`")
    for name in names:
        pattern = method["parameters"][name].get("pattern", ".*")
        require(re.fullmatch(pattern, found[name]), f"`{found[name]}` does not fit {pattern}")
    body = document["schemas"][method["request"]["$ref"]] if "request" in method else {}
    for key in call["parameters"]:
        require(key in body.get("properties", {}), f"the body has no field `{key}`")


# GitHub


def resolve(document, node):
    while "$ref" in node:
        target = document
        for part in node["$ref"].lstrip("#/").split("/"):
            target = target[part]
        node = target
    return node


def check_github(call, _service):
    document = github()
    verb, url = call["http"].split(" ", 1)
    base = "https://api.github.com"
    require(url.startswith(base + "/"), f"the address does not start with {base}")
    operation, template = github_operation(document, call["operation"], verb.lower())
    values = re.fullmatch(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template), url[len(base):])
    require(values, f"`{url}` does not fit `{template}`")
    for parameter in (resolve(document, node) for node in operation.get("parameters", [])):
        if parameter["in"] == "path" and parameter["schema"].get("type") == "integer":
            require(values[parameter["name"]].isdigit(), f"`{parameter['name']}` is no number")
    check_github_body(document, operation, call["parameters"])


def github_operation(document, name, verb):
    for template, methods in document["paths"].items():
        operation = methods.get(verb)
        if isinstance(operation, dict) and operation.get("operationId") == name:
            return operation, template
    raise Wrong(f"no operation `{name}` with {verb.upper()}")


def check_github_body(document, operation, given):
    content = resolve(document, operation.get("requestBody", {})).get("content", {})
    schema = resolve(document, content.get("application/json", {}).get("schema", {}))
    fields = schema.get("properties", {})
    for key, value in given.items():
        require(key in fields, f"the body has no field `{key}`")
        require(value in resolve(document, fields[key]).get("enum", [value]), f"`{key}` cannot be `{value}`")
    for key in schema.get("required", []):
        require(key in given, f"the body lacks `{key}`")


# Microsoft Graph


def check_graph(call, _service):
    verb, url = call["http"].split(" ", 1)
    base = "https://graph.microsoft.com/v1.0/"
    require(url.startswith(base), f"the address does not start with {base}")
    parts = url[len(base):].split("/")
    segments = ["item" if re.fullmatch(r"[0-9a-fA-F-]{36}", part) else snake(part) for part in parts]
    folder = "msgraph/generated/" + "/".join(segments) + "/"
    builder = re.compile(re.escape(folder) + r"\w+_request_builder\.py")
    builders = [name for name in graph().namelist() if builder.fullmatch(name)]
    require(len(builders) == 1, f"Graph v1.0 has no path `{url[len(base):]}`")
    source = graph().read(builders[0]).decode()
    method = re.search(rf"async def {verb.lower()}\(self,(?:\s*body: (\w+))?", source)
    require(method, f"the path takes no {verb}")
    if call["parameters"]:
        require(method[1], f"{verb} takes no body")
        fields = graph_fields(folder, source, method[1])
        for key in call["parameters"]:
            require(key in fields, f"`{method[1]}` has no field `{key}`")


def graph_fields(folder, source, model):
    """The JSON names of a model's fields and of those that it inherits."""
    found = re.search(rf"from (\.+)([\w.]+) import {model}\b", source)
    require(found, f"no model `{model}`")
    parts = folder.rstrip("/").split("/")
    parts = parts[: len(parts) - (len(found[1]) - 1)]
    name = "/".join(parts + found[2].split(".")) + ".py"
    text = graph().read(name).decode()
    fields = set(re.findall(r'"(\w+)": lambda n', text))
    parent = re.search(rf"class {model}\((\w+)", text)
    if parent and f"import {parent[1]}" in text and not parent[1].startswith(("Parsable", "AdditionalDataHolder")):
        fields |= graph_fields("/".join(name.split("/")[:-1]) + "/", text, parent[1])
    return fields


def snake(text):
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", text).lower()


CHECKS = {"aws": check_aws, "gcp": check_gcp, "github": check_github, "azure": check_graph}


def check(call):
    provider, _, service = call["service"].partition(".")
    require(provider in CHECKS, f"no model of provider `{provider}` is known")
    require(call["permission"], "the permission is empty")
    CHECKS[provider](call, service)


def main():
    failed = unchecked = 0
    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        try:
            call = json.loads(line)
            name = f"{call['service']} {call['operation']}"
        except (ValueError, KeyError, TypeError) as error:
            print(f"line {number} is no Call: {error!r}", file=sys.stderr)
            return 3
        try:
            check(call)
            print(f"ok           {name}")
        except Missing as error:
            unchecked += 1
            print(f"not checked  {name}: {error}")
        except (Wrong, KeyError, TypeError, ValueError) as error:
            failed += 1
            print(f"FAILED       {name}: {error}")
    return 1 if failed else 2 if unchecked else 0


if __name__ == "__main__":
    sys.exit(main())
