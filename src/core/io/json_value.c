/* Values of JSON text: see json.h. */
#include <string.h>

#include "core/base/number.h"
#include "core/base/sys.h"
#include "core/column/codec.h"
#include "core/io/csv.h"
#include "core/io/json.h"

/* ---- types ---- */

static const char *const type_names[] = {"boolean", "integer", "float",  "string",
                                         "any",     "null",    "invalid"}; /* ORDER json types */

const char *lb_json_type_name(enum lb_json_type type)
{
    return type_names[type];
}

bool lb_json_type_parse(const char *name, size_t size, enum lb_json_type *type)
{
    for (int i = 0; i <= LB_JSON_ANY; i++) {
        if (strlen(type_names[i]) == size && memcmp(type_names[i], name, size) == 0) {
            *type = (enum lb_json_type)i;
            return true;
        }
    }
    return false;
}

enum lb_json_type lb_json_type_join(enum lb_json_type a, enum lb_json_type b)
{
    if (a == b || b == LB_JSON_NULL)
        return a;
    if (a == LB_JSON_NULL)
        return b;
    bool are_numbers = (a == LB_JSON_INTEGER || a == LB_JSON_FLOAT) &&
                       (b == LB_JSON_INTEGER || b == LB_JSON_FLOAT);
    return are_numbers ? LB_JSON_FLOAT : LB_JSON_ANY;
}

/* ---- numbers ---- */

static inline const char *behind_digits(const char *p, const char *end)
{
    while (p < end && (unsigned char)(*p - '0') <= 9)
        p++;
    return p;
}

/* Whether the text is a number as JSON has it; *is_whole: without point and exponent. */
static bool is_number(const char *p, size_t size, bool *is_whole)
{
    const char *end = p + size;
    p += p < end && *p == '-';
    const char *digits = p;
    p = behind_digits(p, end);
    if (p == digits || (*digits == '0' && p - digits > 1))
        return false;
    *is_whole = p == end;
    if (p < end && *p == '.') {
        const char *fraction = ++p;
        p = behind_digits(p, end);
        if (p == fraction)
            return false;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '+' || *p == '-');
        const char *exponent = p;
        p = behind_digits(p, end);
        if (p == exponent)
            return false;
    }
    return p == end;
}

bool lb_json_integer(const char *text, size_t size, int64_t *value)
{
    return lb_csv_integer(text, size, value);
}

/* A decimal of up to 15 digits is a quotient of two exact doubles, so one division rounds it right. */
bool lb_json_float(const char *text, size_t size, double *value)
{
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    const char *p = text, *end = text + size;
    bool negative = p < end && *p == '-';
    p += negative;
    const char *whole = p;
    uint64_t mantissa = 0;
    for (; p < end && (unsigned char)(*p - '0') <= 9; p++)
        mantissa = mantissa * 10 + (uint64_t)(*p - '0');
    size_t n_whole = (size_t)(p - whole);
    if (p < end && *p == '.' && n_whole > 0 && size <= 16 && (n_whole == 1 || *whole != '0')) {
        const char *fraction = ++p;
        for (; p < end && (unsigned char)(*p - '0') <= 9; p++)
            mantissa = mantissa * 10 + (uint64_t)(*p - '0');
        size_t n_fraction = (size_t)(p - fraction);
        if (p == end && n_fraction > 0 && n_whole + n_fraction <= 15) {
            double result = (double)mantissa / powers[n_fraction];
            *value = negative ? -result : result;
            return true;
        }
    }
    bool is_whole = false;
    if (!is_number(text, size, &is_whole))
        return false;
    return is_whole ? lb_csv_float(text, size, value) : lb_parse_float(text, size, value);
}

/* 'i', 'd' with the value, 's' for a number that is neither, 0 for no number. */
static char number_of(const char *text, size_t size, int64_t *integer, double *number)
{
    bool is_whole = false;
    if (!is_number(text, size, &is_whole))
        return 0;
    bool is_minus_zero = is_whole && size == 2 && text[0] == '-' && text[1] == '0';
    if (is_whole && !is_minus_zero)
        return lb_parse_int(text, size, integer) ? 'i' : 's';
    return lb_parse_float(text, size, number) ? 'd' : 's';
}

