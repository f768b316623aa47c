/* Rows (see row.h). */
#include "lua_bindings/row.h"

#include <ctype.h>

#include "core/base/sys.h"
#include "lua_bindings/compat.h"
#include "lua_bindings/values.h"

enum { LONGEST_NAME = 60, MOST_NAMES_TOLD = 10 }; /* in messages */

/* What a function reads */

static int append_bytes(lua_State *L, const void *data, size_t size, void *out)
{
    (void)L;
    return lb_buf_append(out, data, size, NULL) != LB_OK;
}

bool lb_lua_row_reads(lua_State *L, int index, int param, lb_bytecode_field_visitor *visitor,
                      void *state)
{
    if (lua_type(L, index) != LUA_TFUNCTION || lua_iscfunction(L, index))
        return false;
    struct lb_buf dump = {0};
    bool only_reads = false;
    lua_pushvalue(L, index);
    bool is_good = lua_dump(L, append_bytes, &dump, 1) == 0 &&
                   lb_bytecode_row_reads(dump.data, dump.size, param, visitor, state, &only_reads,
                                         NULL) == LB_OK;
    lua_pop(L, 1);
    lb_buf_fini(&dump);
    return is_good && only_reads;
}

/* A name that is read: marks its column; a name without column makes the table lazy, for __index to
 * refuse it. */
static lb_status note_read(void *state, const char *name, size_t size, bool is_always,
                           struct lb_error *err)
{
    (void)err;
    struct lb_lua_row *row = state;
    for (uint32_t i = 0; i < row->n_columns; i++) {
        struct lb_lua_row_column *column = &row->columns[i];
        if (column->size != size || memcmp(column->text, name, size) != 0)
            continue;
        if (!column->is_read)
            row->reads[row->n_reads++] = (uint16_t)i;
        column->is_read = true;
        column->is_always = column->is_always || is_always;
        row->is_lazy = row->is_lazy || !is_always;
        return LB_OK;
    }
    row->is_lazy = true;
    return LB_OK;
}

bool lb_lua_row_add_reader(struct lb_lua_row *row, lua_State *L, int index, int param)
{
    if (!lb_lua_row_reads(L, index, param, note_read, row)) {
        row->is_shared = false;
        return false;
    }
    if (!row->is_lazy)
        return true;
    lua_rawgeti(L, LUA_REGISTRYINDEX, row->table);
    lua_createtable(L, 0, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, row->index);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
    return true;
}

/* Names that no column has */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edits (insert, delete, replace, swap of neighbours) from a to b, as lib/lua/luabatch/suggest.lua counts
 * them, without regard to case; sizes are at most LONGEST_NAME. */
