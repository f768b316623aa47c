/* collect_list: the values of a group in input order.
 *
 * STATES A chain of blocks in an arena, each up to twice as large as the one before.
 * FORMAT of a block's bytes and of a partial, which is led by the uint64 number of its bytes: for each value its uint64 position
 *        and the value as the codec has it. A worker meets positions in ascending order, so a partial is in order; the
 *        final merge sorts (position, place) when partials came in another order. */
#include "core/algo/group_state_private.h"
#include "core/base/sys.h"

struct block {
    struct block *next;
    uint32_t used;
    uint32_t room;
    char bytes[];
};

struct list_state {
    struct block *first;
    struct block *last;
};

struct place {
    uint64_t position;
    size_t at; /* of the value, in bytes */
};

struct list_extra {
    struct lb_arena arena;
    struct lb_buf scratch; /* one value */
    /* final merge */
    struct lb_buf bytes;
    struct place *places;
    size_t n, capacity;
};

#ifdef LB_TINY
enum { ARENA_BYTES = 256 };
#else
enum { ARENA_BYTES = 64 << 10 };
#endif
enum { FIRST_ROOM = 48, MOST_ROOM = 1 << 20 };

static lb_status list_open(struct lb_group_state *self, struct lb_error *err)
{
    struct list_extra *extra = self->extra = lb_alloc_zero(sizeof *extra);
    if (extra == NULL)
        return lb_error_memory(err, self->label, sizeof *extra);
    lb_arena_init(&extra->arena, ARENA_BYTES);
    return LB_OK;
}

static void list_close(struct lb_group_state *self)
{
    struct list_extra *extra = self->extra;
    lb_arena_fini(&extra->arena);
    lb_buf_fini(&extra->scratch);
    lb_buf_fini(&extra->bytes);
    lb_free(extra->places, extra->capacity * sizeof *extra->places);
    lb_free(extra, sizeof *extra);
    self->extra = NULL;
}

static void list_forget(struct lb_group_state *self)
{
    struct list_extra *extra = self->extra;
    if (extra->arena.held_bytes > 0)
        lb_arena_reset(&extra->arena);
    extra->bytes.size = 0;
    extra->n = 0;
}

/* A flush copies the list of a group twice, and all may be of one. */
static size_t list_bytes(const struct lb_group_state *self)
{
    return 3 * ((const struct list_extra *)self->extra)->arena.held_bytes;
}

static lb_status append(struct lb_group_state *self, struct list_state *state, const char *data,
                        size_t size, struct lb_error *err)
{
    struct list_extra *extra = self->extra;
    struct block *block = state->last;
    if (block == NULL || block->room - block->used < size) {
        size_t room = block == NULL ? FIRST_ROOM : 2 * (size_t)block->room;
        room = room > MOST_ROOM ? MOST_ROOM : room;
        room = room < size ? size : room;
        struct block *more = lb_arena_alloc(&extra->arena, sizeof *more + room);
        if (more == NULL || room > UINT32_MAX)
            return lb_error_memory(err, self->label, sizeof *more + room);
        *more = (struct block){.room = (uint32_t)room};
        if (block != NULL)
            block->next = more;
        else
            state->first = more;
        state->last = block = more;
    }
    memcpy(block->bytes + block->used, data, size);
    block->used += (uint32_t)size;
    return LB_OK;
}

static lb_status list_update(struct lb_group_state *self, const struct lb_group_rows *rows,
                             struct lb_error *err)
{
    struct list_extra *extra = self->extra;
    const struct lb_batch *batch = rows->batch;
    const struct lb_column *column = &batch->columns[self->column];
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        uint64_t position = rows->position + i;
        if (lb_column_value(column, row).tag == 'n')
            continue;
        extra->scratch.size = 0;
        LB_TRY(lb_buf_append(&extra->scratch, &position, sizeof position, err));
        LB_TRY(lb_codec_put_column(&extra->scratch, column, row, err));
        LB_TRY(append(self, lb_group_slot(self, rows->slots[i]), extra->scratch.data,
                      extra->scratch.size, err));
    }
    return LB_OK;
}

static lb_status list_save(struct lb_group_state *self, size_t slot, struct lb_buf *out,
                           struct lb_error *err)
{
    const struct list_state *state = lb_group_slot(self, slot);
    uint64_t size = 0;
    for (const struct block *block = state->first; block != NULL; block = block->next)
        size += block->used;
    LB_TRY(lb_buf_append(out, &size, sizeof size, err));
    for (const struct block *block = state->first; block != NULL; block = block->next)
        LB_TRY(lb_buf_append(out, block->bytes, block->used, err));
    return LB_OK;
}

