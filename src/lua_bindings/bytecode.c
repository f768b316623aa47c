/* Reading Lua 5.4 binary chunks.
 *
 * FORMAT (ldump.c of Lua 5.4) a header of 31 bytes, a byte with the number of upvalues, then a function:
 *   source, line, last line, bytes n_params is_vararg stack_size,
 *   n instructions of 4 bytes; n constants (type byte, value); n upvalues of 3 bytes (in_stack, index, kind);
 *   n functions; then debug tables: line info, absolute line info, local variables, upvalue names.
 * A number n is in groups of 7 bits, most significant first, the last byte with its high bit set. A string is its
 * size + 1 and the bytes; 0 is no string.
 * An instruction has the fields op: 7 bits, A: 8, k: 1, B: 8, C: 8, from the lowest bit.
 * PARAMETERS live in the first registers of a function, and nothing else ever does: so whatever an instruction does
 * with that register, whenever it runs, it does with the parameter. Temporaries lie above all parameters. */
#include "lua_bindings/bytecode.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lua_bindings/compat.h"

#if !LB_LUAJIT /* bytecode_jit.c reads its chunks */

/* ORDER as in lopcodes.h */
enum {
    OP_LOADNIL = 8,
    OP_GETUPVAL = 9,
    OP_SETUPVAL = 10,
    OP_GETTABUP = 11,
    OP_GETFIELD = 14,
    OP_SETTABUP = 15,
    OP_RETURN = 70,
    N_OPS = 83
};

/* How an instruction uses its fields as registers. */
enum {
    A = 1,        /* A is one, read or written */
    B = 2,        /* B */
    C = 4,        /* C */
    CK = 8,       /* C unless k is set */
    UP = 16,      /* registers from A up, all of them temporaries */
    BRANCH = 32,  /* what follows may not run */
    SPECIAL = 64, /* see uses_register */
};

/* ORDER as in lopcodes.h */
static const uint8_t op_uses[N_OPS] = {
    /* MOVE LOADI LOADF LOADK LOADKX LOADFALSE LFALSESKIP LOADTRUE LOADNIL */
    A | B, A, A, A, A, A, A | BRANCH, A, SPECIAL,
    /* GETUPVAL SETUPVAL GETTABUP GETTABLE GETI GETFIELD */
    A, A, A, A | B | C, A | B, A | SPECIAL,
    /* SETTABUP SETTABLE SETI SETFIELD NEWTABLE SELF */
    CK, A | B | CK, A | CK, A | CK, A, UP | B | CK,
    /* ADDI ADDK SUBK MULK MODK POWK DIVK IDIVK BANDK BORK BXORK SHRI SHLI */
    A | B, A | B, A | B, A | B, A | B, A | B, A | B, A | B, A | B, A | B, A | B, A | B, A | B,
    /* ADD SUB MUL MOD POW DIV IDIV BAND BOR BXOR SHL SHR */
    A | B | C, A | B | C, A | B | C, A | B | C, A | B | C, A | B | C, A | B | C, A | B | C,
    A | B | C, A | B | C, A | B | C, A | B | C,
    /* MMBIN MMBINI MMBINK UNM BNOT NOT LEN CONCAT CLOSE TBC JMP */
    A | B, A, A, A | B, A | B, A | B, A | B, UP, 0, A, BRANCH,
    /* EQ LT LE EQK EQI LTI LEI GTI GEI TEST TESTSET */
    A | B | BRANCH, A | B | BRANCH, A | B | BRANCH, A | BRANCH, A | BRANCH, A | BRANCH, A | BRANCH,
    A | BRANCH, A | BRANCH, A | BRANCH, A | B | BRANCH,
    /* CALL TAILCALL RETURN RETURN0 RETURN1 */
    UP, UP | BRANCH, SPECIAL | BRANCH, BRANCH, A | BRANCH,
    /* FORLOOP FORPREP TFORPREP TFORCALL TFORLOOP */
    UP | BRANCH, UP | BRANCH, UP | BRANCH, UP | BRANCH, UP | BRANCH,
    /* SETLIST CLOSURE VARARG VARARGPREP EXTRAARG */
    UP, A, UP, 0, 0};

