/* The operators that call a Lua function for each record: map and its kin, filter, foreach,
 * key_by, partition.
 *
 * IDEA   All share one state and one push: a body (see task.h) runs over the batch; then what it
 *        made goes on. There are three ways to go on: records that were emitted (map...), the same
 *        batch with a selection (filter, foreach: they copy nothing), or the same columns with one
 *        more in front (key_by, partition). */
#include <lauxlib.h>

#include "core/base/sys.h"
#include "lua_bindings/ops.h"
#include "lua_bindings/task.h"

struct caller {
    struct lb_lua_task task;
    const struct lb_batch *batch; /* being pushed */
    /* filter, foreach, key_by, partition */
    uint32_t *select; /* rows of batch that go on; LB_BATCH_ROWS, made when first needed */
    uint32_t select_capacity;
    uint32_t n_selected;
    /* key_by, partition */
    struct lb_builder keys;    /* the new column 0, with nil in rows that do not count */
    struct lb_column *columns; /* LB_MAX_COLUMNS */
    int64_t n_partitions;
};

static const struct lb_lua_functions functions = {{"fn"}, 1};

static lb_status attach(struct lb_op_local *local, struct lb_error *err)
{
    struct lb_op *op = local->op;
    struct caller *c = lb_alloc_zero(sizeof *c);
    if (c == NULL)
        return lb_error_memory(err, op->label, sizeof *c);
    local->state = c;
    lb_builder_init(&c->keys);
    LB_TRY(lb_param_int(op, "n", 1, &c->n_partitions, err));
    return lb_lua_task_init(&c->task, local->worker, &op->params, op->label, &functions,
                            local->next, err);
}

static void detach(struct lb_op_local *local)
{
    struct caller *c = local->state;
    lb_lua_task_fini(&c->task);
    lb_builder_fini(&c->keys);
    lb_free(c->columns, LB_MAX_COLUMNS * sizeof *c->columns);
    lb_free(c->select, c->select_capacity * sizeof *c->select);
    lb_free(c, sizeof *c);
}

static lb_status begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    struct caller *c = local->state;
    lb_emitter_reset(&c->task.emitter);
    return LB_OK;
}

/* Runs the body over the batch. */
static lb_status run(struct caller *c, const struct lb_batch *batch, lua_CFunction body,
                     struct lb_error *err)
{
    c->batch = batch;
    c->task.place.batch = batch;
    c->task.emitter.parent = batch;
    return lb_lua_task_run(&c->task, body, c, err);
}

/* Moves to the i-th selected row, so that errors and emitted records know it. */
static inline uint32_t move_to(struct caller *c, uint32_t i)
{
    uint32_t row = lb_batch_row(c->batch, i);
    c->task.place.row = row;
    c->task.emitter.parent_row = row;
    return row;
}

/* Position 2 gets the function; the stack has room for a record. */
static struct caller *enter(lua_State *L)
{
    struct caller *c = lua_touserdata(L, 1);
    luaL_checkstack(L, (int)c->batch->n_columns + LUA_MINSTACK, "a record");
    lb_lua_task_push(&c->task, L, LB_SLOT_FUNCTION);
    return c;
}

/* map, map_values, flat_map, flat_map_values */

static lb_status push_emitted(struct lb_op_local *local, const struct lb_batch *batch,
                              lua_CFunction body, struct lb_error *err)
{
    struct caller *c = local->state;
    LB_TRY(run(c, batch, body, err));
    return lb_emitter_flush(&c->task.emitter, err);
}

static void map(lua_State *L, uint32_t first)
{
    struct caller *c = enter(L);
    struct lb_emitter *e = &c->task.emitter;
    for (uint32_t i = 0; i < c->batch->n_selected; i++) {
        uint32_t row = move_to(c, i);
        lua_pushvalue(L, 2);
        int n_args = lb_lua_push_record(L, c->batch, first, row);
        if (n_args == 0) { /* a key without a value */
            lua_pushnil(L);
            n_args = 1;
        }
        if (!lb_lua_task_call(&c->task, L, n_args, LUA_MULTRET))
            continue;
        if (!lb_emitter_add(e, L, 3, lua_gettop(L) - 2))
            lb_lua_task_refuse(&c->task, L, LB_SLOT_FUNCTION);
        lua_settop(L, 2);
    }
}

static int l_map(lua_State *L)
{
    map(L, 0);
    return 0;
}

static int l_map_values(lua_State *L)
{
    map(L, 1);
    return 0;
}

/* What a function of flat_map returned, at position 4: nil, or a list that is emitted element by
 * element. */
