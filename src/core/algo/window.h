/* Window functions: a value for each row of a sorted partition, from other rows of it.
 *
 * CALLS   per worker: lb_window_init; then lb_window_compute for block after block; lb_window_fini.
 * IDEA    Rows come as a block of columns in which partitions lie one behind the other. A partition that is longer than a
 *         block comes in pieces: a piece begins with rows that were given before, as far back as frames reach, and ends
 *         with rows that later ones' frames will need; functions keep their state between pieces. Rows of a
 *         partition are known by their place in it, counted from 0, which no cutting changes.
 * FRAMES  All functions of one lb_window have one frame. lo and hi of neighbouring rows never go down, so every function
 *         takes each row in and out at most once: see window_sum.c (exact removal), window_state.c (two stacks),
 *         window_extreme.c (a queue), window_set.c (ranks).
 * ORDER   Results depend on the rows of a frame alone, never on how pieces were cut.
 * ERRORS  With on_error = "skip" or { to = path } among the window's parameters a host's function may fail for a row, which then gets no
 *         result, though it is in the frames of others. Functions run one after the other, but failures are told by rows: so their
 *         order does not depend on how pieces were cut either.
 *
 * FUNCTIONS (parameters: fn, label?, column, column2: 1-based, and those named here)
 *   row_number rank dense_rank percent_rank cume_dist
 *   ntile             n
 *   lag lead          column, n: rows away; default?: any scalar value
 *   first last        column: of the frame's first or last row, nil or not
 *   nth_value         column, n: from 1
 *   and the aggregates of group_state.h over the frame. approx_count_distinct counts exactly here.
 * Hosts add classes with lb_window_register. */
#ifndef LB_ALGO_WINDOW_H
#define LB_ALGO_WINDOW_H

#include "core/base/buf.h"
#include "core/column/batch.h"
#include "core/column/builder.h"
#include "core/column/codec.h"

struct lb_worker;
struct lb_window_class;

/* A piece of a partition in a block. */
struct lb_window_part {
    uint32_t first; /* rows first..end of the block are here */
    uint32_t end;
    uint32_t out; /* results are wanted for the rows out..out_end */
    uint32_t out_end;
    uint64_t before;  /* place of the row `first` in the partition */
    uint64_t n_total; /* rows of the partition; 0: not known yet */
    bool begins;      /* the first piece */
};

/* A block of rows, and for each row: */
struct lb_window_rows {
    struct lb_batch batch;
    const uint8_t
        *is_peer;       /* it is equal in order to the row before it (0 for a partition's first) */
    const uint64_t *lo; /* its frame: places lo..hi of the partition */
    const uint64_t *hi;
    bool from_is_open; /* lo is 0 for all rows; rows that were in a frame may be gone */
    uint8_t *failed;   /* number of the function that failed for it, or 0; NULL: none may */
};

struct lb_window_fn {
    const struct lb_window_class *class;
    /* configuration */
    char label[64];
    uint32_t column; /* 0-based, or LB_NO_COLUMN */
    uint32_t column2;
    int64_t n;
    struct lb_value fallback; /* of lag and lead; borrows from params */
    struct lb_value params;
    struct lb_value window; /* parameters of the whole window */
    uint8_t number;         /* from 1 */
    /* state */
    void *state;           /* the class's own */
    struct lb_builder out; /* results of a block */
};

/* ORDER needs: what a function must have in memory of a partition. */
enum lb_window_need {
    LB_NEED_ROW,   /* the row itself */
    LB_NEED_NEAR,  /* n rows before or behind it */
    LB_NEED_TOTAL, /* n_total */
    LB_NEED_FRAME, /* the frame's rows; those of an open beginning only once */
    LB_NEED_WHOLE, /* the frame's rows all at once */
    LB_NEED_ALL    /* the partition */
};

struct lb_window_class {
    const char *name;
    enum lb_window_need need;
    uint32_t n_columns; /* required */
    bool is_near_ahead; /* LB_NEED_NEAR: rows behind it rather than before */
    bool has_n;         /* n is required, at least 0 or `least_n` */
    int64_t least_n;
    lb_status (*open)(struct lb_window_fn *fn, struct lb_worker *worker, struct lb_error *err);
    void (*close)(struct lb_window_fn *fn);
    /* Appends one result for each row of part->out..out_end; that of a row with rows->failed is not looked at. */
    lb_status (*compute)(struct lb_window_fn *fn, const struct lb_window_rows *rows,
                         const struct lb_window_part *part, struct lb_error *err);
    /* Tells of the next n rows for which it has set rows->failed; NULL: it never does. */
    lb_status (*tell)(struct lb_window_fn *fn, const struct lb_window_rows *rows, uint32_t n,
                      struct lb_error *err);
    size_t (*held_bytes)(const struct lb_window_fn *fn); /* NULL: nothing to speak of */
};

/* ORDER frame kinds */
enum lb_frame_kind {
    LB_FRAME_PARTITION, /* all rows */
    LB_FRAME_PEERS,     /* from the first row to the last peer of the current one */
    LB_FRAME_ROWS,
    LB_FRAME_RANGE
};

struct lb_window_end {
    bool is_open; /* unbounded */
    bool is_int;
    int64_t i;
    double d; /* the same as a double */
};

struct lb_window {
    /* configuration */
    enum lb_frame_kind kind;
    struct lb_window_end from;
    struct lb_window_end to;
    uint32_t range_column; /* 0-based; of LB_FRAME_RANGE */
    bool descending;       /* that column's order */
    struct lb_window_fn *fns;
    uint32_t n_fns;
    bool skips; /* functions may fail for rows */
    /* state: per row of a block */
    uint64_t *lo;
    uint64_t *hi;
    struct lb_range_key *keys;
    uint8_t *failed;
    uint32_t capacity;
    uint32_t keys_capacity;
    uint32_t failed_capacity;
};

/* params: a codec map {functions = list of maps, rows? | range? = {from?, to?} (absent: unbounded), order? = number
 * of order columns, range_column?, desc?, on_error?, label?}. It must outlive the window. After a failure only fini. */
lb_status lb_window_init(struct lb_window *window, const struct lb_value *params,
                         struct lb_worker *worker, struct lb_error *err) LB_MUST_USE;
void lb_window_fini(struct lb_window *window);

/* Finds the frames of the parts and computes all functions for them: each fn's `out`, emptied before, gets the results
 * part by part. For a partition that goes on behind the block (is_open; only the last part may) out_end is set to the
 * first row whose frame or neighbours are not all there, and *keep to the first row that later rows need. */
lb_status lb_window_compute(struct lb_window *window, const struct lb_batch *block,
                            const uint8_t *is_peer, struct lb_window_part *parts, uint32_t n_parts,
                            bool is_open, uint32_t *keep, struct lb_error *err) LB_MUST_USE;

/* With skips: the rows first..first + n of the block for which no function failed, counted from first; returns how many. */
uint32_t lb_window_select(const struct lb_window *window, uint32_t first, uint32_t n,
                          uint32_t *select);

/* NULL when partitions need not be whole in memory, given n_total where *needs_total becomes true; else the label of a
 * function that needs that. */
const char *lb_window_needs_whole(const struct lb_window *window, bool *needs_total);
size_t lb_window_held_bytes(const struct lb_window *window);

void lb_window_register(const struct lb_window_class *class);

#endif
