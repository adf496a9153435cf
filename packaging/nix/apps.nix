# `nix run` runs a program as a trial, and prints the entry for a client's configuration. That entry starts `nix run .#shim`.
{
  lib,
  writeShellScriptBin,
  python-interpreter-mcp,
}:

let
  try = writeShellScriptBin "python-interpreter-mcp-try" ''
    set -eu
    ${lib.getExe' python-interpreter-mcp "python-interpreter-mcpd"} exec '
    import sys
    print("Hello from Python", sys.version.split()[0])'
    echo 'A client that is configured so can do the same:'
    echo '{ "mcpServers": { "python-interpreter": { "command": "${lib.getExe python-interpreter-mcp}" } } }'
  '';
  app = program: description: {
    type = "app";
    inherit program;
    meta = { inherit description; };
  };
in
{
  default = app (lib.getExe' try "python-interpreter-mcp-try") "Run a program, and print a client's configuration";
  shim = app (lib.getExe python-interpreter-mcp) "What a client launches";
  daemon = app (lib.getExe' python-interpreter-mcp "python-interpreter-mcpd") "The daemon and its commands";
}
