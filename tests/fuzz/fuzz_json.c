/* JSON text: the marks by every instruction set against a loop byte by byte, and values against a parser that descends on its
 * own; records taken apart by their marks must be accepted exactly when that parser accepts them; what was read is written and
 * read again.
 *
 * INPUT  bytes: lines or an array, room for marks; text. */
#include "core/base/arena.h"
#include "core/base/number.h"
#include "core/column/codec.h"
#include "core/io/format.h"
#include "core/io/json.h"
#include "core/io/text_kernels.h"
#include "fuzz.h"

enum { MOST = 4000 };

/* ---- marks ---- */

struct marks {
    uint32_t positions[MOST];
    char kinds[MOST];
    size_t n, seen;
};

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static void put_mark(struct marks *marks, size_t at, char kind)
{
    marks->positions[marks->n] = (uint32_t)at;
    marks->kinds[marks->n++] = kind;
}

static void mark_naively(const char *data, size_t size, bool in_lines, struct marks *marks)
{
    bool inside = false, in_word = false, escapes = false;
    marks->n = 0;
    marks->seen = size;
    for (size_t at = 0; at < size; at++) {
        char byte = data[at];
        bool is_escaped = escapes, was_word = in_word;
        escapes = byte == '\\' && !is_escaped;
        in_word = false;
        if (byte == '"' && !is_escaped) {
            put_mark(marks, at, '"');
            inside = !inside;
        } else if (byte == '\n' && in_lines) {
            put_mark(marks, at, '\n');
            if (inside) {
                marks->seen = at + 1;
                return;
            }
        } else if (inside || is_blank(byte)) {
            continue;
        } else if (strchr("{}[]:,", byte) != NULL && byte != '\0') {
            put_mark(marks, at, byte);
        } else {
            in_word = true;
            if (!was_word)
                put_mark(marks, at, LB_JSON_WORD);
        }
    }
}

static void check_marks(const struct lb_json_index *index, const struct marks *wanted)
{
    CHECK(index->seen <= wanted->seen && index->n <= wanted->n);
    CHECK(index->seen == wanted->seen || index->n + 64 > index->capacity);
    CHECK(index->n == wanted->n || wanted->positions[index->n] >= index->seen);
    CHECK(memcmp(index->positions, wanted->positions, index->n * sizeof *index->positions) == 0);
    CHECK(memcmp(index->kinds, wanted->kinds, index->n) == 0);
}

/* ---- the other parser ---- */

struct parser {
    const char *p, *end;
};

/* Appends the value as the codec has it; false: the text is none. */
static bool parse(struct parser *in, unsigned depth, struct lb_buf *out);

static void skip(struct parser *in)
{
    while (in->p < in->end && is_blank(*in->p))
        in->p++;
}

static bool next_is(struct parser *in, char byte)
{
    skip(in);
    if (in->p == in->end || *in->p != byte)
        return false;
    in->p++;
    return true;
}

static bool parse_hex(struct parser *in, unsigned *code)
{
    *code = 0;
    for (int i = 0; i < 4; i++, in->p++) {
        const char *digits = "0123456789abcdefABCDEF", *found;
        if (in->p == in->end || *in->p == '\0' || (found = strchr(digits, *in->p)) == NULL)
            return false;
        unsigned digit = (unsigned)(found - digits);
        *code = *code * 16 + (digit < 16 ? digit : digit - 6);
    }
    return true;
}

static void put_utf8(struct lb_buf *out, unsigned code)
{
    char bytes[4];
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; code >>= 6)
        bytes[i] = (char)(0x80 | (code & 63));
    bytes[0] = (char)(heads[n] | code);
    MUST(lb_buf_append(out, bytes, n, &fuzz_error));
}

