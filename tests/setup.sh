#!/usr/bin/env bash
# Installs what the tests need in addition to a Rust toolchain. tests/all.sh runs it. It does
# nothing if everything is installed already.
#
#   target/test-venv          pytest, `websockets` and python-socketio as peers, Selenium for Chromium, tree-sitter (CPython 3)
#   target/autobahn-venv      the Autobahn test suite (CPython 2.7, or else its container image)
#   tests/peers/node_modules  `ws` and `socket.io-client` as peers (Node)
#   target/gungraun-VERSION   the runner of benches/counts
#
# cargo-deny, cargo-mutants and cargo-public-api take minutes to build, even without optimization, and LLVM is large. They are installed only if an
# argument is `long`, or the name of the step of tests/all.sh that needs one.
#
# If a part cannot be installed, the others still are. target/setup/missing then has a line with the
# name of the part and the reason, and the exit code is 1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly missing=target/setup/missing
mkdir -p target/setup
rm -f $missing

have() { command -v "$1" >/dev/null 2>&1; }

# Ends a part, with the reason why it cannot be installed.
lacks() {
  echo "$part: $*" >>$missing
  exit 1
}

# Runs a part, and lists it if it fails.
part() {
  local status part=$1
  # Not in a condition, where bash would ignore `set -e` in the part.
  set +e
  (set -e && "part_$part")
  status=$?
  set -e
  [ $status = 0 ] || grep -qs "^$part: " $missing || echo "$part: its installation failed, see above" >>$missing
}

# --- packages and the toolchain

# Installs Debian's packages for missing commands.
install_with_apt() {
  local as_root=()
  if ! have apt-get; then
    echo "tests/setup.sh: install these by hand, this machine has no apt-get: $*" >&2
    return
  fi
  if [ "$(id -u)" != 0 ]; then
    if ! have sudo; then
      echo "tests/setup.sh: not root and no sudo; install: $*" >&2
      return
    fi
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq || true
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" ||
    echo "tests/setup.sh: apt-get could not install: $*" >&2
}

# Prints the path of CPython 2.7, from PATH or from pyenv. pyenv's shim of an inactive version does
# not run.
find_python27() {
  local candidate candidates=(python2.7 python2)
  if have pyenv; then
    candidates+=("$(pyenv root)"/versions/2.7*/bin/python2.7)
  fi
  candidates+=("$HOME"/.pyenv/versions/2.7*/bin/python2.7)
  for candidate in "${candidates[@]}"; do
    if "$candidate" -c 'import sys, ssl, zlib; sys.exit(sys.version_info[:2] != (2, 7))' >/dev/null 2>&1; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
}

packages=()
have cc || packages+=(gcc libc6-dev)
have make || packages+=(make)
# libc6-dbg: valgrind needs the symbols of the dynamic loader, which Debian keeps apart.
have valgrind || packages+=(valgrind libc6-dbg)
have node || packages+=(nodejs)
have npm || packages+=(npm)
have openssl || packages+=(openssl)
# Servers and proxies that the tests start. Those in /usr/sbin may not be in PATH.
PATH=$PATH:/usr/sbin
have nginx || packages+=(nginx-light)
have stunnel || packages+=(stunnel4)
have haproxy || packages+=(haproxy)
have tinyproxy || packages+=(tinyproxy-bin)
have microsocks || packages+=(microsocks)
have redis-server || packages+=(redis-server)
have nats-server || packages+=(nats-server)
# Network namespaces with faults, and clocks that jump.
{ have ip && have tc; } || packages+=(iproute2)
have nft || packages+=(nftables)
{ have unshare && have nsenter; } || packages+=(util-linux)
have_faketime() { compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null; }
have_faketime || packages+=(libfaketime)
{ have sshd && have ssh; } || packages+=(openssh-server openssh-client)
# The font contains the emoji in the pictures of the browser's windows.
have chromium || packages+=(chromium fonts-noto-color-emoji)
have chromedriver || packages+=(chromium-driver)
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3 python3-venv)
# pyenv builds CPython 2.7 from source.
if have pyenv && [ -z "$(find_python27)" ]; then
  packages+=(libssl-dev zlib1g-dev libffi-dev)
