/* Compiling Lua patterns.
 *
 * IDEA   Lua's matcher reads the pattern's text anew at every step. Here it is read once, into
 *        items whose sets are tables. Lua patterns have no alternation, so what is open and
 *        closed at an item depends only on the items in front of it: captures become fixed
 *        numbers, and every complaint about a malformed pattern can be made now. From the end
 *        backwards each item learns which bytes the items behind it can start with (`follow`).
 *        That turns most repetitions into runs that never give a byte back: after [%w]+ a
 *        following "=" cannot match a byte of the run. It also tells the others where going on
 *        is worth trying.
 * STATES drafts (parse) -> follow sets (link) -> one relocatable block (emit).
 * WHY NOT a DFA: captures, %b, %f and back-references need the backtracking meaning anyway, and
 *        building one costs more than most patterns are used for. */
#include "core/algo/pattern.h"

#include <string.h>

#include "core/algo/pattern_bits.h"
#include "core/algo/pattern_program.h"
#include "core/base/sys.h"

/* An item before its sets have a place. */
struct draft {
    enum pattern_op op;
    char quantifier; /* 0 * + - ? */
    uint8_t capture;
    uint8_t first_byte;
    uint8_t last_byte;
    size_t text; /* OP_LITERAL: where its bytes are in compiler.literals */
    size_t size;
    struct bits set;
    struct bits follow;
    bool has_follow;
};

struct compiler {
    const char *p;   /* next byte to read */
    const char *end; /* of the pattern */
    struct draft *drafts;
    size_t n_drafts;
    char *literals;
    size_t n_literals;
    uint8_t open[LB_PATTERN_CAPTURES]; /* captures not closed yet, innermost last */
    size_t n_open;
    bool is_closed_text[LB_PATTERN_CAPTURES];
    uint32_t n_captures;
    size_t n_recursions; /* items at which Lua's matcher would call itself */
    struct lb_error *err;
};

/* ---- parse ---- */

static lb_status malformed(struct compiler *c, const char *what)
{
    return lb_error_set(c->err, LB_ERR_USAGE, "%s", what);
}

/* Reads "[...]" with p behind the '['. The first byte is a member even when it is ']'. */
static lb_status parse_bracket(struct compiler *c, struct bits *set)
{
    static const char missing[] = "malformed pattern (missing ']')";
    bool is_complement = c->p < c->end && *c->p == '^';
    const char *p = c->p + is_complement;
    const char *close = p; /* finds the closing bracket first: a range may not reach over it */
    do {
        if (close >= c->end)
            return malformed(c, missing);
        if (*close++ == '%' && close < c->end)
            close++;
    } while (close >= c->end || *close != ']');
    memset(set, 0, sizeof *set);
    while (p < close) {
        if (*p == '%') {
            struct bits class = class_set((uint8_t)p[1]);
            *set = bits_or(*set, &class);
            p += 2;
        } else if (p[1] == '-' && p + 2 < close) {
            for (unsigned byte = (uint8_t)p[0]; byte <= (uint8_t)p[2]; byte++)
                bits_add(set, (uint8_t)byte);
            p += 3;
        } else {
            bits_add(set, (uint8_t)*p++);
        }
    }
    if (is_complement)
        *set = bits_not(*set);
    c->p = close + 1;
    return LB_OK;
}

static struct draft *add_draft(struct compiler *c, enum pattern_op op)
{
    struct draft *draft = &c->drafts[c->n_drafts++];
    memset(draft, 0, sizeof *draft);
    draft->op = op;
    return draft;
}

static lb_status parse_open(struct compiler *c)
{
    if (c->n_captures >= LB_PATTERN_CAPTURES)
        return malformed(c, "too many captures");
    bool is_position = c->p < c->end && *c->p == ')';
    struct draft *draft = add_draft(c, is_position ? OP_POSITION : OP_OPEN);
    draft->capture = (uint8_t)c->n_captures;
    c->is_closed_text[c->n_captures] = false;
    if (is_position)
        c->p++;
    else
        c->open[c->n_open++] = (uint8_t)c->n_captures;
    c->n_captures++;
    c->n_recursions++;
    return LB_OK;
}