static bool parse_escape(struct parser *in, struct lb_buf *out)
{
    static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    unsigned code, low;
    if (in->p == in->end)
        return false;
    char letter = *in->p++;
    if (letter != 'u') {
        const char *found = letter != '\0' ? strchr(letters, letter) : NULL;
        if (found == NULL)
            return false;
        MUST(lb_buf_append_byte(out, bytes[found - letters], &fuzz_error));
        return true;
    }
    if (!parse_hex(in, &code) || (code & 0xfc00) == 0xdc00)
        return false;
    if ((code & 0xfc00) == 0xd800) {
        if (in->end - in->p < 2 || in->p[0] != '\\' || in->p[1] != 'u')
            return false;
        in->p += 2;
        if (!parse_hex(in, &low) || (low & 0xfc00) != 0xdc00)
            return false;
        code = 0x10000 + ((code & 0x3ff) << 10 | (low & 0x3ff));
    }
    put_utf8(out, code);
    return true;
}

/* The bytes of the string that begins here, opening quote included. */
static bool parse_string(struct parser *in, struct lb_buf *bytes)
{
    if (!next_is(in, '"'))
        return false;
    while (in->p < in->end && *in->p != '"') {
        unsigned char byte = (unsigned char)*in->p++;
        if (byte < 32)
            return false;
        if (byte != '\\')
            MUST(lb_buf_append_byte(bytes, (char)byte, &fuzz_error));
        else if (!parse_escape(in, bytes))
            return false;
    }
    return next_is(in, '"');
}

static bool parse_word(struct parser *in, struct lb_buf *out)
{
    const char *start = in->p;
    while (in->p < in->end && !is_blank(*in->p) &&
           (*in->p == '\0' || strchr(",:{}[]\"", *in->p) == NULL))
        in->p++;
    size_t size = (size_t)(in->p - start), at = 0;
    char word[600];
    if (size == 0 || size >= sizeof word)
        return false;
    memcpy(word, start, size);
    word[size] = '\0';
    if (strlen(word) < size)
        return false;
    if (strcmp(word, "null") == 0)
        MUST(lb_codec_put_nil(out, &fuzz_error));
    else if (strcmp(word, "true") == 0 || strcmp(word, "false") == 0)
        MUST(lb_codec_put_bool(out, word[0] == 't', &fuzz_error));
    if (strchr("ntf", word[0]) != NULL && word[0] != '\0')
        return strcmp(word, "null") == 0 || strcmp(word, "true") == 0 || strcmp(word, "false") == 0;
    at += word[at] == '-';
    size_t digits = strspn(word + at, "0123456789");
    bool is_whole = true, leads_zero = word[at] == '0' && digits > 1;
    at += digits;
    if (digits == 0 || leads_zero)
        return false;
    if (word[at] == '.') {
        digits = strspn(word + ++at, "0123456789");
        at += digits;
        is_whole = false;
    }
    if (digits > 0 && (word[at] == 'e' || word[at] == 'E')) {
        at++;
        at += word[at] == '+' || word[at] == '-';
        digits = strspn(word + at, "0123456789");
        at += digits;
        is_whole = false;
    }
    if (digits == 0 || at != size)
        return false;
    errno = 0;
    long long integer = strtoll(word, NULL, 10);
    double number = strtod(word, NULL);
    bool is_zero =
        strpbrk(word, "123456789") == NULL || strcspn(word, "123456789") > strcspn(word, "eE");
    bool is_lost = number * 0 != 0 || (number == 0 && !is_zero);
    if (is_whole && errno == 0 && strcmp(word, "-0") != 0)
        MUST(lb_codec_put_int(out, integer, &fuzz_error));
    else if ((is_whole && strcmp(word, "-0") != 0) || is_lost)
        MUST(lb_codec_put_string(out, word, size, &fuzz_error));
    else
        MUST(lb_codec_put_float(out, number, &fuzz_error));
    return true;
}

static bool parse_list(struct parser *in, unsigned depth, struct lb_buf *out)
{
    size_t mark;
    uint32_t n = 0;
    MUST(lb_codec_begin(out, 'l', &mark, &fuzz_error));
    if (!next_is(in, ']')) {
        do {
            if (!parse(in, depth, out))
                return false;
            n++;
        } while (next_is(in, ','));
        if (!next_is(in, ']'))
            return false;
    }
    lb_codec_end(out, mark, n);
    return true;
}

