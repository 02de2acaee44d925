#!/usr/bin/env python3
"""Apache Kafka on loopback, one node, for the tests of what reads from it.

usage: kafka.py FOLDER

Data, ports and certificates are kept in FOLDER: started there again, it is the same broker. FOLDER/ports holds the ports
for plain text, for SASL (PLAIN, and OAUTHBEARER with unsigned tokens) and for TLS; FOLDER/ca.pem signs the last.
Users: keytrail, with the password in FOLDER/password, may everything; stranger, with the same password, nothing.

Says `port N` on its first line, or `skipped: why`. This process becomes the broker; it ends when its standard input does.
"""
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time

from fetched import locked, skip

VERSION = "4.3.1"
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>keytrail</groupId><artifactId>kafka-server</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
  </dependency></dependencies>
</project>
"""
CLUSTER = "a2V5dHJhaWwtdGVzdHMtMQ"
JAAS = "org.apache.kafka.common.security"


def fetched():
    """The folder with the broker's jars, fetched once."""
    with locked("kafka-server") as folder:
        done, jars = os.path.join(folder, f"done-{VERSION}"), os.path.join(folder, f"jars-{VERSION}")
        if not os.path.exists(done):
            with open(os.path.join(folder, "pom.xml"), "w", encoding="utf-8") as pom:
                pom.write(POM)
            command = ["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
            subprocess.run(command, cwd=folder, check=True, timeout=300, stdin=subprocess.DEVNULL, capture_output=True)
            open(done, "w", encoding="utf-8").close()
    return jars


def run(*command, **more):
    subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL, capture_output=True, **more)


def certificates(folder):
    """An own CA, and what it signed for 127.0.0.1, as PEM."""
    def request(name, *more):
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-subj", f"/CN={name}", *more,
            cwd=folder)

    request("ca", "-x509", "-days", "2", "-out", "ca.pem")
    request("broker", "-out", "broker.csr")
    with open(os.path.join(folder, "san"), "w", encoding="utf-8") as san:
        san.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    run("openssl", "x509", "-req", "-in", "broker.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days",
        "2", "-extfile", "san", "-out", "broker.crt", cwd=folder)
    with open(os.path.join(folder, "broker.pem"), "wb") as pem:
        for part in ["broker.key", "broker.crt"]:
            with open(os.path.join(folder, part), "rb") as text:
                pem.write(text.read())


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def properties(folder, ports, password):
    plain, sasl, tls, controller = ports
    users = f'user_keytrail="{password}" user_stranger="{password}"'
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAIN",
        "listeners": f"PLAIN://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},TLS://127.0.0.1:{tls},"
        f"CONTROLLER://127.0.0.1:{controller}",
        "listener.security.protocol.map": "PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,CONTROLLER:PLAINTEXT",
        "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN,OAUTHBEARER",
        "listener.name.sasl.plain.sasl.jaas.config": f"{JAAS}.plain.PlainLoginModule required {users};",
        "listener.name.sasl.oauthbearer.sasl.jaas.config":
            f'{JAAS}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
        "listener.name.tls.ssl.keystore.type": "PEM",
        "listener.name.tls.ssl.keystore.location": os.path.join(folder, "broker.pem"),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:keytrail",
        "log.dirs": os.path.join(folder, "data"),
        "num.partitions": 1,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 2,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "message.max.bytes": 32 << 20,
        "auto.create.topics.enable": "false",
        "log.retention.check.interval.ms": 1000,
        "log.initial.task.delay.ms": 500,
        "file.delete.delay.ms": 500,
        "num.network.threads": 2,
        "num.io.threads": 3,
        "log.cleaner.dedupe.buffer.size": 4 << 20,
    }


def prepared(folder, java):
    """The ports and the file with the broker's properties, made when there are none yet."""
    known, file = os.path.join(folder, "ports"), os.path.join(folder, "server.properties")
    if not os.path.exists(known):
        os.makedirs(folder, exist_ok=True)
        certificates(folder)
        ports, password = free_ports(4), secrets.token_hex(8)
        with open(os.path.join(folder, "password"), "w", encoding="utf-8") as secret:
            secret.write(password)
        with open(file, "w", encoding="utf-8") as text:
            text.writelines(f"{key}={value}\n" for key, value in properties(folder, ports, password).items())
        run(*java, "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", file)
        with open(known, "w", encoding="utf-8") as text:
            text.write(" ".join(map(str, ports[:3])))
    with open(known, encoding="utf-8") as text:
        return [int(port) for port in text.read().split()], file


def watch(broker, ports):
    """Says when the broker is ready; ends it when nobody needs it any more."""
    def is_ready(port):
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", port)) == 0

    until = time.monotonic() + 60
    while not all(map(is_ready, ports)):
        if time.monotonic() > until or os.getppid() != broker:
            if os.getppid() == broker:
                os.kill(broker, signal.SIGKILL)
            skip("the broker did not start within 60 s; FOLDER/log says why")
        time.sleep(0.1)
    print(f"port {ports[0]}", flush=True)
    sys.stdin.read()
    if os.getppid() == broker:
        os.kill(broker, signal.SIGKILL)


def main():
    folder = os.path.abspath(sys.argv[1])
    for tool in ["java", "mvn", "openssl"]:
        if not shutil.which(tool):
            skip(f"{tool} is not there")
    try:
        jars = fetched()
        java = ["java", "-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*"]
        ports, file = prepared(folder, java)
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or b""
        lines = (output or getattr(error, "stdout", None) or b"").decode(errors="replace").strip().splitlines()
        skip(f"Kafka cannot be had: {error} {' '.join(lines[-1:])}")
    broker = os.getpid()
    if os.fork() == 0:
        watch(broker, ports)
        os._exit(0)
    log = os.open(os.path.join(folder, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in [(nothing, 0), (log, 1), (log, 2)]:
        os.dup2(ours, theirs)
    os.execvp(java[0], java + ["kafka.Kafka", file])


if __name__ == "__main__":
    main()
