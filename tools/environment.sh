#!/usr/bin/env bash
# Makes the virtual environment .venv, step by step; the Makefile keeps a stamp for each step that is done.
#
#   bash tools/environment.sh check|python|torch|standalone|dev|reference|swift
#
# PYTHON names the interpreter to build on, TORCH_INDEX the package index to take torch from.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
stamps=$venv/.stamps
python=$venv/bin/python
home=$stamps/home # where the environment was made: its scripts hold absolute paths

say() { printf '== %s\n' "$*" >&2; }
stop() { printf 'voicefixer-queue: %s\n' "$*" >&2; exit 1; }
pip() { "$python" -m pip --disable-pip-version-check "$@"; }

fits() { "$@" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; }

# Throw away what cannot work any more: the interpreter is gone or was replaced, the folder was moved, pip is broken.
check() {
  [ -d "$venv" ] || return 0
  if fits "$python" && "$python" -c 'import pip' 2>/dev/null && { [ ! -f "$home" ] || [ "$(cat "$home")" = "$PWD" ]; }; then
    return 0
  fi
  say "$venv does not work any more (interrupted, moved, or its Python is gone): it is made anew"
  rm -rf "$venv"
}

find_python() {
  [ "$(uname -s) $(uname -m)" = "Linux x86_64" ] ||
    stop "needs Linux on x86-64, where torch and redis-server come as wheels; this is $(uname -s) on $(uname -m)."
  local candidate
  for candidate in ${PYTHON:-python3 python3.12 python3.11}; do
    if fits "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  stop "needs Python 3.11 or 3.12: install one (python3.12, python3.11) or name it, as in: make demo PYTHON=/path/to/python3.12"
}

make_venv() {
  local base=$1
  "$base" -m venv --clear "$venv" >/dev/null 2>&1 && return
  # Debian and Ubuntu leave ensurepip out of python3; virtualenv brings a pip of its own.
  say "$base has no working venv module: taking virtualenv instead"
  "$base" -m pip --version >/dev/null 2>&1 || stop "needs pip or venv for $base: install python3-pip or python3-venv."
  rm -rf "$venv"
  local folder
  folder=$(mktemp -d)
  "$base" -m pip install -qq --target "$folder" virtualenv || stop "pip cannot install virtualenv; see its message above."
  PYTHONPATH=$folder "$base" -m virtualenv -q "$venv" || stop "virtualenv cannot make $venv; see its message above."
  rm -rf "$folder"
}

step_python() {
  if ! { fits "$python" && "$python" -c 'import pip' 2>/dev/null; }; then
    local base
    base=$(find_python)
    say "making $venv with $("$base" --version 2>&1)"
    make_venv "$base"
  fi
  mkdir -p "$stamps"
  echo "$PWD" >"$home"
}

# First and by itself, so that no other package pulls in a build of torch that nobody asked for.
step_torch() {
  local wanted
  wanted=$(sed -n 's/^torch==//p' constraints.txt)
  local found
  found=$("$python" -c 'import torch; print(torch.__version__.split("+")[0])' 2>/dev/null || true)
  [ "$found" = "$wanted" ] && return
  say "installing torch $wanted from ${TORCH_INDEX:-the index that pip uses}: about 200 MB if it offers the CPU build," \
    "some GB (CUDA) otherwise; TORCH_INDEX=<URL of a CPU index> chooses the small one"
  # An index of CPU builds need not have our exact versions of what torch builds on; the next step sets those.
  local from=(-c constraints.txt)
  [ -z "${TORCH_INDEX:-}" ] || from=(--index-url "$TORCH_INDEX")
  pip install "${from[@]}" --force-reinstall "torch==$wanted"
}

step_standalone() {
  say "installing the service and what it needs (about 300 MB)"
  pip install -qq -c constraints.txt -e ".[standalone]"
}

step_dev() {
  say "installing the service with its tools for tests (about 350 MB)"
  pip install -qq -c constraints.txt -e ".[dev]"
  touch "$stamps/standalone"
}

# The package that ours is compared with; it pins what it does not need, hence without its dependencies.
step_reference() {
  say "installing voicefixer, the reference of the parity tests"
  pip install -qq --no-deps voicefixer==0.1.3
}

step_swift() {
  say "installing an S3 server for the tests into an environment of its own"
  "$python" -m tests.support.swift install
}

case "${1:-}" in
  check) check ;;
  python | torch | standalone | dev | reference | swift)
    "step_$1"
    touch "$stamps/$1"
    ;;
  *) stop "usage: bash tools/environment.sh check|python|torch|standalone|dev|reference|swift" ;;
esac
