#!/usr/bin/env python3
"""Azure Blob storage on loopback: Azurite, with an account `keytrail` and one container that is called `bucket`.

usage: azurite.py FOLDER

The account's key is made anew and stands in FOLDER/key. Says `port N` on its first line, or `skipped: why`. Ends when its
standard input does.
"""
import base64
import email.utils
import hashlib
import hmac
import http.client
import os
import secrets
import shutil
import subprocess
import sys

from fetched import locked, skip
from ports import free_port, wait_for

AZURITE = "azurite@3.35.0"
VERSION = "2024-11-04"


def fetched():
    """Where the program is, from npm, fetched once."""
    if not shutil.which("node") or not shutil.which("npm"):
        skip("node and npm are not there")
    with locked("azurite") as folder:
        main = os.path.join(folder, "node_modules", "azurite", "dist", "src", "blob", "main.js")
        if not os.path.exists(main):
            command = ["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", AZURITE]
            done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=300)
            if done.returncode or not os.path.exists(main):
                skip(f"{AZURITE} cannot be had: {done.stderr.strip()[-200:]}")
    return main


def make_container(port, key):
    when = email.utils.formatdate(usegmt=True)
    head = {"x-ms-date": when, "x-ms-version": VERSION}
    # Verb, eleven headers that are not sent, ours, and the resource: the account's name stands in the path as well.
    text = "PUT" + "\n" * 12 + "".join(f"{name}:{value}\n" for name, value in head.items())
    text += "/keytrail/keytrail/bucket\nrestype:container"
    signed = base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request("PUT", "/keytrail/bucket?restype=container", b"",
                   head | {"Authorization": f"SharedKey keytrail:{signed}"})
    answer = client.getresponse()
    if answer.status not in (201, 409):
        skip(f"the container cannot be made: {answer.status} {answer.read()[:300]!r}")


def main():
    program, folder = fetched(), sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    key = base64.b64encode(secrets.token_bytes(64)).decode()
    with open(os.path.join(folder, "key"), "w", encoding="utf-8") as file:
        file.write(key)
    port = free_port()
    command = ["node", program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", folder, "--silent",
               "--skipApiVersionCheck", "--disableTelemetry"]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet,
                              env=os.environ | {"AZURITE_ACCOUNTS": f"keytrail:{key}"})
    try:
        wait_for(port, server, "Azurite")
        make_container(port, key)
        print(f"port {port}", flush=True)
        sys.stdin.read()
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
