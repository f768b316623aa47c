/* Rows of JSON objects: see json_rows.h. json_columns.c converts.
 *
 * IDEA    Records of a file look alike. A shape is the kinds of a record's marks with the names that stand at them; when the marks
 *         of a record are those of a shape (one memcmp) and the names are the same, the values are at known marks, and nothing
 *         else of the record is looked at. Else it is taken apart member by member, and becomes a shape. What lies in values
 *         that are not read is so far not looked at at all.
 * STATES  shapes by their number of marks, one each; the one used last is tried first.
 * MEMORY  Marks of a window of the block; a record of more marks makes the window grow. */
#include "core/ops/json_rows.h"

#include <xxhash.h>

#include "core/base/sys.h"

#ifdef LB_TINY
enum { MARKS = 256 };
#else
enum { MARKS = 8192 };
#endif
enum { N_SHAPES = 64, SHAPE_MARKS = 4096, VALID_WORDS = (LB_BATCH_ROWS + 63) / 64 };

/* Where a known name leads. */
enum { NOT_READ = -1, WATCHED = -2, UNKNOWN = -3 };
struct lb_json_name {
    const char *text; /* NULL: a free slot */
    size_t size;
    int32_t column;  /* or NOT_READ, WATCHED */
    uint32_t number; /* among the names */
};

/* A member of a shape. */
struct shape_member {
    uint64_t head, head_mask; /* the first 8 bytes of its name */
    const char *name;         /* as written in the text */
    uint32_t size;
    uint32_t key, value, end; /* marks */
    int32_t column;
    bool is_closed; /* the value ends with mark end - 1 and has brackets */
};

struct shape {
    size_t n_marks; /* 0: none */
    char *kinds;
    struct shape_member *members;
    size_t n_members;
    char *names;
    size_t names_size;
    bool lacks_columns; /* some column has no member */
};

struct lb_json_shapes {
    struct shape items[N_SHAPES];
    struct shape *last; /* the one used last, or NULL */
};

/* ---- parameters ---- */

static struct lb_json_name *find_name(const struct lb_json_schema *schema, const char *text,
                                      size_t size)
{
    uint32_t slot = (uint32_t)XXH3_64bits(text, size) & (schema->n_slots - 1);
    for (;; slot = (slot + 1) & (schema->n_slots - 1)) {
        struct lb_json_name *name = &schema->names[slot];
        if (name->text == NULL || (name->size == size && memcmp(name->text, text, size) == 0))
            return name;
    }
}

/* The first that names a member says where it leads. */
static void add_name(struct lb_json_schema *schema, const struct lb_value *text, int32_t column)
{
    struct lb_json_name *name = find_name(schema, text->data, text->size);
    if (name->text == NULL)
        *name = (struct lb_json_name){
            .text = text->data, .size = text->size, .column = column, .number = schema->n_names++};
}

lb_status lb_json_schema_init(const struct lb_op *op, struct lb_json_schema *schema,
                              struct lb_error *err)
{
    struct lb_value columns, types, inferred, known, watched, item;
    LB_TRY(lb_param_list(op, "columns", 's', false, &columns, err));
    LB_TRY(lb_param_list(op, "types", 's', false, &types, err));
    LB_TRY(lb_param_list(op, "inferred", 'b', false, &inferred, err));
    LB_TRY(lb_param_list(op, "known", 's', false, &known, err));
    LB_TRY(lb_param_list(op, "watch", 's', false, &watched, err));
    LB_TRY(lb_param_bool(op, "watch_all", false, &schema->watches_all, err));
    if (types.count != columns.count || columns.count > LB_MAX_COLUMNS ||
        (inferred.count > 0 && inferred.count != columns.count))
        return lb_param_wrong(op, "columns", err);
    uint64_t n_names = (uint64_t)columns.count + known.count + watched.count;
    for (schema->n_slots = 16; schema->n_slots < 2 * n_names;)
        schema->n_slots *= 2;
    schema->names = lb_alloc_zero(schema->n_slots * sizeof *schema->names);
    schema->columns = lb_alloc_zero((columns.count + 1) * sizeof *schema->columns);
    schema->n_columns = columns.count;
    if (schema->names == NULL || schema->columns == NULL)
        return lb_error_memory(err, op->label, schema->n_slots * sizeof *schema->names);
    for (uint32_t i = 0; i < columns.count; i++) {
        struct lb_json_column *column = &schema->columns[i];
        lb_codec_next(&columns.data, &item);
        column->name = item.data;
        column->name_size = item.size;
        add_name(schema, &item, (int32_t)i);
        lb_codec_next(&types.data, &item);
        if (!lb_json_type_parse(item.data, item.size, &column->type))
            return lb_param_wrong(op, "types", err);
        if (inferred.count > 0) {
            lb_codec_next(&inferred.data, &item);
            column->is_inferred = item.tag == 't' && column->type != LB_JSON_ANY;
        }
    }
    for (uint32_t i = 0; i < known.count; i++) {
        lb_codec_next(&known.data, &item);
        add_name(schema, &item, NOT_READ);
    }
    for (uint32_t i = 0; i < watched.count; i++) {
        lb_codec_next(&watched.data, &item);
        add_name(schema, &item, WATCHED);
    }
    return LB_OK;
}

