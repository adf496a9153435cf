# The packages that the flake uses, made of what the machine has. `machine.nix` is written by the test.
{ lib, system }:

let
  machine = import ./machine.nix;

  made =
    name: script: variables:
    derivation (
      {
        inherit name system;
        builder = "/bin/bash";
        args = [
          "-euc"
          # Nix kills what has closed its output, as a program that ends does a moment before: the shell has to be last.
          "${script}\n:"
        ];
        PATH = machine.path;
      }
      // variables
    );

  tool =
    name:
    made name ''
      mkdir -p $out/bin
      ln -s "$(command -v ${name})" $out/bin/
    '' { }
    // {
      meta.mainProgram = name;
    };

  # Those of nixpkgs that are asked for, by its names for them.
  pythonLibraries = [
    "beautifulsoup4"
    "lxml"
    "matplotlib"
    "networkx"
    "numpy"
    "openpyxl"
    "pandas"
    "pillow"
    "pyyaml"
    "requests"
    "scikit-learn"
    "scipy"
    "seaborn"
    "sympy"
  ];

  packages = {
    inherit lib system;
    callPackage =
      file: arguments:
      let
        function = import file;
        made = function (builtins.intersectAttrs (builtins.functionArgs function) packages // arguments);
        # Whatever set comes of it is given these.
        added = {
          override = _: throw "not used";
          overrideDerivation = _: throw "not used";
        };
      in
      if builtins.isAttrs made then made // added else made;

    stdenv = {
      hostPlatform = { inherit system; };
      buildPlatform.canExecute = platform: platform.system == system;
    };

    rustPlatform.buildRustPackage =
      arguments:
      made "${arguments.pname}-${arguments.version}" (builtins.readFile ./build-rust.sh) {
        inherit (arguments) src postInstall;
        inherit (machine)
          rustupHome
          toolchain
          registry
          compiled
          ;
        lock = arguments.cargoLock.lockFile;
        features = map toString arguments.nativeBuildInputs;
      }
      // {
        inherit (arguments)
          pname
          version
          meta
          passthru
          ;
      };
    installShellFiles = "manual pages and completions";
    makeBinaryWrapper = "wrapper";

    python3 = tool "python3" // {
      withPackages =
        libraries:
        builtins.deepSeq (libraries (lib.genAttrs pythonLibraries (name: name))) (tool "python3");
    };
    coreutils = made "coreutils" "mkdir -p $out/bin; ln -s /bin/kill /bin/mkdir $out/bin/" { };
    systemd = tool "systemctl";

    formats.toml =
      { }:
      {
        type = lib.types.attrsOf lib.types.toml;
        generate =
          name: settings:
          let
            pairs = lib.mapAttrsToList (key: one: "${key} = ${written one}");
            # A list of tables alone is written as the real one writes it.
            entry =
              key: one:
              if builtins.isList one && one != [ ] && builtins.all builtins.isAttrs one then
                builtins.concatStringsSep "" (map (table: "[[${key}]]\n${lines (pairs table)}\n") one)
              else
                "${key} = ${written one}\n";
            lines = builtins.concatStringsSep "\n";
            written =
              value:
              if builtins.isAttrs value then
                "{ ${builtins.concatStringsSep ", " (pairs value)} }"
              else if builtins.isList value then
                "[${builtins.concatStringsSep ", " (map written value)}]"
              else
                # A string or number of JSON is one of TOML as well.
                builtins.toJSON value;
            isTables = _: one: builtins.isList one && one != [ ] && builtins.all builtins.isAttrs one;
            simple = lib.filterAttrs (key: one: !isTables key one) settings;
            tables = lib.filterAttrs isTables settings;
          in
          builtins.toFile name (
            builtins.concatStringsSep "" (lib.mapAttrsToList entry simple ++ lib.mapAttrsToList entry tables)
          );
      };

    writeShellScriptBin =
      name: text:
      made name "mkdir -p $out/bin; cp $textPath $out/bin/${name}; chmod 755 $out/bin/${name}" {
        text = "#!/bin/bash\n${text}";
        passAsFile = [ "text" ];
      };

    runCommand =
      name: variables: script:
      made name script { inputs = map toString (variables.nativeBuildInputs or [ ]); };
    mkShell = { packages }: made "shell" "touch $out" { inherit packages; };

    # There is no NixOS here: that the test is one, and its script Python, is all that can be said.
    testers.runNixOSTest =
      test:
      builtins.deepSeq (lib.mapAttrsToList (_: node: node.services) test.nodes) (
        made "machine-${test.name}" "python3 -m py_compile $scriptPath; touch $out" {
          script = test.testScript;
          passAsFile = [ "script" ];
          PYTHONPYCACHEPREFIX = "/build/cache";
        }
      );
  }
  // lib.genAttrs [
    "cargo"
    "clippy"
    "deadnix"
    "nixfmt"
    "rust-analyzer"
    "rustc"
    "rustfmt"
  ] tool;
in
packages
