"""CloudTrail events for the bench: one JSON record a line, about 1.26 KB each, always the same for the same code.

What a call looks like (request, response, resources, TLS and so on) comes from the records of
sample-events/aws.cloudtrail; a call that is not among them takes the shape of one of the same service. Who makes it,
from where, with which program, and which call it is, is drawn anew for each event, Zipf-like: a few principals,
addresses and calls make most of the events, as in a real trail. Seven in eight events are reads or AssumeRole, two in
a hundred are refused, and a few in a thousand are the rare calls that public rules look for.

Principals: mostly IAM users with keys or MFA sessions, federated users and AWS services. Role sessions are few unless
`roles` says otherwise: in a real trail they are most of the events, but SigmaHQ's rule "AWS STS AssumeRole Misuse"
matches each of them, so that the bench would measure the printing of matches and not the engine.

Every account, address, name and key id is a reserved example.
"""
import bisect
import datetime
import itertools
import json
import pathlib
import random
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = 20261102
START = datetime.datetime(2026, 11, 2)
BETWEEN = datetime.timedelta(milliseconds=2300)
ROLES = 0.01

ACCOUNTS = ["111122223333", "444455556666", "777788889999", "222233334444", "555566667777", "888899990000",
            "333344445555", "666677778888", "999900001111", "123456789012"]
REGIONS = ["eu-west-1", "us-east-1", "eu-central-1", "us-west-2", "ap-southeast-2", "us-east-2", "ap-northeast-1"]
ADDRESSES = [f"{net}.{host}" for host in range(1, 255) for net in ("192.0.2", "198.51.100", "203.0.113")]
FIRST = "lena maya ben noor ivan tess omar rosa kofi anna jun pia raul mina otto lucy amir dora hugo yara".split()
LAST = "braun ito okafor haddad petrov lind aziz moreno mensah weber sato costa diaz park klein".split()
WORK = "orders stock billing ledger search carts reports mail backup metrics images audit deploy sync etl".split()

# Service, then its calls; the first are the most frequent. Together with the rank of the service they make the weights.
CALLS = """
sts AssumeRole GetCallerIdentity AssumeRoleWithWebIdentity
ec2 DescribeInstances DescribeVpcs DescribeVolumes DescribeSubnets DescribeSecurityGroups DescribeNetworkInterfaces
ec2 DescribeTags DescribeImages DescribeRouteTables DescribeSnapshots DescribeAddresses DescribeRegions CreateTags
kms Decrypt GenerateDataKey DescribeKey ListAliases ListKeys GetKeyRotationStatus Encrypt
s3 GetObject ListObjects GetBucketLocation GetBucketAcl GetBucketPolicy GetBucketTagging HeadObject PutObject
ssm GetParameter GetParameters DescribeInstanceInformation ListAssociations UpdateInstanceInformation
logs CreateLogStream DescribeLogGroups DescribeLogStreams GetLogEvents FilterLogEvents ListTagsForResource
monitoring DescribeAlarms GetMetricData ListMetrics GetMetricStatistics PutMetricAlarm
dynamodb DescribeTable ListTables DescribeContinuousBackups ListTagsOfResource DescribeTimeToLive
sqs GetQueueAttributes ListQueues GetQueueUrl ListQueueTags
iam GetRole ListUsers ListRoles ListAttachedUserPolicies ListAccessKeys GetUser ListAttachedRolePolicies GetPolicy
iam ListRolePolicies GetPolicyVersion ListPolicies GetAccountSummary GetInstanceProfile
rds DescribeDBInstances DescribeDBClusters DescribeDBSnapshots ListTagsForResource DescribeDBParameters
secretsmanager GetSecretValue ListSecrets DescribeSecret GetResourcePolicy
ecs DescribeServices DescribeTasks ListClusters ListTasks DescribeClusters UpdateService
cloudformation DescribeStacks ListStacks DescribeStackEvents GetTemplate ListStackResources DescribeStackResources
ecr GetAuthorizationToken DescribeRepositories BatchGetImage DescribeImages ListImages
bedrock Converse InvokeModelWithResponseStream InvokeModel ListFoundationModels GetFoundationModel
cloudtrail DescribeTrails LookupEvents GetTrailStatus ListTrails GetEventSelectors
rdsdata ExecuteStatement BatchExecuteStatement
ce GetCostAndUsage GetCostForecast GetDimensionValues
lambda ListFunctions GetFunction GetFunctionConfiguration ListTags GetPolicy
elasticloadbalancing DescribeLoadBalancers DescribeTargetGroups DescribeTargetHealth DescribeListeners
autoscaling DescribeAutoScalingGroups DescribeAutoScalingInstances DescribePolicies
eks DescribeCluster ListClusters ListNodegroups DescribeNodegroup
guardduty ListDetectors GetDetector ListFindings GetFindings
config DescribeConfigurationRecorders DescribeConfigRules SelectResourceConfig PutEvaluations
route53 ListHostedZones ListResourceRecordSets GetHostedZone
bedrock-agentcore InvokeGateway
aws-mcp CallReadWriteTool
health DescribeEventAggregates
"""
# The same for calls that change what matters; RARE of all events are drawn from these.
RARE = 0.006
RARE_CALLS = """
iam CreateAccessKey CreateUser UpdateLoginProfile AttachUserPolicy PutRolePolicy UpdateAccessKey DeleteSAMLProvider
ec2 AuthorizeSecurityGroupIngress RevokeSecurityGroupIngress CreateRoute CreateNetworkAclEntry ModifySnapshotAttribute
ec2 ImportKeyPair DeleteFlowLogs AuthorizeSecurityGroupEgress ModifyInstanceAttribute CreateVpcPeeringConnection
s3 ListBuckets PutBucketVersioning PutLifecycleConfiguration DeleteBucket PutBucketLogging PutBucketPolicy
ssm SendCommand StartSession
cloudtrail StopLogging UpdateTrail DeleteTrail PutEventSelectors
eks CreateCluster DeleteCluster
rds ModifyDBCluster DeleteDBCluster ModifyDBInstance ModifyDBSnapshotAttribute
sts GetSessionToken AssumeRoleWithSAML GetFederationToken
securityhub BatchUpdateFindings UpdateInsight
elasticloadbalancing SetSecurityGroups
lambda CreateFunctionUrlConfig UpdateFunctionConfiguration AddPermission
guardduty CreateIPSet UpdateDetector
kms ImportKeyMaterial ScheduleKeyDeletion
secretsmanager PutResourcePolicy DeleteSecret
signin ConsoleLogin
"""
READS = ("Get", "List", "Describe", "Head", "Lookup", "BatchGet", "Filter", "Select", "AssumeRole", "Decrypt",
         "Encrypt", "Converse", "Invoke", "GenerateDataKey", "Execute", "BatchExecute")
