/* Functions of one row on numbers: those of mathematics. What has no value (ln(-1), acos(2)) is NaN, as in Lua; an infinite
 * one is inf. */
#include <math.h>

#include "core/expr/expr_private.h"

enum real {
    SQRT,
    CBRT,
    LN,
    LOG2,
    LOG10,
    EXP,
    SIN,
    COS,
    TAN,
    ASIN,
    ACOS,
    ATAN,
    SINH,
    COSH,
    TANH,
    DEGREES,
    RADIANS
};

static const double PI = 3.14159265358979323846;

static lb_status want_number(const struct expr_call *call, const struct lb_value *value,
                             struct lb_error *err)
{
    return expr_is_number(value) ? LB_OK : expr_expected(call, "number", value, err);
}

/* One step of Newton's after the C library's root: 3 for 27, not 3.0000000000000004. */
static double cube_root(double x)
{
    double root = cbrt(x);
    double better = root - (root * root * root - x) / (3 * root * root);

    return isfinite(better) ? better : root;
}

static double real(enum real function, double x)
{
    switch (function) {
    case SQRT:
        return sqrt(x);
    case CBRT:
        return cube_root(x);
    case LN:
        return log(x);
    case LOG2:
        return log2(x);
    case LOG10:
        return log10(x);
    case EXP:
        return exp(x);
    case SIN:
        return sin(x);
    case COS:
        return cos(x);
    case TAN:
        return tan(x);
    case ASIN:
        return asin(x);
    case ACOS:
        return acos(x);
    case ATAN:
        return atan(x);
    case SINH:
        return sinh(x);
    case COSH:
        return cosh(x);
    case TANH:
        return tanh(x);
    case DEGREES:
        return x * (180 / PI);
    case RADIANS:
        return x * (PI / 180);
    }
    return x;
}

static lb_status call_real(struct expr_call *call, const struct lb_value *args, uint32_t n,
                           struct lb_error *err)
{
    (void)n;
    LB_TRY(want_number(call, &args[0], err));
    expr_return_float(call, real((enum real)call->class->variant, expr_number(&args[0])));
    return LB_OK;
}

enum { POWER, ATAN2, LOG_BASE };

static lb_status call_real2(struct expr_call *call, const struct lb_value *args, uint32_t n,
                            struct lb_error *err)
{
    double a;
    double b;

    (void)n;
    LB_TRY(want_number(call, &args[0], err));
    LB_TRY(want_number(call, &args[1], err));
    a = expr_number(&args[0]);
    b = expr_number(&args[1]);
    expr_return_float(call, call->class->variant == POWER   ? pow(a, b)
                            : call->class->variant == ATAN2 ? atan2(a, b)
                                                            : log(b) / log(a));
    return LB_OK;
}

enum { IS_NAN, IS_INF, IS_FINITE };

static lb_status call_is(struct expr_call *call, const struct lb_value *args, uint32_t n,
                         struct lb_error *err)
{
    double x;

    (void)n;
    LB_TRY(want_number(call, &args[0], err));
    x = expr_number(&args[0]);
    expr_return_bool(call, call->class->variant == IS_NAN   ? isnan(x)
                           : call->class->variant == IS_INF ? isinf(x)
                                                            : isfinite(x));
    return LB_OK;
}

enum { GCD, LCM };

static lb_status call_gcd(struct expr_call *call, const struct lb_value *args, uint32_t n,
                          struct lb_error *err)
{
    int64_t a = 0;
    int64_t b = 0;

    (void)n;
    LB_TRY(expr_want_integer(call, &args[0], &a, err));
    LB_TRY(expr_want_integer(call, &args[1], &b, err));
    uint64_t x = a < 0 ? -(uint64_t)a : (uint64_t)a;
    uint64_t y = b < 0 ? -(uint64_t)b : (uint64_t)b;
    uint64_t whole = x;
    uint64_t other = y;
    while (y != 0) {
        uint64_t rest = x % y;
        x = y;
        y = rest;
    }
    unsigned __int128 result = x;
    if (call->class->variant == LCM)
        result = x == 0 ? 0 : (unsigned __int128)(whole / x) * other;
    if (result > INT64_MAX)
        return lb_error_set(err, LB_ERR_USER, "integer overflow in %s(%lld, %lld)",
                            call->class->symbol, (long long)a, (long long)b);
    expr_return_int(call, (int64_t)result);
    return LB_OK;
}