static lb_status parse_close(struct compiler *c)
{
    if (c->n_open == 0)
        return malformed(c, "invalid pattern capture");
    struct draft *draft = add_draft(c, OP_CLOSE);
    draft->capture = c->open[--c->n_open];
    c->is_closed_text[draft->capture] = true;
    c->n_recursions++;
    return LB_OK;
}

/* A position capture may be named again, and then matches nothing. */
static lb_status parse_again(struct compiler *c)
{
    int index = *c->p - '1';
    bool is_open = false;
    for (size_t i = 0; i < c->n_open; i++)
        is_open |= c->open[i] == index;
    if (index < 0 || index >= (int)c->n_captures || is_open)
        return lb_error_set(c->err, LB_ERR_USAGE, "invalid capture index %%%d", index + 1);
    add_draft(c, OP_AGAIN)->capture = (uint8_t)index;
    c->p++;
    return LB_OK;
}

/* A single set, with its quantifier; single bytes without one are gathered in literals. */
static void add_single(struct compiler *c, const struct bits *set)
{
    char next = (char)(c->p < c->end ? *c->p : 0);
    bool is_quantified = next != 0 && strchr("*+-?", next) != NULL;
    int n_members = 0;
    for (int i = 0; i < 4; i++)
        n_members += __builtin_popcountll(set->word[i]);
    if (!is_quantified && n_members == 1) {
        unsigned byte = 0;
        while (!bits_has(set, (uint8_t)byte))
            byte++;
        c->literals[c->n_literals++] = (char)byte;
        struct draft *last = c->n_drafts > 0 ? &c->drafts[c->n_drafts - 1] : NULL;
        if (last != NULL && last->op == OP_LITERAL) {
            last->size++;
            return;
        }
        struct draft *draft = add_draft(c, OP_LITERAL);
        draft->text = c->n_literals - 1;
        draft->size = 1;
        return;
    }
    struct draft *draft = add_draft(c, OP_ONE);
    draft->set = *set;
    if (!is_quantified)
        return;
    c->p++;
    c->n_recursions++;
    draft->quantifier = next;
    draft->op = next == '-' ? OP_LAZY : next == '?' ? OP_OPTION : OP_GREEDY;
}

/* An escape, with p behind the '%'. */
static lb_status parse_escape(struct compiler *c)
{
    if (c->p >= c->end)
        return malformed(c, "malformed pattern (ends with '%')");
    char letter = *c->p;
    if (letter == 'b') {
        if (c->end - c->p < 3)
            return malformed(c, "malformed pattern (missing arguments to '%b')");
        struct draft *draft = add_draft(c, OP_BALANCE);
        draft->first_byte = (uint8_t)c->p[1];
        draft->last_byte = (uint8_t)c->p[2];
        c->p += 3;
        return LB_OK;
    }
    if (letter == 'f') {
        if (c->end - c->p < 2 || c->p[1] != '[')
            return malformed(c, "missing '[' after '%f' in pattern");
        c->p += 2;
        struct draft *draft = add_draft(c, OP_FRONTIER);
        return parse_bracket(c, &draft->set);
    }
    if (letter >= '0' && letter <= '9')
        return parse_again(c);
    struct bits set = class_set((uint8_t)letter);
    c->p++;
    add_single(c, &set);
    return LB_OK;
}

static lb_status parse(struct compiler *c)
{
    while (c->p < c->end) {
        char letter = *c->p++;
        struct bits set = {{0}};
        switch (letter) {
        case '(':
            LB_TRY(parse_open(c));
            break;
        case ')':
            LB_TRY(parse_close(c));
            break;
        case '%':
            LB_TRY(parse_escape(c));
            break;
        case '[':
            LB_TRY(parse_bracket(c, &set));
            add_single(c, &set);
            break;
        case '.':
            add_single(c, &all_bytes);
            break;
        case '$':
            if (c->p == c->end) {
                add_draft(c, OP_END);
                break;
            }
            /* fallthrough */
        default:
            bits_add(&set, (uint8_t)letter);
            add_single(c, &set);
        }
    }
    add_draft(c, OP_MATCH);
    if (c->n_open > 0)
        return malformed(c, "unfinished capture");
    return LB_OK;
}

