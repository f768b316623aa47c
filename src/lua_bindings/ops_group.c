/* Lua functions of groups: the reducer on top of a sort (lua.groups), and the combiner below one
 * (lua.combine).
 *
 * IDEA    Rows come out of a sorter group by group. For each group the function is called with an
 *         iterator that pulls the sorter's cursor, so a group need not fit into memory. The reader
 *         is always one row ahead: a row belongs to the group of the row before it or it begins
 *         the next one. The combiner sorts what passes it in a sorter of its own and then does the
 *         same.
 * STATES  of the reader: row = NULL: range at its end; in_group: row is the next value of the
 *         group whose function runs; else row is the first of the next group.
 * ORDER   A combiner's groups never span two morsels, so that values reach the reducer in input
 *         order whatever the threads, and a function that is associative but not commutative keeps
 *         its meaning.
 * MEMORY  The combiner holds up to half of a worker's share, then combines and starts over. When
 *         that leaves more than 70 % of the records it stops: what follows passes unchanged.
 * FORMAT  of the combiner's rows: as ops/sort.h says. */

#include "core/base/sys.h"
#include "core/column/key.h"
#include "core/ops/range_scan.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/ops.h"
#include "lua_bindings/task.h"

enum {
    SLOT_INIT = LB_SLOT_FUNCTION + 1,
    SLOT_FINAL,
#ifdef LB_TINY
    RELEASE_ROWS = 3, /* rows read from a cursor before it may drop them */
    RELEASE_BYTES = 1000,
    LEAST_TO_JUDGE = 20, /* records that must have been combined before the combiner may give up */
#else
    RELEASE_ROWS = 1000,
    RELEASE_BYTES = 1 << 20,
    LEAST_TO_JUDGE = 10000,
#endif
    MOST_HELD_BYTES = 64 << 20,
    ROW_BYTES = sizeof(struct lb_sort_row) + 24 /* a held row without its key and payload */
};

struct reader {
    struct lb_lua_task task;
    struct reader **box; /* in Lua's memory, kept alive in LB_SLOT_OWN: how iterators find us; holds
                          * NULL when we are gone */
    struct lb_sort_cursor *cursor;
    const struct lb_sort_row *row;
    bool in_group;
    lua_Integer group;     /* number of the current group; an iterator belongs to one */
    uint32_t n_unreleased; /* rows and bytes read since the cursor's last release */
    size_t unreleased_bytes;
    struct lb_buf key; /* of the current group, encoded, for messages */
};

static int l_reader_box(lua_State *L)
{
    struct reader *r = lua_touserdata(L, 1);
    struct reader **box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = r;
    r->box = box;
    lb_lua_task_set(&r->task, L, LB_SLOT_OWN);
    return 0;
}

static lb_status reader_init(struct reader *r, struct lb_op_local *local, struct lb_error *err)
{
    static const struct lb_lua_functions functions = {{"fn", "init", "final"}, 1};
    LB_TRY(lb_lua_task_init(&r->task, local->worker, &local->op->params, local->op->label,
                            &functions, local->next, err));
    return lb_lua_task_run(&r->task, l_reader_box, r, err);
}

static void reader_fini(struct reader *r)
{
    if (r->cursor != NULL)
        lb_sort_cursor_delete(r->cursor);
    if (r->box != NULL)
        *r->box = NULL;
    lb_lua_task_fini(&r->task);
    lb_buf_fini(&r->key);
}

static lb_status next_row(struct reader *r, struct lb_error *err)
{
    if (r->row != NULL) {
        r->n_unreleased++;
        r->unreleased_bytes += r->row->payload_size;
    }
    if (r->n_unreleased >= RELEASE_ROWS || r->unreleased_bytes >= RELEASE_BYTES) {
        lb_sort_cursor_release(r->cursor);
        r->n_unreleased = 0;
        r->unreleased_bytes = 0;
        if (atomic_load_explicit(&r->task.lua->worker->run->stop, memory_order_relaxed) != 0)
            return lb_error_set(err, LB_ERR_CANCELLED, "cancelled");
    }
    const struct lb_sort_row *last = r->row;
    LB_TRY(lb_sort_cursor_next(r->cursor, &r->row, err));
    r->in_group = last != NULL && r->row != NULL && lb_sort_row_same_group(last, r->row);
    return LB_OK;
}