void lb_json_schema_fini(struct lb_json_schema *schema)
{
    if (schema->names != NULL)
        lb_free(schema->names, schema->n_slots * sizeof *schema->names);
    if (schema->columns != NULL)
        lb_free(schema->columns, (schema->n_columns + 1) * sizeof *schema->columns);
}

/* ---- making ---- */

static const size_t item_bytes[] = {1, 8, 8, sizeof(struct lb_view),
                                    sizeof(struct lb_view)}; /* ORDER json types */
static const enum lb_type column_types[] = {LB_BOOL, LB_INT64, LB_FLOAT64, LB_STRING, LB_ANY};

/* A batch has a column at least; without any it is one of nils. */
static uint32_t n_made_columns(const struct lb_json_schema *schema)
{
    return schema->n_columns > 0 ? schema->n_columns : 1;
}

lb_status lb_json_rows_init(struct lb_json_rows *rows, const struct lb_json_schema *schema,
                            struct lb_error *err)
{
    uint32_t n = n_made_columns(schema);
    rows->schema = schema;
    lb_arena_init(&rows->strings, 64 << 10);
    lb_arena_init(&rows->names, 4096);
    lb_bad_list_init(&rows->bad);
    LB_TRY(lb_json_index_init(&rows->index, MARKS, err));
    rows->shapes = lb_alloc_zero(sizeof *rows->shapes);
    rows->starts = lb_alloc(LB_BATCH_ROWS * sizeof(uint32_t));
    rows->ends = lb_alloc(LB_BATCH_ROWS * sizeof(uint32_t));
    rows->select = lb_alloc(LB_BATCH_ROWS * sizeof(uint32_t));
    rows->is_bad = lb_alloc(VALID_WORDS * sizeof(uint64_t));
    rows->spans = lb_alloc_zero(n * sizeof *rows->spans);
    rows->valids = lb_alloc_zero(n * sizeof *rows->valids);
    rows->columns = lb_alloc_zero(n * sizeof *rows->columns);
    rows->wider = lb_alloc_zero(n * sizeof *rows->wider);
    rows->seen = lb_alloc_zero((schema->n_names + 1) * sizeof *rows->seen);
    if (rows->shapes == NULL || rows->starts == NULL || rows->ends == NULL ||
        rows->select == NULL || rows->is_bad == NULL || rows->spans == NULL ||
        rows->valids == NULL || rows->columns == NULL || rows->wider == NULL || rows->seen == NULL)
        return lb_error_memory(err, "rows", n * sizeof *rows->columns);
    rows->columns[0].type = LB_NULL;
    for (uint32_t i = 0; i < schema->n_columns; i++) {
        enum lb_json_type type = schema->columns[i].type;
        rows->columns[i].type = column_types[type];
        rows->columns[i].data = lb_alloc(LB_BATCH_ROWS * item_bytes[type]);
        rows->valids[i] = lb_alloc(VALID_WORDS * sizeof(uint64_t));
        rows->spans[i] = lb_alloc(LB_BATCH_ROWS * sizeof(struct lb_json_span));
        if (rows->columns[i].data == NULL || rows->valids[i] == NULL || rows->spans[i] == NULL)
            return lb_error_memory(err, "a column", LB_BATCH_ROWS * item_bytes[type]);
    }
    return LB_OK;
}

