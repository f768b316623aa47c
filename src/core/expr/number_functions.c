/* Functions of one row on numbers: arithmetic, rounding, casts. */
#include <math.h>

#include "core/base/number.h"
#include "core/column/key.h"
#include "core/expr/expr_private.h"

static lb_status want_number(const struct expr_call *call, const struct lb_value *value,
                             struct lb_error *err)
{
    return expr_is_number(value) ? LB_OK : expr_expected(call, "number", value, err);
}

static lb_status overflow(const struct expr_call *call, int64_t a, int64_t b, struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_USER, "integer overflow in %lld %s %lld", (long long)a,
                        call->class->symbol, (long long)b);
}

static lb_status int_arithmetic(struct expr_call *call, int64_t a, int64_t b, struct lb_error *err)
{
    int64_t result = 0;
    bool overflows = false;

    switch ((enum expr_arithmetic)call->class->variant) {
    case EXPR_ADD:
        overflows = __builtin_add_overflow(a, b, &result);
        break;
    case EXPR_SUB:
        overflows = __builtin_sub_overflow(a, b, &result);
        break;
    case EXPR_MUL:
        overflows = __builtin_mul_overflow(a, b, &result);
        break;
    case EXPR_DIV:
        if (b != 0)
            expr_return_float(call, (double)a / (double)b);
        return LB_OK;
    case EXPR_IDIV:
        if (b == 0)
            return LB_OK;
        overflows = a == INT64_MIN && b == -1;
        if (!overflows)
            result = a / b - (a % b != 0 && (a ^ b) < 0);
        break;
    case EXPR_MOD:
        if (b == 0)
            return LB_OK;
        result = b == -1 ? 0 : a % b;
        if (result != 0 && (result ^ b) < 0)
            result += b;
        break;
    }
    if (overflows)
        return overflow(call, a, b, err);
    expr_return_int(call, result);
    return LB_OK;
}

/* + - * / // %; a zero divisor gives NULL. */
static lb_status call_arithmetic(struct expr_call *call, const struct lb_value *args, uint32_t n,
                                 struct lb_error *err)
{
    double a;
    double b;
    double rest;

    (void)n;
    LB_TRY(want_number(call, &args[0], err));
    LB_TRY(want_number(call, &args[1], err));
    if (args[0].tag == 'i' && args[1].tag == 'i')
        return int_arithmetic(call, args[0].i, args[1].i, err);
    a = expr_number(&args[0]);
    b = expr_number(&args[1]);
    switch ((enum expr_arithmetic)call->class->variant) {
    case EXPR_ADD:
        expr_return_float(call, a + b);
        break;
    case EXPR_SUB:
        expr_return_float(call, a - b);
        break;
    case EXPR_MUL:
        expr_return_float(call, a * b);
        break;
    case EXPR_DIV:
        if (b != 0)
            expr_return_float(call, a / b);
        break;
    case EXPR_IDIV:
        if (b != 0)
            expr_return_float(call, floor(a / b));
        break;
    case EXPR_MOD:
        if (b != 0) {
            rest = fmod(a, b);
            expr_return_float(call, rest * b < 0 ? rest + b : rest);
        }
        break;
    }
    return LB_OK;
}

static lb_status call_neg(struct expr_call *call, const struct lb_value *args, uint32_t n,
                          struct lb_error *err)
{
    (void)n;
    LB_TRY(want_number(call, &args[0], err));
    if (args[0].tag == 'd')
        expr_return_float(call, -args[0].d);
    else if (args[0].i == INT64_MIN)
        return lb_error_set(err, LB_ERR_USER, "integer overflow in -(%lld)", (long long)INT64_MIN);
    else
        expr_return_int(call, -args[0].i);
    return LB_OK;
}

static lb_status call_abs(struct expr_call *call, const struct lb_value *args, uint32_t n,
                          struct lb_error *err)
{
    (void)n;
    LB_TRY(want_number(call, &args[0], err));
    if (args[0].tag == 'd')
        expr_return_float(call, fabs(args[0].d));
    else if (args[0].i == INT64_MIN)
        return lb_error_set(err, LB_ERR_USER, "integer overflow in abs(%lld)",
                            (long long)INT64_MIN);
    else
        expr_return_int(call, args[0].i < 0 ? -args[0].i : args[0].i);
    return LB_OK;
}

