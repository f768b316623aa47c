/* CSV text: the kernels of every instruction set against a loop byte by byte, for any dialect and any room for positions; the text
 * of fields against a parser that knows nothing of them.
 *
 * INPUT  bytes: dialect, room for positions, room for records, where to begin reading; text. */
#include "core/base/arena.h"
#include "core/io/csv.h"
#include "core/io/text_kernels.h"
#include "fuzz.h"

enum { MOST = 4000 };

static const struct {
    const char *separator, *quote;
} dialects[] = {{",", "\""}, {"\t", ""}, {";", "'"},   {"||", "\""},
                {",,", ""},  {" ", "a"}, {"aba", "\""}};

/* One record: the marks that end its fields, counted from the text's start. */
struct record {
    size_t first, n; /* in marks */
    bool has_quote;
};

struct text {
    const struct lb_csv_dialect *dialect;
    const char *data;
    size_t size;
    uint32_t marks[MOST];
    struct record records[MOST];
    size_t n_records;
    size_t n_marks; /* those behind the last whole record included */
};

static bool is_separator(const struct text *text, size_t at)
{
    size_t n = text->dialect->separator_size;
    return text->size - at >= n && memcmp(text->data + at, text->dialect->separator, n) == 0;
}

static void cut_naively(struct text *text)
{
    bool inside = false, has_quote = false;
    size_t first = 0;
    text->n_marks = text->n_records = 0;
    for (size_t at = 0; at < text->size; at++) {
        bool is_quote = (unsigned char)text->data[at] == text->dialect->quote;
        inside ^= is_quote;
        has_quote |= is_quote;
        if (is_quote || inside)
            continue;
        if (text->data[at] == '\n') {
            text->marks[text->n_marks++] = (uint32_t)at;
            text->records[text->n_records++] =
                (struct record){first, text->n_marks - first, has_quote};
            first = text->n_marks;
            has_quote = false;
        } else if (is_separator(text, at)) {
            text->marks[text->n_marks++] = (uint32_t)at;
            at += text->dialect->separator_size - 1;
        }
    }
}

/* The index holds the first records, each with all its marks; all of them unless it says that it is full. */
static void check_index(const struct text *text, const struct lb_csv_index *index)
{
    size_t last = 0;
    CHECK(index->n_records <= text->n_records && index->n_records <= index->max_records);
    for (uint32_t i = 0; i < index->n_records; i++) {
        const struct record *record = &text->records[i];
        last = record->first + record->n;
        CHECK(index->ends[i] == ((uint32_t)last | (record->has_quote ? LB_CSV_QUOTED : 0)));
    }
    CHECK(memcmp(index->positions, text->marks, last * sizeof *text->marks) == 0);
    CHECK(index->is_full || index->n_records == text->n_records);
    /* One that is full has used its room, or could not take another 64 positions. */
    CHECK(!index->is_full || index->n_records == index->max_records ||
          text->n_marks + 64 > index->capacity);
}

static void check_ends(const struct text *text, size_t from, bool begins_inside)
{
    const struct lb_csv_dialect *dialect = text->dialect;
    const char *data = text->data + from;
    size_t size = text->size - from, first = 0, last = 0, quotes = 0;
    bool inside = begins_inside && dialect->quote >= 0, is_inside = inside, first_inside = inside;
    bool stop_inside = inside;
    for (size_t at = 0; at < size; at++) {
        if ((unsigned char)data[at] == dialect->quote) {
            inside = !inside;
            quotes++;
        } else if (data[at] == '\n' && !inside) {
            last = at + 1;
            if (first == 0) {
                first = last;
                stop_inside = inside;
            }
        }
    }
    stop_inside = first == 0 ? inside : stop_inside;
    CHECK(lb_csv_last_end(dialect, data, size, &is_inside) == last);
    CHECK(is_inside == inside);
    CHECK(lb_csv_first_end(dialect, data, size, &first_inside) == first);
    CHECK(first_inside == stop_inside);
    CHECK(dialect->quote < 0 || lb_csv_count(data, size, (char)dialect->quote) == quotes);
}

