"""How the service's bench fills each kind of source, so that it can be read from its beginning again."""
import itertools
import json
import pathlib
import random
import subprocess
import sys
import threading
import time
import uuid

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.append(str(TESTS / "soak"))

import corpus
from feed import S3, Client, producer, publish, put, subscribe
from programs import events_file
from stage import free_port, kafka_python

QUEUE_ACCOUNT = "123456789012"


class Feeder:
    """`again` has all events wait once more and gives the part of the configuration; `send` feeds some live."""

    def __init__(self, bench):
        self.bench, self.number, self.world = bench, 0, None
        self.events = bench.options.events

    def lines(self):
        with events_file(self.events, corpus.ROLES).open() as file:
            return file.read().splitlines()

    def fresh(self):
        """An event of now."""
        self.world = self.world or corpus.World(corpus.ROLES)
        now = corpus.datetime.datetime.fromtimestamp(time.time(), corpus.datetime.timezone.utc)
        return self.world.event(now).rstrip("\n")

    def meanwhile(self):
        """Feeds while it is read: most have it all before."""

    def enough(self):
        """It was read, or will not be."""

    def close(self):
        pass


class Files(Feeder):
    def again(self, empty=False):
        self.number += 1
        self.at = self.bench.folder / f"files-{self.number}"
        self.at.mkdir()
        if not empty:
            (self.at / "events.jsonl").write_bytes(events_file(self.events, corpus.ROLES).read_bytes())
        return {"files": {"at": str(self.at), "every": "100ms"}}

    def send(self, lines):
        with (self.at / "events.jsonl").open("a") as file:
            file.write("\n".join(lines) + "\n")


class Http(Feeder):
    """Pushed to by four clients while it is read."""
    size = 500

    def again(self, empty=False):
        self.number += 1
        self.port, self.client = free_port(), None
        return {"http": {"listen": f"127.0.0.1:{self.port}", "spool": str(self.bench.folder / f"spool-{self.number}")}}

    def meanwhile(self):
        self.over = threading.Event()
        lines = self.lines()
        bodies = iter([lines[at:at + self.size] for at in range(0, len(lines), self.size)])
        turn = threading.Lock()

        def client():
            own = Client([self.port], self.over.is_set)
            while not self.over.is_set():
                with turn:
                    body = next(bodies, None)
                if body is None:
                    return
                self.post(own, body)

        for _ in range(4):
            threading.Thread(target=client, daemon=True).start()

    def enough(self):
        self.over.set()

    def send(self, lines):
        self.client = self.client or Client([self.port])
        self.post(self.client, lines)

    @staticmethod
    def post(client, lines):
        client.send("POST", "/v1/push", ("\n".join(lines) + "\n").encode(), {"Content-Type": "application/x-ndjson"})


class Sqs(Feeder):
    """Objects of 500 events each, announced through a queue."""
    size = 500

    def __init__(self, bench):
        super().__init__(bench)
        self.port = bench.helper("s3.py").port
        self.s3 = S3({"port": self.port}, random.Random(1))

    def again(self, empty=False):
        if not empty:
            lines = self.lines()
            for at in range(0, len(lines), self.size):
                self.s3.send(lines[at:at + self.size])
        at = f"http://127.0.0.1:{self.port}"
        return {"sqs": {"queue_url": f"{at}/{QUEUE_ACCOUNT}/notices", "endpoint": at, "region": "us-east-1", "wait": "2s"}}

    def send(self, lines):
        self.s3.send(lines)


class Kafka(Feeder):
    """One topic with four partitions; each time a group of its own reads it from its beginning."""
    def __init__(self, bench):
        super().__init__(bench)
        self.python = kafka_python()
        self.port = bench.helper("kafka.py", str(bench.folder / "kafka")).port
        self.topic, self.producer = None, None

    def again(self, empty=False):
        if empty or not self.topic:
            self.fresh_topic()
            if not empty:
                self.feed(str(events_file(self.events, corpus.ROLES)))
        return self.source()

    def source(self):
        self.number += 1
        return {"kafka": {"brokers": [f"127.0.0.1:{self.port}"], "topics": [self.topic], "group": f"bench-{self.number}",
                          "session": "6s"}}

    def fresh_topic(self):
        self.close()
        self.topic = f"bench-{uuid.uuid4().hex[:6]}"
        self.producer = subprocess.Popen([self.python, __file__, str(self.port), self.topic], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True, bufsize=1)
        self.told()

    def told(self):
        said = self.producer.stdout.readline()
        if not said.startswith("done"):
            sys.exit(f"the producer said {said!r}")

    def feed(self, order):
        self.producer.stdin.write(order + "\n")
        self.told()

    def backlog(self, count):
        self.fresh_topic()
        self.feed(f"new {count}")
        return self.source()

    def send(self, lines):
        self.feed(f"lines {len(lines)}\n" + "\n".join(lines))

    def close(self):
        if getattr(self, "producer", None):
            self.producer.stdin.close()
            self.producer.wait()


class Subscription(Feeder):
    def __init__(self, bench):
        super().__init__(bench)
        self.port = bench.helper("pubsub.py").port

    def again(self, empty=False):
        self.number += 1
        self.name = f"bench-{self.number}"
        self.client = Client([self.port])
        subscribe(self.client, self.name, self.name)
        if not empty:
            lines = self.lines()
            for at in range(0, len(lines), 500):
                self.send(lines[at:at + 500])
        return {"pubsub": {"subscription": f"projects/keytrail/subscriptions/{self.name}",
                           "endpoint": f"http://127.0.0.1:{self.port}"}}

    def send(self, lines):
        publish(self.client, self.name, lines)


FEEDERS = {"files": Files, "http": Http, "sqs": Sqs, "kafka": Kafka, "pubsub": Subscription}


def produce(port, topic):
    """Run by the Python that has Kafka's client: a file, so many new events, or lines, and `done` after each."""
    into = producer(port, topic, {"linger.ms": 5, "queue.buffering.max.messages": 200_000})

    def new(count):
        world = corpus.World(corpus.ROLES)
        for number in range(count):
            put(into, topic, world.event(corpus.START + number * corpus.BETWEEN / 10).rstrip("\n"))
            if number % 1000 == 0:
                into.poll(0)

    print("done", flush=True)
    for order in sys.stdin:
        what, _, rest = order.strip().partition(" ")
        if what == "new":
            new(int(rest))
        elif what == "lines":
            for line in itertools.islice(sys.stdin, int(rest)):
                put(into, topic, line.rstrip("\n"))
        else:
            with open(order.strip(), encoding="utf-8") as file:
                for line in file:
                    put(into, topic, line.rstrip("\n"))
        into.flush(300)
        print("done", flush=True)


if __name__ == "__main__":
    produce(sys.argv[1], sys.argv[2])
