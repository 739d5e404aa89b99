/// \file builder.h
/// \brief Program + values of its variables → StepList: one op after another, by the functions of
/// ops/.
///
///     Values            what the program says of every value, and who still reads it
///     BufferAssignment  where every value lies, and the memory that waits for those not made yet
///     StepWriter        the steps, and the buffers they read and write
///
/// A build function asks the buffers for operands in the layouts it likes, adds steps, and tells
/// them where its results lie. Reshapes, transposes and slices add no step where a
/// descriptor can express them.
#ifndef BYOC_DNNL_BUILDER_H_
#define BYOC_DNNL_BUILDER_H_

#include "buffer_assignment.h"
#include "program.h"
#include "step_writer.h"
#include "storage.h"
#include "values.h"

namespace byoc::onednn {

/// What a build function works with: the parts of one build, each answering one question.
struct Builder {
  const Values& values;
  BufferAssignment& buffers;
  StepWriter& steps;
  int threads;     ///< that every step will run on
  bool bf16;       ///< heavy ops may round their operands to bfloat16
  bool keeps_nan;  ///< no function is fused that answers NaN with a number
};

/// Build all ops of a program.
///
/// \param bindings A value for each of the program's variables.
/// \param constants Packs constants into the layouts that primitives want; keeps none of them.
/// \param threads How many there are now and in every run: oneDNN's primitives depend on it.
/// \param keeps_nan Fuse no function that answers NaN with a number.
/// \throw ProgramError naming the op that cannot be built, its source and its shapes.
StepList BuildSteps(const Program& program, const Bindings& bindings, ConstantStore& constants,
                    int threads, bool keeps_nan = false);

}  // namespace byoc::onednn

#endif  // BYOC_DNNL_BUILDER_H_
