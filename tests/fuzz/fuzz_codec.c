/* The value codec: any bytes are taken or refused as a check written here says, walked, made Lua values and encoded again, put
 * into columns, and made sort keys whose order is that of the values and from which they come back.
 *
 * INPUT  byte: how to read the rest: encoded bytes as they are; or a recipe, from which a well-formed value is made. */
#include <math.h>

#include <lauxlib.h>
#include <lualib.h>

#include "core/column/builder.h"
#include "core/column/codec.h"
#include "core/column/key.h"
#include "core/io/format.h"
#include "fuzz.h"
#include "lua_bindings/values.h"

enum { MOST = 2000 };

/* ---- whether bytes are a value ---- */

static uint32_t number_at(const char *bytes)
{
    const unsigned char *b = (const unsigned char *)bytes;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* The bytes of the value that data begins with; 0: it is none. */
static size_t naive_size(const char *data, size_t size, int depth)
{
    if (size == 0)
        return 0;
    char tag = data[0];
    if (tag == 'n' || tag == 't' || tag == 'f')
        return 1;
    if (tag == 'i' || tag == 'd')
        return size >= 9 ? 9 : 0;
    if ((tag != 's' && tag != 'l' && tag != 'm') || size < 5)
        return 0;
    size_t whole = 5 + (size_t)number_at(data + 1);
    if (whole > size)
        return 0;
    if (tag == 's')
        return whole;
    if (whole < 9 || depth == 0)
        return 0;
    uint32_t count = number_at(data + 5);
    size_t at = 9;
    const char *last = NULL;
    size_t last_size = 0;
    if (tag == 'm' && count == 0)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        if (tag == 'm') {
            size_t key = naive_size(data + at, whole - at, 0);
            if (key == 0 || data[at] != 's')
                return 0;
            const char *name = data + at + 5;
            size_t least = last_size < key - 5 ? last_size : key - 5;
            int order = last != NULL ? memcmp(last, name, least) : -1;
            if (order > 0 || (order == 0 && last_size >= key - 5))
                return 0;
            last = name;
            last_size = key - 5;
            at += key;
        }
        size_t value = naive_size(data + at, whole - at, depth - 1);
        if (value == 0)
            return 0;
        at += value;
    }
    return at == whole ? whole : 0;
}

/* ---- making a value ---- */

static void put_string(struct fuzz_input *input, struct lb_buf *out)
{
    size_t size = fuzz_below(input, 20);
    size = size < input->size ? size : input->size;
    MUST(lb_codec_put_string(out, (const char *)input->data, size, &fuzz_error));
    input->data += size;
    input->size -= size;
}

static uint64_t put_bits(struct fuzz_input *input)
{
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | fuzz_byte(input);
    return bits;
}

static void put_number(struct fuzz_input *input, struct lb_buf *out, bool is_float)
{
    static const int64_t bases[] = {
        0, 1, -1, INT64_MAX, INT64_MIN, (int64_t)1 << 53, -((int64_t)1 << 53), (int64_t)1 << 62};
    int64_t integer = (int64_t)((uint64_t)bases[fuzz_below(input, 8)] + fuzz_below(input, 5) - 2);
    double number = (double)integer;
    if (fuzz_byte(input) & 1) {
        uint64_t bits = put_bits(input);
        memcpy(&integer, &bits, 8);
        memcpy(&number, &bits, 8);
    }
    if (is_float)
        MUST(lb_codec_put_float(out, number, &fuzz_error));
    else
        MUST(lb_codec_put_int(out, integer, &fuzz_error));
}

static void put_value(struct fuzz_input *input, int depth, struct lb_buf *out)
{
    uint32_t kind = fuzz_below(input, depth > 0 ? 9 : 7), count = 0;
    size_t mark;
    char name[2] = "a";
    switch (kind) {
    case 0:
        MUST(lb_codec_put_nil(out, &fuzz_error));
        return;
    case 1:
        MUST(lb_codec_put_bool(out, fuzz_byte(input) & 1, &fuzz_error));
        return;
    case 2:
    case 3:
        put_number(input, out, false);
        return;
    case 4:
        put_number(input, out, true);
        return;
    case 5:
    case 6:
        put_string(input, out);
        return;
    default:
        MUST(lb_codec_begin(out, kind == 7 ? 'l' : 'm', &mark, &fuzz_error));
        for (count = 0; input->size > 0 && count < 20 && (fuzz_byte(input) & 3) != 0; count++) {
            if (kind == 8) {
                name[0] = (char)('a' + (int)count);
                MUST(lb_codec_put_string(out, name, 1, &fuzz_error));
            }
            put_value(input, depth - 1, out);
        }
        lb_codec_end(out, mark, count);
    }
}

