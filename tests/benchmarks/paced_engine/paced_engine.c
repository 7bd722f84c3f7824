// SPDX-License-Identifier: Apache-2.0
// A Triton backend with tensorrt_llm's tensors that says ids at a set pace and computes nothing:
// what is measured over it is the orchestrator.
//
// One thread steps all running calls, as in-flight batching does. A call says num_ids ids (input
// min_tokens, if given, takes that number's place), one a response, then the first id of its
// stop_words_list, and is over; request_output_len cuts it before. Input stop = true ends the
// running call of the same request id.
//
// An id tells when it was said: it is number (CLOCK_MONOTONIC in us / 20) of a table that
// repeats. With words, only a call's first id, its last, and one of eight in between do; the
// others are words in any order, so that ids are as frequent as in a text. Parameters of the model:
//   ids_file        the table: int32, native byte order
//   words_file      the same for the words; none if it is not set
//   num_ids         see above
//   delay_us        time between steps; a call joins at the next one. 0: as fast as it goes
//   first_token_ms  how long a call waits before it joins

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "triton_abi.h"

enum { STAMP_US = 20, IDS_A_STAMP = 8, BLOCK = 32, UNPACED_CANCEL_PERIOD = 8, NAP_NS = 100000 };

typedef struct Call {
  struct Call* next;
  Factory* factory;
  char* id;
  int32_t num_prompt_ids;
  int32_t num_ids;     // to say before the stop id
  int32_t max_ids;     // stop id included
  int32_t stop_id;     // -1: none
  int32_t num_said;
  int64_t joins_ns;    // not before that time
  _Atomic bool stopped;  // by a request with stop = true
  bool wants_length, wants_reuse;
} Call;

typedef struct {
  int32_t* ids;
  int64_t size;
} Table;

typedef struct {
  Table stamps, words;
  uint64_t random;
  int64_t delay_ns, first_token_ns;
  int32_t num_ids;
  pthread_t thread;
  pthread_mutex_t lock;  // over all that follows
  pthread_cond_t changed;
  Call* calls;
  bool closing;
} Engine;

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void sleep_until(int64_t ns) {
  struct timespec until = {ns / 1000000000, ns % 1000000000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0) {
  }
}

// For errors that nobody can be told of.
static void ignore(Error* error) {
  if (error != NULL) TRITONSERVER_ErrorDelete(error);
}

// --- saying ids --------------------------------------------------------------------------

static Error* add_output(Response* response, const char* name, uint32_t num_dims, int32_t value) {
  const int64_t shape[] = {1, 1, 1};
  int memory = MEMORY_CPU;
  int64_t memory_id = 0;
  Output* output;
  void* buffer;
  Error* error = TRITONBACKEND_ResponseOutput(response, &output, name, TYPE_INT32, shape, num_dims);
  if (error == NULL) error = TRITONBACKEND_OutputBuffer(output, &buffer, sizeof value, &memory, &memory_id);
  if (error == NULL) memcpy(buffer, &value, sizeof value);
  return error;
}

static void say(const Call* call, int32_t id, bool last) {
  Response* response;
  Error* error = TRITONBACKEND_ResponseNewFromFactory(&response, call->factory);
  if (error != NULL) {
    ignore(error);
    return;
  }
  error = add_output(response, "output_ids", 3, id);
  if (error == NULL && call->wants_length) error = add_output(response, "sequence_length", 2, 1);
  if (error == NULL && call->wants_reuse) error = add_output(response, "kv_cache_reused_blocks", 2, call->num_prompt_ids / BLOCK);
  ignore(TRITONBACKEND_ResponseSend(response, last ? COMPLETE_FINAL : 0, error));
  ignore(error);
}

static int32_t stamp(const Engine* engine) {
  return engine->stamps.ids[now_ns() / (STAMP_US * 1000) % engine->stamps.size];
}

