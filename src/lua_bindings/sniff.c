/* Names and types of the columns of CSV and JSON files for the Lua library.
 *
 * MEMORY The state hangs on a userdata: Lua may raise at any point. */
#include "lua_bindings/sniff.h"

#include <string.h>

#include "core/io/csv_sniff.h"
#include "core/io/hive.h"
#include "core/io/json_sniff.h"
#include "core/io/native.h"
#include "core/io/stream.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/errors.h"
#include "lua_bindings/values.h"

#define SNIFF_TYPE "luabatch.sniff"

struct sniff {
    struct lb_csv_sniff csv;
    struct lb_json_sniff json;
    struct lb_file_list files;
    struct lb_buf native_names; /* of one file, a codec list */
    struct lb_buf text;
};

static int l_sniff_close(lua_State *L)
{
    struct sniff *sniff = luaL_checkudata(L, 1, SNIFF_TYPE);
    lb_csv_sniff_fini(&sniff->csv);
    lb_json_sniff_fini(&sniff->json);
    lb_file_list_fini(&sniff->files);
    lb_buf_fini(&sniff->native_names);
    lb_buf_fini(&sniff->text);
    return 0;
}

static struct sniff *push_sniff(lua_State *L)
{
    struct sniff *sniff = lua_newuserdatauv(L, sizeof *sniff, 0);
    memset(sniff, 0, sizeof *sniff);
    if (luaL_newmetatable(L, SNIFF_TYPE)) {
        lua_pushcfunction(L, l_sniff_close);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return sniff;
}

/* The string option; it stays on the stack, which keeps it. */
static const char *option_string(lua_State *L, const char *name, const char *fallback, size_t *size)
{
    if (lua_getfield(L, 2, name) == LUA_TNIL)
        lua_pushstring(L, fallback);
    else if (lua_type(L, -1) != LUA_TSTRING)
        luaL_error(L, "bad option '%s' (string expected, got %s)", name, luaL_typename(L, -1));
    return lua_tolstring(L, -1, size);
}

static bool option_boolean(lua_State *L, const char *name)
{
    bool value = lua_getfield(L, 2, name) == LUA_TNIL || lua_toboolean(L, -1);
    lua_pop(L, 1);
    return value;
}

/* Pushes the list of nulls as one string, each with a NUL behind it. */
static const char *option_nulls(lua_State *L, size_t *size)
{
    luaL_Buffer out;
    int list = lua_gettop(L) + 1;
    if (lua_getfield(L, 2, "null") == LUA_TNIL) {
        lua_pushlstring(L, "", 1);
        return lua_tolstring(L, -1, size);
    }
    luaL_checktype(L, list, LUA_TTABLE);
    lua_Integer n = luaL_len(L, list);
    luaL_buffinit(L, &out);
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, list, i) != LUA_TSTRING)
            luaL_error(L, "bad option 'null' (list of strings expected)");
        luaL_addvalue(&out);
        luaL_addchar(&out, '\0');
    }
    luaL_pushresult(&out);
    return lua_tolstring(L, -1, size);
}

/* Listing uses nothing up, so it is repeated whatever is listed. */
static lb_status add_path(struct sniff *sniff, const char *path, struct lb_error *err)
{
    const struct lb_file_list none = {0};
    int n_attempts = 0;
    lb_status status;
    do
        status = lb_file_list_add(&sniff->files, path, err);
    while (status != LB_OK && lb_file_list_again(&none, err, ++n_attempts));
    return status;
}

static lb_status list_paths(lua_State *L, struct sniff *sniff, struct lb_error *err)
{
    if (lua_type(L, 1) == LUA_TSTRING)
        return add_path(sniff, lua_tostring(L, 1), err);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer n = luaL_len(L, 1);
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, 1, i) != LUA_TSTRING)
            luaL_error(L, "path %d is a %s, not a string", (int)i, luaL_typename(L, -1));
        LB_TRY(add_path(sniff, lua_tostring(L, -1), err));
        lua_pop(L, 1);
    }
    return LB_OK;
}