/* next_row for C functions that Lua calls. */
static inline void advance(struct reader *r)
{
    lb_status status = next_row(r, &r->task.emitter.err);
    if (__builtin_expect(status != LB_OK, 0))
        lb_emitter_throw(&r->task.emitter, status);
}

/* Pushes the value at *cursor of a row's payload. */
static inline void push_value(lua_State *L, const struct lb_sort_row *row, const char **cursor)
{
    if (**cursor == 'K') {
        lua_pushlstring(L, row->bytes + 1, row->group_size - 1);
        *cursor += 1;
    } else if (**cursor == 'i') {
        int64_t value;
        memcpy(&value, *cursor + 1, sizeof value);
        lb_lua_push_int64(L, value);
        *cursor += 1 + sizeof value;
    } else {
        lb_lua_push_next(L, cursor);
    }
}

/* Where the value columns of a row begin. */
static inline const char *row_values(const struct lb_sort_row *row)
{
    const char *payload = row->bytes + row->key_size;
    return *payload == 'K' ? payload + 1 : payload + lb_codec_size(payload);
}

/* The iterator `values`. Its upvalues: the reader's box, the number of its group. */
static int l_values(lua_State *L)
{
    struct reader *r = *(struct reader **)lua_touserdata(L, lua_upvalueindex(1));
    if (r == NULL || lua_tointeger(L, lua_upvalueindex(2)) != r->group)
        return luaL_error(L, "values of a group are gone once its function returned");
    if (!r->in_group)
        return 0;
    int n_args = lua_gettop(L);
    const struct lb_sort_row *row = r->row;
    const char *cursor = row_values(row);
    const char *end = row->bytes + row->key_size + row->payload_size;
    int n = 0;
    do {
        if (__builtin_expect(n % 8 == 7, 0))
            luaL_checkstack(L, LUA_MINSTACK, "the values of a record");
        if (__builtin_expect(cursor < end, 1))
            push_value(L, row, &cursor);
        else
            lua_pushnil(L); /* a key without a value */
        n++;
    } while (cursor < end);
    r->task.place.position++;
    if (__builtin_expect(r->task.keeps_calls, 0))
        lb_lua_note_values(&r->task, L, n);
    if (__builtin_expect(n_args == 2 && lua_isnil(L, 3), 0)) /* as a for loop calls */
        return luaL_error(L, "a for loop would end at this value, which is nil: call the iterator "
                             "yourself; select('#', values()) is 0 at the end");
    bool is_timed = lb_lua_guard_pause(r->task.lua);
    advance(r);
    lb_lua_guard_resume(r->task.lua, is_timed);
    return n;
}

/* Pushes the key of the group that begins with r->row, and keeps it for messages. */
static void push_key(struct reader *r, lua_State *L)
{
    const struct lb_sort_row *row = r->row;
    const char *payload = row->bytes + row->key_size;
    struct lb_error *err = &r->task.emitter.err;
    lb_status status;
    r->key.size = 0;
    if (*payload == 'K')
        status = lb_codec_put_string(&r->key, row->bytes + 1, row->group_size - 1, err);
    else
        status = lb_buf_append(&r->key, payload, lb_codec_size(payload), err);
    if (status != LB_OK)
        lb_emitter_throw(&r->task.emitter, status);
    r->task.place.key = r->key.data;
    r->task.place.key_size = r->key.size;
    r->task.place.position = 0;
    lb_lua_noted_reset(&r->task.noted);
    push_value(L, row, &payload);
}

/* The body: all groups up to the cursor's end. */
static int l_reader_run(lua_State *L)
{
    struct reader *r = lua_touserdata(L, 1);
    struct lb_lua_task *task = &r->task;
    lb_lua_task_push(task, L, LB_SLOT_FUNCTION);
    lb_lua_task_push(task, L, LB_SLOT_OWN);
    lb_lua_task_push(task, L, LB_SLOT_EMIT);
    lb_lua_task_push(task, L, LB_SLOT_TABLE);
    while (r->row != NULL) {
        r->group++;
        r->in_group = true;
        lua_pushvalue(L, 2);
        push_key(r, L);
        lua_pushvalue(L, 3);
        lua_pushinteger(L, r->group);
        lua_pushcclosure(L, l_values, 2);
        lua_pushvalue(L, 4);
        lua_pushvalue(L, 5);
        lb_lua_task_call(task, L, 4, 0);
        if (__builtin_expect(task->keeps_calls && task->noted.keeps_task, 0))
            lb_lua_note_done(task);
        while (r->in_group)
            advance(r);
    }
    r->group++;
    return 0;
}

