#!/usr/bin/env bash
# Makes .venv if need be, and runs the tests. Arguments go to pytest: bash scripts/test.sh -k sampling
# Long tests are left out; bash scripts/test.sh -m slow runs those.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
make_environment test
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" # the tests run side by side
case " $* " in *" -m "*) ;; *) set -- -m "not slow and not gpu" "$@" ;; esac
.venv/bin/ruff check d3pm_image scripts tests benchmarks examples
exec .venv/bin/python -m pytest -n auto --maxprocesses 4 "$@"
