# NixOS: the sockets in every user's session; the first client that connects starts what is behind them.
packageFor:
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.python-interpreter-mcp;
  settings = lib.filterAttrs (_: value: value != null) cfg.settings;
  file = (pkgs.formats.toml { }).generate "python-interpreter-mcp.toml" settings;
  # The units are the package's: this adds to them.
  service = {
    environment = lib.optionalAttrs (settings != { }) { PYTHON_INTERPRETER_MCP_CONFIG = "${file}"; };
  };
  socket.wantedBy = [ "sockets.target" ];
in
{
  imports = [ (import ./options.nix { inherit packageFor; }) ];

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    systemd.packages = [ cfg.package ];
    systemd.user = {
      sockets.python-interpreter-mcpd = socket;
      sockets.python-interpreter = socket;
      services.python-interpreter-mcpd = service;
      services.python-interpreter = service;
    };
  };
}
