/* Threads share a session, a set, and pending holds:  threads SOCKET */
#include "check.h"
#include <pthread.h>

enum { THREADS = 8, TIMES = 500 };

static kddm_session *session;
static kddm_set *set;
static kddm_pending *pending;

static void *counts(void *nothing)
{
    for (int n = 0; n < TIMES; n++) {
        kddm_hold *hold;
        CHECK(kddm_grab(set, 0, &hold) == 0);
        ++*(int *)kddm_hold_mutable(hold);
        CHECK((n % 2 ? kddm_put : kddm_put_nowait)(hold) == 0);
    }
    return nothing;
}

static void *waits(void *nothing)
{
    kddm_hold *hold;
    int result;
    while ((result = kddm_wait(pending, &hold)) == -EBUSY)
        ; /* main looks at it just now */
    CHECK(result == -ENOTCONN && hold == NULL);
    return nothing;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    kddm_hold *hold;
    CHECK(argc == 2);
    session = attached(argv[1]);
    set = created(session, "threads", sizeof(int));
    for (int n = 0; n < THREADS; n++)
        CHECK(pthread_create(&threads[n], NULL, counts, NULL) == 0);
    for (int n = 0; n < THREADS; n++)
        CHECK(pthread_join(threads[n], NULL) == 0);
    CHECK(kddm_get(set, 0, &hold) == 0);
    CHECK(*(const int *)kddm_hold_bytes(hold) == THREADS * TIMES);
    CHECK(kddm_put(hold) == 0);

    /* A pending hold is one thread's at a time; a detach does not wait for it, and it comes to nothing. */
    kddm_session *other = attached(argv[1]);
    kddm_set *again;
    CHECK(kddm_open_set(other, "threads", &again) == 0 && kddm_grab(again, 0, &hold) == 0);
    CHECK(kddm_begin_grab(set, 0, NULL, &pending) == 0);
    CHECK(pthread_create(&threads[0], NULL, waits, NULL) == 0);
    size_t which;
    int result;
    while ((result = kddm_wait_any(&pending, 1, 0, &which)) == -EINPROGRESS)
        ; /* until the thread has it */
    CHECK(result == -EBUSY && strstr(kddm_last_error(), "another thread"));
    CHECK(kddm_detach(session) == 0);
    CHECK(kddm_put(hold) == 0 && pthread_join(threads[0], NULL) == 0);
    CHECK(kddm_grab_for(again, 0, 10000000000, &hold) == 0);
    CHECK(*(const int *)kddm_hold_bytes(hold) == THREADS * TIMES);
    CHECK(kddm_put(hold) == 0 && kddm_destroy_set(other, "threads") == 0 && kddm_detach(other) == 0);
    return 0;
}