enum {
    K_NIL = 0x00,
    K_FALSE = 0x01,
    K_TRUE = 0x11,
    K_INTEGER = 0x03,
    K_FLOAT = 0x13,
    K_SHORT_STRING = 0x04,
    K_LONG_STRING = 0x14
};

enum {
    HEADER_BYTES = 31,
    MAX_UPVALUES = 255,
    MAX_FIELD_CONSTANTS = 256, /* field names in instructions have 8 bits */
    MAX_DEPTH = 200,
    NOT_CAPTURED = -1
};

/* What the outermost function does with one of its parameters. */
struct row_use {
    lb_bytecode_field_visitor *visitor;
    void *state;
    uint32_t param; /* register of the parameter */
    bool only_reads;
};

struct reader {
    const char *at;
    const char *end;
    bool is_broken; /* the bytes ended early, or make no sense; everything read then is 0 */
    /* walk */
    lb_bytecode_visitor *visitor;
    void *state;
    struct row_use *row;
    /* canonical */
    struct lb_buf *out;
    struct lb_error *err;
};

struct text {
    const char *data; /* NULL: absent */
    size_t size;
};

static const char *take(struct reader *r, size_t size)
{
    if (r->is_broken || (size_t)(r->end - r->at) < size) {
        r->is_broken = true;
        return NULL;
    }
    const char *data = r->at;
    r->at += size;
    return data;
}

static uint8_t take_byte(struct reader *r)
{
    const char *data = take(r, 1);
    return data != NULL ? (uint8_t)*data : 0;
}

static size_t take_number(struct reader *r)
{
    size_t number = 0;
    for (;;) {
        uint8_t byte = take_byte(r);
        if (r->is_broken || number >> 56 != 0) {
            r->is_broken = true;
            return 0;
        }
        number = number << 7 | (byte & 0x7f);
        if ((byte & 0x80) != 0)
            return number;
    }
}

static struct text take_text(struct reader *r)
{
    size_t size = take_number(r);
    if (size == 0)
        return (struct text){NULL, 0};
    return (struct text){take(r, size - 1), size - 1};
}

static lb_status keep(struct reader *r, const void *data, size_t size)
{
    if (r->out == NULL || data == NULL)
        return LB_OK;
    return lb_buf_append(r->out, data, size, r->err);
}

/* Reads a constant and keeps it; *name is its text when it is a string. */
static lb_status read_constant(struct reader *r, struct text *name)
{
    uint8_t type = take_byte(r);
    *name = (struct text){NULL, 0};
    LB_TRY(keep(r, &type, 1));
    switch (type) {
    case K_NIL:
    case K_FALSE:
    case K_TRUE:
        return LB_OK;
    case K_INTEGER:
    case K_FLOAT:
        return keep(r, take(r, 8), 8);
    case K_SHORT_STRING:
    case K_LONG_STRING:
        *name = take_text(r);
        LB_TRY(keep(r, &name->size, sizeof name->size));
        return keep(r, name->data, name->size);
    default:
        r->is_broken = true;
        return LB_OK;
    }
}

