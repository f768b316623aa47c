/* The functions of one row that stand behind the syntax: comparison, in, between, and those that take any type; with
 * them the helpers that all functions share. */
#include <math.h>
#include <stdio.h>

#include "core/base/hash.h"
#include "core/base/number.h"
#include "core/base/utf8.h"
#include "core/column/key.h"
#include "core/expr/expr_private.h"

/* ---- helpers ---- */

const char *expr_describe(const struct lb_value *value, char text[EXPR_DESCRIBED_BYTES])
{
    enum { MAX_SHOWN = 60 };
    char number[LB_NUMBER_BYTES];
    size_t size;

    switch (value->tag) {
    case 'f':
    case 't':
        snprintf(text, EXPR_DESCRIBED_BYTES, "boolean %s", value->tag == 't' ? "true" : "false");
        break;
    case 'i':
    case 'd':
        size =
            value->tag == 'i' ? lb_format_int(value->i, number) : lb_format_float(value->d, number);
        snprintf(text, EXPR_DESCRIBED_BYTES, "%s %.*s", value->tag == 'i' ? "integer" : "float",
                 (int)size, number);
        break;
    case 's':
        size = lb_utf8_cut(value->data, value->size, MAX_SHOWN);
        snprintf(text, EXPR_DESCRIBED_BYTES, "string '%.*s%s'", (int)size, value->data,
                 size < value->size ? "..." : "");
        break;
    case 'n':
        snprintf(text, EXPR_DESCRIBED_BYTES, "NULL");
        break;
    default:
        snprintf(text, EXPR_DESCRIBED_BYTES, "a table");
    }
    return text;
}

lb_status expr_expected(const struct expr_call *call, const char *expected,
                        const struct lb_value *got, struct lb_error *err)
{
    char text[EXPR_DESCRIBED_BYTES];

    return lb_error_set(err, LB_ERR_USER, "%s: %s expected, got %s", call->class->symbol, expected,
                        expr_describe(got, text));
}

lb_status expr_want_string(const struct expr_call *call, const struct lb_value *value,
                           struct lb_error *err)
{
    return value->tag == 's' ? LB_OK : expr_expected(call, "string", value, err);
}

lb_status expr_want_integer(const struct expr_call *call, const struct lb_value *value,
                            int64_t *integer, struct lb_error *err)
{
    *integer = value->i;
    if (value->tag == 'i' || (value->tag == 'd' && lb_float_as_int(value->d, integer)))
        return LB_OK;
    return expr_expected(call, "integer", value, err);
}

lb_status expr_append_text(const struct expr_call *call, const struct lb_value *value,
                           struct lb_buf *out, struct lb_error *err)
{
    char number[LB_NUMBER_BYTES];
    size_t size;

    switch (value->tag) {
    case 's':
        return lb_buf_append(out, value->data, value->size, err);
    case 'i':
        size = lb_format_int(value->i, number);
        return lb_buf_append(out, number, size, err);
    case 'd':
        size = lb_format_float(value->d, number);
        return lb_buf_append(out, number, size, err);
    case 't':
        return lb_buf_append(out, "true", 4, err);
    case 'f':
        return lb_buf_append(out, "false", 5, err);
    default:
        return expr_expected(call, "string, number or boolean", value, err);
    }
}

void expr_return_scratch(struct expr_call *call)
{
    expr_return_string(call, call->scratch->data != NULL ? call->scratch->data : "",
                       call->scratch->size);
    call->is_scratch = true;
}

void expr_return_encoded(struct expr_call *call)
{
    const char *cursor = call->scratch->data;

    lb_codec_next(&cursor, &call->value);
    call->is_scratch = true;
}

static int compare_floats(double a, double b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) - isnan(b);
    return (a > b) - (a < b);
}

bool expr_compare_holds(enum expr_compare operation, int order)
{
    switch (operation) {
    case EXPR_EQ:
        return order == 0;
    case EXPR_NE:
        return order != 0;
    case EXPR_LT:
        return order < 0;
    case EXPR_LE:
        return order <= 0;
    case EXPR_GT:
        return order > 0;
    case EXPR_GE:
        return order >= 0;
    }
    return false;
}

static bool is_table(const struct lb_value *value)
{
    return value->tag == 'l' || value->tag == 'm';
}

static bool is_boolean(const struct lb_value *value)
{
    return value->tag == 't' || value->tag == 'f';
}

