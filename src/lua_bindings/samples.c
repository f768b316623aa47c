/* Sampling of user code; see samples.h. */
#include "lua_bindings/samples.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/base/sys.h"

enum { INTERVAL_NS = 2000000 };

lb_status lb_lua_sampler_start(int signal_number, struct lb_lua_sampler **sampler,
                               struct lb_error *err)
{
    struct lb_lua_sampler *self = lb_alloc_zero(sizeof *self);
    if (self == NULL)
        return lb_error_memory(err, "samples of user code", sizeof *self);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signal_number};
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &self->timer) != 0) {
        lb_status status = lb_error_system(err, errno, "cannot make a timer to sample user code");
        lb_free(self, sizeof *self);
        return status;
    }
    struct itimerspec times = {.it_interval.tv_nsec = INTERVAL_NS, .it_value.tv_nsec = INTERVAL_NS};
    timer_settime(self->timer, 0, &times, NULL);
    *sampler = self;
    return LB_OK;
}

/* Adds n to a line. */
static void add(struct lb_lua_samples *samples, const char *source, int line, uint64_t n)
{
    samples->n += n;
    uint64_t hash = lb_hash_bytes(source, strlen(source)) + (uint64_t)line * 0x9e3779b97f4a7c15u;
    for (uint32_t i = (uint32_t)(hash >> 20);; i++) {
        struct lb_lua_sample_line *slot = &samples->lines[i % LB_SAMPLE_LINES];
        if (slot->n == 0) {
            if (samples->n_lines >= LB_SAMPLE_LINES / 4 * 3)
                break;
            samples->n_lines++;
            memcpy(slot->source, source, strlen(source) + 1);
            slot->line = line;
        } else if (slot->line != line || strcmp(slot->source, source) != 0) {
            continue;
        }
        slot->n += n;
        return;
    }
    samples->n_elsewhere += n;
}

void lb_lua_sample(struct lb_lua_sampler *sampler, lua_State *L, lua_Debug *ar)
{
    /* What a library's function takes is its caller's. */
    lua_Debug frame = *ar;
    for (int level = 0; level == 0 || lua_getstack(L, level, &frame); level++) {
        lua_getinfo(L, "Sl", &frame);
        if (frame.currentline > 0 && strncmp(frame.source, "=[luabatch]", 11) != 0) {
            add(&sampler->samples, frame.short_src, frame.currentline, 1);
            return;
        }
    }
}

void lb_lua_sampler_stop(struct lb_lua_sampler *sampler, struct lb_lua_sample_sum *sum)
{
    if (sampler == NULL)
        return;
    timer_delete(sampler->timer);
    pthread_mutex_lock(&sum->lock);
    for (uint32_t i = 0; i < LB_SAMPLE_LINES; i++) {
        const struct lb_lua_sample_line *line = &sampler->samples.lines[i];
        if (line->n > 0)
            add(&sum->samples, line->source, line->line, line->n);
    }
    sum->samples.n += sampler->samples.n_elsewhere;
    sum->samples.n_elsewhere += sampler->samples.n_elsewhere;
    pthread_mutex_unlock(&sum->lock);
    lb_free(sampler, sizeof *sampler);
}

struct lb_lua_sample_sum *lb_lua_sample_sum_new(struct lb_error *err)
{
    struct lb_lua_sample_sum *sum = lb_alloc_zero(sizeof *sum);
    if (sum == NULL) {
        (void)lb_error_memory(err, "samples of user code", sizeof *sum);
        return NULL;
    }
    pthread_mutex_init(&sum->lock, NULL);
    return sum;
}

void lb_lua_sample_sum_delete(struct lb_lua_sample_sum *sum)
{
    if (sum == NULL)
        return;
    pthread_mutex_destroy(&sum->lock);
    lb_free(sum, sizeof *sum);
}

static int compare(const void *left, const void *right)
{
    const struct lb_lua_sample_line *a = left, *b = right;
    if (a->n != b->n)
        return a->n < b->n ? 1 : -1;
    int order = strcmp(a->source, b->source);
    return order != 0 ? order : a->line - b->line;
}

void lb_lua_push_samples(lua_State *L, const struct lb_lua_sample_sum *sum)
{
    struct lb_lua_samples *copy = lua_newuserdatauv(L, sizeof *copy, 0);
    *copy = sum->samples;
    qsort(copy->lines, LB_SAMPLE_LINES, sizeof *copy->lines, compare);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, (lua_Integer)copy->n);
    lua_setfield(L, -2, "n");
    lua_pushinteger(L, (lua_Integer)copy->n_elsewhere);
    lua_setfield(L, -2, "elsewhere");
    lua_createtable(L, (int)copy->n_lines, 0);
    for (uint32_t i = 0; i < LB_SAMPLE_LINES && copy->lines[i].n > 0; i++) {
        lua_createtable(L, 0, 3);
        lua_pushstring(L, copy->lines[i].source);
        lua_setfield(L, -2, "source");
        lua_pushinteger(L, copy->lines[i].line);
        lua_setfield(L, -2, "line");
        lua_pushinteger(L, (lua_Integer)copy->lines[i].n);
        lua_setfield(L, -2, "n");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "lines");
    lua_remove(L, -2);
}
