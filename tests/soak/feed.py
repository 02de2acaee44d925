"""Feeds one source at the pace of its events, and writes down what it fed. Says `ready`, waits for `go`, ends with counts.

usage: feed.py JSON — {"source", "kind", "seed", "events", "seconds", "sources", "raw", …}; see `run`
"""
import base64
import gzip
import http.client
import json
import os
import random
import sys
import time
import urllib.parse

from plan import ACCOUNT, Plan, stamp

# How many of what is sent are sent twice.
TWICE = 0.01
PARENT = os.getppid()
SIGNED = "AWS4-HMAC-SHA256 Credential=soak/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"


class Client:
    """HTTP, tried again until it is answered well."""

    def __init__(self, ports, is_over=lambda: os.getppid() != PARENT):
        self.ports, self.is_over, self.open, self.again = ports, is_over, None, 0

    def send(self, method, path, body, headers=None, good=(200,)):
        while not self.is_over():
            try:
                if self.open is None:
                    self.open = http.client.HTTPConnection("127.0.0.1", self.ports[0], timeout=20)
                self.open.request(method, path, body, headers or {})
                answer = self.open.getresponse()
                said = answer.read()
                if answer.status in good:
                    return said
                if 400 <= answer.status < 429:
                    raise SystemExit(f"{method} {path}: {answer.status} {said[:300]!r}")
            except (OSError, http.client.HTTPException):
                pass
            self.again += 1
            self.open, self.ports = None, self.ports[1:] + self.ports[:1]
            time.sleep(0.2)
        raise SystemExit("whoever asked for it is gone")


class S3:
    """Objects, each announced through a queue."""

    batch = 500

    def __init__(self, told, dice):
        self.client, self.dice, self.told, self.number, self.waiting = Client([told["port"]]), dice, told, 0, []
        self.drop, self.shuffle, self.dropped = told.get("drop", 0), told.get("shuffle", False), []
        self.queue("CreateQueue", {"QueueName": "notices"})

    def queue(self, action, body):
        headers = {"X-Amz-Target": f"AmazonSQS.{action}", "Content-Type": "application/x-amz-json-1.0",
                   "Authorization": SIGNED.format("sqs")}
        return self.client.send("POST", "/", json.dumps(body), headers)

    def send(self, records):
        self.number += 1
        day = stamp(time.time())[:10].replace("-", "/")
        # What CloudTrail's names never hold, to see it come through the notice's coding.
        key = f"AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/{day}/{ACCOUNT}_CloudTrail_eu-west-1_n={self.number}+é.json.gz"
        body = gzip.compress(b'{"Records":[' + ",".join(records).encode() + b"]}", 1)
        self.client.send("PUT", f"/bucket/{urllib.parse.quote(key)}", body, {"Content-Type": "application/json"})
        place = {"key": urllib.parse.quote_plus(key, safe="/"), "size": len(body)}
        notice = {"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventName": "ObjectCreated:Put",
                  "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": "bucket"}, "object": place}}
        if self.dice.random() < self.drop:
            self.dropped.append(key)
        elif self.shuffle:
            self.waiting.append(notice)
        else:
            self.announce(notice)
        return key

    def announce(self, notice):
        url = f"http://127.0.0.1:{self.told['port']}/123456789012/notices"
        self.queue("SendMessage", {"QueueUrl": url, "MessageBody": json.dumps({"Records": [notice]})})
        if self.dice.random() < TWICE:
            self.queue("SendMessage", {"QueueUrl": url, "MessageBody": json.dumps({"Records": [notice]})})

    def finish(self):
        self.dice.shuffle(self.waiting)
        for notice in self.waiting:
            self.announce(notice)
        return {"objects": self.number, "dropped": self.dropped, "again": self.client.again}


class Pubsub:
    batch = 200

    def __init__(self, told, dice):
        self.client, self.dice, self.twice = Client([told["port"]]), dice, 0
        subscribe(self.client, "audit", "keytrail")

    def send(self, records):
        again = self.dice.random() < TWICE
        self.twice += len(records) * again
        for _ in range(1 + again):
            publish(self.client, "audit", records)

    def finish(self):
        return {"twice": self.twice, "again": self.client.again}


