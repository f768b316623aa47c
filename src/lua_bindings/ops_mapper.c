/* The operators whose Lua function has a task of its own for every morsel: the mapper of a job,
 * map_partitions, and fold. */

#include "core/base/sys.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/ops.h"
#include "lua_bindings/task.h"

/* lua.mapper
 *
 * CALLS  of the user's functions, per morsel: init(task), fn(key, value..., emit, task)*,
 *        final(emit, task). */

enum { SLOT_INIT = LB_SLOT_FUNCTION + 1, SLOT_FINAL };

struct mapper {
    struct lb_lua_task task;
    const struct lb_batch *batch; /* being pushed */
};

static lb_status mapper_attach(struct lb_op_local *local, struct lb_error *err)
{
    static const struct lb_lua_functions functions = {{"fn", "init", "final"}, 1};
    struct mapper *m = lb_alloc_zero(sizeof *m);
    if (m == NULL)
        return lb_error_memory(err, local->op->label, sizeof *m);
    local->state = m;
    LB_TRY(lb_lua_task_init(&m->task, local->worker, &local->op->params, local->op->label,
                            &functions, local->next, err));
    return lb_lua_task_take_rows(&m->task, &local->op->params, LB_SLOT_FUNCTION, 2, err);
}

static void mapper_detach(struct lb_op_local *local)
{
    struct mapper *m = local->state;
    lb_lua_task_fini(&m->task);
    lb_free(m, sizeof *m);
}

static lb_status mapper_begin(struct lb_op_local *local, struct lb_error *err)
{
    struct mapper *m = local->state;
    return lb_lua_task_begin(&m->task, SLOT_INIT, err);
}

static int l_mapper(lua_State *L)
{
    struct mapper *m = lua_touserdata(L, 1);
    struct lb_lua_task *task = &m->task;
    const struct lb_batch *batch = m->batch;
    luaL_checkstack(L, (int)batch->n_columns + LUA_MINSTACK, "a record");
    lb_lua_task_push(task, L, LB_SLOT_FUNCTION);
    lb_lua_task_push(task, L, LB_SLOT_EMIT);
    lb_lua_task_push(task, L, LB_SLOT_TABLE);
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        task->place.row = row;
        task->emitter.parent_row = row;
        lua_pushvalue(L, 2);
        int n_args = 0;
        if (batch->n_columns == 1 || lb_lua_row_is_on(&task->row)) {
            lua_pushnil(L);
            n_args = 1;
        }
        n_args += lb_lua_task_push_record(task, L, batch, row);
        lua_pushvalue(L, 3);
        lua_pushvalue(L, 4);
        lb_lua_task_call(task, L, n_args + 2, 0);
        if (__builtin_expect(task->keeps_calls && task->noted.keeps_task, 0)) {
            lb_lua_noted_reset(&task->noted);
            lb_lua_note_record(task);
            lb_lua_note_done(task);
        }
    }
    return 0;
}

static lb_status mapper_push(struct lb_op_local *local, const struct lb_batch *batch,
                             struct lb_error *err)
{
    struct mapper *m = local->state;
    m->batch = batch;
    m->task.place.batch = batch;
    m->task.emitter.parent = batch;
    LB_TRY(lb_lua_task_run(&m->task, l_mapper, m, err));
    return lb_emitter_flush(&m->task.emitter, err);
}

static lb_status mapper_end(struct lb_op_local *local, struct lb_error *err)
{
    struct mapper *m = local->state;
    return lb_lua_task_finish(&m->task, SLOT_FINAL, err);
}

const struct lb_op_class lb_lua_op_mapper = {
    .name = "lua.mapper",
    .kind = LB_OP_TRANSFORM,
    .attach = mapper_attach,
    .begin = mapper_begin,
    .push = mapper_push,
    .end = mapper_end,
    .detach = mapper_detach,
};

/* lua.map_partitions
 *
 * IDEA   f(iterator, emit, index) runs in a coroutine, one for each morsel. A batch lives only as
 *        long as its push, so iterator yields when the batch is used up, and the next push resumes
 *        it.
 * STATES WAITING (not started, or iterator has yielded) -> DONE (f has returned); what follows of
 *        the morsel is then ignored.
 * END    At the end of the morsel iterator returns no value at all, which tells it from a record
 *        whose first value is nil. A for loop cannot see the difference and would drop the rest of
 *        the input without a word, so there such a record is an error. A for loop calls with two
 *        arguments. */

