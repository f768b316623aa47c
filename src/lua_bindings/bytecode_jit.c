/* Reading the binary chunks of LuaJIT 2.1.
 *
 * FORMAT (lj_bcdump.h) ESC "LJ", version, flags, unless stripped the chunk's name; then functions, inner ones first, each
 *   with its size in front; then a 0. A function: bytes flags n_params frame_size n_upvalues; numbers n_objects
 *   n_numbers n_instructions and, unless stripped, size of the debug tables and if that is not 0 two line numbers; then
 *   instructions of 4 bytes, upvalues of 2 bytes, objects (inner functions, tables, 64-bit numbers, strings), numbers,
 *   debug tables. Numbers are LEB128. An inner function stands for the last one read that no other has taken.
 *   An instruction has the fields op, A, C, B of 8 bits from the lowest bit; D is C and B as one. String constants are
 *   counted from the end of the objects.
 * GLOBALS are fields of the function's environment, which all inner functions share: it counts as one more captured
 *   variable behind the last.
 * PARAMETERS live in the first registers of a function, and nothing else ever does. */
#include "lua_bindings/bytecode.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lua_bindings/compat.h"

#if LB_LUAJIT

/* ORDER as in lj_bc.h */
enum {
    OP_KNIL = 44,
    OP_UGET = 45,
    OP_USETV = 46,
    OP_USETP = 49,
    OP_GGET = 54,
    OP_GSET = 55,
    OP_TGETS = 57,
    OP_CAT = 38,
    OP_RET = 74,
    OP_LOOP = 85,
    N_OPS = 89 /* those that stand in a dump */
};

/* How an instruction uses its fields as registers. */
enum {
    A = 1,        /* A is one, read or written */
    B = 2,        /* B */
    C = 4,        /* C */
    D = 8,        /* D */
    UP = 16,      /* registers from A up, all of them temporaries */
    BRANCH = 32,  /* what follows may not run */
    SPECIAL = 64, /* see uses_register */
};

/* ORDER as in lj_bc.h */
static const uint8_t op_uses[N_OPS] = {
    /* ISLT ISGE ISLE ISGT ISEQV ISNEV ISEQS ISNES ISEQN ISNEN ISEQP ISNEP */
    A | D | BRANCH, A | D | BRANCH, A | D | BRANCH, A | D | BRANCH, A | D | BRANCH, A | D | BRANCH,
    A | BRANCH, A | BRANCH, A | BRANCH, A | BRANCH, A | BRANCH, A | BRANCH,
    /* ISTC ISFC IST ISF ISTYPE ISNUM */
    A | D | BRANCH, A | D | BRANCH, D | BRANCH, D | BRANCH, A, A,
    /* MOV NOT UNM LEN */
    A | D, A | D, A | D, A | D,
    /* ADDVN SUBVN MULVN DIVVN MODVN ADDNV SUBNV MULNV DIVNV MODNV */
    A | B, A | B, A | B, A | B, A | B, A | B, A | B, A | B, A | B, A | B,
    /* ADDVV SUBVV MULVV DIVVV MODVV POW CAT */
    A | B | C, A | B | C, A | B | C, A | B | C, A | B | C, A | B | C, A | SPECIAL,
    /* KSTR KCDATA KSHORT KNUM KPRI KNIL */
    A, A, A, A, A, SPECIAL,
    /* UGET USETV USETS USETN USETP UCLO FNEW */
    A, D, 0, 0, 0, BRANCH, A,
    /* TNEW TDUP GGET GSET TGETV TGETS TGETB TGETR */
    A, A, A, A, A | B | C, A | SPECIAL, A | B, A | B | C,
    /* TSETV TSETS TSETB TSETM TSETR */
    A | B | C, A | B, A | B, UP, A | B | C,
    /* CALLM CALL CALLMT CALLT ITERC ITERN VARG ISNEXT */
    UP, UP, UP | BRANCH, UP | BRANCH, UP, UP, UP, UP | BRANCH,
    /* RETM RET RET0 RET1 */
    UP | BRANCH, SPECIAL | BRANCH, BRANCH, A | BRANCH,
    /* FORI JFORI FORL IFORL JFORL ITERL IITERL JITERL */
    UP | BRANCH, UP | BRANCH, UP | BRANCH, UP | BRANCH, UP | BRANCH, UP | BRANCH, UP | BRANCH,
    UP | BRANCH,
    /* LOOP ILOOP JLOOP JMP */
    BRANCH, BRANCH, BRANCH, BRANCH};

