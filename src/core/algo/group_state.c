/* Aggregate functions over columns: the list of them, their parameters and their arrays of states; count, bool_and
 * and bool_or. */
#include "core/algo/group_state_private.h"

#include <math.h>

#include "core/algo/lines.h"
#include "core/base/number.h"
#include "core/base/sys.h"

/* ---- what all share ---- */

static const char *type_name(const struct lb_column *column, uint32_t row)
{
    struct lb_value value = lb_column_value(column, row);
    switch (value.tag) {
    case 'f':
    case 't':
        return "a boolean";
    case 'i':
    case 'd':
        return "a number";
    case 's':
        return "a string";
    default:
        return "a table";
    }
}

lb_status lb_group_wrong_type(const struct lb_group_state *self, const struct lb_batch *batch,
                              uint32_t row, struct lb_error *err)
{
    struct lb_buf place = {0};
    uint32_t column = self->column;
    if (self->column2 != LB_NO_COLUMN) { /* name the wrong one of two */
        char tag = lb_column_value(&batch->columns[column], row).tag;
        if (tag == 'i' || tag == 'd')
            column = self->column2;
    }
    if (lb_batch_locate(batch, row, &place, err) != LB_OK)
        place.size = 0;
    lb_error_set(err, LB_ERR_DATA, "%s: %s where %s is wanted%s%.*s", self->label,
                 type_name(&batch->columns[column], row),
                 self->class->takes == LB_GROUP_TAKES_BOOLEANS ? "a boolean" : "a number",
                 place.size > 0 ? "\n  " : "", (int)(place.size < 2000 ? place.size : 2000),
                 place.size > 0 ? place.data : "");
    lb_buf_fini(&place);
    return LB_ERR_DATA;
}

static bool is_taken(const struct lb_group_state *state, char tag)
{
    return state->class->takes == LB_GROUP_TAKES_BOOLEANS ? tag == 't' || tag == 'f'
                                                          : tag == 'i' || tag == 'd';
}

/* Of a column that the records have; no other can have a wrong value. */
static bool may_be_wrong(const struct lb_group_state *state, const struct lb_batch *batch,
                         uint32_t column)
{
    if (column >= batch->n_columns)
        return false;
    enum lb_type type = batch->columns[column].type;
    if (state->class->takes == LB_GROUP_TAKES_BOOLEANS)
        return type != LB_NULL && type != LB_BOOL;
    return type != LB_NULL && type != LB_INT64 && type != LB_FLOAT64;
}

bool lb_group_state_may_refuse(const struct lb_group_state *state, const struct lb_batch *batch)
{
    return state->class->takes != LB_GROUP_TAKES_ALL &&
           (may_be_wrong(state, batch, state->column) ||
            may_be_wrong(state, batch, state->column2));
}

lb_status lb_group_state_check(const struct lb_group_state *state, const struct lb_batch *batch,
                               uint32_t row, struct lb_error *err)
{
    uint32_t columns[] = {state->column, state->column2};
    bool is_good = true;
    if (state->class->takes == LB_GROUP_TAKES_ALL)
        return LB_OK;
    for (int i = 0; i < 2 && columns[i] != LB_NO_COLUMN; i++) {
        if (columns[i] >= batch->n_columns)
            return LB_OK;
        char tag = lb_column_value(&batch->columns[columns[i]], row).tag;
        if (tag == 'n') /* a row with a nil is passed over */
            return LB_OK;
        is_good = is_good && is_taken(state, tag);
    }
    return is_good ? LB_OK : lb_group_wrong_type(state, batch, row, err);
}

lb_status lb_group_bad_partial(const struct lb_group_state *self, struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_INTERNAL, "%s: a partial state is cut short", self->label);
}

int lb_group_compare_numbers(const struct lb_value *a, const struct lb_value *b)
{
    if (a->tag == 'i' && b->tag == 'i')
        return (a->i > b->i) - (a->i < b->i);
    if (a->tag == 'i')
        return lb_compare_int_float(a->i, b->d);
    if (b->tag == 'i')
        return -lb_compare_int_float(b->i, a->d);
    if (isnan(a->d) || isnan(b->d))
        return (isnan(a->d) != 0) - (isnan(b->d) != 0);
    return (a->d > b->d) - (a->d < b->d);
}

bool lb_group_prefers(const struct lb_value *a, const struct lb_value *b)
{
    if (a->tag != b->tag)
        return a->tag == 'i';
    if (a->tag == 'i')
        return false;
    /* NaNs with other bits: the greater bits, so that one is chosen. */
    return (uint64_t)a->i > (uint64_t)b->i;
}

