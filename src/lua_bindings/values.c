/* Lua values to columns and codec bytes, and back.
 *
 * IDEA   A table is walked once with lua_next. Keys that come as 1, 2, 3... make a list as they come; a
 *        string key first makes a map, whose entries are sorted afterwards by moving their bytes. Only a
 *        list whose elements come in another order (built backwards, with holes) is walked again.
 *        Nothing here but the push functions calls what may raise in Lua.
 * PATHS  Each table being walked has a frame on the C stack; a message reads the path off the frames.
 *        The same frames find cycles. */
#include "lua_bindings/values.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/sys.h"
#include "core/base/utf8.h"
#include "lua_bindings/compat.h"

enum { STACK_SLOTS = 4, MAX_PATH_KEY = 60 };

/* A table on the way from the root to the value being encoded. */
struct frame {
    const struct frame *outer;
    const void *table; /* identity, for cycles */
    const char *key;   /* where in this table we are: a string key, */
    size_t key_size;
    lua_Integer index; /* or, with key NULL, a position (0: nowhere yet) */
};

struct encoder {
    lua_State *L;
    const char *what; /* name of the root */
    struct lb_buf *out;
    struct lb_error *err;
};

static lb_status encode(struct encoder *e, int index, const struct frame *outer, int depth);

static bool is_name(const char *text, size_t size)
{
    if (size == 0 || size > MAX_PATH_KEY || (text[0] >= '0' && text[0] <= '9'))
        return false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_word && c != '_')
            return false;
    }
    return true;
}

/* Of a message: what does not fit is cut. No memory is asked for, since records that are left out must have the same message always. */
struct path {
    char text[LB_ERROR_MESSAGE_BYTES];
    size_t size;
};

__attribute__((format(printf, 2, 3))) static void append(struct path *path, const char *format, ...)
{
    size_t room = sizeof path->text - path->size;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(path->text + path->size, room, format, args);
    va_end(args);
    path->size += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

/* Appends a key the way Lua code would index with it; bytes that do not print become '?'. */
static void append_key(struct path *path, const struct frame *frame)
{
    if (frame->key == NULL) {
        if (frame->index != 0)
            append(path, "[%lld]", (long long)frame->index);
        return;
    }
    if (is_name(frame->key, frame->key_size)) {
        append(path, ".%.*s", (int)frame->key_size, frame->key);
        return;
    }
    char text[MAX_PATH_KEY + 1];
    size_t n = lb_utf8_cut(frame->key, frame->key_size, MAX_PATH_KEY);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)frame->key[i];
        text[i] = c < 32 || c == 127 || c == '"' ? '?' : (char)c;
    }
    text[n] = '\0';
    append(path, "[\"%s\"%s]", text, n < frame->key_size ? "..." : "");
}

static void append_path(struct path *path, const struct frame *frame)
{
    if (frame == NULL)
        return;
    append_path(path, frame->outer);
    append_key(path, frame);
}

/* The error "<path> <problem>". */
static lb_status refuse(struct encoder *e, const struct frame *frame, const char *problem)
{
    struct path path = {.size = 0};
    append(&path, "%s", e->what);
    append_path(&path, frame);
    return lb_error_set(e->err, LB_ERR_USER, "%s %s", path.text, problem);
}

static lb_status refuse_type(struct encoder *e, const struct frame *frame, int type)
{
    switch (type) {
    case LUA_TFUNCTION:
        return refuse(e, frame, "is a function");
    case LUA_TTHREAD:
        return refuse(e, frame, "is a coroutine");
    case LUA_TUSERDATA:
    case LUA_TLIGHTUSERDATA:
        return refuse(e, frame, "is a userdata");
    default:
        return refuse(e, frame, "is no value that can be stored");
    }
}

static lb_status refuse_key(struct encoder *e, const struct frame *outer)
{
    lua_State *L = e->L;
    char problem[120];
    if (lua_type(L, -2) == LUA_TNUMBER)
        snprintf(problem, sizeof problem,
                 "has the number %.14g as a key: only lists 1..n and string keys can be stored",
                 (double)lua_tonumber(L, -2));
    else
        snprintf(problem, sizeof problem,
                 "has a %s as a key: only lists 1..n and string keys can be stored",
                 lua_typename(L, lua_type(L, -2)));
    return refuse(e, outer, problem);
}

