/* Loaded into tritonserver (LD_PRELOAD): its key arrives on a pipe. Triton takes one on its command line alone, which every user of the
   machine reads in `ps`; there a placeholder stays. Also: the server drains and ends when its supervisor is gone, whatever killed that. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define PLACEHOLDER "=KEY-FROM-PIPE"

__attribute__((constructor)) static void take_key(int argc, char **argv) {
    static char key[65]; /* with "=" before it; what is not filled is 0 */
    const char *pipe = getenv("SLIPWAY_KEY_PIPE");
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    key[0] = '=';
    if (!pipe || read(atoi(pipe), key + 1, sizeof key - 2) < 32) _exit(70); /* never with a key that anyone can read */
    close(atoi(pipe));
    unsetenv("SLIPWAY_KEY_PIPE");
    unsetenv("LD_PRELOAD"); /* the Python stubs are none of this */
    for (int i = 1; i < argc; i++) {
        size_t before = strlen(argv[i]) - strlen(PLACEHOLDER);
        if (strlen(argv[i]) <= strlen(PLACEHOLDER) || strcmp(argv[i] + before, PLACEHOLDER)) continue;
        char *whole = calloc(1, before + sizeof key);
        if (!whole) _exit(70);
        argv[i] = strcat(memcpy(whole, argv[i], before), key); /* the pointer alone: `ps` reads the old string's memory */
    }
}
