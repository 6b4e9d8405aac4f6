/* A backend of Triton that answers every request at once, with no outputs. What a server refuses of its models, Triton's core refuses. */
#include <stdint.h>

typedef struct Error Error;
typedef struct Request Request;
typedef struct Response Response;

Error *TRITONBACKEND_ResponseNew(Response **response, Request *request);
Error *TRITONBACKEND_ResponseSend(Response *response, uint32_t flags, Error *error);
Error *TRITONBACKEND_RequestRelease(Request *request, uint32_t flags);

Error *TRITONBACKEND_ModelInstanceExecute(void *instance, Request **requests, uint32_t count) {
    (void)instance;
    for (uint32_t i = 0; i < count; i++) {
        Response *response;
        TRITONBACKEND_ResponseNew(&response, requests[i]);
        TRITONBACKEND_ResponseSend(response, 1, 0); /* the last one */
        TRITONBACKEND_RequestRelease(requests[i], 1);
    }
    return 0;
}
