/* Patterns whose meaning is written in Lua's manual, the messages for malformed ones, and random
 * patterns against a matcher of twenty lines. (tests/c/lua_bindings/test_strings.c compares with
 * Lua itself.) */
#include "../support/support.h"

#include "core/algo/pattern.h"

static struct lb_error failure;

#define MUST(call)                                      \
    do {                                                \
        if ((call) != LB_OK)                            \
            fail_msg("%s: %s", #call, failure.message); \
    } while (0)

static struct lb_pattern *compile(const char *text, size_t size)
{
    struct lb_pattern *pattern = NULL;
    if (lb_pattern_new(text, size, &pattern, &failure) != LB_OK)
        fail_msg("%s: %s", text, failure.message);
    return pattern;
}

/* "start-end capture,capture" with positions as in Lua, captures as text or @position; "none". */
static void describe(const char *subject, const struct lb_match *match, bool found, char *out)
{
    if (!found) {
        strcpy(out, "none");
        return;
    }
    out += sprintf(out, "%td-%td", match->start - subject + 1, match->end - subject);
    for (uint32_t i = 0; i < match->n_captures; i++) {
        const struct lb_capture *c = &match->captures[i];
        *out++ = i == 0 ? ' ' : ',';
        if (c->size < 0)
            out += sprintf(out, "@%td", c->data - subject + 1);
        else
            out += sprintf(out, "%.*s", (int)c->size, c->data);
    }
    *out = 0;
}

static void check_find(const char *text, const char *subject, size_t from, const char *expected)
{
    struct lb_pattern *pattern = compile(text, strlen(text));
    struct lb_match match;
    bool found;
    char got[500];
    MUST(lb_pattern_find(pattern, subject, strlen(subject), from, &match, &found, &failure));
    describe(subject, &match, found, got);
    if (strcmp(got, expected) != 0)
        fail_msg("'%s' in '%s': expected %s, got %s", text, subject, expected, got);
    lb_pattern_delete(pattern);
}

static void test_find(void **state)
{
    (void)state;
    check_find("", "abc", 0, "1-0");
    check_find("", "abc", 3, "4-3");
    check_find("", "abc", 4, "none");
    check_find("b", "abc", 0, "2-2");
    check_find("bc", "abc", 0, "2-3");
    check_find("bd", "abc", 0, "none");
    check_find("^b", "abc", 0, "none");
    check_find("^b", "abc", 1, "2-2");
    check_find("c$", "abc", 0, "3-3");
    check_find("b$", "abc", 0, "none");
    check_find("$", "abc", 0, "4-3");
    check_find("a$b", "xa$b", 0, "2-4");
    check_find("\"%u+ (%S+)", "- \"GET /index.html HTTP/1.1\" 200", 0, "3-18 /index.html");
    check_find("^(%S+) (%S+)", "one two three", 0, "1-7 one,two");
    check_find("(%d+)$", "12 apples 345", 0, "11-13 345");
    check_find("(%d*)$", "12 apples", 0, "10-9 ");
    check_find("(%d+)$", "12 apples", 0, "none");
    check_find("^%s*(.-)%s*$", "  trim me  ", 0, "1-11 trim me");
    check_find("(%w+)%s*=%s*(%w+)", "some key = value", 0, "6-16 key,value");
    check_find("%[(.-)%]", "a [b] [c]", 0, "3-5 b");
    check_find("%[(.*)%]", "a [b] [c]", 0, "3-9 b] [c");
    check_find(".*/(%S*)", "/usr/lib/lua x", 0, "1-12 lua");
    check_find("()ll()", "hello", 0, "3-4 @3,@5");
    check_find("%b()", "f(a(b)c) d)", 0, "2-8");
    check_find("%b||", "a|b|c|", 0, "2-4");
    check_find("%f[%a]%a+%f[%A]", "12 words, here", 0, "4-8");
    check_find("%f[%z]", "abc", 0, "4-3");
    check_find("(.)%1", "hello", 0, "3-4 l");
    check_find("(['\"])(.-)%1", "say \"it's\" now", 0, "5-10 \",it's");
    check_find("()%1", "aa", 0, "none");
    check_find("[]]", "a]b", 0, "2-2");
    check_find("[^]]", "]]b", 0, "3-3");
    check_find("[a-]+", "x-a-y", 0, "2-4");
    check_find("[%a_][%w_]*", "1 name_2 = 3", 0, "3-8");
    check_find("a?b?c?d", "abd", 0, "1-3");
    check_find("a-b", "aaab", 0, "1-4");
    check_find("a+a", "aaaa", 0, "1-4");
    check_find("[ab]+b", "abab-", 0, "1-4");
    check_find("((a)(b))", "xab", 0, "2-3 ab,a,b");
    check_find("x*", "abc", 0, "1-0");
    check_find("^*a", "^^*a", 0, "none");
    check_find("*a", "^^*a", 0, "3-4");
}

static void check_malformed(const char *text, size_t size, const char *message)
{
    struct lb_pattern *pattern = NULL;
    lb_status status = lb_pattern_new(text, size, &pattern, &failure);
    assert_int_equal(status, LB_ERR_USAGE);
    assert_string_equal(failure.message, message);
}

static void test_malformed(void **state)
{
    (void)state;
    check_malformed("a%", 2, "malformed pattern (ends with '%')");
    check_malformed("[a", 2, "malformed pattern (missing ']')");
    check_malformed("[]", 2, "malformed pattern (missing ']')");
    check_malformed("[^]", 3, "malformed pattern (missing ']')");
    check_malformed("[a%]", 4, "malformed pattern (missing ']')");
    check_malformed("[%", 2, "malformed pattern (missing ']')");
    check_malformed("^[", 2, "malformed pattern (missing ']')");
    check_malformed("%b", 2, "malformed pattern (missing arguments to '%b')");
    check_malformed("%bx", 3, "malformed pattern (missing arguments to '%b')");
    check_malformed("%fa", 3, "missing '[' after '%f' in pattern");
    check_malformed("%f", 2, "missing '[' after '%f' in pattern");
    check_malformed("a)", 2, "invalid pattern capture");
    check_malformed("(a", 2, "unfinished capture");
    check_malformed("%1", 2, "invalid capture index %1");
    check_malformed("(a%1)", 5, "invalid capture index %1");
    check_malformed("(a)%0", 5, "invalid capture index %0");
    check_malformed("()()()()()()()()()()()()()()()()()()()()()()()()()()()()()()()()()", 66,
                    "too many captures");
}

/* The matches one after the other, as gmatch gives them. */
static void check_next(const char *text, const char *subject, const char *expected)
{
    struct lb_pattern *pattern = compile(text, strlen(text));
    struct lb_match match;
    bool found = true;
    char got[500] = "";
    size_t from = 0;
    const char *last_end = NULL;
    for (;;) {
        MUST(lb_pattern_next(pattern, subject, strlen(subject), from, last_end, &match, &found,
                             &failure));
        if (!found)
            break;
        last_end = match.end;
        from = (size_t)(match.end - subject);
        describe(subject, &match, found, got + strlen(got));
        strcat(got, ";");
    }
    if (strcmp(got, expected) != 0)
        fail_msg("'%s' in '%s': expected %s, got %s", text, subject, expected, got);
    lb_pattern_delete(pattern);
}

static void test_next(void **state)
{
    (void)state;
    check_next("%a+", "one two", "1-3;5-7;");
    check_next("x*", "axb", "1-0;2-2;4-3;");
    check_next("([^,]*)", "a,,b", "1-1 a;3-2 ;4-4 b;");
    check_next("^a", "^a^a", "1-2;3-4;");
    check_next("$", "ab", "3-2;");
    check_next("%s*$", "ab  ", "3-4;");
    check_next("()", "ab", "1-0 @1;2-1 @2;3-2 @3;");
}

static void test_run(void **state)
{
    (void)state;
    static const char *const runs[] = {"%a+", "(%a+)", "[%a]+"};
    static const char *const others[] = {"%a*", "()%a+", "%a+%d", "%a+$", "^%a+", "((%a+))", "%a-"};
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        struct lb_pattern *pattern = compile(runs[i], strlen(runs[i]));
        assert_non_null(lb_pattern_run(pattern));
        lb_pattern_delete(pattern);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct lb_pattern *pattern = compile(others[i], strlen(others[i]));
        assert_null(lb_pattern_run(pattern));
        lb_pattern_delete(pattern);
    }
}