static lb_status visit_code(struct reader *r, const char *code, size_t n_code,
                            const struct text *constants, const int16_t *captured)
{
    for (size_t i = 0; i < n_code; i++) {
        uint32_t instruction;
        memcpy(&instruction, code + 4 * i, sizeof instruction);
        uint32_t a = instruction >> 7 & 0xff;
        uint32_t b = instruction >> 16 & 0xff;
        uint32_t c = instruction >> 24;
        enum lb_bytecode_use use;
        uint32_t upvalue = b;
        struct text name = {NULL, 0};
        switch (instruction & 0x7f) {
        case OP_GETUPVAL:
            use = LB_USE_READ;
            break;
        case OP_SETUPVAL:
            use = LB_USE_WRITE;
            break;
        case OP_GETTABUP:
            use = LB_USE_READ_FIELD;
            name = constants[c];
            break;
        case OP_SETTABUP:
            use = LB_USE_WRITE_FIELD;
            upvalue = a;
            name = constants[b];
            break;
        default:
            continue;
        }
        if (upvalue >= MAX_UPVALUES || captured[upvalue] == NOT_CAPTURED)
            continue;
        LB_TRY(r->visitor(r->state, use, captured[upvalue], name.data, name.size, r->err));
    }
    return LB_OK;
}

/* Whether an instruction has to do with a register, other than reading a field of it by name. */
static bool uses_register(uint32_t instruction, uint32_t number)
{
    uint32_t op = instruction & 0x7f;
    if (op >= N_OPS)
        return true;
    uint32_t a = instruction >> 7 & 0xff;
    bool k = (instruction >> 15 & 1) != 0;
    uint32_t b = instruction >> 16 & 0xff;
    uint32_t c = instruction >> 24;
    uint8_t uses = op_uses[op];
    if (op == OP_LOADNIL && a <= number && number <= a + b)
        return true;
    if (op == OP_RETURN && a <= number && (b == 0 || number + 1 < a + b))
        return true;
    return ((uses & A) != 0 && a == number) || ((uses & UP) != 0 && a <= number) ||
           ((uses & B) != 0 && b == number) || ((uses & C) != 0 && c == number) ||
           ((uses & CK) != 0 && !k && c == number);
}

static lb_status visit_row(struct reader *r, struct row_use *row, const char *code, size_t n_code,
                           const struct text *constants)
{
    bool is_always = true;
    for (size_t i = 0; i < n_code && row->only_reads; i++) {
        uint32_t instruction;
        memcpy(&instruction, code + 4 * i, sizeof instruction);
        if (uses_register(instruction, row->param)) {
            row->only_reads = false;
            break;
        }
        uint32_t op = instruction & 0x7f;
        if (op == OP_GETFIELD && (instruction >> 16 & 0xff) == row->param) {
            const struct text *name = &constants[instruction >> 24];
            row->only_reads = name->data != NULL;
            if (row->only_reads)
                LB_TRY(row->visitor(row->state, name->data, name->size, is_always, r->err));
        }
        is_always = is_always && (op_uses[op] & BRANCH) == 0;
    }
    return LB_OK;
}

static void skip_debug(struct reader *r)
{
    take(r, take_number(r)); /* line info: a byte an instruction */
    for (size_t n = take_number(r); n > 0 && !r->is_broken; n--) {
        take_number(r);
        take_number(r);
    }
    for (size_t n = take_number(r); n > 0 && !r->is_broken; n--) {
        take_text(r);
        take_number(r);
        take_number(r);
    }
    for (size_t n = take_number(r); n > 0 && !r->is_broken; n--)
        take_text(r);
}

/* outer: for each upvalue of the enclosing function its number in the outermost one, or NOT_CAPTURED;
 * NULL for the outermost function itself. */