static int32_t next_id(Engine* engine, const Call* call) {
  if (engine->words.size == 0 || call->num_said == 0 || call->num_said == call->num_ids - 1) return stamp(engine);
  engine->random = engine->random * 6364136223846793005u + 1442695040888963407u;
  const uint64_t random = engine->random >> 33;
  return random % IDS_A_STAMP == 0 ? stamp(engine) : engine->words.ids[random / IDS_A_STAMP % engine->words.size];
}

static bool client_has_gone(const Engine* engine, const Call* call) {
  bool gone = false;
  if (engine->delay_ns > 0 || call->num_said % UNPACED_CANCEL_PERIOD == 0) {
    ignore(TRITONBACKEND_ResponseFactoryIsCancelled(call->factory, &gone));
  }
  return gone;
}

// Say the call's next id; whether it is over.
static bool step(Engine* engine, Call* call) {
  if (call->stopped || client_has_gone(engine, call)) {
    ignore(TRITONBACKEND_ResponseFactorySendFlags(call->factory, COMPLETE_FINAL));
    return true;
  }
  const bool at_stop = call->stop_id >= 0 && call->num_said == call->num_ids;
  const int32_t id = at_stop ? call->stop_id : next_id(engine, call);
  call->num_said++;
  const bool last = at_stop || call->num_said == call->max_ids || (call->stop_id < 0 && call->num_said == call->num_ids);
  say(call, id, last);
  return last;
}

static void discard(Call* call) {
  ignore(TRITONBACKEND_ResponseFactoryDelete(call->factory));
  free(call->id);
  free(call);
}

static void leave(Engine* engine, Call* call) {
  pthread_mutex_lock(&engine->lock);
  Call** link = &engine->calls;
  while (*link != call) link = &(*link)->next;
  *link = call->next;
  pthread_mutex_unlock(&engine->lock);
  discard(call);
}

// An id for every call that has joined. Newcomers are put in front of the list, and only this thread takes
// calls out, so from `call` on the links are its own.
static void step_all(Engine* engine, Call* call) {
  const int64_t now = now_ns();
  bool idle = true;
  while (call != NULL) {
    Call* next = call->next;
    if (call->joins_ns <= now) {
      idle = false;
      if (step(engine, call)) leave(engine, call);
    }
    call = next;
  }
  if (idle) sleep_until(now + NAP_NS);
}

static void* run(void* argument) {
  Engine* engine = argument;
  for (;;) {
    pthread_mutex_lock(&engine->lock);
    while (engine->calls == NULL && !engine->closing) pthread_cond_wait(&engine->changed, &engine->lock);
    const bool over = engine->calls == NULL;
    pthread_mutex_unlock(&engine->lock);
    if (over) return NULL;
    if (engine->delay_ns > 0) sleep_until((now_ns() / engine->delay_ns + 1) * engine->delay_ns);
    pthread_mutex_lock(&engine->lock);
    Call* first = engine->calls;
    pthread_mutex_unlock(&engine->lock);
    step_all(engine, first);
  }
}

// --- taking requests ---------------------------------------------------------------------

// An input's bytes; NULL if the request has none of that name. They are the request's.
static const void* input_bytes(Request* request, const char* name, uint64_t* num_bytes) {
  Input* input;
  const void* bytes = NULL;
  int memory = MEMORY_CPU;
  int64_t memory_id = 0;
  *num_bytes = 0;
  Error* error = TRITONBACKEND_RequestInput(request, name, &input);
  if (error == NULL) error = TRITONBACKEND_InputBuffer(input, 0, &bytes, num_bytes, &memory, &memory_id);
  if (error != NULL) *num_bytes = 0;
  ignore(error);
  return *num_bytes > 0 ? bytes : NULL;
}

static int32_t input_int32(Request* request, const char* name, int32_t otherwise) {
  uint64_t num_bytes;
  const void* bytes = input_bytes(request, name, &num_bytes);
  int32_t value = otherwise;
  if (num_bytes >= sizeof value) memcpy(&value, bytes, sizeof value);
  return value;
}