/* A list whose elements do not come in order, or with holes, which become nil. */
static lb_status encode_sparse(struct encoder *e, int index, struct frame *frame, int depth,
                               uint32_t *count)
{
    lua_State *L = e->L;
    lua_Integer highest = 0;
    lua_Integer n = 0;
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        bool is_string = lua_type(L, -2) == LUA_TSTRING;
        lua_Integer key = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
        if (key < 1) {
            lb_status status = is_string
                                   ? refuse(e, frame->outer, "mixes list elements and string keys")
                                   : refuse_key(e, frame->outer);
            lua_pop(L, 2);
            return status;
        }
        highest = key > highest ? key : highest;
        n++;
        lua_pop(L, 1);
    }
    if (highest > 2 * n + 16 || highest > UINT32_MAX)
        return refuse(e, frame->outer, "is a list with large gaps: use strings as keys");
    for (lua_Integer i = 1; i <= highest; i++) {
        lua_rawgeti(L, index, i);
        frame->index = i;
        lb_status status = encode(e, lua_gettop(L), frame, depth);
        lua_pop(L, 1);
        if (status != LB_OK)
            return status;
    }
    *count = (uint32_t)highest;
    return LB_OK;
}

/* An entry of a map in the bytes written so far. */
struct entry {
    size_t at;   /* offset of the key's tag from the first entry */
    size_t size; /* key and value */
};

static const char *entry_key(const char *base, const struct entry *entry, uint32_t *size)
{
    memcpy(size, base + entry->at + 1, sizeof *size);
    return base + entry->at + 1 + sizeof *size;
}

static int compare_entries(const void *left, const void *right, void *base)
{
    uint32_t left_size, right_size;
    const char *a = entry_key(base, left, &left_size);
    const char *b = entry_key(base, right, &right_size);
    int order = memcmp(a, b, left_size < right_size ? left_size : right_size);
    return order != 0 ? order : (left_size > right_size) - (left_size < right_size);
}

/* Puts the entries that start at `start` into key order. */
static lb_status sort_entries(struct encoder *e, size_t start, struct entry *entries, uint32_t n)
{
    char *base = e->out->data + start;
    bool is_sorted = true;
    for (uint32_t i = 1; i < n && is_sorted; i++)
        is_sorted = compare_entries(&entries[i - 1], &entries[i], base) < 0;
    if (is_sorted)
        return LB_OK;
    qsort_r(entries, n, sizeof *entries, compare_entries, base);
    size_t size = e->out->size - start;
    LB_TRY(lb_buf_reserve(e->out, size, e->err));
    base = e->out->data + start;
    char *sorted = base + size; /* behind what is written */
    for (uint32_t i = 0; i < n; i++) {
        memcpy(sorted, base + entries[i].at, entries[i].size);
        sorted += entries[i].size;
    }
    memcpy(base, base + size, size);
    return LB_OK;
}

enum { INLINE_ENTRIES = 16 };

struct entries {
    struct entry *list;
    uint32_t n;
    uint32_t capacity;
    struct entry space[INLINE_ENTRIES];
};

static lb_status entries_grow(struct entries *entries, struct lb_error *err)
{
    bool is_inline = entries->list == entries->space;
    size_t old_bytes = is_inline ? 0 : entries->capacity * sizeof *entries->list;
    size_t new_bytes = (size_t)entries->capacity * 2 * sizeof *entries->list;
    struct entry *grown = lb_realloc(is_inline ? NULL : entries->list, old_bytes, new_bytes);
    if (grown == NULL)
        return lb_error_memory(err, "the keys of a table", new_bytes);
    if (is_inline)
        memcpy(grown, entries->space, sizeof entries->space);
    entries->list = grown;
    entries->capacity *= 2;
    return LB_OK;
}

/* Goes on with the first entry (key, value) on the stack, which it pops in any case. */
static lb_status encode_map(struct encoder *e, int index, struct frame *frame, int depth,
                            uint32_t *count)
{
    lua_State *L = e->L;
    struct entries entries;
    entries.list = entries.space;
    entries.n = 0;
    entries.capacity = INLINE_ENTRIES;
    size_t start = e->out->size;
    lb_status status = LB_OK;
    do {
        if (lua_type(L, -2) != LUA_TSTRING) {
            status = lua_isinteger(L, -2)
                         ? refuse(e, frame->outer, "mixes list elements and string keys")
                         : refuse_key(e, frame->outer);
            break;
        }
        frame->key = lua_tolstring(L, -2, &frame->key_size);
        if (entries.n == entries.capacity && (status = entries_grow(&entries, e->err)) != LB_OK)
            break;
        struct entry *entry = &entries.list[entries.n++];
        entry->at = e->out->size - start;
        status = lb_codec_put_string(e->out, frame->key, frame->key_size, e->err);
        if (status == LB_OK)
            status = encode(e, lua_gettop(L), frame, depth);
        if (status != LB_OK)
            break;
        entry->size = e->out->size - start - entry->at;
        lua_pop(L, 1);
    } while (lua_next(L, index) != 0);
    if (status != LB_OK)
        lua_pop(L, 2);
    else
        status = sort_entries(e, start, entries.list, entries.n);
    *count = entries.n;
    if (entries.list != entries.space)
        lb_free(entries.list, entries.capacity * sizeof *entries.list);
    return status;
}

