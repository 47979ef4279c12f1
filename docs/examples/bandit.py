"""Thompson sampling on a contextual bandit: of five arms the one of the digit that is shown pays.

`python docs/examples/bandit.py FOLDER SEEDS [PLAYER...]` prints a table and draws FOLDER/curves.png. Curves are kept in
FOLDER and read from there again.
"""

import sys
from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from methods import draw_curves, kept, mean_and_interval, networks_of
from sklearn.datasets import load_digits
from torch import Tensor

ARMS, ROUNDS, BATCH = 5, 600, 50
"""Digits and arms; rounds; rounds between two trainings. The first batch is played at random."""
EPSILON = 0.05
SETTINGS: dict[str, Any] = {"task.standardise": False}
"""Over those of all methods; what a quick trial changes."""


def inputs(images: Tensor, arms: Tensor) -> Tensor:
    """An image and an arm as one input, [rounds, 64 + arms]."""
    return torch.cat([images.flatten(1), torch.eye(ARMS)[arms]], 1)


def thompson(values: Tensor, rng: torch.Generator) -> Tensor:
    """In each round believe one network that is drawn; values [networks, rounds, arms] give arms [rounds]."""
    networks, rounds, _ = values.shape
    drawn = torch.randperm(max(networks, rounds), generator=rng)[:rounds] % networks
    return values[drawn, torch.arange(rounds)].argmax(-1)


def greedy(values: Tensor, rng: torch.Generator) -> Tensor:
    """Believe the mean of all networks."""
    return values.mean(0).argmax(-1)


def epsilon_greedy(values: Tensor, rng: torch.Generator) -> Tensor:
    """The same, but for a few rounds in which any arm is pulled."""
    best = greedy(values, rng)
    explores = torch.rand(best.shape, generator=rng) < EPSILON
    return torch.where(explores, torch.randint(ARMS, best.shape, generator=rng), best)


RULES = {"Thompson": thompson, "greedy": greedy, "epsilon-greedy": epsilon_greedy}
PLAYERS = ["modes, Thompson", "deep ensemble, Thompson", "hypernetwork, Thompson", "deep ensemble, greedy"]
PLAYERS += ["one network, greedy", "one network, epsilon-greedy", "uniform"]


def play(player: str, seed: int) -> dict[str, Any]:
    """Play all rounds; what is learnt after each batch is all that is known of it: the arm that was pulled, its pay."""
    method, _, rule = player.partition(", ")
    rng, found = torch.Generator().manual_seed(seed), load_digits()
    shown = torch.tensor(found.target) < ARMS
    order = torch.randperm(int(shown.sum()), generator=rng)[:ROUNDS]
    images, digits = torch.tensor(found.images / 16, dtype=torch.float32)[shown][order], torch.tensor(found.target)
    digits = digits[shown][order]
    pulled = torch.randint(ARMS, (len(digits),), generator=rng)  # as it stays where nothing has been learnt
    evaluations = 0
    for first in range(BATCH, len(digits) if rule else 0, BATCH):
        past, now = slice(0, first), slice(first, min(first + BATCH, len(digits)))
        x, y = inputs(images[past], pulled[past]), (pulled == digits)[past].long()
        data = {
            f"{part}{split}": value for split in ("", "_validation", "_test") for part, value in (("x", x), ("y", y))
        }
        networks, cost = networks_of(method, data, BATCH, seed + first, SETTINGS)
        evaluations += cost
        rounds = now.stop - now.start
        asked = inputs(images[now].repeat_interleave(ARMS, 0), torch.arange(ARMS).repeat(rounds))
        pulled[now] = RULES[rule](networks.predict(asked)[..., 1].unflatten(1, (rounds, ARMS)), rng)
    regret = list(accumulate((pulled != digits).tolist()))
    return {"regret": [float(one) for one in regret], "evaluations": evaluations}


def main(folder: Path, seeds: int, players: Sequence[str]) -> None:
    """Print a row for each player as soon as it is done."""
    print(f"| player | regret after {ROUNDS} rounds | of that in the last {ROUNDS // 3} |")
    print("| --- | --- | --- |")
    curves = {}
    for player in players:
        found = [kept(folder, player, seed, partial(play, player, seed)) for seed in range(seeds)]
        curves[player] = [one["regret"] for one in found]
        late = [curve[-1] - curve[-ROUNDS // 3 - 1] for curve in curves[player]]
        whole = mean_and_interval([curve[-1] for curve in curves[player]], 1)
        print(f"| {player} | {whole} | {mean_and_interval(late, 1)} |", flush=True)
    curves.pop("uniform", None)  # would leave no room for the others
    draw_curves(folder / "curves.png", range(1, ROUNDS + 1), curves, ("round", "regret so far"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:] or PLAYERS)