MARK = re.compile(r"\x01(\w+)\x01")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
KEY = re.compile(r"A(?:KIA|SIA)[A-Z0-9]{9}EXAMPLE")
REFUSALS = ["AccessDenied", "AccessDenied", "AccessDenied", "Client.UnauthorizedOperation", "ThrottlingException",
            "ResourceNotFoundException", "NoSuchEntityException", "ValidationException"]


def write(path, count, roles=ROLES):
    world = World(roles)
    with path.open("w", buffering=1 << 20) as out:
        for number in range(count):
            out.write(world.event(START + number * BETWEEN))


class Zipf:
    """Draws from a list, the n-th as often as weight(n): 1/n unless weights are given."""

    def __init__(self, items, weights=None):
        self.items = items
        self.sums = list(itertools.accumulate(weights or [1 / rank for rank in range(1, len(items) + 1)]))

    def draw(self, chance):
        return self.items[bisect.bisect_left(self.sums, chance.random() * self.sums[-1])]


class World:
    def __init__(self, roles):
        self.chance = random.Random(SEED)
        shapes = [shape(record) for file in samples() for record in records(file)]
        self.common = calls(CALLS, shapes)
        self.rare = calls(RARE_CALLS, shapes)
        self.principals = Zipf(*principals(self.chance, roles))
        self.refusals = Zipf(REFUSALS, [1] * len(REFUSALS))

    def event(self, time):
        chance = self.chance
        rare = chance.random() < RARE
        source, call, parts = (self.rare if rare else self.common).draw(chance)
        who = self.principals.draw(chance)
        bits = f"{chance.getrandbits(384):096x}"
        values = {
            "identity": who["identity"], "account": who["account"], "region": who["regions"].draw(chance),
            "address": who["addresses"].draw(chance), "agent": who["agents"].draw(chance),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ"), "event": f"{source}.amazonaws.com", "call": call,
            "reads": "true" if call.startswith(READS) else "false",
            "refused": self.refused(who, source, call), "key": key_id("ASIA", bits[64:80]),
            "uuid1": uuid(bits[:32]), "uuid2": uuid(bits[32:64]), "uuid3": uuid(bits[64:]),
        }
        return "".join(values[part] if odd else part for part, odd in parts)

    def refused(self, who, source, call):
        if self.chance.random() > 0.02:
            return ""
        code = self.refusals.draw(self.chance)
        text = f"User: {who['arn']} is not authorized to perform: {source}:{call} because no identity-based policy " \
               "allows it" if "nauth" in code or "Denied" in code else f"{call} was not done"
        return f',"errorCode":"{code}","errorMessage":"{text}"'


# ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────────────

def samples():
    folder = ROOT / "sample-events" / "aws.cloudtrail"
    return sorted(path for path in folder.iterdir() if path.suffix in (".json", ".jsonl"))


def records(path):
    """The bare records of a sample file, out of the envelopes that samples use."""
    text = path.read_text()
    documents = [json.loads(text)] if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    for document in documents:
        if "Records" in document:
            yield from document["Records"]
        elif "Events" in document:
            yield from (json.loads(event["CloudTrailEvent"]) for event in document["Events"])
        else:
            yield document.get("detail", document) if "detail-type" in document else document


def shape(record):
    """Service and call of a sample, and its text as parts: what stays, and the names of what changes."""
    service, call = record["eventSource"].removesuffix(".amazonaws.com"), record["eventName"]
    changed = dict(record, userIdentity="\1identity\1", eventTime="\1time\1", eventSource="\1event\1",
                   eventName="\1call\1", awsRegion="\1region\1", sourceIPAddress="\1address\1", userAgent="\1agent\1",
                   recipientAccountId="\1account\1", requestID="\1uuid1\1", eventID="\1uuid2\1",
                   readOnly="\1reads\1")
    for absent in ("errorCode", "errorMessage"):
        changed.pop(absent, None)
    text = json.dumps(changed, separators=(",", ":"), ensure_ascii=False).replace("\\u0001", "\1")
    for bare in ("identity", "reads"):
        text = text.replace(f'"\1{bare}\1"', f"\1{bare}\1")
    text = text.replace('"\1agent\1"', '"\1agent\1"\1refused\1')
    text = KEY.sub("\1key\1", UUID.sub("\1uuid3\1", text.replace("111122223333", "\1account\1")))
    pieces = MARK.split(text + "\n")
    return service, call, [(piece, place % 2) for place, piece in enumerate(pieces)]


def frequent(count):
    """Service and call of the most frequent ones."""
    common = calls(CALLS, [shape(record) for file in samples() for record in records(file)])
    weights = [after - before for before, after in zip([0, *common.sums], common.sums)]
    ranked = sorted(zip(weights, common.items), key=lambda pair: -pair[0])
    return [item[:2] for _, item in ranked[:count]]


def calls(table, shapes):
    """A Zipf of (service, call, parts); weights fall with the rank of the line's service and of the call in it."""
    items, weights, rank_of = [], [], {}
    for line in table.split("\n"):
        service, *names = line.split() or [""]
        for name in names:
            rank_of.setdefault(service, []).append(name)
    for rank, (service, names) in enumerate(rank_of.items(), 1):
        for place, name in enumerate(names, 1):
            items.append((service, name, likeness(shapes, service, name)))
            weights.append(1 / (rank * place ** 0.7))
    return Zipf(items, weights)


def likeness(shapes, service, call):
    """The longest sample of this call; or of this service's; or, for want of both, of a plain read."""
    size = lambda found: sum(len(piece) for piece, _ in found[2])
    same = [found for found in shapes if found[:2] == (service, call)]
    near = [found for found in shapes if found[0] == service]
    plain = [found for found in shapes if found[1] == "GetParameter"]
    return max(same or near or plain, key=size)[2]


# ── principals ───────────────────────────────────────────────────────────────────────────────────────────────────────

def principals(chance, roles):
    """Who acts, and how often: kinds have fixed shares, and within a kind Zipf decides."""
    kinds = {user: 0.42, session_user: 0.10, federated: 0.33, service: 0.13, outside: 0.018, root: 0.0005}
    scale = (1 - roles) / sum(kinds.values())
    shares = {kind: share * scale for kind, share in kinds.items()} | {role: roles}
    items, weights = [], []
    for kind, share in shares.items():
        count = {root: 3, service: 6}.get(kind, 300)
        total = sum(1 / rank for rank in range(1, count + 1))
        for rank in range(1, count + 1):
            items.append(principal(kind, rank, chance))
            weights.append(share / rank / total)
    return items, weights


def user_name(number):
    """Of the number-th IAM user: half people, half programs."""
    if number % 2:
        return f"{FIRST[number % len(FIRST)]}.{LAST[number % len(LAST)]}"
    return f"{WORK[number % len(WORK)]}-{number}"


