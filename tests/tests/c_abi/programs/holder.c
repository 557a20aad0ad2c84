/* Changes an object that it holds, says so, and waits to be killed:  holder SOCKET SET */
#include "check.h"
#include <unistd.h>

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    kddm_session *session = attached(argv[1]);
    kddm_set *set;
    kddm_hold *hold;
    CHECK(kddm_open_set(session, argv[2], &set) == 0 && kddm_grab(set, 0, &hold) == 0);
    memset(kddm_hold_mutable(hold), 0xff, (size_t)kddm_hold_length(hold));
    puts("held");
    fflush(stdout);
    for (;;)
        pause();
}
