"""An interpreter service that runs nothing: it counts how often it was sent each code, and answers with the code as its output, after a
moment in which the daemon may be killed."""

import asyncio
import collections
import json
import threading


class FakeInterpreter:
    def __init__(self, delay):
        self.delay = delay
        self.runs = collections.Counter()
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0))
        self.url = f"http://localhost:{self.server.sockets[0].getsockname()[1]}"
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    async def serve(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
                code = json.loads(await reader.readexactly(length))["source_code"]
                self.runs[code] += 1
                await asyncio.sleep(self.delay)
                answer = json.dumps({"stdout": code, "stderr": "", "exit_code": 0, "files": {}}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def close(self):
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
