#!/usr/bin/env bash
# Every command of docs/tutorial.md, in its order; then this run's images and figures replace the page's.
#   bash scripts/tutorial.sh                 43 minutes on one core; leaves photos/, own/, runs/ and images/
#   WORK=FOLDER bash scripts/tutorial.sh     the same in another folder
#   TINY=1 WORK=FOLDER FROM=FOLDER bash scripts/tutorial.sh
#                                            a minute, with networks that learn nothing; the page stays
# A second run goes on where the first was stopped. FROM names a folder with class subfolders of photographs.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python}
work=${WORK:-$here}
mkdir -p "$work" && cd "$work"
[ -e configs ] || ln -s "$here/configs" configs
[ -e scripts ] || ln -s "$here/scripts" scripts
small_tokenizer=() small_diffusion=() few=() unmeasured=() photographs=()
if [ -n "${FROM:-}" ]; then photographs=(--source "$FROM" --classes all); fi
if [ -n "${TINY:-}" ]; then
  loop=(--train.steps 2 --train.batch_size 8 --train.warmup_steps 1)
  small_tokenizer=(--data.image_size 16 --tokenizer.width 8 --tokenizer.quantizer.num_codes 32 "${loop[@]}")
  small_diffusion=(--denoiser.width 16 --denoiser.depth 1 --denoiser.heads 1 "${loop[@]}")
  few=(--num_samples 20)
  unmeasured=(--seconds 0)
fi
mkdir -p images
: >> images/seconds.txt
count=0

# a command of the page, and how long it took
d3pm-image() {
  local began=$SECONDS
  count=$((count + 1))
  "$python" -m d3pm_image "$@"
  echo "$count $1 $((SECONDS - began))" >> images/seconds.txt
}

[ -d photos ] || "$python" scripts/tutorial_photos.py photos own "${photographs[@]}"
d3pm-image doctor photos || true # it found something: read on
d3pm-image estimate configs/photos/tokenizer.yaml "${unmeasured[@]}"
d3pm-image train-tokenizer --config configs/photos/tokenizer.yaml --resume true "${small_tokenizer[@]}"
d3pm-image reconstruct runs/photos/tokenizer --out images/reconstruction.png --overwrite
d3pm-image encode --tokenizer runs/photos/tokenizer --data.source folder --data.root photos --data.flip true
d3pm-image estimate configs/photos/diffusion.yaml "${unmeasured[@]}"
d3pm-image train-diffusion --config configs/photos/diffusion.yaml --resume true "${small_diffusion[@]}"
d3pm-image doctor runs/photos/diffusion || true
d3pm-image generate runs/photos/diffusion --num-images 24 --seed 7 --out images/samples.png --overwrite
d3pm-image evaluate runs/photos/diffusion --num-samples 150 --out images/evaluation.json \
  "${few[@]}" --overwrite
d3pm-image inpaint runs/photos/diffusion own/2.jpg --box 40,40,44,40 --variants 5 --out images/inpainted.png \
  --overwrite
d3pm-image outpaint runs/photos/diffusion own/2.jpg --left 32 --right 32 --window whole --variants 3 --out images/outpainted.png \
  --overwrite
d3pm-image vary runs/photos/diffusion own/2.jpg --strength 0.3 --variants 5 --out images/varied.png \
  --overwrite
"$python" -c 'from d3pm_image import Pipeline; Pipeline.from_pretrained("runs/photos/diffusion").save_pretrained("flowers-model")'
d3pm-image generate flowers-model --num-images 4 --out images/again.png --overwrite

if [ -z "${TINY:-}" ]; then
  "$python" "$here/scripts/tutorial_page.py" images
  (cd "$here" && "$python" -m scripts.results)
fi
echo "images: $work/images"
