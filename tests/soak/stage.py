"""The servers, proxies and replicas of a soak run, as processes that are ended by their own id."""
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
SERVERS = os.path.join(os.path.dirname(HERE), "servers")
sys.path.append(SERVERS)

import fetched
from ports import free_port


class Skipped(Exception):
    """Something cannot be had here."""


def kafka_python():
    """A Python that has Kafka's client."""
    try:
        return fetched.environment("confluent-kafka==2.16.1", "kafka-client")
    except (OSError, subprocess.SubprocessError) as fault:
        raise Skipped(f"confluent-kafka cannot be had: {fault}") from fault


def surroundings(who):
    """The environment of a service that reads from the servers here, and of nothing else."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "KEYTRAIL_"))}
    return mine | {"AWS_ACCESS_KEY_ID": who, "AWS_SECRET_ACCESS_KEY": who, "AWS_REGION": "us-east-1"}


class Helper:
    """A script that says `port N` and lives as long as its input."""

    def __init__(self, script, *arguments):
        self.command = [sys.executable, script, *map(str, arguments)]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        said = self.process.stdout.readline().strip()
        if not said.startswith("port "):
            self.process.kill()
            self.process.wait()
            if said.startswith("skipped: "):
                raise Skipped(said.removeprefix("skipped: "))
            raise RuntimeError(f"{' '.join(self.command[1:])} does not start: {said}")
        self.port = int(said.split()[1])

    def say(self, order):
        self.process.stdin.write(order + "\n")

    def end(self):
        if not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Feeder:
    """One `feed.py`."""

    def __init__(self, python, told):
        self.source, self.done = told["source"], None
        self.process = subprocess.Popen([python, os.path.join(HERE, "feed.py"), json.dumps(told)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)

    def ready(self):
        if self.process.stdout.readline().strip() == "ready":
            return
        raise RuntimeError(f"the feeder of {self.source} does not start")

    def go(self, start):
        self.process.stdin.write(f"{start}\n")
        self.process.stdin.close()

    def is_over(self):
        if self.process.poll() is None:
            return False
        if self.done is None:
            lines = self.process.stdout.read().split("\n")
            if self.process.returncode:
                raise RuntimeError(f"the feeder of {self.source} ended with {self.process.returncode}")
            self.done = json.loads(lines[-2])
        return True


class Replica:
    """One `keytrail run`."""

    def __init__(self, binary, config, number, log, port, environment):
        self.command, self.log, self.port = [binary, "run", "-c", config], log, port
        self.environment, self.number, self.process = environment, number, None
        self.peak, self.lives, self.totals, self.life = 0, 0, {}, {}

    def start(self):
        self.lives += 1
        with open(self.log, "ab") as log:
            log.write(f"--- life {self.lives}\n".encode())
            log.flush()
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.environment)

    def look(self):
        """How much memory it took, and its figures."""
        try:
            with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as status:
                peak = re.search(r"VmHWM:\s+(\d+)", status.read())
            self.peak = max(self.peak, int(peak.group(1)) if peak else 0)
            at = f"http://127.0.0.1:{self.port}/metrics"
            with urllib.request.urlopen(at, timeout=2) as answer:
                self.life = dict(figures(answer.read().decode()))
        except OSError:
            return None
        return self.life

    def bury(self):
        """Adds up the figures of a life that is over."""
        for name, value in self.life.items():
            self.totals[name] = self.totals.get(name, 0) + value
        self.life = {}

    def total(self, begins):
        return int(sum(value for one in (self.totals, self.life) for name, value in one.items() if name.startswith(begins)))

    def kill(self):
        self.look()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.bury()

    def stop(self, within):
        """Asked to end; its exit code."""
        self.look()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = f"none within {within} s"
        self.bury()
        return code

    def is_over(self):
        return self.process.poll() is not None


def figures(text):
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            yield name, float(value)


class Command:
    """`keytrail` beside the service, with its configuration."""

    def __init__(self, binary, config, environment):
        self.binary, self.config, self.environment = binary, config, environment

    def run(self, *arguments, within=600):
        done = subprocess.run([self.binary, "-c", self.config, *arguments, "-o", "ndjson"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, env=self.environment, timeout=within)
        return done.returncode, done.stdout, done.stderr

    def rows(self, *arguments):
        code, out, said = self.run(*arguments)
        if code not in (0, 1):
            raise RuntimeError(f"keytrail {' '.join(arguments)} ended with {code}: {said.strip()[-500:]}")
        return [json.loads(line) for line in out.splitlines()]


def wait_until(what, within, every=1.0):
    until = time.monotonic() + within
    while time.monotonic() < until:
        if what():
            return True
        time.sleep(every)
    return False
