# What `nix flake check` builds: the package, its format, and a machine on which it works.
{
  lib,
  runCommand,
  nixfmt,
  deadnix,
  testers,
  python-interpreter-mcp,
  module,
}:

let
  sources = lib.fileset.toSource {
    root = ../..;
    fileset = lib.fileset.unions [
      ../../flake.nix
      ./.
    ];
  };
in
{
  package = python-interpreter-mcp;

  format =
    runCommand "nix-format"
      {
        nativeBuildInputs = [
          nixfmt
          deadnix
        ];
      }
      ''
        find ${sources} -name '*.nix' -exec nixfmt --check {} +
        deadnix --fail ${sources}
        touch $out
      '';

  machine = testers.runNixOSTest (import ./machine.nix { inherit module; });
}
