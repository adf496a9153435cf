# The checks of `nix flake check`: the package, the format, and a NixOS machine.
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
