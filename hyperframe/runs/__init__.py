"""Run folders: written, read again, listed and compared.

- `folder`: run folders: taken, written, and their configuration read again
- `provenance`: versions of all that took part, device, seed, revision, and where it was resumed
- `checkpoints`: checkpoints: written whole, verified, the last and the best kept
- `fingerprints`: data and the target's code, told from others behind a run
- `metrics_log`: `metrics.jsonl`, and TensorBoard's files
- `run`: a run folder with its generator: sampled from, evaluated
- `notebook`: the table that a notebook shows of a run
- `sharing`: a run saved to be used elsewhere: drawn networks, generator, card
- `model_card`: the card: figures of the networks, and how they are used
- `loading`: a run read from its folder: configuration, checkpoint, and what does not fit together
- `listing`: the runs of a folder, as results
- `comparison`: runs side by side, as results and as a picture
"""
