/*
 * Plans on several processors: lanes that pause and are submitted again (see executor.h).
 */
#include <exception>
#include <utility>

#include "plan/executor_state.h"

namespace byoc {

void Executor::RunLane(Context* context, size_t first) const {
  const CallScope scope(context->ForCalls(steps_[first].lane));
  int64_t* const trace = context->Trace();
  for (size_t task = first;;) {
    const Step& step = steps_[task];
    // After a failure the rest is only counted down: no lane may wait for ever.
    if (!context->failed.load(std::memory_order_acquire) && !context->Stopped()) {
      if (trace != nullptr) trace[kTraceHead + 2 * task] = SteadyNow();
      try {
        try {
          CallStep(context, step);
        } catch (...) {
          ThrowFailure(task);
        }
      } catch (...) {
        if (!context->failed.exchange(true)) context->error = std::current_exception();
      }
      if (trace != nullptr) trace[kTraceHead + 2 * task + 1] = SteadyNow();
    }
    for (size_t other : step.cross_lane) {
      if (context->waits[other].fetch_sub(1, std::memory_order_acq_rel) == 1) {
        SubmitLane(context, other);
      }
    }
    if (step.next == kNone) {  // the end of this lane, perhaps of the last one
      if (context->lanes_left.fetch_sub(1, std::memory_order_acq_rel) == 1) FinishLanes(context);
      return;
    }
    task = step.next;
    // Where this lane has to pause, nothing of the context may be touched any more: the lane that
    // ends the pause may end the whole run.
    if (steps_[task].meets && !MayGoOn(context, task)) return;
  }
}

/// Whether all that `task` waits for is done; if not, the lane pauses before it.
///
/// To look at the count costs two cache lines between cores when it changes; to be submitted again,
/// seven. So the lane keeps looking as long as it would take the processor's thread to fall asleep.
bool Executor::MayGoOn(Context* context, size_t task) const {
  std::atomic<int>& waits = context->waits[task];
  const Processor* processor = context->devices->processor(steps_[task].lane);
  constexpr int kMyself = 1;  // the task before in this lane, which is done
  constexpr int kLooks = 16;
  for (int i = 4 * SpinRounds(); i > 0 && !processor->HasWork(); --i) {
    for (int look = 0; look < kLooks; ++look) {  // a pause takes as long as the news
      if (waits.load(std::memory_order_acquire) == kMyself) return true;
    }
    CpuRelax();
  }
  return waits.fetch_sub(1, std::memory_order_acq_rel) == kMyself;
}

void Executor::FinishLanes(Context* context) const {
  if (context->done != nullptr) {
    context->done->Set();
    return;
  }
  InFlightRequest* in_flight = context->in_flight;
  std::exception_ptr error = std::exchange(context->error, nullptr);
  try {
    if (error == nullptr && !context->Stopped()) CopyBack(context, in_flight->outputs());
  } catch (...) {
    error = std::current_exception();
  }
  in_flight->Finish(std::move(error));
}

/// Does nothing when the process is shutting down: the run then never ends.
void Executor::SubmitLane(Context* context, size_t task) const {
  const size_t lane = steps_[task].lane;
  context->jobs[lane].first = task;
  context->devices->processor(lane)->TrySubmit(&context->jobs[lane], context->devices->queue(lane));
}

void Executor::StartLanes(Context* context) const {
  context->failed.store(false);
  context->error = nullptr;
  context->lanes_left.store(lanes_.size());
  for (size_t i = 0; i < steps_.size(); ++i) context->waits[i].store(steps_[i].waits_for);
  // From the first submission on, the last one may end at any time and take the context along.
  std::vector<size_t> ready;
  for (size_t i = 0; i < steps_.size(); ++i) {
    if (steps_[i].waits_for == 0) ready.push_back(i);
  }
  const size_t lane = steps_[ready[0]].lane;
  context->jobs[lane].first = ready[0];
  // Throws at shutdown.
  context->devices->processor(lane)->Submit(&context->jobs[lane], context->devices->queue(lane));
  for (size_t i = 1; i < ready.size(); ++i) SubmitLane(context, ready[i]);
}

}  // namespace byoc