/* A list, as long as its elements come in order; *is_list false: they did not. */
static lb_status encode_list(struct encoder *e, int index, struct frame *frame, int depth,
                             uint32_t *count, bool *is_list)
{
    lua_State *L = e->L;
    lua_Integer n = 0;
    *is_list = true;
    do {
        if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) != n + 1) {
            *is_list = false;
            lua_pop(L, 2);
            return LB_OK;
        }
        frame->index = ++n;
        lb_status status = encode(e, lua_gettop(L), frame, depth);
        lua_pop(L, 1);
        if (status != LB_OK) {
            lua_pop(L, 1);
            return status;
        }
    } while (lua_next(L, index) != 0);
    *count = (uint32_t)n;
    return LB_OK;
}

static lb_status encode_table(struct encoder *e, int index, const struct frame *outer, int depth)
{
    lua_State *L = e->L;
    struct frame frame = {.outer = outer, .table = lua_topointer(L, index)};
    for (const struct frame *at = outer; at != NULL; at = at->outer)
        if (at->table == frame.table)
            return refuse(e, outer, "is a table that contains itself");
    if (depth >= LB_CODEC_DEPTH)
        return refuse(e, outer, "is nested more than 100 tables deep");
    if (!lua_checkstack(L, STACK_SLOTS))
        return lb_error_memory(e->err, "the Lua stack", 0);
    if (lua_getmetatable(L, index)) {
        lua_pop(L, 1);
        return refuse(e, outer, "has a metatable");
    }
    size_t begin = e->out->size;
    size_t mark = 0;
    uint32_t count = 0;
    lua_pushnil(L);
    bool is_empty = lua_next(L, index) == 0;
    bool is_map = !is_empty && lua_type(L, -2) == LUA_TSTRING;
    lb_status status = lb_codec_begin(e->out, is_map ? 'm' : 'l', &mark, e->err);
    if (status != LB_OK) {
        lua_pop(L, is_empty ? 0 : 2);
        return status;
    }
    if (is_map) {
        LB_TRY(encode_map(e, index, &frame, depth + 1, &count));
    } else if (!is_empty) {
        bool is_list;
        LB_TRY(encode_list(e, index, &frame, depth + 1, &count, &is_list));
        if (!is_list) {
            e->out->size = begin;
            LB_TRY(lb_codec_begin(e->out, 'l', &mark, e->err));
            LB_TRY(encode_sparse(e, index, &frame, depth + 1, &count));
        }
    }
    if (e->out->size - begin > UINT32_MAX)
        return refuse(e, outer, "takes more than 4 GiB");
    lb_codec_end(e->out, mark, count);
    return LB_OK;
}

/* Index is absolute; depth counts the tables around the value. */
static lb_status encode(struct encoder *e, int index, const struct frame *outer, int depth)
{
    lua_State *L = e->L;
    int type = lua_type(L, index);
    int64_t integer;
    double number;
    switch (type) {
    case LUA_TNIL:
        return lb_codec_put_nil(e->out, e->err);
    case LUA_TBOOLEAN:
        return lb_codec_put_bool(e->out, lua_toboolean(L, index), e->err);
    case LUA_TNUMBER:
        if (lua_isinteger(L, index))
            return lb_codec_put_int(e->out, lua_tointeger(L, index), e->err);
        return lb_codec_put_float(e->out, lua_tonumber(L, index), e->err);
    case LUA_TSTRING: {
        size_t size;
        const char *data = lua_tolstring(L, index, &size);
        if (size > UINT32_MAX)
            return refuse(e, outer, "is a string of more than 4 GiB");
        return lb_codec_put_string(e->out, data, size, e->err);
    }
    case LUA_TTABLE:
        return encode_table(e, index, outer, depth);
    default:
        switch (lb_lua_unbox(L, index, &integer, &number)) {
        case LB_LUA_BOXED_INT64:
            return lb_codec_put_int(e->out, integer, e->err);
        case LB_LUA_BOXED_DOUBLE:
            return lb_codec_put_float(e->out, number, e->err);
        case LB_LUA_NOT_BOXED:
            break;
        }
        return refuse_type(e, outer, type);
    }
}

