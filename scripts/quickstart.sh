#!/usr/bin/env bash
# From nothing to images on a laptop: makes .venv, installs, trains both stages on the embedded handwritten
# digits, generates a labelled grid, repaints half of a digit, and measures the samples. Needs no download but
# the packages.
#   bash scripts/quickstart.sh [FOLDER]        default FOLDER: runs/quickstart
# A second run reuses the installation and whatever training has finished; give another FOLDER to train anew.
set -euo pipefail
out=${1:-runs/quickstart}
case $out in /*) ;; *) out=$(pwd)/$out ;; esac
. "$(dirname "$0")/environment.sh"
make_environment digits
d3pm() { .venv/bin/d3pm-image "$@"; }

began=$SECONDS
d3pm train-tokenizer --config configs/digits/tokenizer.yaml --out "$out/tokenizer" --resume true
d3pm train-diffusion --config configs/digits/diffusion.yaml --tokenizer "$out/tokenizer" \
  --out "$out/diffusion" --resume true
d3pm generate "$out/diffusion" --num-images 60 --labels 0..9 --seed 7 --out "$out/grid.png" --overwrite
.venv/bin/python scripts/example_digit.py "$out/digit.png" "$out/mask.png"
d3pm inpaint "$out/diffusion" "$out/digit.png" "$out/mask.png" --variants 6 --seed 1 \
  --out "$out/inpainted.png" --overwrite
d3pm evaluate "$out/diffusion" --num-samples 1000 --out "$out/evaluation.json" --overwrite > /dev/null
echo
.venv/bin/python - "$out/evaluation.json" <<'PY'
import json, sys
r = json.load(open(sys.argv[1]))
s = r["samples"]
print(f"a {s['classifier']} trained on the real digits "
      f"(held-out accuracy {s['classifier_accuracy_on_held_out']:.1%}) gives "
      f"{s['label_accuracy']:.1%} of {s['num_samples']} samples the class that was asked for")
PY
echo "done in $((SECONDS - began)) s; look at:"
echo "  $out/grid.png         60 new digits, six of each class"
echo "  $out/inpainted.png    a digit, its lower half hidden, and six repaints"
echo "  $out/tokenizer/previews, $out/diffusion/previews   how training went"
