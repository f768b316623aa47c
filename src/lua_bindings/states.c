/* Tables of Lua states (see states.h). */
#include "lua_bindings/states.h"

enum {
    SLOT_BYTES = 16,
    COLLECT_BYTES = 4 << 20 /* garbage below that is not looked for */
};

static size_t heap_bytes(lua_State *L)
{
    return ((size_t)lua_gc(L, LUA_GCCOUNT, 0) << 10) + (size_t)lua_gc(L, LUA_GCCOUNTB, 0);
}

static size_t heap_growth(const struct lb_lua_states *states, lua_State *L)
{
    size_t now = heap_bytes(L);
    return now > states->heap_before ? now - states->heap_before : 0;
}

void lb_lua_states_push(struct lb_lua_states *states, struct lb_lua_task *task, lua_State *L)
{
    if (states->n > 0) {
        lb_lua_task_push(task, L, LB_SLOT_STATES);
        return;
    }
    states->heap_before = heap_bytes(L);
    states->collect_at = COLLECT_BYTES;
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lb_lua_task_set(task, L, LB_SLOT_STATES);
}

void lb_lua_states_reset(struct lb_lua_states *states, struct lb_lua_task *task)
{
    if (states->n == 0)
        return;
    lua_State *L = task->lua->L;
    if (lua_checkstack(L, 4)) {
        lua_pushnil(L);
        lb_lua_task_set(task, L, LB_SLOT_STATES);
    }
    states->n = 0;
    if (heap_growth(states, L) > COLLECT_BYTES)
        lua_gc(L, LUA_GCCOLLECT, 0);
}

size_t lb_lua_states_bytes(struct lb_lua_states *states, struct lb_lua_task *task)
{
    if (states->n == 0)
        return 0;
    lua_State *L = task->lua->L;
    size_t grown = heap_growth(states, L);
    if (grown > states->collect_at) {
        lua_gc(L, LUA_GCCOLLECT, 0);
        grown = heap_growth(states, L);
        states->collect_at = 2 * grown + COLLECT_BYTES;
    }
    size_t slots = (size_t)states->n * SLOT_BYTES;
    return grown > slots ? grown : slots;
}