/* ---- the order of api.md, section 1 ---- */

static int rank_of(char tag)
{
    const char *ranks = "nftisslm";
    return (int)(strchr(ranks, tag == 'd' ? 'i' : tag) - ranks);
}

static int compare_int_float(int64_t i, double d)
{
    if (isnan(d) || d >= 0x1p63)
        return -1;
    if (d < -0x1p63)
        return 1;
    int64_t whole = (int64_t)floor(d);
    if (i != whole)
        return i < whole ? -1 : 1;
    return d > floor(d) ? -1 : 0;
}

static int compare_numbers(const struct lb_value *a, const struct lb_value *b)
{
    if (a->tag == 'i' && b->tag == 'i')
        return (a->i > b->i) - (a->i < b->i);
    if (a->tag == 'i')
        return compare_int_float(a->i, b->d);
    if (b->tag == 'i')
        return -compare_int_float(b->i, a->d);
    if (isnan(a->d) || isnan(b->d))
        return (isnan(a->d) != 0) - (isnan(b->d) != 0);
    return (a->d > b->d) - (a->d < b->d);
}

static int compare_values(const char *a, const char *b)
{
    struct lb_value x, y;
    lb_codec_next(&a, &x);
    lb_codec_next(&b, &y);
    int order = rank_of(x.tag) - rank_of(y.tag);
    if (order != 0)
        return order;
    if (x.tag == 'i' || x.tag == 'd')
        return compare_numbers(&x, &y);
    if (x.tag == 's')
        return lb_key_compare(x.data, x.size, y.data, y.size);
    if (x.tag != 'l' && x.tag != 'm')
        return 0;
    x.count *= x.tag == 'm' ? 2 : 1;
    y.count *= y.tag == 'm' ? 2 : 1;
    for (uint32_t i = 0; i < x.count && i < y.count; i++) {
        order = compare_values(x.data, y.data);
        if (order != 0)
            return order;
        x.data += lb_codec_size(x.data);
        y.data += lb_codec_size(y.data);
    }
    return (x.count > y.count) - (x.count < y.count);
}

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

/* ---- round trips ---- */

static int push_value(lua_State *L)
{
    const struct lb_buf *value = lua_touserdata(L, 1);
    lb_lua_push_encoded(L, value->data, value->size);
    return 1;
}

/* As Lua sees it: a list ends before its trailing nils, a map has no nil; what has holes is no value of Lua's. */
static bool has_nil(const char *data)
{
    struct lb_value value, key;
    bool found = false;
    lb_codec_next(&data, &value);
    for (uint32_t i = 0; (value.tag == 'l' || value.tag == 'm') && i < value.count; i++) {
        if (value.tag == 'm')
            lb_codec_next(&value.data, &key);
        found = found || value.data[0] == 'n' || has_nil(value.data);
        value.data += lb_codec_size(value.data);
    }
    return found;
}

static void check_lua(struct lb_buf *value)
{
    struct lb_buf again = {0};
    lua_State *lua = luaL_newstate();
    CHECK(lua != NULL);
    lua_pushcfunction(lua, push_value);
    lua_pushlightuserdata(lua, value);
    CHECK(lua_pcall(lua, 1, 1, 0) == LUA_OK);
    lb_status status = lb_lua_encode(lua, -1, "value", &again, &fuzz_error);
    if (!has_nil(value->data))
        CHECK(status == LB_OK && again.size == value->size &&
              memcmp(again.data, value->data, again.size) == 0);
    else
        CHECK(status != LB_OK || lb_codec_verify(again.data, again.size, &fuzz_error) == LB_OK);
    CHECK(lua_gettop(lua) == 1);
    lua_close(lua);
    lb_buf_fini(&again);
}

static void check_column(const struct lb_buf *value)
{
    struct lb_builder builder;
    struct lb_buf again = {0};
    lb_builder_init(&builder);
    MUST(lb_builder_encoded(&builder, value->data, value->size, &fuzz_error));
    MUST(lb_builder_encoded_view(&builder, value->data, value->size, &fuzz_error));
    struct lb_column column = lb_builder_finish(&builder);
    for (uint32_t row = 0; row < 2; row++) {
        again.size = 0;
        MUST(lb_codec_put_column(&again, &column, row, &fuzz_error));
        CHECK(again.size == value->size && memcmp(again.data, value->data, again.size) == 0);
    }
    struct lb_batch batch = {.n_rows = 2, .n_columns = 1, .n_selected = 2, .columns = &column};
    MUST(lb_batch_verify(&batch, &fuzz_error));
    lb_buf_fini(&again);
    lb_builder_fini(&builder);
}

