/* lua.compute: appends a column for each of several functions of a record.
 *
 * IDEA   The columns of the input go on as they are, nothing is copied; each new one has a builder of as many
 *        rows as the batch, nil in those that do not count. All functions that only read their row share the
 *        one table of row.h, which is filled once per record; any other gets a table of its own, since it may
 *        write to it or keep it.
 * ERRORS With on_error = "skip" a record is left out when one of its functions fails; what the functions before
 *        it had given stays unseen in rows that are not selected. */

#include "core/base/sys.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/ops.h"
#include "lua_bindings/ship.h"
#include "lua_bindings/task.h"

struct computed {
    bool reads_only; /* gets the shared row */
    char *name;      /* of the column, for messages; NULL: not known */
    struct lb_builder values;
};

struct compute {
    struct lb_lua_task task; /* its slots from LB_SLOT_FUNCTION on are the functions */
    const struct lb_batch *batch;
    bool has_readers; /* some function gets the shared row */
    uint32_t n_computed;
    struct computed *computed;
    struct lb_column *columns; /* LB_MAX_COLUMNS */
    uint32_t *select;          /* rows of batch that go on */
    uint32_t select_capacity;
    uint32_t n_selected;
};

static int l_compute_load(lua_State *L)
{
    struct compute *c = lua_touserdata(L, 1);
    const struct lb_value *list = lua_touserdata(L, 2);
    struct lb_error *err = &c->task.emitter.err;
    const char *cursor = list->data;
    for (uint32_t i = 0; i < c->n_computed; i++) {
        struct lb_value bytes;
        lb_codec_next(&cursor, &bytes);
        lb_status status = bytes.tag == 's'
                               ? lb_lua_unship(L, bytes.data, bytes.size, err)
                               : lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: function %u is none",
                                              c->task.label, (unsigned)i + 1);
        if (status != LB_OK)
            lb_emitter_throw(&c->task.emitter, status);
        if (lb_lua_row_is_on(&c->task.row)) {
            c->computed[i].reads_only = lb_lua_row_add_reader(&c->task.row, L, 3, 1);
            c->has_readers = c->has_readers || c->computed[i].reads_only;
        }
        lb_lua_task_set(&c->task, L, LB_SLOT_FUNCTION + (int)i);
    }
    return 0;
}

static lb_status load(struct compute *c, struct lb_value *list, struct lb_error *err)
{
    lua_State *L = c->task.lua->L;
    if (!lua_checkstack(L, 4))
        return lb_error_memory(err, "the Lua stack", 0);
    lua_pushcfunction(L, l_compute_load);
    lua_pushlightuserdata(L, c);
    lua_pushlightuserdata(L, list);
    return lb_lua_call(c->task.lua, 2, 0, &c->task.place, err);
}

static lb_status take_columns(struct compute *c, const struct lb_op *op, struct lb_value *list,
                              struct lb_error *err)
{
    struct lb_value names, name;
    if (!lb_value_field(&op->params, "fns", list) || list->tag != 'l' || list->count == 0 ||
        list->count >= LB_MAX_COLUMNS)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: fns is no list of functions",
                            op->label);
    c->computed = lb_alloc_zero(list->count * sizeof *c->computed);
    c->columns = lb_alloc(LB_MAX_COLUMNS * sizeof *c->columns);
    if (c->computed == NULL || c->columns == NULL) {
        lb_free(c->computed, list->count * sizeof *c->computed);
        c->computed = NULL;
        return lb_error_memory(err, op->label, LB_MAX_COLUMNS * sizeof *c->columns);
    }
    c->n_computed = list->count;
    bool has_names = lb_value_field(&op->params, "as", &names) && names.tag == 'l';
    const char *cursor = has_names ? names.data : NULL;
    for (uint32_t i = 0; i < c->n_computed; i++) {
        lb_builder_init(&c->computed[i].values);
        if (!has_names || i >= names.count)
            continue;
        lb_codec_next(&cursor, &name);
        if (name.tag != 's' || memchr(name.data, 0, name.size) != NULL)
            continue;
        c->computed[i].name = lb_alloc_zero(name.size + 1);
        if (c->computed[i].name == NULL)
            return lb_error_memory(err, op->label, name.size + 1);
        memcpy(c->computed[i].name, name.data, name.size);
    }
    return LB_OK;
}

static lb_status attach(struct lb_op_local *local, struct lb_error *err)
{
    static const struct lb_lua_functions none = {{NULL}, 0};
    struct lb_op *op = local->op;
    struct compute *c = lb_alloc_zero(sizeof *c);
    if (c == NULL)
        return lb_error_memory(err, op->label, sizeof *c);
    local->state = c;
    struct lb_value list;
    LB_TRY(take_columns(c, op, &list, err));
    LB_TRY(
        lb_lua_task_init(&c->task, local->worker, &op->params, op->label, &none, local->next, err));
    LB_TRY(lb_lua_task_take_rows(&c->task, &op->params, 0, 0, err));
    return load(c, &list, err);
}

static void detach(struct lb_op_local *local)
{
    struct compute *c = local->state;
    lb_lua_task_fini(&c->task);
    for (uint32_t i = 0; i < c->n_computed; i++) {
        lb_builder_fini(&c->computed[i].values);
        if (c->computed[i].name != NULL)
            lb_strfree(c->computed[i].name);
    }
    lb_free(c->computed, c->n_computed * sizeof *c->computed);
    lb_free(c->columns, LB_MAX_COLUMNS * sizeof *c->columns);
    lb_free(c->select, c->select_capacity * sizeof *c->select);
    lb_free(c, sizeof *c);
}

