/* The simple aggregate kernels: none, count, first. Sum, min and max are in aggregate_number.c. */
#include "core/algo/aggregate.h"

#include "core/base/sys.h"

/* ---- shared by kernels without state of their own ---- */

static lb_status open_nothing(struct lb_aggregate *self, struct lb_error *err)
{
    (void)err;
    self->state = NULL;
    return LB_OK;
}

static void close_nothing(struct lb_aggregate *self)
{
    (void)self;
}

static size_t hold_nothing(const struct lb_aggregate *self)
{
    (void)self;
    return 0;
}

/* ---- none ---- */

static lb_status none_update(struct lb_aggregate *self, struct lb_group_entry **found,
                             const struct lb_batch *batch, struct lb_error *err)
{
    (void)self, (void)found, (void)batch, (void)err;
    return LB_OK;
}

static lb_status none_save(struct lb_aggregate *self, const struct lb_group_entry *entry,
                           struct lb_buf *out, struct lb_error *err)
{
    (void)self, (void)entry, (void)out, (void)err;
    return LB_OK;
}

static lb_status none_take(struct lb_aggregate *self, const char *partial, size_t size,
                           struct lb_error *err)
{
    (void)self, (void)partial, (void)size, (void)err;
    return LB_OK;
}

static lb_status none_result(struct lb_aggregate *self, struct lb_buf *out, uint32_t *n_values,
                             struct lb_error *err)
{
    (void)self, (void)out, (void)err;
    *n_values = 0;
    return LB_OK;
}

static lb_status none_save_merged(struct lb_aggregate *self, struct lb_buf *out,
                                  struct lb_error *err)
{
    (void)self, (void)out, (void)err;
    return LB_OK;
}

const struct lb_aggregate_class lb_aggregate_none = {.name = "none",
                                                     .open = open_nothing,
                                                     .close = close_nothing,
                                                     .update = none_update,
                                                     .save = none_save,
                                                     .reset = close_nothing,
                                                     .held_bytes = hold_nothing,
                                                     .load = none_take,
                                                     .merge = none_take,
                                                     .result = none_result,
                                                     .save_merged = none_save_merged};

/* ---- count ---- */

static lb_status count_open(struct lb_aggregate *self, struct lb_error *err)
{
    self->state = lb_alloc_zero(sizeof(int64_t)); /* the group being merged */
    return self->state != NULL ? LB_OK : lb_error_memory(err, "a count", sizeof(int64_t));
}

static void count_close(struct lb_aggregate *self)
{
    lb_free(self->state, sizeof(int64_t));
    self->state = NULL;
}

static lb_status count_update(struct lb_aggregate *self, struct lb_group_entry **found,
                              const struct lb_batch *batch, struct lb_error *err)
{
    (void)self, (void)err;
    for (uint32_t i = 0; i < batch->n_selected; i++)
        found[i]->state++; /* 0 in a new entry */
    return LB_OK;
}

static lb_status count_save(struct lb_aggregate *self, const struct lb_group_entry *entry,
                            struct lb_buf *out, struct lb_error *err)
{
    (void)self;
    return lb_buf_append(out, &entry->state, sizeof entry->state, err);
}

static lb_status count_merge(struct lb_aggregate *self, const char *partial, size_t size,
                             struct lb_error *err)
{
    int64_t more;
    if (size != sizeof more)
        return lb_error_set(err, LB_ERR_INTERNAL, "a count of %zu bytes", size);
    memcpy(&more, partial, sizeof more);
    *(int64_t *)self->state += more;
    return LB_OK;
}

static lb_status count_load(struct lb_aggregate *self, const char *partial, size_t size,
                            struct lb_error *err)
{
    *(int64_t *)self->state = 0;
    return count_merge(self, partial, size, err);
}

static lb_status count_result(struct lb_aggregate *self, struct lb_buf *out, uint32_t *n_values,
                              struct lb_error *err)
{
    *n_values = 1;
    return lb_codec_put_int(out, *(const int64_t *)self->state, err);
}

static lb_status count_save_merged(struct lb_aggregate *self, struct lb_buf *out,
                                   struct lb_error *err)
{
    return lb_buf_append(out, self->state, sizeof(int64_t), err);
}

const struct lb_aggregate_class lb_aggregate_count = {.name = "count",
                                                      .open = count_open,
                                                      .close = count_close,
                                                      .update = count_update,
                                                      .save = count_save,
                                                      .reset = close_nothing,
                                                      .held_bytes = hold_nothing,
                                                      .load = count_load,
                                                      .merge = count_merge,
                                                      .result = count_result,
                                                      .save_merged = count_save_merged};

