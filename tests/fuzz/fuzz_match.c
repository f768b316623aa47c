/* SQL's patterns over the bytes of records: LIKE against a matcher written here, regular expressions against PCRE2 itself, without
 * machine code; with the pattern as a literal and as a column, which are compiled at different times; and times read by a format
 * and written by it again.
 *
 * INPUT  bytes: function, flags, sizes of the pattern and of the third argument; these, and the string. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/column/builder.h"
#include "core/expr/expr.h"
#include "fuzz.h"

enum { MOST_PATTERN = 60, MOST_TEXT = 200, MOST_ARGS = 4, MOST_NAIVE = 200000 };

struct text {
    const char *data;
    size_t size;
};

/* ---- evaluating ---- */

static void put_step(struct lb_buf *out, const char *class, int n_numbers, const int *numbers,
                     const struct text *literal)
{
    size_t mark;
    MUST(lb_codec_begin(out, 'l', &mark, &fuzz_error));
    MUST(lb_codec_put_string(out, class, strlen(class), &fuzz_error));
    MUST(lb_codec_put_int(out, 0, &fuzz_error));
    MUST(lb_codec_put_int(out, 0, &fuzz_error));
    for (int i = 0; i < n_numbers; i++)
        MUST(lb_codec_put_int(out, numbers[i], &fuzz_error));
    if (literal != NULL)
        MUST(lb_codec_put_string(out, literal->data, literal->size, &fuzz_error));
    lb_codec_end(out, mark, 3 + (uint32_t)n_numbers + (literal != NULL));
}

/* The program class(argument...): the first argument is a column, the others literals or columns. */
static void put_program(struct lb_buf *out, const char *class, const struct text *args, int n,
                        bool is_literal)
{
    size_t root, steps;
    int numbers[MOST_ARGS];
    MUST(lb_codec_begin(out, 'm', &root, &fuzz_error));
    MUST(lb_codec_put_string(out, "steps", 5, &fuzz_error));
    MUST(lb_codec_begin(out, 'l', &steps, &fuzz_error));
    for (int i = 0; i < n; i++) {
        numbers[i] = i + 1;
        if (i > 0 && is_literal)
            put_step(out, "literal", 0, NULL, &args[i]);
        else
            put_step(out, "column", 1, &numbers[i], NULL);
    }
    put_step(out, class, n, numbers, NULL);
    lb_codec_end(out, steps, (uint32_t)n + 1);
    MUST(lb_codec_put_string(out, "text", 4, &fuzz_error));
    MUST(lb_codec_put_string(out, "f(x)", 4, &fuzz_error));
    lb_codec_end(out, root, 2);
}

struct outcome {
    lb_status status;
    struct lb_buf value; /* encoded */
};

/* The function of one row. */
static void evaluate(const char *class, const struct text *args, int n, bool is_literal,
                     struct outcome *outcome)
{
    struct lb_buf program = {0};
    struct lb_builder builders[MOST_ARGS];
    struct lb_column columns[MOST_ARGS], result;
    struct lb_expr *expr = NULL;
    struct lb_expr_state *state = NULL;
    struct lb_value root;
    put_program(&program, class, args, n, is_literal);
    for (int i = 0; i < n; i++) {
        lb_builder_init(&builders[i]);
        MUST(lb_builder_string(&builders[i], args[i].data, args[i].size, &fuzz_error));
        columns[i] = lb_builder_finish(&builders[i]);
    }
    struct lb_batch batch = {
        .n_rows = 1, .n_selected = 1, .n_columns = (uint32_t)n, .columns = columns};
    const char *cursor = program.data;
    lb_codec_next(&cursor, &root);
    outcome->value = (struct lb_buf){0};
    outcome->status = lb_expr_new(&root, &expr, &fuzz_error);
    if (outcome->status == LB_OK) {
        MUST(lb_expr_state_new(expr, &state, &fuzz_error));
        outcome->status = lb_expr_eval(state, &batch, &result, &fuzz_error);
        if (outcome->status == LB_OK)
            MUST(lb_codec_put_column(&outcome->value, &result, 0, &fuzz_error));
    }
    CHECK(outcome->status == LB_OK || outcome->status == LB_ERR_USER);
    lb_expr_state_delete(state);
    lb_expr_delete(expr);
    for (int i = 0; i < n; i++)
        lb_builder_fini(&builders[i]);
    lb_buf_fini(&program);
}

/* As a literal and as a column; frees what it gives but the last one. */
static void ask(const char *class, const struct text *args, int n, struct outcome *outcome)
{
    struct outcome literal;
    evaluate(class, args, n, true, &literal);
    evaluate(class, args, n, false, outcome);
    CHECK(literal.status == outcome->status);
    CHECK(literal.value.size == outcome->value.size);
    CHECK(literal.value.size == 0 ||
          memcmp(literal.value.data, outcome->value.data, literal.value.size) == 0);
    lb_buf_fini(&literal.value);
}

