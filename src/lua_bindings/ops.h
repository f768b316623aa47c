/* The operators that call Lua, by plan name (registered by lb_lua_register_ops).
 *
 * `fn` and other functions are shipped bytes (ship.h). All take label from the node, and on_error:
 * "fail" (default); "skip", which counts and leaves out the records whose function fails (what such a record had
 * emitted before stays); or { to = path }, which writes them there, too (rejects.h). map_partitions, init, final and merges
 * of states always fail.
 *
 *
 * Operators marked R take names = list of the columns' names. Then the function gets one row instead of a
 * record's values: a table { name = value }, nil columns absent. The table is the function's own, unless all it
 * does is read fields by constant names: then the row is one table for all records (row.h), and a name that no
 * column has is an error. Which of the two is found out by each worker from the function's code, by what
 * core.row_reads calls too.
 *
 *  transforms
 *   lua.map             R fn, out_names?     the values it returns are the record; none: one nil;
 *                                      with out_names, a list: it returns a table with no other keys
 *                                      than these names, whose fields are the columns in this order
 *   lua.flat_map        R fn           f(record..., emit); a returned list is emitted too
 *   lua.filter          R fn
 *   lua.foreach         R fn           records go on unchanged
 *   lua.map_values        fn           the key stays, f sees and gives the values
 *   lua.flat_map_values   fn           likewise
 *   lua.key_by          R fn           its result goes in front of the record as a new column
 *   lua.partition       R fn, n        likewise, but f(key, n) must give an integer
 *   lua.map_partitions  R fn           f(iterator, emit, index), index = morsel + 1, in a
 *                                      coroutine; on_error is not looked at
 *   lua.mapper          R fn, init?, final?      f(key, value..., emit, task); a record of one
 *                                      column has key nil
 *   lua.combine           fn, init?, final?      combiner: f(key, values, emit, task) for the
 *                                      groups of a morsel, or of as much of it as memory allows
 *   lua.fold            R create, step one record per morsel that had any: state = step(state,
 *                                      record...) from state = create(record...); create's row is
 *                                      always its own
 *   lua.compute         R fns, as?           fns is a list; what each gives of a record becomes a new
 *                                      column behind the others; as: their names, for messages.
 *                                      A function that does more than read its row gets a table
 *                                      of its own, not one that another function has seen
 *   lua.frame             fn           f(frame), as lb.over's: the record is a list of rows, the result one value
 *  sources
 *   lua.groups            inputs = {sort}, fn, init?, final?     f(key, values, emit, task); it
 *                                      streams, and need not be read to its end
 *  aggregates
 *   lua.reduce            fn, kernel?, commutative?      f(a, b); with kernel (ship.h) the C
 *                                      aggregate runs for keys whose values are all numbers
 *   lua.combine_by_key    create, merge_value, merge_combiners, commutative?
 *  functions of the sink group (algo/group_state.h)
 *   lua                   init, step, merge, finish?, columns? or names?, commutative?, shares_heap?
 *                                      see group_aggregate.c
 *
 * iterator() and values() give the values of the next record, and no value at all at the end. In a
 * for loop a record whose first value is nil is an error, as the loop would end there unnoticed.
 *
 * `task` is a table private to one task (one morsel): index (1-based), attempt (1; of a
 * repeated run 2 ...), input (path or nil). commutative = true allows states to be merged in any order; else they are merged in input
 * order, which needs a flush at the end of every morsel. */
#ifndef LB_LUA_OPS_H
#define LB_LUA_OPS_H

#include <stdint.h>

#include "core/ops/op.h"

void lb_lua_register_ops(void);

/* The classes, for ops.c. ORDER lua operators */
extern const struct lb_op_class lb_lua_op_map, lb_lua_op_flat_map, lb_lua_op_filter,
    lb_lua_op_foreach, lb_lua_op_map_values, lb_lua_op_flat_map_values, lb_lua_op_key_by,
    lb_lua_op_partition;
extern const struct lb_op_class lb_lua_op_mapper, lb_lua_op_map_partitions, lb_lua_op_fold;
extern const struct lb_op_class lb_lua_op_compute;
extern const struct lb_op_class lb_lua_op_frame;
extern const struct lb_op_class lb_lua_op_groups, lb_lua_op_combine;
extern const struct lb_aggregate_class lb_lua_aggregate_reduce, lb_lua_aggregate_combine_by_key;
struct lb_group_state_class;
extern const struct lb_group_state_class lb_lua_group_aggregate;
struct lb_window_class;
extern const struct lb_window_class lb_lua_window_over;

#endif
