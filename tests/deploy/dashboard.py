#!/usr/bin/env python3
"""Asks every query of the dashboard of a real Prometheus that scrapes a running service, and says what each gives.

    tests/deploy/dashboard.py http://127.0.0.1:9464/metrics [--prometheus PATH] [--token-file FILE]

Ends with 1 if a query is refused or gives no data. Needs a Prometheus binary and nothing but Python's own library.
"""

import argparse
import json
import math
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "servers"))

from ports import free_port

# Queries over these may give nothing: the series has a label whose values are not known before the first one happens.
MAY_BE_EMPTY = {
    "keytrail_source_errors_total": "no call to a source failed yet, so there is no `kind`",
    "keytrail_source_backlog_events": "no source tells how much waits",
    "keytrail_source_lag_seconds": "no source tells for how long",
    "keytrail_detection_rule_errors_total": "no rule failed yet, so there is no `rule_id`",
}

SCRAPES = 8
# What Grafana puts in; the intervals hold several scrapes of one second each.
VARIABLES = {"$__rate_interval": "15s", "$__range": "1h", "$__interval": "5s", "$source": ".+", "$job": ".+"}


def queries(dashboard):
    """Title and query of each target, and of each variable that is filled by one."""
    for variable in dashboard["templating"]["list"]:
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable.get("definition", ""))
        if found:
            yield f"variable {variable['name']}", f"count by ({found[2]}) ({found[1]})"
    for panel in dashboard["panels"]:
        for inner in [panel, *panel.get("panels", [])]:
            for target in inner.get("targets", []):
                yield f"{inner['title']} {target['refId']}", target["expr"]


def substituted(query):
    for name in sorted(VARIABLES, key=len, reverse=True):
        query = query.replace(name, VARIABLES[name])
    if "$" in query:
        raise SystemExit(f"a variable that is not known here: {query}")
    return query


def ask(base, query):
    """The samples of a query now; raises ValueError with Prometheus' own words."""
    url = f"{base}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        raise ValueError(json.load(error).get("error", str(error))) from error


def configuration(folder, url, token_file):
    parts = urllib.parse.urlsplit(url)
    job = {
        "job_name": "keytrail",
        "scheme": parts.scheme,
        "metrics_path": parts.path or "/metrics",
        "static_configs": [{"targets": [parts.netloc]}],
    }
    if token_file:
        job["authorization"] = {"type": "Bearer", "credentials_file": str(token_file.resolve())}
    file = folder / "prometheus.yml"
    # JSON is YAML.
    file.write_text(json.dumps({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}))
    return file


def wait_for_scrapes(base, server, seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if server.poll() is not None:
            raise SystemExit(f"prometheus ended with {server.returncode}")
        try:
            samples = ask(base, 'sum_over_time(up{job="keytrail"}[1m])')
            if samples and float(samples[0]["value"][1]) >= SCRAPES:
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.5)
    raise SystemExit(f"not scraped {SCRAPES} times within {seconds} seconds: is the address right, and the token?")


def report(base, dashboard):
    """Prints a line for each query; how many failed."""
    failed = 0
    for title, query in queries(dashboard):
        try:
            values = [float(sample["value"][1]) for sample in ask(base, substituted(query))]
        except ValueError as error:
            failed += 1
            print(f"refused  {title}: {query}\n         {error}")
            continue
        excuse = next((why for name, why in MAY_BE_EMPTY.items() if name in query), None)
        if values:
            # A quantile over an interval without observations is a series, but not a number.
            note = " (no number among them)" if all(math.isnan(value) for value in values) else ""
            print(f"{len(values):7}  {title}: {query}{note}")
        elif excuse:
            print(f"  empty  {title}: {query} ({excuse})")
        else:
            failed += 1
            print(f"no data  {title}: {query}")
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="where the service gives its metrics")
    parser.add_argument("--prometheus", default="prometheus", help="the Prometheus binary")
    parser.add_argument("--dashboard", type=pathlib.Path, default=ROOT / "deploy/grafana/keytrail.json")
    parser.add_argument("--token-file", type=pathlib.Path, help="what run.listen_token_file names")
    parser.add_argument("--wait", type=float, default=60, help="seconds to wait for the scrapes")
    said = parser.parse_args()
    binary = shutil.which(said.prometheus)
    if not binary:
        raise SystemExit(f"no Prometheus at `{said.prometheus}`: give one with --prometheus")
    dashboard = json.loads(said.dashboard.read_text())
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        config = configuration(folder, said.url, said.token_file)
        port = free_port()
        command = [binary, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
        command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
        server = subprocess.Popen(command)
        try:
            base = f"http://127.0.0.1:{port}"
            wait_for_scrapes(base, server, said.wait)
            failed = report(base, dashboard)
        finally:
            server.terminate()
            server.wait(timeout=20)
    print(f"{failed} of {sum(1 for _ in queries(dashboard))} queries gave no data", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
