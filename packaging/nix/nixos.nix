# NixOS: the sockets in every user's session. The first client starts the services behind them.
packageFor:
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.python-interpreter-mcp;
  etc = "python-interpreter-mcp/config.toml";
  isConfigured = cfg.configuration != null;
  # Adds to the package's units.
  service = {
    # A path that does not change, so that running services read the next configuration there.
    environment = lib.optionalAttrs isConfigured { PYTHON_INTERPRETER_MCP_CONFIG = "/etc/${etc}"; };
  };
  socket.wantedBy = [ "sockets.target" ];
in
{
  key = "python-interpreter-mcp/nixos";
  imports = [ (import ./options.nix { inherit packageFor; }) ];

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    systemd.packages = [ cfg.package ];
    environment.etc.${etc} = lib.mkIf isConfigured { source = cfg.configuration; };
    # Reloads both services. Clients stay connected.
    system.userActivationScripts.python-interpreter-mcp = ''
      ${pkgs.systemd}/bin/systemctl --user try-reload-or-restart \
        python-interpreter-mcpd.service python-interpreter.service || true
    '';
    systemd.user = {
      sockets.python-interpreter-mcpd = socket;
      sockets.python-interpreter = socket;
      services.python-interpreter-mcpd = service;
      services.python-interpreter = service;
    };
  };
}
