/* Windows: parameters, the list of functions, and calling them; see window.h. */
#include "core/algo/window.h"

#include <math.h>

#include "core/algo/window_private.h"
#include "core/base/sys.h"
#include "core/expr/expr.h"

/* ---- functions ---- */

enum { MAX_CLASSES = 48 };

static const struct lb_window_class *classes[MAX_CLASSES] = {
    &lb_window_row_number,
    &lb_window_rank,
    &lb_window_dense_rank,
    &lb_window_percent_rank,
    &lb_window_cume_dist,
    &lb_window_ntile,
    &lb_window_lag,
    &lb_window_lead,
    &lb_window_first,
    &lb_window_last,
    &lb_window_nth_value,
    &lb_window_count,
    &lb_window_sum,
    &lb_window_avg,
    &lb_window_min,
    &lb_window_max,
    &lb_window_count_distinct,
    &lb_window_approx_count_distinct,
    &lb_window_median,
    &lb_window_quantile,
    &lb_window_mode,
    &lb_window_collect_list,
    &lb_window_collect_set,
};

void lb_window_register(const struct lb_window_class *class)
{
    for (size_t i = 0; i < MAX_CLASSES; i++) {
        if (classes[i] == class)
            return;
        if (classes[i] == NULL) {
            classes[i] = class;
            return;
        }
    }
}

static const struct lb_window_class *find_class(const struct lb_value *name)
{
    for (size_t i = 0; i < MAX_CLASSES && classes[i] != NULL; i++)
        if (strlen(classes[i]->name) == name->size &&
            memcmp(classes[i]->name, name->data, name->size) == 0)
            return classes[i];
    return &lb_window_any_aggregate; /* which refuses what it does not know */
}

lb_status lb_window_wrong_type(const struct lb_window_fn *fn, const struct lb_value *value,
                               const char *wanted, struct lb_error *err)
{
    static const char *const names[] = {"nil",      "a boolean", "a boolean", "a number",
                                        "a string", "a table",   "a table"};
    return lb_error_set(err, LB_ERR_DATA, "%s: %s where %s is wanted", fn->label,
                        names[lb_group_rank(value->tag)], wanted);
}

lb_status lb_window_repeat(struct lb_builder *out, struct lb_error *err)
{
    struct lb_column column = lb_builder_finish(out);
    uint32_t last = out->n_rows - 1;
    struct lb_value value = lb_column_value(&column, last);
    const char *data = value.data;
    size_t size = value.size;
    if (value.tag == 'l' || value.tag == 'm')
        data = lb_value_encoded(&value, &size);
    else if (value.tag != 's')
        return lb_builder_value(out, &value, err);
    char small[LB_VIEW_INLINE];
    if (size <=
        sizeof small) { /* it lies in the column, which may move; longer ones are not copied again */
        memcpy(small, data, size);
        data = small;
    }
    return value.tag == 's' ? lb_builder_view(out, data, size, err)
                            : lb_builder_encoded_view(out, data, size, err);
}

lb_status lb_window_compare(const struct lb_value *a, const struct lb_value *b, int *order,
                            struct lb_error *err)
{
    int rank = lb_group_rank(a->tag);
    *order = rank - lb_group_rank(b->tag);
    if (*order != 0 || rank < 3)
        return LB_OK;
    if (rank == 3) {
        *order = lb_group_compare_numbers(a, b);
        return LB_OK;
    }
    if (rank == 4) {
        *order = lb_key_compare(a->data, a->size, b->data, b->size);
        return LB_OK;
    }
    struct lb_buf keys[2] = {{0}, {0}};
    size_t size;
    const char *data = lb_value_encoded(a, &size);
    lb_status status = lb_key_put_encoded(&keys[0], data, size, false, err);
    data = lb_value_encoded(b, &size);
    if (status == LB_OK)
        status = lb_key_put_encoded(&keys[1], data, size, false, err);
    if (status == LB_OK)
        *order = lb_key_compare(keys[0].data, keys[0].size, keys[1].data, keys[1].size);
    lb_buf_fini(&keys[0]);
    lb_buf_fini(&keys[1]);
    return status;
}

