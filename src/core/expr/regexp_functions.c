/* Functions of one row on regular expressions: PCRE2, compiled to machine code where the processor allows.
 *
 * IDEA    A pattern that is a literal is compiled once for the program and shared by threads; one that is computed, when it
 *         differs from the row's before it. What matching needs besides (match data, stack) each thread makes for each step
 *         when it first matches there.
 * LIMITS  A pattern that tries too many ways for one string is an error that names the record: no record takes longer than
 *         a fraction of a second. Between records the run may be stopped.
 * BYTES   Strings are bytes, as everywhere; flag u makes them UTF-8, and bytes that are none match nothing.
 * MEMORY  PCRE2 allocates through base/sys.h, but for machine code, which it maps itself. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdatomic.h>

#include "core/base/sys.h"
#include "core/expr/expr_private.h"

enum {
    MIN_STEPS =
        5000000, /* that a match may take: about 25 ms of machine code, 0.5 s where there is none; */
    STEPS_PER_BYTE = 4, /* and more in a long string */
    MAX_HEAP_KIB = 64 << 10,
    STACK_START_BYTES = 32 << 10,
    STACK_MAX_BYTES = 1 << 20,
    HEAD_BYTES = 16,
    MAX_SHOWN = 80
};
static const size_t MAX_MADE_BYTES = 1u << 30; /* of regexp_replace */

struct expr_regexp {
    pcre2_code *code;
    uint32_t n_groups;
    bool is_global; /* flag g */
};

struct expr_matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    struct expr_regexp *computed; /* the last pattern that was no literal, or NULL, */
    struct lb_buf computed_text;  /* its text, a zero byte, its flags */
};

/* ---- memory ---- */

static void *gate_alloc(PCRE2_SIZE size, void *unused)
{
    size_t *block = lb_alloc(size + HEAD_BYTES);

    (void)unused;
    if (block == NULL)
        return NULL;
    *block = size + HEAD_BYTES;
    return (char *)block + HEAD_BYTES;
}

static void gate_free(void *pointer, void *unused)
{
    (void)unused;
    if (pointer == NULL)
        return;
    size_t *block = (size_t *)((char *)pointer - HEAD_BYTES);
    lb_free(block, *block);
}

void expr_regexp_delete(struct expr_regexp *regexp)
{
    if (regexp == NULL)
        return;
    pcre2_code_free(regexp->code);
    lb_free(regexp, sizeof *regexp);
}

void expr_matcher_delete(struct expr_matcher *matcher)
{
    if (matcher == NULL)
        return;
    pcre2_match_data_free(matcher->data);
    pcre2_match_context_free(matcher->context);
    pcre2_jit_stack_free(matcher->stack);
    expr_regexp_delete(matcher->computed);
    lb_buf_fini(&matcher->computed_text);
    lb_free(matcher, sizeof *matcher);
}

/* ---- compiling ---- */

static lb_status read_flags(const char *flags, size_t size, uint32_t *options, bool *is_global,
                            struct lb_error *err)
{
    *is_global = false;
    for (size_t i = 0; i < size; i++)
        switch (flags[i]) {
        case 'g':
            *is_global = true;
            break;
        case 'i':
            *options |= PCRE2_CASELESS;
            break;
        case 'c': /* the default */
            *options &= ~(uint32_t)PCRE2_CASELESS;
            break;
        case 'm':
            *options |= PCRE2_MULTILINE;
            break;
        case 's':
            *options |= PCRE2_DOTALL;
            break;
        case 'x':
            *options |= PCRE2_EXTENDED;
            break;
        case 'u':
            *options |= PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF;
            break;
        default:
            return lb_error_set(err, LB_ERR_USER,
                                "flags of a pattern are letters of \"cgimsux\", not '%c'",
                                flags[i] >= ' ' && flags[i] < 127 ? flags[i] : '?');
        }
    return LB_OK;
}

