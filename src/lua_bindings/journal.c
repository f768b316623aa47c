/* Journals of finished stages as Lua values. Buffers belong to the userdata, since Lua may raise at any point. */
#include "lua_bindings/journal.h"

#include <stdio.h>
#include <string.h>

#include "core/io/format.h"
#include "core/io/journal.h"
#include "core/io/json.h"
#include "lua_bindings/errors.h"
#include "lua_bindings/values.h"

#define JOURNAL_TYPE "luabatch.journal"

enum { MAX_KEPT = 10000 };

struct holder {
    struct lb_journal *journal; /* NULL: closed */
    struct lb_buf text, line, value;
};

static void free_buffers(struct holder *holder)
{
    lb_buf_fini(&holder->text);
    lb_buf_fini(&holder->line);
    lb_buf_fini(&holder->value);
}

/* Also __gc. */
static int l_journal_close(lua_State *L)
{
    struct holder *holder = luaL_checkudata(L, 1, JOURNAL_TYPE);
    lb_journal_close(holder->journal);
    holder->journal = NULL;
    free_buffers(holder);
    return 0;
}

static struct holder *check_open(lua_State *L)
{
    struct holder *holder = luaL_checkudata(L, 1, JOURNAL_TYPE);
    if (holder->journal == NULL)
        luaL_error(L, "the journal is closed");
    return holder;
}

/* Decodes a line of JSON into holder->value. False: it is none. */
static bool decode(struct holder *holder, const char *line, size_t size, struct lb_error *err)
{
    const char *reason = NULL, *at = NULL;
    static const char padding[LB_TEXT_PADDING] = {0};
    holder->line.size = holder->value.size = 0;
    return lb_buf_append(&holder->line, line, size, err) == LB_OK &&
           lb_buf_append(&holder->line, padding, sizeof padding, err) == LB_OK &&
           lb_json_encode(holder->line.data, size, &holder->value, &reason, &at, err) == LB_OK &&
           reason == NULL;
}

static int l_journal_lines(lua_State *L)
{
    struct holder *holder = check_open(L);
    struct lb_error err = {0};
    holder->text.size = 0;
    if (lb_journal_load(holder->journal, &holder->text, &err) != LB_OK)
        return lb_lua_raise(L, &err);
    const char *cursor = holder->text.data, *line = NULL;
    uint64_t n_damaged = 0;
    size_t size = 0;
    lua_newtable(L);
    int list = lua_gettop(L);
    lua_Integer n = 0;
    while (
        lb_journal_next(&cursor, holder->text.data + holder->text.size, &line, &size, &n_damaged)) {
        if (!decode(holder, line, size, &err)) {
            n_damaged++;
            continue;
        }
        lb_lua_push_encoded(L, holder->value.data, holder->value.size);
        lua_rawseti(L, list, ++n);
    }
    free_buffers(holder);
    lua_pushinteger(L, (lua_Integer)n_damaged);
    return 2;
}

static int l_journal_append(lua_State *L)
{
    struct holder *holder = check_open(L);
    struct lb_error err;
    luaL_checkany(L, 2);
    holder->value.size = holder->line.size = 0;
    if (lb_lua_encode(L, 2, "line", &holder->value, &err) != LB_OK ||
        lb_format_encoded(LB_FORMAT_JSON, holder->value.data, holder->value.size, &holder->line,
                          &err) != LB_OK ||
        lb_journal_append(holder->journal, holder->line.data, holder->line.size, &err) != LB_OK)
        return lb_lua_raise(L, &err);
    free_buffers(holder);
    return 0;
}

static int l_journal_keep(lua_State *L)
{
    struct holder *holder = check_open(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_Integer n = (lua_Integer)lua_rawlen(L, 2);
    luaL_argcheck(L, n <= MAX_KEPT, 2, "too many names");
    const char **names = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *names, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, 2, i);
        names[i - 1] = luaL_checkstring(L, -1); /* the table keeps it */
        lua_pop(L, 1);
    }
    lb_journal_keep(holder->journal, names, (size_t)n);
    return 0;
}

static int l_journal_clear(lua_State *L)
{
    struct lb_error err;
    if (lb_journal_clear(check_open(L)->journal, &err) != LB_OK)
        return lb_lua_raise(L, &err);
    return 0;
}

static int l_journal_remove(lua_State *L)
{
    lb_journal_remove(check_open(L)->journal, lua_toboolean(L, 2));
    return 0;
}

static const luaL_Reg methods[] = {{"lines", l_journal_lines},
                                   {"append", l_journal_append},
                                   {"keep", l_journal_keep},
                                   {"clear", l_journal_clear},
                                   {"remove", l_journal_remove},
                                   {"close", l_journal_close},
                                   {NULL, NULL}};

int lb_lua_journal(lua_State *L)
{
    const char *folder = luaL_checkstring(L, 1);
    struct lb_error err;
    struct holder *holder = lua_newuserdatauv(L, sizeof *holder, 0);
    memset(holder, 0, sizeof *holder);
    if (luaL_newmetatable(L, JOURNAL_TYPE)) {
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
        lua_pushcfunction(L, l_journal_close);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    if (lb_journal_open(folder, &holder->journal, &err) != LB_OK)
        return lb_lua_raise(L, &err);
    return 1;
}

int lb_lua_file_hash(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct lb_error err;
    uint64_t hash, size;
    char text[17];
    if (lb_file_hash(path, &hash, &size, &err) != LB_OK)
        return lb_lua_raise(L, &err);
    snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    lua_pushstring(L, text);
    lua_pushinteger(L, (lua_Integer)size);
    return 2;
}
