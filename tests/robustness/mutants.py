r"""The core broken on purpose: does some test notice?

Each mutant is one small change of a core function: a sign, an off-by-one, a wrong axis, a forgotten factor. The
changed tree lies in a temporary folder; first the test runs that should notice, and if it passes, the whole file of
it. A mutant that all tests survive is a hole in them.

    python -m tests.robustness.mutants                    # all, some minutes on 2 cores
    python -m tests.robustness.mutants --only=ops.py      # those whose file's name holds this
"""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: Seconds after which a test that does not end counts as having noticed.
TIMEOUT = 240


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
      file: below demo_jax/.
      old: the text there, exactly once.
      new: what stands in its place.
      test: what should notice, 'FILE' or 'FILE::TEST', without tests/test_ and .py.
    """

    file: str
    old: str
    new: str
    test: str


MUTANTS: tuple[Mutant, ...] = (
    # nn/ops.py
    Mutant(
        'nn/kernels.py',
        "'same': ((width - 1) // 2, width // 2)",
        "'same': (width // 2, (width - 1) // 2)",
        'kernels::test_conv1d_is_flax_conv',
    ),
    Mutant(
        'nn/kernels.py',
        "'full': (width - 1, width - 1)",
        "'full': (width, width - 2)",
        'kernels::test_conv1d_is_flax_conv',
    ),
    Mutant(
        'nn/kernels.py',
        'jnp.where(tokens < 4, 3 - tokens, tokens)',
        'jnp.where(tokens < 4, tokens, tokens)',
        'kernels::test_reverse_complement_agrees_with_numpy',
    ),
    Mutant(
        'nn/kernels.py',
        'source = lengths[:, None] - 1 - position',
        'source = lengths[:, None] - position',
        'kernels::test_reverse_complement_within_lengths',
    ),
    Mutant(
        'nn/kernels.py',
        'return inputs / scale, values(width) * scale',
        'return inputs / scale, values(width) / scale',
        'kernels::test_conv1d_of_fewer_products',
    ),
    Mutant(
        'nn/kernels.py',
        'return _blocks(x, size).max(axis=1)',
        'return _blocks(x, size).min(axis=1)',
        'kernels::test_max_pool1d_is_flax_max_pool',
    ),
    Mutant(
        'nn/kernels.py', 'c = f * state.c + i * g', 'c = i * state.c + f * g', 'kernels::test_lstm_step_is_flax_cell'
    ),
    Mutant(
        'nn/kernels.py',
        'dc = dc * onward + dh * to_c',
        'dc = dc + dh * to_c',
        'kernels::test_gradient_by_the_inputs_alone_of_a_ragged_stack',
    ),
    Mutant(
        'nn/kernels.py',
        'jnp.pad(part, shift) for part, shift in zip(parts',
        'jnp.pad(part, shift) for part, shift in zip(parts[::-1]',
        'kernels::test_conv1d_is_flax_conv',
    ),
    Mutant(
        'nn/kernels.py',
        'jnp.where(drawn >= threshold',
        'jnp.where(drawn > threshold',
        'kernels::test_dropout_rate_and_scale',
    ),
    # nn/models.py
    Mutant(
        'nn/models.py',
        'return self.logits[:, 1] - self.logits[:, 0]',
        'return self.logits[:, 0] - self.logits[:, 1]',
        'models::test_model_is_the_one_of_flax_layers',
    ),
    # nn/layers.py
    Mutant('nn/layers.py', 'kernel[::-1, ::-1]', 'kernel[:, ::-1]', 'models::test_deepbind_reads_both_strands'),
    Mutant('nn/layers.py', '.at[:, size : 2 * size].set(1.0)', '.at[:, :size].set(1.0)', 'models::test_init_of_lstms'),
    Mutant(
        'nn/layers.py',
        "{'valid': 1 - self.width, 'same': 0",
        "{'valid': -self.width, 'same': 0",
        'models::test_masked_is_truncated',
    ),
    Mutant(
        'nn/layers.py',
        "drawn['kernel'] / math.sqrt(width * channels)",
        "drawn['kernel'] / math.sqrt(width)",
        'models::test_init_of_convolutions_and_dense',
    ),
    Mutant(
        'nn/layers.py',
        'before = -len(state.left) % self.block',
        'before = len(state.left) % self.block',
        'dense::test_every_window_as_by_itself',
    ),
    Mutant(
        'predict/overlapping.py',
        'other[:, ::-1]',
        'other',
        'dense::test_a_file_of_every_kind_of_record',
    ),
    # data/dna.py
    Mutant('dna.py', "('TU', 3)", "('T', 3)", 'dna::test_encode_accepts_both_cases_rna_and_iupac'),
    Mutant(
        'dna.py',
        '_COMPLEMENT = np.array([3, 2, 1, 0, N], np.uint8)',
        '_COMPLEMENT = np.array([2, 3, 0, 1, N], np.uint8)',
        'dna::test_reverse_complement',
    ),
    Mutant(
        'dna.py',
        'codes = codes[np.arange(length - 1) < np.asarray(lengths)[:, None] - 1]',
        'codes = codes[np.arange(length - 1) < np.asarray(lengths)[:, None]]',
        'dna::test_dinucleotide_counts',
    ),
    Mutant(
        'dna.py',
        'chosen = trees[np.argmax(total > draw[:, None], axis=1)]',
        'chosen = trees[np.argmax(weights, axis=1)]',
        'dna::test_shuffles_are_uniform_over_all_sequences',
    ),
    Mutant(
        'dna.py',
        'keys[rows, first] |= _LAST * (same[rows, first] & (root != letter))',
        'pass',
        'dna::test_shuffles_keep_dinucleotides_and_ends',
    ),
    # folds, ensembles and calibration
    Mutant(
        'data/folds.py',
        'fold = filled.index(min(filled))',
        'fold = filled.index(max(filled))',
        'folds::test_a_chromosome_is_in_one_fold_with_all_that_overlaps',
    ),
    Mutant(
        'training/pool.py',
        'apart = numbers == fold',
        'apart = numbers != fold',
        'folds::test_a_pool_with_folds_trains_on_all_but_its_own',
    ),
    Mutant(
        'predict/ensemble.py',
        'sd = np.sqrt(np.square(values - mean).sum(axis=0) / (len(values) - 1))',
        'sd = np.sqrt(np.square(values - mean).sum(axis=0) / len(values))',
        'ensemble::test_combine_is_mean_and_sd',
    ),
    Mutant(
        'evaluation/calibration.py',
        'return float(np.log(prior / (1 - prior)) - np.log(trained / (1 - trained)))',
        'return float(np.log(prior / (1 - prior)) + np.log(trained / (1 - trained)))',
        'calibration::test_another_prior_is_bayes_rule',
    ),
    Mutant(
        'evaluation/calibration.py',
        'scale = fit_scale(labels[~half], scores[~half])',
        'scale = fit_scale(labels[half], scores[half])',
        'calibration::test_scales_apart_come_from_the_other_half_and_pairs_stay_together',
    ),
    # training
    Mutant(
        'training/jobs.py',
        'rate = 0.5 ** (steps // plan.steps_per_epoch // recipe.halve_every)',
        'rate = 0.5 ** (steps // recipe.halve_every)',
        'jobs::test_halving_is_the_papers_schedule',
    ),
    Mutant(
        'training/jobs.py',
        'rate = 0.5 * (1 + np.cos(np.pi * progress))',
        'rate = 0.5 * (1 - np.cos(np.pi * progress))',
        'jobs::test_cosine_rises_over_the_warmup_and_ends_near_zero',
    ),
    Mutant(
        'training/jobs.py',
        'rng = np.random.default_rng([*job.seeds, epoch, 2])',
        'rng = np.random.default_rng([job.seed, job.index, epoch, 2])',
        'jobs::test_the_order_depends_on_seed_task_and_epoch_alone',
    ),
    Mutant(
        'training/jobs.py',
        'rng.random(count) < 1 - epoch / until',
        'rng.random(count) < epoch / until',
        'jobs::test_shuffles_come_in_the_first_epochs_and_become_fewer',
    ),
    Mutant(
        'training/pool.py',
        'first[others] = np.arange(used, used + len(source))',
        'first[others] = np.arange(used - len(source), used)',
        'pool::test_shuffles_stand_in_for_negatives_that_are_none',
    ),
    Mutant(
        'insilico/grammar.py',
        'np.stack([highest, highest - np.median(flat, axis=-1)], axis=-1)',
        'np.stack([highest, highest], axis=-1)',
        'grammar::test_synergy_at_any_distance_is_no_preference',
    ),
    Mutant(
        'insilico/grammar.py',
        '.max(axis=1))\n    return found',
        '.min(axis=1))\n    return found',
        'grammar::test_words_that_mean_nothing_are_called_at_the_nominal_rate_at_most',
    ),
    Mutant(
        'insilico/compare.py',
        'change = of_condition[1] - of_condition[0]',
        'change = of_condition[0] - of_condition[1]',
        'two_conditions::test_motif_differences_are_those_of_the_scores',
    ),
    Mutant(
        'insilico/models.py',
        'own, turned, length - width - starts[0], score, width)',
        'own, turned, length - starts[0], score, width)',
        'insilico::test_following_edits_gives_the_scores_of_the_whole_sequences',
    ),
    Mutant(
        'training/jobs.py',
        'order = rng.permutation(count)',
        'order = rng.integers(count, size=count)',
        'jobs::test_an_epoch_has_every_example_once',
    ),
    Mutant(
        'training/pool.py',
        'rng = np.random.default_rng([seed, name_seed(task), 1])',
        'rng = np.random.default_rng([seed, len(rows), 1])',
        'pool::test_a_tasks_shuffles_do_not_depend_on_its_company',
    ),
    Mutant(
        'training/pool.py',
        'return (counts[0] == counts[1]).all(axis=1)',
        'return np.ones(len(rows), bool)',
        'pool::test_negatives_with_something_planted_are_not_drawn_anew',
    ),
    # evaluation
    Mutant(
        'evaluation/metrics.py',
        'ties_half = above - 0.5 * positives',
        'ties_half = above - 1.0 * positives',
        'metrics::test_auroc_and_average_precision_equal_scikit_learn',
    ),
    Mutant(
        'evaluation/metrics.py',
        "rows = np.argsort(-scores, kind='stable')",
        "rows = np.argsort(scores, kind='stable')",
        'metrics::test_known_values',
    ),
    Mutant(
        'evaluation/metrics.py',
        'called = hits + np.cumsum(negatives, axis=1)',
        'called = hits + negatives',
        'metrics::test_auroc_and_average_precision_equal_scikit_learn',
    ),
    Mutant(
        'evaluation/metrics.py',
        'tail = (1 - level) / 2',
        'tail = 1 - level',
        'metrics::test_bootstrap_agrees_with_a_plain_one_over_pairs',
    ),
    Mutant(
        'evaluation/metrics.py',
        'key = np.where(alone, -1 - np.arange(pairs.size), pairs.astype(np.int64))',
        'key = -1 - np.arange(pairs.size)',
        'metrics::test_bootstrap_agrees_with_a_plain_one_over_pairs',
    ),
    Mutant(
        'evaluation/metrics.py',
        'thresholds=np.concatenate([[np.inf], scores[starts]])',
        'thresholds=np.concatenate([[np.inf], scores[starts][::-1]])',
        'metrics::test_roc_curve_equals_scikit_learn',
    ),
    Mutant(
        'evaluation/compare.py',
        'sd = float(values.std(ddof=1))',
        'sd = float(values.std())',
        'compare::test_summarise_equals_numpy_and_needs_two_values_for_an_sd',
    ),
    Mutant(
        'evaluation/compare.py',
        'p_t = 2 * stats.t.sf(abs(t), n - 1)',
        'p_t = 2 * stats.t.sf(abs(t), n)',
        'compare::test_paired_tests_equal_scipy',
    ),
    Mutant(
        'evaluation/compare.py',
        'np.arange(family.size, 0, -1)',
        'np.arange(1, family.size + 1)',
        'compare::test_holm_by_hand',
    ),
    Mutant('evaluation/compare.py', 'np.maximum.accumulate(steps)', 'steps', 'compare::test_holm_by_hand'),
    Mutant(
        'evaluation/choose.py',
        'rank > found[key][0]',
        'rank >= found[key][0]',
        'choose::test_the_best_is_the_first_of_the_highest',
    ),
    Mutant(
        'evaluation/compare.py',
        '{task: result.valid for task, result',
        '{task: result.test for task, result',
        'compare::test_the_best_spec_is_chosen_by_validation_and_never_by_test',
    ),
    Mutant(
        'evaluation/compare.py',
        "'difference': ours.test - theirs.deepbind",
        "'difference': ours.test - theirs.meme_sum",
        'compare::test_beside_published_values_and_difference',
    ),
    Mutant(
        'baseline/motif_scores.py',
        'odds = mean + np.log(share) - np.log1p(-share)',
        'odds = mean + np.log(share)',
        'motif_scores::test_shares_are_the_likeliest',
    ),
    Mutant(
        'baseline/motif_scores.py',
        'n_places = 2 * windows.inside.sum(axis=1)',
        'n_places = windows.inside.sum(axis=1)',
        'motif_scores::test_scores_against_brute_force',
    ),
    # explain
    Mutant(
        'explain/attribution.py',
        'return _Map(scores, (gradient * x).sum(-1), gradient)',
        'return _Map(scores, gradient.sum(-1), gradient)',
        'attribution::test_saliency_is_the_slope_of_the_score',
    ),
    Mutant(
        'explain/attribution.py',
        '(nodes + 1) / 2',
        '(nodes + 1)',
        'attribution::test_integrated_gradients_are_a_path_integral',
    ),
    Mutant(
        'explain/attribution.py',
        'hypothetical = mean - (mean * start).sum(axis=-1, keepdims=True)',
        'hypothetical = mean',
        'attribution::test_integrated_gradients_are_a_path_integral',
    ),
    Mutant(
        'explain/attribution.py',
        '-hypothetical.sum(-1) / 3, 0)',
        '-hypothetical.sum(-1) / 4, 0)',
        'attribution::test_mutagenesis_is_the_score_of_every_mutant',
    ),
    Mutant(
        'explain/attribution.py',
        'hypothetical=_turn(other.hypothetical, batch.lengths)[..., ::-1]',
        'hypothetical=_turn(other.hypothetical, batch.lengths)',
        'attribution::test_both_strands_average_the_two_maps',
    ),
    Mutant(
        'nn/layers.py',
        'above.right + self.width - 1 - self.left_padding',
        'above.right + self.left_padding',
        'temporal::test_equal_to_running_every_truncated_sequence',
    ),
    Mutant(
        'explain/temporal.py',
        'for d in (flipped, not flipped))',
        'for d in (flipped, flipped))',
        'temporal::test_models_are_scored_as_if_alone',
    ),
    Mutant(
        'explain/temporal.py', '>= turning * batch', '> turning * batch', 'temporal::test_models_are_scored_as_if_alone'
    ),
    Mutant(
        'nn/edits.py',
        'range(max(0, j - width + 1), min(w, j + 1))',
        'range(max(0, j - width + 2), min(w, j + 1))',
        'mutants::test_every_single_mutant',
    ),
    Mutant(
        'nn/edits.py',
        'beside[left : left + edit.span.width] = False',
        'beside[:] = False',
        'mutants::test_epistasis_of_pairs_of_letters',
    ),
    Mutant(
        'nn/layers.py',
        'starts = [steps - width - start for start in starts]',
        'starts = [steps - 1 - start for start in starts]',
        'mutants::test_every_single_mutant',
    ),
    Mutant(
        'explain/interactions.py',
        'both - first - second + found[0]',
        'both - first - second',
        'mutants::test_epistasis_of_windows',
    ),
    Mutant(
        'explain/temporal.py',
        'at = (position + 1) // pool - 1',
        'at = position // pool - 1',
        'temporal::test_truncated_features',
    ),
    Mutant(
        'explain/class_optimisation.py',
        '- l2 * (x * x).sum((1, 2))',
        '+ l2 * (x * x).sum((1, 2))',
        'class_optimisation::test_steps_are_those_of_rmsprop',
    ),
    Mutant(
        'explain/class_optimisation.py',
        'np.where(largest > 0, largest, 1) + smoothing',
        'np.where(largest > 0, largest, 1)',
        'class_optimisation::test_to_matrix',
    ),
    Mutant(
        'nn/layers.py',
        "{'valid': 0, 'same': (self.width - 1) // 2, 'full': self.width - 1}",
        "{'valid': 0, 'same': self.width // 2, 'full': self.width}",
        'activations::test_strongest_activation',
    ),
    Mutant(
        'explain/activations.py',
        'chosen = (active >= threshold[None, None])',
        'chosen = (active > threshold[None, None])',
        'oracles::test_filters_at_their_very_maximum',
    ),
    Mutant(
        'explain/interactions.py',
        '(jax.jvp(gradient, (x,), (along,))[1] * x).sum(-1)',
        'jax.jvp(gradient, (x,), (along,))[1].sum(-1)',
        'interactions::test_chosen_rows_equal_the_hessian',
    ),
    Mutant(
        'explain/truth.py',
        'return 2 * shared >= shorter, shared >= shorter',
        'return 2 * shared > shorter, shared >= shorter',
        'truth::test_windows_are_judged_by_their_overlap',
    ),
    Mutant(
        'explain/truth.py',
        'all_starts <= (lengths[local] - windows.width)[:, None]',
        'all_starts < (lengths[local] - windows.width)[:, None]',
        'truth::test_chance_is_what_random_windows_reach',
    ),
    Mutant(
        'explain/batches.py',
        'rows = np.minimum(np.arange(start, start + size), n - 1)',
        'rows = np.arange(start, start + size) % n * (start == 0)',
        'attribution::test_another_number_of_sequences_does_not_compile_again',
    ),
    # motifs
    Mutant(
        'motifs/tomtom.py',
        'rates = np.minimum.accumulate(rates[:, ::-1], axis=1)[:, ::-1]',
        'pass',
        'tomtom::test_q_values_are_pi0_times_benjamini_hochberg',
    ),
    Mutant(
        'motifs/tomtom.py',
        'return p_value * (2 - p_value)',
        'return np.minimum(2 * p_value, 1)',
        'tomtom::test_memelite_gives_the_same_p_values',
    ),
    Mutant(
        'motifs/tomtom.py',
        '(n_values * null_share(p_value)[:, None])',
        'n_values',
        'tomtom::test_q_values_are_pi0_times_benjamini_hochberg',
    ),
    Mutant(
        'motifs/tomtom.py',
        '(matrix[::-1, ::-1] for matrix in checked.values())',
        '(matrix[::-1] for matrix in checked.values())',
        'tomtom::test_reverse_complements_match_on_the_other_strand',
    ),
    Mutant(
        'motifs/column_scores.py',
        'overlap = np.minimum(offset + padded.width, padded.widths[number])',
        'overlap = np.minimum(offset + padded.width + 1, padded.widths[number])',
        'tomtom::test_a_motif_finds_itself',
    ),
    Mutant(
        'motifs/column_scores.py',
        'repeats = self._padded.widths[same] - width + 1',
        'repeats = self._padded.widths[same] - width',
        'tomtom::test_p_values_count_alignments_to_random_targets',
    ),
    Mutant(
        'motifs/matching.py',
        "if protein.upper() in symbols and (rule == 'any' or len(symbols) == 1):",
        'if protein.upper() in symbols:',
        'matching::test_own_matrices_give_the_57_tasks',
    ),
    Mutant(
        'motifs/matching.py',
        '<= significance.threshold).any(axis=1).sum())',
        '<= significance.threshold).all(axis=1).sum())',
        'oracles::test_a_matrix_that_matches_one_of_several_own_matrices_counts_once',
    ),
    Mutant(
        'motifs/matching.py', 'return part / whole if whole else 0.0', 'return float(part)', 'matching::test_table4'
    ),
    Mutant(
        'motifs/extract.py',
        'first=(early < 0) & (late > 0)',
        'first=late > 0',
        'extract::test_steepest_windows_against_search',
    ),
    Mutant(
        'motifs/extract.py',
        'temporal[:, width - 1 : width - 1 + n_starts]',
        'temporal[:, width - 2 : width - 2 + n_starts]',
        'extract::test_steepest_windows_against_search',
    ),
    Mutant(
        'dna.py',
        'return 2.0 + (probabilities * logs).sum(axis=-1)',
        'return 2.0 - (probabilities * logs).sum(axis=-1)',
        'extract::test_information_content_against_scipy',
    ),
    Mutant(
        'motifs/extract.py',
        'new_strand = np.where(gain > 1e-9, -1, 1)',
        'new_strand = np.where(gain > 1e-9, 1, -1)',
        'extract::test_align_strands_recovers_the_orientation',
    ),
    Mutant(
        'baseline/zoops.py',
        'jnp.log(2.0 * jnp.maximum(n_windows, 1))',
        'jnp.log(1.0 * jnp.maximum(n_windows, 1))',
        'finder::test_steps_against_brute_force',
    ),
    Mutant(
        'baseline/zoops.py',
        'counts = counts[0] + _turned(counts[1], model.widths)',
        'counts = counts[0] + counts[1]',
        'finder::test_steps_against_brute_force',
    ),
    Mutant(
        'baseline/zoops.py',
        'counts = counts + counts[_COMPLEMENT][:, _COMPLEMENT].T',
        'counts = counts + counts[_COMPLEMENT][:, _COMPLEMENT]',
        'finder::test_background_is_the_same_on_both_strands',
    ),
    Mutant(
        'baseline/finder.py',
        'rate = jnp.exp(log_p) * np.where(other == np.arange(4**size), 1.0, 2.0)',
        'rate = jnp.exp(log_p)',
        'oracles::test_a_palindrome_counts_as_half_as_likely',
    ),
    Mutant(
        'motifs/scan.py',
        'np.cumsum(chances[::-1])[::-1]',
        'np.cumsum(chances)',
        'scan::test_p_values_are_those_of_all_words',
    ),
    Mutant(
        'motifs/scan.py',
        'Scanner(scanner.scores[::-1, ::-1], scanner.unit',
        'Scanner(scanner.scores[::-1], scanner.unit',
        'scan::test_hits_are_found_by_brute_force_on_both_strands',
    ),
    Mutant(
        'motifs/formats.py',
        'start, strand = int(corpus.lengths[number]) - start - windows.width, -strand',
        'start, strand = int(corpus.lengths[number]) - start, -strand',
        'motif_formats::test_bed_points_at_the_words_in_the_genome',
    ),
    Mutant(
        'motifs/formats.py',
        'rows.append(_numbers(path, line_number, match.group(2)',
        'rows.insert(0, _numbers(path, line_number, match.group(2)',
        'motif_formats::test_read_jaspar_accepts_what_biopython_writes',
    ),
    Mutant(
        'motifs/formats.py',
        'array.transpose(0, 2, 1)',
        'array.transpose(0, 2, 1)[:, ::-1]',
        'motif_formats::test_modisco_arrays',
    ),
)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of a mutant: `by` says which tests noticed, '' where none did; `seconds` it took."""

    mutant: Mutant
    by: str
    seconds: float