/* *at: the byte of the pattern at fault, 1-based, or 0. */
static lb_status compile(const char *pattern, size_t size, const char *flags, size_t flags_size,
                         bool is_whole, struct expr_regexp **made, size_t *at, struct lb_error *err)
{
    uint32_t options = is_whole ? PCRE2_ANCHORED | PCRE2_ENDANCHORED : 0;
    struct expr_regexp *regexp = lb_alloc_zero(sizeof *regexp);
    pcre2_general_context *gate = pcre2_general_context_create(gate_alloc, gate_free, NULL);
    pcre2_compile_context *context = gate != NULL ? pcre2_compile_context_create(gate) : NULL;
    lb_status status = LB_OK;
    int code = 0;
    PCRE2_SIZE offset = 0;

    *at = 0;
    if (regexp == NULL || context == NULL)
        status = lb_error_memory(err, "a regular expression", size);
    if (status == LB_OK)
        status = read_flags(flags, flags_size, &options, &regexp->is_global, err);
    if (status == LB_OK) {
        regexp->code = pcre2_compile((PCRE2_SPTR)pattern, size, options | PCRE2_NEVER_BACKSLASH_C,
                                     &code, &offset, context);
        if (regexp->code == NULL && code == PCRE2_ERROR_HEAP_FAILED) {
            status = lb_error_memory(err, "a regular expression", size);
        } else if (regexp->code == NULL) {
            PCRE2_UCHAR message[200] = "";
            pcre2_get_error_message(code, message, sizeof message);
            *at = offset + 1;
            status =
                lb_error_set(err, LB_ERR_USER, "pattern '%.*s': %s, at byte %zu",
                             (int)(size < MAX_SHOWN ? size : MAX_SHOWN), pattern, message, *at);
        }
    }
    if (status == LB_OK) {
        pcre2_jit_compile(regexp->code,
                          PCRE2_JIT_COMPLETE); /* without it matching is only slower */
        pcre2_pattern_info(regexp->code, PCRE2_INFO_CAPTURECOUNT, &regexp->n_groups);
        *made = regexp;
    } else {
        expr_regexp_delete(regexp);
    }
    pcre2_compile_context_free(context);
    pcre2_general_context_free(gate);
    return status;
}

lb_status lb_expr_check_regexp(const char *pattern, size_t size, const char *flags,
                               size_t flags_size, size_t *at, struct lb_error *err)
{
    struct expr_regexp *regexp = NULL;

    LB_TRY(compile(pattern, size, flags, flags_size, false, &regexp, at, err));
    expr_regexp_delete(regexp);
    return LB_OK;
}

/* ---- classes ---- */

enum regexp_operation { MATCHES, FULL_MATCH, COUNT, EXTRACT, EXTRACT_ALL, REPLACE, SPLIT };

/* Which argument holds the flags. */
static uint32_t flags_argument(const struct expr_class *class)
{
    return class->variant == EXTRACT || class->variant == EXTRACT_ALL || class->variant == REPLACE
               ? 3
               : 2;
}

lb_status expr_regexp_prepare(const struct lb_expr *expr, struct expr_step *step,
                              struct lb_error *err)
{
    const struct expr_step *pattern = &expr->steps[step->args[1]];
    uint32_t flags_number = flags_argument(step->class);
    const struct lb_value *flags = NULL;
    size_t at;

    if (step->n_args > flags_number) {
        const struct expr_step *last = &expr->steps[step->args[flags_number]];
        if (last->class->kind != EXPR_LITERAL || last->literal.tag != 's')
            return LB_OK;
        flags = &last->literal;
    }
    if (pattern->class->kind != EXPR_LITERAL || pattern->literal.tag != 's')
        return LB_OK;
    return compile(pattern->literal.data, pattern->literal.size, flags != NULL ? flags->data : "",
                   flags != NULL ? flags->size : 0, step->class->variant == FULL_MATCH,
                   &step->regexp, &at, err);
}

/* ---- matching ---- */

static lb_status new_matcher(struct expr_slot *slot, struct lb_error *err)
{
    struct expr_matcher *matcher = lb_alloc_zero(sizeof *matcher);
    pcre2_general_context *gate = pcre2_general_context_create(gate_alloc, gate_free, NULL);

    if (matcher != NULL && gate != NULL) {
        matcher->context = pcre2_match_context_create(gate);
        matcher->stack = pcre2_jit_stack_create(STACK_START_BYTES, STACK_MAX_BYTES, gate);
    }
    pcre2_general_context_free(gate);
    if (matcher == NULL || matcher->context == NULL || matcher->stack == NULL) {
        expr_matcher_delete(matcher);
        return lb_error_memory(err, "a regular expression", STACK_START_BYTES);
    }
    pcre2_set_heap_limit(matcher->context, MAX_HEAP_KIB);
    pcre2_jit_stack_assign(matcher->context, NULL, matcher->stack);
    slot->matcher = matcher;
    return LB_OK;
}