def subscribe(client, topic, name):
    """Makes both, where they are not there yet."""
    topic, json_type = f"projects/keytrail/topics/{topic}", {"Content-Type": "application/json"}
    client.send("PUT", f"/v1/{topic}", "{}", json_type, (200, 409))
    wanted = json.dumps({"topic": topic, "ackDeadlineSeconds": 10})
    client.send("PUT", f"/v1/projects/keytrail/subscriptions/{name}", wanted, json_type, (200, 409))


def publish(client, topic, records):
    body = json.dumps({"messages": [{"data": base64.b64encode(one.encode()).decode()} for one in records]})
    client.send("POST", f"/v1/projects/keytrail/topics/{topic}:publish", body, {"Content-Type": "application/json"})


class Push:
    batch = 500

    def __init__(self, told, dice):
        self.client, self.dice, self.twice = Client(told["ports"]), dice, 0

    def send(self, records):
        again = self.dice.random() < TWICE
        self.twice += len(records) * again
        for _ in range(1 + again):
            self.client.send("POST", "/v1/push", "\n".join(records) + "\n", {"Content-Type": "application/x-ndjson"})

    def finish(self):
        return {"twice": self.twice, "again": self.client.again}


def producer(port, topic, more):
    """Of a topic that it makes, with four partitions. Needs confluent_kafka."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic
    brokers = {"bootstrap.servers": f"127.0.0.1:{port}"}
    admin = AdminClient(brokers)
    admin.create_topics([NewTopic(topic, num_partitions=4, replication_factor=1)])[topic].result(30)
    return Producer(brokers | {"linger.ms": 20, "compression.type": "lz4", "log_level": 0} | more)


def put(into, topic, line, **more):
    """Waits while the producer's queue is full."""
    while True:
        try:
            return into.produce(topic, line, **more)
        except BufferError:
            into.poll(0.5)


class Kafka:
    """One event a message, by key."""

    batch = 1_000

    def __init__(self, told, dice):
        self.producer = producer(told["port"], "audit", {"enable.idempotence": True, "delivery.timeout.ms": 600_000})
        self.dice, self.twice, self.failed = dice, 0, 0

    def told(self, error, _):
        self.failed += error is not None

    def send(self, records):
        for one in records:
            again = self.dice.random() < TWICE
            self.twice += again
            for _ in range(1 + again):
                key = json.loads(one)["userIdentity"]["accessKeyId"]
                put(self.producer, "audit", one, key=key, on_delivery=self.told)
        self.producer.poll(0)

    def finish(self):
        left = self.producer.flush(300)
        if left or self.failed:
            raise SystemExit(f"{left + self.failed} messages did not reach Kafka")
        return {"twice": self.twice, "again": 0}


KINDS = {"sqs": S3, "kafka": Kafka, "pubsub": Pubsub, "http": Push}


def batches(records, size, step):
    """Together what is due together, with when it is due."""
    held, slot = [], None
    for due, one in records:
        if held and (due // step != slot or len(held) >= size):
            yield last, held
            held = []
        held.append(one)
        slot, last = due // step, due
    if held:
        yield last, held


def main():
    told = json.loads(sys.argv[1])
    dice = random.Random(f"{told['seed']}/{told['source']}/feed")
    sink = KINDS[told["kind"]](told, dice)
    print("ready", flush=True)
    start = float(sys.stdin.readline())
    plan = Plan(told["seed"], told["events"], told["seconds"], told["sources"])
    fed = 0
    with open(os.path.join(told["raw"], told["source"] + ".ndjson"), "w", encoding="utf-8") as raw:
        for due, batch in batches(plan.records(told["source"], start), sink.batch, told["step"]):
            if told["paced"]:
                time.sleep(max(0.0, start + due - time.time()))
            # Written down first: what is fed and not written down cannot be, what is written down is fed.
            raw.write("\n".join(batch) + "\n")
            sink.send(batch)
            fed += len(batch)
    print(json.dumps({"fed": fed} | sink.finish()), flush=True)


if __name__ == "__main__":
    main()
