/* Writing the sides of a join by key (see join_shuffle.h), and join_probe, the sink that does it for the probe side.
 *
 * IDEA  What matches nothing and is wanted by nobody is not written; nor are columns that nobody takes. */
#include "core/ops/join_shuffle.h"

#include "core/base/hash.h"
#include "core/base/sys.h"
#include "core/column/key.h"
#include "core/ops/join_values.h"
#include "core/ops/ops.h"
#include "core/ops/shuffle.h"

lb_status lb_join_param_columns(const struct lb_op *op, const char *key, uint32_t *columns,
                                uint32_t *n, struct lb_error *err)
{
    struct lb_value list, item;
    if (!lb_value_field(&op->params, key, &list) || list.tag != 'l' || list.count < 1 ||
        list.count > LB_MAX_COLUMNS)
        return lb_param_wrong(op, key, err);
    const char *cursor = list.data;
    for (uint32_t i = 0; i < list.count; i++) {
        lb_codec_next(&cursor, &item);
        if (item.tag != 'i' || item.i < 1 || item.i > LB_MAX_COLUMNS)
            return lb_param_wrong(op, key, err);
        columns[(*n)++] = (uint32_t)(item.i - 1);
    }
    return LB_OK;
}

/* ---- the sorter ---- */

lb_status lb_join_shuffle_open(const struct lb_op *op, struct lb_join_build *build,
                               struct lb_error *err)
{
    const struct lb_sorter_config shape = {
        .n_partitions = build->n_partitions,
        .n_ranges = 1, /* a group must not be split */
        .split_keys = build->has_pieces,
        .has_pieces = build->has_pieces,
        .writer_bytes = build->worker_bytes,
        .merge_bytes = build->worker_bytes / 2 * op->run->options.n_threads,
    };
    lb_status status = LB_OK;
    pthread_mutex_lock(&build->lock);
    if (build->sorter == NULL)
        status = lb_shuffle_new(op, &shape, &build->sorter, err);
    pthread_mutex_unlock(&build->lock);
    return status;
}

void lb_join_shuffle_seal(struct lb_join_build *build)
{
    uint64_t n_rows = 0;
    for (size_t i = 0; i < build->n_morsels; i++) {
        uint64_t n = build->morsel_rows[i];
        build->morsel_rows[i] = n_rows;
        n_rows += n;
    }
    build->n_rows = n_rows;
}

void lb_join_shuffle_close(const struct lb_op *op, struct lb_join_build *build)
{
    lb_shuffle_delete(op, build->sorter);
    lb_free(build->morsel_rows, build->n_morsels * sizeof *build->morsel_rows);
}

/* ---- writing ---- */

lb_status lb_join_writer_init(struct lb_join_writer *writer, const struct lb_op *op,
                              struct lb_join_build *build, const struct lb_join_side *side,
                              struct lb_error *err)
{
    *writer = (struct lb_join_writer){.build = build, .side = side, .label = op->label};
    LB_TRY(lb_join_shuffle_open(op, build, err));
    return lb_sort_writer_new(build->sorter, &writer->rows, err);
}

void lb_join_writer_fini(struct lb_join_writer *writer)
{
    lb_sort_writer_delete(writer->rows);
    lb_heat_local_fini(&writer->heat);
    lb_buf_fini(&writer->key);
    lb_buf_fini(&writer->payload);
    writer->rows = NULL;
}

void lb_join_writer_begin(struct lb_join_writer *writer, uint64_t morsel)
{
    writer->morsel = morsel;
    writer->position = 0;
}

static lb_status put_key(struct lb_join_writer *writer, const struct lb_batch *batch, uint32_t row,
                         struct lb_error *err)
{
    const struct lb_join_side *side = writer->side;
    writer->key.size = 0;
    for (uint32_t i = 0; i < side->n_keys; i++) {
        struct lb_column column = lb_batch_column(batch, side->keys[i]);
        size_t start = writer->key.size;
        LB_TRY(lb_key_put_column(&writer->key, &column, row, true, err));
        if (writer->key.data[start] != LB_KEY_NIL)
            continue;
        writer->key.data[0] = LB_KEY_NIL;
        writer->key.size = 1;
        break;
    }
    return LB_OK;
}

static lb_status add_row(struct lb_join_writer *writer, const struct lb_batch *batch, uint32_t row,
                         struct lb_error *err)
{
    const struct lb_join_side *side = writer->side;
    struct lb_buf *key = &writer->key, *payload = &writer->payload;
    uint64_t place = writer->morsel << LB_JOIN_PLACE_BITS | writer->position++;
    LB_TRY(put_key(writer, batch, row, err));
    if (side->drops_nil && key->data[0] == LB_KEY_NIL)
        return LB_OK;
    size_t group_size = key->size;
    if (lb_heat_wants(&writer->heat))
        LB_TRY(lb_heat_count(&writer->heat, key->data, group_size, err));
    uint32_t partition =
        (uint32_t)(lb_hash_bytes(key->data, group_size) % writer->build->n_partitions);
    LB_TRY(lb_buf_append_byte(key, (char)(side->is_build ? LB_JOIN_BUILD_SIDE : LB_JOIN_PROBE_SIDE),
                              err));
    payload->size = 0;
    for (uint32_t i = 0; i < side->n_columns; i++) {
        struct lb_column column = lb_batch_column(batch, side->columns[i]);
        LB_TRY(lb_join_put_value(payload, &column, row, err));
    }
    if (key->size > UINT32_MAX || payload->size > UINT32_MAX)
        return lb_error_set(err, LB_ERR_RESOURCE, "%s: a record of more than 4 GiB", writer->label);
    struct lb_sort_row *out = NULL;
    LB_TRY(lb_sort_writer_add(writer->rows, partition, place, (uint32_t)key->size,
                              (uint32_t)group_size, (uint32_t)payload->size, &out, err));
    memcpy(out->bytes, key->data, key->size);
    memcpy(out->bytes + key->size, payload->data, payload->size);
    return LB_OK;
}