fi
[ ${#packages[@]} = 0 ] || install_with_apt "${packages[@]}"

fail() {
  echo "tests/setup.sh: $*" >&2
  exit 1
}

have cc || fail "no C compiler, which linking needs"
have cargo || fail "no cargo: install Rust with rustup"
for component in clippy fmt; do
  if ! cargo $component --version >/dev/null 2>&1; then
    have rustup || fail "no cargo $component, and no rustup to install it"
    rustup component add "${component/fmt/rustfmt}"
  fi
done

# --- the parts

part_valgrind() { have valgrind || lacks "no valgrind"; }

part_browser() { { have chromium && have chromedriver; } || lacks "no chromium, or no chromedriver"; }

part_servers() {
  local name
  for name in openssl nginx haproxy stunnel tinyproxy microsocks sshd ssh; do
    have $name || lacks "no $name"
  done
}

# What `faults` needs of the kernel, and the rights to it, is tried.
part_faults() {
  local name
  for name in ip tc nft unshare nsenter; do
    have $name || lacks "no $name"
  done
  have_faketime || lacks "no libfaketime"
  PYTHONPATH=tests python3 tests/faults/hosts.py ||
    lacks "no network namespaces with veth, tbf, nftables and tun: they need root, and a Linux kernel that has them; see above"
}

part_nightly() {
  cargo +nightly --version >/dev/null 2>&1 && return
  have rustup || lacks "no nightly toolchain, which AddressSanitizer and cargo-fuzz need, and no rustup to install it"
  rustup toolchain install nightly --profile minimal ||
    lacks "rustup could not install the nightly toolchain, which AddressSanitizer and cargo-fuzz need"
}

part_cargo_fuzz() { have cargo-fuzz || cargo install cargo-fuzz --locked; }

part_cargo_mutants() { have cargo-mutants || cargo install cargo-mutants --version 27.1.0 --locked --debug; }

part_cargo_deny() { have cargo-deny || cargo install cargo-deny --version 0.20.2 --locked --debug; }

# Its version has to read the format of the nightly toolchain's rustdoc. That of the lock file is the older one.
part_cargo_public_api() {
  have cargo-public-api || cargo install cargo-public-api --version 0.52.0 --locked --debug
}

# llvm-profdata and llvm-cov must have the version of the LLVM that rustc uses.
part_llvm() {
  local version
  version=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
  have "llvm-cov-$version" || install_with_apt "llvm-$version"
  have "llvm-cov-$version" && return
  have rustup || lacks "no llvm-$version from apt, and no rustup to install its component llvm-tools"
  rustup component add llvm-tools || lacks "no llvm-$version from apt, and rustup could not install llvm-tools"
}

# The runner must have the version of the library that benches/counts is built with. It need not be fast.
part_gungraun() {
  local version
  version=$(sed -n '/^name = "gungraun-runner"$/{n;s/^version = "\(.*\)"$/\1/p;}' benches/counts/Cargo.lock)
  [ -x "target/gungraun-$version/bin/gungraun-runner" ] ||
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
      cargo install gungraun-runner --version "$version" --locked --root "target/gungraun-$version"
}

# A virtual environment is created again when its requirements have changed.
stamp_of() { cat "$@" | sha256sum | cut -d' ' -f1; }

part_python() {
  local stamp
  have python3 || lacks "no python3"
  stamp=$(stamp_of tests/requirements.txt <(python3 --version))
  [ "$(cat target/test-venv/stamp 2>/dev/null)" != "$stamp" ] || return 0
  rm -rf target/test-venv
  python3 -m venv target/test-venv || lacks "python3 makes no virtual environment: install its package venv"
  target/test-venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
  echo "$stamp" >target/test-venv/stamp
}

part_autobahn() {
  local python27 stamp
  python27=$(find_python27)
  if [ -z "$python27" ] && have pyenv; then
    pyenv install --skip-existing 2.7.18 || true
    python27=$(find_python27)
  fi
  stamp=$(stamp_of tests/autobahn/requirements.txt <(echo "$python27"))
  if [ "$(cat target/autobahn-venv/stamp 2>/dev/null)" != "$stamp" ]; then
    rm -rf target/autobahn-venv
    if [ -n "$python27" ]; then
      install_wstest "$python27"
    else
      install_wstest_container
    fi
    echo "$stamp" >target/autobahn-venv/stamp
  fi
  target/autobahn-venv/bin/wstest --autobahnversion >/dev/null 2>&1 ||
    lacks "wstest does not start; remove target/autobahn-venv and try again"
}

install_wstest() {
  target/test-venv/bin/virtualenv --quiet --no-download --python "$1" target/autobahn-venv
  PYTHONWARNINGS=ignore target/autobahn-venv/bin/pip install --quiet --disable-pip-version-check \
    -r tests/autobahn/requirements.txt
}

# Makes `wstest` a script that runs the test suite's container image.
install_wstest_container() {
  local engine=docker user version image
  # Files that it writes belong to this user.
  user=$(id -u):$(id -g)
  if have podman; then
    engine=podman user=0:0
  fi
  have $engine ||
    lacks "no CPython 2.7 (with ssl and zlib), no docker and no podman: 'pyenv install 2.7.18', or a container engine"
  version=$(sed -n 's/^autobahntestsuite==//p' tests/autobahn/requirements.txt)
  image=docker.io/crossbario/autobahn-testsuite:$version
  $engine pull --quiet "$image" || lacks "no CPython 2.7, and $engine could not pull $image"
  mkdir -p target/autobahn target/autobahn-venv/bin
  cat >target/autobahn-venv/bin/wstest <<END
#!/bin/sh
# On the host's network: the suite connects to loopback. With an init process, so that it can be stopped.
exec $engine run --rm --init --network host --user $user \\
  --volume "$PWD/target/autobahn:$PWD/target/autobahn" $image wstest "\$@"
END
  chmod +x target/autobahn-venv/bin/wstest
}

part_node() {
  local stamp
  { have node && have npm; } || lacks "no node, or no npm"
  stamp=$(stamp_of tests/peers/package.json tests/peers/package-lock.json <(node --version))
  [ "$(cat tests/peers/node_modules/stamp 2>/dev/null)" != "$stamp" ] || return 0
  npm --prefix tests/peers ci --silent --no-audit --no-fund
  echo "$stamp" >tests/peers/node_modules/stamp
}

parts=(valgrind browser servers faults nightly cargo_fuzz gungraun python autobahn node)
for step in "$@"; do
  case $step in
    long) parts+=(cargo_deny cargo_public_api cargo_mutants llvm) ;;
    coverage) parts+=(llvm) ;;
    mutants | mutants_long) parts+=(cargo_mutants) ;;
    deny) parts+=(cargo_deny) ;;
    public_api) parts+=(cargo_public_api) ;;
  esac
done
# At the same time, except the part that needs another.
for name in "${parts[@]}"; do
  [ $name = autobahn ] || part $name &
done
wait
part autobahn
if [ -s $missing ]; then
  printf '\ntests/setup.sh: this machine lacks:\n' >&2
  sed 's/^/  /' $missing >&2
  exit 1
fi
