# What buildRustPackage does, as far as it is used: builds without a network, installs, and runs `postInstall`. A development
# build, which takes over the libraries that the machine's own has compiled: what is looked at is what is built and where it is put.
# The tests are run elsewhere.
export HOME=/homeless CARGO_HOME=${registry%/registry} RUSTUP_HOME=$rustupHome RUSTUP_TOOLCHAIN=$toolchain
export CARGO_TARGET_DIR=$compiled

installManPage() { install -Dm644 -t "$out/share/man/man1" "$@"; }

# --cmd NAME --SHELL FILE
installShellCompletion() {
  case $3 in
    --bash) install -Dm644 "$4" "$out/share/bash-completion/completions/$2.bash" ;;
    --zsh) install -Dm644 "$4" "$out/share/zsh/site-functions/_$2" ;;
    --fish) install -Dm644 "$4" "$out/share/fish/vendor_completions.d/$2.fish" ;;
  esac
}

# FILE --replace-fail OLD NEW…
substituteInPlace() {
  local file=$1 text
  shift
  while [ $# -gt 0 ]; do
    [ "$1" = --replace-fail ]
    text=$(cat "$file" && echo .)
    case $text in *"$2"*) ;; *) echo "$file does not have $2" >&2; return 1 ;; esac
    printf %s "${text//"$2"/"$3"}" | sed '$ d' >"$file"
    shift 3
  done
}

# PROGRAM --prefix VARIABLE SEPARATOR VALUE
wrapProgram() {
  local wrapped=${1%/*}/.${1##*/}-wrapped
  [ "$2" = --prefix ]
  mv "$1" "$wrapped"
  printf '#!/bin/sh\nexport %s="%s%s$%s"\nexec %s "$@"\n' "$3" "$5" "$4" "$3" "$wrapped" >"$1"
  chmod 755 "$1"
}

cp -r "$src" source
chmod -R u+w source
cd source
cmp Cargo.lock "$lock"
cargo build --offline --frozen
mkdir -p "$out/bin"
find "$CARGO_TARGET_DIR/debug" -maxdepth 1 -type f -perm -u+x ! -name '*.so' -exec cp {} "$out/bin/" \;
eval "$postInstall"

# What stdenv's fixup does with a package's units.
if [ -e "$out/lib/systemd/user" ]; then
  mkdir -p "$out/share/systemd/user"
  for unit in "$out/lib/systemd/user"/*; do mv "$unit" "$out/share/systemd/user"; done
  rmdir "$out/lib/systemd/user"
  ln -s "$out/share/systemd/user" "$out/lib/systemd/user"
fi