/* ---- parameters ---- */

static lb_status wrong(const char *what, struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_INTERNAL, "plan: window: %s is wrong", what);
}

static bool get_column(const struct lb_value *params, const char *key, uint32_t *column)
{
    struct lb_value field;
    *column = LB_NO_COLUMN;
    if (!lb_value_field(params, key, &field))
        return true;
    if (field.tag != 'i' || field.i < 1 || field.i > LB_MAX_COLUMNS)
        return false;
    *column = (uint32_t)field.i - 1;
    return true;
}

/* fn->window and fn->number are set. */
static lb_status init_fn(struct lb_window_fn *fn, const struct lb_value *params,
                         struct lb_worker *worker, struct lb_error *err)
{
    struct lb_value field;
    lb_builder_init(&fn->out);
    if (params->tag != 'm' || !lb_value_field(params, "fn", &field) || field.tag != 's')
        return wrong("a function", err);
    fn->params = *params;
    const struct lb_window_class *class = find_class(&field);
    if (!lb_value_field(params, "label", &field) || field.tag != 's')
        lb_value_field(params, "fn", &field);
    size_t size = field.size < sizeof fn->label ? field.size : sizeof fn->label - 1;
    memcpy(fn->label, field.data, size);
    if (!get_column(params, "column", &fn->column) || !get_column(params, "column2", &fn->column2))
        return wrong("a column", err);
    if (class->n_columns > 0 && fn->column == LB_NO_COLUMN)
        return wrong("a column", err);
    bool has_n = lb_value_field(params, "n", &field) && field.tag == 'i';
    if (class->has_n && (!has_n || field.i < class->least_n))
        return wrong("n", err);
    fn->n = has_n ? field.i : 0;
    if (!lb_value_field(params, "default", &fn->fallback))
        fn->fallback = (struct lb_value){.tag = 'n'};
    fn->class = class;
    return class->open != NULL ? class->open(fn, worker, err) : LB_OK;
}

static bool get_end(const struct lb_value *params, const char *key, struct lb_window_end *end)
{
    struct lb_value field;
    end->is_open = !lb_value_field(params, key, &field) || field.tag == 'n';
    if (end->is_open)
        return true;
    end->is_int = field.tag == 'i';
    end->i = end->is_int ? field.i : 0;
    end->d = end->is_int ? (double)field.i : field.d;
    return end->is_int || (field.tag == 'd' && isfinite(field.d));
}