/* The field's text by the rules alone; false: it is not well formed. */
static bool naive_field(const char *field, size_t size, int quote, char *out, size_t *n)
{
    *n = 0;
    if (size > 0 && (unsigned char)field[0] == quote) {
        size_t at = 1;
        for (; at < size; at++) {
            if ((unsigned char)field[at] == quote) {
                if (at + 1 == size || (unsigned char)field[at + 1] != quote)
                    break;
                at++;
            }
            out[(*n)++] = field[at];
        }
        return at + 1 == size && (unsigned char)field[at] == quote;
    }
    for (size_t at = 0; at < size; at++) {
        if ((unsigned char)field[at] == quote)
            return false;
        out[(*n)++] = field[at];
    }
    return true;
}

static void check_field(const struct lb_csv_dialect *dialect, const char *field, size_t size,
                        struct lb_arena *arena)
{
    char *exact = fuzz_copy(field, size, 0, 0), *wanted = malloc(size + 1);
    CHECK(wanted != NULL);
    size_t n = 0, got_size = size;
    const char *got = exact;
    bool is_quoted = false, is_sound = naive_field(exact, size, dialect->quote, wanted, &n);
    CHECK(lb_csv_field_is_sound(dialect, exact, size) == is_sound);
    if (is_sound) {
        MUST(lb_csv_field_text(dialect, &got, &got_size, &is_quoted, arena, &fuzz_error));
        CHECK(got_size == n && memcmp(got, wanted, n) == 0);
        CHECK(is_quoted == (size > 0 && (unsigned char)exact[0] == dialect->quote));
    }
    free(exact);
    free(wanted);
}

static void check_fields(const struct text *text)
{
    struct lb_arena arena;
    lb_arena_init(&arena, 256);
    size_t from = lb_csv_bom(text->data, text->size);
    CHECK(from == 0 || memcmp(text->data, "\xef\xbb\xbf", 3) == 0);
    from = 0;
    for (size_t i = 0; i < text->n_marks; i++) {
        size_t to = text->marks[i];
        bool is_newline = text->data[to] == '\n';
        check_field(text->dialect, text->data + from, to - from, &arena);
        from = to + (is_newline ? 1 : text->dialect->separator_size);
    }
    check_field(text->dialect, text->data + from, text->size - from, &arena);
    lb_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct lb_csv_dialect dialect;
    uint32_t kind = fuzz_below(&input, sizeof dialects / sizeof *dialects);
    uint32_t room = 64 + fuzz_byte(&input), max_records = 1 + fuzz_byte(&input);
    size_t from = fuzz_byte(&input);
    bool begins_inside = from & 1;
    if (input.size > MOST)
        return 0;
    fuzz_begin();
    MUST(lb_csv_dialect_set(&dialect, dialects[kind].separator, strlen(dialects[kind].separator),
                            dialects[kind].quote, strlen(dialects[kind].quote), &fuzz_error));
    static struct text text;
    text.dialect = &dialect;
    text.data = fuzz_copy(input.data, input.size, LB_TEXT_PADDING, kind & 1 ? '\n' : '"');
    text.size = input.size;
    cut_naively(&text);
    from = from < text.size ? from : text.size;
    for (int simd = LB_SIMD_SWAR; simd < LB_N_SIMDS; simd++) {
        if (!lb_text_set_simd((enum lb_simd)simd))
            continue;
        for (int is_tight = 0; is_tight < 2; is_tight++) {
            struct lb_csv_index index = {.capacity = is_tight ? room : MOST + 64,
                                         .max_records = is_tight ? max_records : MOST};
            index.positions = malloc((index.capacity + 64) * sizeof *index.positions);
            index.ends = malloc(index.max_records * sizeof *index.ends);
            CHECK(index.positions != NULL && index.ends != NULL);
            lb_csv_index(&dialect, text.data, text.size, &index);
            check_index(&text, &index);
            free(index.positions);
            free(index.ends);
        }
        check_ends(&text, 0, false);
        check_ends(&text, from, begins_inside);
    }
    check_fields(&text);
    free((char *)text.data);
    return fuzz_end();
}
