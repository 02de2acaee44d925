#!/usr/bin/env python3
"""A real mail server on loopback for the notifier's tests: aiosmtpd with a few answers on command.

usage: smtp.py FOLDER [CERTIFICATE KEY USER WORD]

Says `port N` on its first line, or `skipped: why`. Writes each mail to FOLDER/N.eml. Refuses recipients that begin with
`reject` (550) and puts off those that begin with `later` (451). With a certificate, it takes mail only after STARTTLS and
a login. Ends when its standard input does.
"""
import asyncio
import os
import ssl
import sys

from fetched import go_on_with

AIOSMTPD = "aiosmtpd==1.4.6"


class Box:
    def __init__(self, folder):
        self.folder, self.count = folder, 0

    async def handle_RCPT(self, _server, _session, envelope, address, _options):
        if address.startswith("reject"):
            return "550 5.1.1 no such mailbox"
        if address.startswith("later"):
            return "451 4.7.1 greylisted, come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope):
        self.count += 1
        with open(os.path.join(self.folder, f"{self.count}.eml"), "wb") as file:
            file.write(envelope.content)
        return "250 OK"


def options(arguments):
    from aiosmtpd.smtp import AuthResult

    if len(arguments) < 4:
        return {}
    certificate, key, user, word = arguments[:4]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    def authenticate(_server, _session, _envelope, _mechanism, data):
        known = (data.login, data.password) == (user.encode(), word.encode())
        return AuthResult(success=known, handled=False)

    return {
        "tls_context": context,
        "require_starttls": True,
        "auth_required": True,
        "auth_require_tls": True,
        "authenticator": authenticate,
    }


async def serve(folder, arguments):
    from aiosmtpd.smtp import SMTP

    box, given = Box(folder), options(arguments)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, hostname="localhost", **given), "127.0.0.1", 0)
    print(f"port {server.sockets[0].getsockname()[1]}", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main():
    go_on_with("aiosmtpd", AIOSMTPD, "smtp-server")
    asyncio.run(serve(sys.argv[1], sys.argv[2:]))


if __name__ == "__main__":
    main()