static lb_status put_key(const struct lb_value *value, struct lb_buf *out, struct lb_error *err)
{
    size_t size;
    const char *data;
    switch (value->tag) {
    case 'l':
    case 'm':
        data = lb_value_encoded(value, &size);
        return lb_key_put_encoded(out, data, size, false, err);
    case 'i':
        return lb_key_put_int(out, value->i, err);
    case 'd':
        return lb_key_put_float(out, value->d, err);
    case 's':
        LB_TRY(lb_buf_append_byte(out, LB_KEY_STRING, err));
        return lb_buf_append(out, value->data, value->size, err);
    default:
        return lb_key_put_encoded(out, &value->tag, 1, false, err);
    }
}

static lb_status compare_tables(const struct lb_value *a, const struct lb_value *b, int *order,
                                struct lb_error *err)
{
    struct lb_buf keys = {0};
    lb_status status = put_key(a, &keys, err);
    size_t middle = keys.size;

    if (status == LB_OK)
        status = put_key(b, &keys, err);
    if (status == LB_OK)
        *order = lb_key_compare(keys.data, middle, keys.data + middle, keys.size - middle);
    lb_buf_fini(&keys);
    return status;
}

lb_status expr_compare_values(const struct lb_value *a, const struct lb_value *b, int *order,
                              struct lb_error *err)
{
    if (a->tag == 'i' && b->tag == 'i')
        *order = (a->i > b->i) - (a->i < b->i);
    else if (a->tag == 'd' && b->tag == 'd')
        *order = compare_floats(a->d, b->d);
    else if (a->tag == 'i' && b->tag == 'd')
        *order = lb_compare_int_float(a->i, b->d);
    else if (a->tag == 'd' && b->tag == 'i')
        *order = -lb_compare_int_float(b->i, a->d);
    else if (a->tag == 's' && b->tag == 's')
        *order = lb_key_compare(a->data, a->size, b->data, b->size);
    else if (is_boolean(a) && is_boolean(b))
        *order = (a->tag == 't') - (b->tag == 't');
    else if (is_table(a) && is_table(b))
        return compare_tables(a, b, order, err);
    else {
        char left[EXPR_DESCRIBED_BYTES], right[EXPR_DESCRIBED_BYTES];
        return lb_error_set(err, LB_ERR_USER, "cannot compare %s with %s", expr_describe(a, left),
                            expr_describe(b, right));
    }
    return LB_OK;
}

/* ---- functions ---- */

static lb_status call_compare(struct expr_call *call, const struct lb_value *args, uint32_t n,
                              struct lb_error *err)
{
    int order = 0;

    (void)n;
    LB_TRY(expr_compare_values(&args[0], &args[1], &order, err));
    expr_return_bool(call, expr_compare_holds((enum expr_compare)call->class->variant, order));
    return LB_OK;
}

/* is not distinct from: NULL is a value like others, values of different types differ. */
static lb_status call_same(struct expr_call *call, const struct lb_value *args, uint32_t n,
                           struct lb_error *err)
{
    bool comparable = (expr_is_number(&args[0]) && expr_is_number(&args[1])) ||
                      (is_boolean(&args[0]) && is_boolean(&args[1])) ||
                      (is_table(&args[0]) && is_table(&args[1])) || args[0].tag == args[1].tag;
    int order = 0;

    (void)n;
    if (comparable && args[0].tag != 'n')
        LB_TRY(expr_compare_values(&args[0], &args[1], &order, err));
    expr_return_bool(call, comparable && order == 0);
    return LB_OK;
}

static lb_status call_between(struct expr_call *call, const struct lb_value *args, uint32_t n,
                              struct lb_error *err)
{
    int order = 0;
    bool has_null = false;

    (void)n;
    if (args[0].tag == 'n')
        return LB_OK;
    for (int i = 1; i <= 2; i++) {
        if (args[i].tag == 'n') {
            has_null = true;
            continue;
        }
        LB_TRY(expr_compare_values(&args[0], &args[i], &order, err));
        if (i == 1 ? order < 0 : order > 0) {
            /* Decided; but a wrong type of the other end is an error in any case, as in the kernel. */
            if (i == 1 && args[2].tag != 'n')
                LB_TRY(expr_compare_values(&args[0], &args[2], &order, err));
            expr_return_bool(call, false);
            return LB_OK;
        }
    }
    if (!has_null)
        expr_return_bool(call, true);
    return LB_OK;
}

static lb_status call_in(struct expr_call *call, const struct lb_value *args, uint32_t n,
                         struct lb_error *err)
{
    bool has_null = false;
    bool found = false;

