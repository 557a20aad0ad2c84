/* A child of fork(2) has no part in its parent's attachment, and may have one of its own:  children SOCKET
 * Says "detached" when a child lives on that its parent was attached with, and waits for a line. */
#include "check.h"
#include <sys/wait.h>
#include <unistd.h>

static kddm_session *session;
static kddm_set *set;
static kddm_hold *hold;
static kddm_pending *pending;

static void child(const char *socket)
{
    kddm_hold *other;
    REFUSED(kddm_ping(session), EOWNERDEAD, "child");
    REFUSED(kddm_get(set, 0, &other), EOWNERDEAD, "child");
    REFUSED(kddm_wait(pending, &other), EOWNERDEAD, "child");
    REFUSED(kddm_put(hold), EOWNERDEAD, "child");
    REFUSED(kddm_detach(session), EOWNERDEAD, "child");
    CHECK(kddm_hold_bytes(hold) == NULL);

    kddm_session *own = attached(socket);
    kddm_set *its;
    CHECK(kddm_open_set(own, "children", &its) == 0);
    REFUSED(kddm_try_grab(its, 0, &other), EAGAIN, "somebody holds");
    CHECK(kddm_grab(its, 1, &other) == 0);
    *(int *)kddm_hold_mutable(other) = 7;
    CHECK(kddm_put(other) == 0);
    REFUSED(kddm_ping(session), EOWNERDEAD, "child");
    pid_t grandchild = fork();
    if (grandchild == 0) {
        REFUSED(kddm_ping(own), EOWNERDEAD, "child");
        REFUSED(kddm_ping(session), EOWNERDEAD, "child");
        exit(0);
    }
    int status;
    CHECK(waitpid(grandchild, &status, 0) == grandchild && status == 0);
    exit(0); /* without a detach */
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    session = attached(argv[1]);
    set = created(session, "children", sizeof(int));
    CHECK(kddm_grab(set, 0, &hold) == 0);
    *(int *)kddm_hold_mutable(hold) = 1;
    kddm_session *second = attached(argv[1]);
    kddm_set *again;
    CHECK(kddm_open_set(second, "children", &again) == 0);
    CHECK(kddm_begin_get(again, 0, NULL, &pending) == 0);
    pid_t pid = fork();
    if (pid == 0)
        child(argv[1]);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);

    /* The parent's are as before. */
    *(int *)kddm_hold_mutable(hold) += 1;
    CHECK(kddm_put(hold) == 0 && kddm_wait(pending, &hold) == 0);
    CHECK(*(const int *)kddm_hold_bytes(hold) == 2 && kddm_put(hold) == 0);
    CHECK(kddm_get(set, 1, &hold) == 0 && *(const int *)kddm_hold_bytes(hold) == 7 && kddm_put(hold) == 0);

    /* A child that lives on does not keep what its parent gives back. */
    int ends[2];
    char line[8];
    CHECK(pipe(ends) == 0);
    pid = fork();
    if (pid == 0) {
        close(ends[1]);
        exit(read(ends[0], line, 1) == 0 ? 0 : 1);
    }
    CHECK(kddm_destroy_set(second, "children") == 0 && kddm_detach(session) == 0);
    puts("detached");
    fflush(stdout);
    CHECK(fgets(line, sizeof line, stdin));
    close(ends[1]);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(kddm_detach(second) == 0);
    return 0;
}
