#!/usr/bin/env bash
# Measures on a CUDA machine what docs/results/gpu.md tells, in at most eight minutes, and writes it as a Markdown page.
#
#     bash benchmarks/gpu_speed.sh PAGE.md [--part NAME[,NAME...]]
#
# No data set is needed. PYTHON names an interpreter that has hyperframe; by default it is that of `make test`.
set -euo pipefail

page=${1:?"name the page to write, such as docs/results/gpu_speed.md"}
root=$(dirname "$(readlink -f "$0")")/..
python=${PYTHON:-$root/.venv/bin/python}
if ! "$python" -c 'import hyperframe, torch, sys; sys.exit(not torch.cuda.is_available())'; then
    echo "gpu_speed.sh: $python has no hyperframe, or torch finds no CUDA device with it; set PYTHON=..." >&2
    exit 2
fi
nvidia-smi --query-gpu=name,driver_version,utilization.gpu --format=csv || true
exec timeout 480 "$python" "$root/benchmarks/gpu_speed.py" "$@"
