/* Faults on demand: see fault.h.
 *
 * THREADS the rules are written before the first call is counted (or while one thread runs), then only
 *         read; counters are atomic. */
#include "core/base/fault.h"

#ifdef LB_DEBUG
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_RULES = 8, SHORT = -1 };

/* ORDER fault kinds */
static const struct {
    const char *name;
    int errno_value; /* when none is given */
} kinds[LB_FAULT_KINDS] = {
    {"alloc", ENOMEM}, {"lua", ENOMEM},     {"open", EIO},       {"close", EIO},
    {"read", EIO},     {"pread", EIO},      {"flip", EIO},       {"write", EIO},
    {"pwrite", EIO},   {"stat", EIO},       {"fsync", EIO},      {"ftruncate", EIO},
    {"rename", EIO},   {"link", EIO},       {"unlink", EIO},     {"mkdir", EIO},
    {"rmdir", EIO},    {"thread", EAGAIN},  {"library", ENOMEM}, {"fork", EAGAIN},
    {"kill", EIO},     {"frame_flip", EIO}, {"frame_cut", EIO},  {"frame_foreign", EIO},
};

static const struct {
    const char *name;
    int value;
} errors[] = {
    {"short", SHORT},     {"EACCES", EACCES}, {"EAGAIN", EAGAIN}, {"EBUSY", EBUSY},
    {"EDQUOT", EDQUOT},   {"EEXIST", EEXIST}, {"EFBIG", EFBIG},   {"EINTR", EINTR},
    {"EINVAL", EINVAL},   {"EIO", EIO},       {"EMFILE", EMFILE}, {"ENFILE", ENFILE},
    {"ENOENT", ENOENT},   {"ENOMEM", ENOMEM}, {"ENOSPC", ENOSPC}, {"ENOSYS", ENOSYS},
    {"ENOTSUP", ENOTSUP}, {"EPERM", EPERM},   {"EROFS", EROFS},   {"ESTALE", ESTALE},
    {"EXDEV", EXDEV},
};

struct rule {
    enum lb_fault_kind kind;
    long first, last; /* the calls that fail */
    int errno_value;  /* or SHORT */
};

static pthread_once_t read_once = PTHREAD_ONCE_INIT;
static struct rule rules[MAX_RULES];
static int n_rules;
static bool is_count_wanted;
static char count_path[256]; /* empty: standard error */
static atomic_long n_calls[LB_FAULT_KINDS];
static atomic_long n_failed;

const char *lb_fault_name(enum lb_fault_kind kind)
{
    return kinds[kind].name;
}

long lb_fault_n_failed(void)
{
    return atomic_load(&n_failed);
}

long lb_fault_n_calls(enum lb_fault_kind kind)
{
    return atomic_load(&n_calls[kind]);
}

static bool find_error(const char *name, int *value)
{
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        if (strcmp(errors[i].name, name) == 0) {
            *value = errors[i].value;
            return true;
        }
    }
    return false;
}

/* One rule, of which `text` is cut to pieces. */
static bool read_rule(char *text)
{
    struct rule rule = {0};
    char *colon = strchr(text, ':');

    if (colon == NULL || n_rules == MAX_RULES)
        return false;
    char *end = text + strlen(text) - 1;
    bool is_for_ever = *end == '+';
    if (is_for_ever)
        *end = '\0';
    char *equals = strchr(text, '=');
    *colon = '\0';
    while (rule.kind < LB_FAULT_KINDS && strcmp(kinds[rule.kind].name, text) != 0)
        rule.kind++;
    if (rule.kind == LB_FAULT_KINDS)
        return false;
    rule.errno_value = kinds[rule.kind].errno_value;
    if (equals != NULL) {
        *equals = '\0';
        if (!find_error(equals + 1, &rule.errno_value))
            return false;
    }
    rule.first = rule.last = strtol(colon + 1, &end, 10);
    if (is_for_ever)
        rule.last = LONG_MAX;
    else if (*end == '-')
        rule.last = strtol(end + 1, &end, 10);
    rules[n_rules++] = rule;
    return *end == '\0' && rule.first > 0 && rule.last >= rule.first;
}

bool lb_fault_arm(const char *text)
{
    char copy[256];
    char *rest;
    bool is_good = strlen(text) < sizeof copy;

    n_rules = 0;
    is_count_wanted = false;
    atomic_store(&n_failed, 0);
    for (int i = 0; i < LB_FAULT_KINDS; i++)
        atomic_store(&n_calls[i], 0);
    snprintf(copy, sizeof copy, "%s", text);
    for (char *at = strtok_r(copy, ",", &rest); at != NULL && is_good;
         at = strtok_r(NULL, ",", &rest)) {
        if (strcmp(at, "count") == 0 || strncmp(at, "count=", 6) == 0) {
            is_count_wanted = true;
            snprintf(count_path, sizeof count_path, "%s", at[5] == '=' ? at + 6 : "");
        } else {
            is_good = read_rule(at);
        }
    }
    return is_good;
}

/* With plain calls: nothing of this may be counted, fail or allocate. */
static void tell_counts(void)
{
    char line[LB_FAULT_KINDS * 32 + 64];
    int size = 0;

    if (!is_count_wanted)
        return;
    for (int i = 0; i < LB_FAULT_KINDS; i++)
        size += snprintf(line + size, sizeof line - (size_t)size, "%s %ld ", kinds[i].name,
                         atomic_load(&n_calls[i]));
    size +=
        snprintf(line + size, sizeof line - (size_t)size, "failed %ld\n", atomic_load(&n_failed));
    int fd = STDERR_FILENO;
    if (*count_path != '\0')
        fd = open(count_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd >= 0)
        (void)!write(fd, line, (size_t)size);
    if (fd > STDERR_FILENO)
        close(fd);
}

static void read_environment(void)
{
    const char *text = getenv("LUABATCH_FAULT");

    if (text == NULL)
        return;
    if (!lb_fault_arm(text)) {
        fprintf(stderr, "luabatch: LUABATCH_FAULT=%s is not understood: see base/fault.h\n", text);
        _exit(2);
    }
    lb_fault_find_libraries();
    atexit(tell_counts);
}

/* A place for a debugger to stop at. */
static __attribute__((noinline)) void note_failure(void)
{
    atomic_fetch_add(&n_failed, 1);
}

static bool is_of_system(enum lb_fault_kind kind)
{
    return kind >= LB_FAULT_OPEN && kind <= LB_FAULT_RMDIR && kind != LB_FAULT_FLIP;
}

bool lb_fault(enum lb_fault_kind kind, size_t *size)
{
    pthread_once(&read_once, read_environment);
    if (is_of_system(kind))
        (void)lb_fault(LB_FAULT_KILL, NULL);
    long n = atomic_fetch_add(&n_calls[kind], 1) + 1;
    for (int i = 0; i < n_rules; i++) {
        const struct rule *rule = &rules[i];
        if (rule->kind != kind || n < rule->first || n > rule->last)
            continue;
        note_failure();
        if (kind == LB_FAULT_KILL)
            raise(SIGKILL);
        if (rule->errno_value != SHORT) {
            errno = rule->errno_value;
            return true;
        }
        if (size != NULL)
            *size = (*size + 1) / 2;
    }
    return false;
}
#else
typedef int lb_fault_unused; /* a translation unit may not be empty */
#endif