static lb_status read_function(struct reader *r, const int16_t *outer, int depth)
{
    if (depth > MAX_DEPTH) {
        r->is_broken = true;
        return LB_OK;
    }
    take_text(r);
    take_number(r);
    take_number(r);
    const char *shape = take(r, 3);
    LB_TRY(keep(r, shape, 3));
    size_t n_code = take_number(r);
    if (n_code > (size_t)(r->end - r->at) / 4) {
        r->is_broken = true;
        return LB_OK;
    }
    const char *code = take(r, 4 * n_code);
    LB_TRY(keep(r, &n_code, sizeof n_code));
    LB_TRY(keep(r, code, 4 * n_code));

    struct text constants[MAX_FIELD_CONSTANTS] = {{NULL, 0}};
    size_t n_constants = take_number(r);
    LB_TRY(keep(r, &n_constants, sizeof n_constants));
    for (size_t i = 0; i < n_constants && !r->is_broken; i++) {
        struct text name;
        LB_TRY(read_constant(r, &name));
        if (i < MAX_FIELD_CONSTANTS)
            constants[i] = name;
    }

    int16_t captured[MAX_UPVALUES];
    for (int i = 0; i < MAX_UPVALUES; i++)
        captured[i] = NOT_CAPTURED;
    size_t n_upvalues = take_number(r);
    LB_TRY(keep(r, &n_upvalues, sizeof n_upvalues));
    for (size_t i = 0; i < n_upvalues && !r->is_broken; i++) {
        const char *description = take(r, 3);
        if (description == NULL || i >= MAX_UPVALUES) {
            r->is_broken = true;
            break;
        }
        uint8_t index = (uint8_t)description[1];
        bool is_local = description[0] != 0;
        if (outer == NULL)
            captured[i] = (int16_t)i;
        else if (!is_local && index < MAX_UPVALUES)
            captured[i] = outer[index];
        if (outer != NULL)
            LB_TRY(keep(r, description, 3));
        if (r->row != NULL && depth == 1 && is_local && index == r->row->param)
            r->row->only_reads = false;
    }
    if (r->is_broken)
        return LB_OK;
    if (r->visitor != NULL)
        LB_TRY(visit_code(r, code, n_code, constants, captured));
    if (r->row != NULL && depth == 0) {
        if (r->row->param < (uint8_t)shape[0])
            LB_TRY(visit_row(r, r->row, code, n_code, constants));
        else if (shape[1] != 0)
            r->row->only_reads = false; /* it is among `...` */
    }

    size_t n_functions = take_number(r);
    LB_TRY(keep(r, &n_functions, sizeof n_functions));
    for (size_t i = 0; i < n_functions && !r->is_broken; i++)
        LB_TRY(read_function(r, captured, depth + 1));
    skip_debug(r);
    return LB_OK;
}

static lb_status read_dump(struct reader *r, const char *dump, size_t size, struct lb_error *err)
{
    static const char head[] = LUA_SIGNATURE "\x54\x00\x19\x93\r\n\x1a\n\x04\x08\x08";
    r->at = dump;
    r->end = dump + size;
    r->err = err;
    const char *header = take(r, HEADER_BYTES);
    if (header == NULL || memcmp(header, head, sizeof head - 1) != 0)
        r->is_broken = true;
    take_byte(r);
    if (!r->is_broken)
        LB_TRY(read_function(r, NULL, 0));
    if (r->is_broken || r->at != r->end)
        return lb_error_set(err, LB_ERR_INTERNAL, "not a function dumped by this version of Lua");
    return LB_OK;
}

lb_status lb_bytecode_walk(const char *dump, size_t size, lb_bytecode_visitor *visitor, void *state,
                           struct lb_error *err)
{
    struct reader r = {.visitor = visitor, .state = state};
    return read_dump(&r, dump, size, err);
}

lb_status lb_bytecode_canonical(const char *dump, size_t size, struct lb_buf *out,
                                struct lb_error *err)
{
    struct reader r = {.out = out};
    return read_dump(&r, dump, size, err);
}

lb_status lb_bytecode_row_reads(const char *dump, size_t size, int param,
                                lb_bytecode_field_visitor *visitor, void *state, bool *only_reads,
                                struct lb_error *err)
{
    struct row_use row = {
        .visitor = visitor, .state = state, .param = (uint32_t)param - 1, .only_reads = true};
    struct reader r = {.row = &row};
    *only_reads = false;
    LB_TRY(read_dump(&r, dump, size, err));
    *only_reads = row.only_reads;
    return LB_OK;
}

#endif