/* ---- first: the values of the first record ----
 * FORMAT of a partial: uint32 number of values, then the encoded values. An entry's state is the
 * offset of [uint32 size][partial] in `kept`. */

enum { FIRST_FOUND = 1 };

struct first_state {
    struct lb_buf kept;
    struct lb_buf current; /* partial of the group being merged */
};

static lb_status first_open(struct lb_aggregate *self, struct lb_error *err)
{
    self->state = lb_alloc_zero(sizeof(struct first_state));
    return self->state != NULL ? LB_OK
                               : lb_error_memory(err, "a first", sizeof(struct first_state));
}

static void first_close(struct lb_aggregate *self)
{
    struct first_state *state = self->state;
    if (state == NULL)
        return;
    lb_buf_fini(&state->kept);
    lb_buf_fini(&state->current);
    lb_free(state, sizeof *state);
    self->state = NULL;
}

static lb_status keep_first(struct first_state *state, struct lb_group_entry *entry,
                            const struct lb_batch *batch, uint32_t row, struct lb_error *err)
{
    struct lb_buf *kept = &state->kept;
    size_t start = kept->size;
    uint32_t head[2] = {0, batch->n_columns - 1};
    lb_status status = lb_buf_append(kept, head, sizeof head, err);
    for (uint32_t c = 1; status == LB_OK && c < batch->n_columns; c++)
        status = lb_codec_put_column(kept, &batch->columns[c], row, err);
    size_t size = kept->size - start - sizeof head[0];
    if (status == LB_OK && size > UINT32_MAX)
        status = lb_error_set(err, LB_ERR_RESOURCE, "values of %zu bytes are too large for a group",
                              size);
    if (status != LB_OK) {
        kept->size = start;
        return status;
    }
    head[0] = (uint32_t)size;
    memcpy(kept->data + start, head, sizeof head[0]);
    entry->state = (int64_t)start;
    entry->state_kind = FIRST_FOUND;
    return LB_OK;
}

static lb_status first_update(struct lb_aggregate *self, struct lb_group_entry **found,
                              const struct lb_batch *batch, struct lb_error *err)
{
    for (uint32_t i = 0; i < batch->n_selected; i++)
        if (found[i]->state_kind != FIRST_FOUND)
            LB_TRY(keep_first(self->state, found[i], batch, lb_batch_row(batch, i), err));
    return LB_OK;
}

static lb_status first_save(struct lb_aggregate *self, const struct lb_group_entry *entry,
                            struct lb_buf *out, struct lb_error *err)
{
    const struct first_state *state = self->state;
    const char *kept = state->kept.data + entry->state;
    uint32_t size;
    memcpy(&size, kept, sizeof size);
    return lb_buf_append(out, kept + sizeof size, size, err);
}

static void first_reset(struct lb_aggregate *self)
{
    struct first_state *state = self->state;
    state->kept.size = 0;
}

static size_t first_held(const struct lb_aggregate *self)
{
    const struct first_state *state = self->state;
    return state->kept.capacity;
}

static lb_status first_load(struct lb_aggregate *self, const char *partial, size_t size,
                            struct lb_error *err)
{
    struct first_state *state = self->state;
    state->current.size = 0;
    return lb_buf_append(&state->current, partial, size, err);
}

static lb_status first_result(struct lb_aggregate *self, struct lb_buf *out, uint32_t *n_values,
                              struct lb_error *err)
{
    const struct lb_buf *current = &((struct first_state *)self->state)->current;
    memcpy(n_values, current->data, sizeof *n_values);
    return lb_buf_append(out, current->data + sizeof *n_values, current->size - sizeof *n_values,
                         err);
}

static lb_status first_save_merged(struct lb_aggregate *self, struct lb_buf *out,
                                   struct lb_error *err)
{
    const struct lb_buf *current = &((struct first_state *)self->state)->current;
    return lb_buf_append(out, current->data, current->size, err);
}

static bool first_is_ordered(const struct lb_aggregate *self)
{
    (void)self;
    return true;
}

const struct lb_aggregate_class lb_aggregate_first = {
    .name = "first",
    .open = first_open,
    .close = first_close,
    .update = first_update,
    .save = first_save,
    .reset = first_reset,
    .held_bytes = first_held,
    .load = first_load,
    .merge = none_take, /* partials come by ascending sequence: the loaded one stays */
    .result = first_result,
    .save_merged = first_save_merged,
    .is_ordered = first_is_ordered};