/* ---- count: an int64 ---- */

static lb_status count_update(struct lb_group_state *self, const struct lb_group_rows *rows,
                              struct lb_error *err)
{
    (void)err;
    const struct lb_batch *batch = rows->batch;
    const struct lb_column *column =
        self->column != LB_NO_COLUMN ? &batch->columns[self->column] : NULL;
    uint32_t n = batch->n_selected;
    if (column == NULL ||
        (column->type != LB_NULL && column->type != LB_ANY && column->valid == NULL)) {
        for (uint32_t i = 0; i < n; i++) {
            lb_group_call(self, rows->slots, i, n);
            ++*(int64_t *)lb_group_slot(self, rows->slots[i]);
        }
        return LB_OK;
    }
    for (uint32_t i = 0; i < n; i++)
        *(int64_t *)lb_group_slot(self, rows->slots[i]) +=
            lb_column_value(column, lb_batch_row(batch, i)).tag != 'n';
    return LB_OK;
}

static lb_status count_save(struct lb_group_state *self, size_t slot, struct lb_buf *out,
                            struct lb_error *err)
{
    return lb_buf_append(out, lb_group_slot(self, slot), sizeof(int64_t), err);
}

static lb_status count_merge(struct lb_group_state *self, const char **cursor, const char *end,
                             struct lb_error *err)
{
    int64_t more;
    LB_GROUP_LOAD(self, cursor, end, more, err);
    *(int64_t *)self->states += more;
    return LB_OK;
}

static lb_status count_result(struct lb_group_state *self, struct lb_builder *out,
                              struct lb_error *err)
{
    return lb_builder_int(out, *(const int64_t *)self->states, err);
}

static const struct lb_group_state_class count_class = {.name = "count",
                                                        .state_bytes = sizeof(int64_t),
                                                        .update = count_update,
                                                        .saves_merged = true,
                                                        .save = count_save,
                                                        .merge = count_merge,
                                                        .result = count_result};

/* ---- bool_and, bool_or: which of the two values was seen ---- */

enum { SEEN_FALSE = 1, SEEN_TRUE = 2 };

static lb_status bool_update(struct lb_group_state *self, const struct lb_group_rows *rows,
                             struct lb_error *err)
{
    const struct lb_batch *batch = rows->batch;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        char tag = lb_column_value(&batch->columns[self->column], row).tag;
        if (tag == 'n')
            continue;
        if (tag != 't' && tag != 'f')
            return lb_group_wrong_type(self, batch, row, err);
        *(uint64_t *)lb_group_slot(self, rows->slots[i]) |= tag == 't' ? SEEN_TRUE : SEEN_FALSE;
    }
    return LB_OK;
}

static lb_status bool_save(struct lb_group_state *self, size_t slot, struct lb_buf *out,
                           struct lb_error *err)
{
    return lb_buf_append_byte(out, (char)*(const uint64_t *)lb_group_slot(self, slot), err);
}

static lb_status bool_merge(struct lb_group_state *self, const char **cursor, const char *end,
                            struct lb_error *err)
{
    unsigned char more;
    LB_GROUP_LOAD(self, cursor, end, more, err);
    *(uint64_t *)self->states |= more;
    return LB_OK;
}

static lb_status and_result(struct lb_group_state *self, struct lb_builder *out,
                            struct lb_error *err)
{
    uint64_t seen = *(const uint64_t *)self->states;
    return seen == 0 ? lb_builder_null(out, err) : lb_builder_bool(out, !(seen & SEEN_FALSE), err);
}

static lb_status or_result(struct lb_group_state *self, struct lb_builder *out,
                           struct lb_error *err)
{
    uint64_t seen = *(const uint64_t *)self->states;
    return seen == 0 ? lb_builder_null(out, err) : lb_builder_bool(out, seen & SEEN_TRUE, err);
}

static const struct lb_group_state_class and_class = {.name = "bool_and",
                                                      .state_bytes = sizeof(uint64_t),
                                                      .n_columns = 1,
                                                      .takes = LB_GROUP_TAKES_BOOLEANS,
                                                      .update = bool_update,
                                                      .saves_merged = true,
                                                      .save = bool_save,
                                                      .merge = bool_merge,
                                                      .result = and_result};
