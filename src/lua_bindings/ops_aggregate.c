/* Aggregates whose states are Lua values: lua.reduce and lua.combine_by_key.
 *
 * IDEA    A Lua function folds values into states that lie in a Lua table, `states`; a table
 *         entry's state is the number of its slot there. When the function is known to mean what a
 *         kernel of the core does, entries start as the kernel's and no Lua runs at all. A value
 *         that is not a number turns its entry into a Lua state from then on. Entries that only
 *         ever see numbers never turn, so what becomes of them does not depend on what else is in
 *         their batch.
 * STATES  of an entry: state_kind 0: new; LUA_STATE: slot in `states`; else the kernel's.
 *         of the final merge: `running` is a partial as bytes until a second one comes; then a
 *         kernel's or a value in LB_SLOT_OWN.
 * FORMAT  of a partial: 'k' and the kernel's partial, or 'v' and the state as a codec value, or
 *         '-': on_error = "skip" has left no record; when that is so of all partials the result is
 *         nil.
 * ORDER   A Lua function may be associative without being commutative: partials are then kept in
 *         input order (is_ordered), unless the parameter `commutative` is true.
 * MEMORY  held_bytes says how much the Lua heap has grown since the states began (states.h). */

#include "core/algo/aggregate.h"
#include "core/base/sys.h"
#include "core/column/key.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/ops.h"
#include "lua_bindings/states.h"
#include "lua_bindings/task.h"

enum { LUA_STATE = 200 };

/* Slots. A reducer has one function; combine_by_key has all three. */
enum { SLOT_CREATE = LB_SLOT_FUNCTION, SLOT_STEP, SLOT_MERGE };
enum { SLOT_REDUCE = LB_SLOT_FUNCTION };

enum running { RUNNING_NOTHING, RUNNING_BYTES, RUNNING_KERNEL, RUNNING_LUA };

struct folder {
    struct lb_aggregate *aggregate;
    bool reduces; /* lua.reduce */
    bool is_ordered;
    struct lb_aggregate kernel; /* class NULL: none */
    /* Lua's side, made when first needed */
    bool has_task;
    struct lb_lua_task task;
    struct lb_lua_states states;
    /* update, for the body */
    const struct lb_batch *batch;
    struct lb_group_entry **found;
    uint32_t next; /* of the selected rows, the first that is not folded yet */
    uint32_t end;  /* up to here the body folds */
    /* rows of a batch that go to the kernel one after another; made when a batch is mixed */
    struct lb_group_entry **kernel_found;
    uint32_t *kernel_select;
    /* final merge */
    enum running running;
    struct lb_buf partial; /* RUNNING_BYTES: it */
    const char *incoming;  /* for the body: another partial */
    size_t incoming_size;
    struct lb_buf scratch;
    struct lb_buf key; /* of the group, encoded, for messages */
};

/* Opening and closing */

static lb_status open_kernel(struct folder *f, struct lb_error *err)
{
    struct lb_value name;
    char text[32] = "";
    if (!lb_value_field(&f->aggregate->params, "kernel", &name))
        return LB_OK;
    if (name.tag == 's' && name.size < sizeof text)
        memcpy(text, name.data, name.size);
    f->kernel.class = lb_aggregate_find(text);
    if (f->kernel.class ==
        NULL) /* "last", say: known by its bytecode, but nothing in the core does it */
        return LB_OK;
    f->kernel.params = f->aggregate->params;
    f->kernel.worker = f->aggregate->worker;
    lb_status status = f->kernel.class->open(&f->kernel, err);
    if (status != LB_OK)
        f->kernel.class = NULL;
    return status;
}

static lb_status open_folder(struct lb_aggregate *self, bool reduces, struct lb_error *err)
{
    struct folder *f = lb_alloc_zero(sizeof *f);
    if (f == NULL)
        return lb_error_memory(err, self->class->name, sizeof *f);
    self->state = f;
    f->aggregate = self;
    f->reduces = reduces;
    if (reduces)
        LB_TRY(open_kernel(f, err));
    struct lb_value commutative;
    f->is_ordered =
        !lb_value_field(&self->params, "commutative", &commutative) || commutative.tag != 't';
    if (f->kernel.class != NULL)
        f->is_ordered =
            f->kernel.class->is_ordered != NULL && f->kernel.class->is_ordered(&f->kernel);
    return LB_OK;
}

