/* Rows collected for the build side of a join: columns packed to the width of their type.
 *
 * CALLS  collector: init (add* take)* fini, by one worker. The pieces that take returns belong to the caller; the join table
 *        (join_table.h) takes them, or they are read batch by batch with lb_join_rows_batch, and freed. */
#ifndef LB_ALGO_JOIN_ROWS_H
#define LB_ALGO_JOIN_ROWS_H

#include "core/column/builder.h"

/* A column of a piece, or of the whole table. */
struct lb_join_column {
    enum lb_type type;
    void *data;              /* n_rows values; nil rows are zero; NULL for LB_NULL */
    uint64_t *valid;         /* NULL: no row is nil (unless LB_NULL) */
    struct lb_arena strings; /* what views of a piece point to */
    char *bytes;             /* what those of the whole table point to */
    size_t n_bytes;
};

/* Rows of one morsel, in order. */
struct lb_join_rows {
    uint64_t morsel;
    uint32_t part; /* number within its morsel */
    uint32_t n_rows;
    uint32_t n_columns;
    size_t bytes; /* what it holds of memory */
    struct lb_join_column *columns;
};

struct lb_join_collector {
    uint32_t n_columns;
    uint32_t n_rows; /* since the last take */
    struct lb_builder *columns;
};

/* Rows have n_columns columns; those that a batch does not have are nil. */
lb_status lb_join_collector_init(struct lb_join_collector *collector, uint32_t n_columns,
                                 struct lb_error *err) LB_MUST_USE;
void lb_join_collector_fini(struct lb_join_collector *collector);
/* Copies the selected rows. */
lb_status lb_join_collector_add(struct lb_join_collector *collector, const struct lb_batch *batch,
                                struct lb_error *err) LB_MUST_USE;
/* Memory held by rows not taken yet. */
size_t lb_join_collector_bytes(const struct lb_join_collector *collector);
/* The rows since the last take; the collector is empty again. */
lb_status lb_join_collector_take(struct lb_join_collector *collector, uint64_t morsel,
                                 uint32_t part, struct lb_join_rows **rows,
                                 struct lb_error *err) LB_MUST_USE;

void lb_join_rows_delete(struct lb_join_rows *rows); /* NULL allowed */
/* Rows first.. of the piece, LB_BATCH_ROWS at most, as a batch; columns: room for n_columns, and bits for
 * n_columns bitmaps of LB_BATCH_ROWS. */
void lb_join_rows_batch(const struct lb_join_rows *rows, uint32_t first, struct lb_column *columns,
                        uint64_t *bits, struct lb_batch *batch);

enum { LB_JOIN_BITMAP_WORDS = (LB_BATCH_ROWS + 63) / 64 };

static inline bool lb_join_is_valid(const struct lb_join_column *column, size_t row)
{
    if (column->type == LB_NULL)
        return false;
    return column->valid == NULL || (column->valid[row >> 6] >> (row & 63) & 1) != 0;
}

/* Bytes of a value in a column's data. */
size_t lb_join_width(enum lb_type type);
void lb_join_column_fini(struct lb_join_column *column, size_t n_rows);

#endif