enum {
    SLOT_ITERATOR = LB_SLOT_FUNCTION + 1,
    SLOT_NEXT, /* the C function that holds the state */
    SLOT_USED_UP
};

struct partitions {
    struct lb_lua_task task;
    const struct lb_batch *batch; /* being pushed; NULL: no more will come */
    uint32_t next;                /* number among the selected rows of what iterator gives next */
    bool has_iterator;            /* it was made, and is kept in SLOT_ITERATOR */
    bool is_begun;                /* the coroutine was made */
    bool is_done;                 /* f has returned */
    bool is_waiting;              /* iterator has yielded */
    lua_State *coroutine;         /* kept alive in LB_SLOT_OWN */
};

static lb_status partitions_attach(struct lb_op_local *local, struct lb_error *err)
{
    static const struct lb_lua_functions functions = {{"fn"}, 1};
    struct partitions *p = lb_alloc_zero(sizeof *p);
    if (p == NULL)
        return lb_error_memory(err, local->op->label, sizeof *p);
    local->state = p;
    LB_TRY(lb_lua_task_init(&p->task, local->worker, &local->op->params, local->op->label,
                            &functions, local->next, err));
    return lb_lua_task_take_rows(&p->task, &local->op->params, 0, 0, err);
}

static void partitions_detach(struct lb_op_local *local)
{
    struct partitions *p = local->state;
    if (p->has_iterator) {
        lua_State *L = p->task.lua->L;
        for (int slot = SLOT_NEXT; slot <= (LB_LUAJIT ? SLOT_USED_UP : SLOT_NEXT); slot++) {
            lb_lua_task_push(&p->task, L, slot);
            lb_emitter_disarm(L, -1);
            lua_pop(L, 1);
        }
    }
    lb_lua_task_fini(&p->task);
    lb_free(p, sizeof *p);
}

static lb_status partitions_begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    struct partitions *p = local->state;
    lb_emitter_reset(&p->task.emitter);
    lb_lua_noted_reset(&p->task.noted);
    p->is_begun = p->is_done = p->is_waiting = false;
    p->coroutine = NULL;
    return LB_OK;
}

#if LB_LUAJIT
typedef intptr_t lua_KContext;
#endif

static int next_record(lua_State *L, int status, lua_KContext n_args);

static int l_iterator(lua_State *L)
{
    return next_record(L, LUA_OK, lua_gettop(L));
}

/* iterator, and its continuation after a yield. */
static int next_record(lua_State *L, int status, lua_KContext n_args)
{
    (void)status;
    struct partitions *p = lua_touserdata(L, lua_upvalueindex(1));
    if (p == NULL || p->coroutine == NULL)
        return luaL_error(L, "iterator called outside its partition");
    if (L != p->coroutine)
        return luaL_error(L,
                          "iterator called in another coroutine than the function it was given to");
    p->is_waiting = false;
    if (p->batch == NULL)
        return 0;
#if !LB_LUAJIT
    if (p->next >= p->batch->n_selected) {
        p->is_waiting = true;
        return lua_yieldk(L, 0, n_args, next_record);
    }
#endif
    uint32_t row = lb_batch_row(p->batch, p->next++);
    lb_lua_guard_resume(p->task.lua, lb_lua_guard_pause(p->task.lua));
    p->task.place.row = row;
    p->task.emitter.parent_row = row;
    if (p->task.keeps_calls)
        lb_lua_note_record(&p->task);
    luaL_checkstack(L, (int)p->batch->n_columns + LUA_MINSTACK, "a record");
    if (lb_lua_row_is_on(&p->task.row)) {
        lb_lua_row_push_table(&p->task.row, L, p->batch, row);
        return 1;
    }
    if (n_args == 2 && !lb_column_is_valid(&p->batch->columns[0], row))
        return luaL_error(L,
                          "a for loop would end at this record, whose first value is nil: call the "
                          "iterator yourself; select('#', iterator()) is 0 at the end");
    return lb_lua_push_record(L, p->batch, 0, row);
}

#if LB_LUAJIT

/* C functions have no continuations there, so a Lua function yields for the iterator. */
static int l_is_used_up(lua_State *L)
{
    struct partitions *p = lua_touserdata(L, lua_upvalueindex(1));
    bool waits =
        p != NULL && L == p->coroutine && p->batch != NULL && p->next >= p->batch->n_selected;
    if (waits)
        p->is_waiting = true;
    lua_pushboolean(L, waits);
    return 1;
}