enum lb_json_type lb_json_type_of(const char *text, size_t size)
{
    int64_t integer;
    double number;
    if (size == 0)
        return LB_JSON_INVALID;
    switch (text[0]) {
    case '"':
        return LB_JSON_STRING;
    case '{':
    case '[':
        return LB_JSON_ANY;
    case 't':
    case 'f':
    case 'n':
        if ((size == 4 && memcmp(text, "true", 4) == 0) ||
            (size == 5 && memcmp(text, "false", 5) == 0))
            return LB_JSON_BOOLEAN;
        return size == 4 && memcmp(text, "null", 4) == 0 ? LB_JSON_NULL : LB_JSON_INVALID;
    default:
        break;
    }
    switch (number_of(text, size, &integer, &number)) {
    case 'i':
        return LB_JSON_INTEGER;
    case 'd':
        return LB_JSON_FLOAT;
    case 's':
        return LB_JSON_STRING;
    default:
        return LB_JSON_INVALID;
    }
}

/* ---- strings ---- */

static bool hex4(const char *p, const char *end, unsigned *value)
{
    *value = 0;
    if (end - p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)p[i];
        unsigned digit = c - '0';
        if (digit > 9) {
            digit = (c | 32u) - 'a' + 10;
            if (digit < 10 || digit > 15)
                return false;
        }
        *value = *value << 4 | digit;
    }
    return true;
}

static char *put_utf8(unsigned code, char *to)
{
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 63));
        *to++ = (char)(0x80 | (code & 63));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 63));
        *to++ = (char)(0x80 | (code >> 6 & 63));
        *to++ = (char)(0x80 | (code & 63));
    }
    return to;
}

/* Behind \uXXXX, with its second half where it is a surrogate; NULL: *reason says why not. */
static const char *unescape_unicode(const char *p, const char *end, char **to, const char **reason)
{
    unsigned code, low;
    if (!hex4(p, end, &code)) {
        *reason = "\\u without four hexadecimal digits";
        return NULL;
    }
    p += 4;
    if (code >= 0xdc00 && code < 0xe000) {
        *reason = "\\u with the second half of a surrogate pair alone";
        return NULL;
    }
    if (code >= 0xd800 && code < 0xdc00) {
        bool has_low = end - p >= 6 && p[0] == '\\' && p[1] == 'u' && hex4(p + 2, end, &low) &&
                       low >= 0xdc00 && low < 0xe000;
        if (!has_low) {
            *reason = "\\u with the first half of a surrogate pair alone";
            return NULL;
        }
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        p += 6;
    }
    *to = put_utf8(code, *to);
    return p;
}

/* Unescapes [p, end) to out, which has room for as much; NULL: *reason. */
static char *unescape(const char *p, const char *end, char *to, const char **reason)
{
    static const char from_escape[] = "\"\\/bfnrt", to_byte[] = "\"\\/\b\f\n\r\t";
    while (p < end) {
        unsigned char c = (unsigned char)*p++;
        if (c < 32) {
            *reason = "a string has a control character: it must be written as an escape";
            return NULL;
        }
        if (c != '\\') {
            *to++ = (char)c;
            continue;
        }
        if (p < end && *p == 'u') {
            p = unescape_unicode(p + 1, end, &to, reason);
            if (p == NULL)
                return NULL;
            continue;
        }
        const char *known = p < end && *p != '\0' ? strchr(from_escape, *p) : NULL;
        if (known == NULL) {
            *reason = "a string has an unknown escape";
            return NULL;
        }
        *to++ = to_byte[known - from_escape];
        p++;
    }
    return to;
}

/* Whether the string is its own text: no backslash, no control character. Reads up to 7 bytes behind it. */
static inline bool is_plain(const char *text, size_t size)
{
    const uint64_t ones = 0x0101010101010101ULL, highs = 0x8080808080808080ULL;
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word;
        memcpy(&word, text + at, 8);
        uint64_t differ = word ^ ones * '\\';
        uint64_t found = ((word - ones * 32) & ~word) | ((differ - ones) & ~differ);
        found &= highs;
        if (size - at < 8)
            found &= ((uint64_t)1 << 8 * (size - at)) - 1;
        if (found != 0) /* a borrow may have told of one byte too many, behind a true one */
            return false;
    }
    return true;
}

lb_status lb_json_string(const char **text, size_t *size, struct lb_arena *arena,
                         const char **reason, struct lb_error *err)
{
    *reason = NULL;
    if (__builtin_expect(is_plain(*text, *size), 1))
        return LB_OK;
    char *copy = lb_arena_alloc(arena, *size + LB_TEXT_PADDING);
    if (copy == NULL)
        return lb_error_memory(err, "a string", *size);
    char *end = unescape(*text, *text + *size, copy, reason);
    if (end == NULL)
        return LB_OK;
    memset(end, 0, LB_TEXT_PADDING / 4); /* views are made from loads of 16 bytes */
    *text = copy;
    *size = (size_t)(end - copy);
    return LB_OK;
}

/* ---- nested values ---- */

