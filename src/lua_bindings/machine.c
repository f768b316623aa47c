/* What this process may use of the machine: CPUs by affinity, memory by control group. */
#include "lua_bindings/machine.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/sys.h"

enum { PATH_BYTES = 4200 };

uint32_t lb_machine_n_cpus(void)
{
    /* The kernel may know more CPUs than cpu_set_t holds. */
    for (int n = CPU_SETSIZE; n <= 1 << 20; n *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)n);
        if (set == NULL)
            break;
        size_t size = CPU_ALLOC_SIZE((size_t)n);
        int count = sched_getaffinity(0, size, set) == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0)
            return (uint32_t)count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint32_t)online : 1;
}

/* Reads a small file into text, NUL-terminated; false when it cannot be read. */
static int read_file(const char *path, char *text, size_t size)
{
    int fd = lb_sys.open(path, O_RDONLY, 0);
    if (fd < 0)
        return 0;
    size_t used = 0;
    ssize_t n;
    while (used + 1 < size && (n = lb_sys.read(fd, text + used, size - 1 - used)) > 0)
        used += (size_t)n;
    lb_sys.close(fd);
    text[used] = '\0';
    return used > 0;
}

/* The number in root + group + file, for the group and all above it; the least. */
static uint64_t least_limit(const char *root, char *group, const char *file, uint64_t limit)
{
    for (;;) {
        char path[2 * PATH_BYTES];
        char text[64];
        snprintf(path, sizeof path, "%s%s/%s", root, group, file);
        if (read_file(path, text, sizeof text) && text[0] >= '0' && text[0] <= '9') {
            uint64_t value = strtoull(text, NULL, 10);
            if (value > 0 && value < limit)
                limit = value;
        }
        char *slash = strrchr(group, '/');
        if (slash == NULL)
            return limit;
        *slash = '\0';
    }
}

uint64_t lb_machine_memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);
    uint64_t limit = pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 1 << 30;
    char groups[PATH_BYTES];
    if (!read_file("/proc/self/cgroup", groups, sizeof groups))
        return limit;
    /* Lines "0::/group" (version 2) and "4:memory,cpu:/group" (version 1). */
    char *rest = groups;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL)
            continue;
        *group++ = '\0';
        controllers++;
        if (strcmp(group, "/") == 0)
            *group = '\0';
        if (*controllers == '\0')
            limit = least_limit("/sys/fs/cgroup", group, "memory.max", limit);
        else if (strstr(controllers, "memory") != NULL)
            limit = least_limit("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes", limit);
    }
    return limit;
}
