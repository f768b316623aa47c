/* Functions of one row on strings, which are bytes: lengths and positions count bytes, case is ASCII's. */
#include "core/base/number.h"
#include "core/expr/expr_private.h"

static const unsigned MAX_MADE_BYTES =
    1u << 30; /* of lpad, rpad, replace: a wrong number must not eat the memory */

static char change_case(char c, bool up)
{
    if (up)
        return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static lb_status call_case(struct expr_call *call, const struct lb_value *args, uint32_t n,
                           struct lb_error *err)
{
    (void)n;
    LB_TRY(expr_want_string(call, &args[0], err));
    LB_TRY(lb_buf_reserve(call->scratch, args[0].size, err));
    for (size_t i = 0; i < args[0].size; i++)
        call->scratch->data[i] = change_case(args[0].data[i], call->class->variant != 0);
    call->scratch->size = args[0].size;
    expr_return_scratch(call);
    return LB_OK;
}

/* Bytes of a string, elements of a table. */
static lb_status call_length(struct expr_call *call, const struct lb_value *args, uint32_t n,
                             struct lb_error *err)
{
    (void)n;
    if (args[0].tag == 'l' || args[0].tag == 'm') {
        expr_return_int(call, args[0].count);
        return LB_OK;
    }
    LB_TRY(expr_want_string(call, &args[0], err));
    expr_return_int(call, (int64_t)args[0].size);
    return LB_OK;
}

/* substr(s, start, count): start -1 is the last byte; a negative count takes the bytes before start. As SQLite, start 0
 * is the place before the first byte. */
static lb_status call_substr(struct expr_call *call, const struct lb_value *args, uint32_t n,
                             struct lb_error *err)
{
    int64_t size = (int64_t)args[0].size;
    int64_t start = 0;
    int64_t count = size + 1;
    int64_t end;

    LB_TRY(expr_want_string(call, &args[0], err));
    LB_TRY(expr_want_integer(call, &args[1], &start, err));
    if (n > 2)
        LB_TRY(expr_want_integer(call, &args[2], &count, err));
    /* Nothing is farther than this from any byte. */
    const int64_t far = (int64_t)1 << 33;
    start = start > far ? far : start < -far ? -far : start;
    count = count > far ? far : count < -far ? -far : count;
    start = start < 0 ? size + start : start - 1; /* 0-based, perhaps outside */
    end = start + count;
    if (n <= 2)
        end = size;
    if (end < start) {
        int64_t swap = start;
        start = end;
        end = swap;
    }
    start = start < 0 ? 0 : start;
    end = end > size ? size : end;
    if (start >= end)
        expr_return_string(call, "", 0);
    else
        expr_return_string(call, args[0].data + start, (size_t)(end - start));
    return LB_OK;
}

enum { TRIM_LEFT = 1, TRIM_RIGHT = 2 };

/* trim(s, bytes): without bytes, blanks (0x20). */
static lb_status call_trim(struct expr_call *call, const struct lb_value *args, uint32_t n,
                           struct lb_error *err)
{
    bool cut[256] = {false};
    const char *from;
    const char *to;

    LB_TRY(expr_want_string(call, &args[0], err));
    if (n > 1)
        LB_TRY(expr_want_string(call, &args[1], err));
    else
        cut[' '] = true;
    for (size_t i = 0; n > 1 && i < args[1].size; i++)
        cut[(unsigned char)args[1].data[i]] = true;
    from = args[0].data;
    to = from + args[0].size;
    while ((call->class->variant & TRIM_LEFT) && from < to && cut[(unsigned char)*from])
        from++;
    while ((call->class->variant & TRIM_RIGHT) && from < to && cut[(unsigned char)to[-1]])
        to--;
    expr_return_string(call, from, (size_t)(to - from));
    return LB_OK;
}

static const char *find(const char *data, size_t size, const struct lb_value *needle)
{
    return needle->size == 0 ? data : memmem(data, size, needle->data, needle->size);
}

static lb_status too_long(const struct expr_call *call, struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_USER, "%s: the result would have more than %u bytes",
                        call->class->symbol, MAX_MADE_BYTES);
}

