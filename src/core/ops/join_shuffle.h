/* The sides of a join that does not fit the memory, written to one sorter by key.
 *
 * CALLS  The build side: join_build calls lb_join_shuffle_open once it finds that the memory does not do; then, per worker:
 *        init, (begin, (add)*, end)*, finish, fini [parallel]; lb_join_shuffle_seal. Then the probe side, by the sink join_probe.
 * FORMAT A row's key: the keys of its columns, closed, side by side (only LB_KEY_NIL when one is nil), then LB_JOIN_BUILD_SIDE or
 *        LB_JOIN_PROBE_SIDE: so the build rows of a key come first. Its sequence number is its place: morsel << LB_JOIN_PLACE_BITS
 *        | position; its payload the values of the columns that are wanted (join_values.h). */
#ifndef LB_OPS_JOIN_SHUFFLE_H
#define LB_OPS_JOIN_SHUFFLE_H

#include "core/ops/join_build.h"
#include "core/ops/metrics.h"

enum { LB_JOIN_BUILD_SIDE = 254, LB_JOIN_PROBE_SIDE = 255, LB_JOIN_PLACE_BITS = 40 };

/* What is written of a side. */
struct lb_join_side {
    uint32_t keys[LB_MAX_COLUMNS]; /* 0-based columns */
    uint32_t n_keys;
    uint32_t columns[LB_MAX_COLUMNS];
    uint32_t n_columns;
    bool is_build;
    bool drops_nil; /* rows with a nil in their key match nothing, and nobody wants them */
};

/* One worker's. */
struct lb_join_writer {
    struct lb_join_build *build;
    const struct lb_join_side *side;
    const char *label;
    struct lb_sort_writer *rows;
    struct lb_heat_local heat;
    uint64_t morsel, position;
    struct lb_buf key, payload;
};

/* A list of 1-based columns as 0-based ones: the parameter `key`, which must be there. */
lb_status lb_join_param_columns(const struct lb_op *op, const char *key, uint32_t *columns,
                                uint32_t *n, struct lb_error *err) LB_MUST_USE;

/* Makes build->sorter, unless it is there. Thread-safe. */
lb_status lb_join_shuffle_open(const struct lb_op *op, struct lb_join_build *build,
                               struct lb_error *err) LB_MUST_USE;
lb_status lb_join_writer_init(struct lb_join_writer *writer, const struct lb_op *op,
                              struct lb_join_build *build, const struct lb_join_side *side,
                              struct lb_error *err) LB_MUST_USE;
void lb_join_writer_begin(struct lb_join_writer *writer, uint64_t morsel);
lb_status lb_join_writer_add(struct lb_join_writer *writer, const struct lb_batch *batch,
                             struct lb_error *err) LB_MUST_USE;
lb_status lb_join_writer_end(struct lb_join_writer *writer, struct lb_error *err) LB_MUST_USE;
/* Hands all over. The build side goes to disk whole: the memory is for the probe side. */
lb_status lb_join_writer_finish(struct lb_join_writer *writer, struct lb_error *err) LB_MUST_USE;
void lb_join_writer_fini(struct lb_join_writer *writer);
/* All of the build side is there: its rows are numbered. */
void lb_join_shuffle_seal(struct lb_join_build *build);
void lb_join_shuffle_close(const struct lb_op *op, struct lb_join_build *build);

/* The number of a build row. */
static inline uint64_t lb_join_row_number(const struct lb_join_build *build, uint64_t place)
{
    return build->morsel_rows[place >> LB_JOIN_PLACE_BITS] +
           (place & (((uint64_t)1 << LB_JOIN_PLACE_BITS) - 1));
}

#endif