/* A member of an object being encoded: where its name and value stand in out. */
struct member {
    size_t name, name_size, value, value_size;
};

struct encoder {
    const char *p, *end;
    struct lb_buf *out;
    const char *reason; /* of the first flaw */
    const char *at;     /* where it is */
    unsigned depth;
};

static lb_status flaw(struct encoder *e, const char *reason)
{
    if (e->reason == NULL) {
        e->reason = reason;
        e->at = e->p;
    }
    return LB_OK;
}

static void skip_blanks(struct encoder *e)
{
    while (e->p < e->end && (*e->p == ' ' || *e->p == '\n' || *e->p == '\t' || *e->p == '\r'))
        e->p++;
}

static bool take(struct encoder *e, char byte)
{
    skip_blanks(e);
    if (e->p == e->end || *e->p != byte)
        return false;
    e->p++;
    return true;
}

/* The string whose opening quote is next, as the codec has it. */
static lb_status encode_string(struct encoder *e, struct lb_error *err)
{
    const char *start = ++e->p;
    while (e->p < e->end && *e->p != '"')
        e->p += *e->p == '\\' ? 2 : 1;
    if (e->p >= e->end) {
        e->p = start;
        return flaw(e, "a string is not closed");
    }
    size_t size = (size_t)(e->p - start), mark = e->out->size;
    LB_TRY(lb_codec_put_string(e->out, start, size, err));
    if (!is_plain(start, size)) {
        const char *reason = NULL;
        char *bytes = e->out->data + mark + 5;
        char *end = unescape(start, e->p, bytes, &reason);
        if (end == NULL)
            return flaw(e, reason);
        uint32_t made = (uint32_t)(end - bytes);
        memcpy(e->out->data + mark + 1, &made, 4);
        e->out->size = mark + 5 + made;
    }
    e->p++;
    return LB_OK;
}

static lb_status encode_word(struct encoder *e, struct lb_error *err)
{
    const char *start = e->p;
    int64_t integer = 0;
    double number = 0;
    while (e->p < e->end && strchr(" \n\t\r,:{}[]\"", *e->p) == NULL)
        e->p++;
    size_t size = (size_t)(e->p - start);
    if (size == 4 && memcmp(start, "true", 4) == 0)
        return lb_codec_put_bool(e->out, true, err);
    if (size == 5 && memcmp(start, "false", 5) == 0)
        return lb_codec_put_bool(e->out, false, err);
    if (size == 4 && memcmp(start, "null", 4) == 0)
        return lb_codec_put_nil(e->out, err);
    switch (number_of(start, size, &integer, &number)) {
    case 'i':
        return lb_codec_put_int(e->out, integer, err);
    case 'd':
        return lb_codec_put_float(e->out, number, err);
    case 's':
        return lb_codec_put_string(e->out, start, size, err);
    default:
        e->p = start;
        return flaw(e, size > 0 ? "no value of JSON" : "a value is expected");
    }
}

static lb_status encode_value(struct encoder *e, struct lb_error *err);

static lb_status encode_list(struct encoder *e, struct lb_error *err)
{
    size_t mark;
    uint32_t count = 0;
    LB_TRY(lb_codec_begin(e->out, 'l', &mark, err));
    bool is_closed = take(e, ']');
    while (!is_closed && e->reason == NULL) {
        LB_TRY(encode_value(e, err));
        count++;
        is_closed = take(e, ']');
        if (!is_closed && !take(e, ','))
            return flaw(e, "',' or ']' is expected");
    }
    lb_codec_end(e->out, mark, count);
    return LB_OK;
}

static int compare_names(const char *base, const struct member *a, const struct member *b)
{
    size_t size = a->name_size < b->name_size ? a->name_size : b->name_size;
    int order = memcmp(base + a->name + 5, base + b->name + 5, size - 5);
    return order != 0 ? order : (a->name_size > b->name_size) - (a->name_size < b->name_size);
}

/* By merging runs, as objects may be large; scratch has room for n. */
static void sort_members(const char *base, struct member *items, struct member *scratch, size_t n)
{
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t start = 0; start < n; start += 2 * width) {
            size_t middle = start + width < n ? start + width : n;
            size_t end = start + 2 * width < n ? start + 2 * width : n;
            size_t a = start, b = middle;
            for (size_t k = start; k < end; k++) {
                bool left =
                    a < middle && (b == end || compare_names(base, &items[a], &items[b]) <= 0);
                scratch[k] = left ? items[a++] : items[b++];
            }
        }
        memcpy(items, scratch, n * sizeof *items);
    }
}

