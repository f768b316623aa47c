/* The external sorter: one machine under sort_by, grouping, aggregation, distinct and repartition.
 *
 * CALLS  new; per worker: writer_new, (writer_add)*, writer_finish [parallel]; prepare [one
 *        thread]; then per range 0..n_ranges-1, in any order, in parallel: cursor_new,
 *        (cursor_next)*, cursor_delete; at the end delete.
 * IDEA   A row is a partition number, a memcmp-able key, a sequence number and a payload; rows come
 *        out by (partition, key, sequence), so equal keys in input order: stable. With `descending`
 *        keys compare the other way round, sequence still ascending. Grouping is sorting with the
 *        hash of the key as the partition.
 * MEMORY Each writer holds at most config.writer_bytes of rows, entries and scratch (reserved in
 *        the budget); then it sorts what it has and spills it as one run of checksummed frames. A
 *        merge reads fan_in runs at most, one frame each; more runs are merged beforehand.
 * RANGES With n_partitions > 1, range p is partition p. With one partition prepare splits by keys
 *        into config.n_ranges ranges of about equal size; the splitters are taken from the bottom-k
 *        sample of rows by hash of their sequence number, so they do not depend on threads or
 *        memory. Large partitions can be cut further: algo/sort_pieces.h. */
#ifndef LB_ALGO_SORTER_H
#define LB_ALGO_SORTER_H

#include "core/base/budget.h"
#include "core/base/buf.h"
#include "core/base/error.h"
#include "core/io/spill.h"

#include <stdatomic.h>
#include <stdint.h>

struct lb_sorter_config {
    uint32_t n_partitions; /* 1..65535 */
    uint32_t n_ranges;     /* wanted ranges when n_partitions == 1 */
    bool descending;
    bool split_keys;     /* rows with equal keys may fall into two ranges (plain sorting); else a
                              group's rows (equal first group_size bytes) always are in one range */
    bool has_pieces;     /* the rows are sampled for algo/sort_pieces.h */
    size_t writer_bytes; /* memory of one writer */
    size_t merge_bytes;  /* memory of all frames of all merges that run at once */
    uint32_t n_workers;  /* merges that run at once */
    struct lb_spill_place spill;
    struct lb_budget *budget;
    const _Atomic int *stop; /* non-zero: give up soon with LB_ERR_CANCELLED; may be NULL */
};

/* A row as stored: this head, then key_size key bytes, then payload_size payload bytes. */
struct lb_sort_row {
    uint32_t key_size;   /* all key bytes */
    uint32_t group_size; /* the first bytes of the key that name its group; the rest orders within
                              it */
    uint32_t payload_size;
    uint32_t partition;
    uint64_t sequence;
    char bytes[];
};

struct lb_sorter;
struct lb_sort_writer;
struct lb_sort_cursor;

lb_status lb_sorter_new(const struct lb_sorter_config *config, struct lb_sorter **sorter,
                        struct lb_error *err) LB_MUST_USE;
/* Takes the sorter (NULL allowed); all writers and cursors must be gone. */
void lb_sorter_delete(struct lb_sorter *sorter);

/* Thread-safe; the writer then belongs to one thread. */
lb_status lb_sort_writer_new(struct lb_sorter *sorter, struct lb_sort_writer **writer,
                             struct lb_error *err) LB_MUST_USE;
/* Room for a row whose key and payload sizes are known; the caller fills ->bytes (key, then
 * payload) at once. Head fields are set from the arguments. May spill first. */
lb_status lb_sort_writer_add(struct lb_sort_writer *writer, uint32_t partition, uint64_t sequence,
                             uint32_t key_size, uint32_t group_size, uint32_t payload_size,
                             struct lb_sort_row **row, struct lb_error *err) LB_MUST_USE;
/* The row just added comes before others into the sample that pieces are cut by. */
void lb_sort_writer_prefer(struct lb_sort_writer *writer);
/* Writes what is held to disk, which finish would keep in memory. */
lb_status lb_sort_writer_spill(struct lb_sort_writer *writer, struct lb_error *err) LB_MUST_USE;
/* Sorts what is held and hands the runs to the sorter. Takes the writer, also on failure. */
lb_status lb_sort_writer_finish(struct lb_sort_writer *writer, struct lb_error *err) LB_MUST_USE;
/* Gives the writer up without its rows. */
void lb_sort_writer_delete(struct lb_sort_writer *writer);

lb_status lb_sorter_prepare(struct lb_sorter *sorter, struct lb_error *err) LB_MUST_USE;
uint32_t lb_sorter_n_ranges(const struct lb_sorter *sorter);
uint64_t lb_sorter_n_rows(const struct lb_sorter *sorter);
uint64_t lb_sorter_spilled_bytes(const struct lb_sorter *sorter); /* written to disk so far */
uint64_t lb_sorter_row_bytes(const struct lb_sorter *sorter); /* of all rows, with their heads */
bool lb_sorter_has_pieces(const struct lb_sorter *sorter);    /* algo/sort_pieces.h can cut it */
uint32_t lb_sorter_n_partitions(const struct lb_sorter *sorter);
/* The rows of a partition; exact, once all writers have finished. */
uint64_t lb_sorter_partition_rows(const struct lb_sorter *sorter, uint32_t partition);

lb_status lb_sort_cursor_new(struct lb_sorter *sorter, uint32_t range,
                             struct lb_sort_cursor **cursor, struct lb_error *err) LB_MUST_USE;
/* *row is NULL at the end. A row stays valid until lb_sort_cursor_release. */
lb_status lb_sort_cursor_next(struct lb_sort_cursor *cursor, const struct lb_sort_row **row,
                              struct lb_error *err) LB_MUST_USE;
/* Rows handed out before, except the newest, are no longer needed: frames may go. Call per batch.
 * */
void lb_sort_cursor_release(struct lb_sort_cursor *cursor);
/* Rows handed out since the last release hold so many bytes of frames that it is time for one. That depends on memory: it must not
 * say where a batch ends. */
bool lb_sort_cursor_is_due(const struct lb_sort_cursor *cursor);
void lb_sort_cursor_delete(struct lb_sort_cursor *cursor);

#endif
