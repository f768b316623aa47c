/* Single values in the output formats: see format.h. Containers nest at most LB_CODEC_DEPTH deep,
 * so recursion is bounded. */
#include "core/io/format_value.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "core/base/number.h"

static lb_status put_text(const char *text, struct lb_buf *out, struct lb_error *err)
{
    return lb_buf_append(out, text, strlen(text), err);
}

static lb_status put_int(int64_t value, struct lb_buf *out, struct lb_error *err)
{
    LB_TRY(lb_buf_reserve(out, LB_NUMBER_BYTES, err));
    out->size += lb_format_int(value, out->data + out->size);
    return LB_OK;
}

static lb_status put_float(double value, struct lb_buf *out, struct lb_error *err)
{
    LB_TRY(lb_buf_reserve(out, LB_NUMBER_BYTES, err));
    out->size += lb_format_float(value, out->data + out->size);
    return LB_OK;
}

/* ---- JSON ---- */

static size_t json_escape(unsigned char byte, char out[6])
{
    static const char hex[] = "0123456789abcdef";
    static const char names[] = "btn?fr"; /* of bytes 8..13; 11 has none */
    out[0] = '\\';
    if (byte == '"' || byte == '\\') {
        out[1] = (char)byte;
        return 2;
    }
    if (byte >= 8 && byte <= 13 && byte != 11) {
        out[1] = names[byte - 8];
        return 2;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = hex[byte >> 4];
    out[5] = hex[byte & 15];
    return 6;
}

lb_status lb_format_json_string(const char *data, size_t size, struct lb_buf *out,
                                struct lb_error *err)
{
    /* Each byte makes six at most; long strings are done in pieces, so as not to ask for that at
     * once. */
    const unsigned char *p = (const unsigned char *)data;
    const unsigned char *end = p + size;
    LB_TRY(lb_buf_append_byte(out, '"', err));
    while (p < end) {
        const unsigned char *stop = end - p > 1024 ? p + 1024 : end;
        LB_TRY(lb_buf_reserve(out, 6 * 1024 + 16, err));
        char *to = out->data + out->size;
        while (p < stop) {
            /* Bytes beyond ASCII are as they are, UTF-8 or not: read back they are the same. */
            if (*p >= 0x20 && *p != '"' && *p != '\\')
                *to++ = (char)*p++;
            else
                to += json_escape(*p++, to);
        }
        out->size = (size_t)(to - out->data);
    }
    return lb_buf_append_byte(out, '"', err);
}

static lb_status put_json(const struct lb_value *value, struct lb_buf *out, struct lb_error *err);

static lb_status put_json_container(const struct lb_value *value, struct lb_buf *out,
                                    struct lb_error *err)
{
    bool is_map = value->tag == 'm';
    const char *cursor = value->data;
    struct lb_value item;
    LB_TRY(lb_buf_append_byte(out, is_map ? '{' : '[', err));
    for (uint32_t i = 0; i < value->count; i++) {
        if (i > 0)
            LB_TRY(lb_buf_append_byte(out, ',', err));
        lb_codec_next(&cursor, &item);
        LB_TRY(put_json(&item, out, err));
        if (is_map) {
            LB_TRY(lb_buf_append_byte(out, ':', err));
            lb_codec_next(&cursor, &item);
            LB_TRY(put_json(&item, out, err));
        }
    }
    return lb_buf_append_byte(out, is_map ? '}' : ']', err);
}

static lb_status put_json(const struct lb_value *value, struct lb_buf *out, struct lb_error *err)
{
    switch (value->tag) {
    case 'n':
        return put_text("null", out, err);
    case 'f':
        return put_text("false", out, err);
    case 't':
        return put_text("true", out, err);
    case 'i':
        return put_int(value->i, out, err);
    case 'd':
        if (isfinite(value->d))
            return put_float(value->d, out, err);
        return put_text(isnan(value->d) ? "\"nan\""
                        : value->d > 0  ? "\"inf\""
                                        : "\"-inf\"",
                        out, err);
    case 's':
        return lb_format_json_string(value->data, value->size, out, err);
    default:
        return put_json_container(value, out, err);
    }
}

/* ---- Lua ---- */

static bool is_letter(unsigned char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
}

static bool is_digit(unsigned char byte)
{
    return byte >= '0' && byte <= '9';
}

static lb_status put_lua_string(const char *data, size_t size, struct lb_buf *out,
                                struct lb_error *err)
{
    const unsigned char *p = (const unsigned char *)data;
    const unsigned char *end = p + size;
    LB_TRY(lb_buf_append_byte(out, '"', err));
    while (p < end) {
        const unsigned char *stop = end - p > 1024 ? p + 1024 : end;
        LB_TRY(lb_buf_reserve(out, 4 * 1024 + 16, err));
        char *to = out->data + out->size;
        for (; p < stop; p++) {
            if (*p >= 0x20 && *p != 0x7f && *p != '"' && *p != '\\') {
                *to++ = (char)*p; /* bytes beyond ASCII are as they are, as in Lua's own sources */
                continue;
            }
            *to++ = '\\';
            if (*p == '"' || *p == '\\') {
                *to++ = (char)*p;
            } else if (*p == '\n' || *p == '\r' || *p == '\t') {
                *to++ = *p == '\n' ? 'n' : *p == '\r' ? 'r' : 't';
            } else {
                /* All three digits when a digit follows. */
                bool is_long = p + 1 < end && is_digit(p[1]);
                if (is_long || *p >= 100)
                    *to++ = (char)('0' + *p / 100);
                if (is_long || *p >= 10)
                    *to++ = (char)('0' + *p / 10 % 10);
                *to++ = (char)('0' + *p % 10);
            }
        }
        out->size = (size_t)(to - out->data);
    }
    return lb_buf_append_byte(out, '"', err);
}

/* True when the key may stand in a table as `name = value`. */
static bool is_lua_name(const char *data, size_t size)
{
    static const char *const reserved[] = {"and",   "break", "do",       "else", "elseif", "end",
                                           "false", "for",   "function", "goto", "if",     "in",
                                           "local", "nil",   "not",      "or",   "repeat", "return",
                                           "then",  "true",  "until",    "while"};
    if (size == 0 || !is_letter((unsigned char)data[0]))
        return false;
    for (size_t i = 1; i < size; i++) {
        if (!is_letter((unsigned char)data[i]) && !is_digit((unsigned char)data[i]))
            return false;
    }
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (strlen(reserved[i]) == size && memcmp(reserved[i], data, size) == 0)
            return false;
    }
    return true;
}