/* The members' bytes stand in out behind `body` in the order of the text; puts them into that of their names. */
static lb_status order_members(struct encoder *e, size_t body, struct member *items, size_t n,
                               struct lb_error *err)
{
    bool is_sorted = true;
    for (size_t i = 1; i < n && is_sorted; i++)
        is_sorted = compare_names(e->out->data, &items[i - 1], &items[i]) < 0;
    if (is_sorted)
        return LB_OK;
    struct member *scratch = lb_alloc(n * sizeof *scratch);
    struct lb_buf sorted = {0};
    if (scratch == NULL)
        return lb_error_memory(err, "an object", n * sizeof *scratch);
    sort_members(e->out->data, items, scratch, n);
    lb_free(scratch, n * sizeof *scratch);
    lb_status status = lb_buf_reserve(&sorted, e->out->size - body, err);
    for (size_t i = 0; status == LB_OK && i < n; i++) {
        if (i > 0 && compare_names(e->out->data, &items[i - 1], &items[i]) == 0) {
            flaw(e, "an object has a name twice");
            break;
        }
        status = lb_buf_append(&sorted, e->out->data + items[i].name, items[i].name_size, err);
        if (status == LB_OK)
            status =
                lb_buf_append(&sorted, e->out->data + items[i].value, items[i].value_size, err);
    }
    if (status == LB_OK && e->reason == NULL)
        memcpy(e->out->data + body, sorted.data, sorted.size);
    lb_buf_fini(&sorted);
    return status;
}

/* Members up to the closing bracket. Those that are nil are left out when their names have been checked. */
static lb_status encode_members(struct encoder *e, struct lb_buf *items, struct lb_error *err)
{
    bool is_closed = take(e, '}');
    while (!is_closed && e->reason == NULL) {
        struct member member = {.name = e->out->size};
        skip_blanks(e);
        if (e->p == e->end || *e->p != '"')
            return flaw(e, "a name in double quotes is expected");
        LB_TRY(encode_string(e, err));
        member.name_size = e->out->size - member.name;
        if (e->reason == NULL && !take(e, ':'))
            return flaw(e, "':' is expected");
        member.value = e->out->size;
        if (e->reason == NULL)
            LB_TRY(encode_value(e, err));
        member.value_size = e->out->size - member.value;
        LB_TRY(lb_buf_append(items, &member, sizeof member, err));
        is_closed = take(e, '}');
        if (!is_closed && !take(e, ','))
            return flaw(e, "',' or '}' is expected");
    }
    return LB_OK;
}

static lb_status encode_object(struct encoder *e, struct lb_error *err)
{
    size_t mark, body;
    struct lb_buf list = {0};
    uint32_t count = 0;
    LB_TRY(lb_codec_begin(e->out, 'm', &mark, err));
    body = e->out->size;
    lb_status status = encode_members(e, &list, err);
    size_t n = list.size / sizeof(struct member);
    struct member *items = (struct member *)(void *)list.data;
    if (status == LB_OK && e->reason == NULL)
        status = order_members(e, body, items, n, err);
    if (status == LB_OK && e->reason == NULL) { /* leave out what is nil */
        char *from = e->out->data + body, *to = from, *end = e->out->data + e->out->size;
        while (from < end) {
            size_t name = lb_codec_size(from), value = lb_codec_size(from + name);
            if (from[name] != 'n') {
                memmove(to, from, name + value);
                to += name + value;
                count++;
            }
            from += name + value;
        }
        e->out->size = (size_t)(to - e->out->data);
        lb_codec_end(e->out, mark, count);
    }
    lb_buf_fini(&list);
    return status;
}

static lb_status encode_value(struct encoder *e, struct lb_error *err)
{
    skip_blanks(e);
    if (e->p == e->end)
        return flaw(e, "a value is expected");
    char first = *e->p;
    if (first == '"')
        return encode_string(e, err);
    if (first != '{' && first != '[')
        return encode_word(e, err);
    if (e->depth == LB_CODEC_DEPTH - 1)
        return flaw(e, "objects and arrays are nested more than 100 deep");
    e->depth++;
    e->p++;
    LB_TRY(first == '{' ? encode_object(e, err) : encode_list(e, err));
    e->depth--;
    return LB_OK;
}

lb_status lb_json_encode(const char *text, size_t size, struct lb_buf *out, const char **reason,
                         const char **at, struct lb_error *err)
{
    struct encoder e = {.p = text, .end = text + size, .out = out};
    LB_TRY(encode_value(&e, err));
    skip_blanks(&e);
    if (e.reason == NULL && e.p != e.end)
        flaw(&e, "something stands behind the value");
    *reason = e.reason;
    *at = e.at;
    return LB_OK;
}
