"""Which independent computation checks which number, and in which tests."""

#: What is checked, the oracle, and the tests that do it ('file::test', without tests/test_ and .py).
ORACLES: dict[str, tuple[str, str]] = {
    # operations
    'conv1d': ('flax.linen.Conv; NumPy float64', 'kernels::test_conv1d_is_flax_conv oracles::test_scores'),
    'max_pool1d': (
        'flax.linen.max_pool; NumPy float64',
        'kernels::test_max_pool1d_is_flax_max_pool oracles::test_scores',
    ),
    'lstm_step': ('flax.linen LSTM cell; NumPy float64', 'kernels::test_lstm_step_is_flax_cell oracles::test_scores'),
    'bilstm_scan': (
        'flax.linen.Bidirectional; finite differences; NumPy float64',
        'kernels::test_bilstm_scan_is_flax_bidirectional kernels::test_bilstm_scan_gradients_are_finite_differences '
        'oracles::test_scores',
    ),
    'dropout': (
        'binomial expectation',
        'kernels::test_dropout_rate_and_scale kernels::test_dropout_units_are_independent',
    ),
    'one_hot': ('NumPy', 'kernels::test_one_hot_agrees_with_numpy_and_n_is_zero'),
    'reverse_complement': (
        'NumPy; slow loop',
        'kernels::test_reverse_complement_agrees_with_numpy kernels::test_reverse_complement_within_lengths',
    ),
    # explanations
    'saliency': ('finite differences of NumPy float64', 'oracles::test_gradients_are_finite_differences'),
    'gradient_x_input': ('finite differences', 'attribution::test_gradient_x_input_keeps_the_sign_and_can_be_centred'),
    'integrated_gradients': (
        'path integral of finite differences',
        'oracles::test_integrated_gradients_are_the_path_integral',
    ),
    'deeplift': (
        'NumPy float64 rules of every layer; tangermeme',
        'deeplift::test_multipliers_are_those_of_the_oracle deeplift::test_contributions_sum_to_the_change',
    ),
    'mutagenesis': ('NumPy float64 score of every mutant', 'oracles::test_mutagenesis_and_temporal_scores'),
    'temporal': (
        'NumPy float64 score of every prefix and suffix; every truncated sequence',
        'oracles::test_mutagenesis_and_temporal_scores temporal::test_equal_to_running_every_truncated_sequence',
    ),
    'activations': ('slow loop', 'activations::test_strongest_activation activations::test_filters_as_motifs'),
    'class_optimisation': ('RMSProp by hand', 'class_optimisation::test_steps_are_those_of_rmsprop'),
    'interactions': (
        'finite differences; jax.hessian',
        'interactions::test_rows_are_the_change_of_the_gradient interactions::test_chosen_rows_equal_the_hessian',
    ),
    # tables: columns
    'test_auroc': ('scikit-learn', 'oracles::test_auroc_table'),
    'test_auprc': ('scikit-learn', 'oracles::test_auroc_table'),
    'valid_auroc': ('scikit-learn', 'fit::test_the_kept_parameters_give_the_reported_auroc'),
    'test_auroc_low test_auroc_high test_auprc_low test_auprc_high': (
        'a plain bootstrap loop over pairs',
        'oracles::test_intervals metrics::test_bootstrap_agrees_with_a_plain_one_over_pairs',
    ),
    'n_test best_epoch n_epochs attempt status learning_rate dropout': (
        'the run that was made',
        'oracles::test_auroc_table runs::test_the_run_directory_records_how_it_was_made '
        'isolation::test_the_tables_say_so_and_leave_it_out',
    ),
    'mean median sd n_tasks': ('statistics module', 'oracles::test_table2'),
    'published_mean published_median published_sd published_p published deepbind meme_sum': (
        'the published per-task values and tables',
        'compare::test_published_columns_give_the_papers_baseline_rows '
        'published::test_per_task_values_reproduce_the_baseline_rows_of_table_2 '
        'compare::test_beside_published_values_and_difference',
    ),
    'mean_difference t p_t w p_wilcoxon': ('SciPy', 'oracles::test_table3 compare::test_paired_tests_equal_scipy'),
    'p_holm': ('a plain loop; hand-worked values', 'oracles::test_table3 compare::test_holm_by_hand'),
    'difference n_seeds': ('hand-worked values', 'compare::test_beside_published_values_and_difference'),
    'ensemble': ('scikit-learn over mean scores', 'oracles::test_ensemble_table'),
    'mean_matches matches out_of chance_matches chance_out_of matrices': (
        'one by one; whole windows matched anew',
        'matching::test_counts_against_one_by_one matching::test_table4 '
        'stages::test_table4_counts_the_windows_that_match',
    ),
    'n_sequences n_sites auprc auprc_mean auprc_chance recall recall_chance whole whole_chance': (
        'scikit-learn; enumeration of every window',
        'oracles::test_truth stages::test_truth_judges_the_positives_that_the_model_gets_right',
    ),
    'n_motifs shares motifs valid_sum test_sum valid_zoops test_zoops': (
        'brute force over every word; likelihood on a grid',
        'motif_scores::test_scores_against_brute_force motif_scores::test_shares_are_the_likeliest '
        'motif_scores::test_rules motif_scores::test_rows_of_the_tables',
    ),
    # motifs
    'tomtom': (
        "MEME 5.5.8's own output; memelite; enumeration",
        'tomtom::test_matches_meme tomtom::test_memelite_gives_the_same_p_values '
        'tomtom::test_p_values_count_alignments_to_random_targets',
    ),
    'hits': ('every word; Biopython', 'scan::test_p_values_are_those_of_all_words scan::test_as_biopython'),
    'windows': ('search', 'extract::test_best_windows_against_search extract::test_steepest_windows_against_search'),
    'finder': ('brute force', 'finder::test_steps_against_brute_force'),
    'dinucleotide_shuffle': ('enumeration', 'dna::test_shuffles_are_uniform_over_all_sequences'),
}