/* ---- link ---- */

/* Gives every draft the set its rest can start with, and decides which repetitions are runs.
 * `follow` and `has_follow` are first those of the rest, and at the end those of the whole
 * program. */
static void link_drafts(struct compiler *c, bool is_deep, struct bits *follow, bool *has_follow)
{
    *has_follow = false;
    for (size_t i = c->n_drafts; i-- > 0;) {
        struct draft *draft = &c->drafts[i];
        draft->follow = *follow;
        draft->has_follow = *has_follow && !is_deep;
        switch (draft->op) {
        case OP_MATCH:
        case OP_AGAIN:
            *has_follow = false;
            break;
        case OP_OPEN:
        case OP_POSITION:
        case OP_CLOSE:
            break;
        case OP_LITERAL:
            *follow = (struct bits){{0}};
            bits_add(follow, (uint8_t)c->literals[draft->text]);
            *has_follow = true;
            break;
        case OP_BALANCE:
            *follow = (struct bits){{0}};
            bits_add(follow, draft->first_byte);
            *has_follow = true;
            break;
        case OP_END:
            *follow = (struct bits){{0}};
            *has_follow = true;
            break;
        case OP_FRONTIER:
            *follow = *has_follow ? bits_and(*follow, &draft->set) : draft->set;
            *has_follow = true;
            break;
        case OP_GREEDY: {
            /* At every place but the last of a run the next byte is in its set. */
            bool rest_is_trivial = true;
            for (size_t j = i + 1; j < c->n_drafts && rest_is_trivial; j++)
                rest_is_trivial = c->drafts[j].op == OP_MATCH || c->drafts[j].op == OP_CLOSE ||
                                  c->drafts[j].op == OP_POSITION;
            if (!is_deep && (rest_is_trivial || (*has_follow && is_disjoint(draft->set, follow))))
                draft->op = OP_RUN;
            if (draft->quantifier == '*')
                *follow = bits_or(*follow, &draft->set);
            else
                *follow = draft->set, *has_follow = true;
            break;
        }
        case OP_LAZY:
        case OP_OPTION:
            *follow = bits_or(*follow, &draft->set);
            break;
        default: /* OP_ONE */
            *follow = draft->set;
            *has_follow = true;
            break;
        }
    }
}

/* ---- emit ---- */

/* The growing list of distinct sets; the same sets come up again and again. */
struct set_list {
    struct bits *bits;
    size_t n;
};

static size_t set_number(struct set_list *list, const struct bits *bits)
{
    size_t from = list->n > 64 ? list->n - 64 : 0; /* keeps endless patterns linear */
    for (size_t i = from; i < list->n; i++) {
        if (memcmp(&list->bits[i], bits, sizeof *bits) == 0)
            return i;
    }
    list->bits[list->n] = *bits;
    return list->n++;
}

static uint32_t min_bytes(const struct compiler *c)
{
    size_t total = 0;
    for (size_t i = 0; i < c->n_drafts; i++) {
        const struct draft *draft = &c->drafts[i];
        if (draft->op == OP_LITERAL)
            total += draft->size;
        else if (draft->op == OP_ONE || draft->quantifier == '+')
            total += 1;
        else if (draft->op == OP_BALANCE)
            total += 2;
    }
    return (uint32_t)total;
}

/* Describes the program as a whole. */
static void describe(const struct compiler *c, struct pattern_program *program)
{
    const struct draft *d = c->drafts;
    size_t lead = 0;
    bool has_position = false;
    while (d[lead].op == OP_OPEN || d[lead].op == OP_POSITION)
        has_position |= d[lead++].op == OP_POSITION;
    program->n_captures = c->n_captures;
    program->min_bytes = min_bytes(c);
    program->shape = SHAPE_ANY;
    program->lead = (uint32_t)lead;
    program->lead_run = d[lead].op == OP_RUN;
    for (size_t i = 0; i < c->n_drafts; i++) {
        if (d[i].op == OP_AGAIN)
            program->lead_run = false;
    }
    if (d[lead].op != OP_RUN)
        return;
    size_t behind = lead + 1;
    while (d[behind].op == OP_CLOSE)
        behind++;
    if (d[behind].op == OP_MATCH && d[lead].quantifier == '+' && !has_position && lead <= 1)
        program->shape = SHAPE_RUN;
    if (d[behind].op == OP_END)
        program->shape = SHAPE_RUN_AT_END;
}

