"""Runs programs through the shim as a user of the Python SDK would, and prints one line of JSON: what came of them.

Leaves out what would be right: the test that started it knows. Arguments: the shim, and programs as a JSON object.
"""

import asyncio
import json
import os
import sys
import time
from typing import Any

from mcp import Client, MCPError, StdioServerParameters

TOOL = "execute_python_code"
# Beyond what the SDK passes to every server.
PASSED_ON = ("XDG_RUNTIME_DIR", "XDG_STATE_HOME")


async def run(client: Client, program: str) -> dict[str, Any]:
    result = await client.call_tool(TOOL, {"source_code": program})
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def refusal(client: Client, arguments: dict[str, Any]) -> dict[str, Any] | None:
    try:
        await client.call_tool(TOOL, arguments)
    except MCPError as error:
        return {"code": error.code, "message": error.message}
    return None


async def converse(shim: str, programs: dict[str, str]) -> dict[str, Any]:
    server = StdioServerParameters(command=shim, env={name: os.environ[name] for name in PASSED_ON})
    async with Client(server) as client:
        report = {
            "protocol_version": client.protocol_version,
            "tools": [tool.name for tool in (await client.list_tools()).tools],
            "results": {name: await run(client, program) for name, program in programs.items()},
            "together": await asyncio.gather(run(client, "print('one')"), run(client, "print('two')")),
            "missing_argument": await refusal(client, {}),
        }
        closing = time.monotonic()
    return report | {"seconds_to_close": time.monotonic() - closing}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(converse(sys.argv[1], json.loads(sys.argv[2])))))