static void free_if(void *data, size_t size)
{
    if (data != NULL)
        lb_free(data, size);
}

static void shape_fini(struct shape *shape)
{
    free_if(shape->kinds, shape->n_marks);
    free_if(shape->members, (shape->n_members + 1) * sizeof *shape->members);
    free_if(shape->names, shape->names_size + 1);
    *shape = (struct shape){0};
}

void lb_json_rows_fini(struct lb_json_rows *rows)
{
    const struct lb_json_schema *schema = rows->schema;
    if (schema == NULL)
        return;
    uint32_t n = n_made_columns(schema);
    for (uint32_t i = 0; i < schema->n_columns; i++) {
        if (rows->columns != NULL)
            free_if((void *)rows->columns[i].data,
                    LB_BATCH_ROWS * item_bytes[schema->columns[i].type]);
        if (rows->valids != NULL)
            free_if(rows->valids[i], VALID_WORDS * sizeof(uint64_t));
        if (rows->spans != NULL)
            free_if(rows->spans[i], LB_BATCH_ROWS * sizeof(struct lb_json_span));
    }
    for (int i = 0; rows->shapes != NULL && i < N_SHAPES; i++)
        shape_fini(&rows->shapes->items[i]);
    free_if(rows->shapes, sizeof *rows->shapes);
    free_if(rows->starts, LB_BATCH_ROWS * sizeof(uint32_t));
    free_if(rows->ends, LB_BATCH_ROWS * sizeof(uint32_t));
    free_if(rows->select, LB_BATCH_ROWS * sizeof(uint32_t));
    free_if(rows->is_bad, VALID_WORDS * sizeof(uint64_t));
    free_if(rows->spans, n * sizeof *rows->spans);
    free_if(rows->valids, n * sizeof *rows->valids);
    free_if(rows->columns, n * sizeof *rows->columns);
    free_if(rows->wider, n * sizeof *rows->wider);
    free_if(rows->seen, (schema->n_names + 1) * sizeof *rows->seen);
    free_if(rows->added, rows->added_capacity * sizeof *rows->added);
    lb_json_index_fini(&rows->index);
    lb_json_members_fini(&rows->members);
    lb_bad_list_fini(&rows->bad);
    lb_buf_fini(&rows->scratch);
    lb_arena_fini(&rows->strings);
    lb_arena_fini(&rows->names);
}

/* ---- shapes ---- */

/* Writes down where the values of the record at mark `first` stand, when it has the shape. base: of the index in data. */
static inline bool use_shape(struct lb_json_rows *rows, const struct shape *shape, size_t first,
                             const char *base, uint32_t row)
{
    const struct lb_json_index *index = &rows->index;
    const uint32_t *positions = index->positions + first;
    if (index->n - first < shape->n_marks ||
        memcmp(index->kinds + first, shape->kinds, shape->n_marks) != 0)
        return false;
    uint32_t shift = (uint32_t)(base - rows->data);
    if (shape->lacks_columns)
        for (uint32_t c = 0; c < rows->schema->n_columns; c++)
            rows->spans[c][row] = (struct lb_json_span){0, 0};
    for (size_t m = 0; m < shape->n_members; m++) {
        const struct shape_member *member = &shape->members[m];
        const char *name = base + positions[member->key] + 1;
        uint64_t head;
        memcpy(&head, name, 8);
        if (positions[member->key + 1] - positions[member->key] != member->size + 1 ||
            ((head ^ member->head) & member->head_mask) != 0 ||
            (member->size > 8 && memcmp(name + 8, member->name + 8, member->size - 8) != 0))
            return false;
        if (member->column < 0)
            continue;
        struct lb_json_span *span = &rows->spans[member->column][row];
        span->from = shift + positions[member->value];
        span->to =
            shift + (member->is_closed ? positions[member->end - 1] + 1 : positions[member->end]);
    }
    return true;
}

