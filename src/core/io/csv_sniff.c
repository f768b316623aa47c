/* Names and types of the columns of CSV files: see csv_sniff.h. */
#include "core/io/csv_sniff.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/sys.h"
#include "core/io/stream.h"

#ifdef LB_TINY
enum { SAMPLE_BYTES = 4096, ENOUGH_BYTES = 4 << 20, HEADER_BYTES = 100, RECORDS = 7 };
#else
enum { SAMPLE_BYTES = 1 << 20, ENOUGH_BYTES = 16 << 20, HEADER_BYTES = 16 << 10, RECORDS = 1024 };
#endif
enum { MOST_BYTES = 1 << 28 }; /* of a first record */
enum { ENOUGH_RECORDS = 64 };

/* The first bytes of a file: at least so many whole records, or all there is. */
struct head {
    char *data; /* capacity + LB_TEXT_PADDING + 1 */
    size_t capacity;
    size_t start; /* behind a byte order mark */
    size_t
        size; /* up to the end of the last whole record; with a newline put behind the last of all */
};

static void head_fini(struct head *head)
{
    if (head->data != NULL)
        lb_free(head->data, head->capacity + LB_TEXT_PADDING + 1);
}

static lb_status head_grow(struct head *head, size_t capacity, struct lb_error *err)
{
    size_t extra = LB_TEXT_PADDING + 1;
    char *data =
        lb_realloc(head->data, head->data != NULL ? head->capacity + extra : 0, capacity + extra);
    if (data == NULL)
        return lb_error_memory(err, "the first record", capacity);
    head->data = data;
    head->capacity = capacity;
    return LB_OK;
}

/* Whether the head has n whole records. */
static bool head_has(const struct lb_csv_dialect *dialect, const struct head *head, size_t n)
{
    size_t at = head->start;
    for (; n > 0 && at < head->size; n--) {
        bool is_inside = false;
        at += lb_csv_first_end(dialect, head->data + at, head->size - at, &is_inside);
    }
    return n == 0;
}

/* Reads about so many bytes; more until n_records are whole in them when that does not take too much, and on until one is. What
 * can be read only once is kept for its scan. */
static lb_status head_read(const struct lb_csv_dialect *dialect, const struct lb_file *file,
                           size_t bytes, size_t n_records, struct head *head, struct lb_error *err)
{
    struct lb_stream *stream = NULL;
    struct lb_file found = *file;
    size_t used = 0;
    LB_TRY(lb_stream_detect(&found, err));
    LB_TRY(lb_stream_open(&found, &stream, err));
    lb_status status = LB_OK;
    for (;; bytes *= 2) {
        size_t got = 0;
        bool is_inside = false;
        status = head_grow(head, bytes, err);
        if (status == LB_OK)
            status = lb_stream_read(stream, head->data + used, bytes - used, &got, err);
        if (status != LB_OK)
            break;
        used += got;
        head->start = lb_csv_bom(head->data, used);
        head->size = head->start + lb_csv_last_end(dialect, head->data + head->start,
                                                   used - head->start, &is_inside);
        if (used < bytes) { /* all of the file */
            if (used > head->size && !is_inside) {
                head->data[used] = '\n';
                head->size = used + 1;
            }
            if (is_inside && head->size == head->start)
                status = lb_error_set(err, LB_ERR_DATA,
                                      "%s: the first record has a quote that is not closed",
                                      lb_file_label(file));
            break;
        }
        if (head_has(dialect, head, bytes < ENOUGH_BYTES ? n_records : 1))
            break;
        if (bytes >= MOST_BYTES) {
            status =
                lb_error_set(err, LB_ERR_DATA,
                             "%s: no record ends in the first %zu bytes: is a quote not closed, or "
                             "do lines end in '\\r' alone?",
                             lb_file_label(file), bytes);
            break;
        }
    }
    if (status == LB_OK && !file->is_regular)
        return lb_stream_keep(stream, file, head->data, used, err);
    lb_stream_close(stream);
    return status;
}

