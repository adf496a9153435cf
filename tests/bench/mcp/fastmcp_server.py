"""The MCP server that one writes in ten lines of Python, with an HTTP client for each call. Argument: the interpreter's URL."""

import sys
from typing import Any

import httpx
from fastmcp import FastMCP

server = FastMCP("python-interpreter")


@server.tool
async def execute_python_code(source_code: str) -> dict[str, Any]:
    """Run Python code."""
    async with httpx.AsyncClient() as client:
        response = await client.post(f"{sys.argv[1]}/v1/execute", json={"source_code": source_code})
    return response.json()


server.run(show_banner=False)