static size_t distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t rows[3][LONGEST_NAME + 1];
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t j = 0; j <= b_size; j++)
        last[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        row[0] = i;
        int x = tolower((unsigned char)a[i - 1]);
        for (size_t j = 1; j <= b_size; j++) {
            int y = tolower((unsigned char)b[j - 1]);
            row[j] = least(least(last[j], row[j - 1]) + 1, last[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                tolower((unsigned char)a[i - 2]) == y)
                row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *free_row = before;
        before = last;
        last = row;
        row = free_row;
    }
    return last[b_size];
}

static const struct lb_lua_row_column *find_nearest(const struct lb_lua_row *row, const char *name,
                                                    size_t size)
{
    if (size > LONGEST_NAME)
        return NULL;
    const struct lb_lua_row_column *nearest = NULL;
    size_t best = size / 3 > 1 ? size / 3 : 1;
    for (uint32_t i = 0; i < row->n_columns; i++) {
        const struct lb_lua_row_column *column = &row->columns[i];
        if (column->size > LONGEST_NAME)
            continue;
        size_t edits = distance(name, size, column->text, column->size);
        if (edits < best || (edits == best && nearest == NULL)) {
            best = edits;
            nearest = column;
        }
    }
    return nearest;
}

/* Raises, with the position of the Lua function that read the name at stack position 2. */
static int refuse_name(lua_State *L, const struct lb_lua_row *row)
{
    size_t size;
    const char *name = luaL_tolstring(L, 2, &size);
    const struct lb_lua_row_column *nearest = find_nearest(row, name, size);
    if (nearest != NULL) {
        lua_pushlstring(L, nearest->text, nearest->size);
        return luaL_error(L, "a row has no column '%s'; did you mean '%s'?", name,
                          lua_tostring(L, -1));
    }
    luaL_Buffer list;
    luaL_buffinit(L, &list);
    for (uint32_t i = 0; i < row->n_columns && i < MOST_NAMES_TOLD; i++) {
        if (i > 0)
            luaL_addstring(&list, ", ");
        luaL_addlstring(&list, row->columns[i].text, row->columns[i].size);
    }
    if (row->n_columns > MOST_NAMES_TOLD)
        luaL_addstring(&list, ", ...");
    luaL_pushresult(&list);
    return luaL_error(L, "a row has no column '%s'; it has %s", name,
                      row->n_columns > 0 ? lua_tostring(L, -1) : "no columns");
}

/* __index of the shared table: the field is nil in this row, or was not made yet, or is no column. Its
 * upvalues: the row (nil once that is gone), the table name -> number of the column. */
static int l_index(lua_State *L)
{
    struct lb_lua_row *row = lua_touserdata(L, lua_upvalueindex(1));
    lua_settop(L, 2);
    if (row == NULL || row->batch == NULL)
        return 0;
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNUMBER)
        return refuse_name(L, row);
    uint32_t i = (uint32_t)lua_tointeger(L, -1);
    if (i >= row->batch->n_columns || !lb_column_is_valid(&row->batch->columns[i], row->row))
        return 0;
    lb_lua_push_column(L, &row->batch->columns[i], row->row);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
    row->columns[i].is_set = true;
    return 1;
}

/* Records */

/* Whether the value is costly to make, so that it may wait until it is read. */
static inline bool is_costly(enum lb_type type)
{
    return type == LB_STRING || type == LB_ANY;
}

void lb_lua_row_fill(struct lb_lua_row *row, lua_State *L, const struct lb_batch *batch,
                     uint32_t number)
{
    row->batch = batch;
    row->row = number;
    lua_rawgeti(L, LUA_REGISTRYINDEX, row->table);
    for (uint32_t i = 0; i < row->n_reads; i++) {
        uint32_t place = row->reads[i];
        struct lb_lua_row_column *column = &row->columns[place];
        const struct lb_column *data = place < batch->n_columns ? &batch->columns[place] : NULL;
        bool is_now = data != NULL && (column->is_always || !is_costly(data->type)) &&
                      lb_column_is_valid(data, number);
        if (!is_now && !column->is_set)
            continue;
        lua_rawgeti(L, LUA_REGISTRYINDEX, column->name);
        if (!is_now)
            lua_pushnil(L);
        else if (data->type == LB_INT64)
            lb_lua_push_int64(L, data->ints[number]);
        else
            lb_lua_push_column(L, data, number);
        lua_rawset(L, -3);
        column->is_set = is_now;
    }
}

void lb_lua_row_push_table(const struct lb_lua_row *row, lua_State *L, const struct lb_batch *batch,
                           uint32_t number)
{
    uint32_t n = batch->n_columns < row->n_columns ? batch->n_columns : row->n_columns;
    int n_fields = 0;
    for (uint32_t i = 0; i < n; i++)
        n_fields += lb_column_is_valid(&batch->columns[i], number);
    lua_createtable(L, 0, n_fields);
    for (uint32_t i = 0; i < n; i++) {
        if (!lb_column_is_valid(&batch->columns[i], number))
            continue;
        lua_rawgeti(L, LUA_REGISTRYINDEX, row->columns[i].name);
        lb_lua_push_column(L, &batch->columns[i], number);
        lua_rawset(L, -3);
    }
}