/* Keeps the shape of a record that was taken apart; on lack of memory there is none. */
static void keep_shape(struct lb_json_rows *rows, size_t first, size_t n_marks, const char *base,
                       const int32_t *columns)
{
    const struct lb_json_index *index = &rows->index;
    struct shape *shape = &rows->shapes->items[n_marks % N_SHAPES];
    struct lb_json_members *members = &rows->members;
    const uint32_t *positions = index->positions + first;
    if (rows->shapes->last == shape)
        rows->shapes->last = NULL;
    shape_fini(shape);
    if (n_marks > SHAPE_MARKS)
        return;
    for (size_t m = 0; m < members->n; m++) {
        const struct lb_json_member *member = &members->items[m];
        shape->names_size += positions[member->key + 1] - positions[member->key] - 1;
    }
    shape->n_marks = n_marks;
    shape->n_members = members->n;
    shape->kinds = lb_alloc(n_marks);
    shape->members = lb_alloc_zero((members->n + 1) * sizeof *shape->members);
    shape->names = lb_alloc(shape->names_size + 1);
    if (shape->kinds == NULL || shape->members == NULL || shape->names == NULL) {
        shape_fini(shape);
        return;
    }
    memcpy(shape->kinds, index->kinds + first, n_marks);
    char *names = shape->names;
    uint32_t n_found = 0;
    for (size_t m = 0; m < members->n; m++) {
        const struct lb_json_member *from = &members->items[m];
        struct shape_member *to = &shape->members[m];
        char kind = index->kinds[first + from->value];
        to->size = positions[from->key + 1] - positions[from->key] - 1;
        to->name = names;
        memcpy(names, base + positions[from->key] + 1, to->size);
        names += to->size;
        size_t head = to->size < 8 ? to->size : 8;
        to->head_mask = head == 8 ? ~(uint64_t)0 : ((uint64_t)1 << 8 * head) - 1;
        memcpy(&to->head, to->name, head);
        to->key = from->key;
        to->value = from->value;
        to->end = from->end;
        to->is_closed = kind != LB_JSON_WORD;
        to->column = columns[m];
        n_found += to->column >= 0;
    }
    shape->lacks_columns = n_found < rows->schema->n_columns;
    rows->shapes->last = shape;
}

/* ---- taking apart ---- */

/* A name that should be a column: kept, with the type that its value wants. */
static lb_status add_column(struct lb_json_rows *rows, const char *name, size_t size,
                            enum lb_json_type type, uint32_t row, struct lb_error *err)
{
    for (uint32_t i = 0; i < rows->n_added; i++) {
        struct lb_json_added *added = &rows->added[i];
        if (added->size == size && memcmp(added->name, name, size) == 0) {
            added->type = lb_json_type_join(added->type, type);
            return LB_OK;
        }
    }
    if (rows->n_added == rows->added_capacity) {
        uint32_t wanted = rows->added_capacity > 0 ? 2 * rows->added_capacity : 8;
        struct lb_json_added *items =
            lb_realloc(rows->added, rows->added_capacity * sizeof *items, wanted * sizeof *items);
        if (items == NULL)
            return lb_error_memory(err, "new columns", wanted * sizeof *items);
        rows->added = items;
        rows->added_capacity = wanted;
    }
    char *copy = lb_arena_alloc(&rows->names, size + 1);
    if (copy == NULL)
        return lb_error_memory(err, "new columns", size);
    memcpy(copy, name, size);
    rows->added[rows->n_added++] = (struct lb_json_added){copy, size, type, row};
    return LB_OK;
}

/* The text of a member's value, without blanks behind it. */
static struct lb_json_span value_span(const struct lb_json_index *index, size_t first,
                                      const struct lb_json_member *member, const char *base)
{
    uint32_t from = index->positions[first + member->value];
    uint32_t to = index->kinds[first + member->value] != LB_JSON_WORD
                      ? index->positions[first + member->end - 1] + 1
                      : index->positions[first + member->end];
    while (to > from && (base[to - 1] == ' ' || base[to - 1] == '\t' || base[to - 1] == '\r' ||
                         base[to - 1] == '\n'))
        to--;
    return (struct lb_json_span){from, to};
}

