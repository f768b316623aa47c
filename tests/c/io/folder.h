/* A fresh folder for a test's files, removed at the end, and whole files in and out of memory. */
#ifndef TEST_IO_FOLDER_H
#define TEST_IO_FOLDER_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[200];

static inline void folder_make(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/luabatch-test-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(folder) == NULL || chdir(folder) != 0) {
        perror(folder);
        exit(1);
    }
}

/* Runs a shell command in the folder; its exit status. */
__attribute__((format(printf, 1, 2))) static inline int shell(const char *format, ...)
{
    char command[2000];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    int status = system(command);
    return status == -1 ? -1 : status / 256;
}

static inline void folder_remove(void)
{
    if (chdir("/") == 0)
        shell("rm -rf '%s'", folder);
}

static inline void file_put(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

/* Allocated, with one NUL behind the end; NULL when there is no such file. */
static inline char *file_get(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    *size = 0;
    if (file == NULL)
        return NULL;
    size_t capacity = 1 << 12;
    char *data = malloc(capacity + 1);
    size_t n;
    while ((n = fread(data + *size, 1, capacity - *size, file)) > 0) {
        *size += n;
        if (*size == capacity)
            data = realloc(data, (capacity *= 2) + 1);
    }
    fclose(file);
    data[*size] = '\0';
    return data;
}

#endif
