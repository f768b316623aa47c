/* The operators that call a Lua function for each record: map and its kin, filter,
 * key_by, partition.
 *
 * IDEA   All share one state and one push: a body (see task.h) runs over the batch; then what it
 *        made goes on. There are three ways to go on: records that were emitted (map...), the same
 *        batch with a selection (filter: it copies nothing), or the same columns with one
 *        more in front (key_by, partition). */

#include "core/base/sys.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/ops.h"
#include "lua_bindings/task.h"

struct caller {
    struct lb_lua_task task;
    const struct lb_batch *batch; /* being pushed */
    struct lb_lua_row out;        /* map with out_names: the names of the columns it makes */
    /* filter, key_by, partition */
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

/* For the operators whose function may get rows. */
static lb_status attach_rows(struct lb_op_local *local, struct lb_error *err)
{
    LB_TRY(attach(local, err));
    struct caller *c = local->state;
    return lb_lua_task_take_rows(&c->task, &local->op->params, LB_SLOT_FUNCTION, 1, err);
}

static void detach(struct lb_op_local *local)
{
    struct caller *c = local->state;
    lb_lua_row_fini(&c->out);
    lb_lua_task_fini(&c->task);
    lb_builder_fini(&c->keys);
    lb_free(c->columns, LB_MAX_COLUMNS * sizeof *c->columns);
    lb_free(c->select, c->select_capacity * sizeof *c->select);
    lb_free(c, sizeof *c);
}

static lb_status attach_map(struct lb_op_local *local, struct lb_error *err)
{
    LB_TRY(attach_rows(local, err));
    struct caller *c = local->state;
    return lb_lua_row_init(&c->out, c->task.lua, &local->op->params, "out_names", c->task.label,
                           err);
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

/* What the function gets of a record; with keeps_key all but the key. */
static int push_arguments(struct caller *c, lua_State *L, uint32_t row)
{
    if (!c->task.emitter.keeps_key)
        return lb_lua_task_push_record(&c->task, L, c->batch, row);
    int n_args = lb_lua_push_record(L, c->batch, 1, row);
    if (n_args > 0)
        return n_args;
    lua_pushnil(L); /* a key without a value */
    return 1;
}

/* The message about a field of the table at position 3 that is none of the columns. */
static void tell_field(struct caller *c, lua_State *L)
{
    struct lb_error *err = &c->task.emitter.err;
    lua_pushnil(L);
    while (lua_next(L, 3) != 0) {
        lua_pop(L, 1);
        bool is_known = false;
        for (uint32_t i = 0; i < c->out.n_columns && !is_known; i++) {
            lua_rawgeti(L, LUA_REGISTRYINDEX, c->out.columns[i].name);
            is_known = lua_rawequal(L, -1, -2);
            lua_pop(L, 1);
        }
        if (is_known)
            continue;
        if (lua_type(L, -1) == LUA_TSTRING)
            lb_error_set(err, LB_ERR_USER, "a row with the field '%s', which is no column of it",
                         lua_tostring(L, -1));
        else
            lb_error_set(err, LB_ERR_USER, "a row with a %s as a key (only names are possible)",
                         luaL_typename(L, -1));
        return;
    }
}

/* The row that map returned, from position 3 on, becomes a record with the columns of c->out. */
static bool add_fields(struct caller *c, lua_State *L)
{
    if (lua_gettop(L) != 3 || lua_type(L, 3) != LUA_TTABLE) {
        lb_error_set(&c->task.emitter.err, LB_ERR_USER, "%s (one row was expected)",
                     lua_gettop(L) == 3 ? luaL_typename(L, 3) : "not one value");
        return false;
    }
    int n = (int)c->out.n_columns;
    int n_fields = 0;
    luaL_checkstack(L, n + LUA_MINSTACK, "a record");
    lua_pushnil(L);
    while (lua_next(L, 3) != 0) {
        lua_pop(L, 1);
        n_fields++;
    }
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, c->out.columns[i].name);
        n_fields -= lua_rawget(L, 3) != LUA_TNIL;
    }
    if (n_fields == 0)
        return lb_emitter_add(&c->task.emitter, L, 4, n);
    tell_field(c, L);
    return false;
}

static int l_map(lua_State *L)
{
    struct caller *c = enter(L);
    struct lb_emitter *e = &c->task.emitter;
    for (uint32_t i = 0; i < c->batch->n_selected; i++) {
        uint32_t row = move_to(c, i);
        lua_pushvalue(L, 2);
        int n_args = push_arguments(c, L, row);
        if (!lb_lua_task_call(&c->task, L, n_args, LUA_MULTRET))
            continue;
        if (lb_lua_row_is_on(&c->out) ? !add_fields(c, L)
                                      : !lb_emitter_add(e, L, 3, lua_gettop(L) - 2))
            lb_lua_task_refuse(&c->task, L, LB_SLOT_FUNCTION);
        lua_settop(L, 2);
    }
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

static int l_flat_map(lua_State *L)
{
    struct caller *c = enter(L);
    lb_lua_task_push(&c->task, L, LB_SLOT_EMIT);
    for (uint32_t i = 0; i < c->batch->n_selected; i++) {
        uint32_t row = move_to(c, i);
        lua_pushvalue(L, 2);
        int n_args = push_arguments(c, L, row);
        lua_pushvalue(L, 3);
        if (lb_lua_task_call(&c->task, L, n_args + 1, 1) && !lua_isnil(L, 4))
            emit_list(c, L);
        lua_settop(L, 3);
    }
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

/* filter */

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

/* Keeps the rows for which the function gives a true value. */
static int l_filter(lua_State *L)
{
    struct caller *c = enter(L);
    for (uint32_t i = 0; i < c->batch->n_selected; i++) {
        uint32_t row = move_to(c, i);
        lua_pushvalue(L, 2);
        int n_args = lb_lua_task_push_record(&c->task, L, c->batch, row);
        if (lb_lua_task_call(&c->task, L, n_args, 1)) {
            c->select[c->n_selected] = row;
            c->n_selected += lua_toboolean(L, 3) != 0;
            lua_settop(L, 2);
        }
    }
    return 0;
}

static lb_status push_filter(struct lb_op_local *local, const struct lb_batch *batch,
                             struct lb_error *err)
{
    struct caller *c = local->state;
    LB_TRY(ready_select(c, batch, err));
    LB_TRY(run(c, batch, l_filter, err));
    struct lb_batch kept = *batch;
    if (c->n_selected < batch->n_selected) {
        kept.select = c->select;
        kept.n_selected = c->n_selected;
    }
    return lb_push(local->next, &kept, err);
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
        int n_args = lb_lua_task_push_record(&c->task, L, c->batch, row);
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
        if (lb_lua_row_is_on(&c->task.row))
            lb_lua_row_push(&c->task.row, L, c->batch, row);
        else
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

const struct lb_op_class lb_lua_op_map = CALLER("lua.map", attach_map, push_map);
const struct lb_op_class lb_lua_op_flat_map = CALLER("lua.flat_map", attach_rows, push_flat_map);
const struct lb_op_class lb_lua_op_filter = CALLER("lua.filter", attach_rows, push_filter);
const struct lb_op_class lb_lua_op_map_values = CALLER("lua.map_values", attach_values, push_map);
const struct lb_op_class lb_lua_op_flat_map_values =
    CALLER("lua.flat_map_values", attach_values, push_flat_map);
const struct lb_op_class lb_lua_op_key_by = CALLER("lua.key_by", attach_rows, push_key_by);
const struct lb_op_class lb_lua_op_partition = CALLER("lua.partition", attach_rows, push_partition);
