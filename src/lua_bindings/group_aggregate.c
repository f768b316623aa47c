/* The user's own aggregates, lb.aggregate{init, step, merge, finish}, as a function of the sink "group" (algo/group_state.h).
 *
 * PARAMETERS init, step, merge, finish? (shipped functions); columns? (list of 1-based numbers: step gets their values
 *         behind the state) or names? (list: step gets the row); commutative?; shares_heap? (another aggregate of the same
 *         group counts the Lua heap)
 * IDEA    A group's state is a Lua value in a table, by the number of its slot. In partials it is an encoded value.
 * ORDER   merge may be associative without being commutative, and a worker's morsels lie among those of others. So a
 *         worker's rows fall into runs, stretches of morsels that follow one another without a gap, and a state is of one
 *         segment: the rows of one group in one run. When a group goes on in another run its old state is set aside, encoded. The
 *         final merge brings segments into the order of their first rows, and merges them from the left. Where the rows
 *         are cut into segments depends on threads and memory, which an associative merge does not show. Segments of a group never
 *         lie between each other: the sink gives all its rows of a worker one slot (is_ordered).
 *         With `commutative` all rows of a worker are one run, and segments are merged as they come.
 * FORMAT  of a partial: uint32 number of segments, and for each the position of its first row, uint64, and the
 *         state as a codec value.
 * MEMORY  While rows come: as states.h tells, and what was set aside. In the final merge all segments of a group are
 *         there at once, reserved in the budget; with `commutative` a few.
 * STATES  A slot of zero bytes has no rows. merge, and a result of slot 0 itself, collect segments; `running` is
 *         the merged state of those before them. */
#include <stdlib.h>

#include "core/algo/group_state_private.h"
#include "core/base/sys.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/ops.h"
#include "lua_bindings/states.h"
#include "lua_bindings/task.h"

enum { SLOT_INIT = LB_SLOT_FUNCTION, SLOT_STEP, SLOT_MERGE, SLOT_FINISH };
enum { AHEAD = 8 }; /* rows whose slots are fetched into the cache meanwhile */

#ifdef LB_TINY
enum { FOLD_SEGMENTS = 2, KEEP_BYTES = 512, STEP_BYTES = 256 };
#else
enum { FOLD_SEGMENTS = 64, KEEP_BYTES = 1 << 20, STEP_BYTES = 64 << 10 };
#endif
enum { LEAST_BYTES = 1 << 20 }; /* without so much nothing can go on */

struct slot {
    uint64_t first; /* position of the first row of its segment */
    uint64_t run;   /* that the state in the table is of; 0: none */
    uint64_t older; /* where in `older` the one before is, + 1; 0: none */
};

struct segment {
    uint64_t first;
    size_t offset; /* of its state in `bytes` */
};

struct user_aggregate {
    struct lb_group_state *self;
    /* configuration */
    uint32_t columns[LB_MAX_COLUMNS]; /* 0-based */
    uint32_t n_columns;
    bool is_commutative;
    bool has_finish;
    bool shares_heap;
    /* Lua's side, made when first needed */
    bool has_task;
    struct lb_lua_task task;
    struct lb_lua_states states;
    /* update */
    uint64_t run;                     /* number of the current one; 0: none yet */
    uint64_t morsel;                  /* the last one seen */
    const struct lb_group_rows *rows; /* for the body */
    struct lb_buf older;              /* states set aside: each {struct slot of it, codec value} */
    /* final merge */
    struct segment *segments;
    size_t n_segments, segment_capacity;
    struct lb_buf bytes;
    bool is_running;
    size_t reserved_bytes;  /* in the budget, for segments and bytes */
    struct lb_builder *out; /* for the body; NULL: leave the merged state running */
};

/* ---- opening and closing ---- */

static lb_status wrong_param(const struct lb_group_state *self, const char *key,
                             struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_INTERNAL, "plan: aggregate lua: parameter '%s' is wrong (%s)",
                        key, self->label);
}

static bool is_true(const struct lb_value *params, const char *key)
{
    struct lb_value field;
    return lb_value_field(params, key, &field) && field.tag == 't';
}