static lb_status reduce_open(struct lb_aggregate *self, struct lb_error *err)
{
    return open_folder(self, true, err);
}

static lb_status combine_open(struct lb_aggregate *self, struct lb_error *err)
{
    return open_folder(self, false, err);
}

static void folder_close(struct lb_aggregate *self)
{
    struct folder *f = self->state;
    if (f == NULL)
        return;
    self->state = NULL;
    if (f->kernel.class != NULL)
        f->kernel.class->close(&f->kernel);
    if (f->has_task)
        lb_lua_task_fini(&f->task);
    lb_free(f->kernel_found, LB_BATCH_ROWS * sizeof *f->kernel_found);
    lb_free(f->kernel_select, LB_BATCH_ROWS * sizeof *f->kernel_select);
    lb_buf_fini(&f->partial);
    lb_buf_fini(&f->scratch);
    lb_buf_fini(&f->key);
    lb_free(f, sizeof *f);
}

static bool folder_is_ordered(const struct lb_aggregate *self)
{
    return ((const struct folder *)self->state)->is_ordered;
}

static lb_status ready_lua(struct folder *f, struct lb_error *err)
{
    static const struct lb_lua_functions reduce = {{"fn"}, 1};
    static const struct lb_lua_functions combine = {{"create", "merge_value", "merge_combiners"},
                                                    3};
    if (f->has_task)
        return LB_OK;
    const struct lb_value *params = &f->aggregate->params;
    struct lb_value field;
    char label[200] = "";
    if (!lb_value_field(params, "label", &field) || field.tag != 's')
        strcpy(label, f->reduces ? "reduce_by_key" : "combine_by_key");
    else
        memcpy(label, field.data, field.size < sizeof label ? field.size : sizeof label - 1);
    LB_TRY(lb_lua_task_init(&f->task, f->aggregate->worker, params, label,
                            f->reduces ? &reduce : &combine, NULL, err));
    f->has_task = true;
    return LB_OK;
}

/* States */

/* The entry becomes a Lua state: the value on top, which is popped. `states` is the table's
 * position. */
static void new_state(struct folder *f, lua_State *L, int states, struct lb_group_entry *entry)
{
    lua_rawseti(L, states, f->states.n + 1);
    entry->state_kind = LUA_STATE;
    entry->state = ++f->states.n;
}

/* The value of a kernel's partial, pushed. Uses the kernel's merge state. */
static void push_kernel_value(struct folder *f, lua_State *L, const char *partial, size_t size)
{
    struct lb_error *err = &f->task.emitter.err;
    uint32_t n_values = 0;
    lb_status status = f->kernel.class->load(&f->kernel, partial, size, err);
    size_t start = f->scratch.size;
    if (status == LB_OK)
        status = f->kernel.class->result(&f->kernel, &f->scratch, &n_values, err);
    if (status != LB_OK)
        lb_emitter_throw(&f->task.emitter, status);
    const char *cursor = f->scratch.data + start;
    lb_lua_push_next(L, &cursor);
}

static void turn_to_lua(struct folder *f, lua_State *L, int states, struct lb_group_entry *entry)
{
    f->scratch.size = 0;
    lb_status status = f->kernel.class->save(&f->kernel, entry, &f->scratch, &f->task.emitter.err);
    if (status != LB_OK)
        lb_emitter_throw(&f->task.emitter, status);
    push_kernel_value(f, L, f->scratch.data, f->scratch.size);
    new_state(f, L, states, entry);
}