def places(mutant: Mutant, root: pathlib.Path = ROOT) -> int:
    """How often the mutant's old text occurs in its file; anything but 1 means that the mutant is out of date."""
    return (root / 'demo_jax' / mutant.file).read_text(encoding='utf-8').count(mutant.old)


def names_of(mutant: Mutant) -> tuple[str, str]:
    """The test that should notice, and the whole file of it, as pytest takes them."""
    file, _, test = mutant.test.partition('::')
    path = f'tests/test_{file}.py'
    return (f'{path}::{test}' if test else path), path


@contextlib.contextmanager
def mutated(mutant: Mutant, tree: pathlib.Path) -> Iterator[None]:
    """The mutant in place in a copy of the tree, while the block lasts.

    Raises:
      ValueError: the old text is not there exactly once.
    """
    if places(mutant, tree) != 1:
        raise ValueError(f'{mutant.file}: {mutant.old!r} occurs {places(mutant, tree)} times, expected once')
    path = tree / 'demo_jax' / mutant.file
    before = path.read_text(encoding='utf-8')
    path.write_text(before.replace(mutant.old, mutant.new), encoding='utf-8')
    try:
        yield
    finally:
        path.write_text(before, encoding='utf-8')


def copy_tree(folder: pathlib.Path) -> pathlib.Path:
    """A copy of what the tests need."""
    ignored = shutil.ignore_patterns('__pycache__', '.*', 'runs', '*.png')
    for name in ('demo_jax', 'tests', 'experiments', 'configs'):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ('setup.cfg', 'pyproject.toml', 'README.md'):
        shutil.copy(ROOT / name, folder / name)
    return folder


