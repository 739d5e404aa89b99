/// \file
/// Units of work, and the queues in which they wait for a processor.
#ifndef BYOC_RUNTIME_JOB_H_
#define BYOC_RUNTIME_JOB_H_

namespace byoc {

class SubmissionQueue;

/// A unit of work for a processor.
///
/// Whoever submits a job owns it, and keeps it alive until it has run. The links are inside the
/// job, so submitting allocates nothing.
class Job {
 public:
  virtual ~Job() = default;

  /// Does the work, on the thread that owns the processor; the job may be gone when this returns.
  virtual void Run() noexcept = 0;

 private:
  friend class JobQueue;
  Job* next_ = nullptr;
  SubmissionQueue* queue_ = nullptr;
};

/// The jobs of one session at one processor: they run one after the other, in order of submission.
///
/// It must outlive the jobs submitted through it. Its fields belong to the processor's thread.
class SubmissionQueue {
 public:
  SubmissionQueue() = default;
  SubmissionQueue(const SubmissionQueue&) = delete;
  SubmissionQueue& operator=(const SubmissionQueue&) = delete;

 private:
  friend class JobQueue;
  Job* head_ = nullptr;
  Job* tail_ = nullptr;
  SubmissionQueue* next_ = nullptr;  // of those that have jobs
  const void* owner_ = nullptr;      // where the jobs were put; a forked child has another one
};

}  // namespace byoc

#endif  // BYOC_RUNTIME_JOB_H_