/* Reads all rows of the cursor, which it takes. */
static lb_status read_rows(struct reader *r, struct lb_sort_cursor *cursor, struct lb_error *err)
{
    r->cursor = cursor;
    r->row = NULL;
    r->n_unreleased = 0;
    r->unreleased_bytes = 0;
    r->task.emitter.parent = NULL;
    r->task.place = (struct lb_lua_place){.label = r->task.label};
    LB_TRY(next_row(r, err));
    if (r->row != NULL)
        LB_TRY(lb_lua_task_run(&r->task, l_reader_run, r, err));
    lb_sort_cursor_delete(r->cursor);
    r->cursor = NULL;
    return lb_emitter_flush(&r->task.emitter, err);
}

/* After a read that ended early, LB_ENOUGH included. */
static void drop_cursor(struct reader *r)
{
    if (r->cursor != NULL)
        lb_sort_cursor_delete(r->cursor);
    r->cursor = NULL;
    r->row = NULL;
    r->in_group = false;
    r->group++;
}

/* lua.groups */

struct groups_local {
    struct reader reader;
    uint32_t range; /* claimed */
};

static lb_status groups_open(struct lb_op *self, struct lb_error *err)
{
    LB_TRY(lb_range_open_op(self, NULL, err));
    ((struct lb_range_shared *)self->shared)->cuts = LB_CUT_GROUPS;
    return LB_OK;
}

static lb_status groups_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct groups_local *g = lb_alloc_zero(sizeof *g);
    if (g == NULL)
        return lb_error_memory(err, local->op->label, sizeof *g);
    local->state = g;
    return reader_init(&g->reader, local, err);
}

static void groups_detach(struct lb_op_local *local)
{
    struct groups_local *g = local->state;
    reader_fini(&g->reader);
    lb_free(g, sizeof *g);
}

static lb_status groups_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    struct groups_local *g = local->state;
    local->worker->input[0] = '\0';
    return lb_range_take(local, &g->range, more, err);
}

static lb_status groups_produce(struct lb_op_local *local, struct lb_error *err)
{
    struct groups_local *g = local->state;
    struct lb_sort_cursor *cursor = NULL;
    drop_cursor(&g->reader);
    LB_TRY(lb_lua_task_begin(&g->reader.task, SLOT_INIT, err));
    LB_TRY(lb_range_cursor(local->op, g->range, &cursor, err));
    LB_TRY(read_rows(&g->reader, cursor, err));
    return lb_lua_task_finish(&g->reader.task, SLOT_FINAL, err);
}

const struct lb_op_class lb_lua_op_groups = {
    .name = "lua.groups",
    .kind = LB_OP_SOURCE,
    .open = groups_open,
    .attach = groups_attach,
    .claim = groups_claim,
    .produce = groups_produce,
    .detach = groups_detach,
    .close = lb_range_close_op,
};

/* lua.combine */

struct combiner {
    struct reader reader;
    struct lb_op_local *next;
    struct lb_sorter *sorter; /* of the records held; NULL: none */
    struct lb_sort_writer *writer;
    uint64_t n_held;
    size_t held_bytes;
    size_t limit_bytes; /* combine when that much is held */
    bool passes;        /* combining does not pay: records go on as they come */
    struct lb_buf key;  /* of one row */
    struct lb_buf payload;
};

static lb_status combine_attach(struct lb_op_local *local, struct lb_error *err)
{
    struct combiner *c = lb_alloc_zero(sizeof *c);
    if (c == NULL)
        return lb_error_memory(err, local->op->label, sizeof *c);
    local->state = c;
    c->next = local->next;
    c->limit_bytes = lb_run_worker_bytes(local->worker->run) / 2;
    if (c->limit_bytes > MOST_HELD_BYTES)
        c->limit_bytes = MOST_HELD_BYTES;
    return reader_init(&c->reader, local, err);
}

static void drop_held(struct combiner *c)
{
    drop_cursor(&c->reader);
    if (c->writer != NULL)
        lb_sort_writer_delete(c->writer);
    c->writer = NULL;
    lb_sorter_delete(c->sorter);
    c->sorter = NULL;
    c->n_held = 0;
    c->held_bytes = 0;
}

static void combine_detach(struct lb_op_local *local)
{
    struct combiner *c = local->state;
    drop_held(c);
    reader_fini(&c->reader);
    lb_buf_fini(&c->key);
    lb_buf_fini(&c->payload);
    lb_free(c, sizeof *c);
}