def run_tests(tree: pathlib.Path, tests: str) -> int:
    """Run tests of a copied tree in a forked child; the exit status of pytest, or -1 after `TIMEOUT` seconds."""
    child = os.fork()
    if not child:
        status = 3
        try:
            os.setsid()
            devnull = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(devnull, number)
            os.chdir(tree)
            sys.path[:] = [str(tree), *(place for place in sys.path if pathlib.Path(place or '.').resolve() != ROOT)]
            sys.dont_write_bytecode = True
            for name in [name for name in sys.modules if name.partition('.')[0] in ('tests', 'demo_jax')]:
                del sys.modules[name]
            import pytest

            status = int(pytest.main(['-x', '-q', '-p', 'no:cacheprovider', '-p', 'no:xdist', tests]))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


def judge(mutant: Mutant, tree: pathlib.Path) -> Verdict:
    """Whether a test notices the mutant.

    Raises:
      RuntimeError: there is no such test.
    """
    start = time.monotonic()
    with mutated(mutant, tree):
        for tests in dict.fromkeys(names_of(mutant)):
            status = run_tests(tree, tests)
            if status in (4, 5):
                raise RuntimeError(f'{mutant.file}: pytest finds no test {tests}')
            if status:
                return Verdict(mutant, tests, time.monotonic() - start)
    return Verdict(mutant, '', time.monotonic() - start)


