#!/usr/bin/env bash
# Builds the documentation site into docs/_build/html, strictly: a warning is an error. Open index.html there; the pages
# and their search need no network.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
make_environment test
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec .venv/bin/python -m sphinx -W --keep-going -q -b html docs docs/_build/html "$@"