/* Looks up the names of the record's members; writes spans and *columns. *reason: what is wrong. */
static lb_status look_up(struct lb_json_rows *rows, size_t first, const char *base, uint32_t row,
                         int32_t *columns, const char **reason, struct lb_error *err)
{
    const struct lb_json_index *index = &rows->index;
    const struct lb_json_schema *schema = rows->schema;
    uint32_t shift = (uint32_t)(base - rows->data);
    *reason = NULL;
    rows->stamp++;
    for (uint32_t c = 0; c < schema->n_columns; c++)
        rows->spans[c][row] = (struct lb_json_span){0, 0};
    for (size_t m = 0; m < rows->members.n; m++) {
        const struct lb_json_member *member = &rows->members.items[m];
        uint32_t at = index->positions[first + member->key] + 1;
        const char *text = base + at;
        size_t size = index->positions[first + member->key + 1] - at;
        LB_TRY(lb_json_string(&text, &size, &rows->strings, reason, err));
        if (*reason != NULL)
            return LB_OK;
        const struct lb_json_name *name = find_name(schema, text, size);
        struct lb_json_span span = value_span(index, first, member, base);
        columns[m] = name->text == NULL ? UNKNOWN : name->column;
        if (name->text != NULL) {
            if (rows->seen[name->number] == rows->stamp) {
                *reason = "the object has a name twice";
                return LB_OK;
            }
            rows->seen[name->number] = rows->stamp;
        }
        if (columns[m] == WATCHED || (columns[m] == UNKNOWN && schema->watches_all))
            LB_TRY(add_column(rows, text, size,
                              lb_json_type_of(base + span.from, span.to - span.from), row, err));
        if (columns[m] >= 0)
            rows->spans[columns[m]][row] =
                (struct lb_json_span){shift + span.from, shift + span.to};
    }
    return LB_OK;
}

static lb_status take_apart(struct lb_json_rows *rows, size_t first, size_t end, const char *base,
                            uint32_t row, bool *is_row, struct lb_error *err)
{
    const struct lb_json_index *index = &rows->index;
    struct lb_json_flaw flaw;
    const char *reason = NULL;
    LB_TRY(lb_json_members_of(index, first, end, &rows->members, &flaw, err));
    reason = flaw.reason;
    if (reason == NULL) {
        rows->scratch.size = 0;
        LB_TRY(lb_buf_reserve(&rows->scratch, (rows->members.n + 1) * sizeof(int32_t), err));
        int32_t *columns = (int32_t *)(void *)rows->scratch.data;
        LB_TRY(look_up(rows, first, base, row, columns, &reason, err));
        flaw.position = index->positions[first];
        if (reason == NULL)
            keep_shape(rows, first, end - first, base, columns);
    }
    *is_row = reason == NULL;
    if (*is_row)
        return LB_OK;
    uint32_t shift = (uint32_t)(base - rows->data);
    uint32_t start = index->positions[first];
    uint32_t stop = end < index->n ? index->positions[end] : (uint32_t)index->seen;
    while (stop > start && (base[stop - 1] == '\r' || base[stop - 1] == '\n'))
        stop--;
    return lb_bad_list_add(&rows->bad, shift + start, shift + stop, "syntax", err,
                           "%s (at byte %u of the record)", reason, flaw.position - start);
}

/* ---- cutting ---- */

/* The shape of the next record, if it has one that is known. Moves the walk behind the record. */
static inline bool next_by_shape(struct lb_json_rows *rows, struct lb_json_walk *walk,
                                 const char *base, uint32_t row, size_t *end)
{
    const struct lb_json_index *index = &rows->index;
    const struct shape *shape = rows->shapes->last;
    size_t first = walk->next;
    if (shape == NULL || !walk->in_lines || index->n - first <= shape->n_marks ||
        index->kinds[first + shape->n_marks] != '\n' || !use_shape(rows, shape, first, base, row))
        return false;
    *end = first + shape->n_marks;
    walk->next = *end + 1;
    return true;
}

static lb_status take_record(struct lb_json_rows *rows, size_t first, size_t end, const char *base,
                             uint32_t row, bool *is_row, struct lb_error *err)
{
    struct shape *shape = &rows->shapes->items[(end - first) % N_SHAPES];
    if (shape->n_marks == end - first && use_shape(rows, shape, first, base, row)) {
        rows->shapes->last = shape;
        *is_row = true;
        return LB_OK;
    }
    return take_apart(rows, first, end, base, row, is_row, err);
}

