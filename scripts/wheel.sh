#!/usr/bin/env bash
# Builds wheel and sdist into dist/, installs the wheel into an empty environment, and generates from
# two shipped models there, offline, away from this repository. WHEEL_VENV names the environment's folder (default:
# a temporary one that is removed again).
set -euo pipefail
. "$(dirname "$0")/environment.sh"
python=$(find_python)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
need_space 9 "$work"
"$python" -m venv "$work/build"
"$work/build/bin/python" -m pip install -qq --disable-pip-version-check build
rm -rf dist
"$work/build/bin/python" -m build --outdir dist . > "$work/build.log" 2>&1 ||
  { cat "$work/build.log" >&2; exit 1; }
ls -l dist
venv=${WHEEL_VENV:-$work/venv}
"$python" -m venv "$venv"
echo "installing the wheel into an empty environment …"
"$venv/bin/python" -m pip install -qq --disable-pip-version-check dist/*.whl
cd "$work"
offline=(env HF_HUB_OFFLINE=1)
if unshare --net --map-root-user true 2>/dev/null; then # where the system lets us, with no network at all
  offline+=(unshare --net --map-root-user)
fi
"${offline[@]}" "$venv/bin/d3pm-image" --version
for model in fashion-mnist emoji; do
  began=$(date +%s.%N)
  "${offline[@]}" "$venv/bin/d3pm-image" generate "$model" --num-images 16 --out "$model.png"
  "$venv/bin/python" - "$model" "$began" <<'CHECK'
import sys
import time

from PIL import Image

model, began = sys.argv[1:]
seconds = time.time() - float(began)
image = Image.open(f"{model}.png")
levels = image.convert("L").getextrema()
print(f"16 images of {model} from the wheel in {seconds:.1f} s, start-up included; {image.mode}, grey levels {levels}")
sys.exit(levels[1] - levels[0] < 100 or (model == "emoji") != (image.mode == "RGBA"))
CHECK
done
