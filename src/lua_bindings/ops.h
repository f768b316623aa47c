/* The operators that call Lua, by plan name (registered by lb_lua_register_ops). `fn` and other functions are shipped bytes
 * (ship.h). All take label from the node; on_error?: "fail" (default) | "skip".
 *
 *  transforms
 *   lua.map, lua.flat_map, lua.filter, lua.foreach     fn
 *   lua.map_values, lua.flat_map_values                fn    the key stays, f sees the values
 *   lua.key_by           fn     the result of f goes in front of the record as a new first column
 *   lua.partition        fn, n  likewise, but f(key, n) must give an integer
 *   lua.map_partitions   fn     f(iterator, emit, index), index = morsel + 1, in a coroutine
 *   lua.mapper           fn, init?, final?     fn(key, value..., emit, task); a record of one column has key nil
 *   lua.combine          fn, init?, final?     combiner: groups what passes within memory_bytes and calls f(key, values, emit, task)
 *   lua.fold             create, step   one record per morsel that had any: state = step(state, record...) from
 *                        state = create(record...); for reduce, fold, aggregate, sum...
 *  sources
 *   lua.groups           inputs = {sort}, fn, init?, final?   f(key, values, emit, task); values() gives the next value(s) of the group or nil;
 *                        it streams, and need not be read to its end
 *  aggregates
 *   lua.reduce           fn, kernel?: f(a, b); with kernel (ship.h) the C aggregate runs as long as all values are numbers
 *   lua.combine_by_key   create, merge_value, merge_combiners
 *
 * `task` is a table private to one task (one morsel): index (1-based), attempt (1), input (path or nil). */
#ifndef LB_LUA_OPS_H
#define LB_LUA_OPS_H

#include <stdint.h>

#include "core/ops/op.h"

void lb_lua_register_ops(void);

/* Takes the number of records that on_error = "skip" left out since the last call, in all operators of the process. When it
 * is not 0, *first (may be NULL) tells of the first one. Call it when no run is under way. */
uint64_t lb_lua_take_skipped(struct lb_error *first);

/* The classes, for ops.c. ORDER lua operators */
extern const struct lb_op_class lb_lua_op_map, lb_lua_op_flat_map, lb_lua_op_filter,
    lb_lua_op_foreach, lb_lua_op_map_values, lb_lua_op_flat_map_values, lb_lua_op_key_by,
    lb_lua_op_partition;
extern const struct lb_op_class lb_lua_op_mapper, lb_lua_op_map_partitions, lb_lua_op_fold;
extern const struct lb_op_class lb_lua_op_groups, lb_lua_op_combine;
extern const struct lb_aggregate_class lb_lua_aggregate_reduce, lb_lua_aggregate_combine_by_key;

#endif