/* An index of up to RECORDS records, growing where one record has many fields. */
struct walk {
    struct lb_csv_index index;
    const struct lb_csv_dialect *dialect;
    struct lb_arena strings;
};

static void walk_fini(struct walk *walk)
{
    if (walk->index.positions != NULL)
        lb_free(walk->index.positions, (walk->index.capacity + 64) * sizeof(uint32_t));
    if (walk->index.ends != NULL)
        lb_free(walk->index.ends, RECORDS * sizeof(uint32_t));
    lb_arena_fini(&walk->strings);
}

static lb_status walk_init(struct walk *walk, const struct lb_csv_dialect *dialect,
                           struct lb_error *err)
{
    *walk = (struct walk){.dialect = dialect};
    lb_arena_init(&walk->strings, 4096);
    walk->index.capacity = 16 * RECORDS;
    walk->index.max_records = RECORDS;
    walk->index.positions = lb_alloc((walk->index.capacity + 64) * sizeof(uint32_t));
    walk->index.ends = lb_alloc(RECORDS * sizeof(uint32_t));
    if (walk->index.positions == NULL || walk->index.ends == NULL)
        return lb_error_memory(err, "a sample", 16 * RECORDS * sizeof(uint32_t));
    return LB_OK;
}

static lb_status walk_cut(struct walk *walk, const char *data, size_t size, struct lb_error *err)
{
    struct lb_csv_index *index = &walk->index;
    for (;;) {
        lb_csv_index(walk->dialect, data, size, index);
        if (index->n_records > 0 || !index->is_full)
            return LB_OK;
        size_t wanted = 2 * index->capacity;
        uint32_t *positions =
            lb_realloc(index->positions, (index->capacity + 64) * 4, (wanted + 64) * 4);
        if (positions == NULL)
            return lb_error_memory(err, "a sample", wanted * 4);
        index->positions = positions;
        index->capacity = wanted;
    }
}

/* Field i of the n fields that end at positions `first` and on. */
static void walk_field(const struct walk *walk, const char *data, uint32_t start, uint32_t first,
                       uint32_t i, uint32_t n, const char **text, size_t *size)
{
    const uint32_t *positions = walk->index.positions + first;
    uint32_t from = i == 0 ? start : positions[i - 1] + (uint32_t)walk->dialect->separator_size;
    uint32_t to = positions[i];
    if (i + 1 == n && to > from && data[to - 1] == '\r')
        to--;
    *text = data + from;
    *size = to - from;
}

/* Whether the only record of a file is lines that end in '\r', as on old Macs. */
static bool has_bare_returns(const struct walk *walk, const struct head *head, uint32_t n)
{
    const char *data = head->data + head->start;
    if (walk->index.positions[n - 1] + 1 + head->start < head->size)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        const char *text;
        size_t size;
        walk_field(walk, data, 0, 0, i, n, &text, &size);
        if (memchr(text, '\r', size) != NULL &&
            (walk->dialect->quote < 0 || (unsigned char)text[0] != walk->dialect->quote))
            return true;
    }
    return false;
}