static lb_status begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    struct compute *c = local->state;
    lb_emitter_reset(&c->task.emitter);
    return LB_OK;
}

/* Appends the value on top for this row, after nil for the rows before it that have none. False: it is
 * refused, and the record skipped. */
static bool append_value(struct compute *c, lua_State *L, uint32_t i, uint32_t row)
{
    struct computed *computed = &c->computed[i];
    struct lb_error *err = &c->task.emitter.err;
    lb_status status = LB_OK;
    while (status == LB_OK && computed->values.n_rows < row)
        status = lb_builder_null(&computed->values, err);
    if (status == LB_OK)
        status = lb_lua_append(L, -1, computed->name != NULL ? computed->name : "value",
                               &computed->values, err);
    if (status == LB_OK)
        return true;
    if (status != LB_ERR_USER)
        lb_emitter_throw(&c->task.emitter, status);
    lb_lua_task_refuse(&c->task, L, LB_SLOT_FUNCTION + (int)i);
    return false;
}

/* Calls the functions for a row; the functions are at stack positions from 2 on, one by one, and the shared row,
 * if some function gets it, lies behind them. */
static bool compute_row(struct compute *c, lua_State *L, uint32_t row)
{
    struct lb_lua_row *named = &c->task.row;
    int top = (int)c->n_computed + 1;
    lua_settop(L, top);
    if (c->has_readers) {
        lb_lua_row_fill(named, L, c->batch, row);
        top++;
    }
    for (uint32_t i = 0; i < c->n_computed; i++) {
        int n_args = 1;
        lua_pushvalue(L, 2 + (int)i);
        if (!lb_lua_row_is_on(named))
            n_args = lb_lua_push_record(L, c->batch, 0, row);
        else if (c->computed[i].reads_only)
            lua_pushvalue(L, top);
        else
            lb_lua_row_push_table(named, L, c->batch, row);
        if (!lb_lua_task_call(&c->task, L, n_args, 1))
            return false;
        bool is_good = append_value(c, L, i, row);
        lua_settop(L, top);
        if (!is_good)
            return false;
    }
    return true;
}

static int l_compute(lua_State *L)
{
    struct compute *c = lua_touserdata(L, 1);
    luaL_checkstack(L, (int)(c->n_computed + c->batch->n_columns) + LUA_MINSTACK, "a record");
    for (uint32_t i = 0; i < c->n_computed; i++)
        lb_lua_task_push(&c->task, L, LB_SLOT_FUNCTION + (int)i);
    for (uint32_t i = 0; i < c->batch->n_selected; i++) {
        uint32_t row = lb_batch_row(c->batch, i);
        c->task.place.row = row;
        if (compute_row(c, L, row))
            c->select[c->n_selected++] = row;
    }
    return 0;
}

static lb_status ready(struct compute *c, const struct lb_batch *batch, struct lb_error *err)
{
    if (batch->n_columns + c->n_computed > LB_MAX_COLUMNS)
        return lb_error_set(err, LB_ERR_USER, "%s: a record of %u values (at most %d are possible)",
                            c->task.label, (unsigned)(batch->n_columns + c->n_computed),
                            LB_MAX_COLUMNS);
    if (batch->n_selected > c->select_capacity) {
        uint32_t capacity = batch->n_selected > LB_BATCH_ROWS ? batch->n_selected : LB_BATCH_ROWS;
        uint32_t *grown =
            lb_realloc(c->select, c->select_capacity * sizeof *grown, capacity * sizeof *grown);
        if (grown == NULL)
            return lb_error_memory(err, c->task.label, capacity * sizeof *grown);
        c->select = grown;
        c->select_capacity = capacity;
    }
    for (uint32_t i = 0; i < c->n_computed; i++)
        lb_builder_reset(&c->computed[i].values);
    c->n_selected = 0;
    c->batch = batch;
    c->task.place.batch = batch;
    return LB_OK;
}

static lb_status push(struct lb_op_local *local, const struct lb_batch *batch, struct lb_error *err)
{
    struct compute *c = local->state;
    LB_TRY(ready(c, batch, err));
    LB_TRY(lb_lua_task_run(&c->task, l_compute, c, err));
    memcpy(c->columns, batch->columns, batch->n_columns * sizeof *c->columns);
    for (uint32_t i = 0; i < c->n_computed; i++) {
        struct lb_builder *values = &c->computed[i].values;
        while (values->n_rows < batch->n_rows)
            LB_TRY(lb_builder_null(values, err));
        c->columns[batch->n_columns + i] = lb_builder_finish(values);
    }
    struct lb_batch wider = lb_batch_same_rows(batch, c->columns, batch->n_columns + c->n_computed);
    wider.n_selected = c->n_selected;
    wider.select = c->n_selected < batch->n_rows ? c->select : NULL;
    return lb_push(local->next, &wider, err);
}

const struct lb_op_class lb_lua_op_compute = {
    .name = "lua.compute",
    .kind = LB_OP_TRANSFORM,
    .attach = attach,
    .begin = begin,
    .push = push,
    .detach = detach,
};
