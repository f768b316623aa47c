/* Lua patterns against Lua's own: find and gmatch from any place, all captures, and the words of every error.
 *
 * INPUT  bytes: length of the pattern, where to begin; pattern; subject. */
#include <lauxlib.h>
#include <lualib.h>

#include "core/algo/pattern.h"
#include "core/base/buf.h"
#include "fuzz.h"

enum { MOST_PATTERN = 40, MOST_SUBJECT = 60, MOST_TRIES = 8 };

/* find(s, p, init) with its captures; or gmatch's results one behind the other. */
static const char prelude[] =
    "function all(s, p)\n"
    "  local out, n = {}, 0\n"
    "  for a, b, c in s:gmatch(p) do\n"
    "    out[#out + 1] = tostring(a) .. '\\1' .. tostring(b) .. '\\1' .. tostring(c)\n"
    "  end\n"
    "  return table.concat(out, '\\2')\n"
    "end\n";

static void append(struct lb_buf *out, const char *data, size_t size)
{
    MUST(lb_buf_append(out, data, size, &fuzz_error));
}

static void append_capture(struct lb_buf *out, const char *subject, const struct lb_capture *c)
{
    if (c->size < 0)
        MUST(lb_buf_printf(out, &fuzz_error, "%td", c->data - subject + 1));
    else
        append(out, c->data, (size_t)c->size);
}

/* Lua's message without where it was raised. */
static const char *message_of(lua_State *L)
{
    const char *message = lua_tostring(L, -1), *found;
    CHECK(message != NULL);
    while ((found = strstr(message, ": ")) != NULL && strncmp(message, "malformed", 9) != 0 &&
           strncmp(message, "invalid", 7) != 0)
        message = found + 2;
    return message;
}

/* ---- both ways ---- */

struct question {
    const char *pattern, *subject;
    size_t pattern_size, size, from;
};

/* As string.find answers: positions, captures. */
static void find_here(const struct lb_pattern *pattern, const struct question *q,
                      struct lb_buf *out, lb_status *status)
{
    struct lb_match match;
    bool found = false;
    *status = lb_pattern_find(pattern, q->subject, q->size, q->from, &match, &found, &fuzz_error);
    if (*status != LB_OK || !found)
        return;
    MUST(lb_buf_printf(out, &fuzz_error, "%td %td", match.start - q->subject + 1,
                       match.end - q->subject));
    for (uint32_t i = 0; i < match.n_captures; i++) {
        append(out, "\1", 1);
        append_capture(out, q->subject, &match.captures[i]);
    }
}

static int find_in_lua(lua_State *L, const struct question *q, struct lb_buf *out)
{
    int top = lua_gettop(L);
    lua_getglobal(L, "string");
    lua_getfield(L, -1, "find");
    lua_remove(L, -2);
    lua_pushlstring(L, q->subject, q->size);
    lua_pushlstring(L, q->pattern, q->pattern_size);
    lua_pushinteger(L, (lua_Integer)q->from + 1);
    int status = lua_pcall(L, 3, LUA_MULTRET, 0);
    int n = lua_gettop(L) - top;
    if (status != LUA_OK || n < 2)
        return status;
    MUST(lb_buf_printf(out, &fuzz_error, "%lld %lld", (long long)lua_tointeger(L, top + 1),
                       (long long)lua_tointeger(L, top + 2)));
    for (int i = 3; i <= n; i++) {
        size_t size;
        const char *text = lua_tolstring(L, top + i, &size);
        append(out, "\1", 1);
        append(out, text, size);
    }
    return status;
}

