/* Functions of one row on strings, the second part: pieces, lists of pieces, formatted text. */
#include <stdio.h>

#include "core/base/number.h"
#include "core/expr/expr_private.h"

static const size_t MAX_MADE_BYTES = 1u << 30; /* a wrong number must not eat the memory */

static lb_status too_long(const struct expr_call *call, struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_USER, "%s: the result would have more than %zu bytes",
                        call->class->symbol, MAX_MADE_BYTES);
}

enum { LEFT, RIGHT };

/* left(s, n), right(s, n): a negative n leaves out so many bytes at the other end. */
static lb_status call_end(struct expr_call *call, const struct lb_value *args, uint32_t n,
                          struct lb_error *err)
{
    int64_t size = (int64_t)args[0].size;
    int64_t wanted = 0;

    (void)n;
    LB_TRY(expr_want_string(call, &args[0], err));
    LB_TRY(expr_want_integer(call, &args[1], &wanted, err));
    if (wanted < 0)
        wanted = wanted < -size ? 0 : size + wanted;
    if (wanted > size)
        wanted = size;
    expr_return_string(call, args[0].data + (call->class->variant == LEFT ? 0 : size - wanted),
                       (size_t)wanted);
    return LB_OK;
}

static lb_status call_repeat(struct expr_call *call, const struct lb_value *args, uint32_t n,
                             struct lb_error *err)
{
    int64_t count = 0;

    (void)n;
    LB_TRY(expr_want_string(call, &args[0], err));
    LB_TRY(expr_want_integer(call, &args[1], &count, err));
    if (count < 0 || args[0].size == 0)
        count = 0;
    if (count > 0 && args[0].size > MAX_MADE_BYTES / (uint64_t)count)
        return too_long(call, err);
    for (int64_t i = 0; i < count; i++)
        LB_TRY(lb_buf_append(call->scratch, args[0].data, args[0].size, err));
    expr_return_scratch(call);
    return LB_OK;
}

/* The first byte's number; 0 for ''. */
static lb_status call_ascii(struct expr_call *call, const struct lb_value *args, uint32_t n,
                            struct lb_error *err)
{
    (void)n;
    LB_TRY(expr_want_string(call, &args[0], err));
    expr_return_int(call, args[0].size > 0 ? (unsigned char)*args[0].data : 0);
    return LB_OK;
}

/* The character of a code point, as UTF-8. */
static lb_status call_chr(struct expr_call *call, const struct lb_value *args, uint32_t n,
                          struct lb_error *err)
{
    int64_t code = 0;
    char bytes[4];
    size_t size = 1;

    (void)n;
    LB_TRY(expr_want_integer(call, &args[0], &code, err));
    if (code < 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return expr_expected(call, "code point from 0 to 1114111", &args[0], err);
    if (code < 0x80) {
        bytes[0] = (char)code;
    } else {
        size = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        for (size_t i = size - 1; i > 0; i--, code >>= 6)
            bytes[i] = (char)(0x80 | (code & 63));
        bytes[0] = (char)((0xf00 >> size) | code);
    }
    LB_TRY(lb_buf_append(call->scratch, bytes, size, err));
    expr_return_scratch(call);
    return LB_OK;
}

/* Bytes that begin a UTF-8 character. */
static lb_status call_char_length(struct expr_call *call, const struct lb_value *args, uint32_t n,
                                  struct lb_error *err)
{
    int64_t count = 0;

    (void)n;
    LB_TRY(expr_want_string(call, &args[0], err));
    for (size_t i = 0; i < args[0].size; i++)
        count += (args[0].data[i] & 0xc0) != 0x80;
    expr_return_int(call, count);
    return LB_OK;
}

/* Passes over NULLs behind the separator. */
static lb_status call_concat_ws(struct expr_call *call, const struct lb_value *args, uint32_t n,
                                struct lb_error *err)
{
    bool is_first = true;

