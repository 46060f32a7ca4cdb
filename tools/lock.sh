#!/bin/sh
# Writes locks/*.txt: every dependency of an image or an environment, pinned with hashes. Run it when floors change.
set -eu
cd "$(dirname "$0")/.."
uv=.venv/bin/uv
[ -x "$uv" ] || .venv/bin/pip install --quiet uv
lock() {
  out=$1; shift
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
    --no-annotate pyproject.toml "$@" -o "locks/$out.txt"
  echo "locks/$out.txt: $(grep -c '==' "locks/$out.txt") packages"
}
lock gateway --extra gateway
lock operator --extra operator
lock cli --extra cli --group build
lock dev --extra cli --group dev
"$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
  --no-annotate --group build -o locks/build.txt
