# A machine with two users: one user's client launches the shim, and a program must not see that user's files.
{ module }:
{
  name = "python-interpreter-mcp";

  nodes.machine = {
    imports = [ module ];
    services.python-interpreter-mcp = {
      enable = true;
      settings.timeout = 60;
    };
    users.users.ada = {
      isNormalUser = true;
      uid = 1000;
      linger = true;
    };
    users.users.charles = {
      isNormalUser = true;
      uid = 1001;
    };
  };

  testScript = ''
    import json

    as_ada = "sudo -u ada env -i HOME=/home/ada PATH=/run/current-system/sw/bin "
    manager = "XDG_RUNTIME_DIR=/run/user/1000 systemctl --user "

    machine.wait_for_unit("multi-user.target")
    machine.wait_for_unit("user@1000.service")
    machine.wait_for_file("/run/user/1000/python-interpreter-mcp/mcp.sock")
    machine.fail(as_ada + manager + "is-active python-interpreter-mcpd.service")

    frames = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "execute_python_code", "arguments": {
            "source_code": "import numpy, os; print(numpy.arange(4).sum(), os.path.exists('/home/ada'))"}}},
    ]
    lines = "".join(json.dumps(frame) + "\n" for frame in frames)
    machine.succeed(f"cat > /tmp/frames <<'FRAMES'\n{lines}FRAMES")
    # The shim's input stays open until the answer has come.
    answers = machine.succeed(
        as_ada + "timeout 120 bash -c 'tail -n +1 -f /tmp/frames | python-interpreter-mcp | sed -u /\\\"id\\\":2/q'")
    answer = json.loads(answers.splitlines()[-1])
    assert answer["result"]["structuredContent"]["stdout"] == "6 False\n", answer

    for service in ["python-interpreter-mcpd.service", "python-interpreter.service"]:
        machine.succeed(as_ada + manager + f"is-active {service}")
    shown = machine.succeed(as_ada + manager + "show --property=Environment python-interpreter.service")
    assert "PYTHON_INTERPRETER_MCP_CONFIG=/etc/python-interpreter-mcp/config.toml" in shown, shown

    # Only the owner can use the socket.
    machine.fail("sudo -u charles test -w /run/user/1000/python-interpreter-mcp/mcp.sock")
  '';
}