    if (args[0].tag == 'n')
        return LB_OK;
    LB_TRY(expr_want_string(call, &args[0], err));
    for (uint32_t i = 1; i < n; i++) {
        if (args[i].tag == 'n')
            continue;
        if (!is_first)
            LB_TRY(lb_buf_append(call->scratch, args[0].data, args[0].size, err));
        LB_TRY(expr_append_text(call, &args[i], call->scratch, err));
        is_first = false;
    }
    expr_return_scratch(call);
    return LB_OK;
}

/* Walks over the parts of text between separators; an empty separator: the text is the only part. */
struct parts {
    const char *cursor, *end; /* cursor NULL: no more */
    const struct lb_value *separator;
};

static bool next_part(struct parts *parts, const char **data, size_t *size)
{
    const struct lb_value *separator = parts->separator;
    const char *from = parts->cursor;
    const char *found = NULL;

    if (from == NULL)
        return false;
    if (separator->size > 0)
        found = memmem(from, (size_t)(parts->end - from), separator->data, separator->size);
    *data = from;
    *size = (size_t)((found != NULL ? found : parts->end) - from);
    parts->cursor = found != NULL ? found + separator->size : NULL;
    return true;
}

static struct parts parts_of(const struct lb_value *text, const struct lb_value *separator)
{
    return (struct parts){
        .cursor = text->data, .end = text->data + text->size, .separator = separator};
}

/* split_part(s, separator, n): the n-th part; a negative n counts from the last; '' where there is none. */
static lb_status call_split_part(struct expr_call *call, const struct lb_value *args, uint32_t n,
                                 struct lb_error *err)
{
    int64_t wanted = 0;
    int64_t count = 0;
    const char *data;
    size_t size;

    (void)n;
    LB_TRY(expr_want_string(call, &args[0], err));
    LB_TRY(expr_want_string(call, &args[1], err));
    LB_TRY(expr_want_integer(call, &args[2], &wanted, err));
    struct parts parts = parts_of(&args[0], &args[1]);
    if (wanted < 0) {
        while (next_part(&parts, &data, &size))
            count++;
        wanted = wanted < -count ? 0 : count + 1 + wanted;
        parts = parts_of(&args[0], &args[1]);
    }
    expr_return_string(call, "", 0);
    for (int64_t i = 1; i <= wanted && next_part(&parts, &data, &size); i++)
        if (i == wanted)
            expr_return_string(call, data, size);
    return LB_OK;
}

static lb_status call_split(struct expr_call *call, const struct lb_value *args, uint32_t n,
                            struct lb_error *err)
{
    uint32_t count = 0;
    size_t mark;
    const char *data;
    size_t size;

    (void)n;
    LB_TRY(expr_want_string(call, &args[0], err));
    LB_TRY(expr_want_string(call, &args[1], err));
    struct parts parts = parts_of(&args[0], &args[1]);
    LB_TRY(lb_codec_begin(call->scratch, 'l', &mark, err));
    for (; next_part(&parts, &data, &size); count++)
        LB_TRY(lb_codec_put_string(call->scratch, data, size, err));
    lb_codec_end(call->scratch, mark, count);
    expr_return_encoded(call);
    return LB_OK;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* A capital at the start of each word, small letters behind it; only ASCII letters change. */
static lb_status call_initcap(struct expr_call *call, const struct lb_value *args, uint32_t n,
                              struct lb_error *err)
{
    bool in_word = false;

    (void)n;
    LB_TRY(expr_want_string(call, &args[0], err));
    LB_TRY(lb_buf_reserve(call->scratch, args[0].size, err));
    for (size_t i = 0; i < args[0].size; i++) {
        char c = args[0].data[i];
        if (is_letter(c))
            c = (char)(in_word ? c | 0x20 : c & ~0x20);
        in_word = is_letter(c) || (c >= '0' && c <= '9') || (c & 0x80) || c == '\'';
        call->scratch->data[i] = c;
    }
    call->scratch->size = args[0].size;
    expr_return_scratch(call);
    return LB_OK;
}

/* translate(s, from, to): each byte of `from` becomes the one of `to` in its place; without one it goes. */
static lb_status call_translate(struct expr_call *call, const struct lb_value *args, uint32_t n,
                                struct lb_error *err)
{
    int becomes[256];

