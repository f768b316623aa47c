/* lb.over(f): a Lua function of a row's frame, as a function of windows (algo/window.h).
 *
 * PARAMETERS f (shipped function), names: of all columns of the rows
 * IDEA    The function gets one userdata, the frame: #frame, frame[i] and, called as the iterator of a for loop, row after row. A row
 *         becomes a table when it is first looked at, and stays one until it has left the frame: so a frame of w rows costs
 *         one new table, not w. The tables are shared between frames.
 * AGAIN   The operator lua.frame calls the function for a list of rows, which are its frame: what replay.h makes of a call that failed.
 * ERRORS  With on_error a row for which a call fails gets no result (algo/window.h), and the failure is held until it is told.
 * LOOP    The iterator finds its place by the row that it gave last, so loops may be nested. */

#include "core/algo/window.h"
#include "core/base/sys.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/ops.h"
#include "lua_bindings/task.h"

enum { ROWS = 1, PLACES = 2 }; /* user values of the frame: rows by place, places by row */

struct over {
    struct lb_lua_task task;
    struct over **box; /* in the frame; holds NULL when we are gone */
    struct lb_window_fn *fn;
    bool is_open;                 /* the function runs */
    const struct lb_batch *batch; /* of lua.frame */
    const struct lb_window_rows *rows;
    const struct lb_window_part *part;
    uint64_t lo; /* the frame */
    uint64_t hi;
    uint64_t held; /* places before it have no table any more */
};

static struct over *check_frame(lua_State *L)
{
    struct over **box = luaL_checkudata(L, 1, "luabatch frame");
    if (*box == NULL || !(*box)->is_open)
        luaL_error(L, "a frame is gone once its function returned");
    return *box;
}

/* Pushes the table of the row at a place of the partition. */
static void push_row(lua_State *L, struct over *over, uint64_t place)
{
    lua_getiuservalue(L, 1, ROWS);
    if (lua_rawgeti(L, -1, (lua_Integer)place) == LUA_TNIL) {
        const struct lb_window_part *part = over->part;
        uint32_t row = part->first + (uint32_t)(place - part->before);
        lua_pop(L, 1);
        lb_lua_row_push_table(&over->task.row, L, &over->rows->batch, row);
        lua_pushvalue(L, -1);
        lua_rawseti(L, -3, (lua_Integer)place);
        lua_getiuservalue(L, 1, PLACES);
        lua_pushvalue(L, -2);
        lua_pushinteger(L, (lua_Integer)place);
        lua_rawset(L, -3);
        lua_pop(L, 1);
    }
    lua_remove(L, -2);
}

static int l_frame_len(lua_State *L)
{
    const struct over *over = check_frame(L);
    lua_pushinteger(L, (lua_Integer)(over->hi - over->lo));
    return 1;
}

static int l_frame_index(lua_State *L)
{
    struct over *over = check_frame(L);
    lua_Integer i = luaL_checkinteger(L, 2);
    if (i < 1 || (uint64_t)i > over->hi - over->lo)
        return 0;
    push_row(L, over, over->lo + (uint64_t)i - 1);
    return 1;
}

/* As the iterator of a for loop: frame(nil, the row before). */
static int l_frame_call(lua_State *L)
{
    struct over *over = check_frame(L);
    uint64_t place = over->lo;
    if (!lua_isnoneornil(L, 3)) {
        lua_getiuservalue(L, 1, PLACES);
        lua_pushvalue(L, 3);
        if (lua_rawget(L, -2) != LUA_TNUMBER)
            return luaL_error(L, "a frame goes on from one of its rows");
        place = (uint64_t)lua_tointeger(L, -1) + 1;
    }
    if (place >= over->hi)
        return 0;
    push_row(L, over, place);
    return 1;
}

static int l_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"__len", l_frame_len}, {"__index", l_frame_index}, {"__call", l_frame_call}, {NULL, NULL}};
    struct over *over = lua_touserdata(L, 1);
    struct over **box = lua_newuserdatauv(L, sizeof *box, 2);
    *box = over;
    if (luaL_newmetatable(L, "luabatch frame"))
        luaL_setfuncs(L, methods, 0);
    lua_setmetatable(L, -2);
    over->box = box;
    lb_lua_task_set(&over->task, L, LB_SLOT_OWN);
    return 0;
}

