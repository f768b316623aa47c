/* Counters: process-wide numbers by name.
 *
 * IDEA   A function in a worker adds to its worker's `pending`; when the morsel has ended well they are
 *        added to the totals, and what a failed morsel added is never seen. In the user's own state
 *        adding is at once.
 * THREADS `lock` guards the registry and its totals. Counters are never removed, so a number found once
 *        stays good. `pending` belongs to its worker's thread. */
#include "lua_bindings/counter.h"

#include <stdio.h>
#include <string.h>

#include "core/base/buf.h"
#include "core/base/sys.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/worker_private.h"

#define COUNTER_TYPE "luabatch.counter"

struct counter {
    char *name;
    size_t name_size;
    uint64_t total; /* two's complement: wraps as Lua's integers do */
};

/* The userdata. */
struct handle {
    uint32_t number;
    struct lb_lua_worker_private *worker; /* NULL in the user's state */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct counter *counters;
static uint32_t n_counters;
static uint32_t capacity;

/* The counter's number, or UINT32_MAX when memory is out. Call it locked. */
static uint32_t find_or_add(const char *name, size_t size)
{
    for (uint32_t i = 0; i < n_counters; i++)
        if (counters[i].name_size == size && memcmp(counters[i].name, name, size) == 0)
            return i;
    if (n_counters == capacity) {
        uint32_t more = capacity > 0 ? capacity * 2 : 16;
        struct counter *grown =
            lb_realloc(counters, capacity * sizeof *counters, more * sizeof *counters);
        if (grown == NULL)
            return UINT32_MAX;
        counters = grown;
        capacity = more;
    }
    char *copy = lb_alloc(size + 1);
    if (copy == NULL)
        return UINT32_MAX;
    memcpy(copy, name, size);
    copy[size] = '\0';
    counters[n_counters] = (struct counter){.name = copy, .name_size = size};
    return n_counters++;
}

static void add_total(uint32_t number, int64_t n)
{
    pthread_mutex_lock(&lock);
    counters[number].total += (uint64_t)n;
    pthread_mutex_unlock(&lock);
}

void lb_lua_counters_commit(struct lb_lua_worker_private *p)
{
    for (uint32_t i = 0; i < p->n_pending; i++) {
        if (p->pending[i] != 0)
            add_total(i, p->pending[i]);
        p->pending[i] = 0;
    }
}

void lb_lua_counters_fini(struct lb_lua_worker_private *p)
{
    lb_free(p->pending, p->n_pending * sizeof *p->pending);
    p->pending = NULL;
    p->n_pending = 0;
}

static bool add_pending(struct lb_lua_worker_private *p, uint32_t number, int64_t n)
{
    if (number >= p->n_pending) {
        uint32_t more = number + 16;
        int64_t *grown = lb_realloc(p->pending, p->n_pending * sizeof *grown, more * sizeof *grown);
        if (grown == NULL)
            return false;
        memset(grown + p->n_pending, 0, (more - p->n_pending) * sizeof *grown);
        p->pending = grown;
        p->n_pending = more;
    }
    p->pending[number] = (int64_t)((uint64_t)p->pending[number] + (uint64_t)n);
    return true;
}

lb_status lb_lua_counters_copy(const struct lb_lua_worker_private *p, struct lb_buf *pending,
                               struct lb_error *err)
{
    pending->size = 0;
    return lb_buf_append(pending, p->pending, p->n_pending * sizeof *p->pending, err);
}

lb_status lb_lua_counters_since(const struct lb_lua_worker_private *p, const struct lb_buf *before,
                                struct lb_buf *sum, struct lb_error *err)
{
    for (uint32_t i = 0; i < p->n_pending; i++) {
        size_t at = i * sizeof(int64_t);
        int64_t old = 0, total = 0;
        if (at < before->size)
            memcpy(&old, before->data + at, sizeof old);
        if (at >= sum->size)
            LB_TRY(lb_buf_append(sum, &total, sizeof total, err));
        memcpy(&total, sum->data + at, sizeof total);
        total = (int64_t)((uint64_t)total + (uint64_t)p->pending[i] - (uint64_t)old);
        memcpy(sum->data + at, &total, sizeof total);
    }
    return LB_OK;
}

lb_status lb_lua_counters_add(struct lb_lua_worker_private *p, const struct lb_buf *sum,
                              struct lb_error *err)
{
    for (size_t at = 0; at < sum->size; at += sizeof(int64_t)) {
        int64_t n;
        memcpy(&n, sum->data + at, sizeof n);
        if (n != 0 && !add_pending(p, (uint32_t)(at / sizeof n), n))
            return lb_error_memory(err, "counters", at);
    }
    return LB_OK;
}

static int l_counter_add(lua_State *L)
{
    struct handle *handle = luaL_checkudata(L, 1, COUNTER_TYPE);
    lua_Integer n = luaL_optinteger(L, 2, 1);
    if (handle->worker == NULL)
        add_total(handle->number, n);
    else if (!add_pending(handle->worker, handle->number, n))
        return luaL_error(L, "not enough memory");
    return 0;
}

static int64_t total(uint32_t number)
{
    pthread_mutex_lock(&lock);
    uint64_t value = counters[number].total;
    pthread_mutex_unlock(&lock);
    return (int64_t)value;
}

static int l_counter_value(lua_State *L)
{
    struct handle *handle = luaL_checkudata(L, 1, COUNTER_TYPE);
    lb_lua_push_int64(L, total(handle->number));
    return 1;
}

static int l_counter_name(lua_State *L)
{
    luaL_checkudata(L, 1, COUNTER_TYPE);
    size_t size;
    const char *name = lb_lua_counter_name(L, 1, &size);
    lua_pushlstring(L, name, size);
    return 1;
}

static int l_counter_tostring(lua_State *L)
{
    struct handle *handle = luaL_checkudata(L, 1, COUNTER_TYPE);
    size_t size;
    char value[24];
    snprintf(value, sizeof value, "%lld", (long long)total(handle->number));
    lua_pushfstring(L, "counter %s: %s", lb_lua_counter_name(L, 1, &size), value);
    return 1;
}

static const luaL_Reg methods[] = {
    {"add", l_counter_add}, {"value", l_counter_value}, {"name", l_counter_name}, {NULL, NULL}};

void lb_lua_push_counter(lua_State *L, const char *name, size_t size)
{
    struct handle *handle = lua_newuserdatauv(L, sizeof *handle, 0);
    pthread_mutex_lock(&lock);
    handle->number = find_or_add(name, size);
    pthread_mutex_unlock(&lock);
    if (handle->number == UINT32_MAX)
        luaL_error(L, "not enough memory");
    handle->worker = lb_lua_worker_of(L);
    if (luaL_newmetatable(L, COUNTER_TYPE)) {
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, l_counter_tostring);
        lua_setfield(L, -2, "__tostring");
    }
    lua_setmetatable(L, -2);
}

const char *lb_lua_counter_name(lua_State *L, int index, size_t *size)
{
    if (lua_type(L, index) != LUA_TUSERDATA)
        return NULL;
    struct handle *handle = luaL_testudata(L, index, COUNTER_TYPE);
    if (handle == NULL)
        return NULL;
    pthread_mutex_lock(&lock);
    const char *name = counters[handle->number].name;
    *size = counters[handle->number].name_size;
    pthread_mutex_unlock(&lock);
    return name;
}

void lb_lua_push_counters(lua_State *L)
{
    lua_newtable(L);
    for (uint32_t i = 0;; i++) {
        pthread_mutex_lock(&lock);
        bool is_there = i < n_counters;
        struct counter counter = is_there ? counters[i] : (struct counter){0};
        pthread_mutex_unlock(&lock);
        if (!is_there)
            return;
        lua_pushlstring(L, counter.name, counter.name_size);
        lb_lua_push_int64(L, (int64_t)counter.total);
        lua_rawset(L, -3);
    }
}
