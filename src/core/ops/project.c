/* Transforms that rearrange columns or drop rows without looking into values: project, pack, tag, split_key, sample. */
#include "core/base/hash.h"
#include "core/base/sys.h"
#include "core/column/builder.h"
#include "core/ops/ops.h"

struct project_shared {
    uint32_t source[LB_MAX_COLUMNS]; /* project: 0-based columns */
    uint32_t n_source;
    int64_t tag;
    uint64_t seed;      /* sample */
    uint64_t threshold; /* sample: kept when the row's hash is below; UINT64_MAX keeps all */
};

struct project_local {
    struct lb_column columns[LB_MAX_COLUMNS];
    int64_t tags[LB_BATCH_ROWS];
    uint32_t select[LB_BATCH_ROWS];
    uint64_t n_rows; /* sample: rows seen in this morsel */
    struct lb_batch_builder builder;
    struct lb_buf list;
};

static lb_status project_open(struct lb_op *self, struct lb_error *err)
{
    struct project_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    struct lb_value value, item;
    int64_t seed = 0;
    LB_TRY(lb_param_int(self, "value", 0, &shared->tag, err));
    LB_TRY(lb_param_int(self, "seed", 0, &seed, err));
    shared->seed = (uint64_t)seed;
    if (lb_value_field(&self->params, "columns", &value) && value.tag == 'l') {
        const char *cursor = value.data;
        for (uint32_t i = 0; i < value.count; i++) {
            lb_codec_next(&cursor, &item);
            if (item.tag != 'i' || item.i < 1 || item.i > LB_MAX_COLUMNS || i >= LB_MAX_COLUMNS)
                return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: wrong column", self->label);
            shared->source[shared->n_source++] = (uint32_t)(item.i - 1);
        }
    }
    if (lb_value_field(&self->params, "fraction", &value)) {
        double fraction = value.tag == 'd' ? value.d : value.tag == 'i' ? (double)value.i : -1;
        if (!(fraction >= 0 && fraction <= 1))
            return lb_error_set(err, LB_ERR_USAGE, "%s: the fraction must be from 0 to 1",
                                self->label);
        shared->threshold =
            fraction >= 1 ? UINT64_MAX : (uint64_t)(fraction * 18446744073709551616.0);
    }
    return LB_OK;
}

static void project_close(struct lb_op *self)
{
    lb_free(self->shared, sizeof(struct project_shared));
    self->shared = NULL;
}

static lb_status project_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct project_local *state = local->state = lb_alloc_zero(sizeof *state);
    if (state == NULL)
        return lb_error_memory(err, local->op->label, sizeof *state);
    lb_batch_builder_init(&state->builder);
    return LB_OK;
}

static void project_detach(struct lb_op_local *local)
{
    struct project_local *state = local->state;
    lb_batch_builder_fini(&state->builder);
    lb_buf_fini(&state->list);
    lb_free(state, sizeof *state);
}

static lb_status project_push(struct lb_op_local *local, const struct lb_batch *batch,
                              struct lb_error *err)
{
    const struct project_shared *shared = local->op->shared;
    struct project_local *state = local->state;
    for (uint32_t i = 0; i < shared->n_source; i++)
        state->columns[i] = lb_batch_column(batch, shared->source[i]);
    struct lb_batch out = lb_batch_same_rows(batch, state->columns, shared->n_source);
    return lb_push(local->next, &out, err);
}

static lb_status tag_push(struct lb_op_local *local, const struct lb_batch *batch,
                          struct lb_error *err)
{
    const struct project_shared *shared = local->op->shared;
    struct project_local *state = local->state;
    if (batch->n_columns >= LB_MAX_COLUMNS)
        return lb_error_set(err, LB_ERR_USAGE, "%s: more than %d columns", local->op->label,
                            LB_MAX_COLUMNS - 1);
    for (uint32_t i = 0; i < batch->n_rows; i++)
        state->tags[i] = shared->tag;
    state->columns[0] = (struct lb_column){.type = LB_INT64, .ints = state->tags};
    memcpy(state->columns + 1, batch->columns, batch->n_columns * sizeof *state->columns);
    struct lb_batch out = lb_batch_same_rows(batch, state->columns, batch->n_columns + 1);
    return lb_push(local->next, &out, err);
}

static lb_status sample_begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    ((struct project_local *)local->state)->n_rows = 0;
    return LB_OK;
}

