/* Loaded into tritonserver (LD_PRELOAD): its key arrives on a pipe. Triton takes one on its command line alone, which every user of the
   machine reads in `ps`; there a placeholder stays. Also: the server drains and ends when its supervisor is gone, whatever killed that;
   and what this version does not see to itself is seen to here, in front of functions of its C API and of libc. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
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

#define NEXT(name) static __typeof__(name) *next; if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define INVALID_ARG 3

void *TRITONSERVER_ErrorNew(int code, const char *message);

/* The bytes of the UTF-8 character at `at`, or 0 if there is none. */
static size_t character(const unsigned char *at) {
    size_t bytes = *at < 0x80 ? 1 : *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < bytes; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    int overlong = (*at == 0xe0 && at[1] < 0xa0) || (*at == 0xf0 && at[1] < 0x90);
    int no_character = (*at == 0xed && at[1] > 0x9f) || (*at == 0xf4 && at[1] > 0x8f); /* surrogates, beyond U+10FFFF */
    return overlong || no_character ? 0 : bytes;
}

/* An id is repeated in the answer, which has to be JSON. */
void *TRITONSERVER_InferenceRequestSetId(void *request, const char *id) {
    NEXT(TRITONSERVER_InferenceRequestSetId);
    const unsigned char *at = (const unsigned char *)id;
    for (size_t bytes; *at; at += bytes)
        if (!(bytes = character(at))) return TRITONSERVER_ErrorNew(INVALID_ARG, "the request id is not UTF-8");
    return next(request, id);
}

/* A message repeats names as they were sent: what is not UTF-8 in them becomes "?". */
const char *TRITONSERVER_ErrorMessage(void *error) {
    NEXT(TRITONSERVER_ErrorMessage);
    const char *message = next(error);
    for (unsigned char *at = (unsigned char *)message; at && *at;) {
        size_t bytes = character(at);
        if (!bytes) *at = '?'; /* the error's own string */
        at += bytes ? bytes : 1;
    }
    return message;
}

/* The Python backend opens its regions of shared memory, which hold the texts, to all users,
   whatever the umask. */
int fchmod(int file, mode_t mode) {
    NEXT(fchmod);
    return next(file, mode & 0700);
}

/* Asked for the classes of an output, Triton divides by the size of its elements, and only then
   looks whether they are numbers; strings have the size 0. So the caller whose next instructions
   are that division gets a 1. */
unsigned TRITONSERVER_DataTypeByteSize(int type) {
    NEXT(TRITONSERVER_DataTypeByteSize);
    /* xor edx,edx; mov ecx,eax; mov rax,r13; div rcx */
    static const unsigned char dividing[] = "\x31\xd2\x89\xc1\x4c\x89\xe8\x48\xf7\xf1";
    unsigned size = next(type);
    return !size && !memcmp(__builtin_return_address(0), dividing, sizeof dividing - 1) ? 1 : size;
}
