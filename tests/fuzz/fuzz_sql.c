/* SQL expressions: any text is an error that says where, or a program that gives the same over typed columns and over columns of
 * encoded values, over all rows and over some; and what the optimiser believes of it holds: its type, that it cannot fail, its
 * form with constants computed, its parts put together again, its columns renamed.
 *
 * INPUT  byte: the rows that count; text. */
#include <lauxlib.h>
#include <lualib.h>
#include <math.h>

#include "core/column/builder.h"
#include "core/expr/expr.h"
#include "embedded.h"
#include "fuzz.h"
#include "lua_bindings/values.h"
#include "luabatch.h"

enum { N_COLUMNS = 6, N_ROWS = 7, MOST = 400, MOST_FORMS = 4 };

/* ---- the rows: columns i, f, s, b, l, t ---- */

#define INT(value)               \
    {                            \
        .tag = 'i', .i = (value) \
    }
#define FLOAT(value)             \
    {                            \
        .tag = 'd', .d = (value) \
    }
#define TEXT(text)                                           \
    {                                                        \
        .tag = 's', .data = (text), .size = sizeof(text) - 1 \
    }
#define NIL        \
    {              \
        .tag = 'n' \
    }
#define BOOL(value)                \
    {                              \
        .tag = (value) ? 't' : 'f' \
    }
static const struct lb_value rows[N_COLUMNS][N_ROWS] = {
    {INT(0), INT(1), INT(-1), NIL, INT(9007199254740993), INT(INT64_MAX), INT(INT64_MIN)},
    {FLOAT(0), FLOAT(-0.0), FLOAT(1.5), NIL, FLOAT((double)NAN), FLOAT((double)INFINITY),
     FLOAT(1e300)},
    {TEXT(""), TEXT("a"), TEXT("Ab c"), NIL, TEXT("2024-02-29T12:30:00.5"), TEXT("12"),
     TEXT("longer than twelve bytes, \xc3\xa9\0")},
    {BOOL(1), BOOL(0), NIL, BOOL(1), BOOL(0), BOOL(1), NIL},
    {TEXT("x"), INT(1), NIL, FLOAT(2.5), BOOL(1), INT(3), TEXT("")}, /* two of them tables */
    {TEXT("a+"), TEXT("%Y-%m-%d"), TEXT("2024-01-01"), TEXT("["), NIL, TEXT("%"), TEXT("a,b,,c")},
};

static void put(struct lb_builder *builder, int c, int r)
{
    const struct lb_value *value = &rows[c][r];
    struct lb_buf table = {0};
    size_t mark;
    if (c == 4 && r >= 5) {
        MUST(lb_codec_begin(&table, r == 5 ? 'l' : 'm', &mark, &fuzz_error));
        if (r == 6)
            MUST(lb_codec_put_string(&table, "key", 3, &fuzz_error));
        MUST(lb_codec_put_int(&table, 7, &fuzz_error));
        lb_codec_end(&table, mark, 1);
        MUST(lb_builder_encoded(builder, table.data, table.size, &fuzz_error));
        lb_buf_fini(&table);
    } else if (value->tag == 'n') {
        MUST(lb_builder_null(builder, &fuzz_error));
    } else if (value->tag == 'i') {
        MUST(lb_builder_int(builder, value->i, &fuzz_error));
    } else if (value->tag == 'd') {
        MUST(lb_builder_float(builder, value->d, &fuzz_error));
    } else if (value->tag == 's') {
        MUST(lb_builder_string(builder, value->data, value->size, &fuzz_error));
    } else {
        MUST(lb_builder_bool(builder, value->tag == 't', &fuzz_error));
    }
}

struct table {
    struct lb_builder builders[2 * N_COLUMNS];
    struct lb_column typed[N_COLUMNS], wide[N_COLUMNS];
};

static void table_init(struct table *table)
{
    static const char empty[9] = {
        'l', 4}; /* a table behind the last row makes a column one of any values */
    for (int c = 0; c < N_COLUMNS; c++) {
        struct lb_builder *typed = &table->builders[c], *wide = &table->builders[N_COLUMNS + c];
        lb_builder_init(typed);
        lb_builder_init(wide);
        for (int r = 0; r < N_ROWS; r++) {
            put(typed, c, r);
            put(wide, c, r);
        }
        MUST(lb_builder_encoded(wide, empty, sizeof empty, &fuzz_error));
        table->typed[c] = lb_builder_finish(typed);
        table->wide[c] = lb_builder_finish(wide);
    }
}

