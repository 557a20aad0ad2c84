/* Its server is killed while it holds and waits:  left SOCKET   (reads a line when that was done) */
#include "check.h"
#include <fcntl.h>
#include <pthread.h>

static void *waiter(void *pending)
{
    kddm_hold *hold;
    CHECK(kddm_wait(pending, &hold) == -ENOTCONN && hold == NULL);
    return NULL;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    kddm_session *session = attached(argv[1]), *second = attached(argv[1]);
    kddm_set *set, *again;
    kddm_hold *hold, *other;
    kddm_pending *pending;
    kddm_file *file;
    pthread_t thread;
    set = created(session, "left", 64);
    CHECK(kddm_grab(set, 0, &hold) == 0);
    CHECK(kddm_open(session, "left", O_RDWR | O_CREAT, 0600, &file) == 0);
    CHECK(kddm_open_set(second, "left", &again) == 0);
    CHECK(kddm_begin_grab(again, 0, NULL, &pending) == 0);
    CHECK(pthread_create(&thread, NULL, waiter, pending) == 0);
    puts("held");
    fflush(stdout);
    char line[8];
    CHECK(fgets(line, sizeof line, stdin));
    CHECK(pthread_join(thread, NULL) == 0);

    *(char *)kddm_hold_mutable(hold) = 1; /* the bytes are there still, and nobody's */
    REFUSED(kddm_get(set, 1, &other), ENOTCONN, "attach anew");
    REFUSED(kddm_put(hold), ENOTCONN, "attach anew");
    REFUSED(kddm_put(hold), EINVAL, "given back");
    CHECK(kddm_pwrite(file, line, 1, 0) == -ENOTCONN && kddm_close(file) == 0);
    CHECK(kddm_detach(session) == 0 && kddm_detach(second) == 0);
    return 0;
}
