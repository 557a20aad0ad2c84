/* Makes a set with a mode, and counts in it:  owner SOCKET SET MODE */
#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc == 4);
    kddm_session *session = attached(argv[1]);
    kddm_set_options options = KDDM_SET_OPTIONS;
    kddm_set *set;
    kddm_hold *hold;
    options.object_size = sizeof(uint64_t);
    options.mode = (uint32_t)strtoul(argv[3], NULL, 8);
    CHECK(kddm_create_set(session, argv[2], &options, &set) == 0);
    CHECK(kddm_grab(set, 0, &hold) == 0);
    *(uint64_t *)kddm_hold_mutable(hold) = 1;
    CHECK(kddm_put(hold) == 0);
    return 0;
}
