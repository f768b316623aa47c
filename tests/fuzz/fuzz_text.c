/* The text kernels of every instruction set against loops byte by byte: lines, words, fields, lower case, counting. The text
 * comes to light piece by piece, and views are asked for a few at a time, so that every cut in every place is met.
 *
 * INPUT  bytes: how much comes to light at once, views at once, number of a field, length of a separator; the separator; text. */
#include "core/io/text.h"
#include "core/io/text_kernels.h"
#include "fuzz.h"

enum { MOST = 8000 };

typedef size_t cut_function(const char **cursor, const char *end, bool at_end,
                            struct lb_view *views, size_t max);

struct piece {
    size_t from, size;
};

static bool is_blank(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static size_t naive_lines(const char *text, size_t size, struct piece *pieces)
{
    size_t n = 0, from = 0;
    for (size_t at = 0; at <= size; at++) {
        if (at == size ? from == size : text[at] != '\n')
            continue;
        size_t length = at - from;
        length -= length > 0 && text[at - 1] == '\r';
        pieces[n++] = (struct piece){from, length};
        from = at + 1;
    }
    return n;
}

static size_t naive_words(const char *text, size_t size, struct piece *pieces)
{
    size_t n = 0;
    for (size_t at = 0; at < size;) {
        size_t from = at;
        while (at < size && !is_blank(text[at]))
            at++;
        if (at > from)
            pieces[n++] = (struct piece){from, at - from};
        at += at < size;
    }
    return n;
}

/* The view as it must be, each of its 16 bytes. */
static void check_view(const struct lb_view *view, const char *data, size_t size)
{
    struct lb_view wanted;
    lb_view_set(&wanted, data, size);
    CHECK(memcmp(view, &wanted, sizeof wanted) == 0);
}

static void check_cut(cut_function *cut, const char *text, size_t size, size_t step, size_t max,
                      const struct piece *wanted, size_t n_wanted)
{
    struct lb_view views[256];
    const char *cursor = text;
    size_t n = 0, shown = 0;
    while (shown < size) {
        shown = size - shown < step ? size : shown + step;
        for (;;) {
            const char *before = cursor;
            size_t got = cut(&cursor, text + shown, shown == size, views, max);
            CHECK(got <= max && cursor >= before && cursor <= text + shown);
            for (size_t i = 0; i < got; i++, n++) {
                CHECK(n < n_wanted);
                check_view(&views[i], text + wanted[n].from, wanted[n].size);
            }
            if (got < max)
                break;
        }
    }
    CHECK(n == n_wanted);
    CHECK(cursor == text + size);
}

static void check_fields(const char *line, size_t size, uint32_t n, const char *sep,
                         size_t sep_size)
{
    char *exact = fuzz_copy(line, size, 0, 0);
    struct lb_view view;
    struct piece *words = malloc((size + 1) * sizeof *words);
    CHECK(words != NULL);
    size_t n_words = naive_words(exact, size, words);
    bool is_there = lb_text_field_blank(exact, size, n, &view);
    CHECK(is_there == (n >= 1 && n <= n_words));
    if (is_there)
        check_view(&view, exact + words[n - 1].from, words[n - 1].size);
    free(words);
    size_t from = 0, number = 1;
    for (size_t at = 0;;) {
        bool is_end = at + sep_size > size;
        if (is_end || memcmp(exact + at, sep, sep_size) == 0) {
            size_t to = is_end ? size : at;
            if (number == n || is_end) {
                CHECK(lb_text_field_sep(exact, size, n, sep, sep_size, &view) == (number == n));
                if (number == n)
                    check_view(&view, exact + from, to - from);
                break;
            }
            number++;
            at = from = at + sep_size;
        } else {
            at++;
        }
    }
    free(exact);
}

static void check_lower(const char *text, size_t size)
{
    char *lower = malloc(size + 1);
    CHECK(lower != NULL);
    size_t newlines = 0;
    lb_text_lower(text, size, lower);
    for (size_t i = 0; i < size; i++) {
        CHECK(lower[i] == (text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]));
        newlines += text[i] == '\n';
    }
    CHECK(lb_text_count_newlines(text, size) == newlines);
    free(lower);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    size_t step = 1 + fuzz_byte(&input), max = 1 + fuzz_below(&input, 255);
    uint32_t n = fuzz_byte(&input);
    size_t sep_size = 1 + fuzz_below(&input, 4);
    if (input.size < sep_size || input.size > MOST)
        return 0;
    const char *sep = (const char *)input.data;
    size_t n_text = input.size - sep_size;
    char *text = fuzz_copy(sep + sep_size, n_text, LB_TEXT_PADDING, sep[0]);
    struct piece *lines = malloc((n_text + 1) * sizeof *lines);
    struct piece *words = malloc((n_text + 1) * sizeof *words);
    CHECK(lines != NULL && words != NULL);
    size_t n_lines = naive_lines(text, n_text, lines), n_words = naive_words(text, n_text, words);
    for (int simd = LB_SIMD_SWAR; simd < LB_N_SIMDS; simd++) {
        if (!lb_text_set_simd((enum lb_simd)simd))
            continue;
        check_cut(lb_text_lines, text, n_text, step, max, lines, n_lines);
        check_cut(lb_text_lines, text, n_text, MOST, 256, lines, n_lines);
        check_cut(lb_text_words, text, n_text, step, max, words, n_words);
        check_cut(lb_text_words, text, n_text, MOST, 256, words, n_words);
        for (size_t i = 0; i < n_lines && i < 20; i++)
            check_fields(text + lines[i].from, lines[i].size, n, sep, sep_size);
        check_fields(text, n_text, n, sep, sep_size);
        check_lower(text, n_text);
    }
    free(lines);
    free(words);
    free(text);
    return 0;
}