enum { CEIL, FLOOR, TRUNC };

/* The type stays. */
static lb_status call_whole(struct expr_call *call, const struct lb_value *args, uint32_t n,
                            struct lb_error *err)
{
    (void)n;
    LB_TRY(want_number(call, &args[0], err));
    call->value = args[0];
    if (args[0].tag == 'd')
        call->value.d = call->class->variant == CEIL    ? ceil(args[0].d)
                        : call->class->variant == FLOOR ? floor(args[0].d)
                                                        : trunc(args[0].d);
    return LB_OK;
}

static lb_status call_sign(struct expr_call *call, const struct lb_value *args, uint32_t n,
                           struct lb_error *err)
{
    (void)n;
    LB_TRY(want_number(call, &args[0], err));
    if (args[0].tag == 'i')
        expr_return_int(call, (args[0].i > 0) - (args[0].i < 0));
    else if (!isnan(args[0].d))
        expr_return_int(call, (args[0].d > 0) - (args[0].d < 0));
    else
        call->value = args[0];
    return LB_OK;
}

/* Half away from zero; the type stays. A negative number of digits rounds before the point. */
static lb_status call_round(struct expr_call *call, const struct lb_value *args, uint32_t n,
                            struct lb_error *err)
{
    int64_t digits = 0;

    LB_TRY(want_number(call, &args[0], err));
    if (n > 1)
        LB_TRY(expr_want_integer(call, &args[1], &digits, err));
    if (args[0].tag == 'd') {
        double scale = pow(10, fabs((double)digits));
        double scaled = digits < 0 ? args[0].d / scale : args[0].d * scale;
        double rounded = round(scaled);
        rounded = digits < 0 ? rounded * scale : rounded / scale;
        /* Beyond the digits that a float has there is nothing to round. */
        expr_return_float(call, isfinite(scaled) && isfinite(rounded) ? rounded : args[0].d);
        if (digits < -308)
            expr_return_float(call, 0);
        return LB_OK;
    }
    __int128 unit = 1;
    for (int64_t i = digits; i < 0 && unit < (__int128)1 << 80; i++)
        unit *= 10;
    __int128 value = args[0].i;
    __int128 half = value < 0 ? -(unit / 2) : unit / 2;
    value = unit == 1 ? value : (value + half) / unit * unit;
    if (value > INT64_MAX || value < INT64_MIN)
        return overflow(call, args[0].i, digits, err);
    expr_return_int(call, (int64_t)value);
    return LB_OK;
}

/* ---- casts ---- */

enum { STRICT, TRY }; /* what cannot be cast is an error, or NULL */

static lb_status no_cast(struct expr_call *call, const char *type, const struct lb_value *value,
                         struct lb_error *err)
{
    char text[EXPR_DESCRIBED_BYTES];

    if (call->class->variant == TRY)
        return LB_OK;
    return lb_error_set(err, LB_ERR_USER, "%s cannot be cast to %s", expr_describe(value, text),
                        type);
}

static void trim_blanks(const struct lb_value *value, const char **text, size_t *size)
{
    *text = value->data;
    *size = value->size;
    while (*size > 0 && ((*text)[0] == ' ' || ((*text)[0] >= '\t' && (*text)[0] <= '\r'))) {
        (*text)++;
        (*size)--;
    }
    while (*size > 0 && ((*text)[*size - 1] == ' ' ||
                         ((*text)[*size - 1] >= '\t' && (*text)[*size - 1] <= '\r')))
        (*size)--;
}

/* Floats are cut towards zero. */
static lb_status call_to_integer(struct expr_call *call, const struct lb_value *args, uint32_t n,
                                 struct lb_error *err)
{
    const char *text;
    size_t size;
    int64_t integer;

    (void)n;
    switch (args[0].tag) {
    case 'i':
        call->value = args[0];
        return LB_OK;
    case 'f':
    case 't':
        expr_return_int(call, args[0].tag == 't');
        return LB_OK;
    case 'd':
        if (!lb_float_as_int(trunc(args[0].d), &integer))
            break;
        expr_return_int(call, integer);
        return LB_OK;
    case 's':
        trim_blanks(&args[0], &text, &size);
        if (!lb_parse_int(text, size, &integer))
            break;
        expr_return_int(call, integer);
        return LB_OK;
    default:
        break;
    }
    return no_cast(call, "integer", &args[0], err);
}