static void check_key(const struct lb_buf *value, bool closed)
{
    struct lb_buf key = {0}, column_key = {0}, again = {0};
    struct lb_builder builder;
    MUST(lb_key_put_encoded(&key, value->data, value->size, closed, &fuzz_error));
    lb_builder_init(&builder);
    MUST(lb_builder_encoded(&builder, value->data, value->size, &fuzz_error));
    struct lb_column column = lb_builder_finish(&builder);
    MUST(lb_key_put_column(&column_key, &column, 0, closed, &fuzz_error));
    CHECK(key.size == column_key.size && memcmp(key.data, column_key.data, key.size) == 0);
    MUST(lb_key_decode(key.data, key.size, closed, &again, &fuzz_error));
    MUST(lb_codec_verify(again.data, again.size, &fuzz_error));
    CHECK(compare_values(value->data, again.data) == 0);
    lb_builder_fini(&builder);
    lb_buf_fini(&key);
    lb_buf_fini(&column_key);
    lb_buf_fini(&again);
}

static void check_formats(const struct lb_buf *value)
{
    static const enum lb_format formats[] = {LB_FORMAT_TEXT, LB_FORMAT_JSON, LB_FORMAT_CSV,
                                             LB_FORMAT_LUA};
    struct lb_buf text = {0};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        lb_status status =
            lb_format_encoded(formats[i], value->data, value->size, &text, &fuzz_error);
        CHECK(status == LB_OK || status == LB_ERR_DATA || status == LB_ERR_USER);
    }
    lb_buf_fini(&text);
}

static void check_value(struct lb_buf *value)
{
    check_column(value);
    check_key(value, false);
    check_key(value, true);
    check_formats(value);
    check_lua(value);
}

static void check_order(const struct lb_buf *a, const struct lb_buf *b)
{
    for (int closed = 0; closed < 2; closed++) {
        struct lb_buf x = {0}, y = {0};
        MUST(lb_key_put_encoded(&x, a->data, a->size, closed, &fuzz_error));
        MUST(lb_key_put_encoded(&y, b->data, b->size, closed, &fuzz_error));
        CHECK(sign(lb_key_compare(x.data, x.size, y.data, y.size)) ==
              sign(compare_values(a->data, b->data)));
        lb_buf_fini(&x);
        lb_buf_fini(&y);
    }
}

/* Bytes of unknown origin. */
static void check_bytes(const char *bytes, size_t size)
{
    char *exact = fuzz_copy(bytes, size, 0, 0);
    bool is_value = size > 0 && naive_size(exact, size, LB_CODEC_DEPTH) == size;
    CHECK((lb_codec_verify(exact, size, &fuzz_error) == LB_OK) == is_value);
    if (is_value) {
        struct lb_buf value = {.data = exact, .size = size};
        CHECK(lb_codec_size(exact) == size);
        check_value(&value);
    }
    const char *cursor = exact, *end = exact + size;
    struct lb_value value;
    while (cursor < end && lb_codec_get(&cursor, end, &value, &fuzz_error) == LB_OK)
        CHECK(cursor <= end);
    for (int closed = 0; closed < 2; closed++) { /* the same bytes as a key */
        struct lb_buf out = {0};
        lb_status status = lb_key_decode(exact, size, closed, &out, &fuzz_error);
        CHECK(status == LB_OK || status == LB_ERR_DATA);
        if (status == LB_OK)
            MUST(lb_codec_verify(out.data, out.size, &fuzz_error));
        lb_buf_fini(&out);
    }
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    bool is_recipe = fuzz_byte(&input) & 1;
    if (input.size > MOST)
        return 0;
    fuzz_begin();
    if (is_recipe) {
        struct lb_buf a = {0}, b = {0};
        put_value(&input, 5, &a);
        put_value(&input, 5, &b);
        check_bytes(a.data, a.size);
        check_bytes(b.data, b.size);
        check_order(&a, &b);
        lb_buf_fini(&a);
        lb_buf_fini(&b);
    } else {
        check_bytes((const char *)input.data, input.size);
    }
    return fuzz_end();
}