static void push_iterator(struct partitions *p, lua_State *L)
{
    static const char source[] = "local is_used_up, next_record, yield = ...\n"
                                 "return function(...)\n"
                                 "  while is_used_up() do yield() end\n"
                                 "  return next_record(...)\n"
                                 "end";
    if (luaL_loadbufferx(L, source, sizeof source - 1, "=[luabatch]/iterator", "t") != LUA_OK)
        lua_error(L);
    lua_pushlightuserdata(L, p);
    lua_pushcclosure(L, l_is_used_up, 1);
    lua_pushvalue(L, -1);
    lb_lua_task_set(&p->task, L, SLOT_USED_UP);
    lua_pushlightuserdata(L, p);
    lua_pushcclosure(L, l_iterator, 1);
    lua_pushvalue(L, -1);
    lb_lua_task_set(&p->task, L, SLOT_NEXT);
    lua_getglobal(L, LUA_COLIBNAME);
    lua_getfield(L, -1, "yield");
    lua_remove(L, -2);
    lua_call(L, 3, 1);
}

#else

static void push_iterator(struct partitions *p, lua_State *L)
{
    lua_pushlightuserdata(L, p);
    lua_pushcclosure(L, l_iterator, 1);
    lua_pushvalue(L, -1);
    lb_lua_task_set(&p->task, L, SLOT_NEXT);
}

#endif

static void make_coroutine(struct partitions *p, lua_State *L)
{
    if (!p->has_iterator) {
        push_iterator(p, L);
        lb_lua_task_set(&p->task, L, SLOT_ITERATOR);
        p->has_iterator = true;
    }
    p->coroutine = lua_newthread(L);
    lb_lua_task_set(&p->task, L, LB_SLOT_OWN);
    lb_lua_task_push(&p->task, L, LB_SLOT_FUNCTION);
    lb_lua_task_push(&p->task, L, SLOT_ITERATOR);
    lb_lua_task_push(&p->task, L, LB_SLOT_EMIT);
    lua_pushinteger(L, (lua_Integer)p->task.lua->worker->morsel + 1);
    lua_xmove(L, p->coroutine, 4);
    p->is_begun = true;
}

/* Raises the coroutine's error in L. */
static int rethrow(struct partitions *p, lua_State *L)
{
    lb_lua_keep_trace(p->task.lua, p->coroutine);
    lua_xmove(p->coroutine, L, 1);
    return lua_error(L);
}

static int l_partition_go_on(lua_State *L)
{
    struct partitions *p = lua_touserdata(L, 1);
    int n_args = 0;
    if (!p->is_begun) {
        make_coroutine(p, L);
        n_args = 3;
    }
    int n_results = 0;
    struct lb_lua_guard guard = {0};
    lb_lua_guard_begin(&guard, p->task.lua, L, false);
    int status = lb_lua_resume(L, p->coroutine, n_args, &n_results);
    lb_lua_guard_end(&guard, p->task.lua, L, status);
    if (status == LUA_OK) {
        p->is_done = true;
        p->coroutine = NULL;
        lua_pushnil(L);
        lb_lua_task_set(&p->task, L, LB_SLOT_OWN);
        return 0;
    }
    if (status == LUA_YIELD && p->is_waiting)
        return 0;
    if (status == LUA_YIELD)
        return luaL_error(L, "the function of map_partitions must not yield");
    return rethrow(p, L);
}

static lb_status go_on(struct partitions *p, const struct lb_batch *batch, struct lb_error *err)
{
    p->batch = batch;
    p->next = 0;
    p->task.place.batch = batch;
    p->task.emitter.parent = batch;
    if (!p->is_done)
        LB_TRY(lb_lua_task_run(&p->task, l_partition_go_on, p, err));
    return lb_emitter_flush(&p->task.emitter, err);
}

static lb_status partitions_push(struct lb_op_local *local, const struct lb_batch *batch,
                                 struct lb_error *err)
{
    return go_on(local->state, batch, err);
}

static lb_status partitions_end(struct lb_op_local *local, struct lb_error *err)
{
    return go_on(local->state, NULL, err);
}

const struct lb_op_class lb_lua_op_map_partitions = {
    .name = "lua.map_partitions",
    .kind = LB_OP_TRANSFORM,
    .attach = partitions_attach,
    .begin = partitions_begin,
    .push = partitions_push,
    .end = partitions_end,
    .detach = partitions_detach,
};

