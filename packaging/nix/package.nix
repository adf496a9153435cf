# Both programs, the units, manual pages and completions, and a Python with the usual libraries.
{
  lib,
  stdenv,
  rustPlatform,
  installShellFiles,
  makeBinaryWrapper,
  coreutils,
  python3,
  # The Python for programs, unless the settings name another.
  interpreterPython ? python3.withPackages (import ./libraries.nix),
}:

let
  root = ../..;
  manifest = lib.importTOML (root + "/Cargo.toml");
in
rustPlatform.buildRustPackage {
  pname = "python-interpreter-mcp";
  inherit (manifest.workspace.package) version;

  src = lib.fileset.toSource {
    inherit root;
    fileset = lib.fileset.unions [
      (root + "/Cargo.toml")
      (root + "/Cargo.lock")
      (root + "/shim")
      (root + "/daemon")
      (root + "/packaging/systemd")
      (root + "/packaging/config.example.toml")
    ];
  };
  cargoLock.lockFile = root + "/Cargo.lock";

  strictDeps = true;
  nativeBuildInputs = [
    installShellFiles
    makeBinaryWrapper
  ];

  # The other tests need namespaces and a user session, which a Nix build does not have.
  cargoTestFlags = [
    "--workspace"
    "--lib"
    "--bins"
  ];

  postInstall = ''
    # stdenv moves them to share/systemd/user and leaves a link.
    units=$out/lib/systemd/user
    install -Dm644 -t $units packaging/systemd/*.{service,socket}
    for service in $units/*.service; do
      substituteInPlace "$service" \
        --replace-fail %h/.cargo/bin $out/bin \
        --replace-fail ExecReload=kill ExecReload=${coreutils}/bin/kill
    done
    substituteInPlace $units/python-interpreter-mcpd.socket \
      --replace-fail ExecStartPre=mkdir ExecStartPre=${coreutils}/bin/mkdir
    install -Dm644 -t $out/share/doc/python-interpreter-mcp packaging/config.example.toml
    wrapProgram $out/bin/python-interpreter-mcpd --prefix PATH : ${interpreterPython}/bin
  ''
  + lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    $out/bin/python-interpreter-mcpd man manual
    installManPage manual/*.1
    for shell in bash zsh fish; do
      $out/bin/python-interpreter-mcpd completions $shell > completions.$shell
      installShellCompletion --cmd python-interpreter-mcpd --$shell completions.$shell
    done
  '';

  passthru = { inherit interpreterPython; };

  meta = {
    inherit (manifest.workspace.package) description;
    license = lib.licenses.mit;
    # The program that clients launch.
    mainProgram = "python-interpreter-mcp";
    platforms = lib.platforms.linux;
  };
}