/* Where the record of mark `first` begins, for who splits files: in lines with its line, whose first bytes may be blanks. A window
 * begins with a line. */
static inline uint32_t begin_of(const struct lb_json_walk *walk, const struct lb_json_index *index,
                                size_t first)
{
    if (!walk->in_lines)
        return index->positions[first];
    return first > 0 ? index->positions[first - 1] + 1 : 0;
}

/* Takes the records of the index, which begins at `base`. *seen: bytes up to behind the last. */
static lb_status cut_window(struct lb_json_rows *rows, struct lb_json_walk *walk, const char *base,
                            size_t limit, size_t *seen, enum lb_json_found *found,
                            struct lb_error *err)
{
    const struct lb_json_index *index = &rows->index;
    *found = LB_JSON_RECORD;
    while (rows->n_rows < LB_BATCH_ROWS) {
        size_t first = walk->next, end = 0;
        uint32_t row = rows->n_rows;
        bool is_row = true;
        if (first < index->n && begin_of(walk, index, first) >= limit) {
            *found = LB_JSON_NONE;
            break;
        }
        if (!next_by_shape(rows, walk, base, row, &end)) {
            *found = lb_json_next(walk, index, &first, &end);
            if (*found == LB_JSON_BROKEN || *found == LB_JSON_PARTIAL)
                *seen = begin_of(walk, index, first);
            if (*found != LB_JSON_RECORD)
                break;
            if (begin_of(walk, index, first) >= limit) { /* blank lines stood before it */
                walk->next = first;
                *found = LB_JSON_NONE;
                break;
            }
            LB_TRY(take_record(rows, first, end, base, row, &is_row, err));
        }
        uint32_t shift = (uint32_t)(base - rows->data);
        rows->starts[row] = shift + index->positions[first];
        rows->ends[row] =
            shift + (walk->in_lines ? index->positions[end] : index->positions[end - 1] + 1);
        rows->n_rows += is_row;
        *seen = walk->in_lines ? index->positions[end] + 1 : index->positions[end - 1] + 1;
        if (!is_row && rows->schema->fails_on_bad)
            break;
    }
    return LB_OK;
}

static lb_status broken_array(const struct lb_json_walk *walk, struct lb_error *err)
{
    static const char *const reasons[] = {
        "'[' is expected", "an object or ']' is expected", "an object is expected",
        "',' or ']' is expected", "something stands behind the array"}; /* ORDER json places */
    return lb_error_set(err, LB_ERR_DATA, "%s", reasons[walk->place]);
}

/* Only blanks are left in the window, or what begins beyond the limit. In lines the blanks behind the last newline stay: they
 * may be the next record's. */
static size_t behind_blanks(const struct lb_json_walk *walk, const struct lb_json_index *index)
{
    if (walk->next < index->n || (walk->in_lines && index->n > 0))
        return begin_of(walk, index, walk->next);
    return walk->in_lines ? 0 : index->seen;
}

lb_status lb_json_rows_cut(struct lb_json_rows *rows, struct lb_json_walk *walk, const char *data,
                           size_t size, size_t limit, size_t *used, struct lb_error *err)
{
    rows->data = data;
    rows->n_rows = 0;
    lb_bad_list_reset(&rows->bad);
    lb_arena_reset(&rows->strings);
    *used = 0;
    while (rows->n_rows < LB_BATCH_ROWS && *used < size && *used < limit) {
        const char *base = data + *used;
        size_t left = size - *used, seen = 0;
        enum lb_json_found found;
        lb_json_index(base, left, walk->in_lines, &rows->index);
        walk->next = 0;
        LB_TRY(cut_window(rows, walk, base, limit - *used, &seen, &found, err));
        if (found == LB_JSON_BROKEN) {
            *used += seen;
            return broken_array(walk, err);
        }
        bool is_whole = rows->index.seen == left;
        if (found == LB_JSON_NONE)
            seen = behind_blanks(walk, &rows->index);
        *used += seen;
        if (found == LB_JSON_RECORD) /* a batch is full, or a bad record ends it */
            break;
        if (is_whole)
            break;
        if (found == LB_JSON_PARTIAL && seen == 0)
            LB_TRY(lb_json_index_grow(&rows->index, err));
    }
    return LB_OK;
}