/* The files of the paths, which are the first argument; compression: what they are compressed by, or NULL. */
static lb_status add_paths(lua_State *L, struct sniff *sniff, const char *compression,
                           struct lb_error *err)
{
    LB_TRY(list_paths(L, sniff, err));
    return compression != NULL ? lb_file_list_tell(&sniff->files, compression, err) : LB_OK;
}

int lb_lua_csv_sniff(lua_State *L)
{
    struct lb_error err;
    size_t separator_size, quote_size, compression_size;
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_newtable(L);
        lua_replace(L, 2);
    }
    luaL_checktype(L, 2, LUA_TTABLE);
    struct sniff *sniff = push_sniff(L);
    struct lb_csv_sniff *csv = &sniff->csv;
    const char *separator = option_string(L, "sep", ",", &separator_size);
    const char *quote = option_string(L, "quote", "\"", &quote_size);
    csv->has_header = option_boolean(L, "header");
    csv->checks_headers = option_boolean(L, "check_header");
    csv->nulls = option_nulls(L, &csv->nulls_size);
    const char *compression = option_string(L, "compression", "auto", &compression_size);
    lb_status status =
        lb_csv_dialect_set(&csv->dialect, separator, separator_size, quote, quote_size, &err);
    if (status == LB_OK)
        status = add_paths(L, sniff, compression, &err);
    const struct lb_csv_sniff fresh = *csv;
    int n_attempts = 0;
    bool is_listed = status == LB_OK;
    if (is_listed)
        status = lb_csv_sniff_files(csv, &sniff->files, &err);
    while (is_listed && status != LB_OK && lb_file_list_again(&sniff->files, &err, ++n_attempts)) {
        lb_csv_sniff_fini(csv);
        *csv = fresh;
        status = lb_csv_sniff_files(csv, &sniff->files, &err);
    }
    if (status != LB_OK)
        return lb_lua_raise(L, &err);
    lua_createtable(L, 0, 2);
    lua_createtable(L, (int)csv->n_columns, 0);
    lua_createtable(L, (int)csv->n_columns, 0);
    const char *name = csv->names.data;
    for (uint32_t i = 0; i < csv->n_columns; i++) {
        lua_pushstring(L, name);
        lua_rawseti(L, -3, (lua_Integer)i + 1);
        lua_pushstring(L, lb_csv_type_name(csv->types[i]));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
        name += strlen(name) + 1;
    }
    lua_setfield(L, -3, "types");
    lua_setfield(L, -2, "names");
    return 1;
}

int lb_lua_json_sniff(lua_State *L)
{
    struct lb_error err;
    lua_settop(L, 3);
    struct sniff *sniff = push_sniff(L);
    sniff->json.may_be_empty = lua_toboolean(L, 2);
    lb_status status = add_paths(L, sniff, luaL_optstring(L, 3, NULL), &err);
    const struct lb_json_sniff fresh = sniff->json;
    int n_attempts = 0;
    bool is_listed = status == LB_OK;
    if (is_listed)
        status = lb_json_sniff_files(&sniff->json, &sniff->files, &err);
    while (is_listed && status != LB_OK && lb_file_list_again(&sniff->files, &err, ++n_attempts)) {
        lb_json_sniff_fini(&sniff->json);
        sniff->json = fresh;
        status = lb_json_sniff_files(&sniff->json, &sniff->files, &err);
    }
    if (status != LB_OK)
        return lb_lua_raise(L, &err);
    const struct lb_json_sniff *json = &sniff->json;
    lua_createtable(L, 0, 2);
    lua_createtable(L, (int)json->n_columns, 0);
    lua_createtable(L, (int)json->n_columns, 0);
    const char *name = json->names.data;
    for (uint32_t i = 0; i < json->n_columns; i++) {
        lua_pushstring(L, name);
        lua_rawseti(L, -3, (lua_Integer)i + 1);
        lua_pushstring(L, lb_json_type_name((enum lb_json_type)json->types.data[i]));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
        name += strlen(name) + 1;
    }
    lua_setfield(L, -3, "types");
    lua_setfield(L, -2, "names");
    return 1;
}