static bool wants(Request* request, const char* output) {
  uint32_t count = 0;
  ignore(TRITONBACKEND_RequestOutputCount(request, &count));
  for (uint32_t index = 0; index < count; index++) {
    const char* name = "";
    ignore(TRITONBACKEND_RequestOutputName(request, index, &name));
    if (strcmp(name, output) == 0) return true;
  }
  return false;
}

static bool is_stop_request(Request* request) {
  uint64_t num_bytes;
  const bool* stop = input_bytes(request, "stop", &num_bytes);
  return stop != NULL && *stop;
}

static void stop_calls(Engine* engine, const char* id) {
  pthread_mutex_lock(&engine->lock);
  for (Call* call = engine->calls; call != NULL; call = call->next) {
    if (strcmp(call->id, id) == 0) call->stopped = true;
  }
  pthread_mutex_unlock(&engine->lock);
}

static Call* read_call(const Engine* engine, Request* request, const char* id) {
  uint64_t num_bytes;
  Call* call = calloc(1, sizeof *call);
  call->id = strdup(id);
  input_bytes(request, "input_ids", &num_bytes);
  call->num_prompt_ids = num_bytes / sizeof(int32_t);
  call->num_ids = input_int32(request, "min_tokens", engine->num_ids);
  call->max_ids = input_int32(request, "request_output_len", 0);
  call->stop_id = input_int32(request, "stop_words_list", -1);
  call->joins_ns = now_ns() + engine->first_token_ns;
  call->wants_length = wants(request, "sequence_length");
  call->wants_reuse = wants(request, "kv_cache_reused_blocks");
  return call;
}

static Error* refusal(const Call* call) {
  if (call->num_prompt_ids < 1) return TRITONSERVER_ErrorNew(ERROR_INVALID_ARG, "input_ids: at least one id is needed");
  if (call->max_ids < 1) return TRITONSERVER_ErrorNew(ERROR_INVALID_ARG, "request_output_len: at least 1 is needed");
  return NULL;
}

static void refuse(Call* call, Error* error) {
  Response* response;
  Error* trouble = TRITONBACKEND_ResponseNewFromFactory(&response, call->factory);
  if (trouble == NULL) trouble = TRITONBACKEND_ResponseSend(response, COMPLETE_FINAL, error);
  ignore(trouble);
  ignore(error);
  discard(call);
}

static void join(Engine* engine, Call* call) {
  pthread_mutex_lock(&engine->lock);
  call->next = engine->calls;
  engine->calls = call;
  pthread_cond_signal(&engine->changed);
  pthread_mutex_unlock(&engine->lock);
}

static void take(Engine* engine, Request* request) {
  const char* id = "";
  ignore(TRITONBACKEND_RequestId(request, &id));
  Call* call = read_call(engine, request, id);
  ignore(TRITONBACKEND_ResponseFactoryNew(&call->factory, request));
  Error* error = NULL;
  if (is_stop_request(request)) {
    stop_calls(engine, id);
    ignore(TRITONBACKEND_ResponseFactorySendFlags(call->factory, COMPLETE_FINAL));
    discard(call);
  } else if ((error = refusal(call)) != NULL) {
    refuse(call, error);
  } else {
    join(engine, call);
  }
  ignore(TRITONBACKEND_RequestRelease(request, RELEASE_ALL));
}

// --- Triton's entry points ---------------------------------------------------------------

// Value of a model parameter in the config's JSON text, in the caller's buffer; "" if there is none.
static const char* parameter(const char* config, const char* name, char* buffer, size_t size) {
  char key[64];
  snprintf(key, sizeof key, "\"%s\":{\"string_value\":\"", name);
  const char* found = strstr(config, key);
  const size_t length = found != NULL ? strcspn(found + strlen(key), "\"") : 0;
  snprintf(buffer, size, "%.*s", (int)length, found != NULL ? found + strlen(key) : "");
  return buffer;
}

