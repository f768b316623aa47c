/* Joined records in the order of the probe side: the sink join_order and the source scan.join_ordered. A morsel is a partition of
 * the sorter, so that what comes out is cut as the probe side was. */
#include "core/ops/join_order.h"

#include "core/base/sys.h"
#include "core/ops/join_shuffle.h"
#include "core/ops/join_values.h"
#include "core/ops/ops.h"
#include "core/ops/range_scan.h"
#include "core/ops/shuffle.h"

enum { MOST_PARTITIONS = 65535 };

/* Morsels that come out, and so partitions; of more than can be partitions the last ones are one. */
static uint32_t n_partitions(const struct lb_join_build *build)
{
    uint64_t n = build->n_probe_morsels + lb_join_rest_morsels(build);
    return n > MOST_PARTITIONS ? MOST_PARTITIONS : (uint32_t)n;
}

lb_status lb_join_param_width(const struct lb_op *op, uint32_t *n_columns, struct lb_error *err)
{
    int64_t n = 0;
    LB_TRY(lb_param_int(op, "columns", 0, &n, err));
    if (n < 1 || n > LB_MAX_COLUMNS)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: parameter 'columns' is wrong",
                            op->label);
    *n_columns = (uint32_t)n;
    return LB_OK;
}

/* ---- join_order ---- */

struct order_shared {
    struct lb_sorter *sorter;
    uint32_t n_partitions;
};

static lb_status order_open(struct lb_op *self, struct lb_error *err)
{
    struct order_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    struct lb_join_build *build = NULL;
    LB_TRY(lb_join_build_of(self, 0, &build, err));
    shared->n_partitions = n_partitions(build) > 0 ? n_partitions(build) : 1;
    const struct lb_sorter_config shape = {
        .n_partitions = shared->n_partitions,
        .n_ranges = 1,
        .writer_bytes = lb_run_worker_bytes(self->run),
    };
    return lb_shuffle_new(self, &shape, &shared->sorter, err);
}

static lb_status order_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct order_shared *shared = local->op->shared;
    struct lb_sort_writer *writer = NULL;
    LB_TRY(lb_sort_writer_new(shared->sorter, &writer, err));
    local->state = writer;
    return LB_OK;
}

static lb_status order_push(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    struct order_shared *shared = local->op->shared;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t r = lb_batch_row(batch, i);
        uint64_t place = (uint64_t)batch->columns[0].ints[r], morsel = place >> LB_JOIN_PLACE_BITS;
        const struct lb_view *record = &batch->columns[1].views[r];
        uint32_t partition =
            morsel < shared->n_partitions ? (uint32_t)morsel : shared->n_partitions - 1;
        uint64_t key = __builtin_bswap64(place);
        struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_writer_add(local->state, partition, 0, sizeof key, sizeof key, record->size,
                                  &row, err));
        memcpy(row->bytes, &key, sizeof key);
        memcpy(row->bytes + sizeof key, lb_view_data(record), record->size);
    }
    return LB_OK;
}

static lb_status order_combine(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_sort_writer *writer = local->state;
    local->state = NULL;
    return lb_sort_writer_finish(writer, err);
}

static void order_detach(struct lb_op_local *local)
{
    lb_sort_writer_delete(local->state);
}

static lb_status order_finish(struct lb_op *self, struct lb_error *err)
{
    struct order_shared *shared = self->shared;
    LB_TRY(lb_sorter_prepare(shared->sorter, err));
    self->n_result = lb_sorter_n_rows(shared->sorter);
    return LB_OK;
}

static void order_close(struct lb_op *self)
{
    struct order_shared *shared = self->shared;
    if (shared == NULL)
        return;
    lb_shuffle_delete(self, shared->sorter);
    lb_free(shared, sizeof *shared);
    self->shared = NULL;
}

const struct lb_op_class lb_op_join_order = {
    .name = "join_order",
    .kind = LB_OP_SINK,
    .open = order_open,
    .attach = order_attach,
    .push = order_push,
    .combine = order_combine,
    .detach = order_detach,
    .finish = order_finish,
    .close = order_close,
};

/* ---- scan.join_ordered ---- */

struct ordered_shared {
    struct lb_range_shared range; /* first */
    struct lb_join_build *build;
    struct lb_join_outputs outputs;
    uint32_t n_columns; /* of a build row */
    uint32_t n_partitions;
};

struct ordered_local {
    const char *probe[LB_MAX_COLUMNS]; /* the values of the current record's columns, or NULL */
    const char *build[LB_MAX_COLUMNS];
    struct lb_buf frame, packed;
};

static lb_status ordered_open(struct lb_op *self, struct lb_error *err)
{
    struct ordered_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    LB_TRY(lb_join_build_of(self, 1, &shared->build, err));
    LB_TRY(lb_join_param_outputs(self, &shared->outputs, err));
    LB_TRY(lb_join_param_width(self, &shared->n_columns, err));
    if (self->inputs[0]->class != &lb_op_join_order)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s stands on no join_order", self->label);
    shared->range.sorter = ((struct order_shared *)self->inputs[0]->shared)->sorter;
    shared->n_partitions = n_partitions(shared->build);
    return LB_OK;
}

static void ordered_close(struct lb_op *self)
{
    lb_free(self->shared, sizeof(struct ordered_shared));
    self->shared = NULL;
}

