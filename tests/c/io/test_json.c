/* The JSON kernel of every instruction set against a loop byte by byte. */
#include "../support/support.h"
#include "core/io/json.h"
#include "core/io/text_kernels.h"

enum { MOST = 700 };

static struct lb_error error;

/* Text of the bytes that matter, exactly sized so that ASan sees each step beyond the padding. What is behind the end must not
 * count. */
static char *random_text(size_t size, uint32_t n_letters)
{
    static const char letters[] = "\"a\\{}[]:, \n\r\t1xyz.-\x80";
    char *text = malloc(size + LB_TEXT_PADDING);
    assert_non_null(text);
    bool has_strings = random_below(2) == 0; /* more bytes inside strings than outside */
    bool is_inside = false;
    for (size_t i = 0; i < size; i++) {
        text[i] = letters[random_below(n_letters)];
        if (has_strings && text[i] == '\n' && is_inside)
            text[i] = 'n';
        is_inside ^= text[i] == '"';
    }
    memset(text + size, "\"{\\"[random_below(3)], LB_TEXT_PADDING);
    return text;
}

/* The marks of text, as json.h says it; returns how many, *seen the bytes that they cover. */
static size_t naive(const char *text, size_t size, bool in_lines, uint32_t *positions, char *kinds,
                    size_t *seen)
{
    size_t n = 0;
    bool is_inside = false, is_escaped = false, in_word = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i], kind = 0;
        bool is_quote = c == '"' && !is_escaped;
        bool ends_line = in_lines && c == '\n';
        is_escaped = c == '\\' && !is_escaped;
        bool continues = in_word;
        in_word = false;
        if (is_quote || ends_line)
            kind = c;
        else if (!is_inside && strchr("{}[]:,", c) != NULL && c != '\0')
            kind = c;
        else if (!is_inside && (c == '\0' || strchr(" \t\r\n", c) == NULL)) {
            in_word = true;
            kind = continues ? 0 : LB_JSON_WORD;
        }
        if (kind != 0) {
            positions[n] = (uint32_t)i;
            kinds[n++] = kind;
        }
        if (ends_line && is_inside) {
            *seen = i + 1;
            return n;
        }
        is_inside ^= is_quote;
    }
    *seen = size;
    return n;
}

static void check(const char *text, size_t size, bool in_lines, struct lb_json_index *index)
{
    static uint32_t positions[MOST];
    static char kinds[MOST];
    size_t seen, n = naive(text, size, in_lines, positions, kinds, &seen);
    memset(index->positions, 0xff, (index->capacity + 64) * sizeof *index->positions);
    lb_json_index(text, size, in_lines, index);
    if (index->seen < seen) { /* for want of room */
        assert_true(index->n + 64 > index->capacity);
        while (n > 0 && positions[n - 1] >= index->seen)
            n--;
    } else {
        assert_int_equal(index->seen, seen);
    }
    assert_int_equal(index->n, n);
    assert_memory_equal(index->positions, positions, n * sizeof *positions);
    assert_memory_equal(index->kinds, kinds, n);
}

static void marks(void **unused)
{
    (void)unused;
    static const uint32_t letters[] = {2, 3, 7, 13, 20};
    random_start("marks");
    for (int simd = 0; simd < LB_N_SIMDS; simd++) {
        if (!lb_text_set_simd((enum lb_simd)simd)) {
            print_message("%s: not on this machine\n", lb_simd_name((enum lb_simd)simd));
            continue;
        }
        struct lb_json_index large = {0}, small = {0};
        assert_int_equal(lb_json_index_init(&large, MOST + 64, &error), LB_OK);
        assert_int_equal(lb_json_index_init(&small, 64, &error), LB_OK);
        for (int turn = 0; turn < 6000; turn++) {
            size_t size = random_below(turn % 2 ? 150 : MOST);
            char *text = random_text(size, letters[random_below(5)]);
            bool in_lines = random_below(2) == 0;
            check(text, size, in_lines, &large);
            check(text, size, in_lines, &small);
            free(text);
        }
        lb_json_index_fini(&large);
        lb_json_index_fini(&small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(marks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
