/* Names and types of the columns of JSON files: see json_sniff.h. */
#include "core/io/json_sniff.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "core/base/sys.h"
#include "core/io/csv.h"
#include "core/io/stream.h"

#ifdef LB_TINY
enum { SAMPLE_BYTES = 4096, ENOUGH_BYTES = 4 << 20, MARKS = 256 };
#else
enum { SAMPLE_BYTES = 1 << 20, ENOUGH_BYTES = 16 << 20, MARKS = 8192 };
#endif
enum { MOST_BYTES = 1 << 28 }; /* of a first record */
enum { ENOUGH_RECORDS = 64 };

struct sampler {
    struct lb_json_sniff *sniff;
    struct lb_json_index index;
    struct lb_json_members members;
    struct lb_arena strings;
    uint32_t *slots; /* hash table: number + 1 of a column, 0: free */
    uint32_t n_slots;
    struct lb_buf starts; /* per column, where its name begins in sniff->names */
    uint64_t n_records;
};

static uint32_t *find_slot(const struct sampler *s, const char *name, size_t size)
{
    const size_t *starts = (const size_t *)(const void *)s->starts.data;
    uint32_t slot = (uint32_t)XXH3_64bits(name, size) & (s->n_slots - 1);
    for (;; slot = (slot + 1) & (s->n_slots - 1)) {
        if (s->slots[slot] == 0)
            return &s->slots[slot];
        const char *known = s->sniff->names.data + starts[s->slots[slot] - 1];
        if (strlen(known) == size && memcmp(known, name, size) == 0)
            return &s->slots[slot];
    }
}

static lb_status grow_slots(struct sampler *s, struct lb_error *err)
{
    uint32_t old = s->n_slots, n = old > 0 ? 2 * old : 64;
    if (2 * s->sniff->n_columns < old)
        return LB_OK;
    uint32_t *slots = lb_alloc_zero(n * sizeof *slots);
    if (slots == NULL)
        return lb_error_memory(err, "a sample", n * sizeof *slots);
    if (s->slots != NULL)
        lb_free(s->slots, old * sizeof *slots);
    s->slots = slots;
    s->n_slots = n;
    const char *name = s->sniff->names.data;
    for (uint32_t i = 0; i < s->sniff->n_columns; i++) {
        *find_slot(s, name, strlen(name)) = i + 1;
        name += strlen(name) + 1;
    }
    return LB_OK;
}

static lb_status add_value(struct sampler *s, const char *name, size_t size, enum lb_json_type type,
                           struct lb_error *err)
{
    LB_TRY(grow_slots(s, err));
    uint32_t *slot = find_slot(s, name, size);
    if (*slot == 0) {
        size_t start = s->sniff->names.size;
        LB_TRY(lb_buf_append(&s->starts, &start, sizeof start, err));
        LB_TRY(lb_buf_append(&s->sniff->names, name, size, err));
        LB_TRY(lb_buf_append_byte(&s->sniff->names, '\0', err));
        LB_TRY(lb_buf_append_byte(&s->sniff->types, (char)type, err));
        *slot = ++s->sniff->n_columns;
        return LB_OK;
    }
    char *known = &s->sniff->types.data[*slot - 1];
    *known = (char)lb_json_type_join((enum lb_json_type) * known, type);
    return LB_OK;
}

static lb_status add_record(struct sampler *s, const char *data, size_t first, size_t end,
                            struct lb_error *err)
{
    struct lb_json_flaw flaw;
    const uint32_t *positions = s->index.positions + first;
    LB_TRY(lb_json_members_of(&s->index, first, end, &s->members, &flaw, err));
    if (flaw.reason != NULL)
        return LB_OK;
    s->n_records++;
    lb_arena_reset(&s->strings);
    for (size_t m = 0; m < s->members.n; m++) {
        const struct lb_json_member *member = &s->members.items[m];
        const char *name = data + positions[member->key] + 1, *reason = NULL;
        size_t size = positions[member->key + 1] - positions[member->key] - 1;
        LB_TRY(lb_json_string(&name, &size, &s->strings, &reason, err));
        if (reason != NULL)
            continue;
        if (memchr(name, '\0', size) != NULL)
            return lb_error_set(err, LB_ERR_DATA, "a name has a zero byte");
        const char *value = data + positions[member->value];
        const char *stop = s->index.kinds[first + member->value] != LB_JSON_WORD
                               ? data + positions[member->end - 1] + 1
                               : data + positions[member->end];
        while (stop > value && strchr(" \t\r\n", stop[-1]) != NULL)
            stop--;
        enum lb_json_type type = lb_json_type_of(value, (size_t)(stop - value));
        /* What is no value tells of the column alone: whoever reads it is told what is wrong. */
        LB_TRY(add_value(s, name, size, type == LB_JSON_INVALID ? LB_JSON_NULL : type, err));
    }
    return LB_OK;
}

