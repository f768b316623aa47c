/* The main of a fuzz target without libFuzzer: runs it once on each file of the folders and files that are named. Its last line
 * is `N passed, 0 failed, 0 skipped`; a failure aborts, and the line before says of which file. */
#include <dirent.h>

#include "fuzz.h"

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    size_t size = 0, capacity = 1 << 20;
    uint8_t *data = malloc(capacity);
    CHECK(data != NULL);
    size = fread(data, 1, capacity, file);
    CHECK(size < capacity && fclose(file) == 0);
    printf("%s\n", path);
    fflush(stdout);
    uint8_t *exact = malloc(size + (size == 0)); /* so that ASan sees a step behind the end */
    CHECK(exact != NULL);
    memcpy(exact, data, size);
    free(data);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 1;
}

int main(int n_arguments, char **arguments)
{
    int n = 0;
    for (int i = 1; i < n_arguments; i++) {
        DIR *folder = opendir(arguments[i]);
        if (folder == NULL) {
            n += run_file(arguments[i]);
            continue;
        }
        struct dirent *entry;
        while ((entry = readdir(folder)) != NULL) {
            char path[4096];
            if (entry->d_name[0] == '.')
                continue;
            snprintf(path, sizeof path, "%s/%s", arguments[i], entry->d_name);
            n += run_file(path);
        }
        closedir(folder);
    }
    printf("%d passed, 0 failed, 0 skipped\n", n);
    return 0;
}