static lb_status combine_begin(struct lb_op_local *local, struct lb_error *err)
{
    struct combiner *c = local->state;
    drop_held(c);
    return lb_lua_task_begin(&c->reader.task, SLOT_INIT, err);
}

static lb_status open_sorter(struct combiner *c, struct lb_error *err)
{
    struct lb_run *run = c->reader.task.lua->worker->run;
    struct lb_sorter_config config = {
        .n_partitions = 1,
        .n_ranges = 1,
        .writer_bytes = 2 * c->limit_bytes, /* more than is ever held: only a full budget spills */
        .merge_bytes = c->limit_bytes,
        .n_workers = 1,
        .spill = run->spill,
        .budget = run->budget,
        .stop = &run->stop,
    };
    LB_TRY(lb_sorter_new(&config, &c->sorter, err));
    return lb_sort_writer_new(c->sorter, &c->writer, err);
}

static lb_status hold(struct combiner *c, const struct lb_batch *batch, uint32_t row,
                      struct lb_error *err)
{
    const struct lb_column *key = &batch->columns[0];
    c->key.size = 0;
    c->payload.size = 0;
    LB_TRY(lb_key_put_column(&c->key, key, row, false, err));
    if (c->key.data[0] == LB_KEY_STRING)
        LB_TRY(lb_buf_append_byte(&c->payload, 'K', err));
    else
        LB_TRY(lb_codec_put_column(&c->payload, key, row, err));
    for (uint32_t i = 1; i < batch->n_columns; i++)
        LB_TRY(lb_codec_put_column(&c->payload, &batch->columns[i], row, err));
    if (c->key.size > UINT32_MAX || c->payload.size > UINT32_MAX)
        return lb_error_set(err, LB_ERR_RESOURCE, "%s: a record of more than 4 GiB",
                            c->reader.task.label);
    uint32_t key_size = (uint32_t)c->key.size;
    uint32_t payload_size = (uint32_t)c->payload.size;
    struct lb_sort_row *out = NULL;
    LB_TRY(
        lb_sort_writer_add(c->writer, 0, c->n_held, key_size, key_size, payload_size, &out, err));
    memcpy(out->bytes, c->key.data, key_size);
    memcpy(out->bytes + key_size, c->payload.data, payload_size);
    c->n_held++;
    c->held_bytes += ROW_BYTES + key_size + payload_size;
    return LB_OK;
}

/* Combines what is held and pushes the outcome. */
static lb_status combine_held(struct combiner *c, struct lb_error *err)
{
    if (c->n_held == 0)
        return LB_OK;
    uint64_t n_before = c->reader.task.emitter.n_records;
    struct lb_sort_writer *writer = c->writer;
    c->writer = NULL;
    LB_TRY(lb_sort_writer_finish(writer, err));
    LB_TRY(lb_sorter_prepare(c->sorter, err));
    struct lb_sort_cursor *cursor = NULL;
    LB_TRY(lb_sort_cursor_new(c->sorter, 0, &cursor, err)); /* one partition, one range */
    LB_TRY(read_rows(&c->reader, cursor, err));
    uint64_t n_left = c->reader.task.emitter.n_records - n_before;
    if (c->n_held >= LEAST_TO_JUDGE && n_left * 10 > c->n_held * 7)
        c->passes = true;
    drop_held(c);
    return LB_OK;
}

static lb_status combine_push(struct lb_op_local *local, const struct lb_batch *batch,
                              struct lb_error *err)
{
    struct combiner *c = local->state;
    if (c->passes)
        return lb_push(c->next, batch, err);
    if (c->sorter == NULL)
        LB_TRY(open_sorter(c, err));
    for (uint32_t i = 0; i < batch->n_selected; i++)
        LB_TRY(hold(c, batch, lb_batch_row(batch, i), err));
    return c->held_bytes >= c->limit_bytes ? combine_held(c, err) : LB_OK;
}

static lb_status combine_end(struct lb_op_local *local, struct lb_error *err)
{
    struct combiner *c = local->state;
    LB_TRY(combine_held(c, err));
    return lb_lua_task_finish(&c->reader.task, SLOT_FINAL, err);
}

const struct lb_op_class lb_lua_op_combine = {
    .name = "lua.combine",
    .kind = LB_OP_TRANSFORM,
    .attach = combine_attach,
    .begin = combine_begin,
    .push = combine_push,
    .end = combine_end,
    .detach = combine_detach,
};