def principal(kind, number, chance):
    account = ACCOUNTS[min(int(chance.expovariate(0.6)), len(ACCOUNTS) - 1)]
    identity = kind(number, account, f"{chance.getrandbits(64):016x}")
    own = chance.sample(ADDRESSES, 4)
    agents = [agent(chance) for _ in range(3)]
    if kind is service:
        own = agents = [identity["invokedBy"]]
    return {"identity": json.dumps(identity, separators=(",", ":")), "arn": identity.get("arn", "nobody"),
            "account": account, "addresses": Zipf(own), "agents": Zipf(agents),
            "regions": Zipf(chance.sample(REGIONS, 2), [9, 1])}


def user(number, account, bits):
    name = user_name(number)
    return {"type": "IAMUser", "principalId": f"AIDA{letters(bits)}EXAMPLE",
            "arn": f"arn:aws:iam::{account}:user/{name}", "accountId": account,
            "accessKeyId": key_id("AKIA", bits), "userName": name}


def session_user(number, account, bits):
    return user(number, account, bits) | {"accessKeyId": key_id("ASIA", bits), "sessionContext": {"attributes": {
        "creationDate": "2026-11-02T06:00:00Z", "mfaAuthenticated": "true"}}}


def federated(number, account, bits):
    name = user_name(number)
    issuer = {"type": "IAMUser", "principalId": f"AIDA{letters(bits)}EXAMPLE", "accountId": account,
              "arn": f"arn:aws:iam::{account}:user/federation-{number % 7}", "userName": f"federation-{number % 7}"}
    return session("FederatedUser", f"arn:aws:sts::{account}:federated-user/{name}", issuer, bits)


def role(number, account, bits):
    name = f"{WORK[number % len(WORK)]}-role"
    issuer = {"type": "Role", "principalId": f"AROA{letters(bits)}EXAMPLE", "accountId": account,
              "arn": f"arn:aws:iam::{account}:role/{name}", "userName": name}
    return session("AssumedRole", f"arn:aws:sts::{account}:assumed-role/{name}/i-0{bits}", issuer, bits)


def session(kind, arn, issuer, bits):
    times = {"creationDate": "2026-11-02T06:00:00Z", "mfaAuthenticated": "false"}
    return {"type": kind, "principalId": f"{issuer['principalId']}:{arn.rsplit('/')[-1]}", "arn": arn,
            "accountId": issuer["accountId"], "accessKeyId": key_id("ASIA", bits),
            "sessionContext": {"sessionIssuer": issuer, "attributes": times}}


def service(number, account, bits):
    names = ["lambda", "ec2", "ecs-tasks", "autoscaling", "config", "cloudtrail"]
    return {"type": "AWSService", "invokedBy": f"{names[number - 1]}.amazonaws.com"}


def outside(number, account, bits):
    return {"type": "AWSAccount", "principalId": f"AIDA{letters(bits)}EXAMPLE", "accountId": account}


def root(number, account, bits):
    return {"type": "Root", "principalId": account, "arn": f"arn:aws:iam::{account}:root", "accountId": account,
            "accessKeyId": ""}


def agent(chance):
    """One of the programs that call AWS, in one of the versions that are about."""
    major, cli, terraform = chance.randrange(40, 44), chance.randrange(25, 32), chance.randrange(0, 20)
    minor, place = chance.randrange(100), chance.choice(["AWS_Lambda_python3.12", "AWS_ECS_FARGATE", "AWS_EC2"])
    boto = f"1.{major}.{minor}"
    sdk = f"Boto3/{boto} md/Botocore#{boto} ua/2.1 os/linux#6.8.0 md/arch#x86_64 lang/python#3.12.11 " \
          f"md/pyimpl#CPython exec-env/{place} cfg/retry-mode#standard Botocore/{boto}"
    return chance.choice([
        sdk, sdk, sdk,
        f"aws-cli/2.{cli}.{minor % 30} md/awscrt#0.27.6 ua/2.1 os/linux#6.8.0 md/arch#x86_64 lang/python#3.13.7",
        f"APN/1.0 HashiCorp/1.0 Terraform/1.13.{terraform % 5} (+https://www.terraform.io) "
        f"terraform-provider-aws/6.{terraform}.0 aws-sdk-go-v2/1.39.{terraform} ua/2.1 os/linux lang/go#1.24.9",
        f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{118 + minor % 25}.0.0.0 Safari/537.36",
        f"claude-code/2.1.{minor} (cli)", f"python-requests/2.{minor % 33}.0",
    ])


def letters(bits):
    return "".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[int(digit, 16) + 8] for digit in bits[:9])


def key_id(prefix, bits):
    return f"{prefix}{letters(bits)}EXAMPLE"


def uuid(bits):
    return f"{bits[:8]}-{bits[8:12]}-5{bits[13:16]}-a{bits[17:20]}-{bits[20:32]}"