int lb_lua_text_bytes(lua_State *L)
{
    struct lb_error err;
    lua_settop(L, 2);
    struct sniff *sniff = push_sniff(L);
    lb_status status = add_paths(L, sniff, luaL_optstring(L, 2, NULL), &err);
    uint64_t bytes = 0;
    bool is_known = true;
    for (size_t i = 0; status == LB_OK && is_known && i < sniff->files.n_files; i++) {
        struct lb_file *file = &sniff->files.files[i];
        int n_attempts = 0;
        is_known = file->is_regular;
        do
            status = lb_stream_detect(file, &err);
        while (status != LB_OK && lb_file_list_again(&sniff->files, &err, ++n_attempts));
        bytes += file->size_bytes * (file->compression != LB_PLAIN ? 4 : 1);
    }
    if (status != LB_OK)
        return lb_lua_raise(L, &err);
    if (!is_known)
        return 0;
    lua_pushinteger(L, (lua_Integer)bytes);
    return 1;
}

int lb_lua_native_names(lua_State *L)
{
    struct lb_error err;
    lua_settop(L, 2);
    struct sniff *sniff = push_sniff(L);
    lb_status status = add_paths(L, sniff, luaL_optstring(L, 2, NULL), &err);
    if (status != LB_OK)
        return lb_lua_raise(L, &err);
    lua_newtable(L);
    for (size_t i = 0; i < sniff->files.n_files; i++) {
        const struct lb_file *file = &sniff->files.files[i];
        if (!file->is_regular) /* what cannot be read twice is not looked at */
            continue;
        int n_attempts = 0;
        do {
            sniff->native_names.size = 0;
            status = lb_native_names(file, &sniff->native_names, &err);
        } while (status != LB_OK && lb_file_list_again(&sniff->files, &err, ++n_attempts));
        if (status != LB_OK)
            return lb_lua_raise(L, &err);
        lua_createtable(L, 0, 2);
        lua_pushstring(L, file->path);
        lua_setfield(L, -2, "path");
        if (sniff->native_names.size > 0) {
            lb_lua_push_encoded(L, sniff->native_names.data, sniff->native_names.size);
            lua_setfield(L, -2, "names");
        }
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    }
    return 1;
}

int lb_lua_hive_parts(lua_State *L)
{
    const char *cursor = luaL_checkstring(L, 1);
    struct sniff *sniff = push_sniff(L);
    struct lb_hive_part part;
    struct lb_error err;
    lua_newtable(L);
    for (lua_Integer n = 1; lb_hive_next(&cursor, &part); n++) {
        struct lb_buf *text = &sniff->text;
        lua_createtable(L, 2, 0);
        for (int i = 1; i <= (part.is_nil ? 1 : 2); i++) {
            text->size = 0;
            if (lb_hive_decode(i == 1 ? part.name : part.value,
                               i == 1 ? part.name_size : part.value_size, text, &err) != LB_OK)
                return lb_lua_raise(L, &err);
            lua_pushlstring(L, text->size > 0 ? text->data : "", text->size);
            lua_rawseti(L, -2, i);
        }
        lua_rawseti(L, -2, n);
    }
    return 1;
}

int lb_lua_csv_type(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct lb_buf *text = &push_sniff(L)->text;
    struct lb_error err;
    enum lb_csv_type type = LB_CSV_NIL;
    double number;
    for (int pass = 0; pass < 2;
         pass++) { /* an integer that is no exact float makes strings of floats */
        for (lua_Integer i = 1; lua_rawgeti(L, 1, i) == LUA_TSTRING; i++) {
            size_t size;
            const char *data = lua_tolstring(L, -1, &size);
            text->size = 0;
            if (lb_buf_append(text, data, size, &err) != LB_OK ||
                lb_buf_reserve(text, LB_TEXT_PADDING, &err) != LB_OK)
                return lb_lua_raise(L, &err);
            if (pass == 0)
                type = lb_csv_type_join(type, lb_csv_type_of(text->data, size));
            else if (type == LB_CSV_FLOAT && !lb_csv_float(text->data, size, &number))
                type = LB_CSV_STRING;
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    lua_pushstring(L, lb_csv_type_name(type != LB_CSV_NIL ? type : LB_CSV_STRING));
    return 1;
}
