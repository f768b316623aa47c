/* What the files of this room share: steps, the state of an evaluation, and the table of classes. */
#ifndef LB_EXPR_EXPR_PRIVATE_H
#define LB_EXPR_EXPR_PRIVATE_H

#include "core/base/arena.h"
#include "core/column/builder.h"
#include "core/expr/expr.h"

/* ---- classes: what a step does ---- */

/* How a class is evaluated. */
enum expr_kind {
    EXPR_COLUMN,
    EXPR_LITERAL,
    EXPR_LOGIC,    /* and, or */
    EXPR_NOT,      /* not */
    EXPR_IS_NULL,  /* is_null */
    EXPR_CASE,     /* condition, value, condition, value..., perhaps a value for the rest */
    EXPR_COALESCE, /* coalesce */
    EXPR_COMPARE,  /* by kernel where there is one, else value by value */
    EXPR_BETWEEN,
    EXPR_IN,
    EXPR_ARITHMETIC,
    EXPR_REGEXP, /* value by value; argument 2 is a pattern */
    EXPR_SCALAR  /* value by value */
};

/* ORDER compare, as kernels.c */
enum expr_compare { EXPR_EQ, EXPR_NE, EXPR_LT, EXPR_LE, EXPR_GT, EXPR_GE };
enum expr_arithmetic { EXPR_ADD, EXPR_SUB, EXPR_MUL, EXPR_DIV, EXPR_IDIV, EXPR_MOD };

struct expr_call;
typedef lb_status expr_function(struct expr_call *call, const struct lb_value *args, uint32_t n,
                                struct lb_error *err);

struct expr_class {
    const char *name;   /* in programs */
    const char *symbol; /* in messages */
    enum expr_kind kind;
    uint8_t min_args, max_args; /* max 255: any number */
    bool takes_nil;             /* false: a nil argument makes the result nil, without a call */
    int variant;                /* tells classes that share a function apart */
    expr_function *function;    /* the value for one row; NULL where eval.c does it all */
};

/* One call of a function for one row. A message that it sets says what is wrong with which values; the caller adds
 * the text of the expression and the record. */
struct expr_call {
    const struct expr_class *class;
    struct lb_expr_state *state;
    uint32_t step;
    struct lb_buf *scratch; /* empty before each call; a string made by the function goes here, */
    bool is_scratch;        /* and then this is true */
    struct lb_value value;  /* the result; tag 'n' before the call */
};

/* Tables of classes, ended by a name of NULL. */
extern const struct expr_class expr_core_classes[], expr_digest_classes[], expr_number_classes[],
    expr_real_classes[], expr_regexp_classes[], expr_string_classes[], expr_table_classes[],
    expr_text_classes[], expr_time_classes[], expr_calendar_classes[], expr_time_text_classes[];

/* ---- helpers of functions ---- */

/* <0, 0, >0; LB_ERR_USER when the types differ. Tables compare as sort keys do. */
lb_status expr_compare_values(const struct lb_value *a, const struct lb_value *b, int *order,
                              struct lb_error *err);
bool expr_compare_holds(enum expr_compare operation, int order);
enum { EXPR_DESCRIBED_BYTES = 96 };
/* Writes "integer 5", "string 'abc'" and the like, cut when long, and returns text. Asks for no memory: the messages of records that
 * are left out must not depend on what there was of it. */
const char *expr_describe(const struct lb_value *value, char text[EXPR_DESCRIBED_BYTES]);
/* Sets "<symbol>: <expected> expected, got <value>". */
lb_status expr_expected(const struct expr_call *call, const char *expected,
                        const struct lb_value *got, struct lb_error *err);
lb_status expr_want_string(const struct expr_call *call, const struct lb_value *value,
                           struct lb_error *err);
/* An integer, or a float without fraction. */
lb_status expr_want_integer(const struct expr_call *call, const struct lb_value *value,
                            int64_t *integer, struct lb_error *err);
/* Appends the text of a boolean, number or string. */
lb_status expr_append_text(const struct expr_call *call, const struct lb_value *value,
                           struct lb_buf *out, struct lb_error *err);
/* The string in call->scratch is the result. */
void expr_return_scratch(struct expr_call *call);
/* The encoded table in call->scratch is the result. */
void expr_return_encoded(struct expr_call *call);

static inline void expr_return_int(struct expr_call *call, int64_t i)
{
    call->value.tag = 'i';
    call->value.i = i;
}

static inline void expr_return_float(struct expr_call *call, double d)
{
    call->value.tag = 'd';
    call->value.d = d;
}

static inline void expr_return_bool(struct expr_call *call, bool is_true)
{
    call->value.tag = is_true ? 't' : 'f';
}

/* Borrows the bytes, which must be those of an argument or literal. */
static inline void expr_return_string(struct expr_call *call, const char *data, size_t size)
{
    call->value.tag = 's';
    call->value.data = data;
    call->value.size = size;
    call->value.count = 0;
}

static inline bool expr_is_number(const struct lb_value *value)
{
    return value->tag == 'i' || value->tag == 'd';
}