/* What Lua's limit of 200 nested calls means: 199 repetitions match, 200 do not. */
static void test_depth(void **state)
{
    (void)state;
    char text[600], subject[400];
    struct lb_match match;
    bool found;
    memset(subject, 'a', sizeof subject);
    for (size_t n = 190; n < 210; n++) {
        for (size_t i = 0; i < n; i++)
            memcpy(text + 2 * i, "a?", 2);
        struct lb_pattern *pattern = compile(text, 2 * n);
        lb_status status =
            lb_pattern_find(pattern, subject, sizeof subject, 0, &match, &found, &failure);
        assert_int_equal(status, n < 200 ? LB_OK : LB_ERR_USAGE);
        assert_int_equal(lb_pattern_is_deep(pattern), n >= 200);
        if (status != LB_OK)
            assert_string_equal(failure.message, "pattern too complex");
        MUST(lb_pattern_find(pattern, "b", 1, 0, &match, &found, &failure));
        lb_pattern_delete(pattern);
    }
}

/* ---- random patterns against a naive matcher ---- */

struct piece {
    char letter; /* 'a', 'b', '.' or '!' (not a) */
    char quantifier;
};

static bool fits(const struct piece *piece, char byte)
{
    return piece->letter == '.' || (piece->letter == '!' ? byte != 'a' : byte == piece->letter);
}