def judge_all(
    mutants: Sequence[Mutant] = MUTANTS, say: Callable[[str], object] = lambda text: None, workers: int = 2
) -> list[Verdict]:
    """Judge mutants, some at a time, each worker on a tree of its own.

    First every test runs on the tree as it is: one that fails there would kill any mutant. This process must not
    have used JAX yet: the tests run in forks of it.

    Raises:
      RuntimeError: a test fails on the tree as it is, or a mutant could not be judged.
    """
    _import_others()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(
            {
                'JAX_COMPILATION_CACHE_DIR': f'{folder}/cache',
                'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
                'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
                'JAX_PLATFORMS': 'cpu',
            }
        )
        trees = [copy_tree(pathlib.Path(folder) / f'tree{worker}') for worker in range(workers)]
        tests = sorted({names_of(mutant)[0] for mutant in mutants})
        failing, heard = [], []

        def hear_control(line: str) -> None:
            test, status = line.split('\t')
            heard.append(test)
            failing.extend([test] * (status != '0'))
            if len(heard) % 10 == 0:
                say(f'{len(heard)}/{len(tests)} tests have run on the tree as it is')

        _share(trees, tests, lambda test, tree: f'{test}\t{run_tests(tree, test)}', hear_control)
        if failing:
            raise RuntimeError(f'these fail without any mutant: {", ".join(failing)}')
        say(f'{len(tests)} tests pass on the tree as it is')
        verdicts: list[Verdict] = []
        numbers = {mutant: number for number, mutant in enumerate(mutants)}

        def judged(mutant: Mutant, tree: pathlib.Path) -> str:
            verdict = judge(mutant, tree)
            return f'{numbers[mutant]}\t{verdict.seconds:.1f}\t{verdict.by}'

        def hear(line: str) -> None:
            number, seconds, by = line.split('\t')
            verdict = Verdict(mutants[int(number)], by, float(seconds))
            verdicts.append(verdict)
            fate = f'killed by {by}' if by else f'SURVIVED: {verdict.mutant.old!r} -> {verdict.mutant.new!r}'
            say(f'{len(verdicts)}/{len(mutants)} {verdict.mutant.file}: {fate} ({seconds} s)')

        _share(trees, mutants, judged, hear)
    if len(verdicts) != len(mutants):
        raise RuntimeError(f'{len(mutants) - len(verdicts)} mutants could not be judged')
    return verdicts


