/* Files, directories and paths:  paths SOCKET */
#include "check.h"
#include <dirent.h>
#include <fcntl.h>

static void file(kddm_session *session)
{
    char bytes[16];
    kddm_file *file;
    struct stat status;
    CHECK(kddm_open(session, "paths/a", O_RDONLY, 0, &file) == -ENOENT && file == NULL);
    CHECK(kddm_open(session, "paths/a", O_RDWR | O_CREAT | O_EXCL, 0640, &file) == 0);
    CHECK(kddm_write(file, "hello", 5) == 5 && kddm_write(file, " world", 6) == 6);
    CHECK(kddm_read(file, bytes, sizeof bytes) == 0);
    CHECK(kddm_lseek(file, 6, SEEK_SET) == 6 && kddm_lseek(file, -2, SEEK_CUR) == 4);
    CHECK(kddm_read(file, bytes, 3) == 3 && memcmp(bytes, "o w", 3) == 0);
    CHECK(kddm_lseek(file, 0, SEEK_CUR) == 7);
    REFUSED(kddm_lseek(file, 0, SEEK_END), EINVAL, "SEEK_SET");
    REFUSED(kddm_lseek(file, -8, SEEK_CUR), EINVAL, "less than 0");
    CHECK(kddm_pwrite(file, "W", 1, 6) == 1 && kddm_pread(file, bytes, sizeof bytes, 6) == 5);
    CHECK(memcmp(bytes, "World", 5) == 0);
    REFUSED(kddm_pread(file, bytes, 1, -1), EINVAL, "less than 0");
    REFUSED(kddm_read(file, NULL, 1), EINVAL, "bytes: the pointer is NULL");
    REFUSED(kddm_read(file, bytes, (size_t)-1), EINVAL, "bytes");
    CHECK(kddm_read(file, NULL, 0) == 0);
    CHECK(kddm_ftruncate(file, 3) == 0 && kddm_fsync(file) == 0 && kddm_close(file) == 0);
    REFUSED(kddm_close(file), EINVAL, "given back");
    CHECK(kddm_open(session, "paths/a", O_WRONLY | O_APPEND, 0, &file) == 0);
    CHECK(kddm_write(file, "!", 1) == 1 && kddm_read(file, bytes, 1) == -EBADF && kddm_close(file) == 0);
    CHECK(kddm_stat(session, "/paths/a", &status) == 0);
    CHECK(S_ISREG(status.st_mode) && (status.st_mode & 07777) == 0640 && status.st_size == 4);
    CHECK(status.st_nlink == 1 && status.st_mtime > 0 && status.st_ino != 0);
    REFUSED(kddm_stat(session, "/paths/a", NULL), EINVAL, "status");
    REFUSED(kddm_open(session, "x", O_CREAT, 010000, &file), EINVAL, "permission bits");
}

static void directory(kddm_session *session)
{
    kddm_dir *dir;
    kddm_entry entry;
    int more, files = 0, links = 0, dots = 0;
    CHECK(kddm_symlink(session, "a", "paths/link") == 0);
    CHECK(kddm_opendir(session, "paths/a", &dir) == -ENOTDIR);
    CHECK(kddm_opendir(session, "paths", &dir) == 0);
    while ((more = kddm_readdir(dir, &entry)) == 1) {
        files += entry.type == DT_REG && strcmp(entry.name, "a") == 0;
        links += entry.type == DT_LNK && strcmp(entry.name, "link") == 0;
        dots += entry.type == DT_DIR && entry.name[0] == '.';
    }
    CHECK(more == 0 && files == 1 && links == 1 && dots == 2);
    CHECK(kddm_readdir(dir, &entry) == 0 && kddm_closedir(dir) == 0);
    CHECK(kddm_readdir(dir, &entry) == -EINVAL);
}

int main(int argc, char **argv)
{
    struct stat status;
    char target[4];
    CHECK(argc == 2);
    kddm_session *session = attached(argv[1]);
    CHECK(kddm_mkdir(session, "paths", 0755) == 0);
    REFUSED(kddm_mkdir(session, "paths", 0755), EEXIST, "exists");
    file(session);
    directory(session);
    CHECK(kddm_stat(session, "paths/link", &status) == 0 && S_ISREG(status.st_mode));
    CHECK(kddm_lstat(session, "paths/link", &status) == 0 && S_ISLNK(status.st_mode));
    CHECK(kddm_readlink(session, "paths/link", target, sizeof target) == 1 && target[0] == 'a');
    CHECK(kddm_rename(session, "paths/a", "paths/b") == 0 && kddm_stat(session, "paths/link", &status) == -ENOENT);
    CHECK(kddm_rmdir(session, "paths") == -ENOTEMPTY);
    CHECK(kddm_unlink(session, "paths/link") == 0 && kddm_unlink(session, "paths/b") == 0);
    CHECK(kddm_unlink(session, "paths/b") == -ENOENT && kddm_rmdir(session, "paths") == 0);
    CHECK(kddm_detach(session) == 0);
    return 0;
}
