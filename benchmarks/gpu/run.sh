#!/usr/bin/env bash
# What a machine with an NVIDIA GPU is asked to do, in two parts, each within its time:
#   bash benchmarks/gpu/run.sh rates      at most 200 s: tests, agreement with a processor, rates; writes rates.json
#   bash benchmarks/gpu/run.sh train      at most 420 s: the trainings of trainings.yaml; writes an archive for each
# Before, where the data are: python -m benchmarks.gpu pack --perceptual WEIGHTS. The folder gpu_pack travels with the repository.
# OUT names the folder of the results (gpu_results), PACK the one that travelled, PYTHON the interpreter. Further words go to the part: --toy rehearses.
set -uo pipefail
cd "$(dirname "$0")/../.."
part="${1:?rates or train}"
shift
out="${OUT:-gpu_results}" pack="${PACK:-gpu_pack}" python="${PYTHON:-python3}"
mkdir -p "$out"
if compgen -G "$pack/wheels/*.whl" > /dev/null; then # into a folder of their own: nothing that is installed is changed
    site="$(mktemp -d)"
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$pack"/wheels/*.whl >> "$out/log.txt" 2>&1
    export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
case "$part" in
    rates) exec "$python" -m benchmarks.gpu rates --out "$out" "$@" ;;
    train) exec "$python" -m benchmarks.gpu train --out "$out" --pack "$pack" "$@" ;;
    *) echo "run.sh: $part: rates or train" >&2 && exit 2 ;;
esac
