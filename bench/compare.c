/* Compares two results, line by line: programs that add floats in another order give other last digits.
 *
 * CALLS  compare A B: exit status 0 when they are equal; else 1, and the first two lines that differ.
 *
 * IDEA   Both files are sorted, and every line begins with what makes it unique, so that equal records
 *        stand in the same place. Lines are cut at commas outside quotes; fields are equal when their bytes
 *        are, or when both are numbers and differ by at most 1e-9 of the larger or by 1e-12: the latter
 *        because sums of terms that cancel have no exact digits at all. Two integers must be the same. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* The end of the field at text. */
static const char *field_end(const char *text)
{
    bool is_quoted = false;
    for (; *text && (is_quoted || *text != ','); text++)
        if (*text == '"')
            is_quoted = !is_quoted;
    return text;
}

static bool is_integer(const char *text, size_t size)
{
    return strspn(text, "-0123456789") >= size;
}

static bool same_field(const char *a, size_t a_size, const char *b, size_t b_size)
{
    if (a_size == b_size && memcmp(a, b, a_size) == 0)
        return true;
    if (is_integer(a, a_size) && is_integer(b, b_size))
        return false;
    char *a_end, *b_end;
    double x = strtod(a, &a_end), y = strtod(b, &b_end);
    if (a_size == 0 || b_size == 0 || a_end != a + a_size || b_end != b + b_size)
        return false;
    return fabs(x - y) <= fmax(1e-9 * fmax(fabs(x), fabs(y)), 1e-12);
}

static bool same_line(const char *a, const char *b)
{
    for (;;) {
        const char *a_end = field_end(a), *b_end = field_end(b);
        if (!same_field(a, (size_t)(a_end - a), b, (size_t)(b_end - b)) || *a_end != *b_end)
            return false;
        if (!*a_end)
            return true;
        a = a_end + 1;
        b = b_end + 1;
    }
}

/* The next line without its end, or NULL. */
static char *next_line(FILE *file, char **line, size_t *capacity)
{
    ssize_t size = getline(line, capacity, file);
    if (size < 0)
        return NULL;
    if (size > 0 && (*line)[size - 1] == '\n')
        (*line)[size - 1] = '\0';
    return *line;
}

int main(int argc, char **argv)
{
    FILE *files[2] = {NULL, NULL};
    char *lines[2] = {NULL, NULL};
    size_t capacities[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        files[i] = argc == 3 ? fopen(argv[i + 1], "r") : NULL;
        if (!files[i]) {
            fprintf(stderr, "compare: two files are needed\n");
            return 2;
        }
    }
    for (long number = 1;; number++) {
        const char *a = next_line(files[0], &lines[0], &capacities[0]);
        const char *b = next_line(files[1], &lines[1], &capacities[1]);
        if (!a && !b)
            return 0;
        if (!a || !b || (strcmp(a, b) != 0 && !same_line(a, b))) {
            fprintf(stderr, "compare: line %ld: '%.200s', '%.200s'\n", number, a ? a : "(end)",
                    b ? b : "(end)");
            return 1;
        }
    }
}