lb_status lb_lua_encode(lua_State *L, int index, const char *what, struct lb_buf *out,
                        struct lb_error *err)
{
    struct encoder e = {.L = L, .what = what, .out = out, .err = err};
    return encode(&e, lua_absindex(L, index), NULL, 0);
}

static lb_status append_table(lua_State *L, int index, const char *what, struct lb_builder *builder,
                              struct lb_error *err)
{
    struct lb_buf bytes = {0};
    lb_status status = lb_lua_encode(L, index, what, &bytes, err);
    if (status == LB_OK)
        status = lb_builder_encoded(builder, bytes.data, bytes.size, err);
    lb_buf_fini(&bytes);
    return status;
}

lb_status lb_lua_append(lua_State *L, int index, const char *what, struct lb_builder *builder,
                        struct lb_error *err)
{
    int type = lua_type(L, index);
    int64_t integer;
    double number;
    switch (type) {
    case LUA_TNONE:
    case LUA_TNIL:
        return lb_builder_null(builder, err);
    case LUA_TBOOLEAN:
        return lb_builder_bool(builder, lua_toboolean(L, index), err);
    case LUA_TNUMBER:
        if (lua_isinteger(L, index))
            return lb_builder_int(builder, lua_tointeger(L, index), err);
        return lb_builder_float(builder, lua_tonumber(L, index), err);
    case LUA_TSTRING: {
        size_t size;
        const char *data = lua_tolstring(L, index, &size);
        if (__builtin_expect(size > UINT32_MAX, 0))
            break;
        return lb_builder_string(builder, data, size, err);
    }
    case LUA_TTABLE:
        return append_table(L, index, what, builder, err);
    default:
        switch (lb_lua_unbox(L, index, &integer, &number)) {
        case LB_LUA_BOXED_INT64:
            return lb_builder_int(builder, integer, err);
        case LB_LUA_BOXED_DOUBLE:
            return lb_builder_float(builder, number, err);
        case LB_LUA_NOT_BOXED:
            break;
        }
        break;
    }
    struct encoder e = {.L = L, .what = what, .err = err};
    return type == LUA_TSTRING ? refuse(&e, NULL, "is a string of more than 4 GiB")
                               : refuse_type(&e, NULL, type);
}

/* Pushing */

void lb_lua_push_next(lua_State *L, const char **cursor)
{
    struct lb_value value;
    lb_codec_next(cursor, &value);
    switch (value.tag) {
    case 'f':
    case 't':
        lua_pushboolean(L, value.tag == 't');
        return;
    case 'i':
        lb_lua_push_int64(L, value.i);
        return;
    case 'd':
        lua_pushnumber(L, value.d);
        return;
    case 's':
        lua_pushlstring(L, value.data, value.size);
        return;
    case 'l': {
        luaL_checkstack(L, STACK_SLOTS, "value nested too deep");
        int count = value.count > INT32_MAX ? INT32_MAX : (int)value.count;
        lua_createtable(L, count, 0);
        const char *element = value.data;
        for (uint32_t i = 0; i < value.count; i++) {
            lb_lua_push_next(L, &element);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        return;
    }
    case 'm': {
        luaL_checkstack(L, STACK_SLOTS, "value nested too deep");
        int count = value.count > INT32_MAX ? INT32_MAX : (int)value.count;
        lua_createtable(L, 0, count);
        const char *element = value.data;
        for (uint32_t i = 0; i < value.count; i++) {
            lb_lua_push_next(L, &element);
            lb_lua_push_next(L, &element);
            lua_rawset(L, -3);
        }
        return;
    }
    default: /* 'n' */
        lua_pushnil(L);
        return;
    }
}

void lb_lua_push_encoded(lua_State *L, const char *data, size_t size)
{
    (void)size;
    const char *cursor = data;
    lb_lua_push_next(L, &cursor);
}

void lb_lua_push_column(lua_State *L, const struct lb_column *column, uint32_t row)
{
    if (!lb_column_is_valid(column, row)) {
        lua_pushnil(L);
        return;
    }
    switch (column->type) {
    case LB_NULL:
        lua_pushnil(L);
        return;
    case LB_BOOL:
        lua_pushboolean(L, column->bools[row]);
        return;
    case LB_INT64:
        lb_lua_push_int64(L, column->ints[row]);
        return;
    case LB_FLOAT64:
        lua_pushnumber(L, column->floats[row]);
        return;
    case LB_STRING:
        lua_pushlstring(L, lb_view_data(&column->views[row]), column->views[row].size);
        return;
    case LB_ANY:
        lb_lua_push_encoded(L, lb_view_data(&column->views[row]), column->views[row].size);
        return;
    }
}