lb_status lb_join_writer_add(struct lb_join_writer *writer, const struct lb_batch *batch,
                             struct lb_error *err)
{
    for (uint32_t i = 0; i < batch->n_selected; i++)
        LB_TRY(add_row(writer, batch, lb_batch_row(batch, i), err));
    return LB_OK;
}

/* Notes how many rows the morsel of the build side has. */
static lb_status note_morsel(struct lb_join_writer *writer, struct lb_error *err)
{
    struct lb_join_build *build = writer->build;
    lb_status status = LB_OK;
    pthread_mutex_lock(&build->lock);
    if (writer->morsel >= build->n_morsels) {
        size_t n = (size_t)writer->morsel + 1 + build->n_morsels / 2, had = build->n_morsels;
        size_t size = sizeof *build->morsel_rows;
        uint64_t *rows = lb_realloc(build->morsel_rows, had * size, n * size);
        if (rows != NULL) {
            memset(rows + had, 0, (n - had) * size);
            build->morsel_rows = rows;
            build->n_morsels = n;
        } else {
            status = lb_error_memory(err, writer->label, n * size);
        }
    }
    if (status == LB_OK)
        build->morsel_rows[writer->morsel] = writer->position;
    pthread_mutex_unlock(&build->lock);
    return status;
}

lb_status lb_join_writer_end(struct lb_join_writer *writer, struct lb_error *err)
{
    return writer->side->is_build ? note_morsel(writer, err) : LB_OK;
}

lb_status lb_join_writer_finish(struct lb_join_writer *writer, struct lb_error *err)
{
    struct lb_sort_writer *rows = writer->rows;
    LB_TRY(lb_heat_merge(&writer->build->heat, &writer->heat, err));
    if (writer->side->is_build)
        LB_TRY(lb_sort_writer_spill(rows, err));
    writer->rows = NULL;
    return lb_sort_writer_finish(rows, err);
}

/* ---- join_probe ---- */

struct probe_shared {
    struct lb_join_build *build; /* borrowed */
    struct lb_join_side side;
};

static lb_status probe_open(struct lb_op *self, struct lb_error *err)
{
    struct probe_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    enum lb_join_kind kind;
    struct lb_join_side *side = &shared->side;
    LB_TRY(lb_join_build_of(self, 0, &shared->build, err));
    LB_TRY(lb_join_param_kind(self, &kind, err));
    LB_TRY(lb_join_param_columns(self, "keys", side->keys, &side->n_keys, err));
    LB_TRY(lb_join_param_columns(self, "columns", side->columns, &side->n_columns, err));
    side->drops_nil = kind != LB_JOIN_OUTER && kind != LB_JOIN_ANTI;
    shared->build->n_probe_columns = side->n_columns;
    return side->n_keys == shared->build->n_keys ? LB_OK : lb_param_wrong(self, "keys", err);
}

static lb_status probe_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct probe_shared *shared = local->op->shared;
    struct lb_join_writer *writer = local->state = lb_alloc_zero(sizeof *writer);
    if (writer == NULL)
        return lb_error_memory(err, local->op->label, sizeof *writer);
    return lb_join_writer_init(writer, local->op, shared->build, &shared->side, err);
}

static lb_status probe_begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    struct lb_join_build *build = ((struct probe_shared *)local->op->shared)->build;
    uint64_t n = local->worker->morsel + 1, known = build->n_probe_morsels;
    while (known < n && !atomic_compare_exchange_weak(&build->n_probe_morsels, &known, n))
        ;
    lb_join_writer_begin(local->state, local->worker->morsel);
    return LB_OK;
}

static lb_status probe_push(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    return lb_join_writer_add(local->state, batch, err);
}

static lb_status probe_combine(struct lb_op_local *local, struct lb_error *err)
{
    return lb_join_writer_finish(local->state, err);
}

static void probe_detach(struct lb_op_local *local)
{
    lb_join_writer_fini(local->state);
    lb_free(local->state, sizeof(struct lb_join_writer));
}

static lb_status probe_finish(struct lb_op *self, struct lb_error *err)
{
    struct lb_join_build *build = ((struct probe_shared *)self->shared)->build;
    if (build->sorter == NULL) /* the table is in memory: this way is not taken */
        return LB_OK;
    LB_TRY(lb_sorter_prepare(build->sorter, err));
    self->n_result = lb_sorter_n_rows(build->sorter);
    return lb_facts_of_shuffle(self, build->sorter, &build->heat, err);
}

static void probe_close(struct lb_op *self)
{
    lb_free(self->shared, sizeof(struct probe_shared));
    self->shared = NULL;
}

const struct lb_op_class lb_op_join_probe = {
    .name = "join_probe",
    .kind = LB_OP_SINK,
    .open = probe_open,
    .attach = probe_attach,
    .begin = probe_begin,
    .push = probe_push,
    .combine = probe_combine,
    .detach = probe_detach,
    .finish = probe_finish,
    .close = probe_close,
};