struct naive_member {
    struct lb_buf name, value;
};

static int compare_members(const void *a, const void *b)
{
    const struct lb_buf *x = &((const struct naive_member *)a)->name;
    const struct lb_buf *y = &((const struct naive_member *)b)->name;
    size_t size = x->size < y->size ? x->size : y->size;
    int order = size > 0 ? memcmp(x->data, y->data, size) : 0;
    return order != 0 ? order : (x->size > y->size) - (x->size < y->size);
}

static bool parse_object(struct parser *in, unsigned depth, struct lb_buf *out)
{
    struct naive_member *members = NULL;
    size_t n = 0, mark;
    uint32_t n_put = 0;
    bool is_good = true;
    if (!next_is(in, '}')) {
        do {
            members = realloc(members, (n + 1) * sizeof *members);
            CHECK(members != NULL);
            members[n] = (struct naive_member){{0}, {0}};
            n++;
            is_good = parse_string(in, &members[n - 1].name) && next_is(in, ':') &&
                      parse(in, depth, &members[n - 1].value);
        } while (is_good && next_is(in, ','));
        is_good = is_good && next_is(in, '}');
    }
    if (n > 1)
        qsort(members, n, sizeof *members, compare_members);
    for (size_t i = 1; i < n; i++)
        is_good = is_good && compare_members(&members[i - 1], &members[i]) != 0;
    MUST(lb_codec_begin(out, 'm', &mark, &fuzz_error));
    for (size_t i = 0; i < n; i++) {
        if (is_good && members[i].value.data[0] != 'n') {
            MUST(lb_codec_put_string(out, members[i].name.data, members[i].name.size, &fuzz_error));
            MUST(lb_buf_append(out, members[i].value.data, members[i].value.size, &fuzz_error));
            n_put++;
        }
        lb_buf_fini(&members[i].name);
        lb_buf_fini(&members[i].value);
    }
    lb_codec_end(out, mark, n_put);
    free(members);
    return is_good;
}

static bool parse(struct parser *in, unsigned depth, struct lb_buf *out)
{
    struct lb_buf bytes = {0};
    skip(in);
    if (in->p == in->end)
        return false;
    if (*in->p == '{' || *in->p == '[') {
        if (depth == 0)
            return false;
        return *in->p++ == '{' ? parse_object(in, depth - 1, out) : parse_list(in, depth - 1, out);
    }
    if (*in->p != '"')
        return parse_word(in, out);
    bool is_good = parse_string(in, &bytes);
    MUST(lb_codec_put_string(out, bytes.data, bytes.size, &fuzz_error));
    lb_buf_fini(&bytes);
    return is_good;
}

/* The whole text is one value. */
static bool parse_whole(const char *text, size_t size, unsigned depth, struct lb_buf *out)
{
    struct parser in = {text, text + size};
    if (!parse(&in, depth, out))
        return false;
    skip(&in);
    return in.p == in.end;
}

/* ---- values ---- */

static bool encode(const char *text, size_t size, struct lb_buf *out)
{
    const char *reason = NULL, *at = NULL;
    char *exact = fuzz_copy(text, size, LB_TEXT_PADDING, '"');
    MUST(lb_json_encode(exact, size, out, &reason, &at, &fuzz_error));
    CHECK(reason == NULL || (at >= exact && at <= exact + size));
    free(exact);
    return reason == NULL;
}

static void check_value(const char *text, size_t size)
{
    struct lb_buf got = {0}, wanted = {0}, written = {0}, again = {0};
    bool is_good = encode(text, size, &got);
    CHECK(parse_whole(text, size, LB_CODEC_DEPTH - 1, &wanted) == is_good);
    if (is_good) {
        CHECK(got.size == wanted.size && memcmp(got.data, wanted.data, got.size) == 0);
        MUST(lb_codec_verify(got.data, got.size, &fuzz_error));
        MUST(lb_format_encoded(LB_FORMAT_JSON, got.data, got.size, &written, &fuzz_error));
        CHECK(encode(written.data, written.size, &again));
        CHECK(got.size == again.size && memcmp(got.data, again.data, got.size) == 0);
    }
    lb_buf_fini(&got);
    lb_buf_fini(&wanted);
    lb_buf_fini(&written);
    lb_buf_fini(&again);
}