/* The pattern of a call whose pattern or flags are computed. */
static lb_status computed_regexp(struct expr_call *call, struct expr_matcher *matcher,
                                 const struct lb_value *pattern, const struct lb_value *flags,
                                 struct expr_regexp **regexp, struct lb_error *err)
{
    struct lb_buf *text = &matcher->computed_text;
    size_t flags_size = flags != NULL ? flags->size : 0;
    size_t at;

    if (matcher->computed == NULL || text->size != pattern->size + 1 + flags_size ||
        memcmp(text->data, pattern->data, pattern->size) != 0 ||
        (flags_size > 0 && memcmp(text->data + pattern->size + 1, flags->data, flags_size) != 0)) {
        expr_regexp_delete(matcher->computed);
        matcher->computed = NULL;
        pcre2_match_data_free(matcher->data); /* as many groups as the pattern has */
        matcher->data = NULL;
        text->size = 0;
        LB_TRY(lb_buf_append(text, pattern->data, pattern->size, err));
        LB_TRY(lb_buf_append_byte(text, '\0', err));
        if (flags_size > 0)
            LB_TRY(lb_buf_append(text, flags->data, flags_size, err));
        LB_TRY(compile(pattern->data, pattern->size, flags_size > 0 ? flags->data : "", flags_size,
                       call->class->variant == FULL_MATCH, &matcher->computed, &at, err));
    }
    *regexp = matcher->computed;
    return LB_OK;
}

/* One search through a string after the other. */
struct search {
    struct expr_call *call;
    const struct expr_regexp *regexp;
    struct expr_matcher *matcher;
    const struct lb_value *text;
    size_t from;           /* where to look next */
    uint32_t options;      /* for the next look */
    const size_t *offsets; /* of the match: start and end of the whole and of each group */
};

static lb_status start_search(struct expr_call *call, const struct lb_value *args, uint32_t n,
                              struct search *search, struct lb_error *err)
{
    struct expr_slot *slot = &call->state->slots[call->step];
    struct expr_regexp *regexp = call->state->expr->steps[call->step].regexp;
    uint32_t flags_number = flags_argument(call->class);

    LB_TRY(expr_want_string(call, &args[0], err));
    LB_TRY(expr_want_string(call, &args[1], err));
    if (n > flags_number)
        LB_TRY(expr_want_string(call, &args[flags_number], err));
    if (call->state->stop != NULL &&
        atomic_load_explicit(call->state->stop, memory_order_relaxed) != 0)
        return lb_error_set(err, LB_ERR_CANCELLED, "cancelled");
    if (slot->matcher == NULL)
        LB_TRY(new_matcher(slot, err));
    struct expr_matcher *matcher = slot->matcher;
    if (regexp == NULL)
        LB_TRY(computed_regexp(call, matcher, &args[1],
                               n > flags_number ? &args[flags_number] : NULL, &regexp, err));
    if (matcher->data == NULL)
        matcher->data = pcre2_match_data_create_from_pattern(regexp->code, NULL);
    if (matcher->data == NULL)
        return lb_error_memory(err, "a regular expression", regexp->n_groups * 16);
    *search = (struct search){.call = call, .regexp = regexp, .matcher = matcher, .text = &args[0]};
    return LB_OK;
}

static lb_status match_error(const struct search *search, int code, struct lb_error *err)
{
    const char *name = search->call->class->symbol;

    switch (code) {
    case PCRE2_ERROR_MATCHLIMIT:
    case PCRE2_ERROR_DEPTHLIMIT:
    case PCRE2_ERROR_HEAPLIMIT:
    case PCRE2_ERROR_JIT_STACKLIMIT:
        return lb_error_set(err, LB_ERR_USER,
                            "%s: the pattern tries too many ways to match a string of %zu bytes",
                            name, search->text->size);
    case PCRE2_ERROR_NOMEMORY:
        return lb_error_memory(err, "a regular expression", search->text->size);
    default: {
        PCRE2_UCHAR message[200] = "";
        pcre2_get_error_message(code, message, sizeof message);
        return lb_error_set(err, LB_ERR_USER, "%s: %s", name, message);
    }
    }
}