    for (uint32_t i = 0; i < n; i++)
        LB_TRY(expr_want_string(call, &args[i], err));
    for (int i = 0; i < 256; i++)
        becomes[i] = i;
    for (size_t i = args[1].size; i-- > 0;) /* the first of equal bytes counts */
        becomes[(unsigned char)args[1].data[i]] =
            i < args[2].size ? (unsigned char)args[2].data[i] : -1;
    for (size_t i = 0; i < args[0].size; i++) {
        int c = becomes[(unsigned char)args[0].data[i]];
        if (c >= 0)
            LB_TRY(lb_buf_append_byte(call->scratch, (char)c, err));
    }
    expr_return_scratch(call);
    return LB_OK;
}

/* folder_name(name, value): `name=value` as a folder's name, as Hive writes it: bytes that a path or a shell minds are
 * %XX, NULL is __HIVE_DEFAULT_PARTITION__. */
static lb_status call_folder_name(struct expr_call *call, const struct lb_value *args, uint32_t n,
                                  struct lb_error *err)
{
    static const char fallback[] = "__HIVE_DEFAULT_PARTITION__";
    enum { MAX_BYTES = 255 };
    struct lb_buf *out = call->scratch;
    size_t ends[2];

    for (uint32_t i = 0; i < n; i++) {
        size_t start = out->size;
        if (args[i].tag == 'n') {
            LB_TRY(lb_buf_append(out, fallback, sizeof fallback - 1, err));
        } else {
            struct lb_buf text = {0};
            lb_status status = expr_append_text(call, &args[i], &text, err);
            bool is_fallback =
                text.size == sizeof fallback - 1 && memcmp(text.data, fallback, text.size) == 0;
            for (size_t j = 0; j < text.size && status == LB_OK; j++) {
                unsigned char c = (unsigned char)text.data[j];
                /* A hidden name would not be read back. */
                bool is_hiding = j == 0 && ((i == 0 && (c == '.' || c == '_')) || is_fallback);
                if (c < 0x20 || c == 0x7f || strchr("\"#%'*/:=?\\{}[]^", c) != NULL || is_hiding)
                    status = lb_buf_printf(out, err, "%%%02X", c);
                else
                    status = lb_buf_append_byte(out, (char)c, err);
            }
            lb_buf_fini(&text);
            LB_TRY(status);
        }
        if (i == 0)
            LB_TRY(lb_buf_append_byte(out, '=', err));
        ends[i] = out->size - start;
    }
    if (ends[0] + ends[1] > MAX_BYTES)
        return lb_error_set(err, LB_ERR_USER,
                            "a folder's name would have %zu bytes (%d are possible)",
                            ends[0] + ends[1], MAX_BYTES);
    expr_return_scratch(call);
    return LB_OK;
}

/* ---- printf ---- */

enum { MAX_WIDTH = 999, MAX_SPEC_BYTES = 32 };

/* A conversion: % flags width .precision letter; its text goes to spec, room for an "ll" left. */
static bool read_spec(const char **cursor, const char *end, char spec[MAX_SPEC_BYTES],
                      size_t *spec_size, int64_t *width, int64_t *precision)
{
    const char *at = *cursor;
    size_t size = 0;

    *width = 0;
    *precision = -1;
    spec[size++] = *at++;
    while (at < end && memchr("-+ #0", *at, 5) != NULL && size < 6)
        spec[size++] = *at++;
    while (at < end && *at >= '0' && *at <= '9' && *width <= MAX_WIDTH) {
        *width = *width * 10 + (*at - '0');
        spec[size++] = *at++;
    }
    if (at < end && *at == '.') {
        *precision = 0;
        spec[size++] = *at++;
        while (at < end && *at >= '0' && *at <= '9' && *precision <= MAX_WIDTH) {
            *precision = *precision * 10 + (*at - '0');
            spec[size++] = *at++;
        }
    }
    if (at == end || *width > MAX_WIDTH || *precision > MAX_WIDTH)
        return false;
    *spec_size = size;
    *cursor = at;
    return true;
}

static lb_status put_string(struct expr_call *call, const char *spec, int64_t width,
                            int64_t precision, const struct lb_value *value, struct lb_error *err)
{
    struct lb_buf *out = call->scratch;
    size_t start = out->size;

    if (value->tag == 'n')
        LB_TRY(lb_buf_append(out, "NULL", 4, err));
    else
        LB_TRY(expr_append_text(call, value, out, err));
    if (precision >= 0 && out->size - start > (size_t)precision)
        out->size = start + (size_t)precision;
    size_t size = out->size - start;
    if (size >= (size_t)width)
        return LB_OK;
    size_t n_fill = (size_t)width - size;
    LB_TRY(lb_buf_reserve(out, n_fill, err));
    bool is_left = strchr(spec, '-') != NULL;
    if (!is_left)
        memmove(out->data + start + n_fill, out->data + start, size);
    memset(out->data + (is_left ? out->size : start), ' ', n_fill);
    out->size += n_fill;
    return LB_OK;
}

/* printf(format, value...): conversions %d %i %x %X %o of integers, %f %e %g (and capitals) of numbers, %s of any, %%. */
static lb_status call_printf(struct expr_call *call, const struct lb_value *args, uint32_t n,
                             struct lb_error *err)
{
    const struct lb_value *format = &args[0];
    uint32_t next = 1;
    char spec[MAX_SPEC_BYTES];
    size_t size;
    int64_t width;
    int64_t precision;
    int64_t integer = 0;

