/* Loaded into tritonserver (LD_PRELOAD): its key arrives on a pipe. Triton takes one on its command line alone, which every user of the
   machine reads in `ps`; there a placeholder stays. Also: the server drains and ends when its supervisor is gone, whatever killed that;
   and what this version does not see to itself is seen to here, in front of functions of its C API and of libc. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PLACEHOLDER "=KEY-FROM-PIPE"
#define NEXT(name) static __typeof__(name) *next; if (!next) next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define MOST_FILES 65536
#define LOOK_EVERY 20000 /* microseconds */
#define LAST_LOOKS 10 /* for answers that are being sent: 0.2 seconds */
#define STALLED_LOOKS 50 /* for a client that has sent half a request: 1 second */
#define ORPHANS_LOOKS 100 /* in which a server without supervisor answers what it has: 2 seconds */

static pid_t supervisor;
static int http_port, metrics_port;
static char metrics_file[4096]; /* what the supervisor counts, for Triton's metrics page */

static void follow_supervisor(void);

__attribute__((constructor)) static void take_key(int argc, char **argv) {
    static char key[65]; /* with "=" before it; what is not filled is 0 */
    const char *pipe = getenv("SLIPWAY_KEY_PIPE"), *parent = getenv("SLIPWAY_SUPERVISOR"), *metrics = getenv("SLIPWAY_METRICS");
    supervisor = parent ? atoi(parent) : getppid();
    if (metrics && strlen(metrics) < sizeof metrics_file) strcpy(metrics_file, metrics);
    key[0] = '=';
    if (!pipe || read(atoi(pipe), key + 1, sizeof key - 2) < 32) _exit(70); /* never with a key that anyone can read */
    close(atoi(pipe));
    unsetenv("SLIPWAY_KEY_PIPE");
    unsetenv("LD_PRELOAD"); /* the Python stubs are none of this */
    follow_supervisor();
    for (int i = 1; i < argc; i++) {
        sscanf(argv[i], "--http-port=%d", &http_port);
        sscanf(argv[i], "--metrics-port=%d", &metrics_port);
        size_t before = strlen(argv[i]) - strlen(PLACEHOLDER);
        if (strlen(argv[i]) <= strlen(PLACEHOLDER) || strcmp(argv[i] + before, PLACEHOLDER)) continue;
        char *whole = calloc(1, before + sizeof key);
        if (!whole) _exit(70);
        argv[i] = strcat(memcpy(whole, argv[i], before), key); /* the pointer alone: `ps` reads the old string's memory */
    }
}

/* Stopping. Triton waits for HTTP connections until its exit timeout, also for idle ones, looks once a second, and says "0 in-flight
   inferences" of those that are computed. So requests are counted here, and what each connection does is kept: an idle one is told that
   its client has closed it, and once everything is answered, the process ends. */
enum { NO_CONNECTION, IDLE, BUSY };
static volatile unsigned char connections[MOST_FILES]; /* by file descriptor */
static volatile int is_stopping, requests;
static sem_t stopping;
static void (*handle_stop)(int);

static int is_http(int file) {
    struct sockaddr_in6 address; /* large enough for IPv4, and with the port at the same place */
    socklen_t length = sizeof address;
    if (getsockname(file, (struct sockaddr *)&address, &length) || (address.sin6_family != AF_INET && address.sin6_family != AF_INET6))
        return 0;
    int port = ntohs(address.sin6_port);
    return port == http_port || port == metrics_port;
}

int accept4(int listening, struct sockaddr *address, socklen_t *length, int flags) {
    NEXT(accept4);
    int file = next(listening, address, length, flags);
    if (file >= 0 && file < MOST_FILES) connections[file] = IDLE;
    return file;
}

/* evhtp, Triton's HTTP server, reads and writes by these two; gRPC does not. */
ssize_t readv(int file, const struct iovec *parts, int count) {
    NEXT(readv);
    if (file < 0 || file >= MOST_FILES || !connections[file]) return next(file, parts, count);
    if (is_stopping && connections[file] == IDLE && is_http(file)) return 0; /* a request that came too late: asked again elsewhere */
    ssize_t bytes = next(file, parts, count);
    if (bytes > 0) connections[file] = BUSY;
    return bytes;
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    NEXT(writev);
    ssize_t bytes = next(file, parts, count);
    if (file < 0 || file >= MOST_FILES || !connections[file] || bytes <= 0) return bytes;
    static const char more[] = "HTTP/1.1 100"; /* Continue: the request's body comes after it */
    size_t all = 0;
    for (int i = 0; i < count; i++) all += parts[i].iov_len;
    int is_whole = (size_t)bytes == all && (parts->iov_len < sizeof more - 1 || memcmp(parts->iov_base, more, sizeof more - 1));
    connections[file] = is_whole ? IDLE : BUSY;
    return bytes;
}