static struct lb_value value_of(const struct outcome *outcome)
{
    struct lb_value value;
    const char *cursor = outcome->value.data;
    CHECK(outcome->status == LB_OK);
    lb_codec_next(&cursor, &value);
    return value;
}

/* ---- LIKE ---- */

static int fold(char c, bool is_folded)
{
    return is_folded && c >= 'A' && c <= 'Z' ? c + 32 : (unsigned char)c;
}

/* Gives up (-1) where it would take too many steps. */
static int naive_like(struct text text, struct text pattern, int escape, bool is_folded, int *steps)
{
    if (++*steps > MOST_NAIVE)
        return -1;
    if (pattern.size == 0)
        return text.size == 0;
    char c = pattern.data[0];
    bool is_escaped = (unsigned char)c == escape && pattern.size > 1;
    bool is_lone = (unsigned char)c == escape; /* at the end it stands for itself */
    size_t taken = is_escaped ? 2 : 1;
    if (is_escaped)
        c = pattern.data[1];
    struct text rest = {pattern.data + taken, pattern.size - taken};
    if (c == '%' && !is_lone) {
        for (size_t i = 0; i <= text.size; i++) {
            struct text behind = {text.data + i, text.size - i};
            int found = naive_like(behind, rest, escape, is_folded, steps);
            if (found != 0)
                return found;
        }
        return 0;
    }
    if (text.size == 0)
        return 0;
    if (!(c == '_' && !is_lone) && fold(c, is_folded) != fold(text.data[0], is_folded))
        return 0;
    return naive_like((struct text){text.data + 1, text.size - 1}, rest, escape, is_folded, steps);
}

static void check_like(const struct text *args, bool is_folded)
{
    struct outcome outcome;
    int n = args[2].size > 0 ? 3 : 2, steps = 0;
    ask(is_folded ? "ilike" : "like", args, n, &outcome);
    if (n == 3 && args[2].size != 1) {
        CHECK(outcome.status == LB_ERR_USER);
    } else {
        int escape = n == 3 ? (unsigned char)args[2].data[0] : -1;
        int found = naive_like(args[0], args[1], escape, is_folded, &steps);
        CHECK(found < 0 || (value_of(&outcome).tag == 't') == found);
    }
    lb_buf_fini(&outcome.value);
}

/* ---- regular expressions ---- */

static bool naive_options(struct text flags, uint32_t *options)
{
    static const char letters[] = "imsx";
    static const uint32_t bits[] = {PCRE2_CASELESS, PCRE2_MULTILINE, PCRE2_DOTALL, PCRE2_EXTENDED};
    for (size_t i = 0; i < flags.size; i++) {
        char c = flags.data[i];
        const char *found = c != '\0' ? strchr(letters, c) : NULL;
        if (found != NULL)
            *options |= bits[found - letters];
        else if (c == 'u')
            *options |= PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF;
        else if (c == 'c')
            *options &= ~(uint32_t)PCRE2_CASELESS;
        else if (c != 'g')
            return false;
    }
    return true;
}

/* Whether the pattern matches somewhere, or the whole; -1: PCRE2 does not say. *ok: it is a pattern. */
static int naive_regexp(const struct text *args, struct text flags, bool is_whole, bool *ok)
{
    uint32_t options = is_whole ? PCRE2_ANCHORED | PCRE2_ENDANCHORED : 0;
    int code = 0, result = -1;
    PCRE2_SIZE offset;
    *ok = naive_options(flags, &options);
    pcre2_code *pattern =
        *ok ? pcre2_compile((PCRE2_SPTR)args[1].data, args[1].size,
                            options | PCRE2_NEVER_BACKSLASH_C, &code, &offset, NULL)
            : NULL;
    *ok = pattern != NULL;
    if (*ok) {
        pcre2_match_data *data = pcre2_match_data_create_from_pattern(pattern, NULL);
        pcre2_match_context *context = pcre2_match_context_create(NULL);
        CHECK(data != NULL && context != NULL);
        pcre2_set_match_limit(context, 100000);
        code = pcre2_match(pattern, (PCRE2_SPTR)args[0].data, args[0].size, 0, PCRE2_NO_JIT, data,
                           context);
        if (code == PCRE2_ERROR_NOMATCH)
            result = 0;
        else if (code >= 0 && is_whole && pcre2_get_ovector_pointer(data)[1] != args[0].size)
            result = 0; /* it takes bytes that are no UTF-8 for an end */
        else if (code >= 0 && is_whole && pcre2_get_ovector_pointer(data)[0] > 0)
            result = -1;    /* \K, or it began behind bytes that are no UTF-8 */
        else if (code >= 0) /* \K: the end may be before the start, which luabatch refuses */
            result =
                pcre2_get_ovector_pointer(data)[0] <= pcre2_get_ovector_pointer(data)[1] ? 1 : -1;
        pcre2_match_context_free(context);
        pcre2_match_data_free(data);
    }
    pcre2_code_free(pattern);
    return result;
}