lb_status lb_window_init(struct lb_window *window, const struct lb_value *params,
                         struct lb_worker *worker, struct lb_error *err)
{
    struct lb_value field, list, item;
    memset(window, 0, sizeof *window);
    if (params->tag != 'm')
        return wrong("the description", err);
    window->range_column = LB_NO_COLUMN;
    window->kind = lb_value_field(params, "order", &field) && field.tag == 'i' && field.i > 0
                       ? LB_FRAME_PEERS
                       : LB_FRAME_PARTITION;
    bool has_rows = lb_value_field(params, "rows", &field);
    if (has_rows || lb_value_field(params, "range", &field)) {
        window->kind = has_rows ? LB_FRAME_ROWS : LB_FRAME_RANGE;
        if (field.tag != 'm' || !get_end(&field, "from", &window->from) ||
            !get_end(&field, "to", &window->to))
            return wrong("the frame", err);
        if (has_rows && ((!window->from.is_open && !window->from.is_int) ||
                         (!window->to.is_open && !window->to.is_int)))
            return wrong("the frame", err);
    }
    if (window->kind == LB_FRAME_RANGE) {
        if (!get_column(params, "range_column", &window->range_column) ||
            window->range_column == LB_NO_COLUMN)
            return wrong("range_column", err);
        window->descending = lb_value_field(params, "desc", &field) && field.tag == 't';
    } else if (window->kind != LB_FRAME_ROWS) {
        window->from.is_open = true;
        window->to.is_open = window->kind == LB_FRAME_PARTITION;
    }
    if (!lb_value_field(params, "functions", &list) || list.tag != 'l' || list.count == 0 ||
        list.count > LB_MAX_COLUMNS)
        return wrong("the list of functions", err);
    window->skips = lb_value_field(params, "on_error", &field) &&
                    !(field.tag == 's' && field.size == 4 && memcmp(field.data, "fail", 4) == 0);
    window->fns = lb_alloc_zero(list.count * sizeof *window->fns);
    if (window->fns == NULL)
        return lb_error_memory(err, "window functions", list.count * sizeof *window->fns);
    const char *cursor = list.data;
    for (uint32_t i = 0; i < list.count; i++) {
        lb_codec_next(&cursor, &item);
        window->fns[i].window = *params;
        window->fns[i].number = (uint8_t)++window->n_fns;
        lb_status status = init_fn(&window->fns[i], &item, worker, err);
        if (status != LB_OK) {
            /* room for all was allocated: free it as what it is */
            for (; window->n_fns < list.count; window->n_fns++)
                lb_builder_init(&window->fns[window->n_fns].out);
            return status;
        }
    }
    return LB_OK;
}

void lb_window_fini(struct lb_window *window)
{
    for (uint32_t i = 0; i < window->n_fns; i++) {
        struct lb_window_fn *fn = &window->fns[i];
        if (fn->class != NULL && fn->class->close != NULL && fn->state != NULL)
            fn->class->close(fn);
        lb_builder_fini(&fn->out);
    }
    lb_free(window->fns, window->n_fns * sizeof *window->fns);
    lb_free(window->lo, window->capacity * sizeof *window->lo);
    lb_free(window->hi, window->capacity * sizeof *window->hi);
    lb_free(window->keys, window->keys_capacity * sizeof *window->keys);
    lb_free(window->failed, window->failed_capacity);
    memset(window, 0, sizeof *window);
}

/* ---- frames ---- */

static lb_status make_room(struct lb_window *window, uint32_t n, struct lb_error *err)
{
    if (n > window->capacity) {
        uint64_t *lo =
            lb_realloc(window->lo, window->capacity * sizeof *lo, (size_t)n * sizeof *lo);
        if (lo != NULL)
            window->lo = lo;
        uint64_t *hi = lo == NULL ? NULL
                                  : lb_realloc(window->hi, window->capacity * sizeof *hi,
                                               (size_t)n * sizeof *hi);
        if (hi == NULL) {
            if (lo != NULL) { /* both have one capacity: forget both */
                lb_free(window->lo, (size_t)n * sizeof *lo);
                lb_free(window->hi, window->capacity * sizeof *hi);
                window->lo = window->hi = NULL;
                window->capacity = 0;
            }
            return lb_error_memory(err, "the frames of a window", (size_t)n * sizeof *hi);
        }
        window->hi = hi;
        window->capacity = n;
    }
    if (window->kind == LB_FRAME_RANGE && n > window->keys_capacity) {
        void *keys = lb_realloc(window->keys, window->keys_capacity * sizeof *window->keys,
                                (size_t)n * sizeof *window->keys);
        if (keys == NULL)
            return lb_error_memory(err, "the frames of a window", (size_t)n * sizeof(void *));
        window->keys = keys;
        window->keys_capacity = n;
    }
    if (window->skips && n > window->failed_capacity) {
        uint8_t *failed = lb_realloc(window->failed, window->failed_capacity, n);
        if (failed == NULL)
            return lb_error_memory(err, "the rows of a window", n);
        window->failed = failed;
        window->failed_capacity = n;
    }
    return LB_OK;
}