static Error* read_table(Table* table, const char* path) {
  FILE* file = fopen(path, "rb");
  if (file == NULL) return TRITONSERVER_ErrorNew(ERROR_INVALID_ARG, "parameters ids_file, words_file: a file cannot be read");
  fseek(file, 0, SEEK_END);
  table->size = ftell(file) / sizeof(int32_t);
  rewind(file);
  table->ids = calloc(table->size + 1, sizeof(int32_t));
  const size_t num_read = fread(table->ids, sizeof(int32_t), table->size, file);
  fclose(file);
  if (num_read > 0 && num_read == (size_t)table->size) return NULL;
  return TRITONSERVER_ErrorNew(ERROR_INVALID_ARG, "parameters ids_file, words_file: a file holds no ids");
}

static Error* configure(Engine* engine, Model* model) {
  Message* message;
  const char* text;
  size_t size;
  char buffer[4096];
  Error* error = TRITONBACKEND_ModelConfig(model, 1, &message);
  if (error != NULL) return error;
  error = TRITONSERVER_MessageSerializeToJson(message, &text, &size);
  if (error == NULL) {
    char* config = strndup(text, size);
    engine->num_ids = atoi(parameter(config, "num_ids", buffer, sizeof buffer));
    engine->delay_ns = atoll(parameter(config, "delay_us", buffer, sizeof buffer)) * 1000;
    engine->first_token_ns = atoll(parameter(config, "first_token_ms", buffer, sizeof buffer)) * 1000000;
    error = read_table(&engine->stamps, parameter(config, "ids_file", buffer, sizeof buffer));
    if (error == NULL && parameter(config, "words_file", buffer, sizeof buffer)[0] != '\0') error = read_table(&engine->words, buffer);
    free(config);
  }
  ignore(TRITONSERVER_MessageDelete(message));
  if (error == NULL && engine->num_ids < 1) error = TRITONSERVER_ErrorNew(ERROR_INVALID_ARG, "parameter num_ids: at least 1 is needed");
  return error;
}

static void discard_engine(Engine* engine) {
  free(engine->stamps.ids);
  free(engine->words.ids);
  free(engine);
}

Error* TRITONBACKEND_ModelInitialize(Model* model) {
  Engine* engine = calloc(1, sizeof *engine);
  pthread_mutex_init(&engine->lock, NULL);
  pthread_cond_init(&engine->changed, NULL);
  Error* error = configure(engine, model);
  if (error == NULL) error = TRITONBACKEND_ModelSetState(model, engine);
  if (error == NULL && pthread_create(&engine->thread, NULL, run, engine) != 0) error = TRITONSERVER_ErrorNew(ERROR_INTERNAL, "no thread");
  if (error != NULL) {
    ignore(TRITONBACKEND_ModelSetState(model, NULL));
    discard_engine(engine);
  }
  return error;
}

Error* TRITONBACKEND_ModelFinalize(Model* model) {
  void* state = NULL;
  ignore(TRITONBACKEND_ModelState(model, &state));
  Engine* engine = state;
  if (engine == NULL) return NULL;
  pthread_mutex_lock(&engine->lock);
  engine->closing = true;
  pthread_cond_signal(&engine->changed);
  pthread_mutex_unlock(&engine->lock);
  pthread_join(engine->thread, NULL);
  discard_engine(engine);
  return NULL;
}

Error* TRITONBACKEND_ModelInstanceExecute(Instance* instance, Request** requests, const uint32_t count) {
  Model* model;
  void* state;
  Error* error = TRITONBACKEND_ModelInstanceModel(instance, &model);
  if (error == NULL) error = TRITONBACKEND_ModelState(model, &state);
  if (error != NULL) return error;
  for (uint32_t index = 0; index < count; index++) take(state, requests[index]);
  return NULL;
}