/* The items of one program with set and text numbers still to be placed: sets are counted from 1,
 * texts too. */
static void emit_items(const struct compiler *c, struct set_list *sets, size_t literal_base,
                       struct pattern_item *items)
{
    for (size_t i = 0; i < c->n_drafts; i++) {
        const struct draft *draft = &c->drafts[i];
        struct pattern_item *item = &items[i];
        bool has_set = draft->op == OP_ONE || draft->op == OP_FRONTIER || draft->quantifier != 0;
        memset(item, 0, sizeof *item);
        item->op = (uint8_t)draft->op;
        item->min = draft->quantifier == '+';
        item->capture = draft->capture;
        item->first_byte = draft->first_byte;
        item->last_byte = draft->last_byte;
        item->size = (uint32_t)draft->size;
        if (draft->op == OP_LITERAL)
            item->text = (uint32_t)(literal_base + draft->text + 1);
        if (has_set)
            item->set = (uint32_t)(set_number(sets, &draft->set) + 1);
        if (draft->has_follow && (draft->op == OP_GREEDY || draft->op == OP_LAZY))
            item->follow = (uint32_t)(set_number(sets, &draft->follow) + 1);
        if (draft->has_follow && draft->op == OP_LAZY) {
            struct bits outside = bits_not(draft->set);
            struct bits stop = bits_or(draft->follow, &outside);
            item->stop = (uint32_t)(set_number(sets, &stop) + 1);
        }
    }
}

/* Scratch memory of one compilation. At most one item and three sets come from a byte of the
 * pattern, one item and the first set from the program; two programs may be made. */
struct scratch {
    struct compiler c;
    struct pattern_item *items;
    struct set_list sets;
    size_t n_items;
    size_t n_literals;
    size_t bytes;
    void *memory;
};

static lb_status scratch_init(struct scratch *scratch, size_t size, struct lb_error *err)
{
    size_t n = size + 2;
    size_t draft_bytes = n * sizeof(struct draft);
    size_t item_bytes = 2 * n * sizeof(struct pattern_item);
    size_t set_bytes = 6 * n * sizeof(struct bits);
    memset(scratch, 0, sizeof *scratch);
    if (size > UINT32_MAX / 4096)
        return lb_error_set(err, LB_ERR_USAGE, "pattern too long");
    scratch->bytes = draft_bytes + item_bytes + set_bytes + 2 * n;
    scratch->memory = lb_alloc(scratch->bytes);
    if (scratch->memory == NULL)
        return lb_error_memory(err, "pattern", scratch->bytes);
    char *place = scratch->memory;
    scratch->c.drafts = (struct draft *)(void *)place;
    scratch->sets.bits = (struct bits *)(void *)(place += draft_bytes);
    scratch->items = (struct pattern_item *)(void *)(place += set_bytes);
    scratch->c.literals = place + item_bytes;
    return LB_OK;
}

/* Compiles one program behind those already in scratch. */
static lb_status compile(struct scratch *scratch, const char *pattern, size_t size, bool anchored,
                         struct pattern_program *program, struct lb_error *err)
{
    struct compiler *c = &scratch->c;
    struct bits first = {{0}};
    bool has_first;
    c->p = pattern;
    c->end = pattern + size;
    c->n_drafts = 0;
    c->n_literals = 0;
    c->n_open = 0;
    c->n_captures = 0;
    c->n_recursions = 0;
    c->err = err;
    LB_TRY(parse(c));
    program->is_deep = c->n_recursions >= LB_PATTERN_DEPTH;
    program->anchored = anchored;
    link_drafts(c, program->is_deep, &first, &has_first);
    describe(c, program);
    program->items = (uint32_t)scratch->n_items;
    emit_items(c, &scratch->sets, scratch->n_literals, scratch->items + scratch->n_items);
    program->first = has_first ? (uint32_t)(set_number(&scratch->sets, &first) + 1) : 0;
    scratch->n_items += c->n_drafts;
    scratch->n_literals += c->n_literals;
    c->literals += c->n_literals;
    return LB_OK;
}

