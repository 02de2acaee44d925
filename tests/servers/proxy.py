"""A TCP proxy on loopback that can be cut: `proxy.py PORT [h2]` says `port N`, and obeys `cut` and `heal` on its input.

While it is cut it has no listener and no connections, as a server that is down. With `h2` the calls of an HTTP/2 client
that is gone are ended one by one: Google's emulator of Pub/Sub goes on sending into a lost connection otherwise.
"""
import asyncio
import os
import sys

# Of HTTP/2: the length of what a client says first, the kind of frame that begins a call, and an empty one that ends it.
PREFACE, HEADERS, END = 24, 1, b"\x00\x00\x00\x00\x01"


class Proxy:
    def __init__(self, target):
        self.target, self.port, self.server, self.clients = target, 0, None, set()

    async def heal(self):
        if self.server is None:
            self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
            self.port = self.server.sockets[0].getsockname()[1]

    def cut(self):
        if self.server is not None:
            self.server.close()
            self.server = None
        for writer in list(self.clients):
            writer.transport.abort()

    async def serve(self, reader, writer):
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self.clients.add(writer)
        up = self.frames(reader, back) if sys.argv[2:] == ["h2"] else self.pump(reader, back)
        await asyncio.gather(up, self.pump(there, writer))
        self.clients.discard(writer)

    async def pump(self, reader, writer):
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.close()

    async def frames(self, reader, writer):
        """Whole frames only, so that more can follow them."""
        calls = set()
        try:
            writer.write(await reader.readexactly(PREFACE))
            while head := await reader.readexactly(9):
                kind, call = head[3], int.from_bytes(head[5:9], "big")
                if kind == HEADERS:
                    calls.add(call)
                writer.write(head + await reader.readexactly(int.from_bytes(head[:3], "big")))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        # One that is over may be ended once more.
        for call in calls if not writer.is_closing() else ():
            writer.write(END + call.to_bytes(4, "big"))
        await asyncio.sleep(0.2)
        writer.close()


async def main():
    proxy = Proxy(int(sys.argv[1]))
    await proxy.heal()
    print(f"port {proxy.port}", flush=True)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while order := (await orders.readline()).strip():
        if order == b"cut":
            proxy.cut()
        else:
            await proxy.heal()
    # Connections that are open are nobody's any more.
    os._exit(0)


asyncio.run(main())