static void emit_list(struct caller *c, lua_State *L)
{
    struct lb_emitter *e = &c->task.emitter;
    if (lua_type(L, 4) != LUA_TTABLE) {
        lb_error_set(&e->err, LB_ERR_USER, "a %s (a list to be emitted, or nothing, was expected)",
                     luaL_typename(L, 4));
        lb_lua_task_refuse(&c->task, L, LB_SLOT_FUNCTION);
        return;
    }
    lua_Unsigned n = lua_rawlen(L, 4);
    lua_pushnil(L);
    if (n == 0 && lua_next(L, 4) != 0) {
        lb_error_set(&e->err, LB_ERR_USER, "a table that is no list (use emit to emit a map)");
        lb_lua_task_refuse(&c->task, L, LB_SLOT_FUNCTION);
        return;
    }
    lua_settop(L, 4);
    for (lua_Unsigned i = 1; i <= n; i++) {
        lua_rawgeti(L, 4, (lua_Integer)i);
        if (!lb_emitter_add(e, L, 5, 1)) {
            lb_lua_task_refuse(&c->task, L, LB_SLOT_FUNCTION);
            return;
        }
        lua_settop(L, 4);
    }
}

static void flat_map(lua_State *L, uint32_t first)
{
    struct caller *c = enter(L);
    lb_lua_task_push(&c->task, L, LB_SLOT_EMIT);
    for (uint32_t i = 0; i < c->batch->n_selected; i++) {
        uint32_t row = move_to(c, i);
        lua_pushvalue(L, 2);
        int n_args = lb_lua_push_record(L, c->batch, first, row);
        if (n_args == 0) {
            lua_pushnil(L);
            n_args = 1;
        }
        lua_pushvalue(L, 3);
        if (lb_lua_task_call(&c->task, L, n_args + 1, 1) && !lua_isnil(L, 4))
            emit_list(c, L);
        lua_settop(L, 3);
    }
}

static int l_flat_map(lua_State *L)
{
    flat_map(L, 0);
    return 0;
}

static int l_flat_map_values(lua_State *L)
{
    flat_map(L, 1);
    return 0;
}

static lb_status attach_values(struct lb_op_local *local, struct lb_error *err)
{
    LB_TRY(attach(local, err));
    struct caller *c = local->state;
    c->task.emitter.keeps_key = true;
    return LB_OK;
}

static lb_status push_map(struct lb_op_local *local, const struct lb_batch *batch,
                          struct lb_error *err)
{
    return push_emitted(local, batch, l_map, err);
}

static lb_status push_flat_map(struct lb_op_local *local, const struct lb_batch *batch,
                               struct lb_error *err)
{
    return push_emitted(local, batch, l_flat_map, err);
}

static lb_status push_map_values(struct lb_op_local *local, const struct lb_batch *batch,
                                 struct lb_error *err)
{
    return push_emitted(local, batch, l_map_values, err);
}

static lb_status push_flat_map_values(struct lb_op_local *local, const struct lb_batch *batch,
                                      struct lb_error *err)
{
    return push_emitted(local, batch, l_flat_map_values, err);
}

/* filter, foreach */

static lb_status ready_select(struct caller *c, const struct lb_batch *batch, struct lb_error *err)
{
    c->n_selected = 0;
    if (batch->n_selected <= c->select_capacity)
        return LB_OK;
    uint32_t capacity = batch->n_selected > LB_BATCH_ROWS ? batch->n_selected : LB_BATCH_ROWS;
    uint32_t *grown =
        lb_realloc(c->select, c->select_capacity * sizeof *grown, capacity * sizeof *grown);
    if (grown == NULL)
        return lb_error_memory(err, c->task.label, capacity * sizeof *grown);
    c->select = grown;
    c->select_capacity = capacity;
    return LB_OK;
}

/* Keeps the rows for which the function gives a true value; all of them when that does not matter.
 * */
static void filter(lua_State *L, bool any)
{
    struct caller *c = enter(L);
    for (uint32_t i = 0; i < c->batch->n_selected; i++) {
        uint32_t row = move_to(c, i);
        lua_pushvalue(L, 2);
        int n_args = lb_lua_push_record(L, c->batch, 0, row);
        if (lb_lua_task_call(&c->task, L, n_args, 1)) {
            c->select[c->n_selected] = row;
            c->n_selected += any || lua_toboolean(L, 3);
            lua_settop(L, 2);
        }
    }
}

static int l_filter(lua_State *L)
{
    filter(L, false);
    return 0;
}

static int l_foreach(lua_State *L)
{
    filter(L, true);
    return 0;
}

static lb_status push_selected(struct lb_op_local *local, const struct lb_batch *batch,
                               lua_CFunction body, struct lb_error *err)
{
    struct caller *c = local->state;
    LB_TRY(ready_select(c, batch, err));
    LB_TRY(run(c, batch, body, err));
    struct lb_batch kept = *batch;
    if (c->n_selected < batch->n_selected) {
        kept.select = c->select;
        kept.n_selected = c->n_selected;
    }
    return lb_push(local->next, &kept, err);
}

static lb_status push_filter(struct lb_op_local *local, const struct lb_batch *batch,
                             struct lb_error *err)
{
    return push_selected(local, batch, l_filter, err);
}

static lb_status push_foreach(struct lb_op_local *local, const struct lb_batch *batch,
                              struct lb_error *err)
{
    return push_selected(local, batch, l_foreach, err);
}

/* key_by, partition */