static lb_status list_merge(struct lb_group_state *self, const char **cursor, const char *end,
                            struct lb_error *err)
{
    struct list_extra *extra = self->extra;
    uint64_t size;
    LB_GROUP_LOAD(self, cursor, end, size, err);
    if ((uint64_t)(end - *cursor) < size)
        return lb_group_bad_partial(self, err);
    end = *cursor + size;
    while (*cursor < end) {
        struct lb_value value;
        struct place place = {.at = extra->bytes.size};
        LB_GROUP_LOAD(self, cursor, end, place.position, err);
        const char *start = *cursor;
        LB_TRY(lb_codec_get(cursor, end, &value, err));
        LB_TRY(lb_buf_append(&extra->bytes, start, (size_t)(*cursor - start), err));
        if (extra->n == extra->capacity) {
            size_t capacity = extra->capacity > 0 ? 2 * extra->capacity : 16;
            struct place *places = lb_realloc(extra->places, extra->capacity * sizeof *places,
                                              capacity * sizeof *places);
            if (places == NULL)
                return lb_error_memory(err, self->label, capacity * sizeof *places);
            extra->places = places;
            extra->capacity = capacity;
        }
        extra->places[extra->n++] = place;
    }
    return LB_OK;
}

/* The values, the list that is made of them, and its copy in the column; the places twice, to be sorted. */
static size_t list_merged(const struct lb_group_state *self)
{
    const struct list_extra *extra = self->extra;
    return 3 * extra->bytes.capacity + 2 * extra->capacity * sizeof *extra->places;
}

/* Natural merge sort: as many passes as there are doublings of the number of ascending runs. Positions are distinct. */
static lb_status sort_places(struct lb_group_state *self, struct lb_error *err)
{
    struct list_extra *extra = self->extra;
    size_t n = extra->n, bytes = n * sizeof(struct place);
    struct place *from = extra->places, *to = NULL, *scratch = NULL;
    for (;;) {
        size_t n_runs = 0;
        for (size_t start = 0; start < n; n_runs++) {
            size_t middle = start + 1, end;
            while (middle < n && from[middle].position > from[middle - 1].position)
                middle++;
            if (start == 0 && middle == n)
                goto sorted;
            if (scratch == NULL && (to = scratch = lb_alloc(bytes)) == NULL)
                return lb_error_memory(err, self->label, bytes);
            for (end = middle < n ? middle + 1 : n;
                 end < n && from[end].position > from[end - 1].position; end++)
                ;
            size_t a = start, b = middle;
            for (size_t i = start; i < end; i++)
                to[i] = b == end || (a < middle && from[a].position < from[b].position) ? from[a++]
                                                                                        : from[b++];
            start = end;
        }
        struct place *swap = from;
        from = to;
        to = swap;
    }
sorted:
    if (from != extra->places)
        memcpy(extra->places, from, bytes);
    lb_free(scratch, bytes);
    return LB_OK;
}

static lb_status list_result(struct lb_group_state *self, struct lb_builder *out,
                             struct lb_error *err)
{
    struct list_extra *extra = self->extra;
    struct lb_buf list = {0};
    size_t mark;
    if (extra->n == 0)
        return lb_builder_null(out, err);
    if (extra->n > UINT32_MAX || extra->bytes.size > UINT32_MAX - 16)
        return lb_error_set(err, LB_ERR_RESOURCE, "%s: a list of more than 4 GiB", self->label);
    LB_TRY(sort_places(self, err));
    LB_TRY(lb_codec_begin(&list, 'l', &mark, err));
    lb_status status = lb_buf_reserve(&list, extra->bytes.size, err);
    for (size_t i = 0; status == LB_OK && i < extra->n; i++) {
        const char *data = extra->bytes.data + extra->places[i].at;
        status = lb_buf_append(&list, data, lb_codec_size(data), err);
    }
    if (status == LB_OK) {
        lb_codec_end(&list, mark, (uint32_t)extra->n);
        status = lb_builder_encoded(out, list.data, list.size, err);
    }
    lb_buf_fini(&list);
    return status;
}

const struct lb_group_state_class lb_group_collect_list = {.name = "collect_list",
                                                           .state_bytes = sizeof(struct list_state),
                                                           .n_columns = 1,
                                                           .open = list_open,
                                                           .close = list_close,
                                                           .update = list_update,
                                                           .save = list_save,
                                                           .merge = list_merge,
                                                           .result = list_result,
                                                           .forget = list_forget,
                                                           .extra_bytes = list_bytes,
                                                           .merged_bytes = list_merged};