static lb_status user_open(struct lb_group_state *self, struct lb_error *err)
{
    struct lb_value list, item;
    struct user_aggregate *u = self->extra = lb_alloc_zero(sizeof *u);
    if (u == NULL)
        return lb_error_memory(err, self->label, sizeof *u);
    u->self = self;
    u->is_commutative = is_true(&self->params, "commutative");
    u->shares_heap = is_true(&self->params, "shares_heap");
    u->has_finish = lb_value_field(&self->params, "finish", &item);
    if (!lb_value_field(&self->params, "columns", &list))
        return LB_OK;
    if (list.tag != 'l' || list.count > LB_MAX_COLUMNS)
        return wrong_param(self, "columns", err);
    const char *cursor = list.data;
    for (uint32_t i = 0; i < list.count; i++) {
        lb_codec_next(&cursor, &item);
        if (item.tag != 'i' || item.i < 1 || item.i > LB_MAX_COLUMNS)
            return wrong_param(self, "columns", err);
        u->columns[u->n_columns++] = (uint32_t)item.i - 1;
    }
    return LB_OK;
}

static void user_close(struct lb_group_state *self)
{
    struct user_aggregate *u = self->extra;
    self->extra = NULL;
    if (u->has_task)
        lb_lua_task_fini(&u->task);
    if (u->reserved_bytes > 0)
        lb_budget_release(self->worker->run->budget, u->reserved_bytes);
    lb_buf_fini(&u->older);
    lb_buf_fini(&u->bytes);
    lb_free(u->segments, u->segment_capacity * sizeof *u->segments);
    lb_free(u, sizeof *u);
}

static lb_status ready_lua(struct user_aggregate *u, struct lb_error *err)
{
    static const struct lb_lua_functions functions = {{"init", "step", "merge", "finish"}, 3};
    char label[sizeof u->self->label + 16];
    if (u->has_task)
        return LB_OK;
    if (u->self->worker == NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: aggregate lua without a worker");
    size_t size = strlen(u->self->label);
    memcpy(label, "aggregate ", 10);
    memcpy(label + 10, u->self->label, size + 1);
    LB_TRY(lb_lua_task_init(&u->task, u->self->worker, &u->self->params, label, &functions, NULL,
                            err));
    u->has_task = true;
    return lb_lua_task_take_rows(&u->task, &u->self->params, SLOT_STEP, 2, err);
}

/* ---- states ---- */

/* What the function in slot gave is no value, or nothing at all: says so. err has what is wrong, or NULL. */
static int refuse(struct user_aggregate *u, lua_State *L, int slot, const char *what,
                  const char *why)
{
    lua_Debug ar;
    lb_lua_task_push(&u->task, L, slot);
    lua_getinfo(L, ">S", &ar);
    if (strcmp(ar.what, "C") == 0)
        return luaL_error(L, "%s: %s", what, why);
    return luaL_error(L, "%s:%d: %s: %s", ar.short_src, ar.linedefined, what, why);
}

/* After a call with all results, those above `base`: leaves one at base + 1. A function that gives nothing has
 * changed the table that it got, which is at index `before`. */
static void one_result(struct user_aggregate *u, lua_State *L, int base, int before, int slot)
{
    if (lua_gettop(L) > base) {
        lua_settop(L, base + 1);
        return;
    }
    if (!lua_istable(L, before))
        refuse(u, L, slot, slot == SLOT_STEP ? "step" : "merge",
               "it returns no state (only a state that is a table may be changed in place)");
    lua_pushvalue(L, before);
}

/* Raises for a state at the top that cannot be encoded. */
static void throw_encoding(struct user_aggregate *u, lua_State *L, lb_status status, int slot)
{
    struct lb_error *err = &u->task.emitter.err;
    if (status != LB_ERR_USER)
        lb_emitter_throw(&u->task.emitter, status);
    refuse(u, L, slot, "what the function gave", err->message);
}

/* The state at the top, of a slot, goes to `older`. */
static void set_aside(struct user_aggregate *u, lua_State *L, struct slot *slot)
{
    struct lb_error *err = &u->task.emitter.err;
    uint64_t offset = u->older.size;
    lb_status status = lb_buf_append(&u->older, slot, sizeof *slot, err);
    if (status == LB_OK)
        status = lb_lua_encode(L, -1, "state", &u->older, err);
    if (status != LB_OK)
        throw_encoding(u, L, status, SLOT_STEP);
    slot->older = offset + 1;
}

/* The body of update. Stack: 2 step, 3 init, 4 states, 5 the state of the row's group. */
static int l_step_rows(lua_State *L)
{
    enum { STEP = 2, INIT, TABLE, STATE };
    struct user_aggregate *u = lua_touserdata(L, 1);
    struct lb_lua_task *task = &u->task;
    const struct lb_group_rows *rows = u->rows;
    const struct lb_batch *batch = rows->batch;
    bool takes_row = lb_lua_row_is_on(&task->row);
    luaL_checkstack(L, (int)u->n_columns + LUA_MINSTACK, "an aggregate");
    lb_lua_task_push(task, L, SLOT_STEP);
    lb_lua_task_push(task, L, SLOT_INIT);
    lb_lua_states_push(&u->states, task, L);
    u->states.n = (lua_Integer)u->self->n_slots;
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        struct slot *slot = lb_group_slot(u->self, rows->slots[i]);
        lua_Integer number = (lua_Integer)rows->slots[i] + 1;
        if (i + AHEAD < batch->n_selected)
            __builtin_prefetch(lb_group_slot(u->self, rows->slots[i + AHEAD]), 1);
        task->place.row = row;
        lua_settop(L, TABLE);
        if (slot->run == u->run) {
            lua_rawgeti(L, TABLE, number);
        } else {
            if (slot->run != 0) {
                lua_rawgeti(L, TABLE, number);
                set_aside(u, L, slot);
                lua_pop(L, 1);
            }
            lua_pushvalue(L, INIT);
            lb_lua_task_call_strictly(task, L, 0, 1);
            slot->first = rows->position + i;
            slot->run = u->run;
        }
        lua_pushvalue(L, STEP);
        lua_pushvalue(L, STATE);
        int n_args = 1;
        if (takes_row)
            n_args += lb_lua_task_push_record(task, L, batch, row);
        for (uint32_t j = 0; j < u->n_columns; j++, n_args++) {
            if (u->columns[j] < batch->n_columns)
                lb_lua_push_column(L, &batch->columns[u->columns[j]], row);
            else
                lua_pushnil(L);
        }
        lb_lua_task_call_strictly(task, L, n_args, LUA_MULTRET);
        one_result(u, L, STATE, STATE, SLOT_STEP);
        lua_rawseti(L, TABLE, number);
    }
    return 0;
}

