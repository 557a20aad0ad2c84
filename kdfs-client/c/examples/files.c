/* Files of kDFS without a mount:  files SOCKET ls|cat|put PATH   (put writes what it reads from its input) */
#include <fcntl.h>
#include <kddm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(ssize_t result, const char *what)
{
    if (result < 0) {
        fprintf(stderr, "files: %s: %s\n", what, kddm_last_error());
        exit(1);
    }
}

static void list(kddm_session *session, const char *path)
{
    kddm_dir *dir;
    kddm_entry entry;
    int more;
    must(kddm_opendir(session, path, &dir), path);
    while ((more = kddm_readdir(dir, &entry)) == 1) {
        char whole[4096 + 256];
        struct stat status;
        snprintf(whole, sizeof whole, "%s/%s", path, entry.name);
        must(kddm_lstat(session, whole, &status), whole);
        printf("%06o %10lld %s\n", (unsigned)status.st_mode, (long long)status.st_size, entry.name);
    }
    must(more, path);
    must(kddm_closedir(dir), path);
}

static void copy_out(kddm_session *session, const char *path)
{
    static char bytes[1 << 16];
    kddm_file *file;
    ssize_t length;
    must(kddm_open(session, path, O_RDONLY, 0, &file), path);
    while ((length = kddm_read(file, bytes, sizeof bytes)) > 0)
        fwrite(bytes, 1, (size_t)length, stdout);
    must(length, path);
    must(kddm_close(file), path);
}

static void copy_in(kddm_session *session, const char *path)
{
    static char bytes[1 << 16];
    kddm_file *file;
    size_t length;
    must(kddm_open(session, path, O_WRONLY | O_CREAT | O_TRUNC, 0644, &file), path);
    while ((length = fread(bytes, 1, sizeof bytes, stdin)) > 0)
        must(kddm_write(file, bytes, length), path);
    must(kddm_fsync(file), path);
    must(kddm_close(file), path);
}

int main(int argc, char **argv)
{
    const char *verb = argc == 4 ? argv[2] : "";
    void (*act)(kddm_session *, const char *) = strcmp(verb, "ls") == 0    ? list
                                                : strcmp(verb, "cat") == 0 ? copy_out
                                                : strcmp(verb, "put") == 0 ? copy_in
                                                                           : NULL;
    kddm_session *session;
    if (!act) {
        fprintf(stderr, "usage: files SOCKET ls|cat|put PATH\n");
        return 2;
    }
    must(kddm_attach(argv[1], NULL, &session), "attach");
    act(session, argv[3]);
    must(kddm_detach(session), "detach");
    return 0;
}