    if (args[0].tag == 'n')
        return LB_OK;
    for (uint32_t i = 1; i < n; i++) {
        int order = 0;
        if (args[i].tag == 'n') {
            has_null = true;
            continue;
        }
        LB_TRY(expr_compare_values(&args[0], &args[i], &order, err));
        found |= order == 0;
    }
    if (found || !has_null)
        expr_return_bool(call, found);
    return LB_OK;
}

static lb_status call_nullif(struct expr_call *call, const struct lb_value *args, uint32_t n,
                             struct lb_error *err)
{
    int order = 1;

    (void)n;
    if (args[0].tag != 'n' && args[1].tag != 'n')
        LB_TRY(expr_compare_values(&args[0], &args[1], &order, err));
    if (order != 0)
        call->value = args[0];
    return LB_OK;
}

/* NULLs are passed over. */
static lb_status call_extreme(struct expr_call *call, const struct lb_value *args, uint32_t n,
                              struct lb_error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        int order = 0;
        if (args[i].tag == 'n')
            continue;
        if (call->value.tag != 'n')
            LB_TRY(expr_compare_values(&args[i], &call->value, &order, err));
        if (call->value.tag == 'n' || order * call->class->variant > 0)
            call->value = args[i];
    }
    return LB_OK;
}

static lb_status call_typeof(struct expr_call *call, const struct lb_value *args, uint32_t n,
                             struct lb_error *err)
{
    const char *name = "table";

    (void)n;
    (void)err;
    switch (args[0].tag) {
    case 'n':
        name = "null";
        break;
    case 'f':
    case 't':
        name = "boolean";
        break;
    case 'i':
        name = "integer";
        break;
    case 'd':
        name = "float";
        break;
    case 's':
        name = "string";
        break;
    default:
        break;
    }
    expr_return_string(call, name, strlen(name));
    return LB_OK;
}

static lb_status call_hash(struct expr_call *call, const struct lb_value *args, uint32_t n,
                           struct lb_error *err)
{
    (void)n;
    LB_TRY(put_key(&args[0], call->scratch, err));
    expr_return_int(call, (int64_t)lb_hash_bytes(call->scratch->data, call->scratch->size));
    return LB_OK;
}

#define COMPARE(text, sign, code)                                 \
    {                                                             \
        text, sign, EXPR_COMPARE, 2, 2, false, code, call_compare \
    }

const struct expr_class expr_core_classes[] = {
    {"column", "column", EXPR_COLUMN, 0, 0, true, 0, NULL},
    {"literal", "literal", EXPR_LITERAL, 0, 0, true, 0, NULL},
    {"and", "and", EXPR_LOGIC, 2, 255, true, 0, NULL}, /* variant: the value that decides */
    {"or", "or", EXPR_LOGIC, 2, 255, true, 1, NULL},
    {"not", "not", EXPR_NOT, 1, 1, true, 0, NULL},
    {"is_null", "is null", EXPR_IS_NULL, 1, 1, true, 0, NULL},
    {"case", "case", EXPR_CASE, 2, 255, true, 0, NULL},
    {"coalesce", "coalesce", EXPR_COALESCE, 1, 255, true, 0, NULL},
    COMPARE("eq", "=", EXPR_EQ),
    COMPARE("ne", "<>", EXPR_NE),
    COMPARE("lt", "<", EXPR_LT),
    COMPARE("le", "<=", EXPR_LE),
    COMPARE("gt", ">", EXPR_GT),
    COMPARE("ge", ">=", EXPR_GE),
    {"same", "is distinct from", EXPR_SCALAR, 2, 2, true, 0, call_same},
    {"between", "between", EXPR_BETWEEN, 3, 3, true, 0, call_between},
    {"in", "in", EXPR_IN, 2, 255, true, 0, call_in},
    {"nullif", "nullif", EXPR_SCALAR, 2, 2, true, 0, call_nullif},
    {"least", "least", EXPR_SCALAR, 1, 255, true, -1, call_extreme},
    {"greatest", "greatest", EXPR_SCALAR, 1, 255, true, 1, call_extreme},
    {"typeof", "typeof", EXPR_SCALAR, 1, 1, true, 0, call_typeof},
    {"hash", "hash", EXPR_SCALAR, 1, 1, false, 0, call_hash},
    {NULL, NULL, EXPR_SCALAR, 0, 0, false, 0, NULL},
};