static void append_key(struct caller *c, lua_State *L, uint32_t row)
{
    struct lb_error *err = &c->task.emitter.err;
    lb_status status = LB_OK;
    while (status == LB_OK && c->keys.n_rows < row) /* rows that are not selected */
        status = lb_builder_null(&c->keys, err);
    if (status == LB_OK)
        status = lb_lua_append(L, 3, "key", &c->keys, err);
    if (status == LB_OK)
        c->select[c->n_selected++] = row;
    else if (status == LB_ERR_USER)
        lb_lua_task_refuse(&c->task, L, LB_SLOT_FUNCTION);
    else
        lb_emitter_throw(&c->task.emitter, status);
}

static int l_key_by(lua_State *L)
{
    struct caller *c = enter(L);
    for (uint32_t i = 0; i < c->batch->n_selected; i++) {
        uint32_t row = move_to(c, i);
        lua_pushvalue(L, 2);
        int n_args = lb_lua_push_record(L, c->batch, 0, row);
        if (lb_lua_task_call(&c->task, L, n_args, 1)) {
            append_key(c, L, row);
            lua_settop(L, 2);
        }
    }
    return 0;
}

static int l_partition(lua_State *L)
{
    struct caller *c = enter(L);
    for (uint32_t i = 0; i < c->batch->n_selected; i++) {
        uint32_t row = move_to(c, i);
        lua_pushvalue(L, 2);
        lb_lua_push_column(L, &c->batch->columns[0], row);
        lua_pushinteger(L, c->n_partitions);
        if (!lb_lua_task_call(&c->task, L, 2, 1))
            continue;
        int is_integer = 0;
        lua_Integer number = lua_tointegerx(L, 3, &is_integer);
        if (is_integer && lua_type(L, 3) == LUA_TNUMBER) {
            lua_pushinteger(L, number);
            lua_replace(L, 3);
            append_key(c, L, row);
        } else {
            lb_error_set(&c->task.emitter.err, LB_ERR_USER,
                         "a %s (the number of a partition, an integer, was expected)",
                         lua_type(L, 3) == LUA_TNUMBER ? "float" : luaL_typename(L, 3));
            lb_lua_task_refuse(&c->task, L, LB_SLOT_FUNCTION);
        }
        lua_settop(L, 2);
    }
    return 0;
}

static lb_status push_keyed(struct lb_op_local *local, const struct lb_batch *batch,
                            lua_CFunction body, struct lb_error *err)
{
    struct caller *c = local->state;
    if (batch->n_columns >= LB_MAX_COLUMNS)
        return lb_error_set(err, LB_ERR_USER,
                            "%s: a record has no room for a key: it has %d values", c->task.label,
                            LB_MAX_COLUMNS);
    if (c->columns == NULL)
        c->columns = lb_alloc(LB_MAX_COLUMNS * sizeof *c->columns);
    if (c->columns == NULL)
        return lb_error_memory(err, c->task.label, LB_MAX_COLUMNS * sizeof *c->columns);
    LB_TRY(ready_select(c, batch, err));
    lb_builder_reset(&c->keys);
    LB_TRY(run(c, batch, body, err));
    while (c->keys.n_rows < batch->n_rows)
        LB_TRY(lb_builder_null(&c->keys, err));
    c->columns[0] = lb_builder_finish(&c->keys);
    memcpy(c->columns + 1, batch->columns, batch->n_columns * sizeof *c->columns);
    struct lb_batch keyed = {
        .n_rows = batch->n_rows,
        .n_columns = batch->n_columns + 1,
        .n_selected = c->n_selected,
        .select = c->n_selected < batch->n_rows ? c->select : NULL,
        .columns = c->columns,
        .parent = batch,
    };
    return lb_push(local->next, &keyed, err);
}

static lb_status push_key_by(struct lb_op_local *local, const struct lb_batch *batch,
                             struct lb_error *err)
{
    return push_keyed(local, batch, l_key_by, err);
}

static lb_status push_partition(struct lb_op_local *local, const struct lb_batch *batch,
                                struct lb_error *err)
{
    return push_keyed(local, batch, l_partition, err);
}

#define CALLER(class_name, attach_function, push_function)                                      \
    {                                                                                           \
        .name = class_name, .kind = LB_OP_TRANSFORM, .attach = attach_function, .begin = begin, \
        .push = push_function, .detach = detach                                                 \
    }

const struct lb_op_class lb_lua_op_map = CALLER("lua.map", attach, push_map);
const struct lb_op_class lb_lua_op_flat_map = CALLER("lua.flat_map", attach, push_flat_map);
const struct lb_op_class lb_lua_op_filter = CALLER("lua.filter", attach, push_filter);
const struct lb_op_class lb_lua_op_foreach = CALLER("lua.foreach", attach, push_foreach);
const struct lb_op_class lb_lua_op_map_values =
    CALLER("lua.map_values", attach_values, push_map_values);
const struct lb_op_class lb_lua_op_flat_map_values =
    CALLER("lua.flat_map_values", attach_values, push_flat_map_values);
const struct lb_op_class lb_lua_op_key_by = CALLER("lua.key_by", attach, push_key_by);
const struct lb_op_class lb_lua_op_partition = CALLER("lua.partition", attach, push_partition);