/* Numbers become offsets. */
static void place_program(struct pattern_program *program, size_t items_offset, size_t sets_offset)
{
    program->items = (uint32_t)(items_offset + program->items * sizeof(struct pattern_item));
    if (program->first != 0)
        program->first = (uint32_t)(sets_offset + (program->first - 1) * sizeof(struct lb_byteset));
}

static void place_set(uint32_t *set, size_t sets_offset)
{
    if (*set != 0)
        *set = (uint32_t)(sets_offset + (*set - 1) * sizeof(struct lb_byteset));
}

static lb_status emit_block(struct scratch *scratch, const struct lb_pattern *head,
                            struct lb_pattern **out, struct lb_error *err)
{
    size_t items_offset = sizeof(struct lb_pattern);
    size_t sets_offset = items_offset + scratch->n_items * sizeof(struct pattern_item);
    size_t texts_offset = sets_offset + scratch->sets.n * sizeof(struct lb_byteset);
    size_t bytes = texts_offset + scratch->n_literals;
    struct lb_pattern *pattern = lb_alloc(bytes);
    if (pattern == NULL)
        return lb_error_memory(err, "pattern", bytes);
    char *block = (char *)pattern;
    *pattern = *head;
    pattern->block_bytes = bytes;
    place_program(&pattern->find, items_offset, sets_offset);
    place_program(&pattern->next, items_offset, sets_offset);
    for (size_t i = 0; i < scratch->n_items; i++) {
        struct pattern_item *item = &scratch->items[i];
        place_set(&item->set, sets_offset);
        place_set(&item->follow, sets_offset);
        place_set(&item->stop, sets_offset);
        if (item->text != 0)
            item->text = (uint32_t)(texts_offset + item->text - 1);
    }
    memcpy(block + items_offset, scratch->items, scratch->n_items * sizeof *scratch->items);
    struct lb_byteset *sets = (struct lb_byteset *)(void *)(block + sets_offset);
    for (size_t i = 0; i < scratch->sets.n; i++)
        lb_byteset_init(&sets[i], scratch->sets.bits[i].word);
    if (scratch->n_literals > 0)
        memcpy(block + texts_offset, scratch->c.literals - scratch->n_literals,
               scratch->n_literals);
    *out = pattern;
    return LB_OK;
}

lb_status lb_pattern_new(const char *pattern, size_t size, struct lb_pattern **out,
                         struct lb_error *err)
{
    struct scratch scratch;
    struct lb_pattern head;
    bool anchored = size > 0 && pattern[0] == '^';
    memset(&head, 0, sizeof head);
    LB_TRY(scratch_init(&scratch, size, err));
    lb_status status =
        compile(&scratch, pattern + anchored, size - anchored, anchored, &head.find, err);
    if (status == LB_OK && anchored)
        status = compile(&scratch, pattern, size, false, &head.next, err);
    else
        head.next = head.find;
    if (status == LB_OK)
        status = emit_block(&scratch, &head, out, err);
    lb_free(scratch.memory, scratch.bytes);
    return status;
}

size_t lb_pattern_bytes(const struct lb_pattern *pattern)
{
    return pattern->block_bytes;
}

struct lb_pattern *lb_pattern_copy(const struct lb_pattern *pattern, void *memory)
{
    return memcpy(memory, pattern, pattern->block_bytes);
}

void lb_pattern_delete(struct lb_pattern *pattern)
{
    if (pattern != NULL)
        lb_free(pattern, pattern->block_bytes);
}

const struct lb_byteset *lb_pattern_run(const struct lb_pattern *pattern)
{
    if (pattern->next.shape != SHAPE_RUN)
        return NULL;
    const struct pattern_item *items =
        (const struct pattern_item *)(const void *)((const char *)pattern + pattern->next.items);
    return (const struct lb_byteset *)(const void *)((const char *)pattern +
                                                     items[pattern->next.lead].set);
}

bool lb_pattern_is_deep(const struct lb_pattern *pattern)
{
    return pattern->find.is_deep || pattern->next.is_deep;
}