/* The value of a record: its second column, or a list of all after the key when there are more. */
static void push_record_value(lua_State *L, const struct lb_batch *batch, uint32_t row)
{
    if (batch->n_columns == 2) {
        lb_lua_push_column(L, &batch->columns[1], row);
    } else if (batch->n_columns < 2) {
        lua_pushnil(L);
    } else {
        lua_createtable(L, (int)batch->n_columns - 1, 0);
        for (uint32_t i = 1; i < batch->n_columns; i++) {
            lb_lua_push_column(L, &batch->columns[i], row);
            lua_rawseti(L, -2, (lua_Integer)i);
        }
    }
}

/* Update */

static bool is_number(const struct lb_column *column, uint32_t row)
{
    if (!lb_column_is_valid(column, row))
        return false;
    if (column->type == LB_INT64 || column->type == LB_FLOAT64)
        return true;
    const struct lb_view *view = &column->views[row];
    return column->type == LB_ANY && (*lb_view_data(view) == 'i' || *lb_view_data(view) == 'd');
}

/* Whether the i-th selected row goes to the kernel. */
static bool is_kernels(const struct folder *f, uint32_t i)
{
    return f->kernel.class != NULL && f->batch->n_columns == 2 &&
           f->found[i]->state_kind != LUA_STATE &&
           is_number(&f->batch->columns[1], lb_batch_row(f->batch, i));
}

/* The body: folds rows next..end into Lua states. */
static int l_fold_rows(lua_State *L)
{
    struct folder *f = lua_touserdata(L, 1);
    struct lb_lua_task *task = &f->task;
    int step = f->reduces ? SLOT_REDUCE : SLOT_STEP;
    lb_lua_task_push(task, L, step);
    lb_lua_states_push(&f->states, task, L); /* 3 */
    for (; f->next < f->end; f->next++) {
        struct lb_group_entry *entry = f->found[f->next];
        uint32_t row = lb_batch_row(f->batch, f->next);
        task->place.row = row;
        if (entry->state_kind == 0) {
            if (f->reduces) {
                push_record_value(L, f->batch, row);
            } else {
                lb_lua_task_push(task, L, SLOT_CREATE);
                push_record_value(L, f->batch, row);
                if (!lb_lua_task_call(task, L, 1, 1))
                    continue;
            }
            new_state(f, L, 3, entry);
            continue;
        }
        if (entry->state_kind != LUA_STATE)
            turn_to_lua(f, L, 3, entry);
        lua_pushvalue(L, 2);
        lua_rawgeti(L, 3, entry->state);
        push_record_value(L, f->batch, row);
        if (lb_lua_task_call(task, L, 2, 1))
            lua_rawseti(L, 3, entry->state);
    }
    return 0;
}

static lb_status update_kernel(struct folder *f, uint32_t end, struct lb_error *err)
{
    if (f->kernel_found == NULL) {
        f->kernel_found = lb_alloc(LB_BATCH_ROWS * sizeof *f->kernel_found);
        f->kernel_select = lb_alloc(LB_BATCH_ROWS * sizeof *f->kernel_select);
        if (f->kernel_found == NULL || f->kernel_select == NULL)
            return lb_error_memory(err, "an aggregate", LB_BATCH_ROWS * sizeof *f->kernel_found);
    }
    struct lb_batch part = *f->batch;
    part.n_selected = 0;
    part.select = f->kernel_select;
    for (; f->next < end; f->next++) {
        f->kernel_found[part.n_selected] = f->found[f->next];
        f->kernel_select[part.n_selected++] = lb_batch_row(f->batch, f->next);
    }
    return f->kernel.class->update(&f->kernel, f->kernel_found, &part, err);
}

/* Folds row after row: stretches that are the kernel's and stretches that are Lua's. */
static lb_status update_mixed(struct folder *f, struct lb_error *err)
{
    uint32_t n = f->batch->n_selected;
    while (f->next < n) {
        bool kernels = is_kernels(f, f->next);
        uint32_t end = f->next + 1;
        /* Rows of Lua's may turn entries: what comes after them is judged when they have run. */
        while (end < n && is_kernels(f, end) == kernels)
            end++;
        if (kernels) {
            LB_TRY(update_kernel(f, end, err));
            continue;
        }
        LB_TRY(ready_lua(f, err));
        f->end = end;
        f->task.place.batch = f->batch;
        f->task.place.key = NULL;
        LB_TRY(lb_lua_task_run(&f->task, l_fold_rows, f, err));
    }
    return LB_OK;
}

