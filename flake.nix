{
  description = "An MCP server that gives an AI client isolated Python";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      eachSystem =
        f: lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (system: f nixpkgs.legacyPackages.${system});
      # callPackage adds functions to what it returns, which are neither apps nor checks.
      plain =
        set:
        removeAttrs set [
          "override"
          "overrideDerivation"
        ];
      packageFor = pkgs: self.packages.${pkgs.stdenv.hostPlatform.system}.default;
    in
    {
      packages = eachSystem (pkgs: rec {
        python-interpreter-mcp = pkgs.callPackage ./packaging/nix/package.nix { };
        default = python-interpreter-mcp;
      });

      apps = eachSystem (
        pkgs:
        plain (pkgs.callPackage ./packaging/nix/apps.nix { python-interpreter-mcp = packageFor pkgs; })
      );

      overlays.default = final: _: {
        python-interpreter-mcp = final.callPackage ./packaging/nix/package.nix { };
      };

      devShells = eachSystem (pkgs: {
        default = pkgs.callPackage ./packaging/nix/shell.nix { };
      });

      checks = eachSystem (
        pkgs:
        plain (
          pkgs.callPackage ./packaging/nix/checks.nix {
            python-interpreter-mcp = packageFor pkgs;
            module = self.nixosModules.default;
          }
        )
      );

      formatter = eachSystem (pkgs: pkgs.nixfmt);

      nixosModules.default = import ./packaging/nix/nixos.nix packageFor;
      homeModules.default = import ./packaging/nix/home.nix packageFor;
      # The name by which older configurations look for it.
      homeManagerModules = self.homeModules;
    };
}