/* Takes the records that are whole in data. */
static lb_status add_records(struct sampler *s, const char *data, size_t size, struct lb_error *err)
{
    size_t at = 0, first, end;
    while (at < size && strchr(" \t\r\n", data[at]) != NULL && data[at] != '\0')
        at++;
    struct lb_json_walk walk = {.in_lines = at == size || data[at] != '['};
    while (at < size) {
        enum lb_json_found found;
        size_t seen = 0;
        lb_json_index(data + at, size - at, walk.in_lines, &s->index);
        walk.next = 0;
        while ((found = lb_json_next(&walk, &s->index, &first, &end)) == LB_JSON_RECORD)
            LB_TRY(add_record(s, data + at, first, end, err));
        bool is_whole = s->index.seen == size - at;
        if (found == LB_JSON_BROKEN || is_whole)
            return LB_OK;
        seen = found == LB_JSON_PARTIAL ? s->index.positions[first] : s->index.seen;
        if (seen == 0)
            LB_TRY(lb_json_index_grow(&s->index, err));
        at += seen;
    }
    return LB_OK;
}

/* Reads the head of a file: about a sample, more when few records are whole in it. */
static lb_status sample_file(struct sampler *s, const struct lb_file *file, struct lb_error *err)
{
    struct lb_stream *stream = NULL;
    struct lb_buf data = {0};
    struct lb_file found = *file;
    LB_TRY(lb_stream_detect(&found, err));
    LB_TRY(lb_stream_open(&found, &stream, err));
    lb_status status = LB_OK;
    for (size_t bytes = SAMPLE_BYTES; status == LB_OK; bytes *= 2) {
        size_t got = 0;
        s->n_records = 0;
        status = lb_buf_reserve(&data, bytes - data.size + LB_TEXT_PADDING + 1, err);
        if (status != LB_OK)
            lb_error_prefix(err, "the first record: ");
        else
            status = lb_stream_read(stream, data.data + data.size, bytes - data.size, &got, err);
        if (status != LB_OK)
            break;
        data.size += got;
        bool is_end = data.size < bytes;
        if (is_end)
            data.data[data.size] = '\n';
        size_t mark = lb_csv_bom(data.data, data.size);
        status = add_records(s, data.data + mark, data.size - mark + is_end, err);
        size_t wanted = bytes < ENOUGH_BYTES ? ENOUGH_RECORDS : 1;
        if (is_end || bytes >= MOST_BYTES || s->n_records >= wanted)
            break;
    }
    if (status == LB_OK && !file->is_regular)
        status = lb_stream_keep(stream, file, data.data, data.size, err);
    else
        lb_stream_close(stream);
    lb_buf_fini(&data);
    return status;
}

lb_status lb_json_sniff_files(struct lb_json_sniff *sniff, const struct lb_file_list *files,
                              struct lb_error *err)
{
    struct sampler s = {.sniff = sniff};
    lb_arena_init(&s.strings, 4096);
    lb_status status = lb_json_index_init(&s.index, MARKS, err);
    for (size_t i = 0; status == LB_OK && i < files->n_files && sniff->n_columns == 0; i++) {
        status = sample_file(&s, &files->files[i], err);
        const char *label = lb_file_label(&files->files[i]);
        if ((status == LB_ERR_DATA || status == LB_ERR_RESOURCE) &&
            strstr(err->message, label) == NULL)
            lb_error_prefix(err, "%s: ", label);
    }
    for (uint32_t i = 0; i < sniff->n_columns; i++)
        if (sniff->types.data[i] == LB_JSON_NULL)
            sniff->types.data[i] = LB_JSON_ANY;
    if (s.slots != NULL)
        lb_free(s.slots, s.n_slots * sizeof *s.slots);
    lb_buf_fini(&s.starts);
    lb_json_index_fini(&s.index);
    lb_json_members_fini(&s.members);
    lb_arena_fini(&s.strings);
    if (status == LB_OK && sniff->n_columns == 0 && !sniff->may_be_empty)
        status =
            lb_error_set(err, LB_ERR_DATA, "%s: no columns: no record is an object with members",
                         files->n_files > 0 ? lb_file_label(&files->files[0]) : "json");
    return status;
}

void lb_json_sniff_fini(struct lb_json_sniff *sniff)
{
    lb_buf_fini(&sniff->names);
    lb_buf_fini(&sniff->types);
}