/* Bernoulli: a row's fate is a hash of seed, morsel and its number, so it does not depend on threads. */
static lb_status sample_push(struct lb_op_local *local, const struct lb_batch *batch,
                             struct lb_error *err)
{
    const struct project_shared *shared = local->op->shared;
    struct project_local *state = local->state;
    uint32_t n = 0;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint64_t number = local->worker->morsel << 40 | state->n_rows++;
        uint64_t hash = lb_hash_pair(lb_hash_pair(number, shared->seed), 0x9e3779b97f4a7c15ULL);
        if (hash < shared->threshold || shared->threshold == UINT64_MAX)
            state->select[n++] = lb_batch_row(batch, i);
    }
    struct lb_batch out = lb_batch_same_rows(batch, batch->columns, batch->n_columns);
    out.select = state->select;
    out.n_selected = n;
    return lb_push(local->next, &out, err);
}

static lb_status flush(struct lb_op_local *local, const struct lb_batch *parent,
                       struct lb_error *err)
{
    struct project_local *state = local->state;
    if (state->builder.n_rows > 0)
        LB_TRY(lb_push(local->next, lb_batch_builder_finish(&state->builder, parent), err));
    lb_batch_builder_reset(&state->builder);
    return LB_OK;
}

static lb_status pack_push(struct lb_op_local *local, const struct lb_batch *batch,
                           struct lb_error *err)
{
    struct project_local *state = local->state;
    if (batch->n_columns == 1)
        return lb_push(local->next, batch, err);
    lb_batch_builder_reset(&state->builder);
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        struct lb_builder *column = NULL;
        size_t mark = 0;
        state->list.size = 0;
        LB_TRY(lb_codec_begin(&state->list, 'l', &mark, err));
        for (uint32_t k = 0; k < batch->n_columns; k++)
            LB_TRY(lb_codec_put_column(&state->list, &batch->columns[k], row, err));
        lb_codec_end(&state->list, mark, batch->n_columns);
        LB_TRY(lb_batch_builder_column(&state->builder, 0, &column, err));
        LB_TRY(lb_builder_encoded(column, state->list.data, state->list.size, err));
        LB_TRY(lb_batch_builder_end_row(&state->builder, row, err));
    }
    return flush(local, batch, err);
}

static lb_status split_push(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    struct project_local *state = local->state;
    const struct lb_column *first = &batch->columns[0];
    if (first->type != LB_ANY)
        return lb_push(local->next, batch, err);
    lb_batch_builder_reset(&state->builder);
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        struct lb_builder *column = NULL;
        struct lb_value value = {.tag = 'n'};
        if (lb_column_is_valid(first, row)) {
            const char *cursor = lb_view_data(&first->views[row]);
            lb_codec_next(&cursor, &value);
        }
        bool is_list = value.tag == 'l' && value.count <= LB_MAX_COLUMNS;
        if (!lb_batch_builder_fits(&state->builder, is_list ? value.count : 1))
            LB_TRY(flush(local, batch, err));
        if (!is_list) {
            LB_TRY(lb_batch_builder_column(&state->builder, 0, &column, err));
            LB_TRY(lb_builder_column(column, first, row, err));
        } else {
            const char *item = value.data;
            for (uint32_t j = 0; j < value.count; j++) {
                size_t size = lb_codec_size(item);
                LB_TRY(lb_batch_builder_column(&state->builder, j, &column, err));
                LB_TRY(lb_builder_encoded(column, item, size, err));
                item += size;
            }
        }
        LB_TRY(lb_batch_builder_end_row(&state->builder, row, err));
    }
    return flush(local, batch, err);
}

#define PROJECT_OP(variable, op_name, begin_function, push_function) \
    const struct lb_op_class variable = {                            \
        .name = op_name,                                             \
        .kind = LB_OP_TRANSFORM,                                     \
        .open = project_open,                                        \
        .attach = project_attach,                                    \
        .begin = begin_function,                                     \
        .push = push_function,                                       \
        .detach = project_detach,                                    \
        .close = project_close,                                      \
    }
PROJECT_OP(lb_op_project, "project", NULL, project_push);
PROJECT_OP(lb_op_pack, "pack", NULL, pack_push);
PROJECT_OP(lb_op_tag, "tag", NULL, tag_push);
PROJECT_OP(lb_op_split_key, "split_key", NULL, split_push);
PROJECT_OP(lb_op_sample, "sample", sample_begin, sample_push);
