"""The choice of the explained sequences that the page shows (pure)."""

from collections.abc import Sequence

import numpy as np


def choose_sequences(scores: np.ndarray, labels: np.ndarray, n: int) -> dict[int, str]:
    """A mix of interesting sequences, each with the reason for its choice.

    Four fifths are positives, in equal parts those with the highest mean score, those with the lowest, and those on
    which the models disagree most. The rest are negatives, half of them those with the highest scores. If there are too
    few of one class, the other class fills up.

    Args:
      scores: float (A, N), of A models.
      labels: (N,), 0 or 1.
      n: number of sequences, e.g. 50; all N if there are fewer.

    Returns:
      Index -> reason, in the order best, worst, disputed positives, false alarms, other negatives.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    if not scores.size:
        return {}
    mean, spread = scores.mean(axis=0), (0.5 * np.tanh(scores / 2)).std(axis=0)
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    n = min(n, len(labels))
    n_negative = min(len(negatives), max(n // 5, n - len(positives)))
    n_positive = n - n_negative
    third = -(-n_positive // 3)
    plan: Sequence[tuple[str, np.ndarray, np.ndarray, int]] = (
        ('high score', positives, -mean, third),
        ('low score', positives, mean, third),
        ('disputed', positives, -spread, n_positive),
        ('false alarm', negatives, -mean, -(-n_negative // 2)),
        ('negative', negatives, np.arange(len(labels)), n_negative),
    )
    chosen: dict[int, str] = {}
    budget = {1: n_positive, 0: n_negative}
    for reason, among, key, most in plan:
        for index in among[np.argsort(key[among], kind='stable')]:
            label = int(labels[index])
            if most <= 0 or budget[label] <= 0:
                break
            if int(index) not in chosen:
                chosen[int(index)] = reason
                budget[label] -= 1
                most -= 1
    return chosen