/* Parts of a split, which with the matches between them are the string; and what is replaced by itself stays as it is. */
static void check_parts(const struct text *args, struct text flags)
{
    struct outcome outcome;
    struct text list[MOST_ARGS] = {args[0], args[1], flags};
    ask("regexp_split", list, 3, &outcome);
    if (outcome.status == LB_OK) {
        struct lb_value parts = value_of(&outcome), part;
        const char *cursor = parts.data;
        size_t at = 0;
        CHECK(parts.tag == 'l' && parts.count > 0);
        for (uint32_t i = 0; i < parts.count; i++) {
            lb_codec_next(&cursor, &part);
            CHECK(part.tag == 's' && at + part.size <= args[0].size);
            const char *found =
                part.size > 0 ? memmem(args[0].data + at, args[0].size - at, part.data, part.size)
                              : args[0].data + at;
            CHECK(found != NULL);
            at = (size_t)(found - args[0].data) + part.size;
        }
    }
    lb_buf_fini(&outcome.value);
    list[2] = (struct text){"\\0", 2};
    list[3] = flags;
    ask("regexp_replace", list, 4, &outcome);
    if (outcome.status == LB_OK) {
        struct lb_value same = value_of(&outcome);
        CHECK(same.tag == 's' && same.size == args[0].size &&
              (same.size == 0 || memcmp(same.data, args[0].data, same.size) == 0));
    }
    lb_buf_fini(&outcome.value);
}

static void check_regexp(const struct text *args, bool is_whole)
{
    struct outcome outcome;
    struct text list[MOST_ARGS] = {args[0], args[1], args[2]};
    bool ok = false;
    int found = naive_regexp(args, args[2], is_whole, &ok);
    ask(is_whole ? "regexp_full_match" : "regexp_matches", list, 3, &outcome);
    if (!ok)
        CHECK(outcome.status == LB_ERR_USER);
    else if (outcome.status == LB_OK && found >= 0)
        CHECK((value_of(&outcome).tag == 't') == found);
    lb_buf_fini(&outcome.value);
    ask("regexp_count", list, 3, &outcome);
    if (outcome.status == LB_OK && !is_whole && found >= 0)
        CHECK((value_of(&outcome).i > 0) == found);
    lb_buf_fini(&outcome.value);
    check_parts(args, args[2]);
    list[2] = args[3]; /* a replacement, or the number of a group */
    ask("regexp_replace", list, 3, &outcome);
    lb_buf_fini(&outcome.value);
    ask("regexp_extract", list, 2, &outcome);
    lb_buf_fini(&outcome.value);
    ask("regexp_extract_all", list, 2, &outcome);
    lb_buf_fini(&outcome.value);
}

/* ---- times ---- */

/* What a format reads, ISO 8601 as it gives it, is read the same way by a format of that. */
static void check_time(const struct text *args)
{
    struct outcome outcome, again;
    ask("strptime", args, 2, &outcome);
    ask("try_strptime", args, 2, &again);
    CHECK(again.status == LB_OK || outcome.status == again.status);
    if (outcome.status == LB_OK) {
        int64_t seconds = 0, other = 0;
        double fraction = 0;
        struct lb_value time = value_of(&outcome);
        CHECK(time.tag == 's' && lb_time_seconds(time.data, time.size, &seconds, &fraction));
        CHECK(fraction >= 0 && fraction < 1);
        CHECK(again.value.size == outcome.value.size &&
              memcmp(again.value.data, outcome.value.data, again.value.size) == 0);
        lb_buf_fini(&again.value);
        struct text list[2] = {{time.data, time.size}, {"%Y-%m-%dT%H:%M:%S%z", 19}};
        ask("strftime", list, 2, &again);
        struct lb_value text = value_of(&again);
        CHECK(lb_time_seconds(text.data, text.size, &other, &fraction) && other == seconds);
    }
    lb_buf_fini(&again.value);
    lb_buf_fini(&outcome.value);
    ask("strftime", args, 2, &outcome);
    lb_buf_fini(&outcome.value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    uint8_t function = fuzz_byte(&input);
    size_t sizes[MOST_ARGS] = {0, fuzz_below(&input, MOST_PATTERN), fuzz_below(&input, 5),
                               fuzz_below(&input, 20)};
    struct text args[MOST_ARGS];
    char *copies[MOST_ARGS];
    if (input.size > MOST_PATTERN + MOST_TEXT)
        return 0;
    fuzz_begin();
    for (int i = MOST_ARGS - 1; i >= 0; i--) { /* the first one gets the rest */
        size_t n = i == 0 || sizes[i] > input.size ? input.size : sizes[i];
        copies[i] = fuzz_copy(input.data, n, 0, 0);
        args[i] = (struct text){copies[i], n};
        input.data += n;
        input.size -= n;
    }
    switch (function % 5) {
    case 0:
    case 1:
        check_like(args, function % 5 == 1);
        break;
    case 2:
    case 3:
        check_regexp(args, function % 5 == 3);
        break;
    default:
        check_time(args);
    }
    for (int i = 0; i < MOST_ARGS; i++)
        free(copies[i]);
    return fuzz_end();
}
