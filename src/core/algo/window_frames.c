/* Frames of windows: the keys of ranges, and lo and hi of each row; see window.h.
 *
 * FRAMES  ROWS are arithmetic. PEERS and RANGE walk two marks along the partition, so a frame costs two steps on
 *         average. A range compares key + distance with other keys: integers exactly, else as doubles, beyond 2^53 wider ones. In descending order
 *         keys count as if negated. A row whose key is nil or NaN has as its range the rows with such a key, where the
 *         frame is bounded, as in SQL. */
#include <math.h>

#include "core/algo/window_private.h"
#include "core/expr/expr.h"

lb_status lb_window_read_keys(struct lb_window *window, const struct lb_batch *block,
                              struct lb_error *err)
{
    static const struct lb_column absent = {.type = LB_NULL};
    const struct lb_column *column =
        window->range_column < block->n_columns ? &block->columns[window->range_column] : &absent;
    for (uint32_t row = 0; row < block->n_rows; row++) {
        struct lb_range_key *key = &window->keys[row];
        struct lb_value value = lb_column_value(column, row);
        double fraction = 0;
        *key = (struct lb_range_key){.kind = RANGE_NIL};
        if (value.tag == 'n')
            continue;
        if (value.tag == 'i') {
            key->kind = RANGE_INT;
            key->i = value.i;
            key->d = (double)value.i;
        } else if (value.tag == 'd') {
            key->kind = isnan(value.d) ? RANGE_NAN : RANGE_FLOAT;
            key->d = value.d;
        } else if (value.tag == 's' &&
                   lb_time_seconds(value.data, value.size, &key->i, &fraction)) {
            key->kind = fraction > 0 ? RANGE_FLOAT : RANGE_INT;
            key->d = (double)key->i + fraction;
        } else {
            int shown = value.tag == 's' && value.size < 100 ? (int)value.size : 0;
            return lb_error_set(err, LB_ERR_DATA,
                                "window: a range needs numbers or times such as 2024-01-31 in the "
                                "column of order_by%s%.*s",
                                shown > 0 ? ", not " : "", shown, shown > 0 ? value.data : "");
        }
        if (window->descending) {
            key->d = -key->d;
            if (key->kind == RANGE_INT && key->i == INT64_MIN)
                key->kind = RANGE_FLOAT;
            else
                key->i = -key->i;
        }
    }
    return LB_OK;
}

static __float128 wide(const struct lb_range_key *key)
{
    return key->kind == RANGE_INT ? (__float128)key->i : (__float128)key->d;
}

static inline bool is_number(const struct lb_range_key *key)
{
    return key->kind == RANGE_INT || key->kind == RANGE_FLOAT;
}

lb_status lb_window_check_order(const struct lb_window *window, const struct lb_batch *block,
                                const struct lb_window_part *part, struct lb_error *err)
{
    const struct lb_column *column = &block->columns[window->range_column];
    for (uint32_t row = part->first + 1; row < part->end; row++) {
        const struct lb_range_key *a = &window->keys[row - 1], *b = &window->keys[row];
        if (!is_number(a) || !is_number(b) || wide(a) <= wide(b))
            continue;
        struct lb_value x = lb_column_value(column, row - 1), y = lb_column_value(column, row);
        if (x.tag != 's' || y.tag != 's')
            continue;
        return lb_error_set(err, LB_ERR_DATA,
                            "window: '%.*s' and '%.*s' are not in the order of time as texts are "
                            "sorted: a range needs times of one form and zone, or "
                            "order_by a column of epoch(time)",
                            (int)x.size, x.data, (int)y.size, y.data);
    }
    return LB_OK;
}

/* The order of a's key and b's key moved by the distance of an end; both are numbers. */
static int compare_moved(const struct lb_range_key *a, const struct lb_range_key *b,
                         const struct lb_window_end *end)
{
    if (a->kind == RANGE_INT && b->kind == RANGE_INT && end->is_int) {
        __int128 moved = (__int128)b->i + end->i;
        return (a->i > moved) - (a->i < moved);
    }
    if (fabs(a->d) >= 0x1p53 || fabs(b->d) >= 0x1p53) { /* where a double is too coarse */
        __float128 moved = wide(b) + (end->is_int ? (__float128)end->i : (__float128)end->d);
        return (wide(a) > moved) - (wide(a) < moved);
    }
    double moved = b->d + end->d;
    return (a->d > moved) - (a->d < moved);
}

/* Whether the row `at` lies before the frame of `row` begins (is_from), or before its end. Rows without a number
 * stand before or behind all others; which of the two the caller knows by their place. */
static bool is_before(const struct lb_window *window, uint32_t at, uint32_t row, bool is_from)
{
    const struct lb_range_key *a = &window->keys[at], *b = &window->keys[row];
    const struct lb_window_end *end = is_from ? &window->from : &window->to;
    if (!is_number(b)) { /* its frame are the rows of its kind */
        if (a->kind == b->kind)
            return !is_from;
        return at < row;
    }
    if (!is_number(a))
        return at < row;
    int order = compare_moved(a, b, end);
    return is_from ? order < 0 : order <= 0;
}

void lb_window_find_frames(struct lb_window *window, struct lb_window_part *part,
                           const uint8_t *is_peer, bool is_open)
{
    uint64_t first = part->before;
    uint64_t end = lb_window_place(part, part->end);
    uint32_t lo = part->first, hi = part->first; /* marks, as rows */
    if (window->kind == LB_FRAME_PARTITION) {
        if (is_open && part->n_total == 0) {
            part->out_end = part->out;
            return;
        }
        for (uint32_t row = part->out; row < part->out_end; row++) {
            window->lo[row] = 0;
            window->hi[row] = part->n_total;
        }
        return;
    }
    for (uint32_t row = part->out; row < part->out_end; row++) {
        uint64_t place = lb_window_place(part, row);
        uint64_t from = 0, to = end;
        if (window->kind == LB_FRAME_ROWS) {
            int64_t at = (int64_t)place;
            if (!window->from.is_open && window->from.i > -at)
                from =
                    window->from.i > INT64_MAX - at ? UINT64_MAX : (uint64_t)(at + window->from.i);
            if (!window->to.is_open) {
                int64_t last =
                    window->to.i > INT64_MAX - 1 - at ? INT64_MAX - 1 : at + window->to.i;
                to = last < 0 ? 0 : (uint64_t)last + 1;
            }
        } else if (window->kind == LB_FRAME_PEERS) {
            if (hi <= row)
                for (hi = row + 1; hi < part->end && is_peer[hi];)
                    hi++;
            to = hi < part->end ? lb_window_place(part, hi) : is_open ? end + 1 : end;
        } else {
            while (!window->from.is_open && lo < part->end && is_before(window, lo, row, true))
                lo++;
            while (!window->to.is_open && hi < part->end && is_before(window, hi, row, false))
                hi++;
            from = window->from.is_open ? 0 : lb_window_place(part, lo);
            if (!window->to.is_open)
                to = hi < part->end ? lb_window_place(part, hi) : is_open ? end + 1 : end;
            if (!window->from.is_open && lo == part->end && is_open)
                to = end + 1;
        }
        if (is_open && (to > end || window->to.is_open)) {
            part->out_end = row;
            return;
        }
        to = to < end ? to : end;
        window->lo[row] = from < to ? from : to;
        window->hi[row] = to;
    }
    (void)first;
}
