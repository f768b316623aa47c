/* Columnar batches: what operators hand to each other.
 *
 * A record is a tuple of 1..LB_MAX_COLUMNS values: column 0 of a one-column batch is the value; of
 * a longer one, column 0 is the key. A batch holds up to LB_BATCH_ROWS rows. A record is as long as
 * its batch is wide: records of different length never share a batch, so (1, nil) stays a pair;
 * whoever makes batches begins a new one when the length changes (lb_batch_builder_fits).
 *
 * LIFETIME: a batch and everything it points to is valid, and must not change, until the push()
 * that received it returns. Who keeps anything beyond that copies it. (So there are no reference
 * counts: sorter, group table, store and writers all copy into memory of their own layout.)
 *
 * ORIGIN lets an error name file and record: a batch knows its parent batch and, unless row i came
 * from row i, for each row the parent's row. A source's batch has `locate` instead. */
#ifndef LB_COLUMN_BATCH_H
#define LB_COLUMN_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/base/error.h"

#ifdef LB_TINY /* debug builds: exercise every edge */
enum { LB_BATCH_ROWS = 7 };
#else
enum { LB_BATCH_ROWS = 2048 };
#endif
enum { LB_MAX_COLUMNS = 250 };

/* ORDER types. The order is also that of widening: null < bool, int64, float64, string < any. */
enum lb_type {
    LB_NULL,    /* every row is nil; no data array */
    LB_BOOL,    /* uint8_t 0 or 1 */
    LB_INT64,   /* int64_t */
    LB_FLOAT64, /* double */
    LB_STRING,  /* struct lb_view of bytes */
    LB_ANY      /* struct lb_view of one value in the codec of column/codec.h */
};

/* A string: up to 12 bytes inline (the rest of them zero), else a prefix and a pointer.
 * Two views of up to 12 bytes are equal exactly when their 16 bytes are. */
struct lb_view {
    uint32_t size; /* bytes; strings are shorter than 4 GiB */
    char prefix[4];
    union {
        char rest[8];     /* bytes 4..11 when size <= 12 */
        const char *data; /* all bytes, when size > 12 */
    };
};
enum { LB_VIEW_INLINE = 12 };

_Static_assert(sizeof(struct lb_view) == 16, "a view is 16 bytes");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "views and codec are little-endian");

static inline const char *lb_view_data(const struct lb_view *view)
{
    return view->size <= LB_VIEW_INLINE ? (const char *)view + offsetof(struct lb_view, prefix)
                                        : view->data;
}

/* Borrows data when longer than LB_VIEW_INLINE. Short ones are put together from loads that may
 * overlap but never leave the string: a memcpy of variable size costs more than all the rest. */
static inline void lb_view_set(struct lb_view *view, const char *data, size_t size)
{
    uint64_t words[2] = {(uint32_t)size, 0};

    if (size > LB_VIEW_INLINE) {
        uint32_t head;

        memcpy(&head, data, 4);
        words[0] |= (uint64_t)head << 32;
        words[1] = (uint64_t)(uintptr_t)data;
    } else if (size >= 8) {
        uint64_t head;
        uint32_t tail;

        memcpy(&head, data, 8);
        memcpy(&tail, data + size - 4, 4);
        words[0] |= head << 32;
        words[1] = head >> 32 | ((uint64_t)tail >> (8 * (12 - size))) << 32;
    } else if (size >= 4) {
        uint32_t head;
        uint32_t tail;

        memcpy(&head, data, 4);
        memcpy(&tail, data + size - 4, 4);
        words[0] |= (uint64_t)head << 32;
        words[1] = (uint64_t)tail >> (8 * (8 - size));
    } else if (size > 0) {
        const unsigned char *bytes = (const unsigned char *)data;
        uint64_t packed = bytes[0];

        packed |= (uint64_t)bytes[size >> 1] << (8 * (size >> 1));
        packed |= (uint64_t)bytes[size - 1] << (8 * (size - 1));
        words[0] |= packed << 32;
    }
    memcpy(view, words, 16);
}