static void on_stop(int number) {
    sem_post(&stopping);
    if (handle_stop) handle_stop(number);
}

void (*signal(int number, void (*handler)(int)))(int) {
    NEXT(signal);
    if (number != SIGTERM || handler == SIG_DFL || handler == SIG_IGN) return next(number, handler);
    handle_stop = handler;
    return next(number, on_stop);
}

static void *drain(void *nothing) {
    while (sem_wait(&stopping)) {} /* interrupted by a signal */
    static unsigned char before[MOST_FILES];
    for (int orphaned = 0, quiet = 0;; is_stopping = 1, usleep(LOOK_EVERY)) {
        int busy = 0, changes = 0;
        for (int file = 0; file < MOST_FILES; file++) {
            if (connections[file] == IDLE && before[file] == IDLE && is_http(file)) shutdown(file, SHUT_RD);
            if (connections[file] == BUSY && is_http(file)) busy = 1;
            changes += before[file] != connections[file];
            before[file] = connections[file];
        }
        quiet = requests || changes ? 0 : quiet + 1;
        int is_done = quiet > (busy ? STALLED_LOOKS : LAST_LOOKS);
        if (getppid() != supervisor && (is_done || ++orphaned > ORPHANS_LOOKS)) kill(getpgrp() == getpid() ? 0 : getpid(), SIGKILL);
        if (is_done) _exit(0);
    }
    return nothing;
}

/* The server ends when its supervisor is gone, whatever killed that. */
static void follow_supervisor(void) {
    sigset_t all, mine;
    pthread_t thread;
    struct rlimit files;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != supervisor) _exit(70); /* gone before that */
    if (!getrlimit(RLIMIT_NOFILE, &files)) { /* each connection takes one */
        files.rlim_cur = files.rlim_max < MOST_FILES ? files.rlim_max : MOST_FILES;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    sem_init(&stopping, 0, 0);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mine); /* the signals are for Triton's own threads */
    pthread_create(&thread, NULL, drain, NULL);
    pthread_sigmask(SIG_SETMASK, &mine, NULL);
}

/* Over gRPC requests come in until the last moment, when the models are unloaded already: "not found". */
#define UNAVAILABLE 4

void *TRITONSERVER_ErrorNew(int code, const char *message);

void *TRITONSERVER_ServerModelTransactionProperties(void *server, const char *model, int64_t version, uint32_t *flags, void **data) {
    NEXT(TRITONSERVER_ServerModelTransactionProperties);
    return is_stopping ? TRITONSERVER_ErrorNew(UNAVAILABLE, "the server is stopping") : next(server, model, version, flags, data);
}

void *TRITONSERVER_InferenceRequestNew(void **request, void *server, const char *model, int64_t version) {
    NEXT(TRITONSERVER_InferenceRequestNew);
    if (is_stopping) return TRITONSERVER_ErrorNew(UNAVAILABLE, "the server is stopping");
    __sync_add_and_fetch(&requests, 1);
    void *error = next(request, server, model, version);
    if (error) __sync_sub_and_fetch(&requests, 1);
    return error;
}

void *TRITONSERVER_InferenceRequestDelete(void *request) {
    NEXT(TRITONSERVER_InferenceRequestDelete);
    void *error = next(request);
    if (!error) __sync_sub_and_fetch(&requests, 1);
    return error;
}

/* What the supervisor counts is on the page that has everything else. */
void *TRITONSERVER_MetricsFormatted(void *metrics, int format, const char **base, size_t *size) {
    static __thread char *page; /* until the thread's next one */
    NEXT(TRITONSERVER_MetricsFormatted);
    void *error = next(metrics, format, base, size);
    FILE *file = error || !metrics_file[0] ? NULL : fopen(metrics_file, "re");
    char *whole = file ? (char *)realloc(page, *size + 65536) : NULL;
    if (whole) {
        page = (char *)memcpy(whole, *base, *size);
        *size += fread(page + *size, 1, 65536, file);
        *base = page;
    }
    if (file) fclose(file);
    return error;
}

#define INVALID_ARG 3

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