static lb_status folder_update(struct lb_aggregate *self, struct lb_group_entry **found,
                               const struct lb_batch *batch, struct lb_error *err)
{
    struct folder *f = self->state;
    f->batch = batch;
    f->found = found;
    f->next = 0;
    if (f->kernel.class != NULL && f->states.n == 0 && batch->n_columns == 2) {
        const struct lb_column *values = &batch->columns[1];
        bool numbers = values->type == LB_INT64 || values->type == LB_FLOAT64;
        if (numbers && values->valid == NULL)
            return f->kernel.class->update(&f->kernel, found, batch, err);
    }
    return update_mixed(f, err);
}

static lb_status folder_save(struct lb_aggregate *self, const struct lb_group_entry *entry,
                             struct lb_buf *out, struct lb_error *err)
{
    struct folder *f = self->state;
    if (entry->state_kind != LUA_STATE && f->kernel.class != NULL && entry->state_kind != 0) {
        LB_TRY(lb_buf_append_byte(out, 'k', err));
        return f->kernel.class->save(&f->kernel, entry, out, err);
    }
    LB_TRY(lb_buf_append_byte(out, entry->state_kind == 0 ? '-' : 'v', err));
    if (entry->state_kind == 0)
        return LB_OK;
    lua_State *L = f->task.lua->L;
    if (!lua_checkstack(L, 4))
        return lb_error_memory(err, "the Lua stack", 0);
    lb_lua_task_push(&f->task, L, LB_SLOT_STATES);
    lua_rawgeti(L, -1, entry->state);
    lb_status status = lb_lua_encode(L, -1, "state", out, err);
    lua_pop(L, 2);
    if (status == LB_ERR_USER)
        lb_error_prefix(err, "%s: ", f->task.label);
    return status;
}

static void folder_reset(struct lb_aggregate *self)
{
    struct folder *f = self->state;
    if (f->kernel.class != NULL)
        f->kernel.class->reset(&f->kernel);
    lb_lua_states_reset(&f->states, &f->task);
}

static size_t folder_held_bytes(const struct lb_aggregate *self)
{
    struct folder *f = self->state;
    size_t held = f->kernel.class != NULL ? f->kernel.class->held_bytes(&f->kernel) : 0;
    return held + lb_lua_states_bytes(&f->states, &f->task);
}

/* Final merge */

static lb_status folder_load(struct lb_aggregate *self, const char *partial, size_t size,
                             struct lb_error *err)
{
    struct folder *f = self->state;
    f->running = RUNNING_NOTHING;
    if (*partial == '-')
        return LB_OK;
    if (*partial == 'k') {
        f->running = RUNNING_KERNEL;
        return f->kernel.class->load(&f->kernel, partial + 1, size - 1, err);
    }
    f->running = RUNNING_BYTES;
    f->partial.size = 0;
    return lb_buf_append(&f->partial, partial + 1, size - 1, err);
}

/* The running value, and forgets it; the result goes to LB_SLOT_OWN. */
static int l_merge(lua_State *L)
{
    struct folder *f = lua_touserdata(L, 1);
    struct lb_lua_task *task = &f->task;
    lb_lua_task_push(task, L, f->reduces ? SLOT_REDUCE : SLOT_MERGE);
    if (f->running == RUNNING_LUA) {
        lb_lua_task_push(task, L, LB_SLOT_OWN);
    } else if (f->running == RUNNING_BYTES) {
        lb_lua_push_encoded(L, f->partial.data, f->partial.size);
    } else {
        uint32_t n_values = 0;
        f->scratch.size = 0;
        lb_status status =
            f->kernel.class->result(&f->kernel, &f->scratch, &n_values, &task->emitter.err);
        if (status != LB_OK)
            lb_emitter_throw(&task->emitter, status);
        lb_lua_push_encoded(L, f->scratch.data, f->scratch.size);
    }
    f->scratch.size = 0;
    if (*f->incoming == 'k')
        push_kernel_value(f, L, f->incoming + 1, f->incoming_size - 1);
    else
        lb_lua_push_encoded(L, f->incoming + 1, f->incoming_size - 1);
    lb_lua_task_call_strictly(task, L, 2, 1);
    lb_lua_task_set(task, L, LB_SLOT_OWN);
    f->running = RUNNING_LUA;
    return 0;
}