/* ---- records ---- */

/* Whether the record is an object by what the scans do with it: members by marks, then names and values. */
static bool accept(const char *text, const struct lb_json_index *index, size_t first, size_t end)
{
    struct lb_json_members members = {0};
    struct lb_json_flaw flaw;
    struct lb_arena arena;
    struct lb_view {
        const char *data;
        size_t size;
    } names[MOST / 2];
    const uint32_t *at = index->positions + first;
    lb_arena_init(&arena, 256);
    MUST(lb_json_members_of(index, first, end, &members, &flaw, &fuzz_error));
    bool is_good = flaw.reason == NULL;
    CHECK(is_good || flaw.position <= index->seen);
    for (size_t i = 0; i < members.n && is_good; i++) {
        const struct lb_json_member *m = &members.items[i];
        CHECK(m->key < m->value && m->value < m->end && m->end < end - first);
        const char *name = text + at[m->key] + 1, *reason = NULL;
        size_t size = at[m->key + 1] - at[m->key] - 1;
        MUST(lb_json_string(&name, &size, &arena, &reason, &fuzz_error));
        is_good = reason == NULL;
        names[i].data = name;
        names[i].size = size;
        for (size_t k = 0; k < i && is_good; k++)
            is_good = names[k].size != size || memcmp(names[k].data, name, size) != 0;
        bool is_word = index->kinds[first + m->value] == LB_JSON_WORD;
        size_t from = at[m->value], to = is_word ? at[m->end] : at[m->end - 1] + 1;
        struct lb_buf value = {0};
        is_good = is_good && encode(text + from, to - from, &value);
        lb_buf_fini(&value);
    }
    lb_json_members_fini(&members);
    lb_arena_fini(&arena);
    return is_good;
}

static void check_records(const char *text, const struct lb_json_index *index, bool in_lines)
{
    struct lb_json_walk walk = {.in_lines = in_lines};
    size_t first = 0, end = 0, from = 0;
    while (lb_json_next(&walk, index, &first, &end) == LB_JSON_RECORD) {
        CHECK(first >= from && first < end && end <= index->n);
        from = end;
        size_t start = index->positions[first];
        size_t stop = end < index->n ? index->positions[end] : index->seen;
        struct lb_buf value = {0};
        bool is_good = parse_whole(text + start, stop - start, LB_CODEC_DEPTH, &value);
        /* An array's elements are cut out by counting brackets: what that leaves behind is the array's fault. */
        if (is_good && text[start] == '{')
            CHECK(accept(text, index, first, end));
        else
            CHECK(!accept(text, index, first, end) || !in_lines);
        lb_buf_fini(&value);
        check_value(text + start, stop - start);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    static struct marks wanted;
    bool in_lines = fuzz_byte(&input) & 1;
    size_t room = 64 + fuzz_byte(&input);
    if (input.size > MOST)
        return 0;
    fuzz_begin();
    char *text = fuzz_copy(input.data, input.size, LB_TEXT_PADDING, in_lines ? '"' : '\n');
    mark_naively(text, input.size, in_lines, &wanted);
    for (int simd = LB_SIMD_SWAR; simd < LB_N_SIMDS; simd++) {
        struct lb_json_index index;
        if (!lb_text_set_simd((enum lb_simd)simd))
            continue;
        MUST(lb_json_index_init(&index, room, &fuzz_error));
        lb_json_index(text, input.size, in_lines, &index);
        check_marks(&index, &wanted);
        while (index.seen < wanted.seen) {
            MUST(lb_json_index_grow(&index, &fuzz_error));
            lb_json_index(text, input.size, in_lines, &index);
            check_marks(&index, &wanted);
        }
        if (simd == LB_SIMD_SWAR)
            check_records(text, &index, in_lines);
        lb_json_index_fini(&index);
    }
    check_value(text, input.size);
    free(text);
    return fuzz_end();
}