static const char *naive(const struct piece *pieces, size_t n, const char *s, const char *end)
{
    if (n == 0)
        return s;
    size_t most = 0, room = (size_t)(end - s);
    size_t least = pieces->quantifier == '+' || pieces->quantifier == 0;
    size_t limit = pieces->quantifier == 0 || pieces->quantifier == '?' ? 1 : room;
    while (most < limit && most < room && fits(pieces, s[most]))
        most++;
    bool is_lazy = pieces->quantifier == '-';
    for (size_t i = least; i <= most; i++) {
        const char *e = naive(pieces + 1, n - 1, s + (is_lazy ? i : most + least - i), end);
        if (e != NULL)
            return e;
    }
    return NULL;
}

static void test_random(void **state)
{
    (void)state;
    random_start("pattern");
    for (int i = 0; i < 20000; i++) {
        struct piece pieces[6];
        char text[40] = "", subject[100];
        size_t n = random_below(6), size = random_below(i % 8 == 0 ? 100 : 12);
        for (size_t j = 0; j < n; j++) {
            pieces[j].letter = "ab.!"[random_below(4)];
            pieces[j].quantifier = "\0\0*+-?"[random_below(6)];
            strcat(text, pieces[j].letter == '!' ? "[^a]" : (char[]){pieces[j].letter, 0});
            strcat(text, (char[]){pieces[j].quantifier, 0});
        }
        for (size_t j = 0; j < size; j++)
            subject[j] = "aaabbc"[random_below(6)];
        struct lb_pattern *pattern = compile(text, strlen(text));
        char *memory = malloc(lb_pattern_bytes(pattern));
        assert_non_null(memory);
        const struct lb_pattern *copy = lb_pattern_copy(pattern, memory);
        lb_pattern_delete(pattern);
        struct lb_match match;
        bool found;
        size_t from = random_below((uint32_t)size + 1);
        MUST(lb_pattern_find(copy, subject, size, from, &match, &found, &failure));
        const char *start = subject + from, *end = NULL;
        while (start <= subject + size && (end = naive(pieces, n, start, subject + size)) == NULL)
            start++;
        if (found != (end != NULL) || (found && (match.start != start || match.end != end)))
            fail_msg("'%s' in '%.*s' from %zu", text, (int)size, subject, from);
        free(memory);
    }
}

static void test_memory(void **state)
{
    (void)state;
    for (long fail_at = 0; fail_at < 2; fail_at++) {
        struct lb_pattern *pattern = NULL;
        checked_start(fail_at);
        assert_int_equal(lb_pattern_new("^(%a+)=", 7, &pattern, &failure), LB_ERR_RESOURCE);
        assert_true(checked_stop());
    }
    checked_start(-1);
    lb_pattern_delete(compile("^(%a+)=[abc]-x", 14));
    lb_pattern_delete(NULL);
    checked_stop();
}

static bool ask(void *state)
{
    int *n = state;
    return --*n == 0;
}

/* Patterns that would match for longer than anybody waits are given up when asked to. */
static void test_stopped(void **state)
{
    (void)state;
    static const char *const patterns[] = {
        "a*a*a*a*a*a*a*a*a*a*a*b", "a-a-a-a-a-a-a-a-a-a-a-b",
        "a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?b",
        "(a*)(a*)(a*)(a*)(a*)(a*)(a*)(a*)%1b", "[^b]*[^c]*[^d]*[^e]*!"};
    char subject[4000];
    memset(subject, 'a', sizeof subject);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        struct lb_pattern *pattern = NULL;
        struct lb_match match;
        bool found;
        int n = 3;
        MUST(lb_pattern_new(patterns[i], strlen(patterns[i]), &pattern, &failure));
        lb_pattern_ask(ask, &n);
        assert_int_equal(
            lb_pattern_find(pattern, subject, sizeof subject, 0, &match, &found, &failure),
            LB_ERR_CANCELLED);
        assert_int_equal(n, 0);
        assert_false(found);
        lb_pattern_ask(NULL, NULL);
        MUST(lb_pattern_find(pattern, "aab!", 4, 0, &match, &found, &failure));
        lb_pattern_delete(pattern);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),   cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_next),   cmocka_unit_test(test_run),
        cmocka_unit_test(test_depth),  cmocka_unit_test(test_random),
        cmocka_unit_test(test_memory), cmocka_unit_test(test_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
