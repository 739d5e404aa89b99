#include "builder.h"

#include "error.h"
#include "ops/checks.h"
#include "ops/post_ops.h"
#include "ops/table.h"

namespace byoc::onednn {
namespace {

void BuildOp(Builder& b, const Op& op) {
  bool empty = true;  // nothing to compute: results without elements
  for (int value : op.outputs) empty = empty && Volume(b.values.Shape(value)) == 0;
  if (!empty) {
    size_t taken = op.kind->build(b, op);
    Expect(taken <= (op.kind->Has(kFusesPostOps) ? op.post.size() : 0), "took ", taken,
           " post-ops of ", op.post.size());
    ApplyPostOps(b, op, taken);
    return;
  }
  for (int value : op.outputs) {
    DType dtype = b.values.Type(value);
    b.buffers.Set(value, b.buffers.Fresh(PlainDesc(b.values.Shape(value), dtype), dtype));
  }
}

std::string ShapesOf(const Values& values, const Op& op) {
  std::string text;
  for (int value : op.inputs) text += (text.empty() ? "" : ", ") + ToString(values.Shape(value));
  text += " -> ";
  for (int value : op.outputs) text += ToString(values.Shape(value));
  return text;
}

}  // namespace

StepList BuildSteps(const Program& program, const Bindings& bindings, ConstantStore& constants,
                    int threads, bool keeps_nan) {
  Values values(program, bindings);
  StepWriter steps;
  BufferAssignment buffers(values, steps, constants);
  Builder builder{values, buffers, steps, threads, program.bf16, keeps_nan};
  for (const Op& op : program.ops) {
    steps.Name(&op);
    try {
      BuildOp(builder, op);
    } catch (const std::exception& error) {
      Fail(NameOf(op), " ", ShapesOf(values, op), ": ", error.what());
    }
    values.Consume(op);
  }
  steps.Name(nullptr);
  buffers.CopyOutputs();
  return steps.Take();
}

}  // namespace byoc::onednn
