"""The training: its step, the loop around it, going on, timing.

- `trainer`: the step, and the state it carries on
- `cuda_graph`: the step's gradient, recorded once on a CUDA device and replayed
- `averaging`: parameters averaged over the last steps
- `beginning`: where a training begins
- `early_stopping`: what validations say of its course: an early end, and a warning
- `loop`: the loop around the step: logs, validates, saves, pauses
- `reporter`: who is told how it goes
- `dry_run`: a training that is tried and not done
- `resume`: a run that goes on
- `progress_bar`: progress on the terminal
"""
