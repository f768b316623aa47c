/* Builders: make columns row by row. A column starts with the first value's type and widens without
 * loss: nil fits any type, a value of another type turns the column into `any` (integers and floats
 * are never mixed in a typed column). All memory is reused by reset.
 *
 * CALLS  init (append* reset)* fini. Every append adds one row. */
#ifndef LB_COLUMN_BUILDER_H
#define LB_COLUMN_BUILDER_H

#include "core/base/arena.h"
#include "core/base/buf.h"
#include "core/column/batch.h"

struct lb_builder {
    enum lb_type type;
    uint32_t n_rows;
    uint32_t n_nulls;
    uint32_t capacity;       /* rows that fit data and valid */
    void *data;              /* capacity * 16 bytes, whatever the type; nil rows are zero */
    uint64_t *valid;         /* bit set for each non-nil row; written only while n_nulls > 0 */
    struct lb_arena strings; /* bytes of copied strings and encoded values */
};

void lb_builder_init(struct lb_builder *builder);
void lb_builder_fini(struct lb_builder *builder);
void lb_builder_reset(struct lb_builder *builder);

lb_status lb_builder_null(struct lb_builder *b, struct lb_error *err) LB_MUST_USE;
lb_status lb_builder_bool(struct lb_builder *b, bool value, struct lb_error *err) LB_MUST_USE;
lb_status lb_builder_int(struct lb_builder *b, int64_t value, struct lb_error *err) LB_MUST_USE;
lb_status lb_builder_float(struct lb_builder *b, double value, struct lb_error *err) LB_MUST_USE;
/* Copies the bytes. */
lb_status lb_builder_string(struct lb_builder *b, const char *data, size_t size,
                            struct lb_error *err) LB_MUST_USE;
/* Borrows the bytes until reset: for strings that outlive the batch (input buffers, arenas). */
lb_status lb_builder_view(struct lb_builder *b, const char *data, size_t size,
                          struct lb_error *err) LB_MUST_USE;
/* One encoded value (column/codec.h): scalars land in typed columns, tables in `any`. Copies. */
lb_status lb_builder_encoded(struct lb_builder *b, const char *data, size_t size,
                             struct lb_error *err) LB_MUST_USE;
/* As lb_builder_encoded, but borrows string bytes and encoded tables until reset. */
lb_status lb_builder_encoded_view(struct lb_builder *b, const char *data, size_t size,
                                  struct lb_error *err) LB_MUST_USE;
/* A decoded value; copies. */
struct lb_value;
lb_status lb_builder_value(struct lb_builder *b, const struct lb_value *value,
                           struct lb_error *err) LB_MUST_USE;
/* Row `row` of a column; copies. */
lb_status lb_builder_column(struct lb_builder *b, const struct lb_column *column, uint32_t row,
                            struct lb_error *err) LB_MUST_USE;

/* Direct writing, for readers that make many values of one type at once: *room is space for n
 * values of the type (struct lb_view for LB_STRING: inline, or borrowing what lives until reset).
 * Fill the first k <= n of them, then lb_builder_commit(b, k) makes them rows. LB_ERR_INTERNAL when
 * the column has values of another type. room is borrowed until the next call on b. */
lb_status lb_builder_room(struct lb_builder *b, enum lb_type type, uint32_t n, void **room,
                          struct lb_error *err) LB_MUST_USE;
void lb_builder_commit(struct lb_builder *b, uint32_t n);

/* The column as built so far; borrowed until the next append or reset. */
struct lb_column lb_builder_finish(const struct lb_builder *builder);

/* Several builders side by side, for records of one length; see lb_batch_builder_fits. */
struct lb_batch_builder {
    uint32_t n_rows;
    uint32_t n_columns;          /* widest record since reset */
    uint32_t n_builders;         /* initialised ones */
    struct lb_builder *builders; /* room for LB_MAX_COLUMNS: pointers to them stay good */
    struct lb_column *columns;   /* filled by finish */
    uint32_t *parent_rows;       /* written only once has_parents */
    uint32_t parent_capacity;    /* rows that fit parent_rows */
    bool has_parents;            /* some row's parent row is not the row's own number */
    struct lb_batch batch;       /* what finish returns */
};

void lb_batch_builder_init(struct lb_batch_builder *builder);
void lb_batch_builder_fini(struct lb_batch_builder *builder);
void lb_batch_builder_reset(struct lb_batch_builder *builder);
/* Builder of column i (0-based) for the row being made, creating it and filling it up with nils to
 * n_rows when new. Fails with LB_ERR_USAGE beyond LB_MAX_COLUMNS. */
lb_status lb_batch_builder_column(struct lb_batch_builder *builder, uint32_t i,
                                  struct lb_builder **column, struct lb_error *err) LB_MUST_USE;
/* Ends the row: columns that got no value get nil. parent_row is the row of the parent batch it was
 * made from. A row to which nothing was appended becomes one nil. */
lb_status lb_batch_builder_end_row(struct lb_batch_builder *builder, uint32_t parent_row,
                                   struct lb_error *err) LB_MUST_USE;
/* Strings of one column that make a batch full. Where batches end must depend on the records alone, not on memory or on what a worker
 * did before: it shows in the order of the lines of on_error = { to }, and in which of two errors is the first. */
#ifdef LB_TINY
enum { LB_BATCH_STRING_BYTES = 256 };
#else
enum { LB_BATCH_STRING_BYTES = 1 << 20 };
#endif
/* Whether a record of so many values may join the rows so far; if not, finish the batch and reset
 * before it. */
static inline bool lb_batch_builder_fits(const struct lb_batch_builder *builder, uint32_t width)
{
    return builder->n_rows == 0 || builder->n_columns == (width > 0 ? width : 1);
}
static inline bool lb_batch_builder_is_full(const struct lb_batch_builder *builder)
{
    if (builder->n_rows >= LB_BATCH_ROWS)
        return true;
    for (uint32_t i = 0; i < builder->n_columns; i++)
        if (builder->builders[i].strings.used_bytes >= LB_BATCH_STRING_BYTES)
            return true;
    return false;
}
/* The batch so far, with `parent` as its origin (may be NULL); borrowed until the next change. */
const struct lb_batch *lb_batch_builder_finish(struct lb_batch_builder *builder,
                                               const struct lb_batch *parent);

#endif
