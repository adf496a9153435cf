# home-manager: the sockets in the user's session, the settings file, and the entry in the clients that home-manager configures.
packageFor:
{
  config,
  lib,
  options,
  pkgs,
  ...
}:

let
  cfg = config.services.python-interpreter-mcp;
  unit = name: { source = "${cfg.package}/share/systemd/user/${name}"; };
  server.python-interpreter = {
    type = "stdio";
    command = lib.getExe cfg.package;
  };
  managesClaudeCode = options ? programs.claude-code.mcpServers;
in
{
  key = "python-interpreter-mcp/home-manager";
  imports = [ (import ./options.nix { inherit packageFor; }) ];

  options.services.python-interpreter-mcp.clients.claudeDesktop = lib.mkOption {
    type = lib.types.bool;
    default = false;
    description = ''
      Whether to write Claude Desktop's configuration, all of it, which it then cannot change by itself. If it is to,
      run `python-interpreter-mcpd client add` instead.
    '';
  };

  config = lib.mkIf cfg.enable (
    {
      home.packages = [ cfg.package ];

      xdg.configFile = {
        "systemd/user/python-interpreter-mcpd.socket" = unit "python-interpreter-mcpd.socket";
        "systemd/user/python-interpreter-mcpd.service" = unit "python-interpreter-mcpd.service";
        "systemd/user/python-interpreter.socket" = unit "python-interpreter.socket";
        "systemd/user/python-interpreter.service" = unit "python-interpreter.service";
        "systemd/user/sockets.target.wants/python-interpreter-mcpd.socket" =
          unit "python-interpreter-mcpd.socket";
        "systemd/user/sockets.target.wants/python-interpreter.socket" = unit "python-interpreter.socket";

        "python-interpreter-mcp/config.toml" = lib.mkIf (cfg.configuration != null) {
          source = cfg.configuration;
          # Reloads both services. Clients stay connected.
          onChange = ''
            ${pkgs.systemd}/bin/systemctl --user try-reload-or-restart \
              python-interpreter-mcpd.service python-interpreter.service || true
          '';
        };

        "Claude/claude_desktop_config.json" = lib.mkIf cfg.clients.claudeDesktop {
          text = builtins.toJSON { mcpServers.python-interpreter.command = lib.getExe cfg.package; };
        };
      };
    }
    // lib.optionalAttrs managesClaudeCode {
      programs.claude-code.mcpServers = lib.mkIf config.programs.claude-code.enable server;
    }
  );
}
