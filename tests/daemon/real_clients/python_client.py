"""Runs programs through the shim as a user of a Python SDK would, and prints one line of JSON: what came of them.

Leaves out what would be right: the test that started it knows. Arguments: the shim, programs as a JSON object, the SDK (`mcp` or
`fastmcp`), and how it negotiates (`auto` or `legacy`).
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from mcp import MCPError, StdioServerParameters

TOOL = "execute_python_code"
# Beyond what the SDKs pass to every server.
PASSED_ON = ("XDG_RUNTIME_DIR", "XDG_STATE_HOME")
PATIENCE = 30


def client_of(sdk: str, mode: str, shim: str) -> Any:
    environment = {name: os.environ[name] for name in PASSED_ON}
    if sdk == "fastmcp":
        from fastmcp import Client
        from fastmcp.client.transports import StdioTransport

        return Client(StdioTransport(command=shim, args=[], env=environment, keep_alive=False), mode=mode)
    from mcp import Client

    return Client(StdioServerParameters(command=shim, env=environment), mode=mode)


async def run(client: Any, program: str) -> dict[str, Any]:
    # fastmcp's own result is another, and its error an exception.
    call = getattr(client, "call_tool_mcp", client.call_tool)
    result = await call(TOOL, {"source_code": program})
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def read(client: Any, result: dict[str, Any]) -> str:
    """The text of the first file that a result links to."""
    uri = next(item["uri"] for item in result["content"] if item["type"] == "resource_link")
    read = await client.read_resource(uri)
    return getattr(read, "contents", read)[0].text


async def refusal(client: Any, arguments: dict[str, Any]) -> dict[str, Any] | None:
    try:
        await getattr(client, "call_tool_mcp", client.call_tool)(TOOL, arguments)
    except MCPError as error:
        return {"code": error.code, "message": error.message}
    return None


def is_running(name: str) -> bool:
    def comm(process: Path) -> str:
        try:
            return (process / "comm").read_text().strip()
        except OSError:
            return ""

    return any(comm(process) == name for process in Path("/proc").glob("[0-9]*"))


async def until(what: bool, name: str) -> float:
    """How long it took until a program of this name was there, or was not."""
    started = time.monotonic()
    while is_running(name) != what:
        assert time.monotonic() - started < PATIENCE, f"{name}: {what}"
        await asyncio.sleep(0.005)
    return time.monotonic() - started


async def cancel(client: Any) -> float:
    """Gives up a call whose program runs; how long the program outlasted that."""
    name = f"busy-{os.getpid()}"
    program = f"import ctypes\nctypes.CDLL(None).prctl(15, b'{name}')\nwhile True: pass"
    call = asyncio.ensure_future(run(client, program))
    await until(True, name)
    call.cancel()
    return await until(False, name)


async def converse(shim: str, programs: dict[str, str], sdk: str, mode: str) -> dict[str, Any]:
    async with client_of(sdk, mode, shim) as client:
        tools = await client.list_tools()
        results = {name: await run(client, program) for name, program in programs.items()}
        version = getattr(client, "protocol_version", None) or client.session.protocol_version
        report = {
            "protocol_version": version,
            "tools": [tool.name for tool in getattr(tools, "tools", tools)],
            "results": results,
            "read": await read(client, results["file"]),
            "together": await asyncio.gather(run(client, "print('one')"), run(client, "print('two')")),
            "missing_argument": await refusal(client, {}),
            "seconds_to_cancel": await cancel(client),
            "afterwards": await run(client, "print('afterwards')"),
        }
        closing = time.monotonic()
    return report | {"seconds_to_close": time.monotonic() - closing}


if __name__ == "__main__":
    shim, programs, sdk, mode = sys.argv[1:]
    print(json.dumps(asyncio.run(converse(shim, json.loads(programs), sdk, mode))))