/* lua.fold
 *
 * state = create(record...) for a morsel's first record, then state = step(state, record...); the
 * morsel's end emits the state as a record of one value. */

enum { SLOT_CREATE = LB_SLOT_FUNCTION, SLOT_STEP };

struct fold {
    struct lb_lua_task task;
    const struct lb_batch *batch; /* being pushed */
    bool has_state;               /* LB_SLOT_OWN holds the state, which may be nil */
};

static lb_status fold_attach(struct lb_op_local *local, struct lb_error *err)
{
    static const struct lb_lua_functions functions = {{"create", "step"}, 2};
    struct fold *f = lb_alloc_zero(sizeof *f);
    if (f == NULL)
        return lb_error_memory(err, local->op->label, sizeof *f);
    local->state = f;
    LB_TRY(lb_lua_task_init(&f->task, local->worker, &local->op->params, local->op->label,
                            &functions, local->next, err));
    return lb_lua_task_take_rows(&f->task, &local->op->params, SLOT_STEP, 2, err);
}

static void fold_detach(struct lb_op_local *local)
{
    struct fold *f = local->state;
    lb_lua_task_fini(&f->task);
    lb_free(f, sizeof *f);
}

static lb_status fold_begin(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    struct fold *f = local->state;
    lb_emitter_reset(&f->task.emitter);
    f->has_state = false;
    return LB_OK;
}

/* What create gets. It may well keep a row, which step perhaps does not. */
static int push_first(struct fold *f, lua_State *L, uint32_t row)
{
    if (!lb_lua_row_is_on(&f->task.row))
        return lb_lua_push_record(L, f->batch, 0, row);
    lb_lua_row_push_table(&f->task.row, L, f->batch, row);
    return 1;
}

static int l_fold(lua_State *L)
{
    struct fold *f = lua_touserdata(L, 1);
    struct lb_lua_task *task = &f->task;
    const struct lb_batch *batch = f->batch;
    luaL_checkstack(L, (int)batch->n_columns + LUA_MINSTACK, "a record");
    lb_lua_task_push(task, L, SLOT_STEP);
    lb_lua_task_push(task, L, LB_SLOT_OWN);
    for (uint32_t i = 0; i < batch->n_selected; i++) {
        uint32_t row = lb_batch_row(batch, i);
        task->place.row = row;
        int n_args = 0;
        if (f->has_state) {
            lua_pushvalue(L, 2);
            lua_pushvalue(L, 3);
            n_args = 1 + lb_lua_task_push_record(task, L, batch, row);
        } else {
            lb_lua_task_push(task, L, SLOT_CREATE);
            n_args = push_first(f, L, row);
        }
        if (lb_lua_task_call(task, L, n_args, 1)) {
            lua_replace(L, 3);
            f->has_state = true;
        }
    }
    lua_settop(L, 3);
    lb_lua_task_set(task, L, LB_SLOT_OWN);
    return 0;
}

static lb_status fold_push(struct lb_op_local *local, const struct lb_batch *batch,
                           struct lb_error *err)
{
    struct fold *f = local->state;
    f->batch = batch;
    f->task.place.batch = batch;
    return lb_lua_task_run(&f->task, l_fold, f, err);
}

static int l_fold_end(lua_State *L)
{
    struct fold *f = lua_touserdata(L, 1);
    lb_lua_task_push(&f->task, L, LB_SLOT_OWN);
    if (!lb_emitter_add(&f->task.emitter, L, 2, 1))
        lb_lua_task_refuse(&f->task, L, SLOT_STEP);
    lua_pushnil(L);
    lb_lua_task_set(&f->task, L, LB_SLOT_OWN);
    return 0;
}

static lb_status fold_end(struct lb_op_local *local, struct lb_error *err)
{
    struct fold *f = local->state;
    if (!f->has_state)
        return LB_OK;
    f->task.place.batch = NULL;
    f->task.emitter.parent = NULL;
    LB_TRY(lb_lua_task_run(&f->task, l_fold_end, f, err));
    return lb_emitter_flush(&f->task.emitter, err);
}

const struct lb_op_class lb_lua_op_fold = {
    .name = "lua.fold",
    .kind = LB_OP_TRANSFORM,
    .attach = fold_attach,
    .begin = fold_begin,
    .push = fold_push,
    .end = fold_end,
    .detach = fold_detach,
};
