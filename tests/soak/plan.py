"""What is fed: CloudTrail records with planted findings and near misses, drawn from a seed. Knows nothing of Keytrail.

Every source has its own users and keys, but for some sequences that begin in one source and end in the next.
"""
import heapq
import json
import random
import uuid
from datetime import datetime, timezone

SOURCES = ["trail", "stream", "feed", "push"]
ACCOUNT = "111122223333"
NOISE = [("ec2", "DescribeInstances"), ("s3", "ListBuckets"), ("sts", "GetCallerIdentity"), ("lambda", "ListFunctions"),
         ("iam", "GetUser"), ("kms", "ListKeys"), ("dynamodb", "DescribeTable"), ("sqs", "GetQueueAttributes")]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
# Event time that is left free at both ends, and the longest of what is planted.
MARGIN, SPAN = 2.0, 30.0


def random_key(dice):
    return "AK" + "IA" + "".join(dice.choices(LETTERS, k=16))


class Plan:
    """`events` over `seconds`, as offsets from the beginning."""

    def __init__(self, seed, events, seconds, sources):
        self.seed, self.events, self.seconds, self.sources = seed, events, seconds, sources
        self.each = max(3, min(400, events // 200))

    def planted(self):
        """(source, offset, service, action, denied, key) of everything that is not noise."""
        dice = random.Random(f"{self.seed}/planted")
        count, latest = len(self.sources), self.seconds - MARGIN - SPAN
        for number in range(self.each * 4 // 3):
            miss = number >= self.each
            home = self.sources[number % count]
            for make in (self.marker, self.denied, self.sequence):
                begin = dice.uniform(MARGIN, max(latest, MARGIN + 0.1))
                yield from make(dice, number, miss, home, begin)

    def marker(self, dice, number, miss, home, begin):
        key = random_key(dice)
        for one in range(1 + number % 3):
            yield home, begin + one * 2.0, "iam", "CreateAccessKey", miss, key

    def denied(self, dice, number, miss, home, begin):
        """Twelve within twelve seconds; what only looks like it: nine, or twelve that are too far apart."""
        key = random_key(dice)
        if miss and number % 2:
            times = [begin + one * 2.6 for one in range(12)]
        else:
            times = [begin + one for one in range(9 if miss else 12)]
        for at in times:
            yield home, at, "s3", "GetBucketPolicy", True, key

    def sequence(self, dice, number, miss, home, begin):
        """Two calls; what only looks like it: the other way round, or too far apart."""
        key = random_key(dice)
        other = self.sources[(number + 1) % len(self.sources)] if number % 5 == 0 else home
        first, second = ("sts", "GetSessionToken"), ("iam", "PutUserPolicy")
        if miss and number % 2:
            first, second = second, first
        apart = 24.0 if miss and number % 2 == 0 else 6.0
        yield home, begin, *first, False, key
        yield other, begin + apart, *second, False, key

    def records(self, source, start):
        """(offset, record) of one source in the order in which they are fed: by time, but for some jitter."""
        mine = sorted((at, service, action, denied, key)
                      for home, at, service, action, denied, key in self.planted() if home == source)
        dice = random.Random(f"{self.seed}/{source}")
        noise = max(0, self.events // len(self.sources) - len(mine))
        merged = heapq.merge(mine, self.noise(dice, noise), key=lambda one: one[0])
        held = []
        for number, (at, service, action, denied, key) in enumerate(merged):
            due = at + dice.uniform(0.0, 1.5)
            heapq.heappush(held, (due, number, record(dice, start + at, service, action, denied, key)))
            while held and held[0][0] <= at:
                due, _, one = heapq.heappop(held)
                yield due, one
        while held:
            due, _, one = heapq.heappop(held)
            yield due, one

    def noise(self, dice, count):
        keys = [random_key(dice) for _ in range(max(40, count // 500))]
        for number in range(count):
            service, action = dice.choice(NOISE)
            yield self.seconds * (number + 0.5) / count, service, action, dice.random() < 0.01, dice.choice(keys)


def stamp(seconds):
    return datetime.fromtimestamp(int(seconds), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def record(dice, at, service, action, denied, key):
    user = f"user-{key[-6:].lower()}"
    made = {
        "eventVersion": "1.11",
        "userIdentity": {"type": "IAMUser", "principalId": f"AIDA{key[4:]}", "accountId": ACCOUNT, "userName": user,
                         "arn": f"arn:aws:iam::{ACCOUNT}:user/{user}", "accessKeyId": key},
        "eventTime": stamp(at),
        "eventSource": f"{service}.amazonaws.com",
        "eventName": action,
        "awsRegion": "eu-west-1",
        "sourceIPAddress": f"203.0.113.{dice.randrange(1, 255)}",
        "userAgent": "aws-cli/2.27.50 ua/2.1 os/linux#6.8 lang/python#3.13.4 m/E,b,n",
        "requestParameters": None,
        "responseElements": None,
        "requestID": str(uuid.UUID(int=dice.getrandbits(128))),
        "eventID": str(uuid.UUID(int=dice.getrandbits(128))),
        "readOnly": not action.startswith(("Create", "Put")),
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
    }
    if denied:
        made["errorCode"] = "AccessDenied"
        made["errorMessage"] = f"User: arn:aws:iam::{ACCOUNT}:user/{user} is not authorized to perform: {service}:{action}"
    return json.dumps(made, separators=(",", ":"))
