# The options of both modules.
{ packageFor }:
{ lib, pkgs, ... }:

let
  inherit (lib) mkOption types;
  setting =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };
  size = types.either types.ints.positive (types.strMatching "[0-9]+[KMG]?");
in
{
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
        `python-interpreter-mcpd config example` explains all of them.
      '';
      default = { };
      example = {
        memory = "4G";
        preload = [
          "numpy"
          "pandas"
        ];
      };
      type = types.submodule {
        freeformType = (pkgs.formats.toml { }).type;
        options = {
          interpreter_url = setting types.str "The interpreter service to use instead of the embedded one.";
          timeout = setting types.ints.positive "Longest time of one program, in seconds.";
          concurrency = setting types.ints.positive "Programs at the same time.";
          python = setting types.path "The Python that programs run in; by default the package's own, with the usual libraries.";
          preload = setting (types.listOf types.str) "Modules that programs find imported already.";
          mounts = setting (types.listOf types.str) "Folders that programs may read, as `~/data:/data`.";
          network = setting (types.enum [
            "none"
            "host"
          ]) "What of the network programs reach.";
          memory = setting size "Memory of all processes of a program together.";
          workspace = setting size "Size of the places that a program may write to, which are in memory.";
        };
      };
    };
  };
}
