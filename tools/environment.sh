#!/bin/sh
# Makes .venv from a lock (cli: to run Modelway; dev: to work on it). Idempotent, says what it does.
set -eu
cd "$(dirname "$0")/.."
kind=$1
python=${PYTHON:-python3}
lock=locks/$kind.txt
stamp=.venv/installed-$kind

# A development environment holds everything that the command line needs.
for have in "$stamp" .venv/installed-dev; do
  if [ -f "$have" ] && cmp -s "$have" "locks/${have##*installed-}.txt"; then exit 0; fi
done

command -v "$python" >/dev/null || { echo "Modelway needs Python 3.11 or newer; '$python' was not found (set PYTHON=…)." >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Modelway needs Python 3.11 or newer; '$python' is $("$python" -V 2>&1) (set PYTHON=…)." >&2; exit 1; }
"$python" -c 'import ensurepip, venv' 2>/dev/null || {
  echo "This Python cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

if [ ! -x .venv/bin/python ]; then
  echo "==> making .venv with $("$python" -V)"
  "$python" -m venv .venv
fi
echo "==> installing $(grep -c '==' "$lock") locked packages (checked by hash)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$lock"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
cp "$lock" "$stamp"