static inline double expr_number(const struct lb_value *value)
{
    return value->tag == 'i' ? (double)value->i : value->d;
}

/* ---- the expression and its state ---- */

/* Literals of an `in`, when all are of one kind (and NULL): see in_set.c. */
struct expr_set;
struct expr_step;
lb_status expr_set_new(const struct lb_value *values, uint32_t n, struct lb_arena *arena,
                       struct expr_set **set, struct lb_error *err);

/* Compiled patterns of EXPR_REGEXP: see regexp_functions.c. prepare compiles step->regexp where all is literal. */
struct expr_regexp;
struct expr_matcher;
lb_status expr_regexp_prepare(const struct lb_expr *expr, struct expr_step *step,
                              struct lb_error *err);
void expr_regexp_delete(struct expr_regexp *regexp);
void expr_matcher_delete(struct expr_matcher *matcher);

struct expr_step {
    const struct expr_class *class;
    uint32_t from, to;       /* bytes of the text */
    uint32_t column;         /* EXPR_COLUMN: 0-based */
    struct lb_value literal; /* EXPR_LITERAL */
    const uint32_t *args;    /* 0-based steps */
    uint32_t n_args;
    struct expr_set *set;       /* EXPR_IN: the candidates, or NULL: value by value */
    struct expr_regexp *regexp; /* EXPR_REGEXP: the pattern, or NULL: computed for each row */
};

struct lb_expr {
    struct lb_arena arena; /* all below */
    const char *text;
    size_t text_size;
    struct expr_step *steps;
    uint32_t n_steps;
};

/* Rows to evaluate, ascending; index NULL: 0..n-1. */
struct expr_rows {
    const uint32_t *index;
    uint32_t n;
};

static inline uint32_t expr_row(const struct expr_rows *rows, uint32_t i)
{
    return rows->index != NULL ? rows->index[i] : i;
}

/* What a step needs to write its result; the parts are made when first used. */
struct expr_slot {
    struct lb_builder builder;    /* results that are made value by value */
    struct lb_column *args;       /* the arguments' results */
    struct lb_column literal;     /* EXPR_LITERAL: LB_BATCH_ROWS times the value */
    void *words;                  /* integers or floats, or converted ones */
    void *more_words;             /* a converted argument */
    uint8_t *truths;              /* booleans: 0 or 1 only */
    uint8_t *more_truths;         /* three-valued ones: 0, 1, 2 (NULL) */
    uint64_t *valid;              /* bitmap */
    uint32_t *open;               /* rows not yet decided */
    uint32_t *matched;            /* rows of one branch of a case */
    uint32_t *choice;             /* per row the argument that gives its value */
    struct expr_matcher *matcher; /* EXPR_REGEXP */
};

struct lb_expr_state {
    const struct lb_expr *expr;
    const _Atomic int *stop;      /* non-zero: give up; or NULL */
    const struct lb_batch *batch; /* during a call */
    bool is_too_much;             /* see lb_expr_state_too_much */
    struct lb_arena arena;        /* what slots hold */
    struct expr_slot *slots;      /* one for each step */
    struct lb_value *values;      /* arguments of one call of a function */
    struct lb_buf scratch;
};

enum { EXPR_BITMAP_WORDS = (LB_BATCH_ROWS + 63) / 64 };

/* Makes *part an array of LB_BATCH_ROWS elements, unless it is one; zeros at first. */
lb_status expr_slot_part(struct lb_expr_state *state, void **part, size_t element_bytes,
                         struct lb_error *err);

/* Adds the expression's text, the step's part of it and the row's record to the message in err. */
lb_status expr_fail(const struct lb_expr_state *state, uint32_t step, uint32_t row,
                    struct lb_error *err);

lb_status expr_eval(struct lb_expr_state *state, uint32_t step, const struct expr_rows *rows,
                    struct lb_column *out, struct lb_error *err);
/* select may be rows->index itself. */
lb_status expr_filter(struct lb_expr_state *state, uint32_t step, const struct expr_rows *rows,
                      uint32_t *select, uint32_t *n_selected, struct lb_error *err);

/* Kernels over typed columns. *done = false: no kernel for these types, nothing was written. */
lb_status expr_kernel_compare(struct lb_expr_state *state, uint32_t step,
                              enum expr_compare operation, const struct lb_column *a,
                              const struct lb_column *b, const struct expr_rows *rows,
                              struct lb_column *out, bool *done, struct lb_error *err);
lb_status expr_kernel_between(struct lb_expr_state *state, uint32_t step,
                              const struct lb_column *args, const struct expr_rows *rows,
                              struct lb_column *out, bool *done, struct lb_error *err);
lb_status expr_kernel_arithmetic(struct lb_expr_state *state, uint32_t step,
                                 const struct lb_column *args, const struct expr_rows *rows,
                                 struct lb_column *out, bool *done, struct lb_error *err);
lb_status expr_kernel_in(struct lb_expr_state *state, uint32_t step, const struct lb_column *column,
                         const struct expr_rows *rows, struct lb_column *out, bool *done,
                         struct lb_error *err);

#endif
