/* Plans: from the flat description that the Lua planner sends to stages that exec runs.
 *
 * FORMAT  a plan is one codec value (column/codec.h), the map { nodes = { node, ... } }. A node is a map with
 *   op      name of the operator class (ops/op.h registry)
 *   label   for people, such as "map" or "mapper of step 1" (optional)
 *   inputs  list of 1-based numbers of earlier nodes (absent: none)
 *   result  true: the caller wants this sink's result
 * and the operator's own parameters. Nodes stand in an order in which inputs come first. What a class may stand on is
 * given by its kind: a source reads only sinks (0 or more), a transform has input 1 = the source or transform before it (and may have
 * further inputs that are sinks), a sink has one or more sources/transforms as inputs: its legs, in order.
 * The pseudo-operator "union" has two or more sources/transforms/unions as inputs and stands where a
 * source or transform may. The pseudo-operator "when" has one such input, sink = number of an earlier sink, overflowed?: bool;
 * legs through it run only if the sink says that what it collected did not fit (overflowed), or else that it did. A sink may name
 * earlier sinks in the list `reads`, whose results it needs. Any violation is LB_ERR_INTERNAL "plan node 3 (lua.map): ...", never a crash.
 *
 * OPERATORS OF THE CORE (parameters; ? marks optional ones)
 *  sources
 *   scan.text      paths: list; mode?: "lines" (default) | "words" | "field"; n?, sep? for "field"; compression?: what all files are,
 *                  "none" | "gzip" | "zstd" | "lz4" | "bzip2", absent or "auto": as names and first bytes say; so of the next ones, too
 *   scan.files     paths: list                      -> (path, content)
 *   scan.native    paths: list
 *   scan.csv       paths; file_names: list, all columns of the files; columns: list of 1-based numbers of them, in
 *                  output order; types: list, for each of `columns`: "boolean" | "integer" | "float" | "string";
 *                  inferred?: list of booleans: may be widened by LB_RESTART; labels?: list of names for messages;
 *                  sep? (","), quote? ("\"", "" for none), header?: true (the first record of a file is one);
 *                  check_header?: true (it must be file_names); null?: list of strings ({""});
 *                  on_bad?: "fail" | "skip" | { to = path }
 *   scan.json      paths; columns: list of names; types: list, for each: as for scan.csv, or "any"; inferred?: as for scan.csv;
 *                  known?: list of the names that are not read; watch?: list of names that ask for a restart with them as
 *                  columns, or watch_all?: true: all that are not known; on_bad?: as for scan.csv
 *   scan.range     first, last, step: integers (last included)
 *   scan.list      rows: list of lists, each the columns of one record
 *   scan.store     inputs = {store sink}, or handle = integer (lb_plan_add_handle); index?: true appends the
 *                  record's 0-based number as last column
 *   scan.sorted    inputs = {sort}                  -> the payload columns in order
 *   scan.groups    inputs = {sort}                  -> (key, list of values); a value of several columns is a list
 *   scan.aggregate inputs = {aggregate}             -> (key, result...)
 *   scan.group     inputs = {group}                 -> the key columns, then one column per aggregate
 *   scan.window    inputs = {window}; functions, order, rows?, range?, range_column?, desc?, on_error?: see algo/window.h; columns
 *                  count among those that the sink keeps     -> these, then one column per function
 *   scan.set       inputs = {sort with sides}; kind: "subtract" | "intersection": records of side 0 by whether
 *                  their group has side 1; intersection gives each key once
 *   scan.join      inputs = {sort with sides}; kind: "inner" | "left" | "right" | "full"   -> (key, left, right), or
 *                  "semi" | "anti" -> (key, left); side 0 is the left one; nil keys match nothing;
 *                  flat?: list of {left?: n, right?: n}, widths: {left, right}: see scan_join.c; salt?: false |
 *                  integer | function: see range_scan.h
 *   scan.cogroup   inputs = {sort with sides}; sides: their number   -> (key, list of side 0, list of side 1, ...)
 *  transforms
 *   words; fields sep?; field n, sep?; grep pattern; lower      the native text helpers, on column 0
 *                  (a value that is not a string fails as the Lua function would)
 *   project        columns: list of 1-based column numbers
 *   pack           a record of several columns becomes one list; one column stays as it is
 *   tag            value: integer, put in front as a new first column
 *   split_key      a list {k, v...} in column 0 becomes columns (from_pairs of packed records): inverse of pack
 *   bundle         keys, columns: lists of column numbers; strict?    -> (key, columns...); see rows.c
 *   time_window    column, columns, size, every?, offset?; session columns, gap       see time_window.c
 *   pack_row       names; unpack names; explode column                 rows from and to maps and lists
 *   compute        exprs: list of programs (expr/expr.h), columns?: n   records are n columns wide; each program
 *                  appends its value as one more
 *   where          expr: program                      keeps the records for which it is true
 *   fit            aggregates?: as of group, on_error? leaves out the records with a value that one of them refuses
 *   sample         fraction: float, seed: integer
 *   cartesian      inputs = {stream, store sink}: each record with each stored one, columns side by side
 *   pipe           command: string
 *  sinks
 *   sort           partitions: integer; by: "hash" | "given" (column 0 is the partition number, modulo, and is
 *                  dropped) | "turn" (round robin by input position) | "none";
 *                  key: "first" (column 0 after drops) | "record" (all columns) | "none" | "columns" with
 *                  keys = list of {column: 1-based, desc?: bool}: first column first; sides?: column 0
 *                  (after the partition) is 0 to 255, dropped, and orders within the group, highest first; values?: true orders a group
 *                  by its values too, n_values?: integer by the first so many; keep_key: true when the key column is part of the record (false: drop it);
 *                  descending?: bool; pieces?: large partitions may be cut by the source that reads them
 *   aggregate      aggregate: name of the class; partitions; whole?: true: the key is the whole record; and the
 *                  aggregate's own parameters
 *   group          keys?: list of columns (none: one group, also of no rows); aggregates?: list of {fn, column?, column2?, p?,
 *                  population?, label?}: see algo/group_state.h; partitions
 *   window         partition?: list of columns; order?: list of {column, desc?}; columns: list of those that are kept;
 *                  partitions; top?: n: only rows among the first n of their partition are wanted, with ties?: true those equal
 *                  in order to the last of them too
 *                  aggregate and group: pieces?, merges?: booleans, and of the sources over them partials?: boolean, salt?: merges in two
 *                  steps, see ops/partials.h
 *   store          limit?: integer                  result: the store
 *   count                                           result: the number of records
 *   top            n; descending?: bool; column 0 is the key and is dropped, or keys as for sort; result: a store in order
 *   write          path, mode: "error" | "overwrite" | "append"; format: "text" | "json" | "csv" | "lua" | "native";
 *                  compression?: "gzip" | "zstd" | "lz4" | "bzip2"; extension?; names?: of the columns: json writes objects, csv a
 *                  line of them first in each file unless header? is false; folders?: column 0 is the folder below path and is
 *                  dropped, records are sorted by it (names are those of the others); part_bytes?: a directory's parts end
 *                  beyond as many    result: number of records
 *
 * Hosts add their own (lua_bindings/ops.h lists the lua.* ones). */