static const struct lb_group_state_class or_class = {.name = "bool_or",
                                                     .state_bytes = sizeof(uint64_t),
                                                     .n_columns = 1,
                                                     .takes = LB_GROUP_TAKES_BOOLEANS,
                                                     .update = bool_update,
                                                     .saves_merged = true,
                                                     .save = bool_save,
                                                     .merge = bool_merge,
                                                     .result = or_result};

/* ---- parameters ---- */

static const struct lb_group_state_class *const classes[] = {
    &count_class,
    &and_class,
    &or_class,
    &lb_group_sum,
    &lb_group_avg,
    &lb_group_variance,
    &lb_group_stddev,
    &lb_group_corr,
    &lb_group_min,
    &lb_group_max,
    &lb_group_any_value,
    &lb_group_first,
    &lb_group_last,
    &lb_group_min_by,
    &lb_group_max_by,
    &lb_group_count_distinct,
    &lb_group_collect_set,
    &lb_group_mode,
    &lb_group_median,
    &lb_group_quantile,
    &lb_group_approx_count_distinct,
    &lb_group_collect_list,
};

/* Those of hosts. */
enum { MAX_HOST_CLASSES = 4 };
static const struct lb_group_state_class *host_classes[MAX_HOST_CLASSES];

void lb_group_state_register(const struct lb_group_state_class *class)
{
    size_t i = 0;
    while (i < MAX_HOST_CLASSES - 1 && host_classes[i] != NULL && host_classes[i] != class)
        i++;
    host_classes[i] = class;
}

static const struct lb_group_state_class *find_class(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (strlen(classes[i]->name) == size && memcmp(classes[i]->name, name, size) == 0)
            return classes[i];
    for (size_t i = 0; i < MAX_HOST_CLASSES && host_classes[i] != NULL; i++)
        if (strlen(host_classes[i]->name) == size && memcmp(host_classes[i]->name, name, size) == 0)
            return host_classes[i];
    return NULL;
}

static lb_status wrong_param(const struct lb_group_state *state, const char *key,
                             struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_INTERNAL, "plan: aggregate %s: parameter '%s' is wrong",
                        state->class->name, key);
}

static lb_status get_column(const struct lb_group_state *state, const struct lb_value *params,
                            const char *key, bool must, uint32_t *column, struct lb_error *err)
{
    struct lb_value field;
    *column = LB_NO_COLUMN;
    if (!lb_value_field(params, key, &field))
        return must ? wrong_param(state, key, err) : LB_OK;
    if (field.tag != 'i' || field.i < 1 || field.i > LB_MAX_COLUMNS)
        return wrong_param(state, key, err);
    *column = (uint32_t)field.i - 1;
    return LB_OK;
}

lb_status lb_group_state_init(struct lb_group_state *state, const struct lb_value *params,
                              struct lb_worker *worker, struct lb_error *err)
{
    struct lb_value field;
    memset(state, 0, sizeof *state);
    state->params = *params;
    state->worker = worker;
    if (params->tag != 'm' || !lb_value_field(params, "fn", &field) || field.tag != 's')
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: an aggregate has no fn");
    state->class = find_class(field.data, field.size);
    if (state->class == NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: no aggregate '%.*s'",
                            (int)(field.size < 100 ? field.size : 100), field.data);
    if (!lb_value_field(params, "label", &field) || field.tag != 's') {
        field.data = state->class->name;
        field.size = strlen(state->class->name);
    }
    if (field.size >= sizeof state->label)
        field.size = sizeof state->label - 1;
    memcpy(state->label, field.data, field.size);
    state->state_bytes = state->class->state_bytes;
    state->stride = state->state_bytes;
    uint32_t n_columns = state->class->n_columns;
    LB_TRY(get_column(state, params, "column", n_columns > 0, &state->column, err));
    LB_TRY(get_column(state, params, "column2", n_columns > 1, &state->column2, err));
    if (n_columns < 2)
        state->column2 = LB_NO_COLUMN;
    state->p = 0.5;
    if (lb_value_field(params, "p", &field)) {
        state->p = field.tag == 'i' ? (double)field.i : field.tag == 'd' ? field.d : -1;
        if (!(state->p >= 0 && state->p <= 1))
            return wrong_param(state, "p", err);
    }
    if (lb_value_field(params, "population", &field)) {
        if (field.tag != 't' && field.tag != 'f')
            return wrong_param(state, "population", err);
        state->population = field.tag == 't';
    }
    return state->class->open != NULL ? state->class->open(state, err) : LB_OK;
}

