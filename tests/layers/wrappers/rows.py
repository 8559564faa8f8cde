"""What the rows of all wrappers share."""

# Weights that are attributes of an inner layer, which has a device of its own, is built and loaded
# by itself, and may be built already.
INNER = frozenset(
    {
        "test_a_partial_state_dict_is_taken_where_it_may_be",
        "test_a_second_build_is_refused",
        "test_a_state_dict_may_be_assigned",
        "test_a_wrong_shaped_state_dict_is_an_error_and_changes_no_shape",
        "test_an_unbuilt_layer_that_refuses_its_input_stays_lazy",
        "test_made_on_a_device",
        "test_on_the_meta_device",
        "test_prune",
        "test_replicas_of_data_parallel",
        "test_set_weights_takes_nothing_where_one_weight_is_computed",
        "test_weight_norm",
    }
)
