"""Runs each program of a line of JSON in a kernel of a Jupyter kernel gateway, and answers with a line of JSON.

Arguments: the gateway's port, and `call` for a kernel a program or `shared` for one that everybody shares.
"""

import fcntl
import json
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import websocket

SECONDS = 50
PORT, MODE = sys.argv[1:]
ADDRESS = f"127.0.0.1:{PORT}/api/kernels"


def ask(method: str, path: str = "", body: bytes | None = None) -> Any:
    with urlopen(Request(f"http://{ADDRESS}{path}", data=body, method=method), timeout=SECONDS) as answer:
        return json.loads(answer.read() or "null")


def start() -> str:
    return ask("POST", body=b'{"name": "python3"}')["id"]


def shared() -> str:
    """The first client starts it."""
    with Path("kernel.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = ask("GET")
        return running[0]["id"] if running else start()


def connect(kernel: str) -> websocket.WebSocket:
    return websocket.create_connection(f"ws://{ADDRESS}/{kernel}/channels", timeout=SECONDS)


def execute(channels: websocket.WebSocket, source: str) -> tuple[str, bool]:
    number = uuid.uuid4().hex
    header = {"msg_id": number, "msg_type": "execute_request", "username": "", "session": number, "version": "5.3", "date": ""}
    content = {"code": source, "silent": False, "store_history": False, "allow_stdin": False, "stop_on_error": False}
    request = {"header": header, "parent_header": {}, "metadata": {}, "channel": "shell", "buffers": [], "content": content}
    channels.send(json.dumps(request))
    said: list[str] = []
    failed, awaited = False, {"reply", "idle"}
    while awaited:
        message = json.loads(channels.recv())
        kind, content = message["msg_type"], message["content"]
        if message["parent_header"].get("msg_id") != number:
            continue
        if kind == "stream":
            said.append(content["text"])
        elif kind == "error":
            said.append(f"{content['ename']}: {content['evalue']}")
            failed = True
        elif kind == "execute_reply":
            awaited.discard("reply")
        elif kind == "status" and content["execution_state"] == "idle":
            awaited.discard("idle")
    return "".join(said), failed


def answer(said: str, failed: bool) -> None:
    print(json.dumps({"said": said, "failed": failed}), flush=True)


kept = connect(shared()) if MODE == "shared" else None
print("ready", flush=True)
for line in sys.stdin:
    source = json.loads(line)["source"]
    if kept:
        answer(*execute(kept, source))
    else:
        kernel = start()
        channels = connect(kernel)
        answer(*execute(channels, source))
        channels.close()
        ask("DELETE", f"/{kernel}")