def _share(
    trees: Sequence[pathlib.Path],
    items: Sequence[Any],
    work: Callable[[Any, pathlib.Path], str],
    hear: Callable[[str], None],
) -> None:
    """Do some work on every item, in a forked worker for each tree; `hear` gets the lines that come of it."""
    waiting = []
    for place, tree in enumerate(trees):
        reader, writer = os.pipe()
        if not os.fork():
            try:
                with os.fdopen(writer, 'w') as answers:
                    for item in items[place :: len(trees)]:
                        print(work(item, tree), file=answers, flush=True)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        os.close(writer)
        waiting.append(os.fdopen(reader))
    while waiting:
        for pipe in select.select(waiting, [], [])[0]:
            line = pipe.readline()
            if line:
                hear(line.rstrip('\n'))
            else:
                waiting.remove(pipe)
                pipe.close()
    for _ in trees:
        os.wait()


def _import_others() -> None:
    """Import packages that the tests use, once for all forks; nothing of this repository, and no plugin of pytest."""
    import flax.linen  # noqa: F401
    import jax  # noqa: F401
    import optax  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.metrics  # noqa: F401


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see the module. Its status is 1 where fewer than 95% are killed."""
    parser = argparse.ArgumentParser(description='Break the core on purpose and see whether a test notices.')
    parser.add_argument('--only', default='', help='mutants of files whose name holds this')
    given = parser.parse_args(arguments)
    chosen = [mutant for mutant in MUTANTS if given.only in mutant.file]
    verdicts = judge_all(chosen, say=lambda text: print(text, flush=True))
    killed = sum(bool(verdict.by) for verdict in verdicts)
    print(f'{killed} of {len(verdicts)} mutants killed')
    return int(killed < 0.95 * len(verdicts))


if __name__ == '__main__':
    sys.exit(main())
