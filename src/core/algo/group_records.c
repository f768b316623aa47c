/* Records of groups: see group_records.h. */
#include "core/algo/group_records.h"

#include "core/algo/group_state_private.h"
#include "core/algo/lines.h"

#ifdef LB_TINY
enum { FIRST_BYTES = 256 };
#else
enum { FIRST_BYTES = 16 << 10 };
#endif

/* Tells the states where they are. */
static void place(struct lb_group_records *records)
{
    for (uint32_t i = 0; i < records->n_states; i++) {
        struct lb_group_state *state = &records->states[i];
        state->states = records->bytes != NULL ? records->bytes + state->offset : NULL;
        state->stride = records->stride;
    }
}

static void lay_out(struct lb_group_records *records)
{
    uint32_t at = records->key_bytes;
    for (uint32_t i = 0; i < records->n_states; i++) {
        struct lb_group_state *state = &records->states[i];
        uint32_t alignment = state->state_bytes % 16 == 0 ? 16 : 8;
        at = (at + alignment - 1) & ~(alignment - 1);
        state->offset = at;
        at += state->state_bytes;
    }
    uint32_t stride = 16;
    while (stride < at && stride < LB_LINE_BYTES)
        stride *= 2;
    records->stride = at > stride ? (at + 15) & ~15u : stride;
    place(records);
}

void lb_group_records_init(struct lb_group_records *records, struct lb_group_state *states,
                           uint32_t n_states)
{
    memset(records, 0, sizeof *records);
    records->states = states;
    records->n_states = n_states;
    for (uint32_t i = 0; i < n_states; i++)
        states[i].is_in_record = true;
    lay_out(records);
}

static void free_records(struct lb_group_records *records)
{
    lb_lines_free(records->bytes, records->n_bytes);
    records->bytes = NULL;
    records->n_bytes = 0;
}

void lb_group_records_fini(struct lb_group_records *records)
{
    free_records(records);
    memset(records, 0, sizeof *records);
}

void lb_group_records_fit(struct lb_group_records *records, const struct lb_batch *batch)
{
    bool changes = false;
    for (uint32_t i = 0; i < records->n_states; i++) {
        struct lb_group_state *state = &records->states[i];
        uint32_t bytes = state->class->state_bytes;
        if (state->class->fit != NULL && state->column < batch->n_columns &&
            (state->column2 == LB_NO_COLUMN || state->column2 < batch->n_columns))
            bytes = state->class->fit(state, batch);
        changes = changes || bytes != state->state_bytes;
        state->state_bytes = bytes;
    }
    if (changes)
        lay_out(records);
}

void lb_group_records_set_key_bytes(struct lb_group_records *records, uint32_t key_bytes)
{
    if (key_bytes == records->key_bytes)
        return;
    records->key_bytes = key_bytes;
    lay_out(records);
}

static size_t bytes_for(const struct lb_group_records *records, size_t n)
{
    size_t bytes = records->n_bytes > 0 ? records->n_bytes : FIRST_BYTES;
    while (bytes / records->stride < n)
        bytes *= 2;
    return bytes;
}

lb_status lb_group_records_reserve(struct lb_group_records *records, size_t n, struct lb_error *err)
{
    size_t bytes = bytes_for(records, n), used = records->n * records->stride;
    if (bytes > records->n_bytes) {
        char *grown = lb_lines_new(bytes, records->bytes, records->n_bytes, used);
        if (grown == NULL)
            return lb_error_memory(err, "the groups of a table", bytes);
        records->bytes = grown;
        records->n_bytes = bytes;
        place(records);
    }
    return LB_OK;
}

lb_status lb_group_records_use(struct lb_group_records *records, size_t n, struct lb_error *err)
{
    LB_TRY(lb_group_records_reserve(records, n, err));
    if (n > records->n)
        records->n = n;
    for (uint32_t i = 0; i < records->n_states; i++)
        records->states[i].n_slots = records->n;
    return LB_OK;
}

void lb_group_records_reset(struct lb_group_records *records, size_t keep_bytes)
{
    for (uint32_t i = 0; i < records->n_states; i++)
        lb_group_state_reset(&records->states[i]);
    if (records->n_bytes > keep_bytes)
        free_records(records);
    else if (records->n > 0)
        memset(records->bytes, 0, records->n * records->stride);
    records->n = 0;
    place(records);
}

size_t lb_group_records_next_bytes(const struct lb_group_records *records, size_t n)
{
    size_t bytes = bytes_for(records, n);
    if (bytes > records->n_bytes)
        bytes += records->n_bytes;
    for (uint32_t i = 0; i < records->n_states; i++)
        bytes += lb_group_state_held_bytes(&records->states[i]);
    return bytes;
}