/* Init and fini */

/* Makes the Lua side. What it made before it raises is known to fini. */
static int l_prepare(lua_State *L)
{
    struct lb_lua_row *row = lua_touserdata(L, 1);
    lua_createtable(L, 0, (int)row->n_columns);
    for (uint32_t i = 0; i < row->n_columns; i++) {
        lua_pushlstring(L, row->columns[i].text, row->columns[i].size);
        lua_pushvalue(L, -1);
        lua_pushinteger(L, i);
        lua_rawset(L, 2);
        row->columns[i].name = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_pushlightuserdata(L, row);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, l_index, 2);
    row->index = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_createtable(L, 0, (int)row->n_columns);
    row->table = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static lb_status take_names(struct lb_lua_row *row, const struct lb_value *names, const char *key,
                            const char *label, struct lb_error *err)
{
    if (names->tag != 'l' || names->count > LB_MAX_COLUMNS)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: %s is no list of names", label, key);
    row->n_columns = names->count;
    if (names->count == 0)
        return LB_OK;
    row->columns = lb_alloc_zero(names->count * sizeof *row->columns);
    for (uint32_t i = 0; row->columns != NULL && i < names->count; i++)
        row->columns[i].name = LUA_NOREF;
    row->reads = lb_alloc_zero(names->count * sizeof *row->reads);
    if (row->columns == NULL || row->reads == NULL)
        return lb_error_memory(err, label, names->count * sizeof *row->columns);
    const char *cursor = names->data;
    for (uint32_t i = 0; i < names->count; i++) {
        struct lb_value name;
        lb_codec_next(&cursor, &name);
        if (name.tag != 's')
            return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: name %u of %s is no string", label,
                                (unsigned)i + 1, key);
        row->columns[i].text = name.data;
        row->columns[i].size = name.size;
    }
    return LB_OK;
}

lb_status lb_lua_row_init(struct lb_lua_row *row, struct lb_lua_worker *lua,
                          const struct lb_value *params, const char *key, const char *label,
                          struct lb_error *err)
{
    *row = (struct lb_lua_row){.table = LUA_NOREF, .index = LUA_NOREF};
    struct lb_value names;
    if (!lb_value_field(params, key, &names))
        return LB_OK;
    row->lua = lua;
    row->is_shared = true;
    lb_status status = take_names(row, &names, key, label, err);
    if (status == LB_OK && !lua_checkstack(lua->L, 4))
        status = lb_error_memory(err, "the Lua stack", 0);
    if (status == LB_OK) {
        struct lb_lua_place place = {.label = label};
        lua_pushcfunction(lua->L, l_prepare);
        lua_pushlightuserdata(lua->L, row);
        status = lb_lua_call(lua, 1, 0, &place, err);
    }
    if (status != LB_OK)
        lb_lua_row_fini(row);
    return status;
}

void lb_lua_row_fini(struct lb_lua_row *row)
{
    if (row->lua == NULL)
        return;
    lua_State *L = row->lua->L;
    if (row->index != LUA_NOREF && lua_checkstack(L, 4)) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, row->index);
        lua_pushnil(L);
        lua_setupvalue(L, -2, 1);
        lua_pop(L, 1);
    }
    luaL_unref(L, LUA_REGISTRYINDEX, row->index);
    luaL_unref(L, LUA_REGISTRYINDEX, row->table);
    for (uint32_t i = 0; row->columns != NULL && i < row->n_columns; i++)
        luaL_unref(L, LUA_REGISTRYINDEX, row->columns[i].name);
    lb_free(row->columns, row->n_columns * sizeof *row->columns);
    lb_free(row->reads, row->n_columns * sizeof *row->reads);
    *row = (struct lb_lua_row){.table = LUA_NOREF, .index = LUA_NOREF};
}
