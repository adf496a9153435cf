"""Puts what both modules make where NixOS and home-manager would, and has systemd and the daemon read it."""

import json
import os
import subprocess
import sys
from pathlib import Path

scratch, package = Path(sys.argv[1]), sys.argv[2]
made, plain = (json.loads((scratch / name).read_text()) for name in ("modules.json", "plain.json"))
UNITS = sorted(os.listdir(f"{package}/share/systemd/user"))
EXPECTED = ["python-interpreter-mcpd.service", "python-interpreter-mcpd.socket", "python-interpreter.service", "python-interpreter.socket"]
assert UNITS == EXPECTED, UNITS


def verify(directory):
    """systemd has nothing to say of the units; of a broken one it has."""
    units = [str(directory / unit) for unit in UNITS]
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{directory}:"}

    def said():
        command = ["systemd-analyze", "--user", "verify", *units]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60).stderr.strip()

    assert said() == "", said()
    broken = directory / "python-interpreter.service.d" / "broken.conf"
    broken.parent.mkdir(exist_ok=True)
    broken.write_text("[Service]\nEnvironmen=x\n")
    assert "Environmen" in said(), said()
    broken.unlink()


def settings_of(path):
    """What holds, as the daemon says it with this configuration: {key: (value, source)}."""
    environment = {**os.environ, "PYTHON_INTERPRETER_MCP_CONFIG": path}
    command = [f"{package}/bin/python-interpreter-mcpd", "config", "show"]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    lines = [line for line in shown.stdout.splitlines() if not line.startswith("#")]
    return {line.split(" = ")[0]: [part.strip() for part in line.split(" = ", 1)[1].rsplit("#", 1)] for line in lines}


# NixOS: the package's units, and what is added to them.
nixos = made["nixos"]
assert nixos["packages"] == nixos["installed"] == [package], nixos
directory = scratch / "nixos"
directory.mkdir()
assert "try-reload-or-restart" in nixos["activation"], nixos
[etc] = nixos["etc"]
assert etc["name"] == "python-interpreter-mcp/config.toml" and plain["nixos"]["etc"] == [], nixos
configurations = set()
for unit in UNITS:
    (directory / unit).write_text(Path(f"{package}/lib/systemd/user/{unit}").read_text())
    name, kind = unit.rsplit(".", 1)
    added = nixos[f"{kind}s"][name]
    if kind == "socket":
        assert added == {"wantedBy": ["sockets.target"]}, added
        continue
    configurations |= set(added["environment"].values())
    lines = [f'Environment="{key}={value}"\n' for key, value in added["environment"].items()]
    (directory / f"{unit}.d").mkdir()
    (directory / f"{unit}.d" / "overrides.conf").write_text("[Service]\n" + "".join(lines))
verify(directory)
assert set(nixos["services"]) == set(nixos["sockets"]) == {"python-interpreter-mcpd", "python-interpreter"}
assert all(added["environment"] == {} for added in plain["nixos"]["services"].values()), plain["nixos"]

# home-manager: files in the user's configuration.
home = made["home"]
assert home["installed"] == [package], home
directory = scratch / "home-units"
directory.mkdir()
for unit in UNITS:
    source = home["files"][f"systemd/user/{unit}"]["source"]
    (directory / unit).write_text(Path(source).read_text())
    is_wanted = f"systemd/user/sockets.target.wants/{unit}" in home["files"]
    assert is_wanted == unit.endswith(".socket"), unit
verify(directory)
configuration = home["files"]["python-interpreter-mcp/config.toml"]
assert "try-reload-or-restart" in configuration["onChange"], configuration
assert "python-interpreter-mcp/config.toml" not in plain["home"]["files"], plain["home"]

# Every setting reaches the daemon, by either way.
assert configurations == {"/etc/python-interpreter-mcp/config.toml"}, configurations
for path in [etc["source"], configuration["source"]]:
    shown = settings_of(path)
    given = {key: value for key, (value, source) in shown.items() if source not in ("default", "not set")}
    assert given == {
        "interpreter_url": '"http://localhost:1"', "timeout": "7", "concurrency": "3", "memory": '"2GiB"',
        "python": f'"{os.environ["HOME"]}/python"', "preload": '["json", "math"]', "network": '"host"',
        "mounts": '["/srv:/data", "~/a:/b"]', "workspace": '"67108864"', "file_size": '"64m"',
        "cpu_time": "11",
    }, shown

# The clients that home-manager configures.
shim = f"{package}/bin/python-interpreter-mcp"
assert json.loads(made["claude"]["desktop"]) == {"mcpServers": {"python-interpreter": {"command": shim}}}, made["claude"]
assert made["claude"]["code"] == {"python-interpreter": {"type": "stdio", "command": shim}}, made["claude"]
assert "Claude/claude_desktop_config.json" not in home["files"], home