enum { IS_STRIPPED = 2, HAS_VARARG = 2, UPVALUE_IS_LOCAL = 0x8000 };
enum { OBJECT_FUNCTION, OBJECT_TABLE, OBJECT_INT64, OBJECT_UINT64, OBJECT_COMPLEX, OBJECT_STRING };
enum { ELEMENT_INTEGER = 3, ELEMENT_NUMBER, ELEMENT_STRING };
enum { MAX_UPVALUES = 60, NO_FUNCTION = -1, NOT_CAPTURED = -1, DUMP_VERSION = 2 };

struct text {
    const char *data;
    size_t size;
};

/* A function of the dump. */
struct proto {
    uint8_t flags;
    uint8_t n_params;
    uint8_t n_upvalues;
    uint32_t n_objects;
    uint32_t n_code;
    int32_t outer; /* number of the function around it, or NO_FUNCTION */
    const char *code;
    const char *upvalues;
    const char *objects;
    const char *end; /* of what it does; then debug tables follow */
    int8_t captured
        [MAX_UPVALUES]; /* for each upvalue its number in the outermost function, or NOT_CAPTURED */
};

struct reader {
    const char *at;
    const char *end;
    bool is_broken; /* the bytes ended early, or make no sense; everything read then is 0 */
    bool is_stripped;
    struct lb_buf protos; /* of struct proto */
    struct lb_error *err;
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

static uint32_t take_number(struct reader *r)
{
    uint64_t number = 0;
    for (int shift = 0; shift < 42; shift += 7) {
        uint8_t byte = take_byte(r);
        number |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return (uint32_t)number;
    }
    r->is_broken = true;
    return 0;
}

static struct proto *protos(struct reader *r)
{
    return (struct proto *)(void *)r->protos.data;
}

static int32_t n_protos(const struct reader *r)
{
    return (int32_t)(r->protos.size / sizeof(struct proto));
}

static void skip_element(struct reader *r)
{
    uint32_t type = take_number(r);
    if (type >= ELEMENT_STRING) {
        take(r, type - ELEMENT_STRING);
    } else if (type == ELEMENT_INTEGER) {
        take_number(r);
    } else if (type == ELEMENT_NUMBER) {
        take_number(r);
        take_number(r);
    }
}

/* Reads an object; *type tells what it is, *name is its text when it is a string. */
static void read_object(struct reader *r, uint32_t *type, struct text *name)
{
    *type = take_number(r);
    *name = (struct text){NULL, 0};
    if (*type >= OBJECT_STRING) {
        name->size = *type - OBJECT_STRING;
        name->data = take(r, name->size);
    } else if (*type == OBJECT_TABLE) {
        uint32_t n_list = take_number(r), n_fields = take_number(r);
        for (uint64_t n = n_list + UINT64_C(2) * n_fields; n > 0 && !r->is_broken; n--)
            skip_element(r);
    } else if (*type != OBJECT_FUNCTION) {
        for (int n = *type == OBJECT_COMPLEX ? 4 : 2; n > 0; n--)
            take_number(r);
    }
}

/* Gives inner functions to the one with this number: each takes the last one that is free. */
static void adopt(struct reader *r, int32_t number)
{
    struct proto *proto = &protos(r)[number];
    struct reader objects = {.at = proto->objects, .end = proto->end};
    int32_t next = number - 1;
    for (uint32_t i = 0; i < proto->n_objects && !objects.is_broken; i++) {
        uint32_t type;
        struct text name;
        read_object(&objects, &type, &name);
        if (type != OBJECT_FUNCTION)
            continue;
        while (next >= 0 && protos(r)[next].outer != NO_FUNCTION)
            next--;
        r->is_broken |= next < 0;
        if (next >= 0)
            protos(r)[next].outer = number;
    }
    r->is_broken |= objects.is_broken;
}

static lb_status read_proto(struct reader *r, size_t size)
{
    struct reader body = {.at = take(r, size), .end = r->at, .is_broken = r->is_broken};
    struct proto proto = {.outer = NO_FUNCTION};
    proto.flags = take_byte(&body);
    proto.n_params = take_byte(&body);
    take_byte(&body);
    proto.n_upvalues = take_byte(&body);
    proto.n_objects = take_number(&body);
    take_number(&body);
    proto.n_code = take_number(&body);
    size_t debug_bytes = r->is_stripped ? 0 : take_number(&body);
    if (debug_bytes > 0) {
        take_number(&body);
        take_number(&body);
    }
    proto.code = take(&body, (size_t)proto.n_code * 4);
    proto.upvalues = take(&body, (size_t)proto.n_upvalues * 2);
    proto.objects = body.at;
    if (body.is_broken || proto.n_upvalues > MAX_UPVALUES ||
        (size_t)(body.end - body.at) < debug_bytes) {
        r->is_broken = true;
        return LB_OK;
    }
    proto.end = body.end - debug_bytes;
    return lb_buf_append(&r->protos, &proto, sizeof proto, r->err);
}

static uint16_t upvalue_of(const struct proto *proto, uint32_t i)
{
    uint16_t upvalue;
    memcpy(&upvalue, proto->upvalues + 2 * (size_t)i, sizeof upvalue);
    return upvalue;
}

/* Follows the captured variables of all functions to the outermost one, the last. */
static void resolve(struct reader *r)
{
    for (int32_t i = n_protos(r) - 1; i >= 0; i--) {
        struct proto *proto = &protos(r)[i];
        const struct proto *outer = proto->outer != NO_FUNCTION ? &protos(r)[proto->outer] : NULL;
        for (uint32_t j = 0; j < proto->n_upvalues; j++) {
            uint16_t upvalue = upvalue_of(proto, j);
            proto->captured[j] = NOT_CAPTURED;
            if (outer == NULL)
                proto->captured[j] = (int8_t)j;
            else if ((upvalue & UPVALUE_IS_LOCAL) == 0 && (upvalue & 0xff) < outer->n_upvalues)
                proto->captured[j] = outer->captured[upvalue & 0xff];
        }
    }
}

/* Reads all functions. r->protos has to be freed in any case. */
static lb_status read_dump(struct reader *r, const char *dump, size_t size, struct lb_error *err)
{
    *r = (struct reader){.at = dump, .end = dump + size, .err = err};
    const char *head = take(r, 4);
    r->is_broken |= head == NULL || memcmp(head, "\x1bLJ", 3) != 0 || head[3] != DUMP_VERSION;
    r->is_stripped = (take_number(r) & IS_STRIPPED) != 0;
    if (!r->is_stripped)
        take(r, take_number(r));
    while (!r->is_broken) {
        size_t proto_bytes = take_number(r);
        if (proto_bytes == 0)
            break;
        LB_TRY(read_proto(r, proto_bytes));
        if (!r->is_broken)
            adopt(r, n_protos(r) - 1);
    }
    int32_t n = n_protos(r);
    for (int32_t i = 0; i < n - 1; i++)
        r->is_broken |= protos(r)[i].outer == NO_FUNCTION;
    if (r->is_broken || r->at != r->end || n == 0)
        return lb_error_set(err, LB_ERR_INTERNAL,
                            "not a function dumped by this version of LuaJIT");
    resolve(r);
    return LB_OK;
}

static uint32_t instruction_at(const struct proto *proto, uint32_t i)
{
    uint32_t instruction;
    memcpy(&instruction, proto->code + 4 * (size_t)i, sizeof instruction);
    return instruction;
}

/* The string constant of that number, counted from the end. */
static struct text string_at(const struct proto *proto, uint32_t number)
{
    struct reader objects = {.at = proto->objects, .end = proto->end};
    struct text name = {NULL, 0};
    uint32_t type;
    for (uint32_t i = 0; number < proto->n_objects && i < proto->n_objects - number; i++)
        read_object(&objects, &type, &name);
    return objects.is_broken ? (struct text){NULL, 0} : name;
}

static lb_status visit_code(struct reader *r, const struct proto *proto,
                            lb_bytecode_visitor *visitor, void *state)
{
    int environment = protos(r)[n_protos(r) - 1].n_upvalues;
    for (uint32_t i = 0; i < proto->n_code; i++) {
        uint32_t instruction = instruction_at(proto, i);
        uint32_t op = instruction & 0xff;
        uint32_t a = instruction >> 8 & 0xff;
        uint32_t d = instruction >> 16;
        if (op == OP_GGET || op == OP_GSET) {
            struct text name = string_at(proto, d);
            enum lb_bytecode_use use = op == OP_GGET ? LB_USE_READ_FIELD : LB_USE_WRITE_FIELD;
            LB_TRY(visitor(state, use, environment, name.data, name.size, r->err));
        } else if (op >= OP_UGET && op <= OP_USETP) {
            uint32_t upvalue = op == OP_UGET ? d : a;
            int number = upvalue < proto->n_upvalues ? proto->captured[upvalue] : NOT_CAPTURED;
            if (number != NOT_CAPTURED)
                LB_TRY(visitor(state, op == OP_UGET ? LB_USE_READ : LB_USE_WRITE, number, NULL, 0,
                               r->err));
        }
    }
    return LB_OK;
}

lb_status lb_bytecode_has_open_loop(const char *dump, size_t size, bool *has, struct lb_error *err)
{
    struct reader r;
    *has = false;
    lb_status status = read_dump(&r, dump, size, err);
    for (int32_t i = 0; status == LB_OK && i < n_protos(&r); i++) {
        const struct proto *proto = &protos(&r)[i];
        for (uint32_t at = 0; at < proto->n_code; at++)
            *has |= (instruction_at(proto, at) & 0xff) == OP_LOOP;
    }
    lb_buf_fini(&r.protos);
    return status;
}

lb_status lb_bytecode_walk(const char *dump, size_t size, lb_bytecode_visitor *visitor, void *state,
                           struct lb_error *err)
{
    struct reader r;
    lb_status status = read_dump(&r, dump, size, err);
    for (int32_t i = n_protos(&r) - 1; i >= 0 && status == LB_OK; i--)
        status = visit_code(&r, &protos(&r)[i], visitor, state);
    lb_buf_fini(&r.protos);
    return status;
}

static lb_status put_canonical(const struct reader *r, const struct proto *proto,
                               struct lb_buf *out)
{
    uint32_t head[] = {proto->flags & HAS_VARARG, proto->n_params, proto->n_upvalues,
                       proto->n_objects,          proto->n_code,   (uint32_t)proto->outer};
    LB_TRY(lb_buf_append(out, head, sizeof head, r->err));
    LB_TRY(lb_buf_append(out, proto->code, (size_t)proto->n_code * 4, r->err));
    if (proto->outer != NO_FUNCTION)
        LB_TRY(lb_buf_append(out, proto->upvalues, (size_t)proto->n_upvalues * 2, r->err));
    return lb_buf_append(out, proto->objects, (size_t)(proto->end - proto->objects), r->err);
}

lb_status lb_bytecode_canonical(const char *dump, size_t size, struct lb_buf *out,
                                struct lb_error *err)
{
    struct reader r;
    lb_status status = read_dump(&r, dump, size, err);
    for (int32_t i = 0; i < n_protos(&r) && status == LB_OK; i++)
        status = put_canonical(&r, &protos(&r)[i], out);
    lb_buf_fini(&r.protos);
    return status;
}

/* Whether an instruction has to do with a register, other than reading a field of it by name. */
static bool uses_register(uint32_t instruction, uint32_t number)
{
    uint32_t op = instruction & 0xff;
    if (op >= N_OPS)
        return true;
    uint32_t a = instruction >> 8 & 0xff;
    uint32_t c = instruction >> 16 & 0xff;
    uint32_t b = instruction >> 24;
    uint32_t d = instruction >> 16;
    uint8_t uses = op_uses[op];
    if (op == OP_KNIL && a <= number && number <= d)
        return true;
    if (op == OP_CAT && b <= number && number <= c)
        return true;
    if (op == OP_RET && a <= number && number + 1 < a + d)
        return true;
    return ((uses & A) != 0 && a == number) || ((uses & UP) != 0 && a <= number) ||
           ((uses & B) != 0 && b == number) || ((uses & C) != 0 && c == number) ||
           ((uses & D) != 0 && d == number);
}

static bool captures_local(const struct proto *proto, uint32_t number)
{
    for (uint32_t i = 0; i < proto->n_upvalues; i++)
        if ((upvalue_of(proto, i) & UPVALUE_IS_LOCAL) != 0 &&
            (upvalue_of(proto, i) & 0xff) == number)
            return true;
    return false;
}

static lb_status visit_row(struct reader *r, uint32_t param, lb_bytecode_field_visitor *visitor,
                           void *state, bool *only_reads)
{
    int32_t outermost = n_protos(r) - 1;
    const struct proto *proto = &protos(r)[outermost];
    if (param >= proto->n_params) {
        *only_reads = (proto->flags & HAS_VARARG) == 0; /* else it is among `...` */
        return LB_OK;
    }
    for (int32_t i = 0; i < outermost; i++)
        if (protos(r)[i].outer == outermost && captures_local(&protos(r)[i], param))
            return LB_OK;
    bool is_always = true;
    for (uint32_t i = 0; i < proto->n_code; i++) {
        uint32_t instruction = instruction_at(proto, i);
        uint32_t op = instruction & 0xff;
        if (uses_register(instruction, param))
            return LB_OK;
        if (op == OP_TGETS && instruction >> 24 == param) {
            struct text name = string_at(proto, instruction >> 16 & 0xff);
            if (name.data == NULL)
                return LB_OK;
            LB_TRY(visitor(state, name.data, name.size, is_always, r->err));
        }
        is_always = is_always && (op_uses[op] & BRANCH) == 0;
    }
    *only_reads = true;
    return LB_OK;
}

lb_status lb_bytecode_row_reads(const char *dump, size_t size, int param,
                                lb_bytecode_field_visitor *visitor, void *state, bool *only_reads,
                                struct lb_error *err)
{
    struct reader r;
    *only_reads = false;
    lb_status status = read_dump(&r, dump, size, err);
    if (status == LB_OK)
        status = visit_row(&r, (uint32_t)param - 1, visitor, state, only_reads);
    lb_buf_fini(&r.protos);
    return status;
}

#endif