/* replace(s, from, to); an empty `from` replaces nothing. */
static lb_status call_replace(struct expr_call *call, const struct lb_value *args, uint32_t n,
                              struct lb_error *err)
{
    const char *cursor = args[0].data;
    const char *found;

    for (uint32_t i = 0; i < n; i++)
        LB_TRY(expr_want_string(call, &args[i], err));
    const char *end = cursor + args[0].size;
    while (args[1].size > 0 && (found = find(cursor, (size_t)(end - cursor), &args[1])) != NULL) {
        LB_TRY(lb_buf_append(call->scratch, cursor, (size_t)(found - cursor), err));
        LB_TRY(lb_buf_append(call->scratch, args[2].data, args[2].size, err));
        cursor = found + args[1].size;
        if (call->scratch->size > MAX_MADE_BYTES)
            return too_long(call, err);
    }
    LB_TRY(lb_buf_append(call->scratch, cursor, (size_t)(end - cursor), err));
    expr_return_scratch(call);
    return LB_OK;
}

/* || is strict; concat passes over NULLs. Numbers and booleans become their text. */
static lb_status call_concat(struct expr_call *call, const struct lb_value *args, uint32_t n,
                             struct lb_error *err)
{
    for (uint32_t i = 0; i < n; i++)
        if (args[i].tag != 'n')
            LB_TRY(expr_append_text(call, &args[i], call->scratch, err));
    expr_return_scratch(call);
    return LB_OK;
}

enum { STARTS, ENDS, CONTAINS, POSITION };

static lb_status call_search(struct expr_call *call, const struct lb_value *args, uint32_t n,
                             struct lb_error *err)
{
    const struct lb_value *text = &args[0];
    const struct lb_value *part = &args[1];
    const char *found;

    (void)n;
    LB_TRY(expr_want_string(call, text, err));
    LB_TRY(expr_want_string(call, part, err));
    bool fits = part->size <= text->size;
    switch (call->class->variant) {
    case STARTS:
        expr_return_bool(call, fits && memcmp(text->data, part->data, part->size) == 0);
        break;
    case ENDS:
        expr_return_bool(call, fits && memcmp(text->data + text->size - part->size, part->data,
                                              part->size) == 0);
        break;
    case CONTAINS:
        expr_return_bool(call, find(text->data, text->size, part) != NULL);
        break;
    default: /* POSITION: 1-based, 0 when absent */
        found = find(text->data, text->size, part);
        expr_return_int(call, found != NULL ? found - text->data + 1 : 0);
    }
    return LB_OK;
}

enum { PAD_LEFT, PAD_RIGHT };

/* Exactly `size` bytes: longer strings are cut at their end. */
static lb_status call_pad(struct expr_call *call, const struct lb_value *args, uint32_t n,
                          struct lb_error *err)
{
    int64_t wanted = 0;
    const char *fill = " ";
    size_t fill_size = 1;

    LB_TRY(expr_want_string(call, &args[0], err));
    LB_TRY(expr_want_integer(call, &args[1], &wanted, err));
    if (n > 2) {
        LB_TRY(expr_want_string(call, &args[2], err));
        fill = args[2].data;
        fill_size = args[2].size;
    }
    if (wanted > (int64_t)MAX_MADE_BYTES)
        return too_long(call, err);
    size_t size = wanted < 0 ? 0 : (size_t)wanted;
    size_t kept = args[0].size < size ? args[0].size : size;
    size_t n_fill = fill_size > 0 ? size - kept : 0;
    LB_TRY(lb_buf_reserve(call->scratch, kept + n_fill, err));
    char *out = call->scratch->data;
    size_t at = 0;
    if (call->class->variant == PAD_RIGHT && kept > 0)
        memcpy(out, args[0].data, at = kept);
    for (size_t i = 0; i < n_fill; i++)
        out[at++] = fill[i % fill_size];
    if (call->class->variant == PAD_LEFT && kept > 0)
        memcpy(out + at, args[0].data, kept);
    call->scratch->size = kept + n_fill;
    expr_return_scratch(call);
    return LB_OK;
}