enum { BIT_AND, BIT_OR, BIT_XOR, SHIFT_LEFT, SHIFT_RIGHT };

/* Bits as Lua's operators have them: shifts fill with zeros, a negative one goes the other way. */
static lb_status call_bits(struct expr_call *call, const struct lb_value *args, uint32_t n,
                           struct lb_error *err)
{
    int64_t a = 0;
    int64_t b = 0;

    (void)n;
    LB_TRY(expr_want_integer(call, &args[0], &a, err));
    LB_TRY(expr_want_integer(call, &args[1], &b, err));
    uint64_t x = (uint64_t)a;
    int kind = call->class->variant;
    if (kind == SHIFT_RIGHT && b != INT64_MIN)
        b = -b;
    if (kind == BIT_AND)
        x &= (uint64_t)b;
    else if (kind == BIT_OR)
        x |= (uint64_t)b;
    else if (kind == BIT_XOR)
        x ^= (uint64_t)b;
    else if (b <= -64 || b >= 64)
        x = 0;
    else
        x = b < 0 ? x >> -b : x << b;
    expr_return_int(call, (int64_t)x);
    return LB_OK;
}

static lb_status call_bit_count(struct expr_call *call, const struct lb_value *args, uint32_t n,
                                struct lb_error *err)
{
    int64_t a = 0;

    (void)n;
    LB_TRY(expr_want_integer(call, &args[0], &a, err));
    expr_return_int(call, __builtin_popcountll((uint64_t)a));
    return LB_OK;
}

static lb_status call_pi(struct expr_call *call, const struct lb_value *args, uint32_t n,
                         struct lb_error *err)
{
    (void)args;
    (void)n;
    (void)err;
    expr_return_float(call, PI);
    return LB_OK;
}

#define REAL(text, code)                                      \
    {                                                         \
        text, text, EXPR_SCALAR, 1, 1, false, code, call_real \
    }
#define TWO(text, code, function)                            \
    {                                                        \
        text, text, EXPR_SCALAR, 2, 2, false, code, function \
    }

const struct expr_class expr_real_classes[] = {
    REAL("sqrt", SQRT),
    REAL("cbrt", CBRT),
    REAL("ln", LN),
    REAL("log2", LOG2),
    REAL("log10", LOG10),
    REAL("exp", EXP),
    REAL("sin", SIN),
    REAL("cos", COS),
    REAL("tan", TAN),
    REAL("asin", ASIN),
    REAL("acos", ACOS),
    REAL("atan", ATAN),
    REAL("sinh", SINH),
    REAL("cosh", COSH),
    REAL("tanh", TANH),
    REAL("degrees", DEGREES),
    REAL("radians", RADIANS),
    TWO("power", POWER, call_real2),
    TWO("atan2", ATAN2, call_real2),
    TWO("log_base", LOG_BASE, call_real2),
    {"isnan", "isnan", EXPR_SCALAR, 1, 1, false, IS_NAN, call_is},
    {"isinf", "isinf", EXPR_SCALAR, 1, 1, false, IS_INF, call_is},
    {"isfinite", "isfinite", EXPR_SCALAR, 1, 1, false, IS_FINITE, call_is},
    TWO("gcd", GCD, call_gcd),
    TWO("lcm", LCM, call_gcd),
    TWO("bit_and", BIT_AND, call_bits),
    TWO("bit_or", BIT_OR, call_bits),
    TWO("bit_xor", BIT_XOR, call_bits),
    TWO("shift_left", SHIFT_LEFT, call_bits),
    TWO("shift_right", SHIFT_RIGHT, call_bits),
    {"bit_count", "bit_count", EXPR_SCALAR, 1, 1, false, 0, call_bit_count},
    {"pi", "pi", EXPR_SCALAR, 0, 0, true, 0, call_pi},
    {NULL, NULL, EXPR_SCALAR, 0, 0, false, 0, NULL},
};