/* Appends the names that the first record of data gives. */
static lb_status put_names(struct walk *walk, const char *data, uint32_t n, bool is_header,
                           struct lb_buf *names, struct lb_error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        const char *text = NULL;
        size_t size = 0;
        bool is_quoted;
        if (is_header) {
            walk_field(walk, data, 0, 0, i, n, &text, &size);
            if (!lb_csv_field_is_sound(walk->dialect, text, size))
                return lb_error_set(err, LB_ERR_DATA, "the header has a misplaced quote");
            LB_TRY(lb_csv_field_text(walk->dialect, &text, &size, &is_quoted, &walk->strings, err));
            if (memchr(text, '\0', size) != NULL)
                return lb_error_set(err, LB_ERR_DATA, "a name in the header has a zero byte");
        }
        if (size == 0)
            LB_TRY(lb_buf_printf(names, err, "column%u", i + 1));
        else
            LB_TRY(lb_buf_append(names, text, size, err));
        LB_TRY(lb_buf_append_byte(names, '\0', err));
    }
    return LB_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static lb_status check_names(const struct lb_buf *names, uint32_t n, struct lb_error *err)
{
    const char **sorted = lb_alloc(n * sizeof *sorted), *name = names->data;
    lb_status status = LB_OK;
    if (sorted == NULL)
        return lb_error_memory(err, "names of columns", n * sizeof *sorted);
    for (uint32_t i = 0; i < n; i++) {
        sorted[i] = name;
        name += strlen(name) + 1;
    }
    qsort(sorted, n, sizeof *sorted, compare_names);
    for (uint32_t i = 1; i < n && status == LB_OK; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            status = lb_error_set(err, LB_ERR_DATA, "the header names '%s' twice", sorted[i]);
    lb_free(sorted, n * sizeof *sorted);
    return status;
}

static bool is_null(const struct lb_csv_sniff *sniff, const char *text, size_t size)
{
    const char *end = sniff->nulls + sniff->nulls_size;
    for (const char *null = sniff->nulls; null < end; null += strlen(null) + 1)
        if (strlen(null) == size && memcmp(null, text, size) == 0)
            return true;
    return false;
}

/* Joins the types of the sample's fields, from byte `at` of the head on. */
static lb_status sniff_types(struct lb_csv_sniff *sniff, struct walk *walk, const struct head *head,
                             size_t at, struct lb_error *err)
{
    enum lb_csv_type *found = sniff->types;
    while (at < head->size) {
        const char *data = head->data + at;
        uint32_t start = 0, first = 0;
        lb_arena_reset(&walk->strings);
        LB_TRY(walk_cut(walk, data, head->size - at, err));
        if (walk->index.n_records == 0)
            break;
        for (uint32_t r = 0; r < walk->index.n_records; r++) {
            uint32_t end = walk->index.ends[r] & ~LB_CSV_QUOTED;
            for (uint32_t i = 0; end - first == sniff->n_columns && i < sniff->n_columns; i++) {
                const char *text;
                size_t size;
                bool is_quoted;
                walk_field(walk, data, start, first, i, sniff->n_columns, &text, &size);
                if (found[i] == LB_CSV_STRING || is_null(sniff, text, size) ||
                    !lb_csv_field_is_sound(walk->dialect, text, size))
                    continue;
                LB_TRY(lb_csv_field_text(walk->dialect, &text, &size, &is_quoted, &walk->strings,
                                         err));
                double exact;
                if (found[i] == LB_CSV_FLOAT && lb_csv_float(text, size, &exact))
                    continue;
                found[i] = lb_csv_type_join(found[i], lb_csv_type_of(text, size));
                if (found[i] == LB_CSV_FLOAT && !lb_csv_float(text, size, &exact))
                    found[i] = LB_CSV_STRING;
            }
            start = walk->index.positions[end - 1] + 1;
            first = end;
        }
        at += start;
    }
    return LB_OK;
}

static lb_status sniff_head(struct lb_csv_sniff *sniff, const struct head *head,
                            struct lb_error *err)
{
    struct walk walk;
    lb_status status = walk_init(&walk, &sniff->dialect, err);
    const char *data = head->data + head->start;
    if (status == LB_OK)
        status = walk_cut(&walk, data, head->size - head->start, err);
    if (status == LB_OK && walk.index.n_records == 0)
        status = lb_error_set(err, LB_ERR_DATA, "the first record has a quote that is not closed");
    if (status != LB_OK)
        goto end;
    uint32_t n = walk.index.ends[0] & ~LB_CSV_QUOTED;
    if (has_bare_returns(&walk, head, n)) {
        status = lb_error_set(err, LB_ERR_DATA,
                              "lines end in '\\r' alone; turn them into newlines, as with "
                              "tr '\\r' '\\n'");
        goto end;
    }
    size_t body = sniff->has_header ? walk.index.positions[n - 1] + 1 : 0;
    sniff->n_columns = sniff->types_capacity = n;
    sniff->types = lb_alloc_zero(n * sizeof *sniff->types); /* LB_CSV_NIL */
    if (sniff->types == NULL) {
        status = lb_error_memory(err, "columns", n * sizeof *sniff->types);
        goto end;
    }
    status = put_names(&walk, data, n, sniff->has_header, &sniff->names, err);
    if (status == LB_OK && sniff->checks_headers)
        status = check_names(&sniff->names, n, err);
    if (status == LB_OK)
        status = sniff_types(sniff, &walk, head, head->start + body, err);

end:
    walk_fini(&walk);
    return status;
}

/* The header of a further file must name the same columns. */
static lb_status check_header(const struct lb_csv_sniff *sniff, const struct head *head,
                              struct lb_error *err)
{
    struct walk walk;
    struct lb_buf names = {0};
    lb_status status = walk_init(&walk, &sniff->dialect, err);
    const char *data = head->data + head->start;
    if (status == LB_OK)
        status = walk_cut(&walk, data, head->size - head->start, err);
    uint32_t n =
        status == LB_OK && walk.index.n_records > 0 ? walk.index.ends[0] & ~LB_CSV_QUOTED : 0;
    if (status == LB_OK)
        status = put_names(&walk, data, n, true, &names, err);
    if (status == LB_OK && n != sniff->n_columns)
        status =
            lb_error_set(err, LB_ERR_DATA, "the header names %u columns, that of the first file %u",
                         n, sniff->n_columns);
    const char *a = names.data, *b = sniff->names.data;
    for (uint32_t i = 0; status == LB_OK && i < n; i++) {
        if (strcmp(a, b) != 0)
            status = lb_error_set(err, LB_ERR_DATA,
                                  "column %u of the header is '%s', in the first file it is '%s'",
                                  i + 1, a, b);
        a += strlen(a) + 1;
        b += strlen(b) + 1;
    }
    lb_buf_fini(&names);
    walk_fini(&walk);
    return status;
}

lb_status lb_csv_sniff_files(struct lb_csv_sniff *sniff, const struct lb_file_list *files,
                             struct lb_error *err)
{
    bool has_sample = false;
    for (size_t i = 0; i < files->n_files; i++) {
        const struct lb_file *file = &files->files[i];
        struct head head = {0};
        if (has_sample && !(sniff->has_header && sniff->checks_headers))
            break;
        if (has_sample && !file->is_regular) /* the scan looks at its header */
            continue;
        lb_status status =
            has_sample ? head_read(&sniff->dialect, file, HEADER_BYTES, 1, &head, err)
                       : head_read(&sniff->dialect, file, SAMPLE_BYTES, ENOUGH_RECORDS, &head, err);
        bool is_empty = status == LB_OK && head.size == head.start;
        if (status == LB_OK && !is_empty)
            status = has_sample ? check_header(sniff, &head, err) : sniff_head(sniff, &head, err);
        has_sample = has_sample || !is_empty;
        head_fini(&head);
        if ((status == LB_ERR_DATA || status == LB_ERR_RESOURCE) &&
            strstr(err->message, lb_file_label(file)) == NULL)
            lb_error_prefix(err, "%s: ", lb_file_label(file));
        LB_TRY(status);
    }
    if (!has_sample)
        return lb_error_set(err, LB_ERR_DATA, "%s: no columns: the input is empty",
                            files->n_files > 0 ? lb_file_label(&files->files[0]) : "csv");
    return LB_OK;
}

void lb_csv_sniff_fini(struct lb_csv_sniff *sniff)
{
    lb_buf_fini(&sniff->names);
    if (sniff->types != NULL)
        lb_free(sniff->types, sniff->types_capacity * sizeof *sniff->types);
    sniff->types = NULL;
}
