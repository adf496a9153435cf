# The options of both modules.
{ packageFor }:
{
  config,
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;
  setting =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };
  # The program itself parses sizes, directories and `~`. `configuration` is a file that it has checked.
  size = types.either types.ints.positive types.str;
  cfg = config.services.python-interpreter-mcp;
  given = lib.filterAttrs (_: value: value != null) cfg.settings;
  file = (pkgs.formats.toml { }).generate "python-interpreter-mcp.toml" given;
  checked = pkgs.runCommand "python-interpreter-mcp.toml" { } ''
    ${lib.getExe' cfg.package "python-interpreter-mcpd"} config check ${file}
    cp ${file} $out
  '';
  inherit (pkgs.stdenv) buildPlatform hostPlatform;
in
{
  key = "python-interpreter-mcp/options";

  options.services.python-interpreter-mcp = {
    enable = lib.mkEnableOption "isolated Python for AI clients over MCP";

    package = mkOption {
      type = types.package;
      default = packageFor pkgs;
      defaultText = lib.literalExpression "the package of this flake";
      description = "Where both programs come from.";
    };

    settings = mkOption {
      description = ''
        What is written to `config.toml`: the keys are the long flags with `_` for `-`, and
        `python-interpreter-mcpd config example` explains all of them. Building the configuration checks it.
      '';
      default = { };
      example = {
        memory = "4G";
        timeout = 60;
      };
      type = types.submodule {
        freeformType = (pkgs.formats.toml { }).type;
        options = {
          interpreter_url = setting types.str "The interpreter service to use instead of the embedded one.";
          timeout = setting types.ints.positive "Longest time of one program, in seconds.";
          concurrency = setting types.ints.positive "Programs at the same time.";
          python = setting (types.either types.str types.path) "The Python that programs run in; by default the package's own, with the usual libraries.";
          preload = setting (types.either (types.enum [ "auto" ]) (
            types.listOf types.str
          )) "Modules that programs find imported already; `auto` learns them.";
          mounts = setting (types.listOf (types.either types.str (types.attrsOf types.str))) "Folders that programs may read, as `\"~/data:/data\"` or `{ source = \"~/data\"; target = \"/data\"; }`.";
          network = setting (types.enum [
            "none"
            "host"
          ]) "What of the network programs reach.";
          memory = setting size "Memory of all processes of a program together.";
          workspace = setting size "Size of the places that a program may write to, which are in memory.";
        };
      };
    };

    configuration = mkOption {
      type = types.nullOr types.package;
      internal = true;
      readOnly = true;
      description = "The settings as a file in which the program has found no mistake; null where there are none.";
    };
  };

  config.services.python-interpreter-mcp.configuration =
    if given == { } then
      null
    else if buildPlatform.canExecute hostPlatform then
      checked
    else
      file;
}