const char *lb_window_needs_whole(const struct lb_window *window, bool *needs_total)
{
    *needs_total = false;
    for (uint32_t i = 0; i < window->n_fns; i++) {
        const struct lb_window_fn *fn = &window->fns[i];
        enum lb_window_need need = fn->class->need;
        bool is_bounded = !window->from.is_open && !window->to.is_open;
        if (need == LB_NEED_TOTAL)
            *needs_total = true;
        if (need == LB_NEED_ALL || (need == LB_NEED_FRAME && window->to.is_open) ||
            (need == LB_NEED_WHOLE && !is_bounded))
            return fn->label;
    }
    return NULL;
}

/* Cuts an open part's results to rows whose neighbours ahead are there, and finds the first row that is needed later. */
static void find_keep(const struct lb_window *window, struct lb_window_part *part, uint32_t *keep)
{
    bool uses_frames = false;
    for (uint32_t i = 0; i < window->n_fns; i++) {
        const struct lb_window_fn *fn = &window->fns[i];
        uses_frames = uses_frames || fn->class->need >= LB_NEED_FRAME;
        if (fn->class->need == LB_NEED_NEAR && fn->class->is_near_ahead) {
            uint64_t ahead = (uint64_t)fn->n;
            uint32_t last =
                part->end - part->first > ahead ? part->end - (uint32_t)ahead : part->first;
            last = last > part->out ? last : part->out;
            part->out_end = part->out_end < last ? part->out_end : last;
        }
    }
    *keep = part->out_end;
    if (uses_frames) {
        uint64_t needed = lb_window_place(part, part->out_end);
        if (part->out_end > part->out) {
            uint32_t last = part->out_end - 1;
            uint64_t hi = window->hi[last] > 0 ? window->hi[last] - 1 : 0; /* for `last` */
            needed = hi < needed ? hi : needed;
            if (!window->from.is_open && window->lo[last] < needed)
                needed = window->lo[last];
        } else {
            needed = part->before; /* nothing was given: nothing may go */
        }
        needed = needed > part->before ? needed : part->before;
        *keep = lb_window_row(part, needed);
    }
    for (uint32_t i = 0; i < window->n_fns; i++) {
        const struct lb_window_fn *fn = &window->fns[i];
        if (fn->class->need != LB_NEED_NEAR || fn->class->is_near_ahead)
            continue;
        uint64_t behind = (uint64_t)fn->n;
        uint32_t first =
            part->out_end - part->first > behind ? part->out_end - (uint32_t)behind : part->first;
        *keep = *keep < first ? *keep : first;
    }
}

/* Of rows of the block, in their order. */
static lb_status tell_failures(struct lb_window *window, const struct lb_window_rows *rows,
                               uint32_t first, uint32_t end, struct lb_error *err)
{
    uint32_t n = 0;
    uint8_t number = 0; /* of the function that failed for the n rows before */
    for (uint32_t row = first; row <= end; row++) {
        uint8_t failed = row < end ? rows->failed[row] : 0;
        if (n > 0 && (row == end || (failed != 0 && failed != number))) {
            struct lb_window_fn *fn = &window->fns[number - 1];
            LB_TRY(fn->class->tell(fn, rows, n, err));
            n = 0;
        }
        if (failed != 0) {
            number = failed;
            n++;
        }
    }
    return LB_OK;
}

/* The functions that may fail, for some rows at a time: what is held of their failures must not grow with the block. The parts' rows
 * that have results follow each other. */