static lb_status user_update(struct lb_group_state *self, const struct lb_group_rows *rows,
                             struct lb_error *err)
{
    struct user_aggregate *u = self->extra;
    uint64_t morsel = rows->position >> 40;
    LB_TRY(ready_lua(u, err));
    if (u->run == 0 || (!u->is_commutative && morsel != u->morsel && morsel != u->morsel + 1))
        u->run++;
    u->morsel = morsel;
    u->rows = rows;
    u->task.place.batch = rows->batch;
    lb_status status = lb_lua_task_run(&u->task, l_step_rows, u, err);
    u->task.place.batch = NULL;
    return status;
}

/* Appends the position and the state of a slot's segment in the table. */
static lb_status put_current(struct user_aggregate *u, size_t number, struct lb_buf *out,
                             struct lb_error *err)
{
    const struct slot *slot = lb_group_slot(u->self, number);
    lua_State *L = u->task.lua->L;
    LB_TRY(lb_buf_append(out, &slot->first, sizeof slot->first, err));
    if (!lua_checkstack(L, 4))
        return lb_error_memory(err, "the Lua stack", 0);
    lb_lua_task_push(&u->task, L, LB_SLOT_STATES);
    lua_rawgeti(L, -1, (lua_Integer)number + 1);
    lb_status status = lb_lua_encode(L, -1, "state", out, err);
    lua_pop(L, 2);
    if (status == LB_ERR_USER) {
        lua_Debug ar;
        lb_lua_task_push(&u->task, L, SLOT_STEP);
        lua_getinfo(L, ">S", &ar);
        lb_error_prefix(err, "%s: %s:%d: what step gave: ", u->task.label, ar.short_src,
                        ar.linedefined);
    }
    return status;
}