static lb_status folder_merge(struct lb_aggregate *self, const char *partial, size_t size,
                              struct lb_error *err)
{
    struct folder *f = self->state;
    if (*partial == '-')
        return LB_OK;
    if (f->running == RUNNING_NOTHING)
        return folder_load(self, partial, size, err);
    if (f->running == RUNNING_KERNEL && *partial == 'k')
        return f->kernel.class->merge(&f->kernel, partial + 1, size - 1, err);
    LB_TRY(ready_lua(f, err));
    f->incoming = partial;
    f->incoming_size = size;
    f->task.place.batch = NULL;
    f->key.size = 0;
    if (self->group != NULL)
        LB_TRY(lb_key_decode(self->group->data, self->group->size, false, &f->key, err));
    f->task.place.key = f->key.size > 0 ? f->key.data : NULL;
    f->task.place.key_size = f->key.size;
    return lb_lua_task_run(&f->task, l_merge, f, err);
}

static lb_status folder_result(struct lb_aggregate *self, struct lb_buf *out, uint32_t *n_values,
                               struct lb_error *err)
{
    struct folder *f = self->state;
    if (f->running == RUNNING_KERNEL)
        return f->kernel.class->result(&f->kernel, out, n_values, err);
    *n_values = 1;
    if (f->running == RUNNING_NOTHING)
        return lb_codec_put_nil(out, err);
    if (f->running == RUNNING_BYTES)
        return lb_buf_append(out, f->partial.data, f->partial.size, err);
    lua_State *L = f->task.lua->L;
    if (!lua_checkstack(L, 4))
        return lb_error_memory(err, "the Lua stack", 0);
    lb_lua_task_push(&f->task, L, LB_SLOT_OWN);
    lb_status status = lb_lua_encode(L, -1, "value", out, err);
    lua_pop(L, 1);
    if (status == LB_ERR_USER)
        lb_error_prefix(err, "%s: ", f->task.label);
    return status;
}

static lb_status folder_save_merged(struct lb_aggregate *self, struct lb_buf *out,
                                    struct lb_error *err)
{
    struct folder *f = self->state;
    uint32_t n_values = 0;
    if (f->running == RUNNING_NOTHING)
        return lb_buf_append_byte(out, '-', err);
    LB_TRY(lb_buf_append_byte(out, f->running == RUNNING_KERNEL ? 'k' : 'v', err));
    if (f->running == RUNNING_KERNEL)
        return f->kernel.class->save_merged(&f->kernel, out, err);
    return folder_result(self, out, &n_values, err);
}

const struct lb_aggregate_class lb_lua_aggregate_reduce = {
    .name = "lua.reduce",
    .open = reduce_open,
    .close = folder_close,
    .update = folder_update,
    .save = folder_save,
    .reset = folder_reset,
    .held_bytes = folder_held_bytes,
    .load = folder_load,
    .merge = folder_merge,
    .result = folder_result,
    .save_merged = folder_save_merged,
    .is_ordered = folder_is_ordered,
};

const struct lb_aggregate_class lb_lua_aggregate_combine_by_key = {
    .name = "lua.combine_by_key",
    .open = combine_open,
    .close = folder_close,
    .update = folder_update,
    .save = folder_save,
    .reset = folder_reset,
    .held_bytes = folder_held_bytes,
    .load = folder_load,
    .merge = folder_merge,
    .result = folder_result,
    .save_merged = folder_save_merged,
    .is_ordered = folder_is_ordered,
};
