/* Registration of the operators and aggregates that call Lua. */
#include "lua_bindings/ops.h"

#include "core/algo/aggregate.h"
#include "core/algo/group_state.h"
#include "core/algo/window.h"

void lb_lua_register_ops(void)
{
    /* ORDER lua operators */
    static const struct lb_op_class *const ops[] = {
        &lb_lua_op_map,        &lb_lua_op_flat_map,        &lb_lua_op_filter, &lb_lua_op_foreach,
        &lb_lua_op_map_values, &lb_lua_op_flat_map_values, &lb_lua_op_key_by, &lb_lua_op_partition,
        &lb_lua_op_mapper,     &lb_lua_op_map_partitions,  &lb_lua_op_fold,   &lb_lua_op_groups,
        &lb_lua_op_combine,    &lb_lua_op_compute,         &lb_lua_op_frame,
    };
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        lb_op_register(ops[i]);
    lb_aggregate_register(&lb_lua_aggregate_reduce);
    lb_aggregate_register(&lb_lua_aggregate_combine_by_key);
    lb_group_state_register(&lb_lua_group_aggregate);
    lb_window_register(&lb_lua_window_over);
}
