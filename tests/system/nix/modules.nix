# Both modules with options to be set, after those of NixOS and home-manager that they set: what they would put where, as JSON.
# `flake` is the flake's outputs, `settings` those of the service.
{ flake, settings }:

let
  inherit (flake.inputs.nixpkgs) lib;
  pkgs = flake.inputs.nixpkgs.legacyPackages.${builtins.currentSystem};
  option = type: default: lib.mkOption { inherit type default; };
  free = lib.types.attrsOf lib.types.anything;
  text = lib.types.nullOr lib.types.str;
  of =
    modules:
    (lib.evalModules {
      modules = modules ++ [
        {
          services.python-interpreter-mcp = {
            enable = true;
            inherit settings;
          };
        }
      ];
      specialArgs = { inherit pkgs; };
    }).config;

  nixos = of [
    flake.nixosModules.default
    # As by two files of a user's that both need it.
    flake.nixosModules.default
    {
      options.environment.etc = option free { };
      options.system.userActivationScripts = option (lib.types.attrsOf lib.types.lines) { };
      options.environment.systemPackages = option (lib.types.listOf lib.types.package) [ ];
      options.systemd.packages = option (lib.types.listOf lib.types.package) [ ];
      options.systemd.user.sockets = option free { };
      options.systemd.user.services = option free { };
    }
  ];

  home =
    more:
    of (
      [
        flake.homeModules.default
        flake.homeModules.default
        {
          options.home.packages = option (lib.types.listOf lib.types.package) [ ];
          options.xdg.configFile = option (lib.types.attrsOf (
            lib.types.submodule {
              options.source = option (lib.types.nullOr lib.types.path) null;
              options.text = option text null;
              options.onChange = option text null;
            }
          )) { };
        }
      ]
      ++ more
    );
  claude = home [
    {
      options.programs.claude-code.enable = option lib.types.bool true;
      options.programs.claude-code.mcpServers = option free { };
      config.services.python-interpreter-mcp.clients.claudeDesktop = true;
    }
  ];
in
{
  nixos = {
    packages = map toString nixos.systemd.packages;
    installed = map toString nixos.environment.systemPackages;
    etc = lib.mapAttrsToList (name: file: {
      inherit name;
      source = toString file.source;
    }) nixos.environment.etc;
    activation = nixos.system.userActivationScripts.python-interpreter-mcp;
    inherit (nixos.systemd.user) sockets services;
  };
  home = {
    installed = map toString (home [ ]).home.packages;
    files = (home [ ]).xdg.configFile;
  };
  claude = {
    desktop = claude.xdg.configFile."Claude/claude_desktop_config.json".text;
    code = claude.programs.claude-code.mcpServers;
  };
  # To be built: the file that both modules put somewhere.
  configuration = nixos.services.python-interpreter-mcp.configuration;
}