static lb_status call_to_float(struct expr_call *call, const struct lb_value *args, uint32_t n,
                               struct lb_error *err)
{
    const char *text;
    size_t size;
    double d;

    (void)n;
    switch (args[0].tag) {
    case 'i':
    case 'd':
        expr_return_float(call, expr_number(&args[0]));
        return LB_OK;
    case 'f':
    case 't':
        expr_return_float(call, args[0].tag == 't');
        return LB_OK;
    case 's':
        trim_blanks(&args[0], &text, &size);
        if (!lb_parse_float(text, size, &d))
            break;
        expr_return_float(call, d);
        return LB_OK;
    default:
        break;
    }
    return no_cast(call, "float", &args[0], err);
}

static lb_status call_to_string(struct expr_call *call, const struct lb_value *args, uint32_t n,
                                struct lb_error *err)
{
    (void)n;
    if (args[0].tag == 'l' || args[0].tag == 'm')
        return no_cast(call, "string", &args[0], err);
    if (args[0].tag == 's') {
        call->value = args[0];
        return LB_OK;
    }
    LB_TRY(expr_append_text(call, &args[0], call->scratch, err));
    expr_return_scratch(call);
    return LB_OK;
}

static bool is_word(const char *text, size_t size, const char *word)
{
    if (strlen(word) != size)
        return false;
    for (size_t i = 0; i < size; i++)
        if ((text[i] | 0x20) != word[i])
            return false;
    return true;
}

/* Of strings: true, false, t, f in any case, 1, 0. */
static lb_status call_to_boolean(struct expr_call *call, const struct lb_value *args, uint32_t n,
                                 struct lb_error *err)
{
    const char *text;
    size_t size;

    (void)n;
    switch (args[0].tag) {
    case 'f':
    case 't':
        call->value = args[0];
        return LB_OK;
    case 'i':
    case 'd':
        expr_return_bool(call, expr_number(&args[0]) != 0);
        return LB_OK;
    case 's':
        trim_blanks(&args[0], &text, &size);
        if (is_word(text, size, "true") || is_word(text, size, "t") || (size == 1 && *text == '1'))
            expr_return_bool(call, true);
        else if (is_word(text, size, "false") || is_word(text, size, "f") ||
                 (size == 1 && *text == '0'))
            expr_return_bool(call, false);
        else
            break;
        return LB_OK;
    default:
        break;
    }
    return no_cast(call, "boolean", &args[0], err);
}

#define ARITHMETIC(text, sign, code)                                    \
    {                                                                   \
        text, sign, EXPR_ARITHMETIC, 2, 2, false, code, call_arithmetic \
    }
#define NUMBER(text, code, function)                         \
    {                                                        \
        text, text, EXPR_SCALAR, 1, 1, false, code, function \
    }
#define CAST(text, code, function)                             \
    {                                                          \
        text, "cast", EXPR_SCALAR, 1, 1, false, code, function \
    }

const struct expr_class expr_number_classes[] = {
    ARITHMETIC("add", "+", EXPR_ADD),
    ARITHMETIC("sub", "-", EXPR_SUB),
    ARITHMETIC("mul", "*", EXPR_MUL),
    ARITHMETIC("div", "/", EXPR_DIV),
    ARITHMETIC("idiv", "//", EXPR_IDIV),
    ARITHMETIC("mod", "%", EXPR_MOD),
    {"neg", "-", EXPR_SCALAR, 1, 1, false, 0, call_neg},
    {"round", "round", EXPR_SCALAR, 1, 2, false, 0, call_round},
    NUMBER("abs", 0, call_abs),
    NUMBER("ceil", CEIL, call_whole),
    NUMBER("floor", FLOOR, call_whole),
    NUMBER("trunc", TRUNC, call_whole),
    NUMBER("sign", 0, call_sign),
    CAST("to_integer", STRICT, call_to_integer),
    CAST("to_float", STRICT, call_to_float),
    CAST("to_string", STRICT, call_to_string),
    CAST("to_boolean", STRICT, call_to_boolean),
    CAST("try_integer", TRY, call_to_integer),
    CAST("try_float", TRY, call_to_float),
    CAST("try_string", TRY, call_to_string),
    CAST("try_boolean", TRY, call_to_boolean),
    {NULL, NULL, EXPR_SCALAR, 0, 0, false, 0, NULL},
};