static lb_status over_open(struct lb_window_fn *fn, struct lb_worker *worker, struct lb_error *err)
{
    static const struct lb_lua_functions functions = {{"f"}, 1};
    struct over *over = fn->state = lb_alloc_zero(sizeof *over);
    if (over == NULL)
        return lb_error_memory(err, fn->label, sizeof *over);
    over->fn = fn;
    if (worker == NULL)
        return LB_OK;
    LB_TRY(lb_lua_task_init(&over->task, worker, &fn->params, fn->label, &functions, NULL, err));
    over->task.noted.keeping = LB_KEEP_FRAME;
    LB_TRY(lb_lua_task_take_rows(&over->task, &fn->params, 0, 0, err));
    LB_TRY(lb_lua_task_hold(&over->task, &fn->window, err));
    return lb_lua_task_run(&over->task, l_open, over, err);
}

static void over_delete(struct over *over)
{
    if (over->box != NULL)
        *over->box = NULL;
    lb_lua_task_fini(&over->task);
    lb_free(over, sizeof *over);
}

static void over_close(struct lb_window_fn *fn)
{
    over_delete(fn->state);
}

/* Forgets the tables of rows before the frame; the frame is at stack position 1. */
static void forget(lua_State *L, struct over *over)
{
    if (over->held >= over->lo)
        return;
    lua_getiuservalue(L, 1, ROWS);
    lua_getiuservalue(L, 1, PLACES);
    for (; over->held < over->lo; over->held++) {
        if (lua_rawgeti(L, -2, (lua_Integer)over->held) == LUA_TNIL) {
            lua_pop(L, 1);
            continue;
        }
        lua_pushnil(L);
        lua_rawset(L, -3);
        lua_pushnil(L);
        lua_rawseti(L, -3, (lua_Integer)over->held);
    }
    lua_pop(L, 2);
}

static void check(struct over *over, lb_status status)
{
    if (status != LB_OK)
        lb_emitter_throw(&over->task.emitter, status);
}

/* Calls the function, which is on the stack below the frame; whether it gave a result. */
static bool call(struct over *over, lua_State *L)
{
    struct lb_lua_task *task = &over->task;
    if (!lb_lua_task_call(task, L, 1, 1))
        return false;
    lb_status status = lb_lua_append(L, -1, "value", &over->fn->out, &task->emitter.err);
    if (status != LB_ERR_USER) {
        check(over, status);
        return true;
    }
    lb_lua_task_refuse(task, L, LB_SLOT_FUNCTION);
    return false;
}

/* The body: all rows of a part. */
static int l_over(lua_State *L)
{
    struct over *over = lua_touserdata(L, 1);
    struct lb_lua_task *task = &over->task;
    const struct lb_window_part *part = over->part;
    struct lb_window_fn *fn = over->fn;
    uint8_t *failed = over->rows->failed;
    lb_lua_task_push(task, L, LB_SLOT_OWN);
    lua_replace(L, 1);
    lb_lua_task_push(task, L, LB_SLOT_FUNCTION);
    for (int i = ROWS; i <= PLACES; i++) {
        lua_newtable(L);
        lua_setiuservalue(L, 1, i);
    }
    over->held = part->before;
    for (uint32_t row = part->out; row < part->out_end; row++) {
        if (failed != NULL && failed[row] != 0) { /* another function failed for it */
            check(over, lb_builder_null(&fn->out, &task->emitter.err));
            continue;
        }
        over->lo = over->rows->lo[row];
        over->hi = over->rows->hi[row];
        task->place.row = row;
        forget(L, over);
        task->noted.frame_first = part->first + (uint32_t)(over->lo - part->before);
        task->noted.frame_n = (uint32_t)(over->hi - over->lo);
        lua_pushvalue(L, 2);
        lua_pushvalue(L, 1);
        if (!call(over, L)) { /* and it may */
            failed[row] = fn->number;
            check(over, lb_builder_null(&fn->out, &task->emitter.err));
        }
        lua_settop(L, 2);
    }
    return 0;
}