static lb_status call_reverse(struct expr_call *call, const struct lb_value *args, uint32_t n,
                              struct lb_error *err)
{
    (void)n;
    LB_TRY(expr_want_string(call, &args[0], err));
    LB_TRY(lb_buf_reserve(call->scratch, args[0].size, err));
    for (size_t i = 0; i < args[0].size; i++)
        call->scratch->data[i] = args[0].data[args[0].size - 1 - i];
    call->scratch->size = args[0].size;
    expr_return_scratch(call);
    return LB_OK;
}

/* ---- like ---- */

struct like {
    const char *text, *text_end;
    const char *pattern, *pattern_end;
    int escape; /* -1: none */
    bool fold;  /* ilike */
};

static bool same_byte(char a, char b, bool fold)
{
    return fold ? change_case(a, false) == change_case(b, false) : a == b;
}

/* % any bytes, _ one byte. Only the last % has to be tried again: what an earlier one could take more, a later one can. */
static bool like_matches(const struct like *like)
{
    const char *text = like->text;
    const char *pattern = like->pattern;
    const char *retry_text = NULL;
    const char *retry_pattern = NULL;

    for (;;) {
        bool fits = false;
        const char *next = pattern;
        if (pattern < like->pattern_end) {
            char c = *next++;
            bool is_escaped = (unsigned char)c == like->escape;
            if (is_escaped && next < like->pattern_end)
                c = *next++;
            if (c == '%' && !is_escaped) {
                retry_pattern = pattern = next;
                retry_text = text;
                continue;
            }
            fits = text < like->text_end &&
                   ((c == '_' && !is_escaped) || same_byte(c, *text, like->fold));
        } else if (text == like->text_end) {
            return true;
        }
        if (fits) {
            text++;
            pattern = next;
        } else if (retry_pattern != NULL && retry_text < like->text_end) {
            text = ++retry_text;
            pattern = retry_pattern;
        } else {
            return false;
        }
    }
}

static lb_status call_like(struct expr_call *call, const struct lb_value *args, uint32_t n,
                           struct lb_error *err)
{
    for (uint32_t i = 0; i < n; i++)
        LB_TRY(expr_want_string(call, &args[i], err));
    if (n > 2 && args[2].size != 1)
        return expr_expected(call, "one byte after escape", &args[2], err);
    struct like like = {.text = args[0].data,
                        .text_end = args[0].data + args[0].size,
                        .pattern = args[1].data,
                        .pattern_end = args[1].data + args[1].size,
                        .escape = n > 2 ? (unsigned char)*args[2].data : -1,
                        .fold = call->class->variant != 0};
    expr_return_bool(call, like_matches(&like));
    return LB_OK;
}

#define STRING(text, min, max, code, function)                   \
    {                                                            \
        text, text, EXPR_SCALAR, min, max, false, code, function \
    }

const struct expr_class expr_string_classes[] = {
    STRING("lower", 1, 1, 0, call_case),
    STRING("upper", 1, 1, 1, call_case),
    STRING("length", 1, 1, 0, call_length),
    STRING("substr", 2, 3, 0, call_substr),
    STRING("trim", 1, 2, TRIM_LEFT | TRIM_RIGHT, call_trim),
    STRING("ltrim", 1, 2, TRIM_LEFT, call_trim),
    STRING("rtrim", 1, 2, TRIM_RIGHT, call_trim),
    STRING("replace", 3, 3, 0, call_replace),
    {"join", "||", EXPR_SCALAR, 2, 255, false, 0, call_concat},
    {"concat", "concat", EXPR_SCALAR, 1, 255, true, 0, call_concat},
    STRING("starts_with", 2, 2, STARTS, call_search),
    STRING("ends_with", 2, 2, ENDS, call_search),
    STRING("contains", 2, 2, CONTAINS, call_search),
    STRING("position", 2, 2, POSITION, call_search),
    STRING("lpad", 2, 3, PAD_LEFT, call_pad),
    STRING("rpad", 2, 3, PAD_RIGHT, call_pad),
    STRING("reverse", 1, 1, 0, call_reverse),
    STRING("like", 2, 3, 0, call_like),
    STRING("ilike", 2, 3, 1, call_like),
    {NULL, NULL, EXPR_SCALAR, 0, 0, false, 0, NULL},
};
