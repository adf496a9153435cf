# Everything for building, testing and formatting.
{
  mkShell,
  cargo,
  clippy,
  deadnix,
  nixfmt,
  python3,
  rust-analyzer,
  rustc,
  rustfmt,
}:

mkShell {
  packages = [
    cargo
    clippy
    deadnix
    nixfmt
    python3
    rust-analyzer
    rustc
    rustfmt
  ];
}