static lb_status over_compute(struct lb_window_fn *fn, const struct lb_window_rows *rows,
                              const struct lb_window_part *part, struct lb_error *err)
{
    struct over *over = fn->state;
    if (part->out == part->out_end)
        return LB_OK;
    over->rows = rows;
    over->part = part;
    over->task.place.batch = over->task.noted.frame = &rows->batch;
    over->task.place.row =
        part->out; /* not one of the block before, should memory end before the first call */
    over->is_open = true;
    lb_status status = lb_lua_task_run(&over->task, l_over, over, err);
    over->is_open = false;
    over->task.place.batch = over->task.noted.frame = NULL;
    return status;
}

static lb_status over_tell(struct lb_window_fn *fn, const struct lb_window_rows *rows, uint32_t n,
                           struct lb_error *err)
{
    struct over *over = fn->state;
    over->task.place.batch = over->task.noted.frame = &rows->batch;
    lb_status status = lb_lua_task_tell(&over->task, n, err);
    over->task.place.batch = over->task.noted.frame = NULL;
    return status;
}

static size_t over_bytes(const struct lb_window_fn *fn)
{
    const struct over *over = fn->state;
    return lb_lua_task_held_bytes(&over->task);
}

const struct lb_window_class lb_lua_window_over = {.name = "over",
                                                   .need = LB_NEED_WHOLE,
                                                   .open = over_open,
                                                   .close = over_close,
                                                   .compute = over_compute,
                                                   .tell = over_tell,
                                                   .held_bytes = over_bytes};

/* lua.frame */

static lb_status frame_attach(struct lb_op_local *local, struct lb_error *err)
{
    static const struct lb_lua_functions functions = {{"fn"}, 1};
    struct over *over = local->state = lb_alloc_zero(sizeof *over);
    if (over == NULL)
        return lb_error_memory(err, local->op->label, sizeof *over);
    LB_TRY(lb_lua_task_init(&over->task, local->worker, &local->op->params, local->op->label,
                            &functions, local->next, err));
    return lb_lua_task_run(&over->task, l_open, over, err);
}

static lb_status frame_begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    struct over *over = local->state;
    lb_emitter_reset(&over->task.emitter);
    return LB_OK;
}

static void frame_detach(struct lb_op_local *local)
{
    over_delete(local->state);
}

/* The list on top becomes the frame at position 1. */
static void set_frame(lua_State *L, struct over *over)
{
    int list = lua_gettop(L);
    luaL_checktype(L, list, LUA_TTABLE);
    lua_Integer n = (lua_Integer)lua_rawlen(L, list);
    lua_newtable(L);
    for (lua_Integer place = 1; place <= n; place++) {
        lua_rawgeti(L, list, place);
        lua_pushinteger(L, place);
        lua_rawset(L, list + 1);
    }
    lua_setiuservalue(L, 1, PLACES);
    lua_setiuservalue(L, 1, ROWS);
    over->lo = 1;
    over->hi = (uint64_t)n + 1;
}

static int l_frame(lua_State *L)
{
    struct over *over = lua_touserdata(L, 1);
    struct lb_lua_task *task = &over->task;
    lb_lua_task_push(task, L, LB_SLOT_OWN);
    lua_replace(L, 1);
    lb_lua_task_push(task, L, LB_SLOT_FUNCTION);
    for (uint32_t i = 0; i < over->batch->n_selected; i++) {
        task->place.row = lb_batch_row(over->batch, i);
        lb_lua_push_column(L, &over->batch->columns[0], task->place.row);
        set_frame(L, over);
        lua_pushvalue(L, 2);
        lua_pushvalue(L, 1);
        if (lb_lua_task_call(task, L, 1, 1) && !lb_emitter_add(&task->emitter, L, 3, 1))
            lb_lua_task_refuse(task, L, LB_SLOT_FUNCTION);
        lua_settop(L, 2);
    }
    return 0;
}

static lb_status frame_push(struct lb_op_local *local, const struct lb_batch *batch,
                            struct lb_error *err)
{
    struct over *over = local->state;
    over->batch = over->task.place.batch = batch;
    over->task.emitter.parent = NULL;
    over->is_open = true;
    lb_status status = lb_lua_task_run(&over->task, l_frame, over, err);
    over->is_open = false;
    LB_TRY(status);
    return lb_emitter_flush(&over->task.emitter, err);
}

const struct lb_op_class lb_lua_op_frame = {
    .name = "lua.frame",
    .kind = LB_OP_TRANSFORM,
    .attach = frame_attach,
    .begin = frame_begin,
    .push = frame_push,
    .detach = frame_detach,
};
