/* A server that hangs up at once is an error, and no SIGPIPE:  hangs_up SOCKET TIMES */
#include "check.h"

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    for (int n = atoi(argv[2]); n > 0; n--) {
        kddm_session *session;
        CHECK(kddm_attach(argv[1], NULL, &session) < 0 && session == NULL);
    }
    return 0;
}