static lb_status compute_failing(struct lb_window *window, const struct lb_window_rows *rows,
                                 const struct lb_window_part *parts, uint32_t n_parts,
                                 struct lb_error *err)
{
    const struct lb_window_part *part = parts, *parts_end = parts + n_parts;
    uint32_t next, end = parts_end[-1].out_end;
    for (uint32_t first = parts->out; first < end; first = next) {
        next = end - first > LB_BATCH_ROWS ? first + LB_BATCH_ROWS : end;
        while (part->out_end <= first)
            part++;
        for (uint32_t i = 0; i < window->n_fns; i++) {
            struct lb_window_fn *fn = &window->fns[i];
            for (const struct lb_window_part *p = part;
                 fn->class->tell != NULL && p < parts_end && p->out < next; p++) {
                struct lb_window_part slice = *p;
                slice.out = p->out > first ? p->out : first;
                slice.out_end = p->out_end < next ? p->out_end : next;
                if (slice.out < slice.out_end)
                    LB_TRY(fn->class->compute(fn, rows, &slice, err));
            }
        }
        if (window->skips)
            LB_TRY(tell_failures(window, rows, first, next, err));
    }
    return LB_OK;
}

uint32_t lb_window_select(const struct lb_window *window, uint32_t first, uint32_t n,
                          uint32_t *select)
{
    uint32_t n_selected = 0;
    for (uint32_t i = 0; i < n; i++) {
        select[n_selected] = i;
        n_selected += window->failed[first + i] == 0;
    }
    return n_selected;
}

lb_status lb_window_compute(struct lb_window *window, const struct lb_batch *block,
                            const uint8_t *is_peer, struct lb_window_part *parts, uint32_t n_parts,
                            bool is_open, uint32_t *keep, struct lb_error *err)
{
    LB_TRY(make_room(window, block->n_rows, err));
    if (window->kind == LB_FRAME_RANGE)
        LB_TRY(lb_window_read_keys(window, block, err));
    *keep = block->n_rows;
    bool uses_frames = false;
    for (uint32_t i = 0; i < window->n_fns; i++)
        uses_frames = uses_frames || window->fns[i].class->need >= LB_NEED_FRAME;
    for (uint32_t i = 0; i < n_parts; i++) {
        bool goes_on = is_open && i + 1 == n_parts;
        if (window->kind == LB_FRAME_RANGE && window->range_column < block->n_columns &&
            (block->columns[window->range_column].type == LB_STRING ||
             block->columns[window->range_column].type == LB_ANY))
            LB_TRY(lb_window_check_order(window, block, &parts[i], err));
        if (uses_frames)
            lb_window_find_frames(window, &parts[i], is_peer, goes_on);
        if (goes_on)
            find_keep(window, &parts[i], keep);
    }
    struct lb_window_rows rows = {
        .batch = *block,
        .is_peer = is_peer,
        .lo = window->lo,
        .hi = window->hi,
        .from_is_open = window->from.is_open,
        .failed = window->failed,
    };
    if (window->failed != NULL)
        memset(window->failed, 0, block->n_rows);
    bool may_fail = false;
    for (uint32_t i = 0; i < window->n_fns; i++) {
        struct lb_window_fn *fn = &window->fns[i];
        lb_builder_reset(&fn->out);
        may_fail = may_fail || fn->class->tell != NULL;
        for (uint32_t j = 0; fn->class->tell == NULL && j < n_parts; j++)
            if (parts[j].out < parts[j].out_end)
                LB_TRY(fn->class->compute(fn, &rows, &parts[j], err));
    }
    return may_fail ? compute_failing(window, &rows, parts, n_parts, err) : LB_OK;
}

size_t lb_window_held_bytes(const struct lb_window *window)
{
    size_t bytes = window->capacity * (sizeof *window->lo + sizeof *window->hi) +
                   window->keys_capacity * sizeof *window->keys + window->failed_capacity;
    for (uint32_t i = 0; i < window->n_fns; i++) {
        const struct lb_window_fn *fn = &window->fns[i];
        bytes += fn->out.capacity * (size_t)16 + fn->out.strings.held_bytes;
        if (fn->class->held_bytes != NULL)
            bytes += fn->class->held_bytes(fn);
    }
    return bytes;
}