static lb_status put_lua(const struct lb_value *value, struct lb_buf *out, struct lb_error *err);

static lb_status put_lua_table(const struct lb_value *value, struct lb_buf *out,
                               struct lb_error *err)
{
    const char *cursor = value->data;
    struct lb_value item;
    LB_TRY(lb_buf_append_byte(out, '{', err));
    for (uint32_t i = 0; i < value->count; i++) {
        if (i > 0)
            LB_TRY(lb_buf_append_byte(out, ',', err));
        lb_codec_next(&cursor, &item);
        if (value->tag == 'm') {
            if (is_lua_name(item.data, item.size)) {
                LB_TRY(lb_buf_append(out, item.data, item.size, err));
            } else {
                LB_TRY(lb_buf_append_byte(out, '[', err));
                LB_TRY(put_lua_string(item.data, item.size, out, err));
                LB_TRY(lb_buf_append_byte(out, ']', err));
            }
            LB_TRY(lb_buf_append_byte(out, '=', err));
            lb_codec_next(&cursor, &item);
        }
        LB_TRY(put_lua(&item, out, err));
    }
    return lb_buf_append_byte(out, '}', err);
}

static lb_status put_lua(const struct lb_value *value, struct lb_buf *out, struct lb_error *err)
{
    switch (value->tag) {
    case 'n':
        return put_text("nil", out, err);
    case 'f':
        return put_text("false", out, err);
    case 't':
        return put_text("true", out, err);
    case 'i':
        /* Its digits would be read as a negated float. */
        if (value->i == INT64_MIN)
            return put_text("0x8000000000000000", out, err);
        return put_int(value->i, out, err);
    case 'd':
        if (isfinite(value->d))
            return put_float(value->d, out, err);
        return put_text(isnan(value->d) ? "0/0" : value->d > 0 ? "1/0" : "-1/0", out, err);
    case 's':
        return put_lua_string(value->data, value->size, out, err);
    default:
        return put_lua_table(value, out, err);
    }
}

/* ---- CSV and text ---- */

lb_status lb_format_csv_string(char separator, const char *data, size_t size, struct lb_buf *out,
                               struct lb_error *err)
{
    bool is_plain = size > 0;
    for (size_t i = 0; i < size && is_plain; i++)
        is_plain = data[i] != separator && data[i] != '"' && data[i] != '\n' && data[i] != '\r';
    if (is_plain)
        return lb_buf_append(out, data, size, err);
    LB_TRY(lb_buf_append_byte(out, '"', err));
    const char *end = data + size;
    while (data < end) {
        const char *quote = memchr(data, '"', (size_t)(end - data));
        const char *stop = quote != NULL ? quote + 1 : end;
        LB_TRY(lb_buf_append(out, data, (size_t)(stop - data), err));
        if (quote != NULL)
            LB_TRY(lb_buf_append_byte(out, '"', err));
        data = stop;
    }
    return lb_buf_append_byte(out, '"', err);
}

static lb_status put_csv(char separator, const struct lb_value *value, struct lb_buf *out,
                         struct lb_error *err)
{
    switch (value->tag) {
    case 'n':
        return LB_OK;
    case 's':
        return lb_format_csv_string(separator, value->data, value->size, out, err);
    case 'd':
        return put_float(value->d, out, err);
    case 'l':
    case 'm': {
        struct lb_buf json = {0};
        lb_status status = put_json(value, &json, err);
        if (status == LB_OK)
            status = lb_format_csv_string(separator, json.data, json.size, out, err);
        lb_buf_fini(&json);
        return status;
    }
    default:
        return put_json(value, out, err);
    }
}

static lb_status put_plain(const struct lb_value *value, struct lb_buf *out, struct lb_error *err)
{
    switch (value->tag) {
    case 'n':
        return put_text("nil", out, err);
    case 's':
        return lb_buf_append(out, value->data, value->size, err);
    case 'd':
        return put_float(value->d, out, err);
    default:
        return put_json(value, out, err);
    }
}

lb_status lb_format_value(enum lb_format format, const struct lb_value *value, struct lb_buf *out,
                          struct lb_error *err)
{
    switch (format) {
    case LB_FORMAT_JSON:
        return put_json(value, out, err);
    case LB_FORMAT_CSV:
        return put_csv(',', value, out, err);
    case LB_FORMAT_TSV:
        return put_csv('\t', value, out, err);
    case LB_FORMAT_LUA:
        return put_lua(value, out, err);
    default:
        return put_plain(value, out, err);
    }
}