#ifndef LB_PLAN_PLAN_H
#define LB_PLAN_PLAN_H

#include "core/exec/run.h"
#include "core/ops/store.h"

struct lb_plan;

/* Decodes, checks and keeps a copy of the description. */
lb_status lb_plan_new(const char *data, size_t size, struct lb_plan **plan,
                      struct lb_error *err) LB_MUST_USE;
void lb_plan_delete(struct lb_plan *plan);
/* Gives a sealed store a number that scan.store's `handle` may name. Shares the store. */
lb_status lb_plan_add_handle(struct lb_plan *plan, int64_t handle, struct lb_store *store,
                             struct lb_error *err) LB_MUST_USE;
/* Runs all stages. */
lb_status lb_plan_execute(struct lb_plan *plan, struct lb_run *run,
                          struct lb_error *err) LB_MUST_USE;

/* After LB_RESTART: the number (1-based) of the source that read what its parameters do not allow for, and an encoded map
 * that says how these must change: { columns = list of {i, type} } for scan.csv, i a number in its `columns`, type
 * the name of a wider type; for scan.json also added = list of {name, type}: further columns. Borrowed from the plan. False: none. */
bool lb_plan_restart(const struct lb_plan *plan, uint32_t *node, const char **data, size_t *size);

/* Results of nodes with result = true, after a good run. */
struct lb_plan_result {
    uint32_t node;          /* 1-based */
    struct lb_store *store; /* borrowed, or NULL */
    int64_t n_rows;         /* records counted, stored or written */
};
uint32_t lb_plan_n_results(const struct lb_plan *plan);
struct lb_plan_result lb_plan_result(const struct lb_plan *plan, uint32_t i);

/* Appends what a run took, good or not, as one encoded value: a list with a map for each stage: { claim_seconds, idle_seconds, morsels,
 * operators, peak_bytes, rows_in, rows_out, seconds, spilled_bytes, start }: claim_seconds that workers waited for their turn to
 * claim, idle_seconds for others to leave the stage (both added up over workers), start of lb_clock_ns, 0 when it did not run.
 * operators, leg after leg, the sink last = list of { bytes?, facts?, idle?, label, leg, op, reads, rows_in?, rows_out?, seconds, seconds_c,
 * seconds_lua, seconds_spill, seconds_wait, spill_read_bytes, spill_written_bytes }: bytes that a source read or a sink wrote; idle, true: its leg was not needed;
 * leg from 1, 0 of the sink; reads = stages whose sinks it reads; seconds of its own, added up over threads, and what they went to; a
 * source has no rows_in; facts: see ops/metrics.h. */
lb_status lb_plan_metrics(const struct lb_plan *plan, struct lb_buf *out,
                          struct lb_error *err) LB_MUST_USE;

/* Appends the stages as text, a line an operator: for --check and --explain. */
lb_status lb_plan_describe(const struct lb_plan *plan, struct lb_buf *out,
                           struct lb_error *err) LB_MUST_USE;

#endif
