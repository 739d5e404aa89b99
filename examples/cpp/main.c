/* Run a compiled model once on zeros and tell its outputs: run_c MODEL.byoc */
#include <byoc/session.h>
#include <stdio.h>
#include <stdlib.h>

enum { kMaxPorts = 16 };

static int Fail(void) {
  fprintf(stderr, "%s\n", byoc_last_error());
  return 1;
}

int main(int argc, char** argv) {
  byoc_session* model = NULL;
  byoc_buffer inputs[kMaxPorts], outputs[kMaxPorts];
  byoc_port port;
  if (argc != 2) return 2;
  if (byoc_open(argv[1], NULL, &model) != BYOC_OK) return Fail();
  const size_t in = byoc_input_count(model), out = byoc_output_count(model);
  if (in > kMaxPorts || out > kMaxPorts) return 1;
  for (size_t i = 0; i < in + out; ++i) {
    byoc_buffer* buffer = i < in ? &inputs[i] : &outputs[i - in];
    if ((i < in ? byoc_input(model, i, &port) : byoc_output(model, i - in, &port)) != BYOC_OK) {
      return Fail();
    }
    buffer->bytes = port.bytes;
    buffer->data = calloc(port.bytes + 1, 1);
    printf("%s %s: %s, %zu bytes\n", i < in ? "input" : "output", port.name, port.dtype,
           port.bytes);
  }
  if (byoc_run(model, inputs, in, outputs, out) != BYOC_OK) return Fail();
  printf("%s has run\n", byoc_name(model));
  for (size_t i = 0; i < in; ++i) free(inputs[i].data);
  for (size_t i = 0; i < out; ++i) free(outputs[i].data);
  byoc_close(model);
  return 0;
}