    if (format->tag == 'n')
        return LB_OK;
    LB_TRY(expr_want_string(call, format, err));
    const char *end = format->data + format->size;
    for (const char *at = format->data; at < end; at++) {
        if (*at != '%') {
            LB_TRY(lb_buf_append_byte(call->scratch, *at, err));
            continue;
        }
        if (!read_spec(&at, end, spec, &size, &width, &precision) ||
            memchr("%sdixXofFeEgGaA", *at, 14) == NULL)
            return lb_error_set(
                err, LB_ERR_USER,
                "%s: %%s, d, i, x, X, o, f, e, g or %%%% expected in the format, got "
                "'%.*s'",
                call->class->symbol, (int)(format->size < 60 ? format->size : 60), format->data);
        if (*at == '%') {
            LB_TRY(lb_buf_append_byte(call->scratch, '%', err));
            continue;
        }
        if (next >= n)
            return lb_error_set(err, LB_ERR_USER, "%s: the format wants more than %u value%s",
                                call->class->symbol, n - 1, n == 2 ? "" : "s");
        const struct lb_value *value = &args[next++];
        spec[size] = '\0';
        if (*at == 's' || value->tag == 'n') {
            LB_TRY(put_string(call, spec, width, precision, value, err));
        } else if (memchr("dixXo", *at, 5) != NULL) {
            LB_TRY(expr_want_integer(call, value, &integer, err));
            memcpy(spec + size, (char[]){'l', 'l', *at, '\0'}, 4);
            LB_TRY(lb_buf_printf(call->scratch, err, spec, (long long)integer));
        } else {
            if (!expr_is_number(value))
                return expr_expected(call, "number", value, err);
            memcpy(spec + size, (char[]){*at, '\0'}, 2);
            LB_TRY(lb_buf_printf(call->scratch, err, spec, expr_number(value)));
        }
    }
    expr_return_scratch(call);
    return LB_OK;
}

#define TEXT(text, min, max, code, function)                     \
    {                                                            \
        text, text, EXPR_SCALAR, min, max, false, code, function \
    }

const struct expr_class expr_text_classes[] = {
    TEXT("left", 2, 2, LEFT, call_end),
    TEXT("right", 2, 2, RIGHT, call_end),
    TEXT("repeat", 2, 2, 0, call_repeat),
    TEXT("ascii", 1, 1, 0, call_ascii),
    TEXT("chr", 1, 1, 0, call_chr),
    TEXT("char_length", 1, 1, 0, call_char_length),
    {"concat_ws", "concat_ws", EXPR_SCALAR, 2, 255, true, 0, call_concat_ws},
    TEXT("split_part", 3, 3, 0, call_split_part),
    TEXT("split", 2, 2, 0, call_split),
    TEXT("initcap", 1, 1, 0, call_initcap),
    TEXT("translate", 3, 3, 0, call_translate),
    {"folder_name", "partition_by", EXPR_SCALAR, 2, 2, true, 0, call_folder_name},
    {"printf", "printf", EXPR_SCALAR, 1, 255, true, 0, call_printf},
    {NULL, NULL, EXPR_SCALAR, 0, 0, false, 0, NULL},
};