/* Appends the segments of a slot, as a partial has them, and counts them. */
static lb_status put_segments(struct user_aggregate *u, size_t number, struct lb_buf *out,
                              uint32_t *n, struct lb_error *err)
{
    const struct slot *slot = lb_group_slot(u->self, number);
    struct slot old = *slot;
    *n = 0;
    if (slot->run == 0)
        return LB_OK;
    LB_TRY(put_current(u, number, out, err));
    for (*n = 1; old.older > 0; ++*n) {
        const char *at = u->older.data + old.older - 1;
        memcpy(&old, at, sizeof old);
        at += sizeof old;
        LB_TRY(lb_buf_append(out, &old.first, sizeof old.first, err));
        LB_TRY(lb_buf_append(out, at, lb_codec_size(at), err));
    }
    return LB_OK;
}

static lb_status user_save(struct lb_group_state *self, size_t slot, struct lb_buf *out,
                           struct lb_error *err)
{
    size_t start = out->size;
    uint32_t n = 0;
    LB_TRY(lb_buf_append(out, &n, sizeof n, err));
    LB_TRY(put_segments(self->extra, slot, out, &n, err));
    memcpy(out->data + start, &n, sizeof n);
    return LB_OK;
}

/* ---- final merge ---- */

/* What segments hold is in the budget. */
static lb_status account(struct user_aggregate *u, struct lb_error *err)
{
    size_t held = u->bytes.capacity + u->segment_capacity * sizeof *u->segments;
    if (held <= u->reserved_bytes)
        return LB_OK;
    struct lb_budget *budget = u->self->worker->run->budget;
    size_t more = held - u->reserved_bytes + STEP_BYTES;
    if (u->reserved_bytes + more <= LEAST_BYTES)
        lb_budget_force(budget, more);
    else if (!lb_budget_reserve(budget, more))
        return lb_error_set(
            err, LB_ERR_RESOURCE,
            "aggregate %s: its states (%.1f MiB so far) do not fit in memory (see --memory)%s",
            u->self->label, (double)u->bytes.size / 1048576,
            u->is_commutative ? "" : ": with commutative = true they are merged as they come");
    u->reserved_bytes += more;
    return LB_OK;
}

/* Takes n segments from *cursor. */
static lb_status take_segments(struct user_aggregate *u, uint32_t n, const char **cursor,
                               const char *end, struct lb_error *err)
{
    if (u->n_segments + n > u->segment_capacity) {
        size_t capacity = u->segment_capacity > 0 ? u->segment_capacity : 8;
        while (capacity < u->n_segments + n)
            capacity *= 2;
        struct segment *grown =
            lb_realloc(u->segments, u->segment_capacity * sizeof *grown, capacity * sizeof *grown);
        if (grown == NULL)
            return lb_error_memory(err, "an aggregate", capacity * sizeof *grown);
        u->segments = grown;
        u->segment_capacity = capacity;
    }
    for (uint32_t i = 0; i < n; i++) {
        struct segment *segment = &u->segments[u->n_segments];
        LB_GROUP_LOAD(u->self, cursor, end, segment->first, err);
        segment->offset = u->bytes.size;
        size_t size = lb_codec_size(*cursor);
        LB_TRY(lb_buf_append(&u->bytes, *cursor, size, err));
        *cursor += size;
        u->n_segments++;
    }
    return account(u, err);
}