/* The next match; none overlaps one before it, and an empty one is not found twice. */
static lb_status next_match(struct search *search, bool *found, struct lb_error *err)
{
    const struct lb_value *text = search->text;

    *found = false;
    if (search->from > text->size)
        return LB_OK;
    size_t steps = MIN_STEPS + STEPS_PER_BYTE * (text->size - search->from);
    pcre2_set_match_limit(search->matcher->context,
                          steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
    int code = pcre2_match(search->regexp->code, (PCRE2_SPTR)text->data, text->size, search->from,
                           search->options, search->matcher->data, search->matcher->context);
    if (code == PCRE2_ERROR_NOMATCH)
        return LB_OK;
    if (code < 0)
        return match_error(search, code, err);
    search->offsets = pcre2_get_ovector_pointer(search->matcher->data);
    /* Without machine code, PCRE2 takes bytes that are no UTF-8 for an end of the string. */
    if (search->call->class->variant == FULL_MATCH && search->offsets[1] != text->size)
        return LB_OK;
    *found = true;
    /* \K in a lookahead may give an end before the start; nothing good is meant by it. */
    if (search->offsets[1] < search->offsets[0] || search->offsets[0] < search->from)
        return lb_error_set(err, LB_ERR_USER, "%s: \\K in a lookaround is not supported",
                            search->call->class->symbol);
    search->from = search->offsets[1];
    search->options = search->offsets[1] == search->offsets[0] ? PCRE2_NOTEMPTY_ATSTART : 0;
    return LB_OK;
}

/* Bytes of a group of the match; an absent one is empty. */
static void group_of(const struct search *search, uint32_t group, const char **data, size_t *size)
{
    size_t from = search->offsets[2 * group];
    bool is_set = from != PCRE2_UNSET;

    *data = is_set ? search->text->data + from : "";
    *size = is_set ? search->offsets[2 * group + 1] - from : 0;
}

static lb_status want_group(const struct search *search, int64_t group, struct lb_error *err)
{
    if (group >= 0 && group <= search->regexp->n_groups)
        return LB_OK;
    return lb_error_set(err, LB_ERR_USER, "%s: there is no group %lld; the pattern has %u",
                        search->call->class->symbol, (long long)group, search->regexp->n_groups);
}

/* ---- functions ---- */

static lb_status call_matches(struct expr_call *call, const struct lb_value *args, uint32_t n,
                              struct lb_error *err)
{
    struct search search;
    bool found = false;
    int64_t count = 0;

    LB_TRY(start_search(call, args, n, &search, err));
    do {
        LB_TRY(next_match(&search, &found, err));
        count += found;
    } while (found && call->class->variant == COUNT);
    if (call->class->variant == COUNT)
        expr_return_int(call, count);
    else
        expr_return_bool(call, found);
    return LB_OK;
}

/* regexp_extract(s, pattern, group): the group of the first match, '' where there is none. */
static lb_status call_extract(struct expr_call *call, const struct lb_value *args, uint32_t n,
                              struct lb_error *err)
{
    struct search search;
    int64_t group = 0;
    bool found = false;
    const char *data = "";
    size_t size = 0;

    LB_TRY(start_search(call, args, n, &search, err));
    if (n > 2)
        LB_TRY(expr_want_integer(call, &args[2], &group, err));
    LB_TRY(want_group(&search, group, err));
    LB_TRY(next_match(&search, &found, err));
    if (found)
        group_of(&search, (uint32_t)group, &data, &size);
    expr_return_string(call, data, size);
    return LB_OK;
}

/* A list: the group of every match, or what stands between the matches. */
static lb_status call_list(struct expr_call *call, const struct lb_value *args, uint32_t n,
                           struct lb_error *err)
{
    bool is_split = call->class->variant == SPLIT;
    struct search search;
    int64_t group = 0;
    bool found = true;
    uint32_t count = 0;
    size_t mark;
    size_t last = 0;

    LB_TRY(start_search(call, args, n, &search, err));
    if (n > 2 && !is_split)
        LB_TRY(expr_want_integer(call, &args[2], &group, err));
    LB_TRY(want_group(&search, group, err));
    LB_TRY(lb_codec_begin(call->scratch, 'l', &mark, err));
    for (;;) {
        const char *data = args[0].data + last;
        size_t size = args[0].size - last;
        LB_TRY(next_match(&search, &found, err));
        if (!found && !is_split)
            break;
        /* Nothing is between an empty match at an end of the string and that end. */
        if (found && is_split && search.offsets[0] == search.offsets[1] &&
            (search.offsets[0] == last || search.offsets[0] == args[0].size))
            continue;
        if (found && is_split)
            size = search.offsets[0] - last;
        else if (found)
            group_of(&search, (uint32_t)group, &data, &size);
        LB_TRY(lb_codec_put_string(call->scratch, data, size, err));
        count++;
        if (!found)
            break;
        last = search.offsets[1];
    }
    lb_codec_end(call->scratch, mark, count);
    expr_return_encoded(call);
    return LB_OK;
}

/* Appends the replacement: \0 is the match, \1 to \9 its groups, \\ a backslash. */
static lb_status append_replacement(const struct search *search, const struct lb_value *text,
                                    struct lb_buf *out, struct lb_error *err)
{
    for (size_t i = 0; i < text->size; i++) {
        char c = text->data[i];
        char next = i + 1 < text->size ? text->data[i + 1] : '\0';
        if (c == '\\' && next >= '0' && next <= '9') {
            const char *data;
            size_t size;
            LB_TRY(want_group(search, next - '0', err));
            group_of(search, (uint32_t)(next - '0'), &data, &size);
            LB_TRY(lb_buf_append(out, data, size, err));
            i++;
            continue;
        }
        i += c == '\\' && next == '\\';
        LB_TRY(lb_buf_append_byte(out, c, err));
    }
    return LB_OK;
}

/* regexp_replace(s, pattern, text, flags): the first match, with flag g all. */
static lb_status call_replace(struct expr_call *call, const struct lb_value *args, uint32_t n,
                              struct lb_error *err)
{
    struct search search;
    bool found = true;
    size_t last = 0;

    LB_TRY(start_search(call, args, n, &search, err));
    LB_TRY(expr_want_string(call, &args[2], err));
    for (bool more = true; more; more = search.regexp->is_global) {
        LB_TRY(next_match(&search, &found, err));
        if (!found)
            break;
        LB_TRY(lb_buf_append(call->scratch, args[0].data + last, search.offsets[0] - last, err));
        LB_TRY(append_replacement(&search, &args[2], call->scratch, err));
        last = search.offsets[1];
        if (call->scratch->size > MAX_MADE_BYTES)
            return lb_error_set(err, LB_ERR_USER, "%s: the result would have more than %zu bytes",
                                call->class->symbol, MAX_MADE_BYTES);
    }
    LB_TRY(lb_buf_append(call->scratch, args[0].data + last, args[0].size - last, err));
    expr_return_scratch(call);
    return LB_OK;
}

#define REGEXP(text, min, max, code, function)                   \
    {                                                            \
        text, text, EXPR_REGEXP, min, max, false, code, function \
    }

const struct expr_class expr_regexp_classes[] = {
    REGEXP("regexp_matches", 2, 3, MATCHES, call_matches),
    REGEXP("regexp_full_match", 2, 3, FULL_MATCH, call_matches),
    REGEXP("regexp_count", 2, 3, COUNT, call_matches),
    REGEXP("regexp_extract", 2, 4, EXTRACT, call_extract),
    REGEXP("regexp_extract_all", 2, 4, EXTRACT_ALL, call_list),
    REGEXP("regexp_split", 2, 3, SPLIT, call_list),
    REGEXP("regexp_replace", 3, 4, REPLACE, call_replace),
    {NULL, NULL, EXPR_SCALAR, 0, 0, false, 0, NULL},
};