void lb_group_state_fini(struct lb_group_state *state)
{
    if (state->extra != NULL)
        state->class->close(state);
    if (!state->is_in_record)
        lb_lines_free(state->states, state->capacity * state->stride);
    memset(state, 0, sizeof *state);
}

/* ---- arrays ---- */

#ifdef LB_TINY
enum { FIRST_SLOTS = 4, KEEP_BYTES = 512 };
#else
enum { FIRST_SLOTS = 64, KEEP_BYTES = 512 << 10 };
#endif

static lb_status use_slots(struct lb_group_state *state, size_t n_slots, struct lb_error *err)
{
    if (!state->is_in_record && n_slots > state->capacity) {
        size_t width = state->stride,
               capacity = state->capacity > 0 ? state->capacity : FIRST_SLOTS;
        while (capacity < n_slots)
            capacity *= 2;
        size_t old = state->capacity * width;
        char *states = lb_lines_new(capacity * width, state->states, old, old);
        if (states == NULL)
            return lb_error_memory(err, "the states of an aggregate", capacity * width);
        state->states = states;
        state->capacity = capacity;
    }
    if (n_slots > state->n_slots)
        state->n_slots = n_slots;
    return LB_OK;
}

lb_status lb_group_state_update(struct lb_group_state *state, size_t n_slots,
                                const struct lb_group_rows *rows, struct lb_error *err)
{
    uint32_t n_columns = rows->batch->n_columns;
    LB_TRY(use_slots(state, n_slots, err));
    if ((state->column != LB_NO_COLUMN && state->column >= n_columns) ||
        (state->column2 != LB_NO_COLUMN && state->column2 >= n_columns)) {
        /* A column that the records do not have is nil in all. */
        struct lb_column columns[LB_MAX_COLUMNS];
        struct lb_batch wide = *rows->batch;
        memcpy(columns, wide.columns, n_columns * sizeof *columns);
        for (uint32_t i = n_columns; i < LB_MAX_COLUMNS; i++)
            columns[i] = (struct lb_column){.type = LB_NULL};
        wide.columns = columns;
        wide.n_columns = LB_MAX_COLUMNS;
        struct lb_group_rows all = {&wide, rows->slots, rows->position};
        return state->class->update(state, &all, err);
    }
    return state->class->update(state, rows, err);
}

lb_status lb_group_state_save(struct lb_group_state *state, size_t slot, struct lb_buf *out,
                              struct lb_error *err)
{
    return state->class->save(state, slot, out, err);
}

bool lb_group_state_is_ordered(const struct lb_group_state *state)
{
    return state->class->is_ordered != NULL && state->class->is_ordered(state);
}

bool lb_group_state_saves_merged(const struct lb_group_state *state)
{
    return state->class->saves_merged;
}

void lb_group_state_reset(struct lb_group_state *state)
{
    size_t bytes = state->capacity * state->stride;
    if (state->class->forget != NULL)
        state->class->forget(state);
    if (bytes > KEEP_BYTES) {
        lb_lines_free(state->states, bytes);
        state->states = NULL;
        state->capacity = 0;
    } else if (!state->is_in_record && state->states != NULL) {
        memset(state->states, 0, state->n_slots * state->stride);
    }
    state->n_slots = 0;
}

size_t lb_group_state_held_bytes(const struct lb_group_state *state)
{
    size_t bytes = state->capacity * state->stride;
    return state->class->extra_bytes != NULL ? bytes + state->class->extra_bytes(state) : bytes;
}

/* ---- the final merge: slot 0 alone ---- */

lb_status lb_group_state_clear(struct lb_group_state *state, struct lb_error *err)
{
    if (state->n_slots > 0) {
        if (state->class->forget != NULL)
            state->class->forget(state);
        memset(state->states, 0, state->class->state_bytes);
        return LB_OK;
    }
    return use_slots(state, 1, err);
}

lb_status lb_group_state_merge(struct lb_group_state *state, const char **cursor, const char *end,
                               struct lb_error *err)
{
    return state->class->merge(state, cursor, end, err);
}

size_t lb_group_state_merged_bytes(const struct lb_group_state *state)
{
    return state->class->merged_bytes != NULL ? state->class->merged_bytes(state) : 0;
}

const char *lb_group_state_name(const struct lb_group_state *state)
{
    return state->class->name;
}

lb_status lb_group_state_result(struct lb_group_state *state, struct lb_builder *out,
                                struct lb_error *err)
{
    return state->class->result(state, out, err);
}