static int by_first(const void *a, const void *b)
{
    const struct segment *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

static void push_segment(const struct user_aggregate *u, lua_State *L, size_t i)
{
    const char *cursor = u->bytes.data + u->segments[i].offset;
    lb_lua_push_next(L, &cursor);
}

/* The body: merges the segments; then keeps the state, or finishes it and appends it to `out`. */
static int l_merge(lua_State *L)
{
    enum { STATE = 2 };
    struct user_aggregate *u = lua_touserdata(L, 1);
    struct lb_lua_task *task = &u->task;
    size_t next = 0;
    int last = SLOT_MERGE; /* who gave the result */
    if (u->is_running) {
        lb_lua_task_push(task, L, LB_SLOT_OWN);
    } else if (u->n_segments > 0) {
        push_segment(u, L, next++);
    } else { /* no rows at all */
        last = SLOT_INIT;
        lb_lua_task_push(task, L, SLOT_INIT);
        lb_lua_task_call_strictly(task, L, 0, 1);
    }
    for (; next < u->n_segments; next++) {
        lb_lua_task_push(task, L, SLOT_MERGE);
        lua_pushvalue(L, STATE);
        push_segment(u, L, next);
        lb_lua_task_call_strictly(task, L, 2, LUA_MULTRET);
        one_result(u, L, STATE, STATE, SLOT_MERGE);
        lua_replace(L, STATE);
    }
    if (u->out == NULL) {
        lb_lua_task_set(task, L, LB_SLOT_OWN);
        return 0;
    }
    if (u->has_finish) {
        last = SLOT_FINISH;
        lb_lua_task_push(task, L, SLOT_FINISH);
        lua_insert(L, STATE);
        lb_lua_task_call_strictly(task, L, 1, 1);
    }
    lb_status status = lb_lua_append(L, STATE, "value", u->out, &task->emitter.err);
    if (status != LB_OK)
        throw_encoding(u, L, status, last);
    return 0;
}

static lb_status user_merge(struct lb_group_state *self, const char **cursor, const char *end,
                            struct lb_error *err)
{
    struct user_aggregate *u = self->extra;
    uint32_t n;
    LB_GROUP_LOAD(self, cursor, end, n, err);
    LB_TRY(take_segments(u, n, cursor, end, err));
    if (!u->is_commutative || u->n_segments < FOLD_SEGMENTS)
        return LB_OK;
    LB_TRY(ready_lua(u, err));
    u->out = NULL;
    LB_TRY(lb_lua_task_run(&u->task, l_merge, u, err));
    u->is_running = true;
    u->n_segments = u->bytes.size = 0;
    return LB_OK;
}

static lb_status user_result(struct lb_group_state *self, struct lb_builder *out,
                             struct lb_error *err)
{
    struct user_aggregate *u = self->extra;
    const struct slot *slot = (const struct slot *)self->states;
    size_t n_before = u->n_segments, size_before = u->bytes.size;
    if (slot->run != 0) {
        struct lb_buf own = {0};
        uint32_t n = 0;
        lb_status status = put_segments(u, 0, &own, &n, err);
        const char *cursor = own.data;
        if (status == LB_OK)
            status = take_segments(u, n, &cursor, own.data + own.size, err);
        lb_buf_fini(&own);
        LB_TRY(status);
    }
    if (u->n_segments == 1 && !u->is_running && !u->has_finish) {
        const char *state = u->bytes.data + u->segments[0].offset;
        LB_TRY(lb_builder_encoded(out, state, lb_codec_size(state), err));
    } else {
        LB_TRY(ready_lua(u, err));
        if (u->n_segments > 1)
            qsort(u->segments, u->n_segments, sizeof *u->segments, by_first);
        u->out = out;
        LB_TRY(lb_lua_task_run(&u->task, l_merge, u, err));
    }
    if (slot->run != 0) {
        u->n_segments = n_before;
        u->bytes.size = size_before;
    }
    return LB_OK;
}

static void user_forget(struct lb_group_state *self)
{
    struct user_aggregate *u = self->extra;
    lb_lua_states_reset(&u->states, &u->task);
    u->is_running = false; /* what is in LB_SLOT_OWN stays until another comes */
    u->n_segments = u->bytes.size = u->older.size = 0;
    if (u->older.capacity > KEEP_BYTES)
        lb_buf_fini(&u->older);
    if (u->bytes.capacity > KEEP_BYTES)
        lb_buf_fini(&u->bytes);
    size_t held = u->bytes.capacity + u->segment_capacity * sizeof *u->segments;
    if (u->reserved_bytes > held + KEEP_BYTES) {
        lb_budget_release(self->worker->run->budget, u->reserved_bytes - held);
        u->reserved_bytes = held;
    }
}

static size_t user_bytes(const struct lb_group_state *self)
{
    struct user_aggregate *u = self->extra;
    return u->older.capacity + (u->shares_heap ? 0 : lb_lua_states_bytes(&u->states, &u->task));
}

static bool user_is_ordered(const struct lb_group_state *self)
{
    return !((const struct user_aggregate *)self->extra)->is_commutative;
}

const struct lb_group_state_class lb_lua_group_aggregate = {
    .name = "lua",
    .state_bytes = sizeof(struct slot),
    .open = user_open,
    .close = user_close,
    .update = user_update,
    .save = user_save,
    .merge = user_merge,
    .result = user_result,
    .is_ordered = user_is_ordered,
    .forget = user_forget,
    .extra_bytes = user_bytes,
};
