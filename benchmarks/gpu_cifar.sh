#!/usr/bin/env bash
# Fills cells of the paper's Table 1 on a GPU in pieces of eight minutes: each call goes on where the last one stopped.
#
#     bash benchmarks/gpu_cifar.sh FOLDER [CELL[,CELL...]] [KEY=VALUE]...
#
# Without cells it goes through ResNet-32's in the order a, c, d, b. The data lie in $HYPERFRAME_DATA. A call ends with
# status 0 when all its cells are measured, and with 2 after a piece, or where something is wrong: the message says which.
set -euo pipefail

folder=${1:?"name a folder for the runs and the table"}
cells=${2:-resnet32-a,resnet32-c,resnet32-d,resnet32-b-chain}
shift "$(($# < 2 ? $# : 2))"
exec hyperframe bench table1 --cell "$cells" --out "$folder" trainer.max_seconds=480 "$@"
