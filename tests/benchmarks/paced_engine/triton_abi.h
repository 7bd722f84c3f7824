// SPDX-License-Identifier: Apache-2.0
// The part of Triton's backend interface (a stable C ABI, version 1) that the paced engine uses.
// The server package that the tests use has no headers.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct TRITONSERVER_Error Error;
typedef struct TRITONSERVER_Message Message;
typedef struct TRITONBACKEND_Model Model;
typedef struct TRITONBACKEND_ModelInstance Instance;
typedef struct TRITONBACKEND_Request Request;
typedef struct TRITONBACKEND_Input Input;
typedef struct TRITONBACKEND_ResponseFactory Factory;
typedef struct TRITONBACKEND_Response Response;
typedef struct TRITONBACKEND_Output Output;

enum { ERROR_INTERNAL = 1, ERROR_INVALID_ARG = 3, ERROR_CANCELLED = 7 };
enum { TYPE_INT32 = 8 };
enum { MEMORY_CPU = 0 };
enum { RELEASE_ALL = 1, COMPLETE_FINAL = 1 };

// Every function that gives an Error* gives NULL when it went well; the caller owns the error.
Error* TRITONSERVER_ErrorNew(int code, const char* message);
void TRITONSERVER_ErrorDelete(Error*);
Error* TRITONSERVER_MessageSerializeToJson(Message*, const char** text, size_t* size);
Error* TRITONSERVER_MessageDelete(Message*);

Error* TRITONBACKEND_ModelConfig(Model*, uint32_t version, Message**);
Error* TRITONBACKEND_ModelSetState(Model*, void*);
Error* TRITONBACKEND_ModelState(Model*, void**);
Error* TRITONBACKEND_ModelInstanceModel(Instance*, Model**);

Error* TRITONBACKEND_RequestId(Request*, const char**);
Error* TRITONBACKEND_RequestInput(Request*, const char* name, Input**);
Error* TRITONBACKEND_RequestOutputCount(Request*, uint32_t*);
Error* TRITONBACKEND_RequestOutputName(Request*, uint32_t index, const char**);
Error* TRITONBACKEND_RequestRelease(Request*, uint32_t flags);
Error* TRITONBACKEND_InputBuffer(Input*, uint32_t index, const void**, uint64_t* num_bytes, int* memory, int64_t* memory_id);

Error* TRITONBACKEND_ResponseFactoryNew(Factory**, Request*);
Error* TRITONBACKEND_ResponseFactoryDelete(Factory*);
Error* TRITONBACKEND_ResponseFactoryIsCancelled(Factory*, bool*);
Error* TRITONBACKEND_ResponseFactorySendFlags(Factory*, uint32_t flags);
Error* TRITONBACKEND_ResponseNewFromFactory(Response**, Factory*);
Error* TRITONBACKEND_ResponseOutput(Response*, Output**, const char* name, int type, const int64_t* shape, uint32_t num_dims);
Error* TRITONBACKEND_OutputBuffer(Output*, void**, uint64_t num_bytes, int* memory, int64_t* memory_id);
Error* TRITONBACKEND_ResponseSend(Response*, uint32_t flags, Error*);