static void table_fini(struct table *table)
{
    for (int i = 0; i < 2 * N_COLUMNS; i++)
        lb_builder_fini(&table->builders[i]);
}

/* ---- the Lua side ---- */

static const char driver[] =
    "local sql, sql_types = require 'luabatch.sql', require 'luabatch.sql_types'\n"
    "local names = { 'i', 'f', 's', 'b', 'l', 't' }\n"
    "local other = { 'select', 'f 2', 'S', 'b\"', 'i', 'T' }\n"
    "local types = { i = 'integer', f = 'float', s = 'string', b = 'boolean', t = 'string' }\n"
    "local map = {}\n"
    "for i, name in ipairs(names) do map[name] = other[i] end\n"
    "function forms(text)\n"
    "  local program, used = sql.compile(text, names)\n"
    "  if not program then\n"
    "    assert(used:find '^position %d+: .', used)\n"
    "    return nil\n"
    "  end\n"
    "  local function again(form, columns)\n"
    "    local result, message = sql.compile(form, columns)\n"
    "    assert(result, message)\n"
    "    return result\n"
    "  end\n"
    "  local kind, is_safe = sql_types.of(text, names, types)\n"
    "  return kind or false, is_safe, program, again(sql_types.fold(text, names), names),\n"
    "    again(sql_types.rename(text, names, map), other),\n"
    "    again(sql_types.conjunction(sql_types.conjuncts(text, names)), names)\n"
    "end\n";

static lua_State *lua;

static int load_embedded(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    for (const struct embedded_file *file = embedded_files; file->name != NULL; file++) {
        if (strcmp(file->name, name) != 0)
            continue;
        if (luaL_loadbufferx(L, file->text, file->size, name, "t") != LUA_OK)
            return lua_error(L);
        return 1;
    }
    return 0;
}

static void close_lua(void)
{
    lua_close(lua);
}

static void open_lua(void)
{
    lua = luaL_newstate();
    CHECK(lua != NULL);
    luaL_openlibs(lua);
    luaL_requiref(lua, "luabatch.core", luaopen_luabatch_core, 0);
    lua_getglobal(lua, "package");
    lua_getfield(lua, -1, "searchers");
    lua_pushcfunction(lua, load_embedded);
    lua_rawseti(lua, -2, 2);
    lua_settop(lua, 0);
    if (luaL_dostring(lua, driver) != LUA_OK)
        FUZZ_FAIL("%s", lua_tostring(lua, -1));
    atexit(close_lua);
}

/* What the library says of the text; the programs of its forms, encoded. */
struct answer {
    char kind[10]; /* "": not known */
    bool is_safe;
    struct lb_buf programs[MOST_FORMS];
    int n;
};

static bool ask_lua(const char *text, size_t size, struct answer *answer)
{
    lua_getglobal(lua, "forms");
    lua_pushlstring(lua, text, size);
    if (lua_pcall(lua, 1, LUA_MULTRET, 0) != LUA_OK)
        FUZZ_FAIL("%s", lua_tostring(lua, -1));
    if (lua_isnil(lua, 1)) {
        lua_settop(lua, 0);
        return false;
    }
    snprintf(answer->kind, sizeof answer->kind, "%s",
             lua_isstring(lua, 1) ? lua_tostring(lua, 1) : "");
    answer->is_safe = lua_toboolean(lua, 2);
    answer->n = lua_gettop(lua) - 2;
    CHECK(answer->n == MOST_FORMS);
    for (int i = 0; i < answer->n; i++)
        MUST(lb_lua_encode(lua, 3 + i, "program", &answer->programs[i], &fuzz_error));
    lua_settop(lua, 0);
    return true;
}

/* ---- evaluation ---- */

/* The values of the rows that count, encoded; or the error. */
struct outcome {
    lb_status status;
    bool has_refused;
    struct lb_buf values;
    char message[LB_ERROR_MESSAGE_BYTES];
};