static void gmatch_here(const struct lb_pattern *pattern, const struct question *q,
                        struct lb_buf *out, lb_status *status)
{
    const char *last_end = NULL;
    size_t from = 0;
    bool found = true;
    for (int n = 0;; n++) {
        struct lb_match match;
        *status = lb_pattern_next(pattern, q->subject, q->size, from, last_end, &match, &found,
                                  &fuzz_error);
        if (*status != LB_OK || !found)
            return;
        if (n > 0)
            append(out, "\2", 1);
        for (uint32_t i = 0; i < 3; i++) {
            if (i > 0)
                append(out, "\1", 1);
            if (i == 0 && match.n_captures == 0)
                append(out, match.start, (size_t)(match.end - match.start));
            else if (i < match.n_captures)
                append_capture(out, q->subject, &match.captures[i]);
            else
                append(out, "nil", 3);
        }
        last_end = match.end;
        from = (size_t)(match.end - q->subject);
    }
}

static int gmatch_in_lua(lua_State *L, const struct question *q, struct lb_buf *out)
{
    lua_getglobal(L, "all");
    lua_pushlstring(L, q->subject, q->size);
    lua_pushlstring(L, q->pattern, q->pattern_size);
    int status = lua_pcall(L, 2, 1, 0);
    if (status == LUA_OK) {
        size_t size;
        const char *text = lua_tolstring(L, -1, &size);
        append(out, text, size);
    }
    return status;
}

static void compare(lua_State *L, lb_status status, int lua_status, const struct lb_buf *here,
                    const struct lb_buf *there)
{
    CHECK((status == LB_OK) == (lua_status == LUA_OK));
    if (status != LB_OK)
        CHECK(strcmp(fuzz_error.message, message_of(L)) == 0);
    else
        CHECK(here->size == there->size &&
              (here->size == 0 || memcmp(here->data, there->data, here->size) == 0));
}

static void check(lua_State *L, const struct question *q)
{
    struct lb_pattern *pattern = NULL;
    struct lb_buf here = {0}, there = {0};
    lb_status status = lb_pattern_new(q->pattern, q->pattern_size, &pattern, &fuzz_error);
    if (status != LB_OK) {
        CHECK(status == LB_ERR_USAGE);
        /* Lua notices only where its matcher gets to, if it does: it may find nothing, but not another flaw. */
        if (find_in_lua(L, q, &there) != LUA_OK)
            CHECK(strcmp(fuzz_error.message, message_of(L)) == 0);
        lb_buf_fini(&there);
        return;
    }
    find_here(pattern, q, &here, &status);
    compare(L, status, find_in_lua(L, q, &there), &here, &there);
    if (q->pattern_size == 0 || q->pattern[0] != '^') { /* gmatch takes a '^' for no anchor */
        here.size = there.size = 0;
        gmatch_here(pattern, q, &here, &status);
        compare(L, status, gmatch_in_lua(L, q, &there), &here, &there);
    }
    lb_pattern_delete(pattern);
    lb_buf_fini(&here);
    lb_buf_fini(&there);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    size_t pattern_size = fuzz_below(&input, MOST_PATTERN), from = fuzz_below(&input, MOST_SUBJECT);
    pattern_size = pattern_size < input.size ? pattern_size : input.size;
    struct question q = {.pattern_size = pattern_size, .size = input.size - pattern_size};
    int n_tries = 0; /* Lua's matcher, and ours, takes exponential time in these */
    for (size_t i = 0; i < pattern_size; i++)
        n_tries += memchr("*+-", input.data[i], 3) != NULL ? 2 : input.data[i] == '?';
    if (q.size > MOST_SUBJECT || n_tries > MOST_TRIES) /* each may try every place, or two */
        return 0;
    fuzz_begin();
    char *pattern = fuzz_copy(input.data, pattern_size, 0, 0);
    char *subject = fuzz_copy(input.data + pattern_size, q.size, 0, 0);
    q.pattern = pattern;
    q.subject = subject;
    q.from = from < q.size ? from : q.size;
    lua_State *L = luaL_newstate();
    CHECK(L != NULL);
    luaL_openlibs(L);
    CHECK(luaL_dostring(L, prelude) == LUA_OK);
    check(L, &q);
    lua_close(L);
    free(pattern);
    free(subject);
    return fuzz_end();
}