static inline bool lb_view_equal(const struct lb_view *a, const struct lb_view *b)
{
    uint64_t x[2];
    uint64_t y[2];

    memcpy(x, a, 16);
    memcpy(y, b, 16);
    if (x[0] != y[0])
        return false;
    return x[1] == y[1] || (a->size > LB_VIEW_INLINE && memcmp(a->data, b->data, a->size) == 0);
}

struct lb_column {
    enum lb_type type;
    const uint64_t *valid; /* bit i set: row i is not nil; NULL: no row is nil (unless LB_NULL) */
    union {
        const void *data;
        const uint8_t *bools;
        const int64_t *ints;
        const double *floats;
        const struct lb_view *views;
    };
};

static inline bool lb_column_is_valid(const struct lb_column *column, uint32_t row)
{
    if (column->type == LB_NULL)
        return false;
    return column->valid == NULL || (column->valid[row >> 6] >> (row & 63) & 1) != 0;
}

struct lb_buf;

/* Where a record was read. */
struct lb_origin {
    const char *file;      /* NULL: not known; else lives as long as the source is open */
    uint64_t offset, line; /* of its first byte; line, from 1; 0: it must be counted */
};

struct lb_batch {
    uint32_t n_rows;        /* physical rows of every column */
    uint32_t n_columns;     /* at least 1 */
    uint32_t n_selected;    /* rows that count: n_rows when select is NULL */
    const uint32_t *select; /* ascending physical row numbers, or NULL for all */
    const struct lb_column *columns;

    /* origin */
    const struct lb_batch *parent; /* what this batch was made from, or NULL */
    const uint32_t *parent_rows;   /* per physical row the parent's; NULL: the same number */
    /* Sources: where row was read, into origin (unless NULL); appends a description such as
     * "record purchases.csv:88123 (byte 4712034): text" to out (unless NULL). NULL: unknown. */
    lb_status (*locate)(const struct lb_batch *batch, uint32_t row, struct lb_origin *origin,
                        struct lb_buf *out, struct lb_error *err);
    const void *locate_state;
};

/* The physical row of the i-th selected one. */
static inline uint32_t lb_batch_row(const struct lb_batch *batch, uint32_t i)
{
    return batch->select ? batch->select[i] : i;
}

/* Column i; records are as wide as the batch, columns beyond are nil. */
static inline struct lb_column lb_batch_column(const struct lb_batch *batch, uint32_t i)
{
    return i < batch->n_columns ? batch->columns[i] : (struct lb_column){.type = LB_NULL};
}

/* A batch of the same rows as another, which it was made from, in other columns. */
static inline struct lb_batch lb_batch_same_rows(const struct lb_batch *parent,
                                                 const struct lb_column *columns,
                                                 uint32_t n_columns)
{
    struct lb_batch out = *parent;
    out.columns = columns;
    out.n_columns = n_columns;
    out.parent = parent;
    out.parent_rows = NULL;
    out.locate = NULL;
    return out;
}

/* Appends where physical row `row` came from, walking parents up to a source; appends nothing when
 * that is not known. */
lb_status lb_batch_locate(const struct lb_batch *batch, uint32_t row, struct lb_buf *out,
                          struct lb_error *err) LB_MUST_USE;

/* Where physical row `row` was read, for who goes on when a record is bad. */
lb_status lb_batch_origin(const struct lb_batch *batch, uint32_t row, struct lb_origin *origin,
                          struct lb_error *err) LB_MUST_USE;

/* Debug check of every invariant above (sizes, selection order, inline padding, codec of any
 * values); LB_ERR_INTERNAL names the first one broken. */
lb_status lb_batch_verify(const struct lb_batch *batch, struct lb_error *err) LB_MUST_USE;

#endif
