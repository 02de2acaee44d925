#!/usr/bin/env python3
"""A throw-away PostgreSQL on loopback, in a folder of its own that goes with it.

usage: postgres.py [SETTING=VALUE …]

Trusts who connects as `keytrail`, sorts by a language and not by bytes, and does not wait for the disk (`fsync=on` makes
it). With `ssl=on` it has a certificate for `localhost`, `server.crt` in its data folder. Says `port N` on its first line, or `skipped: why`. Ends when its standard input does, or when it is killed.
"""
import glob
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from fetched import skip
from ports import free_port

SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_min_messages": "fatal",
}


def programs():
    """The folder of the newest PostgreSQL here."""
    found = shutil.which("postgres")
    folders = glob.glob("/usr/lib/postgresql/*/bin") + ([os.path.dirname(os.path.realpath(found))] if found else [])
    folders = [folder for folder in folders if os.path.exists(os.path.join(folder, "initdb"))]
    if not folders:
        skip("no PostgreSQL here (initdb)")
    return max(folders, key=lambda folder: [int(part) for part in folder.split("/") if part.isdigit()])


def account():
    """PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        skip("PostgreSQL does not run as root, and there is no user postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def make(folder, bin_folder, who):
    if who:
        os.chown(folder, who["user"], who["group"])
    command = [os.path.join(bin_folder, "initdb"), "-D", os.path.join(folder, "data"), "-U", "keytrail"]
    command += ["-A", "trust", "-E", "UTF8", "--no-sync"]
    language = ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en"]
    for extra in (language, ["--locale=C"]):
        done = subprocess.run(command + extra, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", **who)
        if done.returncode == 0:
            return
    skip(f"initdb fails: {done.stdout.decode(errors='replace').strip().splitlines()[-1:]}")


def certify(data, who):
    """PostgreSQL looks for these two names in its data folder."""
    if not shutil.which("openssl"):
        skip("openssl is not there to make a certificate")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", "server.key", "-out", "server.crt", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, cwd=data, **who)
    os.chmod(os.path.join(data, "server.key"), 0o600)


def start(folder, bin_folder, who, settings):
    for _ in range(3):
        port = free_port()
        command = [os.path.join(bin_folder, "postgres"), "-D", os.path.join(folder, "data"), "-p", str(port)]
        for setting in settings.items():
            command += ["-c", "=".join(setting)]
        with open(os.path.join(folder, "log"), "wb") as log:
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", **who)
        if ready(server, os.path.join(folder, "data")):
            return server, port
    skip("PostgreSQL does not start")


def ready(server, data):
    """The eighth line of its pid file says how far it is."""
    for _ in range(600):
        if server.poll() is not None:
            return False
        try:
            with open(os.path.join(data, "postmaster.pid"), encoding="utf-8") as file:
                if file.read().splitlines()[7:8] == ["ready   "]:
                    return True
        except OSError:
            pass
        time.sleep(0.02)
    server.kill()
    server.wait()
    return False


def keep(life, settings):
    """Runs the server until the other end of `life` is closed."""
    os.setsid()
    folder, server = tempfile.mkdtemp(prefix="keytrail-postgres-"), None
    try:
        bin_folder, who = programs(), account()
        make(folder, bin_folder, who)
        if settings.get("ssl") == "on":
            certify(os.path.join(folder, "data"), who)
        server, port = start(folder, bin_folder, who, settings)
        print(f"port {port}", flush=True)
        # Whoever waits for the end of our output must not wait for this process.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.read(life, 1)
    finally:
        if server:
            server.send_signal(signal.SIGQUIT)
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    settings = SETTINGS | dict(argument.split("=", 1) for argument in sys.argv[1:])
    life, ours = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        # A killed parent closes its end too, so nothing is left behind.
        os.close(ours)
        os.close(0)
        os.open(os.devnull, os.O_RDONLY)
        keep(life, settings)
        return
    os.close(life)
    sys.stdin.read()
    os.close(ours)
    os.waitpid(keeper, 0)


if __name__ == "__main__":
    main()