static void evaluate(const struct lb_buf *program, const struct lb_batch *batch,
                     struct outcome *outcome)
{
    struct lb_expr *expr = NULL;
    struct lb_expr_state *state = NULL;
    struct lb_column column;
    struct lb_value value;
    const char *cursor = program->data;
    fuzz_has_refused = false;
    lb_codec_next(&cursor, &value);
    MUST(lb_expr_new(&value, &expr, &fuzz_error));
    MUST(lb_expr_state_new(expr, &state, &fuzz_error));
    for (int round = 0; round < 2; round++) { /* twice: memory is used again */
        outcome->values.size = 0;
        outcome->status = lb_expr_eval(state, batch, &column, &fuzz_error);
        if (outcome->status != LB_OK) {
            fuzz_has_refused |= lb_expr_state_too_much(state);
            CHECK(outcome->status == LB_ERR_USER || fuzz_has_refused);
            memcpy(outcome->message, fuzz_error.message, sizeof outcome->message);
            continue;
        }
        struct lb_batch out = *batch;
        out.columns = &column;
        out.n_columns = 1;
        MUST(lb_batch_verify(&out, &fuzz_error));
        for (uint32_t i = 0; i < batch->n_selected; i++)
            MUST(lb_codec_put_column(&outcome->values, &column, lb_batch_row(batch, i),
                                     &fuzz_error));
    }
    uint32_t select[N_ROWS], n = 0, wanted = 0;
    lb_status status = lb_expr_filter(state, batch, select, &n, &fuzz_error);
    CHECK(status == LB_OK || outcome->status != LB_OK || status == LB_ERR_USER);
    if (status == LB_OK && outcome->status == LB_OK) { /* the rows that are true */
        cursor = outcome->values.data;
        for (uint32_t i = 0; i < batch->n_selected; i++) {
            lb_codec_next(&cursor, &value);
            if (value.tag == 't')
                CHECK(wanted < n && select[wanted++] == lb_batch_row(batch, i));
        }
        CHECK(wanted == n);
    }
    outcome->has_refused = fuzz_has_refused;
    lb_expr_state_delete(state);
    lb_expr_delete(expr);
}

static void check_same(const struct outcome *a, const struct outcome *b, bool and_message)
{
    if (a->has_refused || b->has_refused)
        return;
    CHECK(a->status == b->status);
    if (a->status != LB_OK)
        CHECK(!and_message || strcmp(a->message, b->message) == 0);
    else
        CHECK(a->values.size == b->values.size &&
              (a->values.size == 0 || memcmp(a->values.data, b->values.data, a->values.size) == 0));
}

static void check_kind(const struct answer *answer, const struct outcome *outcome)
{
    static const char *const kinds[] = {"null", "boolean", "integer", "float", "string"};
    static const char *const tags[] = {"n", "tfn", "in", "dn", "sn"};
    CHECK(!answer->is_safe || outcome->status == LB_OK || outcome->has_refused);
    if (outcome->values.size == 0)
        return;
    const char *cursor = outcome->values.data, *end = cursor + outcome->values.size;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        while (cursor < end && strcmp(answer->kind, kinds[k]) == 0) {
            CHECK(strchr(tags[k], *cursor) != NULL);
            cursor += lb_codec_size(cursor);
        }
    }
}

static void check_programs(const struct answer *answer, uint32_t mask)
{
    static struct outcome first, other;
    struct table table;
    uint32_t select[N_ROWS], n = 0;
    table_init(&table);
    for (uint32_t r = 0; r < N_ROWS; r++)
        if ((mask >> r & 1) != 0)
            select[n++] = r;
    struct lb_batch batch = {
        .n_rows = N_ROWS, .n_columns = N_COLUMNS, .n_selected = N_ROWS, .columns = table.typed};
    if ((mask & 128) != 0) {
        batch.select = select;
        batch.n_selected = n;
    }
    struct lb_batch wide = batch;
    wide.columns = table.wide;
    evaluate(&answer->programs[0], &batch, &first);
    check_kind(answer, &first);
    evaluate(&answer->programs[0], &wide, &other);
    check_same(&first, &other, true);
    for (int i = 1; i < answer->n; i++) {
        evaluate(&answer->programs[i], &batch, &other);
        check_same(&first, &other, false);
    }
    lb_buf_fini(&first.values);
    lb_buf_fini(&other.values);
    table_fini(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct answer answer = {.n = 0};
    uint32_t mask = fuzz_byte(&input);
    if (input.size > MOST)
        return 0;
    if (lua == NULL)
        open_lua();
    fuzz_most_bytes = 1 << 20; /* repeat('x', 1e9) is no mistake of ours */
    fuzz_may_refuse = true;
    fuzz_begin();
    if (ask_lua((const char *)input.data, input.size, &answer))
        check_programs(&answer, mask);
    for (int i = 0; i < answer.n; i++)
        lb_buf_fini(&answer.programs[i]);
    if (atomic_load(&fuzz_live_bytes) != fuzz_live_before)
        lua_gc(lua, LUA_GCCOLLECT); /* Lua's values hold some */
    return fuzz_end();
}