static lb_status ordered_attach(struct lb_op_local *local, struct lb_error *err)
{
    LB_TRY(lb_range_attach(local, err));
    struct lb_range_local *state = local->state;
    state->own = lb_alloc_zero(sizeof(struct ordered_local));
    return state->own != NULL
               ? LB_OK
               : lb_error_memory(err, local->op->label, sizeof(struct ordered_local));
}

static void ordered_detach(struct lb_op_local *local)
{
    struct lb_range_local *state = local->state;
    struct ordered_local *own = state->own;
    if (own != NULL) {
        lb_buf_fini(&own->frame);
        lb_buf_fini(&own->packed);
        lb_free(own, sizeof *own);
    }
    lb_range_detach(local);
}

/* Every partition is a morsel, also one without rows. */
static lb_status ordered_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    (void)err;
    struct ordered_shared *shared = local->op->shared;
    struct lb_range_local *state = local->state;
    *more = shared->range.next_range < shared->n_partitions;
    if (*more)
        state->range = shared->range.next_range++;
    return LB_OK;
}

/* Appends one record; probe: whether there is a probe row; the build row's values are set, or none. */
static lb_status put_joined(struct lb_op_local *local, bool has_probe, bool has_build,
                            struct lb_error *err)
{
    const struct ordered_shared *shared = local->op->shared;
    struct lb_range_local *state = local->state;
    struct ordered_local *own = state->own;
    for (uint32_t i = 0; i < shared->outputs.n; i++) {
        const struct lb_join_output *output = &shared->outputs.items[i];
        struct lb_builder *column = NULL;
        const char *item = NULL;
        if (output->probe > 0 && has_probe)
            item = own->probe[output->probe - 1];
        else if (output->build > 0 && has_build)
            item = own->build[output->build - 1];
        LB_TRY(lb_batch_builder_column(&state->builder, i, &column, err));
        LB_TRY(item != NULL ? lb_join_build_value(column, item, err)
                            : lb_builder_null(column, err));
    }
    LB_TRY(lb_batch_builder_end_row(&state->builder, 0, err));
    if (!lb_batch_builder_is_full(&state->builder))
        return LB_OK;
    LB_TRY(lb_push(local->next, lb_batch_builder_finish(&state->builder, NULL), err));
    lb_batch_builder_reset(&state->builder);
    return LB_OK;
}

static lb_status put_matches(struct lb_op_local *local, bool has_probe, const char *rows,
                             size_t size, struct lb_error *err)
{
    const struct ordered_shared *shared = local->op->shared;
    struct ordered_local *own = ((struct lb_range_local *)local->state)->own;
    const char *cursor = rows;
    while (cursor < rows + size) {
        for (uint32_t i = 0; i < shared->n_columns; i++) {
            own->build[i] = cursor;
            cursor += lb_join_value_size(cursor);
        }
        if (shared->build->rest != LB_JOIN_REST_NONE)
            cursor += lb_join_value_size(cursor); /* its number */
        LB_TRY(put_joined(local, has_probe, true, err));
    }
    return LB_OK;
}

static lb_status put_row(struct lb_op_local *local, const struct lb_sort_row *row,
                         struct lb_error *err)
{
    const struct ordered_shared *shared = local->op->shared;
    struct ordered_local *own = ((struct lb_range_local *)local->state)->own;
    const char *cursor = row->bytes + row->key_size, *end = cursor + row->payload_size;
    uint32_t number = 0;
    unsigned has = (unsigned char)*cursor++;
    bool has_probe = (has & LB_JOIN_HAS_PROBE) != 0;
    for (uint32_t i = 0; has_probe && i < shared->build->n_probe_columns; i++) {
        own->probe[i] = cursor;
        cursor += lb_join_value_size(cursor);
    }
    if (has & LB_JOIN_HAS_ROWS)
        return put_matches(local, has_probe, cursor, (size_t)(end - cursor), err);
    if (!(has & LB_JOIN_HAS_GROUP))
        return put_joined(local, has_probe, false, err);
    memcpy(&number, cursor, sizeof number);
    const struct lb_join_group *group = &shared->build->groups[number];
    for (uint32_t i = 0; i < group->n_frames; i++) {
        const struct lb_frame *frame = &group->frames[i];
        LB_TRY(lb_spill_read_buf(group->spill, frame, &own->frame, &own->packed, err));
        LB_TRY(put_matches(local, has_probe, own->frame.data, frame->raw_size, err));
    }
    return LB_OK;
}

static lb_status ordered_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_range_local *state = local->state;
    if (lb_sorter_n_rows(((struct ordered_shared *)local->op->shared)->range.sorter) == 0)
        return LB_OK;
    LB_TRY(lb_range_begin(local, err));
    for (uint32_t i = 1;; i++) {
        const struct lb_sort_row *row = NULL;
        LB_TRY(lb_sort_cursor_next(state->cursor, &row, err));
        if (row == NULL)
            return lb_range_end(local, err);
        LB_TRY(put_row(local, row, err));
        if (i % 256 == 0) /* what was put is copied */
            lb_sort_cursor_release(state->cursor);
    }
}

const struct lb_op_class lb_op_scan_join_ordered = {
    .name = "scan.join_ordered",
    .kind = LB_OP_SOURCE,
    .open = ordered_open,
    .attach = ordered_attach,
    .claim = ordered_claim,
    .produce = ordered_produce,
    .detach = ordered_detach,
    .close = ordered_close,
};
